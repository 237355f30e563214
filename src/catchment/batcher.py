"""The only writer: commands wait in a bounded queue, are drawn in batches, decided and committed together.

One transaction and one fsync serve a whole batch; a single command is a batch of one. Every command that was taken is
answered: with its record, with a refusal (nothing happened), or with OUTCOME_UNKNOWN (it may have happened).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from catchment import errors
from catchment.clock import Clock
from catchment.errors import Rejection
from catchment.ledger import quota
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.commands import Command
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.store.base import Store, StoreBusy, StoreFailed, StoreUnknown

logger = logging.getLogger(__name__)

GATHERING_TURNS: Final = 6
"""Turns of the event loop before a batch is drawn. Callers that were just answered ask again within them; without
them two groups of callers take turns in half-full batches, and each batch pays for its own commit."""

QUICK_S: Final = 0.01
"""As long as batches usually take less, they are written on the event loop's own thread: handing one to the writer's
thread and back costs more than it spares. A slow disk, or a lock that somebody else holds, never stops the loop."""
USUAL_OVER: Final = 4
"""Over how many batches the usual time is taken."""

Asked = tuple[AccountId, Command]
Answer = Stored | Rejection
Waiting = tuple[AccountId, Command, "asyncio.Future[Answer]"]


class Batcher:
    """Queue and writer thread. Made, used and closed on one event loop."""

    def __init__(
        self, store: Store, clock: Clock, rules: Rules, *, queue: int, batch: int, landed: Callable[[int], None]
    ) -> None:
        """`queue` and `batch` are numbers of commands; `landed` is called on the loop with the newest sequence."""
        self._store = store
        self._clock = clock
        self._rules = rules
        self._queue_limit = queue
        self._batch_limit = batch
        self._landed = landed
        self._waiting: list[Waiting] = []
        self._writing = False
        self._writer = ThreadPoolExecutor(1, "catchment-writer")
        self._usual_s = QUICK_S
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, account: AccountId, command: Command) -> asyncio.Future[Answer]:
        """Take a command; the future's result is its answer. Refuses when the queue is full or the venue closes."""
        future = self._loop.create_future()
        if self._closing:
            future.set_result(errors.CLOSING())
        elif len(self._waiting) >= self._queue_limit:
            future.set_result(errors.QUEUE_FULL())
        else:
            self._waiting.append((account, command, future))
            if not self._writing:
                self._writing = True
                self._idle.clear()
                self._loop.call_soon(self._gather, GATHERING_TURNS)
        return future

    async def close(self) -> None:
        """Take nothing more, answer everyone who waits, stop the thread."""
        self._closing = True
        await self._idle.wait()
        self._writer.shutdown()

    def _gather(self, turns: int) -> None:
        """Let the loop read on for a few turns, then draw."""
        if turns and len(self._waiting) < self._batch_limit and not self._closing:
            self._loop.call_soon(self._gather, turns - 1)
        else:
            self._draw()

    def _draw(self) -> None:
        """Everything that came in since the last batch, up to the limit, is the next one."""
        batch = self._waiting[: self._batch_limit]
        del self._waiting[: self._batch_limit]
        if self._usual_s < QUICK_S:
            try:
                answers = self._write(batch, wait=False)
            except StoreBusy:
                pass
            else:
                self._answer(batch, answers)
                return
        written = self._writer.submit(self._write, batch, wait=True)
        written.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._answer, batch, done.result()))

    def _write(self, batch: Sequence[Waiting], *, wait: bool) -> Sequence[Answer]:
        """The answers, whatever happens, unless `StoreBusy` is raised because somebody else writes."""
        began = time.perf_counter()
        asked = [(account, command) for account, command, _ in batch]
        try:
            return write_batch(self._store, asked, self._clock.now(), self._rules, wait=wait)
        except StoreBusy:
            raise
        except StoreFailed as error:
            logger.error("a batch of %d was rolled back: %s", len(batch), error)
            return [errors.STORE_UNAVAILABLE()] * len(batch)
        except StoreUnknown as error:
            logger.error("a batch of %d may or may not have been committed: %s", len(batch), error)
            return [errors.OUTCOME_UNKNOWN()] * len(batch)
        except Exception:
            logger.exception("a batch of %d failed", len(batch))
            return [errors.UNKNOWN()] * len(batch)
        finally:
            self._usual_s += (time.perf_counter() - began - self._usual_s) / USUAL_OVER

    def _answer(self, batch: Sequence[Waiting], answers: Sequence[Answer]) -> None:
        newest = 0
        for (_, _, future), answer in zip(batch, answers, strict=True):
            if type(answer) is Stored:
                newest = answer.sequence
            if not future.done():
                future.set_result(answer)
        if newest:
            self._landed(newest)
        if self._waiting:
            self._loop.call_soon(self._gather, GATHERING_TURNS)
        else:
            self._writing = False
            self._idle.set()


def write_batch(store: Store, batch: Sequence[Asked], now: int, rules: Rules, *, wait: bool = True) -> list[Answer]:
    """Decide a batch and commit it in one transaction; `now` in milliseconds. An answer for each command, in order.

    A batch in which everything was refused writes nothing. Raises `StoreFailed` or `StoreUnknown` for all of it, and
    `StoreBusy` if it may not `wait` for somebody else's lock.
    """
    asked = Counter([account for account, _ in batch])
    with store.transaction(wait=wait) as transaction:
        states = transaction.load(asked)
        _refresh_quotas(store, states, batch, asked, now, rules)
        answers: list[Record | Rejection] = []
        records: list[Record] = []
        touched: dict[AccountId, AccountState] = {}
        for account, command in batch:
            state = states.get(account)
            if state is None:
                answers.append(errors.BAD_ACCOUNT())
                continue
            decided = decide(account, state, command, now, rules)
            if type(decided) is Record:
                apply(state, decided, rules)
                records.append(decided)
                touched[account] = state
            answers.append(decided)
        sequences = iter(transaction.append(records, touched) if records else ())
    return [Stored(next(sequences), answer) if type(answer) is Record else answer for answer in answers]  # type: ignore[misc]


def _refresh_quotas(
    store: Store,
    states: dict[AccountId, AccountState],
    batch: Sequence[Asked],
    asked: Mapping[AccountId, int],
    now: int,
    rules: Rules,
) -> None:
    """Count the journal again for each quota whose kept count cannot decide this batch.

    `asked` counts the commands of each account: as many uses as the batch may bring.
    """
    for account, command in batch:
        state = states.get(account)
        if state is None:
            continue
        for rule in rules.quotas(command):
            time = max(now, state.timestamp)
            if quota.stale(state, rule, time, asked[account]):
                state.quotas[rule.name] = store.count_uses(account, rule.triggers, rule.window.start(time))
