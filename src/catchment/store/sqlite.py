"""The default engine: one SQLite file, write-ahead log, an fsync for every commit (`synchronous=FULL`).

One connection writes, one a thread reads; other processes may have the file open and write too, each transaction
taking the file's write lock before it reads. The statements are in `sqlite.sql`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from catchment import errors
from catchment.errors import Refused
from catchment.ledger.balance import AccountId, AccountState, QuotaUse, decode_state, encode_state
from catchment.ledger.commands import Trigger
from catchment.ledger.journal import Record, Stored, decode_record
from catchment.signature import Algorithm, ApiKey, Permission
from catchment.store.base import SCHEMA_VERSION, Account, StoreFailed, StoreUnknown
from catchment.store.statements import SQL, write_rows
from catchment.store.states import Heads, Kept

OLDEST_SQLITE: Final = (3, 37, 0)
LOCK_WAIT_S: Final = 10
"""How long a transaction waits for another process's write lock, in seconds."""
MILESTONE_EVERY: Final = 256
FOLD_EVERY: Final = 8_192
"""Records after which the states written since the last time are folded into their accounts' rows."""
NO_BOUND: Final = 2**63 - 1


class SqliteStore:
    """An SQLite file at `path`, made if it is missing.

    Refuses, by name: a path that cannot be used, a file that is damaged or is no store, a newer schema, an SQLite
    library older than 3.37.
    """

    def __init__(self, path: Path) -> None:
        self.address = f"sqlite:///{path}"
        self._path = path
        self._readers = threading.local()
        self._heads = Heads()
        self._kept = Kept()
        self._open: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, f"SQLite {sqlite3.sqlite_version} is too old"))
        try:
            with closing(sqlite3.connect(path, timeout=LOCK_WAIT_S)) as plain:
                self._refuse_others(plain)  # before anything is changed in a file that may not be ours
            self._writer = self._connect()
            self._make_schema()
        except Refused:
            self._disconnect()
            raise
        except sqlite3.OperationalError as error:
            self._disconnect()
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, error)) from None
        except sqlite3.DatabaseError as error:
            self._disconnect()
            raise Refused(errors.DAMAGED_STORE(error)) from None

    @contextmanager
    def transaction(self) -> Iterator[_SqliteTransaction]:
        writer = self._writer
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreFailed(str(error)) from error
        try:
            if self._heads.look(writer):
                self._kept.forget()
            transaction = _SqliteTransaction(writer, self._heads, self._kept)
            yield transaction
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise StoreFailed(str(error)) from error
            raise
        try:
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise StoreUnknown(str(error)) from error
        transaction.committed()

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        with self._reading() as (reader, heads):
            return {account: decode_state(state) for account, _, state in heads.load(reader, accounts)}

    def tail(self, after: int, limit: int) -> list[Stored]:
        return [_stored(row) for row in self._reader().execute(SQL["tail"], {"after": after, "limit": limit})]

    def history(
        self, account: AccountId, *, since: int, until: int, below: int, limit: int, newest_first: bool
    ) -> list[Stored]:
        with self._reading() as (reader, heads):
            head = heads.head(reader, account)
            if newest_first:
                start = self._start_of_walk(reader, account, below, until, head)
                return _walk(reader, start, since=since, until=until, below=below, limit=limit)
            return self._oldest_first(reader, account, since=since, until=until, over=below, limit=limit, head=head)

    def _oldest_first(
        self,
        reader: sqlite3.Connection,
        account: AccountId,
        *,
        since: int,
        until: int,
        over: int,
        limit: int,
        head: int,
    ) -> list[Stored]:
        """Stretch by stretch between milestones, each walked backwards and turned round."""
        skipped = reader.execute(SQL["last_milestone_before"], {"account": account, "number": over, "time": since})
        over = max(over, (skipped.fetchone() or (0,))[0])
        beyond = _one(reader, "milestone_after_time", account=account, time=until) or NO_BOUND
        found: list[Stored] = []
        while len(found) < limit:
            end = _one(reader, "milestone_at_or_over", account=account, number=over + 1)
            found += _walk(reader, end or head, since=since, until=until, over=over)[::-1]
            if not end or end >= beyond:
                break
            over += MILESTONE_EVERY - over % MILESTONE_EVERY
        return found[:limit]

    def _start_of_walk(self, reader: sqlite3.Connection, account: AccountId, below: int, until: int, head: int) -> int:
        """The sequence of the account's earliest known record that is not before what is asked for."""
        marks = (
            _one(reader, "milestone_at_or_over", account=account, number=max(below - 1, 1)),
            _one(reader, "milestone_after_time", account=account, time=until),
            head,
        )
        return min((mark for mark in marks if mark), default=0)

    def count_uses(self, account: AccountId, triggers: Collection[Trigger], since: int) -> QuotaUse:
        with self._reading() as (reader, heads):
            names = {
                "from": heads.head(reader, account),
                "since": since,
                "triggers": json.dumps(sorted(triggers)),
            }
            used, oldest = reader.execute(SQL["count_uses"], names).fetchone()
        return QuotaUse(since if oldest is None else oldest, used)

    def add_account(self, account: Account) -> bool:
        with self._write() as writer:
            row = (account.id, account.name, account.portfolio_margin, account.created)
            if not writer.execute(SQL["add_account"], row).rowcount:
                return False
            state = AccountState(portfolio_margin=account.portfolio_margin)
            writer.execute(SQL["add_state"], (account.id, encode_state(state)))
            return True

    def account(self, account: AccountId) -> Account | None:
        return _account(self._reader().execute(SQL["account"], {"id": account}).fetchone())

    def account_named(self, name: str) -> Account | None:
        return _account(self._reader().execute(SQL["account_named"], {"name": name}).fetchone())

    def accounts(self, after: AccountId | None, limit: int) -> list[Account]:
        rows = self._reader().execute(SQL["accounts"], {"after": after or b"", "limit": limit})
        return [account for account in map(_account, rows) if account is not None]

    def add_key(self, key: ApiKey) -> bool:
        row = (
            key.account,
            key.api_key,
            key.algorithm,
            key.material,
            json.dumps(sorted(key.permissions)),
            json.dumps(key.ip_allow),
            key.created,
            key.revoked,
        )
        with self._write() as writer:
            if not writer.execute(SQL["add_key"], row).rowcount:
                return False
            writer.execute(SQL["bump_keys_version"])
            return True

    def key(self, api_key: str) -> ApiKey | None:
        row = self._reader().execute(SQL["key"], {"api_key": api_key}).fetchone()
        return _key(row) if row is not None else None

    def keys(self, account: AccountId) -> list[ApiKey]:
        return [_key(row) for row in self._reader().execute(SQL["keys"], {"account": account})]

    def revoke_key(self, api_key: str, now: int) -> bool:
        with self._write() as writer:
            if not writer.execute(SQL["revoke_key"], {"api_key": api_key, "now": now}).rowcount:
                return False
            writer.execute(SQL["bump_keys_version"])
            return True

    def keys_version(self) -> int:
        return int(self._meta(self._reader(), "keys_version"))

    def add_assets(self, assets: Mapping[str, int]) -> dict[str, int]:
        known: dict[str, int] = dict(self._reader().execute(SQL["assets"]).fetchall())
        if assets.keys() - known.keys():
            with self._write() as writer:
                writer.executemany(SQL["add_asset"], list(assets.items()))
            known = dict(self._reader().execute(SQL["assets"]).fetchall())
        return known

    def fingerprint(self, value: str) -> str:
        kept = self._meta(self._reader(), "master_key")
        if kept or not value:
            return kept
        with self._write() as writer:
            writer.execute(SQL["add_meta"], {"name": "master_key", "value": value})
            return self._meta(writer, "master_key")

    def checkpoint(self) -> None:
        """Fold the log into the file, as far as no reader needs it."""
        with suppress(sqlite3.Error):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Fold the log into the file and release it."""
        self.checkpoint()
        self._disconnect()

    def _disconnect(self) -> None:
        with self._opening:
            for connection in self._open:
                connection.close()
            self._open.clear()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction beside the journal's: accounts, keys, assets. On its own connection, for it may be called
        while the writer works."""
        connection = self._reader()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreFailed(str(error)) from error
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StoreFailed(str(error)) from error
            raise

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._readers.connection = self._connect()
        return connection

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, Heads]]:
        """Several statements on one snapshot of the file, and where it has each account's newest state."""
        reader = self._reader()
        heads: Heads | None = getattr(self._readers, "heads", None)
        if heads is None:
            heads = self._readers.heads = Heads()
        reader.execute("BEGIN")
        try:
            heads.look(reader)
            yield reader, heads
        finally:
            reader.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        with self._opening:
            self._open.append(connection)
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                connection.executescript(SQL["pragmas"])
                return connection
            except sqlite3.OperationalError as error:
                # Two that make the same file at once: the change to a write-ahead log does not wait for a lock.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(LOCK_WAIT_S / 1_000)

    def _make_schema(self) -> None:
        """A store that is up to date is only read, so that opening it never waits for another process's write lock."""
        writer = self._writer
        if not _is_new(writer) and int(self._meta(writer, "schema_version")) == SCHEMA_VERSION:
            return
        writer.execute("BEGIN IMMEDIATE")
        if _is_new(writer):
            _run(writer, "schema")
        self._refuse_others(writer)
        for version in range(int(self._meta(writer, "schema_version")) + 1, SCHEMA_VERSION + 1):
            _run(writer, f"upgrade_{version}")
            writer.execute(SQL["set_schema_version"], {"version": version})
        writer.execute("COMMIT")

    def _refuse_others(self, connection: sqlite3.Connection) -> None:
        """Refuse a newer store and another program's database; a file in which nothing is yet may become ours."""
        if _is_new(connection):
            return
        try:
            version = int(self._meta(connection, "schema_version") or 0)
        except sqlite3.OperationalError as error:
            if "no such" not in str(error):
                raise
            version = 0
        if version > SCHEMA_VERSION:
            raise Refused(errors.NEWER_STORE(version, SCHEMA_VERSION))
        if version < 1:
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, "it is another program's database"))

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    @staticmethod
    def _meta(connection: sqlite3.Connection, name: str) -> str:
        row = connection.execute(SQL["meta"], {"name": name}).fetchone()
        return str(row[0]) if row is not None else ""


class _SqliteTransaction:
    """Holds the file's write lock, so what it loaded cannot change and needs no version check."""

    def __init__(self, writer: sqlite3.Connection, heads: Heads, kept: Kept) -> None:
        self._writer = writer
        self._known = heads
        self._kept = kept
        self._heads: dict[AccountId, int] = {}
        self._loaded: dict[AccountId, AccountState] = {}
        self._changed: dict[AccountId, AccountState] = {}
        self._newest = heads.newest
        self._folded = False

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        loaded = self._loaded
        missing = []
        for account in accounts:
            if account in loaded:
                continue
            kept = self._kept.take(account)
            if kept is None:
                missing.append(account)
            else:
                loaded[account], self._heads[account] = kept
        for account, head, state in self._known.load(self._writer, missing) if missing else ():
            loaded[account] = decode_state(state)
            self._heads[account] = head
        return {account: loaded[account] for account in accounts if account in loaded}

    def append(self, records: Sequence[Record], states: Mapping[AccountId, AccountState]) -> list[int]:
        heads = self._heads
        sequence = self._newest
        rows: list[Any] = []
        milestones: list[Any] = []
        for record in records:
            sequence += 1
            account, number, timestamp = record.account, record.number, record.timestamp
            rows += sequence, account, number, timestamp, heads[account], record.text.decode(), record.digest
            if number % MILESTONE_EVERY == 0:
                milestones += account, number, timestamp, sequence
            heads[account] = sequence
        write_rows(self._writer, "append", rows, 7)
        write_rows(self._writer, "append_milestone", milestones, 4)
        recent: list[Any] = []
        for account, state in states.items():
            recent += heads[account], account, encode_state(state)
        write_rows(self._writer, "append_recent", recent, 3)
        self._changed.update(states)
        given = list(range(self._newest + 1, sequence + 1))
        self._newest = sequence
        if not self._folded and self._known.unfolded(sequence) >= FOLD_EVERY:
            self._writer.execute(SQL["fold"])
            self._writer.execute(SQL["forget_recent"])
            self._folded = True
        return given

    def committed(self) -> None:
        """What was written is true from now on."""
        if self._changed:
            heads = {account: self._heads[account] for account in self._changed}
            self._known.advance(heads, self._newest, folded=self._folded)
            self._kept.put(self._changed, heads)


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Several statements inside the transaction that is open, which `executescript` would commit."""
    for statement in SQL[script].split(";"):
        connection.execute(statement)


def _is_new(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA schema_version").fetchone()[0] == 0)


def _walk(
    connection: sqlite3.Connection,
    start: int,
    *,
    since: int,
    until: int,
    over: int = 0,
    below: int = NO_BOUND,
    limit: int = NO_BOUND,
) -> list[Stored]:
    names = {"from": start, "since": since, "until": until, "over": over, "below": below, "limit": limit}
    return [_stored(row) for row in connection.execute(SQL["walk"], names)]


def _one(connection: sqlite3.Connection, statement: str, **names: Any) -> int | None:
    row = connection.execute(SQL[statement], names).fetchone()
    return None if row is None else int(row[0])


def _stored(row: tuple[int, AccountId, int, int, str, bytes]) -> Stored:
    sequence, account, number, timestamp, body, digest = row
    return Stored(sequence, decode_record(account, number, timestamp, body.encode(), digest))


def _account(row: tuple[AccountId, str, int, int] | None) -> Account | None:
    return None if row is None else Account(row[0], row[1], bool(row[2]), row[3])


def _key(row: tuple[Any, ...]) -> ApiKey:
    account, api_key, algorithm, material, permissions, ip_allow, created, revoked = row
    return ApiKey(
        api_key,
        account,
        Algorithm(algorithm),
        material,
        frozenset(Permission(name) for name in json.loads(permissions)),
        tuple(json.loads(ip_allow)),
        created,
        revoked,
    )
