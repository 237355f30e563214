"""Kill -9 in the middle of load, again and again on one store: what was answered is there once, nothing is half done.

Run as a program, this file is the child that is killed: many tasks submit to a venue of their own, and each answer is
written to the pipe before the task goes on. A killed process leaves the system's caches behind it, so this shows that
the order of writing is right; that each commit is also synced is a test of the store.
"""

import asyncio
import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil
import pytest

from catchment import errors
from catchment.asset import Asset
from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    Command,
    Deposit,
    Reason,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Stored
from catchment.signature import sign_hmac
from catchment.store.base import Account
from catchment.store.open import open_store
from catchment.store.sqlite import SqliteStore
from catchment.venue import Venue
from catchment.wallet import Wallet
from tests import databases

ROOT = Path(__file__).parents[1]
KILLS = {"sqlite": 20, "postgres": 5}
SERVER_KILLS = {"sqlite": 6, "postgres": 5}
KILLS_VARIABLE = "PULLED_PLUG_KILLS"
"""Set it to have every test kill so many times."""
SEED_VARIABLE = "PULLED_PLUG_SEED"
"""Set it to what a failure printed, to kill in the same order and at the same moments, as far as a machine repeats."""

ACCOUNTS = 200
TASKS = 50
PATIENCE_S = 60
REPEATED_AFTER_S = 0.02
"""After a refusal, in seconds."""
CERTAIN = frozenset({errors.STORE_UNAVAILABLE.code, errors.CLOSING.code})
"""Codes of the refusals after which a call is repeated: nothing happened."""


class Plug(StrEnum):
    PROGRAM = "the program alone"
    WRITER = "its writer alone"
    WHOLE = "the program with its writer"
    DATABASE = "the database"
    BOTH = "the program and the database"

    @property
    def is_the_databases(self) -> bool:
        return self in {Plug.DATABASE, Plug.BOTH}

    @property
    def spares_the_program(self) -> bool:
        return self in {Plug.DATABASE, Plug.WRITER}


@dataclass
class Scene:
    """Where the store is; on PostgreSQL, also its server, which is killed too."""

    engine: str
    address: str
    server: Any = None

    def plugs(self, rng: random.Random, kills: dict[str, int]) -> list[Plug]:
        """As many as asked for: each kind takes its turn, in an order drawn anew each time."""
        kinds = [plug for plug in Plug if self.server is not None or not plug.is_the_databases]
        number = int(os.environ.get(KILLS_VARIABLE) or kills[self.engine])
        return [plug for _ in range(0, number, len(kinds)) for plug in rng.sample(kinds, len(kinds))][:number]


@pytest.fixture(params=["sqlite", "postgres"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # where the master key is kept
    monkeypatch.setenv("HOME", str(tmp_path))
    if request.param == "sqlite":
        yield Scene("sqlite", f"sqlite:///{tmp_path}/store.db")
    else:
        with databases.own_server(durable=True) as server:
            for setting in ("fsync", "synchronous_commit"):
                assert databases.value(server.get_uri(), f"SHOW {setting}") == "on"
            yield Scene("postgres", server.get_uri(), server)


# The child -----------------------------------------------------------------------------------------------------------


async def child(address: str, seed: int, writer: Any) -> None:
    """Submit until standard input ends, and repeat what was refused. Accounts are made by whoever comes first, so the
    first child may be killed while making them."""
    venue = await Venue.open(Settings(store=address, writer=writer), apart=True)
    known = {account.name: account.id async for page in venue.accounts() for account in page}
    for number in range(ACCOUNTS):
        if f"account {number}" not in known:
            made = await venue.add_account(f"account {number}")
            assert isinstance(made, Account)
            known[made.name] = made.id
    os.write(1, b"ready\n")
    stopping = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stopping.set()

    threading.Thread(target=wait_for_end, daemon=True).start()

    async def go_on(task: int) -> None:
        rng = random.Random(seed * TASKS + task)
        for turn in itertools.count():
            account, mark = known[f"account {rng.randrange(ACCOUNTS)}"], f"{seed}-{task}-{turn}"
            command = any_command(rng, mark)
            while True:
                answer = await venue.submit(account, command)
                tell(mark, answer)
                if stopping.is_set():
                    return
                if not isinstance(answer, Rejection) or answer.code not in CERTAIN:
                    break
                await asyncio.sleep(REPEATED_AFTER_S)

    await asyncio.gather(*(go_on(task) for task in range(TASKS)))
    await venue.close()


def start_child(*order: object) -> subprocess.Popen[bytes]:
    """In a session of its own with its writer's process, if it is to have one."""
    command = [sys.executable, "-m", __name__, *map(str, order)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def tell(mark: str, answer: Stored | Rejection) -> None:
    """One line on the pipe; the ledger's own refusals are nobody's concern here."""
    if isinstance(answer, Stored):
        record = answer.record
        os.write(1, f"done {mark} {record.account.hex()} {record.number} {record.digest.hex()}\n".encode())
    elif answer.status >= http.client.INTERNAL_SERVER_ERROR:
        os.write(1, f"{answer.code} {mark}\n".encode())


def any_command(rng: random.Random, mark: str) -> Command:
    """`mark` is never used twice, so a command that happened twice would be seen."""
    asset, amount = rng.choice(["USDT", "BTC", "BNB"]), rng.randrange(1, 1_000)
    match rng.randrange(6):
        case 0:
            return Deposit(asset, amount)
        case 1:
            return Withdrawal(asset, amount)
        case 2:
            return AutoCollection(rng.choice([Trigger.API, Trigger.BUTTON, Trigger.OPERATOR]))
        case 3:
            return AssetCollection(asset, Trigger.API)
    wallet = rng.choice([Wallet.UM, Wallet.CM])
    return Adjustment(wallet, asset, amount - 300, Reason.REALIZED_PNL, symbol=mark)


# The one who pulls the plug ------------------------------------------------------------------------------------------


def seed_of_this_run() -> int:
    """Printed, so that it stands in the report of a failure."""
    seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(10**6))
    print(f"{SEED_VARIABLE}={seed}")
    return seed


class Lines:
    """What a child wrote, whole lines only: the last one may have been cut off by the kill."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.pipe = process.stdout
        self.written = bytearray()
        self.ended = False
        self.more = threading.Condition()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self) -> None:
        while part := os.read(self.pipe.fileno(), 1 << 16):
            with self.more:
                self.written += part
                self.more.notify()
        with self.more:
            self.ended = True
            self.more.notify()

    def wait_for(self, word: bytes, after: int = 0) -> None:
        """Until it is said, behind so many bytes, or the child ends."""
        with self.more:
            assert self.more.wait_for(lambda: self.ended or word in self.written[after:], PATIENCE_S)

    def all(self) -> list[str]:
        """Over when nobody can write any more: a writer's process that outlives its program has the pipe too."""
        self.thread.join()
        self.pipe.close()
        return self.written.decode().split("\n")[:-1]


def kill(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, "the child ended by itself"
    process.kill()
    assert process.wait() == -signal.SIGKILL


def kill_with_writer(process: subprocess.Popen[bytes]) -> None:
    """A process that leads a session of its own, and the writer's process in it, at once."""
    assert process.poll() is None, "the child ended by itself"
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def kill_writer(process: subprocess.Popen[bytes]) -> None:
    (writer,) = psutil.Process(process.pid).children()
    writer.kill()


def end(process: subprocess.Popen[bytes]) -> None:
    """If it still lives, with its writer's process; one that outlived its program ends by itself."""
    if process.poll() is None:
        kill_with_writer(process)


def pull(plug: Plug, process: subprocess.Popen[bytes], scene: Scene, rng: random.Random) -> None:
    cuts: dict[Plug, list[Callable[[], None]]] = {
        Plug.PROGRAM: [lambda: kill(process)],
        Plug.WRITER: [lambda: kill_writer(process)],
        Plug.WHOLE: [lambda: kill_with_writer(process)],
        Plug.DATABASE: [lambda: databases.pull_plug(scene.server)],
        Plug.BOTH: [lambda: kill_with_writer(process), lambda: databases.pull_plug(scene.server)],
    }
    for cut in rng.sample(cuts[plug], len(cuts[plug])):
        cut()


def wait_until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Journal:
    """The journal as it was read after each kill."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.records: list[Stored] = []
        self.verified = 0

    def read_on(self) -> list[Stored]:
        """What is new in it. Checks every invariant over the whole store, and that what was read before is there. A
        database may still be committing what a killed writer had asked for."""

        async def check() -> list[Stored]:
            venue = await Venue.open(Settings(store=self.scene.address))
            try:
                verdict = await venue.verify()
                assert verdict.findings == []
                new = await venue.tail(len(self.records), limit=10**9)
                assert len(self.records) <= verdict.records <= len(self.records) + len(new)
                return new
            finally:
                await venue.close()

        new = asyncio.run(check())
        first = len(self.records) + 1
        self.records += new
        self.verified += len(self.records)
        assert [stored.sequence for stored in new] == list(range(first, first + len(new)))
        return new

    def names(self) -> dict[bytes, str]:
        """Of the accounts, by their ids."""
        store = open_store(self.scene.address)
        try:
            return {account.id: account.name for account in store.accounts(None, ACCOUNTS)}
        finally:
            store.close()


# The venue is killed -------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What children said, held against the journal."""

    journal: Journal
    answered: dict[tuple[str, int], str] = field(default_factory=dict)
    """By account and number, the digest that was answered."""
    kept: dict[tuple[str, int], str] = field(default_factory=dict)
    marks: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)
    """By mark, what was said last."""
    said: Counter[str] = field(default_factory=Counter)
    without_answer: int = 0
    """How many records may be there that nobody was told of."""

    def hear(self, lines: list[str], *, killed: bool) -> None:
        for line in lines:
            word, mark, *rest = line.split()
            self.said[word] += 1
            self.last[mark] = word
            if word == "done":
                account, number, digest = rest
                assert (account, int(number)) not in self.answered, "a number was answered twice"
                self.answered[account, int(number)] = digest
            elif word == str(errors.OUTCOME_UNKNOWN.code):
                self.without_answer += 1
            else:
                assert int(word) in CERTAIN
        self.without_answer += TASKS if killed else 0

    def check(self) -> None:
        for stored in self.journal.read_on():
            record = stored.record
            self.kept[record.account.hex(), record.number] = record.digest.hex()
            if isinstance(record.command, Adjustment):
                self.marks[record.command.symbol] += 1
        assert len(self.kept) == len(self.journal.records)
        lost = {place for place, digest in self.answered.items() if self.kept.get(place) != digest}
        assert not lost, "answered and not in the journal as answered"
        assert len(self.kept) - len(self.answered) <= self.without_answer, "only what was under way may lack its answer"
        assert max(self.marks.values(), default=1) == 1, "a command happened twice"
        refused = {mark for mark, word in self.last.items() if word not in {"done", str(errors.OUTCOME_UNKNOWN.code)}}
        assert not refused & self.marks.keys(), "refused, and it happened all the same"


def said_until_the_plug_is_pulled(scene: Scene, plug: Plug, seed: int, rng: random.Random) -> list[str]:
    writer = "process" if plug is Plug.WRITER else rng.choice(["auto", "process", "thread"])
    process = start_child(scene.address, seed, writer)
    lines = Lines(process)
    assert process.stdin is not None
    try:
        lines.wait_for(b"\ndone ")
        time.sleep(rng.uniform(0.0, 0.2))
        pull(plug, process, scene, rng)
        if plug.is_the_databases:
            scene.server.ensure_postgres_running()
        if plug.spares_the_program:
            lines.wait_for(b"\ndone ", after=len(lines.written))
            process.stdin.close()
            assert process.wait(PATIENCE_S) == 0, "it was not the venue that was killed"
    finally:
        end(process)
        process.stdin.close()
        written = lines.all()
    assert written[0] == "ready"
    return written[1:]


def test_the_plug_is_pulled_on_the_venue(scene: Scene) -> None:
    seed = seed_of_this_run()
    rng = random.Random(seed)
    plugs = scene.plugs(rng, KILLS)
    told = Told(Journal(scene))
    for turn, plug in enumerate(plugs):
        print(f"kill {turn}: {plug}")
        lines = said_until_the_plug_is_pulled(scene, plug, seed + turn, rng)
        told.hear(lines, killed=not plug.spares_the_program)
        told.check()
    print(dict(Counter(map(str, plugs))), dict(told.said), f"{told.journal.verified} records verified")
    assert len(told.answered) > len(plugs) * TASKS, "hardly any load: the kills proved nothing"


def test_the_plug_is_pulled_while_accounts_are_made(tmp_path: Path) -> None:
    """An account and its empty state appear together or not at all."""
    rng = random.Random(seed_of_this_run())
    for turn in range(int(os.environ.get(KILLS_VARIABLE) or 3)):
        path = tmp_path / f"{turn}.db"
        scene = Scene("sqlite", f"sqlite:///{path}")
        with start_child(scene.address, 0, "thread") as process:
            try:
                wait_until(path.with_name(f"{turn}.db-wal").exists)
                time.sleep(rng.uniform(0.0, 0.1))
            finally:
                kill(process)
        assert Journal(scene).read_on() is not None
        store = SqliteStore(path)
        accounts = [account.id for account in store.accounts(None, 1_000)]
        assert store.load(accounts).keys() == set(accounts)
        store.close()


# The same over HTTP: programs are killed, and each client knows what it was answered ---------------------------------

CLIENTS = 8
SCENARIO = """
[[account]]
name = "account {number}"
[[account.key]]
api_key = "key-{number}"
secret = "secret-{number}"
[account.UM]
USDT = "50000000000"
"""


class Program:
    """A started program, in a session of its own with its writer; started again after each kill."""

    def __init__(self, address: str, scenario: Path, writer: str) -> None:
        """`writer` as the setting of that name: a writer that is to be killed alone must be a process."""
        self.writer = writer
        self.command = [sys.executable, "-m", "catchment", "serve", "--port", "0", "--json"]
        self.command += ["--weight-per-minute", "1000000000", "--store", address, "--scenario", str(scenario)]
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "CATCHMENT_WRITER": self.writer}
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, start_new_session=True, env=environment)
        assert self.process.stdout is not None
        document = b""
        while not document.rstrip().endswith(b"}"):
            line = self.process.stdout.readline()
            assert line, "the program ended before it listened"
            document += line
        self.host = json.loads(document)["url"].removeprefix("http://")

    def wait_for_writer(self) -> None:
        """Until nobody of a killed program can write any more: its writer finishes what it was given."""
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            self.process.stdout.read()
            self.process.stdout.close()

    def ready(self) -> bool:
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/readyz")
            status = connection.getresponse().status
            assert status in {200, 503}
            return status == 200
        finally:
            connection.close()


@contextmanager
def programs(scene: Scene, folder: Path) -> Iterator[list[Program]]:
    """Two on one database, one on a file; killed at the end."""
    number = 1 if scene.server is None else 2
    scenario = folder / "scenario.toml"
    scenario.write_text("".join(SCENARIO.format(number=account) for account in range(CLIENTS // number)))
    started: list[Program] = []
    try:
        while len(started) < number:
            started.append(Program(scene.address, scenario, "auto" if started else "process"))
        yield started
    finally:
        for program in started:
            end(program.process)
            program.wait_for_writer()


@dataclass
class Client:
    """Collects an amount that no other client of its account collects, then another: an amount tells which of the calls
    a record belongs to. Repeats a call that was refused, and never one whose outcome is unknown."""

    number: int
    program: Program
    account: int
    amount: int
    stride: int
    stopping: threading.Event
    answered: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    """The amount under way, if its last answer was a refusal."""
    unknown: set[int] = field(default_factory=set)
    said: Counter[str] = field(default_factory=Counter)
    """Since the last kill."""
    strange: str = ""

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.program.host, timeout=PATIENCE_S)
        try:
            while not self.stopping.is_set() and not self.strange:
                self.call(connection)
        except (OSError, http.client.HTTPException):
            self.hear("lost")
        finally:
            connection.close()

    def call(self, connection: http.client.HTTPConnection) -> None:
        status, body = self.collect(connection)
        document = json.loads(body)
        if (status, document) == (200, {"msg": "success"}):
            self.hear("done")
        elif status == 503 and document["code"] in CERTAIN:
            self.said["refused"] += 1
            self.refused = {self.amount}
            self.stopping.wait(REPEATED_AFTER_S)
        elif status == 503 and document["code"] == errors.OUTCOME_UNKNOWN.code:
            self.hear("unknown")
        else:
            self.strange = f"{status} {body!r}"

    def hear(self, word: str) -> None:
        """The call is over, one way or the other."""
        self.said[word] += 1
        (self.answered if word == "done" else self.unknown).add(self.amount)
        self.refused = set()
        self.amount += self.stride

    def collect(self, connection: http.client.HTTPConnection) -> tuple[int, bytes]:
        text, now = Asset("USDT").text(self.amount), time.time_ns() // 1_000_000
        query = f"asset=USDT&amount={text}&futureType=UM&timestamp={now}&recvWindow=60000"
        signature = sign_hmac(f"secret-{self.account}".encode(), query.encode())
        path = f"/papi/v1/asset-collection?{query}&signature={signature}"
        connection.request("POST", path, headers={"X-MBX-APIKEY": f"key-{self.account}"})
        response = connection.getresponse()
        return response.status, response.read()


class Load:
    """Clients of all programs, each program with as many; those of an account are spread over the programs."""

    def __init__(self, running: list[Program]) -> None:
        self.stopping = threading.Event()
        self.said: Counter[str] = Counter()
        stride = len(running)
        self.clients = [
            Client(number, running[number % stride], number // stride, number % stride + 1, stride, self.stopping)
            for number in range(CLIENTS)
        ]

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """All of them, each on a thread; when the block is over each ends its call."""
        self.stopping.clear()
        for client in self.clients:
            client.said.clear()
        threads = [threading.Thread(target=client.run) for client in self.clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()
        for client in self.clients:
            self.said += client.said

    def of(self, running: list[Program]) -> list[Client]:
        return [client for client in self.clients if client.program in running]

    def wait_for_answers(self, running: list[Program]) -> None:
        """Until each client of these programs was answered once more."""
        clients = self.of(running)
        before = [client.said["done"] for client in clients]
        wait_until(lambda: all(client.said["done"] > said for client, said in zip(clients, before, strict=True)))


class Collected:
    """The amounts of the journal, by account, and what clients were told of them."""

    def __init__(self, journal: Journal, load: Load) -> None:
        self.journal = journal
        self.load = load
        self.kept: dict[int, Counter[int]] = {client.account: Counter() for client in load.clients}
        self.account_of = {key: int(name.removeprefix("account ")) for key, name in journal.names().items()}

    def check(self) -> None:
        for stored in self.journal.read_on():
            command = stored.record.command
            if isinstance(command, AssetCollection):
                assert command.amount is not None
                self.kept[self.account_of[stored.record.account]][command.amount] += 1
        for account, kept in self.kept.items():
            clients = [client for client in self.load.clients if client.account == account]
            answered = set[int]().union(*(client.answered for client in clients))
            unknown = set[int]().union(*(client.unknown for client in clients))
            refused = set[int]().union(*(client.refused for client in clients))
            assert max(kept.values(), default=1) == 1, "a call happened twice"
            assert not answered - kept.keys(), "answered and not in the journal"
            assert not refused & kept.keys(), "refused, and it happened all the same"
            assert not kept.keys() - answered - unknown, "only what was under way may lack its answer"


def go_through(plug: Plug, scene: Scene, running: list[Program], load: Load, rng: random.Random) -> Program | None:
    """Load until the plug is pulled and until those who live go on; gives the program that does not."""
    chosen = running[0] if plug is Plug.WRITER else rng.choice(running)
    killed = None if plug.spares_the_program else chosen
    alive = [program for program in running if program is not killed]
    with load.going_on():
        load.wait_for_answers(running)
        time.sleep(rng.uniform(0.0, 0.3))
        pull(plug, chosen.process, scene, rng)
        if plug.is_the_databases:
            wait_until(lambda: not any(program.ready() for program in alive))
            scene.server.ensure_postgres_running()
            wait_until(lambda: all(program.ready() for program in alive))
        load.wait_for_answers(alive)
    assert [client.strange for client in load.clients] == [""] * CLIENTS
    assert [program.process.poll() for program in alive] == [None] * len(alive)
    for program in alive:
        touched = plug.is_the_databases or program is chosen
        expected = {"done", "refused", "unknown"} if touched else {"done"}
        assert set[str]().union(*(client.said for client in load.of([program]))) <= expected
    return killed


def test_the_plug_is_pulled_on_the_program(scene: Scene, tmp_path: Path) -> None:
    """Of two servers on one database, the other goes on without an error."""
    rng = random.Random(seed_of_this_run())
    plugs = scene.plugs(rng, SERVER_KILLS)
    with programs(scene, tmp_path) as running:
        load = Load(running)
        collected = Collected(Journal(scene), load)
        for turn, plug in enumerate(plugs):
            print(f"kill {turn}: {plug}")
            killed = go_through(plug, scene, running, load, rng)
            if killed is not None:
                killed.wait_for_writer()
            collected.check()
            if killed is not None:
                killed.start()
    print(dict(Counter(map(str, plugs))), dict(load.said), f"{collected.journal.verified} records verified")
    assert load.said["done"] > len(plugs) * CLIENTS, "hardly any load: the kills proved nothing"


def test_a_child_that_dies_by_itself_would_be_seen() -> None:
    """The checks above lean on the child being alive when it is killed."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(AssertionError, match="ended by itself"):
        kill(process)


if __name__ == "__main__":
    asyncio.run(child(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
