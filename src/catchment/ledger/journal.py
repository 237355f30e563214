"""Record: one accepted command with its transfers, numbered and chained by digest within its account.

The chain is per account, so that accounts can live on different machines. A record's place in the whole journal (its
sequence) belongs to the store and is not part of the digest: a journal copied to another engine keeps its digests.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.transfer import Transfer


class Found(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a decision rested on that its transfers do not show: `amount` units of an asset, by the command's sense."""

    asset: str
    amount: int


class Body(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was asked, what it moved, and what was found: the part of a record that is kept as text."""

    command: Command
    transfers: tuple[Transfer, ...]
    found: tuple[Found, ...] = ()


class Record(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One accepted command. `timestamp` is the venue's time in milliseconds; `number` counts from 1 in the account.

    `text` is what is kept and chained; `read` is what it says, for a record that was just made or read. One that
    came from another process is read when somebody asks: most callers only want to know that it was accepted.
    """

    account: AccountId
    number: int
    timestamp: int
    text: bytes
    digest: bytes
    read: Body | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    @property
    def identity(self) -> tuple[AccountId, int, int, bytes, bytes]:
        """Everything that is not derived from the text."""
        return self.account, self.number, self.timestamp, self.text, self.digest

    @property
    def body(self) -> Body:
        return _DECODER.decode(self.text) if self.read is None else self.read

    @property
    def command(self) -> Command:
        return self.body.command

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        return self.body.transfers


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record with its place in the whole journal."""

    sequence: int
    record: Record


def seal(account: AccountId, number: int, timestamp: int, body: Body, previous: bytes) -> Record:
    """The record that follows the one whose digest is `previous`."""
    text = _ENCODER.encode(body)
    return Record(account, number, timestamp, text, digest_of(account, number, timestamp, text, previous), body)


def digest_of(account: AccountId, number: int, timestamp: int, text: bytes, previous: bytes) -> bytes:
    """SHA-256 over the previous digest, the account, the number, the time and the body's text."""
    return sha256(b"%b%b%d:%d:%b" % (previous, account, number, timestamp, text)).digest()


def decode_record(account: AccountId, number: int, timestamp: int, text: bytes, digest: bytes) -> Record:
    """A record as a store kept it. Raises `msgspec.DecodeError` or `msgspec.ValidationError` on damage."""
    return Record(account, number, timestamp, text, digest, _DECODER.decode(text))


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Body)
