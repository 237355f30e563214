"""Who may see the pages: people with a password, one-time links, sessions, and how often somebody may try to sign in.

All of it is kept as notes, so every process of the venue knows it. Of a token only its SHA-256 is kept.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import cache
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from catchment import errors
from catchment.errors import Rejection
from catchment.venue import Venue, valid_account_name

PERSON, SESSION, SEEN, LINK, ATTEMPT = "person", "session", "seen", "link", "attempt"
"""The kinds of note."""

MINUTE_MS: Final = 60_000
IDLE_MS: Final = 60 * MINUTE_MS
"""A session ends when nothing was asked in it for so long."""
SESSION_MS: Final = 24 * 60 * MINUTE_MS
SEEN_EVERY_MS: Final = 5 * MINUTE_MS
LINK_MS: Final = 10 * MINUTE_MS
ATTEMPT_MS: Final = 15 * MINUTE_MS
"""How long a failed attempt counts."""
ATTEMPTS_OF_A_NAME: Final = 5
ATTEMPTS_OF_AN_ADDRESS: Final = 20
SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 256
HASHED_AT_ONCE: Final = 2
"""Each takes 19 MiB while it is hashed."""

_HASHER: Final = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)


class Person(msgspec.Struct, frozen=True):
    """Somebody who signs in. `account` is the id in hexadecimal, empty for the operator; `password` is its hash."""

    name: str
    account: str
    password: str
    created: int

    def __repr__(self) -> str:
        return f"Person({self.name!r})"


class Session(msgspec.Struct, frozen=True):
    """A browser that signed in, as `person` or, with an empty one, by a link. `account` as in `Person`; `until` is in
    milliseconds. It ends early when the password it began with, by its `stamp`, is no longer the person's."""

    person: str
    account: str
    until: int
    stamp: str = ""

    @property
    def operator(self) -> bool:
        return not self.account

    def __repr__(self) -> str:
        return f"Session({self.person!r})"


class Entered(NamedTuple):
    """Who has signed in: the token of the session, and the notes of attempts that count no more."""

    token: str
    attempts: list[str]


class People:
    """The people of one venue, and the ways in."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._hashing = asyncio.Semaphore(HASHED_AT_ONCE)

    async def put(self, name: str, password: str, account: str) -> Rejection | None:
        """Make a person or change one; every session of theirs ends. `account` as in `Person`.

        Refuses a name that no account could have, and a password that is too short or too long.
        """
        if not valid_account_name(name):
            return errors.INVALID_PARAMETER("name")
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            return errors.BAD_PASSWORD(SHORTEST_PASSWORD, LONGEST_PASSWORD)
        hashed = await asyncio.to_thread(_HASHER.hash, password)
        person = Person(name, account, hashed, self._venue.clock.now())
        await self._venue.keep(PERSON, name, _text(person))
        return None

    async def all(self) -> list[Person]:
        """Everybody, in the order of their names."""
        return [msgspec.json.decode(note.text, type=Person) for note in await self._venue.all_kept(PERSON)]

    async def remove(self, name: str) -> Rejection | None:
        """Forget a person; every session of theirs ends."""
        return None if await self._venue.drop(PERSON, name) else errors.NO_SUCH_PERSON(name)

    async def sign_in(self, name: str, password: str, address: str) -> Entered | Rejection:
        """A new session. Who is unknown gets the same answer, after the same work, as a wrong password."""
        by_address = await self._attempt(f"address:{address}", ATTEMPTS_OF_AN_ADDRESS)
        if isinstance(by_address, Rejection):
            return by_address
        subject = f"name:{_digest(name)}"
        by_name = await self._attempt(subject, ATTEMPTS_OF_A_NAME)
        if isinstance(by_name, Rejection):
            return by_name
        person = await self._person(name)
        async with self._hashing:
            fits = await asyncio.to_thread(_fits, person, password[: LONGEST_PASSWORD + 1])
        if person is None or not fits:
            return errors.SIGN_IN_FAILED()
        attempts = [by_address, *(f"{subject}:{number}" for number in range(ATTEMPTS_OF_A_NAME))]
        return Entered(await self._begin(person.name, person.account, _digest(person.password)), attempts)

    async def forgive(self, entered: Entered) -> None:
        """Count the attempts before a session no more; nobody has to wait for it."""
        for attempt in entered.attempts:
            await self._venue.drop(ATTEMPT, attempt)

    async def make_link(self, account: str) -> str:
        """The token of a link that signs in once, within ten minutes. `account` as in `Person`."""
        token = secrets.token_urlsafe(32)
        await self._venue.keep(LINK, _digest(token), account, expires=self._venue.clock.now() + LINK_MS)
        return token

    async def use_link(self, token: str) -> str | Rejection:
        """The token of a new session, for one caller alone."""
        name = _digest(token)
        link = await self._venue.kept(LINK, name)
        if link is None or not await self._venue.drop(LINK, name):
            return errors.LINK_SPENT()
        return await self._begin("", link.text, "")

    async def session(self, token: str) -> Session | None:
        """The living session of a token."""
        name = _digest(token)
        note = await self._venue.kept(SESSION, name)
        seen = await self._venue.kept(SEEN, name)
        if note is None or seen is None:
            return None
        session = msgspec.json.decode(note.text, type=Session)
        if session.person:
            person = await self._person(session.person)
            if person is None or _digest(person.password) != session.stamp:
                return None
        idle_at = min(self._venue.clock.now() + IDLE_MS, session.until)
        if idle_at - seen.expires >= SEEN_EVERY_MS:
            # A note of its own: written over the session's, it would bring back one that was just ended.
            await self._venue.keep(SEEN, name, "", expires=idle_at)
        return session

    async def sign_out(self, token: str) -> None:
        """End a session."""
        await self._venue.drop(SESSION, _digest(token))

    async def _begin(self, person: str, account: str, stamp: str) -> str:
        token = secrets.token_urlsafe(32)
        now = self._venue.clock.now()
        session = Session(person, account, now + SESSION_MS, stamp)
        await self._venue.keep(SEEN, _digest(token), "", expires=now + IDLE_MS)
        await self._venue.keep(SESSION, _digest(token), _text(session), expires=session.until)
        return token

    async def _person(self, name: str) -> Person | None:
        note = await self._venue.kept(PERSON, name)
        return None if note is None else msgspec.json.decode(note.text, type=Person)

    async def _attempt(self, subject: str, limit: int) -> str | Rejection:
        """Take one of the places that a subject's attempts have: each is a note of its own, so that the count is exact
        whichever processes are asked. Gives the note's name; refuses when all are taken, until the first is free."""
        now = self._venue.clock.now()
        frees = now + ATTEMPT_MS
        for number in range(limit):
            name = f"{subject}:{number}"
            taken = await self._venue.kept(ATTEMPT, name)
            if taken is not None:
                frees = min(frees, taken.expires)
            elif await self._venue.keep(ATTEMPT, name, "", expires=now + ATTEMPT_MS, replace=False):
                return name
        wait = max(1, frees - now)
        return errors.SIGN_IN_LOCKED(-(-wait // MINUTE_MS), retry_after=-(-wait // 1000))


def prepare() -> None:
    """Hash what the first attempt to sign in needs; blocks."""
    _decoy()


def link_path(token: str) -> str:
    """Where a link leads, on whatever address the venue is reached."""
    return f"/dashboard/link/{token}"


def form_token(token: str) -> str:
    """What a form of a session carries, so that no other site can have sent it."""
    return _digest(f"form:{token}")


def _digest(token: str) -> str:
    return sha256(token.encode(errors="surrogatepass")).hexdigest()


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def _fits(person: Person | None, password: str) -> bool:
    decoy = _decoy()
    try:
        _HASHER.verify(decoy if person is None else person.password, password)
    except (VerificationError, InvalidHashError):
        return False
    return person is not None


@cache
def _decoy() -> str:
    """What the password of somebody unknown is held against."""
    return _HASHER.hash(secrets.token_urlsafe())
