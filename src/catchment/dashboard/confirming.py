"""From a confirmed form to a command and what it did, for every page that has something to confirm."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from catchment import errors
from catchment.dashboard.presses import Pressed, press
from catchment.dashboard.visit import Visit
from catchment.errors import Rejection
from catchment.ledger.commands import Command
from catchment.venue import Preview

LONGEST_NUMBER: Final = 18


async def confirmed(visit: Visit, command: Command) -> Response | Rejection:
    """Do what was confirmed, and show what it did."""
    pressed = await done(visit, command)
    if isinstance(pressed, Rejection):
        return pressed
    return visit.render("done_part.html" if visit.part else "done.html", pressed=pressed)


async def done(visit: Visit, command: Command) -> Pressed | Rejection:
    """Do what was confirmed on a page that showed the account after the record `number` of the form."""
    after = visit.form.get("number", "")
    if not (after.isascii() and after.isdigit() and len(after) <= LONGEST_NUMBER):
        return errors.INVALID_PARAMETER("number")
    return await press(visit.venue, visit.account, command, int(after))


def again_at(visit: Visit, preview: Preview) -> int:
    """When a refused preview would be accepted, in milliseconds; 0 if that is not a matter of time."""
    wait = preview.answer.retry_after if isinstance(preview.answer, Rejection) else None
    return visit.venue.clock.now() + 1_000 * wait if wait else 0
