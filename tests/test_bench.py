"""The bench measures what it says it does: its requests are signed, its bulk stores are stores, its goals bite."""

import asyncio
import socket
from pathlib import Path

import pytest

from bench import capacity, ceiling, pages, process, seed, whole, writing
from bench.capacity import BUSY, CORES, HEAD, Engine, Size
from bench.figure import AT_MOST, Figure, Plan, table
from bench.load import COLLECT, PING, SECRET, Work, requests
from catchment import auditor
from catchment.ledger.journal import Stored
from catchment.signature import hmac_verifier
from catchment.store.sqlite import MILESTONE_EVERY, SqliteStore
from catchment.writer import write_batch

ACCOUNTS = 20
EACH = MILESTONE_EVERY + 43
"""Such that the last three records are profits, not yet collected."""


def test_every_request_is_signed_and_for_another_key() -> None:
    verify = hmac_verifier(SECRET.encode())
    built = requests(Work(port=1, count=50, seed=1))
    for request in built:
        target = request.split(b" ")[1]
        payload, _, signature = target.removeprefix(COLLECT.encode() + b"?").rpartition(b"&signature=")
        assert verify(payload, signature)
    assert len({request.partition(b"X-MBX-APIKEY: ")[2] for request in built}) == 50


def test_the_generator_counts_answers(tmp_path: Path) -> None:
    (figure,) = ceiling.measure(Plan(tmp_path, quick=True))
    assert figure.value > 1_000
    assert Work(1, PING).connections == 64


def test_a_bulk_journal_can_be_walked_written_on_and_verified(tmp_path: Path) -> None:
    path = tmp_path / "bulk.db"
    seed.add_accounts(path, ACCOUNTS)
    seed.add_history(path, ACCOUNTS, EACH)
    store = SqliteStore(path)
    account = seed.account_id(7)
    (answer,) = write_batch(store, [(account, writing.COMMAND)], seed.MADE_MS * 2, writing.RULES)
    assert isinstance(answer, Stored)
    assert (answer.sequence, answer.record.number) == (ACCOUNTS * EACH + 1, EACH + 1)
    assert {transfer.asset for transfer in answer.record.transfers} == set(seed.FUNDS)
    walked = store.history(account, since=0, until=2**62, below=2**62, limit=10_000, newest_first=True)
    assert [stored.record.number for stored in walked] == list(range(EACH + 1, 0, -1))
    first = store.history(account, since=0, until=2**62, below=0, limit=3, newest_first=False)
    assert [stored.record.number for stored in first] == [1, 2, 3]
    verdict = asyncio.run(auditor.verify(store, store.address, writing.RULES))
    assert (verdict.records, verdict.accounts, verdict.findings) == (ACCOUNTS * EACH + 1, ACCOUNTS, [])
    store.close()


def test_a_process_is_gone_when_its_block_ends(tmp_path: Path) -> None:
    port = process.free_port()
    with process.running(["-m", "bench.ceiling", str(port)], port, tmp_path / "log") as running:
        assert process.resident_mib(running.pid) > 1
    assert not _answers(port)


def test_the_whole_venue_is_verified_and_collected(tmp_path: Path) -> None:
    figures = {figure.name: figure.value for figure in whole.measure(Plan(tmp_path, quick=True))}
    assert figures["its memory"] > 10
    assert figures["collect --all, 2,000 accounts"] > 0
    assert list(tmp_path.glob("*.db")) == []


def test_the_history_of_one_account_is_as_long_as_it_is_made(tmp_path: Path) -> None:
    path, each = tmp_path / "long.db", 2_403
    seed.add_accounts(path, 1)
    seed.add_history(path, 1, each)
    store = SqliteStore(path)
    verdict = asyncio.run(auditor.verify(store, store.address, writing.RULES))
    assert (verdict.records, verdict.accounts, verdict.findings) == (each, 1, [])
    store.close()


def test_the_pages_of_history_are_measured(tmp_path: Path) -> None:
    figures = pages.measure_history(Plan(tmp_path, quick=True))
    assert all(figure.value > 0 for figure in figures)
    assert [figure.goal for figure in figures if figure.unit == "x"] == [pages.FLAT] * 2


def test_the_table_says_what_was_reached() -> None:
    slow = Figure("part", "slow", 3.0, "s", 2.0, AT_MOST)
    fast = Figure("part", "fast", 70_000, "/s", 60_000)
    lines = table([slow, fast, Figure("part", "told", 1, "")]).splitlines()
    assert (slow.reached, fast.reached) == (False, True)
    assert lines[2].endswith("<= 2.00 s  NO")
    assert lines[3].endswith(">= 60,000 /s  yes")


def test_what_is_followed_is_queued_decided_and_committed_in_turns() -> None:
    engine = Engine("made up", 1, 100, 0, 0, 2.0, 1.0, 10, 1, 1, None)
    alone = capacity.simulate(engine, 1, 1)
    assert alone.batch == 1
    assert alone.p50 == pytest.approx(2.0 + 0.1 + 1.01)
    assert alone.turning == pytest.approx(1 * 1.01e-3, rel=0.1)
    one, many = capacity.simulate(engine, 6_000, 1), capacity.simulate(engine, 6_000, 8)
    assert one.batch > many.batch > 1
    assert one.turning < many.turning <= 1
    assert one.p50 < one.p99
    assert capacity.simulate(engine, 6_000, 8) == many, "drawn from a seed"


def test_a_venue_is_as_large_as_its_first_limit_allows() -> None:
    engine = Engine("made up", 1, 100, 50, 60, 2.0, 1.0, 0, 500, 1_000, 1)
    assert capacity.limits(engine) == {
        "turn to commit": pytest.approx(BUSY * 1_000_000),
        "machine in the middle": pytest.approx(BUSY * 20_000 * CORES),
        "writer": pytest.approx(BUSY * 10_000),
    }
    size = Size(1_000_000, a_day=24, peak=36)
    assert size.rate == pytest.approx(10_000)
    row = dict(zip(HEAD, capacity.plan(engine, size), strict=True))
    assert (row["ledgers"], row["a ledger's first limit"]) == ("2", "writer (6,000/s)")
    assert (row["journal a day"], row["accounts' rows"]) == ("12 GB", "1 GB")
    assert row["store cores"] == "1"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
