"""Loans of Cross Margin: borrowing, repaying, what was borrowed and repaid, and the interest history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from catchment import errors, margin
from catchment.asset import Asset
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId, balance_of
from catchment.ledger.commands import Borrow, Repay
from catchment.ledger.journal import Stored
from catchment.papi import history
from catchment.papi.contract import Call
from catchment.papi.portfolio import DEFAULT_SIZE, LONGEST_DAYS, USUAL_DAYS, interest_rows
from catchment.venue import Venue
from catchment.wallet import Place

CONFIRMED: Final = "CONFIRMED"
PORTFOLIO: Final = "PORTFOLIO"
PERIODIC: Final = "PERIODIC"

Row = TypeVar("Row", bound="LoanRow | RepayRow | LoanInterestRow")


class LoanRow(msgspec.Struct, rename="camel", kw_only=True):
    """A loan: decimal text, `timestamp` in ms, and the id that was answered."""

    tx_id: int
    asset: str
    principal: str
    timestamp: int
    status: str = CONFIRMED


class Loans(msgspec.Struct):
    """Loans, newest first."""

    rows: list[LoanRow]
    total: int


class RepayRow(msgspec.Struct, rename="camel", kw_only=True):
    """A repayment: the whole of it, and the parts that went to interest and to principal."""

    amount: str
    asset: str
    interest: str
    principal: str
    status: str = CONFIRMED
    timestamp: int
    tx_id: int


class Repayments(msgspec.Struct):
    """Repayments, newest first."""

    rows: list[RepayRow]
    total: int


class LoanInterestRow(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Interest that was charged. What an operator charged on a loan has neither principal nor rate."""

    tx_id: int
    interest_accured_time: int
    asset: str
    raw_asset: str
    principal: str | msgspec.UnsetType = msgspec.UNSET
    interest: str
    interest_rate: str | msgspec.UnsetType = msgspec.UNSET
    type: str


class LoanInterest(msgspec.Struct):
    """Interest, newest first."""

    rows: list[LoanInterestRow]
    total: int


async def loan(venue: Venue, account: AccountId, asset: Asset, amount: int) -> Borrow | Rejection:
    """A loan of `amount` units; it carries as its limit what `maxBorrowable` allows at the moment of asking."""
    state = await venue.state(account)
    if state is None:
        return errors.BAD_ACCOUNT()
    may = margin.borrowable(state, await venue.market.quotes(), asset.name)
    return Borrow(asset.name, amount, margin.owed(balance_of(state, asset.name)) + may.amount)


async def borrow(call: Call) -> bytes | Rejection:
    """Borrow into Cross Margin. Refuses what is no asset (-1108) or amount, and what goes over the limit (-51006)."""
    return await _moved(call, loan)


async def repay(call: Call) -> bytes | Rejection:
    """Pay back out of Cross Margin, interest first. Refuses more than is owed (-3015) and more than is free (-2018)."""
    return await _moved(call, _payment)


async def _payment(venue: Venue, account: AccountId, asset: Asset, amount: int) -> Repay | Rejection:
    return Repay(asset.name, amount)


async def _moved(
    call: Call, command_of: Callable[[Venue, AccountId, Asset, int], Awaitable[Borrow | Repay | Rejection]]
) -> bytes | Rejection:
    asset = call.venue.assets.get(call.values["asset"])
    if asset is None:
        return errors.BAD_ASSET()
    amount = asset.units(call.values["amount"])
    if isinstance(amount, Rejection):
        return amount
    command = await command_of(call.venue, call.account, asset, amount)
    answer = command if isinstance(command, Rejection) else await call.submit(command)
    return answer if isinstance(answer, Rejection) else b'{"tranId":%d}' % history.tran_id(answer.record)


async def loans(call: Call) -> bytes | Rejection:
    """What was borrowed of an asset; the loan of `txId` alone if that is sent."""
    return await _history(call, _loan_rows, Loans)


async def repayments(call: Call) -> bytes | Rejection:
    """What was paid back of an asset; the repayment of `txId` alone if that is sent."""
    return await _history(call, _repay_rows, Repayments)


async def interest_history(call: Call) -> bytes | Rejection:
    """Interest on negative balances (PORTFOLIO), and what an operator charged on loans (PERIODIC)."""
    return await _history(call, _interest_rows, LoanInterest)


async def _history(
    call: Call, rows_of: Callable[[Call, Stored], list[Row]], answer: Callable[[list[Row], int], Any]
) -> bytes | Rejection:
    """A page of a history: of the last 7 days unless times are sent, of 30 days at most.

    Refuses an unknown asset (-1108), page or size 0 (-1130), and what `history.window` and `history.walked` refuse.
    """
    asset, tx_id = call.values.get("asset"), call.values.get("txId")
    page, size = call.values.get("current", 1), call.values.get("size", DEFAULT_SIZE)
    if asset is not None and asset not in call.venue.assets:
        return errors.BAD_ASSET()
    for name, value in (("current", page), ("size", size)):
        if not value:
            return errors.INVALID_PARAMETER(name)

    def wanted(stored: Stored) -> list[Row]:
        return [row for row in rows_of(call, stored) if asset is None or row.asset == asset]

    if tx_id is not None:
        one = [row for stored in await history.of_id(call, tx_id) for row in wanted(stored) if row.tx_id == tx_id]
        return msgspec.json.encode(answer(one, len(one)))
    window = history.window(call, USUAL_DAYS, LONGEST_DAYS)
    rows = window if isinstance(window, Rejection) else await history.walked(call, *window, wanted)
    if isinstance(rows, Rejection):
        return rows
    return msgspec.json.encode(answer(rows[(page - 1) * size : page * size], len(rows)))


def _loan_rows(call: Call, stored: Stored) -> list[LoanRow]:
    record = stored.record
    return [
        LoanRow(
            tx_id=history.tran_id(record, place),
            asset=transfer.asset,
            principal=call.venue.assets[transfer.asset].fixed(transfer.amount),
            timestamp=record.timestamp,
        )
        for place, transfer in enumerate(record.transfers)
        if transfer.source is Place.BORROWED
    ]


def _repay_rows(call: Call, stored: Stored) -> list[RepayRow]:
    """One row for a record, whose transfers are all of one asset."""
    record = stored.record
    paid = {transfer.target: transfer.amount for transfer in record.transfers if transfer.source is Place.MARGIN_FREE}
    interest, principal = paid.get(Place.INTEREST, 0), paid.get(Place.BORROWED, 0)
    if not interest + principal:
        return []
    asset = call.venue.assets[record.transfers[0].asset]
    return [
        RepayRow(
            amount=asset.fixed(interest + principal),
            asset=asset.name,
            interest=asset.fixed(interest),
            principal=asset.fixed(principal),
            timestamp=record.timestamp,
            tx_id=history.tran_id(record),
        )
    ]


def _interest_rows(call: Call, stored: Stored) -> list[LoanInterestRow]:
    record = stored.record
    negative = [
        LoanInterestRow(
            tx_id=history.tran_id(record, place),
            interest_accured_time=row.interest_accured_time,
            asset=row.asset,
            raw_asset=row.asset,
            principal=row.principal,
            interest=row.interest,
            interest_rate=row.interest_rate,
            type=PORTFOLIO,
        )
        for place, row in enumerate(interest_rows(call, stored))
    ]
    return negative + [
        LoanInterestRow(
            tx_id=history.tran_id(record, place),
            interest_accured_time=record.timestamp,
            asset=transfer.asset,
            raw_asset=transfer.asset,
            interest=call.venue.assets[transfer.asset].fixed(transfer.amount),
            type=PERIODIC,
        )
        for place, transfer in enumerate(record.transfers)
        if transfer.source is Place.INTEREST
    ]
