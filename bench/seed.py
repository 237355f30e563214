"""Stores for the bench, written fast: accounts, keys and journals straight into the tables, funds through the writer.

What is written straight is what the venue would have written, a bulk journal with its links, milestones, heads and
digests included: it can be walked, written on and verified.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.load import SECRET, api_key
from catchment.errors import Rejection
from catchment.ledger.balance import GENESIS, AccountId, AccountState, Balance, QuotaUse, encode_state
from catchment.ledger.commands import Adjustment, AutoCollection, Reason, Trigger
from catchment.ledger.journal import Record, digest_of
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import HOUR_MS, Rules
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
TURN_MS = 60_000
"""Between two records of an account in a bulk journal."""

_JOURNAL = """
    INSERT INTO journal (sequence, account, number, timestamp, previous, body, digest, checksum)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_HELD = "UPDATE holding SET head = ?, state = ?, checksum = ? WHERE account = ?"
QUOTA = "api_hour"
MANY = 400
"""Uses of the quota after which those of the last hour are counted again."""
SCRIPTS = 16
"""Accounts whose numbers leave the same remainder have the same history, but for their digests."""

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
    """Give every empty account `each` records, written in turns: three profits, a collection of them, and again.

    The ledger decides each script once; an account's digests are its own, so the store can be verified.
    """
    ids = [account_id(number) for number in range(accounts)]
    digests = [GENESIS] * accounts
    states = [AccountState() for _ in range(min(SCRIPTS, accounts))]
    with closing(_unsafe(path)) as connection:
        connection.execute("BEGIN")
        for turn in range(each):
            records = [_turn(state, turn, script) for script, state in enumerate(states)]
            connection.executemany(_JOURNAL, _rows(records, ids, digests, turn * accounts))
            if (turn + 1) % MILESTONE_EVERY == 0:
                marks = (
                    (account, turn + 1, records[0].timestamp, turn * accounts + n + 1) for n, account in enumerate(ids)
                )
                marked = ((*mark, checksum(*mark)) for mark in marks)
                connection.executemany("INSERT INTO milestone VALUES (?, ?, ?, ?, ?)", marked)
        connection.executemany(_HELD, _heads(states, ids, digests, (each - 1) * accounts))
        connection.execute("COMMIT")


def _turn(state: AccountState, turn: int, script: int) -> Record:
    """The next record of a script."""
    asset, (wallet, units) = list(FUNDS.items())[turn % len(FUNDS)]
    profit = Adjustment(wallet, asset, units + script, Reason.REALIZED_PNL)
    command = AutoCollection(Trigger.API) if turn % (len(FUNDS) + 1) == len(FUNDS) else profit
    told = state.quotas.get(QUOTA)
    if told is not None and told.used > MANY:  # counted from the journal, as the writer does before it refuses
        state.quotas[QUOTA] = QuotaUse(MADE_MS + turn * TURN_MS - HOUR_MS, HOUR_MS // TURN_MS // (len(FUNDS) + 1))
    record = decide(account_id(0), state, command, MADE_MS + turn * TURN_MS, Rules())
    if isinstance(record, Rejection):
        raise RuntimeError(f"a command of the history was refused: {record.sentence}")
    apply(state, record, Rules())
    return record


def _rows(
    records: Sequence[Record], ids: Sequence[AccountId], digests: list[bytes], before: int
) -> Iterator[tuple[object, ...]]:
    """One turn's rows of the journal, one for each account; `before` is the last sequence of the turn before."""
    texts = [record.text.decode() for record in records]
    for n, account in enumerate(ids):
        record = records[n % SCRIPTS]
        number, timestamp = record.number, record.timestamp
        digest = digests[n] = digest_of(account, number, timestamp, record.text, digests[n])
        previous = before - len(ids) + n + 1 if before else 0
        row = (before + n + 1, account, number, timestamp, previous, texts[n % SCRIPTS], digest)
        yield *row, checksum(*row)


def _heads(
    states: Sequence[AccountState], ids: Sequence[AccountId], digests: Sequence[bytes], before: int
) -> Iterator[tuple[int, str, int, AccountId]]:
    for n, account in enumerate(ids):
        state = msgspec.structs.replace(states[n % SCRIPTS], digest=digests[n])
        held = (account, before + n + 1, encode_state(state))
        yield held[1], held[2], checksum(*held), account


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
