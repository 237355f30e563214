"""Connections to a PostgreSQL server. What the driver raises leaves here in the words of the seam.

Whoever blocks, on whichever thread, hands a coroutine to an event loop that has a thread of its own, and waits. Whoever
awaits has connections on the loop it runs on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, ParamSpec, TypeVar

import asyncpg

from catchment.config import hide_password
from catchment.store.base import StoreBusy, StoreDamaged, StoreFailed, StoreUnknown
from catchment.store.statements import statements

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Connection = Any  # the driver ships no types
Row = Any

SQL: Final = statements("postgres.sql")

CONNECT_WITHIN_S: Final = 10
STATEMENT_WITHIN_S: Final = 30
LOCK_WITHIN_S: Final = 10
"""How long a statement waits for another writer's lock, in seconds."""
IDLE_WITHIN_S: Final = 15
"""How long a transaction may pause before the server ends it, in seconds: the locks of a machine that is gone."""
ANSWER_WITHIN_S: Final = STATEMENT_WITHIN_S + 5
OUTCOME_WITHIN_S: Final = 30
"""How long the outcome of a commit is looked for, in seconds."""
LOOK_AGAIN_AFTER_S: Final = 1 / 10
CLOSE_WITHIN_S: Final = 5
KEEP_ALIVE_AFTER_S: Final = 60
"""After how long without a word the server asks whether we are there, so that nobody on the way forgets the line."""

TRANSIENT: Final = frozenset({"40001", "40P01"})
"""A serialization failure and a deadlock: another writer was in the way, and nothing happened."""
DAMAGED: Final = frozenset({"XX001", "XX002"})
"""A page that does not fit its checksum, an index that does not fit its table."""
LOST: Final = ("08", "57P", "25P03", "25P04")
"""How the SQLSTATEs begin after which a connection is of no use: it broke, or the server ended it."""
FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


def settings() -> dict[str, str]:
    """What every connection asks the server for.

    Plans that go through an index: every statement is a look-up by a key, and an UPDATE that walks the index of the key
    locks its rows in the order of the key, in every process alike, so that two writers never wait for each other.
    """
    return {
        "application_name": "catchment",
        "default_transaction_isolation": "read committed",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",
        "tcp_keepalives_idle": str(KEEP_ALIVE_AFTER_S),
        "statement_timeout": f"{STATEMENT_WITHIN_S}s",
        "lock_timeout": f"{LOCK_WITHIN_S * 1_000:.0f}ms",
        "idle_in_transaction_session_timeout": f"{IDLE_WITHIN_S}s",
    }


class Connections:
    """As many connections to one database as are used at once; kept, and replaced when they are found closed."""

    def __init__(self, address: str) -> None:
        self.address = hide_password(address)
        self._dsn = address
        self._free: list[Connection] = []
        self._all: set[Connection] = set()
        self._closed = False
        self.spread = False
        """Whether the server may have spread the tables over several machines."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def another(self) -> Connections:
        """Others to the same database."""
        return Connections(self._dsn)

    def run(
        self,
        work: Callable[Parameters, Coroutine[Any, Any, Result]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """The work's result, on the loop's thread. Raises what it raises."""
        if self._closed:
            raise StoreFailed("the store is closed")
        return asyncio.run_coroutine_threadsafe(work(*args, **kwargs), self._loop or self._start()).result()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="catchment-postgresql", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """End every connection and the thread; harmless when it was done before."""
        if not self._closed and self._loop is not None and self._thread is not None:
            self.run(self.close_all)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self._closed = True

    async def close_all(self) -> None:
        """End every connection."""
        for connection in list(self._all):
            with suppress(*FAILURES):
                await connection.close(timeout=CLOSE_WITHIN_S)
        self._all.clear()
        self._free.clear()

    async def fetch(self, name: str, *args: Any) -> list[Row]:
        """The rows of a statement that only reads. Raises `StoreFailed`."""
        with failing():
            connection, rows = await self._on_one(lambda connection: connection.fetch(SQL[name], *args))
            self.give_back(connection)
            return list(rows)

    async def begin(self) -> Connection:
        """A connection with a transaction begun: for `commit`, or for `roll_back`. Raises `StoreFailed`."""
        with failing():
            connection, _ = await self._on_one(lambda connection: connection.execute("BEGIN"))
            return connection

    async def commit(self, connection: Connection) -> None:
        """Raises `StoreUnknown` when the server did not say that it has committed."""
        try:
            said = await connection.execute("COMMIT")
        except FAILURES as error:
            self._drop(connection)
            raise StoreUnknown(reason(error)) from error
        self.give_back(connection)
        if said != "COMMIT":
            raise StoreFailed(f"the server answered {said} to COMMIT")

    async def roll_back(self, connection: Connection) -> None:
        """A connection that cannot even do this is dropped, and the server rolls back."""
        try:
            await connection.execute("ROLLBACK")
        except FAILURES:
            self._drop(connection)
        else:
            self.give_back(connection)

    def give_back(self, connection: Connection) -> None:
        self._free.append(connection)

    async def _on_one(self, first: Callable[[Connection], Awaitable[Result]]) -> tuple[Connection, Result]:
        """A connection, and what the first statement gave on it. One that was lost meanwhile is replaced, once."""
        connection = await self._take()
        try:
            return connection, await first(connection)
        except FAILURES as error:
            if usable_after(error):
                self.give_back(connection)
                raise
            self._drop(connection)
            if isinstance(error, TimeoutError):
                raise
        connection = await self.connect()
        try:
            return connection, await first(connection)
        except FAILURES:
            self._drop(connection)
            raise

    async def _take(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
            self._all.discard(connection)
        return await self.connect()

    async def connect(self) -> Connection:
        """A connection of its own. Raises what the driver raises."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_WITHIN_S,
            command_timeout=ANSWER_WITHIN_S,
            max_cacheable_statement_size=0,
            max_cached_statement_lifetime=0,
            server_settings=settings(),
        )
        self._all.add(connection)
        try:
            await connection.execute(SQL["make_ready"])
            self.spread = bool(await connection.fetch(SQL["make_ready_for_machines"]))
        except FAILURES:
            self._drop(connection)
            raise
        return connection

    def _drop(self, connection: Connection) -> None:
        self._all.discard(connection)
        connection.terminate()


@contextmanager
def failing() -> Iterator[None]:
    """What the driver raises before a commit: nothing happened."""
    try:
        yield
    except FAILURES as error:
        state = getattr(error, "sqlstate", None)
        kind = StoreBusy if state in TRANSIENT else StoreDamaged if state in DAMAGED else StoreFailed
        raise kind(reason(error)) from error


def usable_after(error: BaseException) -> bool:
    """Whether a connection is of use after an error: the server refused a statement, and listens for the next."""
    return isinstance(error, asyncpg.PostgresError) and not str(error.sqlstate).startswith(LOST)


def reason(error: BaseException) -> str:
    """The server's sentence, or what stands for it."""
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    return str(error) or type(error).__name__
