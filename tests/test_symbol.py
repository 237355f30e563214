"""The table of symbols: what is built in, what a setting adds, and the ladder of leverage."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest

from catchment.errors import Refused
from catchment.symbol import RATIO_ONE, Market, Symbol, decimals, known_symbols
from catchment.venue import ASSETS

BUILT_IN = known_symbols({}, ASSETS)


@pytest.mark.parametrize("market", Market)
def test_built_in_symbols_are_whole(market: Market) -> None:
    assert len(BUILT_IN[market]) >= 9
    for name, symbol in BUILT_IN[market].items():
        assert (symbol.name, symbol.market) == (name, market)
        assert symbol.base in ASSETS
        assert symbol.margin in ASSETS
        assert name == f"{symbol.base}{symbol.quote}" + ("_PERP" if market is Market.CM else "")
        assert Decimal(symbol.tick) > 0
        assert Decimal(symbol.most) % Decimal(symbol.step) == 0
        assert (symbol.contract > 1) == (market is Market.CM)


def test_well_known_ones_are_there() -> None:
    assert {"BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"} <= BUILT_IN[Market.SPOT].keys() & BUILT_IN[Market.UM].keys()
    assert {"BTCUSD_PERP", "ETHUSD_PERP"} <= BUILT_IN[Market.CM].keys()


def test_a_setting_adds_a_pair_to_spot_and_um() -> None:
    found = known_symbols({"NEARUSDT": "0.0010/1"}, ASSETS)
    for market in (Market.SPOT, Market.UM):
        assert found[market]["NEARUSDT"] == Symbol("NEARUSDT", market, "NEAR", "USDT", "0.0010", "1")
    assert found[Market.CM] == BUILT_IN[Market.CM]


def test_a_setting_adds_a_coin_margined_contract() -> None:
    added = known_symbols({"NEARUSD_PERP": "0.001/10"}, ASSETS)[Market.CM]["NEARUSD_PERP"]
    assert (added.base, added.quote, added.margin, added.tick, added.contract) == ("NEAR", "USD", "NEAR", "0.001", 10)


def test_a_setting_may_change_the_steps_of_a_built_in_symbol() -> None:
    assert known_symbols({"BTCUSDT": "1/0.01"}, ASSETS)[Market.UM]["BTCUSDT"].tick == "1"


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("NEARUSDT", "0.001"),
        ("NEARUSDT", "0.001/"),
        ("NEARUSDT", "0/1"),
        ("NEARUSDT", "0.1/0.00"),
        ("NEARUSDT", "-1/1"),
        ("NEARUSDT", "1e-3/1"),
        ("NEARUSDT", "٣/1"),
        ("NOPEUSDT", "0.1/1"),
        ("NEAREUR", "0.1/1"),
        ("USDT", "0.1/1"),
        ("", "0.1/1"),
        ("NOPEUSD_PERP", "0.1/10"),
        ("NEARUSD_PERP", "0.1/0.5"),
    ],
)
def test_a_setting_that_is_no_symbol_is_refused(name: str, steps: str) -> None:
    with pytest.raises(Refused, match="Setting symbols: "):
        known_symbols({name: steps}, ASSETS)


@pytest.mark.parametrize("market", [Market.UM, Market.CM])
def test_the_ladder_has_no_gap_and_no_jump(market: Market) -> None:
    brackets = next(iter(BUILT_IN[market].values())).brackets
    assert [bracket.number for bracket in brackets] == list(range(1, len(brackets) + 1))
    assert (brackets[0].floor, brackets[0].cum, brackets[0].leverage) == (0, 0, 125)
    for lower, upper in pairwise(brackets):
        assert upper.floor == lower.cap < upper.cap
        assert upper.leverage < lower.leverage
        assert upper.ratio > lower.ratio
        assert lower.cap * lower.ratio - lower.cum == upper.floor * upper.ratio - upper.cum
    assert all(bracket.leverage * bracket.ratio <= RATIO_ONE for bracket in brackets), "liquidated later than opened"


def test_a_spot_pair_has_no_ladder() -> None:
    assert BUILT_IN[Market.SPOT]["BTCUSDT"].brackets == ()


@pytest.mark.parametrize(("step", "count"), [("0.10", 2), ("1", 0), ("0.000010", 6)])
def test_decimals(step: str, count: int) -> None:
    assert decimals(step) == count
