"""The symbols of the venue: spot pairs, UM and CM perpetuals, their steps and leverage brackets.

There is no matching engine: steps and brackets are what clients are told and what margin is computed from. Steps are
those of well-known live symbols; the live ones change, and so may these.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Refused

RATIO_ONE: Final = 10_000
"""Maintenance ratios are whole ten-thousandths."""


class Market(StrEnum):
    """Where a symbol is traded."""

    SPOT = "SPOT"
    UM = "UM"
    CM = "CM"


class Bracket(msgspec.Struct, frozen=True):
    """A step of the leverage ladder: from `floor` to `cap`, in the quote asset on UM and in the base asset on CM.

    The maintenance margin of a position of size s in it is (s x `ratio` - `cum`) / 10,000.
    """

    number: int
    leverage: int
    floor: int
    cap: int
    ratio: int
    cum: int


class Symbol(msgspec.Struct, frozen=True):
    """One symbol. `tick` and `step` are the steps of its price and quantity, as decimal texts.

    `contract` is the size of a CM contract in USD, and 1 elsewhere; `least` the smallest notional of an order.
    """

    name: str
    market: Market
    base: str
    quote: str
    tick: str
    step: str
    most: str = "1000000"
    least: str = "5"
    contract: int = 1

    @property
    def margin(self) -> str:
        """The asset that profit and margin are in; for a spot pair the quote."""
        return self.base if self.market is Market.CM else self.quote

    @property
    def brackets(self) -> tuple[Bracket, ...]:
        """The leverage ladder, which is the same for all symbols of a market; a spot pair has none."""
        return _BRACKETS.get(self.market, ())


def known_symbols(more: Mapping[str, str], assets: Collection[str]) -> dict[Market, dict[str, Symbol]]:
    """Every symbol by market and name: the built-in ones, then those of the setting `symbols`.

    Refuses (BAD_SETTING) a name whose halves are not assets, and steps that are not two decimals greater than 0.
    """
    found: dict[Market, dict[str, Symbol]] = {market: {} for market in Market}
    added = [symbol for name, steps in more.items() for symbol in _added(name, steps, assets)]
    for symbol in (*_BUILT_IN, *added):
        found[symbol.market][symbol.name] = symbol
    return found


def decimals(step: str) -> int:
    """How many decimals a step is written with: the precision that goes with it, 2 for `0.10`."""
    return len(step.partition(".")[2])


def _added(name: str, steps: str, assets: Collection[str]) -> list[Symbol]:
    match = _STEPS.fullmatch(steps)
    if match is None:
        raise Refused(errors.BAD_SETTING("symbols", f'{name}: write "PRICE STEP/QUANTITY STEP", as in "0.01/0.001"'))
    tick, second = match.groups()
    if name.endswith(PERP):
        base = name.removesuffix(PERP)
        if base in assets and second.isdigit():
            return [_cm(base, tick, int(second))]
    else:
        for quote in _QUOTES:
            base = name.removesuffix(quote)
            if base != name and base in assets:
                return [Symbol(name, market, base, quote, tick, second) for market in (Market.SPOT, Market.UM)]
    raise Refused(errors.BAD_SETTING("symbols", f"{name} is not two assets, like BTCUSDT, or one, like BTCUSD_PERP"))


def _cm(base: str, tick: str, contract: int) -> Symbol:
    return Symbol(f"{base}{PERP}", Market.CM, base, "USD", tick, "1", least="0", contract=contract)


def _ladder(*steps: tuple[int, int, int]) -> tuple[Bracket, ...]:
    """Brackets from (leverage, cap, ratio); `cum` makes the margin continuous from one to the next."""
    brackets: list[Bracket] = []
    floor = cum = before = 0
    for number, (leverage, cap, ratio) in enumerate(steps, 1):
        cum += floor * (ratio - before) if brackets else 0
        brackets.append(Bracket(number, leverage, floor, cap, ratio, cum))
        floor, before = cap, ratio
    return tuple(brackets)


PERP: Final = "USD_PERP"
_STEPS = re.compile(r"((?=[\d.]*[1-9])\d+(?:\.\d+)?)/((?=[\d.]*[1-9])\d+(?:\.\d+)?)", re.ASCII)
_QUOTES = ("FDUSD", "USDT", "USDC", "BTC", "ETH", "BNB")
_BRACKETS = {
    Market.UM: _ladder(
        (125, 50_000, 40),
        (100, 600_000, 50),
        (75, 3_000_000, 65),
        (50, 12_000_000, 100),
        (25, 70_000_000, 200),
        (20, 100_000_000, 250),
        (10, 230_000_000, 500),
        (5, 480_000_000, 1_000),
        (4, 600_000_000, 1_250),
        (3, 800_000_000, 1_500),
        (2, 1_200_000_000, 2_500),
        (1, 1_800_000_000, 5_000),
    ),
    Market.CM: _ladder(
        (125, 5, 40),
        (100, 10, 50),
        (50, 20, 100),
        (20, 50, 250),
        (10, 100, 500),
        (5, 200, 1_000),
        (4, 400, 1_250),
        (3, 1_000, 1_500),
        (2, 1_500, 2_500),
    ),
}

# fmt: off
_SPOT_ROWS = (
    # base, quote, tick, step, most
    ("BTC",  "USDT", "0.01",    "0.00001", "9000"),
    ("ETH",  "USDT", "0.01",    "0.0001",  "9000"),
    ("BNB",  "USDT", "0.01",    "0.001",   "900000"),
    ("SOL",  "USDT", "0.01",    "0.001",   "9000000"),
    ("XRP",  "USDT", "0.0001",  "0.1",     "9000000"),
    ("DOGE", "USDT", "0.00001", "1",       "90000000"),
    ("ADA",  "USDT", "0.0001",  "0.1",     "9000000"),
    ("LINK", "USDT", "0.01",    "0.01",    "900000"),
    ("LTC",  "USDT", "0.01",    "0.001",   "900000"),
    ("USDC", "USDT", "0.0001",  "1",       "90000000"),
    ("BTC",  "USDC", "0.01",    "0.00001", "9000"),
    ("ETH",  "USDC", "0.01",    "0.0001",  "9000"),
    ("BTC",  "FDUSD", "0.01",   "0.00001", "9000"),
)
_UM_ROWS = (
    # base, quote, tick, step, most, least notional
    ("BTC",  "USDT", "0.10",     "0.001", "1000",     "100"),
    ("ETH",  "USDT", "0.01",     "0.001", "10000",    "20"),
    ("BNB",  "USDT", "0.010",    "0.01",  "100000",   "5"),
    ("SOL",  "USDT", "0.0100",   "0.01",  "1000000",  "5"),
    ("XRP",  "USDT", "0.0001",   "0.1",   "10000000", "5"),
    ("DOGE", "USDT", "0.000010", "1",     "50000000", "5"),
    ("ADA",  "USDT", "0.00010",  "1",     "2000000",  "5"),
    ("LINK", "USDT", "0.001",    "0.01",  "200000",   "20"),
    ("LTC",  "USDT", "0.01",     "0.001", "10000",    "20"),
    ("BTC",  "USDC", "0.1",      "0.001", "1000",     "100"),
    ("ETH",  "USDC", "0.01",     "0.001", "10000",    "20"),
)
_CM_ROWS = (
    # base, tick, contract in USD
    ("BTC",  "0.1",     100),
    ("ETH",  "0.01",    10),
    ("BNB",  "0.010",   10),
    ("SOL",  "0.010",   10),
    ("XRP",  "0.0001",  10),
    ("DOGE", "0.00001", 10),
    ("ADA",  "0.00010", 10),
    ("LINK", "0.001",   10),
    ("LTC",  "0.01",    10),
)
# fmt: on
_BUILT_IN: Final = (
    *(Symbol(f"{row[0]}{row[1]}", Market.SPOT, *row) for row in _SPOT_ROWS),
    *(Symbol(f"{row[0]}{row[1]}", Market.UM, *row) for row in _UM_ROWS),
    *(_cm(*row) for row in _CM_ROWS),
)
