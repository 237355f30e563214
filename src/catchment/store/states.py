"""Where an SQLite file has each account's newest state, and the states its writer keeps in memory.

A commit appends states to the table `recent`, one page after the other; every few thousand records they are folded into
`holding`, where each account has a row of its own. So a state is in `recent` if it is newer than the last fold, and in
`holding` otherwise. Nothing here decides what a state is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

from catchment.ledger.balance import AccountId, AccountState
from catchment.store.statements import SQL, read_rows, sound

STATES_KEPT: Final = 16_384
"""Accounts whose state the writer keeps in memory, about 2 KiB each; those written longest ago are forgotten first."""

Row = tuple[AccountId, int, str, int]
"""Account, sequence of its newest record (its head), state as text, checksum."""


class Heads:
    """Accounts that have a state in `recent`, and the sequence it stands at, as one connection last saw them."""

    def __init__(self) -> None:
        self._heads: dict[AccountId, int] = {}
        self._first = 0
        self.newest = 0
        """The journal's last sequence."""

    def look(self, connection: sqlite3.Connection) -> bool:
        """Catch up, inside a transaction of the connection; whether anything was appended since the last look.

        A fold empties `recent` in the transaction of an append, so it changes both ends. Raises `StoreDamaged`.
        """
        newest, first = connection.execute(SQL["newest"]).fetchone()
        if newest == self.newest:
            return False
        if first != self._first:
            self._heads.clear()
            self._first = first
        for account, sequence, _, _ in map(sound, connection.execute(SQL["recent_after"], (self.newest,))):
            self._heads[account] = sequence
        self.newest = newest
        return True

    def unfolded(self, newest: int) -> int:
        """How many records there are since the last fold, if the journal's last sequence is `newest`."""
        return newest - self._first + 1 if self._first else newest - self.newest

    def advance(self, heads: Mapping[AccountId, int], newest: int, *, folded: bool) -> None:
        """What this connection itself has just committed."""
        if folded:
            self._heads.clear()
            self._first = 0
        else:
            self._heads.update(heads)
            self._first = self._first or min(heads.values())
        self.newest = newest

    def head(self, connection: sqlite3.Connection, account: AccountId) -> int:
        """The sequence of an account's newest record; 0 if it has none."""
        head = self._heads.get(account)
        if head is None:
            row = connection.execute(SQL["head"], {"account": account}).fetchone()
            head = 0 if row is None else int(row[0])
        return head

    def load(self, connection: sqlite3.Connection, accounts: Collection[AccountId]) -> list[Row]:
        """The newest state of each account that exists. Raises `StoreDamaged`."""
        recent = [self._heads[account] for account in accounts if account in self._heads]
        held = [account for account in accounts if account not in self._heads]
        return [*map(sound, read_rows(connection, "load_recent", recent) + read_rows(connection, "load_held", held))]


class Kept:
    """States of the accounts written last, as of the newest commit, with their heads; true as long as nobody else
    appends. Who takes one out owns it: it is put back only by the commit that changed it."""

    def __init__(self) -> None:
        # One is filled, then the other is forgotten whole: cheaper than to know the age of each.
        self._young: dict[AccountId, tuple[AccountState, int]] = {}
        self._old: dict[AccountId, tuple[AccountState, int]] = {}

    def take(self, account: AccountId) -> tuple[AccountState, int] | None:
        young, old = self._young.pop(account, None), self._old.pop(account, None)
        return young or old

    def put(self, states: Mapping[AccountId, AccountState], heads: Mapping[AccountId, int]) -> None:
        if len(self._young) >= STATES_KEPT // 2:
            self._old, self._young = self._young, {}
        young = self._young
        for account, state in states.items():
            young[account] = (state, heads[account])

    def forget(self) -> None:
        self._young.clear()
        self._old.clear()
