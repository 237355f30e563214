"""The walk that every stock client is sent on, whatever its own names for the calls are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Protocol

from tests.acceptance.people import (
    AT_FIRST,
    CM_TRANSFERS,
    COLLECTED,
    FIELDS,
    UM_TRANSFERS,
    WITHOUT_A_TENTH_BTC,
    WITHOUT_THE_SMALLEST_UNIT,
    WITHOUT_USDT,
    Row,
)

ACCOUNT = {
    "uniMMR",
    "accountEquity",
    "actualEquity",
    "accountInitialMargin",
    "accountMaintMargin",
    "accountStatus",
    "virtualMaxWithdrawAmount",
    "totalAvailableBalance",
    "totalMarginOpenLoss",
    "updateTime",
}


class Client(Protocol):
    """What a client must be able to ask; answers as the wire has them."""

    def ping(self) -> Any: ...
    def balances(self) -> list[dict[str, Any]]: ...
    def balance(self, asset: str) -> dict[str, Any]: ...
    def account(self) -> dict[str, Any]: ...
    def um_account(self) -> dict[str, Any]: ...
    def um_account_v2(self) -> dict[str, Any]: ...
    def cm_account(self) -> dict[str, Any]: ...
    def um_income(self, kind: str) -> list[dict[str, Any]]: ...
    def cm_income(self, kind: str) -> list[dict[str, Any]]: ...
    def collect(self) -> dict[str, Any]: ...
    def collect_asset(self, asset: str, amount: float | None = None, wallet: str | None = None) -> dict[str, Any]: ...


def held(client: Client) -> dict[str, Row]:
    """Every balance the client sees, by asset."""
    found = {}
    for row in client.balances():
        um, cm, free, locked, total = (row[field] for field in FIELDS)
        found[row["asset"]] = (um, cm, free, locked, total)
    return found


def check_walk(client: Client) -> None:
    """Read, collect in four steps, and compare every balance exactly after each."""
    client.ping()
    assert held(client) == AT_FIRST
    equity = check_readings(client, AT_FIRST)

    assert client.collect_asset("BTC", 0.1, "CM") == {"msg": "success"}
    assert held(client) == WITHOUT_A_TENTH_BTC
    assert client.collect_asset("BTC", 1e-08, "UM") == {"msg": "success"}
    assert held(client) == WITHOUT_THE_SMALLEST_UNIT
    assert client.collect_asset("USDT") == {"msg": "success"}
    assert held(client) == WITHOUT_USDT
    assert client.collect() == {"msg": "success"}
    assert held(client) == COLLECTED
    assert client.collect() == {"msg": "success"}, "nothing is left"
    assert held(client) == COLLECTED

    assert check_readings(client, COLLECTED) == equity
    check_incomes(client)


def check_readings(client: Client, rows: dict[str, Row]) -> Decimal:
    """The other readings say the same; gives the equity."""
    for asset, (um, cm, *_) in rows.items():
        one = client.balance(asset)
        assert (one["asset"], one["umWalletBalance"], one["cmWalletBalance"]) == (asset, um, cm)
        assert one.get("crossMarginAsset") is None
    for answer, place in ((client.um_account(), 0), (client.um_account_v2(), 0), (client.cm_account(), 1)):
        assert {asset["asset"]: asset["crossWalletBalance"] for asset in answer["assets"]} == {
            asset: row[place] for asset, row in rows.items()
        }
        assert answer["positions"] == []
    account = client.account()
    assert set(account) == ACCOUNT
    assert account["accountStatus"] == "NORMAL"
    return Decimal(account["accountEquity"])


def check_incomes(client: Client) -> None:
    """Each collection is a transfer out of the wallet it left."""
    um, cm = client.um_income("TRANSFER"), client.cm_income("TRANSFER")
    assert [(row["asset"], row["income"]) for row in um] == UM_TRANSFERS
    assert {(row["asset"], row["income"]) for row in cm} == CM_TRANSFERS
    assert len(cm) == len(CM_TRANSFERS)
    for row in um + cm:
        assert row["incomeType"] == "TRANSFER"
        assert type(row["tranId"]) is str
        assert int(row["time"]) > 0
    assert len({row["tranId"] for row in um + cm}) == len(um) + len(cm)
