"""The verbs `account` and `key`: who is a customer of the venue, and what they sign with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from catchment.cli import screen, wording
from catchment.cli.desk import Desk, account_of, taken, with_desk
from catchment.cli.funds import balance_rows, balance_table
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from catchment.ledger.balance import AccountState, Standing
    from catchment.signature import ApiKey
    from catchment.store.base import Account
    from catchment.venue import NewKey, Venue

ID_CHARS: Final = 32
LISTING: Final = (Column("Id", width=ID_CHARS), Column("Created", width=20), Column("Portfolio Margin"), Column("Name"))


@click.group(short_help="Make and look at accounts.")
def account() -> None:
    """Make and look at accounts. Other verbs take an account's name or its id."""


@account.command("create")
@click.argument("name")
@click.option("--no-portfolio-margin", is_flag=True, help="Not enrolled: collections are refused.")
@with_desk
def create_account(desk: Desk, name: str, no_portfolio_margin: bool) -> None:
    """Make an account with empty wallets."""

    async def work(venue: Venue) -> Account:
        return taken(await venue.add_account(name, not no_portfolio_margin))

    made = desk.run(work)
    desk.answer(wording.account_document(made), lambda: screen.line(f"made {made.name}, id {made.id.hex()}"))


@account.command("list")
@with_desk
def list_accounts(desk: Desk) -> None:
    """List all accounts in the order they were made."""
    desk.run(lambda venue: _list_accounts(venue, desk.as_json))


async def _list_accounts(venue: Venue, as_json: bool) -> None:
    """Page by page, so that a million accounts need no more memory than a thousand."""
    import json

    between = "["
    first = True
    async for page in venue.accounts():
        if as_json:
            for found in page:
                click.echo(f"{between}\n  {json.dumps(wording.account_document(found), ensure_ascii=False)}", nl=False)
                between = ","
        else:
            for text in screen.plain(LISTING, [_account_row(found) for found in page], heading=first):
                click.echo(text)
        first = False
    if as_json:
        click.echo("[]" if first else "\n]")
    elif first:
        screen.line("no accounts")


def _account_row(found: Account) -> list[str]:
    return [found.id.hex(), wording.moment(found.created), wording.yes(found.portfolio_margin), found.name]


@account.command("show")
@click.argument("name")
@with_desk
def show_account(desk: Desk, name: str) -> None:
    """Show an account: its flags, keys, quotas and balances."""
    document, words = desk.run(lambda venue: _show_account(venue, name))
    desk.answer(document, words)


async def _show_account(venue: Venue, name: str) -> tuple[dict[str, Any], Any]:
    from catchment.ledger.balance import standing_of

    found = await account_of(venue, name)
    state = await venue.state(found.id)
    keys = await venue.keys(found.id)
    quotas = await quotas_left(venue, found)
    assert state is not None  # it has an account, and a state is made with it
    standing = standing_of(state)
    living = sum(1 for key in keys if not key.revoked)
    document = wording.account_document(found) | {
        "records": state.number,
        "last_record": state.timestamp,
        "auto_repay": standing.auto_repay,
        "auto_collection": standing.auto_collection,
        "keys": {"living": living, "revoked": len(keys) - living},
        "quotas": {quota: {"left": left, "limit": limit} for quota, (left, limit) in quotas.items()},
        "balances": [
            wording.balance_document(venue.assets[asset], balance) for asset, balance in balance_rows(state, None)
        ],
    }

    def words() -> None:
        screen.pairs(_about(found, state, standing, living, len(keys) - living, quotas))
        screen.line()
        balance_table(venue.assets, balance_rows(state, None))

    return document, words


def _on(switch: bool) -> str:
    return "on" if switch else "off"


def _about(
    found: Account,
    state: AccountState,
    standing: Standing,
    living: int,
    revoked: int,
    quotas: dict[str, tuple[int, int]],
) -> list[tuple[str, str]]:
    rows = [
        ("name", found.name),
        ("id", found.id.hex()),
        ("created", wording.moment(found.created)),
        ("Portfolio Margin", wording.yes(found.portfolio_margin)),
        ("records", f"{state.number}" + (f", the last at {wording.moment(state.timestamp)}" if state.number else "")),
        ("switches", f"Auto Repay {_on(standing.auto_repay)}, automatic collection {_on(standing.auto_collection)}"),
        ("keys", f"{living}" + (f", and {revoked} revoked" if revoked else "")),
    ]
    for quota, (left, limit) in quotas.items():
        rows.append(("quota", f"{left} of {limit} left: {wording.QUOTAS[quota]}"))
    return rows


async def quotas_left(venue: Venue, found: Account) -> dict[str, tuple[int, int]]:
    """By quota: uses left, and the limit. The operator's own collections are under none."""
    from catchment.ledger.commands import AutoCollection, Trigger

    quotas: dict[str, tuple[int, int]] = {}
    for trigger in (Trigger.API, Trigger.BUTTON):
        quotas |= (await venue.preview(found.id, AutoCollection(trigger))).quotas
    return quotas


@click.group(short_help="Make, list and revoke API keys.")
def key() -> None:
    """Make, list and revoke API keys."""


@key.command("create")
@click.argument("account")
@click.option(
    "--permission",
    "permissions",
    type=click.Choice(["READ", "TRADE"], case_sensitive=False),
    metavar="READ|TRADE",
    multiple=True,
    help="What the key may do; say it twice for both. Both by default.",
)
@click.option("--ip", "ips", metavar="ADDRESS", multiple=True, help="Allow only this address or network; repeatable.")
@click.option("--public-key", type=click.File("r"), help="The PEM of an RSA or Ed25519 public key; no secret then.")
@click.option("--api-key", default="", metavar="TEXT", help="The key's text; 64 random letters by default.")
@with_desk
def create_key(
    desk: Desk, account: str, permissions: Iterable[str], ips: Iterable[str], public_key: TextIO | None, api_key: str
) -> None:
    """Make an API key. Its HMAC secret is shown this once and cannot be shown again."""
    pem = public_key.read() if public_key is not None else ""

    async def work(venue: Venue) -> NewKey:
        from catchment.signature import Permission

        found = await account_of(venue, account)
        chosen = frozenset(map(Permission, permissions)) or frozenset(Permission)
        return taken(
            await venue.add_key(
                found.id, api_key=api_key, public_key=pem, permissions=chosen, ip_allow=tuple(dict.fromkeys(ips))
            )
        )

    made = desk.run(work)
    document = wording.key_document(made.key)
    rows = [("API key", made.key.api_key)]
    if made.secret:
        document["secret"] = made.secret
        rows.append(("secret", f"{made.secret}  (shown this once)"))
    rows += [("signs with", str(made.key.algorithm)), ("may", " ".join(sorted(made.key.permissions)))]
    if made.key.ip_allow:
        rows.append(("from", " ".join(made.key.ip_allow)))
    desk.answer(document, lambda: screen.pairs(rows))


@key.command("list")
@click.argument("account")
@with_desk
def list_keys(desk: Desk, account: str) -> None:
    """List an account's keys, revoked ones included."""

    async def work(venue: Venue) -> list[ApiKey]:
        return await venue.keys((await account_of(venue, account)).id)

    keys = desk.run(work)
    desk.answer([wording.key_document(found) for found in keys], lambda: _print_keys(keys))


def _print_keys(keys: list[ApiKey]) -> None:
    if not keys:
        screen.line("no keys")
        return
    columns = [Column("API key", whole=True), Column("Signs with"), Column("May"), Column("State"), Column("From")]
    rows = [
        [
            found.api_key,
            str(found.algorithm),
            ",".join(sorted(found.permissions)),
            "revoked" if found.revoked else "lives",
            ",".join(found.ip_allow) or "anywhere",
        ]
        for found in keys
    ]
    if screen.on_terminal() and not any(found.ip_allow for found in keys):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    screen.table(columns, rows)


@key.command("revoke")
@click.argument("api_key")
@with_desk
def revoke_key(desk: Desk, api_key: str) -> None:
    """End a key. A running server notices within a second."""

    async def work(venue: Venue) -> None:
        taken(await venue.revoke_key(api_key))

    desk.run(work)
    desk.answer({"api_key": api_key, "revoked": True}, lambda: screen.line(f"revoked {api_key}"))
