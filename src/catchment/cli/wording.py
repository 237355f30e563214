"""Accounts, keys, balances and records as documents (JSON, every amount an exact text) and as cells of a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from catchment.cli.screen import Column
from catchment.records import Assets, Document

if TYPE_CHECKING:
    from catchment.asset import Asset
    from catchment.ledger.balance import Balance
    from catchment.ledger.collection import Stay
    from catchment.ledger.journal import Record
    from catchment.signature import ApiKey
    from catchment.store.base import Account

PLACES: Final = {
    "um": "UM",
    "cm": "CM",
    "margin_free": "Cross Margin",
    "margin_locked": "locked",
    "borrowed": "borrowed",
    "interest": "interest",
    "outside": "outside",
    "market": "market",
}
"""What a person calls a place."""

QUOTAS: Final = {
    "api_hour": "auto-collections by API, in any 60 minutes",
    "button_day": "auto-collections by the button, this UTC day",
    "schedule_hour": "auto-collections by the venue's schedule, in any 60 minutes",
    "bnb_10m": "BNB transfers, in any 10 minutes",
    "bnb_pro_10m": "BNB transfers as a Pro account, in any 10 minutes",
    "auto_repay_day": "changes of Auto Repay, this UTC day",
    "shared_day": "auto-collections by API or button, this UTC day",
}

MOVES: Final = (Column("Asset"), Column("From"), Column("Amount", number=True))
STAYS: Final = (Column("Asset"), Column("In"), Column("Amount", number=True), Column("Why"))


def moment(milliseconds: int) -> str:
    """A time in UTC, to the second; empty for 0."""
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(milliseconds: int) -> str:
    """A time in UTC, to the millisecond."""
    seconds = datetime.fromtimestamp(milliseconds // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{seconds}.{milliseconds % 1_000:03}Z"


def yes(flag: bool) -> str:
    return "yes" if flag else "no"


def account_document(account: Account) -> Document:
    return {
        "name": account.name,
        "id": account.id.hex(),
        "portfolio_margin": account.portfolio_margin,
        "created": account.created,
    }


def key_document(key: ApiKey) -> Document:
    """A key without any secret; times in milliseconds, `revoked` 0 while it lives."""
    return {
        "api_key": key.api_key,
        "algorithm": str(key.algorithm),
        "permissions": sorted(key.permissions),
        "ip_allow": list(key.ip_allow),
        "created": key.created,
        "revoked": key.revoked,
    }


def balance_document(asset: Asset, balance: Balance) -> Document:
    """A balance by wallet; what is owed is positive, as the API shows it."""
    return {
        "asset": asset.name,
        "um": asset.text(balance.um),
        "cm": asset.text(balance.cm),
        "margin_free": asset.text(balance.margin_free),
        "margin_locked": asset.text(balance.margin_locked),
        "borrowed": asset.text(-balance.borrowed),
        "interest": asset.text(-balance.interest),
    }


def move_documents(record: Record, assets: Assets) -> list[Document]:
    """What a collection moves, without the balances after it."""
    return [
        {"asset": move.asset, "from": str(move.source), "amount": assets[move.asset].text(move.amount)}
        for move in record.transfers
    ]


def stay_documents(stays: list[Stay], assets: Assets) -> list[Document]:
    return [
        {"asset": stay.asset, "in": str(stay.place), "amount": assets[stay.asset].text(stay.amount), "why": stay.why}
        for stay in stays
    ]


def move_rows(record: Record, assets: Assets) -> list[list[str]]:
    return [[move.asset, PLACES[move.source], assets[move.asset].fixed(move.amount)] for move in record.transfers]


def stay_rows(stays: list[Stay], assets: Assets) -> list[list[str]]:
    return [[stay.asset, PLACES[stay.place], assets[stay.asset].fixed(stay.amount), stay.why] for stay in stays]
