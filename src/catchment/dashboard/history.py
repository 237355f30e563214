"""The journal of an account: its records by filter and cursor, one of them whole, and the filtered set as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response, StreamingResponse

from catchment import errors, records
from catchment.dashboard.visit import Page, Visit
from catchment.dashboard.words import CAUSES, KINDS, PLACES, _
from catchment.errors import Rejection
from catchment.ledger.commands import MarginReason, Reason, Trigger
from catchment.ledger.journal import Stored
from catchment.records import FOREVER, Wanted
from catchment.wallet import Place

SHOWN: Final = 50
LOOKED_AT: Final = 10_000
"""Records that one page looks through: what bounds its time, however rare what is wanted."""
LONGEST: Final = 20
"""Characters of a number or a name in the address."""
OFFERED: Final = (*Trigger, *Reason, *MarginReason)
FORMS: Final = {"csv": "text/csv", "jsonl": "application/jsonl"}
_MILLISECOND: Final = timedelta(milliseconds=1)


class Filter(msgspec.Struct, frozen=True):
    """What the form says, as it says it, and what it means."""

    texts: dict[str, str]
    wanted: Wanted

    def query(self, **more: object) -> str:
        """The same again, as the query of an address."""
        return urlencode({name: text for name, text in self.texts.items() if text} | more)


async def listing(visit: Visit) -> Response | Rejection:
    """A page of records, newest first; with a cursor, those before it."""
    asked = _filter(visit)
    if isinstance(asked, Rejection):
        return asked
    below = _number(visit.request.query_params.get("below", ""))
    state = await visit.venue.state(visit.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    part = await records.search(visit.venue, visit.account, asked.wanted, below=below, limit=SHOWN, most=LOOKED_AT)
    return visit.render(
        "history_part.html" if visit.part else "history.html",
        number=state.number,
        asked=asked,
        below=below,
        part=part,
        choices=_choices(visit),
    )


async def one(visit: Visit) -> Response | Rejection:
    """One record: its entries, its command, its digest and the one before."""
    number = _number(visit.request.path_params["number"])
    found = await visit.venue.history(visit.account, below=(number or 0) + 1, limit=2)
    if not found or found[0].record.number != number:
        return errors.NO_SUCH_PAGE()
    stored = found[0]
    document = records.record_document(stored, visit.venue.assets)
    return visit.render(
        "record.html",
        stored=stored,
        kind=document["kind"],
        command=_lines({name: value for name, value in document["command"].items() if name != "type"}),
        found=stored.record.body.found,
        previous=found[1].record.digest.hex() if len(found) > 1 else "",
        text=stored.record.text.decode(),
        request=await visit.venue.request_of(visit.account, stored.record.number),
        last=(await visit.venue.state(visit.account) or stored.record).number,
    )


async def export(visit: Visit) -> Response | Rejection:
    """Everything the filter finds, oldest first."""
    asked = _filter(visit)
    if isinstance(asked, Rejection):
        return asked
    form = visit.request.path_params["form"]
    if form not in FORMS:
        return errors.NO_SUCH_PAGE()
    found = records.oldest_first(visit.venue, visit.account, asked.wanted)
    name = f"catchment-{visit.account.hex()}.{form}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_written(visit, found, form), media_type=FORMS[form], headers=headers)


async def _written(visit: Visit, found: AsyncIterator[Stored], form: str) -> AsyncIterator[str]:
    """Some records at a time, so that a long history takes no more memory than a short one."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if form == "csv":
        table.writerow(records.ENTRY_HEADS)
    async for stored in found:
        if form == "csv":
            table.writerows(records.entry_rows(stored, visit.venue.assets))
        else:
            text.write(json.dumps(records.record_document(stored, visit.venue.assets), ensure_ascii=False) + "\n")
        if text.tell() > 1 << 16:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _filter(visit: Visit) -> Filter | Rejection:
    """Refuses what no field of the form offers, and a time that is none (-1130)."""
    sent = visit.request.query_params
    texts = {name: sent.get(name, "").strip() for name in ("asset", "place", "kind", "cause", "since", "until")}
    offered = {name: {value for value, _name in each} for name, each in _choices(visit).items()}
    for name, known in offered.items():
        if texts[name] and texts[name] not in known:
            return errors.INVALID_PARAMETER(name)
    times = []
    for name, default, last in (("since", 0, 0), ("until", FOREVER, 999)):
        moment = _moment(texts[name]) if texts[name] else default - last
        if moment is None:
            return errors.INVALID_PARAMETER(name)
        times.append(moment + last)
    chosen = [texts[name] for name in ("asset", "place", "kind", "cause")]
    return Filter(texts, Wanted(times[0], times[1], *chosen))


def _choices(visit: Visit) -> dict[str, list[tuple[str, str]]]:
    """What each field of the form offers, with its name in this language."""
    words = visit.words
    return {
        "asset": [(name, name) for name in visit.venue.assets],
        "place": [(place, words.of(place, PLACES)) for place in Place],
        "kind": [(kind, words.of(kind, KINDS)) for kind in records.KINDS],
        "cause": [(cause, words.of(cause, CAUSES)) for cause in OFFERED],
    }


def _moment(text: str) -> int | None:
    """Milliseconds of what a field for a date and a time sends, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)) // _MILLISECOND


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST else None


def _lines(document: dict[str, object], before: str = "") -> list[tuple[str, str]]:
    """A document as lines of name and text."""
    lines: list[tuple[str, str]] = []
    for name, value in document.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{before}{name}.")
        elif isinstance(value, list):
            for place, each in enumerate(value):
                lines += _lines(each, f"{before}{name}[{place}].")
        else:
            lines.append((before + name, str(value).lower() if isinstance(value, bool) else str(value)))
    return lines


PAGES: Final = (
    Page("/accounts/{account}/history", listing, title=_("History")),
    Page("/accounts/{account}/records/{number}", one),
    Page("/accounts/{account}/export/{form}", export),
)
