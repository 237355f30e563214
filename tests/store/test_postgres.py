"""What only a server can do: be shared by many writers, end connections, stop and come back, and answer too late.

Run as a program, this file is one of several processes that write to one database.
"""

import asyncio
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from catchment import writer
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.errors import Refused
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import AutoCollection, Deposit, Trigger, Withdrawal
from catchment.ledger.journal import Stored
from catchment.ledger.quota import Rules
from catchment.signature import Algorithm, ApiKey
from catchment.store import connections
from catchment.store import postgres as engine
from catchment.store.base import Account, StoreBusy, StoreDamaged, StoreFailed, StoreUnknown
from catchment.store.connections import SQL
from catchment.store.postgres import PostgresStore
from catchment.venue import Venue
from tests import databases
from tests.store.books import FIRST, account_id, enrol, write

ROOT = Path(__file__).parents[2]
PROCESSES = 3
BATCHES = 60
ACCOUNTS = 12
QUOTA = 500
PATIENCE_S = 60
FIVE = Deposit("USDT", 5)


@pytest.fixture
def store(postgres: str) -> Iterator[PostgresStore]:
    opened = PostgresStore(postgres)
    yield opened
    opened.close()


def refusal_of(address: str) -> str:
    with pytest.raises(Refused) as refused:
        PostgresStore(address)
    return f"{refused.value.rejection.name}: {refused.value}"


def backends(store: PostgresStore) -> list[int]:
    """The server's processes for the connections of a store."""
    return [connection.get_server_pid() for connection in store._link._all]


def alive(address: str, pids: list[int]) -> int:
    return int(databases.value(address, "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)", pids))


def end_connections(address: str, store: PostgresStore) -> None:
    """As an operator ends them; over when the server has none of them any more."""
    pids = backends(store)
    assert pids
    databases.value(address, "SELECT count(pg_terminate_backend(pid)) FROM unnest($1::int[]) AS pid", pids)
    wait_until(lambda: not alive(address, pids))


def wait_until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Several writers -----------------------------------------------------------------------------------------------------


def write_much(address: str, seed: int) -> None:
    """Batches over accounts that all processes share, in any order; then one account's quota. Says what it did."""
    store = PostgresStore(address)
    rng = random.Random(seed)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    brought, accepted = 0, 0
    for _ in range(BATCHES):
        asked: list[tuple[AccountId, Deposit | Withdrawal]] = []
        for _ in range(rng.randrange(1, 30)):
            amount = rng.randrange(1, 50)
            command = Deposit("USDT", amount) if rng.random() < 1 / 2 else Withdrawal("USDT", amount)
            asked.append((account_id(rng.randrange(ACCOUNTS)), command))
        answers = writer.write(store, asked, FrozenClock(FIRST), Rules())
        for (_, command), answer in zip(asked, answers, strict=True):
            if isinstance(answer, Stored):
                accepted += 1
                brought += command.amount if isinstance(command, Deposit) else -command.amount
    collections = 0
    presses = [(account_id(ACCOUNTS), AutoCollection(Trigger.API))] * 7
    while any(isinstance(answer, Stored) for answer in writer.write(store, presses, FrozenClock(FIRST), Rules())):
        collections += 7
    store.close()
    sys.stdout.write(json.dumps({"brought": brought, "accepted": accepted, "tried": collections}))


def test_several_processes_write_to_the_same_accounts(postgres: str, store: PostgresStore) -> None:
    """Nothing is lost or oversold, a quota is one for all, the tail has no gap, and nobody waits in a circle."""
    enrol(store, *range(ACCOUNTS + 1))
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = databases.value(postgres, deadlocks)
    children = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, postgres, str(seed)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(PROCESSES)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        watched = Tail(postgres)
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        said = [json.loads(child.communicate(timeout=PATIENCE_S)[0]) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    accepted = sum(one["accepted"] for one in said)
    states = store.load([account_id(number) for number in range(ACCOUNTS + 1)])
    free = [state.balances["USDT"].margin_free for state in states.values() if "USDT" in state.balances]
    assert sum(free) == sum(one["brought"] for one in said)
    assert min(free) >= 0
    assert states[account_id(ACCOUNTS)].number == QUOTA, "and not one more"
    assert watched.read(accepted + QUOTA) == list(range(1, accepted + QUOTA + 1))
    assert databases.value(postgres, deadlocks) == before
    chained = Counter(stored.record.account for stored in store.tail(0, 100_000))
    assert {account: state.number for account, state in states.items()} == dict(chained)


class Tail:
    """Follows the journal on a thread of its own, from the beginning, as fast as it can."""

    def __init__(self, address: str) -> None:
        self._store = PostgresStore(address)
        self._seen: list[int] = []
        self._wanted = 2**62
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self._seen) < self._wanted and time.monotonic() < deadline:
            page = self._store.tail(self._seen[-1] if self._seen else 0, 100)
            self._seen += [stored.sequence for stored in page]

    def read(self, count: int) -> list[int]:
        """The sequences in the order in which they were met, once there are so many."""
        self._wanted = count
        self._thread.join()
        self._store.close()
        return self._seen


@pytest.mark.usefixtures("one_machine")
def test_many_threads_lock_in_the_same_order(postgres: str, store: PostgresStore) -> None:
    """Each loads the same accounts, named in another order; not even one deadlock is counted."""
    ids = enrol(store, *range(40))
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = databases.value(postgres, deadlocks)
    failed: list[BaseException] = []

    def go(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(25):
                write(store, [(account, Deposit("USDT", 1)) for account in rng.sample(ids, 20)])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert databases.value(postgres, deadlocks) == before
    assert sum(state.number for state in store.load(ids).values()) == 8 * 25 * 20
    assert [stored.sequence for stored in store.tail(0, 10_000)] == list(range(1, 4_001))


@pytest.mark.usefixtures("one_machine")
def test_the_lock_walks_the_index(postgres: str, store: PostgresStore) -> None:
    """The order of the locks is that of the index; a plan that takes the rows as they lie would not keep it."""
    plan = store._link.run(_plan_of, store, SQL["lock"].rstrip(";").replace("$1", "'{a,b}'::bytea[]"))
    assert "Index Scan using holding_pkey" in plan
    assert "Seq Scan" not in plan
    assert "Bitmap" not in plan
    assert "Sort" not in plan


async def _plan_of(store: PostgresStore, statement: str) -> str:
    connection = await store._link.connect()
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}"))


@pytest.mark.usefixtures("one_machine")
def test_an_account_that_another_writer_has_is_waited_for(postgres: str, store: PostgresStore) -> None:
    alice, bob = enrol(store, 1, 2)
    began, waited = threading.Event(), threading.Event()

    def second() -> None:
        began.wait()
        write(store, [(bob, FIVE), (alice, FIVE)])
        waited.set()

    thread = threading.Thread(target=second)
    thread.start()
    with store.transaction() as transaction:
        states = transaction.load([alice])
        began.set()
        wait_until(lambda: databases.value(postgres, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0)
        assert not waited.is_set()
        assert states[alice].number == 0
    thread.join()
    assert waited.is_set()
    assert store.load([alice])[alice].number == 1


def test_a_deadlock_is_nothing_happened_and_may_be_tried_again(store: PostgresStore) -> None:
    """Made by hand, with a transaction that loads twice, which the writer never does."""
    alice, bob = enrol(store, 1, 2)
    both = threading.Barrier(2)
    outcomes: list[object] = []

    def go(first: Any, second: Any) -> None:
        try:
            with store.transaction() as transaction:
                transaction.load([first])
                both.wait()
                transaction.load([second])
        except StoreFailed as error:
            outcomes.append(type(error))
        else:
            outcomes.append("done")

    threads = [threading.Thread(target=go, args=pair) for pair in ((alice, bob), (bob, alice))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(["done", str(StoreBusy)])
    assert len(write(store, [(alice, FIVE), (bob, FIVE)])) == 2


def test_a_state_that_changed_under_its_lock_is_not_written_over(postgres: str, store: PostgresStore) -> None:
    """It cannot; if it does all the same, the transaction fails and nothing happened."""
    (alice,) = enrol(store, 1)

    def attempt() -> None:
        with store.transaction() as transaction:
            states = transaction.load([alice])
            transaction._transaction._versions[alice] += 1
            transaction.append([], states)

    with pytest.raises(StoreFailed, match="changed under its lock"):
        attempt()
    assert store.newest() == 0
    assert len(write(store, [(alice, FIVE)])) == 1


def test_commits_leave_nothing_behind_that_slows_the_next_ones(postgres: str, store: PostgresStore) -> None:
    """While a backup runs, every version of a row that it might see is kept: so no row is changed by every commit."""
    ids = enrol(store, *range(20))
    with held(postgres, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM journal"):
        for account in ids:
            write(store, [(account, FIVE)])
        assert [ctid for (ctid,) in store._link.run(_versions, store)] == ["(0,1)"]


async def _versions(store: PostgresStore) -> list[Any]:
    """Where the one row stands that all writers share: a changed one would stand elsewhere."""
    connection = await store._link.connect()
    return list(await connection.fetch("SELECT ctid::text FROM turn"))


def test_what_was_only_looked_at_changes_nothing(postgres: str, store: PostgresStore) -> None:
    (alice,) = enrol(store, 1)
    with store.transaction() as transaction:
        transaction.load([alice])
    assert databases.value(postgres, "SELECT version FROM holding") == 0


# Outcomes ------------------------------------------------------------------------------------------------------------


class Proxy:
    """Between a store and the server, on loopback. It may cut a connection when a COMMIT comes by: before the server
    sees it, or after the server has answered it."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        folder = parts.query.partition("host=")[2].partition("&")[0]
        self._target = f"{folder}/.s.PGSQL.5432" if folder else (parts.hostname, parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut = ""
        self.refusing = False
        self.cuts = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
                server.connect(self._target)
                self._sockets += [client, server]
                armed = threading.Event()
                for pair in ((client, server, "before", armed), (server, client, "after", armed)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, side: str, armed: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.cut and side == "before" and b"COMMIT\0" in data:
                    armed.set()
                if armed.is_set() and self.cut == side:
                    self.cuts += 1
                    self.cut = ""
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            one.close()


@pytest.fixture
def proxy(postgres_server: str) -> Iterator[Proxy]:
    made = Proxy(postgres_server)
    yield made
    made.close()


@pytest.fixture
def distant(postgres: str, proxy: Proxy) -> Iterator[PostgresStore]:
    """A store behind the proxy, which has to be able to read along."""
    parts = urlsplit(postgres)
    user, schema = parts.username, postgres.rpartition("search_path=")[2]
    opened = PostgresStore(
        f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}?search_path={schema}&sslmode=disable"
    )
    yield opened
    opened.close()


def test_a_connection_cut_after_the_commit_is_found_to_have_committed(distant: PostgresStore, proxy: Proxy) -> None:
    (alice,) = enrol(distant, 1)
    proxy.cut = "after"
    written = write(distant, [(alice, FIVE), (alice, FIVE)])
    assert proxy.cuts == 1
    assert distant.tail(0, 10) == written
    assert len(write(distant, [(alice, FIVE)])) == 1


def test_a_connection_cut_before_the_commit_is_nothing_happened(distant: PostgresStore, proxy: Proxy) -> None:
    (alice,) = enrol(distant, 1)
    proxy.cut = "before"
    with pytest.raises(StoreFailed):
        write(distant, [(alice, FIVE)])
    assert proxy.cuts == 1
    assert distant.newest() == 0
    assert len(write(distant, [(alice, FIVE)])) == 1


@pytest.mark.parametrize("cut", ["before", "after"])
def test_what_nobody_can_say_is_unknown(
    distant: PostgresStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    monkeypatch.setattr(connections, "OUTCOME_WITHIN_S", 0.3)
    (alice,) = enrol(distant, 1)
    proxy.cut, proxy.refusing = cut, True
    with pytest.raises(StoreUnknown):
        write(distant, [(alice, FIVE)])
    proxy.refusing = False
    assert distant.newest() == (1 if cut == "after" else 0)


def test_an_account_whose_commit_was_not_answered_is_unknown(distant: PostgresStore, proxy: Proxy) -> None:
    proxy.cut = "after"
    with pytest.raises(StoreUnknown):
        enrol(distant, 1)
    assert distant.account(account_id(1)) is not None


def test_the_outcome_waits_for_a_commit_that_is_under_way(
    postgres: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old transaction holds the row that orders commits until it is over; before that, nobody says it did not."""
    (alice,) = enrol(store, 1)
    looked = threading.Event()

    async def commit_slowly(connection: Any) -> None:
        """The answer is lost at once; the server commits later."""

        async def later() -> None:
            while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            looked.set()
            await connection.execute("COMMIT")

        asyncio.get_running_loop().create_task(later())
        raise StoreUnknown("the answer was lost")

    monkeypatch.setattr(store._link, "commit", commit_slowly)
    (written,) = write(store, [(alice, FIVE)])
    assert looked.is_set()
    monkeypatch.undo()
    assert store.tail(0, 10) == [written]


def test_a_connection_ended_before_the_commit_is_nothing_happened(postgres: str, store: PostgresStore) -> None:
    (alice,) = enrol(store, 1)

    def attempt() -> None:
        with store.transaction() as transaction:
            transaction.load([alice])
            end_connections(postgres, store)
            transaction.load([account_id(2)])

    with pytest.raises(StoreFailed):
        attempt()
    assert len(write(store, [(alice, FIVE)])) == 1


def test_a_connection_ended_while_it_rested_is_replaced(postgres: str, store: PostgresStore) -> None:
    (alice,) = enrol(store, 1)
    write(store, [(alice, FIVE)])
    attempts: list[Callable[[], object]] = [
        lambda: store.load([alice])[alice].number,
        lambda: len(store.tail(0, 10)),
        lambda: write(store, [(alice, FIVE)])[0].sequence - 1,
        lambda: int(store.add_account(Account(account_id(2), "two", portfolio_margin=True, created=FIRST))),
    ]
    for attempt in attempts:
        end_connections(postgres, store)
        assert attempt() == 1


@pytest.mark.parametrize("code", ["53100", "53300", "25006"])
def test_a_statement_that_the_server_refuses_is_nothing_happened(
    postgres: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """A full disk, no connection left, a standby that only reads: as the server says it."""
    (alice,) = enrol(store, 1)
    databases.execute(
        postgres,
        "CREATE FUNCTION refuse() RETURNS bigint LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE 'as a test' USING ERRCODE = '{code}'; END $$",
    )
    monkeypatch.setitem(SQL, "end_batch", "SELECT refuse() + $1::bigint + length($2::bytea)")
    with pytest.raises(StoreFailed, match="as a test"):
        write(store, [(alice, FIVE)])
    monkeypatch.undo()
    assert (store.newest(), store.load([alice])[alice].number) == (0, 0)
    assert len(write(store, [(alice, FIVE)])) == 1


def test_a_server_that_only_reads_is_read(postgres: str, store: PostgresStore) -> None:
    (alice,) = enrol(store, 1)
    standby = PostgresStore(f"{postgres}&default_transaction_read_only=on")
    assert standby.load([alice])[alice].number == 0
    with pytest.raises(StoreFailed, match="read-only"):
        write(standby, [(alice, FIVE)])
    with pytest.raises(StoreFailed, match="read-only"):
        standby.add_account(Account(account_id(2), "two", portfolio_margin=True, created=FIRST))
    standby.close()


@pytest.mark.usefixtures("one_machine")
def test_a_lock_is_waited_for_and_no_longer(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOCK_WITHIN_S", 0.2)
    store = PostgresStore(postgres)
    (alice,) = enrol(store, 1)
    with held(postgres, "SELECT 1 FROM holding FOR UPDATE"):
        with pytest.raises(StoreFailed, match="lock timeout"):
            write(store, [(alice, FIVE)])
        assert store.load([alice])[alice].number == 0, "readers do not wait for a writer"
        PostgresStore(postgres).close()  # and who opens the store does not either
    assert len(write(store, [(alice, FIVE)])) == 1
    store.close()


def test_a_statement_is_waited_for_and_no_longer(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STATEMENT_WITHIN_S", 1)
    monkeypatch.setitem(SQL, "load", "SELECT account, state, pg_sleep(60) FROM holding WHERE account = ANY ($1)")
    store = PostgresStore(postgres)
    (alice,) = enrol(store, 1)
    with pytest.raises(StoreFailed, match="statement timeout"):
        store.load([alice])
    assert store.newest() == 0
    store.close()


def test_a_server_that_does_not_answer_is_not_waited_for(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_late(*_: object, **__: object) -> None:
        raise TimeoutError

    before = store.newest()
    monkeypatch.setattr(asyncpg.Connection, "fetch", too_late)
    with pytest.raises(StoreFailed, match="did not answer in time"):
        store.newest()
    monkeypatch.undo()
    assert store.newest() == before


def test_a_transaction_that_pauses_too_long_gives_its_locks_back(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a machine that is gone: the server ends it, and others go on."""
    monkeypatch.setattr(connections, "IDLE_WITHIN_S", 1)
    gone, here = PostgresStore(postgres), PostgresStore(postgres)
    (alice,) = enrol(here, 1)

    def pause() -> None:
        with gone.transaction() as transaction:
            transaction.load([alice])
            assert len(write(here, [(alice, FIVE)])) == 1
            transaction.append([], {})

    with pytest.raises(StoreFailed):
        pause()
    assert here.load([alice])[alice].number == 1
    for store in (gone, here):
        store.close()


@contextmanager
def held(address: str, statement: str) -> Iterator[None]:
    """A statement's locks, held by another program."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(address))
    loop.run_until_complete(connection.execute(f"BEGIN; {statement}"))
    try:
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


# A cluster -----------------------------------------------------------------------------------------------------------


def test_even_a_batch_of_one_account_is_prepared(cluster: str) -> None:
    """A worker that commits by itself before the coordinator does would leave records without their batch."""
    made = PostgresStore(cluster)
    made.distribute()
    made.close()
    store = PostgresStore(f"{cluster}&citus.log_remote_commands=on&client_min_messages=log")
    (alice,) = enrol(store, 1)
    said: list[str] = []
    (connection,) = store._link._all
    connection.add_log_listener(lambda _, message: said.append(str(message)))
    write(store, [(alice, FIVE)])
    store.close()
    assert any("PREPARE TRANSACTION" in message for message in said)
    assert not any("issuing COMMIT on" in message for message in said)


@pytest.mark.parametrize(("to_tell", "failed"), [("SELECT 'one'", StoreFailed), ("SELECT newest", StoreDamaged)])
def test_records_whose_machine_has_yet_to_commit_are_not_damage(
    postgres: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch, to_tell: str, failed: type[Exception]
) -> None:
    """A worker that died over a commit has its part when it was told again; what is missing then is missing."""
    (alice,) = enrol(store, 1)
    write(store, [(alice, FIVE)])
    databases.execute(postgres, "DELETE FROM journal")
    monkeypatch.setattr(store._link, "spread", True)
    monkeypatch.setattr(connections, "LOOK_AGAIN_AFTER_S", 0)
    monkeypatch.setitem(SQL, "commits_to_tell", f"{to_tell} FROM nextval('numbers') AS newest")
    databases.execute(postgres, "CREATE SEQUENCE numbers")
    with pytest.raises(StoreFailed) as raised:
        store.tail(0, 10)
    assert type(raised.value) is failed


# A server that stops and comes back ----------------------------------------------------------------------------------


def test_a_server_that_stops_under_load_and_comes_back() -> None:
    """The venue is not started again; every collection that was answered is in the journal exactly once."""
    with databases.own_server() as server:

        async def play() -> None:
            venue = await Venue.open(Settings(store=server.get_uri(), quota_api_per_hour=10**6))
            try:
                await asyncio.wait_for(stopped_under_load(venue, server), PATIENCE_S)
                assert (await venue.verify()).findings == []
            finally:
                await venue.close()

        asyncio.run(play())


async def read_on(venue: Venue, account: AccountId) -> None:
    while True:
        await venue.state(account)


async def stopped_under_load(venue: Venue, server: Any) -> None:
    made = await venue.add_account("alice")
    assert isinstance(made, Account)
    told: list[Stored] = []
    refused: Counter[str] = Counter()
    back, done = asyncio.Event(), asyncio.Event()

    async def client(number: int) -> None:
        while not done.is_set():
            answer = await venue.submit(made.id, AutoCollection(Trigger.API))
            if isinstance(answer, Stored):
                told.append(answer)
                if back.is_set():
                    done.set()
            else:
                refused[answer.name] += 1
                await asyncio.sleep(0.01)

    clients = [asyncio.create_task(client(number)) for number in range(20)]
    while len(told) < 100:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(server.stop)
    with pytest.raises(Refused):
        await read_on(venue, made.id)
    await asyncio.to_thread(server.ensure_postgres_running)
    back.set()
    await asyncio.gather(*clients)
    assert set(refused) <= {"STORE_UNAVAILABLE"}, "certain: nothing happened"
    journal = [stored for page in range(0, len(told) + 1_000, 1_000) for stored in await venue.tail(page, 1_000)]
    kept = Counter(stored.record.digest for stored in journal)
    assert all(kept[answer.record.digest] == 1 for answer in told)
    assert len(journal) == len(told), "and nothing that was refused"


# Opening and refusing ------------------------------------------------------------------------------------------------


def test_processes_that_make_the_same_store_at_once(postgres: str) -> None:
    failed: list[BaseException] = []
    start = threading.Barrier(6)

    def make() -> None:
        start.wait()
        try:
            PostgresStore(postgres).close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert databases.value(postgres, "SELECT count(*) FROM turn") == 1


def test_a_newer_schema_is_refused(postgres: str) -> None:
    PostgresStore(postgres).close()
    databases.execute(postgres, "UPDATE meta SET value = '7' WHERE name = 'schema_version'")
    known = engine.SCHEMA_VERSION
    assert refusal_of(postgres) == f"NEWER_STORE: The store has schema version 7; this Catchment knows up to {known}."


def test_an_older_schema_is_upgraded(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PostgresStore(postgres)
    (alice,) = enrol(store, 1)
    written = write(store, [(alice, FIVE)])
    store.close()
    newest = engine.SCHEMA_VERSION + 2
    monkeypatch.setattr(engine, "SCHEMA_VERSION", newest)
    made = "CREATE TABLE second (account bytea PRIMARY KEY); CREATE TABLE other (a int)"
    monkeypatch.setitem(SQL, f"upgrade_{newest - 1}", made)
    monkeypatch.setitem(SQL, f"upgrade_{newest}", "INSERT INTO other (a) VALUES (3)")
    for _ in range(2):
        store = PostgresStore(postgres)
        assert store.tail(0, 10) == written
        store.close()
    assert databases.value(postgres, "SELECT a FROM other") == 3
    assert databases.value(postgres, "SELECT value FROM meta WHERE name = 'schema_version'") == str(newest)


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PostgresStore(postgres).close()
    newest = engine.SCHEMA_VERSION + 1
    monkeypatch.setattr(engine, "SCHEMA_VERSION", newest)
    monkeypatch.setitem(SQL, f"upgrade_{newest}", "CREATE TABLE second (a int); SELECT 1 / 0")
    assert refusal_of(postgres).startswith("BAD_STORE_ADDRESS")
    monkeypatch.undo()
    PostgresStore(postgres).close()


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE bookmark (url text)",
        "CREATE TABLE meta (something text)",
        "CREATE TABLE meta (name text PRIMARY KEY, value text)",
        "CREATE TABLE meta (name text PRIMARY KEY, value text); INSERT INTO meta VALUES ('schema_version', 'x')",
    ],
)
def test_another_programs_database_is_refused_and_left_as_it_was(unmade: str, made: str) -> None:
    databases.execute(unmade, made)
    assert "another program's database" in refusal_of(unmade)
    assert databases.value(unmade, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()") == 1


def test_a_schema_that_is_not_there_is_refused(postgres_server: str) -> None:
    assert "BAD_STORE_ADDRESS" in refusal_of(databases.in_schema(postgres_server, "nowhere"))


def test_a_database_in_another_encoding_is_refused(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ENCODING", "EBCDIC")
    assert "encoding is UTF8" in refusal_of(postgres)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@127.0.0.1:1/venue",
        "postgresql://me:s3cret@127.0.0.1:port/venue",
        "postgresql://me:s3/cret@127.0.0.1/venue",
        "postgresql://me:s3cret@/venue?host=/nowhere",
        "postgresql://127.0.0.1:1/venue?user=me&password=s3cret",
        "postgresql://me:s3cret@127.0.0.1:1/venue?sslmode=wrong",
    ],
)
def test_an_address_that_leads_nowhere_is_refused_without_its_password(address: str) -> None:
    words = refusal_of(address)
    assert words.startswith("BAD_STORE_ADDRESS: Cannot use the store 'postgresql://")
    assert "s3" not in words
    assert "cret" not in words


def test_who_the_server_does_not_know_is_refused_in_its_words(postgres_server: str) -> None:
    parts = urlsplit(postgres_server)
    stranger = parts._replace(netloc=f"stranger:s3cret@{parts.netloc.rpartition('@')[2]}").geturl()
    words = refusal_of(stranger)
    assert 'role "stranger" does not exist' in words
    assert "s3cret" not in words


def test_the_password_is_not_shown(postgres_server: str, postgres: str, caplog: pytest.LogCaptureFixture) -> None:
    parts = urlsplit(postgres)
    password = parts.password or "s3cret"  # a server that trusts everybody takes any
    host = parts.netloc.rpartition("@")[2]
    store = PostgresStore(parts._replace(netloc=f"{parts.username}:{password}@{host}").geturl())
    assert store.address == parts._replace(netloc=f"{parts.username}@{host}").geturl()
    assert password not in repr(store)
    end_connections(postgres, store)
    store.newest()
    store.close()
    with pytest.raises(StoreFailed) as failed:
        store.newest()
    assert password not in repr(failed.value) + caplog.text


def test_no_connection_is_left_when_a_store_is_closed(postgres: str, store: PostgresStore) -> None:
    store.newest()
    pids = backends(store)
    assert alive(postgres, pids) == len(pids) == 1
    store.close()
    store.close()
    wait_until(lambda: not alive(postgres, pids))
    assert store._link._thread is not None
    assert not store._link._thread.is_alive()


def test_commits_are_durable_even_where_they_are_not_by_default(postgres: str) -> None:
    for chosen, expected in (("off", "on"), ("on", "on"), ("local", "local")):
        store = PostgresStore(f"{postgres}&synchronous_commit={chosen}")
        assert store._link.run(_setting, store, "synchronous_commit") == expected
        store.close()


async def _setting(store: PostgresStore, name: str) -> str:
    connection = await store._link.connect()
    return str(await connection.fetchval("SELECT current_setting($1)", name))


def test_texts_that_a_column_cannot_hold_are_not_there(store: PostgresStore) -> None:
    assert store.account_named("a\0b") is None
    assert store.key("a\0b") is None
    assert not store.revoke_key("a\0b", FIRST)


def test_numbers_beyond_a_column(store: PostgresStore) -> None:
    (alice,) = enrol(store, 1)
    written = write(store, [(alice, FIVE)])
    assert store.tail(0, 2**80) == written
    assert store.tail(2**80, 2**80) == []
    assert store.history(alice, since=-(2**80), until=2**80, below=2**80, limit=2**80, newest_first=True) == written
    with pytest.raises(StoreFailed):
        store.add_key(ApiKey("key", alice, Algorithm.HMAC, b"", frozenset(), (), 2**70))
    assert store.key("key") is None


if __name__ == "__main__":
    write_much(sys.argv[1], int(sys.argv[2]))
