"""What no client can do: the venue's own doings on an account, by a process beside the program's."""

from __future__ import annotations

import asyncio
import os
import time
from unittest import mock

from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.commands import AutoExchange, NegativeInterest, Offer, Terms
from catchment.ledger.journal import Stored
from catchment.venue import Venue
from tests.acceptance.program import Program

DAY_MS = 86_400_000
COIN = 10**8


def charge_and_exchange(program: Program, name: str) -> None:
    """A day's interest on 1.5 ETH of 2.5 that are negative, and an exchange of what is over 80 % of 2 ETH."""

    async def work() -> None:
        venue = await Venue.open(Settings(store=program.announced["store"]))
        try:
            account = await venue.account(name)
            assert not isinstance(account, Rejection)
            eth, usdt = Offer("ETH", 2_000 * COIN, COIN, 8), Offer("USDT", COIN, COIN, 8)
            day = time.time_ns() // (DAY_MS * 1_000_000) + 1
            interest, exchange = (
                NegativeInterest(day, (Terms("ETH", COIN, 10_000),)),
                AutoExchange(eth, 2 * COIN, (usdt,)),
            )
            for command in (interest, exchange):
                assert isinstance(await venue.submit(account.id, command), Stored)
        finally:
            await venue.close()

    with mock.patch.dict(os.environ, XDG_DATA_HOME=str(program.folder)):
        asyncio.run(work())
