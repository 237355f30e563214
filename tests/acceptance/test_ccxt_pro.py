"""ccxt pro's watch_balance on a Portfolio Margin account, against the started program."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt.pro

from tests.acceptance.people import Ring
from tests.acceptance.program import Program
from tests.acceptance.test_ccxt import options, pointed

PATIENCE_S = 20
HOW = {"portfolioMargin": True, "type": "swap", "subType": "linear"}


async def watched(program: Program, ring: Ring) -> dict[str, Any]:
    """The balance that the client has once a collection has come through its websocket."""
    settings = options(ring.credentials("ccxt-pro"), watchPositions={"fetchPositionsSnapshot": False})
    exchange = pointed(ccxt.pro.binance(settings), program.url)
    exchange.urls["api"]["ws"] = {"papi": f"{program.url.replace('http', 'ws')}/pm/ws"}
    try:
        watching = asyncio.create_task(exchange.watch_balance(HOW))
        async with asyncio.timeout(PATIENCE_S):
            while not any(client.connected.done() for client in exchange.clients.values()):
                await asyncio.sleep(0.01)
        assert await exchange.papiPostAutoCollection() == {"msg": "success"}
        async with asyncio.timeout(PATIENCE_S):
            while (found := await watching)["info"]["e"] != "outboundAccountPosition":
                watching = asyncio.create_task(exchange.watch_balance(HOW))
        balance: dict[str, Any] = found
        return balance
    finally:
        await exchange.close()


def test_a_collection_arrives_at_watch_balance(program: Program, ring: Ring) -> None:
    """Events that come together may be handed on as the last of them alone: by then all figures are right."""
    balance = asyncio.run(watched(program, ring))
    assert {name: balance[name]["free"] for name in ("BTC", "ETH", "BNB")} == {
        "BTC": 0.12345679,
        "ETH": 1.25,
        "BNB": 0.75,
    }
    assert (balance["USDT"]["free"], balance["USDT"]["used"]) == (12345679901.22345679, 10.0)
