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
CONNECTIONS: Final = 64
TIMES: Final = 1.3
WARMED_UP_BY: Final = 8
"""Rounds before the clock starts: of two processes each has then met nearly every key, whoever it was sent to."""


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part: both servers are up all the time, and take turns."""
    accounts, rounds = plan.pick(500, 5_000), plan.pick(2, 7)
    tallies: dict[int, list[Tally]] = {1: [], 2: []}
    with database.server(plan.folder) as address:
        database.add_accounts(address, accounts, funded=False)
        asyncio.run(database.add_keys(address, accounts))
        log = plan.folder / "servers.log"
        ports = {processes: process.free_port() for processes in tallies}
        one, two = (process.venue(address, port, log, CATCHMENT_PROCESSES=str(n)) for n, port in ports.items())
        with closing(PostgresStore(address)) as store, one, two:
            ids = [seed.account_id(number) for number in range(accounts)]
            for port in ports.values():
                for _ in range(WARMED_UP_BY):
                    send(Work(port, connections=CONNECTIONS, count=accounts))
            for number in range(1, rounds + 1):
                for processes, port in ports.items():
                    refund(store, ids)
                    work = Work(port, connections=CONNECTIONS, count=accounts, seed=number)
                    tallies[processes].append(send(work))
    ratio = median(two.rate / one.rate for one, two in zip(tallies[1], tallies[2], strict=True))
    figures = []
    for processes, name in ((1, "one process"), (2, "two processes")):
        figures += [
            Figure(PART, name, median(tally.rate for tally in tallies[processes]), "/s"),
            Figure(PART, f"{name}, p99", median(tally.p99 for tally in tallies[processes]), "ms"),
        ]
    return [*figures, Figure(PART, "two against one", ratio, "x", TIMES, note=f"{CONNECTIONS} connections")]
