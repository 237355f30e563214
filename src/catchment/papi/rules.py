"""What an account may do and pays on the futures markets: limits, indicators, configuration, fees, leverage brackets.

There is no matching engine, so most of it never changes: nobody is held back, everybody pays the same.
"""

from __future__ import annotations

from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.papi.contract import Call
from catchment.papi.exchange_info import RateLimit
from catchment.papi.portfolio import Number
from catchment.symbol import RATIO_ONE, Bracket, Market, Symbol

ORDERS_PER_MINUTE: Final = 1_200
FEE_BURN: Final = "fee burn"
"""Kind of the notes that say whether an account pays UM fees in BNB; without one it does not."""
COMMISSION: Final = {Market.UM: ("0.000200", "0.000500"), Market.CM: ("0.000100", "0.000500")}
"""Maker and taker rates of the lowest fee tier."""

_CHANGED = b'{"code":200,"msg":"success"}'


class Indicator(msgspec.Struct, rename="camel"):
    """A quantitative rule that is close to being broken; here none ever is."""

    is_locked: bool
    planned_recover_time: int
    indicator: str
    value: int
    trigger_value: int


class TradingStatus(msgspec.Struct, rename="camel"):
    """Indicators by symbol, or under ACCOUNT; `updateTime` in ms."""

    indicators: dict[str, list[Indicator]]
    update_time: int


class AccountConfig(msgspec.Struct, rename="camel", kw_only=True):
    """What the account may do on UM; `updateTime` is always 0, as it is reserved."""

    fee_tier: int = 0
    can_trade: bool = True
    can_deposit: bool = True
    can_withdraw: bool = True
    dual_side_position: bool = False
    update_time: int = 0
    multi_assets_margin: bool = False
    trade_group_id: int = -1


class PositionMode(msgspec.Struct, rename="camel"):
    """True with a long and a short position of one symbol at the same time; here there is one-way mode alone."""

    dual_side_position: bool


class FeeBurn(msgspec.Struct, rename="camel"):
    """Whether UM fees are paid in BNB."""

    fee_burn: bool


class Changed(msgspec.Struct):
    """`{"code": 200, "msg": "success"}`."""

    code: int
    msg: str


class CommissionRate(msgspec.Struct, rename="camel"):
    """Rates as decimal texts."""

    symbol: str
    maker_commission_rate: str
    taker_commission_rate: str


class UmBracket(msgspec.Struct, rename="camel"):
    """A step of the ladder: notionals in the quote asset, the ratio a JSON number."""

    bracket: int
    initial_leverage: int
    notional_cap: int
    notional_floor: int
    maint_margin_ratio: Number
    cum: int


class CmBracket(msgspec.Struct, rename="camel"):
    """A step of the ladder: quantities in the base asset, the ratio and `cum` JSON numbers."""

    bracket: int
    initial_leverage: int
    qty_cap: int
    qty_floor: int
    maint_margin_ratio: Number
    cum: Number


class UmBrackets(msgspec.Struct):
    """The ladder of one UM symbol."""

    symbol: str
    brackets: list[UmBracket]


class CmBrackets(msgspec.Struct):
    """The ladder of one CM symbol."""

    symbol: str
    brackets: list[CmBracket]


class Quantiles(msgspec.Struct):
    """Places in the queue of deleveraging, 0 to 4, by symbol."""

    symbol: str
    adlQuantile: dict[str, int]  # noqa: N815 - the wire's name


async def order_limit(call: Call) -> bytes:
    """Orders an account may make in a minute."""
    return msgspec.json.encode([RateLimit("ORDERS", "MINUTE", 1, ORDERS_PER_MINUTE)])


async def trading_status(call: Call) -> bytes:
    """No indicator: who makes no orders breaks no rule about them."""
    return msgspec.json.encode(TradingStatus({}, call.now))


async def um_config(call: Call) -> bytes:
    """The same for every account."""
    return msgspec.json.encode(AccountConfig())


async def position_mode(call: Call) -> bytes:
    """One-way mode."""
    return msgspec.json.encode(PositionMode(False))


async def fee_burn(call: Call) -> bytes:
    """What was set last; at first false."""
    note = await call.venue.kept(FEE_BURN, call.account.hex())
    return msgspec.json.encode(FeeBurn(note is not None and note.text == "true"))


async def set_fee_burn(call: Call) -> bytes:
    """Keep the switch. It changes no fee: who makes no orders pays none."""
    await call.venue.keep(FEE_BURN, call.account.hex(), call.values["feeBurn"].lower())
    return _CHANGED


async def um_commission(call: Call) -> bytes | Rejection:
    """The rates of a UM symbol; -1121 if there is none of that name."""
    return _commission(call, Market.UM)


async def cm_commission(call: Call) -> bytes | Rejection:
    """The rates of a CM symbol; -1121 if there is none of that name."""
    return _commission(call, Market.CM)


async def um_brackets(call: Call) -> bytes | Rejection:
    """The ladder of every UM symbol, or of the one of `symbol` (-1121 if there is none)."""
    symbols = _wanted(call, Market.UM)
    if isinstance(symbols, Rejection):
        return symbols
    return msgspec.json.encode([UmBrackets(one.name, [_um(step) for step in one.brackets]) for one in symbols])


async def cm_brackets(call: Call) -> bytes | Rejection:
    """The ladder of every CM symbol, or of the one of `symbol` (-1121 if there is none)."""
    symbols = _wanted(call, Market.CM)
    if isinstance(symbols, Rejection):
        return symbols
    return msgspec.json.encode([CmBrackets(one.name, [_cm(step) for step in one.brackets]) for one in symbols])


async def no_quantiles(call: Call) -> bytes:
    """Nobody stands in the queue: there is no other side to deleverage against."""
    return b"[]"


def _commission(call: Call, market: Market) -> bytes | Rejection:
    name = call.values["symbol"]
    if name not in call.venue.symbols[market]:
        return errors.BAD_SYMBOL()
    return msgspec.json.encode(CommissionRate(name, *COMMISSION[market]))


def _wanted(call: Call, market: Market) -> list[Symbol] | Rejection:
    known, name = call.venue.symbols[market], call.values.get("symbol")
    if name is None:
        return list(known.values())
    return [known[name]] if name in known else errors.BAD_SYMBOL()


def _um(step: Bracket) -> UmBracket:
    ratio, cum = _number(step.ratio), step.cum // RATIO_ONE
    return UmBracket(step.number, step.leverage, step.cap, step.floor, ratio, cum)


def _cm(step: Bracket) -> CmBracket:
    return CmBracket(step.number, step.leverage, step.cap, step.floor, _number(step.ratio), _number(step.cum))


def _number(ten_thousandths: int) -> msgspec.Raw:
    """A JSON number, exact and never through a float: `0.0065`."""
    whole, rest = divmod(ten_thousandths, RATIO_ONE)
    return msgspec.Raw(f"{whole}.{rest:04d}".rstrip("0").encode() + (b"" if rest else b"0"))
