"""Kill -9 in the middle of load, again and again on one file: what was answered is there once, nothing is half done.

Run as a program, this file is the child that is killed: many tasks submit to a venue of their own, and each answer is
written to the pipe before the task goes on. A killed process leaves the system's caches behind it, so this shows that
the order of writing is right; that each commit is also synced is a test of the store.
"""

import asyncio
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from catchment.asset import Asset
from catchment.config import Settings
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
from catchment.store.sqlite import SqliteStore
from catchment.venue import Venue
from catchment.wallet import Wallet

KILLS = 20
SERVER_KILLS = 6
ACCOUNTS = 200
TASKS = 50
SEED_VARIABLE = "PULLED_PLUG_SEED"
"""Set it to what a failure printed, to kill at the same moments again."""

Answered = dict[tuple[str, int], str]
"""By account and number, the digest that was answered."""


# The child -----------------------------------------------------------------------------------------------------------


async def child(address: str, seed: int) -> None:
    """Submit for ever. Accounts are made by whoever comes first, so the first child may be killed while making them."""
    venue = await Venue.open(Settings(store=address))
    known = {account.name: account.id async for page in venue.accounts() for account in page}
    for number in range(ACCOUNTS):
        if f"account {number}" not in known:
            made = await venue.add_account(f"account {number}")
            assert isinstance(made, Account)
            known[made.name] = made.id
    os.write(1, b"ready\n")

    async def go_on(task: int) -> None:
        rng = random.Random(seed * TASKS + task)
        for turn in range(10**9):
            account = known[f"account {rng.randrange(ACCOUNTS)}"]
            answer = await venue.submit(account, any_command(rng, f"{seed} {task} {turn}"))
            if isinstance(answer, Stored):
                record = answer.record
                os.write(1, f"{account.hex()} {record.number} {record.digest.hex()}\n".encode())

    await asyncio.gather(*(go_on(task) for task in range(TASKS)))


def any_command(rng: random.Random, mark: str) -> Command:
    """`mark` is never used twice, so a command that happened twice would be seen."""
    asset, amount = rng.choice(["USDT", "BTC", "BNB"]), rng.randrange(1, 1_000)
    match rng.randrange(6):
        case 0:
            return Deposit(asset, amount)
        case 1:
            return Withdrawal(asset, amount)
        case 2:
            return AutoCollection(rng.choice(list(Trigger)))
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
        self.written = b""
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self) -> None:
        while part := os.read(self.pipe.fileno(), 1 << 16):
            self.written += part
            self.ready.set()
        self.ready.set()

    def all(self) -> list[str]:
        self.thread.join()
        return self.written.decode().split("\n")[:-1]


def kill(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, "the child ended by itself"
    process.kill()
    assert process.wait() == -signal.SIGKILL


def answers_until_killed(address: str, seed: int, rng: random.Random) -> list[str]:
    process = subprocess.Popen([sys.executable, __file__, address, str(seed)], stdout=subprocess.PIPE)
    lines = Lines(process)
    try:
        assert lines.ready.wait(60)
        time.sleep(rng.uniform(0.0, 0.2))
    finally:
        kill(process)
        written = lines.all()
        lines.pipe.close()
    assert written[0] == "ready"
    return written[1:]


def check_books(address: str, after: int) -> list[Stored]:
    """Every invariant over the whole file; gives the records after a sequence."""

    async def check() -> list[Stored]:
        venue = await Venue.open(Settings(store=address))
        try:
            verdict = await venue.verify()
            assert verdict.findings == []
            return await venue.tail(after, limit=10**9)
        finally:
            await venue.close()

    return asyncio.run(check())


def test_the_plug_is_pulled_on_the_venue(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/store.db"
    seed = seed_of_this_run()
    rng = random.Random(seed)
    answered: Answered = {}
    journal: list[Stored] = []
    for turn in range(KILLS):
        for line in answers_until_killed(address, seed + turn, rng):
            account, number, digest = line.split()
            assert (account, int(number)) not in answered, "a number was answered twice"
            answered[account, int(number)] = digest
        journal += check_books(address, after=len(journal))
        kept = {(stored.record.account.hex(), stored.record.number): stored.record.digest.hex() for stored in journal}
        lost = {place for place, digest in answered.items() if kept.get(place) != digest}
        assert not lost, f"kill {turn}: answered and not in the journal as answered"
        assert len(journal) - len(answered) <= TASKS * (turn + 1), "only what was under way may lack its answer"
    assert [stored.sequence for stored in journal] == list(range(1, len(journal) + 1))
    marks = Counter(stored.record.command.symbol for stored in journal if isinstance(stored.record.command, Adjustment))
    assert max(marks.values()) == 1, "a command happened twice"
    assert len(answered) > KILLS * TASKS, "hardly any load: the kills proved nothing"


def test_the_plug_is_pulled_while_accounts_are_made(tmp_path: Path) -> None:
    """An account and its empty state appear together or not at all."""
    address = f"sqlite:///{tmp_path}/store.db"
    rng = random.Random(seed_of_this_run())
    for _ in range(3):
        process = subprocess.Popen([sys.executable, __file__, address, "0"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (tmp_path / "store.db-wal").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.05))
        kill(process)
        assert check_books(address, after=0) is not None
        store = SqliteStore(tmp_path / "store.db")
        accounts = [account.id for account in store.accounts(None, 1_000)]
        assert store.load(accounts).keys() == set(accounts)
        store.close()


# The same over HTTP: the program is killed, and each client knows what it was answered -------------------------------

CLIENTS = 8
SCENARIO = """
[[account]]
name = "client {number}"
[[account.key]]
api_key = "key-{number}"
secret = "secret-{number}"
[account.UM]
USDT = "50000000000"
"""


@contextmanager
def server(address: str, scenario: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The started program and its host and port; killed at the end if it still runs."""
    command = [sys.executable, "-m", "catchment", "serve", "--port", "0", "--json", "--weight-per-minute", "1000000000"]
    process = subprocess.Popen(
        [*command, "--store", address, "--scenario", str(scenario)],
        stdout=subprocess.PIPE,
        cwd=scenario.parent,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        document = b""
        while not document.rstrip().endswith(b"}"):
            line = process.stdout.readline()
            assert line, "the program ended before it listened"
            document += line
        yield process, json.loads(document)["url"].removeprefix("http://")
    finally:
        pull_plug(process)
        process.wait()
        process.stdout.close()


def pull_plug(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and its writer's process at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Client(threading.Thread):
    """Collects 1 unit, then 2, then 3: an amount tells which of its calls a record belongs to. Never repeats a call."""

    def __init__(self, number: int, host: str, first: int) -> None:
        super().__init__()
        self.number, self.host = number, host
        self.amount = first
        self.answered: list[int] = []
        self.refused = ""

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            while not (refused := self.collect(connection, self.amount)):
                self.answered.append(self.amount)
                self.amount += 1
            self.refused = refused
        except (OSError, http.client.HTTPException):
            self.amount += 1  # whether it happened is unknown, so the next call must be another one
        finally:
            connection.close()

    def collect(self, connection: http.client.HTTPConnection, amount: int) -> str:
        """Empty when it was done, else what was answered."""
        query = f"asset=USDT&amount={Asset('USDT').text(amount)}&futureType=UM&timestamp={time.time_ns() // 1_000_000}"
        signature = sign_hmac(f"secret-{self.number}".encode(), query.encode())
        path = f"/papi/v1/asset-collection?{query}&signature={signature}"
        connection.request("POST", path, headers={"X-MBX-APIKEY": f"key-{self.number}"})
        response = connection.getresponse()
        body = response.read()
        done = response.status == 200 and json.loads(body) == {"msg": "success"}
        return "" if done else f"{response.status} {body!r}"


def test_the_plug_is_pulled_on_the_program(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/store.db"
    scenario = tmp_path / "scenario.toml"
    scenario.write_text("".join(SCENARIO.format(number=number) for number in range(CLIENTS)))
    rng = random.Random(seed_of_this_run())
    answered: dict[int, list[int]] = {number: [] for number in range(CLIENTS)}
    first = dict.fromkeys(range(CLIENTS), 1)
    journal: list[Stored] = []
    for turn in range(SERVER_KILLS):
        with server(address, scenario) as (process, host):
            clients = [Client(number, host, first[number]) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(rng.uniform(0.05, 0.3))
            if turn % 2:
                pull_plug(process)
            else:
                kill(process)  # and its writer's process finishes what it was given
            for client in clients:
                client.join()
        assert [client.refused for client in clients] == [""] * CLIENTS
        for client in clients:
            answered[client.number] += client.answered
            first[client.number] = client.amount
        journal += check_books(address, after=len(journal))
        kept = collected(address, journal)
        for number, amounts in answered.items():
            assert not set(amounts) - set(kept[number]), f"kill {turn}: answered and not in the journal"
            assert len(kept[number]) == len(set(kept[number])), f"kill {turn}: a call happened twice"
            assert len(kept[number]) - len(amounts) <= turn + 1, "one call of a client was under way at each kill"
    assert sum(map(len, answered.values())) > SERVER_KILLS * CLIENTS


def collected(address: str, journal: list[Stored]) -> dict[int, list[int]]:
    """By client, the amounts of its collections in the order of the journal."""
    store = SqliteStore(Path(address.removeprefix("sqlite:///")))
    names = {account.id: int(account.name.removeprefix("client ")) for account in store.accounts(None, 100)}
    store.close()
    found: dict[int, list[int]] = {number: [] for number in range(CLIENTS)}
    for stored in journal:
        command = stored.record.command
        if isinstance(command, AssetCollection):
            assert command.amount is not None
            found[names[stored.record.account]].append(command.amount)
    return found


def test_a_child_that_dies_by_itself_would_be_seen() -> None:
    """The checks above lean on the child being alive when it is killed."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(AssertionError, match="ended by itself"):
        kill(process)


if __name__ == "__main__":
    asyncio.run(child(sys.argv[1], int(sys.argv[2])))
