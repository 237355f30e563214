"""Downloads: an id, a link, a gzipped CSV that is the same whoever makes it, and how often in a month."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catchment.papi.download import COLUMNS, PATH, Kind
from catchment.store.base import StoreFailed
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE, BOB = plain("alice"), plain("bob")
PEOPLE = """
[[account]]
name = "alice"
key = [{ api_key = "alice", secret = "alice-secret" }]
UM = { USDT = "330.25", ETH = "-2" }
CM = { BTC = "1" }
[[account]]
name = "bob"
key = [{ api_key = "bob", secret = "bob-secret" }]
"""
DAY_MS = 86_400_000
WHOLE = f"startTime={NOW - DAY_MS}&endTime={NOW + DAY_MS}"


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def asked(desk: Desk, kind: str = "income", window: str = WHOLE) -> str:
    found: str = desk.get(f"um/{kind}/asyn", ALICE, window).json["downloadId"]
    return found


def link(desk: Desk, number: str, kind: str = "income") -> dict[str, Any]:
    found: dict[str, Any] = desk.get(f"um/{kind}/asyn/id", ALICE, f"downloadId={number}").json
    return found


def fetched(desk: Desk, url: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body: pieces put together. The link alone is enough, no key is sent."""
    path = url[url.index("/papi/") :]
    start, *pieces = desk.run(desk.messages(method, path))
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(piece["body"] for piece in pieces)


def rows(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(gzip.decompress(body).decode(), newline="")))


def test_from_an_id_to_the_file(desk: Desk) -> None:
    answer = desk.get("um/income/asyn", ALICE, WHOLE).json
    assert answer == {"avgCostTimestampOfLast30d": 0, "downloadId": answer["downloadId"]}
    assert len(answer["downloadId"]) == 18
    assert answer["downloadId"].isdigit()
    found = link(desk, answer["downloadId"])
    url = found.pop("url")
    assert found == {
        "downloadId": answer["downloadId"],
        "status": "completed",
        "s3Link": None,
        "notified": True,
        "expirationTimestamp": NOW + 7 * DAY_MS,
        "isExpired": None,
    }
    assert url.startswith(f"http://localhost{PATH}")
    status, headers, body = fetched(desk, url)
    assert (status, headers["content-type"]) == (200, "application/gzip")
    assert "attachment" in headers["content-disposition"]
    assert rows(body) == [
        list(COLUMNS[Kind.INCOME]),
        ["", "REALIZED_PNL", "330.25000000", "USDT", "REALIZED_PNL", str(NOW), "1000000", ""],
        ["", "REALIZED_PNL", "-2.00000000", "ETH", "REALIZED_PNL", str(NOW), "2000000", ""],
    ]


def test_the_file_is_the_income_history_of_the_same_window(desk: Desk) -> None:
    for _ in range(3):
        desk.clock.advance(1_000)
        assert desk.post("asset-collection", ALICE, "asset=USDT&amount=1&futureType=UM").status == 200
    window = f"startTime={NOW + 1_000}&endTime={NOW + 2_000}"
    told = desk.get("um/income", ALICE, window).json
    _, _, body = fetched(desk, link(desk, asked(desk, window=window))["url"])
    heading, *found = rows(body)
    assert [dict(zip(heading, row, strict=True)) for row in found] == [
        {name: str(value) for name, value in row.items()} for row in told
    ]
    assert len(found) == 2


def test_a_file_of_many_pages_is_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catchment.papi.download.PAGE", 2)
    for _ in range(4):
        assert desk.post("asset-collection", ALICE, "asset=USDT&amount=1&futureType=UM").status == 200
    _, _, body = fetched(desk, link(desk, asked(desk))["url"])
    assert [row[2] for row in rows(body)[1:]] == ["330.25000000", "-2.00000000", *["-1.00000000"] * 4]


def test_what_came_after_the_id_was_asked_for_is_not_in_the_file(desk: Desk) -> None:
    url = link(desk, asked(desk))["url"]
    before = fetched(desk, url)[2]
    assert desk.post("auto-collection", ALICE).status == 200
    assert fetched(desk, url)[2] == before, "byte for byte, whenever it is made"


@pytest.mark.parametrize("kind", ["order", "trade"])
def test_without_a_matching_engine_there_is_the_heading_alone(desk: Desk, kind: str) -> None:
    _, _, body = fetched(desk, link(desk, asked(desk, kind), kind)["url"])
    assert rows(body) == [list(COLUMNS[Kind(kind)])]


@pytest.mark.parametrize(("kind", "limit"), [("income", 5), ("order", 10), ("trade", 5)])
def test_uses_of_a_month(desk: Desk, kind: str, limit: int) -> None:
    numbers = [asked(desk, kind) for _ in range(limit)]
    assert len(set(numbers)) == limit
    over = desk.get(f"um/{kind}/asyn", ALICE, WHOLE)
    assert over.outcome == (429, -1003)
    assert over.json["msg"] == f"Too many requests; current limit is {limit} requests per month."
    assert [link(desk, number, kind)["downloadId"] for number in numbers] == numbers
    assert desk.get(f"um/{kind}/asyn", BOB, WHOLE).status == 200, "another account has its own"
    wait = over.retry_after
    assert wait is not None
    desk.clock.advance(wait * 1_000 - 1)
    assert desk.get(f"um/{kind}/asyn", ALICE, WHOLE).status == 429
    desk.clock.advance(1)
    assert desk.get(f"um/{kind}/asyn", ALICE, WHOLE).status == 200, "a month of the calendar begins anew"


def test_a_month_ends_with_the_year_too(desk: Desk) -> None:
    desk.clock.advance(1_798_761_599_999 - NOW)  # the last millisecond of 2026
    for _ in range(5):
        asked(desk)
    assert desk.get("um/income/asyn", ALICE, WHOLE).retry_after == 1
    desk.clock.advance(1)
    assert asked(desk)[1:7] == "202701"


def test_links_expire(desk: Desk) -> None:
    number = asked(desk)
    url = link(desk, number)["url"]
    desk.clock.advance(7 * DAY_MS - 1)
    assert fetched(desk, url)[0] == 200
    assert link(desk, number)["url"] == url
    desk.clock.advance(1)
    assert fetched(desk, url)[0] == 404
    found = link(desk, number)
    assert (found["url"], found["isExpired"]) == ("", "true"), "the use is remembered until its month ends"


def test_an_id_is_the_accounts_and_of_its_kind(desk: Desk) -> None:
    number = asked(desk)
    for path, key, text in (
        ("um/income/asyn/id", BOB, number),
        ("um/order/asyn/id", ALICE, number),
        ("um/income/asyn/id", ALICE, number[:-1] + str((int(number[-1]) + 1) % 10)),
        ("um/income/asyn/id", ALICE, number[:-1]),
        ("um/income/asyn/id", ALICE, "x" * 18),
        ("um/income/asyn/id", ALICE, "\u0661" * 18),
    ):
        answer = desk.get(path, key, {"downloadId": text})
        assert answer.outcome == (400, -1130)


@pytest.mark.parametrize(
    ("window", "code"),
    [
        ("", -1102),
        ("startTime=1", -1102),
        ("endTime=1", -1102),
        ("startTime=2&endTime=1", -1023),
        (f"startTime=0&endTime={366 * DAY_MS + 1}", -4165),
        ("startTime=x&endTime=1", -1100),
    ],
)
def test_a_refused_window_is_no_use(desk: Desk, window: str, code: int) -> None:
    for _ in range(6):
        assert desk.get("um/income/asyn", ALICE, window).outcome == (400, code)
    assert desk.get("um/income/asyn", ALICE, f"startTime=0&endTime={366 * DAY_MS}").status == 200


def test_what_opens_no_file(desk: Desk) -> None:
    url = link(desk, asked(desk))["url"]
    for wrong in (
        url[:-1] + ("a" if url[-1] != "a" else "b"),
        url[:-1],
        url + "a",
        url[:-1] + "é",
        f"/{PATH.strip('/')}/",
        PATH + "é",
    ):
        status, _, body = fetched(desk, wrong)
        assert status == 404
        assert b'"code":-5000' in body
    assert fetched(desk, url, "POST")[0] == 404


def test_a_store_that_cannot_be_read_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    url = link(desk, asked(desk))["url"]

    async def kept(*_: object) -> None:
        raise StoreFailed("away")

    monkeypatch.setattr(desk.venue, "kept", kept)
    status, _, body = fetched(desk, url)
    assert (status, b'"code":-1000' in body) == (500, True)


def test_fetching_is_charged_to_the_address(desk: Desk) -> None:
    url = link(desk, asked(desk))["url"]
    used = desk.send("GET", "/papi/v1/ping").used
    assert int(fetched(desk, url)[1]["x-mbx-used-weight-1m"]) == used + 10


def test_a_proxy_says_which_scheme_a_link_has(desk: Desk) -> None:
    number = asked(desk)
    query = desk.signed(ALICE, f"downloadId={number}")
    scope_headers = [(b"x-forwarded-proto", b"https")]
    sent = desk.run(desk.messages("GET", "/papi/v1/um/income/asyn/id", query, b"", "alice", more=scope_headers))
    assert b'"url":"https://localhost/papi/' in sent[1]["body"]


def test_another_process_gives_the_same_file(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'venue.sqlite'}"
    with open_desk(PEOPLE, store=store, weight_per_minute=10**9) as desk:
        url = link(desk, asked(desk))["url"]
        body = fetched(desk, url)[2]
        for _ in range(4):
            asked(desk, "income")
    with open_desk("", store=store, weight_per_minute=10**9) as other:
        assert fetched(other, url)[2] == body
        assert other.get("um/income/asyn", ALICE, WHOLE).status == 429, "and the same count"
