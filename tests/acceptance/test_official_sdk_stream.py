"""The official Python SDK's stream against the started program: the listen key and the events by its own methods."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from binance_common.configuration import ConfigurationWebSocketStreams
from binance_sdk_derivatives_trading_portfolio_margin.derivatives_trading_portfolio_margin import (
    DerivativesTradingPortfolioMargin,
)
from binance_sdk_derivatives_trading_portfolio_margin.rest_api.models import StartUserDataStreamResponse
from binance_sdk_derivatives_trading_portfolio_margin.websocket_streams.models import (
    AccountUpdate,
    BalanceUpdate,
    OutboundAccountPosition,
)

from tests.acceptance.people import Ring
from tests.acceptance.program import Program
from tests.acceptance.test_official_sdk import configured, quiet

PATIENCE_S = 20


async def heard(program: Program, api: Any) -> tuple[list[Any], list[Any]]:
    """What comes of one collection: the models the SDK hands on, and what it lists as subscribed."""
    started = await asyncio.to_thread(api.start_user_data_stream)
    key = started.data()
    assert type(key) is StartUserDataStreamResponse
    await asyncio.to_thread(api.keepalive_user_data_stream)
    configuration = ConfigurationWebSocketStreams(stream_url=f"{program.url.replace('http', 'ws')}/pm")
    client: Any = DerivativesTradingPortfolioMargin(config_ws_streams=configuration)
    connection = await client.websocket_streams.create_connection()
    events: list[Any] = []
    whole = asyncio.Event()

    def take(event: Any) -> None:
        events.append(event)
        if type(getattr(event, "actual_instance", event)) is OutboundAccountPosition:
            whole.set()

    try:
        stream = await connection.user_data(key.listen_key)
        stream.on("message", take)
        listed = await connection.list_subscribe()
        await asyncio.to_thread(api.fund_auto_collection)
        await asyncio.wait_for(whole.wait(), PATIENCE_S)
        await stream.unsubscribe()
    finally:
        await connection.close_connection(close_session=True)
    assert (await asyncio.to_thread(api.close_user_data_stream)).data() == {}
    return [getattr(event, "actual_instance", event) for event in events], [key.listen_key, listed]


def test_the_sdk_hears_a_collection_without_a_warning(program: Program, ring: Ring) -> None:
    with quiet():
        events, listed = asyncio.run(heard(program, configured(program, ring.credentials("sdk-stream"))))
    assert listed[0] in str(listed[1])
    kinds = [AccountUpdate, AccountUpdate, *[BalanceUpdate] * 4, OutboundAccountPosition]
    assert [type(event) for event in events] == kinds, events
    um, cm = events[:2]
    assert (um.fs, cm.fs) == ("UM", "CM")
    assert {held.a: (held.wb, held.bc) for held in um.a.B} == {
        "USDT": ("0.00000000", "-12345678901.12345679"),
        "BTC": ("0.00000000", "-0.00000001"),
    }
    assert {held.a: Decimal(held.f) for held in events[-1].B} == {
        "USDT": Decimal("12345679901.22345679"),
        "BTC": Decimal("0.12345679"),
        "ETH": Decimal("1.25"),
        "BNB": Decimal("0.75"),
    }
    assert {event.a: Decimal(event.d) for event in events[2:-1]} == {
        "USDT": Decimal("12345678901.12345679"),
        "BTC": Decimal("0.12345679"),
        "ETH": Decimal("1.25"),
        "BNB": Decimal("0.75"),
    }
