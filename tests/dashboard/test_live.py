"""What keeps a page up to date: every record is told of, also after a dropped connection, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from catchment.config import Settings
from catchment.dashboard import live, people
from catchment.dashboard.door import Dashboard
from catchment.errors import Rejection
from catchment.ledger.commands import Deposit
from catchment.papi.rest import Rest
from catchment.venue import Venue
from tests.dashboard.browser import Browser, Venues, open_venues

PATIENCE_S = 20


@pytest.fixture
def venues(monkeypatch: pytest.MonkeyPatch) -> Iterator[Venues]:
    monkeypatch.setattr(live, "LOOKED_EVERY_S", 0.005)
    with open_venues() as opened:
        yield opened


class Stream:
    """An open connection: its events as they come."""

    def __init__(self) -> None:
        self.head: dict[str, Any] = {}
        self._text = ""
        self._more = asyncio.Event()
        self.gone = asyncio.Event()
        self.waiting = [{"type": "http.request", "body": b""}]

    async def receive(self) -> Any:
        if self.waiting:
            return self.waiting.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.head = message
        else:
            self._text += message["body"].decode()
            self._more.set()

    async def next(self, event: str) -> dict[str, str]:
        """The next event of this kind; those before it are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while "\n\n" in self._text:
                    block, _, self._text = self._text.partition("\n\n")
                    fields = dict(re.findall(r"^(\w+): ?(.*)$", block, re.MULTILINE))
                    if fields.get("event") == event:
                        return fields
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def listening(
    dashboard: Dashboard, browser: Browser, path: str, **headers: str
) -> AsyncIterator[tuple[Stream, asyncio.Task[None]]]:
    stream = Stream()
    scope = browser.scope("GET", path, headers)
    task = asyncio.create_task(dashboard(scope, stream.receive, stream.send))
    try:
        yield stream, task
    finally:
        stream.gone.set()
        await asyncio.wait_for(task, PATIENCE_S)


def test_a_record_is_told_of(venues: Venues) -> None:
    browser, path, account = venues.browser("alice"), venues.path("alice", "live"), venues.account("alice")
    number = venues.records("alice")

    async def work() -> None:
        async with listening(venues.dashboard, browser, f"{path}?since={number}") as (stream, _):
            await venues.venue.submit(account, Deposit("USDT", 1))
            event = await stream.next("record")
            assert event["id"] == event["data"] == str(number + 1)
            assert stream.head["status"] == 200
            headers = dict(stream.head["headers"])
            assert headers[b"content-type"].startswith(b"text/event-stream")
            assert headers[b"cache-control"] == b"no-store"

    venues.run(work())


def test_a_page_that_is_up_to_date_is_told_nothing_and_one_that_is_not_at_once(venues: Venues) -> None:
    browser, path, account = venues.browser("alice"), venues.path("alice", "live"), venues.account("alice")
    bob, number = venues.account("bob"), venues.records("alice")

    async def work() -> None:
        async with listening(venues.dashboard, browser, f"{path}?since={number}") as (stream, _):
            await stream.next("weight")
            await venues.venue.submit(bob, Deposit("USDT", 1))
            await venues.venue.submit(account, Deposit("USDT", 1))
            assert (await stream.next("record"))["id"] == str(number + 1), "another account's record is no event"
        await venues.venue.submit(account, Deposit("USDT", 1))
        async with listening(venues.dashboard, browser, f"{path}?since={number}", last_event_id=str(number + 1)) as (
            stream,
            _,
        ):
            assert (await stream.next("record"))["id"] == str(number + 2), "the browser came back"

    venues.run(work())


@pytest.mark.parametrize("since", ["", "x", "9" * 30, "-1"])
def test_who_knows_nothing_is_told_where_the_account_is(venues: Venues, since: str) -> None:
    browser, number = venues.browser("alice"), venues.records("alice")

    async def work() -> None:
        path = f"{venues_path}?since={since}"
        async with listening(venues.dashboard, browser, path) as (stream, _):
            assert (await stream.next("record"))["id"] == str(number)

    venues_path = venues.path("alice", "live")
    venues.run(work())


def test_the_weight_of_the_address_is_told_when_it_changes(venues: Venues) -> None:
    browser, path = venues.browser("alice"), venues.path("alice", "live")

    async def work() -> None:
        async with listening(venues.dashboard, browser, path) as (stream, _):
            assert (await stream.next("weight"))["data"] == "0"
            venues.rest.weights.charge(browser.address, 30, venues.clock.now())
            assert (await stream.next("weight"))["data"] == "30"

    venues.run(work())


def test_it_ends_with_the_session(venues: Venues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SESSION_LOOKED_EVERY", 2)
    browser, path = venues.browser("alice"), venues.path("alice", "live")

    async def work() -> None:
        async with listening(venues.dashboard, browser, path) as (stream, task):
            await stream.next("record")
            venues.clock.advance(people.SESSION_MS)
            assert await stream.next("bye") == {"event": "bye", "data": ""}
            await asyncio.wait_for(task, PATIENCE_S)

    venues.run(work())


def test_it_ends_when_the_server_is_told_to_stop(venues: Venues) -> None:
    browser, path = venues.browser("alice"), venues.path("alice", "live")

    async def work() -> None:
        async with listening(venues.dashboard, browser, path) as (stream, task):
            await stream.next("record")
            venues.dashboard.end()
            await asyncio.wait_for(task, PATIENCE_S)
            assert not stream.gone.is_set(), "the browser was still there"

    venues.run(work())


def test_pages_have_a_bound_and_a_closed_one_gives_its_place_back(
    venues: Venues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_LIVE_PAGES", 2)
    browser, path = venues.browser("alice"), venues.path("alice", "live")

    async def work() -> None:
        one, two = (listening(venues.dashboard, browser, path) for _ in range(2))
        async with one as (first, _):
            await first.next("record")
            async with two as (second, _):
                await second.next("record")
                assert (await browser.ask("GET", path, b"", {})).status == 503
            async with listening(venues.dashboard, browser, path) as (third, _):
                await third.next("record")

    venues.run(work())


def test_a_record_of_another_process_is_told_of(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        settings = Settings(store=f"sqlite:///{tmp_path}/venue.db")
        here, there = await Venue.open(settings), await Venue.open(settings)
        try:
            account = await here.add_account("alice")
            assert not isinstance(account, Rejection)
            dashboard = Dashboard(here, Rest(here).weights)
            browser = Browser(None, dashboard)  # type: ignore[arg-type]
            link = await people.People(there).make_link(account.id.hex())
            assert (await browser.ask("GET", f"/dashboard/link/{link}", b"", {})).status == 303
            path = f"/dashboard/accounts/{account.id.hex()}/live?since=0"
            async with listening(dashboard, browser, path) as (stream, _):
                await stream.next("weight")
                await there.submit(account.id, Deposit("USDT", 1))
                assert (await stream.next("record"))["id"] == "1"
        finally:
            await here.close()
            await there.close()

    asyncio.run(work())
