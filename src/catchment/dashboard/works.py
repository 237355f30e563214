"""Long work on the whole venue: begun on a page, done by a task of that process, followed from any process.

How far it is stands in a note, so nobody has to wait for it on an open page; another note sees to it that there is one
at a time.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from catchment.venue import Venue

logger = logging.getLogger(__name__)

WORK: Final = "work"
TURN: Final = "work-turn"
TOLD_EVERY_S: Final = 0.5
TURN_MS: Final = 30_000
"""How long a work whose process is not heard of stands in the way of the next one."""
REMEMBERED_MS: Final = 30 * 86_400_000
"""How long what came of it is kept, in milliseconds."""


class State(StrEnum):
    """`STOPPED`: it did not come to its end, because its process ended."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class Told(msgspec.Struct, frozen=True):
    """How far a work is, and what came of it so far. Times are in milliseconds; `done` of `of` accounts.

    `until` is when it counts as stopped, if it is not heard of before; `outcome` is of the work's own form.
    """

    state: State
    begun: int
    of: int
    until: int
    heard: int
    done: int = 0
    outcome: msgspec.Raw = msgspec.Raw(b"null")


class Work(Protocol):
    """Something that takes long. When `progress` raises, it stops; what it did until then is its outcome, too."""

    async def run(self, progress: Callable[[int], None]) -> None: ...

    def outcome(self) -> msgspec.Struct | None: ...


class _Stop(Exception):  # noqa: N818 - no error: the server ends, or another process has the turn
    pass


class Works:
    """The long works of a venue, by name, as one process begins and follows them."""

    def __init__(self, venue: Venue, kinds: Mapping[str, Callable[[Venue], Work]]) -> None:
        self._venue = venue
        self._kinds = kinds
        self._ending = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop what runs here, and have it told."""
        self._ending = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def last(self, name: str) -> Told | None:
        """The work of this name that runs, or the last one, in whichever process."""
        note = await self._venue.kept(WORK, name)
        if note is None:
            return None
        told = msgspec.json.decode(note.text, type=Told)
        late = told.state is State.RUNNING and self._venue.clock.now() >= told.until
        return msgspec.structs.replace(told, state=State.STOPPED) if late else told

    async def begin(self, name: str, after: int) -> None:
        """Begin a work on a page that showed the one begun at `after`, or none (0). Does nothing if there is one since,
        or under way: the page will show that."""
        venue, turn = self._venue, secrets.token_hex(8)
        expires = venue.clock.now() + TURN_MS
        if self._ending or not await venue.keep(TURN, name, turn, expires=expires, replace=False):
            return
        last = await self.last(name)
        if (last.begun if last else 0) != after:
            await venue.drop(TURN, name)
            return
        now = max(venue.clock.now(), after + 1)
        told = Told(State.RUNNING, now, (await venue.counts()).accounts, now + TURN_MS, now)
        await self._tell(name, told)
        task = asyncio.create_task(self._do(name, turn, told, self._kinds[name](venue)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, name: str, turn: str, told: Told, work: Work) -> None:
        done, stopped = 0, False

        def progress(count: int) -> None:
            nonlocal done
            done = count
            if stopped or self._ending:
                raise _Stop

        running = asyncio.create_task(work.run(progress))
        while not running.done():
            await asyncio.wait([running], timeout=TOLD_EVERY_S)
            try:
                stopped = not await self._has_turn(name, turn)
                if not running.done() and not stopped:
                    await self._tell(name, _now(self._venue, told, State.RUNNING, done, work))
            except Exception as error:
                logger.warning("%s: how far it is cannot be told: %s", name, error)
        state = State.DONE
        if reason := running.exception():
            state = State.STOPPED if isinstance(reason, _Stop) else State.FAILED
            if state is State.FAILED:
                logger.error("%s failed after %d accounts", name, done, exc_info=reason)
        if not stopped:
            await self._tell(name, _now(self._venue, told, state, done, work))
            await self._venue.drop(TURN, name)

    async def _has_turn(self, name: str, turn: str) -> bool:
        """Renews it, too. Lost if this process was away for so long that another took it."""
        note = await self._venue.kept(TURN, name)
        if note is not None and note.text != turn:
            return False
        return await self._venue.keep(TURN, name, turn, expires=self._venue.clock.now() + TURN_MS)

    async def _tell(self, name: str, told: Told) -> None:
        expires = self._venue.clock.now() + REMEMBERED_MS
        await self._venue.keep(WORK, name, msgspec.json.encode(told).decode(), expires=expires)


def _now(venue: Venue, told: Told, state: State, done: int, work: Work) -> Told:
    now = venue.clock.now()
    outcome = msgspec.Raw(msgspec.json.encode(work.outcome()))
    return msgspec.structs.replace(told, state=state, done=done, heard=now, until=now + TURN_MS, outcome=outcome)
