"""The walk that every stock client is sent on, whatever its own names for the calls are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.acceptance.calls import NO_METHOD, SERVED, Client
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
from tests.acceptance.program import Program
from tests.acceptance.venue_side import charge_and_exchange
from tests.acceptance.walk_on import check_downloads, check_margin, check_no_positions, check_rules

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


def held(client: Client) -> dict[str, Row]:
    """Every balance the client sees, by asset."""
    found = {}
    for row in client.ask("GET v1/balance"):
        um, cm, free, locked, total = (row[field] for field in FIELDS)
        found[row["asset"]] = (um, cm, free, locked, total)
    return found


def check_walk(client: Client, program: Program, name: str) -> None:
    """Read, collect in four steps, and compare every balance exactly after each."""
    assert client.ask("GET v1/ping") == {}
    assert held(client) == AT_FIRST
    equity = check_readings(client, AT_FIRST)

    assert collected(client, "BTC", amount=0.1, futureType="CM") == {"msg": "success"}
    assert held(client) == WITHOUT_A_TENTH_BTC
    assert collected(client, "BTC", amount=1e-08, futureType="UM") == {"msg": "success"}
    assert held(client) == WITHOUT_THE_SMALLEST_UNIT
    assert collected(client, "USDT") == {"msg": "success"}
    assert held(client) == WITHOUT_USDT
    assert client.ask("POST v1/auto-collection") == {"msg": "success"}
    assert held(client) == COLLECTED
    assert client.ask("POST v1/auto-collection") == {"msg": "success"}, "nothing is left"
    assert held(client) == COLLECTED

    assert check_readings(client, COLLECTED) == equity
    check_incomes(client)
    check_rules(client)
    check_downloads(client)
    check_no_positions(client)
    check_margin(client, lambda: charge_and_exchange(program, name))
    check_listen_key(client)
    assert client.asked == {call for call in SERVED - NO_METHOD if client.has(call)}, "each method it has was called"


def collected(client: Client, asset: str, **parameters: Any) -> Any:
    return client.ask("POST v1/asset-collection", asset=asset, **parameters)


def check_readings(client: Client, rows: dict[str, Row]) -> Decimal:
    """The other readings say the same; gives the equity."""
    for asset, (um, cm, *_) in rows.items():
        one = client.ask("GET v1/balance", asset=asset)
        assert (one["asset"], one["umWalletBalance"], one["cmWalletBalance"]) == (asset, um, cm)
        assert one.get("crossMarginAsset") is None
    for call, place in (("GET v1/um/account", 0), ("GET v2/um/account", 0), ("GET v1/cm/account", 1)):
        answer = client.ask(call)
        assert {asset["asset"]: asset["crossWalletBalance"] for asset in answer["assets"]} == {
            asset: row[place] for asset, row in rows.items()
        }
        assert answer["positions"] == []
    account = client.ask("GET v1/account")
    assert set(account) == ACCOUNT
    assert account["accountStatus"] == "NORMAL"
    return Decimal(account["accountEquity"])


def check_incomes(client: Client) -> None:
    """Each collection is a transfer out of the wallet it left."""
    um, cm = (client.ask(f"GET v1/{wallet}/income", incomeType="TRANSFER") for wallet in ("um", "cm"))
    assert [(row["asset"], row["income"]) for row in um] == UM_TRANSFERS
    assert {(row["asset"], row["income"]) for row in cm} == CM_TRANSFERS
    assert len(cm) == len(CM_TRANSFERS)
    for row in um + cm:
        assert row["incomeType"] == "TRANSFER"
        assert type(row["tranId"]) is str
        assert int(row["time"]) > 0
    assert len({row["tranId"] for row in um + cm}) == len(um) + len(cm)


def check_listen_key(client: Client) -> None:
    """One key while it lives, prolonged and given up; the next is another."""
    key = client.ask("POST v1/listenKey")["listenKey"]
    assert key.isascii()
    assert key.isalnum()
    assert client.ask("POST v1/listenKey") == {"listenKey": key}
    assert client.ask("PUT v1/listenKey") == {}
    assert client.ask("DELETE v1/listenKey") == {}
    assert client.ask("POST v1/listenKey")["listenKey"] != key
