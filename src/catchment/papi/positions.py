"""Positions on the wire: positionRisk of both wallets, symbolConfig, and the rows of um/account and cm/account.

A position is what somebody set; profit and margin are worked out at the mark price of the moment.
"""

from __future__ import annotations

from typing import Final

import msgspec

from catchment import errors, margin
from catchment.asset import Asset
from catchment.errors import Rejection
from catchment.ledger.balance import Position
from catchment.margin import DEFAULT_LEVERAGE, USD, Holding
from catchment.papi.contract import Call
from catchment.symbol import Market, Symbol
from catchment.wallet import Wallet

NONE_HELD: Final = "0"
NO_LIQUIDATION_PRICE: Final = "0"
"""An account is liquidated as a whole, so that no price of one symbol says when."""
ONE_WAY: Final = "BOTH"
CROSSED: Final = "CROSSED"
FLAT: Final = Position(0, 0, DEFAULT_LEVERAGE, 0)


class UmPosition(msgspec.Struct, rename="camel", kw_only=True):
    """A UM position: decimal texts in the quote asset, `updateTime` in ms. There are no orders."""

    symbol: str
    initial_margin: str
    maint_margin: str
    unrealized_profit: str
    position_initial_margin: str
    open_order_initial_margin: str = NONE_HELD
    leverage: str
    entry_price: str
    max_notional: str
    bid_notional: str = NONE_HELD
    ask_notional: str = NONE_HELD
    position_side: str
    position_amt: str
    update_time: int


class UmPositionV2(msgspec.Struct, rename="camel", kw_only=True):
    """A UM position as v2 shows it; `notional` has the sign of the amount."""

    symbol: str
    initial_margin: str
    maint_margin: str
    unrealized_profit: str
    position_side: str
    position_amt: str
    update_time: int
    notional: str


class CmPosition(msgspec.Struct, rename="camel", kw_only=True):
    """A CM position: the amount in contracts, the rest in the coin."""

    symbol: str
    position_amt: str
    initial_margin: str
    maint_margin: str
    unrealized_profit: str
    position_initial_margin: str
    open_order_initial_margin: str = NONE_HELD
    leverage: str
    position_side: str
    entry_price: str
    max_qty: str
    update_time: int


class UmRisk(msgspec.Struct, rename="camel", kw_only=True):
    """Where a UM position stands."""

    entry_price: str
    leverage: str
    mark_price: str
    max_notional_value: str
    position_amt: str
    notional: str
    symbol: str
    un_realized_profit: str
    liquidation_price: str = NO_LIQUIDATION_PRICE
    position_side: str
    update_time: int


class CmRisk(msgspec.Struct, rename="camel", kw_only=True):
    """Where a CM position stands."""

    symbol: str
    position_amt: str
    entry_price: str
    mark_price: str
    un_realized_profit: str
    liquidation_price: str = NO_LIQUIDATION_PRICE
    leverage: str
    position_side: str
    update_time: int
    max_qty: str
    notional_value: str


class SymbolConfig(msgspec.Struct, rename="camel"):
    """How a UM symbol is set for the account; `isAutoAddMargin` is a text on the wire."""

    symbol: str
    margin_type: str
    is_auto_add_margin: str
    leverage: int
    max_notional_value: str


async def um_risk(call: Call) -> bytes | Rejection:
    """Every open UM position; with `symbol` its own, or one row that is flat (-1121 if there is no such symbol)."""
    name = call.values.get("symbol")
    if name is not None and name not in call.venue.symbols[Market.UM]:
        return errors.BAD_SYMBOL()
    found = await _held(call, Wallet.UM)
    if isinstance(found, Rejection):
        return found
    if name is not None:
        found = [each for each in found if each.symbol.name == name]
        if not found:
            symbol = call.venue.symbols[Market.UM][name]
            found = [margin.holding(symbol, ONE_WAY, FLAT, await call.venue.market.quotes())]
    return msgspec.json.encode(list(map(_um_risk, found)))


async def cm_risk(call: Call) -> bytes | Rejection:
    """Every open CM position, of `marginAsset` and of `pair` if they are sent."""
    found = await _held(call, Wallet.CM)
    if isinstance(found, Rejection):
        return found
    asset, pair = call.values.get("marginAsset"), call.values.get("pair")
    return msgspec.json.encode(
        [
            _cm_risk(each)
            for each in found
            if asset in {None, each.asset.name} and pair in {None, each.symbol.base + each.symbol.quote}
        ]
    )


async def um_symbol_config(call: Call) -> bytes | Rejection:
    """Leverage by symbol: that of its position, or 20; -1121 if there is no such symbol."""
    symbols, name = call.venue.symbols[Market.UM], call.values.get("symbol")
    if name is not None and name not in symbols:
        return errors.BAD_SYMBOL()
    found = await _held(call, Wallet.UM)
    if isinstance(found, Rejection):
        return found
    leverage = {each.symbol.name: each.position.leverage for each in found}
    wanted = symbols.values() if name is None else [symbols[name]]
    return msgspec.json.encode([_config(each, leverage.get(each.name, DEFAULT_LEVERAGE)) for each in wanted])


async def _held(call: Call, wallet: Wallet) -> list[Holding] | Rejection:
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    return [each for each in margin.holdings(state, await call.venue.market.quotes()) if each.wallet is wallet]


def text(asset: Asset, units: int) -> str:
    """`0` for nothing, as these rows show it, else the shortest decimal text."""
    return asset.text(units) if units else NONE_HELD


def um_position(held: Holding) -> UmPosition:
    """A row of um/account."""
    initial = text(held.asset, held.initial)
    return UmPosition(
        symbol=held.symbol.name,
        initial_margin=initial,
        maint_margin=text(held.asset, held.maintenance),
        unrealized_profit=held.asset.fixed(held.profit),
        position_initial_margin=initial,
        leverage=str(held.position.leverage),
        entry_price=USD.text(held.position.entry_price),
        max_notional=_largest(held),
        position_side=held.side,
        position_amt=_amount(held),
        update_time=held.position.updated,
    )


def um_position_v2(held: Holding) -> UmPositionV2:
    """A row of um/account, version 2."""
    return UmPositionV2(
        symbol=held.symbol.name,
        initial_margin=text(held.asset, held.initial),
        maint_margin=text(held.asset, held.maintenance),
        unrealized_profit=held.asset.fixed(held.profit),
        position_side=held.side,
        position_amt=_amount(held),
        update_time=held.position.updated,
        notional=_notional(held),
    )


def cm_position(held: Holding) -> CmPosition:
    """A row of cm/account."""
    initial = text(held.asset, held.initial)
    return CmPosition(
        symbol=held.symbol.name,
        position_amt=_amount(held),
        initial_margin=initial,
        maint_margin=text(held.asset, held.maintenance),
        unrealized_profit=held.asset.fixed(held.profit),
        position_initial_margin=initial,
        leverage=str(held.position.leverage),
        position_side=held.side,
        entry_price=USD.text(held.position.entry_price),
        max_qty=_largest(held),
        update_time=held.position.updated,
    )


def _um_risk(held: Holding) -> UmRisk:
    return UmRisk(
        entry_price=USD.text(held.position.entry_price),
        leverage=str(held.position.leverage),
        mark_price=USD.fixed(held.mark),
        max_notional_value=_largest(held),
        position_amt=_amount(held),
        notional=_notional(held),
        symbol=held.symbol.name,
        un_realized_profit=held.asset.fixed(held.profit),
        position_side=held.side,
        update_time=held.position.updated,
    )


def _cm_risk(held: Holding) -> CmRisk:
    return CmRisk(
        symbol=held.symbol.name,
        position_amt=_amount(held),
        entry_price=USD.text(held.position.entry_price),
        mark_price=USD.fixed(held.mark),
        un_realized_profit=held.asset.fixed(held.profit),
        leverage=str(held.position.leverage),
        position_side=held.side,
        update_time=held.position.updated,
        max_qty=_largest(held),
        notional_value=_notional(held),
    )


def _config(symbol: Symbol, leverage: int) -> SymbolConfig:
    return SymbolConfig(symbol.name, CROSSED, "false", leverage, str(margin.largest(symbol, leverage)))


def _amount(held: Holding) -> str:
    return margin.amount_text(held.symbol, held.position.amount)


def _notional(held: Holding) -> str:
    """With the sign of the amount."""
    return text(held.asset, -held.size if held.position.amount < 0 else held.size)


def _largest(held: Holding) -> str:
    return str(margin.largest(held.symbol, held.position.leverage))
