"""The key to the user-data stream: POST, PUT and DELETE /papi/v1/listenKey."""

from __future__ import annotations

import msgspec

from catchment import listen_keys
from catchment.errors import Rejection
from catchment.papi.contract import Call
from catchment.papi.general import EMPTY


class ListenKey(msgspec.Struct):
    """64 letters and digits."""

    listenKey: str  # noqa: N815 - the wire's name


async def start(call: Call) -> bytes:
    """The account's living key, or a new one; either lives 60 minutes from now."""
    return msgspec.json.encode(ListenKey(await listen_keys.begin(call.venue, call.account)))


async def keep_alive(call: Call) -> bytes | Rejection:
    """60 minutes from now. Refuses (-1125) when no key lives."""
    return await listen_keys.prolong(call.venue, call.account) or EMPTY


async def close(call: Call) -> bytes | Rejection:
    """End the key and its connections. Refuses (-1125) when no key lives."""
    return await listen_keys.end(call.venue, call.account) or EMPTY
