"""Two server processes on one PostgreSQL against one, over HTTP; the database is on the same cores."""

from __future__ import annotations

import asyncio
from contextlib import closing
from statistics import median
from typing import Final

from bench import database, process, seed
from bench.figure import Figure, Plan
from bench.load import Tally, Work, send
from bench.on_postgres import refund
from catchment.store.postgres import PostgresStore

PART = "servers"
CONNECTIONS: Final = (64, 256)
"""Of 64 callers, two processes have batches half as large as one has, and a batch costs the same whatever is in it; who
needs two processes has more callers."""
TIMES: Final = 1.3
WARMED_UP_BY: Final = 8
"""Rounds before the clock starts: of two processes each has then met nearly every key, whoever it was sent to."""


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part: both servers are up all the time, and take turns."""
    accounts, rounds = plan.pick(500, 5_000), plan.pick(2, 7)
    tallies: dict[tuple[int, int], list[Tally]] = {(callers, n): [] for callers in CONNECTIONS for n in (1, 2)}
    with database.server(plan.folder) as address:
        database.add_accounts(address, accounts, funded=False)
        asyncio.run(database.add_keys(address, accounts))
        log = plan.folder / "servers.log"
        ports = {processes: process.free_port() for processes in (1, 2)}
        one, two = (process.venue(address, port, log, CATCHMENT_PROCESSES=str(n)) for n, port in ports.items())
        with closing(PostgresStore(address)) as store, one, two:
            ids = [seed.account_id(number) for number in range(accounts)]
            for port in ports.values():
                for _ in range(WARMED_UP_BY):
                    send(Work(port, connections=max(CONNECTIONS), count=accounts))
            for number in range(1, rounds + 1):
                for (callers, processes), done in tallies.items():
                    refund(store, ids)
                    work = Work(ports[processes], connections=callers, count=accounts, seed=number)
                    done.append(send(work))
    return [figure for callers in CONNECTIONS for figure in _figures(callers, tallies)]


def _figures(callers: int, tallies: dict[tuple[int, int], list[Tally]]) -> list[Figure]:
    """Of so many connections; the goal is for the most."""
    one, two = tallies[callers, 1], tallies[callers, 2]
    ratio = median(second.rate / first.rate for first, second in zip(one, two, strict=True))
    note = f"{callers} connections"
    return [
        Figure(PART, f"one process, {callers}", median(tally.rate for tally in one), "/s", note=note),
        Figure(PART, f"one process, {callers}, p99", median(tally.p99 for tally in one), "ms"),
        Figure(PART, f"two processes, {callers}", median(tally.rate for tally in two), "/s", note=note),
        Figure(PART, f"two processes, {callers}, p99", median(tally.p99 for tally in two), "ms"),
        Figure(
            PART, f"two against one, {callers}", ratio, "x", TIMES if callers == max(CONNECTIONS) else None, note=note
        ),
    ]
