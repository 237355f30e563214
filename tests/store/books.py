"""Writes to a store the way the venue does, without the venue: load, decide, apply, append. And tampers with one."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.store.base import Account, Store
from catchment.store.statements import SQL, checksum

NO_LIMITS = Rules(
    api_per_hour=2**50,
    button_per_day=2**50,
    scheduled_per_hour=2**50,
    bnb_transfers=2**50,
    bnb_transfers_pro=2**50,
    switches_per_day=2**50,
)
"""The stores know no quota, so nothing here is refused for one."""

FIRST = 1_790_000_000_000
ALL = {"since": 0, "until": 2**62}
"""The times of a history that leaves nothing out."""


def account_id(number: int) -> AccountId:
    """Ids that are ordered as their numbers are."""
    return AccountId(number.to_bytes(16, "big"))


def enrol(store: Store, *numbers: int) -> list[AccountId]:
    """Accounts named by their numbers."""
    ids = [account_id(number) for number in numbers]
    for number, account in zip(numbers, ids, strict=True):
        assert store.add_account(Account(account, f"account {number}", portfolio_margin=True, created=FIRST))
    return ids


def write(store: Store, asked: Iterable[tuple[AccountId, Command]], now: int = FIRST) -> list[Stored]:
    """All of it in one transaction; every command must be one that is accepted."""
    asked = list(asked)
    with store.transaction() as transaction:
        states = transaction.load({account for account, _ in asked})
        records = []
        for account, command in asked:
            record = decide(account, states[account], command, now, NO_LIMITS)
            assert isinstance(record, Record), record
            apply(states[account], record, NO_LIMITS)
            records.append(record)
        sequences = transaction.append(records, states)
    return [Stored(sequence, record) for sequence, record in zip(sequences, records, strict=True)]


def newest(store: Store, account: AccountId, limit: int = 10_000) -> list[Stored]:
    """An account's history, the last record first."""
    return store.history(account, **ALL, below=2**62, limit=limit, newest_first=True)


def oldest(store: Store, account: AccountId, limit: int = 10_000) -> list[Stored]:
    """An account's history, the first record first."""
    return store.history(account, **ALL, below=0, limit=limit, newest_first=False)


def tamper(path: Path, *changes: str) -> None:
    """Change a store's file as somebody would who knows its mark and its checksums: they are made to fit again."""
    path.with_name(path.name + "-mark").unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("checksum", -1, checksum)
        for change in changes:
            connection.execute(change)
        for statement in SQL["upgrade_3"].split(";"):
            if "UPDATE" in statement:
                connection.execute(statement)
