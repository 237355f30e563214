"""Positions on the wire: each field of each endpoint, filters, refusals, and that all readings of an account agree."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from catchment.errors import Rejection
from catchment.ledger.commands import SetPosition
from catchment.market import Figure
from catchment.symbol import Market
from catchment.wallet import Wallet
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE, EMPTY = plain("alice"), plain("empty")
PEOPLE = """
[prices]
mark = { BTCUSDT = "62000", ETHUSDT = "3000.5", BTCUSD_PERP = "50000" }
index = { BTC = "60000" }
collateral = { BTC = "0.95" }

[[account]]
name = "alice"
key = [{ api_key = "alice", secret = "alice-secret" }]
UM = { USDT = "1000" }
CM = { BTC = "1" }

[[account.position]]
symbol = "BTCUSDT"
amount = "0.5"
entry_price = "60000"
leverage = 10

[[account.position]]
symbol = "ETHUSDT"
amount = "-0.2"
entry_price = "3000.5"

[[account.position]]
symbol = "BTCUSD_PERP"
amount = "600"
entry_price = "60000"

[[account]]
name = "empty"
key = [{ api_key = "empty", secret = "empty-secret" }]
"""

# 0.5 x 62000 = 31000, / 10, x 0.4 %, and 0.5 x 2000; -0.2 x 3000.5 = -600.1, / 20, x 0.4 %;
# 60000 USD at 50000 are 1.2 BTC, / 20, x 0.4 %, and 60000 x (1 / 60000 - 1 / 50000) = -0.2.
BTCUSDT = {
    "symbol": "BTCUSDT",
    "initialMargin": "3100.0",
    "maintMargin": "124.0",
    "unrealizedProfit": "1000.00000000",
    "positionSide": "BOTH",
    "positionAmt": "0.500",
    "updateTime": NOW,
}
ETHUSDT = {
    "symbol": "ETHUSDT",
    "initialMargin": "30.005",
    "maintMargin": "2.4004",
    "unrealizedProfit": "0.00000000",
    "positionSide": "BOTH",
    "positionAmt": "-0.200",
    "updateTime": NOW,
}
PERP = {
    "symbol": "BTCUSD_PERP",
    "positionAmt": "600",
    "initialMargin": "0.06",
    "maintMargin": "0.0048",
    "unrealizedProfit": "-0.20000000",
    "positionInitialMargin": "0.06",
    "openOrderInitialMargin": "0",
    "leverage": "20",
    "positionSide": "BOTH",
    "entryPrice": "60000.0",
    "maxQty": "50",
    "updateTime": NOW,
}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def position(desk: Desk, command: SetPosition) -> None:
    account = desk.account("alice")

    async def submit() -> object:
        return await desk.venue.submit(account, command)

    assert not isinstance(desk.run(submit()), Rejection)


def mark(desk: Desk, symbol: str, price: str) -> None:
    assert not isinstance(desk.run(desk.venue.market.set(Figure.MARK, symbol, price)), Rejection)


# The futures accounts ------------------------------------------------------------------------------------------------


def test_um_account_both_versions(desk: Desk) -> None:
    v1, v2 = (desk.call("GET", f"/papi/{version}/um/account", ALICE).json for version in ("v1", "v2"))
    assert v1["assets"] == v2["assets"]
    assert {asset["asset"]: asset for asset in v1["assets"]}["USDT"] == {
        "asset": "USDT",
        "crossWalletBalance": "1000.0",
        "crossUnPnl": "1000.0",
        "maintMargin": "126.4004",
        "initialMargin": "3130.005",
        "positionInitialMargin": "3130.005",
        "openOrderInitialMargin": "0",
        "updateTime": NOW,
    }
    more = {"openOrderInitialMargin": "0", "bidNotional": "0", "askNotional": "0"}
    assert v1["positions"] == [
        BTCUSDT
        | more
        | {
            "positionInitialMargin": "3100.0",
            "leverage": "10",
            "entryPrice": "60000.0",
            "maxNotional": "230000000",
        },
        ETHUSDT
        | more
        | {
            "positionInitialMargin": "30.005",
            "leverage": "20",
            "entryPrice": "3000.5",
            "maxNotional": "100000000",
        },
    ]
    assert v2["positions"] == [BTCUSDT | {"notional": "31000.0"}, ETHUSDT | {"notional": "-600.1"}]


def test_cm_account(desk: Desk) -> None:
    found = desk.get("cm/account", ALICE).json
    assert found["positions"] == [PERP]
    assert {asset["asset"]: asset["crossUnPnl"] for asset in found["assets"]} == {"BTC": "-0.2", "USDT": "0"}


def test_an_asset_that_only_a_position_brings_is_listed(desk: Desk) -> None:
    position(desk, SetPosition(Wallet.CM, "ETHUSD_PERP", 5 * 10**8, 3_000 * 10**8))
    um, cm = (desk.get(f"{wallet}/account", ALICE).json["assets"] for wallet in ("um", "cm"))
    assert [row["asset"] for row in um] == ["BTC", "USDT"]
    assert [row["asset"] for row in cm] == ["BTC", "ETH", "USDT"]
    rows = {row["asset"]: row for row in desk.get("balance", ALICE).json}
    assert (rows["ETH"]["updateTime"], rows["ETH"]["totalWalletBalance"]) == (0, "0.0")


# Position risk -------------------------------------------------------------------------------------------------------


def test_um_position_risk(desk: Desk) -> None:
    found = desk.get("um/positionRisk", ALICE).json
    assert found[0] == {
        "entryPrice": "60000.0",
        "leverage": "10",
        "markPrice": "62000.00000000",
        "maxNotionalValue": "230000000",
        "positionAmt": "0.500",
        "notional": "31000.0",
        "symbol": "BTCUSDT",
        "unRealizedProfit": "1000.00000000",
        "liquidationPrice": "0",
        "positionSide": "BOTH",
        "updateTime": NOW,
    }
    assert [row["symbol"] for row in found] == ["BTCUSDT", "ETHUSDT"]
    assert desk.get("um/positionRisk", ALICE, "symbol=BTCUSDT").json == found[:1]
    assert desk.get("um/positionRisk", EMPTY).json == []


def test_a_symbol_without_a_position_is_flat(desk: Desk) -> None:
    [row] = desk.get("um/positionRisk", EMPTY, "symbol=BTCUSDT").json
    assert row == {
        "entryPrice": "0.0",
        "leverage": "20",
        "markPrice": "62000.00000000",
        "maxNotionalValue": "100000000",
        "positionAmt": "0.000",
        "notional": "0",
        "symbol": "BTCUSDT",
        "unRealizedProfit": "0.00000000",
        "liquidationPrice": "0",
        "positionSide": "BOTH",
        "updateTime": 0,
    }


def test_both_sides_of_a_symbol(desk: Desk) -> None:
    position(desk, SetPosition(Wallet.UM, "SOLUSDT", 10**8, 150 * 10**8, 20, "LONG"))
    position(desk, SetPosition(Wallet.UM, "SOLUSDT", -3 * 10**8, 150 * 10**8, 20, "SHORT"))
    rows = desk.get("um/positionRisk", ALICE, "symbol=SOLUSDT").json
    assert [(row["positionSide"], row["positionAmt"]) for row in rows] == [("LONG", "1.00"), ("SHORT", "-3.00")]


def test_cm_position_risk_and_its_filters(desk: Desk) -> None:
    row = {
        "symbol": "BTCUSD_PERP",
        "positionAmt": "600",
        "entryPrice": "60000.0",
        "markPrice": "50000.00000000",
        "unRealizedProfit": "-0.20000000",
        "liquidationPrice": "0",
        "leverage": "20",
        "positionSide": "BOTH",
        "updateTime": NOW,
        "maxQty": "50",
        "notionalValue": "1.2",
    }
    for parameters in ("", "marginAsset=BTC", "pair=BTCUSD", "marginAsset=BTC&pair=BTCUSD"):
        assert desk.get("cm/positionRisk", ALICE, parameters).json == [row]
    for parameters in ("marginAsset=ETH", "pair=ETHUSD", "marginAsset=BTC&pair=ETHUSD", "pair=BTCUSD_PERP"):
        assert desk.get("cm/positionRisk", ALICE, parameters).json == []


def test_the_configuration_of_symbols(desk: Desk) -> None:
    found = {row["symbol"]: row for row in desk.get("um/symbolConfig", ALICE).json}
    assert set(found) == set(desk.venue.symbols[Market.UM])
    assert found["BTCUSDT"] == {
        "symbol": "BTCUSDT",
        "marginType": "CROSSED",
        "isAutoAddMargin": "false",
        "leverage": 10,
        "maxNotionalValue": "230000000",
    }
    assert (found["BNBUSDT"]["leverage"], found["BNBUSDT"]["maxNotionalValue"]) == (20, "100000000")
    assert desk.get("um/symbolConfig", ALICE, "symbol=BTCUSDT").json == [found["BTCUSDT"]]


@pytest.mark.parametrize("path", ["um/positionRisk", "um/symbolConfig"])
@pytest.mark.parametrize("symbol", ["NOPE", "btcusdt", "BTCUSD_PERP", "USDCUSDT"])
def test_an_unknown_symbol_is_refused(desk: Desk, path: str, symbol: str) -> None:
    answer = desk.get(path, ALICE, f"symbol={symbol}")
    assert (answer.outcome, answer.json["msg"]) == ((400, -1121), "Invalid symbol.")


# The account ---------------------------------------------------------------------------------------------------------


def test_balance_and_account_with_positions(desk: Desk) -> None:
    rows = {row["asset"]: row for row in desk.get("balance", ALICE).json}
    assert (rows["USDT"]["umUnrealizedPNL"], rows["USDT"]["cmUnrealizedPNL"]) == ("1000.0", "0.0")
    assert (rows["BTC"]["umUnrealizedPNL"], rows["BTC"]["cmUnrealizedPNL"]) == ("0.0", "-0.2")
    assert desk.get("balance", ALICE, "asset=BTC").json["cmUnrealizedPNL"] == "-0.2"
    assert desk.get("account", ALICE).json == {
        "uniMMR": "114.86475399",  # 47600 / 414.4004 = 114.864753991...
        "accountEquity": "47600.0",  # 1000 + 1000 + 0.8 x 60000 x 0.95
        "actualEquity": "50000.0",
        "accountInitialMargin": "6730.005",  # 3130.005 + 0.06 x 60000
        "accountMaintMargin": "414.4004",  # 126.4004 + 0.0048 x 60000
        "accountStatus": "NORMAL",
        "virtualMaxWithdrawAmount": "47102.71952",  # less 1.2 x 414.4004 = 497.28048
        "totalAvailableBalance": "40869.995",
        "totalMarginOpenLoss": "0.0",
        "updateTime": NOW,
    }


# With 5 BTC, equity is 46600 + 5 x (mark - 60000), and maintenance 5 x mark x 0.5 % - 50 + 290.4004 of the others.
@pytest.mark.parametrize(
    ("price", "status"),
    [
        ("51200", "NORMAL"),  # 2600 / 1520.4004 = 1.71
        ("51100", "MARGIN_CALL"),  # 2100 / 1517.9004 = 1.38
        ("51000", "REDUCE_ONLY"),  # 1600 / 1515.4004 = 1.056
        ("50990", "FORCE_LIQUIDATION"),  # 1550 / 1515.1504 = 1.02
        ("50600", "BANKRUPTED"),  # -400
    ],
)
def test_the_status_follows_the_mark_price(desk: Desk, price: str, status: str) -> None:
    position(desk, SetPosition(Wallet.UM, "BTCUSDT", 5 * 10**8, 60_000 * 10**8))
    mark(desk, "BTCUSDT", price)
    assert desk.get("account", ALICE).json["accountStatus"] == status


def test_what_may_be_withdrawn_and_borrowed(desk: Desk) -> None:
    assert desk.get("margin/maxWithdraw", ALICE, "asset=USDT").json == {"amount": "0.0"}, "nothing is free"
    assert desk.post("auto-collection", ALICE).status == 200
    # USDT: all 1000. BTC: 0.8 counts for 45600, all of which may go, and 1502.71952 at the full price of 60000 more.
    assert desk.get("margin/maxWithdraw", ALICE, "asset=USDT").json == {"amount": "1000.0"}
    assert desk.get("margin/maxWithdraw", ALICE, "asset=BTC").json == {"amount": "0.82504532"}
    # 4 x 47102.71952; in BTC 3.14018130...
    assert desk.get("margin/maxBorrowable", ALICE, "asset=USDT").json == {
        "amount": "188410.87808",
        "borrowLimit": "1000000.0",
    }
    assert desk.get("margin/maxBorrowable", ALICE, "asset=BTC").json == {
        "amount": "3.1401813",
        "borrowLimit": "1000000.0",
    }
    assert desk.get("margin/maxBorrowable", EMPTY, "asset=BTC").json["amount"] == "0.0"


@pytest.mark.parametrize("path", ["margin/maxWithdraw", "margin/maxBorrowable"])
@pytest.mark.parametrize(("parameters", "code"), [("", -1102), ("asset=", -1102), ("asset=NOPE", -1108)])
def test_an_asset_must_be_named(desk: Desk, path: str, parameters: str, code: int) -> None:
    assert desk.get(path, ALICE, parameters).outcome == (400, code)


def test_all_readings_agree_after_any_mark_price(desk: Desk) -> None:
    for price in ("62000", "61999.99999999", "0.00000001", "92233720368.54775807"):
        mark(desk, "BTCUSDT", price)
        rows = {row["asset"]: row for row in desk.get("balance", ALICE).json}
        v2 = desk.call("GET", "/papi/v2/um/account", ALICE).json
        risks = desk.get("um/positionRisk", ALICE).json
        profit = Decimal(rows["USDT"]["umUnrealizedPNL"])
        assert profit == sum(Decimal(row["unrealizedProfit"]) for row in v2["positions"])
        assert profit == sum(Decimal(row["unRealizedProfit"]) for row in risks)
        assert profit == {asset["asset"]: Decimal(asset["crossUnPnl"]) for asset in v2["assets"]}["USDT"]
        account: dict[str, Any] = desk.get("account", ALICE).json
        assert Decimal(account["actualEquity"]) == 1_000 + profit + Decimal("0.8") * 60_000
        assert Decimal(account["totalAvailableBalance"]) == Decimal(account["accountEquity"]) - Decimal(
            account["accountInitialMargin"]
        )


def test_a_position_that_is_closed_is_gone(desk: Desk) -> None:
    desk.clock.advance(5)
    for wallet, symbol in ((Wallet.UM, "BTCUSDT"), (Wallet.UM, "ETHUSDT"), (Wallet.CM, "BTCUSD_PERP")):
        position(desk, SetPosition(wallet, symbol, 0, 0))
    assert desk.get("um/positionRisk", ALICE).json == desk.get("cm/positionRisk", ALICE).json == []
    account = desk.get("account", ALICE).json
    assert (account["uniMMR"], account["accountMaintMargin"]) == ("99999999", "0.0")
    assert account["updateTime"] == NOW + 5
