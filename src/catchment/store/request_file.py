"""The last requests of an SQLite store, in a file of their own beside it: the store's write lock is the journal's.

Whatever is wrong with the file, a new one takes its place; whoever has the old one open notices and goes over.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from catchment.ledger.balance import AccountId
from catchment.store.base import Answered, StoreFailed
from catchment.store.statements import SQL, request_of_row, row_of_request, write_rows

VERSION: Final = 1
"""Of the file's schema; a file of another one is replaced."""
LOCK_WAIT_S: Final = 1
"""How long another process's write lock is waited for, in seconds."""
NO_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""Errors after which another file would be of no more use."""

Result = TypeVar("Result")


class RequestFile:
    """The requests in the file at `path`, which is opened, or made, when it is first used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def write(self, answered: Sequence[Answered]) -> None:
        values = list(chain.from_iterable(map(row_of_request, answered)))
        self._run(lambda connection: write_rows(connection, "append_requests", values, 13), writes=True)

    def newest(self, account: AccountId | None, before: int, limit: int) -> list[Answered]:
        names: dict[str, Any] = {"before": before, "limit": limit}
        if account is not None:
            names["account"] = account
        statement = SQL["requests" if account is None else "requests_of_account"]
        return self._run(lambda connection: list(map(request_of_row, connection.execute(statement, names))))

    def of_record(self, account: AccountId, number: int) -> Answered | None:
        names = {"account": account, "record": number}
        rows = self._run(lambda connection: connection.execute(SQL["request_of_record"], names).fetchall())
        return next(map(request_of_row, rows), None)

    def left_out(self, since: int, before: int) -> int:
        return self._run(lambda connection: _number(connection, "requests_left_out", since=since, before=before))

    def last(self) -> int:
        return self._run(lambda connection: _number(connection, "last_request"))

    def prune(self, accounts: Collection[AccountId], of_account: int, of_all: int, before: int) -> None:
        def prune(connection: sqlite3.Connection) -> None:
            for account in accounts:
                connection.execute(SQL["prune_requests_of_account"], {"account": account, "kept": of_account})
            connection.execute(SQL["prune_requests"], {"kept": of_all})
            connection.execute(SQL["prune_old_requests"], {"before": before})

        self._run(prune, writes=True)

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _run(self, work: Callable[[sqlite3.Connection], Result], *, writes: bool = False) -> Result:
        with self._lock:
            try:
                return self._once(work, writes)
            except OSError as error:
                raise StoreFailed(error) from error
            except (sqlite3.Error, ValueError) as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in NO_DAMAGE:
                    raise StoreFailed(error) from error
                self._disconnect()
            try:
                for ending in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
                return self._once(work, writes)
            except (sqlite3.Error, ValueError, OSError) as error:
                raise StoreFailed(error) from error

    def _once(self, work: Callable[[sqlite3.Connection], Result], writes: bool) -> Result:
        connection = self._connected()
        if not writes:
            return work(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        return done

    def _connected(self) -> sqlite3.Connection:
        """To the file that is at the path now. Raises what SQLite raises."""
        if self._connection is not None and self._inode == self._inode_now():
            return self._connection
        self._disconnect()
        connection = self._connection = sqlite3.connect(
            self._path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False
        )
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                connection.executescript(SQL["pragmas_of_requests"])
                break
            except sqlite3.OperationalError as error:
                # Two that make the file at once: the change to a write-ahead log does not wait for a lock.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(LOCK_WAIT_S / 100)
        _make_schema(connection)
        self._inode = self._inode_now()
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._inode = 0

    def _inode_now(self) -> int:
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return 0


def _make_schema(connection: sqlite3.Connection) -> None:
    """Raises `sqlite3.DatabaseError` for a file of another schema."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not version and not connection.execute("PRAGMA schema_version").fetchone()[0]:
            for statement in SQL["schema_of_requests"].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise sqlite3.DatabaseError("another schema")
    finally:
        connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, statement: str, **names: int) -> int:
    return int(connection.execute(SQL[statement], names).fetchone()[0])
