"""What the operator does to the whole venue: collect everybody, add everything up, and lift a ban."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from catchment.clock import FrozenClock
from catchment.ledger.commands import AutoCollection, Trigger
from tests.browser.conftest import Visit
from tests.browser.house import OPERATOR, frozen, records, settle
from tests.browser.pages import BANNED, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with frozen(FrozenClock().now()) as house:
        yield Stage(house)


def test_everybody_is_collected_once(stage: Stage, visit: Visit) -> None:
    house = stage.house
    more = [settle(house, name, 'UM = { USDC = "7" }') for name in ("carol", "dave")]
    visitor = visit(house, OPERATOR)
    page = visitor.page
    page.goto("/dashboard/venue")
    page.click("#collect-all")
    expect(page.locator("#dialog")).to_contain_text("4 accounts")
    page.dblclick("#confirm-button")
    expect(page.locator("#collection-state")).to_have_attribute("data-state", "done")
    expect(page.locator("#tally dd").first).to_have_text("4")
    moved = page.locator("#collection tr[data-asset=USDC] data")
    expect(moved).to_have_attribute("value", "21.00000000")
    for account in (stage.account, *more):
        commands = [record.command for record in records(house, account)]
        assert commands.count(AutoCollection(Trigger.OPERATOR)) == 1
    visitor.leave()


def test_what_all_accounts_hold(stage: Stage, visit: Visit) -> None:
    visitor = visit(stage.house, OPERATOR)
    page = visitor.page
    page.goto("/dashboard/venue")
    page.click("#add-up")
    expect(page.locator("#sound")).to_be_visible()
    expect(page.locator("#sums tr[data-asset=USDC] td[data-place=um] data")).to_have_attribute("value", "7.00000000")
    for total in page.locator("#sums td[data-place=sum] data").all():
        expect(total).to_have_attribute("value", "0.00000000")
    visitor.leave()


def test_a_ban_is_lifted(stage: Stage, visit: Visit) -> None:
    visitor = visit(stage.house, OPERATOR)
    page = visitor.page
    page.goto("/dashboard/venue")
    page.click(f"#bans tr[data-address='{BANNED}'] button")
    expect(page.locator("#no-bans")).to_be_visible()
    visitor.leave()
