"""The verbs `person` and `link`: who may see the dashboard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from catchment.cli import screen, wording
from catchment.cli.desk import Desk, account_of, taken, with_desk
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from catchment.dashboard.people import Person
    from catchment.venue import Venue

COLUMNS = (Column("Name"), Column("Account"), Column("Since"))


@click.group(short_help="Say who may sign in to the dashboard.")
def person() -> None:
    """Say who may sign in to the dashboard: the owner of an account, or the operator, who sees all of them."""


@person.command("set")
@click.argument("name")
@click.option("--account", metavar="ACCOUNT", help="The account to be seen; by default the one of the same name.")
@click.option("--operator", is_flag=True, help="All accounts, and the operator's pages.")
@with_desk
def set_person(desk: Desk, name: str, account: str | None, operator: bool) -> None:
    """Make a person, or change one. The password is asked for, or read from stdin; it is never an argument.

    Every session of a person ends when they are changed.
    """
    if account is not None and operator:
        raise click.UsageError("--account and --operator exclude each other; use one.")
    password = _password()

    async def work(venue: Venue) -> str:
        from catchment.dashboard.people import People

        found = None if operator else await account_of(venue, account or name)
        taken(await People(venue).put(name, password, found.id.hex() if found else ""))
        return found.name if found else ""

    owned = desk.run(work)
    sees = f"the account {owned}" if owned else "every account"
    document = {"name": name, "account": owned or None, "operator": operator}
    desk.answer(document, lambda: screen.line(f"{name} may sign in and sees {sees}"))


def _password() -> str:
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")


@person.command("list")
@with_desk
def list_people(desk: Desk) -> None:
    """List who may sign in."""

    async def work(venue: Venue) -> list[tuple[Person, str]]:
        from catchment.dashboard.people import People

        people = await People(venue).all()
        return [(one, (await account_of(venue, one.account)).name if one.account else "") for one in people]

    people = desk.run(work)
    document = [
        {"name": one.name, "account": account or None, "operator": not one.account, "created": one.created}
        for one, account in people
    ]
    rows = [[one.name, account or "(operator)", wording.moment(one.created)] for one, account in people]
    desk.answer(document, lambda: screen.table(COLUMNS, rows) if rows else screen.line("nobody"))


@person.command("remove")
@click.argument("name")
@with_desk
def remove_person(desk: Desk, name: str) -> None:
    """Forget a person. Every session of theirs ends at once."""

    async def work(venue: Venue) -> None:
        from catchment.dashboard.people import People

        taken(await People(venue).remove(name))

    desk.run(work)
    desk.answer({"name": name, "removed": True}, lambda: screen.line(f"removed {name}"))


@click.command(short_help="Make a link that signs in to the dashboard once.")
@click.argument("account", required=False)
@click.option("--operator", is_flag=True, help="All accounts, and the operator's pages.")
@with_desk
def link(desk: Desk, account: str | None, operator: bool) -> None:
    """Make a link that signs in to the dashboard of an account once, within ten minutes.

    It is written for the address that the settings name; a server behind another one is reached by the same path.
    """
    if (account is None) != operator:
        raise click.UsageError("Name an account, or say --operator.")

    async def work(venue: Venue) -> str:
        from catchment.dashboard.people import People, link_path

        found = "" if account is None else (await account_of(venue, account)).id.hex()
        return link_path(await People(venue).make_link(found))

    path = desk.run(work)
    settings = desk.settings()
    from catchment.server import address_to

    url = address_to(settings.host, settings.port).url + path
    desk.answer({"url": url}, lambda: screen.line(url))
