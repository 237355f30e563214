"""The contract as a table, one row an endpoint. Routing, weights, parameter checks, OpenAPI, the coverage page and
the command line's listing all read it; each number of the reference stands here once."""

from __future__ import annotations

from typing import Final

from catchment.papi import account, collection, endpoints_margin, futures, general, listen_key, positions
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
_COLLECTED = (
    Parameter("asset", Kind.STRING, mandatory=True),
    Parameter("amount", Kind.DECIMAL, sentence="With futureType, or not at all."),
    Parameter("futureType", Kind.ENUM, values=collection.FUTURE_TYPES, sentence="With amount, or not at all."),
)
_POSITIONS = "Open positions alone; they are what somebody set, for there is no matching engine."
_FIGURES = "Worked out from prices, positions and loans that somebody set (docs/explanation/margin.md)."
_ONE_ASSET = (Parameter("asset", Kind.STRING, mandatory=True),)
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


def _ping(path: str, note: str = _FIRST) -> Endpoint:
    return Endpoint("GET", path, Security.NONE, 1, general.ping, general.Empty, "Test connectivity", difference=note)


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
        _COLLECTED,
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
        "Texts. The limit of an asset is a million USD at its index price.",
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
    _ping("/papi/v1/ping", ""),
    _time("/papi/v1/time", _TIME),
    _time("/fapi/v1/time"),
    _time("/dapi/v1/time"),
    _time("/api/v3/time"),
    _ping("/api/v3/ping"),
    _ping("/fapi/v1/ping"),
)
