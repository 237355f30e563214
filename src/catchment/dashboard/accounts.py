"""The operator's list of accounts, a page at a time from either end."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from catchment.dashboard.visit import ROOT, Page, Visit
from catchment.dashboard.words import _
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.venue import ID_BYTES

SHOWN: Final = 50
LAST: Final = "last"


async def listing(visit: Visit) -> Response | Rejection:
    """A page of accounts in the order they were made, and a field to find one by its name or id."""
    sent = visit.request.query_params
    wanted = sent.get("name", "").strip()
    sentence = ""
    if wanted:
        found = await visit.venue.account(wanted)
        if not isinstance(found, Rejection):
            return visit.go(f"{ROOT}/accounts/{found.id.hex()}/wallets")
        sentence = visit.words.refusal(found)
    after, before = (_id(sent.get(name, "")) for name in ("after", "before"))
    backwards = before is not None or sent.get("to") == LAST
    if backwards:
        page = await visit.venue.accounts_before(before, SHOWN + 1)
        shown, older, newer = page[-SHOWN:], len(page) > SHOWN, before is not None
    else:
        page = await visit.venue.accounts_after(after, SHOWN + 1)
        shown, older, newer = page[:SHOWN], after is not None, len(page) > SHOWN
    return visit.render(
        "accounts.html",
        accounts=shown,
        states=await visit.venue.sound_states([account.id for account in shown]),
        before=shown[0].id.hex() if shown and older else "",
        after=shown[-1].id.hex() if shown and newer else "",
        name=wanted,
        sentence=sentence,
        count=(await visit.venue.counts()).accounts,
    )


def _id(text: str) -> AccountId | None:
    """An id in hexadecimal; what is none is as if it was not sent."""
    try:
        return AccountId(bytes.fromhex(text)) if len(text) == 2 * ID_BYTES else None
    except ValueError:
        return None


PAGES: Final = (Page("/accounts", listing, title=_("Accounts"), operator=True),)
