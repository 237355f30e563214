"""The writer in a process of its own: the same answers, whole frames, and nothing guessed when it dies."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from catchment import batcher, errors, writer
from catchment.batcher import ProcessBatcher
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import AssetCollection, AutoCollection, Command, Deposit, Trigger, Withdrawal
from catchment.ledger.journal import Stored
from catchment.ledger.quota import Rules
from catchment.limits import MAX_FRAME_BYTES
from catchment.store.base import Account
from catchment.store.memory import MemoryStore
from catchment.store.sqlite import SqliteStore
from catchment.venue import Venue
from catchment.wallet import Wallet
from catchment.writer import Answer, Asked, Frames, frame_answers, frame_asked, read_answers, read_asked, write_batch
from tests.store.books import enrol

FIVE = Deposit("USDT", 5)
Scene = Callable[[Venue, AccountId], Coroutine[None, None, None]]


def run(
    file: Path,
    scene: Scene,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    **settings: object,
) -> None:
    """Play a scene on a venue that writes in a process of its own; the process must be gone afterwards."""

    async def play() -> None:
        chosen = Settings(store=f"sqlite:///{file}", **settings)  # type: ignore[arg-type]
        venue = await Venue.open(chosen, apart=True)
        try:
            account = await venue.account("alice")
            if isinstance(account, Rejection):
                account = await venue.add_account("alice")
            assert isinstance(account, Account)
            await asyncio.wait_for(scene(venue, account.id), 60)
            pid = await pid_of(venue)
        finally:
            await asyncio.wait_for(venue.close(), 60)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not file.with_name(file.name + "-wal").exists(), "whoever closes last folds the log in"

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(play())


async def pid_of(venue: Venue) -> int:
    """The process that writes now, once there is one."""
    assert isinstance(venue._batcher, ProcessBatcher)
    while venue._batcher._wire is None or venue._batcher._process is None:
        await asyncio.sleep(0.01)
    return venue._batcher._process.pid


def names(answers: list[Answer]) -> list[str]:
    return [answer.name if isinstance(answer, Rejection) else "done" for answer in answers]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "venue.db"


# Frames --------------------------------------------------------------------------------------------------------------


def test_commands_and_answers_cross_as_they_are() -> None:
    store = MemoryStore()
    alice, bob = enrol(store, 1, 2)
    asked: list[Asked] = [
        (alice, FIVE),
        (bob, Withdrawal("币安", 1)),
        (alice, AutoCollection(Trigger.API)),
        (alice, AssetCollection("USDT", Trigger.BUTTON, 2**63 - 1, Wallet.CM)),
        *[(bob, AutoCollection(Trigger.BUTTON))] * 11,
    ]
    (frame,) = Frames().feed(frame_asked(asked))
    assert read_asked(frame) == asked
    answers = write_batch(store, asked, 7, Rules())
    (frame,) = Frames().feed(frame_answers(answers))
    crossed = read_answers(frame)
    assert crossed == answers
    assert [answer.record.body for answer in crossed if isinstance(answer, Stored)] == [
        answer.record.body for answer in answers if isinstance(answer, Stored)
    ]
    last = crossed[-1]
    assert isinstance(last, Rejection)
    assert last.refusal is errors.COLLECTION_QUOTA
    assert (last.sentence, last.retry_after) == (answers[-1].sentence, answers[-1].retry_after)  # type: ignore[union-attr]


def test_frames_are_whole_however_they_are_cut() -> None:
    sent = [[(AccountId(bytes(16)), Deposit("USDT", number))] * number for number in range(1, 30)]
    stream = b"".join(frame_asked(asked) for asked in sent)
    for seed in range(20):
        chance, frames, came, at = random.Random(seed), Frames(), [], 0
        while at < len(stream):
            size = chance.choice([1, 3, 50, 5_000])
            came += [read_asked(frame) for frame in frames.feed(stream[at : at + size])]
            at += size
        assert came == sent


def test_a_frame_beyond_the_limit_is_not_waited_for() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(Frames().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big")))


# The process ---------------------------------------------------------------------------------------------------------


def test_answers_are_the_journal(file: Path) -> None:
    async def scene(venue: Venue, alice: AccountId) -> None:
        commands: list[Command] = [FIVE, Withdrawal("USDT", 6), FIVE, AutoCollection(Trigger.API), Withdrawal("BTC", 1)]
        answers = await venue.submit_all([(alice, command) for command in commands] * 200)
        assert names(answers[:5]) == ["done", "BALANCE_NOT_SUFFICIENT", "done", "done", "BALANCE_NOT_SUFFICIENT"]
        assert names(answers[5:10]) == ["done", "done", "done", "done", "BALANCE_NOT_SUFFICIENT"]
        stored = [answer for answer in answers if isinstance(answer, Stored)]
        assert await venue.tail(0, 10_000) == stored
        assert venue.newest == len(stored)
        assert (await venue.verify()).findings == []

    run(file, scene, quota_api_per_hour=10_000)


def test_settings_reach_the_process(file: Path) -> None:
    async def scene(venue: Venue, alice: AccountId) -> None:
        answers = await venue.submit_all([(alice, AutoCollection(Trigger.API))] * 5)
        assert names(answers) == ["done"] * 3 + ["COLLECTION_QUOTA"] * 2

    run(file, scene, quota_api_per_hour=3)


def test_a_command_that_cannot_be_written_down_leaves_its_neighbours_alone(file: Path) -> None:
    async def scene(venue: Venue, alice: AccountId) -> None:
        hostile: list[Command] = [FIVE, Deposit("\ud800", 1), Deposit("USDT", 2**100), Deposit("USDT", 2**63), FIVE]
        answers = await venue.submit_all([(alice, command) for command in hostile])
        assert names(answers) == ["done", "INVALID_PARAMETER", "INVALID_PARAMETER", "BALANCE_OVERFLOW", "done"]
        assert len(await venue.tail(0, 10)) == 2

    run(file, scene)


def test_a_full_queue_refuses_while_the_process_is_busy(file: Path) -> None:
    async def scene(venue: Venue, alice: AccountId) -> None:
        pid = await pid_of(venue)
        os.kill(pid, signal.SIGSTOP)
        waiting = [venue.submit(alice, FIVE) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert names([await venue.submit(alice, FIVE)]) == ["QUEUE_FULL"], "at once"
        os.kill(pid, signal.SIGCONT)
        assert names(list(await asyncio.gather(*waiting))) == ["done"] * 3
        assert names([await venue.submit(alice, FIVE)]) == ["done"]

    run(file, scene, queue=3)


def test_what_came_in_while_it_wrote_is_one_batch(file: Path) -> None:
    """Sent in many turns of the loop, stamped with one time: that of their common commit."""

    async def scene(venue: Venue, alice: AccountId) -> None:
        pid = await pid_of(venue)
        os.kill(pid, signal.SIGSTOP)
        waiting = []
        for _ in range(20):
            waiting.append(venue.submit(alice, FIVE))
            await asyncio.sleep(0.002)
        os.kill(pid, signal.SIGCONT)
        answers = await asyncio.gather(*waiting)
        assert len({answer.record.timestamp for answer in answers if isinstance(answer, Stored)}) == 1

    run(file, scene)


def test_a_killed_process_leaves_nothing_guessed(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was under way is told to be unknown; the next process goes on; the journal is true, again and again."""

    async def scene(venue: Venue, alice: AccountId) -> None:
        chance = random.Random(1)
        unknown = 0
        told = []
        for _ in range(5):
            pid = await pid_of(venue)
            waiting = [venue.submit(alice, FIVE) for _ in range(2_000)]
            await asyncio.sleep(chance.uniform(0, 0.05))
            os.kill(pid, signal.SIGKILL)
            answers = list(await asyncio.gather(*waiting))
            assert set(names(answers)) <= {"done", "OUTCOME_UNKNOWN"}
            unknown += names(answers).count("OUTCOME_UNKNOWN")
            told += [answer for answer in answers if isinstance(answer, Stored)]
            while pid == await pid_of(venue):
                await asyncio.sleep(0.01)
            (after,) = await venue.submit_all([(alice, FIVE)])
            assert isinstance(after, Stored), "the next process goes on"
            told.append(after)
        journal = await venue.tail(0, 100_000)
        kept = {stored.sequence: stored for stored in journal}
        assert all(kept[answer.sequence] == answer for answer in told), "what was answered is there as answered"
        assert len(told) <= len(journal) <= len(told) + unknown
        assert (await venue.verify()).findings == []

    run(file, scene)
    assert "the writer's process ended" in caplog.text


def test_a_process_that_cannot_be_started_refuses_and_is_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "STARTED_AGAIN_AFTER_S", 0.05)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def scene(venue: Venue, alice: AccountId) -> None:
        assert names([await venue.submit(alice, FIVE)]) == ["STORE_UNAVAILABLE"], "certain: it was never handed over"
        monkeypatch.undo()
        answers: list[Answer] = []
        while names(answers[-1:]) != ["done"]:
            answers.append(await venue.submit(alice, FIVE))
        assert set(names(answers[:-1])) <= {"STORE_UNAVAILABLE"}
        assert len(await venue.tail(0, 10)) == 1

    run(file, scene)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_nothing_is_handed_over_on_a_socket_that_has_ended(
    file: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """In the moment before the process is known to be gone: certain, and no error of ours."""
    failed: list[object] = []

    async def scene(venue: Venue, alice: AccountId) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        await pid_of(venue)
        assert isinstance(venue._batcher, ProcessBatcher)
        assert venue._batcher._wire is not None
        venue._batcher._wire.close()
        assert names([await venue.submit(alice, FIVE)]) == ["STORE_UNAVAILABLE"]
        assert await venue.tail(0, 10) == []

    run(file, scene, new_loop)
    assert failed == []


@pytest.mark.parametrize(
    ("store", "chosen", "clock"),
    [("memory:", "process", None), ("file", "thread", None), ("file", "process", FrozenClock())],
)
def test_who_writes_on_a_thread(file: Path, store: str, chosen: str, clock: FrozenClock | None) -> None:
    """A store that only this process has, a setting, and a clock that only this process has."""

    async def play() -> None:
        address = f"sqlite:///{file}" if store == "file" else store
        venue = await Venue.open(Settings(store=address, writer=chosen), clock, apart=True)  # type: ignore[arg-type]
        try:
            assert not isinstance(venue._batcher, ProcessBatcher)
        finally:
            await venue.close()

    asyncio.run(play())


def test_signals_of_a_terminal_do_not_end_the_process(file: Path) -> None:
    """They reach both: the server acts on them, and ends the process by ending its socket."""

    async def scene(venue: Venue, alice: AccountId) -> None:
        pid = await pid_of(venue)
        await venue.submit(alice, FIVE)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert names([await venue.submit(alice, FIVE)]) == ["done"]
        assert await pid_of(venue) == pid

    run(file, scene)


def test_nothing_but_a_command_that_cannot_be_written_down(file: Path) -> None:
    """Answered, and nobody waits for it when the venue closes."""

    async def scene(venue: Venue, alice: AccountId) -> None:
        await pid_of(venue)
        assert names([await venue.submit(alice, Deposit("\ud800", 1))]) == ["INVALID_PARAMETER"]

    run(file, scene)


def test_a_process_whose_server_is_gone_commits_what_it_was_given_and_ends(file: Path) -> None:
    store = SqliteStore(file)
    (alice,) = enrol(store, 1)
    mine, its = socket.socketpair()
    with its:
        process = subprocess.Popen([sys.executable, "-m", writer.__name__], stdin=its.fileno())
    with mine:
        mine.sendall(writer.frame_order(writer.Order(f"sqlite:///{file}", Rules(), 1_000)))
        mine.sendall(frame_asked([(alice, FIVE)] * 3))
    assert process.wait(20) == 0
    assert [stored.record.command for stored in store.tail(0, 10)] == [FIVE] * 3
    store.close()


def test_a_server_on_postgresql_writes_in_a_process_that_keeps_its_password(postgres: str) -> None:
    """How a process was started, everybody on the machine can read."""

    async def play() -> None:
        address = postgres.replace("postgres:@", "postgres:s3cret@")
        venue = await Venue.open(Settings(store=address, writer="process"), apart=True)
        try:
            made = await venue.add_account("alice")
            assert isinstance(made, Account)
            await pid_of(venue)
            answers = await venue.submit_all([(made.id, FIVE)] * 100)
            assert names(answers) == ["done"] * 100
            assert await venue.tail(0, 1_000) == answers
            assert isinstance(venue._batcher, ProcessBatcher)
            assert venue._batcher._process is not None
            assert "s3cret" not in str(venue._batcher._process.args)
            assert "s3cret" not in repr(venue._batcher._order) + repr(venue.settings) + venue.store_address
        finally:
            await venue.close()

    asyncio.run(play())
