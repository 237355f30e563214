"""/sapi/v1/asset/transfer: money comes in and goes out, and the history of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catchment.ledger.commands import SetPosition
from catchment.ledger.journal import Stored
from catchment.ledger.negative import ONE
from catchment.papi.universal_transfer import TYPES
from catchment.wallet import Wallet
from catchment.writer import Answer
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
key = [{ api_key = "alice", secret = "alice-secret" }]
UM = { USDT = "7" }
"""
IN, OUT = "MAIN_PORTFOLIO_MARGIN", "PORTFOLIO_MARGIN_MAIN"
DAY_MS = 86_400_000


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def move(desk: Desk, way: str, amount: str, asset: str = "USDT") -> Any:
    return desk.sapi("POST", "asset/transfer", ALICE, {"type": way, "asset": asset, "amount": amount})


def history(desk: Desk, way: str, parameters: str = "") -> Any:
    return desk.sapi("GET", "asset/transfer", ALICE, f"type={way}{parameters}")


def free(desk: Desk, asset: str = "USDT") -> str:
    text: str = desk.get("balance", ALICE, f"asset={asset}").json["crossMarginFree"]
    return text


def test_money_comes_into_cross_margin_and_goes_out(desk: Desk) -> None:
    first = move(desk, IN, "12.00000001").json
    assert free(desk) == "12.00000001"
    second = move(desk, OUT, "2e-08").json
    assert free(desk) == "11.99999999"
    assert set(first) == {"tranId"}
    assert type(first["tranId"]) is int
    assert first["tranId"] < second["tranId"]
    assert move(desk, OUT, "11.99999999").status == 200
    assert free(desk) == "0.0"


@pytest.mark.parametrize(
    ("way", "amount", "asset", "code"),
    [
        (OUT, "0.1", "USDT", -5013),
        (IN, "0", "USDT", -5007),
        (OUT, "-1", "USDT", -5007),
        (IN, "0.000000001", "USDT", -1111),
        (IN, "x", "USDT", -1130),
        (IN, "1e30", "USDT", -1130),
        (IN, "1", "NOPE", -1108),
        ("NOPE", "1", "USDT", -1130),
        ("", "1", "USDT", -1102),
        (IN, "", "USDT", -1102),
        (IN, "1", "", -1102),
    ],
)
def test_refused_transfers_move_nothing(desk: Desk, way: str, amount: str, asset: str, code: int) -> None:
    before = desk.books()
    assert move(desk, way, amount, asset).outcome == (400, code)
    assert desk.books() == before


def test_every_other_way_is_refused_by_code(desk: Desk) -> None:
    before = desk.books()
    for way in TYPES:
        if way not in {IN, OUT}:
            to_futures = way.endswith(("_UMFUTURE", "_CMFUTURE")) and not way.startswith("OPTION")
            assert move(desk, way, "1").outcome == (400, -21002 if to_futures else -1020), way
            assert history(desk, way).json == {"total": 0, "rows": []}
    assert desk.books() == before


def test_what_is_in_futures_cannot_go_out(desk: Desk) -> None:
    assert move(desk, OUT, "7").code == -5013
    assert desk.post("auto-collection", ALICE).status == 200
    assert move(desk, OUT, "7").status == 200


def test_what_positions_need_cannot_go_out(desk: Desk) -> None:
    move(desk, IN, "100")
    alice = desk.account("alice")

    async def placed() -> Answer:
        position = SetPosition(Wallet.UM, "BTCUSDT", ONE // 5, 60_000 * ONE)
        return await desk.venue.submit(alice, position)

    assert isinstance(desk.run(placed()), Stored)
    most = desk.get("margin/maxWithdraw", ALICE, "asset=USDT").json["amount"]
    assert 0 < float(most) < 100
    before = desk.books()
    over = move(desk, OUT, "99.99999999")
    assert (over.outcome, over.json["msg"]) == ((400, -3020), "Transfer out amount exceeds max amount.")
    assert move(desk, OUT, "100.00000001").code == -5013
    assert desk.books() == before
    assert move(desk, OUT, most).status == 200


def test_the_history_lists_each_way_newest_first(desk: Desk) -> None:
    ids = []
    for amount in ("1", "2.5"):
        ids.append(move(desk, IN, amount).json["tranId"])
        desk.clock.advance(1_000)
    out = move(desk, OUT, "0.5").json["tranId"]
    assert history(desk, IN).json == {
        "total": 2,
        "rows": [
            {"asset": "USDT", "amount": text, "type": IN, "status": "CONFIRMED", "tranId": tran, "timestamp": time}
            for text, tran, time in (("2.5", ids[1], NOW + 1_000), ("1.0", ids[0], NOW))
        ],
    }
    assert [row["tranId"] for row in history(desk, OUT).json["rows"]] == [out]


def test_a_deposit_of_the_operator_is_in_the_history_and_a_collection_is_not(desk: Desk) -> None:
    desk.populate(
        """
        [[account]]
        name = "bob"
        key = [{ api_key = "bob", secret = "bob-secret" }]
        UM = { USDT = "1" }
        MARGIN = { USDT = "9" }
        """
    )
    assert desk.post("auto-collection", plain("bob")).status == 200
    found = desk.sapi("GET", "asset/transfer", plain("bob"), f"type={IN}").json
    assert [row["amount"] for row in found["rows"]] == ["9.0"]


def test_pages(desk: Desk) -> None:
    for number in range(1, 13):
        assert move(desk, IN, str(number)).status == 200
    whole = [f"{number}.0" for number in range(12, 0, -1)]

    def page(parameters: str) -> list[str]:
        found = history(desk, IN, parameters).json
        assert found["total"] == 12
        return [row["amount"] for row in found["rows"]]

    assert page("") == whole[:10]
    assert page("&current=2") == whole[10:]
    assert page("&size=5&current=2") == whole[5:10]
    assert page("&size=100") == whole
    assert page("&current=3") == []


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("&size=0", -1130),
        ("&size=101", -1130),
        ("&current=0", -1130),
        ("&current=x", -1100),
        ("&startTime=2&endTime=1", -1023),
        ("&startTime=", -1105),
    ],
)
def test_refused_readings(desk: Desk, parameters: str, code: int) -> None:
    assert history(desk, IN, parameters).outcome == (400, code)


def test_the_window_is_a_week_unless_told_and_six_months_at_most(desk: Desk) -> None:
    move(desk, IN, "1")
    desk.clock.advance(7 * DAY_MS)
    assert history(desk, IN).json["total"] == 1
    desk.clock.advance(1)
    assert history(desk, IN).json["total"] == 0
    assert history(desk, IN, f"&startTime={NOW}").json["total"] == 1
    assert history(desk, IN, f"&startTime=0&endTime={NOW - 1}").json["total"] == 0
    desk.clock.advance(173 * DAY_MS)
    assert history(desk, IN, "&startTime=0").json["total"] == 0
