"""Stores for the bench, written fast: accounts, keys and journals straight into the tables, funds through the writer.

What is written straight is what the venue would have written for accounts and keys. A bulk journal is only as true as
speed needs: sequences, numbers, links, heads and checksums are consistent, digests are not; such a store is never
verified.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

from bench.load import SECRET, api_key
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId, AccountState, Balance, encode_state
from catchment.ledger.commands import Adjustment, AutoCollection, Reason, Trigger
from catchment.ledger.ledger import decide
from catchment.ledger.quota import Rules
from catchment.store.sqlite import MILESTONE_EVERY, SqliteStore
from catchment.store.statements import SQL, checksum
from catchment.venue import Venue
from catchment.wallet import FUTURES, Wallet
from catchment.writer import Asked

MADE_MS = 1_790_000_000_000
FUNDS = {
    "USDT": (Wallet.UM, 12_345_678_901),
    "ETH": (Wallet.UM, 345_678_901),
    "BTC": (Wallet.CM, 12_345_678),
}
"""What a collection finds in every account: three positive assets, in units."""
AT_ONCE = 5_000

_JOURNAL = """
    INSERT INTO journal (sequence, account, number, timestamp, previous, body, digest, checksum)
    SELECT *, checksum(sequence, id, turn, timestamp, previous, :body, :digest) FROM (
        SELECT turn.number * :accounts + of.number + 1 AS sequence, of.id, turn.number + 1 AS turn,
            :made + turn.number AS timestamp,
            CASE turn.number WHEN 0 THEN 0 ELSE (turn.number - 1) * :accounts + of.number + 1 END AS previous,
            :body, :digest
        FROM turn CROSS JOIN number_of AS of
    )
"""
_MILESTONES = """
    INSERT INTO milestone (account, number, timestamp, sequence, checksum)
    SELECT *, checksum(id, turn, timestamp, sequence) FROM (
        SELECT of.id, turn.number + 1 AS turn, :made + turn.number AS timestamp,
            turn.number * :accounts + of.number + 1 AS sequence
        FROM number_of AS of CROSS JOIN turn WHERE (turn.number + 1) % :every = 0
    )
"""
_HEADS = """
    UPDATE holding SET head = (:each - 1) * :accounts + of.number + 1,
        state = json_set(state, '$[1]', :each, '$[2]', :timestamp)
    FROM number_of AS of WHERE of.id = holding.account
"""
_CHECKSUMS = "UPDATE holding SET checksum = checksum(account, head, state)"

Item = TypeVar("Item")


def account_id(number: int) -> AccountId:
    """The id of an account: in the order of numbers, as real ones are in the order of their making."""
    return AccountId(MADE_MS.to_bytes(6, "big") + number.to_bytes(10, "big"))


def parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in runs of at most `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def refunds(accounts: Sequence[AccountId]) -> Iterator[Asked]:
    """What puts the three balances of every account back after a collection."""
    for account in accounts:
        for asset, (wallet, units) in FUNDS.items():
            yield account, Adjustment(wallet, asset, units, Reason.REALIZED_PNL)


def add_accounts(path: Path, count: int, *, funded: bool = False) -> None:
    """Add accounts to a store's file, empty or already holding their funds; no other process may have it open."""
    SqliteStore(path).close()
    text = encode_state(funded_state() if funded else AccountState())
    with closing(_unsafe(path)) as connection:
        connection.execute("BEGIN")
        made = ((account_id(n), f"bench-{n}", 1, MADE_MS) for n in range(count))
        connection.executemany(SQL["add_account"], ((*row, checksum(*row)) for row in made))
        held = ((account_id(n), 0, text) for n in range(count))
        connection.executemany(SQL["add_state"], ((*row, checksum(*row)) for row in held))
        connection.execute("COMMIT")


async def add_keys(venue: Venue, path: Path, count: int) -> None:
    """One HMAC key for each account: the first through the venue, which seals the secret, the others like it."""
    made = await venue.add_key(account_id(0), api_key=api_key(0), secret=SECRET)
    with closing(_unsafe(path)) as connection:
        row = connection.execute(SQL["key"], {"api_key": api_key(0)}).fetchone()
        if row is None:
            raise RuntimeError(f"the first key was not made: {made}")
        connection.execute("BEGIN")
        others = ((account_id(n), api_key(n), *row[2:-1]) for n in range(1, count))
        connection.executemany(SQL["add_key"], ((*other, checksum(*other)) for other in others))
        connection.execute(SQL["bump_keys_version"])
        connection.execute("COMMIT")


async def refund(venue: Venue, count: int) -> int:
    """Put every account's funds back by the venue's own writer. The number of records that made."""
    asked = list(refunds([account_id(number) for number in range(count)]))
    for part in parts(asked, AT_ONCE):
        for answer in await venue.submit_all(part):
            if not hasattr(answer, "sequence"):
                raise RuntimeError(f"a refund was refused: {answer}")
    return len(asked)


def add_history(path: Path, accounts: int, each: int) -> None:
    """Give every account `each` records, written in turns, with the links, milestones and heads of a real journal."""
    body = collection_body()
    with closing(_unsafe(path)) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TEMP TABLE turn (number INTEGER PRIMARY KEY)")
        connection.execute("CREATE TEMP TABLE number_of (number INTEGER PRIMARY KEY, id BLOB)")
        connection.executemany("INSERT INTO turn VALUES (?)", ((number,) for number in range(each)))
        connection.executemany("INSERT INTO number_of VALUES (?, ?)", ((n, account_id(n)) for n in range(accounts)))
        names = {"accounts": accounts, "made": MADE_MS, "body": body, "every": MILESTONE_EVERY, "each": each}
        connection.execute(_JOURNAL, names | {"digest": bytes(32)})
        connection.execute(_MILESTONES, names)
        connection.execute(_HEADS, names | {"timestamp": MADE_MS + each})
        connection.execute(_CHECKSUMS)
        connection.execute("COMMIT")


def collection_body() -> str:
    """The text of a journal record as a collection of the three assets leaves it."""
    decided = decide(account_id(0), funded_state(), AutoCollection(Trigger.API), MADE_MS, Rules())
    if isinstance(decided, Rejection):
        raise RuntimeError(f"a collection was refused: {decided.sentence}")
    return decided.text.decode()


def funded_state() -> AccountState:
    """An account that holds its funds."""
    state = AccountState()
    for asset, (wallet, units) in FUNDS.items():
        balance = Balance(market=-units, version=1, updated=MADE_MS)
        setattr(balance, FUTURES[wallet], units)
        state.balances[asset] = balance
    return state


def _unsafe(path: Path) -> sqlite3.Connection:
    """A connection that waits for no disk: what it writes is prepared, not measured."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("checksum", -1, checksum, deterministic=True)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -262144")
    return connection
