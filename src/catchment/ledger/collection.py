"""What a collection moves, and what stays: the BNB rules beside the sentences they come from.

The whole positive *wallet balance* of an asset moves, never unrealised profit; a negative balance stays and is not
repaid; all assets of the account move in one record or none. (Binance support FAQ on Portfolio Margin wallets.)
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance
from catchment.ledger.commands import AssetCollection
from catchment.wallet import FUTURES, Place, Wallet

BNB: Final = "BNB"


class CmBnb(StrEnum):
    """BNB in the CM wallet. "The BNB would not be collected from UM-PM account" (English page) names UM alone, so
    COLLECT; the Chinese page says BNB is not collected at all, so KEEP."""

    COLLECT = "collect"
    KEEP = "keep"


class Sweep(msgspec.Struct, frozen=True, gc=False):
    """`amount` units of `asset` that a collection takes from `source`."""

    asset: str
    amount: int
    source: Place


class Stay(msgspec.Struct, frozen=True):
    """`amount` units, signed, that a collection leaves in `place`, and why."""

    asset: str
    amount: int
    place: Place
    why: str


def auto_sweeps(state: AccountState, cm_bnb: CmBnb) -> list[Sweep]:
    """What an auto-collection moves: "every positive balance to the Cross Margin Wallet" (product article)."""
    sweeps = []
    for asset, balance in state.balances.items():
        if balance.um > 0 and asset != BNB:
            sweeps.append(Sweep(asset, balance.um, Place.UM))
        if balance.cm > 0 and (asset != BNB or cm_bnb is CmBnb.COLLECT):
            sweeps.append(Sweep(asset, balance.cm, Place.CM))
    return sweeps


def asset_sweeps(balance: Balance, command: AssetCollection) -> list[Sweep] | Rejection:
    """What an asset-collection moves.

    Refuses BNB from any wallet ("The BNB transfer is not be supported", API page; -1020), an amount without a wallet
    or the reverse (-1128), an amount of zero or less (-4055), and more than the wallet holds (-2018).
    """
    if command.asset == BNB:
        return errors.UNSUPPORTED_OPERATION()
    if command.amount is None and command.wallet is None:
        return [Sweep(command.asset, balance.at(place), place) for place in FUTURES.values() if balance.at(place) > 0]
    if command.amount is None or command.wallet is None:
        return errors.OPTIONAL_PARAMS_BAD_COMBO()
    if command.wallet not in FUTURES:
        return errors.UNSUPPORTED_OPERATION()
    if command.amount <= 0:
        return errors.AMOUNT_MUST_BE_POSITIVE()
    place = FUTURES[command.wallet]
    if command.amount > balance.at(place):
        return errors.BALANCE_NOT_SUFFICIENT()
    return [Sweep(command.asset, command.amount, place)]


def stays(state: AccountState, moved: list[Sweep], cm_bnb: CmBnb) -> list[Stay]:
    """What is left in the futures wallets once `moved` has gone, with the reason; nothing is left silently."""
    gone = {(sweep.asset, sweep.source): sweep.amount for sweep in moved}
    left = []
    for asset, balance in sorted(state.balances.items()):
        for wallet, place in FUTURES.items():
            amount = balance.at(place) - gone.get((asset, place), 0)
            if amount:
                left.append(Stay(asset, amount, place, _why(asset, amount, wallet, cm_bnb)))
    return left


def _why(asset: str, amount: int, wallet: Wallet, cm_bnb: CmBnb) -> str:
    if amount < 0:
        return "negative: a collection does not repay"
    if asset == BNB and wallet is Wallet.UM:
        return "BNB in UM is never collected"
    if asset == BNB and cm_bnb is CmBnb.KEEP:
        return "BNB in CM is kept by setting"
    return "not asked for"
