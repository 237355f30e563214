"""The verbs of what there is no exchange for: prices, collateral rates and positions are what the operator says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from catchment.cli import screen
from catchment.cli.desk import Desk, account_of, taken, with_desk
from catchment.cli.funds import TAKES_NEGATIVE
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from catchment.ledger.commands import SetPosition
    from catchment.ledger.journal import Stored
    from catchment.margin import Holding, Quotes
    from catchment.store.base import Account
    from catchment.venue import Venue

FIGURES: Final = ("mark", "index", "collateral")
SIDES: Final = ("BOTH", "LONG", "SHORT")
_SIDE = click.option(
    "--side",
    type=click.Choice(SIDES, case_sensitive=False),
    metavar="SIDE",
    default=SIDES[0],
    show_default=True,
    help="BOTH, or LONG and SHORT beside each other.",
)


@click.group()
def price() -> None:
    """Set and show mark prices, index prices and collateral rates."""


@price.command("set", context_settings=TAKES_NEGATIVE, short_help="Set a price or a rate for the whole venue.")
@click.argument("figure", type=click.Choice(FIGURES, case_sensitive=False), metavar="mark|index|collateral")
@click.argument("name")
@click.argument("value")
@with_desk
def set_price(desk: Desk, figure: str, name: str, value: str) -> None:
    """Set a mark price of a symbol (in its quote asset), an index price of an asset (in USD), or its collateral rate.

    \b
    catchment price set mark BTCUSDT 61000.5
    catchment price set index BTC 61000
    catchment price set collateral BTC 0.95
    """
    from catchment.margin import USD
    from catchment.market import Figure

    async def work(venue: Venue) -> str:
        return USD.text(taken(await venue.market.set(Figure[figure.upper()], name, value)))

    text = desk.run(work)
    desk.answer({"figure": figure, "name": name, "value": text}, lambda: screen.line(f"{figure} of {name} now {text}"))


@price.command("list")
@with_desk
def list_prices(desk: Desk) -> None:
    """Show every price and rate, and whether somebody set it."""
    from catchment.margin import USD
    from catchment.market import Figure

    async def work(venue: Venue) -> tuple[Quotes, set[tuple[str, str]]]:
        kept = {(figure.name.lower(), note.name) for figure in Figure for note in await venue.all_kept(figure)}
        return await venue.market.quotes(), kept

    quotes, kept = desk.run(work)
    found = zip(FIGURES, (quotes.marks, quotes.prices, quotes.rates), strict=True)
    rows = [
        (figure, name, USD.text(value), (figure, name) in kept)
        for figure, values in found
        for name, value in sorted(values.items())
    ]
    columns = [Column("Figure"), Column("Of"), Column("Value", number=True), Column("Source")]
    desk.answer(
        [{"figure": figure, "name": name, "value": value, "set": own} for figure, name, value, own in rows],
        lambda: screen.table(columns, [[*row, "set" if own else "default"] for *row, own in rows]),
    )


@click.group()
def position() -> None:
    """Set, show and close positions."""


@position.command("set", context_settings=TAKES_NEGATIVE, short_help="Set a UM or CM position.")
@click.argument("account")
@click.argument("symbol")
@click.argument("amount")
@click.option("--entry-price", metavar="PRICE", help="By default the mark price.")
@click.option("--leverage", type=int, metavar="NUMBER", default=20, show_default=True, help="1 to 125.")
@_SIDE
@with_desk
def set_position(
    desk: Desk, account: str, symbol: str, amount: str, entry_price: str | None, leverage: int, side: str
) -> None:
    """Set a position of AMOUNT, whatever it was before; negative is short. On CM the amount is in contracts.

    \b
    catchment position set alice BTCUSDT 0.5 --entry-price 60000 --leverage 10
    catchment position set alice BTCUSD_PERP -30
    """
    from catchment.margin import named_position

    async def work(venue: Venue) -> tuple[Account, Stored]:
        found = await account_of(venue, account)
        quotes = await venue.market.quotes()
        command = taken(named_position(quotes, symbol, amount, entry_price, leverage, side.upper()))
        return found, taken(await venue.submit(found.id, command))

    _tell(desk, *desk.run(work))


@position.command("close", short_help="End a position.")
@click.argument("account")
@click.argument("symbol")
@_SIDE
@with_desk
def close_position(desk: Desk, account: str, symbol: str, side: str) -> None:
    """End a position without booking its profit: that is `catchment adjust`. Refuses one that there is not."""
    from catchment import errors
    from catchment.errors import Refused
    from catchment.ledger.balance import standing_of
    from catchment.ledger.commands import SetPosition
    from catchment.wallet import FUTURES

    async def work(venue: Venue) -> tuple[Account, Stored]:
        found = await account_of(venue, account)
        state = await venue.state(found.id)
        assert state is not None  # it has an account, and a state is made with it
        for wallet in FUTURES:
            if f"{wallet}:{symbol}:{side.upper()}" in standing_of(state).positions:
                command = SetPosition(wallet, symbol, 0, 0, side=side.upper())
                return found, taken(await venue.submit(found.id, command))
        raise Refused(errors.INVALID_PARAMETER("symbol"))

    _tell(desk, *desk.run(work))


def _tell(desk: Desk, found: Account, stored: Stored) -> None:
    from catchment.margin import USD
    from catchment.records import record_document

    command: SetPosition = stored.record.command  # type: ignore[assignment]  # it is what was submitted
    what = f"{USD.text(command.amount)} at {USD.text(command.entry_price)}" if command.amount else "closed"
    sentence = f"{found.name}: {command.wallet} {command.symbol} {command.side} {what} (record {stored.record.number})"
    desk.answer(record_document(stored, {}), lambda: screen.line(sentence))


@position.command("list")
@click.argument("account")
@with_desk
def list_positions(desk: Desk, account: str) -> None:
    """Show an account's positions at their mark prices."""
    from catchment.margin import USD, amount_text, holdings

    async def work(venue: Venue) -> list[Holding]:
        state = await venue.state((await account_of(venue, account)).id)
        assert state is not None  # it has an account, and a state is made with it
        return holdings(state, await venue.market.quotes())

    rows = [
        {
            "wallet": str(held.wallet),
            "symbol": held.symbol.name,
            "side": held.side,
            "amount": amount_text(held.symbol, held.position.amount),
            "entry_price": USD.text(held.position.entry_price),
            "mark_price": USD.text(held.mark),
            "leverage": str(held.position.leverage),
            "unrealized_profit": held.asset.text(held.profit),
            "initial_margin": held.asset.text(held.initial),
            "maintenance_margin": held.asset.text(held.maintenance),
            "asset": held.asset.name,
        }
        for held in desk.run(work)
    ]
    heads = ("Wallet", "Symbol", "Side", "Amount", "Entry", "Mark", "Leverage", "Profit", "Initial", "Maint", "Asset")
    columns = [Column(head, number=3 <= at < len(heads) - 1) for at, head in enumerate(heads)]
    desk.answer(
        rows,
        lambda: screen.table(columns, [list(row.values()) for row in rows]) if rows else screen.line("no positions"),
    )
