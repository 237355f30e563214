"""The PostgreSQL engine: batches against one transaction for each collection, on the same server."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from statistics import median
from typing import Any, Final

import asyncpg

from bench import database, seed
from bench.figure import Figure, Plan
from catchment.clock import RealClock
from catchment.ledger.balance import AccountId, decode_state, encode_state
from catchment.ledger.commands import AutoCollection, Trigger
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.store.postgres import PostgresStore
from catchment.writer import calm_collector, write_batch

PART = "postgres"
CONNECTIONS: Final = 16
BATCHES: Final = (200, 1_000)
TIMES: Final = 10.0
REFUNDED_AT_ONCE: Final = 3_000
COMMAND = AutoCollection(Trigger.API)
RULES = Rules()

_LOCK = "SELECT state FROM holding WHERE account = $1 FOR UPDATE"
_KEEP = "UPDATE holding SET version = version + 1, state = $2 WHERE account = $1"
_APPEND = "INSERT INTO journal VALUES ($1, $2, $3, 'API', $1, 0, $4, $5)"


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part. Every collection moves three assets; putting the funds back is not timed."""
    accounts, few = plan.pick(1_000, 10_000), plan.pick(300, 3_000)
    rates: dict[str, list[float]] = {}
    with database.server(plan.folder) as address:
        database.add_accounts(address, accounts, funded=False)
        with closing(PostgresStore(address)) as store:
            calm_collector()
            for ids in _rounds(store, accounts, plan.pick(2, 5)):
                for batch in BATCHES:
                    refund(store, ids)
                    rates.setdefault(f"batches of {batch:,}", []).append(_in_batches(store, ids, batch))
                refund(store, ids)
                rates.setdefault("one by one", []).append(asyncio.run(_one_by_one(address, ids[:few])))
    figures = [Figure(PART, name, median(found), "/s") for name, found in rates.items()]
    for batch in BATCHES:
        name = f"batches of {batch:,}"
        ratio = median(many / one for many, one in zip(rates[name], rates["one by one"], strict=True))
        note = f"against one transaction each, {CONNECTIONS} connections"
        figures.append(Figure(PART, f"{name}, times", ratio, "x", TIMES, note=note))
    return figures


def _rounds(store: PostgresStore, accounts: int, rounds: int) -> Iterator[Sequence[AccountId]]:
    """All accounts in another order each time; in the first round, which warms up, they are collected once."""
    ids = [seed.account_id(number) for number in range(accounts)]
    refund(store, ids)
    _in_batches(store, ids, max(BATCHES))
    for number in range(rounds):
        yield random.Random(number).sample(ids, accounts)


def _in_batches(store: PostgresStore, accounts: Sequence[AccountId], size: int) -> float:
    """Collections a second by the venue's writer."""
    started = time.perf_counter()
    for part in seed.parts(accounts, size):
        answers = write_batch(store, [(account, COMMAND) for account in part], RealClock().now(), RULES)
        if not all(
            isinstance(answer, Stored) and len(answer.record.transfers) == len(seed.FUNDS) for answer in answers
        ):
            raise RuntimeError("not collections of three assets")
    return len(accounts) / (time.perf_counter() - started)


async def _one_by_one(address: str, accounts: Sequence[AccountId]) -> float:
    """Collections a second the usual way: lock the row, decide, write a row of the journal and the state, commit.
    No order over all accounts is kept, which would make them take turns."""
    waiting = iter(accounts)
    connections = [await asyncpg.connect(address) for _ in range(CONNECTIONS)]

    async def go_on(connection: Any) -> None:
        for account in waiting:
            async with connection.transaction():
                state = decode_state(await connection.fetchval(_LOCK, account))
                record = decide(account, state, COMMAND, RealClock().now(), RULES)
                if not isinstance(record, Record) or len(record.transfers) != len(seed.FUNDS):
                    raise RuntimeError(f"not a collection of three assets: {record}")
                apply(state, record, RULES)
                row = (account, record.number, record.timestamp, record.text.decode(), record.digest)
                await connection.execute(_APPEND, *row)
                await connection.execute(_KEEP, account, encode_state(state))

    started = time.perf_counter()
    await asyncio.gather(*map(go_on, connections))
    taken = time.perf_counter() - started
    for connection in connections:
        await connection.close()
    return len(accounts) / taken


def refund(store: PostgresStore, accounts: Sequence[AccountId]) -> None:
    """Put the accounts' funds back."""
    for part in seed.parts(list(seed.refunds(sorted(accounts))), REFUNDED_AT_ONCE):
        write_batch(store, part, RealClock().now(), RULES)
