"""The store alone: load, append and commit in batches on an SQLite file; small, with many accounts, and with a long
journal. Accounts come in the order of their ids, as `collect --all` goes, and at random. What is appended is decided in
between, as the writer does it; the time that takes is told apart, so the same passes say what both together do.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import seed
from bench.figure import AT_LEAST, Figure, Plan
from catchment.clock import RealClock
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import AutoCollection, Trigger
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.store.sqlite import SqliteStore
from catchment.writer import calm_collector, write_batch

PART = "store"
BATCH = 1_000
ROOM = 12 * 2**30
"""Free bytes that the long journal and its log ask for."""
GOAL = 60_000
OF_SMALL_WITH_MANY = 1 / 3
OF_SMALL_WITH_HISTORY = 0.8
IN_ORDER = "in order"
AT_RANDOM = "at random"
SMALL, MANY, HISTORY = "small", "many accounts", "long journal"
COMMAND = AutoCollection(Trigger.API)
RULES = Rules()


class Size(NamedTuple):
    """How much is prepared and measured; `passes` are added up into one value of a round."""

    small: int
    many: int
    history: int
    passes: int
    rounds: int


class Rate(NamedTuple):
    """Collections a second: by the store alone, and with the ledger deciding each of them."""

    store: float
    decided: float


class Contestant(NamedTuple):
    """A store and who is collected next: each item is one pass. Accounts of a pass are funded before it, or were."""

    store: SqliteStore
    refunded: bool
    passes: dict[str, Iterator[Sequence[AccountId]]]


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part."""
    size = Size(
        small=plan.pick(2_000, 10_000),
        many=plan.pick(20_000, 1_000_000),
        history=plan.pick(50_000, 10_000_000 if _has_room(plan.folder) else 1_000_000),
        passes=plan.pick(1, 5),
        rounds=plan.pick(2, 5),
    )
    with ExitStack() as stack:
        contestants = {
            SMALL: _small(plan.folder / "small.db", size, 0),
            MANY: _many(plan.folder / "many.db", size),
            HISTORY: _small(plan.folder / "history.db", size, size.history // size.small),
        }
        for contestant in contestants.values():
            stack.enter_context(closing(contestant.store))
        os.sync()  # what was prepared is down before anything is timed
        calm_collector()  # as the server does
        rates: dict[tuple[str, str], list[Rate]] = {}
        for _ in range(size.rounds):
            for order in (IN_ORDER, AT_RANDOM):
                for name, contestant in contestants.items():
                    rates.setdefault((name, order), []).append(_rate(contestant, order, size.passes))
    return _figures(rates, size)


def _has_room(folder: Path) -> bool:
    """Whether the disk takes the long journal; a shorter one is measured otherwise, and its row says so."""
    return shutil.disk_usage(folder).free > ROOM


def _small(path: Path, size: Size, each: int) -> Contestant:
    """Few accounts, funded anew before each pass, with `each` records of history."""
    seed.add_accounts(path, size.small)
    if each:
        seed.add_history(path, size.small, each)
    ids = [seed.account_id(number) for number in range(size.small)]
    return Contestant(SqliteStore(path), True, {IN_ORDER: _again(ids, 0), AT_RANDOM: _again(ids, 1)})


def _many(path: Path, size: Size) -> Contestant:
    """Many accounts, made with their funds, each collected once at most: nothing warms their pages up."""
    seed.add_accounts(path, size.many, funded=True)
    needed = size.small * size.passes * size.rounds
    numbers = list(range(size.many))
    scattered = random.Random(1).sample(numbers[needed:], needed)
    passes = {IN_ORDER: _once(numbers[:needed], size.small), AT_RANDOM: _once(scattered, size.small)}
    return Contestant(SqliteStore(path), False, passes)


def _again(ids: list[AccountId], shuffled: int) -> Iterator[Sequence[AccountId]]:
    """The same accounts for ever, in another order each time if `shuffled`."""
    chance = random.Random(shuffled)
    while True:
        yield chance.sample(ids, len(ids)) if shuffled else ids


def _once(numbers: Sequence[int], count: int) -> Iterator[Sequence[AccountId]]:
    for part in seed.parts(numbers, count):
        yield [seed.account_id(number) for number in part]


def _rate(contestant: Contestant, order: str, passes: int) -> Rate:
    """Collections a second over some passes, folding their log into the file included; putting the funds back between
    them, and folding that, is not counted."""
    done, taken, deciding = 0, 0.0, 0.0
    for _ in range(passes):
        accounts = next(contestant.passes[order])
        if contestant.refunded:
            _refund(contestant.store, sorted(accounts))
        batches = list(seed.parts(accounts, BATCH))
        contestant.store.checkpoint()
        started = time.perf_counter()
        for batch in batches:
            deciding += _collect(contestant.store, batch)
        contestant.store.checkpoint()
        taken += time.perf_counter() - started
        done += len(accounts)
    return Rate(done / (taken - deciding), done / taken)


def _collect(store: SqliteStore, accounts: Sequence[AccountId]) -> float:
    """One batch, in one transaction; the seconds of it that the ledger took and not the store."""
    now = RealClock().now()
    with store.transaction() as transaction:
        states = transaction.load(accounts)
        began = time.perf_counter()
        records = []
        for account in accounts:
            record = decide(account, states[account], COMMAND, now, RULES)
            if isinstance(record, Rejection) or len(record.transfers) != len(seed.FUNDS):
                raise RuntimeError(f"not a collection of three assets: {record}")
            apply(states[account], record, RULES)
            records.append(record)
        deciding = time.perf_counter() - began
        transaction.append(records, states)
    return deciding


def _refund(store: SqliteStore, accounts: Sequence[AccountId]) -> None:
    for batch in seed.parts(list(seed.refunds(accounts)), BATCH):
        write_batch(store, batch, RealClock().now(), RULES)


def _figures(rates: dict[tuple[str, str], list[Rate]], size: Size) -> list[Figure]:
    figures = []
    for order in (IN_ORDER, AT_RANDOM):
        small, many, history = ([rate.store for rate in rates[name, order]] for name in (SMALL, MANY, HISTORY))
        decided = [rate.decided for rate in rates[SMALL, order]]
        figures += [
            Figure(PART, f"{size.small:,} accounts, {order}", median(small), "/s", GOAL, note="batches of 1,000"),
            Figure(PART, f"the same, decided, {order}", median(decided), "/s", note="the ledger's time included"),
            Figure(PART, f"{size.many:,} accounts, {order}", median(many), "/s"),
            Figure(PART, f"{size.history:,} records, {order}", median(history), "/s"),
            Figure(PART, f"many accounts, share, {order}", _share(many, small), "", OF_SMALL_WITH_MANY, AT_LEAST),
            Figure(PART, f"long journal, share, {order}", _share(history, small), "", OF_SMALL_WITH_HISTORY, AT_LEAST),
        ]
    return figures


def _share(part: list[float], whole: list[float]) -> float:
    """The median of the ratios of each round: both were measured within seconds of each other."""
    return median(mine / its for mine, its in zip(part, whole, strict=True))
