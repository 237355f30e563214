"""The demo: a funded account on a real store, collected by a signed HTTP call, shown before and after.

It talks to its own address as any client would; nothing it shows is made up beside the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import click
import msgspec

from catchment import app, errors, scenario
from catchment.asset import Asset
from catchment.cli import screen, wording
from catchment.cli.screen import Column
from catchment.config import Settings
from catchment.dashboard.people import People, link_path
from catchment.errors import Refused, Rejection
from catchment.ledger.balance import AccountState, balance_of
from catchment.ledger.commands import AutoCollection, Trigger
from catchment.ledger.journal import Record
from catchment.server import Address
from catchment.signature import ApiKey, sign_hmac
from catchment.store.base import Account
from catchment.venue import NewKey, Preview, Venue

PATH: Final = "/papi/v1/auto-collection"
TIMEOUT_S: Final = 10


class Staged(msgspec.Struct, frozen=True):
    """What the demo stands on: an account, its key, and what a collection would do to it."""

    account: Account
    key: NewKey
    state: AccountState
    preview: Preview


@contextlib.contextmanager
def store_at(store: str | None, keep: Path | None) -> Iterator[str]:
    """The address of the store: the one named, the file to keep, or a fresh one that is removed at the end."""
    if store is not None:
        yield store
    elif keep is not None:
        yield f"sqlite:///{keep.absolute()}"
    else:
        with tempfile.TemporaryDirectory(prefix="catchment-demo-") as folder:
            yield f"sqlite:///{Path(folder) / 'demo.db'}"


def run(settings: Settings, as_json: bool) -> None:
    """Serve until Ctrl-C; show the collection once the venue listens."""

    async def opened(venue: Venue, address: Address) -> None:
        staged = await _stage(venue)
        link = address.url + link_path(await People(venue).make_link(staged.account.id.hex()))
        answer = await asyncio.to_thread(collect, address.url, staged.key.key.api_key, staged.key.secret)
        after = await venue.state(staged.account.id)
        assert after is not None  # it was there before
        if as_json:
            click.echo(json.dumps(_document(venue, address, staged, after, answer) | {"dashboard": link}, indent=2))
        else:
            _show(venue, address, staged, after, answer)
            screen.line("# Dashboard: signed in at once, by a link that works for one time and ten minutes")
            screen.line(f"{link}\n")
            screen.line("Serving. Ctrl-C ends it.")

    app.run(app.serve(settings, opened=opened, next_free_port=True))


async def _stage(venue: Venue) -> Staged:
    """A new account with the demo's balances and a fresh random key; a store that was kept gets one more account."""
    plan = scenario.parse(files("catchment").joinpath("demo.toml").read_text("utf-8")).account[0]
    name = plan.name
    tries = 1
    while not isinstance(await venue.account(name), Rejection):
        tries += 1
        name = f"{plan.name}-{tries}"
    await scenario.apply(venue, scenario.Scenario((msgspec.structs.replace(plan, name=name),)))
    account = await venue.account(name)
    assert isinstance(account, Account)  # it was made above
    key = await venue.add_key(account.id)
    state = await venue.state(account.id)
    if isinstance(key, Rejection):
        raise Refused(key)
    assert state is not None  # an account has one from its first moment
    return Staged(account, key, state, await venue.preview(account.id, AutoCollection(Trigger.API)))


def collect(url: str, api_key: str, secret: str) -> str:
    """Call auto-collection as a client does; gives the answer's text. Raises `Refused` if it is not 200."""
    query = f"timestamp={time.time_ns() // 1_000_000}"
    signed = f"{url}{PATH}?{query}&signature={sign_hmac(secret.encode(), query.encode())}"
    request = Request(signed, data=b"", headers={"X-MBX-APIKEY": api_key}, method="POST")  # noqa: S310 - our own http
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return str(response.read().decode())
    except HTTPError as error:
        raise Refused(errors.BAD_SETTING("demo", f"{PATH} answered {error.code} {error.read().decode()}")) from None


# Lines to paste -------------------------------------------------------------------------------------------------------


def curl_line(url: str, key: ApiKey, secret: str) -> str:
    """Collect once more, with what every Unix has: date, openssl, sed, curl."""
    signature = f"$(printf %s \"$q\" | openssl dgst -sha256 -hmac {secret} | sed 's/.* //')"
    return (
        f'q="timestamp=$(date +%s)000"; curl -sS -X POST -H "X-MBX-APIKEY: {key.api_key}" '
        f'"{url}{PATH}?$q&signature={signature}"'
    )


def ccxt_line(url: str, key: ApiKey, secret: str) -> str:
    """Read the balance with ccxt."""
    return (
        f"python3 -c \"import ccxt; venue = ccxt.binance({{'apiKey': '{key.api_key}', 'secret': '{secret}'}}); "
        f"venue.urls['api']['papi'] = '{url}/papi/v1'; print(venue.papiGetBalance({{'asset': 'USDT'}}))\""
    )


def sdk_line(url: str, key: ApiKey, secret: str) -> str:
    """Collect once more with the exchange's own SDK."""
    package = "binance_sdk_derivatives_trading_portfolio_margin"
    return (
        'python3 -c "from binance_common.configuration import ConfigurationRestAPI; '
        f"from {package} import DerivativesTradingPortfolioMargin; "
        f"venue = DerivativesTradingPortfolioMargin(ConfigurationRestAPI(api_key='{key.api_key}', "
        f"api_secret='{secret}', base_path='{url}')); print(venue.rest_api.fund_auto_collection().data())\""
    )


def lines(url: str, key: ApiKey, secret: str) -> dict[str, str]:
    """By client: one line that works as it stands while the demo runs."""
    return {
        "curl": curl_line(url, key, secret),
        "ccxt": ccxt_line(url, key, secret),
        "sdk": sdk_line(url, key, secret),
    }


# What is shown --------------------------------------------------------------------------------------------------------


def _show(venue: Venue, address: Address, staged: Staged, after: AccountState, answer: str) -> None:
    if venue.settings.port and address.port != venue.settings.port:
        screen.line(f"Port {venue.settings.port} is busy: taking {address.port} instead.\n")
    screen.pairs(
        [
            ("Catchment", address.url),
            ("store", venue.store_address),
            ("account", f"{staged.account.name} ({staged.account.id.hex()})"),
            ("API key", staged.key.key.api_key),
            ("secret", staged.key.secret),
        ]
    )
    screen.line()
    screen.table(WALLETS, wallet_rows(staged.state, venue.assets), "Before")
    screen.line(f"\nPOST {PATH}\n{answer}\n")
    screen.table(WALLETS, wallet_rows(after, venue.assets), "After")
    screen.line()
    screen.table(OUTCOMES, outcome_rows(staged.preview, venue.assets), "What moved, what stayed, and why")
    screen.line()
    screen.line("Try it: each line works as it stands while this runs.\n")
    for client, line in lines(address.url, staged.key.key, staged.key.secret).items():
        screen.line(f"# {HEADS[client]}\n{line}\n")


WALLETS: Final = (
    Column("Asset"),
    Column("UM", number=True),
    Column("CM", number=True),
    Column("Cross Margin", number=True),
)
OUTCOMES: Final = (Column("Asset"), Column("In"), Column("Amount", number=True), Column("Outcome"))
HEADS: Final = {
    "curl": "curl and openssl: collect again",
    "ccxt": "ccxt: read the balance (pip install ccxt)",
    "sdk": "official SDK: collect again (pip install binance-sdk-derivatives-trading-portfolio-margin)",
}


def wallet_rows(state: AccountState, assets: dict[str, Asset]) -> list[list[str]]:
    """A row for each asset: what UM, CM and Cross Margin hold of it, free and locked together."""
    rows = []
    for name in _by_habit(list(state.balances)):
        asset, held = assets[name], balance_of(state, name)
        rows.append([name, asset.fixed(held.um), asset.fixed(held.cm), asset.fixed(held.margin)])
    return rows


def outcome_rows(preview: Preview, assets: dict[str, Asset]) -> list[list[str]]:
    """What the collection moves, then what it leaves with the reason."""
    moved = wording.move_rows(preview.answer, assets) if isinstance(preview.answer, Record) else []
    stayed = wording.stay_rows(preview.stays, assets)
    return [[*row, "moved to Cross Margin"] for row in moved] + [[*row, f"stayed ({why})"] for *row, why in stayed]


def _by_habit(names: Sequence[str]) -> list[str]:
    """In the order in which venues list assets: dollars first."""
    first = ["USDT", "USDC", "BTC", "ETH", "BNB"]
    return sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name))


def _document(venue: Venue, address: Address, staged: Staged, after: AccountState, answer: str) -> dict[str, Any]:
    record = staged.preview.answer
    return {
        "url": address.url,
        "store": venue.store_address,
        "account": wording.account_document(staged.account),
        "api_key": staged.key.key.api_key,
        "secret": staged.key.secret,
        "before": _balances(staged.state, venue.assets),
        "answer": json.loads(answer),
        "after": _balances(after, venue.assets),
        "moved": wording.move_documents(record, venue.assets) if isinstance(record, Record) else [],
        "stayed": wording.stay_documents(staged.preview.stays, venue.assets),
        "lines": lines(address.url, staged.key.key, staged.key.secret),
    }


def _balances(state: AccountState, assets: dict[str, Asset]) -> list[dict[str, Any]]:
    return [wording.balance_document(assets[name], balance_of(state, name)) for name in _by_habit(list(state.balances))]
