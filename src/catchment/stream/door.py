"""Where websocket connections come in. The stream and the library under it are loaded with the first of them, so that a
venue nobody listens to pays for neither."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from catchment.venue import Venue

if TYPE_CHECKING:
    from catchment.stream.face import Face


class Door:
    """Makes the protocol of each connection, as the HTTP server asks for it."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._face: Face | None = None

    def __call__(self, **server: Any) -> asyncio.Protocol:
        from catchment.stream.face import Face  # noqa: PLC0415 - see above
        from catchment.stream.wire import Wire  # noqa: PLC0415

        self._face = self._face or Face(self._venue)
        return Wire(self._face, **server)

    async def aclose(self) -> None:
        """After the server: every connection is gone."""
        if self._face is not None:
            await self._face.close()
