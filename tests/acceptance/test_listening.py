"""Every client's stream hears what any client collects, once and in order, by the names and types of the wire."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

import ccxt.pro
import pytest
from binance import AsyncClient as AsyncBinance
from binance import BinanceSocketManager
from binance_common.configuration import ConfigurationWebSocketStreams
from binance_sdk_derivatives_trading_portfolio_margin.derivatives_trading_portfolio_margin import (
    DerivativesTradingPortfolioMargin,
)

from tests.acceptance import test_ccxt, test_official_sdk, test_python_binance
from tests.acceptance.calls import Client
from tests.acceptance.clients import CLIENTS
from tests.acceptance.javascript import Node
from tests.acceptance.people import Credentials, Ring
from tests.acceptance.program import Program

PATIENCE_S: Final = 20
Heard = queue.Queue[dict[str, Any]]
"""Events as dictionaries with the wire's names."""


def streams_of(program: Program) -> str:
    return program.url.replace("http", "ws")


@asynccontextmanager
async def sdk(program: Program, credentials: Credentials, heard: Heard) -> AsyncIterator[None]:
    """Its models have dropped `e`, which chose them."""
    started = await asyncio.to_thread(test_official_sdk.configured(program, credentials).start_user_data_stream)
    configuration = ConfigurationWebSocketStreams(stream_url=f"{streams_of(program)}/pm")
    client: Any = DerivativesTradingPortfolioMargin(config_ws_streams=configuration)
    connection = await client.websocket_streams.create_connection()
    try:
        stream = await connection.user_data(started.data().listen_key)
        stream.on("message", lambda event: heard.put(named(event)))
        yield
    finally:
        await connection.close_connection(close_session=True)


def named(event: Any) -> dict[str, Any]:
    model = getattr(event, "actual_instance", event)
    kind = type(model).__name__
    found: dict[str, Any] = test_official_sdk.plain(model)
    return {"e": "ACCOUNT_UPDATE" if kind == "AccountUpdate" else kind[0].lower() + kind[1:], **found}


@asynccontextmanager
async def python_binance(program: Program, credentials: Credentials, heard: Heard) -> AsyncIterator[None]:
    made = test_python_binance.pointed(AsyncBinance, program.url)
    client = await made.create(**test_python_binance.keys(credentials))
    sockets = BinanceSocketManager(client)
    sockets.FSTREAM_URL = f"{streams_of(program)}/"
    try:
        socket = sockets.portfolio_margin_socket()
        socket.TIMEOUT = 1  # it closes no sooner than that after its last event
        async with socket:
            listening = asyncio.create_task(forward(socket.recv, heard))
            yield
            listening.cancel()
    finally:
        await client.close_connection()


@asynccontextmanager
async def ccxt_pro(program: Program, credentials: Credentials, heard: Heard) -> AsyncIterator[None]:
    """Hands on its balance, in which `info` is the event that came last."""
    settings = test_ccxt.options(credentials, watchPositions={"fetchPositionsSnapshot": False})
    exchange = test_ccxt.pointed(ccxt.pro.binance(settings), program.url)
    exchange.urls["api"]["ws"] = {"papi": f"{streams_of(program)}/pm/ws"}
    how = {"portfolioMargin": True, "type": "swap", "subType": "linear"}
    listening = asyncio.create_task(forward(lambda: exchange.watch_balance(how), heard))
    try:
        while not any(client.connected.done() for client in exchange.clients.values()):
            await asyncio.sleep(0.01)
        yield
    finally:
        listening.cancel()
        await exchange.close()


async def forward(hear: Callable[[], Any], heard: Heard) -> None:
    while True:
        heard.put(await hear())


@contextmanager
def on_a_loop(stream: AbstractAsyncContextManager[None]) -> Iterator[None]:
    """The stream, open on an event loop of its own meanwhile."""
    opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def live() -> Any:
        over = asyncio.Event()
        async with stream:
            opened.set_result((asyncio.get_running_loop(), over))
            await over.wait()

    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(asyncio.run, live())
        wait([living, opened], PATIENCE_S, FIRST_COMPLETED)
        loop, over = opened.result(0) if opened.done() else living.result(0)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(over.set)
            living.result(PATIENCE_S)


class Everyone:
    """Every client of one account: what each is asked by, and what its stream brings."""

    def __init__(self, program: Program, credentials: Credentials, stack: ExitStack) -> None:
        self.heard: dict[str, Heard] = {}
        for name, stream in {"sdk": sdk, "python-binance": python_binance, "ccxt-pro": ccxt_pro}.items():
            self.heard[name] = queue.Queue()
            stack.enter_context(on_a_loop(stream(program, credentials, self.heard[name])))
        self.talkers: list[Client] = []
        for name in ("ccxt", "sdk", "python-binance", "official", "siebly"):
            self.talkers.append(stack.enter_context(CLIENTS[name](program, credentials)))
            if isinstance(self.talkers[-1], Node):
                self.talkers[-1].send("listen")
                self.heard[name] = self.talkers[-1].events

    def next_of(self, name: str) -> dict[str, Any]:
        return self.heard[name].get(timeout=PATIENCE_S)


@pytest.fixture
def everyone(program: Program, ring: Ring) -> Iterator[Everyone]:
    with ExitStack() as stack, test_official_sdk.quiet():
        yield Everyone(program, ring.credentials("listeners"), stack)


def test_everyone_hears_what_anyone_collects(everyone: Everyone) -> None:
    left, free = 12_345_678, 0
    for units, talker in enumerate(everyone.talkers, start=1):
        collected = talker.ask("POST v1/asset-collection", asset="BTC", amount=units / 10**8, futureType="CM")
        assert collected == {"msg": "success"}
        left, free = left - units, free + units
        for name in everyone.heard:
            if name == "ccxt-pro":
                while everyone.next_of(name).get("BTC", {}).get("free") != pytest.approx(free / 10**8, abs=1e-12):
                    pass  # an event before this one, or one that it hands on twice
                continue
            update, balance, position = (everyone.next_of(name) for _ in range(3))
            assert (update["e"], update["fs"]) == ("ACCOUNT_UPDATE", "CM")
            assert [(held["a"], held["wb"], held["bc"]) for held in update["a"]["B"]] == [
                ("BTC", f"{left / 10**8:.8f}", f"{-units / 10**8:.8f}")
            ]
            assert (balance["e"], balance["a"], balance["d"]) == ("balanceUpdate", "BTC", f"{units / 10**8:.8f}")
            assert position["e"] == "outboundAccountPosition"
            assert [(held["a"], held["f"], held["l"]) for held in position["B"]] == [
                ("BTC", f"{free / 10**8:.8f}", "0.00000000")
            ]
            for event in (update, balance, position):
                assert type(event["E"]) is int
    assert [name for name, heard in everyone.heard.items() if not heard.empty() and name != "ccxt-pro"] == []
