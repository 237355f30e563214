"""What negative balances led to: /papi/v1/portfolio/interest-history and …/negative-balance-exchange-record."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from catchment import errors
from catchment.asset import Asset
from catchment.errors import Rejection
from catchment.ledger.commands import AutoExchange, NegativeInterest
from catchment.ledger.journal import Stored
from catchment.papi import history
from catchment.papi.contract import Call

USUAL_DAYS: Final = 7
LONGEST_DAYS: Final = 30
DEFAULT_SIZE: Final = 10
MAX_SIZE: Final = 100
EXCHANGE_DAYS: Final = 92
"""Three months of the longest kind."""
RATE: Final = Asset("RATE")

Number = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "number"})]
"""An exact decimal that the wire has as a JSON number."""


class InterestRow(msgspec.Struct, rename="camel", kw_only=True):
    """A day's interest on one asset: decimal texts; `interestAccuredTime` (the wire's spelling) in ms."""

    asset: str
    interest: str
    interest_accured_time: int
    interest_rate: str
    principal: str


class Exchanged(msgspec.Struct, rename="camel"):
    """What was negative of an asset, signed, and the most that may be: JSON numbers."""

    asset: str
    negative_balance: Number
    negative_max_threshold: Number


class ExchangeRow(msgspec.Struct, rename="camel"):
    """One exchange. It takes no time here, so both times are the record's, in ms."""

    start_time: int
    end_time: int
    details: list[Exchanged]


class ExchangeRecords(msgspec.Struct):
    """Exchanges, newest first."""

    total: int
    rows: list[ExchangeRow]


async def interest_history(call: Call) -> bytes | Rejection:
    """Interest on negative balances, newest first: of the last 7 days unless times are sent, of 30 days at most.

    Refuses an unknown asset (-1108), size 0 (-1130), and what `history.window` and `history.walked` refuse.
    """
    asset, size = call.values.get("asset"), call.values.get("size", DEFAULT_SIZE)
    if asset is not None and asset not in call.venue.assets:
        return errors.BAD_ASSET()
    if not size:
        return errors.INVALID_PARAMETER("size")
    window = history.window(call, USUAL_DAYS, LONGEST_DAYS)
    if isinstance(window, Rejection):
        return window

    def rows_of(stored: Stored) -> list[InterestRow]:
        return [row for row in interest_rows(call, stored) if asset is None or row.asset == asset]

    rows = await history.walked(call, *window, rows_of, limit=size)
    return rows if isinstance(rows, Rejection) else msgspec.json.encode(rows)


def interest_rows(call: Call, stored: Stored) -> list[InterestRow]:
    """A row for each asset that a record charged; none if it is no charge."""
    record = stored.record
    command = record.command
    if not isinstance(command, NegativeInterest):
        return []
    rates = {terms.asset: terms.rate for terms in command.terms}
    principals = {found.asset: found.amount for found in record.body.found}
    return [
        InterestRow(
            asset=transfer.asset,
            interest=call.venue.assets[transfer.asset].fixed(transfer.amount),
            interest_accured_time=record.timestamp,
            interest_rate=RATE.fixed(rates[transfer.asset]),
            principal=call.venue.assets[transfer.asset].fixed(principals[transfer.asset]),
        )
        for transfer in record.transfers
    ]


async def exchange_records(call: Call) -> bytes | Rejection:
    """Exchanges against negative balances, newest first, in a window of three months at most (-4165)."""
    window = history.window(call, EXCHANGE_DAYS, EXCHANGE_DAYS)
    if isinstance(window, Rejection):
        return window
    rows = await history.walked(call, *window, lambda stored: _exchange_rows(call, stored))
    return rows if isinstance(rows, Rejection) else msgspec.json.encode(ExchangeRecords(len(rows), rows))


def _exchange_rows(call: Call, stored: Stored) -> list[ExchangeRow]:
    record = stored.record
    command = record.command
    if not isinstance(command, AutoExchange):
        return []
    asset = call.venue.assets[command.debt.asset]
    details = [
        Exchanged(found.asset, _number(asset, -found.amount), _number(asset, command.most))
        for found in record.body.found
    ]
    return [ExchangeRow(record.timestamp, record.timestamp, details)]


def _number(asset: Asset, units: int) -> msgspec.Raw:
    """Exactly, and without a decimal point if there is nothing after it: the official SDK takes only whole numbers for
    the most that may be negative."""
    return msgspec.Raw(asset.text(units).removesuffix(".0").encode())
