"""What a collection moves, and what stays: the BNB rules beside the sentences they come from.

The whole positive *wallet balance* of an asset moves, never unrealised profit; a negative balance stays and is not
repaid; all assets of the account move in one record or none. (Binance support FAQ on Portfolio Margin wallets.)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance
from catchment.ledger.commands import AssetCollection
from catchment.ledger.transfer import Move, Transfer
from catchment.wallet import FUTURES, Place, Wallet

BNB: Final = "BNB"


class CmBnb(StrEnum):
    """BNB in the CM wallet. "The BNB would not be collected from UM-PM account" (English page) names UM alone, so
    COLLECT; the Chinese page says BNB is not collected at all, so KEEP."""

    COLLECT = "collect"
    KEEP = "keep"


class Stay(msgspec.Struct, frozen=True):
    """`amount` units, signed, that a collection leaves in `place`, and why."""

    asset: str
    amount: int
    place: Place
    why: str


def auto_moves(state: AccountState, cm_bnb: CmBnb) -> list[Move]:
    """What an auto-collection moves: "every positive balance to the Cross Margin Wallet" (product article)."""
    moves = []
    for asset, balance in state.balances.items():
        if balance.um > 0 and asset != BNB:
            moves.append(Move(asset, balance.um, _UM, _HUB))
        if balance.cm > 0 and (asset != BNB or cm_bnb is CmBnb.COLLECT):
            moves.append(Move(asset, balance.cm, _CM, _HUB))
    return moves


def asset_moves(balance: Balance, command: AssetCollection) -> list[Move] | Rejection:
    """What an asset-collection moves.

    Refuses BNB from any wallet ("The BNB transfer is not be supported", API page; -1020), an amount without a wallet
    or the reverse (-1128), an amount of zero or less (-4055), and more than the wallet holds (-2018).
    """
    if command.asset == BNB:
        return errors.UNSUPPORTED_OPERATION()
    if command.amount is None and command.wallet is None:
        return [
            Move(command.asset, balance.at(place), place, _HUB) for place in FUTURES.values() if balance.at(place) > 0
        ]
    if command.amount is None or command.wallet is None:
        return errors.OPTIONAL_PARAMS_BAD_COMBO()
    if command.wallet not in FUTURES:
        return errors.UNSUPPORTED_OPERATION()
    if command.amount <= 0:
        return errors.AMOUNT_MUST_BE_POSITIVE()
    place = FUTURES[command.wallet]
    if command.amount > balance.at(place):
        return errors.BALANCE_NOT_SUFFICIENT()
    return [Move(command.asset, command.amount, place, _HUB)]


def stays(state: AccountState, moved: Iterable[Move | Transfer], cm_bnb: CmBnb) -> list[Stay]:
    """What is left in the futures wallets once `moved` has gone, with the reason; nothing is left silently."""
    gone = {(move.asset, move.source): move.amount for move in moved}
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


_UM, _CM, _HUB = Place.UM, Place.CM, Place.MARGIN_FREE
