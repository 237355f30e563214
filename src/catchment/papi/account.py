"""The account as a whole: balance, account, and what Cross Margin may let go or lend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from catchment import errors, margin
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, balance_of
from catchment.margin import USD
from catchment.papi.contract import Call
from catchment.wallet import Wallet

ZERO: Final = "0.0"


class AssetBalanceRow(msgspec.Struct, rename="camel", kw_only=True):
    """One asset over the three wallets, as answered when `asset` is sent: decimal texts, `updateTime` in ms."""

    asset: str
    total_wallet_balance: str
    cross_margin_borrowed: str
    cross_margin_free: str
    cross_margin_interest: str
    cross_margin_locked: str
    um_wallet_balance: str
    um_unrealized_pnl: str = msgspec.field(name="umUnrealizedPNL")
    cm_wallet_balance: str
    cm_unrealized_pnl: str = msgspec.field(name="cmUnrealizedPNL")
    update_time: int
    negative_balance: str


class BalanceRow(AssetBalanceRow, rename="camel", kw_only=True):
    """The same row in the list of all assets, which adds `crossMarginAsset`: free and locked, not net of debt."""

    cross_margin_asset: str


class AccountInformation(msgspec.Struct, rename="camel", kw_only=True):
    """Equity and margin of the account in USD, as decimal texts; `updateTime` in ms."""

    uni_mmr: str = msgspec.field(name="uniMMR")
    account_equity: str
    actual_equity: str
    account_initial_margin: str
    account_maint_margin: str
    account_status: str
    virtual_max_withdraw_amount: str
    total_available_balance: str
    total_margin_open_loss: str
    update_time: int


class MaxWithdraw(msgspec.Struct):
    """Decimal text."""

    amount: str


class MaxBorrowable(msgspec.Struct, rename="camel"):
    """What may be borrowed now, and the limit of the asset: decimal texts."""

    amount: str
    borrow_limit: str


async def balance(call: Call) -> bytes | Rejection:
    """A list of every asset the account touched or has profit in, or one object when `asset` is sent (-1108 if
    unknown)."""
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    profit = margin.profit_of(state, await call.venue.market.quotes())
    name = call.values.get("asset")
    if name is None:
        names = sorted({*state.balances, *profit[Wallet.UM], *profit[Wallet.CM]})
        return msgspec.json.encode([_row(call, state, profit, asset, whole=True) for asset in names])
    if name not in call.venue.assets:
        return errors.BAD_ASSET()
    return msgspec.json.encode(_row(call, state, profit, name, whole=False))


async def account(call: Call) -> bytes | Rejection:
    """Equity and margin at the prices of the moment; see `margin.Risk` for the formulas."""
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    now = margin.risk(state, await call.venue.market.quotes())
    information = AccountInformation(
        uni_mmr=margin.ratio_text(now),
        account_equity=USD.text(now.equity),
        actual_equity=USD.text(now.actual),
        account_initial_margin=USD.text(now.initial),
        account_maint_margin=USD.text(now.maintenance),
        account_status=now.status,
        virtual_max_withdraw_amount=USD.text(now.withdrawable),
        total_available_balance=USD.text(now.available),
        total_margin_open_loss=ZERO,
        update_time=state.timestamp,
    )
    return msgspec.json.encode(information)


async def max_withdraw(call: Call) -> bytes | Rejection:
    """What may be taken of an asset out of Cross Margin; -1108 if the asset is unknown."""
    asset = call.venue.assets.get(call.values["asset"])
    if asset is None:
        return errors.BAD_ASSET()
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    units = margin.withdrawable(state, await call.venue.market.quotes(), asset.name)
    return msgspec.json.encode(MaxWithdraw(asset.text(units)))


async def max_borrowable(call: Call) -> bytes | Rejection:
    """What may be borrowed of an asset; -1108 if the asset is unknown."""
    asset = call.venue.assets.get(call.values["asset"])
    if asset is None:
        return errors.BAD_ASSET()
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    found = margin.borrowable(state, await call.venue.market.quotes(), asset.name)
    return msgspec.json.encode(MaxBorrowable(asset.text(found.amount), asset.text(found.limit)))


def _row(
    call: Call, state: AccountState, profit: Mapping[Wallet, Counter[str]], name: str, whole: bool
) -> AssetBalanceRow:
    own = balance_of(state, name)
    text = call.venue.assets[name].text
    fields = {
        "asset": name,
        "total_wallet_balance": text(own.margin + own.um + own.cm),
        "cross_margin_borrowed": text(-own.borrowed),
        "cross_margin_free": text(own.margin_free),
        "cross_margin_interest": text(-own.interest),
        "cross_margin_locked": text(own.margin_locked),
        "um_wallet_balance": text(own.um),
        "um_unrealized_pnl": text(profit[Wallet.UM][name]),
        "cm_wallet_balance": text(own.cm),
        "cm_unrealized_pnl": text(profit[Wallet.CM][name]),
        "negative_balance": text(min(own.um, 0) + min(own.cm, 0)),
    }
    if whole:
        return BalanceRow(**fields, update_time=own.updated, cross_margin_asset=text(own.margin))
    return AssetBalanceRow(**fields, update_time=own.updated)
