"""A browser as far as the pages can tell: cookies, forms, and the headers that say where a form comes from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from catchment import scenario
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.dashboard.door import Dashboard
from catchment.dashboard.people import People
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.journal import Stored
from catchment.papi.rest import Rest
from catchment.venue import Venue

NOW: Final = 1_790_000_000_000
HOST: Final = "127.0.0.1:8750"
HERE: Final = "192.0.2.7"
PASSWORD: Final = "correct horse"

TWO: Final = """
[[account]]
name = "alice"
[account.UM]
USDT = "1234567.5"
ETH = "-0.4"
BNB = "3"
[account.CM]
BTC = "0.25"
BNB = "1"
[account.MARGIN]
USDT = "10"
BTC = { free = "0.5", locked = "0.1" }

[[account]]
name = "bob"
[account.UM]
USDC = "7"
"""

Result = TypeVar("Result")


class Answer(msgspec.Struct, frozen=True):
    """A response, with the names of its headers in lower case."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def goes(self) -> str:
        """Where it redirects to."""
        assert self.status == 303, self.text
        return self.headers["location"]

    def field(self, name: str) -> str:
        """The value of a hidden field of its form."""
        found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)">', self.text)
        assert found, name
        return unescape(found[1])


class Browser:
    """One browser: a jar of cookies, over the pages of one process."""

    def __init__(self, venues: Venues, dashboard: Dashboard | None = None, address: str = HERE) -> None:
        self._venues = venues
        self._dashboard = dashboard or venues.dashboard
        self.address = address
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, b"", headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """A form, sent by a page of the venue unless the headers say otherwise (an empty one is not sent)."""
        sent = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"} | headers
        return self._ask("POST", path, urlencode(fields).encode(), sent)

    def sign_in(self, name: str, password: str = PASSWORD) -> Answer:
        return self.post("/dashboard/sign-in", {"name": name, "password": password})

    def follow(self, path: str) -> Answer:
        """The page at the end of the redirections."""
        answer = self.get(path)
        while answer.status == 303:
            answer = self.get(answer.goes)
        return answer

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return self._venues.run(self.ask(method, path, body, headers))

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One request, from within the loop."""
        parts: list[bytes] = []
        heads: list[Any] = []
        waiting = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                heads.append(message)
            else:
                parts.append(message["body"])

        await self._dashboard(self.scope(method, path, headers), receive, send)
        (head,) = heads
        pairs = [(name.decode(), value.decode()) for name, value in head["headers"]]
        cookies = [value for name, value in pairs if name == "set-cookie"]
        for cookie in cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return Answer(head["status"], dict(pairs), cookies, b"".join(parts))

    def scope(self, method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        sent = {"host": HOST, "accept-language": "en"} | self.headers
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if jar := {name: value for name, value in self.cookies.items() if value}:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        path, _, query = path.partition("?")
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
            "client": (self.address, 40_000),
            "server": ("127.0.0.1", 8750),
        }


class Venues:
    """A venue with accounts and people, its clock, and the pages of one process on it."""

    def __init__(self, runner: asyncio.Runner, venue: Venue, clock: FrozenClock) -> None:
        self._runner = runner
        self.venue = venue
        self.clock = clock
        self.rest = Rest(venue)
        self.dashboard = runner.run(_made(venue, self.rest))
        self.people = People(venue)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def account(self, name: str) -> AccountId:
        found = self.run(self.venue.account(name))
        assert not isinstance(found, Rejection)
        return found.id

    def path(self, name: str, page: str) -> str:
        return f"/dashboard/accounts/{self.account(name).hex()}/{page}"

    def browser(self, name: str = "") -> Browser:
        """A new browser; signed in, by link, if an account's name is given (`*`: as the operator)."""
        browser = Browser(self)
        if name:
            account = "" if name == "*" else self.account(name).hex()
            browser.get(f"/dashboard/link/{self.run(self.people.make_link(account))}")
            assert browser.cookies
        return browser

    def submit(self, name: str, command: Command) -> Stored:
        """What somebody else does to an account meanwhile."""
        account = self.account(name)

        async def submitted() -> Stored | Rejection:
            return await self.venue.submit(account, command)

        answer = self.run(submitted())
        assert not isinstance(answer, Rejection), answer
        return answer

    def records(self, name: str) -> int:
        state = self.run(self.venue.state(self.account(name)))
        assert state is not None
        return state.number


async def _made(venue: Venue, rest: Rest) -> Dashboard:
    return Dashboard(venue, rest.weights)


@contextmanager
def open_venues(*people: str, **settings: Any) -> Iterator[Venues]:
    """A fresh venue in memory on a frozen clock, with the accounts alice and bob. Of the people named each has a
    password, and sees the account of that name, `op` all of them; hashing takes a while."""
    with asyncio.Runner() as runner:
        clock = FrozenClock(NOW)
        venue = runner.run(Venue.open(Settings(**{"store": "memory:"} | settings), clock))
        try:
            runner.run(scenario.apply(venue, scenario.parse(TWO)))
            venues = Venues(runner, venue, clock)
            for name in people:
                account = "" if name == "op" else venues.account(name).hex()
                runner.run(venues.people.put(name, PASSWORD, account))
            yield venues
            runner.run(venues.dashboard.aclose())
        finally:
            runner.run(venue.close())
