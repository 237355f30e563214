"""Interest on negative balances and exchanges against them: rows, types, order, windows, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catchment.ledger.commands import AutoExchange, NegativeInterest, Offer, Terms
from catchment.ledger.journal import Stored
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
UM = { USDT = "-300000", BTC = "-3.5" }
CM = { BTC = "-0.25", ETH = "5" }
MARGIN = { BTC = "1", ETH = "100", USDC = "1000000" }
key = [{ api_key = "alice", secret = "alice-secret" }]
"""
DAY_MS = 86_400_000
DAY = NOW // DAY_MS
COIN = 10**8
INTEREST, EXCHANGES = "portfolio/interest-history", "portfolio/negative-balance-exchange-record"


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def charge(desk: Desk, day: int, *terms: Terms) -> None:
    """`rate` in parts of 10^8 a day."""
    assert isinstance(desk.submit("alice", NegativeInterest(day, terms)), Stored)


def usdt(threshold: int = 0, rate: int = 10_000) -> Terms:
    return Terms("USDT", threshold * COIN, rate)


def rows(desk: Desk, parameters: str = "") -> list[dict[str, Any]]:
    answer = desk.get(INTEREST, ALICE, parameters)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json
    return found


# Interest ------------------------------------------------------------------------------------------------------------


def test_a_row_of_interest(desk: Desk) -> None:
    """(300000 - 100000) x 0.0001164 = 23.28 USDT; (3.75 - 0.5) x 0.0001 = 0.000325 BTC."""
    charge(desk, DAY, usdt(100_000, 11_640), Terms("BTC", COIN // 2, 10_000))
    assert desk.get(INTEREST, ALICE).json == [
        {
            "asset": "BTC",
            "interest": "0.00032500",
            "interestAccuredTime": NOW,
            "interestRate": "0.00010000",
            "principal": "3.25000000",
        },
        {
            "asset": "USDT",
            "interest": "23.28000000",
            "interestAccuredTime": NOW,
            "interestRate": "0.00011640",
            "principal": "200000.00000000",
        },
    ]
    assert [row["asset"] for row in rows(desk, "asset=USDT")] == ["USDT"]
    assert rows(desk, "asset=ETH") == []


def test_interest_is_a_fee_in_the_wallet_it_was_taken_from(desk: Desk) -> None:
    charge(desk, DAY, usdt(100_000, 11_640))
    (fee,) = desk.get("um/income", ALICE, "incomeType=COMMISSION").json
    assert (fee["income"], fee["asset"], fee["info"], fee["symbol"]) == ("-23.28000000", "USDT", "INTEREST", "")
    assert desk.get("cm/income", ALICE, "incomeType=COMMISSION").json == []


def test_interest_is_newest_first_and_ten_unless_a_size_is_sent(desk: Desk) -> None:
    for day in range(12):
        charge(desk, DAY + day, usdt())
        desk.clock.advance(DAY_MS)
    times = [NOW + day * DAY_MS for day in reversed(range(12))]
    told = [row["interestAccuredTime"] for row in rows(desk, f"startTime={NOW}")]
    assert told == times[:10]
    assert [row["interestAccuredTime"] for row in rows(desk, f"startTime={NOW}&size=100")] == times
    assert [row["interestAccuredTime"] for row in rows(desk, f"startTime={NOW}&size=1")] == times[:1]
    for size, code in (("0", -1130), ("101", -1130), ("-1", -1100), ("", -1105)):
        assert desk.get(INTEREST, ALICE, f"size={size}").outcome == (400, code)


def test_windows_of_interest(desk: Desk) -> None:
    for day in range(41):
        charge(desk, DAY + day, usdt())
        desk.clock.advance(DAY_MS)

    def days(parameters: str) -> list[int]:
        """On which days from the first the rows are, oldest first."""
        found = rows(desk, f"{parameters}&size=100")
        return [(row["interestAccuredTime"] - NOW) // DAY_MS for row in reversed(found)]

    assert days("asset=USDT") == list(range(34, 41)), "seven days, and now is day 41"
    assert days(f"endTime={NOW + 20 * DAY_MS}") == list(range(13, 21)), "seven days up to the end, both included"
    assert days(f"startTime={NOW + 38 * DAY_MS}") == [38, 39, 40]
    assert days("startTime=0") == list(range(11, 41)), "brought forward to 30 days ago"
    assert days(f"startTime={NOW}&endTime={NOW + 30 * DAY_MS}") == list(range(31))
    assert days(f"startTime={NOW + 9 * DAY_MS * 10}") == [], "in the future"
    longer = desk.get(INTEREST, ALICE, f"startTime={NOW}&endTime={NOW + 30 * DAY_MS + 1}")
    assert longer.outcome == (400, -4165)
    assert longer.json["msg"] == "Maximum time interval is 30 days"
    assert desk.get(INTEREST, ALICE, f"startTime={NOW}&endTime={NOW - 1}").outcome == (400, -1023)
    assert desk.get(INTEREST, ALICE, "asset=NOPE").outcome == (400, -1108)


# Exchanges -----------------------------------------------------------------------------------------------------------


def exchange(desk: Desk, most: int) -> None:
    """Of USDT, in units, by selling USDC."""
    debt, usdc = Offer("USDT", COIN, COIN, 8), Offer("USDC", COIN, COIN, 8)
    assert isinstance(desk.submit("alice", AutoExchange(debt, most, (usdc,))), Stored)


def window(start: int, end: int) -> str:
    return f"startTime={start}&endTime={end}"


def test_an_exchange_says_what_was_negative_in_exact_json_numbers(desk: Desk) -> None:
    desk.clock.advance(1)
    exchange(desk, 150_000 * COIN)
    answer = desk.get(EXCHANGES, ALICE, window(NOW, NOW + 1))
    assert answer.body == (
        b'{"total":1,"rows":[{"startTime":1790000000001,"endTime":1790000000001,"details":[{"asset":"USDT",'
        b'"negativeBalance":-300000,"negativeMaxThreshold":150000}]}]}'
    )


def test_no_decimal_of_an_exchange_is_lost(desk: Desk) -> None:
    exchange(desk, 123_456 * COIN + 12_345_678)
    body = desk.get(EXCHANGES, ALICE, window(NOW, NOW)).body
    assert b'"negativeMaxThreshold":123456.12345678}' in body
    debt, eth = Offer("BTC", 60_000 * COIN, COIN, 8), Offer("ETH", 3_000 * COIN, COIN, 8)
    assert isinstance(desk.submit("alice", AutoExchange(debt, 2 * COIN + 1, (eth,))), Stored)
    body = desk.get(EXCHANGES, ALICE, window(NOW, NOW)).body
    assert b'{"asset":"BTC","negativeBalance":-3.75,"negativeMaxThreshold":2.00000001}' in body


def test_exchanges_are_newest_first_and_counted(desk: Desk) -> None:
    for most in (200_000, 100_000, 50_000):
        desk.clock.advance(600_000)
        exchange(desk, most * COIN)
    found = desk.get(EXCHANGES, ALICE, window(NOW, NOW + DAY_MS)).json
    assert found["total"] == 3
    told = [(row["startTime"] - NOW, row["details"][0]["negativeBalance"]) for row in found["rows"]]
    assert told == [(1_800_000, -80_000), (1_200_000, -160_000), (600_000, -300_000)]
    assert desk.get(EXCHANGES, ALICE, window(NOW, NOW + 600_000)).json["total"] == 1
    assert desk.get(EXCHANGES, ALICE, window(NOW, NOW + 599_999)).json == {"total": 0, "rows": []}


def test_an_exchange_in_the_incomes(desk: Desk) -> None:
    exchange(desk, 150_000 * COIN)
    debt, eth = Offer("BTC", 60_000 * COIN, COIN, 8), Offer("ETH", 3_000 * COIN, COIN, 8)
    assert isinstance(desk.submit("alice", AutoExchange(debt, 0, (eth,))), Stored)
    um = desk.get("um/income", ALICE, "incomeType=AUTO_EXCHANGE").json
    assert {(row["asset"], row["info"]) for row in um} == {("USDT", "AUTO_EXCHANGE"), ("BTC", "AUTO_EXCHANGE")}
    cm = desk.get("cm/income", ALICE, "incomeType=TRANSFER").json
    assert {(row["asset"], row["info"]) for row in cm} == {("BTC", "AUTO_EXCHANGE")}
    assert all(row["income"][0] != "-" for row in um + cm)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("", -1102),
        ("startTime=1", -1102),
        ("endTime=1", -1102),
        ("startTime=2&endTime=1", -1023),
        (f"startTime=0&endTime={92 * DAY_MS + 1}", -4165),
        ("startTime=junk&endTime=1", -1100),
    ],
)
def test_windows_of_exchanges_that_are_refused(desk: Desk, parameters: str, code: int) -> None:
    assert desk.get(EXCHANGES, ALICE, parameters).outcome == (400, code)


def test_three_months_of_exchanges(desk: Desk) -> None:
    assert desk.get(EXCHANGES, ALICE, f"startTime=0&endTime={92 * DAY_MS}").json == {"total": 0, "rows": []}
