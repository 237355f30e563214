"""The write-ahead log is folded into the file beside the writer, and begins anew; else it would grow for ever."""

import sqlite3
import time
from pathlib import Path

import pytest

from catchment.ledger.commands import Deposit
from catchment.store import checkpoint
from catchment.store.sqlite import SqliteStore
from catchment.store.statements import SQL
from tests.store.books import enrol, write

PATIENCE_S = 20


def beginnings(path: Path) -> int:
    """How often the log began anew: a number in its head."""
    with path.with_name(path.name + "-wal").open("rb") as log:
        return int.from_bytes(log.read(16)[12:], "big")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a store whose log SQLite itself never folds in."""
    pragmas = SQL["pragmas"].replace("wal_autocheckpoint = 65536", "wal_autocheckpoint = 0")
    assert pragmas != SQL["pragmas"]
    monkeypatch.setitem(SQL, "pragmas", pragmas)
    monkeypatch.setattr(checkpoint, "EVERY", 10)
    return tmp_path / "store.db"


def test_the_log_begins_anew_while_the_writer_goes_on(path: Path) -> None:
    store = SqliteStore(path)
    (alice,) = enrol(store, 1)
    written, deadline = 0, time.monotonic() + PATIENCE_S
    write(store, [(alice, Deposit("USDT", 1))])
    first = beginnings(path)
    while beginnings(path) < first + 3:
        assert time.monotonic() < deadline, f"{written} records, and the log was never folded in"
        write(store, [(alice, Deposit("USDT", 1))])
        written += 1
    assert len(store.tail(0, 10_000)) == written + 1
    store.close()
    assert not path.with_name(path.name + "-wal").exists()


def test_a_log_that_cannot_be_folded_in_stops_nobody(path: Path) -> None:
    """Somebody reads an old snapshot all the time."""
    store = SqliteStore(path)
    (alice,) = enrol(store, 1)
    with sqlite3.connect(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        for _ in range(60):
            write(store, [(alice, Deposit("USDT", 1))])
        assert reader.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    reader.close()
    store.close()
    again = SqliteStore(path)
    assert len(again.tail(0, 100)) == 60
    again.close()


def test_a_store_that_was_never_written_to_has_no_thread(path: Path) -> None:
    store = SqliteStore(path)
    assert store._checkpointer._thread is None
    store.close()
