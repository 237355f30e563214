"""ccxt with no option but its addresses: it loads its markets and currencies here, and its unified methods work."""

from __future__ import annotations

import asyncio
import gzip
import urllib.request
from typing import Any

import ccxt
import ccxt.async_support
import pytest

from tests.acceptance.people import AT_FIRST, Credentials, Ring
from tests.acceptance.program import Program

FIRST = [
    "/sapi/v1/capital/config/getall",
    "/sapi/v1/margin/allPairs",
    "/api/v3/exchangeInfo",
    "/sapi/v1/margin/allPairs",
    "/sapi/v1/margin/isolated/allPairs",
    "/fapi/v1/exchangeInfo",
    "/dapi/v1/exchangeInfo",
]
PM = {"portfolioMargin": True}
PATHS = {
    "public": "/api/v3",
    "private": "/api/v3",
    "sapi": "/sapi/v1",
    "fapiPublic": "/fapi/v1",
    "dapiPublic": "/dapi/v1",
    "papi": "/papi/v1",
    "papiV2": "/papi/v2",
}


def pointed(exchange: Any, url: str) -> Any:
    """The addresses a user has to change; the others lead nowhere, so that nothing can reach the live venue."""
    addresses = exchange.urls["api"]
    for name in addresses:
        addresses[name] = {} if isinstance(addresses[name], dict) else f"{url}{PATHS.get(name, '/nowhere')}"
    return exchange


def configured(credentials: Credentials) -> dict[str, Any]:
    return {"apiKey": credentials.api_key, "secret": credentials.secret}


@pytest.fixture(scope="module")
def exchange(program: Program, ring: Ring) -> Any:
    """Loaded with the throttle on; then off, for a download's weight would make the test wait 15 seconds."""
    exchange = pointed(ccxt.binance(configured(ring.credentials("ccxt-default"))), program.url)
    exchange.load_markets()
    exchange.enableRateLimit = False
    return exchange


def test_load_markets_asks_what_is_served(program: Program, ring: Ring) -> None:
    exchange = pointed(ccxt.binance(configured(ring.credentials("ccxt-default"))), program.url)
    asked: list[str] = []
    fetch = exchange.fetch

    def told(url: str, *rest: Any) -> Any:
        asked.append(url.partition("?")[0].removeprefix(program.url))
        return fetch(url, *rest)

    exchange.fetch = told
    assert len(exchange.load_markets()) == len(exchange.markets) > 30
    assert asked == FIRST


def test_markets_are_sane(exchange: Any) -> None:
    spot, linear, inverse = (exchange.market(name) for name in ("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"))
    assert (spot["type"], spot["margin"], spot["marginModes"]["cross"]) == ("spot", True, True)
    assert (linear["type"], linear["linear"], linear["settle"], linear["contractSize"]) == ("swap", True, "USDT", 1)
    assert (inverse["type"], inverse["inverse"], inverse["settle"], inverse["contractSize"]) == (
        "swap",
        True,
        "BTC",
        100,
    )
    assert (linear["precision"]["price"], linear["precision"]["amount"]) == (0.1, 0.001)
    for market in exchange.markets.values():
        assert market["active"] is True
        assert market["precision"]["price"] > 0
        assert market["limits"]["amount"]["min"] == market["precision"]["amount"] > 0
        assert market["limits"]["amount"]["max"] > market["limits"]["amount"]["min"]
        assert market["expiry"] is None
    assert exchange.price_to_precision("BTC/USDT:USDT", 60_000.17) == "60000.2"


def test_currencies_have_the_precision_of_the_venue(exchange: Any) -> None:
    assert {"USDT", "USDC", "BTC", "BNB"} <= set(exchange.currencies)
    assert exchange.currencies["USDT"]["precision"] == 1e-08
    assert exchange.currency_to_precision("USDT", 0.123456789) == "0.12345678"


def test_money_goes_in_and_out_by_a_transfer(exchange: Any) -> None:
    before = exchange.sapiGetPortfolioBalance({"asset": "USDC"})
    assert before == []
    there = exchange.transfer("USDC", 2.5, "spot", "margin", {"type": "MAIN_PORTFOLIO_MARGIN"})
    assert int(there["id"]) > 0
    assert exchange.sapiGetPortfolioBalance({"asset": "USDC"})[0]["crossMarginFree"] == "2.5"
    (row,) = exchange.fetch_transfers("USDC", params={"type": "MAIN_PORTFOLIO_MARGIN", "size": 1})
    assert (row["id"], row["amount"], row["status"]) == (there["id"], 2.5, "ok")
    exchange.transfer("USDC", 2.5, "margin", "spot", {"type": "PORTFOLIO_MARGIN_MAIN"})
    with pytest.raises(ccxt.ExchangeError, match="-5013"):
        exchange.transfer("USDC", 2.5, "margin", "spot", {"type": "PORTFOLIO_MARGIN_MAIN"})


def test_unified_readings(exchange: Any) -> None:
    assert exchange.fetch_balance(PM)["BTC"]["total"] == pytest.approx(float(AT_FIRST["BTC"][-1]))
    assert abs(exchange.fetch_time() - exchange.milliseconds()) < 5_000
    assert exchange.fetch_status()["status"] == "ok"
    tiers = exchange.fetch_leverage_tiers(["BTC/USDT:USDT"], PM)["BTC/USDT:USDT"]
    assert (tiers[0]["maxLeverage"], tiers[0]["maintenanceMarginRate"]) == (125, 0.004)
    assert len(exchange.fetch_leverage_tiers(["ETH/USD:ETH"], {**PM, "subType": "inverse"})["ETH/USD:ETH"]) > 5
    for symbol, maker in (("BTC/USDT:USDT", 0.0002), ("BTC/USD:BTC", 0.0001)):
        assert exchange.fetch_trading_fee(symbol, PM)["maker"] == maker
    assert exchange.fetch_positions_adl_rank(["BTC/USDT:USDT"], PM) == []


def test_a_download_link_is_a_file(exchange: Any) -> None:
    now = exchange.milliseconds()
    number = exchange.papiGetUmIncomeAsyn({"startTime": now - 10**8, "endTime": now})["downloadId"]
    found = exchange.papiGetUmIncomeAsynId({"downloadId": number})
    with urllib.request.urlopen(found["url"]) as answer:
        lines = gzip.decompress(answer.read()).decode().splitlines()
    assert lines[0] == "symbol,incomeType,income,asset,info,time,tranId,tradeId"
    assert [line.split(",")[3] for line in lines[1:]] == ["USDT", "BTC", "ETH", "BNB"]


def test_async_with_no_option_too(program: Program, ring: Ring) -> None:
    async def walk() -> tuple[int, Any]:
        exchange = pointed(ccxt.async_support.binance(configured(ring.credentials("ccxt-default-async"))), program.url)
        try:
            return len(await exchange.load_markets()), await exchange.fetch_balance(PM)
        finally:
            await exchange.close()

    markets, balance = asyncio.run(walk())
    assert markets > 30
    assert set(AT_FIRST) <= set(balance["total"])
