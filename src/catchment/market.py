"""The market as somebody set it: mark prices, index prices, collateral rates. There is no feed and no matching engine.

What was set is kept as notes, so it holds for every process on the store; the rest comes from the settings and from the
tables here, whose round numbers are made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol

from catchment import errors
from catchment.asset import Asset
from catchment.errors import Rejection
from catchment.ledger.negative import ONE
from catchment.margin import USD, Quotes, futures_symbol
from catchment.store.base import Note
from catchment.symbol import Market, Symbol

STABLECOINS: Final = ("USDT", "USDC", "FDUSD", "BFUSD", "RWUSD")
# fmt: off
_COINS: Final = {
    # USD, collateral rate
    "BTC":  ("60000", "0.95"),
    "ETH":  ("3000",  "0.95"),
    "BNB":  ("600",   "0.95"),
    "SOL":  ("150",   "0.95"),
    "XRP":  ("0.5",   "0.95"),
    "DOGE": ("0.1",   "0.9"),
    "ADA":  ("0.5",   "0.9"),
    "TRX":  ("0.1",   "0.9"),
    "LINK": ("15",    "0.9"),
    "AVAX": ("30",    "0.9"),
    "DOT":  ("6",     "0.9"),
    "LTC":  ("80",    "0.9"),
    "BCH":  ("400",   "0.9"),
    "ETC":  ("25",    "0.9"),
    "ATOM": ("8",     "0.9"),
    "UNI":  ("8",     "0.9"),
    "FIL":  ("5",     "0.8"),
    "NEAR": ("5",     "0.8"),
    "APT":  ("8",     "0.8"),
    "SUI":  ("2",     "0.8"),
}
# fmt: on
PRICES: Final = dict.fromkeys(STABLECOINS, "1") | {name: price for name, (price, _) in _COINS.items()}
"""Index prices until others are set; an asset that is not listed has none."""
RATES: Final = dict.fromkeys(STABLECOINS, "1") | {name: rate for name, (_, rate) in _COINS.items()}
"""Collateral rates until others are set; an asset that is not listed counts for nothing. Live ones go by amount too."""


class Figure(StrEnum):
    """What can be set; each is the kind of its notes."""

    MARK = "mark_price"
    INDEX = "index_price"
    COLLATERAL = "collateral_rate"


class Notes(Protocol):
    """Where figures are kept: the venue."""

    notes_version: int

    async def all_kept(self, kind: str) -> list[Note]: ...

    async def keep(self, kind: str, name: str, text: str, *, expires: int = 0, replace: bool = True) -> bool: ...


class MarketState:
    """The figures of one venue, remembered until a note changes anywhere."""

    def __init__(
        self,
        notes: Notes,
        assets: Mapping[str, Asset],
        symbols: Mapping[Market, Mapping[str, Symbol]],
        prices: Mapping[str, int],
    ) -> None:
        self._notes = notes
        rates = {name: _whole(rate) for name, rate in RATES.items()}
        self._bare = Quotes(assets, symbols, _marks(symbols, prices), prices, rates)
        self._version: int | None = None
        self._reading = asyncio.Lock()
        self.latest = self._bare
        """What `quotes` gave last; before that, what nobody set."""

    async def quotes(self) -> Quotes:
        """The market now; what another process set is seen within 0.1 s. The store is read only after a note changed,
        and the same object is given until a figure does."""
        if self._version != self._notes.notes_version:
            async with self._reading:  # who waited for another's reading has no need of one more
                version = self._notes.notes_version
                if self._version != version:
                    quotes = await self._read()
                    self._version, self.latest = version, self.latest if quotes == self.latest else quotes
        return self.latest

    async def set(self, figure: Figure, name: str, text: str, *, replace: bool = True) -> int | Rejection:
        """Keep a figure; gives it at 8 decimals. Without `replace` one that was set stays. Refuses as `checked`."""
        value = self.checked(figure, name, text)
        if not isinstance(value, Rejection):
            await self._notes.keep(figure, name, USD.text(value), replace=replace)
        return value

    def checked(self, figure: Figure, name: str, text: str) -> int | Rejection:
        """The figure at 8 decimals.

        Refuses a symbol that is neither UM nor CM (-1121), an unknown asset (-1108), a text that is no decimal, a price
        of 0 or less and a rate outside 0 to 1 (-1130), more than 8 decimals (-1111).
        """
        if figure is Figure.MARK and futures_symbol(self._bare.symbols, name) is None:
            return errors.BAD_SYMBOL()
        if figure is not Figure.MARK and name not in self._bare.assets:
            return errors.BAD_ASSET()
        value = USD.units(text, figure)
        if isinstance(value, Rejection):
            return value
        least, most = (0, ONE) if figure is Figure.COLLATERAL else (1, value)
        return value if least <= value <= most else errors.INVALID_PARAMETER(figure)

    async def _read(self) -> Quotes:
        marks, prices, rates = [
            {note.name: _whole(note.text) for note in await self._notes.all_kept(figure)} for figure in Figure
        ]
        bare = self._bare
        prices = {**bare.prices, **prices}
        marks = {**_marks(bare.symbols, prices), **marks}
        return Quotes(bare.assets, bare.symbols, marks, prices, {**bare.rates, **rates})


def _marks(symbols: Mapping[Market, Mapping[str, Symbol]], prices: Mapping[str, int]) -> dict[str, int]:
    """The mark prices of symbols for which none was set: by the index prices of their halves; 0 if one has none."""
    marks = {name: prices.get(symbol.base, 0) for name, symbol in symbols[Market.CM].items()}
    for name, symbol in symbols[Market.UM].items():
        quote = prices.get(symbol.quote, 0)
        marks[name] = prices.get(symbol.base, 0) * ONE // quote if quote else 0
    return marks


def _whole(text: str) -> int:
    value = USD.units(text)
    assert isinstance(value, int)  # it stands here, or was checked before it was kept
    return value
