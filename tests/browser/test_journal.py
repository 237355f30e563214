"""Looking back: the history and its files, a record, the request behind it, and the requests as they come."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.house import Started, call, records, settle

ONE = "/papi/v1/asset-collection"


def kept(page: Page, button: str, folder: Path) -> str:
    """The text of a file that a button saves."""
    with page.expect_download() as download:
        page.click(button)
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file.read_text("utf-8")


def test_filter_and_export(house: Started, visit: Visit, tmp_path: Path) -> None:
    account = settle(house, "looking")
    for asset in ("BTC", "USDT"):
        assert call(house, "looking", "POST", ONE, asset=asset) == 200
    written = records(house, account)
    visitor = visit(house, "looking")
    page = visitor.go("history")
    rows = page.locator("#history tbody tr")
    expect(rows).to_have_count(len(written))
    page.select_option("#filter-kind", "asset-collection")
    page.select_option("#filter-asset", "BTC")
    page.select_option("#filter-cause", "API")
    page.click("#filter-show")
    expect(rows).to_have_count(1)
    expect(rows.locator("data")).to_have_attribute("value", "0.25000000")
    number = rows.get_attribute("data-record")
    table = list(csv.DictReader(kept(page, "#export-csv", tmp_path).splitlines()))
    assert [(row["number"], row["asset"], row["place"], row["amount"]) for row in table] == [
        (number, "BTC", "cm", "-0.25000000"),
        (number, "BTC", "margin_free", "0.25000000"),
    ]
    (line,) = kept(page, "#export-jsonl", tmp_path).splitlines()
    assert str(json.loads(line)["number"]) == number
    page.select_option("#filter-asset", "ETH")
    page.click("#filter-show")
    expect(page.locator("#none")).to_be_visible()


def test_a_record_leads_to_its_request_and_back(house: Started, visit: Visit) -> None:
    account = settle(house, "behind")
    visitor = visit(house, "behind")
    page = visitor.go("requests")
    expect(page.locator("#none")).to_be_visible()
    assert call(house, "behind", "POST", ONE, asset="BTC") == 200
    expect(page.locator("#requests tr[data-request]")).to_have_count(1)
    made = records(house, account)[-1]
    visitor.go("history")
    page.click(f"#history tr[data-record='{made.number}'] a")
    expect(page.locator("#digest")).to_have_text(made.digest.hex())
    entries = page.locator("#entries tbody tr")
    expect(entries).to_have_count(2)
    page.click("#behind a")
    expect(page.locator("#request")).to_contain_text(f"POST {ONE}")
    expect(page.locator("#request")).to_contain_text("BTC")
    signature = page.locator("#request dt:has-text('signature') + dd")
    expect(signature).to_have_text("…")
    page.click("#made")
    expect(page.locator("#digest")).to_have_text(made.digest.hex())
    page.click("#before")
    expect(page.locator("#digest")).to_have_text(records(house, account)[-2].digest.hex())


def test_requests_come_by_themselves(house: Started, visit: Visit) -> None:
    settle(house, "calling")
    visitor = visit(house, "calling")
    page = visitor.go("requests")
    visitor.is_live()
    rows = page.locator("#requests tr[data-request]")
    assert call(house, "calling", "GET", "/papi/v1/balance") == 200
    expect(rows).to_have_count(1)
    for _ in range(2):
        assert call(house, "calling", "POST", ONE, asset="BNB") == 400
    expect(rows).to_have_count(3)
    expect(rows.first).to_have_class("bad")
    page.click("#mistakes summary")
    expect(page.locator("#mistakes tbody tr td").first).to_have_text("2")
    page.click("#show-refused")
    expect(rows).to_have_count(2)
    assert call(house, "calling", "GET", "/papi/v1/balance") == 200
    assert call(house, "calling", "POST", ONE, asset="BNB") == 400
    expect(rows).to_have_count(3)
    page.click("#show-all")
    expect(rows).to_have_count(5)
