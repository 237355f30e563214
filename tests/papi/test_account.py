"""GET /papi/v1/balance and GET /papi/v1/account: fields, types, texts and sums."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE, EMPTY, EXTREME = plain("alice"), plain("empty"), plain("extreme")
PEOPLE = """
[[account]]
name = "alice"
[[account.key]]
api_key = "alice"
secret = "alice-secret"
[account.UM]
USDT = "330.25"
BNB = "2.5"
ETH = "-0.75"
[account.CM]
BTC = "0.12345678"
ETH = "-0.25"
BNB = "1"
[account.MARGIN]
USDT = { free = "1150", locked = "50", borrowed = "20.5", interest = "0.00000001" }
BTC = { free = "0.5", locked = "0.1" }

[[account]]
name = "empty"
[[account.key]]
api_key = "empty"
secret = "empty-secret"

[[account]]
name = "extreme"
[[account.key]]
api_key = "extreme"
secret = "extreme-secret"
[account.UM]
USDT = "92233720368.54775807"
BTC = "-92233720368.54775807"
"""

LISTED = {
    "asset",
    "totalWalletBalance",
    "crossMarginAsset",
    "crossMarginBorrowed",
    "crossMarginFree",
    "crossMarginInterest",
    "crossMarginLocked",
    "umWalletBalance",
    "umUnrealizedPNL",
    "cmWalletBalance",
    "cmUnrealizedPNL",
    "updateTime",
    "negativeBalance",
}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, prices={"BTC": "60000", "ETH": "2500.5", "BNB": "0"}, weight_per_minute=10**9) as desk:
        yield desk


def rows(desk: Desk) -> dict[str, dict[str, Any]]:
    listed = desk.get("balance", ALICE).json
    assert isinstance(listed, list)
    return {row["asset"]: row for row in listed}


def test_every_asset_the_account_touched_is_listed_once_in_order(desk: Desk) -> None:
    assert [row["asset"] for row in desk.get("balance", ALICE).json] == ["BNB", "BTC", "ETH", "USDT"]
    assert desk.get("balance", EMPTY).json == []


def test_the_row_of_an_asset_in_the_list(desk: Desk) -> None:
    assert rows(desk)["USDT"] == {
        "asset": "USDT",
        "totalWalletBalance": "1530.25",
        "crossMarginAsset": "1200.0",
        "crossMarginBorrowed": "20.5",
        "crossMarginFree": "1150.0",
        "crossMarginInterest": "0.00000001",
        "crossMarginLocked": "50.0",
        "umWalletBalance": "330.25",
        "umUnrealizedPNL": "0.0",
        "cmWalletBalance": "0.0",
        "cmUnrealizedPNL": "0.0",
        "updateTime": NOW,
        "negativeBalance": "0.0",
    }


def test_fields_and_types_of_every_row(desk: Desk) -> None:
    for row in rows(desk).values():
        assert set(row) == LISTED
        for name, value in row.items():
            assert type(value) is (int if name == "updateTime" else str), name


def test_one_asset_is_an_object_without_cross_margin_asset(desk: Desk) -> None:
    for name, row in rows(desk).items():
        one = desk.get("balance", ALICE, {"asset": name}).json
        assert one == {field: value for field, value in row.items() if field != "crossMarginAsset"}


def test_an_asset_never_touched_is_a_row_of_zeros(desk: Desk) -> None:
    row = desk.get("balance", ALICE, "asset=SOL").json
    assert set(row) == LISTED - {"crossMarginAsset"}
    assert (row["asset"], row["updateTime"]) == ("SOL", 0)
    assert {value for name, value in row.items() if name not in {"asset", "updateTime"}} == {"0.0"}


@pytest.mark.parametrize("asset", ["NOPE", "usdt", "undefined", "USDT ", "%00", "null", "A" * 4_000])
def test_an_unknown_asset(desk: Desk, asset: str) -> None:
    answer = desk.get("balance", ALICE, f"asset={asset}")
    assert answer.outcome == (400, -1108)
    assert answer.json["msg"] == "Invalid asset."


def test_an_empty_asset_is_refused_and_not_the_whole_list(desk: Desk) -> None:
    assert desk.get("balance", ALICE, "asset=").outcome == (400, -1105)


def test_totals_are_the_sum_of_the_three_wallets(desk: Desk) -> None:
    for row in rows(desk).values():
        parts = ("crossMarginAsset", "umWalletBalance", "cmWalletBalance")
        assert Decimal(row["totalWalletBalance"]) == sum(Decimal(row[part]) for part in parts)
        assert Decimal(row["crossMarginAsset"]) == Decimal(row["crossMarginFree"]) + Decimal(row["crossMarginLocked"])


def test_a_negative_balance_is_the_debt_of_the_futures_wallets(desk: Desk) -> None:
    found = rows(desk)
    assert found["ETH"]["umWalletBalance"] == "-0.75"
    assert found["ETH"]["cmWalletBalance"] == "-0.25"
    assert found["ETH"]["negativeBalance"] == "-1.0"
    assert found["BNB"]["negativeBalance"] == "0.0"


def test_a_positive_wallet_does_not_cancel_a_negative_one(desk: Desk) -> None:
    desk.populate(
        """
        [[account]]
        name = "both"
        key = [{ api_key = "both", secret = "both-secret" }]
        UM = { ETH = "-2" }
        CM = { ETH = "3" }
        """
    )
    row = desk.get("balance", plain("both"), "asset=ETH").json
    assert (row["totalWalletBalance"], row["negativeBalance"]) == ("1.0", "-2.0")


def test_the_largest_amounts_are_exact(desk: Desk) -> None:
    found = {row["asset"]: row for row in desk.get("balance", EXTREME).json}
    assert found["USDT"]["umWalletBalance"] == "92233720368.54775807"
    assert found["BTC"]["umWalletBalance"] == found["BTC"]["negativeBalance"] == "-92233720368.54775807"


def test_update_time_is_that_of_the_assets_last_change(desk: Desk) -> None:
    desk.clock.advance(5_000)
    assert desk.post("asset-collection", ALICE, "asset=USDT").status == 200
    found = rows(desk)
    assert found["USDT"]["updateTime"] == NOW + 5_000
    assert found["BTC"]["updateTime"] == NOW


# The account ---------------------------------------------------------------------------------------------------------


def test_equity_and_margin_at_the_settings_prices(desk: Desk) -> None:
    # BNB has no price here, and ETH is owed, so it counts in full.
    # USDT: 330.25 + 1200 - 20.5 - 0.00000001                       1509.74999999
    # BTC:  0.72345678 x 60000 = 43407.4068, as collateral x 0.95   41237.03646
    # ETH:  -1 x 2500.5                                             -2500.5
    # The loan of 20.50000001 needs a quarter, 5.12500001, and keeps 8 %, 1.64000001, both rounded up.
    assert desk.get("account", ALICE).json == {
        "uniMMR": "24540.41842352",  # 40246.28645999 / 1.64000001 = 24540.418423527...
        "accountEquity": "40246.28645999",
        "actualEquity": "42416.65679999",
        "accountInitialMargin": "5.12500001",
        "accountMaintMargin": "1.64000001",
        "accountStatus": "NORMAL",
        "virtualMaxWithdrawAmount": "40244.31845997",  # less 1.2 x 1.64000001 = 1.968000012, rounded up
        "totalAvailableBalance": "40241.16145998",
        "totalMarginOpenLoss": "0.0",
        "updateTime": NOW,
    }


def test_an_empty_account_and_one_under_water(desk: Desk) -> None:
    empty = desk.get("account", EMPTY).json
    assert (empty["accountEquity"], empty["virtualMaxWithdrawAmount"], empty["updateTime"]) == ("0.0", "0.0", 0)
    below = desk.get("account", EXTREME).json
    assert Decimal(below["accountEquity"]) == Decimal("92233720368.54775807") * (1 - 60_000)
    assert below["virtualMaxWithdrawAmount"] == "0.0"
    assert below["totalAvailableBalance"] == below["accountEquity"]


def test_a_collection_moves_no_equity(desk: Desk) -> None:
    before = desk.get("account", ALICE).json
    desk.clock.advance(1)
    assert desk.post("auto-collection", ALICE).status == 200
    assert desk.get("account", ALICE).json == {**before, "updateTime": NOW + 1}


def test_each_key_sees_its_own_account(desk: Desk) -> None:
    assert desk.get("balance", EMPTY, "asset=USDT").json["totalWalletBalance"] == "0.0"
    assert desk.get("balance", EXTREME, "asset=USDT").json["totalWalletBalance"] == "92233720368.54775807"
