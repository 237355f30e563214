"""A collection of every account: all are collected once, and whoever stops it knows what was done."""

from __future__ import annotations

import asyncio

import pytest

from catchment import everybody
from catchment.config import Settings
from catchment.errors import Rejection
from catchment.everybody import Tally
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Adjustment, Reason
from catchment.venue import Venue
from catchment.wallet import Wallet

ACCOUNTS = 12


async def funded(venue: Venue) -> list[AccountId]:
    """Accounts with something to collect; every third is outside Portfolio Margin."""
    made = []
    for at in range(ACCOUNTS):
        account = await venue.add_account(f"account {at}", at % 3 != 0)
        assert not isinstance(account, Rejection)
        made.append(account.id)
        await venue.submit(account.id, Adjustment(Wallet.UM, "USDT", 5 + at, Reason.REALIZED_PNL))
    return made


def test_everybody_is_collected_once() -> None:
    async def work() -> None:
        venue = await Venue.open(Settings(store="memory:", queue=6))
        accounts, tally, told = await funded(venue), Tally(), list[int]()
        await everybody.collect(venue, tally, told.append)
        assert (tally.accounts, tally.skipped, tally.collections, tally.transfers) == (8, 4, 8, 8)
        assert tally.moved == {"USDT": sum(5 + at for at in range(ACCOUNTS) if at % 3)}
        assert told == sorted(told)
        assert told[-1] == ACCOUNTS
        for at, state in enumerate((await venue.states(accounts)).values()):
            assert state.balances["USDT"].um == (0 if at % 3 else 5 + at)
        await venue.close()

    asyncio.run(work())


def test_who_stops_it_knows_what_was_done() -> None:
    class Enough(Exception):  # noqa: N818 - no error
        pass

    def stop(done: int) -> None:
        raise Enough

    async def work() -> None:
        venue = await Venue.open(Settings(store="memory:"))
        accounts, tally = await funded(venue), Tally()
        with pytest.raises(Enough):
            await everybody.collect(venue, tally, stop, at_once=2)
        collected = sum(state.balances["USDT"].um == 0 for state in (await venue.states(accounts)).values())
        assert tally.collections == collected
        assert 0 < collected < 8
        await venue.close()

    asyncio.run(work())
