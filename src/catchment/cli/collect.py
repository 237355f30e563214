"""The verb `collect`: by the operator's hand for one account or for all, or only shown (`--dry-run`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from catchment import records
from catchment.cli import screen, wording
from catchment.cli.desk import Desk, Exit, account_of, asset_of, exit_of, taken, with_desk
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from catchment.everybody import Tally
    from catchment.ledger.commands import AssetCollection, AutoCollection
    from catchment.ledger.journal import Record
    from catchment.venue import Preview, Venue

REASONS_TOLD: Final = 10


@click.command(short_help="Collect one account, or all, into Cross Margin.")
@click.argument("account", required=False)
@click.option("--asset", metavar="ASSET", help="Only this asset, by an asset-collection.")
@click.option("--amount", metavar="AMOUNT", help="With --asset and --wallet: so much and no more.")
@click.option(
    "--wallet",
    type=click.Choice(["UM", "CM"], case_sensitive=False),
    metavar="UM|CM",
    help="With --amount: from this one.",
)
@click.option("--dry-run", is_flag=True, help="Show what would move, what would stay and why; write nothing.")
@click.option("--all", "everyone", is_flag=True, help="Every account that is enrolled in Portfolio Margin.")
@with_desk
def collect(
    desk: Desk,
    account: str | None,
    asset: str | None,
    amount: str | None,
    wallet: str | None,
    dry_run: bool,
    everyone: bool,
) -> None:
    """Collect futures balances into Cross Margin, as the operator: no quota is used.

    With --all, accounts that were refused are counted and the rest is collected; the exit code is then 3, or 4 if the
    outcome of one is unknown.
    """
    if everyone == (account is not None):
        raise click.UsageError("Name one ACCOUNT, or say --all.")
    if everyone and (asset or dry_run):
        raise click.UsageError("--all takes neither --asset nor --dry-run.")
    if asset is None and (amount or wallet):
        raise click.UsageError("--amount and --wallet need --asset.")
    if everyone or account is None:
        _collect_all(desk)
    else:
        _collect_one(desk, account, dry_run, lambda venue, trigger: _command(venue, trigger, asset, amount, wallet))


def _command(
    venue: Venue, trigger: str, asset: str | None, amount: str | None, wallet: str | None
) -> AutoCollection | AssetCollection:
    from catchment.ledger.commands import AssetCollection, AutoCollection, Trigger
    from catchment.wallet import Wallet

    if asset is None:
        return AutoCollection(Trigger(trigger))
    known = asset_of(venue, asset)
    units = taken(known.units(amount)) if amount is not None else None
    return AssetCollection(known.name, Trigger(trigger), units, Wallet(wallet) if wallet else None)


# One account ----------------------------------------------------------------------------------------------------------


def _collect_one(
    desk: Desk, name: str, dry_run: bool, command: Callable[[Venue, str], AutoCollection | AssetCollection]
) -> None:
    async def work(venue: Venue) -> tuple[dict[str, Any], Callable[[], None]]:
        found = await account_of(venue, name)
        before = await venue.preview(found.id, command(venue, "OPERATOR"))
        if dry_run:
            by_api = await venue.preview(found.id, command(venue, "API"))
            return _dry_run(venue, found.name, before, by_api)
        stored = taken(await venue.submit(found.id, command(venue, "OPERATOR")))
        after = await venue.preview(found.id, command(venue, "OPERATOR"))
        return _collected(venue, found.name, stored.record, after, records.record_document(stored, venue.assets))

    document, words = desk.run(work)
    desk.answer(document, words)


def _collected(
    venue: Venue, name: str, record: Record, after: Preview, document: dict[str, Any]
) -> tuple[dict[str, Any], Callable[[], None]]:
    document["stays"] = wording.stay_documents(after.stays, venue.assets)

    def words() -> None:
        if record.transfers:
            screen.table(wording.MOVES, wording.move_rows(record, venue.assets), "Moved to Cross Margin")
        else:
            screen.line(f"{name}: nothing to collect")
        _stayed(venue, after, "Stayed")

    return document, words


def _dry_run(venue: Venue, name: str, before: Preview, by_api: Preview) -> tuple[dict[str, Any], Callable[[], None]]:
    """What would move, and what the same would cost a client that goes through the API."""
    record = taken(before.answer)
    weights = api_weights(record)
    document = {
        "dry_run": True,
        "account": name,
        "moves": wording.move_documents(record, venue.assets),
        "stays": wording.stay_documents(before.stays, venue.assets),
        "quotas": {quota: {"left": left, "limit": limit} for quota, (left, limit) in by_api.quotas.items()},
        "weights": weights,
    }

    def words() -> None:
        if record.transfers:
            screen.table(wording.MOVES, wording.move_rows(record, venue.assets), "Would move to Cross Margin")
        else:
            screen.line(f"{name}: nothing would move")
        _stayed(venue, before, "Would stay")
        screen.line()
        rows = [("weight", _weight_sentence(weights))]
        for quota, (left, limit) in by_api.quotas.items():
            rows.append(("quota", f"{left} of {limit} left: {wording.QUOTAS[quota]}"))
        screen.pairs([*rows, ("dry run", "nothing was written")])

    return document, words


def _stayed(venue: Venue, preview: Preview, title: str) -> None:
    if preview.stays:
        screen.line()
        screen.table(wording.STAYS, wording.stay_rows(preview.stays, venue.assets), title)


def api_weights(record: Record) -> dict[str, Any]:
    """Request weight of the same collection over the API, by either way; the cheapest is named.

    BNB is collected by no asset-collection, so what moves BNB has one way only.
    """
    from catchment.ledger.collection import BNB
    from catchment.papi.endpoints import ENDPOINTS

    weight = {endpoint.path: endpoint.weight for endpoint in ENDPOINTS if endpoint.method == "POST"}
    automatic, single = weight["/papi/v1/auto-collection"], weight["/papi/v1/asset-collection"]
    assets = {transfer.asset for transfer in record.transfers}
    by_asset = None if BNB in assets else single * len(assets)
    cheapest = "auto-collection" if by_asset is None or by_asset > automatic else "asset-collection"
    return {
        "auto_collection": automatic,
        "asset_collection": by_asset,
        "asset_collections": len(assets),
        "cheapest": cheapest if assets else None,
    }


def _weight_sentence(weights: dict[str, Any]) -> str:
    automatic, by_asset, count = weights["auto_collection"], weights["asset_collection"], weights["asset_collections"]
    if not count:
        return "no call needed"
    if by_asset is None:
        return f"over the API {automatic}, by one auto-collection: no asset-collection takes BNB"
    calls = f"{count} asset-collection{'s' if count > 1 else ''}"
    if weights["cheapest"] == "asset-collection":
        return f"over the API {by_asset}, by {calls}; {automatic} by one auto-collection"
    return f"over the API {automatic}, by one auto-collection; {by_asset} by {calls}"


# All accounts ---------------------------------------------------------------------------------------------------------


def _collect_all(desk: Desk) -> None:
    from catchment import everybody

    async def work(venue: Venue) -> tuple[Tally, records.Assets]:
        total = (await venue.counts()).accounts if screen.errors_on_terminal() else None
        tally = everybody.Tally()
        with screen.progress("collecting", total) as progress:
            await everybody.collect(venue, tally, progress)
        return tally, venue.assets

    tally, assets = desk.run(work)
    document = {
        "accounts": tally.accounts,
        "skipped": tally.skipped,
        "collections": tally.collections,
        "transfers": tally.transfers,
        "refused": sum(tally.refused.values()),
        "refusals": [
            {"name": rejection.name, "code": rejection.code, "message": rejection.sentence, "count": count}
            for rejection, count in tally.refused.most_common(REASONS_TOLD)
        ],
        "moved": {asset: assets[asset].text(units) for asset, units in sorted(tally.moved.items())},
    }
    desk.answer(document, lambda: _print_tally(tally, assets))
    click.get_current_context().exit(_exit_code(tally))


def _exit_code(tally: Tally) -> Exit:
    """Unknown weighs most, for it must be looked into."""
    codes = {exit_of(rejection) for rejection in tally.refused}
    return next((code for code in (Exit.UNKNOWN, Exit.STORE, Exit.REFUSED) if code in codes), Exit.DONE)


def _print_tally(tally: Tally, assets: records.Assets) -> None:
    rows = [
        (
            "accounts",
            f"{tally.accounts}" + (f", and {tally.skipped} outside Portfolio Margin" if tally.skipped else ""),
        ),
        ("collections", f"{tally.collections}"),
        ("transfers", f"{tally.transfers}"),
        ("refused", f"{sum(tally.refused.values())}"),
    ]
    for rejection, count in tally.refused.most_common(REASONS_TOLD):
        rows.append(("", f"{count}: {rejection.sentence} ({rejection.name}, {rejection.code})"))
    screen.pairs(rows)
    if tally.moved:
        screen.line()
        moved = [[asset, assets[asset].fixed(units)] for asset, units in sorted(tally.moved.items())]
        columns = [Column("Asset"), Column("Amount", number=True)]
        screen.table(columns, moved, "Moved to Cross Margin")
