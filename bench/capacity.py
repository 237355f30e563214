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
FOLLOWED_S: Final = 3
"""A simulation follows so many collections, or those of so many seconds; the first tenth fills the queues and is not
counted."""
MOST: Final = 1_000
"""Collections in a batch, as the setting `batch` has it."""
BUSY: Final = 0.6
"""What part of a core, or of the turns to commit, may be used in the busiest second."""
CORES: Final = 16
"""Of the machine in the middle: SQLite's and PostgreSQL's only one, a cluster's coordinator."""


class Engine(NamedTuple):
    """What was measured of a store; see docs/explanation/capacity.md.

    Microseconds a collection: of a server's core for HTTP, of its writer's time, of cores on the machine that all
    batches go through, of cores on all the store's machines. A batch takes milliseconds more, whatever its size; its
    turn to commit, which no other overlaps, takes milliseconds, and microseconds a collection. Bytes: of a collection
    of three assets in the journal, and of an account with their balances.
    """

    name: str
    server_us: float
    writer_us: float
    through_us: float
    store_us: float
    batch_ms: float
    turn_ms: float
    turn_us: float
    record_bytes: int
    account_bytes: int
    writers: int | None
    """How many servers may write at once; None if as many as are needed."""

    def turn(self, records: int) -> float:
        """Seconds in which no other batch commits."""
        return self.turn_ms / 1e3 + records * self.turn_us / 1e6


ENGINES: Final = (
    Engine("SQLite", 55, 44, 0, 0, 0.05, 0.35, 0, 500, 550, 1),
    Engine("PostgreSQL", 55, 52, 25, 25, 1.4, 0.6, 1.9, 420, 3_300, None),
    Engine("Citus", 55, 103, 35, 95, 3.0, 1.9, 1.6, 420, 3_300, None),
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
    """What a simulation gave: commands in a batch, how much of the time some batch had its turn, latencies in ms."""

    batch: float
    turning: float
    p50: float
    p99: float


def simulate(engine: Engine, rate: float, writers: int) -> Flow:
    """Follow collections that arrive at `rate` a second, until enough of them were answered."""
    chance = random.Random(SEED)
    waiting: list[deque[float]] = [deque() for _ in range(writers)]
    busy = [False] * writers
    followed = max(FOLLOWED, int(rate * FOLLOWED_S))
    events: list[tuple[float, int, int, tuple[float, ...]]] = [(0.0, 0, -1, ())]
    latencies: list[float] = []
    sizes: list[int] = []
    now = commit_ends = turning = 0.0
    turn = 0

    def start(writer: int) -> None:
        nonlocal turn
        turn += 1
        busy[writer] = bool(waiting[writer])
        if busy[writer]:
            batch = tuple(waiting[writer].popleft() for _ in range(min(MOST, len(waiting[writer]))))
            written = now + engine.batch_ms / 1e3 + len(batch) * engine.writer_us / 1e6
            heapq.heappush(events, (written, turn, writer, batch))

    while len(latencies) < followed:
        now, kind, writer, batch = heapq.heappop(events)
        if writer < 0:  # one arrives
            writer = chance.randrange(writers)
            waiting[writer].append(now)
            heapq.heappush(events, (now + chance.expovariate(rate), 0, -1, ()))
            if not busy[writer]:
                start(writer)
        elif kind > 0:  # a batch is written, and commits when its turn comes
            commit_ends = max(now, commit_ends) + engine.turn(len(batch))
            turning += engine.turn(len(batch))
            heapq.heappush(events, (commit_ends, -kind, writer, batch))
        else:
            latencies += [(now - arrived) * 1e3 for arrived in batch]
            sizes.append(len(batch))
            start(writer)
    cuts = quantiles(latencies[followed // 10 :], n=100)
    return Flow(mean(sizes), min(1, turning / now), cuts[49], cuts[98])


def limits(engine: Engine) -> dict[str, float]:
    """Collections a second at which each part of one ledger has as much to do as it may have."""
    found = {"turn to commit": BUSY * MOST / engine.turn(MOST)}
    if engine.through_us:
        found["machine in the middle"] = BUSY * 1e6 / engine.through_us * CORES
    if engine.writers:
        found["writer"] = BUSY * 1e6 / engine.writer_us * engine.writers
    return found


def plan(engine: Engine, size: Size) -> list[str]:
    """A row of the table: what a venue of this size needs on this engine. A ledger is one store, with a journal of its
    own; a venue that needs several has its accounts spread over them."""
    first, most = min(limits(engine).items(), key=lambda limit: limit[1])
    ledgers = max(1, math.ceil(size.rate / most))
    rate = size.rate / ledgers
    servers = max(1, math.ceil(rate * max(engine.server_us, engine.writer_us) / 1e6 / BUSY))
    flow = simulate(engine, rate, engine.writers or servers)
    stored = math.ceil(size.rate * engine.store_us / 1e6 / BUSY)
    journal = size.accounts * size.a_day * engine.record_bytes
    return [
        f"{size.accounts:,}",
        engine.name,
        f"{size.rate:,.0f}",
        f"{ledgers:,}",
        f"{servers * ledgers:,}",
        f"{stored:,}",
        f"{flow.batch:,.0f}",
        f"{flow.turning:.0%}",
        f"{flow.p50:.1f}, {flow.p99:.1f}",
        f"{first} ({most:,.0f}/s)",
        _bytes(journal),
        _bytes(size.accounts * engine.account_bytes),
    ]


HEAD: Final = (
    "accounts",
    "engine",
    "collections/s at the peak",
    "ledgers",
    "servers",
    "store cores",
    "in a batch",
    "turn busy",
    "p50, p99 ms",
    "a ledger's first limit",
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
