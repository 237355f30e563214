"""Auto Repay's switch and repaying negative futures balances over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.papi.desk import Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
UM = { USDT = "-30", ETH = "-2.5", BTC = "1" }
CM = { USDT = "-5", ETH = "1.25" }
MARGIN = { USDT = { free = "33", locked = "100" }, ETH = "7" }
key = [
    { api_key = "alice", secret = "alice-secret" },
    { api_key = "reader", secret = "reader-secret", permissions = ["READ"] },
    { api_key = "trader", secret = "trader-secret", permissions = ["TRADE"] },
]
"""
SUCCESS = b'{"msg":"success"}'
DAY_MS = 86_400_000


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def is_on(desk: Desk) -> bool:
    answer = desk.get("repay-futures-switch", ALICE)
    assert answer.body in (b'{"autoRepay":true}', b'{"autoRepay":false}')
    found: bool = answer.json["autoRepay"]
    return found


# The switch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "on"), [("true", True), ("True", True), ("false", False), ("False", False)])
def test_the_switch_takes_every_way_clients_write_a_boolean(desk: Desk, text: str, on: bool) -> None:
    assert not is_on(desk), "off at first"
    assert desk.post("repay-futures-switch", ALICE, f"autoRepay={'false' if on else 'true'}").body == SUCCESS
    assert desk.post("repay-futures-switch", ALICE, f"autoRepay={text}").body == SUCCESS
    assert is_on(desk) is on


@pytest.mark.parametrize(
    ("parameters", "code"),
    [("", -1102), ("autoRepay=", -1102), ("autoRepay=TRUE", -1130), ("autoRepay=1", -1130), ("autoRepay=on", -1130)],
)
def test_what_is_no_boolean(desk: Desk, parameters: str, code: int) -> None:
    before = desk.books()
    assert desk.post("repay-futures-switch", ALICE, parameters).outcome == (400, code)
    assert desk.books() == before


def test_twenty_changes_a_day(desk: Desk) -> None:
    for change in range(20):
        assert desk.post("repay-futures-switch", ALICE, f"autoRepay={'false' if change % 2 else 'true'}").status == 200
    refused = desk.post("repay-futures-switch", ALICE, "autoRepay=true")
    assert refused.outcome == (429, -1003)
    assert refused.json["msg"] == "Too many requests; current limit is 20 requests per day."
    left = DAY_MS - desk.clock.now() % DAY_MS
    assert refused.retry_after == -(-left // 1000)
    assert not is_on(desk)
    desk.clock.advance(left - 1)
    assert desk.post("repay-futures-switch", ALICE, "autoRepay=true").status == 429
    desk.clock.advance(1)
    assert desk.post("repay-futures-switch", ALICE, "autoRepay=true").status == 200
    assert is_on(desk)


def test_who_may_read_the_switch_and_who_may_turn_it(desk: Desk) -> None:
    assert desk.get("repay-futures-switch", plain("reader")).status == 200
    assert desk.get("repay-futures-switch", plain("trader")).outcome == (401, -2015)
    assert desk.post("repay-futures-switch", plain("reader"), "autoRepay=true").outcome == (401, -2015)
    assert desk.post("repay-futures-switch", plain("trader"), "autoRepay=true").status == 200


# Repaying ------------------------------------------------------------------------------------------------------------


def held(desk: Desk) -> dict[str, tuple[str, str, str]]:
    rows: list[dict[str, Any]] = desk.get("balance", ALICE).json
    return {row["asset"]: (row["umWalletBalance"], row["cmWalletBalance"], row["crossMarginFree"]) for row in rows}


def test_holes_are_filled_as_far_as_what_is_free_goes_and_um_first(desk: Desk) -> None:
    assert desk.post("repay-futures-negative-balance", ALICE).body == SUCCESS
    after = {
        "USDT": ("0.0", "-2.0", "0.0"),  # 33 free: 30 to UM, 3 to CM; what is locked stays
        "ETH": ("0.0", "1.25", "4.5"),  # what is positive in CM does not help
        "BTC": ("1.0", "0.0", "0.0"),
    }
    assert held(desk) == after
    journal = desk.books()[0][1]
    assert desk.post("repay-futures-negative-balance", ALICE).body == SUCCESS, "nothing left to take is a success"
    assert held(desk) == after
    assert desk.books()[0][1] == journal + 1


def test_repaying_is_a_transfer_into_the_futures_wallet(desk: Desk) -> None:
    assert desk.post("repay-futures-negative-balance", plain("reader")).status == 200, "USER_DATA by the reference"
    um, cm = (desk.get(f"{wallet}/income", ALICE, "incomeType=TRANSFER").json for wallet in ("um", "cm"))
    assert {(row["asset"], row["income"], row["info"]) for row in um} == {
        ("USDT", "30.00000000", "TRANSFER"),
        ("ETH", "2.50000000", "TRANSFER"),
    }
    assert [(row["asset"], row["income"], row["info"]) for row in cm] == [("USDT", "3.00000000", "DEPOSIT")]


def test_the_switch_is_not_needed_to_repay_by_hand(desk: Desk) -> None:
    assert not is_on(desk)
    assert desk.post("repay-futures-negative-balance", ALICE).status == 200
    assert held(desk)["ETH"][0] == "0.0"
