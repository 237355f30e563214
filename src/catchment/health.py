"""Whether this process lives (/healthz) and can do its work (/readyz), for a load balancer.

No weight is charged and no ban counts here: who asks may come from the address of a banned caller.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from catchment.papi.rest import Rest
from catchment.venue import Venue

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Any, Send], Awaitable[None]]

LIVES: Final = "/healthz"
READY: Final = "/readyz"
PAGES: Final = "/dashboard/"
ANSWERED_WITHIN_S: Final = 2
"""A store or a writer that takes longer is not ready, in seconds."""


class Faces:
    """The REST face, with the two paths beside it, and the pages under `/dashboard`. One look-up a request."""

    def __init__(self, rest: Rest, health: Health, pages: Application) -> None:
        self._rest = rest
        self._pages = pages
        self._known: dict[str, Application] = dict.fromkeys(rest.paths, rest)
        self._known |= {LIVES: health.lives, READY: health.ready, "/": pages}

    def __call__(self, scope: Scope, receive: Any, send: Send) -> Awaitable[None]:
        face = self._known.get(scope["path"])
        if face is None:
            path = scope["path"]
            face = self._pages if path.startswith(PAGES) or path == PAGES[:-1] else self._rest
        return face(scope, receive, send)


class Health:
    """The two answers about one venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._look: asyncio.Task[str | None] | None = None

    async def lives(self, _scope: Scope, _receive: Any, send: Send) -> None:
        """200 with the id of the process."""
        await _answer(send, 200, {"pid": os.getpid()})

    async def ready(self, _scope: Scope, _receive: Any, send: Send) -> None:
        """200, or 503 with the reason. Who asks meanwhile shares one look, so asking often costs nothing."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._venue.ailment())
        try:
            reason = await asyncio.wait_for(asyncio.shield(self._look), ANSWERED_WITHIN_S)
        except TimeoutError:
            reason = f"the store did not answer within {ANSWERED_WITHIN_S} seconds"
        if reason is None:
            await _answer(send, 200, {"ready": True})
        else:
            await _answer(send, 503, {"ready": False, "reason": reason})


async def _answer(send: Send, status: int, document: dict[str, object]) -> None:
    body = msgspec.json.encode(document)
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
