"""The queue before the only writer: commands wait in a bounded queue, are handed over in batches, and are answered.

One transaction and one fsync serve a whole batch; a single command is a batch of one. Every command that was taken is
answered: with its record, with a refusal (nothing happened), or with OUTCOME_UNKNOWN (it may have happened).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final, cast

from catchment import errors, writer
from catchment.clock import Clock
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.journal import Stored
from catchment.ledger.quota import Rules
from catchment.store.base import LoopWriter, Store
from catchment.writer import Answer, Asked, Order

logger = logging.getLogger(__name__)

STOPS_WITHIN_S: Final = 20
"""How long the writer's process may take to finish once it was told to, in seconds."""
STARTED_AGAIN_AFTER_S: Final = 0.5
BATCHES_AT_ONCE: Final = 2
"""How many transactions one server has under way on an engine that is waited for."""
WORTH_ANOTHER: Final = 16
"""Commands for which another transaction is begun while one is under way; fewer wait, and are committed together."""

Landed = Callable[[int, Sequence[Answer]], None]

MakeExecutor = Callable[[int, str], Executor]
"""Makes what runs blocking calls: takes a number of workers and their name."""


class Portion:
    """Commands that were submitted together and have one future for all of their answers: one for each, gathered, was
    most of what a collection of many cost beside its writing. A seat is answered like a future of its own."""

    def __init__(self, future: asyncio.Future[list[Answer]], size: int) -> None:
        self.future = future
        self.answers: list[Answer] = [errors.UNKNOWN()] * size
        self.left = size


class Seat:
    """One command's place in a portion."""

    __slots__ = ("_place", "_portion")

    def __init__(self, portion: Portion, place: int) -> None:
        self._portion = portion
        self._place = place

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._portion.future.done()

    def set_result(self, answer: Answer) -> None:
        portion = self._portion
        portion.answers[self._place] = answer
        portion.left -= 1
        if not portion.left:
            portion.future.set_result(portion.answers)


Asker = asyncio.Future[Answer] | Seat
Waiting = tuple[AccountId, Command, Asker]


class Batcher:
    """The queue. Made, used and closed on one event loop; what writes is told by the three classes below."""

    def __init__(self, *, queue: int, landed: Landed) -> None:
        """`queue` is a number of commands; `landed` hears, on the loop, of a batch's newest sequence and answers."""
        self._queue_limit = queue
        self._landed = landed
        self._waiting: list[Waiting] = []
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, account: AccountId, command: Command) -> asyncio.Future[Answer]:
        """Take a command; the future's result is its answer. Refuses when the queue is full or the venue closes."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._closing:
            future.set_result(errors.CLOSING())
        elif self._held() >= self._queue_limit:
            future.set_result(errors.QUEUE_FULL())
        else:
            self._waiting.append((account, command, future))
            self._begin()
        return future

    def submit_all(self, asked: Sequence[Asked]) -> asyncio.Future[list[Answer]]:
        """Take many commands, as many as there is room for; the future's result is the answers, in the order asked."""
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        portion = Portion(future, len(asked))
        seats: list[Waiting] = [(*one, Seat(portion, place)) for place, one in enumerate(asked)]
        room = 0 if self._closing else max(0, self._queue_limit - self._held())
        self._waiting += seats[:room]
        if self._waiting:
            self._begin()
        refused = errors.CLOSING() if self._closing else errors.QUEUE_FULL()
        for _, _, seat in seats[room:]:
            seat.set_result(refused)
        if not asked:
            future.set_result([])
        return future

    def _begin(self) -> None:
        """Hand over in the next turn of the loop, if nothing is under way."""
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._hand_over)

    async def close(self) -> None:
        """Take nothing more, answer everyone who waits, stop what writes."""
        self._closing = True
        await self._idle.wait()

    def _held(self) -> int:
        """Commands that count against the limit of the queue."""
        return len(self._waiting)

    def _hand_over(self) -> None:
        """Give what waits to what writes."""
        raise NotImplementedError

    def _answer(self, askers: Sequence[Asker], answers: Sequence[Answer]) -> None:
        newest = 0
        for asker, answer in zip(askers, answers, strict=True):
            if type(answer) is Stored:
                newest = answer.sequence
            if not asker.done():
                asker.set_result(answer)
        if newest:
            self._landed(newest, answers)

    def _rest(self) -> None:
        """Nothing waits and nothing is under way."""
        self._busy = False
        self._idle.set()


class ThreadBatcher(Batcher):
    """Writes on a thread of this process: for stores that live in it, for a command line, for a frozen clock."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rules: Rules,
        *,
        queue: int,
        batch: int,
        landed: Landed,
        executor: MakeExecutor = ThreadPoolExecutor,
    ) -> None:
        """`batch` is the number of commands committed together at most."""
        super().__init__(queue=queue, landed=landed)
        self._batch_limit = batch
        self._store = store
        self._clock = clock
        self._rules = rules
        self._writer = executor(1, "catchment-writer")

    async def close(self) -> None:
        await super().close()
        self._writer.shutdown()

    def _hand_over(self) -> None:
        """Everything that came in since the last batch, up to the limit, is the next one."""
        batch = self._waiting[: self._batch_limit]
        del self._waiting[: self._batch_limit]
        asked = [(account, command) for account, command, _ in batch]
        askers = [asker for _, _, asker in batch]
        written = self._writer.submit(lambda: writer.write(self._store, asked, self._clock, self._rules))
        written.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._written, askers, done.result()))

    def _written(self, askers: Sequence[Asker], answers: Sequence[Answer]) -> None:
        self._answer(askers, answers)
        if self._waiting:
            self._hand_over()
        else:
            self._rest()


class LoopBatcher(Batcher):
    """Writes on the event loop itself, to an engine that is waited for: while the server works on one batch, the next
    one is decided. Commands of one account stay in their order: none is handed over while another is under way."""

    def __init__(
        self,
        store: LoopWriter,
        clock: Clock,
        rules: Rules,
        *,
        queue: int,
        batch: int,
        landed: Landed,
    ) -> None:
        """`batch` is the number of commands committed together at most."""
        super().__init__(queue=queue, landed=landed)
        self._batch_limit = batch
        self._store = store
        self._clock = clock
        self._rules = rules
        self._accounts: set[AccountId] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await super().close()
        await self._store.close()

    def _hand_over(self) -> None:
        """All that may go, if nothing is under way; else another batch only if it is worth its round trips."""
        self._busy = False
        while len(self._under_way) < BATCHES_AT_ONCE:
            batch, rest = self._next_batch()
            if not batch or (self._under_way and len(batch) < WORTH_ANOTHER):
                return
            self._waiting = rest
            self._accounts.update(account for account, _, _ in batch)
            writing = self._loop.create_task(self._write(batch))
            self._under_way.add(writing)
            writing.add_done_callback(self._written)

    def _next_batch(self) -> tuple[list[Waiting], list[Waiting]]:
        """Who can go now, and who waits on: for one of its own account's commands, or for there is no room."""
        if not self._accounts:
            return self._waiting[: self._batch_limit], self._waiting[self._batch_limit :]
        batch: list[Waiting] = []
        rest: list[Waiting] = []
        for waiting in self._waiting:
            room = len(batch) < self._batch_limit and waiting[0] not in self._accounts
            (batch if room else rest).append(waiting)
        return batch, rest

    async def _write(self, batch: Sequence[Waiting]) -> None:
        asked = [(account, command) for account, command, _ in batch]
        answers = await writer.write_on_loop(self._store, asked, self._clock, self._rules)
        self._accounts.difference_update(account for account, _ in asked)
        self._answer([asker for _, _, asker in batch], answers)

    def _written(self, writing: asyncio.Task[None]) -> None:
        self._under_way.discard(writing)
        self._hand_over()
        if not self._under_way and not self._waiting:
            self._rest()


class ProcessBatcher(Batcher):
    """Writes in a process of its own, so that the event loop shares neither the interpreter nor a disk's slowness with
    the writer, and the two work at the same time. What comes in during one turn of the loop is sent at once; the
    process commits together what came in while it wrote."""

    def __init__(self, order: Order, *, queue: int, landed: Landed) -> None:
        super().__init__(queue=queue, landed=landed)
        self._order = order
        self._under_way: deque[Asker] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: asyncio.WriteTransport | None = None
        self._running = self._loop.create_task(self._keep_running())

    async def close(self) -> None:
        await super().close()
        self._running.cancel()
        if self._wire is not None:
            self._wire.close()
        await self._end_process()

    async def _keep_running(self) -> None:
        """Start the process, and another one whenever it ends. The next one reads what the last one committed."""
        while True:
            try:
                ended = await self._start()
            except OSError as error:
                logger.error("the writer's process cannot be started: %s", error)
            else:
                if self._waiting:
                    self._hand_over()
                await ended
                self._wire = None
                logger.error("the writer's process ended; %d commands were under way", len(self._under_way))
            self._give_up()
            await self._end_process()
            await asyncio.sleep(STARTED_AGAIN_AFTER_S)

    async def _start(self) -> asyncio.Future[None]:
        """Start the process; the future is done when its socket ends."""
        mine, its = socket.socketpair()
        mine.setblocking(False)
        wire = _Wire(self._came, self._loop.create_future())
        try:
            with its:
                command = [sys.executable, "-m", writer.__name__]
                self._process = subprocess.Popen(command, stdin=its.fileno())  # noqa: S603 - ourselves, once more
            transport, _ = await self._loop.create_connection(lambda: wire, sock=mine)
            transport.write(writer.frame_order(self._order))
        except BaseException:  # or closed meanwhile: a process that was started must see its socket end
            mine.close()
            raise
        self._wire = cast(asyncio.WriteTransport, transport)
        return wire.ended

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await self._loop.run_in_executor(None, _end, process)

    def _held(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def _hand_over(self) -> None:
        if self._wire is None or self._wire.is_closing():
            return  # a process that is being started takes over what waits; of one that ended, it is given up at once
        batch, self._waiting = self._waiting, []
        self._busy = False
        try:
            frame = writer.frame_asked([(account, command) for account, command, _ in batch])
        except (UnicodeEncodeError, OverflowError):
            batch = self._crossable(batch)
            if not batch and not self._held():
                self._rest()
            frame = writer.frame_asked([(account, command) for account, command, _ in batch])
        self._under_way += [asker for _, _, asker in batch]
        self._wire.write(frame)

    def _crossable(self, batch: Sequence[Waiting]) -> list[Waiting]:
        """Without the commands that cannot be written down: half a surrogate pair, a number beyond 64 bits."""
        crossable = []
        for waiting in batch:
            try:
                writer.frame_asked([waiting[:2]])
            except (UnicodeEncodeError, OverflowError):
                self._answer([waiting[2]], [errors.INVALID_PARAMETER("command")])
            else:
                crossable.append(waiting)
        return crossable

    def _came(self, answers: Sequence[Answer]) -> None:
        self._answer([self._under_way.popleft() for _ in answers], answers)
        if not self._held():
            self._rest()

    def _give_up(self) -> None:
        """What was under way may have been committed; what still waits was not."""
        unknown = list(self._under_way)
        refused = [asker for _, _, asker in self._waiting]
        self._under_way.clear()
        self._waiting.clear()
        self._answer(unknown, [errors.OUTCOME_UNKNOWN()] * len(unknown))
        self._answer(refused, [errors.STORE_UNAVAILABLE()] * len(refused))
        self._rest()


class _Wire(asyncio.Protocol):
    def __init__(self, came: Callable[[Sequence[Answer]], None], ended: asyncio.Future[None]) -> None:
        self._frames = writer.Frames()
        self._came = came
        self.ended = ended

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self._came(writer.read_answers(frame))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process whose socket was closed: it commits what it has, and goes. One that hangs is killed."""
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
