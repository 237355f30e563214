"""`python -m bench.capacity`: how large a venue can be, from what was measured and a simulation of its commits.

The simulation follows single collections: they arrive at random at one of the servers, wait for its writer, are decided
and written beside the batches of the others, and commit one batch after the other. It is drawn from a seed.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import deque
from statistics import mean, quantiles
from typing import Final, NamedTuple

DAY_S: Final = 86_400
SEED: Final = 1
FOLLOWED: Final = 50_000
"""Collections that one simulation follows; the first tenth fills the queues and is not counted."""
MOST: Final = 1_000
"""Collections in a batch, as the setting `batch` has it."""
BUSY: Final = 0.6
"""What part of a core, or of the row that orders commits, may be used in the busiest second."""
CORES: Final = 16
"""Of one machine."""


class Engine(NamedTuple):
    """What was measured of a store: microseconds of one core a collection, in large batches; milliseconds of a batch,
    and of a commit, which no other commit overlaps; bytes a collection leaves in the journal and an account in all."""

    name: str
    server_us: float
    store_us: float
    batch_ms: float
    commit_ms: float
    record_bytes: int
    account_bytes: int
    writers: int | None
    """How many servers may write at once; None if as many as are needed."""


ENGINES: Final = (
    Engine("SQLite", 70, 10, 0.1, 0.4, 640, 900, 1),
    Engine("PostgreSQL", 85, 60, 1.5, 1.0, 560, 1_500, None),
    Engine("Citus", 85, 90, 6.0, 4.0, 560, 1_500, None),
)


class Size(NamedTuple):
    """Accounts, auto-collections of each in a day, and how much busier the busiest second is than the mean."""

    accounts: int
    a_day: int = 24
    peak: int = 10

    @property
    def rate(self) -> float:
        """Collections in the busiest second."""
        return self.accounts * self.a_day / DAY_S * self.peak


class Flow(NamedTuple):
    """What a simulation gave: commands in a batch, how busy the row that orders commits was, latencies in ms."""

    batch: float
    committing: float
    p50: float
    p99: float


def simulate(engine: Engine, rate: float, writers: int) -> Flow:
    """Follow collections that arrive at `rate` a second, until enough of them were answered."""
    chance = random.Random(SEED)
    waiting: list[deque[float]] = [deque() for _ in range(writers)]
    busy = [False] * writers
    events: list[tuple[float, int, int, tuple[float, ...]]] = [(0.0, 0, -1, ())]
    latencies: list[float] = []
    sizes: list[int] = []
    now = commit_ends = 0.0
    turn = 0

    def start(writer: int) -> None:
        nonlocal turn
        turn += 1
        busy[writer] = bool(waiting[writer])
        if busy[writer]:
            batch = tuple(waiting[writer].popleft() for _ in range(min(MOST, len(waiting[writer]))))
            written = now + engine.batch_ms / 1e3 + len(batch) * (engine.server_us + engine.store_us) / 1e6
            heapq.heappush(events, (written, turn, writer, batch))

    while len(latencies) < FOLLOWED:
        now, kind, writer, batch = heapq.heappop(events)
        if writer < 0:  # one arrives
            writer = chance.randrange(writers)
            waiting[writer].append(now)
            heapq.heappush(events, (now + chance.expovariate(rate), 0, -1, ()))
            if not busy[writer]:
                start(writer)
        elif kind > 0:  # a batch is written, and commits when its turn comes
            commit_ends = max(now, commit_ends) + engine.commit_ms / 1e3
            heapq.heappush(events, (commit_ends, -kind, writer, batch))
        else:
            latencies += [(now - arrived) * 1e3 for arrived in batch]
            sizes.append(len(batch))
            start(writer)
    cuts = quantiles(latencies[FOLLOWED // 10 :], n=100)
    return Flow(mean(sizes), len(sizes) * engine.commit_ms / 1e3 / now, cuts[49], cuts[98])


def greatest_rate(engine: Engine) -> float:
    """Collections a second in full batches before the row that orders commits is too busy, or the one writer is."""
    commits = BUSY / (engine.commit_ms / 1e3) * MOST
    if engine.writers is None:
        return commits
    return min(commits, BUSY * 1e6 / (engine.server_us + engine.store_us) * engine.writers)


def plan(engine: Engine, size: Size) -> list[str]:
    """A row of the table: what a venue of this size needs on this engine."""
    ledgers = max(1, math.ceil(size.rate / greatest_rate(engine)))
    rate = size.rate / ledgers
    writers = engine.writers or max(1, math.ceil(rate * (engine.server_us + engine.store_us) / 1e6 / BUSY))
    flow = simulate(engine, rate, writers)
    stored = math.ceil(size.rate * engine.store_us / 1e6 / BUSY)
    journal = size.accounts * size.a_day * engine.record_bytes
    return [
        f"{size.accounts:,}",
        engine.name,
        f"{size.rate:,.0f}",
        f"{ledgers:,}",
        f"{writers * ledgers:,}",
        f"{stored:,} ({math.ceil(stored / CORES):,})",
        f"{flow.batch:,.0f}",
        f"{flow.committing:.0%}",
        f"{flow.p50:.1f}, {flow.p99:.1f}",
        _bytes(journal),
        _bytes(size.accounts * engine.account_bytes),
    ]


HEAD: Final = (
    "accounts",
    "engine",
    "collections/s at the peak",
    "ledgers",
    "server cores",
    f"store cores (machines of {CORES})",
    "batch",
    "commit row busy",
    "p50, p99 ms",
    "journal a day",
    "accounts' rows",
)


def _bytes(count: float) -> str:
    size = int(math.log(max(count, 1), 1_000))
    return f"{count / 1_000**size:.3g} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[size]}"


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__.partition("\n")[0])
    options.add_argument("--accounts", type=int, nargs="+", default=[10_000, 10_000_000, 1_000_000_000])
    options.add_argument("--a-day", type=int, default=Size(0).a_day, help="auto-collections of an account in a day")
    options.add_argument("--peak", type=int, default=Size(0).peak, help="the busiest second over the mean")
    chosen = options.parse_args()
    print("|", " | ".join(HEAD), "|")
    print("|", " | ".join("---" for _ in HEAD), "|")
    for accounts in chosen.accounts:
        for engine in ENGINES:
            print("|", " | ".join(plan(engine, Size(accounts, chosen.a_day, chosen.peak))), "|")


if __name__ == "__main__":
    main()
