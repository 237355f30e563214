"""The verbs that bring money in and out of an account, and the one that shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from catchment import records
from catchment.cli import screen, wording
from catchment.cli.desk import Desk, account_of, asset_of, taken, with_desk
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from catchment.asset import Asset
    from catchment.errors import Rejection
    from catchment.ledger.balance import AccountId, AccountState, Balance
    from catchment.ledger.commands import Command
    from catchment.ledger.journal import Stored
    from catchment.store.base import Account
    from catchment.venue import Venue

TAKES_NEGATIVE: Final = {"ignore_unknown_options": True}
"""`-5` is an amount, not an option."""

PLACES: Final = ("um", "cm", "margin_free", "margin_locked", "borrowed", "interest")
OWED: Final = ("borrowed", "interest")
HEADS: Final = ("UM", "CM", "Margin free", "Locked", "Borrowed", "Interest")
ALWAYS: Final = 3
"""How many of them a terminal shows even if all are zero."""


@click.command(context_settings=TAKES_NEGATIVE)
@click.argument("account")
@click.argument("asset")
@click.argument("amount")
@with_desk
def deposit(desk: Desk, account: str, asset: str, amount: str) -> None:
    """Bring an amount into Cross Margin."""
    from catchment.ledger.commands import Deposit

    book(desk, account, asset, amount, lambda known, units: Deposit(known.name, units))


@click.command(context_settings=TAKES_NEGATIVE)
@click.argument("account")
@click.argument("asset")
@click.argument("amount")
@with_desk
def withdraw(desk: Desk, account: str, asset: str, amount: str) -> None:
    """Take an amount out of what is free in Cross Margin."""
    from catchment.ledger.commands import Withdrawal

    book(desk, account, asset, amount, lambda known, units: Withdrawal(known.name, units))


@click.command(context_settings=TAKES_NEGATIVE, short_help="Book profit, a loss or a fee in UM or CM.")
@click.argument("account")
@click.argument("wallet", type=click.Choice(["UM", "CM"], case_sensitive=False), metavar="UM|CM")
@click.argument("asset")
@click.argument("amount")
@click.option(
    "--reason",
    type=click.Choice(["realized-pnl", "funding-fee", "commission"], case_sensitive=False),
    metavar="REASON",
    default="realized-pnl",
    show_default=True,
    help="The income type a client will read: realized-pnl, funding-fee or commission.",
)
@click.option("--symbol", metavar="SYMBOL", default="", help="The contract it came from, such as BTCUSDT.")
@with_desk
def adjust(desk: Desk, account: str, wallet: str, asset: str, amount: str, reason: str, symbol: str) -> None:
    """Change a futures wallet as trading would; a negative AMOUNT is a loss or a fee.

    \b
    catchment adjust alice UM USDT 250.5
    catchment adjust alice UM USDT -3 --reason commission --symbol BTCUSDT
    """
    from catchment.ledger.commands import Adjustment, Reason
    from catchment.wallet import Wallet

    why = Reason(reason.upper().replace("-", "_"))
    book(
        desk,
        account,
        asset,
        amount,
        lambda known, units: Adjustment(Wallet(wallet), known.name, units, why, symbol),
    )


def book(desk: Desk, account: str, asset: str, amount: str, command: Callable[[Asset, int], Command]) -> None:
    """Submit a command that moves an amount of an asset, and say what it moved."""

    async def command_of(venue: Venue, owner: AccountId, known: Asset, units: int) -> Command | Rejection:
        return command(known, units)

    submit(desk, account, asset, amount, command_of)


def submit(
    desk: Desk,
    account: str,
    asset: str,
    amount: str,
    command_of: Callable[[Venue, AccountId, Asset, int], Awaitable[Command | Rejection]],
) -> None:
    """The same, where the venue is asked first."""
    from catchment.errors import Rejection

    async def work(venue: Venue) -> tuple[Account, Stored, Asset]:
        found = await account_of(venue, account)
        known = asset_of(venue, asset)
        units = taken(known.units(amount))
        command = await command_of(venue, found.id, known, units)
        answer = command if isinstance(command, Rejection) else await venue.submit(found.id, command)
        return found, taken(answer), known

    found, stored, known = desk.run(work)
    document = records.record_document(stored, {known.name: known})
    desk.answer(document, lambda: screen.line(_sentence(found, stored, known)))


def _sentence(found: Account, stored: Stored, asset: Asset) -> str:
    """Every transfer, and what the last one left where it went; what is owed is positive, as everywhere."""
    transfers = stored.record.transfers
    moved = ", ".join(
        f"{asset.text(each.amount)} {asset.name} from {wording.PLACES[each.source]} to {wording.PLACES[each.target]}"
        for each in transfers
    )
    last = transfers[-1]
    inside = last.target in PLACES
    place, held = (last.target, last.target_after) if inside else (last.source, last.source_after)
    held = -held if place in OWED else held
    return f"{found.name}: {moved}; {wording.PLACES[place]} now {asset.text(held)} (record {stored.record.number})"


@click.command()
@click.argument("account")
@click.option("--asset", metavar="ASSET", help="Only this asset, even if all of it is zero.")
@with_desk
def balance(desk: Desk, account: str, asset: str | None) -> None:
    """Show what an account's wallets hold."""

    async def work(venue: Venue) -> tuple[Mapping[str, Asset], AccountState]:
        found = await account_of(venue, account)
        if asset is not None:
            asset_of(venue, asset)
        state = await venue.state(found.id)
        assert state is not None  # it has an account, and a state is made with it
        return venue.assets, state

    assets, state = desk.run(work)
    rows = balance_rows(state, asset)
    desk.answer(
        [wording.balance_document(assets[name], held) for name, held in rows], lambda: balance_table(assets, rows)
    )


def balance_rows(state: AccountState, asset: str | None) -> list[tuple[str, Balance]]:
    """The one asset asked for, or all that are not zero everywhere, by name."""
    from catchment.ledger.balance import balance_of

    if asset is not None:
        return [(asset, balance_of(state, asset))]
    return [(name, held) for name, held in sorted(state.balances.items()) if any(getattr(held, at) for at in PLACES)]


def balance_table(assets: Mapping[str, Asset], balances: Sequence[tuple[str, Balance]], title: str = "") -> None:
    """A terminal leaves out what is locked and owed if there is none; plain text always has every column."""
    if not balances:
        screen.line("no balances")
        return
    shown = [
        at
        for at, place in enumerate(PLACES)
        if at < ALWAYS or not screen.on_terminal() or any(getattr(held, place) for _, held in balances)
    ]
    rows = []
    for name, held in balances:
        units = [held.um, held.cm, held.margin_free, held.margin_locked, -held.borrowed, -held.interest]
        rows.append([name, *(assets[name].fixed(units[at]) for at in shown)])
    screen.table([Column("Asset"), *(Column(HEADS[at], number=True) for at in shown)], rows, title)
