"""The verbs about a store as a whole: `store init` makes one, `store copy` copies one, whichever engines they are."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import click

from catchment.cli import screen
from catchment.cli.desk import Desk, Exit, failures_told, with_desk
from catchment.cli.journal import finding_lines

if TYPE_CHECKING:
    from catchment.auditor import Verdict
    from catchment.copying import Copied
    from catchment.store.base import Store


@click.group()
def store() -> None:
    """Make a store, or copy it into another one."""


@store.command(short_help="Make a store; spread it over a cluster.")
@click.option("--distributed", is_flag=True, help="Spread its tables over the machines of a Citus cluster.")
@with_desk
def init(desk: Desk, distributed: bool) -> None:
    """Make the store, or say that it is there.

    Every verb makes a store that is missing, so only --distributed needs this one. It spreads the tables over the
    machines of a Citus cluster, each account's rows together; a store that has been spread stays as it is.
    """
    address = desk.settings().store
    with failures_told(desk.as_json):
        document = _init(address, distributed)
    desk.answer(document, lambda: _print_made(document))


def _init(address: str, distributed: bool) -> dict[str, Any]:
    """`spread` is whether that was done now, and None if it was not asked for."""
    from catchment import errors
    from catchment.store.open import POSTGRES, default_path, open_existing, open_store

    reason = "it would not outlast this verb" if address == "memory:" else ""
    if distributed and not address.startswith(POSTGRES):
        reason = "only a store on PostgreSQL can be spread over machines"
    if reason:
        raise errors.Refused(errors.BAD_STORE_ADDRESS(address or default_path(), reason))
    made = True
    with suppress(errors.Refused), closing(open_existing(address)):
        made = False
    with closing(open_store(address)) as opened:
        spread = _spread(opened) if distributed else None
        return {"store": opened.address, "made": made, "spread": spread}


def _spread(opened: Store) -> bool:
    from catchment.store.postgres import PostgresStore

    assert isinstance(opened, PostgresStore)
    return opened.distribute()


def _print_made(document: dict[str, Any]) -> None:
    rows = [("store", document["store"]), ("schema", "made" if document["made"] else "there already")]
    if document["spread"] is not None:
        rows.append(("tables", f"spread over the cluster{'' if document['spread'] else ' already'}"))
    screen.pairs(rows)


@store.command(short_help="Copy a store into another one, and verify it.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@with_desk
def copy(desk: Desk, source: str, target: str) -> None:
    """Copy everything in the store FROM into the store TO, then verify TO.

    FROM and TO are addresses, as --store takes them. TO is made if it is missing. A copy that was stopped goes on where
    it was, and a copy of a store that a server writes to can be called again to catch up. Secrets stay sealed: TO needs
    the master key of FROM, which is not copied.
    """
    if desk.store is not None:
        raise click.UsageError("FROM and TO name the stores; --store does not.")
    desk.store = target
    began = time.monotonic()
    with failures_told(desk.as_json):
        copied, verdict, sealed = _copy(desk, source, target)
    document = _document(copied, verdict, time.monotonic() - began)
    desk.answer(document, lambda: _print(document, verdict, sealed))
    click.get_current_context().exit(Exit.CHECK_FAILED if verdict.findings else Exit.DONE)


def _copy(desk: Desk, source: str, target: str) -> tuple[Copied, Verdict, bool]:
    from catchment import auditor, copying, errors
    from catchment.store.open import open_existing, open_store
    from catchment.venue import rules_of

    rules = rules_of(desk.settings())
    with closing(open_existing(source)) as whole, closing(open_store(target)) as part:
        if part.address in (whole.address, "memory:"):
            raise errors.Refused(errors.BAD_STORE_ADDRESS(part.address, "a copy needs another store, one that lasts"))
        with screen.progress("copying", whole.newest()) as progress:
            copied = copying.copy(whole, part, rules, progress)
        with screen.progress("verifying", copied.records) as progress:
            verdict = asyncio.run(auditor.verify(part, target, rules, progress))
        return copied, verdict, bool(whole.fingerprint(""))


def _document(copied: Copied, verdict: Verdict, seconds: float) -> dict[str, Any]:
    return {
        "records": copied.records,
        "copied": copied.copied,
        "accounts": copied.accounts,
        "digests": "equal",
        "compared": copied.compared,
        "ahead": copied.ahead,
        "findings": sum(verdict.counts.values()),
        "seconds": round(seconds, 3),
    }


def _print(document: dict[str, Any], verdict: Verdict, sealed: bool) -> None:
    rows = [
        ("records", f"{document['records']}, of which {document['copied']} were copied now"),
        ("accounts", f"{document['accounts']}"),
        ("digests", f"equal; states too, of {document['compared']} accounts"),
        ("verified", "nothing wrong" if not verdict.findings else f"{document['findings']} findings"),
        ("seconds", f"{document['seconds']}"),
    ]
    if document["ahead"]:
        rows.append(("source", f"has gone on by {document['ahead']} records; copy again to catch up"))
    if sealed:
        rows.append(("master key", "not copied; the secrets need the one they were sealed under"))
    screen.pairs(rows)
    for line in finding_lines(verdict):
        screen.line(line)
