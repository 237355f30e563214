"""What takes a subscriber's frames in a test, and what a careful client makes of the events in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from catchment import listen_keys
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.stream.user_data import Connection, UserData
from catchment.venue import Venue

PATIENCE_S = 20


def unframed(frames: bytes) -> list[bytes]:
    """The messages in whole, unmasked text frames."""
    messages = []
    while frames:
        assert frames[0] == 0x81
        size, start = frames[1], 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(frames[2:10], "big"), 10
        assert len(frames) >= start + size
        messages.append(frames[start : start + size])
        frames = frames[start + size :]
    return messages


class Ear:
    """A carrier that keeps what it was given."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.ended: tuple[int, str] | None = None
        self._came = asyncio.Event()

    def deliver(self, frames: bytes) -> None:
        assert self.ended is None
        self.events += map(msgspec.json.decode, unframed(frames))
        self._came.set()

    def end(self, code: int, reason: str) -> None:
        self.ended = self.ended or (code, reason)
        self._came.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what is to come; fails if it does not."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def until_told(self, number: int) -> None:
        """The last event of a record that moved something in Cross Margin is there."""
        await self.until(lambda: any(event.get("U") == number and "B" in event for event in self.events))


async def listening(
    user_data: UserData, venue: Venue, account: AccountId, *, wrapped: bool = False
) -> tuple[Ear, Connection]:
    """A new connection that hears an account under its key."""
    ear = Ear()
    connection = Connection(ear, wrapped, venue.clock.now())
    assert user_data.join(connection)
    await user_data.subscribe(connection, await listen_keys.begin(venue, account))
    return ear, connection


async def done(venue: Venue, account: AccountId, *commands: Command) -> int:
    """Have commands done; the number of the last one's record."""
    number = 0
    for command in commands:
        answer = await venue.submit(account, command)
        assert not isinstance(answer, Rejection), answer
        number = answer.record.number
    return number


class Folded:
    """The balances that the events of an account, heard from its first record on, add up to."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Decimal]] = {}
        self.by_deltas: dict[str, Decimal] = {}

    def take(self, event: Any) -> None:
        match event["e"]:
            case "ACCOUNT_UPDATE":
                assert event["a"]["B"]
                for held in event["a"]["B"]:
                    self._row(held["a"])[event["fs"]] = Decimal(held["wb"])
            case "balanceUpdate":
                self.by_deltas[event["a"]] = self.by_deltas.get(event["a"], Decimal(0)) + Decimal(event["d"])
            case "outboundAccountPosition":
                for held in event["B"]:
                    self._row(held["a"]).update(free=Decimal(held["f"]), locked=Decimal(held["l"]))
            case "liabilityChange":
                row, sign = self._row(event["a"]), -1 if event["t"] == "REPAY" else 1
                row["borrowed"] += sign * Decimal(event["p"])
                row["interest"] += sign * Decimal(event["i"])
                assert row["borrowed"] + row["interest"] == Decimal(event["l"])

    def _row(self, asset: str) -> dict[str, Decimal]:
        return self.rows.setdefault(asset, dict.fromkeys(COLUMNS, Decimal(0)))


COLUMNS = {
    "UM": "umWalletBalance",
    "CM": "cmWalletBalance",
    "free": "crossMarginFree",
    "locked": "crossMarginLocked",
    "borrowed": "crossMarginBorrowed",
    "interest": "crossMarginInterest",
}


def balances(answer: list[dict[str, Any]]) -> dict[str, dict[str, Decimal]]:
    """The answer of GET /papi/v1/balance, for comparison."""
    return {row["asset"]: {name: Decimal(row[column]) for name, column in COLUMNS.items()} for row in answer}
