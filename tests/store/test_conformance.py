"""What every engine must do, verb by verb: one suite, run over each of them."""

import random
import threading

import msgspec
import pytest

from catchment.ledger.balance import AccountId, AccountState, QuotaUse
from catchment.ledger.commands import (
    AssetCollection,
    AutoCollection,
    BnbTransfer,
    Command,
    Deposit,
    SetAutoRepay,
    Side,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import apply, decide
from catchment.signature import Algorithm, ApiKey, Permission
from catchment.store.base import Account, Note, Share, Store, StoreFailed
from tests.store.books import ALL, FIRST, NO_LIMITS, account_id, enrol, newest, oldest, write
from tests.store.conftest import Engine


class BrokenError(Exception):
    """What a test raises inside a transaction."""


def decided(account: AccountId, state: AccountState, command: Command) -> Record:
    """The record of a command that is accepted; the state is as after it."""
    record = decide(account, state, command, FIRST, NO_LIMITS)
    assert isinstance(record, Record)
    apply(state, record, NO_LIMITS)
    return record


# Transaction, load, append -------------------------------------------------------------------------------------------


def test_what_was_appended_is_loaded(engine: Engine, store: Store) -> None:
    alice, bob = enrol(store, 1, 2)
    written = write(store, [(alice, Deposit("USDT", 5)), (bob, Deposit("BTC", 2**63 - 1)), (alice, Deposit("BNB", 1))])
    assert [stored.sequence for stored in written] == [1, 2, 3]
    store = engine.reopen(store)
    states = store.load([alice, bob])
    assert (states[alice].number, states[bob].number) == (2, 1)
    assert {asset: balance.margin_free for asset, balance in states[alice].balances.items()} == {"USDT": 5, "BNB": 1}
    assert states[bob].balances["BTC"].margin_free == 2**63 - 1
    assert states[alice].digest == written[2].record.digest
    assert store.tail(0, 10) == written


def test_a_new_account_has_an_empty_state(store: Store) -> None:
    store.add_account(Account(account_id(1), "in", portfolio_margin=True, created=FIRST))
    store.add_account(Account(account_id(2), "out", portfolio_margin=False, created=FIRST))
    assert store.load([account_id(1), account_id(2)]) == {
        account_id(1): AccountState(portfolio_margin=True),
        account_id(2): AccountState(portfolio_margin=False),
    }


def test_unknown_accounts_are_left_out(store: Store) -> None:
    (alice,) = enrol(store, 1)
    assert store.load([]) == {}
    assert store.load([account_id(9)]) == {}
    assert list(store.load([account_id(9), alice])) == [alice]
    with store.transaction() as transaction:
        assert transaction.load([]) == {}
        assert list(transaction.load([alice, account_id(9)])) == [alice]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 63, 64, 65, 129, 200])
def test_batches_of_any_size(engine: Engine, store: Store, count: int) -> None:
    """Engines may load and write in stretches; no record and no state may be lost where they meet."""
    ids = enrol(store, *range(count + 1))[:count]
    written = write(store, [(account, Deposit("USDT", place + 1)) for place, account in enumerate(ids)])
    store = engine.reopen(store)
    states = store.load(ids)
    assert [states[account].balances["USDT"].margin_free for account in ids] == list(range(1, count + 1))
    assert store.tail(0, 1_000) == written
    assert [stored.sequence for stored in written] == list(range(1, count + 1))
    for place, account in enumerate(ids):
        assert newest(store, account, limit=5) == [written[place]]
    with store.transaction() as transaction:
        assert transaction.load(ids) == states
    assert store.load([account_id(count)]) == {account_id(count): AccountState()}, "who was not asked is as before"


def test_odd_texts_come_back_as_they_were(engine: Engine, store: Store) -> None:
    """The ledger takes any Unicode text for an asset; the engines' own separators must not be found in it."""
    (alice, bob) = enrol(store, 1, 2)
    odd = ["'; DROP TABLE journal; --", "a b\nc\td", "\x00", '"\\', "币安", "🦀", "", " "]
    asked: list[tuple[bytes, Command]] = [(alice, Deposit(name, 5)) for name in odd]
    written = write(store, [*asked, (bob, Deposit("USDT", 1))])  # type: ignore[list-item]
    store = engine.reopen(store)
    states = store.load([alice, bob])
    assert list(states[alice].balances) == odd
    assert store.tail(0, 100) == written


def test_sequences_have_no_gaps(store: Store) -> None:
    ids = enrol(store, 1, 2, 3)
    sequences = []
    for size in (1, 3, 2, 1, 5):
        written = write(store, [(ids[place % 3], Deposit("USDT", 1)) for place in range(size)])
        sequences += [stored.sequence for stored in written]
    assert sequences == list(range(1, 13))


def test_one_transaction_may_append_twice(store: Store) -> None:
    alice, bob = enrol(store, 1, 2)
    write(store, [(alice, Deposit("USDT", 1))])
    with store.transaction() as transaction:
        states = transaction.load([alice, bob])
        for expected in (2, 3):
            record = decided(alice, states[alice], Deposit("USDT", 1))
            assert transaction.append([record], {alice: states[alice]}) == [expected]
    assert [stored.sequence for stored in store.tail(0, 10)] == [1, 2, 3]


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
def test_an_exception_inside_leaves_no_trace(engine: Engine, store: Store, error: type[BaseException]) -> None:
    alice, bob = enrol(store, 1, 2)
    before = write(store, [(alice, Deposit("USDT", 5))])
    kept = store.load([alice, bob])

    def attempt() -> None:
        with store.transaction() as transaction:
            states = transaction.load([alice, bob])
            records = [decided(account, states[account], Deposit("USDT", 9)) for account in (alice, bob, bob)]
            transaction.append(records, states)
            raise error

    with pytest.raises(error):
        attempt()
    store = engine.reopen(store)
    assert store.load([alice, bob]) == kept
    assert store.tail(0, 10) == before
    assert newest(store, alice, limit=10) == before
    assert newest(store, bob, limit=10) == []
    (after,) = write(store, [(bob, Deposit("USDT", 1))])
    assert after.sequence == 2, "a sequence that was never committed is given again"


def test_an_exception_before_anything_was_written_leaves_the_store_usable(store: Store) -> None:
    (alice,) = enrol(store, 1)
    with pytest.raises(BrokenError), store.transaction():
        raise BrokenError
    assert len(write(store, [(alice, Deposit("USDT", 1))])) == 1


def test_a_transaction_that_writes_nothing(store: Store) -> None:
    (alice,) = enrol(store, 1)
    with store.transaction() as transaction:
        transaction.load([alice])
    assert store.tail(0, 10) == []


def test_a_loaded_state_is_not_the_kept_one(store: Store) -> None:
    (alice,) = enrol(store, 1)
    write(store, [(alice, Deposit("USDT", 5))])
    mine = store.load([alice])[alice]
    mine.balances["USDT"].margin_free = 99
    mine.quotas["api_hour"] = QuotaUse(0, 9)
    mine.number = 9
    again = store.load([alice])[alice]
    assert (again.number, again.quotas, again.balances["USDT"].margin_free) == (1, {}, 5)


def test_a_state_that_was_not_appended_leaves_no_trace(store: Store) -> None:
    """What was refused may have touched the state it was decided on."""
    alice, bob = enrol(store, 1, 2)
    write(store, [(alice, Deposit("USDT", 5)), (bob, Deposit("USDT", 5))])
    before = store.load([alice, bob])
    with store.transaction() as transaction:
        state = transaction.load([alice])[alice]
        state.balances["USDT"].margin_free = 99
        state.number = 7
    with store.transaction() as transaction:
        assert transaction.load([alice, bob]) == before
    assert store.load([alice, bob]) == before


def test_a_transaction_loads_what_it_appended(store: Store) -> None:
    (alice,) = enrol(store, 1)
    (first,) = write(store, [(alice, Deposit("USDT", 5))])
    with store.transaction() as transaction:
        state = transaction.load([alice])[alice]
        second = decided(alice, state, Deposit("USDT", 1))
        assert transaction.append([second], {alice: state}) == [first.sequence + 1]
        assert transaction.load([alice])[alice].balances["USDT"].margin_free == 6
    assert store.load([alice])[alice].balances["USDT"].margin_free == 6


def test_readers_see_whole_commits_only(store: Store) -> None:
    """Two records and two states are written by every transaction; who finds an odd one has seen half of it.

    Each state is as of one commit; two states need not be as of the same one.
    """
    alice, bob = enrol(store, 1, 2)
    done = threading.Event()
    apart: list[object] = []

    def watch() -> None:
        seen = 0
        while not done.is_set():
            tail = store.tail(0, 1_000)
            numbers = [stored.sequence for stored in tail]
            states = store.load([alice, bob])
            if numbers != list(range(1, len(numbers) + 1)) or len(numbers) % 2 or len(numbers) < seen:
                apart.append(numbers)
            apart.extend(
                state
                for state in states.values()
                if state.number != sum(balance.version for balance in state.balances.values())
            )
            seen = len(numbers)

    readers = [threading.Thread(target=watch) for _ in range(2)]
    for reader in readers:
        reader.start()
    for place in range(60):
        write(store, [(alice, Deposit("USDT", place + 1)), (bob, Deposit("USDT", place + 1))])
    done.set()
    for reader in readers:
        reader.join()
    assert apart == []


# Tail, history, count_uses -------------------------------------------------------------------------------------------


def test_the_tail_is_read_in_pages(store: Store) -> None:
    ids = enrol(store, 1, 2, 3)
    written = write(store, [(ids[place % 3], Deposit("USDT", 1)) for place in range(25)])
    for limit in (1, 7, 24, 25, 26):
        pages, after = [], 0
        while page := store.tail(after, limit):
            pages.append(page)
            after = page[-1].sequence
        assert [stored for page in pages for stored in page] == written
        assert all(len(page) == limit for page in pages[:-1])
    assert store.tail(25, 10) == store.tail(1_000, 10) == []
    assert store.tail(24, 10) == written[24:]


def test_accounts_are_touched_by_what_is_not_left_out(store: Store) -> None:
    collected, funded, both = enrol(store, 1, 2, 3, 4)[:3]
    collect, fund = AutoCollection(Trigger.API), Deposit("USDT", 1)
    asked: list[tuple[AccountId, Command]] = [(collected, collect), (funded, fund), (both, collect), (both, fund)]
    for one in asked:
        write(store, [one])  # a batch each, for an engine may look at whole ones
    for but, expected in (
        ((), {collected, funded, both}),
        (("AutoCollection",), {funded, both}),
        (("Deposit",), {collected, both}),
        (("AutoCollection", "Deposit"), set()),
    ):
        assert store.touched(0, 4, but=but) == expected
    assert store.touched(2, 4, but=("AutoCollection",)) == {both}
    assert funded in store.touched(1, 2, but=("AutoCollection",))
    assert store.touched(4, 1_000, but=()) == set()


def test_the_tail_of_a_share_is_its_accounts_records(store: Store) -> None:
    ids = enrol(store, 0, 1, 127, 128, 255, 256 + 128)
    written = write(store, [(ids[place % 6], Deposit("USDT", 1)) for place in range(30)])
    for first, last in ((0, 127), (128, 255), (1, 1), (128, 128), (0, 255), (3, 100)):
        mine = [stored for stored in written if first <= stored.record.account[-1] <= last]
        share = Share(first, last)
        assert store.tail(0, 100, share) == mine
        read: list[Stored] = []
        while page := store.tail(read[-1].sequence if read else 0, 3, share):
            assert len(page) <= 3
            read += page
        assert read == mine
        assert store.tail(12, 100, share) == [stored for stored in mine if stored.sequence > 12]
        assert all(share.holds(stored.record.account) for stored in mine)


def test_the_newest_sequence_is_known_to_who_only_asks(engine: Engine, store: Store) -> None:
    (alice,) = enrol(store, 1)
    assert store.newest() == 0
    for count in (1, 3, 2):
        written = write(store, [(alice, Deposit("USDT", 1))] * count)
        assert store.newest() == written[-1].sequence
    assert engine.reopen(store).newest() == 6


COUNTS = (700, 300, 1)
"""Records of three accounts: over two milestones of the engine that keeps one for every 256th, over one, and few."""


def long_journal(store: Store, rng: random.Random) -> list[Stored]:
    """Histories that interleave, with times that stand still, creep and leap, and every command that is counted."""
    ids = enrol(store, 1, 2, 3)
    turns = [account for account, count in zip(ids, COUNTS, strict=True) for _ in range(count)]
    rng.shuffle(turns)
    commands: list[Command] = [
        Deposit("USDT", 1),
        AssetCollection("USDT", Trigger.API),
        SetAutoRepay(True, Trigger.API),
    ]
    commands += [AutoCollection(trigger) for trigger in (Trigger.API, Trigger.BUTTON, Trigger.OPERATOR)]
    commands += [BnbTransfer(1, side, Trigger.API, pro) for side, pro in ((Side.TO_UM, False), (Side.TO_UM, True))]
    written, now = write(store, [(account, Deposit("BNB", 700)) for account in ids]), FIRST
    for account in ids:
        turns.remove(account)
    while turns:
        size = rng.choice([1, 5, 40])
        batch, turns = turns[:size], turns[size:]
        now += rng.choice([0, 0, 1, 1_000, 3_600_000])
        written += write(store, [(account, rng.choice(commands)) for account in batch], now)
    return written


def moments(own: list[Stored], rng: random.Random) -> int:
    """A time about which an off-by-one would show."""
    return rng.choice(own).record.timestamp + rng.choice([-1, 0, 0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_history_agrees_with_a_list(engine: Engine, store: Store, seed: int) -> None:
    rng = random.Random(seed)
    journal = long_journal(store, rng)
    store = engine.reopen(store)
    for account, count in zip([account_id(1), account_id(2), account_id(3)], COUNTS, strict=True):
        own = [stored for stored in journal if stored.record.account == account]
        assert len(own) == count
        for _ in range(150):
            since = rng.choice([0, 0, moments(own, rng), FIRST + 10**15])
            until = rng.choice([2**62, 2**62, moments(own, rng), 0])
            edge = rng.choice([0, 1, 2, 255, 256, 257, 511, 512, 513, count - 1, count, count + 1, 2**62])
            limit = rng.choice([1, 2, 255, 256, 257, 1_000])
            wanted = [stored for stored in own if since <= stored.record.timestamp <= until]
            for newest_first in (True, False):
                if newest_first:
                    expected = [stored for stored in wanted if stored.record.number < edge][::-1][:limit]
                else:
                    expected = [stored for stored in wanted if stored.record.number > edge][:limit]
                found = store.history(
                    account, since=since, until=until, below=edge, limit=limit, newest_first=newest_first
                )
                numbers = [stored.record.number for stored in found]
                assert numbers == [stored.record.number for stored in expected], (
                    f"seed {seed}: since={since} until={until} below={edge} limit={limit} newest_first={newest_first}"
                )
                assert found == expected


@pytest.mark.parametrize("newest_first", [True, False])
def test_history_is_read_in_pages(store: Store, newest_first: bool) -> None:
    """The last number of one page is the `below` of the next, across milestones and at them."""
    (alice,) = enrol(store, 1)
    written = []
    for place in range(53):
        written += write(store, [(alice, Deposit("USDT", 1))] * 10, FIRST + place // 5)
    for limit in (1, 85, 128, 256, 529, 530, 531):
        edge, found = 2**62 if newest_first else 0, []
        while page := store.history(alice, **ALL, below=edge, limit=limit, newest_first=newest_first):
            assert len(page) <= limit
            found += page
            edge = page[-1].record.number
        assert found == (written[::-1] if newest_first else written)


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512])
def test_history_at_a_milestone(store: Store, count: int) -> None:
    (alice,) = enrol(store, 1)
    written = write(store, [(alice, Deposit("USDT", 1))] * count) if count else []
    assert newest(store, alice, limit=1_000) == written[::-1]
    assert oldest(store, alice, limit=1_000) == written


def test_history_of_an_unknown_account_is_empty(store: Store) -> None:
    assert newest(store, account_id(9), limit=10) == []
    assert oldest(store, account_id(9), limit=10) == []


@pytest.mark.parametrize("seed", range(3))
def test_count_uses_agrees_with_counting(engine: Engine, store: Store, seed: int) -> None:
    rng = random.Random(seed)
    journal = long_journal(store, rng)
    store = engine.reopen(store)
    choices: list[set[str]] = [{Trigger.API}, {Trigger.BUTTON}, {Trigger.OPERATOR}, {Trigger.API, Trigger.BUTTON}]
    choices += [set(Trigger), {"BNB_TRANSFER"}, {"BNB_TRANSFER_PRO"}, {"AUTO_REPAY"}]
    for account in (account_id(1), account_id(2), account_id(3)):
        own = [stored for stored in journal if stored.record.account == account]
        for _ in range(60):
            since, uses = rng.choice([0, moments(own, rng), FIRST + 10**15]), rng.choice(choices)
            times = [
                stored.record.timestamp
                for stored in own
                if counted_as(stored.record.command) in uses and stored.record.timestamp >= since
            ]
            expected = QuotaUse(min(times, default=since), len(times))
            assert store.count_uses(account, uses, since) == expected, f"seed {seed}: {uses} since {since}"


def counted_as(command: Command) -> str:
    """What a quota counts a command as, written down anew."""
    match command:
        case AutoCollection(trigger):
            return trigger.value
        case BnbTransfer(pro=pro):
            return "BNB_TRANSFER_PRO" if pro else "BNB_TRANSFER"
        case SetAutoRepay():
            return "AUTO_REPAY"
    return "nothing"


def test_count_uses_of_who_did_nothing(store: Store) -> None:
    (alice,) = enrol(store, 1)
    assert store.count_uses(alice, set(Trigger), 7) == QuotaUse(7, 0)
    assert store.count_uses(account_id(9), set(Trigger), 7) == QuotaUse(7, 0)
    write(store, [(alice, AutoCollection(Trigger.API))])
    assert store.count_uses(alice, set(), 7) == QuotaUse(7, 0)


def test_a_name_that_looks_like_a_collection_is_not_counted(store: Store) -> None:
    """The record's text says AutoCollection and API, but not where it would count."""
    (alice,) = enrol(store, 1)
    write(store, [(alice, Deposit('"type":"AutoCollection","trigger":"API"', 1))])
    assert store.count_uses(alice, {Trigger.API}, 0) == QuotaUse(0, 0)


def test_uses_are_counted_inside_a_transaction(store: Store) -> None:
    """The writer counts while it holds the lock, and must neither wait for itself nor see what is not committed."""
    (alice,) = enrol(store, 1)
    (kept,) = write(store, [(alice, AutoCollection(Trigger.API))])
    with store.transaction() as transaction:
        states = transaction.load([alice])
        assert store.count_uses(alice, {Trigger.API}, 0) == QuotaUse(FIRST, 1)
        transaction.append([decided(alice, states[alice], kept.record.command)], states)
    assert store.count_uses(alice, {Trigger.API}, 0) == QuotaUse(FIRST, 2)


# Accounts ------------------------------------------------------------------------------------------------------------


def test_accounts_are_found_by_id_and_by_name(engine: Engine, store: Store) -> None:
    made = Account(account_id(7), "Ada Lovelace 🦀", portfolio_margin=False, created=FIRST)
    assert store.add_account(made)
    store = engine.reopen(store)
    assert store.account(account_id(7)) == store.account_named("Ada Lovelace 🦀") == made
    assert store.account(account_id(8)) is None
    assert store.account_named("ada lovelace 🦀") is None


def test_a_name_is_taken_once(store: Store) -> None:
    first = Account(account_id(1), "alice", portfolio_margin=True, created=FIRST)
    assert store.add_account(first)
    write(store, [(first.id, Deposit("USDT", 5))])
    assert not store.add_account(Account(account_id(2), "alice", portfolio_margin=False, created=FIRST + 1))
    assert not store.add_account(first)
    assert store.account_named("alice") == first
    assert store.account(account_id(2)) is None
    assert store.load([account_id(2)]) == {}
    assert store.load([first.id])[first.id].number == 1, "a refused account takes nothing from the one that is there"
    assert store.accounts(None, 10) == [first]


def test_accounts_are_read_in_pages_by_id(engine: Engine, store: Store) -> None:
    rng = random.Random(0)
    numbers = rng.sample(range(10_000), 23)
    enrol(store, *numbers)
    store = engine.reopen(store)
    ids = [account_id(number) for number in sorted(numbers)]
    for limit in (1, 10, 22, 23, 24):
        found, after = [], None
        while page := store.accounts(after, limit):
            assert len(page) <= limit
            found += [account.id for account in page]
            after = page[-1].id
        assert found == ids
        backwards: list[AccountId] = []
        before = None
        while page := store.accounts_before(before, limit):
            assert len(page) <= limit
            backwards[:0] = [account.id for account in page]
            before = page[0].id
        assert backwards == ids


# API keys ------------------------------------------------------------------------------------------------------------


def api_key(text: str, owner: int = 1) -> ApiKey:
    return ApiKey(
        text,
        account_id(owner),
        Algorithm.ED25519,
        b"\x00\xff material",
        frozenset({Permission.READ}),
        ("192.0.2.0/24", "2001:db8::1"),
        FIRST,
    )


def test_keys_come_back_as_they_were(engine: Engine, store: Store) -> None:
    enrol(store, 1, 2)
    plain = msgspec.structs.replace(api_key("a"), permissions=frozenset(), ip_allow=())
    assert store.add_key(plain)
    assert store.add_key(api_key("b"))
    assert store.add_key(api_key("c", owner=2))
    store = engine.reopen(store)
    assert (store.key("a"), store.key("b"), store.key("d")) == (plain, api_key("b"), None)
    assert store.keys(account_id(1)) == [plain, api_key("b")]
    assert store.keys(account_id(2)) == [api_key("c", owner=2)]
    assert store.keys(account_id(9)) == []


def test_many_accounts_and_keys_are_kept_at_once_or_not_at_all(engine: Engine, store: Store) -> None:
    made = [Account(account_id(number), f"account {number}", number % 2 == 0, FIRST) for number in range(5)]
    keys = [
        ApiKey(f"key {number}", made[number % 5].id, Algorithm.HMAC, b"x", frozenset(), (), FIRST, revoked=number % 2)
        for number in range(12)
    ]
    version = store.keys_version()
    store.admit(made, keys)
    store = engine.reopen(store)
    assert store.keys_version() != version
    assert store.accounts(None, 10) == made
    assert [store.key(key.api_key) for key in keys] == keys
    assert store.load([made[1].id]) == {made[1].id: AccountState(portfolio_margin=False)}
    more = Account(account_id(9), "more", portfolio_margin=True, created=FIRST)
    unheard = msgspec.structs.replace(keys[0], api_key="unheard")
    for accounts, new in (([more, made[0]], []), ([more], [unheard, keys[3]])):
        with pytest.raises(StoreFailed):
            store.admit(accounts, new)
        assert store.account(more.id) is None
        assert store.key("unheard") is None
    store.admit([], [])
    assert store.accounts(None, 10) == made
    write(store, [(made[0].id, Deposit("USDT", 1))])


def test_a_key_is_taken_once_whoever_holds_it(store: Store) -> None:
    enrol(store, 1, 2)
    assert store.add_key(api_key("a"))
    assert not store.add_key(api_key("a"))
    assert not store.add_key(api_key("a", owner=2))
    assert store.key("a") == api_key("a")
    assert store.key("A") is None


def test_a_revoked_key_is_kept_and_its_text_stays_taken(engine: Engine, store: Store) -> None:
    enrol(store, 1)
    store.add_key(api_key("a"))
    assert store.revoke_key("a", FIRST + 5)
    assert not store.revoke_key("a", FIRST + 6), "it does not live any more"
    assert not store.revoke_key("b", FIRST + 6)
    store = engine.reopen(store)
    revoked = msgspec.structs.replace(api_key("a"), revoked=FIRST + 5)
    assert store.key("a") == revoked
    assert store.keys(account_id(1)) == [revoked]
    assert not store.add_key(api_key("a"))


def test_the_keys_version_changes_with_the_keys_and_only_then(engine: Engine, store: Store) -> None:
    enrol(store, 1)
    versions = [store.keys_version()]

    def changed(did: bool) -> bool:
        versions.append(store.keys_version())
        assert did == (versions[-1] != versions[-2])
        return did

    assert changed(store.add_key(api_key("a")))
    assert not changed(store.add_key(api_key("a")))
    assert changed(store.add_key(api_key("b")))
    assert changed(store.revoke_key("a", FIRST))
    assert not changed(store.revoke_key("a", FIRST))
    store = engine.reopen(store)
    assert store.keys_version() == versions[-1]
    assert len(set(versions)) == 4, "no version comes twice"


# Notes ---------------------------------------------------------------------------------------------------------------


def test_a_note_is_kept_until_it_is_dropped(engine: Engine, store: Store) -> None:
    note = Note("link", "a \u4e2d", "text '\n\"")
    assert store.put_note(note, 5, replace=False)
    store = engine.reopen(store)
    assert store.note("link", note.name, 2**53) == note
    assert store.note("person", note.name, 5) is None
    assert [store.drop_note("link", note.name, 5) for _ in range(2)] == [True, False], "it is used once"
    assert store.note("link", note.name, 5) is None


def test_a_note_is_replaced_only_if_that_is_said(store: Store) -> None:
    first, second = Note("price", "BTC", "1"), Note("price", "BTC", "2")
    assert store.put_note(first, 0, replace=False)
    assert not store.put_note(second, 0, replace=False)
    assert store.note("price", "BTC", 0) == first
    assert store.put_note(second, 0, replace=True)
    assert store.notes("price", 0) == [second]


def test_an_expired_note_does_not_exist(store: Store) -> None:
    dead, living = Note("session", "a", "1", expires=100), Note("session", "b", "2", expires=101)
    for note in (dead, living, Note("session", "c", "3"), Note("link", "a", "4", expires=100)):
        assert store.put_note(note, 99, replace=False)
    assert store.note("session", "a", 99) == dead
    assert store.note("session", "a", 100) is None
    assert [note.name for note in store.notes("session", 100)] == ["b", "c"]
    assert not store.drop_note("session", "a", 100), "an expired link is not used"
    assert store.put_note(Note("session", "b", "again"), 101, replace=False), "what expired is not in the way"
    assert store.note("session", "b", 2**53) == Note("session", "b", "again")


def test_the_notes_version_changes_with_the_notes(engine: Engine, store: Store) -> None:
    (other,) = enrol(store, 1)
    versions = [store.notes_version()]
    keys = store.keys_version()
    for note in (Note("price", "BTC", "1"), Note("price", "BTC", "2"), Note("link", "x", "")):
        store.put_note(note, 0, replace=True)
        versions.append(store.notes_version())
    store.drop_note("link", "x", 0)
    versions.append(store.notes_version())
    assert len(set(versions)) == len(versions)
    assert store.keys_version() == keys, "nobody who remembers keys has to look again"
    write(store, [(other, Deposit("USDT", 5))])
    assert engine.reopen(store).notes_version() == versions[-1]


def test_one_of_many_uses_a_note(store: Store) -> None:
    store.put_note(Note("link", "once", ""), 0, replace=False)
    used: list[bool] = []
    users = [threading.Thread(target=lambda: used.append(store.drop_note("link", "once", 0))) for _ in range(8)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert sorted(used) == [False] * 7 + [True]


# Assets and the master key's fingerprint -----------------------------------------------------------------------------


def test_a_scale_never_changes(engine: Engine, store: Store) -> None:
    assert store.add_assets({"USDT": 8, "WEI": 18}) == {"USDT": 8, "WEI": 18}
    store = engine.reopen(store)
    assert store.add_assets({"USDT": 2, "YEN": 0}) == {"USDT": 8, "WEI": 18, "YEN": 0}
    assert store.add_assets({}) == {"USDT": 8, "WEI": 18, "YEN": 0}


def test_known_scales_are_a_copy(store: Store) -> None:
    store.add_assets({"USDT": 8})["USDT"] = 2
    assert store.add_assets({}) == {"USDT": 8}


def test_a_fingerprint_is_kept_once(engine: Engine, store: Store) -> None:
    assert store.fingerprint("") == ""
    assert store.fingerprint("first") == "first"
    assert store.fingerprint("second") == "first"
    store = engine.reopen(store)
    assert store.fingerprint("third") == store.fingerprint("") == "first"


# Threads -------------------------------------------------------------------------------------------------------------


def test_keys_and_accounts_are_written_while_the_writer_works(store: Store) -> None:
    """Readers' threads add accounts and keys; the writer's thread has its own transaction; nobody fails or is lost."""
    ids = enrol(store, *range(10))
    failed: list[BaseException] = []

    def add(first: int) -> None:
        try:
            for number in range(first, first + 20):
                enrol(store, number)
                assert store.add_key(api_key(f"key {number}", owner=number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=add, args=(first,)) for first in (100, 200)]
    for thread in threads:
        thread.start()
    for place in range(40):
        write(store, [(account, Deposit("USDT", place + 1)) for account in ids])
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(store.tail(0, 1_000)) == 400
    assert len(store.accounts(None, 1_000)) == 50
    assert store.keys_version() != 0
    assert all(store.key(f"key {number}") for first in (100, 200) for number in range(first, first + 20))


def test_withdrawals_never_meet_a_stale_balance(store: Store) -> None:
    """What a transaction loaded is what it writes over: 100 units can leave in 100 single withdrawals, and no more."""
    (alice,) = enrol(store, 1)
    write(store, [(alice, Deposit("USDT", 100))])
    for _ in range(100):
        write(store, [(alice, Withdrawal("USDT", 1))])
    assert store.load([alice])[alice].balances["USDT"].margin_free == 0


def test_accounts_and_living_keys_are_counted(store: Store) -> None:
    assert store.count() == (0, 0)
    enrol(store, 1, 2)
    store.add_key(api_key("one"))
    store.add_key(api_key("two", owner=2))
    store.revoke_key("one", 7)
    assert store.count() == (2, 1)
