"""The verdict of several processes is that of one, on healthy stores and on damaged ones; none outlives its order."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest
import uvloop

from bench import seed
from catchment import auditor
from catchment.auditor import AuditFailed, Order, Verdict
from catchment.ledger.audit import LISTED
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Adjustment, AutoCollection, Command, Deposit, Reason, Trigger, Withdrawal
from catchment.ledger.quota import Rules
from catchment.store.base import Account, Share, Store, StoreBusy, StoreDamaged, StoreFailed
from catchment.store.memory import MemoryStore
from catchment.store.open import open_store
from catchment.store.sqlite import SqliteStore
from catchment.wallet import Wallet
from catchment.writer import write_batch
from tests.store.books import FIRST, account_id, enrol, tamper

RULES = Rules()
ACCOUNTS = 23
SHARES = 3
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "PAGE", 7)
    monkeypatch.setattr(auditor, "_cores", lambda: SHARES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def any_command(rng: random.Random) -> Command:
    asset, amount = rng.choice(["USDT", "BTC", "BNB"]), rng.randrange(1, 500)
    commands: list[Command] = [
        Deposit(asset, amount),
        Withdrawal(asset, amount),
        Adjustment(rng.choice([Wallet.UM, Wallet.CM]), asset, amount - 100, Reason.REALIZED_PNL),
        AutoCollection(rng.choice([Trigger.API, Trigger.BUTTON, Trigger.OPERATOR])),
    ]
    return rng.choice(commands)


def fill(store: Store, turns: int = 40, seed: int = 1) -> list[AccountId]:
    """Accounts whose ids end in all kinds of bytes, with a random history."""
    rng = random.Random(seed)
    ids = enrol(store, *(number * 11 for number in range(ACCOUNTS)))
    for turn in range(turns):
        write_batch(store, [(rng.choice(ids), any_command(rng)) for _ in range(15)], FIRST + turn * 60_000, RULES)
    return ids


def verify(path: Path, *, here: bool) -> Verdict:
    with pytest.MonkeyPatch.context() as patch, closing(SqliteStore(path)) as store:
        patch.setattr(auditor, "HERE_UNDER", 2**60 if here else 0)
        return asyncio.run(asyncio.wait_for(auditor.verify(store, store.address, RULES), PATIENCE_S))


DAMAGES = {
    "nothing": (set(), ""),
    "a digest": ({2, 9}, "UPDATE journal SET digest = zeroblob(32) WHERE sequence % 10 = 7"),
    "a text": ({2}, "UPDATE journal SET body = body || ' ' WHERE sequence % 9 = 0"),
    "an amount": ({2, 8, 11}, "UPDATE journal SET body = replace(body, '\"amount\":3', '\"amount\":4')"),
    "balances after": ({2, 5, 6, 8}, "UPDATE journal SET body = replace(body, ',\"margin_free\",', ',\"cm\",')"),
    "a time": ({2, 3}, "UPDATE journal SET timestamp = 5 WHERE sequence = 200"),
    "some records": ({1, 2, 12}, "DELETE FROM journal WHERE sequence IN (30, 77, 78, 401)"),
    "the first and the last record": (
        {9, 12},
        "DELETE FROM journal WHERE sequence IN (1, (SELECT max(sequence) FROM journal))",
    ),
    "an account's records": ({1, 12}, f"UPDATE journal SET account = x'{account_id(5).hex()}' WHERE sequence = 50"),
    "an id": ({9, 12}, "UPDATE journal SET account = x'' WHERE sequence = 60"),
    "states": ({9}, "UPDATE recent SET state = replace(state, '0,0,', '1,0,')"),
    "a state": ({9}, f"DELETE FROM recent WHERE account IN (x'{account_id(11).hex()}', x'{account_id(33).hex()}')"),
    "quotas": ({10}, "UPDATE recent SET state = json_replace(state, '$[4].api_hour[1]', 0)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_verdict_of_several_is_that_of_one(path: Path, damage: str) -> None:
    broken, statement = DAMAGES[damage]
    with closing(SqliteStore(path)) as store:
        fill(store)
    if statement:
        tamper(path, statement)
    alone, together = verify(path, here=True), verify(path, here=False)
    assert together == alone
    assert broken <= {finding.invariant for finding in together.findings}
    assert bool(broken) == bool(together.findings)
    assert together.accounts == ACCOUNTS
    assert together.records > 400
    assert sum(sum(places.values()) for places in together.totals.values()) == 0 or broken


def test_totals_may_be_beyond_64_bits(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        ids = enrol(store, *range(1, 200, 20))
        write_batch(store, [(account, Deposit("USDT", 2**63 - 1)) for account in ids], FIRST, RULES)
    together = verify(path, here=False)
    assert together == verify(path, here=True)
    assert together.totals["USDT"]["margin_free"] == len(ids) * (2**63 - 1)  # type: ignore[index]


def test_many_findings_are_listed_within_the_bound_by_several_too(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        (alice, bob) = enrol(store, 1, 200)
        for _ in range(2 * LISTED // 20 + 5):
            write_batch(store, [(alice, Deposit("USDT", 1)), (bob, Deposit("USDT", 1))] * 10, FIRST, RULES)
    tamper(path, "UPDATE journal SET body = replace(body, 'Deposit', 'Withdrawal')")
    alone, together = verify(path, here=True), verify(path, here=False)
    assert together == alone
    assert together.counts[8] > 2 * LISTED
    assert sum(finding.invariant == 8 for finding in together.findings) == LISTED


def test_shares_are_all_accounts_once() -> None:
    for count in (1, 2, 3, 7, 16):
        shares = auditor._shares(count)
        assert len(shares) == count
        for byte in range(256):
            assert sum(share.holds(AccountId(bytes(15) + bytes([byte]))) for share in shares) == 1


def test_a_small_store_is_read_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a process was asked for")

    monkeypatch.setattr(auditor, "_read_apart", refuse)
    assert verify(path, here=True) == Verdict(0, 0, [], {}, {})
    with closing(MemoryStore()) as store:
        fill(store)
        monkeypatch.setattr(auditor, "HERE_UNDER", 0)
        assert asyncio.run(auditor.verify(store, "memory:", RULES)).findings == []


def test_progress_adds_up_what_all_have_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "HERE_UNDER", 0)
    told: list[int] = []
    with closing(SqliteStore(path)) as store:
        fill(store)
        verdict = asyncio.run(auditor.verify(store, store.address, RULES, told.append))
        assert told[-1] == verdict.records == store.newest()
    assert told == sorted(told)


# While others write --------------------------------------------------------------------------------------------------


class Writing:
    """Goes on writing to a store from a thread, new accounts included, until it is told to stop; then closes it."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.first = (seed << 40) + 1_000_000
        self.stop = threading.Event()
        self.rounds = 0
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        ids = [account.id for account in self.store.accounts(None, 1_000)]
        while not self.stop.is_set():
            late = account_id(self.first + self.rounds * 57)
            self.store.add_account(Account(late, f"late {late.hex()}", portfolio_margin=True, created=FIRST))
            ids.append(late)
            batch = [(account, any_command(self.rng)) for account in [*self.rng.choices(ids, k=10), late]]
            with suppress(StoreBusy):
                write_batch(self.store, batch, FIRST + 10**7 + self.rounds, RULES)
            self.rounds += 1

    def __enter__(self) -> "Writing":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        self.store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, path: Path) -> str:
    """The address of a store that several can write to."""
    return f"sqlite:///{path}" if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.mark.parametrize("here", [True, False])
def test_busy_writers_are_no_finding(shared: str, here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account is read up to a commit of its own, and no two readers stop at the same one."""
    monkeypatch.setattr(auditor, "PAGE", 100)
    monkeypatch.setattr(auditor, "HERE_UNDER", 2**60 if here else 0)
    with closing(open_store(shared)) as store:
        fill(store)
        with Writing(open_store(shared), 7) as one, Writing(open_store(shared), 8) as other:
            before = one.rounds + other.rounds
            for _ in range(4 if here else 2):
                verdict = asyncio.run(asyncio.wait_for(auditor.verify(store, shared, RULES), PATIENCE_S))
                assert verdict.findings == []
                assert all(sum(places.values()) == 0 for places in verdict.totals.values())
            assert one.rounds + other.rounds > before, "nothing was written meanwhile"


# What ends early -----------------------------------------------------------------------------------------------------


def interrupted(path: Path, meanwhile: Callable[[], None]) -> None:
    """A verify by processes, and something that happens as soon as they have read their first page."""
    happened: list[bool] = []

    def progress(_: int) -> None:
        if not happened:
            happened.append(True)
            meanwhile()

    with closing(SqliteStore(path)) as store:
        asyncio.run(asyncio.wait_for(auditor.verify(store, store.address, RULES, progress), PATIENCE_S))


@pytest.fixture
def apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(auditor, "HERE_UNDER", 0)
    with closing(SqliteStore(path)) as store:
        fill(store, turns=400)
    return path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """The processes that were started, as they are."""
    processes: list[Process] = []
    start = auditor._start

    async def remembered(order: Order) -> Process:
        processes.append(await start(order))
        return processes[-1]

    monkeypatch.setattr(auditor, "_start", remembered)
    return processes


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_that_dies_is_an_error(apart: Path, started: list[Process]) -> None:
    with pytest.raises(AuditFailed, match=r"ended \(-9\)"):
        interrupted(apart, lambda: os.kill(started[0].pid, signal.SIGKILL))
    assert len(started) == SHARES
    assert all(gone(process.pid) for process in started)


def test_a_cancelled_verify_leaves_no_process(apart: Path, started: list[Process]) -> None:
    async def cancelled() -> None:
        begun = asyncio.Event()
        with closing(SqliteStore(apart)) as store:
            verifying = asyncio.create_task(auditor.verify(store, store.address, RULES, lambda _: begun.set()))
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
            assert not gone(started[-1].pid)
            verifying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await verifying

    asyncio.run(cancelled())
    assert all(gone(process.pid) for process in started)


def test_what_a_process_cannot_read_is_told(apart: Path) -> None:
    tamper(apart, "UPDATE journal SET body = '{' WHERE sequence = 3")
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        verify(apart, here=False)


def test_a_row_that_a_process_finds_damaged_is_unreadable_too(apart: Path) -> None:
    """And no failure of a store that is sound, as which it was told before."""
    with closing(sqlite3.connect(apart)) as connection, connection:
        connection.execute("UPDATE journal SET body = body || ' ' WHERE sequence = 3")
    with pytest.raises(msgspec.DecodeError, match="the row of 3 does not fit its checksum"):
        verify(apart, here=False)


def test_a_store_that_a_process_cannot_open_is_told(apart: Path) -> None:
    with closing(SqliteStore(apart)) as store:
        tamper(apart, "UPDATE meta SET value = 0 WHERE name = 'schema_version'")
        with pytest.raises(StoreFailed, match="another program"):
            asyncio.run(auditor.verify(store, store.address, RULES))


def test_a_process_ends_when_nobody_listens(apart: Path) -> None:
    """One whose orderer was killed must not read on for minutes."""
    order = Order(f"sqlite:///{apart}", RULES, Share(0, 255), 10**6)
    command = [sys.executable, "-m", auditor.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
        assert process.wait(PATIENCE_S) == 1


CHILD = """
from catchment import auditor
from catchment.cli import main

start = auditor._start

async def told(order):
    process = await start(order)
    print(process.pid, flush=True)
    return process

auditor._start = told
auditor._cores = lambda: 2
main()
"""


def test_an_interrupt_ends_all_processes(path: Path) -> None:
    """As a terminal sends it, to everyone in the group of the verb."""
    seed.add_accounts(path, 600)
    seed.add_history(path, 600, 100)
    command = [sys.executable, "-c", CHILD, "verify", "--store", f"sqlite:///{path}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [int(process.stdout.readline()) for _ in range(2)]
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr.read().startswith("interrupted: ")
    assert all(map(gone, readers))


def test_it_runs_on_a_servers_event_loop_too(apart: Path) -> None:
    with closing(SqliteStore(apart)) as store:
        verdict = uvloop.run(auditor.verify(store, store.address, RULES))
    assert verdict == verify(apart, here=True)


# Totals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 5, 1_000])
def test_totals_are_those_of_the_verdict(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "ADDED_AT_ONCE", at_once)
    store = MemoryStore()
    fill(store)
    seen: list[int] = []
    found = asyncio.run(auditor.totals(store, seen.append))
    assert found.places == asyncio.run(auditor.verify(store, "memory:", RULES)).totals
    assert all(sum(places.values()) == 0 for places in found.places.values())
    assert (found.accounts, found.broken, found.listed) == (ACCOUNTS, 0, [])
    assert found.first == found.last == store.newest()
    assert seen == sorted(seen)
    assert seen[-1] == ACCOUNTS


def test_totals_name_the_accounts_that_do_not_add_up(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        first, second, _ = enrol(store, 1, 2, 3)
        for account in (first, second):
            write_batch(store, [(account, Deposit("USDT", 5))], FIRST, RULES)
    tamper(path, "UPDATE recent SET state = replace(state, '[0,0,5,', '[0,0,6,') WHERE sequence = 2")
    with closing(SqliteStore(path)) as store:
        found = asyncio.run(auditor.totals(store))
    assert (found.broken, found.listed) == (1, [second])
    assert sum(found.places["USDT"].values()) == 1


def test_totals_of_an_account_without_a_state_cannot_be_told(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        enrol(store, 1)
    tamper(path, "DELETE FROM holding")
    with closing(SqliteStore(path)) as store, pytest.raises(StoreDamaged, match="has no state"):
        asyncio.run(auditor.totals(store))
