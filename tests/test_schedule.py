"""What the venue does by itself: at its moment and not before, once whoever does it, the same however time passes."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from catchment import errors, schedule
from catchment import venue as venue_module
from catchment.clock import FrozenClock, RealClock
from catchment.config import Settings
from catchment.errors import Refused
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import (
    Adjustment,
    AutoCollection,
    AutoExchange,
    Command,
    Deposit,
    NegativeInterest,
    Reason,
    RepayNegative,
    SetAutoCollection,
    SetAutoRepay,
    Trigger,
)
from catchment.ledger.journal import Stored
from catchment.ledger.quota import DAY_MS, HOUR_MS, TEN_MINUTES_MS
from catchment.market import Figure
from catchment.schedule import KIND, LEASE_MS, MINUTE_MS, Schedule
from catchment.store import states
from catchment.store.base import Account, StoreFailed
from catchment.venue import Venue
from catchment.wallet import Wallet
from catchment.writer import Answer, Asked

NIGHT = 20_718 * DAY_MS
"""A midnight."""
NOON = NIGHT + DAY_MS // 2
DAY = 20_718
USDT = 10**8
WITHOUT_WRITES = (SetAutoRepay, SetAutoCollection, Adjustment, Deposit)
"""What the tests ask for themselves; the rest of a journal is the schedule's."""
LASTING = {"sqlite": "file", "postgres": "postgres"}

Scene = Callable[[Venue, FrozenClock], Coroutine[None, None, None]]


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def address(request: pytest.FixtureRequest) -> str:
    return "memory:" if request.param == "memory" else str(request.getfixturevalue(LASTING[request.param]))


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(LASTING[request.param]))


@asynccontextmanager
async def opened(clock: FrozenClock, store: str = "memory:", **settings: Any) -> AsyncIterator[Venue]:
    venue = await Venue.open(Settings(**{"store": store, **settings}), clock)
    try:
        yield venue
    finally:
        await venue.close()


def play(scene: Scene, start: int = NOON, store: str = "memory:", **settings: Any) -> None:
    async def run() -> None:
        clock = FrozenClock(start)
        async with opened(clock, store, **settings) as venue:
            await asyncio.wait_for(scene(venue, clock), 60)
            assert (await venue.verify()).findings == []

    asyncio.run(run())


async def enrolled(venue: Venue, name: str, *commands: Command) -> AccountId:
    account = await venue.add_account(name)
    assert isinstance(account, Account)
    await do(venue, account.id, *commands)
    return account.id


async def do(venue: Venue, account: AccountId, *commands: Command) -> None:
    for answer in await venue.submit_all([(account, command) for command in commands]):
        assert isinstance(answer, Stored), answer


async def scheduled(venue: Venue) -> list[tuple[int, AccountId, Command]]:
    """When the venue did what to whom, in the order of the journal."""
    records = [stored.record for stored in await venue.tail(0, 100_000)]
    return [(one.timestamp, one.account, one.command) for one in records if not isinstance(one.command, WITHOUT_WRITES)]


async def times(venue: Venue) -> list[int]:
    return [time for time, _, _ in await scheduled(venue)]


def um(amount: int, asset: str = "USDT") -> Command:
    return Adjustment(Wallet.UM, asset, amount, Reason.REALIZED_PNL)


REPAYS: Command = SetAutoRepay(True, Trigger.BUTTON)
COLLECTS: Command = SetAutoCollection(True, Trigger.BUTTON)
COLLECTED = AutoCollection(Trigger.SCHEDULE)
REPAID = RepayNegative(Trigger.SCHEDULE)
HALF_PAST_TEN, HALF_PAST_ELEVEN = NIGHT + DAY_MS - 90 * MINUTE_MS, NIGHT + DAY_MS - 30 * MINUTE_MS
BEYOND = um(-10_100 * USDT)
"""100 USDT more than is free of interest, and less than the most there may be."""


# Each at its moment --------------------------------------------------------------------------------------------------


def test_a_negative_balance_is_repaid_twice_before_interest(address: str) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        alice = await enrolled(venue, "alice", REPAYS, Deposit("USDT", 100), um(-30))
        await enrolled(venue, "bob", Deposit("USDT", 100), um(-30))
        plan = Schedule(venue)
        await plan.advance(clock, HALF_PAST_TEN - NOON - 1)
        assert await scheduled(venue) == []
        await plan.advance(clock, 1)
        assert await scheduled(venue) == [(HALF_PAST_TEN, alice, REPAID)]
        await plan.advance(clock, 1)
        await do(venue, alice, um(-5))
        await plan.advance(clock, DAY_MS)
        assert await times(venue) == [HALF_PAST_TEN, HALF_PAST_ELEVEN]
        state = await venue.state(alice)
        assert state is not None
        assert (state.balances["USDT"].um, state.balances["USDT"].margin_free) == (0, 65)

    play(scene, store=address)


def test_interest_is_charged_at_midnight_for_the_day_that_ended(address: str) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        alice = await enrolled(venue, "alice", BEYOND)
        await enrolled(venue, "bob", um(-10_000 * USDT))
        plan = Schedule(venue)
        await plan.advance(clock, NIGHT + DAY_MS - NOON - 1)
        assert await scheduled(venue) == []
        await plan.advance(clock, 1)
        ((time, account, command),) = await scheduled(venue)
        assert (time, account) == (NIGHT + DAY_MS, alice)
        assert isinstance(command, NegativeInterest)
        assert command.day == DAY
        state = await venue.state(alice)
        assert state is not None
        assert state.balances["USDT"].um == -10_100 * USDT - USDT // 10, "a thousandth of what is over 10,000"
        await plan.advance(clock, DAY_MS - 1)
        assert len(await scheduled(venue)) == 1
        await plan.advance(clock, 1)
        assert len(await scheduled(venue)) == 2

    play(scene, store=address)


def test_too_much_that_is_negative_is_exchanged_at_ten_minutes(address: str) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        rich = (Deposit("BTC", 10**8), Deposit("ETH", 10**8), Deposit("XYZ", 10**8))
        alice = await enrolled(venue, "alice", *rich, um(-150_010 * USDT))
        await enrolled(venue, "bob", *rich, um(-150_000 * USDT))
        await enrolled(venue, "poor", um(-150_010 * USDT))
        plan = Schedule(venue)
        await plan.advance(clock, TEN_MINUTES_MS - 1)
        assert await scheduled(venue) == []
        await plan.advance(clock, 1)
        ((time, account, command),) = await scheduled(venue)
        assert (time, account) == (NOON + TEN_MINUTES_MS, alice)
        assert isinstance(command, AutoExchange)
        assert [offer.asset for offer in command.offers] == ["BTC", "ETH"], "XYZ has no price"
        state = await venue.state(alice)
        assert state is not None
        assert state.balances["USDT"].um == -120_000 * USDT
        await plan.advance(clock, HOUR_MS)
        assert len(await scheduled(venue)) == 1

    play(scene, store=address, assets={"XYZ": 8}, prices={"BTC": "60000", "ETH": "3000"})


def test_an_exchange_takes_the_prices_and_rates_of_its_moment() -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        await enrolled(venue, "alice", Deposit("BTC", 10**8), Deposit("ETH", 30 * 10**8), um(-150_010 * USDT))
        plan = Schedule(venue)
        await plan.look()
        await venue.market.set(Figure.INDEX, "ETH", "2000")
        await venue.market.set(Figure.COLLATERAL, "ETH", "0.99")
        await plan.advance(clock, TEN_MINUTES_MS)
        ((_, _, command),) = await scheduled(venue)
        assert isinstance(command, AutoExchange)
        assert {offer.asset: (offer.price, offer.rate) for offer in command.offers} == {
            "BTC": (60_000 * 10**8, 95 * 10**6),
            "ETH": (2_000 * 10**8, 99 * 10**6),
        }

    play(scene)


def test_what_has_lain_is_collected(address: str) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        alice = await enrolled(venue, "alice", COLLECTS)
        bob = await enrolled(venue, "bob")
        plan = Schedule(venue)
        await plan.advance(clock, 7 * MINUTE_MS + 1)
        await do(venue, alice, um(5), um(7, "BTC"), um(9, "BNB"))
        await do(venue, bob, um(5))
        await plan.advance(clock, 6 * MINUTE_MS - 2)
        assert await scheduled(venue) == [], "at 12:12 it has lain for a millisecond less than five minutes"
        await plan.advance(clock, 1)
        assert await scheduled(venue) == [(NOON + 13 * MINUTE_MS, alice, COLLECTED)]
        await plan.advance(clock, 3 * HOUR_MS)
        assert len(await scheduled(venue)) == 1, "BNB in UM stays, and nothing else is left"

    play(scene, store=address)


def test_what_lies_is_collected_at_the_hour() -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        alice = await enrolled(venue, "alice", COLLECTS)
        plan = Schedule(venue)
        await plan.advance(clock, HOUR_MS - MINUTE_MS)
        await do(venue, alice, um(5))
        await plan.advance(clock, MINUTE_MS - 1)
        assert await scheduled(venue) == []
        await plan.advance(clock, 1)
        assert await scheduled(venue) == [(NOON + HOUR_MS, alice, COLLECTED)]

    play(scene, collection_after_minutes=120)


def test_a_switch_is_heeded_at_once() -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        alice = await enrolled(venue, "alice", COLLECTS, um(5))
        plan = Schedule(venue)
        await plan.advance(clock, MINUTE_MS)
        await do(venue, alice, SetAutoCollection(False, Trigger.BUTTON))
        await plan.advance(clock, HOUR_MS)
        assert await scheduled(venue) == []
        await do(venue, alice, COLLECTS)
        await plan.advance(clock, MINUTE_MS)
        assert await times(venue) == [NOON + HOUR_MS + 2 * MINUTE_MS]

    play(scene)


def test_collections_of_an_hour_are_within_their_quota() -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        alice = await enrolled(venue, "alice", COLLECTS)
        plan = Schedule(venue)
        for _ in range(28):
            await do(venue, alice, um(5))
            await plan.advance(clock, 2 * MINUTE_MS)
        minutes = [(time - NOON) // MINUTE_MS for time in await times(venue)]
        assert minutes == list(range(1, 25, 2)), "twelve; the next one has to wait for an hour after the first"
        await plan.advance(clock, 2 * HOUR_MS)
        assert [(time - NOON) // MINUTE_MS for time in (await times(venue))[12:]] == [61]

    play(scene, collection_after_minutes=1)


# However time passes -------------------------------------------------------------------------------------------------


async def crowd(venue: Venue) -> None:
    for number in range(1, 13):
        rich: list[Command] = [Deposit("BTC", 10**8), Deposit("USDT", 50 * USDT)] if number % 3 else []
        switches: list[Command] = [one for place, one in enumerate((REPAYS, COLLECTS)) if number >> place & 1]
        await enrolled(venue, f"account {number}", *switches, *rich, um(-(number**2) * 2_000 * USDT), um(5, "ETH"))


def test_a_week_is_the_same_however_it_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    week = 7 * DAY_MS
    odd = [DAY_MS + 1, 1, MINUTE_MS - 3, 0, 100 * HOUR_MS + 77, 599_999]
    journals = []
    kinds: list[type[Command]] = []

    async def pass_in(steps: Sequence[int]) -> None:
        ids = count(1)
        monkeypatch.setattr(venue_module, "new_account_id", lambda _: AccountId(next(ids).to_bytes(16, "big")))
        clock = FrozenClock(NOON + 12_345)
        async with opened(clock, prices={"BTC": "60000"}) as venue:
            await crowd(venue)
            plan = Schedule(venue)
            for step in steps:
                await plan.advance(clock, step)
            assert clock.now() == NOON + 12_345 + week
            kinds.extend(type(command) for _, _, command in await scheduled(venue))
            journals.append([(one.sequence, one.record.identity) for one in await venue.tail(0, 100_000)])
            assert (await venue.verify()).findings == []

    for steps in ([week], [DAY_MS] * 7, [*odd, week - sum(odd)]):
        asyncio.run(pass_in(steps))
    assert journals[0] == journals[1] == journals[2]
    assert len(journals[0]) > 80
    assert {AutoCollection, RepayNegative, NegativeInterest, AutoExchange} <= set(kinds)


def test_a_clock_is_never_moved_back() -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        with pytest.raises(ValueError, match="never moved back"):
            await Schedule(venue).advance(clock, -1)

    play(scene)


def test_what_was_missed_is_made_up_for(lasting: str) -> None:
    """Every day's interest; one repayment, one collection."""
    clock = FrozenClock(NOON)

    async def before() -> None:
        async with opened(clock, lasting) as venue:
            await enrolled(venue, "alice", REPAYS, COLLECTS, um(-10_101 * USDT), Deposit("USDT", USDT))
            await Schedule(venue).look()
            await do(venue, (await account_of(venue)), um(5, "ETH"))

    async def account_of(venue: Venue) -> AccountId:
        account = await venue.account("alice")
        assert isinstance(account, Account)
        return account.id

    async def after() -> None:
        clock.advance(3 * DAY_MS)
        async with opened(clock, lasting) as venue:
            await Schedule(venue).look()
            done = await scheduled(venue)
            assert {time for time, _, _ in done} == {NOON + 3 * DAY_MS}
            assert [type(command) for _, _, command in done] == [AutoCollection, RepayNegative, *[NegativeInterest] * 3]
            assert [one.day for _, _, one in done if isinstance(one, NegativeInterest)] == [DAY, DAY + 1, DAY + 2]
            clock.advance(LEASE_MS)
            await Schedule(venue).look()
            assert await scheduled(venue) == done
            assert (await venue.verify()).findings == []

    asyncio.run(before())
    asyncio.run(after())


def test_a_clock_that_was_set_back_does_nothing_twice() -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        await enrolled(venue, "alice", BEYOND)
        await venue.keep(KIND, "done", str(NOON + 1_000 * DAY_MS))
        plan = Schedule(venue)
        await plan.advance(clock, DAY_MS)
        assert await times(venue) == [NIGHT + DAY_MS]

    play(scene)


# Whoever does it -----------------------------------------------------------------------------------------------------


def test_two_processes_do_it_once(lasting: str) -> None:
    async def run() -> None:
        clock = FrozenClock(NOON)
        async with opened(clock, lasting) as one, opened(clock, lasting) as two:
            for number in range(5):
                await enrolled(one, f"account {number}", BEYOND, COLLECTS, um(5, "ETH"))
            await until(lambda: two.newest == one.newest)
            plans = [Schedule(one), Schedule(two)]
            for _ in range(4):
                await asyncio.gather(*(plan.look() for plan in plans))
                clock.advance(6 * HOUR_MS)
            note = await one.kept(KIND, "lease")
            await check_once(one, 5)
            assert note is None, "six hours later it has ended"

    asyncio.run(run())


def test_it_does_not_rest_on_the_lease(lasting: str) -> None:
    async def run() -> None:
        clock = FrozenClock(NOON)
        async with opened(clock, lasting) as one, opened(clock, lasting) as two:
            for number in range(5):
                await enrolled(one, f"account {number}", BEYOND, COLLECTS, um(5, "ETH"))
            await until(lambda: two.newest == one.newest)
            plans = [Schedule(one), Schedule(two)]
            for plan in plans:
                await plan._work()
            clock.advance(DAY_MS)
            await asyncio.gather(*(plan._work() for plan in plans))
            await check_once(two, 5)

    asyncio.run(run())


async def check_once(venue: Venue, accounts: int) -> None:
    done = await scheduled(venue)
    for kind in (AutoCollection, NegativeInterest):
        assert len([one for _, _, one in done if isinstance(one, kind)]) == accounts
        assert len({account for _, account, one in done if isinstance(one, kind)}) == accounts
    assert (await venue.verify()).findings == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_one_that_dies_in_the_middle_is_taken_over(lasting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        clock = FrozenClock(NOON)
        stuck = asyncio.Event()

        async with opened(clock, lasting, queue=20) as one, opened(clock, lasting) as two:
            for number in range(6):
                await enrolled(one, f"account {number}", BEYOND, COLLECTS, um(5, "ETH"))
            await until(lambda: two.newest == one.newest)
            dying, heir = Schedule(one), Schedule(two)
            await dying.look()
            clock.advance(DAY_MS)
            submit_all, calls = one.submit_all, count(1)

            def submit_some(asked: Sequence[Asked]) -> asyncio.Future[list[Answer]]:
                if next(calls) > 5:  # three parts of two collected, and two of three charged
                    stuck.set()
                    return asyncio.get_running_loop().create_future()
                return submit_all(asked)

            monkeypatch.setattr(one, "submit_all", submit_some)
            death = asyncio.create_task(dying.look())
            await stuck.wait()
            death.cancel()
            await asyncio.wait([death])
            charged = len([one for _, _, one in await scheduled(two) if isinstance(one, NegativeInterest)])
            assert 0 < charged < 6
            await heir.look()
            assert len(await scheduled(two)) == 6 + charged, "the lease is not over"
            clock.advance(LEASE_MS)
            await until(lambda: two.newest == one.newest)
            await heir.look()
            await check_once(two, 6)

    asyncio.run(run())


def test_one_that_ends_leaves_it_to_the_next(file: str) -> None:
    class NearlyAMinute(RealClock):
        """Always a moment before the next minute when it is asked how long to wait."""

        def now(self) -> int:
            return NOON - 20

    async def run() -> None:
        venue = await Venue.open(Settings(store=file), NearlyAMinute())
        try:
            async with schedule.running(venue):
                while await venue.kept(KIND, "done") is None:
                    await asyncio.sleep(0.01)
                assert await venue.kept(KIND, "lease") is not None
            assert await venue.kept(KIND, "lease") is None
        finally:
            await venue.close()

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize(("clock", "settings"), [(RealClock(), {"schedule": False}), (FrozenClock(), {})])
def test_it_does_not_run_by_itself(clock: Any, settings: dict[str, Any]) -> None:
    async def run() -> None:
        async with opened(clock, **settings) as venue:
            tasks = len(asyncio.all_tasks())
            async with schedule.running(venue):
                assert len(asyncio.all_tasks()) == tasks

    asyncio.run(run())


# What is in its way --------------------------------------------------------------------------------------------------


def overheard(monkeypatch: pytest.MonkeyPatch, venue: Venue, verb: str) -> list[list[Any]]:
    """What a verb of the venue is called with from now on."""
    heard: list[list[Any]] = []
    told = getattr(venue, verb)

    def tell(some: Sequence[Any]) -> Any:
        heard.append(list(some))
        return told(some)

    monkeypatch.setattr(venue, verb, tell)
    return heard


def test_accounts_are_read_and_asked_for_a_few_at_a_time(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "PAGE", 3)
    monkeypatch.setattr(schedule, "STRETCH", 4)
    monkeypatch.setattr(schedule, "PAUSE_S", 0)

    async def scene(venue: Venue, clock: FrozenClock) -> None:
        read = overheard(monkeypatch, venue, "sound_states")
        ids = [await enrolled(venue, f"account {number}", BEYOND) for number in range(10)]
        asked = overheard(monkeypatch, venue, "submit_all")
        plan = Schedule(venue)
        await plan.advance(clock, HOUR_MS)
        for account in ids:
            await do(venue, account, um(-5))
        await plan.advance(clock, DAY_MS)
        assert len({account for _, account, _ in await scheduled(venue)}) == len(await scheduled(venue)) == 10
        assert max(map(len, read)) == 3
        assert sum(map(len, asked[10:])) == 10
        assert max(map(len, asked)) == 2, "a tenth of the queue"

    play(scene, store=address, queue=20)


def test_it_looks_at_no_account_without_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        read = overheard(monkeypatch, venue, "sound_states")
        quiet = await enrolled(venue, "quiet", Deposit("USDT", 5))
        plan = Schedule(venue)
        await plan.advance(clock, MINUTE_MS)
        assert read == [[quiet]]
        await venue.submit(quiet, AutoCollection(Trigger.API))
        await plan.advance(clock, DAY_MS)
        assert read == [[quiet]], "a collection makes nothing due"
        await do(venue, quiet, um(-5))
        await plan.advance(clock, MINUTE_MS)
        assert read == [[quiet]] * 2

    play(scene)


@pytest.mark.parametrize("refusal", [errors.QUEUE_FULL, errors.STORE_UNAVAILABLE, errors.OUTCOME_UNKNOWN])
def test_what_was_not_done_is_done_later(
    refusal: errors.Refusal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        ids = sorted([await enrolled(venue, f"account {number}", BEYOND) for number in range(3)])
        plan = Schedule(venue)
        await plan.advance(clock, NIGHT + DAY_MS - NOON - 1)
        submit_all = venue.submit_all

        async def submit_one(asked: Sequence[Asked]) -> list[Answer]:
            return [*await submit_all(asked[:1]), *[refusal() for _ in asked[1:]]]

        monkeypatch.setattr(venue, "submit_all", submit_one)
        await plan.advance(clock, 1 + 2 * TEN_MINUTES_MS)
        assert [account for _, account, _ in await scheduled(venue)] == ids[:1]
        monkeypatch.setattr(venue, "submit_all", submit_all)
        await plan.advance(clock, TEN_MINUTES_MS)
        assert [account for _, account, _ in await scheduled(venue)] == ids
        assert (await times(venue))[1:] == [NIGHT + DAY_MS + 3 * TEN_MINUTES_MS] * 2
        told = [line for line in caplog.messages if "by schedule" in line]
        assert len(told) == 1
        assert refusal().name in told[0]

    with caplog.at_level(logging.ERROR):
        play(scene)


def test_a_store_that_is_away_is_told_once_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        await enrolled(venue, "alice", COLLECTS, um(5))
        plan = Schedule(venue)
        kept = venue.kept

        async def away(kind: str, name: str) -> Any:
            raise StoreFailed("it is away")

        monkeypatch.setattr(venue, "kept", away)
        for _ in range(3):
            clock.advance(MINUTE_MS)
            await plan.look()
        monkeypatch.setattr(venue, "kept", kept)
        for _ in range(3):
            clock.advance(MINUTE_MS)
            await plan.look()
        assert await times(venue) == [NOON + 5 * MINUTE_MS]
        assert [line for line in caplog.messages if "by schedule" in line] == [
            "what is due by schedule waits: it is away"
        ]

    with caplog.at_level(logging.ERROR):
        play(scene)


def test_a_damaged_account_is_left_out(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for after in ("FOLD_EVERY", "FOLD_AT_ONCE"):
        monkeypatch.setattr(states, after, 1)

    async def before(venue: Venue, clock: FrozenClock) -> None:
        for number in range(7):
            await enrolled(venue, f"account {number}", BEYOND)

    async def run() -> None:
        clock = FrozenClock(NOON)
        async with opened(clock, file) as venue:
            await Schedule(venue).advance(clock, DAY_MS)
            assert len(await scheduled(venue)) == 6

    play(before, store=file)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("UPDATE holding SET state = state || ' ' WHERE head = 4")
    asyncio.run(run())


@pytest.mark.parametrize("name", ["negative_threshold", "negative_rate", "negative_maximum"])
@pytest.mark.parametrize("amounts", [{"NOSUCH": "1"}, {"USDT": "-1"}, {"USDT": "much"}])
def test_amounts_that_are_none_are_refused(name: str, amounts: dict[str, str]) -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        with pytest.raises(Refused, match=name) as refused:
            Schedule(venue)
        assert refused.value.rejection.name == "BAD_SETTING"

    settings: dict[str, Any] = {name: amounts}
    play(scene, **settings)


def test_terms_are_the_settings() -> None:
    async def scene(venue: Venue, clock: FrozenClock) -> None:
        alice = await enrolled(venue, "alice", um(-500), um(-500, "BTC"), um(-500, "ETH"))
        await Schedule(venue).advance(clock, DAY_MS)
        state = await venue.state(alice)
        assert state is not None
        assert {asset: balance.um for asset, balance in state.balances.items()} == {
            "USDT": -500,
            "BTC": -510,
            "ETH": -504,
        }

    settings: dict[str, Any] = {
        "negative_rate": {"USDT": "0", "BTC": "0.02", "ETH": "0.01"},
        "negative_threshold": {"USDT": "0", "ETH": "0.000001"},
    }
    play(scene, **settings)
