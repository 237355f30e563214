"""BNB between Cross Margin and UM: POST /papi/v1/bnb-transfer, the one way into a futures wallet but for repaying."""

from __future__ import annotations

import msgspec

from catchment.errors import Rejection
from catchment.ledger.collection import BNB
from catchment.ledger.commands import BnbTransfer, Side, Trigger
from catchment.papi.contract import Call
from catchment.papi.history import tran_id


class Transferred(msgspec.Struct, rename="camel"):
    """The id of what was moved, lent or repaid; a BNB transfer has the same one in um/income."""

    tran_id: int


async def bnb_transfer(call: Call, pro: bool = False) -> bytes | Rejection:
    """Move BNB, 10 times in any 10 minutes; `pro`: 2 times, which are counted apart.

    Refuses an amount that is not one (-1130, -1111, -4055), more than there is (-2018), once too often (429, -1003).
    """
    amount = call.venue.assets[BNB].units(call.values["amount"])
    if isinstance(amount, Rejection):
        return amount
    command = BnbTransfer(amount, Side(call.values["transferSide"]), Trigger.API, pro)
    answer = await call.submit(command)
    return answer if isinstance(answer, Rejection) else b'{"tranId":%d}' % tran_id(answer.record)
