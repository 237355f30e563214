"""The coverage page: every account endpoint of Portfolio Margin, implemented or not, with differences and choices."""

from __future__ import annotations

from typing import Final

from catchment import errors, margin
from catchment.limits import MAX_RECORDS_READ
from catchment.papi.contract import Endpoint
from catchment.papi.endpoints import ENDPOINTS

MISSING: Final = """
POST /papi/v1/um/leverage
POST /papi/v1/cm/leverage
POST /papi/v1/um/positionSide/dual
POST /papi/v1/cm/positionSide/dual
POST /papi/v1/margin/repay-debt
GET /sapi/v2/portfolio/account
GET /sapi/v2/portfolio/collateralRate
GET /sapi/v1/portfolio/margin-asset-leverage
GET /sapi/v1/portfolio/margin-call-level
POST /sapi/v1/portfolio/margin-call-level
DELETE /sapi/v1/portfolio/margin-call-level
GET /sapi/v1/portfolio/delta-mode
POST /sapi/v1/portfolio/delta-mode
GET /sapi/v1/portfolio/earn-asset-balance
POST /sapi/v1/portfolio/earn-asset-transfer
"""

ORDERS: Final = """
DELETE /papi/v1/cm/allOpenOrders
GET /papi/v1/cm/allOrders
DELETE /papi/v1/cm/conditional/allOpenOrders
GET /papi/v1/cm/conditional/allOrders
GET /papi/v1/cm/conditional/openOrder
GET /papi/v1/cm/conditional/openOrders
DELETE /papi/v1/cm/conditional/order
POST /papi/v1/cm/conditional/order
GET /papi/v1/cm/conditional/orderHistory
GET /papi/v1/cm/forceOrders
GET /papi/v1/cm/openOrder
GET /papi/v1/cm/openOrders
DELETE /papi/v1/cm/order
GET /papi/v1/cm/order
POST /papi/v1/cm/order
PUT /papi/v1/cm/order
GET /papi/v1/cm/orderAmendment
GET /papi/v1/cm/userTrades
DELETE /papi/v1/margin/allOpenOrders
GET /papi/v1/margin/allOrderList
GET /papi/v1/margin/allOrders
GET /papi/v1/margin/forceOrders
GET /papi/v1/margin/myTrades
GET /papi/v1/margin/openOrderList
GET /papi/v1/margin/openOrders
DELETE /papi/v1/margin/order
GET /papi/v1/margin/order
POST /papi/v1/margin/order
POST /papi/v1/margin/order/oco
DELETE /papi/v1/margin/orderList
GET /papi/v1/margin/orderList
GET /papi/v1/um/algo/algoOrder
GET /papi/v1/um/algo/allAlgoOrders
DELETE /papi/v1/um/algo/allOpenOrders
GET /papi/v1/um/algo/openAlgoOrders
DELETE /papi/v1/um/algo/order
POST /papi/v1/um/algo/order
DELETE /papi/v1/um/allOpenOrders
GET /papi/v1/um/allOrders
GET /papi/v1/um/forceOrders
GET /papi/v1/um/openOrder
GET /papi/v1/um/openOrders
DELETE /papi/v1/um/order
GET /papi/v1/um/order
POST /papi/v1/um/order
PUT /papi/v1/um/order
GET /papi/v1/um/orderAmendment
POST /papi/v1/um/stock/contract
GET /papi/v1/um/userTrades
"""
"""Placing, changing and reading orders: not planned."""

CHOICES: Final = (
    (
        "500 an hour or 10 a day",
        "API calls count against 500 in a rolling hour (API pages), the button against 10 in a UTC day (product "
        "article). `quota_shared_daily = true` makes the 10 count both.",
    ),
    (
        "BNB in the CM wallet",
        'Collected by an auto-collection (English pages). `collection_cm_bnb = "keep"` follows the Chinese page. '
        "BNB in UM is never collected, and asset-collection refuses BNB (-1020).",
    ),
    ("Nothing to collect", 'Answered `{"msg":"success"}`, recorded without a transfer, counted by the quota.'),
    (
        "What is collected",
        "The whole positive wallet balance of each asset, in one atomic record; never unrealised profit. A negative "
        "balance stays and is not repaid.",
    ),
    (
        "The 501st collection of an hour",
        "HTTP 429, -1003, with Retry-After until the oldest of the 500 is an hour old.",
    ),
    (
        "The 11th BNB transfer of 10 minutes, the 21st change of Auto Repay of a day",
        "As the 501st collection. What was refused for another reason is not counted; the operator's are.",
    ),
    (
        "Ways between wallets",
        "From Cross Margin into a futures wallet only BNB goes (to UM), and what fills a negative balance; between UM "
        "and CM nothing. /papi has no call for the rest; asset/transfer has, and refuses it (-21002).",
    ),
    (
        "tranId",
        "Of BNB transfers, loans and repayments an integer under 2^53, unique in the account; a BNB transfer's stands "
        "in um/income too, there as a text.",
    ),
    (
        "Auto Repay",
        "Off until it is turned on. `autoRepay` is taken as `true` and as `True`. Repaying fills UM first, then CM, "
        "as far as free Cross Margin goes; nothing to repay is a success.",
    ),
    (
        "What a loan may be",
        "What maxBorrowable says at the moment of asking, by prices and equity, and at most "
        f"{margin.LOAN_LIMIT:,} whole coins of an asset owed (-51006). Repaying pays interest first; more than is owed "
        "is refused (-3015). Loans bear no interest by themselves.",
    ),
    (
        "Income of the new kinds",
        "BNB transfers and repaying are TRANSFER rows, signed; in CM with info WITHDRAW or DEPOSIT. Interest on a "
        "negative balance is COMMISSION with info INTEREST. An exchange is AUTO_EXCHANGE in UM and, as CM has no such "
        "type, TRANSFER with info AUTO_EXCHANGE.",
    ),
    (
        "Long histories",
        f"One call reads at most {MAX_RECORDS_READ:,} records of its account, a thousand at a time; where a filter "
        "would need more it is refused (-1127), never answered in part.",
    ),
    (
        "Windows of histories",
        "Interest and loans: 30 days at most (-4165); a start alone is brought forward to 30 days ago. Exchanges: 92 "
        "days, three months of the longest kind. Nothing is archived.",
    ),
    (
        "negativeMaxThreshold",
        "A JSON number, whole if it is: the official Python SDK takes no other. One with decimals is written exactly.",
    ),
    (
        "recvWindow over 60000",
        "-1131, as on the Pro and spot tables; the Portfolio Margin table has no row for it.",
    ),
    (
        "timestamp or recvWindow that is not digits",
        "-1100 with the legal range `^[0-9]{1,20}$`, as on the live spot API.",
    ),
    (
        "Outside Portfolio Margin, foreign address, missing permission",
        "All answered 401, -2015 with the caller's address: the one reply seen live for such keys.",
    ),
    ("Ed25519 keys", "Accepted; the Portfolio Margin pages name only HMAC and RSA, every client can sign with them."),
    (
        "Duplicate parameters",
        "The same name twice in the query or twice in the body is refused (-1101). In both, the query wins.",
    ),
    ("Unknown parameters", "Ignored: real clients send some."),
    (
        "Exponent form of amounts",
        "`amount=1e-08` is accepted, because clients render floats so. More decimals than the asset has are refused "
        "(-1111), trailing zeros are not.",
    ),
    (
        "Weight",
        "Counted per address in whole minutes of the venue's clock; refused requests are charged. More than 10 answers "
        "with 429 in one minute bring a ban: 2 minutes, doubling up to 3 days, forgiven after 3 days.",
    ),
    (
        "Weight on /sapi",
        "Every endpoint has one of its own for an address: twice `weight_per_minute`, so 12,000. Where the weight "
        "is the account's (POST asset/transfer, portfolio/account, pmLoan, repay) it is 30 times, so 180,000, and the "
        "address is charged 1. Over it 429, never a ban. What /api, /fapi and /dapi serve counts with /papi.",
    ),
    (
        "Weight of several servers",
        "With the setting `weights` they count together, each telling the others afterwards: an address that sends "
        "much at once can get more than the limit, at most once the limit for every server.",
    ),
    (
        "Unknown path or wrong method",
        "HTTP 404 with JSON and code -5000; the live venue answers an HTML page for unknown paths. "
        "`/healthz`, `/readyz` and `/openapi.json` are ours and charge no weight.",
    ),
    (
        "Pro and retail",
        "Every Portfolio Margin account is served on both faces, and both count the same 500 collections an hour; only "
        "BNB transfers are counted apart, 10 and 2 in 10 minutes. accountType is PM_2. On /sapi an account outside "
        "Portfolio Margin is refused with -21001 instead of -2015.",
    ),
    (
        "Universal transfer",
        "The spot wallet is outside the venue: it is never empty. Transfers to a futures wallet are -21002, other ways "
        "-1020; more than is free is -5013, more than positions and loans let go -3020.",
    ),
    (
        "Downloads",
        "Completed at once. A use counts in the calendar month, UTC; the one too many is 429, -1003, with Retry-After "
        "until the next month. The link lives 7 days (SDK), not 24 hours (older page); a window is 366 days at most. "
        "Fetching the file weighs 10, and needs the link alone.",
    ),
    (
        "Symbols, filters, brackets",
        "A table of well-known symbols, of which all are TRADING; the setting `symbols` adds to it. Steps are those of "
        "live symbols, bounds and leverage brackets are the same for all symbols of a market.",
    ),
    (
        "Income without times, and old rows",
        "With startTime the earliest rows of the window, without it the latest; always in order of time. Rows go back "
        "90 days on UM and 200 on CM. The id is a text, unique in the account.",
    ),
    (
        "A request that is no HTTP, or whose head is over 64 KiB",
        "Answered by the server under the API: 400 as plain text, 431 without a body; then the connection is closed.",
    ),
    (
        "Listen keys",
        "64 letters and digits; an API key is enough to ask for one. DELETE closes its connections, but not one that "
        "has another stream. What would live less than a second longer is not written anew.",
    ),
    (
        "Unknown listen key on the stream",
        "The websocket is accepted and stays silent, as for any name of a stream. One that expires is told "
        "`listenKeyExpired`, without the key, and stays open.",
    ),
    (
        "Events of a collection",
        "ACCOUNT_UPDATE of UM, then of CM (`m` ASSET_TRANSFER), balanceUpdate of each asset, then one "
        "outboundAccountPosition. `U` is the number of the account's record.",
    ),
    (
        "ACCOUNT_UPDATE",
        "Profit and commission are ORDER with `bc` 0, interest on a negative balance is ADJUSTMENT. `P` is a position "
        "that was set, as ORDER without balances, and else empty; `i` is empty.",
    ),
    (
        "riskLevelChange",
        "Once at each level an account comes to, by a record or a price; trading freely again is not told. A bankrupt "
        "account is told as FORCE_LIQUIDATION.",
    ),
    (
        "liabilityChange",
        "`t` is BORROW, REPAY or INTEREST, `p` and `i` are the amounts of this change, `T` is the record's number.",
    ),
    (
        "Limits of the stream",
        "Those of the USDⓈ-M pages: a ping every 3 minutes, 10 minutes for a pong, 10 frames a second (pings count), "
        '1,024 streams. Errors are `{"error":{"code","msg"},"id"}`. Too slow a client is closed (1008).',
    ),
    ("Numbers", "Balances in the shortest form with one decimal at least (`330.25`, `0.0`), income with all decimals."),
    (
        "Prices and collateral rates",
        "Set by `catchment price set` or a scenario; before that the setting `prices`, or round numbers that are made "
        "up. A mark price follows the index prices until it is set.",
    ),
    (
        "Equity and margin",
        "By the formulas of the support pages, rounded against the account ([how](explanation/margin.md)). uniMMR is "
        "99999999 without margin need, as seen live. Loans have leverage 5 and 8 % maintenance. With equity below zero "
        "accountStatus is BANKRUPTED.",
    ),
    (
        "Positions",
        "Set by an operator; um/account (v1, v2), cm/account and positionRisk list open ones alone, positionRisk with "
        "`symbol` a flat one too. liquidationPrice is 0. An unknown symbol is refused (-1121).",
    ),
)


def markdown() -> str:
    """The whole page; `make docs` writes it, a test compares it."""
    lines = [
        "# Coverage",
        "",
        "Made by `make docs` from the table of endpoints; do not edit.",
        "",
        "## Implemented",
        "",
        "| Method | Path | Weight | Security | Differences |",
        "|---|---|---|---|---|",
        *(_line(endpoint) for endpoint in ENDPOINTS),
        "",
        "## Not implemented",
        "",
        "Answered 404 with code -5000.",
        "",
        *(f"- `{line}`" for line in MISSING.split("\n") if line),
        "",
        "Orders are not planned, for the venue has no matching engine:",
        "",
        *(f"- `{line}`" for line in ORDERS.split("\n") if line),
        "",
        "## Choices",
        "",
        "Where the reference is silent or contradicts itself:",
        "",
        "| Case | Here |",
        "|---|---|",
        *(f"| {case} | {choice} |" for case, choice in CHOICES),
        "",
        "## Refusals",
        "",
        "In order of precedence. Codes under -90000 are the operator's and never on the wire.",
        "",
        "| Name | Code | HTTP | Sentence | Note |",
        "|---|---|---|---|---|",
        *(_refusal(refusal) for refusal in errors.REFUSALS),
        "",
    ]
    return "\n".join(lines)


def _line(endpoint: Endpoint) -> str:
    return (
        f"| {endpoint.method} | `{endpoint.path}` | {endpoint.weight} | {endpoint.security} "
        f"| {endpoint.difference or '-'} |"
    )


def _refusal(refusal: errors.Refusal) -> str:
    return f"| {refusal.name} | {refusal.code} | {refusal.status} | {refusal.sentence} | {refusal.note or '-'} |"
