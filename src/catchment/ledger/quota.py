"""Rules about how often an account may do a thing: durable, counted from the journal.

An account's state keeps, for each quota, a count that is never too low: the uses at or after some moment. While that
count is under the limit it decides; once it is not, it is counted again from the journal (`stale`), so the answer is
exact and the cost does not grow with history.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, QuotaUse
from catchment.ledger.collection import CmBnb
from catchment.ledger.commands import AutoCollection, Command, Trigger

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000


class Window(StrEnum):
    """`ROLLING_HOUR` is the last 60 minutes; `UTC_DAY` began at the last 00:00 UTC."""

    ROLLING_HOUR = "hour"
    UTC_DAY = "day"

    def start(self, now: int) -> int:
        """The first millisecond that still counts at `now`."""
        return now - HOUR_MS + 1 if self is Window.ROLLING_HOUR else now - now % DAY_MS

    def frees(self, use: QuotaUse, now: int) -> int:
        """The millisecond at which the oldest use, at `use.since`, no longer counts."""
        return use.since + HOUR_MS if self is Window.ROLLING_HOUR else now - now % DAY_MS + DAY_MS


class Quota(msgspec.Struct, frozen=True):
    """At most `limit` auto-collections set off by one of `triggers` in a `window`."""

    name: str
    limit: int
    window: Window
    triggers: frozenset[Trigger]


@dataclass(frozen=True)
class Rules:
    """The choices a venue is opened with.

    `shared_daily` is the strict reading of the product article ("capped at 10 uses per day"): every collection of a
    person, by button or by API, counts. Otherwise the button has its 10 a day and the API its "500 times per hour in
    a rolling manner" (API page). The operator's own collections are under no quota.
    """

    cm_bnb: CmBnb = CmBnb.COLLECT
    shared_daily: bool = False
    api_per_hour: int = 500
    button_per_day: int = 10

    def quotas(self, command: Command) -> tuple[Quota, ...]:
        """The quotas a command is counted by."""
        return self._by_trigger[command.trigger] if type(command) is AutoCollection else ()

    @cached_property
    def in_force(self) -> tuple[Quota, ...]:
        """Every quota in force, strictest first."""
        api = Quota("api_hour", self.api_per_hour, Window.ROLLING_HOUR, frozenset({Trigger.API}))
        if self.shared_daily:
            both = frozenset({Trigger.API, Trigger.BUTTON})
            return (Quota("shared_day", self.button_per_day, Window.UTC_DAY, both), api)
        return (Quota("button_day", self.button_per_day, Window.UTC_DAY, frozenset({Trigger.BUTTON})), api)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the quotas in force."""
        return frozenset(quota.name for quota in self.in_force)

    @cached_property
    def _by_trigger(self) -> dict[Trigger, tuple[Quota, ...]]:
        return {trigger: tuple(quota for quota in self.in_force if trigger in quota.triggers) for trigger in Trigger}


def stale(state: AccountState, quota: Quota, now: int, more: int = 1) -> bool:
    """Whether `more` uses at `now` can only be decided by counting the journal again."""
    use = state.quotas.get(quota.name)
    if use is None:
        return state.number > 0
    return use.used + more > quota.limit and use.since < quota.window.start(now)


def refusal(state: AccountState, quota: Quota, now: int) -> Rejection | None:
    """The refusal of one more use at `now`, or None. `retry_after` is when the oldest use stops counting."""
    use = state.quotas.get(quota.name)
    if use is None or use.used < quota.limit:
        return None
    wait = max(1, -(-(quota.window.frees(use, now) - now) // 1000))
    return errors.COLLECTION_QUOTA(quota.limit, quota.window, retry_after=wait)


def count(state: AccountState, command: Command, now: int, rules: Rules) -> None:
    """Count a command by every quota in force that it falls under.

    The count of a quota that is not in force would miss the use, so it is dropped and made again when it is needed.
    """
    if type(command) is not AutoCollection:
        return
    if not state.quotas.keys() <= rules.names:
        for name in state.quotas.keys() - rules.names:
            del state.quotas[name]
    for quota in rules.quotas(command):
        charge(state, quota, now)


def charge(state: AccountState, quota: Quota, now: int) -> None:
    """Count one more use."""
    use = state.quotas.get(quota.name)
    state.quotas[quota.name] = QuotaUse(use.since, use.used + 1) if use and use.used else QuotaUse(now, 1)
