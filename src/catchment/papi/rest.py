"""ASGI in, JSON out: finds the row, reads the clock once, passes the gate, and renders every refusal in one place."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from time import perf_counter_ns
from typing import Any, Final

import msgspec

from catchment import errors
from catchment.errors import OPERATOR_CODES, Refused, Rejection
from catchment.limits import MAX_BODY_BYTES, MAX_QUERY_BYTES, caller
from catchment.papi import download
from catchment.papi.contract import ADDRESS, SAPI_IP, SAPI_UID, Endpoint
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
_GZIP = (
    (b"content-type", b"application/gzip"),
    (b"content-disposition", b'attachment; filename="download.csv.gz"'),
)


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
        self._light = {
            endpoint.path: msgspec.structs.replace(endpoint, weight=1)
            for endpoint in ENDPOINTS
            if endpoint.lighter_with
        }
        self.paths = frozenset(endpoint.path for endpoint in ENDPOINTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter_ns()
        endpoint = self._routes.get((scope["method"], scope["path"]))
        now = self._venue.clock.now()
        address = caller(scope.get("client"))
        request = Request(scope["query_string"], b"", _api_key(scope), address, now, scope["headers"])
        if endpoint is None:
            return await self._unknown(scope, send, request, began)
        if endpoint.lighter_with and _names(request.query, endpoint.lighter_with):
            endpoint = self._light[endpoint.path]
        weights, budget = self._gate.weights, endpoint.budget
        if budget is ADDRESS:
            used = weights.charge(address, endpoint.weight, now)
        else:
            used = self._charge_apart(endpoint, f"{address} {endpoint.path}", now)
        if isinstance(used, Rejection):
            self._keep(scope, request, endpoint.weight, used, began)
            spent = address if budget is ADDRESS else f"{address} {endpoint.path}"
            return await _refuse(send, used, weights.used(spent, now), budget.header)
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
        if budget is SAPI_UID:
            used = request.spent
        if isinstance(answer, Rejection):
            self._keep(scope, request, endpoint.weight, answer, began)
            return await _refuse(send, answer, used, budget.header)
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
                request.record,
            )
        )
        return await _respond(send, 200, answer, used, budget.header)

    async def _answer(self, endpoint: Endpoint, request: Request, receive: Receive) -> bytes | Rejection:
        if len(request.query) > MAX_QUERY_BYTES:
            return errors.QUERY_TOO_LARGE(MAX_QUERY_BYTES)
        if endpoint.method != "GET":
            body = await _body(receive)
            if isinstance(body, Rejection):
                return body
            request.body = body
        call = await self._gate.admit(endpoint, request)
        if isinstance(call, Rejection):
            return call
        if endpoint.budget is SAPI_UID:
            weights, spent = self._gate.weights, f"{call.account.hex()} {endpoint.path}"
            used = weights.charge_apart(spent, endpoint.weight, call.now, SAPI_UID.times * weights.per_minute)
            request.spent = weights.used(spent, call.now)
            if isinstance(used, Rejection):
                return used
        answer = await endpoint.handler(call)
        request.record = call.record
        return answer

    def _charge_apart(self, endpoint: Endpoint, spent: str, now: int) -> int | Rejection:
        """Charge an address for an endpoint of /sapi, which has a budget of its own for each address."""
        weights = self._gate.weights
        weight = 1 if endpoint.budget is SAPI_UID else endpoint.weight
        return weights.charge_apart(spent, weight, now, SAPI_IP.times * weights.per_minute)

    async def _unknown(self, scope: Scope, send: Send, request: Request, began: int) -> None:
        """A path that is no endpoint costs nothing, but a banned address gets no answer from it either."""
        used = self._gate.weights.used(request.address, request.now)
        answer: bytes | Rejection | None = self._gate.weights.banned(request.address, request.now)
        if answer is None and scope["path"] == DESCRIPTION and scope["method"] == "GET":
            answer = document()
        elif answer is None and scope["path"].startswith(download.PATH) and scope["method"] == "GET":
            return await self._file(scope, send, request, began)
        elif answer is None:
            answer = errors.UNKNOWN_PATH(scope["path"][:MAX_PATH_TOLD], scope["method"])
        self._keep(scope, request, 0, answer, began)
        await (_refuse(send, answer, used) if isinstance(answer, Rejection) else _respond(send, 200, answer, used))

    async def _file(self, scope: Scope, send: Send, request: Request, began: int) -> None:
        """A download, in pieces as they are made. The link is all the right it takes, so nobody is shown it."""
        weights = self._gate.weights
        used = weights.charge(request.address, download.WEIGHT, request.now)
        answer: AsyncIterator[bytes] | Rejection
        if isinstance(used, Rejection):
            answer, used = used, weights.used(request.address, request.now)
        else:
            answer = await self._pieces(scope["path"], request.now)
        kept = answer if isinstance(answer, Rejection) else b""
        self._keep({**scope, "path": download.PATH}, request, download.WEIGHT, kept, began)
        if isinstance(answer, Rejection):
            return await _refuse(send, answer, used)
        headers = [*_GZIP, (ADDRESS.header, b"%d" % used)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for piece in answer:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _pieces(self, path: str, now: int) -> AsyncIterator[bytes] | Rejection:
        try:
            pieces = await download.file(self._venue, path.removeprefix(download.PATH), now)
        except Exception:
            logger.exception("GET %s failed", download.PATH)
            return errors.UNKNOWN()
        return errors.UNKNOWN_PATH(path[:MAX_PATH_TOLD], "GET") if pieces is None else pieces

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
                request.record,
            )
        )


def _names(query: bytes, parameter: str) -> bool:
    """Whether a query gives a parameter a value."""
    head = f"{parameter}=".encode()
    return any(part.startswith(head) and part != head for part in query.split(b"&"))


def _api_key(scope: Scope) -> bytes | None:
    value: bytes
    for name, value in scope["headers"]:
        if name == b"x-mbx-apikey":
            return value
    return None


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


async def _refuse(send: Send, rejection: Rejection, used: int, header: bytes = ADDRESS.header) -> None:
    body = msgspec.json.encode({"code": rejection.code, "msg": rejection.sentence})
    more = () if rejection.retry_after is None else ((b"retry-after", b"%d" % rejection.retry_after),)
    await _respond(send, rejection.status, body, used, header, more)


async def _respond(
    send: Send, status: int, body: bytes, used: int, header: bytes = ADDRESS.header, more: tuple[Header, ...] = ()
) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body)), (header, b"%d" % used), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
