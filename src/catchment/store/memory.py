"""The reference engine: plain dictionaries, forgets when it closes. A batch that fails leaves no trace."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import msgspec

from catchment.ledger.balance import AccountId, AccountState, QuotaUse, decode_state, encode_state
from catchment.ledger.journal import Record, Stored
from catchment.ledger.quota import use_of
from catchment.signature import ApiKey
from catchment.store.base import TAKEN, Account, Answered, Note, Share, StoreFailed


class MemoryStore:
    """Keeps states as text, as every engine does, so that a state handed out is never the one kept."""

    def __init__(self) -> None:
        self.address = "memory:"
        self._lock = threading.RLock()
        self._accounts: dict[AccountId, Account] = {}
        self._names: dict[str, AccountId] = {}
        self._states: dict[AccountId, str] = {}
        self._journal: list[Stored] = []
        self._of_account: dict[AccountId, list[Stored]] = {}
        self._keys: dict[str, ApiKey] = {}
        self._keys_version = 0
        self._assets: dict[str, int] = {}
        self._fingerprint = ""
        self._notes: dict[tuple[str, str], Note] = {}
        self._notes_version = 0
        self._requests = _MemoryRequests()

    @contextmanager
    def transaction(self) -> Iterator[_MemoryTransaction]:
        with self._lock:
            transaction = _MemoryTransaction(self)
            yield transaction
            self._commit(transaction.written, transaction.states)

    def _commit(self, written: Sequence[Stored], states: Mapping[AccountId, AccountState]) -> None:
        for stored in written:
            self._journal.append(stored)
            self._of_account[stored.record.account].append(stored)
        for account, state in states.items():
            self._states[account] = encode_state(state)

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        with self._lock:
            return {account: decode_state(self._states[account]) for account in accounts if account in self._states}

    def tail(self, after: int, limit: int, share: Share | None = None) -> list[Stored]:
        with self._lock:
            if share is None:
                return self._journal[after : after + limit]
            mine = (stored for stored in self._journal[after:] if share.holds(stored.record.account))
            return list(islice(mine, limit))

    def newest(self) -> int:
        return len(self._journal)

    def touched(self, after: int, until: int, *, but: Collection[str]) -> set[AccountId]:
        with self._lock:
            records = [stored.record for stored in self._journal[after:until]]
        return {record.account for record in records if type(record.command).__name__ not in but}

    def history(
        self, account: AccountId, *, since: int, until: int, below: int, limit: int, newest_first: bool
    ) -> list[Stored]:
        with self._lock:
            own = self._of_account.get(account, [])
            first = bisect_left(own, since, key=_timestamp)
            last = bisect_right(own, until, key=_timestamp)
            if newest_first:
                last = min(last, below - 1)
                return own[max(first, last - limit) : last][::-1] if last > first else []
            first = max(first, below)
            return own[first : min(last, first + limit)]

    def count_uses(self, account: AccountId, uses: Collection[str], since: int) -> QuotaUse:
        with self._lock:
            times = [
                stored.record.timestamp
                for stored in self._of_account.get(account, [])
                if stored.record.timestamp >= since and use_of(stored.record.command) in uses
            ]
            return QuotaUse(min(times, default=since), len(times))

    def add_account(self, account: Account) -> bool:
        with self._lock:
            if account.name in self._names:
                return False
            self._accounts[account.id] = account
            self._names[account.name] = account.id
            self._states[account.id] = encode_state(AccountState(portfolio_margin=account.portfolio_margin))
            self._of_account[account.id] = []
            return True

    def account(self, account: AccountId) -> Account | None:
        return self._accounts.get(account)

    def account_named(self, name: str) -> Account | None:
        with self._lock:
            return self._accounts[self._names[name]] if name in self._names else None

    def accounts(self, after: AccountId | None, limit: int) -> list[Account]:
        with self._lock:
            ids = sorted(self._accounts)
            start = bisect_right(ids, after) if after is not None else 0
            return [self._accounts[account] for account in ids[start : start + limit]]

    def accounts_before(self, before: AccountId | None, limit: int) -> list[Account]:
        with self._lock:
            ids = sorted(self._accounts)
            end = bisect_left(ids, before) if before is not None else len(ids)
            return [self._accounts[account] for account in ids[max(0, end - limit) : end]]

    def add_key(self, key: ApiKey) -> bool:
        with self._lock:
            if key.api_key in self._keys:
                return False
            self._keys[key.api_key] = key
            self._keys_version += 1
            return True

    def admit(self, accounts: Sequence[Account], keys: Sequence[ApiKey]) -> None:
        with self._lock:
            names, texts = [account.name for account in accounts], [key.api_key for key in keys]
            if len({*names, *self._names}) + len({*texts, *self._keys}) != sum(
                map(len, (names, self._names, texts, self._keys))
            ):
                raise StoreFailed(TAKEN)
            for account in accounts:
                self.add_account(account)
            for key in keys:
                self.add_key(key)

    def key(self, api_key: str) -> ApiKey | None:
        return self._keys.get(api_key)

    def keys(self, account: AccountId) -> list[ApiKey]:
        with self._lock:
            return sorted((key for key in self._keys.values() if key.account == account), key=lambda key: key.api_key)

    def revoke_key(self, api_key: str, now: int) -> bool:
        with self._lock:
            key = self._keys.get(api_key)
            if key is None or key.revoked:
                return False
            self._keys[api_key] = msgspec.structs.replace(key, revoked=now)
            self._keys_version += 1
            return True

    def keys_version(self) -> int:
        return self._keys_version

    def put_note(self, note: Note, now: int, *, replace: bool) -> bool:
        with self._lock:
            if not replace and self.note(note.kind, note.name, now):
                return False
            self._notes = {
                place: kept for place, kept in self._notes.items() if kept.kind != note.kind or kept.living(now)
            }
            self._notes[note.kind, note.name] = note
            self._notes_version += 1
            return True

    def note(self, kind: str, name: str, now: int) -> Note | None:
        note = self._notes.get((kind, name))
        return note if note is not None and note.living(now) else None

    def notes(self, kind: str, now: int) -> list[Note]:
        with self._lock:
            found = [note for note in self._notes.values() if note.kind == kind and note.living(now)]
            return sorted(found, key=lambda note: note.name)

    def drop_note(self, kind: str, name: str, now: int) -> bool:
        with self._lock:
            note = self._notes.pop((kind, name), None)
            self._notes_version += note is not None
            return note is not None and note.living(now)

    def notes_version(self) -> int:
        return self._notes_version

    def add_assets(self, assets: Mapping[str, int]) -> dict[str, int]:
        with self._lock:
            self._assets = {**assets, **self._assets}
            return dict(self._assets)

    def fingerprint(self, value: str) -> str:
        with self._lock:
            self._fingerprint = self._fingerprint or value
            return self._fingerprint

    def count(self) -> tuple[int, int]:
        with self._lock:
            return len(self._accounts), sum(not key.revoked for key in self._keys.values())

    def requests(self) -> _MemoryRequests:
        return self._requests

    def close(self) -> None:
        """Nothing to release; what was kept is forgotten with the object."""


class _MemoryTransaction:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.written: list[Stored] = []
        self.states: dict[AccountId, AccountState] = {}

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        mine = {account: self.states[account] for account in accounts if account in self.states}
        return {**self._store.load(accounts), **mine}

    def append(self, records: Sequence[Record], states: Mapping[AccountId, AccountState]) -> list[int]:
        first = len(self._store._journal) + len(self.written) + 1
        self.written += [Stored(first + place, record) for place, record in enumerate(records)]
        self.states.update(states)
        return list(range(first, first + len(records)))


class _MemoryRequests:
    """As text, which takes a fifth of the memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[AccountId, int, int, bytes]] = {}
        self._last = 0

    def write(self, answered: Sequence[Answered]) -> None:
        with self._lock:
            for one in answered:
                self._last += 1
                text = msgspec.json.encode(msgspec.structs.replace(one, id=self._last))
                self._kept[self._last] = (one.account, one.time, one.left_out, text)

    def newest(self, account: AccountId | None, before: int, limit: int) -> list[Answered]:
        with self._lock:
            own = (
                text
                for number, (whose, _, _, text) in reversed(self._kept.items())
                if number < before and account in {None, whose}
            )
            return [msgspec.json.decode(text, type=Answered) for text in islice(own, limit)]

    def of_record(self, account: AccountId, number: int) -> Answered | None:
        return next(
            (one for one in self.newest(account, self._last + 1, len(self._kept)) if one.record == number), None
        )

    def left_out(self, since: int, before: int) -> int:
        with self._lock:
            return sum(left_out for number, (_, _, left_out, _) in self._kept.items() if since <= number < before)

    def last(self) -> int:
        return self._last

    def prune(self, accounts: Collection[AccountId], of_account: int, of_all: int, before: int) -> None:
        counts: Counter[AccountId] = Counter()
        kept: dict[int, tuple[AccountId, int, int, bytes]] = {}
        with self._lock:
            for number, row in reversed(self._kept.items()):
                counts[row[0]] += 1
                mine = counts[row[0]] <= of_account or row[0] not in accounts
                if not kept or (mine and row[1] >= before and len(kept) < of_all):
                    kept[number] = row
            self._kept = dict(reversed(kept.items()))

    def close(self) -> None:
        """Nothing to release."""


def _timestamp(stored: Stored) -> int:
    return stored.record.timestamp
