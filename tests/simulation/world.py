"""The world of one seed: servers over one store, the network before them, the clock on the wall, and what fails."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import msgspec

from catchment import venue as venues
from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import AssetCollection, AutoCollection, Command
from catchment.papi.rest import Rest
from catchment.store import sqlite, states
from catchment.store.base import Store, StoreFailed
from catchment.store.memory import MemoryStore
from catchment.store.sqlite import SqliteStore
from catchment.store.statements import SQL
from catchment.vault import MASTER_KEY_VARIABLE, Vault
from catchment.venue import Venue
from tests.simulation.auditor import Auditor
from tests.simulation.history import Asked, Exchange, History, Order, Preview, Row, Terms
from tests.simulation.loop import Inline, Loop
from tests.simulation.stores import Fault, Faults, Injected, SimulatedStore

START: Final = 1_790_000_000_000
DAY_S: Final = 86_400
MASTER_KEY: Final = "c2ltdWxhdGlvbi1zaW11bGF0aW9uLXNpbXVsYXRpb24="
NETWORK_S: Final = 0.05
ANSWERED_WITHIN_S: Final = 3_600
BACK_WITHIN_S: Final = 60
"""How long a server that died stays away at most."""

Work = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Result:
    """What one seed gave: what the auditor found, what the venue said of itself, the digest of the history, and how
    much happened."""

    seed: int
    store: str
    findings: list[str]
    troubles: list[str]
    digest: str
    days: float
    requests: int
    commands: int
    records: int
    faults: dict[str, int]

    @property
    def failures(self) -> list[str]:
        return self.findings + self.troubles

    @property
    def replay(self) -> str:
        """The command that plays it again."""
        return f"python -m tests.simulation --seed {self.seed} --days {self.days:g}"


class Clock:
    """A server's clock: the wall's, a little off."""

    def __init__(self, wall: Callable[[], int], off: int) -> None:
        self._wall = wall
        self._off = off

    def now(self) -> int:
        return self._wall() + self._off


class Server:
    """One process: a venue of its own over the shared store, and its REST face. Once it died it never comes back."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.gone = False
        """It takes no more work: it closes, is closed, or died."""
        self.dead = False
        self.clock = Clock(world.wall, world.rng.randint(-300, 300))
        self.engine = world.engine()
        self._executors: list[Inline] = []
        self._under_way: dict[int, Asked] = {}
        self._replies: dict[asyncio.Task[None], asyncio.Future[Any]] = {}
        with world.faults.none():
            store = SimulatedStore(self.engine, world.faults, self._looked_in_vain)
            vault = Vault(None, {MASTER_KEY_VARIABLE: MASTER_KEY})
            self.venue = Venue(
                cast(Store, store), vault, world.settings, self.clock, apart=False, executor=self._executor
            )
        self.rest = Rest(self.venue)
        world.history.opened[number] = world.loop.now

    def _executor(self, workers: int, name: str) -> Inline:
        faults = self.world.faults
        slow = faults.write_takes if workers == 1 else faults.read_takes
        executor = Inline(workers, self.world.loop, self.world.rng, slow, self.die)
        self._executors.append(executor)
        return executor

    def _looked_in_vain(self) -> None:
        self.world.history.looked_in_vain.append((self.number, self.world.loop.now))

    def start(self, work: Work, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Do something in this process; the future's result is None if it dies first."""
        reply = self.world.loop.create_future()
        if self.gone:
            reply.set_result(None)
            return reply
        self._replies[self.world.loop.create_task(self._work(partial(work, *args, **kwargs), reply))] = reply
        return reply

    async def _work(self, work: Work, reply: asyncio.Future[Any]) -> None:
        try:
            reply.set_result(await work())
        except StoreFailed as error:
            reply.set_result(error)
        task = asyncio.current_task()
        assert task is not None
        del self._replies[task]

    def asked(self) -> dict[str, Any]:
        """What every question is written down with when it arrives."""
        now, world = self.clock.now(), self.world
        return {
            "server": self.number,
            "asked_at": world.loop.now,
            "clock": now,
            "clock_low": now,
            "clock_high": now,
            "before": world.recorded(),
        }

    def arrived(self, asked: Asked) -> None:
        self._under_way[id(asked)] = asked

    def answered(self, asked: Asked) -> None:
        self.saw_clock()
        del self._under_way[id(asked)]
        asked.after = self.world.recorded()
        asked.answered_at = self.world.loop.now

    def saw_clock(self) -> None:
        """The clock shows a time that what is under way may be stamped with."""
        now = self.clock.now()
        for asked in self._under_way.values():
            asked.clock_low = min(asked.clock_low, now)
            asked.clock_high = max(asked.clock_high, now)

    async def serve(self, exchange: Exchange) -> Exchange:
        """One request through the REST face, as bytes."""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": exchange.body}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                exchange.status, exchange.headers = message["status"], tuple(message["headers"])
            else:
                exchange.answer = message["body"]
                self.answered(exchange)

        headers = [] if exchange.api_key is None else [(b"x-mbx-apikey", exchange.api_key.encode())]
        scope = {
            "method": exchange.method,
            "path": exchange.path,
            "query_string": exchange.query,
            "headers": headers,
            "client": (exchange.address, 1),
        }
        await self.rest(scope, receive, send)
        return exchange

    async def order(self, account: AccountId, *commands: Command) -> list[Order]:
        """Commands handed to the venue together, as a command line or a dashboard does."""
        orders = []
        for command in commands:
            order = Order(**self.asked(), account=account.hex(), command=msgspec.json.encode(command))
            self.world.history.orders.append(order)
            self.arrived(order)
            orders.append(order)
        answers = await self.venue.submit_all([(account, command) for command in commands])
        for order, answer in zip(orders, answers, strict=True):
            if isinstance(answer, Rejection):
                order.code, order.retry_after = answer.code, answer.retry_after
            else:
                order.code, order.sequence = 0, answer.sequence
            self.answered(order)
        return orders

    async def preview(self, account: AccountId, command: AutoCollection | AssetCollection) -> None:
        """What a command line's dry run is told."""
        preview = Preview(**self.asked(), account=account.hex(), command=msgspec.json.encode(command))
        self.world.history.previews.append(preview)
        self.arrived(preview)
        try:
            told = await self.venue.preview(account, command)
        except StoreFailed:
            self.answered(preview)
            raise
        if isinstance(told.answer, Rejection):
            preview.code, preview.retry_after = told.answer.code, told.answer.retry_after
        else:
            preview.code, preview.moves = 0, msgspec.json.encode(told.answer.transfers)
        preview.left = told.quotas
        self.answered(preview)

    def die(self) -> None:
        """Everything that was not durable is gone; who waits sees the connection end."""
        if self.dead:
            return
        self._stop()
        recorded = self.world.recorded()
        for asked in self._under_way.values():
            asked.after, asked.answered_at = recorded, self.world.loop.now
        self.saw_clock()
        for task, reply in self._replies.items():
            task.cancel()
            if not reply.done():
                reply.set_result(None)
        self.world.came_to_an_end(self)

    async def close(self) -> None:
        """Answer everyone, then close in good order."""
        if self.gone:
            return
        self.gone = True
        patience = self.world.loop.now + ANSWERED_WITHIN_S
        while self._replies and self.world.loop.now < patience and not self.dead:
            await asyncio.wait(list(self._replies.values()), timeout=ANSWERED_WITHIN_S)
            await asyncio.sleep(0)
        if not self._replies and not self.dead:  # else somebody was never answered, and never will be
            await self.venue.close()
        self._stop()

    def _stop(self) -> None:
        self.gone = self.dead = True
        self.venue._watching.cancel()
        for executor in self._executors:
            executor.end()
        if isinstance(self.engine, SqliteStore):
            self.engine._disconnect()


class World:
    """Made inside the loop. Everything random comes from `rng`, everything timed from the loop."""

    def __init__(self, seed: int, loop: Loop, folder: Path) -> None:
        self.seed = seed
        self.loop = loop
        self.rng = rng = random.Random(seed)
        self.faults = Faults(random.Random(seed + 1))
        self.troubles: list[str] = []
        self._memory = MemoryStore() if rng.random() < 0.7 else None
        self._path = folder / "venue.db"
        self._reader: sqlite3.Connection | None = None
        self._start = START + rng.randrange(2 * DAY_S * 1000)
        self._stepped = 0
        self._numbers = iter(range(1, 10**9))
        calm = rng.random() < 0.1
        self.settings = Settings(
            weight_per_minute=rng.choice([1_500, 6_000, 6_000]),
            queue=10_000 if calm else rng.choice([5, 20, 10_000]),
            batch=rng.choice([1, 4, 1_000]),
            quota_shared_daily=rng.random() < 0.2,
            quota_api_per_hour=rng.choice([3, 8, 8, 30, 500]),
            quota_button_per_day=rng.choice([3, 10]),
            collection_cm_bnb=rng.choice(["collect", "keep"]),
            requests_kept=0,  # no answer depends on them, and they would wake the loop twice a second for months
            assets={"WHOLE": 0, "TINY": 18},
        )
        scales = dict.fromkeys(venues.ASSETS, 8) | self.settings.assets
        looks_every = rng.choice([30.0, 120.0, 600.0])
        terms = Terms(
            weight_per_minute=self.settings.weight_per_minute,
            api_per_hour=self.settings.quota_api_per_hour,
            button_per_day=self.settings.quota_button_per_day,
            shared_daily=self.settings.quota_shared_daily,
            keep_cm_bnb=self.settings.collection_cm_bnb == "keep",
            scales=scales,
            looks_every=looks_every,
            calm=calm,
        )
        self.history = History(terms)
        self.servers: list[Server | None] = [None] * rng.choice([1, 2, 2, 3])
        self._extra: list[Server] = []
        self.ending = False

    # Time ------------------------------------------------------------------------------------------------------------

    def wall(self) -> int:
        """Milliseconds since the epoch on the wall."""
        return self._start + int(self.loop.now * 1000) + self._stepped

    def step_clock(self, milliseconds: int) -> None:
        """Set the clock on the wall, forwards or a little back."""
        for move in (0, milliseconds):
            self._stepped += move
            for server in (*self.servers, *self._extra):
                if server is not None:
                    server.saw_clock()

    # The store -------------------------------------------------------------------------------------------------------

    def engine(self) -> MemoryStore | SqliteStore:
        """The store as one more process opens it."""
        return self._memory if self._memory is not None else SqliteStore(self._path)

    def recorded(self) -> int:
        """How long the journal is."""
        if self._memory is not None:
            return len(self._memory._journal)
        if self._reader is None:
            self._reader = sqlite3.connect(self._path)
        return int(self._reader.execute("SELECT coalesce(max(sequence), 0) FROM journal").fetchone()[0])

    # Servers ---------------------------------------------------------------------------------------------------------

    def open_server(self) -> Server:
        return Server(self, next(self._numbers))

    def open_all(self) -> None:
        for place in range(len(self.servers)):
            self.servers[place] = self.open_server()

    def came_to_an_end(self, server: Server) -> None:
        """A server is gone; one of the usual ones is started again after a while."""
        if server in self._extra:
            self._extra.remove(server)
        elif server in self.servers:
            place = self.servers.index(server)
            self.servers[place] = None
            self.loop.call_later(self.rng.uniform(0.1, BACK_WITHIN_S), self._open_again, place)

    def _open_again(self, place: int) -> None:
        if self.servers[place] is None and not self.ending:
            self.servers[place] = self.open_server()

    async def restart(self, place: int) -> None:
        """Close a server in good order and open another."""
        server = self.servers[place]
        if server is not None:
            self.servers[place] = None
            self._extra.append(server)
            await server.close()
            self.came_to_an_end(server)
            self._open_again(place)

    async def besides(self, work: Work) -> Any:
        """Work in a process of its own, opened for it and closed after it, as a command line is."""
        server = self.open_server()
        self._extra.append(server)
        result = await server.start(work, server)
        await server.close()
        self.came_to_an_end(server)
        return result

    def any_server(self) -> Server | None:
        return self.rng.choice(self.servers)

    # The network -----------------------------------------------------------------------------------------------------

    async def request(
        self,
        address: str,
        method: str,
        path: str,
        *,
        query: bytes = b"",
        body: bytes = b"",
        api_key: str | None = None,
        server: Server | None = None,
    ) -> Exchange | None:
        """Send a request and wait for the answer, as long as the client has patience; None if none came."""
        came: asyncio.Future[Exchange | None] = self.loop.create_future()

        def tell(exchange: Exchange | None) -> None:
            if not came.done():
                came.set_result(exchange)

        def answered(reply: asyncio.Future[Exchange | None]) -> None:
            if reply.result() is None or not self.faults.draw(Fault.LOST, share=0.3):
                self.loop.call_later(self._way(), tell, reply.result())

        def arrive() -> None:
            there = server or self.any_server()
            if there is None or there.gone:
                tell(None)
                return
            exchange = Exchange(
                **there.asked(), address=address, method=method, path=path, query=query, body=body, api_key=api_key
            )
            self.history.exchanges.append(exchange)
            there.arrived(exchange)
            there.start(there.serve, exchange).add_done_callback(answered)

        way = 0.0 if server is not None else self._way()
        if way:
            self.loop.call_later(way, arrive)
        else:
            arrive()
        patience = self.loop.call_later(self.rng.choice([5.0, 10.0, 30.0]), tell, None)
        try:
            return await came
        finally:
            patience.cancel()

    def _way(self) -> float:
        draw = self.rng.random()
        return draw * NETWORK_S if draw < 0.5 else 0.0

    # The end ---------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Answer everyone, then read the journal and have the venue verify itself."""
        self.ending = True
        self.faults.rate = 0.0
        for place, server in enumerate(self.servers):
            if server is not None:
                await server.close()
                self.servers[place] = None
        last = self.open_server()
        verdict = await last.start(last.venue.verify)
        self.troubles += [f"verify: {finding}" for finding in verdict.findings]
        after = 0
        while page := last.engine.tail(after, 1_000):
            for stored in page:
                record = stored.record
                self.history.journal.append(
                    Row(
                        stored.sequence,
                        record.account.hex(),
                        record.number,
                        record.timestamp,
                        record.text,
                        record.digest,
                    )
                )
            after = page[-1].sequence
        await last.close()
        if self._reader is not None:
            self._reader.close()


class _Listener(logging.Handler):
    """Takes what the venue logs: an exception that nobody injected is trouble."""

    def __init__(self, troubles: list[str]) -> None:
        super().__init__()
        self._troubles = troubles

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, Injected):
            self._troubles.append(f"logged: {record.getMessage()}: {error!r}")


@contextmanager
def surroundings(world: World) -> Iterator[None]:
    """No real randomness, small numbers where the real ones are too large to be met, and an ear on what is logged."""
    tokens = random.Random(world.seed + 2)
    logger = logging.getLogger("catchment")
    listener = _Listener(world.troubles)
    pragmas = SQL["pragmas"].replace("synchronous = FULL", "synchronous = OFF")  # no power is lost here
    patched = mock.patch.object
    with ExitStack() as stack:
        for patch in (
            patched(secrets, "token_bytes", tokens.randbytes),
            patched(secrets, "choice", tokens.choice),
            mock.patch("os.urandom", tokens.randbytes),
            patched(venues, "WATCHED_EVERY_S", world.history.terms.looks_every),
            patched(states, "FOLD_EVERY", every := world.rng.choice([20, 200, 8_192])),
            patched(states, "FOLD_STEP", {20: 1, 200: 5}.get(every, 128)),
            patched(sqlite, "MILESTONE_EVERY", world.rng.choice([4, 16, 256])),
            patched(states, "STATES_KEPT", world.rng.choice([2, 16_384])),
            mock.patch.dict(SQL, {"pragmas": pragmas}),
            patched(logger, "propagate", False),
            patched(logger, "handlers", [listener]),
        ):
            stack.enter_context(patch)
        yield


def run(seed: int, days: float) -> Result:
    """Play one seed for so many simulated days and audit what happened."""
    from tests.simulation.population import Population  # noqa: PLC0415 - it is made of this module's parts

    async def play() -> World:
        world = World(seed, loop, Path(folder))
        loop.set_exception_handler(lambda _, context: _trouble(world, context))
        with surroundings(world):
            world.open_all()
            await Population(world).live(days * DAY_S)
            await world.finish()
        return world

    loop = Loop()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=lambda: loop) as runner:
        world = runner.run(play())
    history = world.history
    return Result(
        seed,
        "memory" if world._memory is not None else "sqlite",
        Auditor(history).audit(),
        world.troubles,
        history.digest(),
        days,
        len(history.exchanges),
        len(history.orders),
        len(history.journal),
        dict(+world.faults.counts),
    )


def _trouble(world: World, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if not isinstance(error, Injected):
        world.troubles.append(f"loop: {context['message']}: {error!r}")
