"""What the venue does by itself, driven by its clock: collecting, repaying, interest and exchanges.

Everything is a command in the journal, and the ledger refuses what was done already: two processes that do it do no
harm, and a lease, which is a note, only spares them the work. What is due when: docs/explanation/schedule.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from catchment import errors
from catchment.asset import Asset
from catchment.clock import FrozenClock, RealClock
from catchment.errors import Refused, Rejection
from catchment.ledger.balance import AccountId, AccountState, balance_of, standing_of
from catchment.ledger.collection import auto_moves
from catchment.ledger.commands import (
    AssetCollection,
    AutoCollection,
    AutoExchange,
    Command,
    NegativeInterest,
    Offer,
    RepayNegative,
    Terms,
    Trigger,
)
from catchment.ledger.negative import owed
from catchment.ledger.quota import DAY_MS, HOUR_MS, TEN_MINUTES_MS
from catchment.venue import FOREVER, USD, Venue
from catchment.writer import Answer, Asked

logger = logging.getLogger(__name__)

MINUTE_MS: Final = 60_000
REPAID_AT_MS: Final = (DAY_MS - 90 * MINUTE_MS, DAY_MS - 30 * MINUTE_MS)
"""22:30 and 23:30 UTC: "twice a day" in the two hours before interest time (FAQ) names no minute, so a choice."""
KEPT_EVERY_MS: Final = 30 * MINUTE_MS
"""How often it is kept up to when all was done: whatever is due by the hour or the day falls on it."""
LEASE_MS: Final = 150_000
"""How long the schedule stays with a process that is not heard of; it is renewed every minute."""
PAGE: Final = 128
"""Accounts looked at together: about a millisecond of a reader's thread."""
PAUSE_S: Final = 0.01
"""Between two such looks, in seconds."""
AT_ONCE: Final = 200
"""Commands submitted together at most; what customers ask comes in between."""
STRETCH: Final = 20_000
"""Records of the journal looked through in one reading."""

THRESHOLDS: Final = {"USDT": "10000", "USDC": "10000"}
RATES: Final = {"USDT": "0.001", "USDC": "0.001"}
MAXIMA: Final = {"USDT": "150000", "USDC": "150000"}
"""The numbers of the examples in the announcement of 2025-05-17 and on the page of exchange records; USDC: choice."""

KIND: Final = "schedule"
_LEASE: Final = "lease"
_DONE: Final = "done"
_COLLECTIONS: Final = (AutoCollection.__name__, AssetCollection.__name__)
"""They make no balance positive or negative, and are most of a journal."""

Calls = Callable[[AccountId, AccountState], Sequence[Command]]
"""What an account's state calls for."""


class Schedule:
    """The schedule of one venue. Refuses (BAD_SETTING) amounts that are none."""

    def __init__(self, venue: Venue) -> None:
        settings = venue.settings
        self._venue = venue
        self._name = secrets.token_hex(8)
        self._maxima = _amounts(venue, "negative_maximum", MAXIMA | settings.negative_maximum)
        self._terms = _terms(venue)
        self._lies_for = settings.collection_after_minutes * MINUTE_MS
        self._at_once = max(1, min(AT_ONCE, settings.batch, settings.queue // 10))
        self._knows = False
        self._cursor = 0
        """Up to where the journal was looked through, once all accounts were looked at."""
        self._lying: dict[AccountId, int] = {}
        """Accounts with the switch on and something to collect, and when that has lain for long enough."""
        self._owing: set[AccountId] = set()
        """Accounts with a negative futures balance."""
        self._done = 0
        self._renew_at = FOREVER
        self._told: set[str] = set()

    async def run(self) -> None:
        """Do what is due, every minute, until cancelled. Never raises."""
        try:
            while True:
                await asyncio.sleep((MINUTE_MS - self._venue.clock.now() % MINUTE_MS) / 1000)
                await self.look()
        finally:
            with contextlib.suppress(Exception):  # the lease ends by itself
                if await self._holder() == self._name:
                    await self._venue.drop(KIND, _LEASE)

    async def look(self) -> None:
        """Do what is due, unless another process does. What fails is logged once, and done at a later look."""
        await self._attempt(self._look)

    async def advance(self, clock: FrozenClock, milliseconds: int) -> None:
        """Move the venue's clock, and do everything at the moment when it is due, whoever has the lease."""
        end = clock.now() + milliseconds
        await self._attempt(self._catch_up)
        while (moment := self._next_after(clock.now())) <= end:
            clock.advance(moment - clock.now())
            await self._attempt(self._work)
        clock.advance(end - clock.now())

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            self._tell(type(error).__name__, error)

    def _tell(self, what: str, why: object) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.error("what is due by schedule waits: %s", why)

    def _next_after(self, now: int) -> int:
        """When something may be due next: at ten minutes, or at the minute when something has lain for long enough."""
        lain = -(-min(self._lying.values(), default=FOREVER) // MINUTE_MS) * MINUTE_MS
        return min(_mark_after(now, TEN_MINUTES_MS), max(_mark_after(now, MINUTE_MS), lain))

    # Who does it -----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        if await self._leads():
            await self._work()
        else:
            self._knows = False
            self._told.clear()

    async def _leads(self) -> bool:
        """Take the lease, or renew it; False if another process has it."""
        now = self._venue.clock.now()
        holder = await self._holder()
        if holder not in (None, self._name):
            return False
        self._renew_at = now + LEASE_MS // 2
        ours = holder is not None
        return await self._venue.keep(KIND, _LEASE, self._name, expires=now + LEASE_MS, replace=ours)

    async def _holder(self) -> str | None:
        note = await self._venue.kept(KIND, _LEASE)
        return None if note is None else note.text

    # Whom it concerns ------------------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Learn whom the journal has changed since the last time; at first, look at all accounts."""
        if not self._knows:
            await self._begin()
        newest = self._venue.newest
        while self._cursor < newest:
            until = min(self._cursor + STRETCH, newest)
            await self._look_at(await self._venue.touched(self._cursor, until, but=_COLLECTIONS))
            self._cursor = until

    async def _begin(self) -> None:
        now = self._venue.clock.now()
        done = await self._venue.kept(KIND, _DONE)
        self._done = now if done is None else int(done.text)
        if done is None:
            await self._venue.keep(KIND, _DONE, str(now))
        self._cursor = self._venue.newest
        self._lying.clear()
        self._owing.clear()
        async for page in self._venue.accounts():
            await self._look_at(account.id for account in page)
        self._knows = True

    async def _look_at(self, accounts: Iterable[AccountId]) -> None:
        async for _ in self._pages(accounts):
            pass

    async def _pages(self, accounts: Iterable[AccountId]) -> AsyncIterator[dict[AccountId, AccountState]]:
        """The states of accounts in the order of their ids, some at a time, each sorted in anew."""
        ordered = sorted(accounts)
        for start in range(0, len(ordered), PAGE):
            if self._venue.clock.now() >= self._renew_at:
                await self._leads()
            if start:
                await asyncio.sleep(PAUSE_S)
            page = ordered[start : start + PAGE]
            states = await self._venue.sound_states(page)
            for account in page:
                self._sort(account, states.get(account))
            yield states

    def _sort(self, account: AccountId, state: AccountState | None) -> None:
        self._lying.pop(account, None)
        self._owing.discard(account)
        if state is None or not state.portfolio_margin:
            return
        if any(owed(balance) for balance in state.balances.values()):
            self._owing.add(account)
        if standing_of(state).auto_collection and (moves := auto_moves(state, self._venue.rules.cm_bnb)):
            self._lying[account] = min(state.balances[move.asset].updated for move in moves) + self._lies_for

    # What is due -----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Everything that became due since all was done, in this order. Of what was missed, only interest is made up
        for day by day. What could not be done now is due at the next look, and with it all that comes after it."""
        await self._catch_up()
        now = self._venue.clock.now()
        since = min(self._done, now)  # a clock that was set back
        jobs: list[tuple[Iterable[AccountId], Calls]] = []
        hourly = _passed(since, now, HOUR_MS)
        lying = [account for account, due in self._lying.items() if hourly or due <= now]
        jobs.append((lying, lambda account, _: self._collecting(account, FOREVER if hourly else now)))
        if any(_passed(since, now, DAY_MS, moment) for moment in REPAID_AT_MS):
            jobs.append((self._owing, _repaying))
        jobs += [(self._owing, self._charging(day)) for day in range(since // DAY_MS, now // DAY_MS)]
        if _passed(since, now, TEN_MINUTES_MS):
            jobs.append((self._owing, self._exchanging(await self._market())))
        for accounts, calls in jobs:
            if not await self._do(accounts, calls):
                return
        self._done = now
        self._told.clear()
        if _passed(since, now, KEPT_EVERY_MS):
            await self._venue.keep(KIND, _DONE, str(now))

    async def _do(self, accounts: Iterable[AccountId], calls: Calls) -> bool:
        """Submit what the states of accounts call for; False if some of it is to be submitted again."""
        done = True
        async for states in self._pages(accounts):
            asked = [(account, command) for account, state in states.items() for command in calls(account, state)]
            for start in range(0, len(asked), self._at_once):
                part = asked[start : start + self._at_once]
                answers = await self._venue.submit_all(part)
                for one, answer in zip(part, answers, strict=True):
                    done &= self._heed(one, answer)
        return done

    def _heed(self, asked: Asked, answer: Answer) -> bool:
        """False if the command is to be submitted again: the store, the queue or its outcome was in the way."""
        account, command = asked
        if isinstance(answer, Rejection):
            if answer.status >= errors.UNKNOWN.status:
                self._tell(answer.name, f"{answer.name}, {answer.sentence}")
                return False
            if answer.retry_after is not None:  # a quota's
                self._lying[account] = self._venue.clock.now() + answer.retry_after * 1000
                return True
            if answer.refusal is not errors.NOTHING_TO_DO:
                self._tell(answer.name, f"{type(command).__name__} of {account.hex()}: {answer.sentence}")
        if isinstance(command, AutoCollection):
            self._lying.pop(account, None)
        return True

    def _collecting(self, account: AccountId, now: int) -> Sequence[Command]:
        return [AutoCollection(Trigger.SCHEDULE)] if self._lying.get(account, FOREVER + 1) <= now else []

    def _charging(self, day: int) -> Calls:
        def calls(_: AccountId, state: AccountState) -> Sequence[Command]:
            terms = [one for one in self._terms if owed(balance_of(state, one.asset)) > one.threshold]
            return [NegativeInterest(day, tuple(terms))] if terms else []

        return calls

    def _exchanging(self, offers: Mapping[str, Offer]) -> Calls:
        def calls(_: AccountId, state: AccountState) -> Sequence[Command]:
            free = sorted(asset for asset, balance in state.balances.items() if balance.margin_free > 0)
            return [
                AutoExchange(offers[debt], most, tuple(offers[asset] for asset in free if asset in offers))
                for debt, most in self._maxima.items()
                if debt in offers and owed(balance_of(state, debt)) > most
            ]

        return calls

    async def _market(self) -> dict[str, Offer]:
        """Every asset that has a price, at the prices and collateral rates of the moment."""
        quotes = await self._venue.market.quotes()
        return {
            name: Offer(name, price, quotes.rates.get(name, 0), asset.scale)
            for name, asset in self._venue.assets.items()
            if (price := quotes.prices.get(name, 0))
        }


@contextlib.asynccontextmanager
async def running(venue: Venue) -> AsyncIterator[None]:
    """Do what is due in the background, unless the settings say otherwise; a clock that is moved by hand, by nobody."""
    if not venue.settings.schedule or not isinstance(venue.clock, RealClock):
        yield
        return
    task = asyncio.create_task(Schedule(venue).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _repaying(_: AccountId, state: AccountState) -> Sequence[Command]:
    return [RepayNegative(Trigger.SCHEDULE)] if standing_of(state).auto_repay else []


def _passed(since: int, now: int, period: int, moment: int = 0) -> bool:
    """Whether a moment of a period (milliseconds) came after `since`, and not after `now`."""
    return (now - moment) // period > (since - moment) // period


def _mark_after(now: int, period: int) -> int:
    return now - now % period + period


def _terms(venue: Venue) -> list[Terms]:
    """What interest is charged on, by asset; one without a rate is free of it."""
    thresholds = _amounts(venue, "negative_threshold", THRESHOLDS | venue.settings.negative_threshold)
    rates = _amounts(venue, "negative_rate", RATES | venue.settings.negative_rate, USD)
    return [Terms(asset, thresholds.get(asset, 0), rate) for asset, rate in rates.items() if rate]


def _amounts(venue: Venue, setting: str, texts: dict[str, str], scale: Asset | None = None) -> dict[str, int]:
    """Amounts of assets in their units, or on one scale, in the order of the assets' names. Refuses what is none."""
    amounts = {}
    for name, text in sorted(texts.items()):
        asset = venue.assets.get(name)
        units = errors.BAD_ASSET() if asset is None else (scale or asset).units(text)
        if isinstance(units, Rejection) or units < 0:
            raise Refused(errors.BAD_SETTING(setting, f"{text!r} of {name} is no amount of a known asset"))
        amounts[name] = units
    return amounts
