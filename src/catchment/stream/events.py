"""The events of a record: pure. Fields, types and order are the reference's; amounts are decimal texts of whole units.

They are read from the transfers and from the account's state right after that record, never from a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from catchment import margin
from catchment.asset import Asset
from catchment.ledger.balance import AccountState, standing_of
from catchment.ledger.balance import Position as HeldPosition
from catchment.ledger.commands import Adjustment, AutoExchange, Command, Reason, SetPosition
from catchment.ledger.journal import Record
from catchment.ledger.ledger import apply, position_key
from catchment.ledger.quota import Rules
from catchment.margin import USD, Quotes
from catchment.symbol import Market
from catchment.wallet import FUTURES, Place, Wallet

TRANSFERRED: Final = "ASSET_TRANSFER"
FUNDING: Final = "FUNDING_FEE"
TRADED: Final = "ORDER"
ADJUSTED: Final = "ADJUSTMENT"
EXCHANGED: Final = "AUTO_EXCHANGE"
BORROWED: Final = "BORROW"
REPAID: Final = "REPAY"
CHARGED: Final = "INTEREST"
_MARGIN: Final = (Place.MARGIN_FREE, Place.MARGIN_LOCKED)
_WALLETS: Final = frozenset({Place.UM, Place.CM, *_MARGIN})

Changes = dict[str, dict[Place, int]]
"""By asset: what each place gained, in units; none of them 0."""


class FuturesBalance(msgspec.Struct, frozen=True):
    """One asset of a futures wallet: what it holds now, and the change that is neither profit nor commission."""

    a: str
    wb: str
    cw: str
    bc: str


class Position(msgspec.Struct, frozen=True):
    """One position of a futures wallet; `cr` is always 0, for profit is realised elsewhere, and `bep` is the entry
    price, for there are no fees."""

    s: str
    pa: str
    ep: str
    cr: str
    up: str
    ps: str
    bep: str


class FuturesUpdate(msgspec.Struct, frozen=True):
    """Why a futures wallet changed, and to what; `S` is the symbol, with a funding fee alone."""

    m: str
    B: list[FuturesBalance]
    P: list[Position]
    S: str | msgspec.UnsetType = msgspec.UNSET


class AccountUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="ACCOUNT_UPDATE"):
    """A futures wallet changed; times in ms, `i` the account's alias."""

    fs: str
    E: int
    T: int
    i: str
    a: FuturesUpdate


class BalanceUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="balanceUpdate"):
    """Cross Margin gained or lost `d` of an asset."""

    E: int
    a: str
    d: str
    U: int
    T: int


class MarginBalance(msgspec.Struct, frozen=True):
    """One asset of Cross Margin: free and locked."""

    a: str
    f: str
    l: str  # noqa: E741 - the wire's name


class OutboundAccountPosition(msgspec.Struct, frozen=True, tag_field="e", tag="outboundAccountPosition"):
    """What Cross Margin holds now of the assets that moved in it."""

    E: int
    u: int
    U: int
    B: list[MarginBalance]


class LiabilityChange(msgspec.Struct, frozen=True, tag_field="e", tag="liabilityChange"):
    """`p` of principal and `i` of interest were lent, repaid or charged; `l` is owed in all."""

    E: int
    a: str
    t: str
    T: int
    p: str
    i: str
    l: str  # noqa: E741 - the wire's name


class Leverage(msgspec.Struct, frozen=True):
    """A symbol and its leverage."""

    s: str
    l: int  # noqa: E741 - the wire's name


class AccountConfigUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE"):
    """The leverage of a symbol changed."""

    fs: str
    E: int
    T: int
    ac: Leverage


class RiskLevelChange(msgspec.Struct, frozen=True, tag_field="e", tag="riskLevelChange"):
    """The account came to another level `s`; uniMMR, equity in USD, actual equity, maintenance margin as texts."""

    E: int
    u: str
    s: str
    eq: str
    ae: str
    m: str


class ListenKeyExpired(msgspec.Struct, frozen=True, tag_field="e", tag="listenKeyExpired"):
    """Nothing more comes under this key."""

    E: int


Event = (
    AccountUpdate
    | BalanceUpdate
    | OutboundAccountPosition
    | LiabilityChange
    | AccountConfigUpdate
    | RiskLevelChange
    | ListenKeyExpired
)


def moved_on(state: AccountState, record: Record, rules: Rules, quotes: Quotes, now: int) -> list[Event]:
    """Change an account's state to what it is after its next record, and say what a subscriber is told of that, in
    order: each futures wallet, then Cross Margin, then what is owed.

    `now` is the venue's time in ms, never taken as before the record's. The profit of a position is that at `quotes`.
    """
    now = max(now, record.timestamp)
    if record.read is None:  # it came from another process: its text is decoded once, not at every look
        record = msgspec.structs.replace(record, read=record.body)
    command = record.command
    leverage = _leverage(state, command) if isinstance(command, SetPosition) else 0
    apply(state, record, rules)
    if isinstance(command, SetPosition):
        return list(_position(record, command, leverage, quotes, now))
    return _told(record, state, quotes.assets, now)


def level_moved(record: Record) -> bool:
    """Whether a record can have brought its account to another level of risk: not if it moved money between the wallets
    alone, which every collection does."""
    return isinstance(record.command, SetPosition) or any(
        transfer.source not in _WALLETS or transfer.target not in _WALLETS for transfer in record.transfers
    )


def risk_level(state: AccountState, quotes: Quotes, now: int) -> RiskLevelChange | None:
    """What is told of an account's level of risk if it has just come to it; None while it may trade freely."""
    level = margin.risk_level(state, quotes)
    return None if level is None else RiskLevelChange(now, level.u, level.s, level.eq, level.ae, level.m)


def _leverage(state: AccountState, command: SetPosition) -> int:
    """What it is before the command."""
    held = standing_of(state).positions.get(position_key(command))
    return held.leverage if held else margin.DEFAULT_LEVERAGE


def _position(record: Record, command: SetPosition, leverage: int, quotes: Quotes, now: int) -> Iterator[Event]:
    """A new leverage, then the position, as if an order had made it. Of a symbol the venue does not have, nothing."""
    if command.amount and command.leverage != leverage:
        yield AccountConfigUpdate(command.wallet, now, record.timestamp, Leverage(command.symbol, command.leverage))
    symbol = quotes.symbols[Market(command.wallet)].get(command.symbol)
    if symbol is not None:
        set_to = HeldPosition(command.amount, command.entry_price, command.leverage, record.timestamp)
        held = margin.holding(symbol, command.side, set_to, quotes)
        entry = USD.text(command.entry_price)
        position = Position(
            symbol.name,
            margin.amount_text(symbol, command.amount),
            entry,
            held.asset.fixed(0),
            held.asset.fixed(held.profit),
            command.side,
            entry,
        )
        yield AccountUpdate(command.wallet, now, record.timestamp, "", FuturesUpdate(TRADED, [], [position]))


def _told(record: Record, after: AccountState, assets: Mapping[str, Asset], now: int) -> list[Event]:
    changes = _changes(record)
    events: list[Event] = []
    for wallet, place in FUTURES.items():
        moved = [asset for asset, places in changes.items() if place in places]
        if moved:
            update = _futures_update(record.command, wallet, changes, after, assets)
            events.append(AccountUpdate(wallet, now, record.timestamp, "", update))
    events += _margin(record, changes, after, assets, now)
    for asset, places in changes.items():
        if Place.BORROWED in places or Place.INTEREST in places:
            events += _liabilities(record, assets[asset], places, after, now)
    return events


def _changes(record: Record) -> Changes:
    changes: Changes = {}
    for transfer in record.transfers:
        places = changes.setdefault(transfer.asset, {})
        for place, amount in ((transfer.source, -transfer.amount), (transfer.target, transfer.amount)):
            gained = places.pop(place, 0) + amount
            if gained:
                places[place] = gained
    return changes


def _futures_update(
    command: Command, wallet: Wallet, changes: Changes, after: AccountState, assets: Mapping[str, Asset]
) -> FuturesUpdate:
    place = FUTURES[wallet]
    own = {asset: places for asset, places in changes.items() if place in places}
    reason = _reason(command, own)
    balances = []
    for name, places in own.items():
        held = assets[name].fixed(after.balances[name].at(place))
        balances.append(FuturesBalance(name, held, held, assets[name].fixed(0 if reason == TRADED else places[place])))
    symbol = command.symbol if isinstance(command, Adjustment) and reason == FUNDING else msgspec.UNSET
    return FuturesUpdate(reason, balances, [], symbol)


def _reason(command: Command, own: Changes) -> str:
    """Profit and commission arrive as ORDER on the live venue, for they are part of a fill. What comes from or goes to
    Cross Margin is a transfer between wallets."""
    if isinstance(command, Adjustment):
        return FUNDING if command.reason is Reason.FUNDING_FEE else TRADED
    if isinstance(command, AutoExchange):
        return EXCHANGED
    return ADJUSTED if any(Place.MARKET in places for places in own.values()) else TRANSFERRED


def _margin(
    record: Record, changes: Changes, after: AccountState, assets: Mapping[str, Asset], now: int
) -> Iterator[Event]:
    """A lock moves nothing in or out, so it is told by the position alone."""
    held = []
    for name, places in changes.items():
        gained = [places.get(place, 0) for place in _MARGIN]
        if sum(gained):
            yield BalanceUpdate(now, name, assets[name].fixed(sum(gained)), record.number, record.timestamp)
        if any(gained):
            free, locked = (assets[name].fixed(after.balances[name].at(place)) for place in _MARGIN)
            held.append(MarginBalance(name, free, locked))
    if held:
        yield OutboundAccountPosition(now, record.timestamp, record.number, held)


def _liabilities(
    record: Record, asset: Asset, places: Mapping[Place, int], after: AccountState, now: int
) -> Iterator[Event]:
    """What is owed is kept negative: a place that gains is repaid. What was lent or charged comes after it."""
    principal, interest = places.get(Place.BORROWED, 0), places.get(Place.INTEREST, 0)
    balance = after.balances[asset.name]
    owed = asset.fixed(-(balance.borrowed + balance.interest))
    for kind, p, i in (
        (REPAID, max(principal, 0), max(interest, 0)),
        (BORROWED if principal < 0 else CHARGED, max(-principal, 0), max(-interest, 0)),
    ):
        if p or i:
            yield LiabilityChange(now, asset.name, kind, record.number, asset.fixed(p), asset.fixed(i), owed)
