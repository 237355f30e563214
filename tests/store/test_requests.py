"""The last requests over every engine; and the file of them beside an SQLite store, which may be damaged or gone."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from catchment.ledger.balance import AccountId
from catchment.store.base import Answered, Requests, Store, StoreFailed
from catchment.store.request_file import RequestFile
from tests.store.books import account_id
from tests.store.conftest import Engine

ALICE, BOB, NOBODY = account_id(1), account_id(2), AccountId(b"")
FOREVER = 2**62


def asked(
    account: AccountId = ALICE, time: int = 1, path: str = "/papi/v1/ping", left_out: int = 0, record: int = 0
) -> Answered:
    parameters = [("symbol", "币安\"'\\"), ("signature", "…")]
    answer = (5, 400, -1021, 2**40, record, left_out)
    return Answered(0, account, time, "abcdef…6789", "::1", "GET", path, parameters, *answer)


def times(requests: Requests, account: AccountId | None = None, before: int = FOREVER, limit: int = 100) -> list[int]:
    return [one.time for one in requests.newest(account, before, limit)]


@pytest.fixture
def requests(store: Store) -> Requests:
    return store.requests()


def test_what_was_written_is_read_newest_first(engine: Engine, store: Store) -> None:
    requests = store.requests()
    assert requests.newest(None, FOREVER, 10) == []
    assert requests.last() == 0
    written = [asked(), asked(BOB, path="/币安"), asked(NOBODY)]
    requests.write(written[:2])
    requests.write(written[2:])
    if engine.lasts:
        requests.close()
        requests = engine.reopen(store).requests()
    found = requests.newest(None, FOREVER, 10)
    assert [one.id for one in found] == [3, 2, 1]
    assert [msgspec.structs.replace(one, id=0) for one in found] == written[::-1]
    assert requests.last() == 3
    requests.close()


def test_the_request_of_a_record_is_found(requests: Requests) -> None:
    requests.write([asked(ALICE, 1), asked(ALICE, 2, record=7), asked(BOB, 3, record=7), asked(ALICE, 4, record=8)])
    assert [one and one.time for one in (requests.of_record(ALICE, 7), requests.of_record(BOB, 7))] == [2, 3]
    assert requests.of_record(ALICE, 9) is None
    assert requests.of_record(BOB, 8) is None
    requests.close()


def test_they_are_read_in_pages_of_all_or_of_one_account(requests: Requests) -> None:
    requests.write([asked(BOB if time % 3 == 0 else ALICE, time) for time in range(1, 10)])
    assert times(requests, limit=4) == [9, 8, 7, 6]
    assert times(requests, before=6, limit=4) == [5, 4, 3, 2]
    assert times(requests, BOB) == [9, 6, 3]
    assert times(requests, BOB, before=9, limit=1) == [6]
    assert times(requests, NOBODY) == []
    requests.close()


def test_what_was_left_out_is_counted_from_an_id_on(requests: Requests) -> None:
    requests.write([asked(left_out=5), asked()])
    requests.write([asked(BOB, left_out=70)])
    assert [requests.left_out(since, FOREVER) for since in (1, 2, 3, 4)] == [75, 70, 70, 0]
    assert [requests.left_out(1, before) for before in (1, 2, 3, 4)] == [0, 5, 5, 75]
    requests.close()


def test_the_oldest_are_forgotten_of_each_account_and_of_all(requests: Requests) -> None:
    requests.write([asked(BOB, 1), *(asked(ALICE, time) for time in range(2, 12)), asked(BOB, 12)])
    requests.prune([ALICE], 4, 100, 0)
    assert times(requests) == [12, 11, 10, 9, 8, 1]
    requests.prune([], 4, 3, 0)
    assert times(requests) == [12, 11, 10]
    requests.prune([], 4, 3, 11)
    assert times(requests) == [12, 11]
    requests.close()


def test_ids_grow_on_when_all_are_old(requests: Requests) -> None:
    requests.write([asked(), asked()])
    requests.prune([ALICE], 100, 100, 2)
    assert times(requests) == [1]
    requests.write([asked()])
    assert requests.last() == 3
    requests.close()


def test_several_servers_write_at_the_same_time(engine: Engine, store: Store) -> None:
    stores = [store, engine.open() if engine.lasts else store]
    failed: list[BaseException] = []

    def write(requests: Requests, account: AccountId) -> None:
        try:
            for time in range(20):
                requests.write([asked(account, time)] * 3)
        except BaseException as error:
            failed.append(error)
        finally:
            requests.close()

    writers = [
        threading.Thread(target=write, args=(of.requests(), account))
        for of, account in zip(stores, (ALICE, BOB), strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    with closing(stores[0].requests()) as requests:
        assert [one.id for one in requests.newest(None, FOREVER, 1_000)] == list(range(120, 0, -1))
        for account in (ALICE, BOB):
            assert times(requests, account, limit=1_000) == sorted(list(range(20)) * 3, reverse=True)


# The file beside an SQLite store -------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db-requests"


def test_nothing_is_made_before_it_is_used(path: Path) -> None:
    with closing(RequestFile(path)) as requests:
        assert not path.exists()
        requests.write([asked()])
        assert path.exists()


@pytest.mark.parametrize("damage", ["text", "page", "schema", "row", "another program's"])
def test_a_damaged_file_is_made_anew(path: Path, damage: str) -> None:
    with closing(RequestFile(path)) as requests:
        requests.write([asked() for _ in range(200)])
    if damage == "text":
        path.write_bytes(b"no database at all" * 1_000)
    elif damage == "page":
        with path.open("r+b") as file:
            file.seek(4_096)
            file.write(b"\xff" * 4_096 * 8)
    else:
        with closing(sqlite3.connect(path)) as other:
            other.execute(
                {
                    "schema": "PRAGMA user_version = 7",
                    "row": "UPDATE request SET parameters = '[[', path = CAST(x'ff' AS TEXT)",
                }.get(damage, "PRAGMA user_version = 0")
            )
            other.commit()
    with closing(RequestFile(path)) as requests:
        assert times(requests) == []
        requests.write([asked(time=7)])
        assert times(requests) == [7]


def test_a_file_that_was_damaged_or_taken_away_meanwhile_is_made_anew_by_all(path: Path) -> None:
    with closing(RequestFile(path)) as here, closing(RequestFile(path)) as there:
        here.write([asked(time=1)])
        assert times(there) == [1]
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        there.write([asked(time=2)])
        assert times(here) == [2]
        here.write([asked(time=3)])
        assert times(there) == [3, 2]


def test_where_no_file_can_be_the_reason_is_given_in_the_words_of_the_seam(path: Path) -> None:
    path.mkdir()
    with closing(RequestFile(path)) as requests:
        with pytest.raises(StoreFailed):
            requests.write([asked()])
        with pytest.raises(StoreFailed):
            requests.newest(None, FOREVER, 1)
        path.rmdir()
        requests.write([asked(time=4)])
        assert times(requests) == [4]


def test_another_writers_lock_is_waited_for_only_so_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catchment.store.request_file.LOCK_WAIT_S", 0)
    with closing(RequestFile(path)) as requests:
        requests.write([asked(time=1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreFailed, match="locked"):
                requests.write([asked(time=2)])
            assert times(requests) == [1]
            other.execute("COMMIT")
        requests.write([asked(time=3)])
        assert times(requests) == [3, 1]
