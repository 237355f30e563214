"""Fund collection: POST /papi/v1/auto-collection and POST /papi/v1/asset-collection."""

from __future__ import annotations

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.collection import BNB
from catchment.ledger.commands import AssetCollection, AutoCollection, Trigger
from catchment.papi.contract import Call
from catchment.wallet import Wallet

SUCCESS = b'{"msg":"success"}'
FUTURE_TYPES = ("UM", "CM", "OPTION")

_AUTO = AutoCollection(Trigger.API)


class Done(msgspec.Struct):
    """The one answer the reference shows: `{"msg": "success"}`."""

    msg: str


async def auto_collection(call: Call) -> bytes | Rejection:
    """Collect every positive futures balance of the account into Cross Margin."""
    answer = await call.submit(_AUTO)
    return answer if isinstance(answer, Rejection) else SUCCESS


async def asset_collection(call: Call) -> bytes | Rejection:
    """Collect one asset, or `amount` of it from `futureType`; both given, or neither (-1128).

    Refuses BNB and OPTION (-1020), an unknown asset (-1108), an amount that is not one (-1130, -1111, -4055, -2018).
    """
    name, text, future_type = call.values["asset"], call.values.get("amount"), call.values.get("futureType")
    asset = call.venue.assets.get(name)
    if asset is None:
        return errors.BAD_ASSET()
    if name == BNB or future_type == "OPTION":
        return errors.UNSUPPORTED_OPERATION()
    amount = None if text is None else asset.units(text)
    if isinstance(amount, Rejection):
        return amount
    wallet = None if future_type is None else Wallet(future_type)
    answer = await call.submit(AssetCollection(name, Trigger.API, amount, wallet))
    return answer if isinstance(answer, Rejection) else SUCCESS
