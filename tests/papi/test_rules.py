"""The small answers about what an account may do and pays: each as the wire has it, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catchment.symbol import Market
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE, BOB, READER = plain("alice"), plain("bob"), plain("reader")
PEOPLE = """
[[account]]
name = "alice"
key = [{ api_key = "alice", secret = "alice-secret" },
       { api_key = "reader", secret = "reader-secret", permissions = ["READ"] }]
[[account]]
name = "bob"
key = [{ api_key = "bob", secret = "bob-secret" }]
"""


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE) as desk:
        yield desk


# fmt: off
ANSWERS: list[tuple[str, str, Any]] = [
    ("rateLimit/order", "",
     [{"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200}]),
    ("um/apiTradingStatus", "", {"indicators": {}, "updateTime": NOW}),
    ("um/apiTradingStatus", "symbol=BTCUSDT", {"indicators": {}, "updateTime": NOW}),
    ("um/accountConfig", "",
     {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "dualSidePosition": False,
      "updateTime": 0, "multiAssetsMargin": False, "tradeGroupId": -1}),
    ("um/positionSide/dual", "", {"dualSidePosition": False}),
    ("cm/positionSide/dual", "", {"dualSidePosition": False}),
    ("um/feeBurn", "", {"feeBurn": False}),
    ("um/commissionRate", "symbol=BTCUSDT",
     {"symbol": "BTCUSDT", "makerCommissionRate": "0.000200", "takerCommissionRate": "0.000500"}),
    ("cm/commissionRate", "symbol=BTCUSD_PERP",
     {"symbol": "BTCUSD_PERP", "makerCommissionRate": "0.000100", "takerCommissionRate": "0.000500"}),
    ("um/adlQuantile", "", []),
    ("cm/adlQuantile", "symbol=BTCUSD_PERP", []),
]
# fmt: on


@pytest.mark.parametrize(("path", "parameters", "answer"), ANSWERS)
def test_an_answer_on_the_wire(desk: Desk, path: str, parameters: str, answer: Any) -> None:
    found = desk.get(path, ALICE, parameters).json
    assert found == answer
    if isinstance(found, dict):
        assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in answer.items()}


@pytest.mark.parametrize("path", ["um/commissionRate", "cm/commissionRate", "um/leverageBracket", "cm/leverageBracket"])
@pytest.mark.parametrize("symbol", ["NOPE", "btcusdt", "BTC"])
def test_an_unknown_symbol(desk: Desk, path: str, symbol: str) -> None:
    assert desk.get(path, ALICE, f"symbol={symbol}").outcome == (400, -1121)


def test_a_symbol_of_the_other_market_is_unknown(desk: Desk) -> None:
    for path in ("commissionRate", "leverageBracket"):
        assert desk.get(f"um/{path}", ALICE, "symbol=BTCUSD_PERP").code == -1121
        assert desk.get(f"cm/{path}", ALICE, "symbol=BTCUSDT").code == -1121


def test_a_rate_needs_a_symbol(desk: Desk) -> None:
    assert desk.get("um/commissionRate", ALICE).outcome == (400, -1102)
    assert desk.get("cm/commissionRate", ALICE).outcome == (400, -1102)


@pytest.mark.parametrize(("market", "cap"), [(Market.UM, "notional"), (Market.CM, "qty")])
def test_leverage_brackets(desk: Desk, market: Market, cap: str) -> None:
    path = f"{market.lower()}/leverageBracket"
    rows = desk.get(path, ALICE).json
    assert [row["symbol"] for row in rows] == list(desk.venue.symbols[market])
    name = rows[0]["symbol"]
    assert desk.get(path, ALICE, f"symbol={name}").json == rows[:1]
    for bracket, known in zip(rows[0]["brackets"], desk.venue.symbols[market][name].brackets, strict=True):
        assert set(bracket) == {"bracket", "initialLeverage", f"{cap}Cap", f"{cap}Floor", "maintMarginRatio", "cum"}
        assert (bracket[f"{cap}Floor"], bracket[f"{cap}Cap"]) == (known.floor, known.cap)
        assert round(bracket["maintMarginRatio"] * 10_000) == known.ratio
        assert round(bracket["cum"] * 10_000) == known.cum
        assert type(bracket["cum"]) is (int if market is Market.UM else float)


def test_numbers_are_written_as_a_person_would(desk: Desk) -> None:
    body = desk.get("cm/leverageBracket", ALICE, "symbol=BTCUSD_PERP").body
    assert b'"maintMarginRatio":0.004,"cum":0.0}' in body
    assert b'"maintMarginRatio":0.005,"cum":0.005}' in body


def test_the_fee_switch_is_kept_for_each_account(desk: Desk) -> None:
    before = desk.books()
    for text, on in (("true", True), ("True", True), ("False", False), ("true", True)):
        assert desk.post("um/feeBurn", ALICE, f"feeBurn={text}").json == {"code": 200, "msg": "success"}
        assert desk.get("um/feeBurn", ALICE).json == {"feeBurn": on}
    assert desk.get("um/feeBurn", BOB).json == {"feeBurn": False}
    assert desk.books() == before, "it moves no money"


def test_refused_fee_switches_change_nothing(desk: Desk) -> None:
    assert desk.post("um/feeBurn", ALICE).outcome == (400, -1102)
    for text in ("TRUE", "1", "yes"):
        assert desk.post("um/feeBurn", ALICE, f"feeBurn={text}").outcome == (400, -1130)
    assert desk.post("um/feeBurn", READER, "feeBurn=true").outcome == (401, -2015)
    assert desk.get("um/feeBurn", ALICE).json == {"feeBurn": False}
