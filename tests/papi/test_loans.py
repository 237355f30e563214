"""Loans of Cross Margin over the wire: borrowing, repaying, their histories by id, by time and by page, interest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catchment.ledger.commands import Borrow, MarginAdjustment, MarginReason, NegativeInterest, Terms
from catchment.ledger.journal import Stored
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
UM = { USDC = "-100" }
MARGIN = { USDT = "1000" }
key = [
    { api_key = "alice", secret = "alice-secret" },
    { api_key = "reader", secret = "reader-secret", permissions = ["READ"] },
    { api_key = "trader", secret = "trader-secret", permissions = ["TRADE"] },
]
"""
DAY_MS = 86_400_000
COIN = 10**8
LOANS, REPAYMENTS, INTEREST = "margin/marginLoan", "margin/repayLoan", "margin/marginInterestHistory"


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def borrow(desk: Desk, amount: str, asset: str = "USDT") -> int:
    return moved(desk, "marginLoan", amount, asset)


def repay(desk: Desk, amount: str, asset: str = "USDT") -> int:
    return moved(desk, "repayLoan", amount, asset)


def moved(desk: Desk, path: str, amount: str, asset: str) -> int:
    answer = desk.post(path, ALICE, f"asset={asset}&amount={amount}")
    assert answer.status == 200, answer.body
    assert set(answer.json) == {"tranId"}
    found = answer.json["tranId"]
    assert type(found) is int
    assert 0 < found < 2**53
    return found


def owed(desk: Desk, asset: str = "USDT") -> tuple[str, str, str]:
    row = desk.get("balance", ALICE, f"asset={asset}").json
    return row["crossMarginFree"], row["crossMarginBorrowed"], row["crossMarginInterest"]


def operator(desk: Desk, amount: int, reason: MarginReason, asset: str = "USDT") -> None:
    assert isinstance(desk.submit("alice", MarginAdjustment(asset, amount, reason)), Stored)


# Borrowing and repaying ----------------------------------------------------------------------------------------------


def test_a_loan_comes_and_goes(desk: Desk) -> None:
    borrow(desk, "50.5")
    assert owed(desk) == ("1050.5", "50.5", "0.0")
    operator(desk, COIN, MarginReason.INTEREST)
    repay(desk, "1.25")
    assert owed(desk) == ("1049.25", "50.25", "0.0"), "interest first"
    repay(desk, "5.025e1")
    assert owed(desk) == ("999.0", "0.0", "0.0")


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("marginLoan", "", -1102),
        ("marginLoan", "asset=USDT", -1102),
        ("marginLoan", "amount=1", -1102),
        ("marginLoan", "asset=NOPE&amount=1", -1108),
        ("marginLoan", "asset=USDT&amount=0", -4055),
        ("marginLoan", "asset=USDT&amount=-1", -4055),
        ("marginLoan", "asset=USDT&amount=x", -1130),
        ("marginLoan", "asset=USDT&amount=1e-9", -1111),
        ("marginLoan", "asset=USDT&amount=3600.00000001", -51006),
        ("repayLoan", "", -1102),
        ("repayLoan", "asset=NOPE&amount=1", -1108),
        ("repayLoan", "asset=USDT&amount=0", -4055),
        ("repayLoan", "asset=USDT&amount=0.00000001", -3015),
        ("repayLoan", "asset=BTC&amount=1", -3015),
    ],
)
def test_what_is_refused_moves_nothing(desk: Desk, path: str, parameters: str, code: int) -> None:
    before = desk.books()
    assert desk.post(path, ALICE, parameters).outcome == (400, code)
    assert desk.books() == before


def test_a_loan_is_within_what_may_be_borrowed_at_that_moment(desk: Desk) -> None:
    """Equity is 1000 - 100 = 900 USD, without margin need, and loans have leverage 5: 4 x 900."""
    told = desk.get("margin/maxBorrowable", ALICE, "asset=USDT").json
    assert told == {"amount": "3600.0", "borrowLimit": "1000000.0"}
    assert desk.post("marginLoan", ALICE, "asset=BTC&amount=0.06000001").outcome == (400, -51006), "60,000 USD each"
    borrow(desk, "3600")
    assert desk.post("marginLoan", ALICE, "asset=USDT&amount=0.00000001").outcome == (400, -51006)
    (loan,) = desk.run(desk.venue.history(desk.account("alice"), limit=1))
    assert loan.record.command == Borrow("USDT", 3_600 * COIN, 3_600 * COIN), "the limit stands in the record"


def test_what_has_no_price_is_not_lent() -> None:
    with open_desk(PEOPLE, assets={"ODD": 8}) as desk:
        assert desk.post("marginLoan", ALICE, "asset=ODD&amount=1").outcome == (400, -51006)


def test_more_than_is_free_is_not_repaid(desk: Desk) -> None:
    borrow(desk, "10")
    operator(desk, 1_005 * COIN, MarginReason.LOCK)
    before = desk.books()
    assert desk.post("repayLoan", ALICE, "asset=USDT&amount=5.00000001").outcome == (400, -2018)
    assert desk.books() == before
    repay(desk, "5")


def test_a_loan_needs_a_key_that_may_trade(desk: Desk) -> None:
    for path in ("marginLoan", "repayLoan"):
        assert desk.post(path, plain("reader"), "asset=USDT&amount=1").outcome == (401, -2015)
        assert desk.post(path, plain("trader"), "asset=USDT&amount=1").status in {200}
        assert desk.get(f"margin/{path}", plain("trader"), "asset=USDT").outcome == (401, -2015)
        assert desk.get(f"margin/{path}", plain("reader"), "asset=USDT").status == 200


# Histories -----------------------------------------------------------------------------------------------------------


def test_rows_of_loans_and_repayments(desk: Desk) -> None:
    loan = borrow(desk, "50.5")
    desk.clock.advance(1_000)
    operator(desk, COIN, MarginReason.INTEREST)
    payment = repay(desk, "1.25")
    assert desk.get(LOANS, ALICE, "asset=USDT").json == {
        "rows": [{"txId": loan, "asset": "USDT", "principal": "50.50000000", "timestamp": NOW, "status": "CONFIRMED"}],
        "total": 1,
    }
    assert desk.get(REPAYMENTS, ALICE, "asset=USDT").json == {
        "rows": [
            {
                "amount": "1.25000000",
                "asset": "USDT",
                "interest": "1.00000000",
                "principal": "0.25000000",
                "status": "CONFIRMED",
                "timestamp": NOW + 1_000,
                "txId": payment,
            }
        ],
        "total": 1,
    }
    for path in (LOANS, REPAYMENTS):
        assert desk.get(path, ALICE, "asset=BTC").json == {"rows": [], "total": 0}


def test_what_an_operator_lent_and_took_back_is_a_loan_too(desk: Desk) -> None:
    operator(desk, 5 * COIN, MarginReason.BORROW)
    operator(desk, -2 * COIN, MarginReason.BORROW)
    operator(desk, 2 * COIN, MarginReason.LOCK)
    assert [row["principal"] for row in desk.get(LOANS, ALICE, "asset=USDT").json["rows"]] == ["5.00000000"]
    (row,) = desk.get(REPAYMENTS, ALICE, "asset=USDT").json["rows"]
    assert (row["amount"], row["interest"], row["principal"]) == ("2.00000000", "0.00000000", "2.00000000")


def test_one_loan_by_its_id_whatever_its_time(desk: Desk) -> None:
    ids = [borrow(desk, str(amount)) for amount in (1, 2, 3)]
    payment = repay(desk, "1")
    desk.clock.advance(400 * DAY_MS)
    for place, tx_id in enumerate(ids):
        found = desk.get(LOANS, ALICE, f"asset=USDT&txId={tx_id}&startTime={NOW}").json
        assert found["total"] == 1
        assert (found["rows"][0]["txId"], found["rows"][0]["principal"]) == (tx_id, f"{place + 1}.00000000")
    assert desk.get(REPAYMENTS, ALICE, f"asset=USDT&txId={payment}").json["rows"][0]["amount"] == "1.00000000"
    nothing = {"rows": [], "total": 0}
    for path, asset, tx_id in (
        (LOANS, "BTC", ids[0]),
        (LOANS, "USDT", payment),
        (LOANS, "USDT", ids[0] + 1),
        (LOANS, "USDT", 0),
        (LOANS, "USDT", 2**63 - 1),
        (REPAYMENTS, "USDT", ids[0]),
    ):
        assert desk.get(path, ALICE, f"asset={asset}&txId={tx_id}").json == nothing
    assert desk.get(LOANS, ALICE, "asset=USDT").json == nothing, "over seven days ago"


def test_pages_of_loans(desk: Desk) -> None:
    for amount in range(1, 24):
        desk.clock.advance(1)
        borrow(desk, str(amount))

    def told(parameters: str) -> list[int]:
        found: dict[str, Any] = desk.get(LOANS, ALICE, f"asset=USDT&{parameters}").json
        assert found["total"] == 23
        return [int(row["principal"].partition(".")[0]) for row in found["rows"]]

    assert told("archived=false") == list(range(23, 13, -1)), "ten, newest first"
    assert told("current=2") == list(range(13, 3, -1))
    assert told("current=3&archived=true") == [3, 2, 1]
    assert told("current=4") == told(f"current={2**63 - 1}") == []
    assert told("size=100") == list(range(23, 0, -1))
    assert told("current=12&size=2") == [1]


@pytest.mark.parametrize("path", [LOANS, REPAYMENTS, INTEREST])
@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("asset=NOPE", -1108),
        ("asset=USDT&current=0", -1130),
        ("asset=USDT&size=0", -1130),
        ("asset=USDT&size=101", -1130),
        ("asset=USDT&archived=perhaps", -1130),
        ("asset=USDT&startTime=2&endTime=1", -1023),
        (f"asset=USDT&startTime=0&endTime={30 * DAY_MS + 1}", -4165),
    ],
)
def test_readings_that_are_refused(desk: Desk, path: str, parameters: str, code: int) -> None:
    assert desk.get(path, ALICE, parameters).outcome == (400, code)


def test_the_asset_is_mandatory_for_loans_alone(desk: Desk) -> None:
    assert desk.get(LOANS, ALICE).outcome == desk.get(REPAYMENTS, ALICE).outcome == (400, -1102)
    assert desk.get(INTEREST, ALICE).json == {"rows": [], "total": 0}


def test_interest_of_both_kinds(desk: Desk) -> None:
    """100 USDC negative at 0.0001 a day is 0.01 USDC."""
    borrow(desk, "50")
    operator(desk, COIN, MarginReason.INTEREST)
    operator(desk, -COIN // 4, MarginReason.INTEREST)
    assert isinstance(desk.submit("alice", NegativeInterest(NOW // DAY_MS, (Terms("USDC", 0, 10_000),))), Stored)
    found = desk.get(INTEREST, ALICE).json
    assert found["total"] == 2
    negative, charged = found["rows"]
    assert {**negative, "txId": 0} == {
        "txId": 0,
        "interestAccuredTime": NOW,
        "asset": "USDC",
        "rawAsset": "USDC",
        "principal": "100.00000000",
        "interest": "0.01000000",
        "interestRate": "0.00010000",
        "type": "PORTFOLIO",
    }
    assert {**charged, "txId": 0} == {
        "txId": 0,
        "interestAccuredTime": NOW,
        "asset": "USDT",
        "rawAsset": "USDT",
        "interest": "1.00000000",
        "type": "PERIODIC",
    }, "neither principal nor rate, which nobody said"
    assert type(negative["txId"]) is type(charged["txId"]) is int
    assert negative["txId"] != charged["txId"]
    assert [row["type"] for row in desk.get(INTEREST, ALICE, "asset=USDC").json["rows"]] == ["PORTFOLIO"]
