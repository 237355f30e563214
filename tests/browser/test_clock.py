"""What only time brings: a quota that is spent and comes back, and a venue that collects by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from playwright.sync_api import expect

from catchment.ledger.commands import Adjustment, AutoCollection, Reason, Trigger
from catchment.wallet import Wallet
from tests.browser.conftest import Freeze, Visit
from tests.browser.house import records, settle, submit

MINUTE_MS = 60_000
LATE = int(datetime(2026, 9, 21, 23, 30, tzinfo=UTC).timestamp()) * 1_000
"""Half an hour before midnight: a session outlasts it."""
PROFIT = Adjustment(Wallet.UM, "USDT", 100_000_000, Reason.REALIZED_PNL)


def test_a_spent_quota_says_when_it_comes_back_and_does(freeze: Freeze, visit: Visit) -> None:
    house = freeze(LATE)
    account = settle(house, "spender")
    submit(house, account, *[AutoCollection(Trigger.BUTTON)] * 9)
    visitor = visit(house, "spender")
    page = visitor.page
    submit(house, account, PROFIT)
    page.click("#aggregate")
    expect(page.locator("#left-button_day")).to_contain_text("0 of 10")
    page.click("#confirm-button")
    page.click("#done [data-close]")
    expect(page.locator("#gauge-button_day")).to_contain_text("10 / 10")
    expect(page.locator("#aggregate")).to_have_text("Aggregate again at 00:00 UTC")
    submit(house, account, PROFIT)
    before = len(records(house, account))
    page.click("#aggregate")
    expect(page.locator("#refused")).to_contain_text("It works again at 00:00 UTC.")
    expect(page.locator("#confirm-button")).to_have_count(0)
    assert len(records(house, account)) == before
    house.advance(30 * MINUTE_MS)
    page.reload()
    expect(page.locator("#aggregate")).to_have_text("Aggregate balances")
    page.click("#aggregate")
    page.click("#confirm-button")
    expect(page.locator("#done")).to_have_attribute("data-again", "no")
    page.click("#done [data-close]")
    expect(page.locator("#gauge-button_day")).to_contain_text("1 / 10")


def test_a_venue_that_collects_by_itself(freeze: Freeze, visit: Visit) -> None:
    house = freeze(LATE)
    account = settle(house, "absent", 'UM = { BNB = "1" }')
    visitor = visit(house, "absent")
    page = visitor.page
    visitor.is_live()
    expect(page.locator("#gauge-schedule_hour")).to_have_count(0)
    page.click("#switch-auto-collection")
    expect(page.locator("#switch-auto-collection")).to_have_attribute("aria-checked", "true")
    expect(page.locator("#gauge-schedule_hour")).to_contain_text("0 / ")
    submit(house, account, PROFIT)
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1.00000000")
    house.advance(4 * MINUTE_MS)
    assert AutoCollection(Trigger.SCHEDULE) not in [record.command for record in records(house, account)]
    house.advance(MINUTE_MS)
    expect(visitor.held("USDT", "free")).to_have_attribute("value", "1.00000000")
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "0.00000000")
    expect(page.locator("#last")).to_contain_text("by schedule, 1 transfer")
    expect(page.locator("#gauge-schedule_hour")).to_contain_text("1 / ")
    page.click("#switch-auto-collection")
    expect(page.locator("#switch-auto-collection")).to_have_attribute("aria-checked", "false")
    submit(house, account, PROFIT)
    house.advance(30 * MINUTE_MS)
    scheduled = [each for each in records(house, account) if each.command == AutoCollection(Trigger.SCHEDULE)]
    assert len(scheduled) == 1
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1.00000000")
