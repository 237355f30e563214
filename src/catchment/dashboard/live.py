"""What keeps an open page up to date: server-sent events that say which record the account is at.

An event carries no balance: the page asks for its parts anew, and each part is made from one reading of the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response, StreamingResponse

from catchment import errors
from catchment.dashboard.visit import Page, Visit
from catchment.errors import Refused, Rejection
from catchment.limits import MAX_LIVE_PAGES

logger = logging.getLogger(__name__)

LOOKED_EVERY_S: Final = 0.1
SESSION_LOOKED_EVERY: Final = 50
"""Looks between two at the session; a silent connection is written to as often, so that proxies keep it."""
WEIGHT_EVERY: Final = 10

_open: set[int] = set()


async def live(visit: Visit) -> Response | Rejection:
    """The events of one account. A browser that comes back names the last record it was told of."""
    if len(_open) >= MAX_LIVE_PAGES:
        return errors.TOO_MANY_LIVE()
    told = visit.request.headers.get("last-event-id") or visit.request.query_params.get("since", "")
    known = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else -1
    return StreamingResponse(_events(visit, known), media_type="text/event-stream")


async def _events(visit: Visit, known: int) -> AsyncIterator[str]:
    mine = id(visit)
    _open.add(mine)
    try:
        yield "retry: 1000\n\n"
        newest, used, looks, request = -1, -1, 0, -1
        while not visit.ended():
            if newest != visit.venue.newest:
                newest = visit.venue.newest
                state = await visit.venue.state(visit.account)
                if state is not None and state.number != known:
                    known = state.number
                    yield f"id: {known}\nevent: record\ndata: {known}\n\n"
            if looks % WEIGHT_EVERY == 0:
                now_used = visit.weights.used(visit.address, visit.venue.clock.now())
                if used != now_used:
                    used = now_used
                    yield f"event: weight\ndata: {used}\n\n"
                last = await visit.venue.newest_request()
                if request != last:
                    request = last
                    yield f"event: request\ndata: {request}\n\n"
            looks += 1
            if looks % SESSION_LOOKED_EVERY == 0:
                if await visit.people.session(visit.token) is None:
                    yield "event: bye\ndata:\n\n"
                    return
                yield ":\n\n"
            await asyncio.sleep(LOOKED_EVERY_S)
    except Refused as refused:  # the browser comes back by itself
        logger.error("live: %s", refused)
    finally:
        _open.discard(mine)


PAGES: Final = (Page("/accounts/{account}/live", live),)
