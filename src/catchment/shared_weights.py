"""Request weight and bans shared by several servers, through Redis or Valkey.

A server charges an address in its own memory and tells the others a moment later: no request waits for the store, and
none is refused because it is away. What an exchange carried when it failed is not told again: it may have arrived, and
weight counted twice could refuse a caller who is within the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from catchment import errors
from catchment.clock import Clock
from catchment.errors import Refused
from catchment.limits import FORGIVEN_MS, MAX_ADDRESSES, Counted, Weights

if TYPE_CHECKING:
    from limits.aio.storage.redis.bridge import RedisBridge
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

logger = logging.getLogger(__name__)

EXCHANGED_EVERY_S: Final = 0.1
"""How long weight that is not urgent may wait to be told, in seconds."""
PAUSE_S: Final = 0.005
"""Between two exchanges at least, in seconds, however urgent the next one is."""
ANSWERED_WITHIN_S: Final = 1
TRIED_AGAIN_AFTER_S: Final = 1
COUNTED_FOR_S: Final = 120
"""How long the store keeps the counters of a minute, in seconds."""
PREFIX: Final = "catchment"
BANS: Final = f"{PREFIX}:bans"
"""A sorted set of addresses, by when the ban ends and how many there were: of two scores the greater one holds."""
NEWS: Final = f"{PREFIX}:news"
"""The channel on which servers say what they learned. All databases of a store have the same, so it names its own."""
HEARD_WITHIN_S: Final = 60
MAX_STEP: Final = 15


class SharedWeights:
    """The exchange of one server. Made by `shared`."""

    def __init__(self, address: str, weights: Weights, clock: Clock) -> None:
        """Refuses (BAD_SETTING) an address of another kind, and a Python without the libraries."""
        self.address = without_secret(address)
        self._weights = weights
        self._clock = clock
        self._wanted = asyncio.Event()
        self._bridge, self._redis = _connect(address)
        self._news = self._redis.pubsub()
        self._channel = f"{NEWS}:{self._redis.get_connection_kwargs().get('db', 0)}"  # type: ignore[no-untyped-call]
        self._listening: asyncio.Task[None] | None = None
        self._increment = ""
        self._joined = False
        self._told_away = False
        weights.share(self._wanted.set)

    async def join(self) -> None:
        """Hear from now on what others say, learn every ban, tell those known only here. Away? Say so, once."""
        try:
            await self._stop_listening()
            await self._redis.connection_pool.disconnect()  # they may be dead and not know it
            await self._listen()
            self._increment = await self._redis.script_load(self._bridge.SCRIPT_INCR_EXPIRE)
            await self._share_bans()
        except Exception as error:
            self._away(error)
            return
        self._joined = True
        if self._told_away:
            self._told_away = False
            logger.warning("the shared weights at %s are back", self.address)

    async def exchange(self) -> None:
        """Tell what was charged here since the last time, learn what all servers counted, and say it to all."""
        told = self._weights.take_untold(self._clock.now())
        if not told:
            return
        try:
            self._learn(known := await self._count(told))
            await self._redis.publish(self._channel, _NEWS_OUT.encode(known))
        except Exception as error:
            self._away(error)

    async def keep_exchanging(self) -> None:
        """Until cancelled. While the store is away, look for it once a second and leave what is to be told."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._joined:
                await asyncio.sleep(TRIED_AGAIN_AFTER_S)
                await self.join()
                continue
            await asyncio.sleep(PAUSE_S)
            late = loop.call_later(EXCHANGED_EVERY_S - PAUSE_S, self._wanted.set)
            await self._wanted.wait()
            late.cancel()
            self._wanted.clear()
            await self.exchange()

    async def close(self) -> None:
        """Tell the rest, and let go of the store."""
        if self._joined:
            await self.exchange()
        await self._stop_listening()
        with contextlib.suppress(Exception):
            await self._redis.aclose()

    def _away(self, error: Exception) -> None:
        self._joined = False
        if not self._told_away:
            self._told_away = True
            logger.warning("the shared weights at %s are away; counting alone meanwhile: %s", self.address, error)

    async def _listen(self) -> None:
        self._news = self._redis.pubsub()
        await self._news.subscribe(self._channel)
        await self._news.get_message(timeout=ANSWERED_WITHIN_S)  # that it is subscribed
        self._listening = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        try:
            while True:
                message = await self._news.get_message(timeout=HEARD_WITHIN_S)
                if message is not None and message["type"] == "message":
                    self._learn(_NEWS_IN.decode(message["data"]))
        except Exception as error:
            self._away(error)

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        with contextlib.suppress(Exception):
            await self._news.aclose()  # type: ignore[no-untyped-call]

    def _learn(self, known: Iterable[Counted]) -> None:
        now = self._clock.now()
        for counted in known:
            self._weights.learn(counted, now)

    async def _share_bans(self) -> None:
        now = self._clock.now()
        async with self._redis.pipeline(transaction=False) as pipeline:
            _add_bans(pipeline, self._weights.bans(now))
            pipeline.zremrangebyscore(BANS, "-inf", _score(now - FORGIVEN_MS, 0))
            pipeline.zremrangebyrank(BANS, 0, -1 - MAX_ADDRESSES)
            pipeline.zrange(BANS, 0, -1, withscores=True)
            *_, bans = await pipeline.execute()
        self._learn(Counted(address, 0, 0, 0, *_ban(score)) for address, score in bans)

    async def _count(self, told: list[Counted]) -> list[Counted]:
        """Add to the counters of all servers; gives what they are then. One round trip, however many addresses."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for one in told:
                self._add(pipeline, f"weight:{one.address}/{one.minute}", one.used)
            for one in told:
                self._add(pipeline, f"refused:{one.address}/{one.minute}", one.refused)
            _add_bans(pipeline, told)
            pipeline.zmscore(BANS, [one.address for one in told])
            answers: list[Any] = await pipeline.execute()
        count = len(told)
        return [
            Counted(one.address, one.minute, used, refused, *_ban(score or 0))
            for one, used, refused, score in zip(told, answers, answers[count:], answers[-1], strict=False)
        ]

    def _add(self, pipeline: Pipeline, key: str, amount: int) -> None:
        """What `RedisStorage.incr` would send by itself, one round trip for each key."""
        pipeline.evalsha(self._increment, 1, self._bridge.prefixed_key(key), COUNTED_FOR_S, amount)


_NEWS_OUT: Final = msgspec.json.Encoder()
_NEWS_IN: Final = msgspec.json.Decoder(list[Counted])


@contextlib.asynccontextmanager
async def shared(address: str, weights: Weights, clock: Clock) -> AsyncIterator[None]:
    """Share weights while the block runs; with an empty address they stay this process's own.

    Every ban is known before the block begins, and an address's weight milliseconds after its first request.
    """
    if not address:
        yield
        return
    exchange = SharedWeights(address, weights, clock)
    await exchange.join()
    exchanging = asyncio.create_task(exchange.keep_exchanging())
    try:
        yield
    finally:
        exchanging.cancel()
        await asyncio.wait([exchanging])
        await exchange.close()


def without_secret(address: str) -> str:
    """An address as it may be shown: without user, password and options."""
    scheme, found, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if found else "://"


def _connect(address: str) -> tuple[RedisBridge, Redis]:
    """The library's counters and their connection. Nothing is sent yet."""
    try:
        from limits.aio.storage import RedisStorage  # noqa: PLC0415 - only shared weights need the libraries
        from limits.errors import ConfigurationError  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError:
        raise Refused(errors.BAD_SETTING("weights", "install catchment[shared-weights] for it")) from None
    if not address.startswith(("redis://", "rediss://", "redis+unix://")):
        raise Refused(errors.BAD_SETTING("weights", "write redis://host:port/0, rediss:// or redis+unix:///path"))
    try:
        storage = RedisStorage(
            f"async+{address}",
            implementation="redispy",
            key_prefix=PREFIX,
            socket_timeout=ANSWERED_WITHIN_S,
            socket_connect_timeout=ANSWERED_WITHIN_S,
            decode_responses=True,
        )
    except (ConfigurationError, ValueError):  # the library's sentence may hold the password
        raise Refused(errors.BAD_SETTING("weights", f"cannot use {without_secret(address)}")) from None
    connection = cast("Redis", storage.bridge.get_connection())  # type: ignore[attr-defined]
    connection.set_retry(Retry(NoBackoff(), 0))  # a command repeated could count twice
    return storage.bridge, connection


def _add_bans(pipeline: Pipeline, counted: Iterable[Counted]) -> None:
    if bans := {one.address: _score(one.banned_until, one.bans) for one in counted if one.banned_until}:
        pipeline.zadd(BANS, bans, gt=True)


def _score(until: int, bans: int) -> int:
    return until * (MAX_STEP + 1) + min(bans, MAX_STEP)


def _ban(score: float) -> tuple[int, int]:
    """Until when, and how many; exact, for the score is far under 2**53."""
    return divmod(int(score), MAX_STEP + 1)
