"""`decide`: a state and a command give a record or a rejection. `apply`: a record changes the state, and cannot fail.

The same two functions serve batches, replay, previews and the audit, so none of them can drift from the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from catchment import errors
from catchment.asset import MAX_UNITS
from catchment.errors import Rejection
from catchment.ledger import collection, negative, quota
from catchment.ledger.balance import AccountId, AccountState, Balance, Position, Standing, balance_of, standing_of
from catchment.ledger.collection import BNB
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    AutoExchange,
    BnbTransfer,
    Borrow,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    NegativeInterest,
    Repay,
    RepayNegative,
    SetAutoCollection,
    SetAutoRepay,
    SetPosition,
    Side,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Body, Found, Record, seal
from catchment.ledger.quota import Rules
from catchment.ledger.transfer import Move, Transfer
from catchment.wallet import FUTURES, NON_NEGATIVE, Place

Plan = list[Move] | tuple[list[Move], tuple[Found, ...]]
"""What a command would move, in order, the moves of one asset together; and what was found, if that is to be kept."""

POSITIONS: Final = 200
"""Positions an account may have at most: choice."""
LEVERAGE: Final = 125
SYMBOL_CHARS: Final = 32
SIDES: Final = frozenset({"BOTH", "LONG", "SHORT"})


def decide(account: AccountId, state: AccountState, command: Command, now: int, rules: Rules) -> Record | Rejection:
    """The record an account's state and a command give at `now` (milliseconds), or the refusal. Never raises.

    Time never runs back within an account: a `now` before the last record is taken as the last record's.
    Refuses what the plan of the command refuses, then any transfer that would leave Cross Margin below zero (-2018)
    or a place beyond 63 bits (-1130), then a text that is not Unicode (-1100): half a surrogate pair.
    """
    now = max(now, state.timestamp)
    body = decided(state, command, now, rules)
    if isinstance(body, Rejection):
        return body
    try:
        return seal(account, state.number + 1, now, body, state.digest)
    except UnicodeEncodeError:
        return errors.ILLEGAL_CHARS("asset or symbol", "Unicode text")


def decided(state: AccountState, command: Command, now: int, rules: Rules) -> Body | Rejection:
    """What `decide` gives, not yet sealed: for the audit, which has the record already."""
    plan = _PLANS[type(command)](state, command, now, rules)
    if isinstance(plan, Rejection):
        return plan
    moves, found = plan if isinstance(plan, tuple) else (plan, ())
    transfers = _transfers(state, moves)
    return transfers if isinstance(transfers, Rejection) else Body(command, transfers, found)


def apply(state: AccountState, record: Record, rules: Rules) -> None:
    """Change the state to what it is after the record."""
    body = record.body
    for transfer in body.transfers:
        balance = state.balances.get(transfer.asset)
        if balance is None:
            balance = state.balances[transfer.asset] = Balance()
        setattr(balance, transfer.source, transfer.source_after)
        setattr(balance, transfer.target, transfer.target_after)
        balance.version = transfer.version
        balance.updated = record.timestamp
    state.number = record.number
    state.timestamp = record.timestamp
    state.digest = record.digest
    effect = _EFFECTS.get(type(body.command))
    if effect is not None:
        state.standing = standing = state.standing or Standing()
        effect(standing, body.command, record.timestamp)
    quota.count(state, body.command, record.timestamp, rules)


def _transfers(state: AccountState, plan: list[Move]) -> tuple[Transfer, ...] | Rejection:
    """The plan as transfers with the balances after them; a later one sees the earlier ones of its asset."""
    balances = state.balances
    balance = _EMPTY
    asset = ""
    version = 0
    transfers: list[Transfer] = []
    for move in plan:
        amount, source, target = move.amount, move.source, move.target
        if move.asset != asset:
            asset = move.asset
            balance = balances.get(asset) or _EMPTY
            version = balance.version
            source_after, target_after = getattr(balance, source) - amount, getattr(balance, target) + amount
        else:
            source_after = _held(balance, transfers, asset, source) - amount
            target_after = _held(balance, transfers, asset, target) + amount
        if source_after < 0 and source in NON_NEGATIVE:
            return errors.BALANCE_NOT_SUFFICIENT()
        if source_after < -MAX_UNITS or target_after > MAX_UNITS:
            return errors.BALANCE_OVERFLOW()
        version += 1
        transfers.append(Transfer(asset, amount, source, target, source_after, target_after, version))
    return tuple(transfers)


def _held(balance: Balance, transfers: list[Transfer], asset: str, place: Place) -> int:
    """What a place holds after the transfers so far."""
    for transfer in reversed(transfers):
        if transfer.asset == asset and transfer.source is place:
            return transfer.source_after
        if transfer.asset == asset and transfer.target is place:
            return transfer.target_after
    return balance.at(place)


def _deposit(state: AccountState, command: Deposit, now: int, rules: Rules) -> Plan | Rejection:
    if command.amount <= 0:
        return errors.AMOUNT_MUST_BE_POSITIVE()
    return [Move(command.asset, command.amount, Place.OUTSIDE, Place.MARGIN_FREE)]


def _withdrawal(state: AccountState, command: Withdrawal, now: int, rules: Rules) -> Plan | Rejection:
    if command.amount <= 0:
        return errors.AMOUNT_MUST_BE_POSITIVE()
    return [Move(command.asset, command.amount, Place.MARGIN_FREE, Place.OUTSIDE)]


def _adjustment(state: AccountState, command: Adjustment, now: int, rules: Rules) -> Plan | Rejection:
    """Profit comes from the market into the wallet, loss and fees go back to it."""
    if command.wallet not in FUTURES:
        return errors.UNSUPPORTED_OPERATION()
    return _signed(command.asset, command.amount, Place.MARKET, FUTURES[command.wallet])


def _margin_adjustment(state: AccountState, command: MarginAdjustment, now: int, rules: Rules) -> Plan | Rejection:
    """A lock comes out of what is free; a loan and its interest make the owed places more negative."""
    source, target = _MARGIN_ENDS[command.reason]
    if command.amount < 0 and -command.amount > _undoable(state, command):
        return errors.BALANCE_NOT_SUFFICIENT()
    return _signed(command.asset, command.amount, source, target)


def _undoable(state: AccountState, command: MarginAdjustment) -> int:
    """How much of a lock, a loan or its interest there is to undo."""
    balance = balance_of(state, command.asset)
    if command.reason is MarginReason.LOCK:
        return balance.margin_locked
    return -balance.at(_MARGIN_ENDS[command.reason][0])


def _signed(asset: str, amount: int, source: Place, target: Place) -> Plan | Rejection:
    """`amount` from source to target, or the other way round when negative; zero moves nothing and is refused."""
    if amount == 0:
        return errors.INVALID_PARAMETER("amount")
    return [Move(asset, amount, source, target) if amount > 0 else Move(asset, -amount, target, source)]


def _over_quota(state: AccountState, command: Command, now: int, rules: Rules) -> Rejection | None:
    for rule in rules.quotas(command):
        refused = quota.refusal(state, rule, now)
        if refused is not None:
            return refused
    return None


def _auto_collection(state: AccountState, command: AutoCollection, now: int, rules: Rules) -> Plan | Rejection:
    """Nothing to move is a success that the quota counts: bots treat the call as repeatable. By schedule it is refused
    (NOTHING_TO_DO), and so is all of it while the switch is off."""
    if not state.portfolio_margin:
        return errors.NOT_PORTFOLIO_MARGIN()
    scheduled = command.trigger is Trigger.SCHEDULE
    if scheduled and not standing_of(state).auto_collection:
        return errors.NOTHING_TO_DO()
    refused = _over_quota(state, command, now, rules)
    if refused is not None:
        return refused
    moves = collection.auto_moves(state, rules.cm_bnb)
    return errors.NOTHING_TO_DO() if scheduled and not moves else moves


def _asset_collection(state: AccountState, command: AssetCollection, now: int, rules: Rules) -> Plan | Rejection:
    if not state.portfolio_margin:
        return errors.NOT_PORTFOLIO_MARGIN()
    return collection.asset_moves(balance_of(state, command.asset), command)


def _bnb_transfer(state: AccountState, command: BnbTransfer, now: int, rules: Rules) -> Plan | Rejection:
    """Refuses, beside the quota, an amount of zero or less (-4055), and more than its source holds (-2018)."""
    if not state.portfolio_margin:
        return errors.NOT_PORTFOLIO_MARGIN()
    if command.amount <= 0:
        return errors.AMOUNT_MUST_BE_POSITIVE()
    refused = _over_quota(state, command, now, rules)
    if refused is not None:
        return refused
    source, target = (Place.MARGIN_FREE, Place.UM) if command.side is Side.TO_UM else (Place.UM, Place.MARGIN_FREE)
    if command.amount > balance_of(state, BNB).at(source):
        return errors.BALANCE_NOT_SUFFICIENT()
    return [Move(BNB, command.amount, source, target)]


def _repay_negative(state: AccountState, command: RepayNegative, now: int, rules: Rules) -> Plan | Rejection:
    return negative.repaying(state, command) if state.portfolio_margin else errors.NOT_PORTFOLIO_MARGIN()


def _set_auto_repay(state: AccountState, command: SetAutoRepay, now: int, rules: Rules) -> Plan | Rejection:
    if not state.portfolio_margin:
        return errors.NOT_PORTFOLIO_MARGIN()
    return _over_quota(state, command, now, rules) or []


def _set_auto_collection(state: AccountState, command: SetAutoCollection, now: int, rules: Rules) -> Plan | Rejection:
    return [] if state.portfolio_margin else errors.NOT_PORTFOLIO_MARGIN()


def _borrow(state: AccountState, command: Borrow, now: int, rules: Rules) -> Plan | Rejection:
    """Refuses zero or less (-4055), and what would bring all that is owed over the limit (-51006)."""
    if command.amount <= 0:
        return errors.AMOUNT_MUST_BE_POSITIVE()
    balance = balance_of(state, command.asset)
    if command.amount - balance.borrowed - balance.interest > command.limit:
        return errors.EXCEED_MAX_BORROWABLE()
    if command.limit > MAX_UNITS:
        return errors.INVALID_PARAMETER("limit")
    return [Move(command.asset, command.amount, Place.BORROWED, Place.MARGIN_FREE)]


def _repay(state: AccountState, command: Repay, now: int, rules: Rules) -> Plan | Rejection:
    """Interest first, then principal. Refuses zero or less (-4055), and more than is owed (-3015)."""
    if command.amount <= 0:
        return errors.AMOUNT_MUST_BE_POSITIVE()
    balance = balance_of(state, command.asset)
    interest = min(command.amount, -balance.interest)
    principal = command.amount - interest
    if principal > -balance.borrowed:
        return errors.REPAY_EXCEEDS_DEBT()
    ends = ((interest, Place.INTEREST), (principal, Place.BORROWED))
    return [Move(command.asset, amount, Place.MARGIN_FREE, place) for amount, place in ends if amount]


def _negative_interest(state: AccountState, command: NegativeInterest, now: int, rules: Rules) -> Plan | Rejection:
    return negative.interest(state, command)


def _auto_exchange(state: AccountState, command: AutoExchange, now: int, rules: Rules) -> Plan | Rejection:
    return negative.exchange(state, command)


def _set_position(state: AccountState, command: SetPosition, now: int, rules: Rules) -> Plan | Rejection:
    """Refuses what is no position: a wallet without futures (-1020), a symbol, side, price or leverage out of range
    (-1130), and one position too many."""
    if command.wallet not in FUTURES:
        return errors.UNSUPPORTED_OPERATION()
    if not 0 < len(command.symbol) <= SYMBOL_CHARS or ":" in command.symbol:
        return errors.INVALID_PARAMETER("symbol")
    if command.side not in SIDES:
        return errors.INVALID_PARAMETER("positionSide")
    if abs(command.amount) > MAX_UNITS or not 0 <= command.entry_price <= MAX_UNITS:
        return errors.INVALID_PARAMETER("amount or entryPrice")
    if not 1 <= command.leverage <= LEVERAGE:
        return errors.INVALID_PARAMETER("leverage")
    positions = standing_of(state).positions
    if command.amount and len(positions) >= POSITIONS and position_key(command) not in positions:
        return errors.INVALID_PARAMETER("symbol")
    return []


def position_key(command: SetPosition) -> str:
    """Where the position stands among an account's: `UM:BTCUSDT:BOTH`."""
    return f"{command.wallet}:{command.symbol}:{command.side}"


def _switch_auto_repay(standing: Standing, command: SetAutoRepay, now: int) -> None:
    standing.auto_repay = command.on


def _switch_auto_collection(standing: Standing, command: SetAutoCollection, now: int) -> None:
    standing.auto_collection = command.on


def _charge_day(standing: Standing, command: NegativeInterest, now: int) -> None:
    standing.interest_day = command.day


def _place_position(standing: Standing, command: SetPosition, now: int) -> None:
    key = position_key(command)
    if command.amount:
        standing.positions[key] = Position(command.amount, command.entry_price, command.leverage, now)
    else:
        standing.positions.pop(key, None)


_EMPTY = Balance()
_MARGIN_ENDS = {
    MarginReason.LOCK: (Place.MARGIN_FREE, Place.MARGIN_LOCKED),
    MarginReason.BORROW: (Place.BORROWED, Place.MARGIN_FREE),
    MarginReason.INTEREST: (Place.INTEREST, Place.MARKET),
}
_PLANS: dict[type[Command], Callable[[AccountState, Any, int, Rules], Plan | Rejection]] = {
    Deposit: _deposit,
    Withdrawal: _withdrawal,
    Adjustment: _adjustment,
    MarginAdjustment: _margin_adjustment,
    AutoCollection: _auto_collection,
    AssetCollection: _asset_collection,
    BnbTransfer: _bnb_transfer,
    RepayNegative: _repay_negative,
    SetAutoRepay: _set_auto_repay,
    SetAutoCollection: _set_auto_collection,
    Borrow: _borrow,
    Repay: _repay,
    NegativeInterest: _negative_interest,
    AutoExchange: _auto_exchange,
    SetPosition: _set_position,
}
_EFFECTS: dict[type[Command], Callable[[Standing, Any, int], None]] = {
    SetAutoRepay: _switch_auto_repay,
    SetAutoCollection: _switch_auto_collection,
    NegativeInterest: _charge_day,
    SetPosition: _place_position,
}
