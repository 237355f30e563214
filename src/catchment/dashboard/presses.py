"""A confirmation moves money once, however often it is pressed and in however many tabs it is open.

A press is named by the account, the record it was shown after, and the command; the name is kept as a note. Whoever
keeps it first submits; the others show what became of that.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.journal import Record, Stored
from catchment.venue import Venue

PRESS: Final = "press"
PRESS_MS: Final = 24 * 3_600_000
"""How long the outcome of a press is remembered, in milliseconds: as long as a session may last."""
UNKNOWN_MS: Final = 10 * 60_000
"""How long a press without an outcome stands in the way of the next: far longer than any commit takes."""
WAITED_S: Final = 10
"""How long the second press waits for the first, in seconds."""
LOOKED_EVERY_S: Final = 0.05


class Pressed(msgspec.Struct, frozen=True):
    """The record a confirmation led to. `again`: it was pressed before, and this press did nothing."""

    record: Record
    again: bool


async def press(venue: Venue, account: AccountId, command: Command, after: int) -> Pressed | Rejection:
    """Submit a command that was confirmed on a page showing the account `after` that record, unless it was already.

    Refuses what `submit` refuses; a refused press may be repeated. OUTCOME_UNKNOWN if the first press has no outcome.
    """
    name = sha256(b"%b:%d:%b" % (account, after, msgspec.json.encode(command))).hexdigest()
    clock = asyncio.get_running_loop().time
    give_up = clock() + WAITED_S
    while True:
        if await venue.keep(PRESS, name, "", expires=venue.clock.now() + UNKNOWN_MS, replace=False):
            return await _first(venue, account, command, name)
        note = await venue.kept(PRESS, name)
        if note is not None and note.text:
            stored = await _record(venue, account, int(note.text))
            return errors.OUTCOME_UNKNOWN() if stored is None else Pressed(stored.record, again=True)
        if clock() > give_up:
            return errors.OUTCOME_UNKNOWN()
        await asyncio.sleep(LOOKED_EVERY_S)


async def _first(venue: Venue, account: AccountId, command: Command, name: str) -> Pressed | Rejection:
    answer = await venue.submit(account, command)
    if isinstance(answer, Rejection):
        # An unknown outcome leaves the note: pressed again now, it might move money twice.
        if answer.refusal is not errors.OUTCOME_UNKNOWN:
            await venue.drop(PRESS, name)
        return answer
    await venue.keep(PRESS, name, str(answer.record.number), expires=venue.clock.now() + PRESS_MS)
    return Pressed(answer.record, again=False)


async def _record(venue: Venue, account: AccountId, number: int) -> Stored | None:
    found = await venue.history(account, below=number + 1, limit=1)
    return found[0] if found and found[0].record.number == number else None
