"""The operator's page of the venue: its health, who is banned, what all accounts hold, and collecting all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from starlette.responses import Response

from catchment import __version__, errors, everybody
from catchment.config import hide_password
from catchment.dashboard.flows import by_habit
from catchment.dashboard.visit import ROOT, Page, Visit
from catchment.dashboard.words import _
from catchment.dashboard.works import Told, Work
from catchment.errors import Rejection
from catchment.venue import Venue
from catchment.wallet import Place

TOTALS, COLLECTION = "totals", "collection"
"""The names of the two long works."""
AT_ONCE: Final = 200
"""Accounts handed to the writer together; what customers ask comes in between."""
REASONS_TOLD: Final = 10
BANS_SHOWN: Final = 100
ANSWERED_WITHIN_S: Final = 2
"""A store or a writer that takes longer does not work, in seconds."""
LONGEST_NUMBER: Final = 18
AILMENTS: Final = {
    "the store cannot be read": _("the store cannot be read"),
    "the writer takes no commands": _("the writer takes no commands"),
    "no answer": _("no answer within 2 seconds"),
}
"""Why the venue cannot work, as `Venue.ailment` begins to say it."""

Outcome = TypeVar("Outcome", bound=msgspec.Struct)


class Sums(msgspec.Struct, frozen=True):
    """What all accounts hold, each as of a record from `first` to `last`. Units are text: together they may be more
    than 64 bits. `broken` accounts have an asset whose places do not sum to zero; the first are `listed`."""

    first: int
    last: int
    places: dict[str, dict[Place, str]]
    broken: int
    listed: list[str]

    def at(self, asset: str, place: Place) -> int:
        return int(self.places[asset][place])

    def rest(self, asset: str) -> int:
        """What an asset's places sum to: zero, or money came from nowhere."""
        return sum(map(int, self.places[asset].values()))

    @property
    def sound(self) -> bool:
        return not self.broken and not any(map(self.rest, self.places))

    @property
    def assets(self) -> list[str]:
        return sorted(self.places, key=by_habit)


class Collected(msgspec.Struct, frozen=True):
    """What came of collecting every account: the counts of `everybody.Tally`; refusals by name and code; units moved
    by asset, as text."""

    accounts: int
    skipped: int
    collections: int
    transfers: int
    refused: int
    refusals: list[tuple[str, int, int]]
    moved: dict[str, str]

    @property
    def assets(self) -> list[str]:
        return sorted(self.moved, key=by_habit)


class Adding:
    """Adds up what all accounts hold."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._sums: Sums | None = None

    async def run(self, progress: Callable[[int], None]) -> None:
        found = await self._venue.totals(progress)
        places = {asset: {place: str(units) for place, units in held.items()} for asset, held in found.places.items()}
        listed = [account.hex() for account in found.listed]
        self._sums = Sums(found.first, found.last, places, found.broken, listed)

    def outcome(self) -> Sums | None:
        return self._sums


class Collecting:
    """Collects every account."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._tally = everybody.Tally()

    async def run(self, progress: Callable[[int], None]) -> None:
        await everybody.collect(self._venue, self._tally, progress, at_once=AT_ONCE)

    def outcome(self) -> Collected:
        tally = self._tally
        return Collected(
            tally.accounts,
            tally.skipped,
            tally.collections,
            tally.transfers,
            sum(tally.refused.values()),
            [(one.name, one.code, count) for one, count in tally.refused.most_common(REASONS_TOLD)],
            {asset: str(units) for asset, units in tally.moved.items()},
        )


WORKS: Final[dict[str, Callable[[Venue], Work]]] = {TOTALS: Adding, COLLECTION: Collecting}


async def overview(visit: Visit) -> Response | Rejection:
    """The whole page."""
    values = await _health(visit) | await _totals(visit) | await _collection(visit)
    return visit.render("venue.html", **values)


async def health(visit: Visit) -> Response | Rejection:
    """The piece that says whether the venue works, how much there is, and who is banned."""
    return visit.render("venue_health.html", **await _health(visit)) if visit.part else _back(visit)


async def totals(visit: Visit) -> Response | Rejection:
    """The piece of what all accounts hold, or how far adding it up is."""
    return visit.render("venue_totals.html", **await _totals(visit)) if visit.part else _back(visit)


async def collection(visit: Visit) -> Response | Rejection:
    """The piece of how far the collection is, or what came of the last one."""
    return visit.render("venue_collection.html", **await _collection(visit)) if visit.part else _back(visit)


async def begin_totals(visit: Visit) -> Response | Rejection:
    """Add up anew."""
    return await _begin(visit, TOTALS) or await totals(visit)


async def confirm(visit: Visit) -> Response | Rejection:
    """What collecting every account means, before it is done."""
    values = await _collection(visit) | {"count": (await visit.venue.counts()).accounts}
    return visit.render("venue_confirm_part.html" if visit.part else "venue_confirm.html", **values)


async def begin_collection(visit: Visit) -> Response | Rejection:
    """Collect every account; the page then follows it."""
    return await _begin(visit, COLLECTION) or _back(visit)


async def lift(visit: Visit) -> Response | Rejection:
    """End a ban; one that is over already is no refusal."""
    await visit.venue.lift_ban(visit.form.get("address", ""))
    return await health(visit)


async def _begin(visit: Visit, name: str) -> Rejection | None:
    after = visit.form.get("after", "")
    if not (after.isascii() and after.isdigit() and len(after) <= LONGEST_NUMBER):
        return errors.INVALID_PARAMETER("after")
    await visit.works.begin(name, int(after))
    return None


async def _health(visit: Visit) -> dict[str, object]:
    venue = visit.venue
    now = venue.clock.now()
    try:
        reason = await asyncio.wait_for(venue.ailment(), ANSWERED_WITHIN_S)
    except TimeoutError:
        reason = "no answer"
    ailment, _colon, detail = (reason or "").partition(": ")
    return {
        "ailment": visit.words.of(ailment, AILMENTS),
        "detail": detail,
        "counts": await venue.counts(),
        "store": hide_password(venue.store_address),
        "version": __version__,
        "bans": sorted(venue.weights.bans(now), key=lambda ban: ban.banned_until, reverse=True),
        "shown_bans": BANS_SHOWN,
        "now": now,
    }


async def _totals(visit: Visit) -> dict[str, object]:
    told = await visit.works.last(TOTALS)
    return {"adding": told, "sums": _outcome(told, Sums), "places_shown": list(Place)}


async def _collection(visit: Visit) -> dict[str, object]:
    told = await visit.works.last(COLLECTION)
    return {"collecting": told, "collected": _outcome(told, Collected)}


def _outcome(told: Told | None, kind: type[Outcome]) -> Outcome | None:
    return msgspec.json.decode(told.outcome, type=kind | None) if told else None


def _back(visit: Visit) -> Response:
    return visit.go(f"{ROOT}/venue")


PAGES: Final = (
    Page("/venue", overview, title=_("Venue"), operator=True),
    Page("/venue/health", health, operator=True),
    Page("/venue/lift", lift, "POST", operator=True),
    Page("/venue/totals", totals, operator=True),
    Page("/venue/totals", begin_totals, "POST", operator=True),
    Page("/venue/collection", collection, operator=True),
    Page("/venue/collect", confirm, operator=True),
    Page("/venue/collect", begin_collection, "POST", operator=True),
)
