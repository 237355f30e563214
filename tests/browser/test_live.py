"""What others do is seen at once, through whichever server; and a page survives the loss of its connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from catchment.ledger.commands import Adjustment, Reason
from catchment.wallet import Wallet
from tests.browser.conftest import Visit
from tests.browser.house import Started, call, records, settle, submit
from tests.browser.visitor import Held, Visitor

COLLECT = "/papi/v1/auto-collection"
LOST = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|htmx:(sendError|afterRequest)"
PROFIT = Adjustment(Wallet.UM, "USDT", 100_000_000, Reason.REALIZED_PNL)


def test_a_client_collects_at_another_server(house: Started, visit: Visit, tmp_path: Path) -> None:
    settle(house, "watched")
    visitor = visit(house, "watched")
    page = visitor.page
    visitor.is_live()
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234567.50000000")
    other = Started(tmp_path, store=house.store)
    try:
        assert other.url != house.url
        assert call(other, "watched", "POST", COLLECT) == 200
        expect(visitor.held("USDT", "um")).to_have_attribute("value", "0.00000000")
        expect(visitor.held("USDT", "free")).to_have_attribute("value", "1234577.50000000")
        expect(page.locator("#last")).to_contain_text("by API, 3 transfers")
        expect(page.locator("#gauge-api_hour")).to_contain_text("1 / 500")
    finally:
        other.stop()


def test_the_weight_of_this_address_is_a_live_gauge(house: Started, visit: Visit) -> None:
    settle(house, "weighed")
    visitor = visit(house, "weighed")
    visitor.is_live()
    gauge = visitor.page.locator("#gauge-weight [role=meter]")
    before = gauge.get_attribute("aria-valuenow")
    assert call(house, "weighed", "POST", "/papi/v1/asset-collection", asset="BTC") == 200
    expect(gauge).not_to_have_attribute("aria-valuenow", before or "")


def test_the_history_goes_on_while_it_is_read(house: Started, visit: Visit) -> None:
    account = settle(house, "read")
    visitor = visit(house, "read")
    page = visitor.go("history")
    visitor.is_live()
    submit(house, account, PROFIT)
    expect(page.locator("#history tbody tr").first).to_have_attribute(
        "data-record", str(records(house, account)[-1].number)
    )


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Started]:
    """A program to stop and start again; it stays until its visitors have left."""
    started = Started(tmp_path)
    yield started
    started.stop()


def test_a_page_recovers_when_its_server_comes_back(restarted: Started, visit: Visit) -> None:
    house = restarted
    account = settle(house, "patient")
    visitor = visit(house, "patient")
    history = visitor.another_tab("history")
    page = visitor.page
    for tab in (page, history):
        visitor.is_live(tab)
    house.stop()
    for tab in (page, history):
        expect(tab.locator("#live")).to_have_attribute("data-state", "off")
    submit(house, account, PROFIT)
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234567.50000000")
    house.start_again()
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234568.50000000")
    newest = str(records(house, account)[-1].number)
    expect(history.locator("#history tbody tr").first).to_have_attribute("data-record", newest)
    for tab in (page, history):
        visitor.is_live(tab)
    page.click("#aggregate")
    page.click("#confirm-button")
    expect(page.locator("#done")).to_be_visible()
    visitor.forgive(LOST)


def test_a_press_that_reaches_nobody_moves_nothing(restarted: Started, visit: Visit) -> None:
    house = restarted
    account = settle(house, "unlucky")
    visitor = visit(house, "unlucky")
    page = visitor.page
    visitor.is_live()
    page.click("#aggregate")
    expect(page.locator("#confirm-button")).to_be_visible()
    before = len(records(house, account))
    house.stop()
    page.click("#confirm-button")
    expect(page.locator("#unanswered")).to_contain_text("Try again")
    assert len(records(house, account)) == before
    house.start_again()
    page.click("#confirm-button")
    expect(page.locator("#done")).to_have_attribute("data-again", "no")
    assert len(records(house, account)) == before + 1
    visitor.faulted(LOST)


SEEN = """window.EventSource = class extends window.EventSource {
    constructor(address) { super(address); window.source = this; }
};"""
NEXT = "() => { window.told = new Promise(told => source.addEventListener('record', () => told(), {once: true})); }"


def happens(visitor: Visitor) -> None:
    """Something, of which the page has been told when this is over."""
    visitor.page.evaluate(NEXT)
    submit(visitor.house, visitor.account, PROFIT)
    visitor.page.evaluate("told")


def watching(house: Started, visit: Visit, name: str) -> Visitor:
    """Somebody with the wallets open, whose clock can be put forward."""
    settle(house, name)
    visitor = visit(house)
    visitor.page.add_init_script(SEEN)
    visitor.page.clock.install()
    visitor.sign_in(name)
    visitor.is_live()
    return visitor


def test_what_happens_while_a_page_asks_is_seen_too(house: Started, visit: Visit) -> None:
    """The answer to what the first record made the page ask is older than the second record."""
    visitor = watching(house, visit, "busy")
    page = visitor.page
    held = Held(page, "**/wallets")
    happens(visitor)
    old = held.wait().fetch()
    page.clock.fast_forward(1_000)
    happens(visitor)
    held.wait().fulfill(response=old)
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234568.50000000")
    page.clock.fast_forward(1_000)
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234569.50000000", timeout=10_000)


def test_a_press_is_not_lost_when_the_page_changes_under_it(house: Started, visit: Visit) -> None:
    visitor = watching(house, visit, "slow")
    page = visitor.page
    page.hover("#collect-USDT")
    page.mouse.down()
    with page.expect_response("**/wallets"):
        happens(visitor)
    page.mouse.up()
    expect(page.locator("#moves")).to_be_visible(timeout=10_000)
    page.keyboard.press("Escape")
    page.clock.fast_forward(1_000)
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234568.50000000", timeout=10_000)


def test_a_dialog_comes_although_the_page_has_changed_meanwhile(house: Started, visit: Visit) -> None:
    visitor = watching(house, visit, "asking")
    page = visitor.page
    held = Held(page, "**/collect*")
    page.click("#collect-USDT")
    held.wait()
    happens(visitor)
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234568.50000000")
    held.wait().continue_()
    expect(page.locator("#moves")).to_be_visible(timeout=10_000)
