"""The verbs around Cross Margin: BNB to UM and back, repaying negative balances, the switches, loans.

They are the operator's hand; BNB transfers and changes of Auto Repay are counted by the account's quotas all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from catchment import records
from catchment.cli import screen, wording
from catchment.cli.desk import Desk, account_of, taken, with_desk
from catchment.cli.funds import TAKES_NEGATIVE, book, submit
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from catchment.ledger.commands import Command
    from catchment.ledger.journal import Stored
    from catchment.store.base import Account
    from catchment.venue import Venue

ON_OFF = click.Choice(["on", "off"], case_sensitive=False)


@click.command(context_settings=TAKES_NEGATIVE, short_help="Move BNB between Cross Margin and UM.")
@click.argument("account")
@click.argument("amount")
@click.argument("side", type=click.Choice(["to-um", "from-um"], case_sensitive=False), metavar="to-um|from-um")
@with_desk
def bnb(desk: Desk, account: str, amount: str, side: str) -> None:
    """Move BNB between Cross Margin and UM: 10 times in any 10 minutes, those over the API included."""
    from catchment.ledger.collection import BNB
    from catchment.ledger.commands import BnbTransfer, Side, Trigger

    way = Side(side.upper().replace("-", "_"))
    book(desk, account, BNB, amount, lambda _, units: BnbTransfer(units, way, Trigger.OPERATOR))


@click.command(short_help="Repay negative futures balances.")
@click.argument("account")
@with_desk
def repay(desk: Desk, account: str) -> None:
    """Fill what is negative in UM and CM out of free Cross Margin, as far as that goes."""
    from catchment.ledger.commands import RepayNegative, Trigger

    columns = [Column("Asset"), Column("To"), Column("Amount", number=True)]

    async def work(venue: Venue) -> tuple[Account, Stored, records.Assets]:
        found = await account_of(venue, account)
        return found, taken(await venue.submit(found.id, RepayNegative(Trigger.OPERATOR))), venue.assets

    found, stored, assets = desk.run(work)
    rows = [
        [each.asset, wording.PLACES[each.target], assets[each.asset].fixed(each.amount)]
        for each in stored.record.transfers
    ]
    desk.answer(
        records.record_document(stored, assets),
        lambda: (
            screen.table(columns, rows, "Repaid from Cross Margin")
            if rows
            else screen.line(f"{found.name}: nothing to repay")
        ),
    )


@click.command("auto-repay", short_help="Turn an account's Auto Repay on or off.")
@click.argument("account")
@click.argument("switch", type=ON_OFF, metavar="on|off")
@with_desk
def auto_repay(desk: Desk, account: str, switch: str) -> None:
    """Whether negative futures balances are repaid before interest is charged; 20 changes a UTC day."""
    from catchment.ledger.commands import SetAutoRepay, Trigger

    _turn(desk, account, "Auto Repay", switch, lambda on: SetAutoRepay(on, Trigger.OPERATOR))


@click.command("auto-collect", short_help="Turn an account's automatic collection on or off.")
@click.argument("account")
@click.argument("switch", type=ON_OFF, metavar="on|off")
@with_desk
def auto_collect(desk: Desk, account: str, switch: str) -> None:
    """Whether a server collects the account by itself."""
    from catchment.ledger.commands import SetAutoCollection, Trigger

    _turn(desk, account, "automatic collection", switch, lambda on: SetAutoCollection(on, Trigger.OPERATOR))


def _turn(desk: Desk, account: str, name: str, switch: str, command: Callable[[bool], Command]) -> None:
    async def work(venue: Venue) -> tuple[Account, Stored]:
        found = await account_of(venue, account)
        return found, taken(await venue.submit(found.id, command(switch == "on")))

    found, stored = desk.run(work)
    line = f"{found.name}: {name} is {switch} (record {stored.record.number})"
    desk.answer(records.record_document(stored, {}), lambda: screen.line(line))


@click.command(context_settings=TAKES_NEGATIVE, short_help="Borrow into Cross Margin.")
@click.argument("account")
@click.argument("asset")
@click.argument("amount")
@with_desk
def borrow(desk: Desk, account: str, asset: str, amount: str) -> None:
    """Borrow an amount into Cross Margin, within the limit that holds over the API."""
    from catchment.papi.loans import loan

    submit(desk, account, asset, amount, loan)


@click.command(context_settings=TAKES_NEGATIVE, short_help="Pay back a loan out of Cross Margin.")
@click.argument("account")
@click.argument("asset")
@click.argument("amount")
@with_desk
def payback(desk: Desk, account: str, asset: str, amount: str) -> None:
    """Pay back an amount of a loan out of what is free in Cross Margin: interest first, then what was borrowed."""
    from catchment.ledger.commands import Repay

    book(desk, account, asset, amount, lambda known, units: Repay(known.name, units))
