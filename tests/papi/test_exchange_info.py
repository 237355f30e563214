"""What clients load first: exchangeInfo of the three markets, margin pairs, coins, and who may ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE, OUTSIDER = plain("alice"), plain("outsider")
PEOPLE = """
[[account]]
name = "alice"
key = [{ api_key = "alice", secret = "alice-secret" }]
[[account]]
name = "outsider"
portfolio_margin = false
key = [{ api_key = "outsider", secret = "outsider-secret" }]
"""


@pytest.fixture
def desk() -> Iterator[Desk]:
    settings: dict[str, Any] = {"symbols": {"ZZZUSDT": "0.010/0.5", "ZZZUSD_PERP": "0.1/20"}, "assets": {"ZZZ": 3}}
    with open_desk(PEOPLE, **settings) as desk:
        yield desk


def symbols(desk: Desk, path: str) -> dict[str, dict[str, Any]]:
    answer = desk.send("GET", path).json
    assert (answer["timezone"], answer["serverTime"]) == ("UTC", NOW)
    assert answer["rateLimits"][0]["limit"] == 6_000
    return {row["symbol"]: row for row in answer["symbols"]}


def filters(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {found["filterType"]: found for found in row["filters"]}


def test_spot_pairs(desk: Desk) -> None:
    found = symbols(desk, "/api/v3/exchangeInfo")
    row = found["ZZZUSDT"]
    assert (row["baseAsset"], row["quoteAsset"], row["status"]) == ("ZZZ", "USDT", "TRADING")
    assert "contractType" not in row, "by it ccxt knows a contract"
    assert filters(row)["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters(row)["LOT_SIZE"]["stepSize"] == "0.50000000"
    assert {"BTCUSDT", "ETHUSDT", "BNBUSDT"} <= set(found)


def test_one_spot_pair(desk: Desk) -> None:
    one = desk.send("GET", "/api/v3/exchangeInfo", b"symbol=BTCUSDT").json["symbols"]
    assert [row["symbol"] for row in one] == ["BTCUSDT"]
    for name in (b"NOPE", b"BTCUSD_PERP", b"btcusdt"):
        answer = desk.send("GET", "/api/v3/exchangeInfo", b"symbol=" + name)
        assert (answer.outcome, answer.json["msg"]) == ((400, -1121), "Invalid symbol.")


def test_um_contracts(desk: Desk) -> None:
    row = symbols(desk, "/fapi/v1/exchangeInfo")["ZZZUSDT"]
    assert (row["pair"], row["contractType"], row["deliveryDate"]) == ("ZZZUSDT", "PERPETUAL", 4_133_404_800_000)
    assert (row["marginAsset"], row["status"]) == ("USDT", "TRADING")
    assert (row["pricePrecision"], row["quantityPrecision"]) == (3, 1)
    assert filters(row)["MIN_NOTIONAL"] == {"filterType": "MIN_NOTIONAL", "notional": "5"}
    assets = desk.send("GET", "/fapi/v1/exchangeInfo").json["assets"]
    assert [asset["asset"] for asset in assets] == ["USDC", "USDT"]


def test_cm_contracts(desk: Desk) -> None:
    row = symbols(desk, "/dapi/v1/exchangeInfo")["ZZZUSD_PERP"]
    assert (row["pair"], row["marginAsset"], row["contractSize"]) == ("ZZZUSD", "ZZZ", 20)
    assert (row["contractStatus"], row["quantityPrecision"]) == ("TRADING", 0)
    assert "status" not in row
    assert "MIN_NOTIONAL" not in filters(row)


def test_margin_pairs_are_the_spot_pairs(desk: Desk) -> None:
    spot = set(symbols(desk, "/api/v3/exchangeInfo"))
    cross = desk.sapi("GET", "margin/allPairs", ALICE).json
    isolated = desk.sapi("GET", "margin/isolated/allPairs", ALICE).json
    assert {pair["symbol"] for pair in cross} == {pair["symbol"] for pair in isolated} == spot
    assert [pair.pop("id") for pair in cross] == list(range(1, len(spot) + 1))
    assert cross == isolated


def test_coins_are_the_assets_with_their_precision(desk: Desk) -> None:
    coins = {coin["coin"]: coin for coin in desk.sapi("GET", "capital/config/getall", ALICE).json}
    assert set(coins) == set(desk.venue.assets)
    (network,) = coins["ZZZ"]["networkList"]
    assert network["withdrawIntegerMultiple"] == "0.001"
    assert (network["depositEnable"], network["withdrawEnable"]) == (False, False)
    assert {type(value) for name, value in coins["BTC"].items() if name in {"free", "locked", "freeze"}} == {str}


def test_system_status(desk: Desk) -> None:
    assert desk.send("GET", "/sapi/v1/system/status").json == {"status": 0, "msg": "normal"}


def test_who_may_ask(desk: Desk) -> None:
    """Market data takes a living key without a signature; coins any account, one outside Portfolio Margin too."""
    for path in ("margin/allPairs", "margin/isolated/allPairs"):
        assert desk.send("GET", f"/sapi/v1/{path}", api_key="alice").status == 200
        assert desk.send("GET", f"/sapi/v1/{path}").outcome == (401, -2014)
        assert desk.send("GET", f"/sapi/v1/{path}", api_key="unknown").outcome == (401, -2015)
    assert desk.sapi("GET", "capital/config/getall", OUTSIDER).status == 200
    assert desk.send("GET", "/sapi/v1/capital/config/getall", api_key="alice").outcome == (400, -1102)
