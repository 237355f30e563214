"""Every named maximum, and request weight per address: 429 at the limit, then 418 for who goes on.

This protects the process and lives in its memory; a rule on which money depends is a quota (`ledger/quota.py`).
"""

from __future__ import annotations

from collections import OrderedDict
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

MINUTE_MS: Final = 60_000
TOLERATED_429: Final = 10
"""Refusals with 429 an address may collect in one minute before it is banned: choice, the pages give no number."""
BAN_STEPS_MS: Final = tuple(min(2 * MINUTE_MS * 2**step, 3 * 86_400_000) for step in range(13))
"""How long an address is banned, each time longer: from 2 minutes to 3 days (general-info page)."""
FORGIVEN_MS: Final = 3 * 86_400_000
"""After so long without a ban the next one is the shortest again: choice."""


class _Address(msgspec.Struct):
    minute: int = 0
    used: int = 0
    refused: int = 0
    bans: int = 0
    banned_until: int = 0


class Weights:
    """The weight each address has used in the current minute of the venue's clock, and its bans.

    `per_minute` is the setting `weight_per_minute`: 6,000 by the general-info page.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def charge(self, address: str, weight: int, now: int) -> int | Rejection:
        """The address's used weight including this request; or 429, or 418 while it is banned.

        Refused requests are charged too. `now` is in milliseconds; Retry-After of the rejection is in seconds.
        """
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._remember(address)
        minute = now // MINUTE_MS
        if entry.minute != minute:
            entry.minute, entry.used, entry.refused = minute, 0, 0
            self._addresses.move_to_end(address)
        if entry.banned_until > now:
            return errors.IP_BANNED(entry.banned_until, retry_after=_seconds(entry.banned_until - now))
        entry.used += weight
        if entry.used <= self.per_minute:
            return entry.used
        entry.refused += 1
        if entry.refused > TOLERATED_429:
            self._ban(entry, now)
            return errors.IP_BANNED(entry.banned_until, retry_after=_seconds(entry.banned_until - now))
        return errors.TOO_MANY_REQUESTS(self.per_minute, retry_after=_seconds((minute + 1) * MINUTE_MS - now))

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

    def _remember(self, address: str) -> _Address:
        if len(self._addresses) >= MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        entry = self._addresses[address] = _Address()
        return entry

    def _ban(self, entry: _Address, now: int) -> None:
        if now - entry.banned_until > FORGIVEN_MS:
            entry.bans = 0
        entry.banned_until = now + BAN_STEPS_MS[min(entry.bans, len(BAN_STEPS_MS) - 1)]
        entry.bans += 1


def _seconds(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))
