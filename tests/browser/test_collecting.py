"""What a person does with the wallets: preview, confirm, and see what happened; money moves once."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    BnbTransfer,
    Command,
    Deposit,
    Reason,
    RepayNegative,
    SetAutoRepay,
    Side,
    Trigger,
)
from catchment.wallet import Wallet
from tests.browser.conftest import Visit
from tests.browser.house import Started, records, settle, submit
from tests.browser.visitor import Held

COLLECTED = AutoCollection(Trigger.BUTTON)


def commands(house: Started, account: str, *kinds: type[Command]) -> list[Command]:
    """The commands of these kinds in an account's journal."""
    return [record.command for record in records(house, account) if isinstance(record.command, kinds)]


def amounts(rows: Locator) -> dict[str, str]:
    """By asset the exact amounts of a table of moves, once it is there."""
    expect(rows.first).to_be_visible()
    cells = "rows => rows.map(row => [row.dataset.asset + ' ' + (row.dataset.from ?? row.dataset.in ?? row.dataset.to),"
    found: list[tuple[str, str]] = rows.evaluate_all(cells + " row.querySelector('data').value])")
    return dict(found)


def test_preview_confirm_and_a_second_press(house: Started, visit: Visit) -> None:
    account = settle(house, "aggregate")
    visitor = visit(house, "aggregate")
    page = visitor.page
    visitor.is_live()
    expect(page.locator("#sankey svg")).to_be_visible()
    before = len(records(house, account))
    page.click("#aggregate")
    expect(page.locator("#dialog")).to_be_visible()
    assert amounts(page.locator("#moves tbody tr")) == {
        "USDT um": "1234567.50000000",
        "BTC cm": "0.25000000",
        "BNB cm": "1.00000000",
    }
    assert amounts(page.locator("#stays tbody tr")) == {"ETH um": "-0.40000000", "BNB um": "3.00000000"}
    expect(page.locator("#left-button_day")).to_contain_text("9 of 10")
    assert len(records(house, account)) == before
    page.click("#confirm-button")
    done = page.locator("#done")
    expect(done).to_have_attribute("data-number", str(before + 1))
    expect(done).to_have_attribute("data-again", "no")
    after = done.locator("tr[data-asset=USDT] td[data-is=after] data")
    assert after.evaluate_all("each => each.map(one => one.value)") == ["0.00000000", "1234577.50000000"]
    page.click("#done [data-close]")
    expect(page.locator("#dialog")).to_be_hidden()
    expect(visitor.held("USDT", "free")).to_have_attribute("value", "1234577.50000000")
    expect(visitor.held("BNB", "um")).to_have_attribute("value", "3.00000000")
    expect(page.locator("#gauge-button_day")).to_contain_text("1 / 10")
    expect(page.locator("#last")).to_contain_text(f"by the button, 3 transfers (record {before + 1})")
    page.click("#aggregate")
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator("#confirm-button")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    assert commands(house, account, AutoCollection) == [COLLECTED]


def test_one_asset_from_its_row(house: Started, visit: Visit) -> None:
    account = settle(house, "one")
    visitor = visit(house, "one")
    page = visitor.page
    expect(page.locator("#collect-BNB")).to_have_count(0)  # only with all the others
    page.click("#collect-BTC")
    assert amounts(page.locator("#moves tbody tr")) == {"BTC cm": "0.25000000"}
    page.click("#confirm-button")
    expect(page.locator("#done")).to_have_attribute("data-kind", "asset-collection")
    page.click("#done [data-close]")
    expect(visitor.held("BTC", "free")).to_have_attribute("value", "0.75000000")
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "1234567.50000000")
    assert commands(house, account, AssetCollection) == [AssetCollection("BTC", Trigger.BUTTON)]


def test_bnb_goes_both_ways(house: Started, visit: Visit) -> None:
    account = settle(house, "bnb")
    visitor = visit(house, "bnb")
    page = visitor.page

    def transfer(side: str, amount: str) -> None:
        page.click("#open-bnb")
        page.check(f"#bnb input[value={side}]")
        page.fill("#amount", amount)
        page.click("#confirm-button")

    transfer("FROM_UM", "2.5")
    expect(page.locator("#done")).to_have_attribute("data-kind", "bnb-transfer")
    page.click("#done [data-close]")
    expect(visitor.held("BNB", "um")).to_have_attribute("value", "0.50000000")
    expect(visitor.held("BNB", "free")).to_have_attribute("value", "2.50000000")
    transfer("TO_UM", "0.00000001")
    page.click("#done [data-close]")
    expect(visitor.held("BNB", "um")).to_have_attribute("value", "0.50000001")
    transfer("TO_UM", "7")
    expect(page.locator("#refused")).to_have_attribute("data-name", "BALANCE_NOT_SUFFICIENT")
    expect(page.locator("#amount")).to_have_value("7")
    expect(page.locator("#left-bnb_10m")).to_contain_text("8 of 10 left")
    visitor.faulted("400")
    sides = [command.side for command in commands(house, account, BnbTransfer) if isinstance(command, BnbTransfer)]
    assert sides == [Side.FROM_UM, Side.TO_UM]


def test_repaying_and_the_switch(house: Started, visit: Visit) -> None:
    account = settle(house, "repay")
    visitor = visit(house, "repay")
    page = visitor.page
    visitor.is_live()
    page.click("#open-repay")
    expect(page.locator("#nothing")).to_be_visible()
    page.click("#dialog [data-close]")
    submit(house, account, Deposit("ETH", 30_000_000))
    expect(visitor.held("ETH", "free")).to_have_attribute("value", "0.30000000")
    page.click("#open-repay")
    assert amounts(page.locator("#moves tbody tr")) == {"ETH um": "0.30000000"}
    page.click("#confirm-button")
    page.click("#done [data-close]")
    expect(visitor.held("ETH", "um")).to_have_attribute("value", "-0.10000000")
    page.click("#switch-auto-repay")
    expect(page.locator("#switch-auto-repay")).to_have_attribute("aria-checked", "true")
    page.click("#switch-auto-repay")
    expect(page.locator("#switch-auto-repay")).to_have_attribute("aria-checked", "false")
    assert commands(house, account, RepayNegative, SetAutoRepay) == [
        RepayNegative(Trigger.BUTTON),
        SetAutoRepay(True, Trigger.BUTTON),
        SetAutoRepay(False, Trigger.BUTTON),
    ]


@pytest.mark.parametrize("asset", ["", "USDT"])
def test_a_double_click_moves_money_once(house: Started, visit: Visit, asset: str) -> None:
    account = settle(house, f"double{asset}")
    visitor = visit(house, f"double{asset}")
    page = visitor.page
    page.click(f"#collect-{asset}" if asset else "#aggregate")
    page.dblclick("#confirm-button")
    expect(page.locator("#done")).to_be_visible()
    page.click("#done [data-close]")
    expect(visitor.held("USDT", "um")).to_have_attribute("value", "0.00000000")
    assert len(commands(house, account, AutoCollection, AssetCollection)) == 1


def test_two_tabs_that_press_at_once_move_money_once(house: Started, visit: Visit) -> None:
    account = settle(house, "tabs")
    visitor = visit(house, "tabs")
    tabs = [visitor.page, visitor.another_tab("wallets")]
    for tab in tabs:
        tab.click("#aggregate")
        expect(tab.locator("#confirm-button")).to_be_visible()
    held = [Held(tab, "**/collect", "POST") for tab in tabs]
    for tab in tabs:
        tab.click("#confirm-button")
    for route in [each.wait() for each in held]:
        route.continue_()
    for tab in tabs:
        expect(tab.locator("#done")).to_be_visible()
    assert sorted(tab.locator("#done").get_attribute("data-again") or "" for tab in tabs) == ["no", "yes"]
    assert len({tab.locator("#done").get_attribute("data-number") for tab in tabs}) == 1
    assert commands(house, account, AutoCollection) == [COLLECTED]


def test_what_came_after_the_preview_is_collected_too(house: Started, visit: Visit) -> None:
    """What is positive is discovered inside the commit; the page then shows what was."""
    account = settle(house, "meanwhile")
    visitor = visit(house, "meanwhile")
    page = visitor.page
    page.click("#collect-USDT")
    expect(page.locator("#confirm-button")).to_be_visible()
    submit(house, account, Adjustment(Wallet.UM, "USDT", 50_000_000, Reason.REALIZED_PNL))
    page.click("#confirm-button")
    moved = page.locator("#done tr[data-asset=USDT] td[data-is=amount] data")
    expect(moved).to_have_attribute("value", "1234568.00000000")
