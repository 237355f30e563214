"""The default engine: one SQLite file, write-ahead log, an fsync for every commit (`synchronous=FULL`).

One connection writes, one a thread reads; other processes may have the file open and write too, each transaction
taking the file's write lock before it reads. The statements are in `sqlite.sql`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgspec

from catchment import errors
from catchment.errors import Refused
from catchment.ledger.balance import AccountId, AccountState, QuotaUse, decode_state, encode_state
from catchment.ledger.journal import Record, Stored, decode_record
from catchment.signature import ApiKey
from catchment.store.base import (
    ABOVE_ALL,
    SCHEMA_VERSION,
    TAKEN,
    Account,
    Note,
    Share,
    StoreDamaged,
    StoreFailed,
    StoreUnknown,
)
from catchment.store.checkpoint import Checkpointer
from catchment.store.mark import Mark
from catchment.store.request_file import RequestFile
from catchment.store.statements import SQL, checksum, encode_row, key_of_row, row_of_key, sound, write_rows
from catchment.store.states import Fold, Heads, Kept

OLDEST_SQLITE: Final = (3, 37, 0)
LOCK_WAIT_S: Final = 10
"""How long a transaction waits for another process's write lock, in seconds."""
MILESTONE_EVERY: Final = 256
NO_BOUND: Final = 2**63 - 1


@contextmanager
def _failing() -> Iterator[None]:
    """What SQLite raises leaves the store in the words of the seam."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.InterfaceError) as error:
        raise StoreFailed(error) from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreDamaged(error) from error


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
        self._fold = Fold()
        self._open: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        self._mark: Mark | None = None
        self._checkpointer = Checkpointer(self._connect)
        existed = path.exists()
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, f"SQLite {sqlite3.sqlite_version} is too old"))
        try:
            with closing(sqlite3.connect(path, timeout=LOCK_WAIT_S)) as plain:
                self._refuse_others(plain)  # before anything is changed in a file that may not be ours
            self._writer = self._connect()
            self._make_schema()
            self._mark = Mark(path)
            if existed:
                self._refuse_cut_off(self._mark)
            else:
                self._mark.write(0)
        except Refused:
            self._disconnect()
            raise
        except (sqlite3.OperationalError, OSError) as error:
            self._disconnect()
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, error)) from None
        except (sqlite3.DatabaseError, ValueError) as error:  # a text that is no text, a number that is none
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
                self._fold.abandon()
            transaction = _SqliteTransaction(writer, self._heads, self._kept, self._fold)
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
        if self._mark is not None:  # it is, until the store is closed
            self._mark.write(self._heads.newest)
        self._checkpointer.committed(self._heads.newest, writer)

    @_failing()
    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        with self._reading() as (reader, heads):
            return {account: decode_state(state) for account, _, state, _ in heads.load(reader, accounts)}

    @_failing()
    def tail(self, after: int, limit: int, share: Share | None = None) -> list[Stored]:
        names: dict[str, Any] = {"after": after, "limit": limit}
        if share is not None:
            # Nothing at all comes before every byte: an id that damage left empty has a reader, too.
            names |= {"first": bytes([share.first]) if share.first else b"", "last": bytes([share.last])}
        rows = self._reader().execute(SQL["tail" if share is None else "tail_of_share"], names)
        found = [_stored(row) for row in rows]
        if share is None and found and found[-1].sequence != after + len(found):
            raise StoreDamaged(f"records are missing between {after} and {found[-1].sequence}")
        return found

    @_failing()
    def newest(self) -> int:
        return int(self._reader().execute(SQL["last_sequence"]).fetchone()[0])

    @_failing()
    def touched(self, after: int, until: int, *, but: Collection[str]) -> set[AccountId]:
        names = {"after": after, "until": until, "but": json.dumps(sorted(but))}
        return {AccountId(account) for (account,) in self._reader().execute(SQL["touched"], names)}

    @_failing()
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
        skipped = _milestone(reader, "last_milestone_before", account=account, number=over, time=since)
        over = max(over, skipped[0] if skipped else 0)
        beyond = _milestone(reader, "milestone_after_time", account=account, time=until)
        found: list[Stored] = []
        while len(found) < limit:
            end = _milestone(reader, "milestone_at_or_over", account=account, number=over + 1)
            found += _walk(reader, end[1] if end else head, since=since, until=until, over=over)[::-1]
            if not end or (beyond and end >= beyond):
                break
            over += MILESTONE_EVERY - over % MILESTONE_EVERY
        return found[:limit]

    def _start_of_walk(self, reader: sqlite3.Connection, account: AccountId, below: int, until: int, head: int) -> int:
        """The sequence of the account's earliest known record that is not before what is asked for."""
        marks = (
            _milestone(reader, "milestone_at_or_over", account=account, number=max(below - 1, 1)),
            _milestone(reader, "milestone_after_time", account=account, time=until),
        )
        return min((mark[1] for mark in marks if mark), default=head)

    @_failing()
    def count_uses(self, account: AccountId, uses: Collection[str], since: int) -> QuotaUse:
        with self._reading() as (reader, heads):
            names = {
                "from": heads.head(reader, account),
                "since": since,
                "uses": json.dumps(sorted(uses)),
            }
            used, oldest = reader.execute(SQL["count_uses"], names).fetchone()
        return QuotaUse(since if oldest is None else oldest, used)

    def add_account(self, account: Account) -> bool:
        row, held = _row_of_account(account), _empty_state(account)
        with self._write() as writer:
            if not writer.execute(SQL["add_account"], (*row, checksum(*row))).rowcount:
                return False
            writer.execute(SQL["add_state"], (*held, checksum(*held)))
            return True

    @_failing()
    def account(self, account: AccountId) -> Account | None:
        return _account(self._reader().execute(SQL["account"], {"id": account}).fetchone())

    @_failing()
    def account_named(self, name: str) -> Account | None:
        return _account(self._reader().execute(SQL["account_named"], {"name": name}).fetchone())

    @_failing()
    def accounts(self, after: AccountId | None, limit: int) -> list[Account]:
        rows = self._reader().execute(SQL["accounts"], {"after": after or b"", "limit": limit})
        return [account for account in map(_account, rows) if account is not None]

    @_failing()
    def accounts_before(self, before: AccountId | None, limit: int) -> list[Account]:
        rows = self._reader().execute(SQL["accounts_before"], {"before": before or ABOVE_ALL, "limit": limit})
        return [account for account in map(_account, rows) if account is not None][::-1]

    def admit(self, accounts: Sequence[Account], keys: Sequence[ApiKey]) -> None:
        with self._write() as writer:
            before = writer.total_changes
            writer.executemany(SQL["add_account"], _with_checksums(map(_row_of_account, accounts)))
            writer.executemany(SQL["add_key"], _with_checksums(map(row_of_key, keys)))
            if writer.total_changes - before != len(accounts) + len(keys):
                raise StoreFailed(TAKEN)
            writer.executemany(SQL["add_state"], _with_checksums(map(_empty_state, accounts)))
            writer.execute(SQL["bump_keys_version"])

    def add_key(self, key: ApiKey) -> bool:
        row = row_of_key(key)
        with self._write() as writer:
            if not writer.execute(SQL["add_key"], (*row, checksum(*row))).rowcount:
                return False
            writer.execute(SQL["bump_keys_version"])
            return True

    @_failing()
    def key(self, api_key: str) -> ApiKey | None:
        return _find_key(self._reader(), api_key)

    @_failing()
    def keys(self, account: AccountId) -> list[ApiKey]:
        return [key_of_row(sound(row)[:-1]) for row in self._reader().execute(SQL["keys"], {"account": account})]

    def revoke_key(self, api_key: str, now: int) -> bool:
        with self._write() as writer:
            key = _find_key(writer, api_key)
            if key is None or key.revoked:
                return False
            revoked = row_of_key(msgspec.structs.replace(key, revoked=now))
            writer.execute(SQL["revoke_key"], (now, checksum(*revoked), key.account, api_key))
            writer.execute(SQL["bump_keys_version"])
            return True

    @_failing()
    def keys_version(self) -> int:
        return int(self._meta(self._reader(), "keys_version"))

    def put_note(self, note: Note, now: int, *, replace: bool) -> bool:
        row = (note.kind, note.name, note.text, note.expires)
        with self._write() as writer:
            writer.execute(SQL["drop_expired_notes"], (note.kind, now))
            if not replace and _find_note(writer, note.kind, note.name, now):
                return False
            writer.execute(SQL["put_note"], (*row, checksum(*row)))
            writer.execute(SQL["bump_notes_version"])
            return True

    @_failing()
    def note(self, kind: str, name: str, now: int) -> Note | None:
        return _find_note(self._reader(), kind, name, now)

    @_failing()
    def notes(self, kind: str, now: int) -> list[Note]:
        found = [Note(*sound(row)[:-1]) for row in self._reader().execute(SQL["notes"], (kind,))]
        return [note for note in found if note.living(now)]

    def drop_note(self, kind: str, name: str, now: int) -> bool:
        with self._write() as writer:
            living = _find_note(writer, kind, name, now) is not None
            if writer.execute(SQL["drop_note"], (kind, name)).rowcount:
                writer.execute(SQL["bump_notes_version"])
            return living

    @_failing()
    def notes_version(self) -> int:
        return int(self._meta(self._reader(), "notes_version"))

    @_failing()
    def add_assets(self, assets: Mapping[str, int]) -> dict[str, int]:
        known = _assets(self._reader())
        if assets.keys() - known.keys():
            with self._write() as writer:
                writer.executemany(SQL["add_asset"], _with_checksums(assets.items()))
            known = _assets(self._reader())
        return known

    @_failing()
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

    @_failing()
    def count(self) -> tuple[int, int]:
        accounts, keys = self._reader().execute(SQL["count"]).fetchone()
        return int(accounts), int(keys)

    def requests(self) -> RequestFile:
        return RequestFile(self._path.with_name(self._path.name + "-requests"))

    def close(self) -> None:
        """Fold the log into the file and release it."""
        self._checkpointer.close()
        self.checkpoint()
        self._disconnect()

    def _disconnect(self) -> None:
        with self._opening:
            for connection in self._open:
                connection.close()
            self._open.clear()
            if self._mark is not None:
                self._mark.close()
                self._mark = None

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
        connection.create_function("checksum", -1, checksum, deterministic=True)
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

    def _refuse_cut_off(self, mark: Mark) -> None:
        """Refuse a journal that ends before the mark, which is read first: others may be appending."""
        marked = mark.read()
        newest = self._writer.execute(SQL["newest"]).fetchone()[0]
        if newest < marked:
            reason = (
                f"its journal ends at record {newest}, but record {marked} was committed. The log was cut off, or an "
                f"older copy of the file was put back; if you did that, remove {mark.path} to go on from there"
            )
            raise Refused(errors.DAMAGED_STORE(reason))

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

    def __init__(self, writer: sqlite3.Connection, heads: Heads, kept: Kept, fold: Fold) -> None:
        self._writer = writer
        self._known = heads
        self._kept = kept
        self._fold = fold
        self._heads: dict[AccountId, int] = {}
        self._loaded: dict[AccountId, AccountState] = {}
        self._changed: dict[AccountId, AccountState] = {}
        self._newest = heads.newest
        self._folded: int | None = None

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
        for account, head, state, _ in self._known.load(self._writer, missing) if missing else ():
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
            row = (sequence, account, number, timestamp, heads[account], record.text.decode(), record.digest)
            rows += row
            rows.append(crc32(encode_row(row)))
            if number % MILESTONE_EVERY == 0:
                milestone = (account, number, timestamp, sequence)
                milestones += milestone
                milestones.append(checksum(*milestone))
            heads[account] = sequence
        write_rows(self._writer, "append", rows, 8)
        write_rows(self._writer, "append_milestone", milestones, 5)
        recent: list[Any] = []
        for account, state in states.items():
            held = (account, heads[account], encode_state(state))
            recent += held
            recent.append(crc32(encode_row(held)))
        write_rows(self._writer, "append_recent", recent, 4)
        self._changed.update(states)
        given = list(range(self._newest + 1, sequence + 1))
        self._newest = sequence
        if self._folded is None:
            self._folded = self._fold.step(self._writer, self._known, sequence, len(records))
        return given

    def committed(self) -> None:
        """What was written is true from now on."""
        if self._changed:
            heads = {account: self._heads[account] for account in self._changed}
            self._known.advance(heads, self._newest, folded=self._folded or 0)
            self._fold.committed()
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
    """An account's records from the one at `start` backwards. Raises `StoreDamaged` where one is missing."""
    found: list[Stored] = []
    expected = None
    for row in connection.execute(SQL["walk"], {"from": start, "since": since, "over": over}):
        number, timestamp = row[2], row[3]
        if number != (expected or number):
            break
        expected = number - 1
        if number <= over or timestamp < since:
            return found
        if number < below and timestamp <= until:
            found.append(_stored(row))
            if len(found) == limit:
                return found
    if start and (expected is None or expected > over):
        raise StoreDamaged(f"the records before the one at {found[-1].sequence if found else start} are missing")
    return found


def _milestone(connection: sqlite3.Connection, statement: str, **names: Any) -> tuple[int, int] | None:
    """Number and sequence of a milestone. Raises `StoreDamaged`."""
    row = connection.execute(SQL[statement], names).fetchone()
    return None if row is None else (sound(row)[1], row[3])


def _stored(row: tuple[Any, ...]) -> Stored:
    sequence, account, number, timestamp, _, body, digest, _ = sound(row)
    return Stored(sequence, decode_record(account, number, timestamp, body.encode(), digest))


def _assets(connection: sqlite3.Connection) -> dict[str, int]:
    return {name: scale for name, scale, _ in map(sound, connection.execute(SQL["assets"]))}


def _with_checksums(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    return ((*row, checksum(*row)) for row in rows)


def _row_of_account(account: Account) -> tuple[Any, ...]:
    return account.id, account.name, int(account.portfolio_margin), account.created


def _empty_state(account: Account) -> tuple[Any, ...]:
    return account.id, 0, encode_state(AccountState(portfolio_margin=account.portfolio_margin))


def _account(row: tuple[Any, ...] | None) -> Account | None:
    if row is None:
        return None
    account, name, portfolio_margin, created, _ = sound(row)
    return Account(account, name, bool(portfolio_margin), created)


def _find_key(connection: sqlite3.Connection, api_key: str) -> ApiKey | None:
    row = connection.execute(SQL["key"], {"api_key": api_key}).fetchone()
    return key_of_row(sound(row)[:-1]) if row is not None else None


def _find_note(connection: sqlite3.Connection, kind: str, name: str, now: int) -> Note | None:
    row = connection.execute(SQL["note"], (kind, name)).fetchone()
    note = Note(*sound(row)[:-1]) if row is not None else None
    return note if note is not None and note.living(now) else None
