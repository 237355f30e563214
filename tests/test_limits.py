"""Request weight per address: the limit of a minute, the refusals after it, the bans after those, and forgetting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchment import limits
from catchment.errors import Rejection
from catchment.limits import BAN_STEPS_MS, FORGIVEN_MS, MINUTE_MS, TOLERATED_429, Weights

START = 29_833_333 * MINUTE_MS
"""A full minute, so that a test can count seconds from it."""
HERE, THERE = "192.0.2.1", "2001:db8::1"
DAY_MS = 86_400_000


def refused(answer: int | Rejection) -> tuple[int, int | None]:
    """Status and Retry-After."""
    assert isinstance(answer, Rejection)
    assert answer.code == -1003
    return answer.status, answer.retry_after


def exhausted(weights: Weights, now: int) -> None:
    """Use up the minute, and then every refusal that is borne with."""
    assert weights.charge(HERE, weights.per_minute, now) == weights.per_minute
    for _ in range(TOLERATED_429):
        assert refused(weights.charge(HERE, 1, now))[0] == 429


def test_the_6000th_passes_and_the_6001st_does_not() -> None:
    weights = Weights(6_000)
    assert [weights.charge(HERE, 750, START) for _ in range(8)] == [750 * call for call in range(1, 9)]
    assert refused(weights.charge(HERE, 1, START)) == (429, 60)
    assert weights.charge(THERE, 1, START) == 1, "each address has its own"


def test_refused_weight_is_charged() -> None:
    weights = Weights(100)
    weights.charge(HERE, 90, START)
    assert refused(weights.charge(HERE, 20, START)) == (429, 60)
    assert refused(weights.charge(HERE, 1, START)) == (429, 60), "90 and 1 would have passed"
    assert weights.used(HERE, START) == 111


@pytest.mark.parametrize(("later", "wait"), [(0, 60), (1, 60), (1_000, 59), (59_000, 1), (59_999, 1)])
def test_retry_after_is_the_rest_of_the_minute(later: int, wait: int) -> None:
    weights = Weights(1)
    weights.charge(HERE, 1, START)
    assert refused(weights.charge(HERE, 1, START + later)) == (429, wait)


def test_a_new_minute_begins_with_nothing_used() -> None:
    weights = Weights(10)
    weights.charge(HERE, 10, START)
    assert refused(weights.charge(HERE, 1, START + MINUTE_MS - 1))[0] == 429
    assert weights.used(HERE, START + MINUTE_MS) == 0
    assert weights.charge(HERE, 10, START + MINUTE_MS) == 10
    assert weights.used(HERE, START + MINUTE_MS) == 10
    assert weights.used(HERE, START) == 0
    assert weights.used(THERE, START) == 0


def test_who_goes_on_after_429_is_banned() -> None:
    weights = Weights(10)
    exhausted(weights, START + 1_500)
    answer = weights.charge(HERE, 1, START + 1_500)
    assert refused(answer) == (418, 120)
    assert isinstance(answer, Rejection)
    assert answer.details == (str(START + 1_500 + 2 * MINUTE_MS),), "the sentence says until when"
    assert refused(weights.charge(HERE, 1, START + 1_500 + 2 * MINUTE_MS - 1)) == (418, 1)
    assert weights.charge(HERE, 1, START + 1_500 + 2 * MINUTE_MS) == 1


def test_a_ban_outlasts_the_minute_and_is_the_addresss_own() -> None:
    weights = Weights(10)
    exhausted(weights, START)
    weights.charge(HERE, 1, START)
    assert refused(weights.charge(HERE, 1, START + MINUTE_MS)) == (418, 60)
    assert weights.charge(THERE, 1, START + MINUTE_MS) == 1


def test_asking_about_a_ban_charges_nothing() -> None:
    weights = Weights(10)
    assert weights.banned(HERE, START) is None
    exhausted(weights, START)
    assert weights.banned(HERE, START) is None
    weights.charge(HERE, 1, START)
    used = weights.used(HERE, START)
    banned = weights.banned(HERE, START + 1_000)
    assert banned is not None
    assert (banned.status, banned.retry_after) == (418, 119)
    assert weights.banned(HERE, START + 2 * MINUTE_MS) is None
    assert weights.used(HERE, START) == used


def test_refusals_are_borne_with_anew_each_minute() -> None:
    weights = Weights(10)
    for minute in range(5):
        exhausted(weights, START + minute * MINUTE_MS)
    assert refused(weights.charge(HERE, 1, START + 4 * MINUTE_MS))[0] == 418


def test_bans_grow_from_two_minutes_to_three_days() -> None:
    assert (BAN_STEPS_MS[0], BAN_STEPS_MS[-1]) == (2 * MINUTE_MS, 3 * DAY_MS)
    assert list(BAN_STEPS_MS) == sorted(set(BAN_STEPS_MS)), "each is longer than the one before"
    weights, now = Weights(10), START
    for expected in [*BAN_STEPS_MS, BAN_STEPS_MS[-1], BAN_STEPS_MS[-1]]:
        now += -now % MINUTE_MS
        exhausted(weights, now)
        assert refused(weights.charge(HERE, 1, now)) == (418, expected // 1000)
        now += expected


@pytest.mark.parametrize(("quiet", "ban"), [(0, 4), (FORGIVEN_MS - 1, 4), (FORGIVEN_MS, 4), (FORGIVEN_MS + 1, 2)])
def test_three_quiet_days_are_forgiven(quiet: int, ban: int) -> None:
    weights = Weights(10)
    exhausted(weights, START)
    weights.charge(HERE, 1, START)
    now = START + 2 * MINUTE_MS + quiet
    exhausted(weights, now)
    assert refused(weights.charge(HERE, 1, now)) == (418, ban * 60)


def test_only_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 3)
    weights = Weights(10)
    for name in ("a", "b", "c"):
        weights.charge(name, 5, START)
    weights.charge("a", 1, START + MINUTE_MS)
    weights.charge("d", 1, START + MINUTE_MS)
    used = {name: weights.used(name, START) or weights.used(name, START + MINUTE_MS) for name in "abcd"}
    assert used == {"a": 1, "b": 0, "c": 5, "d": 1}, "b was silent longest"


@given(st.lists(st.tuples(st.sampled_from([HERE, THERE]), st.integers(1, 9), st.integers(0, MINUTE_MS)), max_size=60))
def test_no_minute_grants_more_than_the_limit(calls: list[tuple[str, int, int]]) -> None:
    weights, now = Weights(20), START
    granted: dict[tuple[str, int], int] = {}
    for address, weight, pause in calls:
        now += pause
        answer = weights.charge(address, weight, now)
        if isinstance(answer, int):
            minute = (address, now // MINUTE_MS)
            granted[minute] = granted.get(minute, 0) + weight
            assert answer == weights.used(address, now) <= 20
    assert all(total <= 20 for total in granted.values())
