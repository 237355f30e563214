"""ASGI in, JSON out: finds the row, reads the clock once, passes the gate, and renders every refusal in one place."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter_ns
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
KEPT_BYTES: Final = 4_096
"""How much of a body is kept for people to look at; less is shown."""
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
        requests = venue.take_requests()
        self._take, self._numbers = requests.taken.append, requests.numbers
        self._routes = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS}
        self.paths = frozenset(endpoint.path for endpoint in ENDPOINTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter_ns()
        endpoint = self._routes.get((scope["method"], scope["path"]))
        now = self._venue.clock.now()
        address = _address(scope)
        request = Request(scope["query_string"], b"", _api_key(scope), address, now)
        if endpoint is None:
            return await self._unknown(scope, send, request, began)
        weights = self._gate.weights
        used = weights.charge(address, endpoint.weight, now)
        if isinstance(used, Rejection):
            self._keep(scope, request, endpoint.weight, used, began)
            return await _refuse(send, used, weights.used(address, now))
        try:
            answer = await self._answer(endpoint, request, receive)
        except Disconnected:
            return self._keep(scope, request, endpoint.weight, None, began)
        except Refused as refused:  # a store that cannot be read
            logger.error("%s %s: %s", endpoint.method, endpoint.path, refused)
            answer = refused.rejection if refused.rejection.code > OPERATOR_CODES else errors.UNKNOWN()
        except Exception:
            logger.exception("%s %s failed", endpoint.method, endpoint.path)
            answer = errors.UNKNOWN()
        if isinstance(answer, Rejection):
            self._keep(scope, request, endpoint.weight, answer, began)
            return await _refuse(send, answer, used)
        self._take(
            (
                next(self._numbers),
                now,
                endpoint.method,
                endpoint.path,
                request.query,
                request.body[:KEPT_BYTES],
                request.api_key,
                address,
                endpoint.weight,
                200,
                0,
                perf_counter_ns() - began,
            )
        )
        return await _respond(send, 200, answer, used)

    async def _answer(self, endpoint: Endpoint, request: Request, receive: Receive) -> bytes | Rejection:
        if len(request.query) > MAX_QUERY_BYTES:
            return errors.QUERY_TOO_LARGE(MAX_QUERY_BYTES)
        if endpoint.method != "GET":
            body = await _body(receive)
            if isinstance(body, Rejection):
                return body
            request.body = body
        call = await self._gate.admit(endpoint, request)
        return call if isinstance(call, Rejection) else await endpoint.handler(call)

    async def _unknown(self, scope: Scope, send: Send, request: Request, began: int) -> None:
        """A path that is no endpoint costs nothing, but a banned address gets no answer from it either."""
        used = self._gate.weights.used(request.address, request.now)
        answer: bytes | Rejection | None = self._gate.weights.banned(request.address, request.now)
        if answer is None and scope["path"] == DESCRIPTION and scope["method"] == "GET":
            answer = document()
        elif answer is None:
            answer = errors.UNKNOWN_PATH(scope["path"][:MAX_PATH_TOLD], scope["method"])
        self._keep(scope, request, 0, answer, began)
        await (_refuse(send, answer, used) if isinstance(answer, Rejection) else _respond(send, 200, answer, used))

    def _keep(self, scope: Scope, request: Request, weight: int, answer: bytes | Rejection | None, began: int) -> None:
        """For people to look at; everything but this append is done later. No answer: the caller went away."""
        status, code = 200, 0
        if answer is None:
            status = 0
        elif isinstance(answer, Rejection):
            status, code = answer.status, answer.code
        self._take(
            (
                next(self._numbers),
                request.now,
                scope["method"],
                scope["path"],
                request.query,
                request.body[:KEPT_BYTES],
                request.api_key,
                request.address,
                weight,
                status,
                code,
                perf_counter_ns() - began,
            )
        )


def _api_key(scope: Scope) -> bytes | None:
    value: bytes
    for name, value in scope["headers"]:
        if name == b"x-mbx-apikey":
            return value
    return None


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
