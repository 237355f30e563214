"""The seam between the venue and its engines: transaction, load, append, tail, and the accounts, assets and API keys.

An engine does no arithmetic on money and knows no rule: it keeps what it is given and gives it back. Calls block; the
venue makes them from threads of its own. Writes come from one thread, reads from any.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Final, Protocol, runtime_checkable

import msgspec

from catchment import errors
from catchment.errors import Refused
from catchment.ledger.balance import AccountId, AccountState, QuotaUse
from catchment.ledger.journal import Record, Stored
from catchment.signature import ApiKey

SCHEMA_VERSION: Final = 4
"""The newest schema of an SQLite file."""
ABOVE_ALL: Final = AccountId(b"\xff" * 17)
"""Greater than the id of any account."""
TAKEN: Final = "an account or a key is there already"


class StoreFailed(Refused):
    """The engine could not do it and nothing happened; its text is the engine's reason, for the operator."""

    def __init__(self, reason: object = "") -> None:
        super().__init__(errors.STORE_UNAVAILABLE())
        self.args = (reason,)


class StoreDamaged(StoreFailed):
    """What the engine gave back is not what was written."""


class StoreBusy(StoreFailed):
    """Another writer was in the way and nothing happened: the same may be tried again at once."""


class StoreUnknown(Refused):
    """The commit failed half-way: it may have happened. Read again before repeating."""

    def __init__(self, reason: object = "") -> None:
        super().__init__(errors.OUTCOME_UNKNOWN())
        self.args = (reason,)


class Account(msgspec.Struct, frozen=True):
    """A customer's account: who, when made (milliseconds), and whether it is enrolled in Portfolio Margin."""

    id: AccountId
    name: str
    portfolio_margin: bool
    created: int


class Note(msgspec.Struct, frozen=True):
    """Something to remember that is not money: a text of some kind under a name.

    `expires` is in milliseconds of the venue's clock, 0 for never; an expired note does not exist.
    """

    kind: str
    name: str
    text: str
    expires: int = 0

    def living(self, now: int) -> bool:
        return not self.expires or self.expires > now


class Answered(msgspec.Struct, frozen=True):
    """A request and its answer, fit to be shown: the key shortened, no signature, no secret.

    `id` grows in the order of writing and is 0 before it. `account` is the key's, empty for nobody's. `time` is in
    milliseconds, `took` in microseconds; `code` is 0 of a success, `status` 0 if the caller went away. `record` is the
    number of the record it made in its account, if it made one. `left_out` counts requests, of anybody, that were
    answered since the ones written before and are not kept.
    """

    id: int
    account: AccountId
    time: int
    key: str
    address: str
    method: str
    path: str
    parameters: list[tuple[str, str]]
    weight: int
    status: int
    code: int
    took: int
    record: int = 0
    left_out: int = 0


class Share(msgspec.Struct, frozen=True):
    """The accounts whose id ends in a byte from `first` to `last`, for one of several readers. Ids end at random."""

    first: int
    last: int

    def holds(self, account: AccountId) -> bool:
        return self.first <= (account[-1] if account else 0) <= self.last


class Transaction(Protocol):
    """One atomic piece of writing. What it loaded stays as it was until it ends."""

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        """The states of accounts, locked; an account that does not exist is left out.

        They may be changed, by `apply`; a change that is not appended is forgotten with the transaction.
        """
        ...

    def append(self, records: Sequence[Record], states: Mapping[AccountId, AccountState]) -> list[int]:
        """Write records and the states after them; gives each record its sequence, from 1 without a gap.

        The states are the store's own from now on, and no longer changed outside a transaction.
        """
        ...


class LoopTransaction(Protocol):
    """A transaction for whoever awaits; otherwise as `Transaction`."""

    async def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]: ...

    async def append(self, records: Sequence[Record], states: Mapping[AccountId, AccountState]) -> list[int]: ...


class LoopWriter(Protocol):
    """What writes to a store on an event loop: for an engine that is waited for, not computed with. Several
    transactions may be under way at the same time."""

    def transaction(self) -> AbstractAsyncContextManager[LoopTransaction]: ...

    async def count_uses(self, account: AccountId, uses: Collection[str], since: int) -> QuotaUse: ...

    async def close(self) -> None: ...


class Requests(Protocol):
    """The last requests, as an engine keeps them: an aid, not a ledger. What is damaged or missing is made anew.

    Raises `StoreFailed`; then nothing was kept. Called from any thread.
    """

    def write(self, answered: Sequence[Answered]) -> None:
        """Keep them, in this order; each is given an id greater than all before it."""
        ...

    def newest(self, account: AccountId | None, before: int, limit: int) -> list[Answered]:
        """At most `limit` of an account, or of all and nobody, with an id under `before`; newest first."""
        ...

    def of_record(self, account: AccountId, number: int) -> Answered | None:
        """The request that made a record, if it is kept."""
        ...

    def left_out(self, since: int, before: int) -> int:
        """How many were not kept, by what is written from an id on and before another."""
        ...

    def last(self) -> int:
        """The newest id, 0 if there is none. Cheap enough to be asked many times a second."""
        ...

    def prune(self, accounts: Collection[AccountId], of_account: int, of_all: int, before: int) -> None:
        """Forget all but the newest so many of each of these accounts, then of all; and those from before a time, but
        for the newest one of all."""
        ...

    def close(self) -> None: ...


class Store(Protocol):
    """An engine. Opened by its constructor, which makes or upgrades the schema and refuses a newer one.

    A reading that fails raises `StoreFailed`.
    """

    address: str

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commit when the block ends, roll back when it raises. Raises `StoreFailed` or `StoreUnknown`."""
        ...

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        """A reading of states without a lock: each as of one commit."""
        ...

    def tail(self, after: int, limit: int, share: Share | None = None) -> list[Stored]:
        """At most `limit` records whose sequence is greater than `after`, in order; none if there are none.

        All accounts', and `StoreDamaged` where one is missing; or those of a share, whose reader has to see to that.
        """
        ...

    def newest(self) -> int:
        """The sequence of the journal's last record, whoever wrote it; 0 if there is none. Cheap enough to be asked
        many times a second."""
        ...

    def touched(self, after: int, until: int, *, but: Collection[str]) -> set[AccountId]:
        """Accounts with a record after one sequence, up to another, whose command's name is none of `but`. Others may
        be among them. It is told what to look at again, not what is true: rows that nobody is served are not checked.
        """
        ...

    def history(
        self, account: AccountId, *, since: int, until: int, below: int, limit: int, newest_first: bool
    ) -> list[Stored]:
        """At most `limit` records of an account with `since <= timestamp <= until` (milliseconds).

        Newest first: those numbered under `below`. Oldest first: those numbered over `below`.
        """
        ...

    def count_uses(self, account: AccountId, uses: Collection[str], since: int) -> QuotaUse:
        """Commands of an account that count as any of the uses (`quota.use_of`) at or after `since` (milliseconds).

        `since` of the answer is the time of the oldest one counted, or the given one if there was none.
        """
        ...

    def add_account(self, account: Account) -> bool:
        """Keep a new account with an empty state; False if its name is taken."""
        ...

    def account(self, account: AccountId) -> Account | None: ...

    def account_named(self, name: str) -> Account | None: ...

    def accounts(self, after: AccountId | None, limit: int) -> list[Account]:
        """At most `limit` accounts in the order of their ids, those greater than `after`."""
        ...

    def accounts_before(self, before: AccountId | None, limit: int) -> list[Account]:
        """At most `limit` accounts in the order of their ids: the last of those less than `before`, or of all."""
        ...

    def admit(self, accounts: Sequence[Account], keys: Sequence[ApiKey]) -> None:
        """Keep many new accounts, with empty states, and new keys as they are, all in one commit.

        Raises `StoreFailed` if one is there already.
        """
        ...

    def add_key(self, key: ApiKey) -> bool:
        """Keep a new API key; False if the text is taken."""
        ...

    def key(self, api_key: str) -> ApiKey | None:
        """A key, revoked ones included."""
        ...

    def keys(self, account: AccountId) -> list[ApiKey]: ...

    def revoke_key(self, api_key: str, now: int) -> bool:
        """Mark a living key as revoked; False if there is none."""
        ...

    def keys_version(self) -> int:
        """A number that changes whenever a key was added or revoked, by any process."""
        ...

    def put_note(self, note: Note, now: int, *, replace: bool) -> bool:
        """Keep a note; False, and nothing done, if a living one of its kind and name is there and `replace` is not
        said. Forgets the expired ones of its kind."""
        ...

    def note(self, kind: str, name: str, now: int) -> Note | None: ...

    def notes(self, kind: str, now: int) -> list[Note]:
        """Every living note of a kind, in the order of their names."""
        ...

    def drop_note(self, kind: str, name: str, now: int) -> bool:
        """Forget a note; True for one caller alone, and only if it was living."""
        ...

    def notes_version(self) -> int:
        """A number that changes whenever a note was kept or dropped, by any process."""
        ...

    def add_assets(self, assets: Mapping[str, int]) -> dict[str, int]:
        """Keep the scales of assets not yet known; gives all known scales, which never change."""
        ...

    def fingerprint(self, value: str) -> str:
        """Keep the master key's fingerprint if there is none yet; gives the one that is kept."""
        ...

    def count(self) -> tuple[int, int]:
        """How many accounts there are, and how many living keys."""
        ...

    def requests(self) -> Requests:
        """The last requests at this store. Nothing is opened or made before they are used."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class OnLoop(Protocol):
    """An engine that can be written to on an event loop."""

    def on_loop(self) -> LoopWriter: ...
