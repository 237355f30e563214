"""The operator's page of the venue: long work is begun in one process and followed in another, and bans are lifted."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from catchment.clock import FrozenClock
from catchment.limits import Counted
from catchment.venue import Venue
from tests.browser.conftest import Visit
from tests.browser.house import OPERATOR, Started, frozen, hire, records, settle
from tests.browser.visitor import Visitor

VENUE = "/dashboard/venue"


def test_every_account_is_collected_and_followed_from_another_process(tmp_path: Path, visit: Visit) -> None:
    here = Started(tmp_path)
    there = Started(tmp_path, store=here.store)
    try:
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
        expect(other.locator("#sums tr[data-asset=USDT] td[data-place=sum] data")).to_have_attribute(
            "value", "0.00000000"
        )
    finally:
        there.stop()
        here.stop()


def test_a_ban_is_lifted_on_the_page(visit: Visit) -> None:
    now = FrozenClock().now()
    with frozen(now) as house:
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


def test_an_account_is_found_from_the_list(visit: Visit) -> None:
    with frozen(FrozenClock().now()) as house:
        hire(house)
        account = settle(house, "alice")
        visitor = visit(house, OPERATOR)
        visitor.page.fill("#find", "alice")
        visitor.page.press("#find", "Enter")
        expect(visitor.page).to_have_url(re.compile(f"{account}/wallets$"))
        visitor.page.go_back()
        visitor.page.click("#accounts a")
        expect(visitor.page).to_have_url(re.compile(f"{account}/wallets$"))
