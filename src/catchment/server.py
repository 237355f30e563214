"""The HTTP server under the faces: where it listens, and the bounds on what a connection may hold."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from catchment import errors
from catchment.config import Settings
from catchment.errors import Refused
from catchment.limits import HEAD_WAIT_S, MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_STREAM_MESSAGE_BYTES

BACKLOG: Final = 2_048
GRACE_S: Final = 10
"""How long open requests may take once the server was told to stop, in seconds."""
KEEP_ALIVE_S: Final = 60
"""How long a connection may be idle between two requests, in seconds."""
PING_EVERY_S: Final = 180
"""How often a websocket connection is sent a ping frame, in seconds (USDⓈ-M stream page)."""
PONG_WITHIN_S: Final = 600
"""A websocket connection that has not answered one by then is closed, in seconds (the same page)."""
LINGER_S: Final = 1
"""How long a refused connection may go on sending before it is closed, in seconds."""
PORTS_TRIED: Final = 100

_HEAD_TOO_LARGE = b"HTTP/1.1 431 \r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Address(NamedTuple):
    """Where a venue listens."""

    host: str
    port: int
    url: str


class Server(uvicorn.Server):
    """Leaves signals to `serve`: the venue closes after the server, and a clean end is not an interrupt. `ending` is
    called when it is told to stop: what would go on answering for ever ends then."""

    def __init__(self, configuration: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(configuration)
        self._ending = ending

    def stop(self) -> None:
        self._ending()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def configuration(application: Callable[..., Any], websocket: Callable[..., asyncio.Protocol]) -> uvicorn.Config:
    """How the server runs an ASGI application: plain HTTP, within our bounds, signals and logs left to the process; and
    what makes the protocol of a connection that becomes a websocket."""
    return uvicorn.Config(
        application,
        interface="asgi3",
        http=_Protocol,
        ws=cast(type[asyncio.Protocol], websocket),
        ws_max_size=MAX_STREAM_MESSAGE_BYTES,
        ws_ping_interval=PING_EVERY_S,
        ws_ping_timeout=PONG_WITHIN_S,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


class _WholeAnswers:
    """A transport that holds the head of an answer until its body comes: one system call, one segment, one wake-up of
    the client, where the server would make two of each."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.bare = transport
        self._write = transport.write
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            self._write(self._head + data)
            self._head = b""
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
        else:
            self._write(data)

    def flush(self) -> None:
        """An answer without a body has its head sent here."""
        if self._head:
            self._write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self.bare.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)


class _Protocol(HttpToolsProtocol):
    """Sends each answer whole; bounds the request head, which the parser gathers before any of our code sees it, in
    bytes and in time."""

    _in_head = True
    _refused = False
    _head_bytes = 0
    _began = 0.0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_WholeAnswers(transport))  # type: ignore[arg-type]
        self._began = self.loop.time()
        self._patience = self.loop.call_later(HEAD_WAIT_S, self._lose_patience)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def _refuse_head(self) -> None:
        """Answer, then read on for a while and drop it: a connection closed with bytes unread is reset, and the answer
        with it."""
        self._refused = True
        self.transport.write(_HEAD_TOO_LARGE)
        self.transport.flush()  # type: ignore[attr-defined]
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def on_message_begin(self) -> None:
        """Count from here; where in the chunk the head began is not known, so that one chunk is not counted."""
        self._in_head = True
        self._head_bytes = 0
        self._began = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Another protocol has the connection from now on: nothing of it is held, and it is waited for."""
        if self._patience is not None:
            self._patience.cancel()
        self.transport.flush()  # type: ignore[attr-defined]
        self.transport = self.transport.bare  # type: ignore[attr-defined]
        super().handle_websocket_upgrade()

    def _lose_patience(self) -> None:
        """Close a connection that began a request head, or was made, too long ago and has not finished one."""
        if self._in_head and self.loop.time() - self._began >= HEAD_WAIT_S:
            self.transport.close()
        else:
            self._patience = self.loop.call_later(HEAD_WAIT_S, self._lose_patience)


def listen(settings: Settings, next_free_port: bool) -> socket.socket:
    """A bound socket. Refuses (BAD_SETTING) an address that cannot be had, and a busy port unless the next will do."""
    tries = PORTS_TRIED if next_free_port and settings.port else 1
    for port in range(settings.port, min(settings.port + tries, 65_536)):
        try:
            return bind(settings.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == settings.port + tries - 1:
                raise Refused(errors.BAD_SETTING("port", f"{settings.host}:{port}: {error.strerror}")) from None
    raise Refused(errors.BAD_SETTING("port", f"no free port from {settings.port} on"))


def bind(host: str, port: int, *, beside_others: bool = False) -> socket.socket:
    """A bound socket; `beside_others` on a port that other sockets of this server have too. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if beside_others:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def address_of(settings: Settings, listener: socket.socket) -> Address:
    """Where a socket listens, as a client on this machine would write it."""
    return address_to(settings.host, int(listener.getsockname()[1]))


def address_to(host: str, port: int) -> Address:
    """A wildcard address is reached over loopback."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return Address(host, port, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
