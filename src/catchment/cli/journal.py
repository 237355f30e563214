"""The verbs that read the journal: `history` of an account, `export` of all or one, `verify` of everything."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from catchment import records
from catchment.cli import screen, wording
from catchment.cli.desk import Desk, Exit, account_of, asset_of, with_desk
from catchment.cli.funds import balance_table
from catchment.cli.screen import Column
from catchment.records import Assets

if TYPE_CHECKING:
    from catchment.auditor import Verdict
    from catchment.ledger.audit import Finding
    from catchment.ledger.journal import Stored
    from catchment.venue import Venue

FINDINGS_TOLD: Final = 50

PLACES: Final = {"um": "UM", "cm": "CM", "margin_free": "free", "margin_locked": "locked"}
"""Short, because a line has to hold two of them."""

HISTORY: Final = (
    Column("No", number=True),
    Column("Time (UTC)"),
    Column("Kind"),
    Column("By"),
    Column("Asset"),
    Column("Amount", number=True),
    Column("From"),
    Column("To"),
    Column("Found", number=True),
)
_MILLISECOND: Final = timedelta(milliseconds=1)


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Milliseconds of a time: milliseconds already, or ISO 8601, in UTC if it does not say otherwise."""
    if value is None or value.isdecimal():
        return None if value is None else int(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither milliseconds nor like 2026-11-22T08:30:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime.fromtimestamp(0, UTC)) // _MILLISECOND


# History --------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("account")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="COUNT", default=20, show_default=True, help="Records at most."
)
@click.option("--since", metavar="TIME", callback=_moment, help="From this time on: milliseconds, or ISO 8601 in UTC.")
@click.option("--until", metavar="TIME", callback=_moment, help="Up to this time, included.")
@click.option("--asset", metavar="ASSET", help="Only records that move this asset.")
@click.option(
    "--kind",
    type=click.Choice(records.KINDS, case_sensitive=False),
    metavar="KIND",
    help=f"Only records of this kind: {', '.join(records.KINDS)}.",
)
@with_desk
def history(
    desk: Desk, account: str, limit: int, since: int | None, until: int | None, asset: str | None, kind: str | None
) -> None:
    """Show an account's records, newest first."""

    async def work(venue: Venue) -> tuple[list[Stored], Assets]:
        found = await account_of(venue, account)
        if asset is not None:
            asset_of(venue, asset)
        last = until if until is not None else records.FOREVER
        wanted = records.Wanted(since or 0, last, asset or "", kind=kind or "")
        listed: list[Stored] = []
        async for stored in records.newest_first(venue, found.id, wanted):
            listed.append(stored)
            if len(listed) == limit:
                break
        return listed, venue.assets

    listed, assets = desk.run(work)
    rows = [row for stored in listed for row in _history_rows(stored, assets)]
    desk.answer(
        [records.record_document(stored, assets) for stored in listed],
        lambda: _print_history(rows),
    )


def _print_history(rows: list[list[str]]) -> None:
    """A terminal leaves out what was found if nothing was; plain text always has every column."""
    if not rows:
        screen.line("no records")
        return
    shown = len(HISTORY) - (screen.on_terminal() and not any(row[-1] for row in rows))
    screen.table(HISTORY[:shown], [row[:shown] for row in rows])


def _history_rows(stored: Stored, assets: Assets) -> Iterator[list[str]]:
    """One row for each transfer, or one for a record that moved nothing: what was set stands under To."""
    record = stored.record
    head = [str(record.number), wording.moment(record.timestamp), records.kind_of(record.command)]
    head.append(records.cause_of(record.command))
    found = {each.asset: assets[each.asset].fixed(each.amount) for each in record.body.found}
    for transfer in record.transfers:
        amount = assets[transfer.asset].fixed(transfer.amount)
        ends = (PLACES.get(place, place) for place in (transfer.source, transfer.target))
        yield [*head, transfer.asset, amount, *ends, found.pop(transfer.asset, "")]
    if not record.transfers:
        yield [*head, *_what_was_set(records.command_document(record.command, assets)), ""]


def _what_was_set(command: records.Document) -> list[str]:
    """A switch, or a position: its symbol and size."""
    if "on" in command:
        return ["", "", "", "on" if command["on"] else "off"]
    if "entry_price" in command:
        return [command["symbol"], command["amount"], "", command["wallet"]]
    return ["", "", "", ""]


# Export ---------------------------------------------------------------------------------------------------------------


@click.command(short_help="Write the journal as csv or jsonl.")
@click.argument("account", required=False)
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A file, written whole or not at all.")
@with_desk
def export(desk: Desk, account: str | None, form: str, output: Path | None) -> None:
    """Write all records, or one account's, oldest first.

    csv has one line for each entry (a record that moved nothing has one line without an entry), jsonl one for each
    record. Amounts are exact decimal text. --json says what was written, and needs --output.
    """
    if desk.as_json and output is None:
        raise click.UsageError("--json describes what was written to a file: say --output, or --format jsonl.")

    async def work(venue: Venue) -> int:
        found = await account_of(venue, account) if account is not None else None
        exported = _all(venue) if found is None else records.oldest_first(venue, found.id)
        with _written_whole(output) as file, screen.progress("exporting", None) as progress:
            return await _write(exported, venue.assets, form, file, progress if output is not None else _ignore)

    count = desk.run(work)
    if output is not None:
        document = {"records": count, "format": form, "output": str(output)}
        desk.answer(document, lambda: screen.line(f"{count} records written to {output}"))


def _ignore(done: int) -> None:
    pass


async def _all(venue: Venue) -> AsyncIterator[Stored]:
    after = 0
    while page := await venue.tail(after, records.PAGE):
        for stored in page:
            yield stored
        after = page[-1].sequence


async def _write(
    exported: AsyncIterator[Stored], assets: Assets, form: str, file: TextIO, progress: Callable[[int], None]
) -> int:
    import csv

    table = csv.writer(file, lineterminator="\n")
    if form == "csv":
        table.writerow(records.ENTRY_HEADS)
    count = 0
    async for stored in exported:
        if form == "csv":
            table.writerows(records.entry_rows(stored, assets))
        else:
            file.write(json.dumps(records.record_document(stored, assets), ensure_ascii=False) + "\n")
        count += 1
        if count % records.PAGE == 0:
            progress(count)
    return count


@contextmanager
def _written_whole(output: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that has its name only once it is complete."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with _opened(aside) as file:
            yield file
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise click.UsageError(f"cannot write to {path.parent}: {error.strerror}") from None


# Verify ---------------------------------------------------------------------------------------------------------------


@click.command(short_help="Check every invariant over the whole journal.")
@with_desk
def verify(desk: Desk) -> None:
    """Check every invariant over the whole journal; exit code 1 if one is broken."""
    seen = [0]

    async def work(venue: Venue) -> tuple[Verdict, Assets]:
        with screen.progress("verifying", None) as progress:

            def told(records: int) -> None:
                seen[0] = records
                progress(records)

            return await venue.verify(told), venue.assets

    import msgspec

    from catchment.store.base import StoreDamaged

    try:
        verdict, assets = desk.run(work)
    except (msgspec.DecodeError, StoreDamaged) as error:
        _tell_unreadable(desk, seen[0], str(error))
        click.get_current_context().exit(Exit.CHECK_FAILED)
    desk.answer(_verdict_document(verdict, assets), lambda: _print_verdict(verdict, assets))
    click.get_current_context().exit(Exit.CHECK_FAILED if verdict.findings else Exit.DONE)


def _tell_unreadable(desk: Desk, records: int, reason: str) -> None:
    sentence = f"a record or a state cannot be read, somewhere after the first {records} records: {reason}"
    desk.answer({"ok": False, "records": records, "unreadable": reason}, lambda: screen.line(f"BROKEN  {sentence}"))


def invariants() -> dict[int, str]:
    """The audit's numbered invariants, as its own text states them."""
    from catchment.ledger import audit

    return {int(number): text for number, text in re.findall(r"^ *(\d+)  (.+)$", audit.__doc__ or "", re.MULTILINE)}


def _verdict_document(verdict: Verdict, assets: Assets) -> dict[str, Any]:
    return {
        "ok": not verdict.findings,
        "records": verdict.records,
        "accounts": verdict.accounts,
        "invariants": [
            {"number": number, "sentence": text, "findings": verdict.counts.get(number, 0)}
            for number, text in invariants().items()
        ],
        "findings": [
            {
                "invariant": finding.invariant,
                "account": finding.account.hex(),
                "number": finding.number,
                "sequence": finding.sequence,
                "sentence": finding.sentence,
            }
            for finding in verdict.findings
        ],
        "totals": {
            asset: {str(place): assets[asset].text(units) for place, units in places.items()}
            for asset, places in sorted(verdict.totals.items())
        },
    }


def _print_verdict(verdict: Verdict, assets: Assets) -> None:
    broken = {finding.invariant for finding in verdict.findings}
    for number, text in invariants().items():
        mark = click.style("BROKEN", fg="red", bold=True) if number in broken else click.style("ok    ", fg="green")
        click.echo(f"{mark}  {number:2}  {screen.wrapped(text, indent=12)}")
    for line in finding_lines(verdict):
        screen.line(line)
    screen.line()
    screen.pairs([("records", str(verdict.records)), ("accounts", str(verdict.accounts))])
    if verdict.totals:
        from catchment.ledger.balance import Balance

        screen.line()
        held = [(asset, Balance(**places)) for asset, places in sorted(verdict.totals.items())]
        balance_table(assets, held, "Held by all accounts")


def finding_lines(verdict: Verdict) -> Iterator[str]:
    """The first findings, one a line, and how many there are beside them."""
    yield from map(_finding_line, verdict.findings[:FINDINGS_TOLD])
    more = sum(verdict.counts.values()) - FINDINGS_TOLD
    if more > 0:
        yield f"and {more} more findings; verify --json lists the first of each invariant"


def _finding_line(finding: Finding) -> str:
    where = [f"account {finding.account.hex()}" if finding.account else "the whole venue"]
    if finding.number:
        where.append(f"number {finding.number}")
    if finding.sequence:
        where.append(f"sequence {finding.sequence}")
    return f"invariant {finding.invariant}: {', '.join(where)}: {finding.sentence}"
