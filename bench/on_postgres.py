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
import uvloop

from bench import database, seed
from bench.figure import Figure, Plan
from catchment.batcher import BATCHES_AT_ONCE
from catchment.clock import RealClock
from catchment.ledger.balance import AccountId, decode_state, encode_state
from catchment.ledger.commands import AutoCollection, Trigger
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.store.postgres import PostgresStore
from catchment.writer import calm_collector, write_batch, write_on_loop

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
            calm_collector()  # as a server does
            for ids in _rounds(store, accounts, plan.pick(2, 5)):
                for batch in BATCHES:
                    refund(store, ids)
                    rates.setdefault(f"batches of {batch:,}", []).append(uvloop.run(_in_batches(address, ids, batch)))
                refund(store, ids)
                rates.setdefault("one by one", []).append(uvloop.run(_one_by_one(address, ids[:few])))
    figures = [Figure(PART, name, median(found), "/s") for name, found in rates.items()]
    for batch in BATCHES:
        name = f"batches of {batch:,}"
        ratio = median(many / one for many, one in zip(rates[name], rates["one by one"], strict=True))
        note = f"against one transaction each, {CONNECTIONS} connections"
        figures.append(Figure(PART, f"{name}, times", ratio, "x", TIMES, note=note))
    return figures


def _rounds(store: PostgresStore, accounts: int, rounds: int) -> Iterator[Sequence[AccountId]]:
    """All accounts in another order each time; they are collected once before, so that their quotas are counted."""
    ids = [seed.account_id(number) for number in range(accounts)]
    refund(store, ids)
    write_batch(store, [(account, COMMAND) for account in ids], RealClock().now(), RULES)
    for number in range(rounds):
        yield random.Random(number).sample(ids, accounts)


async def _in_batches(address: str, accounts: Sequence[AccountId], size: int) -> float:
    """Collections a second as a venue on PostgreSQL writes: so many batches at once as it has under way."""
    with closing(PostgresStore(address)) as store:
        writer = store.on_loop()
        waiting = iter(list(seed.parts(accounts, size)))

        async def go_on() -> None:
            for part in waiting:
                asked = [(account, COMMAND) for account in part]
                for answer in await write_on_loop(writer, asked, RealClock(), RULES):
                    if not isinstance(answer, Stored) or len(answer.record.transfers) != len(seed.FUNDS):
                        raise RuntimeError(f"not a collection of three assets: {answer}")

        await writer.count_uses(accounts[0], (), 0)  # connects, as the others have before the clock starts
        started = time.perf_counter()
        await asyncio.gather(*(go_on() for _ in range(BATCHES_AT_ONCE)))
        taken = time.perf_counter() - started
        await writer.close()
    return len(accounts) / taken


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
