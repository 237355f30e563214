"""The load generator: a process of its own that sends signed requests over kept connections and times every answer.

A plan comes in on stdin as JSON, the tally goes out on stdout. Requests are built and signed before the clock starts;
each connection has one request under way. Only the status line and the content length of an answer are read.
"""

from __future__ import annotations

import gc
import hashlib
import hmac
import random
import select
import socket
import subprocess
import sys
import time
from collections import Counter

import msgspec

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


class Connection:
    """One socket with one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0
        self._rest = b""

    def send(self, request: bytes) -> None:
        """A request is small and nothing else is under way, so the socket takes it whole."""
        self.sent = time.perf_counter_ns()
        self.socket.sendall(request)

    def receive(self) -> str | None:
        """The status of an answer that is whole now; None while it is not. Empty when the server closed."""
        data = self.socket.recv(65_536)
        if not data:
            return ""
        if self._rest:
            data = self._rest + data
        end = data.find(_END)
        head = data[:end].lower()
        at = head.find(_LENGTH) + len(_LENGTH)
        stop = head.find(b"\r", at)
        if end < 0 or len(data) < end + len(_END) + int(head[at : stop if stop > 0 else end]):
            self._rest = data
            return None
        self._rest = b""
        return head[9:12].decode()


def spend(work: Work) -> Tally:
    """Send everything, each connection its next request once it has the answer to the last one."""
    built = requests(work)
    waiting = iter(built)
    latencies: list[int] = []
    statuses: Counter[str] = Counter()
    poll = select.poll()
    connections: dict[int, Connection] = {}
    for _ in range(work.connections):
        made = Connection(work.port)
        connections[made.socket.fileno()] = made
        poll.register(made.socket, select.POLLIN)
    gc.disable()
    started = time.perf_counter()
    for made, request in zip(connections.values(), waiting, strict=False):
        made.send(request)
    under_way = min(len(connections), len(built))
    while under_way:
        for number, _ in poll.poll():
            made = connections[number]
            status = made.receive()
            if status is None:
                continue
            latencies.append(time.perf_counter_ns() - made.sent)
            statuses[status or "lost"] += 1
            following = next(waiting, None) if status else None
            if following is None:
                poll.unregister(number)
                under_way -= 1
            else:
                made.send(following)
    seconds = time.perf_counter() - started
    for made in connections.values():
        made.socket.close()
    latencies.sort()
    p50, p99 = (latencies[int((len(latencies) - 1) * share)] / 1e6 for share in (0.5, 0.99))
    return Tally(seconds, dict(statuses), p50, p99)


if __name__ == "__main__":
    tally = spend(msgspec.json.decode(sys.stdin.buffer.read(), type=Work))
    sys.stdout.buffer.write(msgspec.json.encode(tally))
