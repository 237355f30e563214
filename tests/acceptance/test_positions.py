"""Positions, margin and prices through the exchange's own Python SDK and through ccxt, against the started program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from binance_common.configuration import ConfigurationWebSocketStreams
from binance_sdk_derivatives_trading_portfolio_margin.derivatives_trading_portfolio_margin import (
    DerivativesTradingPortfolioMargin,
)
from binance_sdk_derivatives_trading_portfolio_margin.websocket_streams.models import (
    AccountConfigUpdate,
    AccountUpdate,
    RiskLevelChange,
)

from tests.acceptance.clients import CLIENTS
from tests.acceptance.people import Credentials, Kind
from tests.acceptance.program import Program, running
from tests.acceptance.test_official_sdk import configured, quiet

SCENARIO = """
[prices]
mark = { BTCUSDT = "62000", BTCUSD_PERP = "50000" }
index = { BTC = "60000" }
collateral = { BTC = "0.95" }

[[account]]
name = "trader"
key = [{ api_key = "trader", secret = "trader-secret" }]
UM = { USDT = "1000" }
MARGIN = { BTC = "1" }

[[account.position]]
symbol = "BTCUSDT"
amount = "0.5"
entry_price = "60000"
leverage = 10

[[account.position]]
symbol = "BTCUSD_PERP"
amount = "-600"
entry_price = "60000"
"""
TRADER = Credentials("trader", Kind.HMAC, "trader-secret")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running(tmp_path_factory.mktemp("positions"), SCENARIO) as program:
        yield program


@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_reads_positions_and_margin(venue: Program, name: str) -> None:
    with CLIENTS[name](venue, TRADER) as client:
        v1, v2, cm = (client.ask(f"GET {path}/account") for path in ("v1/um", "v2/um", "v1/cm"))
        [um_risk], [cm_risk] = (client.ask(f"GET v1/{wallet}/positionRisk") for wallet in ("um", "cm"))
        [config] = client.ask("GET v1/um/symbolConfig", symbol="BTCUSDT")
        account, rows = client.ask("GET v1/account"), client.ask("GET v1/balance")
        one = client.ask("GET v1/balance", asset="BTC")
        withdraw = client.ask("GET v1/margin/maxWithdraw", asset="BTC")
        borrow = client.ask("GET v1/margin/maxBorrowable", asset="USDT")

    assert [row["unrealizedProfit"] for row in (*v1["positions"], *v2["positions"])] == ["1000.00000000"] * 2
    assert v1["positions"][0]["maxNotional"] == um_risk["maxNotionalValue"] == config["maxNotionalValue"]
    assert (int(config["leverage"]), um_risk["leverage"], um_risk["positionAmt"]) == (10, "10", "0.500")
    assert cm["positions"][0]["unrealizedProfit"] == cm_risk["unRealizedProfit"] == "0.20000000"
    assert cm_risk["notionalValue"] == "-1.2"
    assert {row["asset"]: (row["umUnrealizedPNL"], row["cmUnrealizedPNL"]) for row in rows} == {
        "BTC": ("0.0", "0.2"),
        "USDT": ("1000.0", "0.0"),
    }
    assert one["cmUnrealizedPNL"] == "0.2"
    assert account["accountEquity"] == "70400.0", "1000 + 1000 + 1.2 x 60000 x 0.95"
    assert account["accountMaintMargin"] == "412.0", "124 + 0.0048 x 60000"
    assert account["uniMMR"] == "170.8737864", "70400 / 412 = 170.8737864077..."
    assert withdraw == {"amount": "1.0"}
    assert borrow["borrowLimit"] == "1000000.0"


def catchment(store: str, *words: str) -> None:
    """What an operator types beside the running program."""
    subprocess.run([sys.executable, "-m", "catchment", *words, "--store", store], check=True, capture_output=True)


async def heard(program: Program, api: Any, store: str) -> list[Any]:
    """What the SDK hands on while the operator sets a position and a price."""
    key = (await asyncio.to_thread(api.start_user_data_stream)).data().listen_key
    configuration = ConfigurationWebSocketStreams(stream_url=f"{program.url.replace('http', 'ws')}/pm")
    client: Any = DerivativesTradingPortfolioMargin(config_ws_streams=configuration)
    connection = await client.websocket_streams.create_connection()
    events: list[Any] = []
    levels = asyncio.Semaphore(0)

    def take(event: Any) -> None:
        events.append(getattr(event, "actual_instance", event))
        if type(events[-1]) is RiskLevelChange:
            levels.release()

    try:
        stream = await connection.user_data(key)
        stream.on("message", take)
        await connection.list_subscribe()
        for words in (
            ("position", "set", "trader", "BTCUSDT", "100", "--leverage", "50"),
            ("price", "set", "mark", "BTCUSDT", "61800"),
        ):
            await asyncio.to_thread(catchment, store, *words)
            await asyncio.wait_for(levels.acquire(), 30)
    finally:
        await connection.close_connection(close_session=True)
    return events


def test_the_sdk_hears_of_a_position_and_of_the_risk_it_brings(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'venue.sqlite'}"
    with running(tmp_path, SCENARIO, store=store) as program, quiet():
        events = asyncio.run(heard(program, configured(program, TRADER), store))
    assert [type(event) for event in events] == [AccountConfigUpdate, AccountUpdate, RiskLevelChange, RiskLevelChange]
    config, update, call, end = events
    assert (config.fs, config.ac.s, config.ac.l) == ("UM", "BTCUSDT", 50)
    [position] = update.a.P
    assert (position.pa, position.ep, position.up) == ("100.000", "62000.0", "0.00000000"), "at the mark price"
    # 6.2 million x 1 % - 11450 = 50550, and 288 of the other; 1000 + 1.2 x 60000 x 0.95 = 69400
    assert (call.s, call.eq, call.m, call.u) == ("MARGIN_CALL", "69400.0", "50838.0", "1.36512057")
    # a loss of 100 x 200; 6.18 million x 1 % - 11450 + 288 = 50638
    assert (end.s, end.eq, end.m, end.u) == ("FORCE_LIQUIDATION", "49400.0", "50638.0", "0.97555195")
