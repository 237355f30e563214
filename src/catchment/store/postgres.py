"""The shared engine: one PostgreSQL database, and as many servers on it as are needed.

A transaction locks the accounts it loads, in the order of their ids, so that servers write at the same time and never
wait for each other in a circle. What orders commits is one row, locked as the last thing before the commit. The
statements are in `postgres.sql`; how they reach the server is in `connections.py`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from itertools import chain
from typing import Any, Final

from catchment import errors
from catchment.errors import Refused
from catchment.ledger.balance import AccountId, AccountState, QuotaUse, decode_state, encode_state
from catchment.ledger.journal import Record, Stored, decode_record
from catchment.ledger.quota import use_of
from catchment.signature import ApiKey
from catchment.store import connections
from catchment.store.base import ABOVE_ALL, TAKEN, Account, Note, Share, StoreDamaged, StoreFailed, StoreUnknown
from catchment.store.connections import DAMAGED, FAILURES, SQL, Connection, Connections, Row, failing, reason
from catchment.store.request_table import RequestTable
from catchment.store.statements import key_of_row, parts, row_of_key

SCHEMA_VERSION: Final = 3
"""The newest schema of a PostgreSQL database."""
SCHEMA_LOCK: Final = 0x63617463686D656E
"""The advisory lock of whoever makes or upgrades the schema."""
ENCODING: Final = "UTF8"
ROWS_AT_ONCE: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
"""How many rows one statement may write; a few fixed numbers, so that each is prepared once and kept."""
TAIL_TRIES: Final = 20
"""How often the tail is looked at while the machines of a cluster commit."""
ALL: Final = Share(0, 255)
JOURNAL: Final = ("account", "number", "timestamp", "trigger", "batch", "place", "body", "digest")
"""The columns of a row as it is appended."""
GREATEST: Final = 2**61
"""Times, numbers and limits beyond this are all the same."""


class PostgresStore:
    """The store in the database, and the schema, that an address names.

    Refuses, by name: an address that leads nowhere, a server that lets nobody in, a database of another program or in
    another encoding than UTF-8, a newer schema; and where there is none, unless it shall `make` one.
    """

    def __init__(self, address: str, *, make: bool = True) -> None:
        self._link = Connections(address)
        self.address = self._link.address
        try:
            self._link.run(self._open, make)
        except Refused:
            self.close()
            raise
        except FAILURES as error:
            self.close()
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, reason(error))) from None
        except ValueError:  # its sentence may hold a piece of the password
            self.close()
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, "it cannot be read as an address")) from None

    @contextmanager
    def transaction(self) -> Iterator[_Blocking]:
        run = self._link.run
        connection = run(self._link.begin)
        transaction = _Transaction(connection)
        try:
            yield _Blocking(self._link, transaction)
        except BaseException:
            run(self._link.roll_back, connection)
            raise
        run(_end, self._link, transaction)

    def on_loop(self) -> PostgresWriter:
        """What writes to this store on the event loop of whoever awaits it, with connections of its own."""
        return PostgresWriter(self._link.another())

    # Readings ------------------------------------------------------------------------------------------------------

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        states = {AccountId(account): decode_state(state) for account, state in self._fetch("load", list(accounts))}
        return {account: states[account] for account in accounts if account in states}

    def tail(self, after: int, limit: int, share: Share | None = None) -> list[Stored]:
        after, limit = min(after, GREATEST), min(limit, GREATEST)
        return self._link.run(self._tail, after, limit) if share is None else self._tail_of(share, after, limit)

    async def _tail(self, after: int, limit: int) -> list[Stored]:
        found, end = await self._look_at_tail(after, limit, ALL)
        if len(found) != end - after:
            raise StoreDamaged(f"records are missing between {after} and {end}")
        return found

    def _tail_of(self, share: Share, after: int, limit: int) -> list[Stored]:
        """Looks on where the share has no record."""
        while True:
            found, end = self._link.run(self._look_at_tail, after, limit, share)
            if found or end == after:
                return found
            after = end

    async def _look_at_tail(self, after: int, limit: int, share: Share) -> tuple[list[Stored], int]:
        """The batches first, then their rows, and the sequence up to which there should be rows: who sees a batch sees
        all batches before it."""
        rows = await self._link.fetch("batches_between", after, after + limit)
        found = sorted((first, last, batch) for batch, first, last in rows if first <= after + limit)
        if not found:
            return [], after
        firsts = {batch: first for first, _, batch in found}
        (low, _, lowest), (high, last, highest) = found[0], found[-1]
        await self._wait_for_machines(list(firsts), last - low + 1)
        cut = (lowest, max(0, after + 1 - low), highest, after + limit - high)
        rows = await self._link.fetch("tail", list(firsts), *cut, share.first, share.last)
        return _in_sequence(rows, firsts), min(last, after + limit)

    async def _wait_for_machines(self, batches: list[bytes], records: int) -> None:
        """A cluster's coordinator commits before its workers do, and tells one that died meanwhile when it is back.

        Raises `StoreFailed` while there is a commit that a worker has to be told of; else what is missing is missing.
        """
        if not self._link.spread or await self._whole(batches, records):
            return
        told_of = set(await self._link.fetch("commits_to_tell"))
        if not await self._whole(batches, records) and told_of & set(await self._link.fetch("commits_to_tell")):
            raise StoreFailed("a machine of the cluster has not committed its part of a batch yet")

    async def _whole(self, batches: list[bytes], records: int) -> bool:
        """Whether all records of batches are there, or come within a moment."""
        for _ in range(TAIL_TRIES):
            if (await self._link.fetch("rows_of_batches", batches))[0][0] >= records:
                return True
            await asyncio.sleep(connections.LOOK_AGAIN_AFTER_S)
        return False

    def newest(self) -> int:
        return int(self._fetch("newest")[0][0])

    def touched(self, after: int, until: int, *, but: Collection[str]) -> set[AccountId]:
        return self._link.run(self._touched, after, until, list(but))

    async def _touched(self, after: int, until: int, but: list[str]) -> set[AccountId]:
        rows = await self._link.fetch("batches_between", after, until)
        if not rows:
            return set()
        batches = [batch for batch, _, _ in rows]
        last = max(last for _, _, last in rows)
        await self._wait_for_machines(batches, last - min(first for _, first, _ in rows) + 1)
        return {AccountId(account) for (account,) in await self._link.fetch("touched", batches, but)}

    def history(
        self, account: AccountId, *, since: int, until: int, below: int, limit: int, newest_first: bool
    ) -> list[Stored]:
        return self._link.run(self._history, account, since, until, below, min(limit, GREATEST), newest_first)

    async def _history(
        self, account: AccountId, since: int, until: int, edge: int, limit: int, newest_first: bool
    ) -> list[Stored]:
        low = await self._first_at(account, since) if since > 0 else 1
        high = await self._first_at(account, until + 1) - 1 if until < GREATEST else GREATEST
        if newest_first:
            name, high = "newest_first", min(high, edge - 1)
        else:
            name, low = "oldest_first", max(low, min(edge, GREATEST) + 1)
        rows = await self._link.fetch(name, account, low, high, limit) if low <= high else []
        firsts = dict(await self._link.fetch("batches", list({row[0] for row in rows}))) if rows else {}
        found = _in_sequence(rows, firsts)
        return found[::-1] if newest_first else found

    async def _first_at(self, account: AccountId, time: int) -> int:
        """The number of an account's first record at or after a time, or of its next one."""
        ((number,),) = await self._link.fetch("first_at", account, _time(time))
        return int(number)

    def count_uses(self, account: AccountId, uses: Collection[str], since: int) -> QuotaUse:
        return self._link.run(_count_uses, self._link, account, uses, since)

    # Accounts, keys, assets ----------------------------------------------------------------------------------------

    def add_account(self, account: Account) -> bool:
        return self._link.run(self._transact, partial(_add, accounts=[account], keys=[]))

    def admit(self, accounts: Sequence[Account], keys: Sequence[ApiKey]) -> None:
        if not self._link.run(self._transact, partial(_add, accounts=accounts, keys=keys)):
            raise StoreFailed(TAKEN)

    def account(self, account: AccountId) -> Account | None:
        return next(map(_account, self._fetch("account", account)), None)

    def account_named(self, name: str) -> Account | None:
        found = self._fetch("account_named", name) if "\0" not in name else ()
        return self.account(found[0][0]) if found else None

    def accounts(self, after: AccountId | None, limit: int) -> list[Account]:
        return [_account(row) for row in self._fetch("accounts", after or b"", limit)]

    def accounts_before(self, before: AccountId | None, limit: int) -> list[Account]:
        return [_account(row) for row in self._fetch("accounts_before", before or ABOVE_ALL, limit)][::-1]

    def add_key(self, key: ApiKey) -> bool:
        return self._link.run(self._transact, partial(_add, accounts=[], keys=[key]))

    def key(self, api_key: str) -> ApiKey | None:
        holders = self._fetch("holder_of_key", api_key) if "\0" not in api_key else ()
        return next(map(key_of_row, self._fetch("key", holders[0][0], api_key)), None) if holders else None

    def keys(self, account: AccountId) -> list[ApiKey]:
        return [key_of_row(row) for row in self._fetch("keys", account)]

    def revoke_key(self, api_key: str, now: int) -> bool:
        holders = self._fetch("holder_of_key", api_key) if "\0" not in api_key else ()

        async def revoke(connection: Connection) -> bool:
            if not holders or not await _write(connection, "revoke_key", holders[0][0], api_key, now):
                return False
            return await _write(connection, "bump_keys_version") == 1

        return self._link.run(self._transact, revoke)

    def keys_version(self) -> int:
        return int(self._meta("keys_version"))

    def put_note(self, note: Note, now: int, *, replace: bool) -> bool:
        async def put(connection: Connection) -> bool:
            # First, so that whoever keeps or drops one waits here, and not in a circle.
            await _write(connection, "bump_notes_version")
            await _write(connection, "drop_expired_notes", note.kind, now)
            row = (note.kind, note.name, note.text, note.expires)
            return await _write(connection, "put_note" if replace else "add_note", *row) == 1

        return self._link.run(self._transact, put)

    def note(self, kind: str, name: str, now: int) -> Note | None:
        return next(
            (note for note in _notes(self._fetch("note", kind, name) if "\0" not in name else ()) if note.living(now)),
            None,
        )

    def notes(self, kind: str, now: int) -> list[Note]:
        return [note for note in _notes(self._fetch("notes", kind)) if note.living(now)]

    def drop_note(self, kind: str, name: str, now: int) -> bool:
        async def drop(connection: Connection) -> bool:
            await _write(connection, "bump_notes_version")
            return await _write(connection, "drop_note", kind, name, now) == 1

        return self._link.run(self._transact, drop)

    def notes_version(self) -> int:
        return int(self._meta("notes_version"))

    def add_assets(self, assets: Mapping[str, int]) -> dict[str, int]:
        known: dict[str, int] = dict(self._fetch("assets"))
        if assets.keys() - known.keys():

            async def add(connection: Connection) -> bool:
                for name in sorted(
                    assets
                ):  # the same order everywhere: two that open at once wait, but not in a circle
                    await _write(connection, "add_asset", name, assets[name])
                return True

            self._link.run(self._transact, add)
            known = dict(self._fetch("assets"))
        return known

    def fingerprint(self, value: str) -> str:
        kept = self._meta("master_key")
        if kept or not value:
            return kept

        async def add(connection: Connection) -> bool:
            return await _write(connection, "add_meta", "master_key", value) == 1

        self._link.run(self._transact, add)
        return self._meta("master_key")

    def count(self) -> tuple[int, int]:
        ((accounts, keys),) = self._fetch("count")
        return int(accounts), int(keys)

    def requests(self) -> RequestTable:
        return RequestTable(self._link, self._transact)

    def distribute(self) -> bool:
        """Spread the tables over the machines of a Citus cluster; False if they are spread already.

        Refuses (BAD_STORE_ADDRESS) a server without the extension, and what the cluster refuses.
        """
        try:
            return self._link.run(self._distribute)
        except FAILURES as error:
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, reason(error))) from None

    async def _distribute(self) -> bool:
        connection = await self._link.connect()
        try:
            if not await connection.fetch(SQL["has_citus"]):
                raise Refused(errors.BAD_STORE_ADDRESS(self.address, "its database has no extension citus"))
            await connection.execute("BEGIN")
            await connection.fetch(SQL["one_at_a_time"], SCHEMA_LOCK)
            if await connection.fetchval(SQL["distributed"]):
                return False
            await connection.execute(SQL["distribute"])
            await connection.execute("COMMIT")
            return True
        finally:
            await self._link.roll_back(connection)

    def close(self) -> None:
        """End every connection."""
        self._link.close()

    def _fetch(self, name: str, *args: Any) -> list[Row]:
        return self._link.run(self._link.fetch, name, *args)

    def _meta(self, name: str) -> str:
        found = self._fetch("meta", name)
        return str(found[0][0]) if found else ""

    async def _transact(self, work: Callable[[Connection], Coroutine[Any, Any, bool]]) -> bool:
        """A transaction beside the journal's: committed if the work says so. Raises `StoreFailed` or `StoreUnknown`."""
        connection = await self._link.begin()
        try:
            with failing():
                done = await work(connection)
        except BaseException:
            await self._link.roll_back(connection)
            raise
        await (self._link.commit(connection) if done else self._link.roll_back(connection))
        return done

    # Opening -------------------------------------------------------------------------------------------------------

    async def _open(self, make: bool) -> None:
        """Make or upgrade the schema; a store that is up to date is only read."""
        connection = await self._link.connect()
        encoding = connection.get_settings().server_encoding
        if encoding != ENCODING:
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, f"its encoding is {encoding}, not {ENCODING}"))
        version = await self._version(connection)
        if not version and not make:
            raise Refused(errors.BAD_STORE_ADDRESS(self.address, "there is no such store"))
        if version < SCHEMA_VERSION:
            await connection.execute("BEGIN")
            await connection.fetch(SQL["one_at_a_time"], SCHEMA_LOCK)
            for version in range(await self._version(connection) + 1, SCHEMA_VERSION + 1):
                await connection.execute(SQL["schema" if version == 1 else f"upgrade_{version}"])
                await connection.execute(SQL["set_schema_version"], str(version))
            await connection.execute("COMMIT")
        self._link.give_back(connection)

    async def _version(self, connection: Connection) -> int:
        """The version of the schema, 0 if there is nothing. Refuses a newer one and another program's tables."""
        tables = {name for (name,) in await connection.fetch(SQL["tables"])}
        if not tables:
            return 0
        try:
            version = int(await connection.fetchval(SQL["meta"], "schema_version") if "meta" in tables else 0)
        except (*FAILURES, TypeError, ValueError) as error:
            if connection.is_closed() or getattr(error, "sqlstate", None) in DAMAGED:
                raise
            raise Refused(self._foreign()) from error
        if version > SCHEMA_VERSION:
            raise Refused(errors.NEWER_STORE(version, SCHEMA_VERSION))
        if version < 1:
            raise Refused(self._foreign())
        return version

    def _foreign(self) -> errors.Rejection:
        return errors.BAD_STORE_ADDRESS(self.address, "it is another program's database")


class PostgresWriter:
    """Transactions on one event loop, as many at the same time as there are accounts that are not locked."""

    def __init__(self, link: Connections) -> None:
        self._link = link

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[_Transaction]:
        connection = await self._link.begin()
        transaction = _Transaction(connection)
        try:
            yield transaction
        except BaseException:
            await self._link.roll_back(connection)
            raise
        await _end(self._link, transaction)

    async def count_uses(self, account: AccountId, uses: Collection[str], since: int) -> QuotaUse:
        return await _count_uses(self._link, account, uses, since)

    async def close(self) -> None:
        await self._link.close_all()


class _Transaction:
    """Holds the locks of the accounts it loaded; each state it keeps must still be at the version it locked."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._loaded: dict[AccountId, AccountState] = {}
        self._versions: dict[AccountId, int] = {}
        self.batch: bytes | None = None
        """The id of the batch it appended last; None if it has written nothing."""

    async def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        loaded = self._loaded
        missing = sorted(account for account in accounts if account not in loaded)
        if missing:
            with failing():
                rows = await self.connection.fetch(SQL["lock"], missing)
            for account, version, state in rows:
                loaded[account] = decode_state(state)
                self._versions[account] = version
        return {account: loaded[account] for account in accounts if account in loaded}

    async def append(self, records: Sequence[Record], states: Mapping[AccountId, AccountState]) -> list[int]:
        self.batch = batch = batch_id()
        rows = []
        for place, record in enumerate(records):
            account, number, timestamp = record.account, record.number, record.timestamp
            text = record.text.decode()
            rows.append((account, number, timestamp, use_of(record.command), batch, place, text, record.digest))
        versions = [self._versions[account] for account in states]
        with failing():
            await self.connection.copy_records_to_table("journal", records=rows, columns=JOURNAL)
            kept = (list(states), versions, list(map(encode_state, states.values())))
            if await _written(self.connection, SQL["keep_states"], kept) != len(states):
                raise StoreFailed("an account has changed under its lock")
            await self.connection.fetch(SQL["take_turn"])
            first = int(await self.connection.fetchval(SQL["end_batch"], len(rows), batch))
        return list(range(first, first + len(records)))


class _Blocking:
    """The same for whoever blocks."""

    def __init__(self, link: Connections, transaction: _Transaction) -> None:
        self._link = link
        self._transaction = transaction

    def load(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        return self._link.run(self._transaction.load, accounts)

    def append(self, records: Sequence[Record], states: Mapping[AccountId, AccountState]) -> list[int]:
        return self._link.run(self._transaction.append, records, states)


async def _end(link: Connections, transaction: _Transaction) -> None:
    """Commit what was written. A commit that was not answered is looked up."""
    if transaction.batch is None:
        await link.roll_back(transaction.connection)
        return
    try:
        await link.commit(transaction.connection)
    except StoreUnknown as unknown:
        if not await _landed(link, transaction.batch, unknown):
            raise StoreFailed(unknown) from unknown


async def _landed(link: Connections, batch: bytes, unknown: StoreUnknown) -> bool:
    """Whether a batch whose commit was not answered is in the journal. Raises `unknown` if nobody can say.

    The commit held the row that orders commits. Who gets hold of it knows that the commit is over.
    """
    deadline = time.monotonic() + connections.OUTCOME_WITHIN_S
    while True:
        try:
            connection = await link.connect()
            try:
                await connection.execute("BEGIN")
                await connection.fetch(SQL["take_turn"])
                return bool(await connection.fetch(SQL["batch_landed"], batch))
            finally:
                await link.roll_back(connection)
        except FAILURES:
            if time.monotonic() > deadline:
                raise unknown from None
            await asyncio.sleep(connections.LOOK_AGAIN_AFTER_S)


async def _count_uses(link: Connections, account: AccountId, uses: Collection[str], since: int) -> QuotaUse:
    ((used, oldest),) = await link.fetch("count_uses", account, _time(since), sorted(uses))
    return QuotaUse(since if oldest is None else oldest, used)


def _time(time: int) -> int:
    """A time that fits into a column."""
    return max(0, min(time, GREATEST))


def batch_id() -> bytes:
    """48 bits of milliseconds, 80 random ones: new rows of an index stand together."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + secrets.token_bytes(10)


async def _add(connection: Connection, accounts: Sequence[Account], keys: Sequence[ApiKey]) -> bool:
    """Add all of them, with empty states; False if a name, an id or a key is taken."""
    for name, width, rows in (
        ("take_name", 2, [(account.name, account.id) for account in accounts]),
        ("add_account", 4, [(each.id, each.name, each.portfolio_margin, each.created) for each in accounts]),
        ("add_state", 3, [(each.id, 0, encode_state(AccountState(each.portfolio_margin))) for each in accounts]),
        ("take_key", 2, [(key.api_key, key.account) for key in keys]),
        ("add_key", 8, list(map(row_of_key, keys))),
    ):
        if await _write_rows(connection, name, list(chain.from_iterable(rows)), width) != len(rows):
            return False
    return not keys or await _write(connection, "bump_keys_version") == 1


async def _write(connection: Connection, name: str, *args: Any) -> int:
    """How many rows a statement wrote."""
    return await _written(connection, SQL[name], args)


async def _write_rows(connection: Connection, name: str, values: list[Any], width: int) -> int:
    """Write rows of `width` values each, all of them in one flat list; how many were written."""
    written = 0
    for start, count in parts(len(values) // width, ROWS_AT_ONCE):
        part = values[width * start : width * (start + count)]
        written += await _written(connection, _times(name, count), part)
    return written


async def _written(connection: Connection, statement: str, args: Sequence[Any]) -> int:
    """How many rows a statement wrote, which the driver tells in words: "INSERT 0 5"."""
    return int((await connection.execute(statement, *args)).rpartition(" ")[2])


@cache
def _times(name: str, rows: int) -> str:
    """The statement with what stands before "times" repeated for so many rows."""

    def repeated(found: re.Match[str]) -> str:
        width = found[1].count("$")
        row = [f"({', '.join(f'${place * width + column + 1}' for column in range(width))})" for place in range(rows)]
        return ", ".join(row)

    return re.sub(r"(\([$\d, ]+\)) /\* times \*/", repeated, SQL[name], count=1)


def _in_sequence(rows: Sequence[Row], firsts: Mapping[bytes, int]) -> list[Stored]:
    """Records in their order in the whole journal; `firsts` has the first sequence of each batch."""
    found = [
        Stored(firsts[batch] + place, decode_record(AccountId(account), number, timestamp, body.encode(), digest))
        for batch, place, account, number, timestamp, body, digest in rows
    ]
    return sorted(found, key=lambda stored: stored.sequence)


def _notes(rows: Sequence[Row]) -> list[Note]:
    return [Note(kind, name, text, expires) for kind, name, text, expires in rows]


def _account(row: Row) -> Account:
    account, name, portfolio_margin, created = row
    return Account(AccountId(account), name, portfolio_margin, created)
