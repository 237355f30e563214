"""The wallets of an account: balances, the flow into Cross Margin, the last collection, and what quotas leave."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.responses import Response

from catchment import errors
from catchment.asset import Asset
from catchment.dashboard.flows import Flow, by_habit, flows
from catchment.dashboard.visit import Page, Visit
from catchment.dashboard.words import _
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance, Standing, standing_of
from catchment.ledger.collection import BNB
from catchment.ledger.commands import AssetCollection, AutoCollection, Trigger
from catchment.ledger.journal import Stored
from catchment.ledger.negative import owed

LOOKED_BACK: Final = 100
"""Records among which the last collection is looked for."""
ALWAYS: Final = ("button_day", "shared_day", "api_hour", "bnb_10m")
"""Quotas that are always shown."""
SCHEDULED: Final = "schedule_hour"


class Row(msgspec.Struct, frozen=True):
    """One asset of the table."""

    asset: Asset
    balance: Balance

    @property
    def owed(self) -> int:
        return -self.balance.borrowed

    @property
    def interest(self) -> int:
        return -self.balance.interest

    @property
    def total(self) -> int:
        """What would be left with every debt paid."""
        return self.balance.futures + self.balance.margin + self.balance.borrowed + self.balance.interest

    @property
    def collectable(self) -> bool:
        """Whether a collection of this one asset would move something."""
        return self.asset.name != BNB and (self.balance.um > 0 or self.balance.cm > 0)


class Gauge(msgspec.Struct, frozen=True):
    """How much of a limit is used. `name` is a quota's; empty for the address's weight."""

    name: str
    used: int
    limit: int

    @property
    def percent(self) -> int:
        return min(100, self.used * 100 // self.limit)


class Picture(msgspec.Struct, frozen=True):
    """All the page shows; balances and flows are from one reading of the ledger, after record `number`."""

    number: int
    rows: list[Row]
    flows: list[Flow]
    gauges: list[Gauge]
    refused: Rejection | None
    """Why the button is refused, apart from its quota."""
    again_at: int
    """When the button's quota has room again, in milliseconds; 0 if it has."""
    last: Stored | None
    switches: Standing
    negative: bool
    """Whether anything in UM or CM is."""


async def show(visit: Visit) -> Response | Rejection:
    """The whole page, or the piece that changes."""
    picture = await read(visit)
    if isinstance(picture, Rejection):
        return picture
    return visit.render("wallets_part.html" if visit.part else "wallets.html", picture=picture)


async def read(visit: Visit) -> Picture | Rejection:
    """One picture of the account."""
    venue, account = visit.venue, visit.account
    # Under no quota, so it tells what would move even when the button's is spent.
    found = await venue.preview(account, AutoCollection(Trigger.OPERATOR))
    if found.state is None:
        return errors.BAD_ACCOUNT()
    switches = standing_of(found.state)
    quotas = await venue.quotas(account)
    spent = [quotas[rule.name] for rule in venue.rules.quotas(AutoCollection(visit.trigger))]
    shown = [name for name in quotas if name in ALWAYS or (name == SCHEDULED and switches.auto_collection)]
    gauges = [Gauge(name, quotas[name].limit - quotas[name].left, quotas[name].limit) for name in shown]
    gauges.append(Gauge("", visit.weights.used(visit.address, venue.clock.now()), visit.weights.per_minute))
    listed = rows(found.state, venue.assets)
    return Picture(
        found.state.number,
        listed,
        flows(found, venue.assets, venue.prices),
        gauges,
        found.answer if isinstance(found.answer, Rejection) else None,
        max((quota.frees for quota in spent if not quota.left), default=0),
        await _last(visit),
        switches,
        any(owed(row.balance) for row in listed),
    )


def rows(state: AccountState, assets: dict[str, Asset]) -> list[Row]:
    """A row for every asset the account ever held; dollars first."""
    return [Row(assets[name], state.balances[name]) for name in sorted(state.balances, key=by_habit)]


async def _last(visit: Visit) -> Stored | None:
    for stored in await visit.venue.history(visit.account, limit=LOOKED_BACK):
        if isinstance(stored.record.command, AutoCollection | AssetCollection):
            return stored
    return None


PAGES: Final = (Page("/accounts/{account}/wallets", show, title=_("Wallets")),)
