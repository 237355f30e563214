"""The walk goes on where the collections ended: switches, rules, BNB, loans, the venue's own doings, files."""

from __future__ import annotations

import gzip
import time
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from tests.acceptance.calls import Client

DAY_MS: Final = 86_400_000
SUCCESS: Final = {"msg": "success"}


def moment() -> int:
    return time.time_ns() // 1_000_000


def check_rules(client: Client) -> None:
    """What an account may do and pays; it may be asked for one symbol or all."""
    if client.has("GET v1/rateLimit/order"):
        (limit,) = client.ask("GET v1/rateLimit/order")
        assert (limit["rateLimitType"], limit["interval"], int(limit["limit"])) == ("ORDERS", "MINUTE", 1_200)
    assert client.ask("GET v1/um/apiTradingStatus")["indicators"] == {}
    config = client.ask("GET v1/um/accountConfig")
    assert (config["canTrade"], config["dualSidePosition"], int(config["tradeGroupId"])) == (True, False, -1)
    for wallet, symbol in (("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")):
        assert client.ask(f"GET v1/{wallet}/positionSide/dual") == {"dualSidePosition": False}
        rates = client.ask(f"GET v1/{wallet}/commissionRate", symbol=symbol)
        assert (rates["symbol"], rates["takerCommissionRate"]) == (symbol, "0.000500")
        (ladder,) = client.ask(f"GET v1/{wallet}/leverageBracket", symbol=symbol)
        assert (ladder["symbol"], int(ladder["brackets"][0]["bracket"])) == (symbol, 1)
        assert client.ask(f"GET v1/{wallet}/adlQuantile", symbol=symbol) == []
    assert client.ask("GET v1/um/feeBurn") == {"feeBurn": False}
    assert client.ask("POST v1/um/feeBurn", feeBurn="true")["msg"] == "success"
    assert client.ask("GET v1/um/feeBurn") == {"feeBurn": True}


def check_downloads(client: Client) -> None:
    """Each is asked for by its window, found by its id, and fetched without a key."""
    now = moment()
    for kind, first in (("income", "symbol,incomeType,"), ("order", "symbol,orderId,"), ("trade", "symbol,id,")):
        asked = client.ask(f"GET v1/um/{kind}/asyn", startTime=now - DAY_MS, endTime=now)
        found = client.ask(f"GET v1/um/{kind}/asyn/id", downloadId=asked["downloadId"])
        assert (found["downloadId"], found["status"]) == (asked["downloadId"], "completed")
        assert type(found["notified"]) is bool
        assert int(found["expirationTimestamp"]) > now
        with urllib.request.urlopen(found["url"], timeout=20) as file:
            assert gzip.decompress(file.read()).decode().startswith(first)


def places(client: Client, asset: str) -> tuple[str, ...]:
    row = client.ask("GET v1/balance", asset=asset)
    return tuple(row[name] for name in ("umWalletBalance", "cmWalletBalance", "crossMarginFree", "crossMarginBorrowed"))


def check_margin(client: Client, venue_does: Callable[[], None]) -> None:
    """BNB there and back, a loan and its repayment, what the venue does of itself, the switch and repaying by hand."""
    moved = client.ask("POST v1/bnb-transfer", amount=0.5, transferSide="FROM_UM")
    assert places(client, "BNB") == ("2.0", "0.0", "1.25", "0.0")
    back = client.ask("POST v1/bnb-transfer", amount=1e-08, transferSide="TO_UM")
    assert places(client, "BNB") == ("2.00000001", "0.0", "1.24999999", "0.0")
    rows = [(row["tranId"], row["income"]) for row in client.ask("GET v1/um/income", incomeType="TRANSFER")]
    assert rows[-2:] == [(str(moved["tranId"]), "-0.50000000"), (str(back["tranId"]), "0.00000001")]

    loan = client.ask("POST v1/marginLoan", asset="ETH", amount=10)
    assert places(client, "ETH") == ("-2.5", "0.0", "11.25", "10.0")
    client.ask("POST v1/repayLoan", asset="ETH", amount=9.5)
    assert places(client, "ETH") == ("-2.5", "0.0", "1.75", "0.5")
    (row,) = client.ask("GET v1/margin/marginLoan", asset="ETH", txId=int(loan["tranId"]))["rows"]
    assert (int(row["txId"]), row["principal"], row["status"]) == (int(loan["tranId"]), "10.00000000", "CONFIRMED")
    (row,) = client.ask("GET v1/margin/repayLoan", asset="ETH")["rows"]
    assert (row["amount"], row["interest"], row["principal"]) == ("9.50000000", "0.00000000", "9.50000000")

    venue_does()
    (row,) = client.ask("GET v1/portfolio/interest-history")
    assert (row["interest"], row["interestRate"], row["principal"]) == ("0.00015000", "0.00010000", "1.50000000")
    charged = client.ask("GET v1/margin/marginInterestHistory")["rows"]
    assert [one["type"] for one in charged] == ["PORTFOLIO", "PERIODIC"]
    if client.has("GET v1/portfolio/negative-balance-exchange-record"):
        now = int(row["interestAccuredTime"])
        window = {"startTime": now - DAY_MS, "endTime": now + DAY_MS}
        (exchange,) = client.ask("GET v1/portfolio/negative-balance-exchange-record", **window)["rows"]
        (found,) = exchange["details"]
        assert (found["asset"], float(found["negativeBalance"])) == ("ETH", -2.50015)
        assert int(found["negativeMaxThreshold"]) == 2
    assert places(client, "ETH")[0] == "-1.6", "80 % of the most"

    assert client.ask("GET v1/repay-futures-switch") == {"autoRepay": False}
    assert client.ask("POST v1/repay-futures-switch", autoRepay="true") == SUCCESS
    assert client.ask("GET v1/repay-futures-switch") == {"autoRepay": True}
    client.ask("POST v1/marginLoan", asset="ETH", amount=2)
    assert client.ask("POST v1/repay-futures-negative-balance") == SUCCESS
    assert places(client, "ETH") == ("0.0", "0.0", "1.24985", "2.5")


def check_no_positions(client: Client) -> None:
    """None is held; what could be is known."""
    for call in ("GET v1/um/positionRisk", "GET v1/cm/positionRisk"):
        assert client.ask(call) == []
    (config,) = client.ask("GET v1/um/symbolConfig", symbol="BTCUSDT")
    assert config["symbol"] == "BTCUSDT"
    assert client.ask("GET v1/margin/maxWithdraw", asset="BTC")["amount"] == "0.12345679"
    most: dict[str, Any] = client.ask("GET v1/margin/maxBorrowable", asset="BTC")
    assert set(most) == {"amount", "borrowLimit"}
