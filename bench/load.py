"""The load generator: a process of its own that sends signed requests over kept connections and times every answer.

A plan comes in on stdin as JSON, the tally goes out on stdout. Requests are built and signed before the clock starts;
each connection has one request under way. Only the status line and the content length of an answer are read.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import cast

import msgspec
import uvloop

HOST = "127.0.0.1"
SECRET = "bench" * 12 + "abcd"
"""The same for every key: 64 characters, as a live one has."""
COLLECT = "/papi/v1/auto-collection"
PING = "/papi/v1/ping"
GIVE_UP_S = 120

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Work(msgspec.Struct):
    """What to send: `count` requests for the keys from `first` on, shuffled by `seed` unless it is 0."""

    port: int
    path: str = COLLECT
    connections: int = 64
    first: int = 0
    count: int = 10_000
    seed: int = 0


class Tally(msgspec.Struct):
    """What came of it. Latencies are milliseconds, from sending a request to having its whole answer."""

    seconds: float
    statuses: dict[str, int]
    p50: float
    p99: float

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


def send(work: Work) -> Tally:
    """Run the work in a process of its own. Raises unless every answer was 200."""
    command = [sys.executable, "-m", "bench.load"]
    done = subprocess.run(
        command, input=msgspec.json.encode(work), stdout=subprocess.PIPE, check=True, timeout=GIVE_UP_S
    )
    tally = msgspec.json.decode(done.stdout, type=Tally)
    if tally.statuses != {"200": work.count}:
        raise RuntimeError(f"{work} was answered with {tally.statuses}")
    return tally


def api_key(number: int) -> str:
    """The text of a key: 64 characters, as a live one has."""
    return f"bench{number:059d}"


def requests(work: Work) -> list[bytes]:
    """The bytes of every request, signed now."""
    if work.path == PING:
        return [b"GET %b HTTP/1.1\r\nHost: %b:%d\r\n\r\n" % (PING.encode(), HOST.encode(), work.port)] * work.count
    numbers = list(range(work.first, work.first + work.count))
    if work.seed:
        random.Random(work.seed).shuffle(numbers)
    keyed = hmac.new(SECRET.encode(), digestmod=hashlib.sha256)
    built = []
    for number in numbers:
        payload = f"recvWindow=60000&timestamp={time.time_ns() // 1_000_000}"
        mac = keyed.copy()
        mac.update(payload.encode())
        built.append(
            f"POST {work.path}?{payload}&signature={mac.hexdigest()} HTTP/1.1\r\nHost: {HOST}:{work.port}\r\n"
            f"X-MBX-APIKEY: {api_key(number)}\r\nContent-Length: 0\r\n\r\n".encode()
        )
    return built


class Connection(asyncio.Protocol):
    """Sends the next request when an answer is whole, until there are none left."""

    def __init__(self, waiting: Iterator[bytes], latencies: list[int], statuses: Counter[str]) -> None:
        self._waiting = waiting
        self._latencies = latencies
        self._statuses = statuses
        self._rest = b""
        self._sent = 0
        self._transport: asyncio.Transport | None = None
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def next(self) -> None:
        """Send one more request, or end."""
        assert self._transport is not None
        request = next(self._waiting, None)
        if request is None:
            self._transport.close()
            self.finished.set_result(None)
            return
        self._sent = time.perf_counter_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        end = data.find(_END)
        if end < 0:
            self._rest = data
            return
        head = data[:end].lower()
        at = head.find(_LENGTH) + len(_LENGTH)
        stop = head.find(b"\r", at)
        if len(data) < end + len(_END) + int(head[at : stop if stop > 0 else end]):
            self._rest = data
            return
        self._latencies.append(time.perf_counter_ns() - self._sent)
        self._statuses[head[9:12].decode()] += 1
        self._rest = b""
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self._statuses["lost"] += 1
            self.finished.set_result(None)


async def _spend(work: Work) -> None:
    built = requests(work)
    waiting = iter(built)
    latencies: list[int] = []
    statuses: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(work.connections):
        _, made = await loop.create_connection(lambda: Connection(waiting, latencies, statuses), HOST, work.port)
        connections.append(made)
    gc.disable()
    started = time.perf_counter()
    for made in connections:
        made.next()
    await asyncio.gather(*(made.finished for made in connections))
    seconds = time.perf_counter() - started
    latencies.sort()
    p50, p99 = (latencies[int((len(latencies) - 1) * share)] / 1e6 for share in (0.5, 0.99))
    sys.stdout.buffer.write(msgspec.json.encode(Tally(seconds, dict(statuses), p50, p99)))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_spend(msgspec.json.decode(sys.stdin.buffer.read(), type=Work)))
