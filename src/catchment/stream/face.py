"""The websocket's ASGI face: /pm/ws/<listenKey> with bare events, /pm/stream with wrapped ones, and what a client may
ask on either: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from catchment import errors
from catchment.errors import Refused, Rejection
from catchment.limits import MAX_STREAMS
from catchment.stream.user_data import FAILED, Connection, UserData
from catchment.venue import Venue

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BARE: Final = "/pm/ws"
WRAPPED: Final = "/pm/stream"
METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS")
BAD_REQUEST, BAD_JSON = 2, 3


class Asked(msgspec.Struct):
    """A request that was understood."""

    method: str
    names: list[str]
    id: int | str | None


class Fault(msgspec.Struct):
    """What is wrong with a request: the code and sentence of the USDⓈ-M stream page."""

    code: int
    msg: str
    id: int | str | None = None


class Face:
    """The face of one process."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._user_data = UserData(venue)

    async def close(self) -> None:
        await self._user_data.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = streams_of(scope["path"], scope["query_string"].decode("latin-1"))
        if names is None:
            return await _refuse(send, errors.UNKNOWN_PATH(scope["path"][:256], "GET"))
        connection = Connection(scope["wire"], scope["path"] == WRAPPED, self._venue.clock.now())
        if len(names) > MAX_STREAMS or not self._user_data.join(connection):
            return await _refuse(send, errors.QUEUE_FULL())
        accepted = False
        try:
            for name in names:
                await self._user_data.subscribe(connection, name)
            await receive()
            await send({"type": "websocket.accept"})
            accepted = True
            while (message := await receive())["type"] == "websocket.receive":
                text = message.get("text")
                answer = await self._answer(connection, message["bytes"] if text is None else text.encode())
                await send({"type": "websocket.send", "text": msgspec.json.encode(answer).decode()})
        except Refused as refused:
            logger.error("the stream cannot be served: %s", refused)
            if accepted:
                scope["wire"].end(FAILED, "The store cannot be read")
            else:
                await _refuse(send, errors.STORE_UNAVAILABLE())
        finally:
            self._user_data.leave(connection)
        return None

    async def _answer(self, connection: Connection, text: bytes) -> dict[str, Any]:
        asked = read_request(text)
        if isinstance(asked, Asked) and len({*connection.names, *asked.names}) > MAX_STREAMS:
            asked = Fault(BAD_REQUEST, "Invalid request: too many parameters", asked.id)
        if isinstance(asked, Fault):
            return {"error": {"code": asked.code, "msg": asked.msg}, "id": asked.id}
        result = None
        for name in asked.names:
            if asked.method == "SUBSCRIBE":
                await self._user_data.subscribe(connection, name)
            else:
                self._user_data.unsubscribe(connection, name)
        if asked.method == "LIST_SUBSCRIPTIONS":
            result = list(connection.names)
        return {"result": result, "id": asked.id}


def streams_of(path: str, query: str) -> list[str] | None:
    """The streams that an address names; None for an address that is not ours."""
    if path == WRAPPED:
        given = [part.removeprefix("streams=") for part in query.split("&") if part.startswith("streams=")]
        return [name for part in given for name in unquote(part).split("/") if name]
    if path == BARE or path.startswith(f"{BARE}/"):
        return [name for name in path.removeprefix(BARE).split("/") if name]
    return None


def read_request(text: bytes) -> Asked | Fault:
    """What a client asks; or what is wrong with it. The id comes back as it was sent: clients wait for it."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return Fault(BAD_JSON, _where(text, str(error)))
    if not isinstance(found, dict):
        return Fault(BAD_REQUEST, "Invalid request: expected an object")
    given, method, names = found.get("id"), found.get("method"), found.get("params", [])
    if not (given is None or isinstance(given, str) or (type(given) is int and 0 <= given < 2**64)):
        return Fault(BAD_REQUEST, "Invalid request: request ID must be an unsigned integer")
    if method is None:
        return Fault(BAD_REQUEST, f"Invalid request: missing field method at line 1 column {len(text)}", given)
    if method not in METHODS:
        expected = ", ".join(METHODS)
        return Fault(BAD_REQUEST, f"Invalid request: unknown variant {method}, expected one of {expected}", given)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return Fault(BAD_REQUEST, "Invalid request: params must be a list of stream names", given)
    return Asked(method, names if method != "LIST_SUBSCRIPTIONS" else [], given)


def _where(text: bytes, reason: str) -> str:
    """The parser says a byte; the reference a line and a column."""
    found = re.search(r"\(byte (\d+)\)", reason)
    before = text[: int(found[1])] if found else text
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f"Invalid JSON: expected value at line {line} column {column}"


async def _refuse(send: Send, rejection: Rejection) -> None:
    body = msgspec.json.encode({"code": rejection.code, "msg": rejection.sentence})
    headers = [(b"content-type", b"application/json;charset=UTF-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": rejection.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
