"""The wallets of an account: balances, the flow into Cross Margin, the last collection, and what quotas leave."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.responses import Response

from catchment import errors
from catchment.asset import Asset
from catchment.dashboard.flows import Flow, flows
from catchment.dashboard.visit import Page, Visit
from catchment.dashboard.words import _
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Balance
from catchment.ledger.collection import BNB
from catchment.ledger.commands import AssetCollection, AutoCollection, Trigger
from catchment.ledger.journal import Stored
from catchment.venue import STABLECOINS

LOOKED_BACK: Final = 100
"""Records among which the last collection is looked for."""
FIRST: Final = (*STABLECOINS, "BTC", "ETH", BNB)


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
    """Why the button would be refused now."""
    again_at: int
    """When the button would no longer be refused, in milliseconds; 0 if that is not a matter of time."""
    last: Stored | None


async def show(visit: Visit) -> Response | Rejection:
    """The whole page, or the piece that changes."""
    picture = await read(visit)
    if isinstance(picture, Rejection):
        return picture
    return visit.render("wallets_part.html" if visit.part else "wallets.html", picture=picture)


async def read(visit: Visit) -> Picture | Rejection:
    """One picture of the account."""
    venue, account = visit.venue, visit.account
    now = venue.clock.now()
    # Under no quota, so it tells what would move even when the button's quota is spent.
    unbound = await venue.preview(account, AutoCollection(Trigger.OPERATOR))
    button = await venue.preview(account, AutoCollection(Trigger.BUTTON))
    api = await venue.preview(account, AutoCollection(Trigger.API))
    if unbound.state is None:
        return errors.BAD_ACCOUNT()
    own = unbound if visit.session is not None and visit.session.operator else button
    refused = own.answer if isinstance(own.answer, Rejection) else None
    wait = refused.retry_after if refused is not None else None
    gauges = [Gauge(name, limit - left, limit) for name, (left, limit) in (button.quotas | api.quotas).items()]
    gauges.append(Gauge("", visit.weights.used(visit.address, now), visit.weights.per_minute))
    return Picture(
        unbound.state.number,
        rows(unbound.state, venue.assets),
        flows(unbound, venue.assets, venue.prices),
        gauges,
        refused,
        now + 1_000 * wait if wait else 0,
        await _last(visit),
    )


def rows(state: AccountState, assets: dict[str, Asset]) -> list[Row]:
    """A row for every asset the account ever held; dollars first."""
    names = sorted(state.balances, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return [Row(assets[name], state.balances[name]) for name in names]


async def _last(visit: Visit) -> Stored | None:
    for stored in await visit.venue.history(visit.account, limit=LOOKED_BACK):
        if isinstance(stored.record.command, AutoCollection | AssetCollection):
            return stored
    return None


PAGES: Final = (Page("/accounts/{account}/wallets", show, title=_("Wallets")),)
