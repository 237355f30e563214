"""How fast the load generator is: against a server that only answers. A figure near it measures the generator."""

from __future__ import annotations

import asyncio
import sys
from statistics import median

import uvloop

from bench import process
from bench.figure import Figure, Plan
from bench.load import HOST, PING, Work, send

PART = "load"
GOAL = 60_000
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Answerer(asyncio.Protocol):
    """Answers whatever comes, without looking at it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._write(ANSWER)


def measure(plan: Plan) -> list[Figure]:
    """The figure of this part."""
    port = process.free_port()
    count = plan.pick(20_000, 100_000)
    with process.running(["-m", "bench.ceiling", str(port)], port, plan.folder / "ceiling.log"):
        rates = [send(Work(port, PING, count=count)).rate for _ in range(plan.pick(1, 3))]
    return [Figure(PART, "load generator", median(rates), "/s", GOAL, note="against a server that only answers")]


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answerer, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1])))
