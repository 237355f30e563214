"""The quotas as a table: what an account did so far, when it asks again, and whether it may.

Every line is answered by the path that a live command takes, a batch over a store, because a quota that is at its
limit is counted again from the journal.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchment.errors import Rejection
from catchment.ledger.audit import Audit
from catchment.ledger.balance import AccountId, QuotaUse
from catchment.ledger.commands import (
    AssetCollection,
    AutoCollection,
    BnbTransfer,
    Command,
    Deposit,
    SetAutoCollection,
    SetAutoRepay,
    Side,
    Trigger,
)
from catchment.ledger.quota import DAY_MS, HOUR_MS, Quota, Rules, Window
from catchment.store.base import Account
from catchment.store.memory import MemoryStore
from catchment.writer import write_batch
from tests.ledger.lines import ALICE, BOB, NOON, rows

MIDNIGHT = NOON - DAY_MS // 2
API, BUTTON, OPERATOR, SCHEDULE = Trigger


def moment(text: str) -> int:
    """`12:00:00.001` of the day, `+00:00:00` of the next one, in milliseconds."""
    found = re.fullmatch(r"(\+?)(\d\d):(\d\d):(\d\d)(?:\.(\d{3}))?", text)
    assert found is not None, text
    day, hours, minutes, seconds, rest = found.groups()
    whole = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(rest or 0)
    return MIDNIGHT + (DAY_MS if day else 0) + whole


def memory_store() -> MemoryStore:
    store = MemoryStore()
    for account, name in ((ALICE, "alice"), (BOB, "bob")):
        store.add_account(Account(account, name, portfolio_margin=True, created=0))
    return store


def ask(store: MemoryStore, command: Command, now: int, rules: Rules) -> str:
    """`done`, or which limit refuses and how many seconds to wait."""
    (answer,) = write_batch(store, [(ALICE, command)], now, rules)
    if not isinstance(answer, Rejection):
        return "done"
    assert (answer.name, answer.code, answer.status) == ("COLLECTION_QUOTA", -1003, 429)
    return f"{answer.details[0]} a {answer.details[1]}, wait {answer.retry_after}"


# before                                                  | asks at       | by       | answer
ROLLING_HOUR = """
-                                                         | 12:00:00      | API      | done
499 API 12:00:00                                          | 12:00:00      | API      | done
500 API 12:00:00                                          | 12:00:00      | API      | 500 a hour, wait 3600
500 API 12:00:00                                          | 12:00:00.001  | API      | 500 a hour, wait 3600
500 API 12:00:00                                          | 12:00:01      | API      | 500 a hour, wait 3599
500 API 12:00:00                                          | 12:30:00      | API      | 500 a hour, wait 1800
500 API 12:00:00                                          | 12:59:58.999  | API      | 500 a hour, wait 2
500 API 12:00:00                                          | 12:59:59      | API      | 500 a hour, wait 1
500 API 12:00:00                                          | 12:59:59.999  | API      | 500 a hour, wait 1
# A use that is exactly an hour old no longer counts.
500 API 12:00:00                                          | 13:00:00      | API      | done
1 API 12:00:00, 499 API 12:30:00                          | 12:59:59.999  | API      | 500 a hour, wait 1
1 API 12:00:00, 499 API 12:30:00                          | 13:00:00      | API      | done
1 API 12:00:00, 499 API 12:30:00, 1 API 13:00:00          | 13:00:00      | API      | 500 a hour, wait 1800
1 API 12:00:00, 499 API 12:30:00, 1 API 13:00:00          | 13:29:59.999  | API      | 500 a hour, wait 1
1 API 12:00:00, 499 API 12:30:00, 1 API 13:00:00          | 13:30:00      | API      | done
2 API 12:00:00, 498 API 12:30:00, 1 API 13:00:00          | 13:00:00      | API      | done
# The hour rolls over midnight.
500 API 23:59:59.999                                      | +00:00:00     | API      | 500 a hour, wait 3600
500 API 23:30:00                                          | +00:29:59.999 | API      | 500 a hour, wait 1
500 API 23:30:00                                          | +00:30:00     | API      | done
# Each trigger has its own count, and what the operator does has none.
500 API 12:00:00                                          | 12:00:00      | BUTTON   | done
500 API 12:00:00                                          | 12:00:00      | OPERATOR | done
10 BUTTON 12:00:00                                        | 12:00:00      | API      | done
490 API 12:00:00, 10 BUTTON 12:00:00                      | 12:00:00      | API      | done
499 API 12:00:00, 600 OPERATOR 12:00:00                   | 12:00:00      | API      | done
1200 OPERATOR 12:00:00                                    | 12:00:00      | OPERATOR | done
"""

UTC_DAY = """
9 BUTTON 12:00:00                                         | 12:00:00      | BUTTON   | done
10 BUTTON 12:00:00                                        | 12:00:00      | BUTTON   | 10 a day, wait 43200
10 BUTTON 00:00:00                                        | 00:00:00      | BUTTON   | 10 a day, wait 86400
10 BUTTON 00:00:00                                        | 23:59:59.999  | BUTTON   | 10 a day, wait 1
10 BUTTON 00:00:00                                        | 23:59:59      | BUTTON   | 10 a day, wait 1
10 BUTTON 00:00:00                                        | 23:59:58.999  | BUTTON   | 10 a day, wait 2
# The day begins at midnight UTC, whenever the uses were.
10 BUTTON 23:59:59.999                                    | +00:00:00     | BUTTON   | done
1 BUTTON 23:59:59.999, 9 BUTTON +00:00:00                 | +00:00:00     | BUTTON   | done
1 BUTTON 23:59:59.999, 10 BUTTON +00:00:00                | +00:00:00     | BUTTON   | 10 a day, wait 86400
10 BUTTON 12:00:00, 9 BUTTON +11:00:00                    | +12:00:00     | BUTTON   | done
10 BUTTON 12:00:00, 10 BUTTON +11:00:00                   | +12:00:00     | BUTTON   | 10 a day, wait 43200
"""

SHARED_DAY = """
9 API 12:00:00                                            | 12:00:00      | API      | done
10 API 12:00:00                                           | 12:00:00      | API      | 10 a day, wait 43200
10 API 12:00:00                                           | 12:00:00      | BUTTON   | 10 a day, wait 43200
4 API 12:00:00, 6 BUTTON 13:00:00                         | 14:00:00      | API      | 10 a day, wait 36000
4 API 12:00:00, 6 BUTTON 13:00:00                         | 14:00:00      | BUTTON   | 10 a day, wait 36000
4 API 12:00:00, 5 BUTTON 13:00:00                         | 14:00:00      | BUTTON   | done
10 API 12:00:00                                           | 12:00:00      | OPERATOR | done
600 OPERATOR 12:00:00                                     | 12:00:00      | API      | done
10 API 23:59:59.999                                       | +00:00:00     | API      | done
"""

LINES = [
    (Rules(shared_daily=shared), *cells)
    for shared, table in ((False, ROLLING_HOUR), (False, UTC_DAY), (True, SHARED_DAY))
    for cells in rows(table, columns=4)
]


@pytest.mark.parametrize("at_once", [True, False], ids=["batched", "singly"])
@pytest.mark.parametrize(("rules", "before", "now", "by", "outcome"), LINES)
def test_line(rules: Rules, before: str, now: str, by: str, outcome: str, at_once: bool) -> None:
    store = memory_store()
    for use in before.split(", ") if before != "-" else []:
        times, trigger, when = use.split()
        commands = [AutoCollection(Trigger(trigger))] * int(times)
        for batch in [commands] if at_once else [[command] for command in commands]:
            answers = write_batch(store, [(ALICE, command) for command in batch], moment(when), rules)
            assert not any(isinstance(answer, Rejection) for answer in answers)
    assert ask(store, AutoCollection(Trigger(by)), moment(now), rules) == outcome


def test_the_501st_of_one_batch_is_refused_and_the_others_are_not() -> None:
    store = memory_store()
    asked: list[tuple[AccountId, Command]] = [(ALICE, AutoCollection(API))] * 501
    asked += [(BOB, AutoCollection(API)), (ALICE, Deposit("USDT", 1)), (ALICE, AssetCollection("USDT", API))]
    answers = write_batch(store, asked, NOON, Rules())
    refused = [place for place, answer in enumerate(answers) if isinstance(answer, Rejection)]
    assert refused == [500]


def test_a_refused_collection_uses_nothing() -> None:
    store = memory_store()
    rules = Rules(api_per_hour=2)
    write_batch(store, [(ALICE, AutoCollection(API))] * 2, NOON, rules)
    for later in range(1, 50):
        assert ask(store, AutoCollection(API), NOON + later * 1000, rules).startswith("2 a hour")
    assert ask(store, AutoCollection(API), NOON + HOUR_MS, rules) == "done"


def test_a_clock_that_runs_back_gives_no_use_back() -> None:
    """Time never runs back within an account, so the wait is measured from the last record."""
    store = memory_store()
    rules = Rules(api_per_hour=1)
    assert ask(store, AutoCollection(API), NOON, rules) == "done"
    assert ask(store, AutoCollection(API), NOON - 2 * HOUR_MS, rules) == "1 a hour, wait 3600"


def test_lowering_a_limit_takes_effect_on_what_was_done() -> None:
    store = memory_store()
    write_batch(store, [(ALICE, AutoCollection(API))] * 5, NOON, Rules())
    assert ask(store, AutoCollection(API), NOON + 1000, Rules(api_per_hour=5)) == "5 a hour, wait 3599"
    assert ask(store, AutoCollection(API), NOON + 1000, Rules(api_per_hour=6)) == "done"


@pytest.mark.parametrize("first", [True, False])
def test_a_count_made_under_other_rules_is_not_trusted(first: bool) -> None:
    """Uses made while a quota was not in force still count once it is again."""
    store = memory_store()
    trigger = API if first else BUTTON
    mine, others = Rules(shared_daily=first), Rules(shared_daily=not first, button_per_day=1_000)
    write_batch(store, [(ALICE, AutoCollection(trigger))] * 3, NOON, mine)
    write_batch(store, [(ALICE, AutoCollection(trigger))] * 7, NOON + 1, others)
    assert ask(store, AutoCollection(trigger), NOON + 2, mine) == "10 a day, wait 43200"
    audit = Audit(mine, {ALICE: True, BOB: True}.get)
    for stored in store.tail(0, 100):
        audit.read(stored)
    audit.expect(ALICE, store.load([ALICE])[ALICE])
    audit.finish()
    assert audit.findings == []


def test_what_each_command_is_counted_by() -> None:
    def names(command: Command, *, shared: bool) -> list[str]:
        return [quota.name for quota in Rules(shared_daily=shared).quotas(command)]

    assert names(AutoCollection(API), shared=False) == ["api_hour"]
    assert names(AutoCollection(BUTTON), shared=False) == ["button_day"]
    assert names(AutoCollection(OPERATOR), shared=False) == []
    assert names(AutoCollection(API), shared=True) == ["shared_day", "api_hour"]
    assert names(AutoCollection(BUTTON), shared=True) == ["shared_day"]
    assert names(AutoCollection(OPERATOR), shared=True) == []
    assert names(AssetCollection("USDT", API), shared=True) == []
    assert names(Deposit("USDT", 1), shared=True) == []
    assert names(AutoCollection(SCHEDULE), shared=True) == ["schedule_hour"]
    assert names(BnbTransfer(1, Side.TO_UM, API), shared=True) == ["bnb_10m"]
    assert names(BnbTransfer(1, Side.FROM_UM, BUTTON, pro=True), shared=False) == ["bnb_pro_10m"]
    assert names(SetAutoRepay(True, BUTTON), shared=False) == ["auto_repay_day"]
    assert names(SetAutoCollection(True, BUTTON), shared=False) == []


def test_the_limits_are_those_of_the_pages() -> None:
    assert Rules().in_force == (
        Quota("button_day", 10, Window.UTC_DAY, frozenset({BUTTON})),
        Quota("api_hour", 500, Window.ROLLING_HOUR, frozenset({API})),
        Quota("schedule_hour", 12, Window.ROLLING_HOUR, frozenset({SCHEDULE})),
        Quota("bnb_10m", 10, Window.TEN_MINUTES, frozenset({"BNB_TRANSFER"})),
        Quota("bnb_pro_10m", 2, Window.TEN_MINUTES, frozenset({"BNB_TRANSFER_PRO"})),
        Quota("auto_repay_day", 20, Window.UTC_DAY, frozenset({"AUTO_REPAY"})),
    )


def test_where_windows_begin_and_free() -> None:
    use = QuotaUse(NOON, 1)
    assert Window.ROLLING_HOUR.start(NOON + HOUR_MS - 1) == NOON, "59 minutes and 59.999 seconds later it still counts"
    assert Window.ROLLING_HOUR.start(NOON + HOUR_MS) == NOON + 1
    assert Window.ROLLING_HOUR.frees(use, NOON + 5) == NOON + HOUR_MS
    assert Window.UTC_DAY.start(MIDNIGHT) == Window.UTC_DAY.start(MIDNIGHT + DAY_MS - 1) == MIDNIGHT
    assert Window.UTC_DAY.frees(use, NOON) == MIDNIGHT + DAY_MS


class Model:
    """Every use with its time; counts them one by one."""

    def __init__(self) -> None:
        self.uses: list[tuple[int, Trigger]] = []

    def refuses(self, trigger: Trigger, now: int, rules: Rules) -> int | None:
        """Milliseconds until the oldest use that counts no longer does, or None."""
        groups: list[tuple[int, int, int | None, set[Trigger]]] = []
        midnight = now - now % DAY_MS
        if rules.shared_daily:
            groups.append((rules.button_per_day, midnight, midnight + DAY_MS, {API, BUTTON}))
        else:
            groups.append((rules.button_per_day, midnight, midnight + DAY_MS, {BUTTON}))
        groups.append((rules.api_per_hour, now - HOUR_MS + 1, None, {API}))
        for limit, start, frees, triggers in groups:
            if trigger in triggers:
                counted = [time for time, by in self.uses if by in triggers and time >= start]
                if len(counted) >= limit:
                    return (min(counted) + HOUR_MS if frees is None else frees) - now
        return None


STEPS = st.tuples(
    st.sampled_from([0, 0, 1, 59, 1_000, HOUR_MS // 3, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1, DAY_MS // 2, -HOUR_MS]),
    st.lists(st.sampled_from([API, API, BUTTON, BUTTON, OPERATOR]), min_size=1, max_size=4),
    st.booleans(),
)


@given(st.lists(STEPS, max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_quotas_agree_with_counting_one_by_one(
    steps: list[tuple[int, list[Trigger], bool]], api_per_hour: int, button_per_day: int
) -> None:
    """Whatever the batches, the pauses and the settings were, also when the clock or the settings go back."""
    store, model, clock = memory_store(), Model(), NOON
    for pause, triggers, shared in steps:
        clock += pause
        rules = Rules(shared_daily=shared, api_per_hour=api_per_hour, button_per_day=button_per_day)
        now = max([clock, *(time for time, _ in model.uses)])
        answers = write_batch(store, [(ALICE, AutoCollection(trigger)) for trigger in triggers], clock, rules)
        for trigger, answer in zip(triggers, answers, strict=True):
            wait = model.refuses(trigger, now, rules)
            if isinstance(answer, Rejection):
                assert wait is not None
                assert answer.retry_after == max(1, -(-wait // 1000))
            else:
                assert wait is None
                assert answer.record.timestamp == now
                model.uses.append((now, trigger))
