"""The door to the pages: opened by the first request for one, so that a venue nobody looks at does not load them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from catchment.limits import Weights
from catchment.venue import Venue

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class Dashboard:
    """The pages of one venue. `weights` are those of the REST face, of which they show the caller's own."""

    def __init__(self, venue: Venue, weights: Weights) -> None:
        self._venue = venue
        self._weights = weights
        self._ended = asyncio.Event()
        self._opening: asyncio.Task[Application] | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        pages = await asyncio.shield(self._opening)
        await pages(scope, receive, send)

    def end(self) -> None:
        """Have the live connections end, or the server would wait for them."""
        self._ended.set()

    async def _open(self) -> Application:
        return await asyncio.to_thread(self._load)

    def _load(self) -> Application:
        from catchment.dashboard.site import Site  # noqa: PLC0415 - a fifth of a second

        return Site(self._venue, self._weights, self._ended)
