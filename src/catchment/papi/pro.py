"""The Portfolio Margin Pro twins under /sapi/v1/portfolio: the same accounts, other weights, some other fields.

What can be is made from the answer of the Portfolio Margin twin, so that the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.margin import USD
from catchment.papi import account, bnb, collection, portfolio, repay
from catchment.papi.contract import Call

ACCOUNT_TYPE: Final = "PM_2"
"""Portfolio Margin, as opposed to Pro (PM_1) and Pro SPAN (PM_3): choice, for every account answers on both faces."""
NO_OPTIONS: Final = "0.0"


class ProBalanceRow(account.BalanceRow, rename="camel", kw_only=True):
    """One asset over the wallets; there is no options wallet."""

    option_wallet_balance: str = NO_OPTIONS
    option_equity: str = NO_OPTIONS


class ProAccountInformation(msgspec.Struct, rename="camel", kw_only=True):
    """Equity and margin of the account in USD, as decimal texts."""

    uni_mmr: str = msgspec.field(name="uniMMR")
    account_equity: str
    actual_equity: str
    account_maint_margin: str
    account_initial_margin: str
    total_available_balance: str
    account_status: str
    account_type: str = ACCOUNT_TYPE


class ProInterestRow(msgspec.Struct, rename="camel"):
    """A day's interest on one asset: decimal texts, the time in ms."""

    asset: str
    interest: str
    interest_accrued_time: int
    interest_rate: str
    principal: str


class IndexPrice(msgspec.Struct, rename="camel"):
    """In USD, as decimal text; `time` in ms."""

    asset: str
    asset_index_price: str
    time: int


class CollateralRate(msgspec.Struct, rename="camel"):
    """Decimal text from 0 to 1."""

    asset: str
    collateral_rate: str


class BankruptcyLoan(msgspec.Struct):
    """What is owed: decimal text."""

    asset: str
    amount: str


class LoanHistory(msgspec.Struct):
    """Repayments of bankruptcy loans."""

    rows: list[dict[str, str | int]]
    total: int


async def auto_collection(call: Call) -> bytes | Rejection:
    """Collect every positive futures balance; the 500 an hour are those of the Portfolio Margin twin."""
    return await collection.auto_collection(call)


async def asset_collection(call: Call) -> bytes | Rejection:
    """Collect one asset, as the Portfolio Margin twin does."""
    return await collection.asset_collection(call)


async def balance(call: Call) -> bytes | Rejection:
    """A list in any case: of every asset the account touched, or of the one of `asset` (-1108 if unknown)."""
    outsider = await refuse_outsider(call)
    if outsider is not None:
        return outsider
    name = call.values.get("asset")
    if name is not None and name not in call.venue.assets:
        return errors.BAD_ASSET()
    answer = await account.balance(Call(call.venue, call.account, call.now, {}))
    if isinstance(answer, Rejection):
        return answer
    rows = _ROWS.decode(answer)
    return msgspec.json.encode([row for row in rows if name is None or row.asset == name])


async def account_information(call: Call) -> bytes | Rejection:
    """What the Portfolio Margin twin says, with the type of the account."""
    outsider = await refuse_outsider(call)
    if outsider is not None:
        return outsider
    answer = await account.account(call)
    return answer if isinstance(answer, Rejection) else msgspec.json.encode(_ACCOUNT.decode(answer))


async def bnb_transfer(call: Call) -> bytes | Rejection:
    """Move BNB between Cross Margin and UM: 2 times in 10 minutes, counted apart from the 10 of Portfolio Margin."""
    return await bnb.bnb_transfer(call, pro=True)


async def auto_repay(call: Call) -> bytes | Rejection:
    """Whether negative futures balances are repaid from Cross Margin."""
    outsider = await refuse_outsider(call)
    return await repay.auto_repay(call) if outsider is None else outsider


async def set_auto_repay(call: Call) -> bytes | Rejection:
    """Turn Auto Repay on or off: 20 times a day on both faces together."""
    return await repay.set_auto_repay(call)


async def repay_negative(call: Call) -> bytes | Rejection:
    """Repay what is negative in UM and CM out of free Cross Margin. `from`, which went in 2026, is ignored."""
    return await repay.repay_negative(call)


async def interest_history(call: Call) -> bytes | Rejection:
    """What the Portfolio Margin twin says, with the time spelled right."""
    outsider = await refuse_outsider(call)
    if outsider is not None:
        return outsider
    answer = await portfolio.interest_history(call)
    if isinstance(answer, Rejection):
        return answer
    return msgspec.json.encode(
        [
            ProInterestRow(row.asset, row.interest, row.interest_accured_time, row.interest_rate, row.principal)
            for row in _INTEREST.decode(answer)
        ]
    )


async def index_prices(call: Call) -> bytes | Rejection:
    """The index price of every asset that has one, or of `asset` (-1108 if unknown)."""
    prices = _wanted(call, (await call.venue.market.quotes()).prices)
    if isinstance(prices, Rejection):
        return prices
    return msgspec.json.encode([IndexPrice(name, USD.fixed(price), call.now) for name, price in prices.items()])


async def collateral_rates(call: Call) -> bytes | Rejection:
    """The part of its price that an asset counts for, of every asset that has one; one step, whatever the amount."""
    rates = _wanted(call, (await call.venue.market.quotes()).rates)
    if isinstance(rates, Rejection):
        return rates
    return msgspec.json.encode([CollateralRate(name, USD.text(rate)) for name, rate in rates.items()])


async def loan(call: Call) -> bytes | Rejection:
    """What is owed from a bankruptcy: nothing, as there are none."""
    outsider = await refuse_outsider(call)
    return msgspec.json.encode(BankruptcyLoan("USDT", "0")) if outsider is None else outsider


async def repay_loan(call: Call) -> bytes | Rejection:
    """There is nothing to repay (-21004)."""
    outsider = await refuse_outsider(call)
    return errors.NO_LIABILITY() if outsider is None else outsider


async def loan_history(call: Call) -> bytes | Rejection:
    """Nothing was ever repaid."""
    outsider = await refuse_outsider(call)
    return b'{"rows":[],"total":0}' if outsider is None else outsider


async def refuse_outsider(call: Call) -> Rejection | None:
    """The refusal of an account outside Portfolio Margin (-21001), or None."""
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    return None if state.portfolio_margin else errors.NOT_PORTFOLIO_MARGIN()


def _wanted(call: Call, figures: Mapping[str, int]) -> dict[str, int] | Rejection:
    name = call.values.get("asset")
    if name is None:
        return dict(sorted(figures.items()))
    if name not in call.venue.assets:
        return errors.BAD_ASSET()
    return {name: figures[name]} if name in figures else {}


_INTEREST: Final = msgspec.json.Decoder(list[portfolio.InterestRow])
_ROWS: Final = msgspec.json.Decoder(list[ProBalanceRow])
_ACCOUNT: Final = msgspec.json.Decoder(ProAccountInformation)
