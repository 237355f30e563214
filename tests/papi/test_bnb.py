"""BNB transfers both ways, the quota to the millisecond, what is refused; and the ways between wallets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from catchment.papi.endpoints import ENDPOINTS
from tests.papi.desk import NOW, Answer, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
UM = { BNB = "2.5", USDT = "7" }
MARGIN = { BNB = { free = "10", locked = "1" } }
key = [
    { api_key = "alice", secret = "alice-secret" },
    { api_key = "reader", secret = "reader-secret", permissions = ["READ"] },
]

[[account]]
name = "outside"
portfolio_margin = false
MARGIN = { BNB = "5" }
key = [{ api_key = "outside", secret = "outside-secret" }]
"""
TEN_MINUTES_MS = 600_000


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def bnb(desk: Desk) -> tuple[str, str]:
    row = desk.get("balance", ALICE, "asset=BNB").json
    return row["umWalletBalance"], row["crossMarginFree"]


def send(desk: Desk, amount: str = "0.1", side: str = "TO_UM") -> Answer:
    return desk.post("bnb-transfer", ALICE, f"amount={amount}&transferSide={side}")


@pytest.mark.parametrize(
    ("amount", "side", "um", "free"),
    [
        ("4", "TO_UM", "6.5", "6.0"),
        ("10", "TO_UM", "12.5", "0.0"),
        ("1e-08", "TO_UM", "2.50000001", "9.99999999"),
        ("1E-8", "FROM_UM", "2.49999999", "10.00000001"),
        ("2.5", "FROM_UM", "0.0", "12.5"),
        ("0.500000000000", "FROM_UM", "2.0", "10.5"),
    ],
)
def test_bnb_moves_both_ways(desk: Desk, amount: str, side: str, um: str, free: str) -> None:
    answer = send(desk, amount, side)
    assert answer.status == 200
    assert set(answer.json) == {"tranId"}
    assert type(answer.json["tranId"]) is int
    assert bnb(desk) == (um, free)


def test_an_id_is_unique_under_2_to_53_and_that_of_the_income_row(desk: Desk) -> None:
    ids = [send(desk, side=side).json["tranId"] for side in ("TO_UM", "FROM_UM", "TO_UM")]
    assert len(set(ids)) == 3
    assert all(0 < one < 2**53 for one in ids)
    rows = desk.get("um/income", ALICE, "incomeType=TRANSFER").json
    assert [(row["tranId"], row["income"]) for row in rows] == [
        (str(ids[0]), "0.10000000"),
        (str(ids[1]), "-0.10000000"),
        (str(ids[2]), "0.10000000"),
    ]
    assert {row["asset"] for row in rows} == {"BNB"}
    assert desk.get("cm/income", ALICE).json == []


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("", -1102),
        ("amount=1", -1102),
        ("transferSide=TO_UM", -1102),
        ("amount=&transferSide=TO_UM", -1102),
        ("amount=1&transferSide=", -1102),
        ("amount=1&transferSide=to_um", -1130),
        ("amount=1&transferSide=TO_CM", -1130),
        ("amount=1&transferSide=undefined", -1130),
        ("amount=abc&transferSide=TO_UM", -1130),
        ("amount=nan&transferSide=TO_UM", -1130),
        ("amount=1e30&transferSide=TO_UM", -1130),
        ("amount=1e-9&transferSide=TO_UM", -1111),
        ("amount=0&transferSide=TO_UM", -4055),
        ("amount=-1&transferSide=FROM_UM", -4055),
        ("amount=10.00000001&transferSide=TO_UM", -2018),
        ("amount=2.50000001&transferSide=FROM_UM", -2018),
    ],
)
def test_what_is_refused_moves_nothing_and_uses_no_quota(desk: Desk, parameters: str, code: int) -> None:
    before = desk.books()
    assert desk.post("bnb-transfer", ALICE, parameters).outcome == (400, code)
    assert desk.books() == before
    assert [send(desk).status for _ in range(11)] == [200] * 10 + [429]


def test_who_may_not(desk: Desk) -> None:
    for key in ("reader", "outside"):
        answer = desk.post("bnb-transfer", plain(key), "amount=1&transferSide=TO_UM")
        assert answer.outcome == (401, -2015)


def test_the_eleventh_in_ten_minutes_waits_to_the_millisecond(desk: Desk) -> None:
    for _ in range(10):
        assert send(desk).status == 200
        desk.clock.advance(1_000)
    refused = send(desk)
    assert refused.outcome == (429, -1003)
    assert refused.json["msg"] == "Too many requests; current limit is 10 requests per 10 minutes."
    assert refused.retry_after == 590
    desk.clock.advance(590_000 - 1)
    assert send(desk).outcome == (429, -1003)
    desk.clock.advance(1)
    assert desk.clock.now() == NOW + TEN_MINUTES_MS
    assert [send(desk, side="FROM_UM").status for _ in range(2)] == [200, 429], "one came free, for either way"
    assert desk.post("auto-collection", ALICE).status == 200, "collections are counted apart"


def test_only_bnb_goes_into_a_futures_wallet_and_nothing_between_them(desk: Desk) -> None:
    """The topology of the wallets: what a call names decides the way, and there is no name for the others."""
    ways = {
        parameter.name: set(parameter.values)
        for endpoint in ENDPOINTS
        for parameter in endpoint.parameters
        if endpoint.method == "POST" and parameter.name in {"transferSide", "futureType"}
    }
    assert ways["transferSide"] == {"TO_UM", "FROM_UM"}
    assert ways["futureType"] == {"UM", "CM", "OPTION"}
    before = desk.get("balance", ALICE, "asset=USDT").json
    assert desk.post("bnb-transfer", ALICE, "asset=USDT&amount=1&transferSide=TO_UM").status == 200
    assert desk.get("balance", ALICE, "asset=USDT").json == before, "a parameter the call does not have is ignored"
    assert bnb(desk) == ("3.5", "9.0")
    for parameters in ("asset=USDT&amount=1&futureType=MARGIN", "asset=USDT&amount=-1&futureType=UM"):
        assert desk.post("asset-collection", ALICE, parameters).status == 400
    assert desk.get("balance", ALICE, "asset=USDT").json == before
