"""Several server processes on one port: a parent starts them, starts another for each that dies, and ends them all.

The parent serves nobody. A child is told its settings over a socket that is its standard input, never on its command
line, and ends when that socket does: no child outlives its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from catchment import app, batcher, errors, server
from catchment.config import Settings
from catchment.errors import Refused
from catchment.server import Address
from catchment.venue import Venue

logger = logging.getLogger(__name__)

SPREADS: Final = sys.platform == "linux"
"""Whether the system spreads callers over all sockets bound to a port; elsewhere the processes share one socket."""
PAUSES_S: Final = (0.5, 1, 2, 4, 8, 16, 30)
"""Before another process is started, in seconds: the next one for each that did not last."""
LASTED_S: Final = 60
STOPS_WITHIN_S: Final = server.GRACE_S + batcher.STOPS_WITHIN_S + 5
_READY: Final = b"\n"


async def serve(
    settings: Settings,
    *,
    prepare: Callable[[Venue], Awaitable[None]],
    opened: Callable[[Address, Sequence[int]], None],
) -> None:
    """Open the venue once for `prepare`, start the processes, tell `opened` their ids once all of them listen, and go
    on until SIGINT, SIGTERM or SIGHUP. They answer everyone before they end.

    Refuses what one process refuses, a store in memory, and processes that do not come to listen.
    """
    if settings.store == "memory:":
        raise Refused(errors.BAD_SETTING("processes", "memory: is within one process; name another store, or use 1"))
    with contextlib.closing(server.listen(settings, False)) as reserved:
        if SPREADS:  # not before it is bound, so that a port somebody has was refused
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        venue = await Venue.open(settings)
        try:
            await prepare(venue)
        finally:
            await venue.close()
        places = [_Place(settings, reserved) for _ in range(settings.processes)]
        stopped = asyncio.Event()
        with app.stopped_by_signal(stopped.set):
            keeping = [asyncio.create_task(place.keep()) for place in places]
            stopping = asyncio.create_task(stopped.wait())
            listening = asyncio.create_task(_all_listen(places))
            first: list[asyncio.Task[Any]] = [*keeping, stopping, listening]
            try:
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if listening.done():
                    opened(server.address_of(settings, reserved), [place.pid for place in places])
                await asyncio.wait([*keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
                for keeper in keeping:
                    if keeper.done():
                        keeper.result()
            finally:
                listening.cancel()
                stopping.cancel()
                for keeper in keeping:
                    keeper.cancel()
                await asyncio.wait(keeping)


class _Place:
    """The place of one process, whichever has it now."""

    def __init__(self, settings: Settings, reserved: socket.socket) -> None:
        self._settings = settings
        self._reserved = reserved
        self.listens = asyncio.Event()
        self.pid = 0

    async def keep(self) -> None:
        """Run a process, and another one whenever it ends; cancelled, end it. Refuses if the first never listened."""
        clock = asyncio.get_running_loop().time
        deaths = 0
        while True:
            began = clock()
            try:
                reason = f"ended with {await self._run()}"
            except OSError as error:
                reason = str(error)
            if not self.listens.is_set():
                raise Refused(errors.BAD_SETTING("processes", f"one of them did not come to listen: {reason}"))
            deaths = 0 if clock() - began >= LASTED_S else deaths
            pause = PAUSES_S[min(deaths, len(PAUSES_S) - 1)]
            deaths += 1
            logger.error("server process %d: %s; another one starts in %s s", self.pid, reason, pause)
            await asyncio.sleep(pause)

    async def _run(self) -> int:
        """Start a process and wait for its end; gives its exit code."""
        loop = asyncio.get_running_loop()
        mine, its = socket.socketpair()
        mine.setblocking(False)
        with mine:
            with its, self._listener() as listener:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", __name__, str(listener.fileno())),
                    stdin=its.fileno(),
                    pass_fds=[listener.fileno()],
                    start_new_session=True,  # so that Ctrl-C is the parent's to pass on
                )
            self.pid = process.pid
            try:
                with contextlib.suppress(OSError):  # it ended before; its exit code says more
                    await loop.sock_sendall(mine, msgspec.json.encode(self._settings) + b"\n")
                    if await loop.sock_recv(mine, 1) == _READY:
                        self.listens.set()
                return await process.wait()
            finally:
                await _end(process)

    def _listener(self) -> socket.socket:
        """A socket for a new process. One of its own dies with it; kept here as well, it would go on taking callers."""
        if not SPREADS:
            return self._reserved.dup()
        return server.bind(self._settings.host, self._reserved.getsockname()[1], beside_others=True)


async def _all_listen(places: Sequence[_Place]) -> None:
    for place in places:
        await place.listens.wait()


async def _end(process: Process) -> None:
    """Have a process answer everyone and end; one that hangs is killed."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOPS_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def main() -> None:
    """`python -m catchment.processes DESCRIPTOR`, started by the parent with a bound socket open at the descriptor."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    with socket.socket(fileno=sys.stdin.fileno()) as parent, parent.makefile("rb") as told:
        settings = msgspec.json.decode(told.readline(), type=Settings)

        async def opened(_venue: Venue, _address: Address) -> None:
            asyncio.get_running_loop().add_reader(parent, orphaned)
            with contextlib.suppress(OSError):
                parent.sendall(_READY)

        def orphaned() -> None:
            asyncio.get_running_loop().remove_reader(parent)
            signal.raise_signal(signal.SIGTERM)

        try:
            app.run(app.serve(settings, opened=opened, listener=listener))
        except Refused as refused:
            sys.exit(f"refused: {refused}")


if __name__ == "__main__":
    main()
