"""schemathesis makes calls of every kind from the description of the API: no answer that it does not describe, no 5xx,
and a refused call moves nothing. `make fuzz` plays many more, with a new seed each time."""

from __future__ import annotations

import hmac
import json
import os
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from catchment.ledger.balance import AccountId
from catchment.papi.openapi import document
from catchment.store.base import Store
from catchment.store.open import open_existing
from tests.acceptance.people import Ring
from tests.acceptance.program import Program, running

CASES: Final = int(os.environ.get("FUZZ_CASES", "0"))
DESCRIBED: Final = json.loads(document())
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ALWAYS: Final = 2**62
"""No time and no number of a record is later."""


GATE: Final = {"timestamp", "signature", "recvWindow"}
# What a call must name to come past its parameters, as chance never would.
NAMED: Final = {
    "asset": ["USDT", "BTC", "ETH", "BNB"],
    "amount": ["0.1", "1e-08", "0", "-1", "1e30", "0.00000001", "12345678901.12345679"],
    "symbol": ["BTCUSDT", "BTCUSD_PERP"],
    "type": ["MAIN_PORTFOLIO_MARGIN", "PORTFOLIO_MARGIN_MAIN"],
}
AGO: Final = 2**40
"""A time under this is sent as so many milliseconds ago: the year 2004 says little, and no call looks so far back."""


def strict() -> dict[str, Any]:
    """The description, strictly read: an answer has no field beside those it names."""
    description: dict[str, Any] = json.loads(document())
    for component in description["components"]["schemas"].values():
        if "properties" in component:
            component["additionalProperties"] = False
    return description


def to_sign() -> dict[str, Any]:
    """As strict, for calls that are signed afterwards and name what there is, or something that is none of it."""
    description = strict()
    for operation in (one for path in description["paths"].values() for one in path.values()):
        operation["parameters"] = [one for one in operation["parameters"] if one["name"] not in GATE]
        for parameter in operation["parameters"]:
            if found := NAMED.get(parameter["name"]):
                parameter["schema"] = {"enum": found}
    return description


API: Final = schemathesis.openapi.from_dict(strict())
SIGNED_API: Final = schemathesis.openapi.from_dict(to_sign())
NEVER_DONE: Final = {
    ("POST", "/sapi/v1/portfolio/repay"),  # nothing is ever owed
    ("GET", "/papi/v1/um/income/asyn/id"),  # these need an id that was answered
    ("GET", "/papi/v1/um/order/asyn/id"),
    ("GET", "/papi/v1/um/trade/asyn/id"),
}


def played(cases: int) -> settings:
    return settings(
        max_examples=CASES or cases,
        derandomize=not CASES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class Signed(requests.auth.AuthBase):
    """Signs what schemathesis made, at the right time, so a call fails by its own parameters or not at all. Some send
    them in a form."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        now = time.time_ns() // 1_000_000
        path, _, query = (request.url or "").partition("?")
        pairs = [f"timestamp={now}"]
        for name, _, value in (pair.partition("=") for pair in query.split("&")):
            if name in {"startTime", "endTime"} and value.isdigit() and int(value) < AGO:
                pairs.append(f"{name}={now - int(value)}")
            elif name and name not in GATE:
                pairs.append(f"{name}={value}")
        text = "&".join(pairs)
        text += f"&signature={hmac.new(b'fuzz-secret', text.encode(), 'sha256').hexdigest()}"
        request.headers["X-MBX-APIKEY"] = "fuzz"
        if request.method == "POST" and len(query) % 2:
            request.url = path
            request.headers["Content-Type"] = "application/x-www-form-urlencoded"
            request.prepare_body(text, None)
        else:
            request.url = f"{path}?{text}"
        return request


def keyed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Some of the calls that are not signed have at least a key that is known."""
    if len(request.url or "") % 2:
        request.headers["X-MBX-APIKEY"] = "fuzz"
    return request


class Venue:
    """The program, and its store read beside it."""

    def __init__(self, program: Program, store: Store) -> None:
        self.url = program.url
        self._store = store
        account = store.account_named("fuzz")
        assert account is not None
        self._account: AccountId = account.id
        self._session = requests.Session()
        self.done: set[tuple[str, str]] = set()

    def check_played(self, case: Case[Any], auth: Any) -> None:
        """Send a case; fails as the module says."""
        before = self._books()
        self._session.auth = auth
        response = case.call(base_url=self.url, session=self._session)
        case.validate_response(response, checks=CHECKS)
        if response.status_code == 200:
            self.done.add((case.method, case.path))
        else:
            assert self._books() == before, "a refused call moved something"

    def _books(self) -> tuple[Any, Any]:
        """Everything the venue knows of the account's money, and its last record."""
        last = self._store.history(self._account, since=0, until=ALWAYS, below=ALWAYS, limit=1, newest_first=True)
        return self._store.load([self._account]), last


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory, ring: Ring) -> Iterator[Venue]:
    folder = tmp_path_factory.mktemp("fuzzed")
    alone = folder / "alone.toml"
    alone.write_text("schedule = false\n", encoding="utf-8")
    options = ("--config", str(alone), "--weight-per-minute", "1000000000")
    with running(folder, ring.account("fuzz"), *options) as program:
        store = open_existing(f"sqlite:///{folder / 'venue.sqlite'}")
        yield Venue(program, store)
        store.close()


JSON: Final = {"Content-Type": "application/json", "X-Mbx-Used-Weight-1M": "1"}


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, JSON, b'{"msg": 1}'),
        (200, JSON, b'{"msg": "success", "more": 1}'),
        (200, {**JSON, "Content-Type": "text/plain"}, b'{"msg": "success"}'),
        (200, {"Content-Type": "application/json"}, b'{"msg": "success"}'),
        (400, JSON, b'{"code": -1102}'),
        (429, JSON, b'{"code": -1003, "msg": ""}'),
        (402, JSON, b'{"code": -1102, "msg": ""}'),
        (500, JSON, b'{"code": -1000, "msg": ""}'),
    ],
)
def test_what_is_not_described_is_seen(status: int, headers: dict[str, str], body: bytes) -> None:
    path = "/papi/v1/auto-collection"
    response = requests.Response()
    response.request = requests.Request("POST", f"http://127.0.0.1{path}").prepare()
    response.status_code, response._content = status, body
    response.headers.update(headers)
    with pytest.raises(FailureGroup):
        API[path]["POST"].Case().validate_response(response, checks=CHECKS)


def test_the_description_is_what_the_program_serves(venue: Venue) -> None:
    assert requests.get(f"{venue.url}/openapi.json", timeout=20).json() == DESCRIBED


@SIGNED_API.parametrize()
@played(20)
def test_signed_calls(venue: Venue, case: Case[Any]) -> None:
    venue.check_played(case, Signed())


@pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="each of several workers made some of the calls")
def test_each_call_was_done_at_least_once(venue: Venue) -> None:
    """Or the calls above were refused too early to tell of anything."""
    described = {(method.upper(), path) for path, item in DESCRIBED["paths"].items() for method in item}
    assert venue.done == described - NEVER_DONE


@API.parametrize()
@played(6)
def test_calls_as_they_come(venue: Venue, case: Case[Any]) -> None:
    """Hardly any passes the gate."""
    venue.check_played(case, keyed)
