"""What clients load before their first call: exchangeInfo of spot, UM and CM, margin pairs, coins, system status.

All of it is read from the venue's one table of symbols (`symbol`) and its assets.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.papi.contract import Call
from catchment.symbol import Market, Symbol, decimals

Filter = dict[str, str | int | bool]

SYSTEM_NORMAL: Final = b'{"status":0,"msg":"normal"}'
NEVER: Final = 4_133_404_800_000
"""The delivery date of a perpetual: 25 December 2100."""
LISTED: Final = 1_569_398_400_000
"""When every symbol was listed: a date of the past."""
_SPOT_ORDERS = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
_FUTURES_ORDERS = [
    "LIMIT",
    "MARKET",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]
_PREVENTIONS = ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]


class RateLimit(msgspec.Struct, rename="camel"):
    """One limit: so many of a type in so many intervals."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class SpotSymbol(msgspec.Struct, rename="camel", kw_only=True):
    """A spot pair; precisions are numbers of decimals."""

    symbol: str
    status: str = "TRADING"
    base_asset: str
    base_asset_precision: int = 8
    quote_asset: str
    quote_precision: int = 8
    quote_asset_precision: int = 8
    base_commission_precision: int = 8
    quote_commission_precision: int = 8
    order_types: list[str]
    iceberg_allowed: bool = True
    oco_allowed: bool = True
    oto_allowed: bool = True
    quote_order_qty_market_allowed: bool = True
    allow_trailing_stop: bool = True
    cancel_replace_allowed: bool = True
    amend_allowed: bool = True
    is_spot_trading_allowed: bool = True
    is_margin_trading_allowed: bool = True
    filters: list[Filter]
    permissions: list[str] = []
    permission_sets: list[list[str]]
    default_self_trade_prevention_mode: str = "EXPIRE_MAKER"
    allowed_self_trade_prevention_modes: list[str]


class _Contract(msgspec.Struct, rename="camel", kw_only=True):
    """What UM and CM symbols have in common; precisions are numbers of decimals."""

    symbol: str
    pair: str
    contract_type: str = "PERPETUAL"
    delivery_date: int = NEVER
    onboard_date: int = LISTED
    maint_margin_percent: str = "2.5000"
    required_margin_percent: str = "5.0000"
    base_asset: str
    quote_asset: str
    margin_asset: str
    price_precision: int
    quantity_precision: int
    base_asset_precision: int = 8
    quote_precision: int = 8
    underlying_type: str = "COIN"
    underlying_sub_type: list[str] = []
    trigger_protect: str = "0.0500"
    liquidation_fee: str = "0.012500"
    market_take_bound: str = "0.05"
    filters: list[Filter]
    order_types: list[str]
    time_in_force: list[str]


class UmSymbol(_Contract, rename="camel", kw_only=True):
    """A USDⓈ-margined perpetual."""

    status: str = "TRADING"
    max_move_order_limit: int = 10_000


class CmSymbol(_Contract, rename="camel", kw_only=True):
    """A coin-margined perpetual; `contractSize` is in USD."""

    contract_status: str = "TRADING"
    contract_size: int
    equal_qty_precision: int = 4
    max_move_order_limit: int = 10_000


class SpotInfo(msgspec.Struct, rename="camel"):
    """The spot pairs; `serverTime` in ms."""

    timezone: str
    server_time: int
    rate_limits: list[RateLimit]
    exchange_filters: list[Filter]
    symbols: list[SpotSymbol]


class MarginAsset(msgspec.Struct, rename="camel"):
    """An asset that UM contracts are margined in."""

    asset: str
    margin_available: bool
    auto_asset_exchange: str


class UmInfo(msgspec.Struct, rename="camel", kw_only=True):
    """The UM contracts; `serverTime` in ms."""

    timezone: str = "UTC"
    server_time: int
    futures_type: str = "U_MARGINED"
    rate_limits: list[RateLimit]
    exchange_filters: list[Filter]
    assets: list[MarginAsset]
    symbols: list[UmSymbol]


class CmInfo(msgspec.Struct, rename="camel", kw_only=True):
    """The CM contracts; `serverTime` in ms."""

    timezone: str = "UTC"
    server_time: int
    rate_limits: list[RateLimit]
    exchange_filters: list[Filter]
    symbols: list[CmSymbol]


class IsolatedPair(msgspec.Struct, rename="camel", kw_only=True):
    """A spot pair that can be traded on margin."""

    base: str
    is_buy_allowed: bool = True
    is_margin_trade: bool = True
    is_sell_allowed: bool = True
    quote: str
    symbol: str


class CrossPair(IsolatedPair, rename="camel", kw_only=True):
    """The same, on Cross Margin, with a number of its own."""

    id: int


class Network(msgspec.Struct, rename="camel", kw_only=True):
    """How a coin would leave and come: it does not, so everything is off; amounts are decimal texts."""

    network: str
    coin: str
    name: str
    is_default: bool = True
    deposit_enable: bool = False
    withdraw_enable: bool = False
    deposit_desc: str = ""
    withdraw_desc: str = ""
    special_tips: str = ""
    reset_address_status: bool = False
    address_regex: str = ""
    memo_regex: str = ""
    withdraw_integer_multiple: str
    withdraw_fee: str = "0"
    withdraw_min: str = "0"
    withdraw_max: str = "0"
    min_confirm: int = 0
    un_lock_confirm: int = 0
    same_address: bool = False


class Coin(msgspec.Struct, rename="camel", kw_only=True):
    """An asset of the venue; there is no spot wallet, so the amounts are 0."""

    coin: str
    deposit_all_enable: bool = False
    withdraw_all_enable: bool = False
    name: str
    free: str = "0"
    locked: str = "0"
    freeze: str = "0"
    withdrawing: str = "0"
    ipoing: str = "0"
    ipoable: str = "0"
    storage: str = "0"
    is_legal_money: bool = False
    trading: bool = True
    network_list: list[Network]


class SystemStatus(msgspec.Struct):
    """0 while the venue answers."""

    status: int
    msg: str


async def spot(call: Call) -> bytes | Rejection:
    """Every spot pair, or the one of `symbol` (-1121 if there is none)."""
    found = call.venue.symbols[Market.SPOT]
    name = call.values.get("symbol")
    if name is not None and name not in found:
        return errors.BAD_SYMBOL()
    wanted = found.values() if name is None else [found[name]]
    limits = [*_limits(call), RateLimit("ORDERS", "SECOND", 10, 100), RateLimit("ORDERS", "DAY", 1, 200_000)]
    return msgspec.json.encode(SpotInfo("UTC", call.now, limits, [], [_spot(symbol) for symbol in wanted]))


async def um(call: Call) -> bytes:
    """Every UM contract."""
    symbols = call.venue.symbols[Market.UM].values()
    return msgspec.json.encode(
        UmInfo(
            server_time=call.now,
            rate_limits=[*_limits(call), RateLimit("ORDERS", "MINUTE", 1, 1_200)],
            exchange_filters=[],
            assets=[MarginAsset(asset, True, "-10000") for asset in sorted({symbol.margin for symbol in symbols})],
            symbols=[UmSymbol(**_contract(symbol)) for symbol in symbols],
        )
    )


async def cm(call: Call) -> bytes:
    """Every CM contract."""
    return msgspec.json.encode(
        CmInfo(
            server_time=call.now,
            rate_limits=[*_limits(call), RateLimit("ORDERS", "MINUTE", 1, 1_200)],
            exchange_filters=[],
            symbols=[
                CmSymbol(**_contract(symbol), contract_size=symbol.contract)
                for symbol in call.venue.symbols[Market.CM].values()
            ],
        )
    )


async def cross_pairs(call: Call) -> bytes:
    """The pairs of Cross Margin: every spot pair."""
    pairs = enumerate(call.venue.symbols[Market.SPOT].values(), 1)
    return msgspec.json.encode(
        [CrossPair(base=pair.base, quote=pair.quote, symbol=pair.name, id=number) for number, pair in pairs]
    )


async def isolated_pairs(call: Call) -> bytes:
    """The pairs of Isolated Margin: every spot pair, though Portfolio Margin has no such wallet."""
    pairs = call.venue.symbols[Market.SPOT].values()
    return msgspec.json.encode([IsolatedPair(base=pair.base, quote=pair.quote, symbol=pair.name) for pair in pairs])


async def coins(call: Call) -> bytes:
    """Every asset with the precision of its amounts."""
    return msgspec.json.encode(
        [
            Coin(
                coin=name,
                name=name,
                network_list=[Network(network=name, coin=name, name=name, withdraw_integer_multiple=asset.fixed(1))],
            )
            for name, asset in call.venue.assets.items()
        ]
    )


async def system_status(call: Call) -> bytes:
    """Normal: else nobody would answer."""
    return SYSTEM_NORMAL


def _limits(call: Call) -> list[RateLimit]:
    return [RateLimit("REQUEST_WEIGHT", "MINUTE", 1, call.venue.settings.weight_per_minute)]


def _spot(symbol: Symbol) -> SpotSymbol:
    tick, step, most, none = map(_padded, (symbol.tick, symbol.step, symbol.most, "0"))
    return SpotSymbol(
        symbol=symbol.name,
        base_asset=symbol.base,
        quote_asset=symbol.quote,
        order_types=_SPOT_ORDERS,
        filters=[
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": none, "maxQty": most, "stepSize": none},
            {
                "filterType": "NOTIONAL",
                "minNotional": _padded(symbol.least),
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
        permission_sets=[["SPOT", "MARGIN"]],
        allowed_self_trade_prevention_modes=_PREVENTIONS,
    )


def _contract(symbol: Symbol) -> dict[str, Any]:
    """The fields that UM and CM symbols share."""
    lot = {"minQty": symbol.step, "maxQty": symbol.most, "stepSize": symbol.step}
    filters: list[Filter] = [
        {"filterType": "PRICE_FILTER", "minPrice": symbol.tick, "maxPrice": "1000000", "tickSize": symbol.tick},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
    ]
    if symbol.market is Market.UM:
        filters.append({"filterType": "MIN_NOTIONAL", "notional": symbol.least})
    return {
        "symbol": symbol.name,
        "pair": f"{symbol.base}{symbol.quote}",
        "base_asset": symbol.base,
        "quote_asset": symbol.quote,
        "margin_asset": symbol.margin,
        "price_precision": decimals(symbol.tick),
        "quantity_precision": decimals(symbol.step),
        "filters": filters,
        "order_types": _FUTURES_ORDERS,
        "time_in_force": ["GTC", "IOC", "FOK", "GTX"],
    }


def _padded(text: str) -> str:
    """With the 8 decimals of spot texts."""
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest:0<8}"
