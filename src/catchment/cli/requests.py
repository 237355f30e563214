"""The verb that shows the last requests: `requests`, of one account's keys or of everybody."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import click

from catchment.cli import screen, wording
from catchment.cli.desk import Desk, account_of, with_desk
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from catchment.records import Document
    from catchment.request_keeper import RequestPage
    from catchment.store.base import Answered
    from catchment.venue import Venue

REQUESTS: Final = (
    Column("Time (UTC)", width=24, whole=True),
    Column("Key", width=15, whole=True),
    Column("Address", width=15, whole=True),
    Column("Method", width=6),
    Column("Path", width=32),
    Column("Parameters", width=40),
    Column("Weight", number=True, width=6),
    Column("Status", number=True, width=6),
    Column("Code", number=True, width=5),
    Column("ms", number=True, width=9),
)
LOOKED_FOR_EVERY_S: Final = 1 / 2


@click.command()
@click.argument("account", required=False)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="COUNT", default=20, show_default=True, help="Requests at most."
)
@click.option("--follow", is_flag=True, help="Go on with every request that comes, oldest first, until Ctrl-C.")
@with_desk
def requests(desk: Desk, account: str | None, limit: int, follow: bool) -> None:
    """Show the last requests with an account's keys, or everybody's, newest first.

    Signatures and secrets are not kept. --follow with --json writes a line for each request.
    """

    async def work(venue: Venue) -> None:
        whose = (await account_of(venue, account)).id if account is not None else None
        newest = await venue.newest_request()
        page = await venue.requests(whose, before=newest + 1, limit=limit)
        if not follow:
            document = {"requests": list(map(_document, page.answered)), "left_out": page.left_out}
            desk.answer(document, lambda: _table(page))
            return
        _lines(desk, page, heading=True)
        while True:
            await asyncio.sleep(LOOKED_FOR_EVERY_S)
            seen, newest = newest, await venue.newest_request()
            if newest != seen:
                after = seen if newest > seen else 0  # they were made anew
                _lines(desk, await venue.requests(whose, before=newest + 1, after=after))

    desk.run(work)


def _table(page: RequestPage) -> None:
    if page.answered:
        screen.table(REQUESTS, list(map(_cells, page.answered)))
    else:
        screen.line("no requests")
    _say_left_out(page)


def _lines(desk: Desk, page: RequestPage, heading: bool = False) -> None:
    answered = page.answered[::-1]
    if desk.as_json:
        for one in answered:
            click.echo(json.dumps(_document(one), ensure_ascii=False))
        return
    for line in screen.plain(REQUESTS, list(map(_cells, answered)), heading=heading):
        screen.line(line)
    _say_left_out(page)


def _say_left_out(page: RequestPage) -> None:
    if page.left_out:
        screen.line(f"{page.left_out} more, of anybody, came too fast to be kept")


def _cells(one: Answered) -> list[str]:
    return [
        wording.instant(one.time),
        one.key,
        one.address,
        one.method,
        one.path,
        "&".join(f"{name}={value}" for name, value in one.parameters),
        str(one.weight),
        str(one.status or ""),
        str(one.code or ""),
        f"{one.took // 1_000}.{one.took % 1_000:03}",
    ]


def _document(one: Answered) -> Document:
    return {
        "id": one.id,
        "account": one.account.hex(),
        "time": one.time,
        "key": one.key,
        "address": one.address,
        "method": one.method,
        "path": one.path,
        "parameters": [{"name": name, "value": value} for name, value in one.parameters],
        "weight": one.weight,
        "status": one.status,
        "code": one.code,
        "microseconds": one.took,
        "record": one.record,
    }
