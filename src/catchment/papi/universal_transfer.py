"""/sapi/v1/asset/transfer: the way money enters a Portfolio Margin account and leaves it, and the history of that.

The spot wallet on the other side is outside the venue: it is never empty, and takes what comes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from catchment import errors, margin
from catchment.errors import Rejection
from catchment.ledger.balance import balance_of
from catchment.ledger.commands import Deposit, Withdrawal
from catchment.ledger.journal import Record
from catchment.papi.bnb import Transferred
from catchment.papi.contract import Call
from catchment.papi.history import DAY_MS, tran_id, walked
from catchment.papi.pro import refuse_outsider
from catchment.wallet import Place

IN: Final = "MAIN_PORTFOLIO_MARGIN"
OUT: Final = "PORTFOLIO_MARGIN_MAIN"
TO_FUTURES: Final = ("MAIN_UMFUTURE", "MAIN_CMFUTURE", "MARGIN_UMFUTURE", "MARGIN_CMFUTURE", "FUNDING_UMFUTURE",
                     "FUNDING_CMFUTURE")  # fmt: skip
"""Refused by their own code: nothing is brought into UM or CM from elsewhere."""
TYPES: Final = (
    IN,
    OUT,
    *TO_FUTURES,
    *[
        "MAIN_MARGIN",
        "MARGIN_MAIN",
        "UMFUTURE_MAIN",
        "UMFUTURE_MARGIN",
        "CMFUTURE_MAIN",
        "CMFUTURE_MARGIN",
        "ISOLATEDMARGIN_MARGIN",
        "MARGIN_ISOLATEDMARGIN",
        "ISOLATEDMARGIN_ISOLATEDMARGIN",
        "MAIN_FUNDING",
        "FUNDING_MAIN",
        "UMFUTURE_FUNDING",
        "CMFUTURE_FUNDING",
        "MARGIN_FUNDING",
        "FUNDING_MARGIN",
        "MAIN_OPTION",
        "OPTION_MAIN",
        "UMFUTURE_OPTION",
        "OPTION_UMFUTURE",
        "MARGIN_OPTION",
        "OPTION_MARGIN",
        "FUNDING_OPTION",
        "OPTION_FUNDING",
    ],
)
DEFAULT_DAYS: Final = 7
KEPT_DAYS: Final = 180
"""How far back the history goes: six months."""
DEFAULT_SIZE: Final = 10
MAX_SIZE: Final = 100

_WAYS = {(Place.OUTSIDE, Place.MARGIN_FREE): IN, (Place.MARGIN_FREE, Place.OUTSIDE): OUT}
_SAPI = {
    errors.BALANCE_NOT_SUFFICIENT: errors.TRANSFER_BALANCE,
    errors.AMOUNT_MUST_BE_POSITIVE: errors.QUANTITY_NOT_POSITIVE,
}
"""What this page's table says otherwise."""


class TransferRow(msgspec.Struct, rename="camel"):
    """One transfer: the amount a decimal text, the time in ms."""

    asset: str
    amount: str
    type: str
    status: str
    tran_id: int
    timestamp: int


class TransferHistory(msgspec.Struct):
    """One page of the transfers, and how many there are on all pages."""

    total: int
    rows: list[TransferRow]


async def transfer(call: Call) -> bytes | Rejection:
    """Bring `amount` into Cross Margin, or take it out.

    Refuses transfers to a futures wallet (-21002) and every other way (-1020), an unknown asset (-1108), an amount
    that is none (-1130, -1111) or not positive (-5007), more than Cross Margin has free (-5013), and more than
    positions and loans let go (-3020).
    """
    way, name = call.values["type"], call.values["asset"]
    outsider = await refuse_outsider(call)
    if outsider is not None:
        return outsider
    if way in TO_FUTURES:
        return errors.NO_TRANSFER_TO_FUTURES()
    if way not in {IN, OUT}:
        return errors.UNSUPPORTED_OPERATION()
    asset = call.venue.assets.get(name)
    if asset is None:
        return errors.BAD_ASSET()
    amount = asset.units(call.values["amount"])
    if isinstance(amount, Rejection):
        return amount
    if way == OUT and await _beyond_margin(call, name, amount):
        return errors.EXCEED_MAX_ROLLOUT()
    answer = await call.submit(Deposit(name, amount) if way == IN else Withdrawal(name, amount))
    if isinstance(answer, Rejection):
        return _SAPI[answer.refusal]() if answer.refusal in _SAPI else answer
    return msgspec.json.encode(Transferred(tran_id(answer.record)))


async def history(call: Call) -> bytes | Rejection:
    """Transfers of one type, newest first: of the last 7 days unless times are sent, of the last six months at most.

    Refuses a page or size of 0 (-1130), a start after the end (-1023), and what `walked` refuses.
    """
    outsider = await refuse_outsider(call)
    if outsider is not None:
        return outsider
    until = call.values.get("endTime", call.now)
    since = call.values.get("startTime", until - DEFAULT_DAYS * DAY_MS)
    page, size = call.values.get("current", 1), call.values.get("size", DEFAULT_SIZE)
    if not page or not size:
        return errors.INVALID_PARAMETER("size" if page else "current")
    if since > until:
        return errors.START_TIME_GREATER_THAN_END_TIME()
    way = call.values["type"]
    rows = await walked(
        call, max(since, call.now - KEPT_DAYS * DAY_MS), until, lambda stored: _rows(call, stored.record, way)
    )
    if isinstance(rows, Rejection):
        return rows
    return msgspec.json.encode(TransferHistory(len(rows), rows[(page - 1) * size : page * size]))


async def _beyond_margin(call: Call, asset: str, amount: int) -> bool:
    """Whether it is free and yet has to stay. As of the last commit: prices are no part of the ledger."""
    state = await call.venue.state(call.account)
    return (
        state is not None
        and margin.withdrawable(state, await call.venue.market.quotes(), asset)
        < amount
        <= balance_of(state, asset).margin_free
    )


def _rows(call: Call, record: Record, way: str) -> list[TransferRow]:
    return [
        TransferRow(
            move.asset,
            call.venue.assets[move.asset].text(move.amount),
            way,
            "CONFIRMED",
            tran_id(record, place),
            record.timestamp,
        )
        for place, move in enumerate(record.transfers)
        if _WAYS.get((move.source, move.target)) == way
    ]
