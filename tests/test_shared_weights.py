"""Weight and bans shared through a real Redis: by exchanges made one at a time, and by started servers."""

from __future__ import annotations

import asyncio
import http.client
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from catchment import limits
from catchment.clock import FrozenClock
from catchment.errors import Refused, Rejection
from catchment.limits import BAN_STEPS_MS, FORGIVEN_MS, MINUTE_MS, TOLD_AT_ONCE, TOLERATED_429, Counted, Weights
from catchment.shared_weights import COUNTED_FOR_S, SharedWeights, shared, without_secret
from catchment.signature import sign_hmac
from tests.acceptance.program import Program, running
from tests.redis_server import RedisServer, needs_redis, redis_server

START = 29_833_333 * MINUTE_MS
HERE, THERE = "192.0.2.1", "2001:db8::1"
PATIENCE_S = 30
COLLECTION = 750


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


class Server:
    """What a server is to another one: its weights, and an exchange made when the test says so."""

    def __init__(self, redis: RedisServer, clock: FrozenClock, per_minute: int = 6_000) -> None:
        self.weights = Weights(per_minute)
        self.clock = clock
        self.shared = SharedWeights(redis.address, self.weights, clock)

    def charge(self, weight: int = COLLECTION, address: str = HERE) -> int:
        """The weight used, or the status of the refusal."""
        answer = self.weights.charge(address, weight, self.clock.now())
        return answer.status if isinstance(answer, Rejection) else answer

    def used(self, address: str = HERE) -> int:
        return self.weights.used(address, self.clock.now())

    def be_banned(self) -> None:
        """One refusal after another, until it is a ban."""
        self.charge(self.weights.per_minute)
        statuses = [self.charge(1) for _ in range(TOLERATED_429 + 1)]
        assert statuses == [429] * TOLERATED_429 + [418]

    def banned_for(self, address: str = HERE) -> int | None:
        rejection = self.weights.banned(address, self.clock.now())
        return None if rejection is None else rejection.retry_after

    def is_banned_for(self, seconds: int) -> bool:
        return self.banned_for() == seconds


def all_used(made: list[Server], weight: int) -> bool:
    return {server.used() for server in made} == {weight}


@asynccontextmanager
async def servers(redis: RedisServer, count: int = 2, per_minute: int = 6_000) -> AsyncIterator[list[Server]]:
    clock = FrozenClock(START)
    made = [Server(redis, clock, per_minute) for _ in range(count)]
    for server in made:
        await server.shared.join()
    yield made
    for server in made:
        await server.shared.close()


async def check_heard(condition: Callable[[], bool]) -> None:
    """Wait for the news."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


@needs_redis
def test_the_ninth_collection_of_a_minute_is_refused_wherever_it_comes(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis, 3) as made:
            for call in range(1, 9):
                server = made[call % 2]
                assert server.charge() == call * COLLECTION
                await server.shared.exchange()
                await check_heard(partial(all_used, made, call * COLLECTION))
            assert [server.charge() for server in made] == [429, 429, 429]
            assert made[0].charge(1, THERE) == 1

    asyncio.run(work())


@needs_redis
def test_what_two_servers_charged_at_once_is_added_up(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis) as (one, other):
            one.charge(100)
            other.charge(30)
            await one.shared.exchange()
            one.charge(5)
            await check_heard(lambda: other.used() == 130)
            await other.shared.exchange()
            await check_heard(lambda: one.used() == 135)
            assert other.used() == 130, "5 are not told yet"

    asyncio.run(work())


@needs_redis
def test_a_new_minute_begins_with_nothing_used_and_the_old_one_is_forgotten(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis) as (one, other):
            one.charge()
            await one.shared.exchange()
            await check_heard(lambda: other.used() == COLLECTION)
            one.charge()
            one.clock.advance(MINUTE_MS)
            await one.shared.exchange()
            one.charge(1)
            await one.shared.exchange()
            await check_heard(lambda: other.used() == 1)
            client = one.shared._redis
            keys = await client.keys("*")
            assert keys
            assert all([0 < await client.ttl(key) <= COUNTED_FOR_S for key in keys])

    asyncio.run(work())


@needs_redis
def test_a_clock_that_is_ahead_takes_nothing_from_the_minute_of_another(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis, 1) as (one,):
            ahead = Server(redis, FrozenClock(START + MINUTE_MS))
            await ahead.shared.join()
            one.charge(3_000)
            await one.shared.exchange()
            ahead.charge(1)
            ahead.charge(1, THERE)
            await ahead.shared.exchange()
            one.charge(1, "192.0.2.9")
            await one.shared.exchange()
            await check_heard(lambda: HERE in one.weights._addresses and THERE in one.weights._addresses)
            assert one.used() == 3_000
            assert ahead.used() == 1
            one.clock.advance(MINUTE_MS)
            one.charge(1)
            await one.shared.exchange()
            assert one.used() == 2
            await ahead.shared.close()

    asyncio.run(work())


@needs_redis
def test_a_ban_on_one_is_a_ban_on_the_other_and_the_ladder_is_shared(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis, per_minute=10) as made:
            one, other = made
            for step in range(4):
                one.be_banned()
                seconds = BAN_STEPS_MS[step] // 1_000
                assert one.banned_for() == seconds
                assert other.banned_for() is None
                await one.shared.exchange()
                await check_heard(partial(other.is_banned_for, seconds))
                assert other.charge(1) == 418
                assert other.banned_for(THERE) is None
                one.clock.advance(BAN_STEPS_MS[step])
                one, other = other, one
            one.clock.advance(FORGIVEN_MS + 1)
            one.be_banned()
            assert one.banned_for() == BAN_STEPS_MS[0] // 1_000

    asyncio.run(work())


@needs_redis
def test_refusals_of_all_servers_bring_the_ban(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis, per_minute=10) as made:
            made[0].charge(10)
            await made[0].shared.exchange()
            statuses = []
            for turn in range(TOLERATED_429 + 1):
                await check_heard(lambda: made[0].used() == made[1].used())
                statuses.append(made[turn % 2].charge(1))
                await made[turn % 2].shared.exchange()
            assert statuses == [429] * TOLERATED_429 + [418]

    asyncio.run(work())


@needs_redis
def test_a_restarted_server_knows_bans_at_once_and_the_minute_after_its_first_exchange(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis, per_minute=1_000) as (one, _):
            one.be_banned()
            one.charge(750, THERE)
            await one.shared.exchange()
            restarted = Server(redis, one.clock, 1_000)
            await restarted.shared.join()
            assert restarted.banned_for() == BAN_STEPS_MS[0] // 1_000
            assert restarted.charge(1, THERE) == 1
            await restarted.shared.exchange()
            assert restarted.used(THERE) == 751
            await restarted.shared.close()

    asyncio.run(work())


@needs_redis
def test_a_server_that_ends_tells_the_rest(redis: RedisServer) -> None:
    async def work() -> None:
        weights, clock = Weights(6_000), FrozenClock(START)
        async with shared(redis.address, weights, clock):
            weights.charge(HERE, 3_000, START)
        later = Server(redis, clock)
        await later.shared.join()
        later.charge(1)
        await later.shared.exchange()
        assert later.used() == 3_001
        await later.shared.close()

    asyncio.run(work())


@needs_redis
def test_exchanges_go_on_by_themselves(redis: RedisServer) -> None:
    async def work() -> None:
        one, other, clock = Weights(6_000), Weights(6_000), FrozenClock(START)
        async with shared(redis.address, one, clock), shared(redis.address, other, clock):
            one.charge(HERE, COLLECTION, START)
            other.charge(HERE, COLLECTION, START)
            await check_heard(lambda: one.used(HERE, START) == other.used(HERE, START) == 2 * COLLECTION)

    asyncio.run(work())


@needs_redis
def test_away_it_is_said_once_and_every_server_counts_alone(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with servers(redis) as (one, other):
            one.charge(1_000)
            await one.shared.exchange()
            await check_heard(lambda: other.used() == 1_000)
            redis.kill()
            for turn in range(1, 4):
                for server in (one, other):
                    assert server.charge(1_000) == 1_000 * turn + 1_000
                    await server.shared.exchange()
                    await server.shared.join()
            redis.start()  # it has forgotten everything
            for server in (one, other):
                await server.shared.join()
            other.charge(500)
            await other.shared.exchange()
            assert (one.used(), other.used()) == (4_000, 4_500), "what a server knew is never less"
            one.charge(5_000)
            await one.shared.exchange()
            await check_heard(lambda: other.used() == 5_500)

    with caplog.at_level(logging.WARNING):
        asyncio.run(work())
    assert sum("are away" in message for message in caplog.messages) == 2, "once by each"
    assert sum("are back" in message for message in caplog.messages) == 2


@needs_redis
def test_a_ban_made_while_the_store_was_away_is_told_when_it_is_back(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis, per_minute=10) as (one, other):
            redis.kill()
            await check_heard(lambda: not one.shared._joined and not other.shared._joined)
            one.be_banned()
            redis.start()
            await one.shared.join()
            await other.shared.join()
            assert other.banned_for() == one.banned_for() == BAN_STEPS_MS[0] // 1_000

    asyncio.run(work())


@needs_redis
def test_an_exchange_that_may_have_arrived_is_not_told_again(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis) as (one, other):
            one.charge(1)
            await one.shared.exchange()
            one.charge(COLLECTION)
            with redis.silent():
                began = time.monotonic()
                await one.shared.exchange()
                assert time.monotonic() - began < PATIENCE_S
                assert not one.shared._joined
            await one.shared.join()
            one.charge(1)
            await one.shared.exchange()
            assert one.used() == COLLECTION + 2
            await check_heard(lambda: other.used() in (2, COLLECTION + 2))

    asyncio.run(work())


@needs_redis
def test_databases_of_one_store_share_nothing(redis: RedisServer) -> None:
    async def work() -> None:
        async with servers(redis) as (one, other):
            weights = Weights(6_000)
            apart = SharedWeights(redis.address.removesuffix("0") + "1", weights, one.clock)
            await apart.join()
            one.charge(1)
            await one.shared.exchange()
            await check_heard(lambda: other.used() == 1)
            weights.charge(HERE, 1, START)
            await apart.exchange()
            assert weights.used(HERE, START) == 1
            await apart.close()

    asyncio.run(work())


@needs_redis
def test_one_exchange_has_so_many_addresses(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with servers(redis) as (one, other):
            names = [f"192.0.2.{number}" for number in range(TOLD_AT_ONCE + 1)]
            for name in names:
                one.charge(7, name)
                other.charge(5, name)
            await one.shared.exchange()
            await check_heard(lambda: [other.used(name) for name in names] == [12] * TOLD_AT_ONCE + [5])
            await one.shared.exchange()
            await check_heard(lambda: other.used(names[-1]) == 12)

    asyncio.run(work())


@needs_redis
def test_the_store_keeps_so_many_bans(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with servers(redis, per_minute=10) as (one, other):
            for number in range(5):
                one.weights.learn(Counted(f"192.0.2.{number}", 0, 0, 0, START + number + 1, 1), START)
            monkeypatch.setattr("catchment.shared_weights.MAX_ADDRESSES", 3)
            await one.shared.join()
            await other.shared.join()
            assert [other.banned_for(f"192.0.2.{number}") for number in range(5)] == [None, None, 1, 1, 1]

    asyncio.run(work())


@needs_redis
def test_a_password_is_used_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(redis: RedisServer) -> None:
        async with servers(redis) as (one, other):
            one.charge(1)
            await one.shared.exchange()
            await check_heard(lambda: other.used() == 1)
            redis.kill()
            one.charge(1)
            await one.shared.exchange()

    with redis_server(tmp_path, "s3cret") as redis:
        asyncio.run(work(redis))
        assert f"redis://127.0.0.1:{redis.port}/0" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://user:p@ss@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://:p/ss@host:1?password=secret", "rediss://host:1"),
        ("redis+unix:///run/redis.sock?password=secret", "redis+unix:///run/redis.sock"),
        (":secret@host", "://"),
    ],
)
def test_an_address_is_shown_without_its_secret(address: str, shown: str) -> None:
    assert without_secret(address) == shown


@pytest.mark.parametrize(
    "address", ["memcached://127.0.0.1:1", ":s3cret@host", "redis://:s3cret@host/0", "redis://:s3cret@host:port/0"]
)
def test_an_address_that_is_none_is_refused_without_its_password(address: str) -> None:
    async def work() -> None:
        with pytest.raises(Refused) as refused:
            SharedWeights(address, Weights(1), FrozenClock())
        assert refused.value.rejection.name == "BAD_SETTING"
        assert "weights" in str(refused.value)
        assert "s3cret" not in str(refused.value)

    asyncio.run(work())


def test_without_the_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        with pytest.raises(Refused, match=r"catchment\[shared-weights\]"):
            SharedWeights("redis://127.0.0.1:1/0", Weights(1), FrozenClock())

    monkeypatch.setitem(sys.modules, "limits.aio.storage", None)
    asyncio.run(work())


def test_an_empty_address_shares_nothing() -> None:
    async def work() -> None:
        weights = Weights(10)
        async with shared("", weights, FrozenClock(START)):
            weights.charge(HERE, 1, START)
            assert weights.take_untold(START) == []

    asyncio.run(work())


def test_a_store_that_is_not_there_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        weights = Weights(10)
        async with shared("redis://127.0.0.1:1/0", weights, FrozenClock(START)):
            assert weights.charge(HERE, 10, START) == 10
            assert isinstance(weights.charge(HERE, 1, START), Rejection)

    asyncio.run(work())
    assert sum("are away" in message for message in caplog.messages) == 1


# Started servers ------------------------------------------------------------------------------------------------------

SCENARIO = """
[[account]]
name = "alice"
[[account.key]]
api_key = "key"
secret = "secret"
"""


def asked(program: Program, method: str = "GET", path: str = "/papi/v1/ping") -> tuple[int, int]:
    """Status and used weight."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, headers={"X-MBX-APIKEY": "key"})
        response = connection.getresponse()
        response.read()
        return response.status, int(response.headers["X-MBX-USED-WEIGHT-1M"])
    finally:
        connection.close()


def collected(program: Program) -> int:
    query = f"timestamp={time.time_ns() // 1_000_000}"
    signature = sign_hmac(b"secret", query.encode())
    return asked(program, "POST", f"/papi/v1/auto-collection?{query}&signature={signature}")[0]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_most_of_a_minute() -> None:
    """So that what follows happens within one minute."""
    left = 60 - time.time() % 60
    if left < 8:
        time.sleep(left + 0.05)


@pytest.fixture
def sharing(tmp_path: Path, redis: RedisServer) -> Path:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'weights = "{redis.address}"\n')
    return settings


@needs_redis
def test_two_servers_grant_eight_collections_a_minute_and_share_the_ban(tmp_path: Path, sharing: Path) -> None:
    wait_for_most_of_a_minute()
    options = ("--config", str(sharing))
    with running(tmp_path, SCENARIO, *options) as one, running(tmp_path, SCENARIO, *options) as other:
        for turn in range(8):
            assert collected((one, other)[turn % 2]) == 200
            time.sleep(0.1)  # longer than an exchange may take
        assert [collected(one), collected(other)] == [429, 429]
        wait_until(lambda: asked(one)[0] == 418)
        time.sleep(0.1)
        assert asked(other)[0] == 418


@needs_redis
def test_a_server_killed_and_back_knows_the_minute_and_a_redis_killed_and_back_is_used_again(
    tmp_path: Path, sharing: Path, redis: RedisServer
) -> None:
    wait_for_most_of_a_minute()
    options = ("--config", str(sharing), "--weight-per-minute", "100000")
    with running(tmp_path, SCENARIO, *options) as one, running(tmp_path, SCENARIO, *options) as other:
        assert collected(one) == 200
        wait_until(lambda: asked(other)[1] > COLLECTION)
        one.process.kill()
        one.process.wait()
        with running(tmp_path, SCENARIO, *options) as again:
            wait_until(lambda: asked(again)[1] > COLLECTION)
            redis.kill()
            assert [collected(program) for program in (again, other)] == [200, 200]
            redis.start()
            before = asked(other)[1]
            assert collected(again) == 200

            def heard() -> bool:
                assert asked(again)[0] == 200
                return asked(other)[1] > before + COLLECTION

            wait_until(heard)


def test_the_bound_of_an_exchange_is_not_the_bound_of_addresses() -> None:
    assert TOLD_AT_ONCE < limits.MAX_ADDRESSES
