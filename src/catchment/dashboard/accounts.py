"""The operator's list of accounts."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from catchment.dashboard.visit import ROOT, Page, Visit
from catchment.dashboard.words import _
from catchment.errors import Rejection

SHOWN: Final = 200


async def listing(visit: Visit) -> Response | Rejection:
    """The first accounts, and a field to find one by its name."""
    wanted = visit.request.query_params.get("name", "").strip()
    sentence = ""
    if wanted:
        found = await visit.venue.account(wanted)
        if not isinstance(found, Rejection):
            return visit.go(f"{ROOT}/accounts/{found.id.hex()}/wallets")
        sentence = visit.words.refusal(found)
    async for page in visit.venue.accounts():
        return visit.render("accounts.html", accounts=page[:SHOWN], more=len(page) > SHOWN, sentence=sentence)
    return visit.render("accounts.html", accounts=[], more=False, sentence=sentence)


PAGES: Final = (Page("/accounts", listing, title=_("Accounts"), operator=True),)
