"""The verbs that listen: `serve` the venue, and `demo` it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catchment import __version__
from catchment.cli.desk import Desk, with_desk

if TYPE_CHECKING:
    from catchment.config import Settings
    from catchment.server import Address
    from catchment.venue import Venue


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 127.0.0.1 by default.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Port to listen on; 8750 by default, 0 takes a free one.",
)
@click.option("--scenario", metavar="FILE", help="Accounts to make if they do not exist yet (TOML).")
@click.option(
    "--weight-per-minute",
    type=click.IntRange(min=1),
    metavar="WEIGHT",
    help="Request weight an address may use; 6000 by default.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="NUMBER",
    help="Server processes on the one port; 1 by default.",
)
@with_desk
def serve(desk: Desk, **given: Any) -> None:
    """Serve the venue until Ctrl-C."""
    settings = desk.settings(**given)
    plan: Any = None
    if settings.scenario:
        from catchment import scenario as scenarios

        plan = scenarios.read(Path(settings.scenario).expanduser())
    document: dict[str, Any] = {"url": "", "store": "", "scenario": None, "weights": None, "processes": [os.getpid()]}

    async def prepare(venue: Venue) -> None:
        document["store"] = venue.store_address
        if plan is not None:
            applied = await scenarios.apply(venue, plan)
            made = f"{len(applied.made)} accounts made, {len(applied.left)} existed and were left as they are"
            document["scenario"] = made
        if settings.weights:
            from catchment.shared_weights import without_secret

            document["weights"] = without_secret(settings.weights)

    def announce(address: Address, processes: Sequence[int] = ()) -> None:
        document["url"] = address.url
        document["processes"] = list(processes) or document["processes"]
        desk.answer(document, lambda: _announce(settings, document))

    async def opened(venue: Venue, address: Address) -> None:
        await prepare(venue)
        announce(address)

    from catchment import app

    with _ended_by_hand():
        if settings.processes == 1:
            app.run(app.serve(settings, opened=opened))
        else:
            from catchment import processes

            app.run(processes.serve(settings, prepare=prepare, opened=announce))


@contextlib.contextmanager
def _ended_by_hand() -> Iterator[None]:
    """Ctrl-C is how serving ends, also while it starts."""
    try:
        yield
    except KeyboardInterrupt:
        return


def _announce(settings: Settings, document: dict[str, Any]) -> None:
    from catchment.config import Settings

    click.echo(f"Catchment {__version__} listens on {document['url']}")
    click.echo(f"store     {document['store']}")
    if document["scenario"] is not None:
        click.echo(f"scenario  {settings.scenario}: {document['scenario']}")
    if settings.processes > 1:
        click.echo(f"processes {', '.join(map(str, document['processes']))}")
    if settings.weights:
        click.echo(f"weights   shared by {document['weights']}")
    usual = Settings().weight_per_minute
    if settings.weight_per_minute != usual:
        click.echo(
            f"weight    {settings.weight_per_minute} a minute for each address, where the live venue has {usual}"
        )
    if settings.processes > 1 and not settings.weights:
        click.secho(
            f"warning: each of the {settings.processes} processes counts weight and bans alone, so an address may use "
            "the limit of a minute in each of them. The setting weights shares them.",
            fg="yellow",
            err=True,
        )
    if not _is_loopback(settings.host):
        click.secho(
            f"warning: {settings.host} is not a loopback address. Whoever reaches it can use this venue, and its HTTP "
            "is not encrypted.",
            fg="yellow",
            err=True,
        )
    click.echo("Ctrl-C ends it.")


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@click.command(short_help="Serve a funded account and collect it over HTTP.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="8750 by default; the next free one if it is busy."
)
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), help="Keep the SQLite file, at this path.")
@with_desk
def demo(desk: Desk, port: int | None, keep: Path | None) -> None:
    """Serve a funded account, collect it over HTTP, and show what happened.

    The store is a fresh SQLite file that is removed at the end, unless --keep or --store names one.
    """
    if keep is not None and desk.store is not None:
        raise click.UsageError("--keep and --store both name a store; use one.")
    from catchment import demo as demonstration

    with _ended_by_hand(), demonstration.store_at(desk.store, keep) as store:
        desk.store = store
        demonstration.run(desk.settings(port=port), desk.as_json)
