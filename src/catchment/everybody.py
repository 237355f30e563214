"""A collection of every account, by the operator: what `catchment collect --all` and the dashboard's operator do.

Every account is collected by a command of its own. One that is refused is counted, and the rest goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import AutoCollection, Trigger
from catchment.venue import Venue
from catchment.writer import Answer

AT_ONCE: Final = 1_000
"""Accounts handed to the writer together; as many again are read meanwhile."""


class Tally:
    """What came of a collection of many accounts; its size does not grow with them."""

    def __init__(self) -> None:
        self.accounts = 0
        self.skipped = 0
        self.collections = 0
        self.transfers = 0
        self.refused: Counter[Rejection] = Counter()
        self.moved: Counter[str] = Counter()

    def add(self, answers: Sequence[Answer]) -> None:
        moved = self.moved
        self.accounts += len(answers)
        for answer in answers:
            if isinstance(answer, Rejection):
                self.refused[answer] += 1
                continue
            transfers = answer.record.transfers
            self.collections += 1
            self.transfers += len(transfers)
            for transfer in transfers:
                moved[transfer.asset] += transfer.amount


async def collect(
    venue: Venue, tally: Tally, progress: Callable[[int], None] = lambda _: None, *, at_once: int = AT_ONCE
) -> None:
    """Collect every account that is enrolled in Portfolio Margin; `progress` is called with how many were looked at.

    Two portions are under way: while the writer works on one, the next is read. When `progress` raises, no more are
    handed in, and what was is still answered and counted.
    """
    command = AutoCollection(Trigger.OPERATOR)
    waiting: deque[asyncio.Future[list[Answer]]] = deque()
    try:
        async for portion in _enrolled(venue, tally, max(1, min(at_once, venue.settings.queue // 2))):
            waiting.append(venue.submit_all([(account, command) for account in portion]))
            if len(waiting) == 2:
                tally.add(await waiting.popleft())
                progress(tally.accounts + tally.skipped)
    finally:
        while waiting:
            tally.add(await waiting.popleft())
    progress(tally.accounts + tally.skipped)


async def _enrolled(venue: Venue, tally: Tally, at_once: int) -> AsyncIterator[list[AccountId]]:
    """Accounts in Portfolio Margin, in portions; the others are counted as skipped."""
    async for page in venue.accounts():
        ids = [account.id for account in page if account.portfolio_margin]
        tally.skipped += len(page) - len(ids)
        for start in range(0, len(ids), at_once):
            yield ids[start : start + at_once]
