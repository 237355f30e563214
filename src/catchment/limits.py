"""Every named maximum, and request weight per address: 429 at the limit, then 418 for who goes on.

This protects the process and lives in its memory; a rule on which money depends is a quota (`ledger/quota.py`). What
several servers count together is exchanged by `shared_weights`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection

MAX_QUERY_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 65_536
MAX_HEAD_BYTES: Final = 65_536
"""Request line and headers of one request."""
HEAD_WAIT_S: Final = 30
"""How long a connection may take over a request head, in seconds."""
MAX_CONNECTIONS: Final = 10_000
"""Connections and requests under way; one more is answered 503 before it is read."""
MAX_PARAMETERS: Final = 100
MAX_PARAMETER_BYTES: Final = 4_096
MAX_API_KEY_CHARS: Final = 128
MAX_ADDRESSES: Final = 100_000
"""Addresses whose weight is remembered; the one silent longest is forgotten first."""
MAX_FRAME_BYTES: Final = 2**30
"""One message between a server and its writer's process."""
MAX_CACHED_KEYS: Final = 100_000
MAX_COUNTED: Final = 10_000
"""Counts of quotas, of accounts that somebody looks at, that are remembered."""
MAX_LIVE_PAGES: Final = 256
"""Pages of the dashboard that one process keeps up to date; one more has to be loaded again by hand."""

MAX_SUBSCRIBERS: Final = 5_000
"""Websocket connections of one process; one more is answered 503."""
MAX_STREAMS: Final = 1_024
"""Streams of one connection (USDⓈ-M stream page)."""
MAX_STREAM_MESSAGES_A_SECOND: Final = 10
"""Frames a subscriber may send in a second (USDⓈ-M stream page)."""
MAX_STREAM_MESSAGE_BYTES: Final = 131_072
MAX_CONNECTION_MS: Final = 86_400_000
"""The age at which a websocket connection is closed: 24 hours (user-data-streams page)."""
MAX_BACKLOG_BYTES: Final = 262_144
"""What may wait for a subscriber to read it; one with more is closed."""
MAX_UNTOLD_RECORDS: Final = 20_000
"""Records of this process that wait to be told to subscribers; what is beyond is read from the journal."""
MAX_RECORDS_READ: Final = 100_000
"""Records of its account that one call for a history may read."""

MINUTE_MS: Final = 60_000
TOLERATED_429: Final = 10
"""Refusals with 429 an address may collect in one minute before it is banned: choice, the pages give no number."""
BAN_STEPS_MS: Final = tuple(min(2 * MINUTE_MS * 2**step, 3 * 86_400_000) for step in range(13))
"""How long an address is banned, each time longer: from 2 minutes to 3 days (general-info page)."""
FORGIVEN_MS: Final = 3 * 86_400_000
"""After so long without a ban the next one is the shortest again: choice."""

TOLD_AT_ONCE: Final = 128
"""Addresses in one exchange between servers that count together."""
MUCH: Final = 16
"""An address that used this part of its minute since the last exchange is told of at once, not at the next one."""


def caller(client: tuple[str, int] | None) -> str:
    """The address that a connection counts for, given its other end. A socket for both families writes the IPv4 address
    10.1.2.3 as ::ffff:10.1.2.3."""
    address = client[0] if client else ""
    return address.removeprefix("::ffff:") if "." in address else address


class _Address(msgspec.Struct):
    minute: int = 0
    used: int = 0
    refused: int = 0
    bans: int = 0
    banned_until: int = 0
    lifted_until: int = 0
    untold: int = 0
    untold_refused: int = 0


class Counted(msgspec.Struct, frozen=True, array_like=True):
    """What was counted for an address in a minute, and its ban: until when (0 without one), and how many it had.

    One server tells it of what it charged since it last did; all together have it of the whole minute.
    """

    address: str
    minute: int
    used: int
    refused: int
    banned_until: int = 0
    bans: int = 0


class Weights:
    """The weight each address has used in the current minute of the venue's clock, and its bans.

    `per_minute` is the setting `weight_per_minute`: 6,000 by the general-info page.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._much = max(1, per_minute // MUCH)
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._untold: dict[str, _Address] = {}
        self._hurry: Callable[[], None] | None = None

    def charge(self, address: str, weight: int, now: int) -> int | Rejection:
        """The address's used weight including this request; or 429, or 418 while it is banned.

        Refused requests are charged too. `now` is in milliseconds; Retry-After of the rejection is in seconds.
        """
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._remember(address)
        minute = now // MINUTE_MS
        if entry.minute != minute:
            self._begin(address, entry, minute)
        if entry.banned_until > now:
            return errors.IP_BANNED(entry.banned_until, retry_after=_seconds(entry.banned_until - now))
        entry.used += weight
        if self._hurry is not None:
            entry.untold += weight
            self._untold[address] = entry
            if entry.used == weight or entry.used > self.per_minute or entry.untold >= self._much:
                self._hurry()
        if entry.used <= self.per_minute:
            return entry.used
        entry.refused += 1
        entry.untold_refused += 1
        if entry.refused > TOLERATED_429:
            self._ban(entry, now)
            return errors.IP_BANNED(entry.banned_until, retry_after=_seconds(entry.banned_until - now))
        return errors.TOO_MANY_REQUESTS(self.per_minute, retry_after=_seconds((minute + 1) * MINUTE_MS - now))

    def charge_apart(self, budget: str, weight: int, now: int, per_minute: int) -> int | Rejection:
        """The used weight of a budget that is not an address's: over its own limit 429, and never a ban."""
        entry = self._addresses.get(budget)
        if entry is None:
            entry = self._remember(budget)
        minute = now // MINUTE_MS
        if entry.minute != minute:
            self._begin(budget, entry, minute)
        entry.used += weight
        if self._hurry is not None:
            entry.untold += weight
            self._untold[budget] = entry
            if entry.used == weight or entry.used > per_minute or entry.untold >= self._much:
                self._hurry()
        if entry.used <= per_minute:
            return entry.used
        return errors.TOO_MUCH_WEIGHT(per_minute, "1 MINUTE", retry_after=_seconds((minute + 1) * MINUTE_MS - now))

    def banned(self, address: str, now: int) -> Rejection | None:
        """418 while the address is banned; charges nothing."""
        entry = self._addresses.get(address)
        if entry is None or entry.banned_until <= now:
            return None
        return errors.IP_BANNED(entry.banned_until, retry_after=_seconds(entry.banned_until - now))

    def used(self, address: str, now: int) -> int:
        """Weight used by the address in the current minute."""
        entry = self._addresses.get(address)
        return entry.used if entry is not None and entry.minute == now // MINUTE_MS else 0

    # Between servers that count together -----------------------------------------------------------------------------

    def share(self, hurry: Callable[[], None]) -> None:
        """Remember from now on what the other servers must be told; `hurry` is called when they should know soon:
        an address came for the first time in a minute, used much of it, or was refused."""
        self._hurry = hurry

    def take_untold(self, now: int) -> list[Counted]:
        """What is to be told, of at most `TOLD_AT_ONCE` addresses; it counts as told. What is left from a minute that
        is over is dropped."""
        taken: list[Counted] = []
        minute = now // MINUTE_MS
        while self._untold and len(taken) < TOLD_AT_ONCE:
            address = next(iter(self._untold))
            entry = self._untold.pop(address)
            until = entry.banned_until if entry.banned_until > now else 0
            if entry.minute == minute or until:
                taken.append(Counted(address, entry.minute, entry.untold, entry.untold_refused, until, entry.bans))
            entry.untold = entry.untold_refused = 0
        return taken

    def learn(self, counted: Counted, now: int) -> None:
        """What all servers counted, with what this one has told; never less than is known here. Only of this minute:
        the clock of another server may be ahead. The ban that lasts longest holds, and counts when it is over."""
        entry = self._addresses.get(counted.address)
        if entry is None:
            entry = self._remember(counted.address)
        if counted.minute == now // MINUTE_MS:
            if entry.minute != counted.minute:
                self._begin(counted.address, entry, counted.minute)
            entry.used = max(entry.used, counted.used + entry.untold)
            entry.refused = max(entry.refused, counted.refused + entry.untold_refused)
        if counted.banned_until > max(entry.banned_until, entry.lifted_until):
            entry.banned_until, entry.bans = counted.banned_until, counted.bans

    def bans(self, now: int) -> list[Counted]:
        """Every ban in force."""
        return [
            Counted(address, 0, 0, 0, entry.banned_until, entry.bans)
            for address, entry in self._addresses.items()
            if entry.banned_until > now
        ]

    def lift(self, address: str, until: int, now: int) -> None:
        """End a ban that lasts no longer than `until` (milliseconds), also if other servers tell of it later. What was
        used stays used, and the next ban is longer, as it would have been: so it is told by lasting longer."""
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._remember(address)
        entry.lifted_until = max(entry.lifted_until, until)
        if now < entry.banned_until <= until:
            entry.banned_until, entry.refused = now, 0

    def _remember(self, address: str) -> _Address:
        if len(self._addresses) >= MAX_ADDRESSES:
            self._untold.pop(self._addresses.popitem(last=False)[0], None)
        entry = self._addresses[address] = _Address()
        return entry

    def _begin(self, address: str, entry: _Address, minute: int) -> None:
        entry.minute, entry.used, entry.refused = minute, 0, 0
        entry.untold = entry.untold_refused = 0
        self._addresses.move_to_end(address)

    def _ban(self, entry: _Address, now: int) -> None:
        if now - entry.banned_until > FORGIVEN_MS:
            entry.bans = 0
        entry.banned_until = now + BAN_STEPS_MS[min(entry.bans, len(BAN_STEPS_MS) - 1)]
        entry.bans += 1


def _seconds(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))
