"""PostgreSQL's own files, damaged while it is stopped: what does not fit its checksum is refused, never served; and
what a server comes back to whose log was cut off."""

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catchment import writer
from catchment.cli import main
from catchment.errors import Refused
from catchment.ledger.commands import Deposit
from catchment.ledger.journal import Stored
from catchment.store.base import StoreDamaged
from catchment.store.postgres import PostgresStore
from tests import databases
from tests.papi.desk import Desk, open_desk, plain
from tests.store.books import enrol, newest, write

PAGE_BYTES = 8_192
ACCOUNTS = 100
SCENARIO = """
[[account]]
name = "account {number}"
[[account.key]]
api_key = "key-{number}"
secret = "key-{number}-secret"
[account.UM]
USDT = "{number}.5"
"""
FIVE = Deposit("USDT", 5)
DONE = {"msg": "success"}


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with databases.own_server() as started:
        # What lies in a file must not depend on when a process of the server came by.
        settings = ("autovacuum = off", "bgwriter_lru_maxpages = 0", "checkpoint_timeout = '1d'")
        databases.execute(started.get_uri(), *(f"ALTER SYSTEM SET {setting}" for setting in settings))
        databases.execute(started.get_uri(), "SELECT pg_reload_conf()")
        assert databases.value(started.get_uri(), "SHOW data_checksums") == "on"
        yield started


@pytest.fixture
def address(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # where the master key is kept
    monkeypatch.setenv("HOME", str(tmp_path))
    with databases.new_schema(server.get_uri()) as made:
        yield made


# Pages ---------------------------------------------------------------------------------------------------------------


def file_of(server: Any, address: str, table: str) -> Path:
    path: Path = server.pgdata / databases.value(address, f"SELECT pg_relation_filepath('{table}')")
    return path


def flip(server: Any, file: Path, bits: list[tuple[int, int]]) -> None:
    """Bits of a file of the stopped server, each the other way: where it stands and which of its byte."""
    server.stop()
    content = bytearray(file.read_bytes())
    for place, bit in bits:
        content[place] ^= 1 << bit
    file.write_bytes(content)
    server.ensure_postgres_running()


def one_bit_of_every_other_page(file: Path) -> list[tuple[int, int]]:
    """But not of the last page, where the next row goes."""
    rng = random.Random(7)
    pages = range(0, file.stat().st_size // PAGE_BYTES - 1, 2)
    return [(page * PAGE_BYTES + rng.randrange(PAGE_BYTES), rng.randrange(8)) for page in pages]


def damaged(reading: Callable[[], object], expected: object) -> bool:
    """Whether a reading is refused as damaged; what it gives otherwise must be what is expected."""
    try:
        assert reading() == expected
    except StoreDamaged:
        return True
    return False


def unavailable(desk: Desk, method: str, path: str, number: int, expected: object) -> bool:
    """The same over HTTP."""
    answer = desk.call(method, f"/papi/v1/{path}", plain(f"key-{number}"))
    assert answer.json == expected or answer.outcome == (503, -1001)
    return answer.status == 503


@pytest.mark.parametrize(
    ("table", "reading", "expected"),
    [
        ("journal", "um/income", {"history", "tail", "HTTP", "collection"}),
        ("holding", "balance", {"state", "HTTP", "collection"}),
    ],
)
def test_no_flipped_bit_is_served(server: Any, address: str, table: str, reading: str, expected: set[str]) -> None:
    """`expected` is what is refused in part: an account's first collection has its quota counted from the journal."""
    numbers = range(1, ACCOUNTS)
    with open_desk(
        "".join(SCENARIO.format(number=number) for number in numbers), store=address, weight_per_minute=10**6
    ) as desk:
        ids = [desk.account(f"account {number}") for number in numbers]
        store = desk.venue._store
        for account in ids:  # a batch each, for a batch is read whole
            write(store, [(account, FIVE)] * 9)
        states, tail = store.load(ids), store.tail(0, 10_000)
        histories = {account: newest(store, account) for account in ids}
        answers = [desk.get(reading, plain(f"key-{number}")).json for number in numbers]
    file = file_of(server, address, table)
    bits = one_bit_of_every_other_page(file)
    flip(server, file, bits)
    with open_desk(store=address, weight_per_minute=10**6) as desk:
        store = desk.venue._store
        refused = {
            "state": [damaged(partial(store.load, [account]), {account: states[account]}) for account in ids],
            "history": [damaged(partial(newest, store, account), histories[account]) for account in ids],
            "tail": [damaged(partial(store.tail, one.sequence - 1, 1), [one]) for one in tail],
            "HTTP": [unavailable(desk, "GET", reading, *asked) for asked in zip(numbers, answers, strict=True)],
            "collection": [unavailable(desk, "POST", "auto-collection", number, DONE) for number in numbers],
        }
        assert {name for name, outcomes in refused.items() if any(outcomes)} == expected
        assert not any(all(outcomes) for outcomes in refused.values())
        together = writer.write(store, [(account, FIVE) for account in ids], desk.clock, desk.venue.rules)
        assert [not isinstance(answer, Stored) for answer in together] == refused["state"], "each for itself"
        with pytest.raises(StoreDamaged, match="invalid page"):
            desk.run(desk.venue.verify())
    told = CliRunner().invoke(main, ["verify"], env={"CATCHMENT_STORE": address})
    assert (told.exit_code, told.stdout.split()[0]) == (1, "BROKEN")
    flip(server, file, bits)
    with open_desk(store=address) as desk:
        assert desk.run(desk.venue.verify()).findings == []
        after = desk.venue._store.load(ids)
    happened = [after[account].number - states[account].number for account in ids]
    assert happened == [2 - sum(outcomes) for outcomes in zip(refused["collection"], refused["state"], strict=True)]


def test_a_damaged_table_of_versions_is_not_another_programs(server: Any, address: str) -> None:
    PostgresStore(address).close()
    file = file_of(server, address, "meta")
    databases.execute(address, "CHECKPOINT")
    bits = [(file.stat().st_size - 1, 0)]
    flip(server, file, bits)
    with pytest.raises(Refused, match="invalid page"):
        PostgresStore(address)
    flip(server, file, bits)
    PostgresStore(address).close()


# The log -------------------------------------------------------------------------------------------------------------


def newest_segment(server: Any) -> tuple[Path, int]:
    """The file of the log that is written to, and how far it is."""
    name, end = databases.value(server.get_uri(), "SELECT pg_walfile_name_offset(pg_current_wal_lsn())")
    return server.pgdata / "pg_wal" / name, end


def write_in_two_segments(address: str) -> tuple[list[Stored], list[Stored]]:
    """The whole journal, and what of it is in the log's older files."""
    with closing(PostgresStore(address)) as store:
        account = next((account.id for account in store.accounts(None, 1)), None) or enrol(store, 1)[0]
        for _ in range(3):
            write(store, [(account, FIVE)])
        older = store.tail(0, 10_000)
        databases.execute(address, "SELECT pg_switch_wal()")
        for _ in range(20):
            write(store, [(account, FIVE)])
        return store.tail(0, 10_000), older


def test_a_log_that_was_cut_off_leaves_an_earlier_commit(server: Any, address: str) -> None:
    """Its newest file is gone, or ends before what was in it: what is left fits, and nothing in it tells."""
    lost = []
    for kept in (None, 0, 1 / 4, 1 / 2, 3 / 4):
        journal, older = write_in_two_segments(address)
        segment, end = newest_segment(server)
        databases.pull_plug(server)
        if kept is None:
            segment.unlink()
        else:
            os.truncate(segment, int(end * kept))
        server.ensure_postgres_running()
        with open_desk(store=address) as desk:
            verdict = desk.run(desk.venue.verify())
            assert verdict.findings == []
            assert desk.venue._store.tail(0, 10_000) == journal[: verdict.records]
            assert len(older) <= verdict.records < len(journal)
        lost.append(len(journal) - verdict.records)
    assert lost[:2] == [20, 20]
    assert 20 >= lost[2] >= lost[3] >= lost[4] > 0
    assert lost[4] < 20


def test_without_its_last_checkpoint_a_server_does_not_start(server: Any, address: str) -> None:
    journal, _ = write_in_two_segments(address)
    databases.execute(address, "CHECKPOINT")
    segment, _ = newest_segment(server)
    databases.pull_plug(server)
    aside = segment.rename(segment.with_suffix(".aside"))
    with pytest.raises(subprocess.CalledProcessError):
        server.ensure_postgres_running()
    with pytest.raises(Refused, match="Cannot use the store"):
        PostgresStore(address)
    aside.rename(segment)
    server.ensure_postgres_running()
    with closing(PostgresStore(address)) as store:
        assert store.tail(0, 10_000) == journal
