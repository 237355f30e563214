"""Repaying negative futures balances: /papi/v1/repay-futures-switch and …/repay-futures-negative-balance."""

from __future__ import annotations

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.balance import standing_of
from catchment.ledger.commands import RepayNegative, SetAutoRepay, Trigger
from catchment.papi.collection import SUCCESS
from catchment.papi.contract import Call

BOOLEANS = ("true", "false", "True", "False")
"""Some clients render a boolean as Python does."""


class AutoRepay(msgspec.Struct, rename="camel"):
    """Whether Auto Repay is on; it is off until somebody turns it on."""

    auto_repay: bool


async def auto_repay(call: Call) -> bytes | Rejection:
    """The switch as it stands."""
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    return msgspec.json.encode(AutoRepay(standing_of(state).auto_repay))


async def set_auto_repay(call: Call) -> bytes | Rejection:
    """Turn the switch, 20 times in a UTC day; refuses the 21st (429, -1003)."""
    return await _done(call, SetAutoRepay(call.values["autoRepay"].lower() == "true", Trigger.API))


async def repay_negative(call: Call) -> bytes | Rejection:
    """Fill what is negative in UM and CM out of free Cross Margin, as far as that goes; nothing to do is a success."""
    return await _done(call, RepayNegative(Trigger.API))


async def _done(call: Call, command: SetAutoRepay | RepayNegative) -> bytes | Rejection:
    answer = await call.submit(command)
    return answer if isinstance(answer, Rejection) else SUCCESS
