"""`decide`: a state and a command give a record or a rejection. `apply`: a record changes the state, and cannot fail.

The same two functions serve batches, replay, previews and the audit, so none of them can drift from the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catchment import errors
from catchment.asset import MAX_UNITS
from catchment.errors import Rejection
from catchment.ledger import collection, quota
from catchment.ledger.balance import AccountId, AccountState, Balance, balance_of
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    Withdrawal,
)
from catchment.ledger.journal import Body, Record, seal
from catchment.ledger.quota import Rules
from catchment.ledger.transfer import Move, Transfer
from catchment.wallet import FUTURES, NON_NEGATIVE, Place

Plan = list[Move]
"""What a command would move, in order; the moves of one asset stand together."""


def decide(account: AccountId, state: AccountState, command: Command, now: int, rules: Rules) -> Record | Rejection:
    """The record an account's state and a command give at `now` (milliseconds), or the refusal. Never raises.

    Time never runs back within an account: a `now` before the last record is taken as the last record's.
    Refuses what the plan of the command refuses, then any transfer that would leave Cross Margin below zero (-2018)
    or a place beyond 63 bits (-1130), then a text that is not Unicode (-1100): half a surrogate pair.
    """
    now = max(now, state.timestamp)
    transfers = moved(state, command, now, rules)
    if isinstance(transfers, Rejection):
        return transfers
    try:
        return seal(account, state.number + 1, now, Body(command, transfers), state.digest)
    except UnicodeEncodeError:
        return errors.ILLEGAL_CHARS("asset or symbol", "Unicode text")


def moved(state: AccountState, command: Command, now: int, rules: Rules) -> tuple[Transfer, ...] | Rejection:
    """The transfers of `decide`, not yet sealed: for the audit, which has the record already."""
    plan = _PLANS[type(command)](state, command, now, rules)
    return plan if isinstance(plan, Rejection) else _transfers(state, plan)


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
    quota.count(state, body.command, record.timestamp, rules)


def _transfers(state: AccountState, plan: Plan) -> tuple[Transfer, ...] | Rejection:
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


def _auto_collection(state: AccountState, command: AutoCollection, now: int, rules: Rules) -> Plan | Rejection:
    """Nothing to move is a success that the quota counts: bots treat the call as repeatable."""
    if not state.portfolio_margin:
        return errors.NOT_PORTFOLIO_MARGIN()
    for rule in rules.quotas(command):
        refused = quota.refusal(state, rule, now)
        if refused is not None:
            return refused
    return collection.auto_moves(state, rules.cm_bnb)


def _asset_collection(state: AccountState, command: AssetCollection, now: int, rules: Rules) -> Plan | Rejection:
    if not state.portfolio_margin:
        return errors.NOT_PORTFOLIO_MARGIN()
    return collection.asset_moves(balance_of(state, command.asset), command)


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
}
