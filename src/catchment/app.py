"""The faces mounted on one venue, from opening it to closing it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final

import uvicorn

from catchment.clock import Clock
from catchment.config import Settings
from catchment.papi.rest import Rest
from catchment.server import Address, Server, address_of, configuration, listen
from catchment.venue import Venue
from catchment.writer import calm_collector

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def serve(
    settings: Settings,
    *,
    opened: Callable[[Venue, Address], Awaitable[None]],
    clock: Clock | None = None,
    next_free_port: bool = False,
) -> None:
    """Open the venue, listen, await `opened`, serve until SIGINT, SIGTERM or SIGHUP, answer everyone, close.

    Refuses a port that is busy, unless `next_free_port`: then the next free one is taken.
    """
    listener = listen(settings, next_free_port)
    with contextlib.closing(listener):
        venue = await Venue.open(settings, clock, apart=True)
        try:
            server = Server(configuration(Rest(venue)))
            serving = asyncio.create_task(server.serve([listener]))
            calm_collector()
            with _stopped_by_signal(server):
                try:
                    while not server.started and not serving.done():
                        await asyncio.sleep(0.001)
                    await opened(venue, address_of(settings, listener))
                    await serving
                finally:
                    server.should_exit = True
                    await serving
        finally:
            await venue.close()


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
def _stopped_by_signal(server: uvicorn.Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
