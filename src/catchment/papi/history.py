"""Histories read from an account's records: the window that is asked for, pages up to a bound, and the ids of
transfers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.journal import Record, Stored
from catchment.limits import MAX_RECORDS_READ
from catchment.papi.contract import Call, Kind, Parameter

DAY_MS: Final = 86_400_000
PAGE: Final = 1_000
"""Records read at a time: what a reader's thread is held for by one call."""
PLACES: Final = 1_000_000
"""Transfers of one record that have an id of their own."""

START: Final = Parameter("startTime", Kind.LONG, sentence="Milliseconds, included.")
END: Final = Parameter("endTime", Kind.LONG, sentence="Milliseconds, included.")

Row = TypeVar("Row")


def tran_id(record: Record, place: int = 0) -> int:
    """The id of a record's transfer: unique in the account, in order, and under 2^53 for nine billion records."""
    return record.number * PLACES + place


async def of_id(call: Call, wanted: int) -> list[Stored]:
    """The record in which the transfer of this id is, if there is one."""
    number = wanted // PLACES
    found = await call.venue.history(call.account, below=number + 1, limit=1)
    return [stored for stored in found if stored.record.number == number]


def window(call: Call, usual: int, longest: int) -> tuple[int, int] | Rejection:
    """From and to (milliseconds, both included): without `startTime` the `usual` days up to the end.

    A start alone is brought forward to `longest` days ago; refuses a start after the end (-1023) and both further
    apart than that (-4165).
    """
    start, end = call.values.get("startTime"), call.values.get("endTime")
    until = call.now if end is None else end
    if start is None:
        return until - usual * DAY_MS, until
    if end is None:
        return max(start, until - longest * DAY_MS), until
    if start > end:
        return errors.START_TIME_GREATER_THAN_END_TIME()
    return (start, end) if end - start <= longest * DAY_MS else errors.INVALID_TIME_INTERVAL(longest)


async def walked(
    call: Call,
    since: int,
    until: int,
    rows_of: Callable[[Stored], list[Row]],
    *,
    limit: int | None = None,
    newest_first: bool = True,
) -> list[Row] | Rejection:
    """The rows that the records of a window make, at most `limit`, in the order in which they are read.

    Refuses (-1127) a window in which more records would have to be read than one call may.
    """
    rows: list[Row] = []
    below: int | None = None
    for _ in range(MAX_RECORDS_READ // PAGE):
        page = await call.venue.history(
            call.account, since=since, until=until, below=below, limit=PAGE, newest_first=newest_first
        )
        for stored in page:
            own = rows_of(stored)
            rows += own[::-1] if newest_first else own
        if len(page) < PAGE or (limit is not None and len(rows) >= limit):
            return rows[:limit]
        below = page[-1].record.number
    return errors.LOOKUP_TOO_BIG()
