"""The history: what is listed, by filter and cursor; one record whole; the filtered set as a file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator

import pytest

from catchment.dashboard import history
from catchment.ledger.commands import AutoCollection, Command, Deposit, SetAutoRepay, Trigger
from catchment.writer import Answer
from tests.dashboard.browser import Answer as Page
from tests.dashboard.browser import Browser, Venues, open_venues


@pytest.fixture
def venues() -> Iterator[Venues]:
    with open_venues() as opened:
        yield opened


def done(venues: Venues, *commands: Command) -> None:
    """Commands of alice, a minute apart."""

    async def work() -> list[Answer]:
        answers = []
        for command in commands:
            venues.clock.advance(60_000)
            answers.append(await venues.venue.submit(alice, command))
        return answers

    alice = venues.account("alice")
    assert all(hasattr(answer, "record") for answer in venues.run(work()))


def numbers(page: Page) -> list[int]:
    return [int(number) for number in re.findall(r'<tr data-record="(\d+)"', page.text)]


def shown(venues: Venues, query: str = "", browser: Browser | None = None) -> Page:
    page = (browser or venues.browser("alice")).get(venues.path("alice", "history") + query)
    assert page.status == 200, page.text
    return page


def test_every_record_is_listed_with_what_it_moved(venues: Venues) -> None:
    done(venues, AutoCollection(Trigger.BUTTON), SetAutoRepay(True, Trigger.API))
    page = shown(venues)
    last = venues.records("alice")
    assert numbers(page) == list(range(last, 0, -1))
    assert "Auto repay switched" in page.text
    assert 'value="1234567.50000000"' in page.text
    assert '<td colspan="5"' not in page.text


def test_pages_follow_one_another(venues: Venues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SHOWN", 3)
    browser = venues.browser("alice")
    page, found = shown(venues, browser=browser), []
    while True:
        found += numbers(page)
        older = re.search(r'id="older" href="([^"]+)"', page.text)
        if older is None:
            break
        page = browser.get(older[1].replace("&amp;", "&"))
        assert 'id="newest"' in page.text
    assert found == list(range(venues.records("alice"), 0, -1))


def test_a_page_looks_at_so_many_records_and_can_be_asked_to_go_on(
    venues: Venues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LOOKED_AT", 4)
    done(venues, *[Deposit("USDT", 1)] * 6)
    page = shown(venues, "?kind=margin-adjustment")
    assert "None among the records looked through so far." in page.text
    assert 'id="older"' in page.text


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("?kind=auto-collection", {"auto-collection"}),
        ("?cause=BUTTON", {"auto-collection"}),
        ("?asset=USDC", set()),
        ("?asset=BTC&place=margin_locked", {"margin-adjustment"}),
        ("?place=outside&asset=USDT", {"deposit"}),
        ("?until=2020-01-01T00:00", set()),
        ("?since=2120-01-01T00:00:00", set()),
        ("?since=2020-01-01T00:00&kind=deposit", {"deposit"}),
    ],
)
def test_filters(venues: Venues, query: str, kinds: set[str]) -> None:
    done(venues, AutoCollection(Trigger.BUTTON))
    page = shown(venues, query)
    assert set(re.findall(r'data-kind="([\w-]+)"', page.text)) == kinds


def test_until_a_second_includes_all_of_it(venues: Venues) -> None:
    venues.clock.advance(999)
    done(venues, Deposit("USDC", 7))
    page = shown(venues, "?asset=USDC")
    moment = re.search(r'<time datetime="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)', page.text)
    assert moment is not None
    assert numbers(shown(venues, f"?asset=USDC&until={moment[1]}")) == numbers(page)


@pytest.mark.parametrize(
    "query", ["?kind=theft", "?asset=NOPE", "?place=moon", "?cause=WHIM", "?since=yesterday", "?until=2026-13-01"]
)
def test_what_no_field_offers_is_refused(venues: Venues, query: str) -> None:
    for page in ("history", "export/csv"):
        answer = venues.browser("alice").get(venues.path("alice", page) + query)
        assert answer.status == 400
        assert "is not valid" in answer.text


def test_one_record_with_its_entries_and_its_digest(venues: Venues) -> None:
    done(venues, AutoCollection(Trigger.API))
    number = venues.records("alice")
    (stored,) = venues.run(venues.venue.history(venues.account("alice"), limit=1))
    page = venues.browser("alice").get(venues.path("alice", f"records/{number}"))
    assert page.status == 200
    assert stored.record.digest.hex() in page.text
    assert len(re.findall(r'<tr data-asset="\w+" data-place', page.text)) == 2 * len(stored.record.transfers)
    assert 'id="before"' in page.text
    assert 'id="after"' not in page.text


@pytest.mark.parametrize("number", ["0", "999", "-1", "x", "9" * 30, "1e3"])
def test_a_record_that_is_not_there(venues: Venues, number: str) -> None:
    assert venues.browser("alice").get(venues.path("alice", f"records/{number}")).status == 404


def test_the_export_is_the_filtered_set(venues: Venues) -> None:
    done(venues, AutoCollection(Trigger.BUTTON), Deposit("USDT", 5))
    browser = venues.browser("alice")
    lines = browser.get(venues.path("alice", "export/jsonl"))
    assert lines.headers["content-disposition"].startswith("attachment")
    documents = [json.loads(line) for line in lines.text.splitlines()]
    assert [each["number"] for each in documents] == list(range(1, venues.records("alice") + 1))
    assert documents[-1]["command"] == {"type": "Deposit", "asset": "USDT", "amount": "0.00000005"}
    table = browser.get(venues.path("alice", "export/csv") + "?kind=auto-collection")
    rows = list(csv.DictReader(table.text.splitlines()))
    assert {row["kind"] for row in rows} == {"auto-collection"}
    assert len(rows) == 2 * len(documents[-2]["transfers"])
    assert browser.get(venues.path("alice", "export/xlsx")).status == 404


def test_another_account_is_not_told_apart_from_none(venues: Venues) -> None:
    bob = venues.browser("bob")
    for page in ("history", "records/1", "export/csv"):
        assert bob.get(venues.path("alice", page)).status == 404
    assert venues.browser("*").get(venues.path("alice", "history")).status == 200
