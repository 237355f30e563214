"""Positions, equity and margin: numbers worked out by hand beside each line, and properties against exact fractions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchment import margin
from catchment.asset import MAX_UNITS, Asset
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance, Position, Standing
from catchment.ledger.commands import SetPosition
from catchment.margin import NO_NEED, Quotes, Risk, Status
from catchment.symbol import Market, known_symbols
from catchment.wallet import Wallet

ASSETS: Final = {
    name: Asset(name, scale) for name, scale in (("USDT", 8), ("BTC", 8), ("ETH", 8), ("BNB", 8), ("JPY", 0))
}
SYMBOLS: Final = known_symbols({}, ASSETS)
BTCUSDT, BTCUSD = SYMBOLS[Market.UM]["BTCUSDT"], SYMBOLS[Market.CM]["BTCUSD_PERP"]
ONE: Final = 10**8


def whole(text: str) -> int:
    return int(Decimal(text) * ONE)


def quotes(
    marks: Mapping[str, str] = {}, prices: Mapping[str, str] | None = None, rates: Mapping[str, str] | None = None
) -> Quotes:
    """USDT at 1 and BTC at 60000, whose collateral rates are 1 and 0.95, unless something else is said."""
    given_marks, given_prices, given_rates = (
        {name: whole(text) for name, text in figures.items()}
        for figures in (marks, prices or {"USDT": "1", "BTC": "60000"}, rates or {"USDT": "1", "BTC": "0.95"})
    )
    return Quotes(ASSETS, SYMBOLS, given_marks, given_prices, given_rates)


def account(positions: Mapping[str, tuple[str, str, int]] = {}, **balances: Mapping[str, str]) -> AccountState:
    """Balances by asset and place; positions by key as amount, entry price and leverage."""
    return AccountState(
        balances={
            name: Balance(**{place: int(Decimal(text) * 10 ** ASSETS[name].scale) for place, text in held.items()})
            for name, held in balances.items()
        },
        standing=Standing(
            positions={
                key: Position(whole(amount), whole(entry), lev, 0) for key, (amount, entry, lev) in positions.items()
            }
        ),
    )


# A position ----------------------------------------------------------------------------------------------------------

# fmt: off
POSITIONS = [
    # symbol, amount, entry, mark, leverage; profit, size, initial margin, maintenance margin
    # 0.5 x 60000 = 30000; / 20 = 1500; up to 50000 the rate is 0.4 %: 120
    ("BTCUSDT", "0.5", "60000", "60000", 20,  ("0", "30000", "1500", "120")),
    # 0.5 x 2000 = 1000; 0.5 x 62000 = 31000; / 20 = 1550; x 0.4 % = 124
    ("BTCUSDT", "0.5", "60000", "62000", 20,  ("1000", "31000", "1550", "124")),
    ("BTCUSDT", "-0.5", "60000", "62000", 20,  ("-1000", "31000", "1550", "124")),
    # 2 x 60000 = 120000; / 125 = 960; x 0.5 % = 600, less the 50 that the first 50000 need less (0.1 %)
    ("BTCUSDT", "2", "60000", "60000", 125,  ("0", "120000", "960", "550")),
    # at the border both brackets say the same: 50000 x 0.4 % = 50000 x 0.5 % - 50 = 200
    ("BTCUSDT", "1", "50000", "50000", 1,  ("0", "50000", "50000", "200")),
    # 20000 x 100000 = 2 thousand million, beyond the last bracket; x 50 % less 421481450: each step of the rate times
    # the size at which it comes, 50 + 900 + 10500 + 120000 + 350000 + 2.5, 11.5, 12, 15, 80 and 300 million
    ("BTCUSDT", "20000", "100000", "100000", 1,  ("0", "2000000000", "2000000000", "578518550")),
    # the smallest amount: 1e-8 x 0.5 is half a unit: profit 0, loss 1; size 1.5e-8 -> 1; margins under a unit -> 1
    ("BTCUSDT", "0.00000001", "1", "1.5", 20,  ("0", "0.00000001", "0.00000001", "0.00000001")),
    ("BTCUSDT", "-0.00000001", "1", "1.5", 20,  ("-0.00000001", "0.00000001", "0.00000001", "0.00000001")),
    # 600 contracts of 100 USD = 60000 USD; / 60000 = 1 BTC; / 20 = 0.05; x 0.4 % = 0.004
    ("BTCUSD_PERP", "600", "60000", "60000", 20,  ("0", "1", "0.05", "0.004")),
    # 60000 x (1 / 60000 - 1 / 50000) = 1 - 1.2 = -0.2; 60000 / 50000 = 1.2; / 20 = 0.06; x 0.4 % = 0.0048
    ("BTCUSD_PERP", "600", "60000", "50000", 20,  ("-0.2", "1.2", "0.06", "0.0048")),
    ("BTCUSD_PERP", "-600", "60000", "50000", 20,  ("0.2", "1.2", "0.06", "0.0048")),
    # 100 x (1 / 60000 - 1 / 70000) = 0.000238095...; 100 / 70000 = 0.0014285714...; / 20 = 0.0000714285...
    # x 0.4 % = 0.0000057142...
    ("BTCUSD_PERP", "1", "60000", "70000", 20,  ("0.00023809", "0.00142857", "0.00007143", "0.00000572")),
    ("BTCUSD_PERP", "-1", "60000", "70000", 20,  ("-0.0002381", "0.00142857", "0.00007143", "0.00000572")),
    # 6000 x 100 / 60000 = 10 BTC: 10 x 0.5 % - 5 x 0.1 % = 0.045
    ("BTCUSD_PERP", "6000", "60000", "60000", 50,  ("0", "10", "0.2", "0.045")),
    # without a mark price, or an entry price, nothing can be said
    ("BTCUSDT", "1", "60000", "0", 20,  ("0", "0", "0", "0")),
    ("BTCUSD_PERP", "1", "60000", "0", 20,  ("0", "0", "0", "0")),
    ("BTCUSD_PERP", "600", "0", "60000", 20,  ("0", "1", "0.05", "0.004")),
]
# fmt: on


@pytest.mark.parametrize(("name", "amount", "entry", "mark", "leverage", "figures"), POSITIONS)
def test_a_position_at_its_mark_price(
    name: str, amount: str, entry: str, mark: str, leverage: int, figures: tuple[str, str, str, str]
) -> None:
    symbol = margin.futures_symbol(SYMBOLS, name)
    assert symbol is not None
    held = margin.holding(symbol, "BOTH", Position(whole(amount), whole(entry), leverage, 0), quotes({name: mark}))
    assert (held.profit, held.size, held.initial, held.maintenance) == tuple(map(whole, figures))


def test_positions_are_listed_in_order_without_those_of_an_unknown_symbol() -> None:
    one = ("1", "1", 1)
    state = account({"UM:ETHUSDT:BOTH": one, "UM:GONE:BOTH": one, "CM:BTCUSD_PERP:LONG": one, "UM:BTCUSDT:SHORT": one})
    listed = [(held.wallet, held.symbol.name, held.side) for held in margin.holdings(state, quotes())]
    assert listed == [
        (Wallet.CM, "BTCUSD_PERP", "LONG"),
        (Wallet.UM, "BTCUSDT", "SHORT"),
        (Wallet.UM, "ETHUSDT", "BOTH"),
    ]


@pytest.mark.parametrize(
    ("leverage", "um", "cm"),
    [(125, 50_000, 5), (101, 50_000, 5), (100, 600_000, 10), (20, 100_000_000, 50), (1, 1_800_000_000, 1_500)],
)
def test_the_largest_size_of_a_leverage(leverage: int, um: int, cm: int) -> None:
    assert (margin.largest(BTCUSDT, leverage), margin.largest(BTCUSD, leverage)) == (um, cm)


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [
        ("BTCUSDT", "0.5", "0.500"),
        ("BTCUSDT", "-12.3456", "-12.3456"),
        ("BTCUSDT", "0", "0.000"),
        ("BTCUSD_PERP", "600", "600"),
        ("BTCUSD_PERP", "0.5", "0.5"),
    ],
)
def test_an_amount_as_the_wire_shows_it(name: str, amount: str, text: str) -> None:
    symbol = margin.futures_symbol(SYMBOLS, name)
    assert symbol is not None
    assert margin.amount_text(symbol, whole(amount)) == text


NAMED: list[tuple[tuple[str, str, str | None, int, str], Any]] = [
    (("BTCUSDT", "0.5", "60000", 20, "BOTH"), SetPosition(Wallet.UM, "BTCUSDT", whole("0.5"), whole("60000"))),
    (("BTCUSDT", "-5e-3", None, 3, "BOTH"), SetPosition(Wallet.UM, "BTCUSDT", whole("-0.005"), whole("61000"), 3)),
    (
        ("BTCUSD_PERP", "-7", "1.5", 20, "SHORT"),
        SetPosition(Wallet.CM, "BTCUSD_PERP", whole("-7"), whole("1.5"), 20, "SHORT"),
    ),
    (("BTCUSDT", "0.001", "1", 20, "LONG"), SetPosition(Wallet.UM, "BTCUSDT", whole("0.001"), ONE, 20, "LONG")),
    (("NOPE", "1", "1", 20, "BOTH"), -1121),
    (("USDCUSDT", "1", "1", 20, "BOTH"), -1121),  # spot alone
    (("BTCUSDT", "much", "1", 20, "BOTH"), -1130),
    (("BTCUSDT", "0", "1", 20, "BOTH"), -1130),
    (("BTCUSDT", "-1", "1", 20, "LONG"), -1130),
    (("BTCUSDT", "1", "1", 20, "SHORT"), -1130),
    (("BTCUSDT", "0.0005", "1", 20, "BOTH"), -1111),
    (("BTCUSDT", "0.000000001", "1", 20, "BOTH"), -1111),
    (("BTCUSD_PERP", "0.5", "1", 20, "BOTH"), -1111),
    (("BTCUSDT", "1", "0", 20, "BOTH"), -1130),
    (("BTCUSDT", "1", "-1", 20, "BOTH"), -1130),
    (("BTCUSDT", "1", "cheap", 20, "BOTH"), -1130),
    (("ETHUSDT", "1", None, 20, "BOTH"), -1130),  # it has no mark price
]


@pytest.mark.parametrize(("words", "wanted"), NAMED)
def test_a_position_from_texts(words: tuple[str, str, str | None, int, str], wanted: Any) -> None:
    found = margin.named_position(quotes({"BTCUSDT": "61000"}), *words)
    assert (found.code if isinstance(found, Rejection) else found) == wanted


# The account ---------------------------------------------------------------------------------------------------------

LONG = {"UM:BTCUSDT:BOTH": ("0.5", "60000", 20)}
INVERSE = {"CM:BTCUSD_PERP:BOTH": ("600", "60000", 20)}
# fmt: off
RISKS: list[tuple[AccountState, Quotes, tuple[str, str, str, str, str]]] = [
    # an account; equity, actual equity, initial margin, maintenance margin, loans
    (account(), quotes(), ("0", "0", "0", "0", "0")),
    # 1000 + 1 x 60000 x 0.95 = 58000; without the rate 61000
    (account(USDT={"um": "1000"}, BTC={"margin_free": "1"}), quotes(), ("58000", "61000", "0", "0", "0")),
    # all wallets are one sum: 1 - 0.4 + 0.2 + 0.2 = 1 BTC
    (account(BTC={"margin_free": "1", "um": "-0.4", "cm": "0.2", "margin_locked": "0.2"}), quotes(),
     ("57000", "60000", "0", "0", "0")),
    # a debt counts in full: 100000 - 60000, not - 57000
    (account(USDT={"cm": "100000"}, BTC={"um": "-1"}), quotes(), ("40000", "40000", "0", "0", "0")),
    # a profit of 1000 joins the 1000 in UM; 0.5 x 62000 / 20 = 1550; x 0.4 % = 124
    (account(LONG, USDT={"um": "1000"}, BTC={"margin_free": "1"}), quotes({"BTCUSDT": "62000"}),
     ("59000", "62000", "1550", "124", "0")),
    # a loss in an asset that was never touched: 0.5 x -2000
    (account(LONG), quotes({"BTCUSDT": "58000"}), ("-1000", "-1000", "1450", "116", "0")),
    # a loss of 0.2 BTC: 0.8 x 60000 x 0.95 = 45600; 0.06 and 0.0048 BTC of margin at 60000 are 3600 and 288
    (account(INVERSE, BTC={"cm": "1"}), quotes({"BTCUSD_PERP": "50000"}), ("45600", "48000", "3600", "288", "0")),
    # 1000 free less 501 owed; 501 / 4 = 125.25; 501 x 8 % = 40.08
    (account(USDT={"margin_free": "1000", "borrowed": "-500", "interest": "-1"}), quotes(),
     ("499", "499", "125.25", "40.08", "501")),
    # an asset without a price is worth nothing, one without a rate is no collateral
    (account(ETH={"um": "5"}, BNB={"um": "-2"}), quotes(prices={"BNB": "600"}), ("-1200", "-1200", "0", "0", "0")),
    (account(BNB={"um": "2"}), quotes(prices={"BNB": "600"}), ("0", "1200", "0", "0", "0")),
    # another scale: 7 whole yen at 0.0065
    (account(JPY={"cm": "7"}), quotes(prices={"JPY": "0.0065"}, rates={"JPY": "0.5"}),
     ("0.02275", "0.0455", "0", "0", "0")),
    # 1e-8 BTC at 0.5 USD is half a unit of USD: what is held is rounded down, and so is what is owed
    (account(BTC={"um": "0.00000001"}), quotes(prices={"BTC": "0.5"}), ("0", "0", "0", "0", "0")),
    (account(BTC={"um": "-0.00000001"}), quotes(prices={"BTC": "0.5"}), ("-0.00000001", "-0.00000001", "0", "0", "0")),
]
# fmt: on


@pytest.mark.parametrize(("state", "market", "wanted"), RISKS)
def test_what_an_account_is_worth_and_needs(
    state: AccountState, market: Quotes, wanted: tuple[str, str, str, str, str]
) -> None:
    assert margin.risk(state, market) == Risk(*map(whole, wanted))


# fmt: off
LEVELS = [
    # equity, maintenance margin; uniMMR, status, the level that is told
    ("59000", "124",        "475.80645161", Status.NORMAL, None),  # 59000 / 124 = 475.806451612...
    ("1", "0",              "99999999", Status.NORMAL, None),
    ("0", "0",              "99999999", Status.NORMAL, None),
    ("100000000", "1",      "99999999", Status.NORMAL, None),
    ("1500.0001", "1000",   "1.5000001", Status.NORMAL, None),
    ("1500", "1000",        "1.5", Status.MARGIN_CALL, "MARGIN_CALL"),
    ("1200.0001", "1000",   "1.2000001", Status.MARGIN_CALL, "MARGIN_CALL"),
    ("1200", "1000",        "1.2", Status.REDUCE_ONLY, "REDUCE_ONLY"),
    ("1050.0001", "1000",   "1.0500001", Status.REDUCE_ONLY, "REDUCE_ONLY"),
    ("1050", "1000",        "1.05", Status.FORCE_LIQUIDATION, "FORCE_LIQUIDATION"),
    ("0", "1000",           "0.0", Status.FORCE_LIQUIDATION, "FORCE_LIQUIDATION"),
    ("-1", "3",             "-0.33333334", Status.BANKRUPTED, "FORCE_LIQUIDATION"),
    ("-1", "0",             "99999999", Status.BANKRUPTED, "FORCE_LIQUIDATION"),
]
# fmt: on


@pytest.mark.parametrize(("equity", "maintenance", "ratio", "status", "level"), LEVELS)
def test_levels_of_risk(equity: str, maintenance: str, ratio: str, status: Status, level: str | None) -> None:
    now = Risk(whole(equity), whole(equity), 0, whole(maintenance), 0)
    assert (margin.ratio_text(now), now.status) == (ratio, status)
    told = margin.risk_level_of(now)
    assert (told and (told.u, told.s)) == (level and (ratio, level))


def test_what_is_told_of_a_level() -> None:
    # 100 x 0.5 = 50 BTC at 60000 is 3 million: x 0.65 % - 950 = 18550; equity 18550 x 1.3 = 24115
    state = account({"UM:BTCUSDT:BOTH": ("50", "60000", 20)}, USDT={"um": "24115"})
    told = margin.risk_level(state, quotes({"BTCUSDT": "60000"}))
    assert told == margin.RiskLevel("1.3", "MARGIN_CALL", "24115.0", "24115.0", "18550.0")
    assert margin.risk_level(account(), quotes()) is None


def test_what_is_available_and_what_may_be_withdrawn_in_all() -> None:
    # the numbers of the reference's example: 20412.77 - 400.5, and 20412.77 - 1.2 x 230.9
    now = Risk(whole("20412.77"), 0, whole("400.5"), whole("230.9"), 0)
    assert (now.available, now.withdrawable) == (whole("20012.27"), whole("20135.69"))
    assert Risk(whole("10"), 0, 0, whole("10"), 0).withdrawable == 0
    assert Risk(whole("10"), 0, 0, 1, 0).withdrawable == whole("10") - 2  # 1.2 units are rounded up


# fmt: off
WITHDRAWABLE = [
    # an account, an asset, what may be taken out of it
    (account(BTC={"margin_free": "1"}), "BTC", "1"),
    (account(), "BTC", "0"),
    (account(BTC={"um": "1"}), "BTC", "0"),  # not free
    # equity 57000 - 28500 = 28500 may go; half a BTC counts for 28500
    (account(USDT={"um": "-28500"}, BTC={"margin_free": "1"}), "BTC", "0.5"),
    # equity 0.6 x 57000; more than 0.6 would make BTC negative
    (account(BTC={"um": "-0.4", "margin_free": "1"}), "BTC", "0.6"),
    # 10000 more of equity buy 0.16666666 of debt at the full price
    (account(USDT={"cm": "10000"}, BTC={"um": "-0.4", "margin_free": "1"}), "BTC", "0.76666666"),
    # 499 of equity, of which 1.2 x 40.08 = 48.096 stay
    (account(USDT={"margin_free": "1000", "borrowed": "-500", "interest": "-1"}), "USDT", "450.904"),
    # nothing left to take: 100 - 60000
    (account(USDT={"margin_free": "100"}, BTC={"um": "-1"}), "USDT", "0"),
    # no price, no rate: it counts for nothing
    (account(USDT={"um": "-1"}, ETH={"margin_free": "3"}), "ETH", "3"),
    (account(USDT={"um": "-1"}, BNB={"margin_free": "3"}), "BNB", "3"),
    (account(BNB={"margin_free": "3", "um": "-1"}), "BNB", "2"),
]
BORROWABLE = [
    # an account, an asset; what may be borrowed, the limit of the asset
    # 4 x 1000; a million coins
    (account(USDT={"margin_free": "1000"}), "USDT", "4000", "1000000"),
    # 4000 / 60000 = 0.0666...
    (account(USDT={"margin_free": "1000"}), "BTC", "0.06666666", "1000000"),
    # 4 x 450.904 - 501
    (account(USDT={"margin_free": "1000", "borrowed": "-500", "interest": "-1"}), "USDT", "1302.616", "1000000"),
    # a loan of a million is at its limit, whatever is held
    (account(USDT={"margin_free": "9000000", "borrowed": "-1000000"}), "USDT", "0", "1000000"),
    (account(), "USDT", "0", "1000000"),
    (account(USDT={"um": "-5"}), "USDT", "0", "1000000"),
    (account(USDT={"margin_free": "1000"}), "ETH", "0", "1000000"),  # no price
]
# fmt: on


@pytest.mark.parametrize(("state", "asset", "amount"), WITHDRAWABLE)
def test_what_may_be_withdrawn(state: AccountState, asset: str, amount: str) -> None:
    market = quotes(prices={"USDT": "1", "BTC": "60000", "BNB": "600"})
    assert margin.withdrawable(state, market, asset) == whole(amount)


@pytest.mark.parametrize(("state", "asset", "amount", "limit"), BORROWABLE)
def test_what_may_be_borrowed(state: AccountState, asset: str, amount: str, limit: str) -> None:
    found = margin.borrowable(state, quotes(), asset)
    assert (found.amount, found.limit) == (whole(amount), whole(limit))


def test_the_limit_of_a_loan_fits_in_a_column() -> None:
    assert margin.loan_limit(Asset("WEI", 18)) == MAX_UNITS
    assert margin.loan_limit(Asset("JPY", 0)) == 1_000_000


def test_profit_by_wallet_and_asset() -> None:
    state = account(LONG | INVERSE | {"UM:ETHUSDT:LONG": ("1", "3000", 20)})
    found = margin.profit_of(state, quotes({"BTCUSDT": "62000", "BTCUSD_PERP": "50000", "ETHUSDT": "2900"}))
    assert found == {Wallet.UM: {"USDT": whole("900")}, Wallet.CM: {"BTC": whole("-0.2")}}


# Properties ----------------------------------------------------------------------------------------------------------

PRICE = st.integers(1, 10**14)
AMOUNT = st.integers(-(10**13), 10**13).filter(bool)
SYMBOL = st.sampled_from([BTCUSDT, BTCUSD])
LEVERAGE = st.integers(1, 125)


def at(symbol: Any, amount: int, entry: int, mark: int, leverage: int = 20) -> margin.Holding:
    market = Quotes(ASSETS, SYMBOLS, {symbol.name: mark}, {}, {})
    return margin.holding(symbol, "BOTH", Position(amount, entry, leverage, 0), market)


@given(SYMBOL, AMOUNT, PRICE, PRICE, LEVERAGE)
def test_a_position_is_the_exact_formula_rounded_once(
    symbol: Any, amount: int, entry: int, mark: int, leverage: int
) -> None:
    held = at(symbol, amount, entry, mark, leverage)
    coins, first, last = Fraction(amount, ONE), Fraction(entry, ONE), Fraction(mark, ONE)
    if symbol is BTCUSD:
        profit, size = coins * 100 * (1 / first - 1 / last), abs(coins) * 100 / last
    else:
        profit, size = coins * (last - first), abs(coins) * last
    assert held.profit == floor(profit * ONE)
    assert held.size == floor(size * ONE)
    assert held.initial == ceil(size / leverage * ONE)
    # the ladder as a tax: each part of the size at the rate of its own bracket
    parts = [max(min(size, step.cap) - step.floor, 0) * Fraction(step.ratio, 10_000) for step in symbol.brackets]
    beyond = max(size - symbol.brackets[-1].cap, 0) * Fraction(symbol.brackets[-1].ratio, 10_000)
    assert held.maintenance == ceil((sum(parts) + beyond) * ONE)


@given(SYMBOL, AMOUNT, PRICE)
def test_at_its_entry_price_a_position_has_no_profit(symbol: Any, amount: int, price: int) -> None:
    assert at(symbol, amount, price, price).profit == 0


@given(SYMBOL, AMOUNT, PRICE, PRICE, PRICE)
def test_profit_follows_the_mark_price(symbol: Any, amount: int, entry: int, one: int, other: int) -> None:
    low, high = sorted((at(symbol, amount, entry, mark).profit for mark in (one, other)), reverse=amount < 0)
    assert [at(symbol, amount, entry, mark).profit for mark in sorted((one, other))] == [low, high]


@given(SYMBOL, AMOUNT, PRICE, PRICE)
def test_both_sides_of_a_trade_gain_nothing_together(symbol: Any, amount: int, entry: int, mark: int) -> None:
    assert at(symbol, amount, entry, mark).profit + at(symbol, -amount, entry, mark).profit in {0, -1}


@given(SYMBOL, st.integers(1, 10**13), st.integers(1, 10**13), PRICE)
def test_a_larger_position_needs_no_less(symbol: Any, amount: int, more: int, mark: int) -> None:
    small, large = at(symbol, amount, mark, mark), at(symbol, amount + more, mark, mark)
    assert (small.size, small.initial, small.maintenance) <= (large.size, large.initial, large.maintenance)
    assert small.maintenance <= large.maintenance


UNITS = st.integers(-(10**14), 10**14)


@given(
    usdt=UNITS,
    btc=UNITS,
    free=st.integers(0, 10**14),
    owed=st.integers(0, 10**12),
    contracts=AMOUNT,
    price=PRICE,
    rate=st.integers(0, ONE),
)
def test_what_may_be_withdrawn_leaves_what_must_stay_and_one_unit_more_does_not(
    usdt: int, btc: int, free: int, owed: int, contracts: int, price: int, rate: int
) -> None:
    market = Quotes(ASSETS, SYMBOLS, {"BTCUSD_PERP": price}, {"USDT": ONE, "BTC": price}, {"USDT": ONE, "BTC": rate})
    state = account(USDT={}, BTC={})
    state.balances["USDT"].um = usdt
    state.balances["BTC"] = Balance(um=btc, margin_free=free, borrowed=-owed)
    assert state.standing is not None
    state.standing.positions["CM:BTCUSD_PERP:BOTH"] = Position(contracts, price, 20, 0)
    before = margin.risk(state, market)
    most = margin.withdrawable(state, market, "BTC")
    assert 0 <= most <= free
    state.balances["BTC"].margin_free -= most
    after = margin.risk(state, market)
    assert after.equity >= before.equity - before.withdrawable
    assert after.maintenance == before.maintenance
    if most < free and (before.withdrawable or not rate):
        state.balances["BTC"].margin_free -= 1
        assert margin.risk(state, market).equity < before.equity - before.withdrawable


@given(UNITS, PRICE, st.integers(0, ONE))
def test_collateral_never_counts_for_more_than_it_is_worth(units: int, price: int, rate: int) -> None:
    state = account(BTC={})
    state.balances["BTC"].cm = units
    now = margin.risk(state, Quotes(ASSETS, SYMBOLS, {}, {"BTC": price}, {"BTC": rate}))
    assert now.equity <= now.actual == units * price // ONE
    assert now.ratio == NO_NEED
    if units < 0:
        assert now.equity == now.actual
