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
from catchment.ledger.commands import AutoCollection, BnbTransfer, Command, SetAutoRepay, Trigger

TEN_MINUTES_MS: Final = 600_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000


BNB_TRANSFER: Final = "BNB_TRANSFER"
BNB_TRANSFER_PRO: Final = "BNB_TRANSFER_PRO"
AUTO_REPAY: Final = "AUTO_REPAY"


def use_of(command: Command) -> str:
    """What a command counts as: an auto-collection its trigger, others a name of their own; empty if nothing does."""
    if type(command) is AutoCollection:
        return command.trigger
    if type(command) is BnbTransfer:
        return BNB_TRANSFER_PRO if command.pro else BNB_TRANSFER
    return AUTO_REPAY if type(command) is SetAutoRepay else ""


class Window(StrEnum):
    """`ROLLING_HOUR` is the last 60 minutes; `UTC_DAY` began at the last 00:00 UTC."""

    TEN_MINUTES = "10 minutes"
    ROLLING_HOUR = "hour"
    UTC_DAY = "day"

    def start(self, now: int) -> int:
        """The first millisecond that still counts at `now`."""
        return now - now % DAY_MS if self is Window.UTC_DAY else now - _LENGTHS[self] + 1

    def frees(self, use: QuotaUse, now: int) -> int:
        """The millisecond at which the oldest use, at `use.since`, no longer counts."""
        return now - now % DAY_MS + DAY_MS if self is Window.UTC_DAY else use.since + _LENGTHS[self]


_LENGTHS: Final = {Window.TEN_MINUTES: TEN_MINUTES_MS, Window.ROLLING_HOUR: HOUR_MS}


class Quota(msgspec.Struct, frozen=True):
    """At most `limit` commands that count as one of `uses` (see `use_of`) in a `window`."""

    name: str
    limit: int
    window: Window
    uses: frozenset[str]


@dataclass(frozen=True)
class Rules:
    """The choices a venue is opened with.

    `shared_daily` is the strict reading of the product article ("capped at 10 uses per day"): every collection of a
    person, by button or by API, counts. Otherwise the button has its 10 a day and the API its "500 times per hour in
    a rolling manner" (API page); those the venue makes by itself have a quota of their own (choice). The operator's
    are under none. BNB transfers: 10 in 10 minutes, on the Pro paths 2; the Auto Repay switch: 20 a day.
    """

    cm_bnb: CmBnb = CmBnb.COLLECT
    shared_daily: bool = False
    api_per_hour: int = 500
    button_per_day: int = 10
    scheduled_per_hour: int = 12
    bnb_transfers: int = 10
    bnb_transfers_pro: int = 2
    switches_per_day: int = 20

    def quotas(self, command: Command) -> tuple[Quota, ...]:
        """The quotas a command is counted by."""
        return self._by_use.get(use_of(command), ())

    @cached_property
    def in_force(self) -> tuple[Quota, ...]:
        """Every quota in force, strictest first."""
        api = Quota("api_hour", self.api_per_hour, Window.ROLLING_HOUR, frozenset({Trigger.API}))
        daily = Quota("button_day", self.button_per_day, Window.UTC_DAY, frozenset({Trigger.BUTTON}))
        if self.shared_daily:
            both = frozenset({Trigger.API, Trigger.BUTTON})
            daily = Quota("shared_day", self.button_per_day, Window.UTC_DAY, both)
        return (
            daily,
            api,
            Quota("schedule_hour", self.scheduled_per_hour, Window.ROLLING_HOUR, frozenset({Trigger.SCHEDULE})),
            Quota("bnb_10m", self.bnb_transfers, Window.TEN_MINUTES, frozenset({BNB_TRANSFER})),
            Quota("bnb_pro_10m", self.bnb_transfers_pro, Window.TEN_MINUTES, frozenset({BNB_TRANSFER_PRO})),
            Quota("auto_repay_day", self.switches_per_day, Window.UTC_DAY, frozenset({AUTO_REPAY})),
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the quotas in force."""
        return frozenset(quota.name for quota in self.in_force)

    @cached_property
    def _by_use(self) -> dict[str, tuple[Quota, ...]]:
        uses = sorted({use for quota in self.in_force for use in quota.uses})
        return {use: tuple(quota for quota in self.in_force if use in quota.uses) for use in uses}


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
    quotas = rules.quotas(command)
    if not quotas:
        return
    if not state.quotas.keys() <= rules.names:
        for name in state.quotas.keys() - rules.names:
            del state.quotas[name]
    for quota in quotas:
        charge(state, quota, now)


def charge(state: AccountState, quota: Quota, now: int) -> None:
    """Count one more use."""
    use = state.quotas.get(quota.name)
    state.quotas[quota.name] = QuotaUse(use.since, use.used + 1) if use and use.used else QuotaUse(now, 1)
