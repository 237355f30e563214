"""The downloads of UM income, orders and trades: an id, a link that expires, and the file behind it.

A file is made anew from the journal whenever it is fetched, so it is the same from every process and no disk holds it.
How often one was asked for in a month is kept as notes, one for each use.
"""

from __future__ import annotations

import csv
import io
import secrets
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from catchment import errors, signature
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.papi.contract import Call
from catchment.papi.futures import income_rows
from catchment.venue import Venue
from catchment.wallet import Wallet


class Kind(StrEnum):
    """What a file lists."""

    INCOME = "income"
    ORDER = "order"
    TRADE = "trade"


PATH: Final = "/papi/v1/um/asyn/file/"
"""Where the files are; the rest of the path is the token."""
WEIGHT: Final = 10
"""Of fetching a file: choice, as it is on a host of its own on the live venue."""
PER_MONTH: Final = {Kind.INCOME: 5, Kind.ORDER: 10, Kind.TRADE: 5}
LONGEST_DAYS: Final = 366
"""A year."""
LINK_MS: Final = 7 * 86_400_000
DAY_MS: Final = 86_400_000
ID_DIGITS: Final = 18
PAGE: Final = 1_000
COLUMNS: Final = {
    Kind.INCOME: ("symbol", "incomeType", "income", "asset", "info", "time", "tranId", "tradeId"),
    Kind.ORDER: (
        *("symbol", "orderId", "clientOrderId", "time", "updateTime", "type", "side", "positionSide", "status"),
        *("timeInForce", "price", "avgPrice", "origQty", "executedQty", "cumQuote", "reduceOnly"),
    ),
    Kind.TRADE: (
        *("symbol", "id", "orderId", "time", "side", "positionSide", "price", "qty", "quoteQty", "realizedPnl"),
        *("commission", "commissionAsset", "buyer", "maker"),
    ),
}
"""The names of the REST rows: choice, the pages do not show a file."""
_DIGIT = {Kind.INCOME: "1", Kind.ORDER: "2", Kind.TRADE: "3"}


class Download(msgspec.Struct, frozen=True):
    """One use: its id, the secret half of the link, the window (ms, both included), the account's last record when it
    was asked for, and when the link expires (ms)."""

    id: str
    secret: str
    since: int
    until: int
    number: int
    expires: int


class DownloadId(msgspec.Struct, rename="camel"):
    """The id, and how long files took lately: nothing, they are made when they are fetched."""

    avg_cost_timestamp_of_last30d: int = msgspec.field(name="avgCostTimestampOfLast30d")
    download_id: str


class DownloadLink(msgspec.Struct, rename="camel"):
    """The link, until `expirationTimestamp` (ms); after that `isExpired` is "true" and the link empty."""

    download_id: str
    status: str
    url: str
    s3_link: str | None
    notified: bool
    expiration_timestamp: int
    is_expired: str | None


async def income_id(call: Call) -> bytes | Rejection:
    """An id for the income of a window."""
    return await _ask(call, Kind.INCOME)


async def order_id(call: Call) -> bytes | Rejection:
    """An id for the orders of a window: there are none, so the file has its heading alone."""
    return await _ask(call, Kind.ORDER)


async def trade_id(call: Call) -> bytes | Rejection:
    """An id for the trades of a window: there are none, so the file has its heading alone."""
    return await _ask(call, Kind.TRADE)


async def income_link(call: Call) -> bytes | Rejection:
    """The link of an income id."""
    return await _link(call, Kind.INCOME)


async def order_link(call: Call) -> bytes | Rejection:
    """The link of an order id."""
    return await _link(call, Kind.ORDER)


async def trade_link(call: Call) -> bytes | Rejection:
    """The link of a trade id."""
    return await _link(call, Kind.TRADE)


async def file(venue: Venue, token: str, now: int) -> AsyncIterator[bytes] | None:
    """The pieces of the gzipped CSV that a token opens, or None if it opens none at `now` (ms)."""
    account, number, secret = token[:32], token[32 : 32 + ID_DIGITS], token[32 + ID_DIGITS :]
    for kind in Kind:
        found = await _kept(venue, account, kind, number)
        if found is not None and found.expires > now and secrets.compare_digest(found.secret.encode(), secret.encode()):
            return _pieces(venue, AccountId(bytes.fromhex(account)), kind, found)
    return None


async def _ask(call: Call, kind: Kind) -> bytes | Rejection:
    """Refuses a window that ends before it begins (-1023) or is over a year (-4165), and the use after the last of a
    month (429, -1003)."""
    since, until = call.values["startTime"], call.values["endTime"]
    if since > until:
        return errors.START_TIME_GREATER_THAN_END_TIME()
    if until - since > LONGEST_DAYS * DAY_MS:
        return errors.INVALID_TIME_INTERVAL(LONGEST_DAYS)
    state = await call.venue.state(call.account)
    if state is None:
        return errors.BAD_ACCOUNT()
    month = datetime.fromtimestamp(call.now // 1_000, UTC)
    next_month = _next_month(month)
    expires = call.now + LINK_MS
    for use in range(PER_MONTH[kind]):
        number = f"{_DIGIT[kind]}{month:%Y%m}{use:02d}{secrets.randbelow(10**9):09d}"
        made = Download(number, signature.make_token(), since, until, state.number, expires)
        text = msgspec.json.encode(made).decode()
        if await call.venue.keep(
            _note_kind(kind), _name(call.account.hex(), number), text, expires=max(expires, next_month), replace=False
        ):
            return msgspec.json.encode(DownloadId(0, number))
    wait = max(1, -(-(next_month - call.now) // 1_000))
    return errors.COLLECTION_QUOTA(PER_MONTH[kind], "month", retry_after=wait)


async def _link(call: Call, kind: Kind) -> bytes | Rejection:
    """Refuses an id that is not one of the account and the kind (-1130)."""
    account = call.account.hex()
    found = await _kept(call.venue, account, kind, call.values["downloadId"])
    if found is None:
        return errors.INVALID_PARAMETER("downloadId")
    expired = found.expires <= call.now
    url = "" if expired else f"{call.base}{PATH}{account}{found.id}{found.secret}"
    return msgspec.json.encode(
        DownloadLink(found.id, "completed", url, None, True, found.expires, "true" if expired else None)
    )


async def _kept(venue: Venue, account: str, kind: Kind, number: str) -> Download | None:
    if len(number) != ID_DIGITS or not number.isascii() or not number.isdigit() or number[0] != _DIGIT[kind]:
        return None
    note = await venue.kept(_note_kind(kind), _name(account, number))
    found = None if note is None else _DOWNLOAD.decode(note.text)
    return found if found is not None and found.id == number else None


def _note_kind(kind: Kind) -> str:
    return f"{kind} download"


def _name(account: str, number: str) -> str:
    """Of the note: the account, and the month and use that begin an id. So a use is taken once, whoever asks."""
    return f"{account} {number[1:9]}"


def _next_month(now: datetime) -> int:
    """When the next month begins, in milliseconds."""
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000


async def _pieces(venue: Venue, account: AccountId, kind: Kind, asked: Download) -> AsyncIterator[bytes]:
    """The file, a page of records at a time. Its bytes depend on the journal alone: no time and no name is in them."""
    packed = zlib.compressobj(level=1, wbits=31)
    yield packed.compress(_csv([COLUMNS[kind]]))
    below, call = 0, Call(venue, account, asked.until, {})
    while kind is Kind.INCOME:
        page = await venue.history(
            account, since=asked.since, until=asked.until, below=below, limit=PAGE, newest_first=False
        )
        rows = [
            msgspec.structs.astuple(row)
            for stored in page
            if stored.record.number <= asked.number
            for row in income_rows(call, Wallet.UM, stored)
        ]
        yield packed.compress(_csv(rows))
        if len(page) < PAGE or page[-1].record.number > asked.number:
            break
        below = page[-1].record.number
    yield packed.flush()


def _csv(rows: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


_DOWNLOAD: Final = msgspec.json.Decoder(Download)
