"""The door to the pages: opened by the first request for one, so that a venue nobody looks at does not load them."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from catchment.limits import Weights
from catchment.venue import Venue

if TYPE_CHECKING:
    from catchment.dashboard.site import Site

Scope = MutableMapping[str, Any]


class Dashboard:
    """The pages of one venue. `weights` are those of the REST face, of which they show the caller's own."""

    def __init__(self, venue: Venue, weights: Weights) -> None:
        self._venue = venue
        self._weights = weights
        self._ended = asyncio.Event()
        self._opening: asyncio.Task[Site] | None = None
        self._warming: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        pages = await asyncio.shield(self._opening)
        await pages(scope, receive, send)

    def end(self) -> None:
        """Have the live connections end, or the server would wait for them."""
        self._ended.set()

    async def aclose(self) -> None:
        """Stop what long work was begun on a page, while the venue is still open."""
        self.end()
        if self._opening is not None:
            await (await self._opening).close()
        if self._warming is not None:
            await self._warming

    async def _open(self) -> Site:
        site = await asyncio.to_thread(self._load)
        self._warming = asyncio.create_task(asyncio.to_thread(site.warm))
        return site

    def _load(self) -> Site:
        from catchment.dashboard.site import Site  # noqa: PLC0415 - a fifth of a second

        return Site(self._venue, self._weights, self._ended)
