"""The rows of other addresses than the Portfolio Margin one: what clients load first, and the Pro twins under /sapi."""

from __future__ import annotations

from typing import Any, Final

from catchment.ledger.commands import Side
from catchment.papi import bnb, collection, exchange_info, portfolio, pro, repay, universal_transfer
from catchment.papi.contract import SAPI_IP, SAPI_UID, Endpoint, Handler, Kind, Parameter, Security
from catchment.papi.history import END, START

COLLECTED: Final = (
    Parameter("asset", Kind.STRING, mandatory=True),
    Parameter("amount", Kind.DECIMAL, sentence="With futureType, or not at all."),
    Parameter("futureType", Kind.ENUM, values=collection.FUTURE_TYPES, sentence="With amount, or not at all."),
)
_SYMBOL = Parameter("symbol", Kind.STRING)
_TYPE = Parameter("type", Kind.ENUM, mandatory=True, values=universal_transfer.TYPES)
_MOVED = (
    _TYPE,
    Parameter("asset", Kind.STRING, mandatory=True),
    Parameter("amount", Kind.DECIMAL, mandatory=True),
)
_HISTORY = (
    _TYPE,
    START,
    END,
    Parameter("current", Kind.LONG, most=10**6, sentence="The page, from 1."),
    Parameter(
        "size",
        Kind.LONG,
        most=universal_transfer.MAX_SIZE,
        sentence=f"{universal_transfer.DEFAULT_SIZE} if not sent.",
    ),
)
_ASSET = Parameter("asset", Kind.STRING)
_TABLE = "From the venue's table of symbols."
_NO_LOAN = "There is no bankruptcy, so no loan."
_NEEDS_TRADE = "USER_DATA in the reference; here the key must be allowed to trade, because money moves."


def _public(path: str, weight: int, handler: Handler, answer: Any, *parameters: Parameter) -> Endpoint:
    return Endpoint("GET", path, Security.NONE, weight, handler, answer, "Exchange information", "", parameters, _TABLE)


def _sapi(
    method: str, path: str, security: Security, weight: int, handler: Handler, answer: Any, summary: str, **more: Any
) -> Endpoint:
    return Endpoint(
        method, f"/sapi/v1/{path}", security, weight, handler, answer, summary, **{"budget": SAPI_IP, **more}
    )


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    _public("/api/v3/exchangeInfo", 20, exchange_info.spot, exchange_info.SpotInfo, _SYMBOL),
    _public("/fapi/v1/exchangeInfo", 1, exchange_info.um, exchange_info.UmInfo),
    _public("/dapi/v1/exchangeInfo", 1, exchange_info.cm, exchange_info.CmInfo),
    _sapi(
        "GET",
        "system/status",
        Security.NONE,
        1,
        exchange_info.system_status,
        exchange_info.SystemStatus,
        "System status",
    ),
    _sapi(
        "GET",
        "capital/config/getall",
        Security.USER_DATA,
        10,
        exchange_info.coins,
        list[exchange_info.Coin],
        "All coins' information",
        difference="There is no spot wallet and no chain: amounts are 0, each coin has one network, and it is closed.",
    ),
    _sapi(
        "GET",
        "margin/allPairs",
        Security.MARKET_DATA,
        1,
        exchange_info.cross_pairs,
        list[exchange_info.CrossPair],
        "All cross margin pairs",
        difference=_TABLE,
    ),
    _sapi(
        "GET",
        "margin/isolated/allPairs",
        Security.MARKET_DATA,
        10,
        exchange_info.isolated_pairs,
        list[exchange_info.IsolatedPair],
        "All isolated margin pairs",
        difference=_TABLE,
    ),
    _sapi(
        "POST",
        "asset/transfer",
        Security.TRADE,
        900,
        universal_transfer.transfer,
        bnb.Transferred,
        "User universal transfer",
        parameters=_MOVED,
        difference=f"{_NEEDS_TRADE} Two ways alone: MAIN_PORTFOLIO_MARGIN and PORTFOLIO_MARGIN_MAIN.",
        budget=SAPI_UID,
    ),
    _sapi(
        "GET",
        "asset/transfer",
        Security.USER_DATA,
        1,
        universal_transfer.history,
        universal_transfer.TransferHistory,
        "Query user universal transfer history",
        parameters=_HISTORY,
        difference="Lists every way in and out, an operator's too.",
    ),
    _sapi(
        "POST",
        "portfolio/auto-collection",
        Security.TRADE,
        1_500,
        pro.auto_collection,
        collection.Done,
        "Fund Auto-collection (Pro)",
        difference=_NEEDS_TRADE,
    ),
    _sapi(
        "POST",
        "portfolio/asset-collection",
        Security.TRADE,
        60,
        pro.asset_collection,
        collection.Done,
        "Fund Collection by Asset (Pro)",
        parameters=COLLECTED,
        difference=_NEEDS_TRADE,
    ),
    _sapi(
        "GET",
        "portfolio/balance",
        Security.USER_DATA,
        20,
        pro.balance,
        list[pro.ProBalanceRow],
        "Get Portfolio Margin Pro Account Balance",
        parameters=(_ASSET,),
        difference="The options fields are 0.",
    ),
    _sapi(
        "GET",
        "portfolio/account",
        Security.USER_DATA,
        5,
        pro.account_information,
        pro.ProAccountInformation,
        "Get Portfolio Margin Pro Account Info",
        difference="accountType is PM_2.",
        budget=SAPI_UID,
    ),
    _sapi(
        "POST",
        "portfolio/bnb-transfer",
        Security.TRADE,
        1_500,
        pro.bnb_transfer,
        bnb.Transferred,
        "BNB transfer (Pro)",
        parameters=(
            Parameter("amount", Kind.DECIMAL, mandatory=True),
            Parameter("transferSide", Kind.ENUM, mandatory=True, values=tuple(Side)),
        ),
        difference=_NEEDS_TRADE,
    ),
    _sapi(
        "GET",
        "portfolio/repay-futures-switch",
        Security.USER_DATA,
        30,
        pro.auto_repay,
        repay.AutoRepay,
        "Get Auto-repay-futures Status (Pro)",
    ),
    _sapi(
        "POST",
        "portfolio/repay-futures-switch",
        Security.TRADE,
        1_500,
        pro.set_auto_repay,
        collection.Done,
        "Change Auto-repay-futures Status (Pro)",
        parameters=(Parameter("autoRepay", Kind.ENUM, mandatory=True, values=repay.BOOLEANS),),
    ),
    _sapi(
        "POST",
        "portfolio/repay-futures-negative-balance",
        Security.TRADE,
        1_500,
        pro.repay_negative,
        collection.Done,
        "Repay futures Negative Balance (Pro)",
        difference=_NEEDS_TRADE,
    ),
    _sapi(
        "GET",
        "portfolio/pmLoan",
        Security.USER_DATA,
        500,
        pro.loan,
        pro.BankruptcyLoan,
        "Query Bankruptcy Loan Amount (Pro)",
        difference=_NO_LOAN,
        budget=SAPI_UID,
    ),
    _sapi(
        "POST",
        "portfolio/repay",
        Security.TRADE,
        3_000,
        pro.repay_loan,
        collection.Done,
        "Bankruptcy Loan Repay (Pro)",
        difference=f"{_NO_LOAN} Always refused (-21004).",
        budget=SAPI_UID,
    ),
    _sapi(
        "GET",
        "portfolio/pmloan-history",
        Security.USER_DATA,
        500,
        pro.loan_history,
        pro.LoanHistory,
        "Query Bankruptcy Loan Repay History (Pro)",
        difference=_NO_LOAN,
    ),
    _sapi(
        "GET",
        "portfolio/interest-history",
        Security.USER_DATA,
        50,
        pro.interest_history,
        list[pro.ProInterestRow],
        "Query Negative Balance Interest History (Pro)",
        parameters=(_ASSET, START, END, Parameter("size", Kind.LONG, most=portfolio.MAX_SIZE)),
    ),
    _sapi(
        "GET",
        "portfolio/asset-index-price",
        Security.MARKET_DATA,
        50,
        pro.index_prices,
        list[pro.IndexPrice],
        "Query Portfolio Margin Asset Index Price",
        parameters=(_ASSET,),
        difference="Prices that somebody set. Weighs 1 for one asset.",
        lighter_with="asset",
    ),
    _sapi(
        "GET",
        "portfolio/collateralRate",
        Security.MARKET_DATA,
        50,
        pro.collateral_rates,
        list[pro.CollateralRate],
        "Portfolio Margin Collateral Rate",
        difference="Rates that somebody set; one step, whatever the amount.",
    ),
)
