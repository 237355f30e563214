"""What an account's positions and loans are worth and need at given prices. Pure; whole integers alone.

Profit and equity are rounded down and margin up: each time against the account. The formulas are those of three support
pages: "uniMMR and how it is calculated", "Portfolio Margin trading rules", and the FAQ on withdrawals and loans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from catchment import errors
from catchment.asset import MAX_UNITS, Asset
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance, Position, balance_of, standing_of
from catchment.ledger.commands import SetPosition
from catchment.ledger.negative import ONE
from catchment.symbol import RATIO_ONE, Market, Symbol, decimals
from catchment.wallet import Wallet

USD: Final = Asset("USD")
"""Prices, rates and what is told in USD have 8 decimals."""
DEFAULT_LEVERAGE: Final = 20
"""Of a symbol that has no position: choice."""
LOAN_LEVERAGE: Final = 5
LOAN_MAINTENANCE: Final = 800
"""Of loans: the pages let an account choose; here it is 5 and 8 % for all (choice)."""
LOAN_LIMIT: Final = 1_000_000
"""Whole coins of an asset that may be owed at the same time (choice); the live limits go by asset and VIP level."""
KEPT_BACK: Final = (12, 10)
"""Of the maintenance margin, when money is taken out."""
NO_NEED: Final = 99_999_999 * ONE
"""uniMMR without maintenance margin, as seen live, and the most it can be."""


class Quotes(msgspec.Struct, frozen=True):
    """The market at one moment, at 8 decimals: mark prices by symbol, in its quote asset; index prices in USD and
    collateral rates by asset. What is missing is 0, and then worth nothing."""

    assets: Mapping[str, Asset]
    symbols: Mapping[Market, Mapping[str, Symbol]]
    marks: Mapping[str, int]
    prices: Mapping[str, int]
    rates: Mapping[str, int]


class Holding(msgspec.Struct, frozen=True):
    """A position at its mark price. `profit`, `size` (not signed), `initial` and `maintenance` are units of its margin
    asset, `asset`."""

    wallet: Wallet
    symbol: Symbol
    asset: Asset
    side: str
    position: Position
    mark: int
    profit: int
    size: int
    initial: int
    maintenance: int


class Status(StrEnum):
    """`accountStatus`; SUPPLY_MARGIN and ACTIVE_LIQUIDATION are never given, for no page says when they are."""

    NORMAL = "NORMAL"
    MARGIN_CALL = "MARGIN_CALL"
    REDUCE_ONLY = "REDUCE_ONLY"
    FORCE_LIQUIDATION = "FORCE_LIQUIDATION"
    BANKRUPTED = "BANKRUPTED"


class Risk(msgspec.Struct, frozen=True):
    """An account in USD at 8 decimals: equity with and without collateral rates, the margin it needs, its loans."""

    equity: int
    actual: int
    initial: int
    maintenance: int
    loans: int

    @property
    def ratio(self) -> int:
        """uniMMR = equity / maintenance margin, at 8 decimals, rounded down."""
        if not self.maintenance:
            return NO_NEED
        return min(self.equity * ONE // self.maintenance, NO_NEED)

    @property
    def status(self) -> Status:
        """By uniMMR, as the trading rules say: over 150 % free, to 120 % a reminder, to 105 % reduce-only, then
        liquidation. Bankrupt with equity below zero (choice)."""
        if self.equity < 0:
            return Status.BANKRUPTED
        return next((status for least, status in _LEVELS if self.ratio > least), Status.FORCE_LIQUIDATION)

    @property
    def available(self) -> int:
        """totalAvailableBalance = accountEquity - accountInitialMargin, as seen live."""
        return self.equity - self.initial

    @property
    def withdrawable(self) -> int:
        """virtualMaxWithdrawAmount = max(accountEquity - 1.2 x accountMaintMargin, 0) (FAQ)."""
        part, whole = KEPT_BACK
        return max(self.equity - _up(self.maintenance * part, whole), 0)


class Borrowable(msgspec.Struct, frozen=True):
    """In units of the asset: what may be borrowed now, and what may be owed of it in all."""

    amount: int
    limit: int


class RiskLevel(msgspec.Struct, frozen=True):
    """What `riskLevelChange` tells, in USD as decimal texts: uniMMR, level, equity, actual equity, maintenance."""

    u: str
    s: str
    eq: str
    ae: str
    m: str


# Positions ------------------------------------------------------------------------------------------------------------


def named_position(
    quotes: Quotes, name: str, amount: str, entry_price: str | None, leverage: int, side: str
) -> SetPosition | Rejection:
    """The command that sets a position, from texts; without an entry price it is the mark price.

    Refuses a symbol that is neither UM nor CM (-1121); an amount that is none, is 0 or has the wrong sign for its side,
    a price that is none or 0 (-1130); an amount between two steps of the symbol, or too many decimals (-1111).
    """
    symbol = futures_symbol(quotes.symbols, name)
    if symbol is None:
        return errors.BAD_SYMBOL()
    units = USD.units(amount)
    if isinstance(units, Rejection):
        return units
    if not units or (side != "BOTH" and (units < 0) != (side == "SHORT")):
        return errors.INVALID_PARAMETER("amount")
    step = USD.units(symbol.step)
    if isinstance(step, Rejection) or units % step:
        return errors.BAD_PRECISION()
    price = quotes.marks.get(name, 0) if entry_price is None else USD.units(entry_price, "entryPrice")
    if isinstance(price, Rejection):
        return price
    if price <= 0:
        return errors.INVALID_PARAMETER("entryPrice")
    return SetPosition(Wallet(symbol.market), name, units, price, leverage, side)


def futures_symbol(symbols: Mapping[Market, Mapping[str, Symbol]], name: str) -> Symbol | None:
    """The UM or CM symbol of a name; no name is both."""
    return symbols[Market.UM].get(name) or symbols[Market.CM].get(name)


def holdings(state: AccountState, quotes: Quotes) -> list[Holding]:
    """An account's positions, in order of wallet, symbol and side; not those in a symbol the venue no longer has."""
    found = []
    for key, position in sorted(standing_of(state).positions.items()):
        wallet, name, side = key.split(":")
        symbol = quotes.symbols[Market(wallet)].get(name)
        if symbol is not None:
            found.append(holding(symbol, side, position, quotes))
    return found


def holding(symbol: Symbol, side: str, position: Position, quotes: Quotes) -> Holding:
    """A position at its mark price. Without a mark price it gains and needs nothing.

    Initial margin = size / leverage; size = amount x mark on UM, amount x contract / mark on CM (trading rules).
    """
    asset, mark = quotes.assets[symbol.margin], quotes.marks.get(symbol.name, 0)
    one = 10**asset.scale
    if symbol.market is Market.CM:
        size, parts = abs(position.amount) * symbol.contract * one, mark or 1
    else:
        size, parts = abs(position.amount) * mark * one, ONE * ONE
    if not mark:
        size = 0
    return Holding(
        Wallet(symbol.market),
        symbol,
        asset,
        side,
        position,
        mark,
        unrealized(symbol, position, mark, one),
        size // parts,
        _up(size, parts * position.leverage),
        maintenance(symbol, size, parts, one),
    )


def unrealized(symbol: Symbol, position: Position, mark: int, one: int) -> int:
    """Unrealised profit in units of the margin asset, of which `one` is a whole coin.

    amount x (mark - entry) on UM, amount x contract x (1 / entry - 1 / mark) on CM (the futures pages on profit).
    """
    entry = position.entry_price
    if not entry or not mark:
        return 0
    gained = position.amount * (mark - entry) * one
    return gained * symbol.contract // (entry * mark) if symbol.market is Market.CM else gained // (ONE * ONE)


def maintenance(symbol: Symbol, size: int, parts: int, one: int) -> int:
    """Maintenance margin of a size of `size` / `parts` units: size x MMR - cum of its bracket (uniMMR page).

    Beyond the last bracket its rate holds on.
    """
    brackets = symbol.brackets
    step = next((each for each in brackets if size <= each.cap * one * parts), brackets[-1])
    return _up(size * step.ratio - step.cum * one * parts, RATIO_ONE * parts)


def largest(symbol: Symbol, leverage: int) -> int:
    """The largest size a leverage allows, in whole quote assets on UM and base assets on CM (leverage brackets)."""
    return max((each.cap for each in symbol.brackets if each.leverage >= leverage), default=0)


def amount_text(symbol: Symbol, amount: int) -> str:
    """An amount with the decimals of the symbol's step at least: `0.500`."""
    whole, _, rest = USD.fixed(amount).partition(".")
    rest = rest.rstrip("0").ljust(decimals(symbol.step), "0")
    return f"{whole}.{rest}" if rest else whole


# The account ----------------------------------------------------------------------------------------------------------


def owed(balance: Balance) -> int:
    """Units lent of an asset, with their interest."""
    return -balance.borrowed - balance.interest


def net(balance: Balance) -> int:
    """Units of an asset in all wallets, less what is owed."""
    return balance.um + balance.cm + balance.margin + balance.borrowed + balance.interest


def risk(state: AccountState, quotes: Quotes) -> Risk:
    """The account at the prices of the moment (uniMMR page).

    Equity is the sum over assets of min(N x price x rate, N x price), N being what is held less what is owed, with
    unrealised profit; actual equity of N x price. Margin is that of the positions and, of loans, loan / (leverage - 1)
    and loan x MMR, at index prices. There are no orders, so no open loss.
    """
    profit, initial, kept = Counter[str](), Counter[str](), Counter[str]()
    for held in holdings(state, quotes):
        profit[held.asset.name] += held.profit
        initial[held.asset.name] += held.initial
        kept[held.asset.name] += held.maintenance
    equity = actual = first = least = loans = 0
    for name in state.balances.keys() | profit.keys():
        balance, price, one = balance_of(state, name), quotes.prices.get(name, 0), 10 ** quotes.assets[name].scale
        units, loan = net(balance) + profit[name], owed(balance)
        actual += units * price // one
        equity += _collateral(units, price, quotes.rates.get(name, 0), one)
        first += _up((initial[name] + _up(loan, LOAN_LEVERAGE - 1)) * price, one)
        least += _up((kept[name] + _up(loan * LOAN_MAINTENANCE, RATIO_ONE)) * price, one)
        loans += _up(loan * price, one)
    return Risk(equity, actual, first, least, loans)


def profit_of(state: AccountState, quotes: Quotes) -> dict[Wallet, Counter[str]]:
    """Unrealised profit by wallet and asset, in units."""
    found = {Wallet.UM: Counter[str](), Wallet.CM: Counter[str]()}
    for held in holdings(state, quotes):
        found[held.wallet][held.asset.name] += held.profit
    return found


def withdrawable(state: AccountState, quotes: Quotes, asset: str) -> int:
    """Units of an asset that may be taken out of Cross Margin (FAQ).

    No more than is free, and no more than leaves equity at 1.2 x maintenance margin. What counts for nothing as
    collateral may all go, unless it turns the asset negative, which counts in full.
    """
    balance, price, one = balance_of(state, asset), quotes.prices.get(asset, 0), 10 ** quotes.assets[asset].scale
    if not price:
        return balance.margin_free
    rate, most = quotes.rates.get(asset, 0), risk(state, quotes).withdrawable
    if rate and not most:
        return 0
    units = net(balance) + sum(profit[asset] for profit in profit_of(state, quotes).values())
    floor = _collateral(units, price, rate, one) - most
    left = _up(floor * one * ONE, price * rate) if floor > 0 else _up(floor * one, price)
    return max(min(units - left, balance.margin_free), 0)


def loan_limit(asset: Asset) -> int:
    """Units of an asset that an account may owe."""
    whole: int = LOAN_LIMIT * 10**asset.scale
    return min(whole, MAX_UNITS)


def borrowable(state: AccountState, quotes: Quotes, name: str) -> Borrowable:
    """What may be borrowed of an asset (FAQ); nothing of one without a price.

    min((leverage - 1) x max(max withdraw - loans / (leverage - 1), 0) / price, limit - what is owed).
    """
    asset, price, now = quotes.assets[name], quotes.prices.get(name, 0), risk(state, quotes)
    limit = loan_limit(asset)
    usd = max((LOAN_LEVERAGE - 1) * now.withdrawable - now.loans, 0)
    room = usd * 10**asset.scale // price if price else 0
    return Borrowable(max(min(room, limit - owed(balance_of(state, name))), 0), limit)


def risk_level(state: AccountState, quotes: Quotes) -> RiskLevel | None:
    """What `riskLevelChange` would tell now; None while the account may trade freely."""
    return risk_level_of(risk(state, quotes))


def risk_level_of(now: Risk) -> RiskLevel | None:
    """The same of an account's figures. A bankrupt one is told as being liquidated: the event has no other word."""
    if now.status is Status.NORMAL:
        return None
    level = Status.FORCE_LIQUIDATION if now.status is Status.BANKRUPTED else now.status
    return RiskLevel(ratio_text(now), level, USD.text(now.equity), USD.text(now.actual), USD.text(now.maintenance))


def ratio_text(now: Risk) -> str:
    """uniMMR as the wire shows it: `99999999` without a need for margin."""
    return "99999999" if now.ratio == NO_NEED else USD.text(now.ratio)


def _collateral(units: int, price: int, rate: int, one: int) -> int:
    """USD that units count for as collateral; a negative amount counts in full."""
    return min(units * price // one, units * price * rate // (one * ONE))


def _up(units: int, parts: int) -> int:
    return -(-units // parts)


_LEVELS: Final = (
    (ONE * 150 // 100, Status.NORMAL),
    (ONE * 120 // 100, Status.MARGIN_CALL),
    (ONE * 105 // 100, Status.REDUCE_ONLY),
)
