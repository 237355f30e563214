"""Venues to look at: the program in a process of its own, or a server in this process on a clock that a test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from catchment import scenario
from catchment.clock import Clock, FrozenClock, RealClock
from catchment.config import Settings
from catchment.dashboard.door import Dashboard
from catchment.dashboard.people import People
from catchment.errors import Rejection
from catchment.health import Faces, Health
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.journal import Record
from catchment.papi.rest import Rest
from catchment.schedule import Schedule
from catchment.server import Server, address_of, configuration, listen
from catchment.signature import sign_hmac
from catchment.stream.door import Door
from catchment.venue import Venue
from tests.acceptance.program import Program

PASSWORD: Final = "correct horse"
OPERATOR: Final = "op"
PATIENCE_S: Final = 30

HOLDINGS: Final = """
UM = { USDT = "1234567.5", ETH = "-0.4", BNB = "3" }
CM = { BTC = "0.25", BNB = "1" }

[account.MARGIN]
USDT = "10"
BTC = { free = "0.5", locked = "0.1" }
"""

Result = TypeVar("Result")
Work = Callable[[Venue], Coroutine[Any, Any, Result]]


class House(Protocol):
    """A venue behind an address."""

    url: str

    @property
    def clock(self) -> Clock: ...

    def do(self, work: Work[Result]) -> Result:
        """Do something on the venue, beside the browser."""
        ...


class Started:
    """The program, on a store that this process opens as well."""

    def __init__(self, folder: Path, *options: str, store: str = "") -> None:
        self.store = store or f"sqlite:///{folder / 'venue.sqlite'}"
        self.clock = RealClock()
        self._file = folder / "scenario.toml"
        self._file.write_text("", encoding="utf-8")
        self._options = options
        self.program = Program(self.store, self._file, *options)
        self.url = self.program.url

    def do(self, work: Work[Result]) -> Result:
        """In a thread, because what drives the browser has the event loop of this one."""

        async def opened() -> Result:
            venue = await Venue.open(Settings(store=self.store))
            try:
                return await work(venue)
            finally:
                await venue.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, opened()).result()

    def stop(self) -> None:
        assert self.program.stop() == 0

    def start_again(self) -> None:
        """Where it was."""
        self.program = Program(self.store, self._file, *self._options, "--port", str(self.program.port))


class Frozen:
    """A server in a thread, on a store in memory and a frozen clock."""

    def __init__(self, now: int, **settings: Any) -> None:
        self.clock = FrozenClock(now)
        self._settings = Settings(store="memory:", port=0, **settings)
        self._began: Future[tuple[asyncio.AbstractEventLoop, Venue, Server]] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        self._loop, self._venue, self._server = self._began.result(PATIENCE_S)

    async def _serve(self) -> None:
        try:
            with listen(self._settings, False) as listener:
                self.url = address_of(self._settings, listener).url
                venue = await Venue.open(self._settings, self.clock)
                self._schedule = Schedule(venue)
                rest = Rest(venue)
                pages = Dashboard(venue, rest.weights)
                async with aclosing(Door(venue)) as door, aclosing(pages):
                    server = Server(configuration(Faces(rest, Health(venue), pages), door), pages.end)
                    self._began.set_result((asyncio.get_running_loop(), venue, server))
                    await server.serve([listener])
                await venue.close()
        except BaseException as error:
            if not self._began.done():
                self._began.set_exception(error)
            raise

    def do(self, work: Work[Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work(self._venue), self._loop).result(PATIENCE_S)

    def advance(self, milliseconds: int) -> None:
        """Let time pass, and what is due be done."""
        self.do(lambda _: self._schedule.advance(self.clock, milliseconds))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@contextmanager
def frozen(now: int, **settings: Any) -> Iterator[Frozen]:
    """A venue whose clock stands at `now`, in milliseconds, until the block ends."""
    house = Frozen(now, **settings)
    try:
        yield house
    finally:
        house.stop()


# What a test does to a venue ------------------------------------------------------------------------------------------


def settle(house: House, name: str, holdings: str = HOLDINGS) -> str:
    """Make an account, its API key of the same name, and its owner; gives the account's id."""
    key = f'key = [{{ api_key = "{name}", secret = "{name}-secret" }}]'
    plan = scenario.parse(f'[[account]]\nname = "{name}"\n{key}\n{holdings}')

    async def made(venue: Venue) -> str:
        await scenario.apply(venue, plan)
        account = await venue.account(name)
        assert not isinstance(account, Rejection)
        assert await People(venue).put(name, PASSWORD, account.id.hex()) is None
        return account.id.hex()

    return house.do(made)


def hire(house: House) -> None:
    """Make the operator."""

    async def made(venue: Venue) -> None:
        assert await People(venue).put(OPERATOR, PASSWORD, "") is None

    house.do(made)


def submit(house: House, account: str, *commands: Command) -> None:
    """What happens to an account meanwhile."""

    async def submitted(venue: Venue) -> None:
        for command in commands:
            answer = await venue.submit(AccountId(bytes.fromhex(account)), command)
            assert not isinstance(answer, Rejection), answer

    house.do(submitted)


def records(house: House, account: str) -> list[Record]:
    """The journal of an account, oldest first."""

    async def read(venue: Venue) -> list[Record]:
        found = await venue.history(AccountId(bytes.fromhex(account)), limit=1_000)
        return [stored.record for stored in reversed(found)]

    return house.do(read)


def call(house: House, name: str, method: str, path: str, **parameters: str) -> int:
    """A signed call with the key of an account, as an API client makes it; gives the status."""
    query = urlencode(parameters | {"timestamp": str(house.clock.now())})
    signature = sign_hmac(f"{name}-secret".encode(), query.encode())
    url = f"{house.url}{path}?{query}&signature={signature}"
    request = Request(url, data=b"" if method == "POST" else None, headers={"X-MBX-APIKEY": name}, method=method)
    try:
        with urlopen(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
