"""The last calls of an account's keys, as they come; for the operator, everybody's."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response

from catchment import errors
from catchment.dashboard.visit import Page, Visit
from catchment.dashboard.words import _
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.venue import FOREVER

SHOWN: Final = 50
LOOKED_AT: Final = 1_000
"""The newest requests, among which the refused ones are looked for and grouped."""
LONGEST: Final = 20


class Looked(msgspec.Struct, frozen=True):
    """What the page shows: the last requests as the venue gives them, those before them, and the refusals grouped."""

    shown: list[Any]
    older: int
    left_out: int
    mistakes: list[Any]
    refused_alone: bool
    before: int | None


async def of_account(visit: Visit) -> Response | Rejection:
    """The calls of this account's keys."""
    return await _page(visit, visit.account)


async def of_all(visit: Visit) -> Response | Rejection:
    """Everybody's calls, and those of nobody."""
    return await _page(visit, None)


async def one(visit: Visit) -> Response | Rejection:
    """All that is kept of one call of this account's keys."""
    return await _one(visit, visit.account)


async def any_one(visit: Visit) -> Response | Rejection:
    """The same, of anybody's."""
    return await _one(visit, None)


async def _page(visit: Visit, account: AccountId | None) -> Response | Rejection:
    sent = visit.request.query_params
    before = _number(sent.get("before", ""))
    refused_alone = sent.get("only") == "refused"
    page = await visit.venue.requests(account, before=before or FOREVER, limit=LOOKED_AT)
    wanted = [call for call in page.answered if call.code or not refused_alone]
    more = len(wanted) > SHOWN or len(page.answered) == LOOKED_AT
    shown = wanted[:SHOWN]
    last = shown if len(wanted) > SHOWN else page.answered
    looked = Looked(shown, last[-1].id if more else 0, page.left_out, page.mistakes(), refused_alone, before)
    names: dict[AccountId, str] = {}
    if account is None:
        for whose in {call.account for call in shown if call.account}:
            found = await visit.venue.account(whose.hex())
            names[whose] = "" if isinstance(found, Rejection) else found.name
    return visit.render(
        "requests_part.html" if visit.part else "requests.html",
        looked=looked,
        names=names,
        everybody=account is None,
        here=visit.path("/requests" if account is None else "/accounts/{account}/requests"),
        newest=await visit.venue.newest_request(),
    )


async def _one(visit: Visit, account: AccountId | None) -> Response | Rejection:
    number = _number(visit.request.path_params["number"])
    page = await visit.venue.requests(account, before=(number or 0) + 1, limit=1)
    if not page.answered or page.answered[0].id != number:
        return errors.NO_SUCH_PAGE()
    call = page.answered[0]
    whose = ""
    if account is None and call.account:
        found = await visit.venue.account(call.account.hex())
        whose = "" if isinstance(found, Rejection) else found.name
    return visit.render(
        "request.html",
        call=call,
        whose=whose,
        records=f"/accounts/{call.account.hex()}/records/",
        here=visit.path("/requests" if account is None else "/accounts/{account}/requests"),
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST else None


PAGES: Final = (
    Page("/accounts/{account}/requests", of_account, title=_("Requests")),
    Page("/accounts/{account}/requests/{number}", one),
    Page("/requests", of_all, title=_("All requests"), operator=True),
    Page("/requests/{number}", any_one, operator=True),
)
