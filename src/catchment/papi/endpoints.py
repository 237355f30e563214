"""The contract as a table, one row an endpoint. Routing, weights, parameter checks, OpenAPI, the coverage page and
the command line's listing all read it; each number of the reference stands here once."""

from __future__ import annotations

from typing import Any, Final

from catchment.papi import (
    account,
    collection,
    download,
    endpoints_margin,
    endpoints_sapi,
    exchange_info,
    futures,
    general,
    listen_key,
    positions,
    repay,
    rules,
)
from catchment.papi.contract import Endpoint, Handler, Kind, Parameter, Security
from catchment.signature import DEFAULT_RECV_WINDOW_MS, MAX_RECV_WINDOW_MS

RECV_WINDOW: Final = Parameter(
    "recvWindow", Kind.LONG, most=MAX_RECV_WINDOW_MS, sentence=f"Milliseconds; {DEFAULT_RECV_WINDOW_MS} if not sent."
)
TIMESTAMP: Final = Parameter("timestamp", Kind.LONG, mandatory=True, sentence="Milliseconds since the epoch.")
SIGNATURE: Final = Parameter(
    "signature", Kind.STRING, mandatory=True, sentence="Over the query string and the body as sent, without itself."
)
SIGNED: Final = (RECV_WINDOW, TIMESTAMP, SIGNATURE)
"""What every signed call takes beside its own parameters; the gate checks these."""

_INCOME = (
    Parameter("symbol", Kind.STRING),
    Parameter("startTime", Kind.LONG, sentence="Milliseconds, included."),
    Parameter("endTime", Kind.LONG, sentence="Milliseconds, included."),
    Parameter("limit", Kind.LONG, most=futures.MAX_LIMIT, sentence=f"{futures.DEFAULT_LIMIT} if not sent."),
)
_SYMBOL = Parameter("symbol", Kind.STRING)
_ONE_SYMBOL = Parameter("symbol", Kind.STRING, mandatory=True)
_WINDOW = (
    Parameter("startTime", Kind.LONG, mandatory=True, sentence="Milliseconds, included."),
    Parameter("endTime", Kind.LONG, mandatory=True, sentence="Milliseconds, included; at most a year later."),
)
_POSITIONS = "Open positions alone; they are what somebody set, for there is no matching engine."
_FIGURES = "Worked out from prices, positions and loans that somebody set (docs/explanation/margin.md)."
_ONE_ASSET = (Parameter("asset", Kind.STRING, mandatory=True),)
_DOWNLOAD_ID = Parameter("downloadId", Kind.STRING, mandatory=True)
_NO_FILE = "There is no matching engine: the file has its heading alone."
_GZIPPED = "Made at once: a gzipped CSV whose columns are named as the REST rows are. The link lives 7 days."
_SAME_FOR_ALL = "The same for every account and symbol."
_TIME = "Undocumented on the live venue; clients ask it before they sign."
_FIRST = "Served on this address too, because clients ask it before their first Portfolio Margin call."


def _time(path: str, note: str = _FIRST) -> Endpoint:
    return Endpoint(
        "GET",
        path,
        Security.NONE,
        1,
        general.server_time,
        general.ServerTime,
        "Server time",
        difference=note,
    )


def _listen_key(method: str, handler: Handler, answer: type, summary: str) -> Endpoint:
    return Endpoint(
        method,
        "/papi/v1/listenKey",
        Security.USER_STREAM,
        1,
        handler,
        answer,
        summary,
        f"user-data-streams/{summary.replace(' ', '-')}",
        difference="A key is enough, as clients send it; a timestamp and a signature may be sent and are ignored.",
    )


def _user_data(
    path: str,
    weight: int,
    handler: Handler,
    answer: Any,
    summary: str,
    parameters: tuple[Parameter, ...] = (),
    difference: str = "",
    **more: Any,
) -> Endpoint:
    """A reading of an account, whose page is called as its summary."""
    page = f"account/{summary.replace(' ', '-')}"
    row = (Security.USER_DATA, weight, handler, answer, summary, page, parameters, difference)
    return Endpoint("GET", f"/papi/v1/{path}", *row, **more)


def _ping(path: str, note: str = _FIRST) -> Endpoint:
    return Endpoint("GET", path, Security.NONE, 1, general.ping, general.Empty, "Test connectivity", difference=note)


_DUAL = ("Get Current Position Mode", (), "One-way mode alone.")
_ADL = ("Position ADL Quantile Estimation", (_SYMBOL,), "Always empty: there is no queue to stand in.")
_ASK = ("Get Download Id", _WINDOW)
_FETCH = ("Get Download Link by Id", (_DOWNLOAD_ID,))

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "POST",
        "/papi/v1/auto-collection",
        Security.TRADE,
        750,
        collection.auto_collection,
        collection.Done,
        "Fund Auto-collection",
        "account/Fund-Auto-collection",
    ),
    Endpoint(
        "POST",
        "/papi/v1/asset-collection",
        Security.TRADE,
        30,
        collection.asset_collection,
        collection.Done,
        "Fund Collection by Asset",
        "account/Fund-Collection-by-Asset",
        endpoints_sapi.COLLECTED,
        "futureType OPTION is refused (-1020): there is no options wallet.",
    ),
    Endpoint(
        "GET",
        "/papi/v1/balance",
        Security.USER_DATA,
        20,
        account.balance,
        list[account.BalanceRow] | account.AssetBalanceRow,
        "Account Balance",
        "account/Account-Balance",
        (Parameter("asset", Kind.STRING, sentence="One object for this asset instead of the list."),),
    ),
    Endpoint(
        "GET",
        "/papi/v1/account",
        Security.USER_DATA,
        20,
        account.account,
        account.AccountInformation,
        "Account Information",
        "account/Account-Information",
        (),
        _FIGURES,
    ),
    Endpoint(
        "GET",
        "/papi/v1/um/account",
        Security.USER_DATA,
        5,
        futures.um_account,
        futures.UmAccount,
        "Get UM Account Detail",
        "account/Get-UM-Account-Detail",
        (),
        _POSITIONS,
    ),
    Endpoint(
        "GET",
        "/papi/v2/um/account",
        Security.USER_DATA,
        5,
        futures.um_account_v2,
        futures.UmAccountV2,
        "Get UM Account Detail V2",
        "account/Get-UM-Account-Detail-V2",
        (),
        _POSITIONS,
    ),
    Endpoint(
        "GET",
        "/papi/v1/cm/account",
        Security.USER_DATA,
        5,
        futures.cm_account,
        futures.CmAccount,
        "Get CM Account Detail",
        "account/Get-CM-Account-Detail",
        (),
        _POSITIONS,
    ),
    Endpoint(
        "GET",
        "/papi/v1/um/positionRisk",
        Security.USER_DATA,
        5,
        positions.um_risk,
        list[positions.UmRisk],
        "Query UM Position Information",
        "account/Query-UM-Position-Information",
        (Parameter("symbol", Kind.STRING),),
        "liquidationPrice is 0. Without a symbol, open positions alone.",
    ),
    Endpoint(
        "GET",
        "/papi/v1/cm/positionRisk",
        Security.USER_DATA,
        1,
        positions.cm_risk,
        list[positions.CmRisk],
        "Query CM Position Information",
        "account/Query-CM-Position-Information",
        (Parameter("marginAsset", Kind.STRING), Parameter("pair", Kind.STRING)),
        "liquidationPrice is 0. Open positions alone.",
    ),
    Endpoint(
        "GET",
        "/papi/v1/um/symbolConfig",
        Security.USER_DATA,
        5,
        positions.um_symbol_config,
        list[positions.SymbolConfig],
        "UM Futures Symbol Configuration",
        "account/Get-UM-Futures-Symbol-Config",
        (Parameter("symbol", Kind.STRING),),
        "Leverage is that of the position, 20 without one.",
    ),
    Endpoint(
        "GET",
        "/papi/v1/margin/maxWithdraw",
        Security.USER_DATA,
        5,
        account.max_withdraw,
        account.MaxWithdraw,
        "Query Margin Max Withdraw",
        "account/Query-Margin-Max-Withdraw",
        _ONE_ASSET,
        _FIGURES,
    ),
    Endpoint(
        "GET",
        "/papi/v1/margin/maxBorrowable",
        Security.USER_DATA,
        5,
        account.max_borrowable,
        account.MaxBorrowable,
        "Margin Max Borrow",
        "account/Margin-Max-Borrow",
        _ONE_ASSET,
        "Texts. The limit is a million coins of each asset.",
    ),
    Endpoint(
        "GET",
        "/papi/v1/um/income",
        Security.USER_DATA,
        30,
        futures.um_income,
        list[futures.IncomeRow],
        "Get UM Income History",
        "account/Get-UM-Income-History",
        (Parameter("incomeType", Kind.ENUM, values=futures.UM_INCOME_TYPES), *_INCOME),
        futures.INCOME_NOTE,
    ),
    Endpoint(
        "GET",
        "/papi/v1/cm/income",
        Security.USER_DATA,
        30,
        futures.cm_income,
        list[futures.IncomeRow],
        "Get CM Income History",
        "account/Get-CM-Income-History",
        (Parameter("incomeType", Kind.ENUM, values=futures.CM_INCOME_TYPES), *_INCOME),
        f"{futures.INCOME_NOTE} Window: 200 days (English page), not 7 (Chinese page).",
    ),
    *endpoints_margin.MARGIN,
    _listen_key("POST", listen_key.start, listen_key.ListenKey, "Start User Data Stream"),
    _listen_key("PUT", listen_key.keep_alive, general.Empty, "Keepalive User Data Stream"),
    _listen_key("DELETE", listen_key.close, general.Empty, "Close User Data Stream"),
    _user_data("rateLimit/order", 1, rules.order_limit, list[exchange_info.RateLimit], "Query User Rate Limit"),
    _user_data(
        "um/apiTradingStatus",
        10,
        rules.trading_status,
        rules.TradingStatus,
        "UM Trading Quantitative Rules Indicators",
        (_SYMBOL,),
        "No indicator ever. Weighs 1 with a symbol.",
        lighter_with="symbol",
    ),
    _user_data(
        "um/accountConfig",
        5,
        rules.um_config,
        rules.AccountConfig,
        "UM Futures Account Configuration",
        (),
        _SAME_FOR_ALL,
    ),
    _user_data("um/positionSide/dual", 30, rules.position_mode, rules.PositionMode, *_DUAL),
    _user_data("cm/positionSide/dual", 30, rules.position_mode, rules.PositionMode, *_DUAL),
    _user_data(
        "um/feeBurn", 30, rules.fee_burn, rules.FeeBurn, "Get UM Futures BNB Burn Status", (), "At first false."
    ),
    Endpoint(
        "POST",
        "/papi/v1/um/feeBurn",
        Security.TRADE,
        1,
        rules.set_fee_burn,
        rules.Changed,
        "Toggle BNB Burn On UM Futures Trade",
        "trade/Toggle-BNB-Burn-On-UM-Futures-Trade",
        (Parameter("feeBurn", Kind.ENUM, mandatory=True, values=repay.BOOLEANS),),
        "Kept, and changes no fee: nothing is traded.",
    ),
    _user_data(
        "um/commissionRate",
        20,
        rules.um_commission,
        rules.CommissionRate,
        "Get User Commission Rate for UM",
        (_ONE_SYMBOL,),
        _SAME_FOR_ALL,
    ),
    _user_data(
        "cm/commissionRate",
        20,
        rules.cm_commission,
        rules.CommissionRate,
        "Get User Commission Rate for CM",
        (_ONE_SYMBOL,),
        _SAME_FOR_ALL,
    ),
    _user_data(
        "um/leverageBracket",
        1,
        rules.um_brackets,
        list[rules.UmBrackets],
        "UM Notional and Leverage Brackets",
        (_SYMBOL,),
        _SAME_FOR_ALL,
    ),
    _user_data(
        "cm/leverageBracket",
        1,
        rules.cm_brackets,
        list[rules.CmBrackets],
        "CM Notional and Leverage Brackets",
        (_SYMBOL,),
        _SAME_FOR_ALL,
    ),
    _user_data("um/adlQuantile", 5, rules.no_quantiles, list[rules.Quantiles], *_ADL),
    _user_data("cm/adlQuantile", 5, rules.no_quantiles, list[rules.Quantiles], *_ADL),
    _user_data("um/income/asyn", 1_500, download.income_id, download.DownloadId, *_ASK, _GZIPPED),
    _user_data("um/income/asyn/id", 10, download.income_link, download.DownloadLink, *_FETCH),
    _user_data("um/order/asyn", 1_500, download.order_id, download.DownloadId, *_ASK, _NO_FILE),
    _user_data("um/order/asyn/id", 10, download.order_link, download.DownloadLink, *_FETCH),
    _user_data("um/trade/asyn", 1_500, download.trade_id, download.DownloadId, *_ASK, _NO_FILE),
    _user_data("um/trade/asyn/id", 10, download.trade_link, download.DownloadLink, *_FETCH),
    _ping("/papi/v1/ping", ""),
    _time("/papi/v1/time", _TIME),
    _time("/fapi/v1/time"),
    _time("/dapi/v1/time"),
    _time("/api/v3/time"),
    _ping("/api/v3/ping"),
    _ping("/fapi/v1/ping"),
    _ping("/dapi/v1/ping"),
    *endpoints_sapi.ENDPOINTS,
)
