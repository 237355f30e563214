"""The last requests: an account's own, everybody's for the operator, one whole, and the record that it made."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from catchment.dashboard import requests
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.signature import sign_hmac
from tests.dashboard.browser import HERE, Venues, open_venues

COLLECT = "/papi/v1/auto-collection"
KEYS = {"alice": "alicealicealicealice", "bob": "bobbobbobbobbobbob"}


@pytest.fixture
def venues() -> Iterator[Venues]:
    with open_venues() as opened:
        for name, key in KEYS.items():
            made = opened.run(opened.venue.add_key(opened.account(name), api_key=key, secret="secret"))
            assert not isinstance(made, Rejection)
        yield opened


def asked(venues: Venues, name: str, method: str = "GET", path: str = "/papi/v1/balance", query: str = "") -> None:
    """One call of somebody, unsigned unless the query is signed, and kept."""

    async def call() -> None:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"x-mbx-apikey", KEYS.get(name, name).encode())],
            "client": (HERE, 40_000),
        }

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b""}

        async def send(_message: object) -> None: ...

        before = await venues.venue.newest_request()
        await venues.rest(scope, receive, send)
        while await venues.venue.newest_request() == before:
            await asyncio.sleep(0.01)

    venues.run(call())


def signed(venues: Venues) -> str:
    query = f"timestamp={venues.clock.now()}"
    return f"{query}&signature={sign_hmac(b'secret', query.encode())}"


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr data-request="(\d+)"', text)]


def test_an_account_sees_its_own_calls_and_the_operator_all(venues: Venues) -> None:
    asked(venues, "alice", query="timestamp=1&signature=abc")
    asked(venues, "bob")
    asked(venues, "nobodys-key-nobodys-key")
    alice = venues.browser("alice").get(venues.path("alice", "requests"))
    assert numbers(alice.text) == [1]
    assert "signature=…" in alice.text
    assert KEYS["alice"] not in alice.text
    everybody = venues.browser("*").get("/dashboard/requests")
    assert numbers(everybody.text) == [3, 2, 1]
    assert ">nobody's</td>" in everybody.text
    assert ">bob</td>" in everybody.text
    assert venues.browser("alice").get("/dashboard/requests").status == 404
    assert venues.browser("alice").get("/dashboard/requests/1").status == 404


def test_a_call_of_another_is_not_told_apart_from_none(venues: Venues) -> None:
    asked(venues, "bob")
    alice = venues.browser("alice")
    assert alice.get(venues.path("alice", "requests/1")).status == 404
    assert alice.get(venues.path("bob", "requests/1")).status == 404
    assert venues.browser("bob").get(venues.path("bob", "requests/1")).status == 200
    assert venues.browser("*").get("/dashboard/requests/1").status == 200


@pytest.mark.parametrize("number", ["0", "99", "x", "-1", "9" * 30])
def test_a_call_that_is_not_there(venues: Venues, number: str) -> None:
    asked(venues, "alice")
    assert venues.browser("alice").get(venues.path("alice", f"requests/{number}")).status == 404


def test_a_call_leads_to_its_record_and_back(venues: Venues) -> None:
    asked(venues, "alice", "POST", COLLECT, signed(venues))
    browser = venues.browser("alice")
    record = venues.records("alice")
    call = browser.get(venues.path("alice", "requests/1"))
    made = re.search(r'id="made" href="([^"]+)"', call.text)
    assert made is not None
    page = browser.get(made[1])
    assert f"Record {record}" in page.text
    assert f'href="{venues.path("alice", "requests/1")}"' in page.text
    before = browser.get(venues.path("alice", f"records/{record - 1}"))
    assert '<dd id="behind">–</dd>' in before.text, "nobody asked for it over the API"


def test_refused_ones_alone_and_by_kind(venues: Venues) -> None:
    for _ in range(2):
        asked(venues, "alice", query="timestamp=1")
    asked(venues, "alice", query=signed(venues))
    browser = venues.browser("alice")
    page = browser.get(venues.path("alice", "requests"))
    assert numbers(page.text) == [3, 2, 1]
    assert re.findall(r'<tr data-code="(-?\d+)"><td class="right">(\d+)', page.text) == [("-1021", "2")]
    assert numbers(browser.get(venues.path("alice", "requests") + "?only=refused").text) == [2, 1]


def test_pages_follow_one_another(venues: Venues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "SHOWN", 2)
    for _ in range(5):
        asked(venues, "alice")
    browser, found = venues.browser("alice"), []
    address = venues.path("alice", "requests")
    while True:
        page = browser.get(address)
        found += numbers(page.text)
        older = re.search(r'id="older" href="([^"]+)"', page.text)
        if older is None:
            break
        address = older[1].replace("&amp;", "&")
    assert found == [5, 4, 3, 2, 1]


def test_what_was_left_out_is_said(venues: Venues, monkeypatch: pytest.MonkeyPatch) -> None:
    async def some(_account: AccountId | None, **_window: int) -> object:
        page = await whole(_account, **_window)
        return type(page)(page.answered, 41)

    whole = venues.venue.requests
    monkeypatch.setattr(venues.venue, "requests", some)
    page = venues.browser("alice").get(venues.path("alice", "requests"))
    assert "41 more, of anybody, came too fast to be kept." in page.text
