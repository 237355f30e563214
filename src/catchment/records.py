"""Records as they are shown and exported: documents with exact texts, rows of entries, and how some are found."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from catchment.asset import Asset
    from catchment.ledger.balance import AccountId
    from catchment.ledger.commands import Command
    from catchment.ledger.journal import Record, Stored
    from catchment.ledger.transfer import Transfer
    from catchment.venue import Venue

Assets = Mapping[str, "Asset"]
Document = dict[str, Any]

PAGE: Final = 500
"""Records read at a time: what bounds the memory of an export."""
FOREVER: Final = 2**62

KINDS: Final = (
    "deposit",
    "withdrawal",
    "adjustment",
    "margin-adjustment",
    "auto-collection",
    "asset-collection",
    "bnb-transfer",
    "repay-negative",
    "set-auto-repay",
    "set-auto-collection",
    "borrow",
    "repay",
    "negative-interest",
    "auto-exchange",
    "set-position",
)
"""The kinds of record, as people name them."""

ENTRY_HEADS: Final = (
    "sequence",
    "account",
    "number",
    "timestamp",
    "kind",
    "cause",
    "asset",
    "place",
    "amount",
    "balance_after",
    "version",
    "digest",
)


def kind_of(command: Command) -> str:
    """`auto-collection` for an `AutoCollection`, and so on."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(command).__name__).lower()


def cause_of(command: Command) -> str:
    """Who or what set a command off: its trigger or its reason; empty if it has neither."""
    return str(getattr(command, "trigger", getattr(command, "reason", "")))


def record_document(stored: Stored, assets: Assets) -> Document:
    """A record with every amount as exact text; `timestamp` in milliseconds."""
    record = stored.record
    document = {
        "sequence": stored.sequence,
        "account": record.account.hex(),
        "number": record.number,
        "timestamp": record.timestamp,
        "kind": kind_of(record.command),
        "cause": cause_of(record.command),
        "command": command_document(record.command, assets),
        "transfers": [transfer_document(transfer, assets) for transfer in record.transfers],
        "digest": record.digest.hex(),
    }
    if record.body.found:
        document["found"] = [
            {"asset": found.asset, "amount": assets[found.asset].text(found.amount)} for found in record.body.found
        ]
    return document


def command_document(command: Command, assets: Assets) -> Document:
    """A command with its units as text. Prices, rates and positions have 8 decimals, whatever the asset."""
    import msgspec  # noqa: PLC0415 - `catchment --help` needs no record

    from catchment.asset import Asset  # noqa: PLC0415
    from catchment.ledger.collection import BNB  # noqa: PLC0415
    from catchment.ledger.commands import AutoExchange, BnbTransfer, NegativeInterest, SetPosition  # noqa: PLC0415

    document: Document = msgspec.to_builtins(command)
    eight = Asset("8").text
    match command:
        case SetPosition():
            return document | {"amount": eight(command.amount), "entry_price": eight(command.entry_price)}
        case NegativeInterest():
            terms = [
                {"asset": each.asset, "threshold": assets[each.asset].text(each.threshold), "rate": eight(each.rate)}
                for each in command.terms
            ]
            return document | {"terms": terms}
        case AutoExchange():
            offers = [
                {"asset": each.asset, "price": eight(each.price), "rate": eight(each.rate)}
                for each in (command.debt, *command.offers)
            ]
            most = assets[command.debt.asset].text(command.most)
            return document | {"debt": offers[0], "most": most, "offers": offers[1:]}
    asset = BNB if isinstance(command, BnbTransfer) else document.get("asset")
    texts = {
        name: assets[asset].text(document[name])
        for name in ("amount", "limit")
        if asset is not None and isinstance(document.get(name), int)
    }
    return document | texts


def transfer_document(transfer: Transfer, assets: Assets) -> Document:
    asset = assets[transfer.asset]
    return {
        "asset": asset.name,
        "amount": asset.text(transfer.amount),
        "source": str(transfer.source),
        "target": str(transfer.target),
        "source_after": asset.text(transfer.source_after),
        "target_after": asset.text(transfer.target_after),
        "version": transfer.version,
    }


def entry_rows(stored: Stored, assets: Assets) -> Iterator[list[object]]:
    """A row for each entry, in the order of `ENTRY_HEADS`; a record that moved nothing has one without an entry."""
    record = stored.record
    head = [stored.sequence, record.account.hex(), record.number, record.timestamp]
    head += [kind_of(record.command), cause_of(record.command)]
    digest = record.digest.hex()
    for transfer in record.transfers:
        asset = assets[transfer.asset]
        for entry in transfer.entries:
            amounts = [asset.fixed(entry.amount), asset.fixed(entry.balance_after)]
            yield [*head, entry.asset, entry.place, *amounts, entry.version, digest]
    if not record.transfers:
        yield [*head, "", "", "", "", "", digest]


class Wanted(NamedTuple):
    """Which records: between two times (milliseconds, both included), and those that fit all that is not empty.

    `place` is one that an entry of the record is in, `cause` as `cause_of` says it.
    """

    since: int = 0
    until: int = FOREVER
    asset: str = ""
    place: str = ""
    kind: str = ""
    cause: str = ""

    @property
    def everything(self) -> bool:
        """Whether every record between the two times fits."""
        return not (self.asset or self.place or self.kind or self.cause)

    def fits(self, record: Record) -> bool:
        if self.kind and kind_of(record.command) != self.kind:
            return False
        if self.cause and cause_of(record.command) != self.cause:
            return False
        if not (self.asset or self.place):
            return True
        return any(
            (not self.asset or transfer.asset == self.asset)
            and (not self.place or self.place in (transfer.source, transfer.target))
            for transfer in record.transfers
        )


ALL: Final = Wanted()


class Search(NamedTuple):
    """What was found, newest first, and the number of the last record that was looked at; 0 if there are no more."""

    found: list[Stored]
    below: int


async def search(
    venue: Venue, account: AccountId, wanted: Wanted, *, below: int | None, limit: int, most: int
) -> Search:
    """At most `limit` records of an account numbered under `below`; looks at no more than `most` of them."""
    found: list[Stored] = []
    seen = 0
    while seen < most:
        page = await venue.history(
            account, since=wanted.since, until=wanted.until, below=below, limit=limit if wanted.everything else PAGE
        )
        for stored in page:
            below = stored.record.number
            seen += 1
            if wanted.fits(stored.record):
                found.append(stored)
            if len(found) == limit or seen == most:
                return Search(found, below if below > 1 else 0)
        if not page:
            break
    return Search(found, 0)


async def oldest_first(venue: Venue, account: AccountId, wanted: Wanted = ALL) -> AsyncIterator[Stored]:
    """The records of an account that are wanted."""
    number = 0
    while page := await venue.history(
        account, since=wanted.since, until=wanted.until, below=number, limit=PAGE, newest_first=False
    ):
        for stored in page:
            if wanted.fits(stored.record):
                yield stored
        number = page[-1].record.number


async def newest_first(venue: Venue, account: AccountId, wanted: Wanted) -> AsyncIterator[Stored]:
    """The same, from the end."""
    below: int | None = None
    while page := await venue.history(account, since=wanted.since, until=wanted.until, below=below, limit=PAGE):
        for stored in page:
            if wanted.fits(stored.record):
                yield stored
        below = page[-1].record.number
