"""One collection over HTTP with nobody else calling, beside the disk's own fsync in the same folder."""

from __future__ import annotations

import asyncio
import os
import time
from statistics import median

from bench import process, seed
from bench.figure import AT_MOST, Figure, Plan
from bench.load import Tally, Work, send
from catchment.config import Settings
from catchment.venue import Venue

PART = "alone"
P50_MS = 2.0
P99_BEYOND_FSYNC_MS = 10.0
BLOCK = bytes(4096)


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part."""
    return asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> list[Figure]:
    path = plan.folder / "alone.db"
    accounts = plan.pick(200, 2_000)
    seed.add_accounts(path, accounts)
    venue = await Venue.open(Settings(store=f"sqlite:///{path}"))
    try:
        await seed.add_keys(venue, path, accounts)
        port = process.free_port()
        with process.venue(f"sqlite:///{path}", port, plan.folder / "alone.log"):
            send(Work(port, connections=1, count=accounts))
            disk: list[tuple[float, float]] = []
            rounds: list[Tally] = []
            for number in range(1, plan.pick(2, 5) + 1):
                await seed.refund(venue, accounts)
                disk.append(_fsyncs(plan, accounts))
                rounds.append(send(Work(port, connections=1, count=accounts, seed=number)))
    finally:
        await venue.close()
    return _figures(rounds, disk)


def _figures(rounds: list[Tally], disk: list[tuple[float, float]]) -> list[Figure]:
    beyond = median(each.p99 - fsync[1] for each, fsync in zip(rounds, disk, strict=True))
    return [
        Figure(PART, "collection alone p50", median(each.p50 for each in rounds), "ms", P50_MS, AT_MOST),
        Figure(PART, "collection alone p99", median(each.p99 for each in rounds), "ms"),
        Figure(PART, "disk's fsync p50", median(fsync[0] for fsync in disk), "ms", note="4 KiB appended"),
        Figure(PART, "disk's fsync p99", median(fsync[1] for fsync in disk), "ms"),
        Figure(PART, "p99 beyond the disk's", beyond, "ms", P99_BEYOND_FSYNC_MS, AT_MOST),
    ]


def _fsyncs(plan: Plan, count: int) -> tuple[float, float]:
    """The disk's p50 and p99 in milliseconds for appending 4 KiB and waiting until it is down."""
    path = plan.folder / "fsync"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    taken = []
    try:
        for _ in range(count):
            started = time.perf_counter()
            os.write(file, BLOCK)
            os.fsync(file)
            taken.append(1_000 * (time.perf_counter() - started))
    finally:
        os.close(file)
        path.unlink()
    taken.sort()
    return taken[count // 2], taken[int((count - 1) * 0.99)]
