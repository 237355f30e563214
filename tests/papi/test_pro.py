"""The Portfolio Margin Pro twins: the same books under other weights, and the budgets of /sapi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catchment.ledger.commands import NegativeInterest, Terms
from catchment.ledger.journal import Stored
from catchment.market import Figure
from catchment.writer import Answer
from tests.papi.desk import Desk, open_desk, plain

ALICE, BOB, OUTSIDER, READER = plain("alice"), plain("bob"), plain("outsider"), plain("reader")
PEOPLE = """
[[account]]
name = "alice"
key = [{ api_key = "alice", secret = "alice-secret" },
       { api_key = "reader", secret = "reader-secret", permissions = ["READ"] }]
UM = { USDT = "330.25", BNB = "2.5", ETH = "-0.5" }
CM = { BTC = "0.5" }
MARGIN = { BNB = "3", ETH = "0.2" }
[[account]]
name = "bob"
key = [{ api_key = "bob", secret = "bob-secret" }]
UM = { USDT = "1" }
[[account]]
name = "outsider"
portfolio_margin = false
key = [{ api_key = "outsider", secret = "outsider-secret" }]
UM = { USDT = "1" }
"""
MINUTE_MS = 60_000
WRITES = {
    "portfolio/auto-collection": "",
    "portfolio/asset-collection": "asset=USDT",
    "portfolio/bnb-transfer": "amount=1&transferSide=FROM_UM",
    "portfolio/repay-futures-switch": "autoRepay=true",
    "portfolio/repay-futures-negative-balance": "",
    "portfolio/repay": "",
    "asset/transfer": "type=MAIN_PORTFOLIO_MARGIN&asset=USDT&amount=1",
}
READS = {
    "portfolio/balance": "",
    "portfolio/account": "",
    "portfolio/repay-futures-switch": "",
    "portfolio/pmLoan": "",
    "portfolio/pmloan-history": "",
    "portfolio/interest-history": "",
    "asset/transfer": "type=MAIN_PORTFOLIO_MARGIN",
}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE) as desk:
        yield desk


# Balances ------------------------------------------------------------------------------------------------------------


def test_balance_is_a_list_in_any_case(desk: Desk) -> None:
    whole = desk.sapi("GET", "portfolio/balance", ALICE).json
    assert [row["asset"] for row in whole] == ["BNB", "BTC", "ETH", "USDT"]
    assert desk.sapi("GET", "portfolio/balance", ALICE, "asset=USDT").json == whole[3:]
    assert desk.sapi("GET", "portfolio/balance", ALICE, "asset=SOL").json == []
    assert desk.sapi("GET", "portfolio/balance", ALICE, "asset=NOPE").outcome == (400, -1108)


def test_balance_is_that_of_the_other_face_with_the_options_fields(desk: Desk) -> None:
    pro = desk.sapi("GET", "portfolio/balance", ALICE).json
    assert {(row.pop("optionWalletBalance"), row.pop("optionEquity")) for row in pro} == {("0.0", "0.0")}
    assert pro == desk.get("balance", ALICE).json


def test_account_is_that_of_the_other_face_with_its_type(desk: Desk) -> None:
    pro, papi = desk.sapi("GET", "portfolio/account", ALICE).json, desk.get("account", ALICE).json
    assert pro.pop("accountType") == "PM_2"
    assert set(papi) - set(pro) == {"virtualMaxWithdrawAmount", "totalMarginOpenLoss", "updateTime"}
    assert pro == {name: papi[name] for name in pro}


# What moves money ----------------------------------------------------------------------------------------------------


def test_a_collection_by_either_face_is_the_same(desk: Desk) -> None:
    assert desk.sapi("POST", "portfolio/asset-collection", ALICE, "asset=USDT&amount=0.25&futureType=UM").json == {
        "msg": "success"
    }
    assert desk.get("balance", ALICE, "asset=USDT").json["umWalletBalance"] == "330.0"
    assert desk.sapi("POST", "portfolio/auto-collection", ALICE).json == {"msg": "success"}
    row = desk.get("balance", ALICE, "asset=USDT").json
    assert (row["umWalletBalance"], row["crossMarginFree"]) == ("0.0", "330.25")


def test_both_faces_share_the_quota_of_an_hour() -> None:
    with open_desk(PEOPLE, quota_api_per_hour=2) as strict:
        assert strict.sapi("POST", "portfolio/auto-collection", ALICE).status == 200
        assert strict.post("auto-collection", ALICE).status == 200
        for answer in (strict.sapi("POST", "portfolio/auto-collection", ALICE), strict.post("auto-collection", ALICE)):
            assert (answer.outcome, answer.retry_after) == ((429, -1003), 3_600)


def test_bnb_transfer_twice_in_ten_minutes(desk: Desk) -> None:
    path = "portfolio/bnb-transfer"
    first = desk.sapi("POST", path, ALICE, "amount=0.5&transferSide=TO_UM").json
    assert set(first) == {"tranId"}
    assert type(first["tranId"]) is int
    desk.clock.advance(1_000)
    assert desk.sapi("POST", path, ALICE, "amount=1e-08&transferSide=FROM_UM").json["tranId"] > first["tranId"]
    row = desk.get("balance", ALICE, "asset=BNB").json
    assert (row["umWalletBalance"], row["crossMarginFree"]) == ("2.99999999", "2.50000001")
    third = desk.sapi("POST", path, ALICE, "amount=1&transferSide=FROM_UM")
    assert (third.outcome, third.retry_after) == ((429, -1003), 599)
    assert third.json["msg"] == "Too many requests; current limit is 2 requests per 10 minutes."
    assert desk.sapi("POST", path, BOB, "amount=1&transferSide=TO_UM").code == -2018, "another account has its own"
    desk.clock.advance(599_000)
    assert desk.sapi("POST", path, ALICE, "amount=1&transferSide=FROM_UM").status == 200


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("", -1102),
        ("amount=1", -1102),
        ("transferSide=TO_UM", -1102),
        ("amount=1&transferSide=TO_CM", -1130),
        ("amount=x&transferSide=TO_UM", -1130),
        ("amount=0&transferSide=TO_UM", -4055),
        ("amount=-1&transferSide=TO_UM", -4055),
        ("amount=0.000000001&transferSide=TO_UM", -1111),
        ("amount=3.1&transferSide=TO_UM", -2018),
    ],
)
def test_refused_bnb_transfers_move_nothing(desk: Desk, parameters: str, code: int) -> None:
    before = desk.books()
    assert desk.sapi("POST", "portfolio/bnb-transfer", ALICE, parameters).outcome == (400, code)
    assert desk.books() == before


def test_auto_repay_is_switched(desk: Desk) -> None:
    path = "portfolio/repay-futures-switch"
    for text in ("true", "false", "true"):
        assert desk.sapi("POST", path, ALICE, f"autoRepay={text}").json == {"msg": "success"}
        assert desk.sapi("GET", path, ALICE).json == {"autoRepay": text == "true"}
    assert desk.sapi("POST", path, ALICE).code == -1102
    assert desk.sapi("POST", path, ALICE, "autoRepay=yes").code == -1130
    assert desk.sapi("GET", path, BOB).json == {"autoRepay": False}


def test_a_negative_balance_is_repaid_as_far_as_there_is_something(desk: Desk) -> None:
    assert desk.sapi("POST", "portfolio/repay-futures-negative-balance", ALICE).json == {"msg": "success"}
    row = desk.get("balance", ALICE, "asset=ETH").json
    assert (row["umWalletBalance"], row["crossMarginFree"]) == ("-0.3", "0.0")


def test_interest_is_that_of_the_other_face_spelled_right(desk: Desk) -> None:
    day = desk.clock.now() // 86_400_000
    charge = NegativeInterest(day, (Terms("ETH", 0, 100_000),))
    alice = desk.account("alice")

    async def charged() -> Answer:
        return await desk.venue.submit(alice, charge)

    assert isinstance(desk.run(charged()), Stored)
    (row,) = desk.sapi("GET", "portfolio/interest-history", ALICE).json
    assert set(row) == {"asset", "interest", "interestAccruedTime", "interestRate", "principal"}
    (told,) = desk.get("portfolio/interest-history", ALICE).json
    assert row.pop("interestAccruedTime") == told.pop("interestAccuredTime")
    assert row == told
    assert desk.sapi("GET", "portfolio/interest-history", ALICE, "asset=USDT").json == []
    assert desk.sapi("GET", "portfolio/interest-history", ALICE, "asset=NOPE").code == -1108


def test_prices_and_rates_are_those_of_the_market(desk: Desk) -> None:
    prices = desk.send("GET", "/sapi/v1/portfolio/asset-index-price", api_key="reader").json
    assert {"asset": "USDT", "assetIndexPrice": "1.00000000", "time": desk.clock.now()} in prices
    assert desk.send("GET", "/sapi/v1/portfolio/asset-index-price", b"asset=USDT", api_key="alice").json == [
        row for row in prices if row["asset"] == "USDT"
    ]
    desk.run(desk.venue.market.set(Figure.INDEX, "BTC", "61234.5"))
    desk.run(desk.venue.market.set(Figure.COLLATERAL, "BTC", "0.9"))
    (row,) = desk.send("GET", "/sapi/v1/portfolio/asset-index-price", b"asset=BTC", api_key="alice").json
    assert row["assetIndexPrice"] == "61234.50000000"
    rates = desk.send("GET", "/sapi/v1/portfolio/collateralRate", api_key="alice").json
    assert {"asset": "BTC", "collateralRate": "0.9"} in rates
    assert {"asset": "USDT", "collateralRate": "1.0"} in rates
    nope = desk.send("GET", "/sapi/v1/portfolio/asset-index-price", b"asset=NOPE", api_key="alice")
    assert nope.outcome == (400, -1108)
    for path in ("asset-index-price", "collateralRate"):
        assert desk.send("GET", f"/sapi/v1/portfolio/{path}").outcome == (401, -2014)


def test_there_is_no_bankruptcy_loan(desk: Desk) -> None:
    assert desk.sapi("GET", "portfolio/pmLoan", ALICE).json == {"asset": "USDT", "amount": "0"}
    assert desk.sapi("GET", "portfolio/pmloan-history", ALICE).json == {"rows": [], "total": 0}
    assert desk.sapi("POST", "portfolio/repay", ALICE).outcome == (400, -21004)


# Who may call --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "calls"), [("POST", WRITES), ("GET", READS)])
def test_an_account_outside_portfolio_margin(desk: Desk, method: str, calls: dict[str, str]) -> None:
    before = desk.books()
    for path, parameters in calls.items():
        answer = desk.sapi(method, path, OUTSIDER, parameters)
        assert (answer.outcome, answer.json["msg"]) == (
            (400, -21001),
            "Request ID is not a Portfolio Margin Account.",
        ), path
    assert desk.books() == before


def test_a_key_that_may_only_read_moves_nothing(desk: Desk) -> None:
    before = desk.books()
    for path, parameters in WRITES.items():
        assert desk.sapi("POST", path, READER, parameters).outcome == (401, -2015), path
    assert desk.books() == before
    for path, parameters in READS.items():
        assert desk.sapi("GET", path, READER, parameters).status == 200, path


# Budgets -------------------------------------------------------------------------------------------------------------


def headers(desk: Desk, path: str, key: Any = ALICE) -> set[str]:
    return set(desk.sapi("GET", path, key).headers) - {"content-type", "content-length"}


def test_each_budget_has_a_header_of_its_own(desk: Desk) -> None:
    assert headers(desk, "portfolio/balance") == {"x-sapi-used-ip-weight-1m"}
    assert headers(desk, "portfolio/account") == {"x-sapi-used-uid-weight-1m"}
    assert "x-mbx-used-weight-1m" in desk.get("balance", ALICE).headers


def test_each_endpoint_has_a_budget_of_its_own(desk: Desk) -> None:
    path = "portfolio/auto-collection"
    for used in range(1_500, 12_001, 1_500):
        assert desk.sapi("POST", path, ALICE).used == used
    for _ in range(15):
        again = desk.sapi("POST", path, ALICE)
        assert (again.outcome, again.retry_after) == ((429, -1003), 40), "over and over, and never a ban"
    over = desk.sapi("POST", path, ALICE)
    assert over.json["msg"].startswith(
        "Too much request weight used; current limit is 12000 request weight per 1 MINUTE."
    )
    assert over.used > 12_000
    assert desk.sapi("GET", "portfolio/balance", ALICE).used == 20
    assert desk.get("balance", ALICE).used == 20
    assert desk.sapi("POST", path, ALICE, address="10.0.0.2").used == 1_500
    desk.clock.advance(MINUTE_MS)
    assert desk.sapi("POST", path, ALICE).used == 1_500


def test_an_accounts_budget_is_the_accounts_wherever_it_calls_from(desk: Desk) -> None:
    path, transfer = "asset/transfer", WRITES["asset/transfer"]
    assert desk.sapi("POST", path, ALICE, transfer).used == 900
    assert desk.sapi("POST", path, ALICE, transfer, address="10.0.0.2").used == 1_800
    assert desk.sapi("POST", path, BOB, transfer).used == 900
    used = [desk.sapi("POST", path, ALICE, transfer).used for _ in range(198)]
    assert used == list(range(2_700, 180_001, 900))
    before = desk.books()
    over = desk.sapi("POST", path, ALICE, transfer)
    assert (over.status, over.code, over.used) == (429, -1003, 180_900)
    assert desk.books() == before
    assert desk.sapi("GET", "portfolio/account", ALICE).used == 5


def test_who_is_not_known_charges_no_account(desk: Desk) -> None:
    for _ in range(3):
        refused = desk.send("GET", "/sapi/v1/portfolio/account", b"timestamp=1&signature=00", api_key="alice")
        assert (refused.code, refused.used) == (-1021, 0)
    assert desk.sapi("GET", "portfolio/account", ALICE).used == 5


def test_a_banned_address_has_its_budgets_on_sapi() -> None:
    with open_desk(PEOPLE, weight_per_minute=1_000) as strict:
        for _ in range(12):
            strict.post("auto-collection", ALICE)
        assert strict.get("balance", ALICE).status == 418
        assert strict.sapi("GET", "portfolio/balance", ALICE).status == 200
