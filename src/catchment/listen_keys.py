"""Listen keys: one an account, letters and digits, living 60 minutes from when it was last asked for or prolonged.

Kept as notes, so that every process of a venue knows them. A key begins with its account's id: from the key alone the
one note is found that says whether it lives.
"""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.limits import MINUTE_MS
from catchment.store.base import Note
from catchment.venue import ID_BYTES, Venue

LIFE_MS: Final = 60 * MINUTE_MS
LENGTH: Final = 64
KIND: Final = "listen-key"
"""Named by the account, the text is the key."""
ENDED: Final = "listen-key-ended"
"""Named by the key: who has it open learns that it was ended. Kept as long as anybody may take to notice."""
NOTICED_WITHIN_MS: Final = MINUTE_MS
WORTH_KEEPING_MS: Final = 1_000
"""A key that would live longer by less is left as it is: somebody who asks all the time makes no work for the store."""


class Found(NamedTuple):
    """Whose a living key is, and when it ends, in milliseconds."""

    account: AccountId
    expires: int


async def begin(venue: Venue, account: AccountId) -> str:
    """The account's living key, prolonged; or a new one."""
    name = account.hex()
    while True:
        note = await venue.kept(KIND, name)
        if note is not None:
            await _prolong(venue, note)
            return note.text
        key = name + secrets.token_hex(LENGTH // 2 - ID_BYTES)
        if await venue.keep(KIND, name, key, expires=venue.clock.now() + LIFE_MS, replace=False):
            return key


async def prolong(venue: Venue, account: AccountId) -> Rejection | None:
    """60 minutes from now. Refuses (-1125) when no key lives."""
    note = await venue.kept(KIND, account.hex())
    if note is None:
        return errors.INVALID_LISTEN_KEY()
    await _prolong(venue, note)
    return None


async def end(venue: Venue, account: AccountId) -> Rejection | None:
    """End the account's key for everybody who has it open. Refuses (-1125) when none lives."""
    note = await venue.kept(KIND, account.hex())
    if note is None or not await venue.drop(KIND, account.hex()):
        return errors.INVALID_LISTEN_KEY()
    await venue.keep(ENDED, note.text, "", expires=venue.clock.now() + NOTICED_WITHIN_MS)
    return None


async def find(venue: Venue, key: str) -> Found | None:
    """Whose a key is, if it lives."""
    name = key[: 2 * ID_BYTES]
    if len(key) != LENGTH or not (key.isascii() and key.isalnum()):
        return None
    note = await venue.kept(KIND, name)
    if note is None or not secrets.compare_digest(note.text, key):
        return None
    return Found(AccountId(bytes.fromhex(name)), note.expires)


async def ended(venue: Venue) -> set[str]:
    """The keys that were ended of late."""
    return {note.name for note in await venue.all_kept(ENDED)}


async def _prolong(venue: Venue, note: Note) -> None:
    expires = venue.clock.now() + LIFE_MS
    if expires - note.expires >= WORTH_KEEPING_MS:
        await venue.keep(KIND, note.name, note.text, expires=expires)
