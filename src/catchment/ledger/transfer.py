"""A transfer is two entries that sum to zero, or it does not exist.

Only the amount and the two ends are kept; the entries are read from them, so an unbalanced transfer cannot be written
down.
"""

from __future__ import annotations

import msgspec

from catchment.wallet import Place


class Entry(msgspec.Struct, frozen=True):
    """One debit or credit of one place, in units, with the balance after it and that balance's version."""

    asset: str
    place: Place
    amount: int
    balance_after: int
    version: int


class Move(msgspec.Struct, frozen=True, gc=False):
    """What a command would move, before the balances are looked at: `amount` units (> 0) of `asset`."""

    asset: str
    amount: int
    source: Place
    target: Place


class Transfer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`amount` units (> 0) of `asset` from `source` to `target`, with what both hold afterwards."""

    asset: str
    amount: int
    source: Place
    target: Place
    source_after: int
    target_after: int
    version: int

    @property
    def entries(self) -> tuple[Entry, Entry]:
        """The debit, then the credit."""
        return (
            Entry(self.asset, self.source, -self.amount, self.source_after, self.version),
            Entry(self.asset, self.target, self.amount, self.target_after, self.version),
        )
