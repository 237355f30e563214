"""The faces mounted on one venue, and the HTTP server under them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import uvicorn

from catchment import errors
from catchment.clock import Clock
from catchment.config import Settings
from catchment.errors import Refused
from catchment.papi.rest import Rest
from catchment.venue import Venue

logger = logging.getLogger(__name__)

BACKLOG = 2_048
GRACE_S = 10
"""How long open requests may take once the server was told to stop, in seconds."""
PORTS_TRIED = 100
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Address(NamedTuple):
    """Where a venue listens."""

    host: str
    port: int
    url: str


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
    listener = _listen(settings, next_free_port)
    with contextlib.closing(listener):
        venue = await Venue.open(settings, clock)
        try:
            server = _Server(_configuration(Rest(venue)))
            serving = asyncio.create_task(server.serve([listener]))
            with _stopped_by_signal(server):
                try:
                    while not server.started and not serving.done():
                        await asyncio.sleep(0.001)
                    await opened(venue, _address(settings, listener))
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


class _Server(uvicorn.Server):
    """Leaves signals to `serve`: the venue closes after the server, and a clean end is not an interrupt."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configuration(application: Rest) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
    )


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


def _listen(settings: Settings, next_free_port: bool) -> socket.socket:
    tries = PORTS_TRIED if next_free_port and settings.port else 1
    for port in range(settings.port, min(settings.port + tries, 65_536)):
        try:
            return _bind(settings.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == settings.port + tries - 1:
                raise Refused(errors.BAD_SETTING("port", f"{settings.host}:{port}: {error.strerror}")) from None
    raise Refused(errors.BAD_SETTING("port", f"no free port from {settings.port} on"))


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _address(settings: Settings, listener: socket.socket) -> Address:
    """As a client on this machine would write it: a wildcard address is reached over loopback."""
    host, port = settings.host, int(listener.getsockname()[1])
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return Address(host, port, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
