"""The futures wallets: um/account (v1, v2), cm/account, and the income history read from the journal."""

from __future__ import annotations

from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.commands import Adjustment, AutoExchange, Command, NegativeInterest, Reason
from catchment.ledger.journal import Stored
from catchment.papi import history
from catchment.papi.contract import Call
from catchment.papi.history import DAY_MS
from catchment.wallet import FUTURES, Place, Wallet

NONE_HELD: Final = "0"
DEFAULT_WINDOW_DAYS: Final = {Wallet.UM: 7, Wallet.CM: 200}
KEPT_DAYS: Final = {Wallet.UM: 90, Wallet.CM: 200}
"""How far back rows are answered: three months on UM, and on CM the 200 days of the English page."""
LONGEST_WINDOW_DAYS: Final = {Wallet.UM: 0, Wallet.CM: 200}
"""0 is no bound of its own."""
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
TRANSFER: Final = "TRANSFER"
AUTO_EXCHANGE: Final = "AUTO_EXCHANGE"
INTEREST: Final = "INTEREST"
INCOME_NOTE: Final = (
    "A collection is a negative TRANSFER row, other types are on the list of choices: the reference does not say."
)
_CM_INFO = ("WITHDRAW", "DEPOSIT")
"""What a transfer out of CM is called, and one into it; in UM both are a TRANSFER."""

_COMMON_TYPES = "TRANSFER WELCOME_BONUS REALIZED_PNL FUNDING_FEE COMMISSION INSURANCE_CLEAR DELIVERED_SETTELMENT"
CM_INCOME_TYPES: Final = tuple(_COMMON_TYPES.split())
UM_INCOME_TYPES: Final = (
    *CM_INCOME_TYPES,
    *[
        "REFERRAL_KICKBACK",
        "COMMISSION_REBATE",
        "API_REBATE",
        "CONTEST_REWARD",
        "CROSS_COLLATERAL_TRANSFER",
        "OPTIONS_PREMIUM_FEE",
        "OPTIONS_SETTLE_PROFIT",
        "INTERNAL_TRANSFER",
        "AUTO_EXCHANGE",
        "COIN_SWAP_DEPOSIT",
        "COIN_SWAP_WITHDRAW",
        "POSITION_LIMIT_INCREASE_FEE",
    ],
)


class FuturesAsset(msgspec.Struct, rename="camel", kw_only=True):
    """One asset of a futures wallet: decimal texts, `updateTime` in ms. Without positions the margins are 0."""

    asset: str
    cross_wallet_balance: str
    cross_un_pnl: str = NONE_HELD
    maint_margin: str = NONE_HELD
    initial_margin: str = NONE_HELD
    position_initial_margin: str = NONE_HELD
    open_order_initial_margin: str = NONE_HELD
    update_time: int


class FuturesAccount(msgspec.Struct):
    """Assets of the wallet that the account touched; positions are none, for the venue matches no orders."""

    assets: list[FuturesAsset]
    positions: list[dict[str, str | int]]


class IncomeRow(msgspec.Struct, rename="camel", kw_only=True):
    """One change of a futures wallet: decimal text, signed; `time` in ms; `tranId` a text, unique in the account."""

    symbol: str
    income_type: str
    income: str
    asset: str
    info: str
    time: int
    tran_id: str
    trade_id: str = ""


async def um_account(call: Call) -> bytes | Rejection:
    """Assets and positions of the UM wallet."""
    return await _account(call, Wallet.UM)


async def cm_account(call: Call) -> bytes | Rejection:
    """Assets and positions of the CM wallet."""
    return await _account(call, Wallet.CM)


async def um_income(call: Call) -> bytes | Rejection:
    """Income of the UM wallet: the last 7 days unless times are sent."""
    return await _income(call, Wallet.UM)


async def cm_income(call: Call) -> bytes | Rejection:
    """Income of the CM wallet: at most 200 days at once."""
    return await _income(call, Wallet.CM)


async def _account(call: Call, wallet: Wallet) -> bytes | Rejection:
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    assets = [
        FuturesAsset(
            asset=name,
            cross_wallet_balance=call.venue.assets[name].text(own.at(FUTURES[wallet])),
            update_time=own.updated,
        )
        for name, own in sorted(state.balances.items())
    ]
    return msgspec.json.encode(FuturesAccount(assets, []))


async def _income(call: Call, wallet: Wallet) -> bytes | Rejection:
    """With `startTime` the earliest rows of the window, without it the latest; in either case in order of time."""
    window = _window(call, wallet)
    if isinstance(window, Rejection):
        return window
    limit = call.values.get("limit", DEFAULT_LIMIT)
    if not limit:
        return errors.INVALID_PARAMETER("limit")
    newest_first = "startTime" not in call.values
    rows = await history.walked(
        call, *window, lambda stored: _rows(call, wallet, stored), limit=limit, newest_first=newest_first
    )
    if isinstance(rows, Rejection):
        return rows
    return msgspec.json.encode(rows[::-1] if newest_first else rows)


def _window(call: Call, wallet: Wallet) -> tuple[int, int] | Rejection:
    """From and to, in milliseconds, both included."""
    start, end = call.values.get("startTime"), call.values.get("endTime")
    until = call.now if end is None else end
    since = until - DEFAULT_WINDOW_DAYS[wallet] * DAY_MS if start is None else start
    if start is not None and end is not None and start > end:
        return errors.START_TIME_GREATER_THAN_END_TIME()
    longest = LONGEST_WINDOW_DAYS[wallet]
    if longest and until - since > longest * DAY_MS:
        return errors.INVALID_TIME_INTERVAL(longest)
    return max(since, call.now - KEPT_DAYS[wallet] * DAY_MS), until


def _rows(call: Call, wallet: Wallet, stored: Stored) -> list[IncomeRow]:
    """The rows a record makes in a wallet, if it is one that is asked for; a filter not sent lets all through."""
    record = stored.record
    command = record.command
    symbol = command.symbol if isinstance(command, Adjustment) else ""
    kind, info = _kind(command, wallet)
    if call.values.get("symbol", symbol) != symbol or call.values.get("incomeType", kind) != kind:
        return []
    return [
        IncomeRow(
            symbol=symbol,
            income_type=kind,
            income=call.venue.assets[entry.asset].fixed(entry.amount),
            asset=entry.asset,
            info=info or (TRANSFER if wallet is Wallet.UM else _CM_INFO[entry.amount > 0]),
            time=record.timestamp,
            tran_id=str(history.tran_id(record, place)),
        )
        for place, transfer in enumerate(record.transfers)
        for entry in transfer.entries
        if entry.place is Place(FUTURES[wallet])
    ]


def _kind(command: Command, wallet: Wallet) -> tuple[str, str]:
    """Type and info: an adjustment under its reason, interest as a fee, an exchange under its own name where there is
    one. The rest are transfers, whose info is in their direction."""
    match command:
        case Adjustment():
            return command.reason, command.reason
        case NegativeInterest():
            return Reason.COMMISSION, INTEREST
        case AutoExchange():
            return (AUTO_EXCHANGE if wallet is Wallet.UM else TRANSFER), AUTO_EXCHANGE
    return TRANSFER, ""
