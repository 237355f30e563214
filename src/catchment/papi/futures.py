"""The futures wallets: um/account (v1, v2), cm/account, and the income history read from the journal."""

from __future__ import annotations

from typing import Final

import msgspec

from catchment import errors, margin
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, balance_of
from catchment.ledger.commands import Adjustment, AutoExchange, Command, NegativeInterest, Reason
from catchment.ledger.journal import Stored
from catchment.margin import Holding
from catchment.papi import history, positions
from catchment.papi.contract import Call
from catchment.papi.history import DAY_MS
from catchment.papi.positions import NONE_HELD, CmPosition, UmPosition, UmPositionV2
from catchment.wallet import FUTURES, Place, Wallet

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
    """One asset of a futures wallet: decimal texts, `updateTime` in ms. There are no orders to need margin."""

    asset: str
    cross_wallet_balance: str
    cross_un_pnl: str
    maint_margin: str
    initial_margin: str
    position_initial_margin: str
    open_order_initial_margin: str = NONE_HELD
    update_time: int


class UmAccount(msgspec.Struct):
    """Assets of the UM wallet that the account touched or has positions in, and its open positions."""

    assets: list[FuturesAsset]
    positions: list[UmPosition]


class UmAccountV2(msgspec.Struct):
    """The same with fewer fields a position."""

    assets: list[FuturesAsset]
    positions: list[UmPositionV2]


class CmAccount(msgspec.Struct):
    """The same of the CM wallet."""

    assets: list[FuturesAsset]
    positions: list[CmPosition]


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
    found = await _account(call, Wallet.UM)
    if isinstance(found, Rejection):
        return found
    assets, held = found
    return msgspec.json.encode(UmAccount(assets, list(map(positions.um_position, held))))


async def um_account_v2(call: Call) -> bytes | Rejection:
    """Assets and positions of the UM wallet, without what is configuration."""
    found = await _account(call, Wallet.UM)
    if isinstance(found, Rejection):
        return found
    assets, held = found
    return msgspec.json.encode(UmAccountV2(assets, list(map(positions.um_position_v2, held))))


async def cm_account(call: Call) -> bytes | Rejection:
    """Assets and positions of the CM wallet."""
    found = await _account(call, Wallet.CM)
    if isinstance(found, Rejection):
        return found
    assets, held = found
    return msgspec.json.encode(CmAccount(assets, list(map(positions.cm_position, held))))


async def um_income(call: Call) -> bytes | Rejection:
    """Income of the UM wallet: the last 7 days unless times are sent."""
    return await _income(call, Wallet.UM)


async def cm_income(call: Call) -> bytes | Rejection:
    """Income of the CM wallet: at most 200 days at once."""
    return await _income(call, Wallet.CM)


async def _account(call: Call, wallet: Wallet) -> tuple[list[FuturesAsset], list[Holding]] | Rejection:
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    held = [each for each in margin.holdings(state, await call.venue.market.quotes()) if each.wallet is wallet]
    names = sorted({*state.balances, *(each.asset.name for each in held)})
    return [_asset(call, state, wallet, name, held) for name in names], held


def _asset(call: Call, state: AccountState, wallet: Wallet, name: str, held: list[Holding]) -> FuturesAsset:
    asset, own = call.venue.assets[name], balance_of(state, name)
    mine = [each for each in held if each.asset.name == name]
    initial = positions.text(asset, sum(each.initial for each in mine))
    return FuturesAsset(
        asset=name,
        cross_wallet_balance=asset.text(own.at(FUTURES[wallet])),
        cross_un_pnl=positions.text(asset, sum(each.profit for each in mine)),
        maint_margin=positions.text(asset, sum(each.maintenance for each in mine)),
        initial_margin=initial,
        position_initial_margin=initial,
        update_time=own.updated,
    )


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
        call, *window, lambda stored: income_rows(call, wallet, stored), limit=limit, newest_first=newest_first
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


def income_rows(call: Call, wallet: Wallet, stored: Stored) -> list[IncomeRow]:
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
