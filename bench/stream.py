"""The user-data stream: how soon after its answer a collection is heard, and what subscribers cost the others.

The subscribers are a process of their own, one socket each. Every event is counted: none may be missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import IO, Final

import msgspec

from bench import process, seed
from bench.figure import Figure, Plan
from bench.load import HOST, SECRET, Connection, Work, api_key, send
from catchment.config import Settings
from catchment.venue import Venue

PART = "stream"
SUBSCRIBERS: Final = 1_000
LAST: Final = b'"outboundAccountPosition"'
"""In the last event of a collection."""
GIVE_UP_S: Final = 60


class Ears(msgspec.Struct):
    """Whom to listen to: `count` accounts from the first on, one subscriber each; or `crowd` subscribers of the first.

    Then `collections` are made one after another, each timed from its answer to its last event at every subscriber of
    its account; with none, what others collect is counted until standard input ends.
    """

    port: int
    count: int = 1
    crowd: int = 0
    collections: int = 0


class Heard(msgspec.Struct):
    """Milliseconds after the answer, below 0 if the event was there first; and how many collections were heard."""

    after_ms: list[float]
    collections: int


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part."""
    return asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> list[Figure]:
    path, accounts = plan.folder / "stream.db", plan.pick(500, 10_000)
    subscribers = min(SUBSCRIBERS, accounts)
    seed.add_accounts(path, accounts)
    venue = await Venue.open(Settings(store=f"sqlite:///{path}"))
    try:
        await seed.add_keys(venue, path, accounts)
        await seed.refund(venue, subscribers)
        port = process.free_port()
        with process.venue(f"sqlite:///{path}", port, plan.folder / "stream.log"):
            each = plan.pick(50, 1_000)
            figures = [
                *_soon("1 subscriber", Ears(port, collections=each)),
                *_soon(f"{subscribers:,} subscribers", Ears(port, subscribers, collections=each)),
                *_soon(
                    f"last of {subscribers:,} of one account", Ears(port, crowd=subscribers, collections=each // 20)
                ),
            ]
            return figures + await _rates(venue, port, accounts, subscribers, plan.pick(2, 5))
    finally:
        await venue.close()


def _soon(who: str, ears: Ears) -> list[Figure]:
    with _listening(ears) as listener:
        after = sorted(_told(listener).after_ms)
    p50, p99 = (after[int((len(after) - 1) * share)] for share in (0.5, 0.99))
    return [
        Figure(PART, f"{who}, p50", p50, "ms", note="from the answer to the last event"),
        Figure(PART, f"{who}, p99", p99, "ms"),
    ]


async def _rates(venue: Venue, port: int, accounts: int, subscribers: int, rounds: int) -> list[Figure]:
    """In turns: nobody listens; a part of the accounts is heard; all that is collected is heard."""
    send(Work(port, count=accounts))
    cases = {
        "nobody listens": (0, accounts),
        f"{subscribers:,} of {accounts:,} accounts heard": (subscribers, accounts),
        f"{subscribers:,} accounts, all heard": (subscribers, subscribers),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(1, rounds + 1):
        for name, (heard, collected) in cases.items():
            await seed.refund(venue, collected)
            work = Work(port, count=collected, seed=number)
            if not heard:
                rates[name].append(send(work).rate)
                continue
            with _listening(Ears(port, heard)) as listener:
                rates[name].append(send(work).rate)
                told = _told(listener)
            if told.collections != heard:
                raise RuntimeError(f"{told.collections} of {heard} collections were heard")
    return [Figure(PART, name, median(found), "/s", note="collections") for name, found in rates.items()]


@contextmanager
def _listening(ears: Ears) -> Iterator[subprocess.Popen[bytes]]:
    """The process of the subscribers, once all of them are there."""
    command = [sys.executable, "-m", "bench.stream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        try:
            _pipe(listener.stdin).write(msgspec.json.encode(ears) + b"\n")
            _pipe(listener.stdin).flush()
            if _pipe(listener.stdout).readline() != b"ready\n":
                raise RuntimeError("the subscribers did not come to listen")
            yield listener
        finally:
            listener.kill()


def _told(listener: subprocess.Popen[bytes]) -> Heard:
    _pipe(listener.stdin).close()
    return msgspec.json.decode(_pipe(listener.stdout).readline(), type=Heard)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


# The subscribers' process ---------------------------------------------------------------------------------------------


class Subscriber:
    """One websocket; `heard` counts the collections whose last event came."""

    def __init__(self, port: int, listen_key: str) -> None:
        self.socket = socket.create_connection((HOST, port))
        self.heard = 0
        self._rest = b""
        self.socket.sendall(
            b"GET /pm/ws/%b HTTP/1.1\r\nHost: %b:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            % (listen_key.encode(), HOST.encode(), port)
        )
        if not self.socket.recv(4_096).startswith(b"HTTP/1.1 101"):
            raise RuntimeError("no websocket")

    def receive(self) -> int:
        """How many collections it has heard the last of, just now."""
        data = self.socket.recv(262_144)
        if not data:
            raise RuntimeError("a subscriber was closed")
        found = self._rest + data
        count = found.count(LAST)
        self.heard += count
        self._rest = found[found.rfind(LAST) + len(LAST) if LAST in found else 0 :][-len(LAST) + 1 :]
        return count


def listen(ears: Ears) -> Heard:
    """Listen until it is enough."""
    keys = _listen_keys(ears.port, 1 if ears.crowd else ears.count)
    subscribers = [Subscriber(ears.port, key) for key in keys * max(1, ears.crowd)]
    poll = select.poll()
    for subscriber in subscribers:
        poll.register(subscriber.socket, select.POLLIN)
    by_number = {subscriber.socket.fileno(): subscriber for subscriber in subscribers}
    print("ready", flush=True)
    if ears.collections:
        return Heard(_time(ears, by_number, poll), ears.collections)
    poll.register(sys.stdin, select.POLLIN)
    heard = -1
    told_to_end = False
    while not told_to_end or heard != (heard := sum(subscriber.heard for subscriber in subscribers)):
        for number, _ in poll.poll(500 if told_to_end else None):
            if number in by_number:
                by_number[number].receive()
            else:
                told_to_end = True
                poll.unregister(sys.stdin)
    return Heard([], heard)


def _time(ears: Ears, by_number: dict[int, Subscriber], poll: select.poll) -> list[float]:
    """Each collection moves one unit, so that there is always something to move."""
    caller = Connection(ears.port)
    caller_number = caller.socket.fileno()
    poll.register(caller.socket, select.POLLIN)
    after = []
    for turn in range(1, ears.collections + 1):
        account = 0 if ears.crowd else turn % ears.count
        caller.send(_one_unit(ears.port, account))
        left, answered, heard = ears.crowd or 1, 0, 0
        while not (answered and heard):
            for number, _ in poll.poll(GIVE_UP_S * 1_000):
                if number != caller_number:
                    left -= by_number[number].receive()
                elif caller.receive() is not None:
                    answered = time.perf_counter_ns()
            if not left and not heard:
                heard = time.perf_counter_ns()
        after.append((heard - answered) / 1e6)
    return after


def _one_unit(port: int, number: int) -> bytes:
    payload = f"asset=USDT&amount=0.00000001&futureType=UM&timestamp={time.time_ns() // 1_000_000}"
    signature = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
    return (
        f"POST /papi/v1/asset-collection?{payload}&signature={signature} HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
        f"X-MBX-APIKEY: {api_key(number)}\r\nContent-Length: 0\r\n\r\n".encode()
    )


def _listen_keys(port: int, count: int) -> list[str]:
    caller = http.client.HTTPConnection(HOST, port, timeout=GIVE_UP_S)
    keys = []
    for number in range(count):
        caller.request("POST", "/papi/v1/listenKey", headers={"X-MBX-APIKEY": api_key(number)})
        keys.append(msgspec.json.decode(caller.getresponse().read())["listenKey"])
    caller.close()
    return keys


if __name__ == "__main__":
    heard = listen(msgspec.json.decode(sys.stdin.buffer.readline(), type=Ears))
    sys.stdout.buffer.write(msgspec.json.encode(heard) + b"\n")
