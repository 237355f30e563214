"""ASGI in, JSON out: finds the row, reads the clock once, passes the gate, and renders every refusal in one place."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from catchment import errors
from catchment.errors import OPERATOR_CODES, Refused, Rejection
from catchment.limits import MAX_BODY_BYTES, MAX_QUERY_BYTES
from catchment.papi.contract import Endpoint
from catchment.papi.endpoints import ENDPOINTS
from catchment.papi.gate import Gate, Request
from catchment.papi.openapi import document
from catchment.venue import Venue

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

DESCRIPTION: Final = "/openapi.json"
MAX_PATH_TOLD: Final = 256
"""How much of an unknown path its refusal repeats, in characters."""

_JSON = (b"content-type", b"application/json;charset=UTF-8")
_WEIGHT = b"x-mbx-used-weight-1m"


class Disconnected(Exception):  # noqa: N818 - the client's doing, not an error of ours
    """The client went away before its body was whole."""


class Rest:
    """The REST face of a venue: its endpoints, and the description of them at /openapi.json."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._gate = Gate(venue)
        self.weights = self._gate.weights
        self._routes = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS}
        self.paths = frozenset(endpoint.path for endpoint in ENDPOINTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._routes.get((scope["method"], scope["path"]))
        now = self._venue.clock.now()
        address = _address(scope)
        if endpoint is None:
            return await self._unknown(scope, send, address, now)
        weights = self._gate.weights
        used = weights.charge(address, endpoint.weight, now)
        if isinstance(used, Rejection):
            return await _refuse(send, used, weights.used(address, now))
        try:
            answer = await self._answer(endpoint, scope, receive, address, now)
        except Disconnected:
            return None
        except Refused as refused:  # a store that cannot be read
            logger.error("%s %s: %s", endpoint.method, endpoint.path, refused)
            answer = refused.rejection if refused.rejection.code > OPERATOR_CODES else errors.UNKNOWN()
        except Exception:
            logger.exception("%s %s failed", endpoint.method, endpoint.path)
            answer = errors.UNKNOWN()
        if isinstance(answer, Rejection):
            return await _refuse(send, answer, used)
        return await _respond(send, 200, answer, used)

    async def _answer(
        self, endpoint: Endpoint, scope: Scope, receive: Receive, address: str, now: int
    ) -> bytes | Rejection:
        query: bytes = scope["query_string"]
        if len(query) > MAX_QUERY_BYTES:
            return errors.QUERY_TOO_LARGE(MAX_QUERY_BYTES)
        body = b""
        if endpoint.method != "GET":
            whole = await _body(receive)
            if isinstance(whole, Rejection):
                return whole
            body = whole
        api_key = None
        for name, value in scope["headers"]:
            if name == b"x-mbx-apikey":
                api_key = value
                break
        call = await self._gate.admit(endpoint, Request(query, body, api_key, address, now))
        return call if isinstance(call, Rejection) else await endpoint.handler(call)

    async def _unknown(self, scope: Scope, send: Send, address: str, now: int) -> None:
        """A path that is no endpoint costs nothing, but a banned address gets no answer from it either."""
        banned = self._gate.weights.banned(address, now)
        used = self._gate.weights.used(address, now)
        if banned is not None:
            await _refuse(send, banned, used)
        elif scope["path"] == DESCRIPTION and scope["method"] == "GET":
            await _respond(send, 200, document(), used)
        else:
            await _refuse(send, errors.UNKNOWN_PATH(scope["path"][:MAX_PATH_TOLD], scope["method"]), used)


def _address(scope: Scope) -> str:
    """The caller's. A socket for both families writes the IPv4 address 10.1.2.3 as ::ffff:10.1.2.3."""
    client = scope.get("client")
    address: str = client[0] if client else ""
    return address.removeprefix("::ffff:") if "." in address else address


async def _body(receive: Receive) -> bytes | Rejection:
    """The whole body; refuses one over the limit as soon as that is certain."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        if len(body) > MAX_BODY_BYTES:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
    return errors.BODY_TOO_LARGE(MAX_BODY_BYTES) if len(body) > MAX_BODY_BYTES else body


async def _refuse(send: Send, rejection: Rejection, used: int) -> None:
    body = msgspec.json.encode({"code": rejection.code, "msg": rejection.sentence})
    more = () if rejection.retry_after is None else ((b"retry-after", b"%d" % rejection.retry_after),)
    await _respond(send, rejection.status, body, used, more)


async def _respond(send: Send, status: int, body: bytes, used: int, more: tuple[Header, ...] = ()) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body)), (_WEIGHT, b"%d" % used), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
