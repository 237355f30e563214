"""python-binance as its users call it, sync and async, against the started program."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from binance import AsyncClient as AsyncBinance
from binance import Client as Binance
from binance.exceptions import BinanceAPIException

from tests.acceptance.calls import CALLS, Client
from tests.acceptance.people import AT_FIRST, Credentials, Kind, Ring
from tests.acceptance.program import Program
from tests.acceptance.walk import held


def pointed(of: type[Any], url: str) -> type[Any]:
    """A client class of which every address leads here, so that nothing can reach the live venue."""
    addresses = {name: f"{url}/nowhere" for name in dir(of) if name.endswith("URL")}
    here = {"API_URL": f"{url}/api", "PAPI_URL": f"{url}/papi", "MARGIN_API_URL": f"{url}/sapi"}
    return type(of.__name__, (of,), {**addresses, **here})


def keys(credentials: Credentials) -> dict[str, str]:
    name = "api_secret" if credentials.kind is Kind.HMAC else "private_key"
    return {"api_key": credentials.api_key, name: credentials.secret}


class Sync(Client):
    """The walk's calls, by the client's methods. Its constructor pings the venue."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self._listen_key = ""

    def has(self, call: str) -> bool:
        return bool(CALLS[call].python_binance)

    def _ask(self, call: str, parameters: dict[str, Any]) -> Any:
        if call in {"PUT v1/listenKey", "DELETE v1/listenKey"}:
            parameters["listenKey"] = self._listen_key
        answer = self._wait(getattr(self.client, CALLS[call].python_binance)(**parameters))
        if call == "POST v1/listenKey":
            self._listen_key = answer
            return {"listenKey": answer}
        return answer

    def _wait(self, answer: Any) -> Any:
        return answer


class Async(Sync):
    """The same, awaited."""

    def __init__(self, client: Any, runner: asyncio.Runner) -> None:
        super().__init__(client)
        self._runner = runner

    def _wait(self, answer: Any) -> Any:
        return self._runner.run(answer)


def synchronous(program: Program, credentials: Credentials) -> Sync:
    return Sync(pointed(Binance, program.url)(**keys(credentials)))


@contextmanager
def asynchronous(program: Program, credentials: Credentials) -> Iterator[Async]:
    """`create` pings the venue and asks it for the time."""
    with asyncio.Runner() as runner:
        client = runner.run(pointed(AsyncBinance, program.url).create(**keys(credentials)))
        try:
            yield Async(client, runner)
        finally:
            runner.run(client.close_connection())


def test_refusals_keep_status_code_and_sentence(program: Program, ring: Ring) -> None:
    client = synchronous(program, ring.credentials("python-binance-others"))
    for parameters, code, words in (
        ({"asset": "NOPE"}, -1108, "Invalid asset."),
        ({"asset": ""}, -1102, "'asset' was not sent"),
        ({"asset": "BNB"}, -1020, "This operation is not supported."),
        ({"asset": "USDT", "amount": 1}, -1128, "Combination of optional parameters"),
        ({"asset": "USDT", "amount": 0, "futureType": "UM"}, -4055, "Amount must be positive."),
        ({"asset": "BTC", "amount": 1, "futureType": "UM"}, -2018, "Balance is insufficient."),
        ({"asset": "BTC", "amount": 1e-09, "futureType": "UM"}, -1111, "Precision is over the maximum"),
    ):
        with pytest.raises(BinanceAPIException) as refused:
            client.ask("POST v1/asset-collection", **parameters)
        found = refused.value
        assert (found.status_code, found.code, words in found.message) == (400, code, True)
    assert held(client) == AT_FIRST


def test_keys_that_are_refused(program: Program, ring: Ring) -> None:
    for credentials, status, code in (
        (Credentials("unknown", Kind.HMAC, "x"), 401, -2015),
        (Credentials("python-binance-others", Kind.HMAC, "wrong"), 400, -1022),
        (ring.credentials("reader"), 401, -2015),
    ):
        with pytest.raises(BinanceAPIException) as refused:
            synchronous(program, credentials).ask("POST v1/auto-collection")
        assert (refused.value.status_code, refused.value.code) == (status, code)


def test_429_and_418(strict: Program, ring: Ring) -> None:
    client = synchronous(strict, ring.credentials("python-binance-others"))

    def refusal() -> BinanceAPIException:
        with pytest.raises(BinanceAPIException) as refused:
            client.ask("POST v1/auto-collection")
        return refused.value

    told = [refusal() for _ in range(40)]  # the minute may end once on the way to the ban
    assert {one.code for one in told} == {-1003}
    assert {one.status_code for one in told} == {429, 418}
    assert "IP banned until" in told[-1].message
    assert int(told[-1].response.headers["Retry-After"]) in range(60, 121)
