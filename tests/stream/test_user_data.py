"""Subscribers and cursors: in order, nothing twice, nothing skipped, whoever wrote it; and how a subscription ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from catchment import listen_keys
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.errors import Refused, Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Adjustment, AutoCollection, Deposit, Reason, SetPosition, Trigger, Withdrawal
from catchment.ledger.journal import Stored
from catchment.limits import MAX_CONNECTION_MS
from catchment.market import Figure
from catchment.store.base import StoreFailed
from catchment.stream import user_data as module
from catchment.stream.user_data import FAILED, GOING_AWAY, NORMAL, Connection, UserData
from catchment.venue import Venue
from catchment.wallet import Wallet
from tests.papi.desk import NOW
from tests.stream.ear import Ear, done, listening

ONE = Deposit("USDT", 1)
PROFIT = Adjustment(Wallet.UM, "USDT", 5, Reason.REALIZED_PNL)
COLLECT = AutoCollection(Trigger.API)


class Room:
    """A venue with two accounts, its clock, and the subscribers of its process."""

    def __init__(self, venue: Venue, clock: FrozenClock) -> None:
        self.venue = venue
        self.clock = clock
        self.user_data = UserData(venue)
        self.accounts: dict[str, AccountId] = {}

    async def listening(self, name: str = "alice", **how: Any) -> tuple[Ear, Connection]:
        return await listening(self.user_data, self.venue, self.accounts[name], **how)

    async def done(self, *commands: Any, name: str = "alice") -> int:
        return await done(self.venue, self.accounts[name], *commands)

    async def settled(self) -> None:
        """Two looks have passed: what was to be noticed was noticed."""
        looked = asyncio.Event()
        left = 3

        def count(answers: Any) -> None:
            nonlocal left
            left -= not answers
            if left <= 0:
                looked.set()

        self.venue.listeners.append(count)
        await asyncio.wait_for(looked.wait(), 20)
        self.venue.listeners.remove(count)


Scene = Callable[[Room], Awaitable[None]]


def play(scene: Scene, store: str = "memory:") -> None:
    async def work() -> None:
        clock = FrozenClock(NOW)
        venue = await Venue.open(Settings(store=store), clock)
        room = Room(venue, clock)
        try:
            for name in ("alice", "bob"):
                made = await venue.add_account(name)
                room.accounts[name] = made.id  # type: ignore[union-attr]
            await asyncio.wait_for(scene(room), 60)
        finally:
            await room.user_data.close()
            await venue.close()

    asyncio.run(work())


def numbers(ear: Ear) -> list[int]:
    """Of the records that were told, in the order they were."""
    return [event["U"] for event in ear.events if event["e"] == "outboundAccountPosition"]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which readings of records and states the venue is asked for."""
    asked: list[str] = []
    for name in ("states", "history", "tail"):
        original = getattr(Venue, name)

        def counted(self: Venue, *args: Any, name: str = name, original: Any = original, **kwargs: Any) -> Any:
            asked.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Venue, name, counted)
    return asked


def test_records_of_this_process_are_told_in_order_and_never_read(reads: list[str]) -> None:
    async def scene(room: Room) -> None:
        await room.done(ONE, ONE)
        ear, _ = await room.listening()
        reads.clear()
        await asyncio.gather(*(room.venue.submit(room.accounts["alice"], ONE) for _ in range(500)))
        await ear.until_told(502)
        await room.settled()
        assert numbers(ear) == list(range(3, 503))
        assert [event["B"][0]["f"] for event in ear.events if "B" in event][-1] == "0.00000502"
        assert reads == []

    play(scene)


def test_only_who_listens_hears_and_only_of_its_account() -> None:
    async def scene(room: Room) -> None:
        alice, _ = await room.listening()
        bob, _ = await room.listening("bob", wrapped=True)
        await room.done(ONE)
        await room.done(ONE, ONE, name="bob")
        await alice.until_told(1)
        await bob.until(lambda: len(bob.events) == 4)
        assert numbers(alice) == [1]
        key = await listen_keys.begin(room.venue, room.accounts["bob"])
        assert {event["stream"] for event in bob.events} == {key}
        assert [event["data"]["e"] for event in bob.events] == ["balanceUpdate", "outboundAccountPosition"] * 2

    play(scene)


def test_without_a_subscriber_nothing_is_heard_or_read(reads: list[str]) -> None:
    async def scene(room: Room) -> None:
        await room.done(ONE)
        assert room.venue.listeners == []
        ear, connection = await room.listening()
        assert len(room.venue.listeners) == 1
        room.user_data.leave(connection)
        assert room.venue.listeners == []
        reads.clear()
        await room.done(ONE)
        assert (ear.events, reads) == ([], [])
        assert room.user_data._followed == {}

    play(scene)


def test_several_hear_the_same_and_one_that_leaves_hears_no_more() -> None:
    async def scene(room: Room) -> None:
        first, connection = await room.listening()
        second, _ = await room.listening()
        await second.until_told(await room.done(ONE))
        assert first.events == second.events
        room.user_data.leave(connection)
        await second.until_told(await room.done(ONE))
        assert (numbers(first), numbers(second)) == ([1], [1, 2])

    play(scene)


def test_unsubscribed_is_silent_and_subscribed_again_goes_on_from_now() -> None:
    async def scene(room: Room) -> None:
        ear, connection = await room.listening()
        other, _ = await room.listening()
        await ear.until_told(await room.done(ONE))
        (name,) = connection.names
        room.user_data.unsubscribe(connection, name)
        await other.until_told(await room.done(ONE))
        await room.user_data.subscribe(connection, name)
        await ear.until_told(await room.done(ONE))
        assert (numbers(ear), numbers(other)) == ([1, 3], [1, 2, 3])

    play(scene)


def test_a_name_that_is_no_key_is_silent() -> None:
    async def scene(room: Room) -> None:
        ear = Ear()
        connection = Connection(ear, False, NOW)
        assert room.user_data.join(connection)
        await room.user_data.subscribe(connection, "btcusdt@trade")
        await room.done(ONE)
        await room.settled()
        assert (ear.events, ear.ended, list(connection.names)) == ([], None, ["btcusdt@trade"])

    play(scene)


def test_what_is_committed_while_somebody_subscribes_is_told_or_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(room: Room) -> None:
        original = Venue.state
        for late in (False, True):

            async def state(self: Venue, account: AccountId, late: bool = late) -> Any:
                found = None if late else await original(self, account)
                await done(room.venue, account, ONE)
                return await original(self, account) if late else found

            with monkeypatch.context() as patch:
                patch.setattr(Venue, "state", state)
                ear, connection = await room.listening()
            number = await room.done(ONE)
            await ear.until_told(number)
            assert numbers(ear) == [number] if late else [number - 1, number]
            room.user_data.leave(connection)

    play(scene)


def test_more_than_may_wait_is_read_from_the_journal(monkeypatch: pytest.MonkeyPatch, reads: list[str]) -> None:
    monkeypatch.setattr(module, "MAX_UNTOLD_RECORDS", 3)

    async def scene(room: Room) -> None:
        ear, _ = await room.listening()
        await room.venue.submit_all([(room.accounts["alice"], ONE)] * 50)
        await ear.until_told(50)
        assert numbers(ear) == list(range(1, 51))
        assert "history" in reads

    play(scene)


# Another process ------------------------------------------------------------------------------------------------------


async def both(room: Room, store: str, scene: Callable[[Room, Venue], Awaitable[None]]) -> None:
    other = await Venue.open(Settings(store=store), room.clock)
    try:
        await scene(room, other)
    finally:
        await other.close()


@pytest.mark.parametrize("subscribers", [1, 2])
def test_what_another_process_wrote_is_told_in_order(
    tmp_path: Path, subscribers: int, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record is looked for in the journal; many, when few accounts are followed, by the accounts' states."""
    monkeypatch.setattr(module, "FEW", 0)
    store = f"sqlite:///{tmp_path / 'venue.db'}"

    async def scene(room: Room, other: Venue) -> None:
        alice = room.accounts["alice"]
        ears = [(await room.listening(name))[0] for name in ("alice", "bob")[:subscribers]]
        reads.clear()
        await ears[0].until_told(await done(other, alice, ONE))
        assert set(reads) == {"tail"}
        reads.clear()
        answers = await other.submit_all([(alice, ONE)] * 5 + [(room.accounts["bob"], ONE)])
        assert len(answers) == 6
        await ears[0].until_told(6)
        assert set(reads) == {"states", "history"}
        await room.done(ONE)
        await done(other, alice, ONE)
        await ears[0].until_told(await room.done(ONE))
        assert numbers(ears[0]) == list(range(1, 10))
        if subscribers > 1:
            await ears[1].until_told(1)
            assert numbers(ears[1]) == [1]

    play(lambda room: both(room, store, scene), store)


def test_two_processes_that_write_to_one_account_at_the_same_time(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"

    async def scene(room: Room, other: Venue) -> None:
        alice = room.accounts["alice"]
        ear, _ = await room.listening()

        async def write(venue: Venue) -> None:
            for _ in range(60):
                await done(venue, alice, ONE)

        await asyncio.gather(write(room.venue), write(other))
        await ear.until_told(120)
        assert numbers(ear) == list(range(1, 121))

    play(lambda room: both(room, store, scene), store)


def test_a_journal_that_cannot_be_read_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"

    monkeypatch.setattr(module, "FEW", 0)

    async def scene(room: Room, other: Venue) -> None:
        ear, _ = await room.listening()
        failed = asyncio.Event()

        async def fail(*_: Any, **__: Any) -> Any:
            failed.set()
            raise StoreFailed("no disk")

        for name, count in (("tail", 1), ("states", 5), ("history", 5)):
            failed.clear()
            with monkeypatch.context() as patch:
                patch.setattr(Venue, name, fail)
                last = await other.submit_all([(room.accounts["alice"], ONE)] * count)
                await asyncio.wait_for(failed.wait(), 20)
            assert isinstance(last[-1], Stored)
            await ear.until_told(last[-1].record.number)
        assert numbers(ear) == list(range(1, 12))

    with caplog.at_level(logging.ERROR):
        play(lambda room: both(room, store, scene), store)
    assert any("no disk" in message for message in caplog.messages)


def test_a_damaged_journal_keeps_nothing_from_the_accounts_it_is_not_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreFailed("a record is missing")

    async def scene(room: Room, other: Venue) -> None:
        ear, _ = await room.listening()
        monkeypatch.setattr(Venue, "tail", fail)
        for _ in range(3):
            await ear.until_told(await done(other, room.accounts["alice"], ONE))
        assert numbers(ear) == [1, 2, 3]

    with caplog.at_level(logging.ERROR):
        play(lambda room: both(room, store, scene), store)
    assert "a record is missing" in caplog.text


def test_an_account_that_stays_unreadable_ends_who_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"
    monkeypatch.setattr(module, "FEW", 0)
    monkeypatch.setattr(module, "TRIES", 3)

    async def scene(room: Room, other: Venue) -> None:
        async def fail(_: Venue, account: AccountId, **how: Any) -> Any:
            if account == room.accounts["alice"]:
                raise StoreFailed("no disk")
            return await original(room.venue, account, **how)

        original = Venue.history
        alice, _ = await room.listening()
        bob, _ = await room.listening("bob")
        monkeypatch.setattr(Venue, "history", fail)
        await other.submit_all([(account, ONE) for account in room.accounts.values()] * 5)
        await alice.until(lambda: alice.ended is not None)
        assert (alice.ended, alice.events) == ((FAILED, "The account cannot be read"), [])
        await bob.until_told(5)
        assert bob.ended is None

    play(lambda room: both(room, store, scene), store)


def test_an_account_that_cannot_be_read_refuses_its_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(room: Room) -> None:
        async def fail(*_: Any) -> Any:
            raise StoreFailed("no disk")

        with monkeypatch.context() as patch:
            patch.setattr(Venue, "state", fail)
            with pytest.raises(Refused):
                await room.listening()
        ear, _ = await room.listening()
        await ear.until_told(await room.done(ONE))

    play(scene)


def test_a_record_that_cannot_be_told_ends_who_should_hear_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of the truth is worse than none: who listens reads its balances and begins anew."""

    async def scene(room: Room) -> None:
        alice, _ = await room.listening()
        bob, _ = await room.listening("bob")
        monkeypatch.delitem(room.venue.assets, "USDT")
        await room.done(ONE)
        await alice.until(lambda: alice.ended is not None)
        assert alice.ended is not None
        assert (alice.ended[0], alice.events) == (FAILED, [])
        await bob.until_told(await room.done(Deposit("BTC", 1), name="bob"))

    play(scene)
    assert "cannot be told" in caplog.text


# Time -----------------------------------------------------------------------------------------------------------------


# Risk ----------------------------------------------------------------------------------------------------------------

LONG = SetPosition(Wallet.UM, "BTCUSDT", 5 * 10**8, 60_000 * 10**8)


def levels(ear: Ear) -> list[tuple[str, str, str]]:
    """Of each `riskLevelChange`: level, uniMMR, equity."""
    return [(event["s"], event["u"], event["eq"]) for event in ear.events if event["e"] == "riskLevelChange"]


async def marked(venue: Venue, price: str) -> None:
    assert not isinstance(await venue.market.set(Figure.MARK, "BTCUSDT", price), Rejection)


# 5 BTC at 60000 are 300000 USD, which need 300000 x 0.5 % - 50 = 1450.
def test_another_level_of_risk_is_told_once_and_after_its_cause() -> None:
    async def scene(room: Room) -> None:
        await room.done(Deposit("USDT", 10_000 * 10**8), LONG)
        ear, _ = await room.listening()
        await room.done(Withdrawal("USDT", 8_000 * 10**8))  # 2000 / 1450 = 1.379...
        await room.done(ONE, Withdrawal("USDT", 400 * 10**8 + 1), ONE)  # 1600 / 1450 = 1.103...
        await room.done(Deposit("USDT", 8_000 * 10**8), Withdrawal("USDT", 9_600 * 10**8))
        await ear.until(lambda: len(levels(ear)) == 3)
        await room.settled()
        assert levels(ear) == [
            ("MARGIN_CALL", "1.37931034", "2000.0"),
            ("REDUCE_ONLY", "1.10344827", "1600.0"),
            ("FORCE_LIQUIDATION", "0.0", "0.00000001"),
        ], "free again is not told, but what comes after it is"
        kinds = [event["e"] for event in ear.events]
        assert kinds[kinds.index("riskLevelChange") - 1] == "outboundAccountPosition"

    play(scene)


def test_a_position_is_told_before_the_level_it_brings() -> None:
    async def scene(room: Room) -> None:
        await room.done(Deposit("USDT", 1_600 * 10**8))
        ear, _ = await room.listening()
        await room.done(LONG)
        await ear.until(lambda: bool(levels(ear)))
        assert [event["e"] for event in ear.events] == ["ACCOUNT_UPDATE", "riskLevelChange"]

    play(scene)


def test_a_level_that_was_there_before_is_not_told() -> None:
    async def scene(room: Room) -> None:
        await marked(room.venue, "60000")
        await room.done(Deposit("USDT", 1_600 * 10**8), LONG)
        ear, _ = await room.listening()
        await room.done(ONE)
        await ear.until_told(3)
        await room.settled()
        assert levels(ear) == []

    play(scene)


def test_a_price_that_another_process_sets_is_told_to_whom_it_concerns(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"

    async def scene(room: Room) -> None:
        other = await Venue.open(Settings(store=store), room.clock)
        try:
            await room.done(Deposit("USDT", 10_000 * 10**8), LONG)
            await room.done(Deposit("USDT", 10_000 * 10**8), name="bob")
            alice, _ = await room.listening()
            bob, _ = await room.listening("bob")
            await marked(other, "58300")
            # 10000 - 5 x 1700 = 1500; 291500 x 0.5 % - 50 = 1407.5
            await alice.until(lambda: bool(levels(alice)))
            assert levels(alice) == [("REDUCE_ONLY", "1.06571936", "1500.0")]
            await marked(other, "58299")
            await room.settled()
            assert len(levels(alice)) == 1, "the level is the same"
            await marked(room.venue, "57000")  # -5000
            await alice.until(lambda: len(levels(alice)) == 2)
            assert levels(alice)[-1][::2] == ("FORCE_LIQUIDATION", "-5000.0")
            assert levels(bob) == []
        finally:
            await other.close()

    play(scene, store)


def test_a_key_that_expires_is_told_and_the_connection_stays() -> None:
    async def scene(room: Room) -> None:
        ear, _ = await room.listening()
        bob, _ = await room.listening("bob")
        room.clock.advance(listen_keys.LIFE_MS - 1)
        await listen_keys.prolong(room.venue, room.accounts["bob"])
        await room.settled()
        assert ear.events == []
        room.clock.advance(1)
        await ear.until(lambda: len(ear.events) == 1)
        assert ear.events == [{"e": "listenKeyExpired", "E": NOW + listen_keys.LIFE_MS}]
        await room.done(ONE)
        await bob.until_told(await room.done(ONE, name="bob"))
        await room.settled()
        assert (len(ear.events), ear.ended) == (1, None), "nothing more comes under it"
        assert numbers(bob) == [1], "one that was prolonged goes on"

    play(scene)


@pytest.mark.parametrize("wrapped", [False, True])
def test_delete_closes_its_connections_wherever_it_came_in(tmp_path: Path, wrapped: bool) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"

    async def scene(room: Room, other: Venue) -> None:
        for venue in (room.venue, other):
            alice, _ = await room.listening(wrapped=wrapped)
            bob, _ = await room.listening("bob")
            assert await listen_keys.end(venue, room.accounts["alice"]) is None
            await alice.until(lambda: alice.ended is not None)  # noqa: B023
            assert alice.ended is not None
            assert alice.ended[0] == NORMAL
            assert bob.ended is None

    play(lambda room: both(room, store, scene), store)


def test_a_connection_with_another_stream_outlives_a_key() -> None:
    async def scene(room: Room) -> None:
        ear, connection = await room.listening(wrapped=True)
        await room.user_data.subscribe(connection, await listen_keys.begin(room.venue, room.accounts["bob"]))
        await listen_keys.end(room.venue, room.accounts["alice"])
        await room.settled()
        assert ear.ended is None
        await room.done(ONE)
        await room.done(ONE, name="bob")
        await ear.until(lambda: len(ear.events) == 2)
        assert len(connection.names) == 1
        await listen_keys.end(room.venue, room.accounts["bob"])
        await ear.until(lambda: ear.ended is not None)

    play(scene)


def test_a_new_key_takes_over_at_once() -> None:
    async def scene(room: Room) -> None:
        old, _ = await room.listening()
        await listen_keys.end(room.venue, room.accounts["alice"])
        new, _ = await room.listening()
        await new.until_told(await room.done(PROFIT, COLLECT))
        assert old.ended is not None
        assert old.events == []

    play(scene)


def test_a_new_key_after_one_that_expired() -> None:
    """Before anybody looked: the old connection is told nevertheless."""

    async def scene(room: Room) -> None:
        old, _ = await room.listening()
        room.clock.advance(listen_keys.LIFE_MS)
        new, _ = await room.listening()
        await new.until_told(await room.done(ONE))
        assert [event["e"] for event in old.events] == ["listenKeyExpired"]
        assert old.ended is None

    play(scene)


def test_a_connection_lives_a_day() -> None:
    async def scene(room: Room) -> None:
        first, _ = await room.listening()
        room.clock.advance(1_000)
        second, _ = await room.listening()
        room.clock.advance(MAX_CONNECTION_MS - 1_000)
        await first.until(lambda: first.ended is not None)
        assert first.ended is not None
        assert first.ended[0] == GOING_AWAY
        assert second.ended is None
        room.clock.advance(1_000)
        await second.until(lambda: second.ended is not None)

    play(scene)


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SUBSCRIBERS", 1)

    async def scene(room: Room) -> None:
        _, connection = await room.listening()
        assert not room.user_data.join(Connection(Ear(), False, NOW))
        room.user_data.leave(connection)
        assert room.user_data.join(Connection(Ear(), False, NOW))

    play(scene)
