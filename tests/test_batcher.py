"""The only writer: who waits is answered, a full queue refuses, one fsync serves many, one failure spares the next."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from catchment import writer
from catchment.batcher import BATCHES_AT_ONCE, WORTH_ANOTHER, Batcher, LoopBatcher, ThreadBatcher
from catchment.clock import FrozenClock
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId, QuotaUse
from catchment.ledger.commands import AutoCollection, Command, Deposit, Trigger, Withdrawal
from catchment.ledger.journal import Stored
from catchment.ledger.quota import Rules
from catchment.store.base import StoreBusy, StoreDamaged, StoreFailed, StoreUnknown
from catchment.store.memory import MemoryStore
from catchment.store.sqlite import SqliteStore
from catchment.writer import MOST_TRIES, Answer, write_batch
from tests.store.books import enrol

FIVE = Deposit("USDT", 5)


class Gate(MemoryStore):
    """A store whose transactions wait while it is shut, and fail once each time it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions = 0
        self.failures: list[Exception] = []
        self.opened = threading.Event()
        self.opened.set()
        self.entered = threading.Event()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self.transactions += 1
        self.entered.set()
        assert self.opened.wait(10)
        with super().transaction() as transaction:
            yield transaction
            if self.failures:
                raise self.failures.pop(0)

    async def shut_in(self) -> None:
        """Until a transaction has begun and waits at the gate."""
        await asyncio.get_running_loop().run_in_executor(None, self.entered.wait, 10)


class AwaitedGate:
    """The same gate for whoever awaits; behind it one goes after the other."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.turn = asyncio.Lock()
        self.closed = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        self.gate.transactions += 1
        self.gate.entered.set()
        while not self.gate.opened.is_set():
            await asyncio.sleep(0.001)
        async with self.turn:
            with MemoryStore.transaction(self.gate) as transaction:
                yield AwaitedTransaction(transaction)
                if self.gate.failures:
                    raise self.gate.failures.pop(0)

    async def count_uses(self, account: AccountId, uses: Collection[str], since: int) -> QuotaUse:
        return self.gate.count_uses(account, uses, since)

    async def close(self) -> None:
        self.closed = True


class AwaitedTransaction:
    def __init__(self, transaction: Any) -> None:
        self.transaction = transaction

    async def load(self, accounts: Collection[AccountId]) -> Any:
        await asyncio.sleep(0)
        return self.transaction.load(accounts)

    async def append(self, *args: Any) -> Any:
        await asyncio.sleep(0)
        return self.transaction.append(*args)


class Room:
    """A batcher over a gate, with two accounts."""

    def __init__(self, queue: int, batch: int, on_loop: bool = False) -> None:
        self.store = Gate()
        self.alice, self.bob = enrol(self.store, 1, 2)
        self.clock = FrozenClock()
        self.landed: list[int] = []
        self.batcher: Batcher
        if on_loop:
            self.batcher = LoopBatcher(
                AwaitedGate(self.store), self.clock, Rules(), queue=queue, batch=batch, landed=self._landed
            )
        else:
            self.batcher = ThreadBatcher(self.store, self.clock, Rules(), queue=queue, batch=batch, landed=self._landed)

    def _landed(self, newest: int, answers: Sequence[Answer]) -> None:
        assert newest == max(answer.sequence for answer in answers if isinstance(answer, Stored))
        self.landed.append(newest)

    async def ask(self, *commands: Command, account: AccountId | None = None) -> list[Answer]:
        return await asyncio.gather(*(self.batcher.submit(account or self.alice, command) for command in commands))

    def balance(self, account: AccountId | None = None) -> int:
        account = account or self.alice
        balances = self.store.load([account])[account].balances
        return balances["USDT"].margin_free if "USDT" in balances else 0


def run(scene: Callable[[Room], Coroutine[None, None, None]], queue: int = 100, batch: int = 10) -> None:
    """Play a scene in a room with a writer's thread, and in one whose writer awaits; a writer that hangs fails the test
    instead of hanging it."""

    async def play(on_loop: bool) -> None:
        room = Room(queue, batch, on_loop)
        try:
            await asyncio.wait_for(scene(room), 20)
        finally:
            room.store.opened.set()
            await asyncio.wait_for(room.batcher.close(), 20)

    for on_loop in (False, True):
        asyncio.run(play(on_loop))


def names(answers: list[Answer]) -> list[str]:
    """`done`, or the refusal's name."""
    return [answer.name if isinstance(answer, Rejection) else "done" for answer in answers]


def test_a_single_command_is_a_batch_of_one() -> None:
    async def scene(room: Room) -> None:
        (answer,) = await room.ask(FIVE)
        assert isinstance(answer, Stored)
        assert (answer.sequence, answer.record.account, answer.record.command) == (1, room.alice, FIVE)
        assert answer.record.timestamp == room.clock.now()
        assert (room.balance(), room.store.transactions, room.landed) == (5, 1, [1])

    run(scene)


def test_answers_come_to_who_asked_and_in_order() -> None:
    async def scene(room: Room) -> None:
        asked = [(room.alice, Deposit("USDT", 1)), (room.bob, Deposit("USDT", 2)), (room.alice, Deposit("USDT", 3))]
        answers = await asyncio.gather(*(room.batcher.submit(*one) for one in asked))
        stored = [answer for answer in answers if isinstance(answer, Stored)]
        assert [(answer.record.account, answer.record.command) for answer in stored] == asked
        assert [answer.sequence for answer in stored] == [1, 2, 3]
        assert room.landed == [3], "the newest of a batch wakes the tail once"

    run(scene)


def test_commands_that_come_together_are_committed_together() -> None:
    """While one batch is written the next one gathers, so transactions are far fewer than commands."""

    async def scene(room: Room) -> None:
        room.store.opened.clear()
        first = asyncio.ensure_future(room.ask(FIVE))
        await room.store.shut_in()
        rest = asyncio.ensure_future(room.ask(*[FIVE] * 1_000))
        await asyncio.sleep(0)
        room.store.opened.set()
        assert names(await first + await rest) == ["done"] * 1_001
        assert room.store.transactions == 1 + 1_000 // 250
        assert room.balance() == 5_005

    run(scene, queue=1_000, batch=250)


def test_a_full_queue_refuses_and_never_grows() -> None:
    async def scene(room: Room) -> None:
        room.store.opened.clear()
        first = asyncio.ensure_future(room.ask(FIVE))
        await room.store.shut_in()
        waiting = asyncio.ensure_future(room.ask(*[FIVE] * 3))
        await asyncio.sleep(0)
        assert names(await room.ask(FIVE, FIVE)) == ["QUEUE_FULL", "QUEUE_FULL"], "at once, while the writer is busy"
        room.store.opened.set()
        assert names(await first + await waiting) == ["done"] * 4
        assert room.balance() == 20, "what was refused did not happen"
        assert names(await room.ask(FIVE)) == ["done"], "and there is room again"

    run(scene, queue=3, batch=2)


def test_closing_answers_everyone_and_takes_nothing_more() -> None:
    async def scene(room: Room) -> None:
        room.store.opened.clear()
        first = asyncio.ensure_future(room.ask(FIVE))
        await room.store.shut_in()
        waiting = asyncio.ensure_future(room.ask(*[FIVE] * 7))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(room.batcher.close())
        await asyncio.sleep(0)
        assert names(await room.ask(FIVE)) == ["SERVICE_SHUTTING_DOWN"]
        assert not closing.done()
        room.store.opened.set()
        await closing
        assert (first.done(), waiting.done()) == (True, True), "closed only when everyone has an answer"
        assert names(first.result() + waiting.result()) == ["done"] * 8
        assert names(await room.ask(FIVE)) == ["SERVICE_SHUTTING_DOWN"]
        assert room.balance() == 40

    run(scene, batch=2)


def test_closing_twice_is_harmless() -> None:
    async def scene(room: Room) -> None:
        await asyncio.gather(room.batcher.close(), room.batcher.close())
        assert names(await room.ask(FIVE)) == ["SERVICE_SHUTTING_DOWN"]

    run(scene)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (StoreFailed("disk full"), "STORE_UNAVAILABLE"),
        (StoreUnknown("disk gone"), "OUTCOME_UNKNOWN"),
        (RuntimeError("a mistake of ours"), "UNKNOWN"),
    ],
)
def test_one_failed_batch_is_told_to_all_in_it_and_the_next_works(
    error: Exception, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(room: Room) -> None:
        room.store.failures = [error]
        assert names(await room.ask(FIVE, FIVE, FIVE)) == [name] * 3
        assert (room.balance(), room.landed) == (0, [])
        assert names(await room.ask(FIVE)) == ["done"]
        assert (room.balance(), room.landed) == (5, [1])

    with caplog.at_level(logging.ERROR):
        run(scene)
    assert str(error) in caplog.text, "the operator is told why"


def test_the_failure_of_one_batch_does_not_reach_those_who_wait_behind_it() -> None:
    async def scene(room: Room) -> None:
        room.store.failures = [StoreFailed("once")]
        assert names(await room.ask(*[FIVE] * 4)) == ["STORE_UNAVAILABLE"] * 2 + ["done"] * 2
        assert room.balance() == 10

    run(scene, batch=2)


def test_a_refused_command_leaves_its_neighbours_alone() -> None:
    async def scene(room: Room) -> None:
        answers = await room.ask(FIVE, Withdrawal("USDT", 6), Withdrawal("USDT", 5), Withdrawal("USDT", 1))
        assert names(answers) == ["done", "BALANCE_NOT_SUFFICIENT", "done", "BALANCE_NOT_SUFFICIENT"]
        assert room.balance() == 0

    run(scene)


def test_a_hostile_command_leaves_its_neighbours_alone() -> None:
    async def scene(room: Room) -> None:
        answers = await room.ask(FIVE, Deposit("\ud800", 1), Deposit("USDT", 2**100), Deposit("USDT", -1), FIVE)
        assert names(answers) == ["done", "ILLEGAL_CHARS", "BALANCE_OVERFLOW", "AMOUNT_MUST_BE_POSITIVE", "done"]
        assert room.balance() == 10

    run(scene)


def test_an_unknown_account_is_refused() -> None:
    async def scene(room: Room) -> None:
        nobody = AccountId(bytes(16))
        answers = await asyncio.gather(
            room.batcher.submit(nobody, AutoCollection(Trigger.API)), room.batcher.submit(room.bob, FIVE)
        )
        assert names(list(answers)) == ["BAD_ACCOUNT", "done"]

    run(scene)


def test_a_batch_of_refusals_writes_nothing() -> None:
    async def scene(room: Room) -> None:
        before = room.store.load([room.alice])
        assert names(await room.ask(*[Withdrawal("USDT", 1)] * 5)) == ["BALANCE_NOT_SUFFICIENT"] * 5
        assert (room.store.tail(0, 10), room.store.load([room.alice]), room.landed) == ([], before, [])

    run(scene)


def test_one_account_many_times_in_a_batch_is_one_after_the_other() -> None:
    """100 units can leave once, whatever the batch: every command sees the one before it."""

    async def scene(room: Room) -> None:
        await room.ask(Deposit("USDT", 100))
        answers = await room.ask(*[Withdrawal("USDT", 30)] * 9)
        assert names(answers) == ["done"] * 3 + ["BALANCE_NOT_SUFFICIENT"] * 6
        assert room.balance() == 10
        numbers = [stored.record.number for stored in room.store.tail(0, 10)]
        versions = [stored.record.transfers[0].version for stored in room.store.tail(0, 10)]
        assert numbers == versions == [1, 2, 3, 4]
        assert room.store.transactions == 2

    run(scene)


def test_one_who_stops_waiting_does_not_break_the_batch() -> None:
    """The command was taken and happens; only its answer has nowhere to go."""

    async def scene(room: Room) -> None:
        room.store.opened.clear()
        first = room.batcher.submit(room.alice, FIVE)
        await room.store.shut_in()
        gone, stays = room.batcher.submit(room.alice, FIVE), room.batcher.submit(room.alice, FIVE)
        first.cancel()
        gone.cancel()
        room.store.opened.set()
        assert names([await stays]) == ["done"]
        assert room.balance() == 15
        assert names(await room.ask(FIVE)) == ["done"]

    run(scene)


def test_a_waiter_that_timed_out_does_not_break_the_batch() -> None:
    async def scene(room: Room) -> None:
        room.store.opened.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(room.batcher.submit(room.alice, FIVE), 0.01)
        room.store.opened.set()
        assert names(await room.ask(FIVE)) == ["done"]
        assert room.balance() == 10

    run(scene)


def test_a_batch_is_stamped_when_it_is_written() -> None:
    """Not when the command came: times in the journal follow the order of commits."""

    async def scene(room: Room) -> None:
        room.store.opened.clear()
        first = asyncio.ensure_future(room.ask(FIVE))
        await room.store.shut_in()
        second = asyncio.ensure_future(room.ask(FIVE))
        await asyncio.sleep(0)
        before = room.clock.now()
        room.clock.advance(1_000)
        room.store.opened.set()
        stamps = [answer.record.timestamp for answer in await first + await second if isinstance(answer, Stored)]
        assert stamps == [before, before + 1_000]

    run(scene)


def test_quotas_hold_within_one_batch_and_over_many() -> None:
    async def scene(room: Room) -> None:
        answers = await room.ask(*[AutoCollection(Trigger.BUTTON)] * 25)
        assert names(answers) == ["done"] * 10 + ["COLLECTION_QUOTA"] * 15
        assert names(await room.ask(AutoCollection(Trigger.BUTTON), account=room.bob)) == ["done"]

    run(scene, batch=4)


def test_a_failed_batch_uses_no_quota() -> None:
    async def scene(room: Room) -> None:
        room.store.failures = [StoreFailed("once")]
        await room.ask(*[AutoCollection(Trigger.BUTTON)] * 10)
        assert names(await room.ask(*[AutoCollection(Trigger.BUTTON)] * 11)) == ["done"] * 10 + ["COLLECTION_QUOTA"]

    run(scene, batch=11)


def test_a_damaged_state_is_refused_and_its_neighbours_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(tmp_path / "store.db")
    alice, bob, carol = enrol(store, 1, 2, 3)
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection, connection:
        connection.execute("UPDATE holding SET state = replace(state, 'true', 'false') WHERE account = ?", [bob])
    asked: list[tuple[AccountId, Command]] = [(carol, FIVE), (bob, FIVE), (alice, FIVE), (bob, FIVE), (carol, FIVE)]
    answers = names(list(writer.write(store, asked, FrozenClock(7), Rules())))
    assert answers == ["done", "STORE_UNAVAILABLE", "done", "STORE_UNAVAILABLE", "done"]
    assert f"account {bob.hex()} cannot be served" in caplog.text
    with pytest.raises(StoreDamaged):
        store.load([bob])
    store.close()


def test_write_batch_answers_each_command_in_order() -> None:
    store = MemoryStore()
    alice, bob = enrol(store, 1, 2)
    asked: list[tuple[AccountId, Command]] = [(bob, FIVE), (alice, Withdrawal("USDT", 1)), (bob, FIVE), (alice, FIVE)]
    answers = write_batch(store, asked, 7, Rules())
    assert names(answers) == ["done", "BALANCE_NOT_SUFFICIENT", "done", "done"]
    assert [answer.sequence for answer in answers if isinstance(answer, Stored)] == [1, 2, 3]
    assert write_batch(store, [], 7, Rules()) == []


def test_a_batch_that_another_writer_was_in_the_way_of_is_tried_again() -> None:
    async def scene(room: Room) -> None:
        room.store.failures = [StoreBusy("deadlock")] * (MOST_TRIES - 1)
        assert names(await room.ask(FIVE)) == ["done"]
        room.store.failures = [StoreBusy("deadlock")] * MOST_TRIES
        assert names(await room.ask(FIVE)) == ["STORE_UNAVAILABLE"]
        assert room.balance() == 5

    run(scene)


def test_a_portion_is_answered_in_order_as_far_as_there_is_room() -> None:
    async def scene(room: Room) -> None:
        room.store.opened.clear()
        first = room.batcher.submit_all([(room.alice, FIVE), (room.bob, Withdrawal("USDT", 1)), (room.alice, FIVE)])
        await room.store.shut_in()
        waiting = [room.batcher.submit(room.bob, FIVE), room.batcher.submit(room.bob, FIVE)]
        second = room.batcher.submit_all([(room.alice, FIVE)] * 3)
        room.store.opened.set()
        assert names(await first) == ["done", "BALANCE_NOT_SUFFICIENT", "done"]
        assert names(await second) == ["done", "done", "QUEUE_FULL"]
        assert names(await asyncio.gather(*waiting)) == ["done", "done"]
        assert (room.balance(), room.balance(room.bob)) == (20, 10)
        assert await room.batcher.submit_all([]) == []
        await room.batcher.close()
        assert names(await room.batcher.submit_all([(room.alice, FIVE)] * 2)) == ["SERVICE_SHUTTING_DOWN"] * 2

    run(scene, queue=4, batch=3)


def test_a_portion_nobody_waits_for_does_not_break_the_batch() -> None:
    async def scene(room: Room) -> None:
        room.store.opened.clear()
        given_up = room.batcher.submit_all([(room.alice, FIVE)] * 2)
        await room.store.shut_in()
        given_up.cancel()
        room.store.opened.set()
        assert names(await room.ask(FIVE)) == ["done"]
        assert room.balance() == 15

    run(scene)


# Several batches at once ---------------------------------------------------------------------------------------------


def on_loop(scene: Callable[[Room, list[AccountId]], Coroutine[None, None, None]], batch: int = 100) -> None:
    """Play a scene with many accounts and a writer that awaits."""

    async def play() -> None:
        room = Room(1_000, batch, on_loop=True)
        ids = enrol(room.store, *range(10, 110))
        try:
            await asyncio.wait_for(scene(room, ids), 20)
        finally:
            room.store.opened.set()
            await asyncio.wait_for(room.batcher.close(), 20)
        assert isinstance(room.batcher, LoopBatcher)
        assert isinstance(room.batcher._store, AwaitedGate)
        assert room.batcher._store.closed

    asyncio.run(play())


def test_another_batch_is_begun_when_it_is_worth_it() -> None:
    async def scene(room: Room, ids: list[AccountId]) -> None:
        room.store.opened.clear()
        first = room.batcher.submit(ids[0], FIVE)
        await asyncio.sleep(0.01)
        few = [room.batcher.submit(account, FIVE) for account in ids[1:WORTH_ANOTHER]]
        await asyncio.sleep(0.01)
        assert room.store.transactions == 1, "a few wait for the one that is under way"
        more = [room.batcher.submit(ids[WORTH_ANOTHER], FIVE)]
        await asyncio.sleep(0.01)
        assert room.store.transactions == 2
        more += [room.batcher.submit(account, FIVE) for account in ids[50:]]
        await asyncio.sleep(0.01)
        assert room.store.transactions == BATCHES_AT_ONCE
        room.store.opened.set()
        assert names(await asyncio.gather(first, *few, *more)) == ["done"] * (1 + WORTH_ANOTHER + 50)

    on_loop(scene)


def test_an_accounts_commands_stay_in_their_order() -> None:
    """A command waits for those of its account that are under way, and so do all that come after it."""

    async def scene(room: Room, ids: list[AccountId]) -> None:
        room.store.opened.clear()
        deposit = room.batcher.submit(ids[0], FIVE)
        await asyncio.sleep(0.01)
        withdrawals = [room.batcher.submit(ids[0], Withdrawal("USDT", units)) for units in (4, 2, 1)]
        others = [room.batcher.submit(account, FIVE) for account in ids[1:40]]
        await asyncio.sleep(0.01)
        assert room.store.transactions == 2, "the others do not wait for them"
        room.store.opened.set()
        assert names(await asyncio.gather(deposit, *withdrawals)) == ["done", "done", "BALANCE_NOT_SUFFICIENT", "done"]
        assert names(await asyncio.gather(*others)) == ["done"] * 39
        assert room.store.transactions == 3
        numbers = [stored.record.number for stored in room.store.tail(0, 1_000) if stored.record.account == ids[0]]
        assert numbers == [1, 2, 3]

    on_loop(scene)


def test_no_batch_is_larger_than_the_limit() -> None:
    async def scene(room: Room, ids: list[AccountId]) -> None:
        answers = await room.batcher.submit_all([(account, FIVE) for account in ids for _ in range(3)])
        assert names(answers) == ["done"] * 300
        assert room.store.transactions >= 300 / 20
        assert all(room.store.load(ids)[account].number == 3 for account in ids)

    on_loop(scene, batch=20)
