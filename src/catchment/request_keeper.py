"""The last requests, for people to look at: taken while they are answered, made fit to be shown and kept later.

An aid, not a ledger. A request costs one append; what comes too fast is counted and left out. Signatures, secrets and
whole keys are never kept.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import lru_cache
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from catchment.clock import Clock
from catchment.ledger.balance import AccountId
from catchment.limits import MAX_API_KEY_CHARS
from catchment.store.base import Answered, Requests, Store

logger = logging.getLogger(__name__)

WAITING: Final = 512
"""Requests that may wait to be kept; the newest ones do."""
KEPT_EVERY_S: Final = 1 / 2
KEPT_AT_ONCE: Final = 64
"""Requests kept at most each time."""
AT_A_TURN: Final = 16
"""Requests made fit to be shown in one turn of the event loop."""
LOOKED_UP_AT_ONCE: Final = 16
"""Keys looked up each time at most, beyond those that the venue has in memory."""
PRUNED_EVERY: Final = 20
"""Times that something was kept."""
KEPT_OF_ALL: Final = 100_000
KEPT_FOR_MS: Final = 7 * 86_400_000

MAX_BYTES: Final = 2_048
"""How much is shown of a query, and of a body."""
MAX_PARAMETERS: Final = 32
MAX_VALUE: Final = 40
MAX_PATH: Final = 128
CUT: Final = "…"
"""Stands for what is not shown."""

Result = TypeVar("Result")

NOBODY: Final = AccountId(b"")
_NAME = re.compile(r"[\w.\[\]-]{1,32}", re.ASCII)
_SECRET = re.compile(r"sign|secret|pass|token|key|auth", re.IGNORECASE)
_LONG = re.compile(r"[\w-]{40,}")

Taken = tuple[int, int, str, str, bytes, bytes, bytes | None, str, int, int, int, int, int]
"""A request as it came and its answer: its number in this process, time (ms), method, path, query, body, API key,
address, weight, status, code, nanoseconds, and the number of the record it made or 0."""
_KEY: Final = 6
_ADDRESS: Final = 7


class Mistake(msgspec.Struct, frozen=True):
    """Refusals of one code at one endpoint: how many, and the time (milliseconds) of the newest."""

    status: int
    code: int
    method: str
    path: str
    count: int
    newest: int


class RequestPage(msgspec.Struct, frozen=True):
    """Requests, newest first, and how many of anybody's were left out in the time that the page is of."""

    answered: list[Answered]
    left_out: int

    def mistakes(self) -> list[Mistake]:
        """The refusals among them by code and endpoint, the most frequent first."""
        found: dict[tuple[int, int, str, str], list[int]] = {}
        for one in self.answered:
            if one.code:
                found.setdefault((one.status, one.code, one.method, one.path), []).append(one.time)
        grouped = [Mistake(*what, len(times), max(times)) for what, times in found.items()]
        return sorted(grouped, key=lambda mistake: -mistake.count)


class RequestKeeper:
    """Takes requests on the event loop of a venue, and keeps the last ones at its store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        holder: Callable[[str], AccountId | None],
        *,
        of_account: int,
        make_executor: Callable[[], Executor],
    ) -> None:
        """`of_account` requests of each account are kept; 0 takes none. `holder` tells whose a key is, if it knows
        that without asking the store."""
        self.taken: deque[Taken] = deque(maxlen=WAITING if of_account else 0)
        self.numbers = itertools.count(1)
        """A gap between those that wait says how many are gone."""
        self.kept: Requests = store.requests()
        self._store = store
        self._clock = clock
        self._holder = holder
        self._of_account = of_account
        self._make_executor = make_executor
        self._executor: Executor | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._seen = 0
        self._left_out = 0
        self._told = False
        self._times = 0
        self._to_prune: set[AccountId] = set()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep what is taken from now on, twice a second."""
        if self._of_account and self._keeping is None:
            self._keeping = loop.create_task(self._keep_on())

    async def close(self) -> None:
        """Keep what was taken, and let go of the store."""
        self._closing.set()
        if self._keeping is not None:
            await self._keeping
        await self.keep()
        if self._executor is not None:
            self._executor.shutdown()
        self.kept.close()

    async def _keep_on(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), KEPT_EVERY_S)
            await self.keep()

    async def keep(self) -> None:
        """Keep what was taken since the last time, within the bounds."""
        taken = self._take()
        if not taken:
            return
        left_out, self._left_out = self._left_out, 0
        try:
            holders = await self._holders({one[_KEY] or b"" for one in taken} - {b""})
            answered: list[Answered] = []
            for start in range(0, len(taken), AT_A_TURN):
                answered += [shown(one, holders.get(one[_KEY] or b"", NOBODY)) for one in taken[start:][:AT_A_TURN]]
                await asyncio.sleep(0)
            answered[0] = msgspec.structs.replace(answered[0], left_out=left_out)
            await self._on_thread(self._write, answered)
        except Exception as error:
            self._left_out += left_out + len(taken)
            if not self._told:
                logger.warning("requests are not kept for the inspector: %s", error)
            self._told = True
        else:
            self._told = False

    def _take(self) -> list[Taken]:
        """What waits, or a part of it in which everyone who called has a share. Counts what is left out."""
        waiting = list(self.taken)
        self.taken.clear()
        if not waiting:
            return []
        picked = waiting if len(waiting) <= KEPT_AT_ONCE else _shares(waiting)
        self._left_out += waiting[-1][0] - self._seen - len(picked)
        self._seen = waiting[-1][0]
        return picked

    async def _holders(self, keys: Iterable[bytes]) -> dict[bytes, AccountId]:
        """Whose the keys are, of those that are somebody's."""
        found: dict[bytes, AccountId] = {}
        unknown: list[str] = []
        for key in keys:
            account = self._holder(text := key.decode("latin-1"))
            if account is not None:
                found[key] = account
            elif len(text) <= MAX_API_KEY_CHARS:
                unknown.append(text)
        for api_key in (await self._on_thread(self._look_up, unknown[:LOOKED_UP_AT_ONCE])) if unknown else ():
            found[api_key[0].encode("latin-1")] = api_key[1]
        return found

    def _look_up(self, keys: Sequence[str]) -> list[tuple[str, AccountId]]:
        """A key that was revoked is still its account's."""
        looked_up = map(self._store.key, keys)
        return [(key.api_key, AccountId(key.account)) for key in looked_up if key is not None]

    def _write(self, answered: Sequence[Answered]) -> None:
        self.kept.write(answered)
        self._to_prune.update(one.account for one in answered)
        self._times += 1
        if self._times % PRUNED_EVERY == 0:
            accounts, self._to_prune = self._to_prune, set()
            self.kept.prune(accounts, self._of_account, KEPT_OF_ALL, self._clock.now() - KEPT_FOR_MS)

    async def _on_thread(self, call: Callable[..., Result], *args: object) -> Result:
        if self._executor is None:
            self._executor = self._make_executor()
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)


def _shares(waiting: Sequence[Taken]) -> list[Taken]:
    """The newest of each key and address, as many of one as of another at most."""
    callers = len({(one[_KEY], one[_ADDRESS]) for one in waiting})
    share = max(1, KEPT_AT_ONCE // callers)
    counts: Counter[tuple[bytes | None, str]] = Counter()
    picked: list[Taken] = []
    for one in reversed(waiting):
        caller = one[_KEY], one[_ADDRESS]
        counts[caller] += 1
        if counts[caller] <= share:
            picked.append(one)
            if len(picked) == KEPT_AT_ONCE:
                break
    return picked[::-1]


def shown(taken: Taken, account: AccountId) -> Answered:
    """A request as people may see it."""
    _, time, method, path, query, body, api_key, address, weight, status, code, nanoseconds, record = taken
    key = _key_shown(_printable((api_key or b"").decode("latin-1")), account)
    path = _LONG.sub(CUT, _printable(path[:MAX_PATH]))
    parameters = [*_parameters(query), *_parameters(body)]
    took = nanoseconds // 1_000
    method = _printable(method)
    return Answered(0, account, time, key, address, method, path, parameters, weight, status, code, took, record)


def _key_shown(text: str, account: AccountId) -> str:
    """The first six and the last four characters. Of a short one nobody knows, which may be anything, a part."""
    if len(text) > 16:
        return f"{text[:6]}{CUT}{text[-4:]}"
    return text if account else text[: len(text) // 3] + CUT * bool(text)


def _parameters(place: bytes) -> list[tuple[str, str]]:
    """Names and values as they were sent, decoded. What has no proper name is not shown: it may be anything."""
    found = []
    parts = place[:MAX_BYTES].split(b"&")
    for part in parts[:MAX_PARAMETERS]:
        written, equals, value = part.partition(b"=")
        name, hidden = _name(written)
        if hidden or not equals:
            found += [(name if equals else CUT, CUT)] if part else []
            continue
        text = _decoded(value)
        found.append((name, text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + CUT))
    if len(place) > MAX_BYTES or len(parts) > MAX_PARAMETERS:
        found.append((CUT, CUT))
    return found


@lru_cache(256)
def _name(written: bytes) -> tuple[str, bool]:
    """A parameter's name, and whether its value is hidden."""
    name = _decoded(written)
    return (name, bool(_SECRET.search(name))) if _NAME.fullmatch(name) else (CUT, True)


def _decoded(text: bytes) -> str:
    if b"%" in text or b"+" in text:
        text = unquote_to_bytes(text.replace(b"+", b" "))
    return _printable(text.decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """Nothing that a terminal obeys, a page hides or a database refuses."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
