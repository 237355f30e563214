"""The button: what a collection would do, one confirmation, and what it did."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from catchment import errors
from catchment.dashboard.confirming import again_at, confirmed
from catchment.dashboard.flows import by_habit
from catchment.dashboard.visit import Page, Visit
from catchment.errors import Rejection
from catchment.ledger.commands import AssetCollection, AutoCollection
from catchment.ledger.journal import Record
from catchment.ledger.transfer import Transfer


async def preview(visit: Visit) -> Response | Rejection:
    """What would move, what stays and why, by the same decision that a collection is."""
    command = _command(visit, visit.request.query_params.get("asset", ""))
    if isinstance(command, Rejection):
        return command
    found = await visit.venue.preview(visit.account, command)
    if found.state is None:
        return errors.BAD_ACCOUNT()
    refused = found.answer if isinstance(found.answer, Rejection) else None
    return visit.render(
        "collect_part.html" if visit.part else "collect.html",
        asset=command.asset if isinstance(command, AssetCollection) else "",
        number=found.state.number,
        refused=refused,
        again_at=again_at(visit, found),
        moves=sorted(_moves(found.answer), key=lambda move: by_habit(move.asset)),
        stays=[stay for stay in found.stays if not isinstance(command, AssetCollection) or stay.asset == command.asset],
        quotas={name: (left - 1, limit) for name, (left, limit) in found.quotas.items() if left},
    )


async def collect(visit: Visit) -> Response | Rejection:
    """Collect what was confirmed; the second press of one confirmation shows what the first did."""
    command = _command(visit, visit.form.get("asset", ""))
    if isinstance(command, Rejection):
        return command
    return await confirmed(visit, command)


def _moves(answer: Record | Rejection) -> tuple[Transfer, ...]:
    return () if isinstance(answer, Rejection) else answer.transfers


def _command(visit: Visit, asset: str) -> AutoCollection | AssetCollection | Rejection:
    if not asset:
        return AutoCollection(visit.trigger)
    return AssetCollection(asset, visit.trigger) if asset in visit.venue.assets else errors.BAD_ASSET()


PAGES: Final = (
    Page("/accounts/{account}/collect", preview),
    Page("/accounts/{account}/collect", collect, "POST"),
)
