"""The operator's page of the venue: long work is begun in one process and followed in another, and bans are lifted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from catchment.clock import FrozenClock
from catchment.ledger.commands import AutoCollection, Trigger
from catchment.limits import Counted
from catchment.venue import Venue
from tests.browser.conftest import Freeze, Visit
from tests.browser.house import OPERATOR, Started, hire, records, settle
from tests.browser.visitor import Visitor

VENUE = "/dashboard/venue"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Started, Started]]:
    """Two servers on one store; they stay until their visitors have left."""
    here = Started(tmp_path)
    try:
        there = Started(tmp_path, store=here.store)
        yield here, there
        there.stop()
    finally:
        here.stop()


def test_every_account_is_collected_and_followed_from_another_process(
    two: tuple[Started, Started], visit: Visit
) -> None:
    here, there = two
    hire(here)
    accounts = [settle(here, name) for name in ("alice", "bob")]
    before = [len(records(here, account)) for account in accounts]
    page, other = visit(here, OPERATOR).page, visit(there, OPERATOR).page
    page.goto(VENUE)
    page.click("#collect-all")
    expect(page.locator("#dialog")).to_contain_text("2 accounts")
    assert [len(records(here, account)) for account in accounts] == before, "only asked"
    page.click("#confirm-button")
    expect(page.locator("#collection-state")).to_have_attribute("data-state", "done")
    other.goto(VENUE)
    moved = other.locator("#moved-by-asset tr[data-asset=USDT] data")
    expect(moved).to_have_attribute("value", "2469135.00000000")
    assert [len(records(here, account)) for account in accounts] == [count + 1 for count in before]
    other.click("#add-up")
    expect(other.locator("#sound")).to_be_visible()
    expect(other.locator("#sums tr[data-asset=USDT] td[data-place=sum] data")).to_have_attribute("value", "0.00000000")


def test_a_double_click_collects_everybody_once(freeze: Freeze, visit: Visit) -> None:
    house = freeze(FrozenClock().now())
    hire(house)
    accounts = [settle(house, name) for name in ("alice", "bob")]
    page = visit(house, OPERATOR).page
    page.goto(VENUE)
    page.click("#collect-all")
    page.dblclick("#confirm-button")
    expect(page.locator("#collection-state")).to_have_attribute("data-state", "done")
    for account in accounts:
        commands = [record.command for record in records(house, account)]
        assert commands.count(AutoCollection(Trigger.OPERATOR)) == 1


def test_a_ban_is_lifted_on_the_page(freeze: Freeze, visit: Visit) -> None:
    now = FrozenClock().now()
    house = freeze(now)
    hire(house)

    async def ban(venue: Venue) -> None:
        venue.weights.learn(Counted("192.0.2.9", 0, 0, 0, now + 120_000, 1), now)

    house.do(ban)
    visitor: Visitor = visit(house, OPERATOR)
    visitor.page.goto(VENUE)
    row = visitor.page.locator("#bans tr[data-address='192.0.2.9']")
    expect(row).to_have_text(re.compile("2"))
    row.get_by_role("button").click()
    expect(visitor.page.locator("#no-bans")).to_be_visible()


def test_an_account_is_found_from_the_list(freeze: Freeze, visit: Visit) -> None:
    house = freeze(FrozenClock().now())
    hire(house)
    account = settle(house, "alice")
    visitor = visit(house, OPERATOR)
    visitor.page.fill("#find", "alice")
    visitor.page.press("#find", "Enter")
    expect(visitor.page).to_have_url(re.compile(f"{account}/wallets$"))
    visitor.page.go_back()
    visitor.page.click("#accounts a")
    expect(visitor.page).to_have_url(re.compile(f"{account}/wallets$"))
