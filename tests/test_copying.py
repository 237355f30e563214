"""A copy is equal record by record, goes on wherever it was stopped, and refuses what is not its source."""

import asyncio
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from catchment import auditor, copying
from catchment.copying import Copied, copy
from catchment.errors import Refused
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.commands import AutoCollection, Deposit, Trigger
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import decide
from catchment.ledger.quota import Rules
from catchment.signature import Algorithm, ApiKey, Permission
from catchment.store.base import Account, Store, StoreDamaged
from catchment.store.memory import MemoryStore
from catchment.store.sqlite import SqliteStore
from catchment.writer import write_batch
from tests.store.books import FIRST, account_id, enrol, tamper
from tests.test_auditor import any_command

RULES = Rules()
PATIENCE_S = 60
Make = Callable[[str], Store]


@pytest.fixture(autouse=True)
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "AT_ONCE", 64)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Opens a store of an engine: `memory`, or a file named after what follows `sqlite`."""
    opened: list[Store] = []

    def open_one(name: str) -> Store:
        store = MemoryStore() if name.startswith("memory") else SqliteStore(tmp_path / f"{name}.db")
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


def key(number: int, account: AccountId, revoked: int = 0) -> ApiKey:
    """Keys of all kinds."""
    algorithm = list(Algorithm)[number % len(Algorithm)]
    permissions = frozenset(list(Permission)[: number % 3])
    return ApiKey(f"key-{number}", account, algorithm, bytes([number]), permissions, ("10.0.0.0/8",), number, revoked)


def fill(store: Store, turns: int = 30, seed: int = 1) -> list[AccountId]:
    """Accounts, one of them outside Portfolio Margin and one without a record; keys, assets, a random history."""
    rng = random.Random(seed)
    ids = enrol(store, *(number * 7 for number in range(12)))
    store.add_account(Account(account_id(1), "outside", portfolio_margin=False, created=5))
    for number, account in enumerate(ids):
        store.add_key(key(number, account, revoked=FIRST if number == 3 else 0))
    store.add_assets({"USDT": 8, "ODD": 3})
    store.fingerprint("the master key")
    write_more(store, ids, turns, rng)
    return ids


def write_more(store: Store, ids: list[AccountId], turns: int, rng: random.Random) -> None:
    for _ in range(turns):
        batch = [(rng.choice(ids[:-1]), any_command(rng)) for _ in range(20)]
        write_batch(store, batch, FIRST + store.newest() * 1_000, RULES)


def check_equal(source: Store, target: Store) -> None:
    """Everything a store holds is the same in both; quota counts may be too high and never too low."""
    accounts = source.accounts(None, 1_000)
    ids = [account.id for account in accounts]
    assert target.accounts(None, 1_000) == accounts
    assert target.tail(0, 10_000) == source.tail(0, 10_000)
    for account in ids:
        assert target.keys(account) == source.keys(account)
        assert target.history(account, since=0, until=2**62, below=2**62, limit=5, newest_first=True) == source.history(
            account, since=0, until=2**62, below=2**62, limit=5, newest_first=True
        )
    assert {account: msgspec.structs.replace(state, quotas={}) for account, state in target.load(ids).items()} == {
        account: msgspec.structs.replace(state, quotas={}) for account, state in source.load(ids).items()
    }
    assert target.add_assets({}) == source.add_assets({})
    assert target.fingerprint("") == source.fingerprint("")
    assert asyncio.run(auditor.verify(target, target.address, RULES)).findings == []


def refusal(source: Store, target: Store) -> str:
    """The name and the sentence of what a copy is refused with; the target's journal and accounts are as before."""
    before = target.tail(0, 10_000), target.accounts(None, 1_000)
    with pytest.raises(Refused) as refused:
        copy(source, target, RULES)
    assert (target.tail(0, 10_000), target.accounts(None, 1_000)) == before
    return f"{refused.value.rejection.name}: {refused.value}"


@pytest.mark.parametrize("target", ["memory target", "sqlite target"])
@pytest.mark.parametrize("source", ["memory source", "sqlite source"])
def test_everything_arrives(make: Make, source: str, target: str) -> None:
    one, other = make(source), make(target)
    fill(one)
    told: list[int] = []
    copied = copy(one, other, RULES, told.append)
    newest = one.newest()
    assert copied == Copied(newest, newest, accounts=13, compared=13, ahead=0)
    assert told == sorted(told)
    assert told[-1] == newest
    check_equal(one, other)
    assert other.key("key-3") == one.key("key-3")
    assert other.key("key-3").revoked  # type: ignore[union-attr]
    assert copy(one, other, RULES) == Copied(newest, 0, accounts=13, compared=13, ahead=0)
    check_equal(one, other)


def test_an_empty_store(make: Make) -> None:
    assert copy(make("memory source"), make("sqlite target"), RULES) == Copied(0, 0, 0, 0, 0)


def test_a_second_call_brings_what_came_since(make: Make) -> None:
    source, target = make("sqlite source"), make("sqlite target")
    ids = fill(source)
    first = copy(source, target, RULES)
    source.add_key(key(90, ids[0]))
    source.revoke_key("key-5", FIRST + 5)
    source.add_account(Account(account_id(10**6), "late", portfolio_margin=True, created=FIRST))
    source.add_key(key(91, account_id(10**6)))
    source.add_assets({"NEW": 2})
    write_more(source, ids, 5, random.Random(3))
    version = target.keys_version()
    second = copy(source, target, RULES)
    assert second.copied == source.newest() - first.records > 0
    assert second.accounts == 14
    assert target.keys_version() != version, "a server that has the target open must notice"
    check_equal(source, target)


class StoppedError(Exception):
    """What a test raises to stop a copy."""


def test_a_copy_stopped_after_any_commit_goes_on(make: Make) -> None:
    source, target = make("sqlite source"), make("sqlite target")
    fill(source)
    stops = 0

    def stop(_: int) -> None:
        raise StoppedError

    while target.newest() < source.newest():
        before = target.newest()
        with pytest.raises(StoppedError):
            copy(source, target, RULES, stop)
        assert before < target.newest() <= source.newest()
        stops += 1
    assert stops > 3
    copy(source, target, RULES)
    check_equal(source, target)


CHILD = """
import sys
from pathlib import Path
from catchment import copying
from catchment.ledger.quota import Rules
from catchment.store.sqlite import SqliteStore
copying.AT_ONCE = 16
source, target = (SqliteStore(Path(path)) for path in sys.argv[1:])
print("begun", flush=True)
copying.copy(source, target, Rules(), lambda done: print(done, flush=True))
"""


def test_a_copy_that_is_killed_goes_on(make: Make, tmp_path: Path) -> None:
    source = make("source")
    fill(source, turns=150)
    rng = random.Random(5)
    kills = 0
    while True:
        command = [sys.executable, "-c", CHILD, str(tmp_path / "source.db"), str(tmp_path / "target.db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 40)):
                process.stdout.readline()
            time.sleep(rng.random() / 500)  # anywhere between two commits, or inside one
            process.send_signal(signal.SIGKILL)
        if process.returncode == 0:
            break
        kills += 1
    assert kills > 3
    target = make("target")
    assert copy(source, target, RULES).copied == 0
    check_equal(source, target)


def test_a_source_that_is_written_to_is_copied_as_far_as_it_stood(make: Make, tmp_path: Path) -> None:
    source, target = make("source"), make("target")
    ids = fill(source)
    stood = source.newest()
    other = SqliteStore(tmp_path / "source.db")

    def write(_: int) -> None:
        write_batch(other, [(ids[0], Deposit("USDT", 1))], FIRST + 10**9, RULES)

    copied = copy(source, target, RULES, write)
    assert copied.records == stood
    assert copied.ahead == source.newest() - stood > 0
    assert copied.compared == copied.accounts - 1, "the one that was written to stands elsewhere"
    assert target.tail(0, 10_000) == source.tail(0, stood)
    copy(source, target, RULES)
    check_equal(source, target)
    other.close()


def test_copies_of_a_busy_source_catch_up(make: Make, tmp_path: Path) -> None:
    source, target = make("source"), make("target")
    ids = fill(source)
    stop = threading.Event()

    def go_on() -> None:
        with closing(SqliteStore(tmp_path / "source.db")) as other:
            rng = random.Random(9)
            while not stop.is_set():
                write_more(other, ids, 1, rng)

    writing = threading.Thread(target=go_on)
    writing.start()
    try:
        for _ in range(5):
            copied = copy(source, target, RULES)
            assert target.tail(0, 100_000) == source.tail(0, copied.records)
    finally:
        stop.set()
        writing.join(PATIENCE_S)
    copy(source, target, RULES)
    assert target.tail(0, 100_000) == source.tail(0, 100_000)


# Targets that are refused --------------------------------------------------------------------------------------------


def test_a_target_with_another_record_is_refused_by_its_number(make: Make) -> None:
    source, target = make("memory source"), make("sqlite target")
    ids = fill(source)
    copy(source, target, RULES)
    write_batch(source, [(ids[0], Deposit("USDT", 1)), (ids[1], Deposit("USDT", 1))], FIRST + 10**9, RULES)
    write_batch(target, [(ids[0], Deposit("USDT", 1)), (ids[1], Deposit("USDT", 2))], FIRST + 10**9, RULES)
    told = refusal(source, target)
    assert told.startswith(f"NOT_A_COPY: The target is not the beginning of the source: record {source.newest()} is ")
    assert ids[1].hex() in told


def test_a_target_with_more_records_is_refused(make: Make) -> None:
    source, target = make("sqlite source"), make("memory target")
    ids = fill(source)
    copy(source, target, RULES)
    write_batch(target, [(ids[0], AutoCollection(Trigger.API))], FIRST + 10**9, RULES)
    told = refusal(source, target)
    assert f"record {target.newest()} is number" in told
    assert told.endswith("and missing here")


def test_a_target_of_another_origin_is_refused(make: Make) -> None:
    source = make("sqlite source")
    ids = fill(source)

    def strange(change: Callable[[Store], object]) -> str:
        target = make("memory target")
        copy(source, target, RULES)
        change(target)
        return refusal(source, target)

    stranger = Account(account_id(10**9), "stranger", portfolio_margin=True, created=1)
    assert "account stranger" in strange(lambda target: target.add_account(stranger))
    assert "API key key-77 is another there" in strange(lambda target: target.add_key(key(77, ids[2])))
    assert "API key key-4 is another there" in strange(lambda target: target.revoke_key("key-4", 5))

    def refused_empty(change: Callable[[Store], object]) -> str:
        target = make("memory target")
        change(target)
        return refusal(source, target)

    same_id = Account(ids[1], "account 7", portfolio_margin=False, created=FIRST)
    assert "account account 7" in refused_empty(lambda target: target.add_account(same_id))
    same_name = Account(account_id(2), "account 7", portfolio_margin=True, created=FIRST)
    assert "account account 7" in refused_empty(lambda target: target.add_account(same_name))
    assert "asset ODD has scale 4 there and 3 here" in refused_empty(lambda target: target.add_assets({"ODD": 4}))
    assert "another master key" in refused_empty(lambda target: target.fingerprint("another"))


def test_a_venue_that_was_opened_on_the_target_is_no_stranger(make: Make) -> None:
    source, target = make("sqlite source"), make("sqlite target")
    fill(source)
    target.add_assets({"BTC": 8})
    copy(source, target, RULES)
    assert target.add_assets({}).items() >= source.add_assets({}).items()


def test_somebody_who_writes_to_the_target_meanwhile_is_noticed(make: Make) -> None:
    source, target = make("memory source"), make("sqlite target")
    ids = fill(source)

    def write(_: int) -> None:
        write_batch(target, [(ids[0], Deposit("USDT", 1))], FIRST + 10**9, RULES)

    with pytest.raises(Refused, match=r"somebody else writes to it|does not follow"):
        copy(source, target, RULES, write)
    assert refusal(source, target).startswith("NOT_A_COPY")


# Sources that are refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE journal SET digest = zeroblob(32) WHERE sequence = 100", "record 100, number"),
        ("UPDATE journal SET body = replace(body, '1', '2') WHERE sequence = 100", "record 100, number"),
        ("UPDATE journal SET number = number + 1 WHERE sequence = 100", "record 100, number"),
        ("UPDATE journal SET account = zeroblob(16) WHERE sequence = 100", "record 100, number"),
        ("DELETE FROM journal WHERE sequence = 100", "records are missing between"),
        ("UPDATE recent SET state = replace(state, ',0,0,', ',1,0,')", "is not its journal, replayed"),
    ],
)
def test_a_damaged_source_is_refused(make: Make, tmp_path: Path, change: str, told: str) -> None:
    source, target = make("source"), make("target")
    fill(source)
    tamper(tmp_path / "source.db", change)
    with pytest.raises(Refused) as refused:
        copy(source, target, RULES)
    assert refused.value.rejection.name == "DAMAGED_STORE" or isinstance(refused.value, StoreDamaged)
    assert told in str(refused.value)
    assert target.newest() in (64, source.newest()), "what came before the damage is copied, commit by commit"


def test_a_record_without_its_account_is_damage(make: Make) -> None:
    source = MemoryStore()
    nobody = AccountId(bytes(16))
    record = decide(nobody, AccountState(), Deposit("USDT", 1), FIRST, RULES)
    assert isinstance(record, Record)
    source._journal.append(Stored(1, record))
    assert refusal(source, make("sqlite target")).startswith("DAMAGED_STORE: The store is damaged: record 1, number 1")
