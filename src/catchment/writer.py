"""The writing itself: commands decided and committed together; and the process of its own that does it for a server.

The process has the store's one writer and nothing else: no network, no key. It takes commands from its standard input,
a socket, commits all that has come in as one batch, and answers on the same socket in the same order. It ends when the
socket does, after what it is writing is committed.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

import msgspec

from catchment import errors
from catchment.clock import Clock, RealClock
from catchment.config import hide_password
from catchment.errors import REFUSALS, Rejection
from catchment.ledger import quota
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.commands import Command
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Quota, Rules
from catchment.limits import MAX_FRAME_BYTES
from catchment.store.base import LoopWriter, Store, StoreBusy, StoreDamaged, StoreFailed, StoreUnknown
from catchment.store.open import open_store

logger = logging.getLogger(__name__)

Asked = tuple[AccountId, Command]
Answer = Stored | Rejection

YOUNGEST_COLLECTED: Final = 50_000
"""New objects before the cycle collector looks at them. A command makes dozens and hardly a cycle, so the default of
700 has it look through everything that is under way several times in every batch."""
RECEIVED_AT_ONCE: Final = 1 << 20
MOST_TRIES: Final = 5
"""How often a batch is tried that another server's writer was in the way of."""
_LENGTH: Final = struct.Struct(">I")


def write(store: Store, batch: Sequence[Asked], clock: Clock, rules: Rules) -> Sequence[Answer]:
    """Decide and commit a batch; every command is answered, whatever happens. Never raises."""
    try:
        for _ in range(MOST_TRIES - 1):
            with suppress(StoreBusy):
                return write_batch(store, batch, clock.now(), rules)
        return write_batch(store, batch, clock.now(), rules)
    except Exception as error:
        if isinstance(error, StoreDamaged) and len(batch) > 1:  # one account's damage is not the others'
            half = len(batch) // 2
            return [*write(store, batch[:half], clock, rules), *write(store, batch[half:], clock, rules)]
        return _failed(error, batch)


async def write_on_loop(store: LoopWriter, batch: Sequence[Asked], clock: Clock, rules: Rules) -> Sequence[Answer]:
    """The same, for whoever awaits."""
    try:
        for _ in range(MOST_TRIES - 1):
            with suppress(StoreBusy):
                return await _write_batch_on_loop(store, batch, clock.now(), rules)
        return await _write_batch_on_loop(store, batch, clock.now(), rules)
    except Exception as error:
        if isinstance(error, StoreDamaged) and len(batch) > 1:
            half = len(batch) // 2
            first = await write_on_loop(store, batch[:half], clock, rules)
            return [*first, *await write_on_loop(store, batch[half:], clock, rules)]
        return _failed(error, batch)


def _failed(error: Exception, batch: Sequence[Asked]) -> list[Answer]:
    """What everyone in a batch is answered that could not be written."""
    if isinstance(error, StoreDamaged):
        logger.error("account %s cannot be served: %s", batch[0][0].hex(), error)
        return [errors.STORE_UNAVAILABLE()]
    if isinstance(error, StoreFailed):
        logger.error("a batch of %d was rolled back: %s", len(batch), error)
        return [errors.STORE_UNAVAILABLE()] * len(batch)
    if isinstance(error, StoreUnknown):
        logger.error("a batch of %d may or may not have been committed: %s", len(batch), error)
        return [errors.OUTCOME_UNKNOWN()] * len(batch)
    logger.error("a batch of %d failed", len(batch), exc_info=error)
    return [errors.UNKNOWN()] * len(batch)


def write_batch(store: Store, batch: Sequence[Asked], now: int, rules: Rules) -> list[Answer]:
    """Decide a batch and commit it in one transaction; `now` in milliseconds. An answer for each command, in order.

    A batch in which everything was refused writes nothing. Raises `StoreFailed` or `StoreUnknown` for all of it.
    """
    with store.transaction() as transaction:
        asked = Counter([account for account, _ in batch])
        states = transaction.load(asked)
        for account, rule, since in _stale(states, batch, asked, now, rules):
            states[account].quotas[rule.name] = store.count_uses(account, rule.uses, since)
        answers, records, touched = _decide(states, batch, now, rules)
        sequences = transaction.append(records, touched) if records else []
    return _answers(answers, sequences)


async def _write_batch_on_loop(store: LoopWriter, batch: Sequence[Asked], now: int, rules: Rules) -> list[Answer]:
    async with store.transaction() as transaction:
        asked = Counter([account for account, _ in batch])
        states = await transaction.load(asked)
        for account, rule, since in _stale(states, batch, asked, now, rules):
            states[account].quotas[rule.name] = await store.count_uses(account, rule.uses, since)
        answers, records, touched = _decide(states, batch, now, rules)
        sequences = await transaction.append(records, touched) if records else []
    return _answers(answers, sequences)


def _stale(
    states: Mapping[AccountId, AccountState],
    batch: Sequence[Asked],
    asked: Mapping[AccountId, int],
    now: int,
    rules: Rules,
) -> Iterator[tuple[AccountId, Quota, int]]:
    """Each quota whose kept count cannot decide this batch, and since when the journal is to be counted again.

    `asked` counts the commands of each account: as many uses as the batch may bring.
    """
    for account, command in batch:
        state = states.get(account)
        if state is None:
            continue
        for rule in rules.quotas(command):
            time = max(now, state.timestamp)
            if quota.stale(state, rule, time, asked[account]):
                yield account, rule, rule.window.start(time)


def _decide(
    states: Mapping[AccountId, AccountState], batch: Sequence[Asked], now: int, rules: Rules
) -> tuple[list[Record | Rejection], list[Record], dict[AccountId, AccountState]]:
    """What each command is answered, the records among that, and the states they changed."""
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
    return answers, records, touched


def _answers(answers: Sequence[Record | Rejection], sequences: Sequence[int]) -> list[Answer]:
    given = iter(sequences)
    return [Stored(next(given), answer) if isinstance(answer, Record) else answer for answer in answers]


def calm_collector() -> None:
    """Have the cycle collector look seldom, and never at what was there before; for a process under load."""
    gc.freeze()
    gc.set_threshold(YOUNGEST_COLLECTED, 20, 50)


# Between a server and its writer's process ---------------------------------------------------------------------------


class Order(msgspec.Struct, array_like=True, frozen=True):
    """What the process is told first. On the socket, for a store's address may hold a password, and others on the
    machine can read how a process was started."""

    store: str
    rules: Rules
    batch: int

    def __repr__(self) -> str:
        return f"Order({hide_password(self.store)!r}, {self.rules!r}, {self.batch})"


class SentRecord(msgspec.Struct, array_like=True, tag=0, frozen=True, gc=False):
    """A stored record as it crosses the socket."""

    sequence: int
    account: bytes
    number: int
    timestamp: int
    text: bytes
    digest: bytes


class SentRejection(msgspec.Struct, array_like=True, tag=1, frozen=True, gc=False):
    """A rejection as it crosses the socket: `row` is its place in the table of refusals."""

    row: int
    details: tuple[str, ...]
    retry_after: int | None


class Frames:
    """Cuts what a socket gives into frames: a length of four bytes, then as many bytes of MessagePack."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            stop = start + _LENGTH.size + length
            if stop > end:
                break
            yield data[start + _LENGTH.size : stop]
            start = stop
        self._rest = data[start:]


def frame_order(order: Order) -> bytes:
    """The bytes that a process is sent first."""
    return _frame(_ENCODER.encode(order))


def frame_asked(batch: Sequence[Asked]) -> bytes:
    """The bytes that ask for a batch."""
    return _frame(_ENCODER.encode(batch))


def read_asked(frame: bytes) -> list[Asked]:
    return _ASKED.decode(frame)


def frame_answers(answers: Sequence[Answer]) -> bytes:
    """The bytes that answer, in order."""
    return _frame(_ENCODER.encode([_crossing(answer) for answer in answers]))


def read_answers(frame: bytes) -> list[Answer]:
    return [_crossed(answer) for answer in _ANSWERS.decode(frame)]


def _frame(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


def _crossing(answer: Answer) -> SentRecord | SentRejection:
    if isinstance(answer, Rejection):
        return SentRejection(_ROWS[answer.refusal], answer.details, answer.retry_after)
    record = answer.record
    return SentRecord(answer.sequence, record.account, record.number, record.timestamp, record.text, record.digest)


def _crossed(answer: SentRecord | SentRejection) -> Answer:
    if isinstance(answer, SentRejection):
        return Rejection(REFUSALS[answer.row], answer.details, answer.retry_after)
    account = AccountId(answer.account)
    return Stored(answer.sequence, Record(account, answer.number, answer.timestamp, answer.text, answer.digest))


_ENCODER = msgspec.msgpack.Encoder()
_ASKED = msgspec.msgpack.Decoder(list[Asked])
_ANSWERS = msgspec.msgpack.Decoder(list[SentRecord | SentRejection])
_ROWS = {refusal: row for row, refusal in enumerate(REFUSALS)}


# The process ---------------------------------------------------------------------------------------------------------


def serve(wire: socket.socket) -> None:
    """Write until the socket ends. The first frame is the order; whatever came in while a batch was written is the next
    one, as many at a time as the order says."""
    coming = _coming(wire)
    frames = next((frames for frames in coming if frames), None)
    if frames is None:
        return  # the server was gone before it said what to do
    order = msgspec.msgpack.decode(frames.pop(0), type=Order)
    store = open_store(order.store)
    calm_collector()
    clock = RealClock()
    waiting: list[Asked] = []
    try:
        for more in chain([frames], coming):
            for frame in more:
                waiting += read_asked(frame)
            while waiting:
                batch, waiting = waiting[: order.batch], waiting[order.batch :]
                wire.sendall(frame_answers(write(store, batch, clock, order.rules)))
    finally:
        store.close()


def _coming(wire: socket.socket) -> Iterator[list[bytes]]:
    """The whole frames of each read."""
    frames = Frames()
    while data := wire.recv(RECEIVED_AT_ONCE):
        yield list(frames.feed(data))


def main() -> None:
    """`python -m catchment.writer`, started by a server with a socket as standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the server stops this process, by ending the socket
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    with socket.socket(fileno=sys.stdin.fileno()) as wire:
        wire.setblocking(True)
        try:
            serve(wire)
        except ConnectionError:
            logger.error("the server went away")


if __name__ == "__main__":
    main()
