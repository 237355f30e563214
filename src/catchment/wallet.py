"""The three wallets of an account, the places money can be, and which of them a collection empties."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Wallet(StrEnum):
    """A wallet as the wire names it."""

    UM = "UM"
    CM = "CM"
    MARGIN = "MARGIN"


class Place(StrEnum):
    """Where units of one asset of one account can be; each value is also the name of a field of `Balance`.

    The eight places of an (account, asset) always sum to zero: `OUTSIDE` is the world beyond the venue (deposits and
    withdrawals), `MARKET` the other side of trades and fees. What is owed (`BORROWED`, `INTEREST`) is kept as a
    negative number of units, as in any signed double entry.
    """

    UM = "um"
    CM = "cm"
    MARGIN_FREE = "margin_free"
    MARGIN_LOCKED = "margin_locked"
    BORROWED = "borrowed"
    INTEREST = "interest"
    OUTSIDE = "outside"
    MARKET = "market"


FUTURES: Final[dict[Wallet, Place]] = {Wallet.UM: Place.UM, Wallet.CM: Place.CM}
"""The wallets a collection empties, in the order it does so; Cross Margin, the hub, is where they go."""

NON_NEGATIVE: Final[frozenset[Place]] = frozenset({Place.MARGIN_FREE, Place.MARGIN_LOCKED})
"""Places that no accepted command may leave below zero. UM and CM may be negative after a loss."""
