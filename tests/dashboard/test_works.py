"""Long work goes on without a page, one at a time, in whichever process; what came of it is told everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.dashboard import works
from catchment.dashboard.works import State, Told, Works
from catchment.venue import Venue

NOW = 1_790_000_000_000
PATIENCE_S = 20


class Count(msgspec.Struct):
    counted: int


class Counting:
    """Counts one for each time it is let."""

    def __init__(self, venue: Venue) -> None:
        self.counted = 0
        self.steps: asyncio.Queue[Exception | bool] = asyncio.Queue()
        begun.append(self)

    async def run(self, progress: Callable[[int], None]) -> None:
        while step := await self.steps.get():
            if isinstance(step, Exception):
                raise step
            self.counted += 1
            progress(self.counted)

    def outcome(self) -> Count:
        return Count(self.counted)


begun: list[Counting] = []
KINDS = {"count": Counting}


def run(scene: Coroutine[Any, Any, None], monkeypatch: pytest.MonkeyPatch) -> None:
    begun.clear()
    monkeypatch.setattr(works, "TOLD_EVERY_S", 0.005)
    asyncio.run(scene)


@asynccontextmanager
async def opened(store: str, clock: FrozenClock) -> AsyncIterator[Works]:
    venue = await Venue.open(Settings(store=store), clock)
    served = Works(venue, KINDS)
    try:
        yield served
        await served.close()
    finally:
        await venue.close()


async def told(served: Works, state: State, done: int) -> Told:
    async with asyncio.timeout(PATIENCE_S):
        while (last := await served.last("count")) is None or (last.state, last.done) != (state, done):
            await asyncio.sleep(0.005)
    return last


def test_it_is_followed_from_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        store, clock = f"sqlite:///{tmp_path / 'store.db'}", FrozenClock(NOW)
        async with opened(store, clock) as one, opened(store, clock) as other:
            assert await other.last("count") is None
            await one.begin("count", 0)
            await other.begin("count", 0)
            await one.begin("count", 0)
            assert len(begun) == 1, "one at a time"
            first = await told(other, State.RUNNING, 0)
            begun[0].steps.put_nowait(True)
            assert bytes((await told(other, State.RUNNING, 1)).outcome) == b'{"counted":1}'
            begun[0].steps.put_nowait(False)
            last = await told(other, State.DONE, 1)
            assert (last.begun, bytes(last.outcome)) == (first.begun, b'{"counted":1}')
            await turn_is_free(other)
            await other.begin("count", 0)
            assert len(begun) == 1, "a page that did not know of it begins nothing"
            await other.begin("count", last.begun)
            assert len(begun) == 2
            begun[1].steps.put_nowait(False)
            assert (await told(one, State.DONE, 0)).begun > last.begun

    run(scene(), monkeypatch)


def test_one_that_fails_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with opened("memory:", FrozenClock(NOW)) as served:
            await served.begin("count", 0)
            begun[0].steps.put_nowait(True)
            begun[0].steps.put_nowait(ValueError("no such number"))
            last = await told(served, State.FAILED, 1)
            assert bytes(last.outcome) == b'{"counted":1}', "what it did until then"
            await turn_is_free(served)
            await served.begin("count", last.begun)
            assert len(begun) == 2, "it may be begun again"
            begun[1].steps.put_nowait(False)

    run(scene(), monkeypatch)
    assert "no such number" in caplog.text


def test_a_server_that_ends_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        venue = await Venue.open(Settings(store="memory:"), FrozenClock(NOW))
        served = Works(venue, KINDS)
        await served.begin("count", 0)
        closing = asyncio.create_task(served.close())
        await asyncio.sleep(0)
        begun[0].steps.put_nowait(True)
        await closing
        last = await served.last("count")
        assert last is not None
        assert (last.state, last.done) == (State.STOPPED, 1)
        await served.begin("count", last.begun)
        assert len(begun) == 1, "an ending server begins nothing"
        await venue.close()

    run(scene(), monkeypatch)


def test_one_whose_process_died_is_stopped_and_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        store, clock = f"sqlite:///{tmp_path / 'store.db'}", FrozenClock(NOW)
        async with opened(store, clock) as one, opened(store, clock) as other:
            monkeypatch.setattr(works, "TOLD_EVERY_S", 3_600)
            await one.begin("count", 0)
            clock.advance(works.TURN_MS - 1)
            before = await other.last("count")
            assert before is not None
            assert before.state is State.RUNNING
            clock.advance(1)
            late = await other.last("count")
            assert late is not None
            assert late.state is State.STOPPED
            monkeypatch.setattr(works, "TOLD_EVERY_S", 0.005)
            await other.begin("count", late.begun)
            assert len(begun) == 2
            newer = await told(one, State.RUNNING, 0)
            begun[0].steps.put_nowait(False)
            begun[1].steps.put_nowait(True)
            begun[1].steps.put_nowait(False)
            last = await told(one, State.DONE, 1)
            assert last.begun == newer.begun, "what lost its turn tells nothing any more"

    run(scene(), monkeypatch)


async def turn_is_free(served: Works) -> None:
    """It is given back after the end was told."""
    async with asyncio.timeout(PATIENCE_S):
        while await served._venue.kept(works.TURN, "count"):
            await asyncio.sleep(0.005)
