"""What a collection would do, as flows for a picture: from a futures wallet, by asset, to Cross Margin or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from catchment.asset import Asset
from catchment.ledger.journal import Record
from catchment.venue import STABLECOINS, Preview
from catchment.wallet import Place

FIRST: Final = (*STABLECOINS, "BTC", "ETH", "BNB")
WIDE: Final = 1_000
"""The widths of all flows together."""
THIN: Final = 60
"""The width of a flow that would hardly be seen, or has no price."""


class Flow(msgspec.Struct, frozen=True):
    """`units` of an asset in `source`. `moves` to Cross Margin, or stays, and `why`; `width` is for the eye alone."""

    asset: Asset
    source: Place
    units: int
    moves: bool
    why: str = ""
    width: int = THIN


def by_habit(asset: str) -> tuple[int, str]:
    """Sorts assets in the order in which venues list them: dollars first."""
    return FIRST.index(asset) if asset in FIRST else len(FIRST), asset


def flows(preview: Preview, assets: Mapping[str, Asset], prices: Mapping[str, int]) -> list[Flow]:
    """Every flow of a preview, what moves first, and as wide as its worth by `prices` (USD, 8 decimals)."""
    moves = preview.answer.transfers if isinstance(preview.answer, Record) else ()
    found = [Flow(assets[move.asset], move.source, move.amount, True) for move in moves]
    found += [Flow(assets[stay.asset], stay.place, stay.amount, False, stay.why) for stay in preview.stays]
    found.sort(key=lambda flow: (not flow.moves, by_habit(flow.asset.name)))
    worths = [abs(flow.units) * prices.get(flow.asset.name, 0) // 10**flow.asset.scale for flow in found]
    whole = sum(worths) or 1
    return [
        msgspec.structs.replace(flow, width=max(THIN, worth * WIDE // whole))
        for flow, worth in zip(found, worths, strict=True)
    ]
