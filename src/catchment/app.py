"""The faces mounted on one venue, from opening it to closing it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final

from catchment import schedule
from catchment.clock import Clock
from catchment.config import Settings
from catchment.dashboard.door import Dashboard
from catchment.health import Faces, Health
from catchment.papi.rest import Rest
from catchment.server import Address, Server, address_of, configuration, listen
from catchment.shared_weights import shared
from catchment.stream.door import Door
from catchment.venue import Venue
from catchment.writer import calm_collector

Opened = Callable[[Venue, Address], Awaitable[None]]

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def serve(
    settings: Settings,
    *,
    opened: Opened,
    clock: Clock | None = None,
    next_free_port: bool = False,
    listener: socket.socket | None = None,
) -> None:
    """Open the venue, listen, await `opened`, serve until SIGINT, SIGTERM or SIGHUP, answer everyone, close.

    Refuses a port that is busy, unless `next_free_port`: then the next free one is taken. A `listener` that is bound
    already may be given instead.
    """
    listener = listener or listen(settings, next_free_port)
    with contextlib.closing(listener):
        venue = await Venue.open(settings, clock, apart=True)
        try:
            rest = Rest(venue)
            async with (
                shared(settings.weights, rest.weights, venue.clock),
                schedule.running(venue),
                contextlib.aclosing(Door(venue)) as door,
                contextlib.aclosing(Dashboard(venue, rest.weights)) as pages,
            ):
                server = Server(configuration(Faces(rest, Health(venue), pages), door), pages.end)
                await _serve(server, listener, venue, settings, opened)
        finally:
            await venue.close()


async def _serve(server: Server, listener: socket.socket, venue: Venue, settings: Settings, opened: Opened) -> None:
    serving = asyncio.create_task(server.serve([listener]))
    calm_collector()
    with stopped_by_signal(server.stop):
        try:
            while not server.started and not serving.done():
                await asyncio.sleep(0.001)
            await opened(venue, address_of(settings, listener))
            await serving
        finally:
            server.stop()
            await serving


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Run to the end on the fastest event loop there is."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(serving)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


@contextlib.contextmanager
def stopped_by_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGINT, SIGTERM or SIGHUP while the block runs."""
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
