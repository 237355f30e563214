"""What only a file can do: last, be damaged, belong to someone else, and be shared with another process."""

import gc
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from catchment.errors import Refused
from catchment.ledger.balance import AccountId, AccountState, QuotaUse
from catchment.ledger.commands import AutoCollection, Deposit, Trigger
from catchment.signature import Algorithm, ApiKey, Permission
from catchment.store import sqlite as engine
from catchment.store import states
from catchment.store.base import SCHEMA_VERSION, Account, StoreFailed, StoreUnknown
from catchment.store.sqlite import SqliteStore
from catchment.store.statements import SQL
from tests.store.books import ALL, FIRST, account_id, enrol, newest, oldest, write


def refusal_of(path: Path) -> str:
    """The name of the refusal to open it. No connection may be left open behind it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Refused) as refused:
            SqliteStore(path)
        gc.collect()
    assert str(path) in str(refused.value) or refused.value.rejection.name in {"DAMAGED_STORE", "NEWER_STORE"}
    return refused.value.rejection.name


def full_store(path: Path) -> None:
    store = SqliteStore(path)
    ids = enrol(store, 1, 2, 3)
    write(store, [(account, Deposit("USDT", place + 1)) for place in range(300) for account in ids])
    store.close()


# Lasting -------------------------------------------------------------------------------------------------------------


def test_reopening_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    (alice,) = enrol(store, 1)
    written = write(store, [(alice, AutoCollection(Trigger.API))] * 300)
    key = ApiKey("key", alice, Algorithm.HMAC, b"sealed", frozenset(), (), FIRST)
    store.add_key(key)
    store.add_assets({"USDT": 8})
    store.fingerprint("print")
    version, states = store.keys_version(), store.load([alice])
    store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["store.db", "store.db-mark"], (
        "closing folds the log into the file"
    )

    store = SqliteStore(path)
    assert store.load([alice]) == states
    assert store.tail(0, 1_000) == written
    assert store.history(alice, **ALL, below=2**62, limit=1_000, newest_first=True) == written[::-1]
    assert store.count_uses(alice, {Trigger.API}, 0) == QuotaUse(FIRST, 300)
    assert store.account_named("account 1") == Account(alice, "account 1", portfolio_margin=True, created=FIRST)
    assert (store.key("key"), store.keys_version()) == (key, version)
    assert (store.add_assets({}), store.fingerprint("")) == ({"USDT": 8}, "print")
    assert write(store, [(alice, Deposit("USDT", 1))])[0].sequence == 301
    store.close()


def test_what_was_committed_lasts_without_closing(tmp_path: Path) -> None:
    """A copy of the files as a crash would leave them: the log has not been folded in."""
    store = SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(store, 1)
    written = write(store, [(alice, Deposit("USDT", 1))] * 3)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("store.db", "store.db-wal"):
        shutil.copy(tmp_path / name, crashed / name)
    store.close()
    again = SqliteStore(crashed / "store.db")
    assert again.tail(0, 10) == written
    again.close()


def test_every_commit_is_synced(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    for connection in store._open:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert len(store._open) > 0
    store.close()


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    store.close()
    store.close()
    assert store.address == f"sqlite:///{tmp_path}/store.db"


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    store = SqliteStore(path)
    assert store.tail(0, 10) == []
    store.close()


# Folding and keeping -------------------------------------------------------------------------------------------------


@pytest.fixture(params=[(1, 9), (2, 21), (128, 28), (128, 1)])
def often(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fold after a few records, in a few pieces, keep the states of two accounts: what takes thousands otherwise."""
    step, at_once = request.param
    monkeypatch.setattr(states, "FOLD_EVERY", 7)
    monkeypatch.setattr(states, "FOLD_STEP", step)
    monkeypatch.setattr(states, "FOLD_AT_ONCE", at_once)
    monkeypatch.setattr(states, "STATES_KEPT", 2)


@pytest.mark.usefixtures("often")
def test_states_are_found_wherever_they_are(tmp_path: Path) -> None:
    """Two stores on one file write by turns, one of them in long stretches: each sees every state, folded or not, kept
    or read, and so does a third that only reads, and one that was just opened."""
    path, chance = tmp_path / "store.db", random.Random(1)
    writers = [SqliteStore(path), SqliteStore(path)]
    reader = SqliteStore(path)
    ids = enrol(reader, *range(5))
    expected = dict.fromkeys(ids, 0)
    places = []
    for _ in range(120):
        asked = [(chance.choice(ids), Deposit("USDT", chance.randrange(1, 9))) for _ in range(chance.randrange(1, 5))]
        write(chance.choice([writers[0], *writers]), asked)
        for account, deposit in asked:
            expected[account] += deposit.amount
        newly_opened = SqliteStore(path)
        for store in (reader, newly_opened, *writers):
            found = store.load(ids)
            assert {account: margin_free(found[account]) for account in ids} == expected
        account = chance.choice(ids)
        assert len(newest(reader, account)) == reader.load([account])[account].number
        with closing(sqlite3.connect(path)) as connection:
            places.append(connection.execute("SELECT count(*) FROM recent").fetchone()[0])
        newly_opened.close()
    assert sum(after < before for before, after in pairwise(places)) > 3, "they are folded again and again"
    assert max(places) <= max(states.FOLD_EVERY, states.FOLD_AT_ONCE) + 4, "and never are there many that are not"
    for store in (reader, *writers):
        store.close()


def margin_free(state: AccountState) -> int:
    return state.balances["USDT"].margin_free if "USDT" in state.balances else 0


def test_a_kept_state_is_forgotten_when_another_process_writes(tmp_path: Path) -> None:
    one, two = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
    alice, bob = enrol(one, 1, 2)
    write(one, [(alice, Deposit("USDT", 1)), (bob, Deposit("USDT", 1))])
    write(two, [(alice, Deposit("USDT", 10))])
    write(one, [(bob, Deposit("USDT", 1))])
    write(one, [(alice, Deposit("USDT", 100))])
    assert margin_free(two.load([alice])[alice]) == 111
    one.close()
    two.close()


def test_a_kept_state_does_not_outlive_a_commit_that_failed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(store, 1)
    write(store, [(alice, Deposit("USDT", 1))])
    store._writer = CommitFails(store._writer)  # type: ignore[assignment]
    with pytest.raises(StoreUnknown):
        write(store, [(alice, Deposit("USDT", 10))])
    (stored,) = write(store, [(alice, Deposit("USDT", 100))])
    assert (stored.sequence, stored.record.number, margin_free(store.load([alice])[alice])) == (2, 2, 101)
    store.close()


def test_a_store_of_the_first_schema_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    full_store(path)
    before = SqliteStore(path)
    states_before, journal = before.load([account_id(1), account_id(2)]), before.tail(0, 1_000)
    before.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(SQL["fold"])
        connection.execute("DROP TABLE recent")
        connection.execute("DROP TABLE note")
        connection.execute("DELETE FROM meta WHERE name = 'notes_version'")
        for table in ("account", "api_key", "asset", "holding", "journal", "milestone"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        connection.execute(SQL["set_schema_version"], {"version": 1})
    upgraded = SqliteStore(path)
    assert upgraded.load([account_id(1), account_id(2)]) == states_before
    assert upgraded.tail(0, 1_000) == journal
    assert len(write(upgraded, [(account_id(1), Deposit("USDT", 1))])) == 1
    upgraded.close()


# Refusing ------------------------------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", [str(SCHEMA_VERSION + 1)])
        connection.commit()
    assert refusal_of(path) == "NEWER_STORE"
    with pytest.raises(Refused, match=f"version {SCHEMA_VERSION + 1}; this Catchment knows up to {SCHEMA_VERSION}"):
        SqliteStore(path)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE bookmark (url TEXT)",
        "CREATE TABLE meta (something TEXT)",
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)",
    ],
)
def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path: Path, made: str) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(made)
        connection.commit()
    before = path.read_bytes()
    assert refusal_of(path) == "BAD_STORE_ADDRESS"
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["places.sqlite"]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"Dear Sir or Madam, " * 500)
    assert refusal_of(path) == "DAMAGED_STORE"
    assert path.read_bytes() == b"Dear Sir or Madam, " * 500


def test_a_damaged_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    full_store(path)
    content = bytearray(path.read_bytes())
    content[:100] = bytes(100)
    path.write_bytes(content)
    assert refusal_of(path) == "DAMAGED_STORE"


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    full_store(path)
    path.write_bytes(path.read_bytes()[:5000])
    assert refusal_of(path) == "DAMAGED_STORE"


def test_a_log_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    """Wherever it is cut: what is left is a store in which everything fits, some commits ago."""
    path = tmp_path / "store.db"
    log = tmp_path / "store.db-wal"
    store = SqliteStore(path)
    (alice,) = enrol(store, 1)
    for _ in range(20):
        write(store, [(alice, Deposit("USDT", 1))])
    whole = {file: file.read_bytes() for file in (path, log, tmp_path / "store.db-mark")}
    copies = []
    for share in range(10):
        folder = tmp_path / str(share)
        folder.mkdir()
        for file, content in whole.items():
            cut = len(content) * share // 10 if file == log else len(content)
            (folder / file.name).write_bytes(content[:cut])
        copies.append(refusal_of(folder / "store.db"))
    assert set(copies) == {"DAMAGED_STORE"}
    store.close()


def test_who_puts_an_older_copy_back_says_so(tmp_path: Path) -> None:
    path, mark = tmp_path / "store.db", tmp_path / "store.db-mark"
    full_store(path)
    older = path.read_bytes()
    store = SqliteStore(path)
    write(store, [(account_id(1), Deposit("USDT", 1))])
    length = len(store.tail(0, 10_000))
    store.close()
    path.write_bytes(older)
    with pytest.raises(Refused, match=rf"ends at record {length - 1}, but record {length} was .* remove {mark}"):
        SqliteStore(path)
    mark.unlink()
    SqliteStore(path).close()


def test_a_removed_file_is_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    full_store(path)
    path.unlink()
    store = SqliteStore(path)
    assert store.tail(0, 1) == []
    store.close()


@pytest.mark.parametrize("mark", [b"", b"nonsense", b"00000000000000009999 00000000\n", b"\xff" * 64])
def test_a_mark_that_cannot_be_trusted_says_nothing(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "store.db"
    full_store(path)
    (tmp_path / "store.db-mark").write_bytes(mark)
    store = SqliteStore(path)
    write(store, [(account_id(1), Deposit("USDT", 1))])
    store.close()
    assert int((tmp_path / "store.db-mark").read_bytes().split()[0]) > 1


def test_no_flipped_bit_is_served(tmp_path: Path) -> None:
    """One bit of the file is flipped at a time. What a store then gives is what was written, or a refusal."""
    path = tmp_path / "store.db"
    full_store(path)
    store = SqliteStore(path)
    ids = [account_id(1), account_id(2)]
    store.add_assets({"USDT": 8, "BTC": 8})
    store.add_key(ApiKey("key", ids[0], Algorithm.HMAC, b"sealed", frozenset(Permission), ("10.0.0.0/8",), FIRST))
    truth = readings(store, ids)
    store.close()
    content = path.read_bytes()
    chance = random.Random(7)
    outcomes: Counter[str] = Counter()
    for _ in range(400):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        outcomes[outcome(path, ids, truth)] += 1
    assert outcomes.keys() == {"as it was", "refused"}


def readings(store: SqliteStore, ids: list[AccountId]) -> list[object]:
    """All that a store serves: accounts, keys, states, histories, the whole journal."""
    return [
        store.add_assets({}),
        [store.account(account) for account in ids],
        [store.keys(account) for account in ids],
        store.load(ids),
        [newest(store, account) for account in ids],
        [oldest(store, account) for account in ids],
        store.tail(0, 10_000),
        store.accounts(None, 10),
    ]


def outcome(path: Path, ids: list[AccountId], truth: list[object]) -> str:
    try:
        store = SqliteStore(path)
    except Refused:
        return "refused"
    try:
        return "as it was" if readings(store, ids) == truth else "something else"
    except StoreFailed:
        return "refused"
    finally:
        store.close()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal_of(tmp_path) == "BAD_STORE_ADDRESS"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / "missing" / "store.db") == "BAD_STORE_ADDRESS"


def test_an_old_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    assert refusal_of(tmp_path / "store.db") == "BAD_STORE_ADDRESS"


# Sharing -------------------------------------------------------------------------------------------------------------


def test_two_stores_on_one_file_see_each_others_commits(tmp_path: Path) -> None:
    one, two = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(one, 1)
    assert two.account(alice) is not None
    for place in range(4):
        written = write([one, two][place % 2], [(alice, Deposit("USDT", 1))])
        assert [stored.sequence for stored in written] == [place + 1]
        assert one.tail(place, 10) == two.tail(place, 10) == written
        assert one.load([alice])[alice].balances["USDT"].margin_free == place + 1
    version = one.keys_version()
    two.add_key(ApiKey("key", alice, Algorithm.HMAC, b"", frozenset(), (), FIRST))
    assert one.keys_version() != version
    assert one.key("key") == two.key("key")
    assert not one.add_account(Account(account_id(2), "account 1", portfolio_margin=True, created=FIRST))
    assert two.fingerprint("two") == one.fingerprint("one") == "two"
    one.add_assets({"USDT": 8})
    assert two.add_assets({"USDT": 2}) == {"USDT": 8}
    one.close()
    two.close()


def test_two_writers_take_turns(tmp_path: Path) -> None:
    """Each transaction reads what the one before wrote, whichever store wrote it: not one deposit is lost."""
    stores = [SqliteStore(tmp_path / "store.db") for _ in range(2)]
    (alice,) = enrol(stores[0], 1)
    failed: list[BaseException] = []

    def deposit(store: SqliteStore) -> None:
        try:
            for _ in range(50):
                write(store, [(alice, Deposit("USDT", 1))])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=deposit, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    state = stores[0].load([alice])[alice]
    assert (state.number, state.balances["USDT"].margin_free) == (100, 100)
    assert [stored.record.number for stored in stores[1].tail(0, 1_000)] == list(range(1, 101))
    for store in stores:
        store.close()


OPEN_ONE = """
import sys
from pathlib import Path
from catchment.store.sqlite import SqliteStore
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
SqliteStore(Path(sys.argv[1])).close()
"""


def test_processes_that_make_the_same_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_ONE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    complaints = [child.communicate(timeout=60)[1] for child in children]
    assert complaints == [""] * 4
    assert [child.returncode for child in children] == [0] * 4


def test_threads_that_make_the_same_store_at_once(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def make(path: Path, start: threading.Barrier) -> None:
        start.wait()
        try:
            SqliteStore(path).close()
        except BaseException as error:
            failed.append(error)

    for turn in range(10):
        path, start = tmp_path / f"{turn}.db", threading.Barrier(4)
        threads = [threading.Thread(target=make, args=(path, start)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_a_locked_file_fails_after_the_wait_and_then_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_WAIT_S", 0.2)
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    (alice,) = enrol(store, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreFailed):
            write(store, [(alice, Deposit("USDT", 1))])
        assert 0.1 < time.monotonic() - began < 5
        for attempt in (
            lambda: store.add_account(Account(account_id(2), "two", portfolio_margin=True, created=FIRST)),
            lambda: store.add_key(ApiKey("key", alice, Algorithm.HMAC, b"", frozenset(), (), FIRST)),
            lambda: store.revoke_key("key", FIRST),
            lambda: store.fingerprint("print"),
        ):
            with pytest.raises(StoreFailed):
                attempt()
        assert store.load([alice])[alice].number == 0, "readers do not wait for a writer"
        SqliteStore(path).close()  # and who opens the store does not either
        other.execute("ROLLBACK")
    assert len(write(store, [(alice, Deposit("USDT", 1))])) == 1
    enrol(store, 2)
    assert len(store.accounts(None, 10)) == 2
    store.close()


class CommitFails:
    """A connection whose COMMIT fails once; everything else goes through."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.armed = True

    def execute(self, statement: str, *rest: object) -> object:
        if statement == "COMMIT" and self.armed:
            self.armed = False
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(statement, *rest)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)


def test_a_commit_that_fails_is_unknown_and_the_next_works(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(store, 1)
    store._writer = CommitFails(store._writer)  # type: ignore[assignment]
    with pytest.raises(StoreUnknown, match="disk I/O error"):
        write(store, [(alice, Deposit("USDT", 1))])
    assert write(store, [(alice, Deposit("USDT", 1))])[0].sequence == 1
    store.close()


def test_a_statement_that_fails_rolls_back(tmp_path: Path) -> None:
    """As a full disk would: nothing of the transaction is left, and nothing holds the lock."""
    store = SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(store, 1)
    (kept,) = write(store, [(alice, Deposit("USDT", 1))])
    store._writer.execute("PRAGMA max_page_count = 1")  # rounded up to what the file has now
    with pytest.raises(StoreFailed, match="full"):
        write(store, [(alice, Deposit("USDT", 1))] * 2_000)
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert store.tail(0, 10) == [kept]
    assert write(store, [(alice, Deposit("USDT", 1))])[0].sequence == 2
    store.close()


def test_a_reading_that_fails_says_so_in_the_words_of_the_seam(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(store, 1)
    with closing(sqlite3.connect(tmp_path / "store.db")) as other:
        for table in ("recent", "journal", "holding", "milestone", "api_key", "account", "meta", "asset", "note"):
            other.execute(f"DROP TABLE {table}")
    readings: list[Callable[[], object]] = [
        lambda: store.load([alice]),
        lambda: store.tail(0, 10),
        lambda: newest(store, alice),
        lambda: store.count_uses(alice, {Trigger.API}, 0),
        lambda: store.account(alice),
        lambda: store.account_named("account 1"),
        lambda: store.accounts(None, 10),
        lambda: store.key("key"),
        lambda: store.keys(alice),
        lambda: store.add_assets({}),
        lambda: store.fingerprint(""),
        store.keys_version,
        store.notes_version,
        lambda: store.note("kind", "name", 0),
        lambda: store.notes("kind", 0),
        store.newest,
    ]
    for reading in readings:
        with pytest.raises(StoreFailed, match="no such table"):
            reading()
    store.close()


def test_an_error_in_our_own_code_frees_the_lock(tmp_path: Path) -> None:
    """Also on the connection that keeps accounts and keys: else every writer would wait for it ever after."""
    store = SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(store, 1)
    with suppress(OverflowError):
        store.add_key(ApiKey("key", alice, Algorithm.HMAC, b"", frozenset(), (), 2**70))
    assert len(write(store, [(alice, Deposit("USDT", 1))])) == 1
    assert store.key("key") is None
    store.close()


def test_history_does_not_read_what_it_does_not_need(tmp_path: Path) -> None:
    """A page from the beginning of a long history costs what it holds, whichever end it is asked from."""
    store = SqliteStore(tmp_path / "store.db")
    (alice,) = enrol(store, 1)
    for place in range(20):
        write(store, [(alice, Deposit("USDT", 1))] * 1_000, FIRST + place)
    steps = []
    store._reader().set_progress_handler(lambda: steps.append(1), 1_000)
    costs = []
    for until in (FIRST, FIRST + 19):
        for newest_first in (True, False):
            steps.clear()
            edge = 2**62 if newest_first else 0
            page = store.history(alice, since=0, until=until, below=edge, limit=5, newest_first=newest_first)
            assert len(page) == 5
            costs.append(len(steps))
    steps.clear()
    assert store.history(alice, since=0, until=FIRST - 1, below=0, limit=5, newest_first=False) == []
    costs.append(len(steps))
    assert max(costs) < 50, f"thousands of steps of the engine: {costs}"
    store.close()
