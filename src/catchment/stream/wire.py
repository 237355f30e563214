"""One websocket connection: the kept library's protocol, within our bounds, and a way to write that never waits."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request

from catchment.limits import MAX_BACKLOG_BYTES, MAX_STREAM_MESSAGES_A_SECOND

LINGER_S: Final = 5
"""How long a connection that was ended may take to go, in seconds."""


def framed(message: bytes) -> bytes:
    """The bytes of a whole text message, the same for every connection. By the library they took half as long as all
    else about an event."""
    size = len(message)
    if size < 126:
        return b"\x81%c%b" % (size, message)
    if size < 65_536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), message)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), message)


class Wire(WebSocketsSansIOProtocol):
    """Server-side pings, pongs and the handshake are the library's. `deliver` and `end` are the stream's; the ASGI
    application finds them in its scope, as `wire`."""

    def __init__(self, application: Any, **server: Any) -> None:
        super().__init__(**server)
        self.app = application
        self._frames_at: deque[float] = deque(maxlen=MAX_STREAM_MESSAGES_A_SECOND)

    @property
    def open(self) -> bool:
        """Whether what is delivered can still arrive."""
        return self.handshake_complete and not (self.close_sent or self.transport.is_closing())

    def deliver(self, frames: bytes) -> None:
        """Write whole frames. Who does not read them is ended once so much waits, and is never waited for."""
        if self.open:
            self.transport.write(frames)
            if self.transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
                self.end(CloseCode.POLICY_VIOLATION, "Too slow")

    def end(self, code: int, reason: str) -> None:
        """Say why, and close; whoever does not answer is dropped after a while."""
        if not self.open:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["wire"] = self  # type: ignore[typeddict-unknown-key]

    def handle_events(self) -> None:
        """Every frame counts, a ping too: each costs an answer."""
        now = self.loop.time()
        for event in self.conn.events:
            if isinstance(event, Frame):
                full = len(self._frames_at) == self._frames_at.maxlen
                if full and now - self._frames_at[0] < 1 and event.opcode is not Opcode.CLOSE:
                    self.conn.events.clear()
                    return self.end(CloseCode.POLICY_VIOLATION, "Too many requests")
                self._frames_at.append(now)
        return super().handle_events()

    async def send(self, message: Any) -> None:
        """A refusal is an answer, too, though the library misses the handshake."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def shutdown(self) -> None:
        """When the server ends. As the library does; but what is not read is not waited for."""
        super().shutdown()
        self.loop.call_later(LINGER_S, self.transport.abort)

    async def run_asgi(self) -> None:
        """Likewise, when the connection does."""
        await super().run_asgi()
        self.loop.call_later(LINGER_S, self.transport.abort)
