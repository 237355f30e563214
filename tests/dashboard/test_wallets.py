"""The wallets page: every number is the ledger's, to its last decimal, and each mark is where it belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest

from catchment.dashboard.flows import THIN, flows
from catchment.ledger.commands import Adjustment, AutoCollection, MarginAdjustment, MarginReason, Reason, Trigger
from catchment.wallet import Place, Wallet
from tests.dashboard.browser import Venues, open_venues


@pytest.fixture
def venues() -> Iterator[Venues]:
    with open_venues() as opened:
        yield opened


def rows(page: str) -> dict[str, dict[str, str]]:
    """By asset and place, what the table shows."""
    found = {}
    for asset, row in re.findall(r'<tr id="asset-(\w+)".*?>(.*?)</tr>', page, re.DOTALL):
        cells = re.findall(r'data-place="(\w+)">.*?<data class="[^"]*" value="([^"]*)">', row, re.DOTALL)
        found[asset] = dict(cells)
    return found


def said(html: str) -> str:
    """What a person reads, and copies."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def test_balances_to_the_last_decimal(venues: Venues) -> None:
    page = venues.browser("alice").get(venues.path("alice", "wallets")).text
    shown = rows(page)
    assert list(shown) == ["USDT", "BTC", "ETH", "BNB"]
    assert shown["USDT"] == {
        "um": "1234567.50000000",
        "cm": "0.00000000",
        "free": "10.00000000",
        "locked": "0.00000000",
        "borrowed": "0.00000000",
        "total": "1234577.50000000",
    }
    assert shown["BTC"]["locked"] == "0.10000000"
    assert shown["BTC"]["total"] == "0.85000000"
    assert shown["ETH"]["um"] == "-0.40000000"
    assert "1234567.50000000" in said(page), "what is copied has no separators"


def test_a_debt_counts_against_the_total(venues: Venues) -> None:
    venues.submit("bob", MarginAdjustment("USDC", 300, MarginReason.BORROW))
    venues.submit("bob", MarginAdjustment("USDC", 4, MarginReason.INTEREST))
    page = venues.browser("bob").get(venues.path("bob", "wallets")).text
    assert rows(page)["USDC"] == {
        "um": "7.00000000",
        "cm": "0.00000000",
        "free": "0.00000300",
        "locked": "0.00000000",
        "borrowed": "0.00000300",
        "total": "6.99999996",
    }
    assert "interest 0.00000004" in said(page)


def test_only_a_negative_balance_is_marked(venues: Venues) -> None:
    page = venues.browser("alice").get(venues.path("alice", "wallets")).text
    assert page.count('class="mark"') == 1
    assert re.search(r'id="asset-ETH".*?class="mark"', page, re.DOTALL)


def test_what_can_be_collected_alone_has_a_button(venues: Venues) -> None:
    page = venues.browser("alice").get(venues.path("alice", "wallets")).text
    assert re.findall(r'id="collect-(\w+)"', page) == ["USDT", "BTC"]


def test_the_flow_says_what_moves_and_what_stays(venues: Venues) -> None:
    page = venues.browser("alice").get(venues.path("alice", "wallets")).text
    listed = [said(item) for item in re.findall(r"<li data-asset=.*?</li>", page, re.DOTALL)]
    assert listed == [
        "UM USDT 1234567.50000000 → Cross Margin",
        "CM BTC 0.25000000 → Cross Margin",
        "CM BNB 1.00000000 → Cross Margin",
        "UM ETH -0.40000000 stays: negative: a collection does not repay",
        "UM BNB 3.00000000 stays: BNB in UM is never collected",
    ]


def test_widths_follow_worth_and_nothing_vanishes(venues: Venues) -> None:
    preview = venues.run(venues.venue.preview(venues.account("alice"), AutoCollection(Trigger.OPERATOR)))
    prices = {"USDT": 10**8, "BTC": 60_000 * 10**8}
    widths = {(flow.asset.name, flow.source): flow.width for flow in flows(preview, venues.venue.assets, prices)}
    assert widths[("USDT", Place.UM)] == 987
    assert set(widths.values()) - {987} == {THIN}
    assert {flow.width for flow in flows(preview, venues.venue.assets, {})} == {THIN}, "nothing has a price"


def test_gauges_and_the_last_collection(venues: Venues) -> None:
    browser = venues.browser("alice")
    path = venues.path("alice", "wallets")
    before = browser.get(path).text
    assert "No collection among the last records." in before
    venues.submit("alice", AutoCollection(Trigger.API))
    venues.rest.weights.charge(browser.address, 750, venues.clock.now())
    page = browser.get(path).text
    gauges = dict(re.findall(r'id="gauge-(\w+)">.*?<span class="right">(.*?)</span>', page, re.DOTALL))
    assert {name: said(text) for name, text in gauges.items()} == {
        "button_day": "0 / 10",
        "api_hour": "1 / 500",
        "bnb_10m": "0 / 10",
        "weight": "750 / 6000",
    }
    assert "by API, 3 transfers" in said(page)
    assert "2026-09-21 14:13:20 UTC" in said(page)


def test_the_piece_is_the_page_without_its_frame(venues: Venues) -> None:
    browser = venues.browser("alice")
    path = venues.path("alice", "wallets")
    piece = browser.get(path, hx_request="true").text
    assert piece.startswith('<div id="wallets"')
    assert "<html" not in piece
    assert piece.strip() in browser.get(path).text


def test_an_account_outside_portfolio_margin_is_told_so(venues: Venues) -> None:
    venues.run(venues.venue.add_account("plain", portfolio_margin=False))
    page = venues.browser("plain").get(venues.path("plain", "wallets"))
    assert page.status == 200
    assert "not a Portfolio Margin Account" in page.text


def test_a_spent_quota_says_when_it_works_again(venues: Venues) -> None:
    for _ in range(10):
        venues.submit("alice", AutoCollection(Trigger.BUTTON))
    venues.submit("alice", Adjustment(Wallet.UM, "USDT", 5, Reason.REALIZED_PNL))
    browser = venues.browser("alice")
    page = browser.get(venues.path("alice", "wallets")).text
    assert "Aggregate again at 00:00 UTC" in page
    assert "10 / 10" in said(page)
    assert "UM USDT 0.00000005 → Cross Margin" in said(page), "what would move is shown all the same"
    assert "It works again at 00:00 UTC." in browser.get(venues.path("alice", "collect")).text
    assert "Aggregate balances" in venues.browser("*").get(venues.path("alice", "wallets")).text
    venues.clock.advance(86_400_000)
    assert "Aggregate balances" in venues.browser("alice").get(venues.path("alice", "wallets")).text


def test_a_failing_store_is_said_and_hidden(venues: Venues, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(accounts: object) -> None:
        raise OSError("the disk at /somewhere/secret")

    browser = venues.browser("alice")
    path = venues.path("alice", "wallets")
    monkeypatch.setattr(venues.venue._store, "load", fail)
    answer = browser.get(path)
    assert answer.status == 500
    assert "An unknown error" in unescape(answer.text)
    assert "secret" not in answer.text


def test_text_from_outside_stays_text(venues: Venues) -> None:
    name = "<script>alert(1)</script>"
    venues.run(venues.venue.add_account(name))
    assert "<script>alert" not in venues.browser(name).get(venues.path(name, "wallets")).text
    assert "<script>alert" not in venues.browser("*").get("/dashboard/accounts").text
    page = venues.browser().post("/dashboard/sign-in", {"name": name, "password": "x" * 9}).text
    assert "<script>alert" not in page
