"""What bounds the reading of a history: pages, and a number of records after which a call is refused, not cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from catchment.ledger.commands import Adjustment, Reason
from catchment.papi import history
from catchment.wallet import Wallet
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
key = [{ api_key = "alice", secret = "alice-secret" }]
"""


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """At most 30 records a call, 10 a page."""
    monkeypatch.setattr(history, "MAX_RECORDS_READ", 30)
    monkeypatch.setattr(history, "PAGE", 10)
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def trade(desk: Desk, times: int, reason: Reason = Reason.REALIZED_PNL) -> None:
    account = desk.account("alice")

    async def submit() -> None:
        await desk.venue.submit_all([(account, Adjustment(Wallet.UM, "USDT", 1, reason))] * times)

    desk.run(submit())


RARE = "incomeType=FUNDING_FEE"


def test_a_rare_row_is_found_up_to_the_bound_and_refused_beyond_it(desk: Desk) -> None:
    trade(desk, 1, Reason.FUNDING_FEE)
    trade(desk, 28)
    for more in ("", f"&startTime={NOW}"):
        assert len(desk.get("um/income", ALICE, RARE + more).json) == 1
    trade(desk, 1)
    for path, more in (("um/income", RARE), ("um/income", f"{RARE}&startTime={NOW}"), ("cm/income", "limit=1")):
        refused = desk.get(path, ALICE, more)
        assert refused.outcome == (400, -1127)
        assert refused.json["msg"] == "Lookup interval is too big."
    for path in ("portfolio/interest-history", "margin/marginInterestHistory"):
        assert desk.get(path, ALICE).outcome == (400, -1127)
    assert desk.get("margin/marginLoan", ALICE, "asset=USDT").outcome == (400, -1127)


def test_rows_that_are_there_are_answered_however_long_the_history_is(desk: Desk) -> None:
    trade(desk, 500)
    assert len(desk.get("um/income", ALICE, "limit=25").json) == 25
    assert len(desk.get("um/income", ALICE, f"limit=25&startTime={NOW}").json) == 25
    assert len(desk.get("um/income", ALICE, f"{RARE}&limit=25&endTime={NOW - 1}").json) == 0
    desk.clock.advance(1)
    trade(desk, 5)
    assert len(desk.get("um/income", ALICE, f"startTime={NOW + 1}").json) == 5, "a shorter window is the way out"


def test_other_readings_come_between_the_pages_of_a_long_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reader's thread is held for one page."""
    monkeypatch.setattr(history, "MAX_RECORDS_READ", 3_000)
    trade(desk, 2_000)

    async def both() -> tuple[bool, int]:
        long = asyncio.create_task(
            desk.messages("GET", "/papi/v1/um/income", desk.signed(ALICE, RARE), b"", ALICE.api_key)
        )
        await asyncio.sleep(0)
        done = 0
        while not long.done():
            await desk.messages("GET", "/papi/v1/balance", desk.signed(ALICE), b"", ALICE.api_key)
            done += 1
        return (await long)[1]["body"] == b"[]", done

    empty, between = desk.run(both())
    assert empty
    assert between > 5


def test_ids_lead_back_to_their_record(desk: Desk) -> None:
    trade(desk, 3)
    ids = [int(row["tranId"]) for row in desk.get("um/income", ALICE).json]
    assert [number // history.PLACES for number in ids] == [1, 2, 3]
    assert history.PLACES * 9 * 10**9 < 2**53
