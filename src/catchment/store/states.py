"""Where an SQLite file has each account's newest state, and the states its writer keeps in memory.

A commit appends states to the table `recent`, one page after the other. Every few thousand records they are folded into
`holding`, where each account has a row of its own, a piece with each commit, and then forgotten in `recent`. So an
account's state is the newest one in `recent`, or the one in `holding`. Nothing here decides what a state is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

from catchment.ledger.balance import AccountId, AccountState
from catchment.store.statements import SQL, fold_rows, read_rows, sound

FOLD_EVERY: Final = 8_192
"""Records after which a fold begins."""
FOLD_AT_ONCE: Final = 4 * FOLD_EVERY
"""Records after which it is done in one piece: others write so often that none of several pieces is the last."""
FOLD_STEP: Final = 128
"""States that one commit folds at least; or twice as many as it appends, so that a fold comes to its end."""
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

        A fold ends in the transaction of an append, so it changes both ends of `recent`. Raises `StoreDamaged`.
        """
        newest, first = connection.execute(SQL["newest"]).fetchone()
        if newest == self.newest:
            return False
        if first != self._first:
            self._forget_before(first or newest + 1)
            self._first = first
        for account, sequence, _, _ in map(sound, connection.execute(SQL["recent_after"], (self.newest,))):
            self._heads[account] = sequence
        self.newest = newest
        return True

    def unfolded(self, newest: int) -> int:
        """How many records there are since the last fold, if the journal's last sequence is `newest`."""
        return newest - self._first + 1 if self._first else newest - self.newest

    def advance(self, heads: Mapping[AccountId, int], newest: int, *, folded: int) -> None:
        """What this connection itself has just committed; `folded` is up to where a fold emptied `recent`, or 0."""
        self._heads.update(heads)
        if folded:
            self._forget_before(folded + 1)
            self._first = min(self._heads.values(), default=0)
        else:
            self._first = self._first or min(heads.values())
        self.newest = newest

    def by_account(self) -> list[int]:
        """The sequences of all states in `recent` that are their account's newest, in the order of the accounts."""
        return [sequence for _, sequence in sorted(self._heads.items())]

    def _forget_before(self, first: int) -> None:
        self._heads = {account: sequence for account, sequence in self._heads.items() if sequence >= first}

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


class Fold:
    """A fold under way: the states still to be written to `holding`, and up to where `recent` is then forgotten."""

    def __init__(self) -> None:
        self._left: list[int] = []
        self._until = 0
        self._written = 0

    def abandon(self) -> None:
        """Somebody else has written: whoever goes on begins anew."""
        self._left = []

    def step(self, connection: sqlite3.Connection, heads: Heads, newest: int, records: int) -> int:
        """A piece of the fold, in a transaction that appended so many records up to `newest`.

        Gives the sequence that it ended with, or 0. What it wrote counts once `committed` is called.
        """
        self._written = 0
        waiting = heads.unfolded(newest)
        if waiting < FOLD_EVERY and not self._left:
            return 0
        if waiting >= FOLD_AT_ONCE:
            connection.execute(SQL["fold"])
            connection.execute(SQL["forget_recent"])
            self._left = []
            return newest
        if not self._left:
            self._left, self._until = heads.by_account()[::-1], heads.newest
        self._written = min(len(self._left), max(FOLD_STEP, 2 * records))
        fold_rows(connection, self._left[-self._written :])
        if self._written < len(self._left):
            return 0
        connection.execute(SQL["forget_recent_until"], (self._until,))
        return self._until

    def committed(self) -> None:
        if self._written:
            del self._left[-self._written :]
            self._written = 0
