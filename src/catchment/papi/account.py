"""The account as a whole: GET /papi/v1/balance and GET /papi/v1/account."""

from __future__ import annotations

from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance, balance_of
from catchment.papi.contract import Call
from catchment.venue import USD

ZERO: Final = "0.0"
NO_MARGIN_NEED: Final = "99999999"
"""uniMMR of an account without maintenance margin, as seen live."""


class AssetBalanceRow(msgspec.Struct, rename="camel", kw_only=True):
    """One asset over the three wallets, as answered when `asset` is sent: decimal texts, `updateTime` in ms."""

    asset: str
    total_wallet_balance: str
    cross_margin_borrowed: str
    cross_margin_free: str
    cross_margin_interest: str
    cross_margin_locked: str
    um_wallet_balance: str
    um_unrealized_pnl: str = msgspec.field(name="umUnrealizedPNL", default=ZERO)
    cm_wallet_balance: str
    cm_unrealized_pnl: str = msgspec.field(name="cmUnrealizedPNL", default=ZERO)
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


async def balance(call: Call) -> bytes | Rejection:
    """A list of every asset the account touched, or one object when `asset` is sent (-1108 if unknown)."""
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    name = call.values.get("asset")
    if name is None:
        return msgspec.json.encode([_row(call, state, asset, whole=True) for asset in sorted(state.balances)])
    if name not in call.venue.assets:
        return errors.BAD_ASSET()
    return msgspec.json.encode(_row(call, state, name, whole=False))


async def account(call: Call) -> bytes | Rejection:
    """Equity from wallet balances, debts and the prices in the settings; there are no positions, so no margin need.

    accountEquity = sum over assets of (UM + CM + free + locked - borrowed - interest) x price, collateral rate 1;
    totalAvailableBalance = accountEquity - accountInitialMargin; virtualMaxWithdrawAmount = max(accountEquity - 1.2 x
    accountMaintMargin, 0).
    """
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    equity = _equity(call, state)
    information = AccountInformation(
        uni_mmr=NO_MARGIN_NEED,
        account_equity=USD.text(equity),
        actual_equity=USD.text(equity),
        account_initial_margin=ZERO,
        account_maint_margin=ZERO,
        account_status="NORMAL",
        virtual_max_withdraw_amount=USD.text(max(equity, 0)),
        total_available_balance=USD.text(equity),
        total_margin_open_loss=ZERO,
        update_time=state.timestamp,
    )
    return msgspec.json.encode(information)


def _row(call: Call, state: AccountState, name: str, whole: bool) -> AssetBalanceRow:
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
        "cm_wallet_balance": text(own.cm),
        "negative_balance": text(min(own.um, 0) + min(own.cm, 0)),
    }
    if whole:
        return BalanceRow(**fields, update_time=own.updated, cross_margin_asset=text(own.margin))
    return AssetBalanceRow(**fields, update_time=own.updated)


def _equity(call: Call, state: AccountState) -> int:
    """USD at 8 decimals, each asset rounded towards minus infinity."""
    return sum(
        _net(own) * call.venue.prices.get(name, 0) // 10 ** call.venue.assets[name].scale
        for name, own in state.balances.items()
    )


def _net(own: Balance) -> int:
    return own.um + own.cm + own.margin + own.borrowed + own.interest
