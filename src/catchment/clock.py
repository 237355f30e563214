"""The venue's clock, in whole milliseconds since the epoch, UTC: real, or frozen and moved by a test."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the venue the time; every timestamp in the journal comes from one."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        ...


class RealClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class FrozenClock:
    """A clock that stands still until it is moved. `start` and `advance` are in milliseconds."""

    def __init__(self, start: int = 1_790_000_000_000) -> None:
        self._now = start

    def now(self) -> int:
        return self._now

    def advance(self, milliseconds: int) -> None:
        if milliseconds < 0:
            raise ValueError("a clock is never moved back")
        self._now += milliseconds
