"""ccxt as its users call it, sync and async, against the started program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ccxt
import ccxt.async_support
import pytest

from tests.acceptance.calls import Client, ccxt_name
from tests.acceptance.people import AT_FIRST, Credentials, Kind, Ring
from tests.acceptance.program import Program

OFFLINE = {"fetchMarkets": {"types": []}, "fetchCurrencies": False}


def options(credentials: Credentials, **more: Any) -> dict[str, Any]:
    return {
        "apiKey": credentials.api_key,
        "secret": credentials.secret,
        "enableRateLimit": False,
        "timeout": 20_000,
        "options": {**OFFLINE, **more},
    }


def pointed(exchange: Any, url: str) -> Any:
    """Every address of the client now leads here, so that nothing can reach the live venue."""
    addresses = exchange.urls["api"]
    for name in addresses:
        addresses[name] = {} if isinstance(addresses[name], dict) else f"{url}/nowhere"
    addresses |= {
        "papi": f"{url}/papi/v1",
        "papiV2": f"{url}/papi/v2",
        "public": f"{url}/api/v3",
        "fapiPublic": f"{url}/fapi/v1",
        "dapiPublic": f"{url}/dapi/v1",
    }
    return exchange


class Sync(Client):
    """The walk's calls, by ccxt's implicit methods."""

    def __init__(self, exchange: Any) -> None:
        super().__init__()
        self.exchange = exchange

    def has(self, call: str) -> bool:
        return hasattr(self.exchange, ccxt_name(call))

    def _ask(self, call: str, parameters: dict[str, Any]) -> Any:
        return getattr(self.exchange, ccxt_name(call))(parameters)


class Async(Sync):
    """The same, awaited."""

    def __init__(self, exchange: Any, runner: asyncio.Runner) -> None:
        super().__init__(exchange)
        self._runner = runner

    def _ask(self, call: str, parameters: dict[str, Any]) -> Any:
        return self._runner.run(super()._ask(call, parameters))


@contextmanager
def asynchronous(program: Program, credentials: Credentials) -> Iterator[Async]:
    with asyncio.Runner() as runner:

        async def make() -> Any:
            return ccxt.async_support.binance(options(credentials))

        exchange = pointed(runner.run(make()), program.url)
        try:
            yield Async(exchange, runner)
        finally:
            runner.run(exchange.close())


# Unified methods -----------------------------------------------------------------------------------------------------


@pytest.fixture
def exchange(program: Program, ring: Ring) -> Any:
    return pointed(ccxt.binance(options(ring.credentials("ccxt-others"))), program.url)


def test_fetch_balance(exchange: Any) -> None:
    whole = exchange.fetch_balance({"portfolioMargin": True})
    assert whole["BTC"]["total"] == pytest.approx(0.12345679, abs=1e-12)
    linear = exchange.fetch_balance({"portfolioMargin": True, "type": "swap", "subType": "linear"})
    inverse = exchange.fetch_balance({"portfolioMargin": True, "type": "swap", "subType": "inverse"})
    margin = exchange.fetch_balance({"portfolioMargin": True, "type": "margin"})
    for asset, (um, cm, free, locked, _) in AT_FIRST.items():
        assert linear[asset]["free"] == pytest.approx(float(um))
        assert inverse[asset]["free"] == pytest.approx(float(cm))
        assert (margin[asset]["free"], margin[asset]["used"]) == (float(free), float(locked))


def test_fetch_ledger(exchange: Any) -> None:
    linear = exchange.fetch_ledger(params={"portfolioMargin": True, "type": "swap", "subType": "linear"})
    assert {(entry["currency"], entry["direction"], entry["amount"]) for entry in linear} == {
        ("USDT", "in", 12345678901.12345679),
        ("BTC", "in", 1e-08),
        ("ETH", "out", 2.5),
        ("BNB", "in", 2.5),
    }
    inverse = exchange.fetch_ledger(limit=1, params={"portfolioMargin": True, "type": "swap", "subType": "inverse"})
    assert [(entry["currency"], entry["amount"]) for entry in inverse] == [("BNB", 0.75)]
    since = exchange.fetch_ledger(
        since=linear[-1]["timestamp"] + 1, params={"portfolioMargin": True, "type": "swap", "subType": "linear"}
    )
    assert since == []


def test_every_time_path_tells_the_time(exchange: Any) -> None:
    for method in ("publicGetTime", "fapiPublicGetTime", "dapiPublicGetTime", "papiGetTime"):
        if hasattr(exchange, method):
            told = int(getattr(exchange, method)()["serverTime"])
            assert abs(told - exchange.milliseconds()) < 5_000
    assert exchange.publicGetPing() == {}
    assert abs(exchange.load_time_difference()) < 5_000


def test_a_clock_that_is_wrong_can_be_adjusted(program: Program, ring: Ring) -> None:
    wrong = pointed(ccxt.binance(options(ring.credentials("ccxt-others"))), program.url)
    true_time = wrong.milliseconds
    wrong.milliseconds = lambda: true_time() - 3_600_000
    with pytest.raises(ccxt.InvalidNonce):
        wrong.papiGetBalance()
    wrong.load_time_difference()
    assert len(wrong.papiGetBalance()) == len(AT_FIRST)


# Errors --------------------------------------------------------------------------------------------------------------

Call = Callable[[Any], Any]
# fmt: off
ERRORS: list[tuple[type[Exception], int, Call]] = [
    (ccxt.BadSymbol,     -1108, lambda client: client.papiPostAssetCollection({"asset": "NOPE"})),
    (ccxt.BadRequest,    -1102, lambda client: client.papiPostAssetCollection()),
    (ccxt.BadRequest,    -1102, lambda client: client.papiPostAssetCollection({"asset": ""})),
    (ccxt.BadRequest,    -1020, lambda client: client.papiPostAssetCollection({"asset": "BNB"})),
    (ccxt.BadRequest,    -1128, lambda client: client.papiPostAssetCollection({"asset": "USDT", "amount": 1})),
    (ccxt.BadRequest,    -1130, lambda client: client.papiGetUmIncome({"limit": 1001})),
    (ccxt.ExchangeError, -1023, lambda client: client.papiGetUmIncome({"startTime": 2, "endTime": 1})),
    (ccxt.ExchangeError, -1131, lambda client: client.papiGetBalance({"recvWindow": 60_001})),
    (ccxt.InvalidNonce,  -1021, lambda client: client.papiGetBalance({"timestamp": 1})),
    (ccxt.ExchangeError, -5000, lambda client: client.papiGetUmOpenOrders()),
]
# fmt: on


@pytest.mark.parametrize(("error", "code", "call"), ERRORS)
def test_refusals_are_the_errors_ccxt_users_know(exchange: Any, error: type[Exception], code: int, call: Call) -> None:
    with pytest.raises(error, match=f'"code":{code},'):
        call(exchange)


def test_a_wrong_secret_and_an_unknown_key(program: Program, ring: Ring) -> None:
    known = ring.credentials("ccxt-others")
    for key, secret, code in ((known.api_key, "wrong", -1022), ("unknown", known.secret, -2015), ("a b", "x", -2014)):
        exchange = pointed(ccxt.binance(options(Credentials(key, Kind.HMAC, secret))), program.url)
        with pytest.raises(ccxt.AuthenticationError, match=str(code)):
            exchange.papiPostAutoCollection()


def test_a_key_that_may_only_read(program: Program, ring: Ring) -> None:
    exchange = pointed(ccxt.binance(options(ring.credentials("reader"))), program.url)
    assert len(exchange.papiGetBalance()) == len(AT_FIRST)
    with pytest.raises(ccxt.AuthenticationError, match=r"request ip: 127\.0\.0\.1"):
        exchange.papiPostAutoCollection()


def test_429_and_418(strict: Program, ring: Ring) -> None:
    exchange = pointed(ccxt.binance(options(ring.credentials("ccxt-others"))), strict.url)
    with pytest.raises(ccxt.DDoSProtection, match=r"429 .*current limit is 700 requests per minute"):
        exchange.papiPostAutoCollection()
    assert int(exchange.last_response_headers["Retry-After"]) in range(1, 61)
    for _ in range(40):  # the minute may end once on the way to the ban
        with pytest.raises(ccxt.DDoSProtection) as refused:
            exchange.papiPostAutoCollection()
        if "418" in str(refused.value):
            break
    with pytest.raises(ccxt.DDoSProtection, match=r"418 .*IP banned until"):
        exchange.papiGetPing()
    assert int(exchange.last_response_headers["Retry-After"]) in range(60, 121)
