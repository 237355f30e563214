"""Figures of the market: where they come from, what is refused, and that every process on a store sees what was set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from catchment.asset import DEFAULT_SCALE
from catchment.config import Settings
from catchment.errors import Rejection
from catchment.margin import USD, Quotes
from catchment.market import PRICES, RATES, Figure
from catchment.venue import ASSETS, Venue

ONE = 10**DEFAULT_SCALE


def on_a_venue(work: Callable[[Venue], Awaitable[None]], store: str = "memory:", **settings: object) -> None:
    async def opened() -> None:
        venue = await Venue.open(Settings(store=store, **settings))  # type: ignore[arg-type]
        try:
            await work(venue)
        finally:
            await venue.close()

    asyncio.run(opened())


def test_what_nobody_set_comes_from_the_tables() -> None:
    async def work(venue: Venue) -> None:
        found = await venue.market.quotes()
        assert (found.prices["BTC"], found.prices["USDT"]) == (60_000 * ONE, ONE)
        assert (found.rates["BTC"], found.rates["USDT"]) == (95 * ONE // 100, ONE)
        assert (found.marks["BTCUSDT"], found.marks["BTCUSD_PERP"]) == (60_000 * ONE, 60_000 * ONE)
        assert not {"JPY", "EUR"} & {*found.prices, *found.rates}, "an asset of the settings has no price of ours"
        assert found.marks["EURUSDT"] == 0

    on_a_venue(work, assets={"JPY": 0, "EUR": 2}, symbols={"EURUSDT": "0.01/1"})


def test_the_tables_are_sound() -> None:
    assert set(PRICES) == set(RATES) == set(ASSETS), "every asset that a venue knows has both"
    for texts, most in ((PRICES, 10**6 * ONE), (RATES, ONE)):
        for text in texts.values():
            value = USD.units(text)
            assert isinstance(value, int)
            assert 0 < value <= most


def test_mark_prices_follow_index_prices_until_they_are_set() -> None:
    async def work(venue: Venue) -> None:
        assert (await venue.market.quotes()).marks["BTCUSDT"] == 50_000 * ONE
        assert await venue.market.set(Figure.INDEX, "USDT", "0.8") == 8 * ONE // 10
        assert await venue.market.set(Figure.INDEX, "BTC", "70000") == 70_000 * ONE
        found = await venue.market.quotes()
        assert found.prices["BTC"] == 70_000 * ONE
        assert found.marks["BTCUSDT"] == 87_500 * ONE, "70000 / 0.8"
        assert found.marks["BTCUSD_PERP"] == 70_000 * ONE
        await venue.market.set(Figure.MARK, "BTCUSDT", "69999.5")
        await venue.market.set(Figure.COLLATERAL, "BTC", "0")
        await venue.market.set(Figure.INDEX, "BTC", "1")
        found = await venue.market.quotes()
        assert (found.marks["BTCUSDT"], found.marks["BTCUSD_PERP"]) == (699_995 * ONE // 10, ONE)
        assert found.rates["BTC"] == 0

    on_a_venue(work, prices={"BTC": "50000"})


def test_what_was_set_stays_unless_it_is_replaced() -> None:
    async def work(venue: Venue) -> None:
        assert await venue.market.set(Figure.INDEX, "BTC", "1", replace=False) == ONE
        assert await venue.market.set(Figure.INDEX, "BTC", "2", replace=False) == 2 * ONE
        assert (await venue.market.quotes()).prices["BTC"] == ONE
        await venue.market.set(Figure.INDEX, "BTC", "3")
        assert (await venue.market.quotes()).prices["BTC"] == 3 * ONE

    on_a_venue(work)


REFUSED = [
    (Figure.MARK, "NOPE", "1", -1121),
    (Figure.MARK, "BTC", "1", -1121),
    (Figure.MARK, "USDCUSDT", "1", -1121),  # spot has no mark price
    (Figure.INDEX, "BTCUSDT", "1", -1108),
    (Figure.COLLATERAL, "btc", "1", -1108),
    *((figure, name, text, -1130) for figure, name in ((Figure.MARK, "BTCUSDT"), (Figure.INDEX, "BTC"))
      for text in ("", "cheap", "0", "-1", "NaN", "1e30")),
    (Figure.COLLATERAL, "BTC", "1.01", -1130),
    (Figure.COLLATERAL, "BTC", "-0.1", -1130),
    (Figure.INDEX, "BTC", "1.123456789", -1111),
]  # fmt: skip


@pytest.mark.parametrize(("figure", "name", "text", "code"), REFUSED)
def test_a_figure_that_is_none_is_refused_and_nothing_is_kept(figure: Figure, name: str, text: str, code: int) -> None:
    async def work(venue: Venue) -> None:
        version = venue.notes_version
        answer = await venue.market.set(figure, name, text)
        assert isinstance(answer, Rejection)
        assert answer.code == code
        assert await venue.all_kept(figure) == []
        assert venue.notes_version == version

    on_a_venue(work)


def test_the_store_is_read_once_for_all_who_ask_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(venue: Venue) -> None:
        read: list[str] = []
        kept = venue.all_kept

        async def counted(kind: str) -> object:
            read.append(kind)
            return await kept(kind)

        monkeypatch.setattr(venue, "all_kept", counted)
        asked: list[Quotes] = await asyncio.gather(*(venue.market.quotes() for _ in range(20)))
        assert all(found is asked[0] for found in asked)
        assert read == list(Figure)
        assert await venue.market.quotes() is asked[0]
        await venue.market.set(Figure.INDEX, "BTC", "1")
        assert (await venue.market.quotes()).prices["BTC"] == ONE
        assert read == [*Figure, *Figure]

    on_a_venue(work)


def test_another_process_sees_what_was_set_and_it_outlasts_the_venue(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"

    async def both(one: Venue) -> None:
        other = await Venue.open(Settings(store=store))
        try:
            assert (await other.market.quotes()).prices["BTC"] == 60_000 * ONE
            await one.market.set(Figure.INDEX, "BTC", "12345.678")
            async with asyncio.timeout(10):
                while (await other.market.quotes()).prices["BTC"] == 60_000 * ONE:
                    await asyncio.sleep(0.01)
            assert USD.text((await other.market.quotes()).prices["BTC"]) == "12345.678"
        finally:
            await other.close()

    async def later(venue: Venue) -> None:
        assert USD.text((await venue.market.quotes()).prices["BTC"]) == "12345.678"

    on_a_venue(both, store)
    on_a_venue(later, store)
