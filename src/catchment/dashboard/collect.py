"""The button: what a collection would do, one confirmation, and what it did."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from catchment import errors
from catchment.dashboard.presses import press
from catchment.dashboard.visit import Page, Visit
from catchment.errors import Rejection
from catchment.ledger.commands import AssetCollection, AutoCollection, Trigger

LONGEST_NUMBER: Final = 18


async def preview(visit: Visit) -> Response | Rejection:
    """What would move, what stays and why, by the same decision that a collection is."""
    command = _command(visit, visit.request.query_params.get("asset", ""))
    if isinstance(command, Rejection):
        return command
    found = await visit.venue.preview(visit.account, command)
    if found.state is None:
        return errors.BAD_ACCOUNT()
    refused = found.answer if isinstance(found.answer, Rejection) else None
    wait = refused.retry_after if refused is not None else None
    return visit.render(
        "collect_part.html" if visit.part else "collect.html",
        asset=command.asset if isinstance(command, AssetCollection) else "",
        number=found.state.number,
        refused=refused,
        again_at=visit.venue.clock.now() + 1_000 * wait if wait else 0,
        moves=() if isinstance(found.answer, Rejection) else found.answer.transfers,
        stays=[stay for stay in found.stays if not isinstance(command, AssetCollection) or stay.asset == command.asset],
        quotas={name: (left - 1, limit) for name, (left, limit) in found.quotas.items() if left},
    )


async def collect(visit: Visit) -> Response | Rejection:
    """Collect what was confirmed; the second press of one confirmation shows what the first did."""
    command = _command(visit, visit.form.get("asset", ""))
    after = visit.form.get("number", "")
    if not (after.isascii() and after.isdigit() and len(after) <= LONGEST_NUMBER):
        return errors.INVALID_PARAMETER("number")
    pressed = (
        command if isinstance(command, Rejection) else await press(visit.venue, visit.account, command, int(after))
    )
    if isinstance(pressed, Rejection):
        return pressed
    return visit.render("collected_part.html" if visit.part else "collected.html", pressed=pressed)


def _command(visit: Visit, asset: str) -> AutoCollection | AssetCollection | Rejection:
    operator = visit.session is not None and visit.session.operator
    trigger = Trigger.OPERATOR if operator else Trigger.BUTTON
    if not asset:
        return AutoCollection(trigger)
    return AssetCollection(asset, trigger) if asset in visit.venue.assets else errors.BAD_ASSET()


PAGES: Final = (
    Page("/accounts/{account}/collect", preview),
    Page("/accounts/{account}/collect", collect, "POST"),
)
