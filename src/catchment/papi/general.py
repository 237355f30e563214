"""The calls anyone may make: connectivity and time, on every path that real clients ask first."""

from __future__ import annotations

import msgspec

from catchment.papi.contract import Call

EMPTY = b"{}"


class Empty(msgspec.Struct):
    """An object without fields."""


class ServerTime(msgspec.Struct):
    """The venue's clock, in milliseconds."""

    serverTime: int  # noqa: N815 - the wire's name


async def ping(call: Call) -> bytes:
    """`{}`"""
    return EMPTY


async def server_time(call: Call) -> bytes:
    """The time the request was stamped with."""
    return b'{"serverTime":%d}' % call.now
