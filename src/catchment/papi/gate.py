"""The gate every request passes, in one order: weight, key, time window, signature, permission, parameters.

The first refusal wins. The weight of a refused request stays charged.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import msgspec

from catchment import errors, signature
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.papi import params
from catchment.papi.contract import ADDRESS, Call, Endpoint, Headers, Security
from catchment.papi.params import Sent
from catchment.signature import Permission
from catchment.venue import Holder, Venue, valid_api_key

_NOBODY = AccountId(b"")
_NEEDED = {
    Security.MARKET_DATA: Permission.READ,
    Security.USER_STREAM: Permission.READ,
    Security.USER_DATA: Permission.READ,
    Security.TRADE: Permission.TRADE,
    Security.MARGIN: Permission.TRADE,
}


class Request(msgspec.Struct):
    """A request as it came: bytes untouched, the caller's address, the venue's time in milliseconds."""

    query: bytes
    body: bytes
    api_key: bytes | None
    address: str
    now: int
    headers: Headers = ()
    spent: int = 0
    """Of an account's own budget, if the endpoint counts against one."""
    record: int = 0
    """The number of the record it made in its account, if it made one."""


class Gate:
    """Turns a request for an endpoint into a call, or refuses it."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.weights = venue.weights

    async def admit(self, endpoint: Endpoint, request: Request) -> Call | Rejection:
        """The call, once the address was charged. Refuses as the module says."""
        sent = params.read(request.query, request.body)
        if isinstance(sent, Rejection):
            return sent
        account = _NOBODY
        if endpoint.security is not Security.NONE:
            holder = await self._holder(request)
            if isinstance(holder, Rejection):
                return holder
            refused = None
            if endpoint.security is not Security.USER_STREAM and endpoint.security is not Security.MARKET_DATA:
                refused = _refuse_time(sent, request.now) or _refuse_signature(sent, holder)
            refused = refused or _refuse_permission(endpoint, request, holder)
            if refused is not None:
                return refused
            account = holder.account
        if not endpoint.parameters:
            return Call(self._venue, account, request.now, {}, request.headers)
        values = params.typed(endpoint.parameters, sent.values)
        if isinstance(values, Rejection):
            return values
        return Call(self._venue, account, request.now, values, request.headers)

    async def _holder(self, request: Request) -> Holder | Rejection:
        if not request.api_key:
            return errors.BAD_API_KEY_FMT()
        api_key = request.api_key.decode("latin-1")
        holder = self._venue.held(api_key)
        if holder is None:
            if not valid_api_key(api_key):
                return errors.BAD_API_KEY_FMT()
            holder = await self._venue.holder(api_key)
        return holder if holder is not None else errors.REJECTED_MBX_KEY(request.address)


def _refuse_time(sent: Sent, now: int) -> Rejection | None:
    text = sent.values.get("timestamp")
    if not text:
        return errors.MANDATORY_PARAM("timestamp")
    timestamp = params.long_value("timestamp", text)
    if isinstance(timestamp, Rejection):
        return timestamp
    window = sent.values.get("recvWindow")
    if window is None:
        return signature.refuse_window(timestamp, signature.DEFAULT_RECV_WINDOW_MS, now)
    if not window:
        return errors.PARAM_EMPTY("recvWindow")
    recv_window = params.long_value("recvWindow", window)
    if isinstance(recv_window, Rejection):
        return recv_window
    return signature.refuse_window(timestamp, recv_window, now)


def _refuse_signature(sent: Sent, holder: Holder) -> Rejection | None:
    if not sent.signature:
        return errors.MANDATORY_PARAM("signature")
    return None if holder.verify(sent.payload, sent.signature) else errors.INVALID_SIGNATURE()


def _refuse_permission(endpoint: Endpoint, request: Request, holder: Holder) -> Rejection | None:
    """The live venue answers a key without the right, a foreign address and an account outside Portfolio Margin with
    the same -2015; on /sapi the last has a code of its own (-21001), which comes with the call."""
    if (
        (holder.portfolio_margin or endpoint.budget is not ADDRESS)
        and _NEEDED[endpoint.security] in holder.key.permissions
        and (not holder.key.ip_allow or _allowed(request.address, holder.key.ip_allow))
    ):
        return None
    return errors.REJECTED_MBX_KEY(request.address)


def _allowed(address: str, ip_allow: tuple[str, ...]) -> bool:
    try:
        caller = ip_address(address)
    except ValueError:
        return False
    return any(caller in ip_network(text) for text in ip_allow)
