"""Reads a store's whole journal and holds it against the ledger's audit: small ones here, others in several processes.

A process reads the accounts of its share, each from its first record to the one its stored state stands at, and the
parts are added up; why no snapshot of the whole venue is needed is on docs/explanation/verify.md. Nothing is written.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from functools import partial
from itertools import pairwise
from typing import Final

import msgspec

from catchment.ledger.audit import LISTED, Audit, Finding, gap, unequal
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.quota import Rules
from catchment.limits import MAX_FRAME_BYTES
from catchment.store.base import Share, Store, StoreDamaged, StoreFailed
from catchment.store.open import open_store
from catchment.wallet import Place

HERE_UNDER: Final = 50_000
"""A journal with fewer records is read in this process."""
MOST_SHARES: Final = 8
"""Every process looks at every row of the journal, if only at whose it is."""
PAGE: Final = 1_000
ADDED_AT_ONCE: Final = 250
ALL: Final = Share(0, 255)
"""Everybody's tail would be refused where a record is missing; here that is what is looked for."""

Progress = Callable[[int], None]


class Verdict(msgspec.Struct, frozen=True):
    """What `verify` found: how much was read, findings, how many each invariant had, and the units of each asset by
    place. `findings` lists the first of each invariant only; `counts` counts them all."""

    records: int
    accounts: int
    findings: list[Finding]
    counts: dict[int, int]
    totals: dict[str, dict[Place, int]]


class Totals(msgspec.Struct, frozen=True):
    """What all accounts hold, in units of each asset by place, read without the journal.

    Each account is as of a commit of its own, after the record `first` and not after `last`. In every one of them an
    asset's places sum to zero, so they do in the totals; `broken` counts accounts in which they do not, and lists
    the first.
    """

    accounts: int
    first: int
    last: int
    places: dict[str, dict[Place, int]]
    broken: int
    listed: list[AccountId]


class Part(msgspec.Struct, frozen=True, tag=True):
    """What one reader found in its share. `within` counts its records up to where the journal stood at the start."""

    records: int
    within: int
    accounts: int
    findings: list[Finding]
    counts: dict[int, int]
    totals: dict[str, dict[Place, int]]
    brought: dict[str, int]


class Failure(msgspec.Struct, frozen=True, tag=True):
    """Why a process has no part to hand in. `unreadable`: a record or a state is no record and no state."""

    sentence: str
    unreadable: bool


class Order(msgspec.Struct, frozen=True):
    """What a process is told on its standard input."""

    store: str
    rules: Rules
    share: Share
    end: int


class AuditFailed(Exception):  # noqa: N818 - what happened, in the words of the three outcomes
    """A process of the audit ended before it had read its share, so nothing can be said."""


async def verify(
    store: Store, address: str, rules: Rules, progress: Progress = lambda _: None, readers: Executor | None = None
) -> Verdict:
    """Check every invariant over the whole journal and every stored state; see `ledger/audit.py`.

    `address` is what others open the store by. `progress` is called with the number of records read, from any thread.
    A venue that goes on writing does not disturb it: what is newer than the state of its account is left for the next
    time. Raises `msgspec.DecodeError` for what cannot be read, `StoreFailed`, `AuditFailed`.
    """
    call = partial(asyncio.get_running_loop().run_in_executor, readers)
    end = await call(store.newest)
    if end < HERE_UNDER or store.address == "memory:":
        return merged([await call(read_part, store, rules, None, end, progress)], [])
    parts = await _read_apart([Order(address, rules, share, end) for share in _shares(_cores())], progress)
    missing = end - sum(part.within for part in parts)
    gaps = await call(_gaps, store, end) if missing else []
    if missing and not gaps:
        raise AuditFailed(f"{missing} records of {end} were read by nobody")
    return merged(parts, gaps)


async def totals(store: Store, progress: Progress = lambda _: None, readers: Executor | None = None) -> Totals:
    """Add up the stored states of all accounts, page by page; `progress` is called with how many were added so far.

    Raises `msgspec.DecodeError` or `StoreFailed` for a state that cannot be read.
    """
    call = partial(asyncio.get_running_loop().run_in_executor, readers)
    first = await call(store.newest)
    places: dict[str, dict[Place, int]] = {}
    accounts, broken, after = 0, [], None
    while page := await call(_states_after, store, after):
        for account, state in page:
            broken += [account] * any(balance.places_sum() for balance in state.balances.values())
            for asset, balance in state.balances.items():
                sums = places.setdefault(asset, dict.fromkeys(Place, 0))
                for place in Place:
                    sums[place] += balance.at(place)
        accounts, after = accounts + len(page), page[-1][0]
        progress(accounts)
    return Totals(accounts, first, await call(store.newest), places, len(broken), broken[:LISTED])


def _states_after(store: Store, after: AccountId | None) -> list[tuple[AccountId, AccountState]]:
    """Few, because whoever else works in this process waits for each of them."""
    page = [account.id for account in store.accounts(after, ADDED_AT_ONCE)]
    states = store.load(page)
    if missing := next((account for account in page if account not in states), None):
        raise StoreDamaged(f"account {missing.hex()} has no state")
    return [(account, states[account]) for account in page]


def read_part(store: Store, rules: Rules, share: Share | None, end: int, progress: Progress) -> Part:
    """Audit the accounts of a share, or all: up to the sequence `end`, and on to where their stored states stand."""
    reader = _Reader(store, rules, share, end, progress)
    audit = reader.audit
    reader.read_to(end)
    accounts = 0
    last: AccountId | None = None
    while page := store.accounts(last, PAGE):
        last = page[-1].id
        own = [account.id for account in page if share is None or share.holds(account.id)]
        accounts += len(own)
        reader.hold(own)
    reader.read_to(store.newest())
    accounts += reader.hold(audit.unheld())  # made meanwhile; those made from now on are for the next time
    audit.close()
    reader.read_to(store.newest())
    audit.settle()
    counts, totals = dict(audit.counts), audit.totals()
    return Part(audit.records, reader.within, accounts, audit.findings, counts, totals, dict(audit.brought))


def merged(parts: Sequence[Part], gaps: Sequence[Finding]) -> Verdict:
    """The verdict over all parts; findings in the order of their sequences, then of their accounts."""
    totals: dict[str, dict[Place, int]] = {}
    brought: Counter[str] = Counter()
    counts: Counter[int] = Counter()
    for part in parts:
        counts.update(part.counts)
        brought.update(part.brought)
        for asset, places in part.totals.items():
            sums = totals.setdefault(asset, dict.fromkeys(Place, 0))
            for place, units in places.items():
                sums[place] += units
    late = [*gaps, *unequal(totals, brought)]
    counts.update(finding.invariant for finding in late)
    found = sorted([*late, *(finding for part in parts for finding in part.findings)], key=_place_of)
    listed: Counter[int] = Counter()
    findings = []
    for finding in found:
        listed[finding.invariant] += 1
        if listed[finding.invariant] <= LISTED:
            findings.append(finding)
    records, accounts = sum(part.records for part in parts), sum(part.accounts for part in parts)
    return Verdict(records, accounts, findings, dict(counts), totals)


class _Reader:
    """Reads on in the journal, for an audit of a share."""

    def __init__(self, store: Store, rules: Rules, share: Share | None, end: int, progress: Progress) -> None:
        self._store = store
        self._share = share or ALL
        self._end = end
        self._progress = progress
        self._after = 0
        self.within = 0
        self.audit = Audit(rules, self._enrolled, whole=share is None)

    def read_to(self, end: int) -> None:
        """At least up to a sequence, for records come in pages."""
        read = self.audit.read
        while self._after < end and (page := self._store.tail(self._after, PAGE, self._share)):
            for stored in page:
                read(stored)
            self._after = page[-1].sequence
            self.within += len(page) if self._after <= self._end else sum(one.sequence <= self._end for one in page)
            self._progress(self.audit.records)

    def hold(self, accounts: Sequence[AccountId]) -> int:
        """Hand the stored states of accounts to the audit; how many there were."""
        states = self._store.load(accounts)
        for account, state in states.items():
            self.audit.expect(account, state)
        return len(states)

    def _enrolled(self, account: AccountId) -> bool | None:
        found = self._store.account(account)
        return None if found is None else found.portfolio_margin


def _gaps(store: Store, end: int) -> list[Finding]:
    """Where sequences leave one out. A part does not see the others' records, only that some are missing in all."""
    findings: list[Finding] = []
    before = 0
    while before < end and (page := store.tail(before, PAGE, ALL)):
        for stored in page:
            if stored.sequence != before + 1:
                sentence = gap(stored.sequence, before)
                findings.append(Finding(12, stored.record.account, stored.record.number, stored.sequence, sentence))
            before = stored.sequence
    return findings


def _place_of(finding: Finding) -> tuple[bool, int, bool, bytes]:
    return not finding.sequence, finding.sequence, not finding.account, finding.account


def _shares(count: int) -> list[Share]:
    edges = [256 * number // count for number in range(count + 1)]
    return [Share(first, beyond - 1) for first, beyond in pairwise(edges)]


def _cores() -> int:
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(known, MOST_SHARES)


# The processes -------------------------------------------------------------------------------------------------------


async def _read_apart(orders: Iterable[Order], progress: Progress) -> list[Part]:
    """The parts of all orders, each read by a process of its own; when one fails, or nobody waits, all are ended."""
    seen: dict[int, int] = {}
    processes: list[Process] = []
    tasks: list[asyncio.Task[Part]] = []

    def told(number: int, records: int) -> None:
        seen[number] = records
        progress(sum(seen.values()))

    try:
        for number, order in enumerate(orders):
            processes.append(await _start(order))
            tasks.append(asyncio.create_task(_part_of(processes[-1], partial(told, number))))
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in done if task.exception()]
        return [task.result() for task in failed or tasks]
    finally:
        for process in processes:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)  # its own `kill` may take the exit code from who waits for it
        await asyncio.gather(*tasks, return_exceptions=True)


async def _start(order: Order) -> Process:
    """In a session of its own: a terminal's interrupt goes to the one who ordered it, who ends the others."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=pipe, stdout=pipe, limit=MAX_FRAME_BYTES, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(order) + b"\n")
    process.stdin.close()
    return process


async def _part_of(process: Process, told: Progress) -> Part:
    assert process.stdout is not None
    answer: int | Part | Failure = 0
    async for line in process.stdout:
        answer = _TOLD.decode(line)
        if isinstance(answer, int):
            told(answer)
    await process.wait()
    if isinstance(answer, Failure):
        raise msgspec.DecodeError(answer.sentence) if answer.unreadable else StoreFailed(answer.sentence)
    if isinstance(answer, int):
        raise AuditFailed(f"a process that read the journal ended ({process.returncode}) after {answer} records")
    return answer


_TOLD = msgspec.json.Decoder(int | Part | Failure)


def main() -> None:
    """`python -m catchment.auditor`: an order on standard input, how many records were read and a part on the other."""
    gc.disable()  # nothing here makes circles, and to look for them takes longer the more accounts there are
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)

    def tell(what: int | Part | Failure) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
        sys.stdout.buffer.flush()

    try:
        with closing(open_store(order.store)) as store:
            tell(read_part(store, order.rules, order.share, order.end, tell))
    except BrokenPipeError:
        os._exit(1)  # nobody waits for the part any more
    except (msgspec.DecodeError, StoreDamaged) as error:
        tell(Failure(str(error), unreadable=True))
    except Exception as error:
        tell(Failure(f"{type(error).__name__}: {error}", unreadable=False))


if __name__ == "__main__":
    main()
