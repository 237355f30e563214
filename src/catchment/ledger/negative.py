"""Negative futures balances: repaying them, a day's interest on them, exchanging other assets against them.

The sentences are those of the support FAQ on negative balances and of the announcements of 2025-01-22 and 2025-05-17.
"""

from __future__ import annotations

from typing import Final

from catchment import errors
from catchment.asset import MAX_SCALE, MAX_UNITS
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance, balance_of, standing_of
from catchment.ledger.commands import AutoExchange, NegativeInterest, Offer, RepayNegative, Trigger
from catchment.ledger.journal import Found
from catchment.ledger.transfer import Move
from catchment.wallet import FUTURES, Place

ONE: Final = 10**8
"""A rate or a price of 1."""
BROUGHT_DOWN_TO: Final = (80, 100)
"""An exchange leaves this part of the most that is allowed (announcement of 2025-01-22)."""


def owed(balance: Balance) -> int:
    """Units that are negative in UM and CM together; a positive wallet does not make up for the other (FAQ)."""
    return -min(balance.um, 0) - min(balance.cm, 0)


def repaying(state: AccountState, command: RepayNegative) -> list[Move] | Rejection:
    """Out of Cross Margin "up to filling the hole", UM first.

    By schedule it is refused (NOTHING_TO_DO) while the switch is off, and when nothing would move.
    """
    scheduled = command.trigger is Trigger.SCHEDULE
    if scheduled and not standing_of(state).auto_repay:
        return errors.NOTHING_TO_DO()
    moves = []
    for asset, balance in state.balances.items():
        left = balance.margin_free
        for place in FUTURES.values():
            amount = min(-balance.at(place), left)
            if amount > 0:
                moves.append(Move(asset, amount, Place.MARGIN_FREE, place))
                left -= amount
    return errors.NOTHING_TO_DO() if scheduled and not moves else moves


def interest(state: AccountState, command: NegativeInterest) -> tuple[list[Move], tuple[Found, ...]] | Rejection:
    """abs(min(total + threshold, 0)) x rate, rounded up, out of the wallet that is more negative.

    Refuses (NOTHING_TO_DO) a day that was charged already, and one with nothing to charge; terms out of range (-1130).
    What is found is the principal of each asset.
    """
    if command.day <= standing_of(state).interest_day:
        return errors.NOTHING_TO_DO()
    terms_of = {terms.asset: terms for terms in command.terms}
    if not all(0 <= bound <= MAX_UNITS for terms in command.terms for bound in (terms.threshold, terms.rate)):
        return errors.INVALID_PARAMETER("terms")
    if command.day > MAX_UNITS or len(terms_of) != len(command.terms):
        return errors.INVALID_PARAMETER("terms")
    moves, found = [], []
    for terms in command.terms:
        balance = balance_of(state, terms.asset)
        principal = owed(balance) - terms.threshold
        fee = -(-principal * terms.rate // ONE)
        if principal > 0 and fee > 0:
            moves.append(Move(terms.asset, fee, Place.UM if balance.um <= balance.cm else Place.CM, Place.MARKET))
            found.append(Found(terms.asset, principal))
    return (moves, tuple(found)) if moves else errors.NOTHING_TO_DO()


def exchange(state: AccountState, command: AutoExchange) -> tuple[list[Move], tuple[Found, ...]] | Rejection:
    """Sell what is free, the highest collateral rate first, for as much of the asset as is needed.

    Of the asset itself, what is free is simply moved. What is sold is rounded up, what is bought down. Refuses
    (NOTHING_TO_DO) a debt within the bound; offers out of range (-1130). What is found is the debt before.
    """
    assets = {offer.asset for offer in command.offers}
    if not all(map(_sellable, (command.debt, *command.offers))) or len(assets) != len(command.offers):
        return errors.INVALID_PARAMETER("offers")
    if not 0 <= command.most <= MAX_UNITS:
        return errors.INVALID_PARAMETER("most")
    balance = balance_of(state, command.debt.asset)
    before = owed(balance)
    if before <= command.most:
        return errors.NOTHING_TO_DO()
    part, whole = BROUGHT_DOWN_TO
    need = before - command.most * part // whole
    own = min(need, balance.margin_free)
    bought, moves = 0, []
    for offer in sorted(command.offers, key=lambda each: (-each.rate, each.asset)):
        free = balance_of(state, offer.asset).margin_free
        if offer.asset == command.debt.asset or free <= 0:
            continue
        sold, got = _sale(offer, command.debt, free, need - own - bought)
        if sold > 0 and got > 0:
            moves.append(Move(offer.asset, sold, Place.MARGIN_FREE, Place.MARKET))
            bought += got
    moves += _filling(command.debt.asset, balance, own, bought)
    return (moves, (Found(command.debt.asset, before),)) if moves else errors.NOTHING_TO_DO()


def _sellable(offer: Offer) -> bool:
    return 0 < offer.price <= MAX_UNITS and 0 <= offer.rate <= MAX_UNITS and 0 <= offer.scale <= MAX_SCALE


def _sale(offer: Offer, debt: Offer, free: int, need: int) -> tuple[int, int]:
    """Units sold, rounded up, and units of the debt bought with them, rounded down, no more than are needed."""
    up, down = debt.price * 10**offer.scale, offer.price * 10**debt.scale
    sold = min(free, -(-need * up // down))
    return sold, min(need, sold * down // up)


def _filling(asset: str, balance: Balance, own: int, bought: int) -> list[Move]:
    """What is free of the asset itself, then what was bought, into the holes, UM first."""
    moves = []
    for place in FUTURES.values():
        hole = max(-balance.at(place), 0)
        for source, have in ((Place.MARGIN_FREE, own), (Place.MARKET, bought)):
            amount = min(hole, have)
            if amount > 0:
                moves.append(Move(asset, amount, source, place))
                hole -= amount
            if source is Place.MARKET:
                bought -= max(amount, 0)
            else:
                own -= max(amount, 0)
    return moves
