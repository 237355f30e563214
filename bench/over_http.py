"""Durable signed collections over HTTP, against the same server's ping and against the usual way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import opponent, process, seed
from bench.figure import AT_LEAST, Figure, Plan
from bench.load import PING, Tally, Work, send
from catchment.config import Settings
from catchment.venue import Venue

PART = "http"
CONNECTIONS = 64
OF_PING = 0.40
OF_OPPONENT = 10.0

_COLLECTED = """
    SELECT count(*) FROM journal
    WHERE json_extract(body, '$.command.type') = 'AutoCollection'
    AND json_array_length(body, '$.transfers') = 3
"""


class Round(NamedTuple):
    """One turn of each, side by side; half of the pings go before the collections, half after."""

    pings: tuple[Tally, Tally]
    collected: Tally
    opponent: Tally

    @property
    def ping_rate(self) -> float:
        """Pings a second while the collections were made, as near as can be told."""
        return sum(tally.answered for tally in self.pings) / sum(tally.seconds for tally in self.pings)


class Field(NamedTuple):
    """The two servers, their files, and how much is asked of them in a round."""

    venue: Venue
    path: Path
    port: int
    rival: Path
    rival_port: int
    accounts: int
    pings: int
    rival_accounts: int


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part."""
    return asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> list[Figure]:
    path, rival = plan.folder / "http.db", plan.folder / "opponent.db"
    accounts = plan.pick(1_000, 10_000)
    seed.add_accounts(path, accounts)
    venue = await Venue.open(Settings(store=f"sqlite:///{path}"))
    try:
        await seed.add_keys(venue, path, accounts)
        opponent.prepare(rival, accounts)
        with _servers(plan.folder, path, rival) as (port, rival_port):
            field = Field(
                venue, path, port, rival, rival_port, accounts, plan.pick(3_000, 30_000), plan.pick(500, 2_000)
            )
            rounds, answered, rival_answered = await _rounds(field, plan.pick(3, 9))
        return [*_figures(rounds), *await _proof(field, answered, rival_answered)]
    finally:
        await venue.close()


@contextmanager
def _servers(folder: Path, path: Path, rival: Path) -> Iterator[tuple[int, int]]:
    port, rival_port = process.free_port(), process.free_port()
    log = folder / "http.log"
    usual = ["-m", "bench.opponent", str(rival), str(rival_port)]
    with process.venue(f"sqlite:///{path}", port, log), process.running(usual, rival_port, log):
        yield port, rival_port


async def _rounds(field: Field, count: int) -> tuple[list[Round], int, int]:
    """Warm every key up, then take turns; the number of collections each server answered in all."""
    await seed.refund(field.venue, field.accounts)
    send(Work(field.port, count=field.accounts))
    send(Work(field.rival_port, count=field.rival_accounts))
    answered, rival_answered = field.accounts, field.rival_accounts
    rounds = []
    for number in range(1, count + 1):
        await seed.refund(field.venue, field.accounts)
        opponent.refund(field.rival)
        pings = Work(field.port, PING, CONNECTIONS, count=field.pings // 2)
        before = send(pings)
        collected = send(Work(field.port, connections=CONNECTIONS, count=field.accounts, seed=number))
        after = send(pings)
        usual = send(Work(field.rival_port, connections=CONNECTIONS, count=field.rival_accounts, seed=number))
        rounds.append(Round((before, after), collected, usual))
        answered += collected.answered
        rival_answered += usual.answered
    return rounds, answered, rival_answered


def _figures(rounds: list[Round]) -> list[Figure]:
    return [
        Figure(PART, "ping", median(each.ping_rate for each in rounds), "/s", note="GET /papi/v1/ping"),
        Figure(
            PART,
            "collections",
            median(each.collected.rate for each in rounds),
            "/s",
            note=f"durable, {CONNECTIONS} connections",
        ),
        Figure(PART, "collections p50", median(each.collected.p50 for each in rounds), "ms"),
        Figure(PART, "collections p99", median(each.collected.p99 for each in rounds), "ms"),
        Figure(PART, "opponent", median(each.opponent.rate for each in rounds), "/s", note="FastAPI + SQLAlchemy"),
        Figure(PART, "opponent p99", median(each.opponent.p99 for each in rounds), "ms"),
        Figure(
            PART,
            "share of ping",
            median(each.collected.rate / each.ping_rate for each in rounds),
            "",
            OF_PING,
            AT_LEAST,
        ),
        Figure(
            PART,
            "times the opponent",
            median(each.collected.rate / each.opponent.rate for each in rounds),
            "x",
            OF_OPPONENT,
            AT_LEAST,
        ),
    ]


async def _proof(field: Field, answered: int, rival_answered: int) -> list[Figure]:
    """The journals hold exactly what was answered, and the venue's is true."""
    verdict = await field.venue.verify()
    with closing(sqlite3.connect(field.path)) as connection:
        kept = connection.execute(_COLLECTED).fetchone()[0]
    rival_kept = opponent.collected(field.rival)
    if kept != answered or rival_kept != rival_answered or verdict.findings:
        raise RuntimeError(f"{answered} answered, {kept} kept; {rival_answered}, {rival_kept}; {verdict.findings[:3]}")
    note = f"of {answered:,} answered; {verdict.records:,} records verified, no finding"
    return [Figure(PART, "collections in the journal", kept, "", answered, note=note)]
