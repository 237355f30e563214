"""Request weight per address: the limit of a minute, the refusals after it, the bans after those, and forgetting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchment import limits
from catchment.errors import Rejection
from catchment.limits import BAN_STEPS_MS, FORGIVEN_MS, MINUTE_MS, TOLD_AT_ONCE, TOLERATED_429, Counted, Weights

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


def test_a_budget_apart_has_its_own_limit_and_never_a_ban() -> None:
    weights = Weights(100)
    assert [weights.charge_apart("a path", 40, START, 120) for _ in range(3)] == [40, 80, 120]
    for _ in range(TOLERATED_429 + 5):
        assert refused(weights.charge_apart("a path", 1, START + 1_000, 120)) == (429, 59)
    over = weights.charge_apart("a path", 1, START + 1_000, 120)
    assert isinstance(over, Rejection)
    assert over.sentence.startswith("Too much request weight used; current limit is 120 request weight per 1 MINUTE.")
    assert weights.charge(HERE, 100, START) == 100, "no other budget is touched"
    assert weights.bans(START) == []
    assert weights.charge_apart("a path", 1, START + MINUTE_MS, 120) == 1


def test_other_servers_are_told_of_a_budget_apart() -> None:
    here, there = Weights(100), Weights(100)
    hurried: list[None] = []
    here.share(lambda: hurried.append(None))
    here.charge_apart("a path", 50, START, 120)
    assert hurried, "the first of a minute is told soon"
    for counted in here.take_untold(START):
        there.learn(counted, START)
    assert there.charge_apart("a path", 50, START, 120) == 100


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


def test_a_lifted_ban_is_over_and_nobody_brings_it_back() -> None:
    weights = Weights(10)
    exhausted(weights, START)
    weights.charge(HERE, 1, START)
    (ban,) = weights.bans(START)
    weights.lift(HERE, ban.banned_until - 1, START)
    assert weights.banned(HERE, START) is not None, "another ban, that lasts longer"
    weights.lift(HERE, ban.banned_until, START)
    assert weights.banned(HERE, START) is None
    assert refused(weights.charge(HERE, 1, START))[0] == 429, "what was used stays used"
    weights.learn(ban, START)
    assert weights.bans(START) == [], "told by a server that did not know it was lifted"
    exhausted(weights, START + MINUTE_MS)
    assert refused(weights.charge(HERE, 1, START + MINUTE_MS)) == (418, 240)
    (longer,) = weights.bans(START + MINUTE_MS)
    assert longer.banned_until > ban.banned_until
    weights.learn(longer, START + MINUTE_MS)
    weights.lift(HERE, ban.banned_until, START + MINUTE_MS)
    assert weights.bans(START + MINUTE_MS) == [longer], "the old lift does not end it"


def test_a_ban_that_is_told_only_later_was_lifted_before() -> None:
    weights = Weights(10)
    weights.lift(HERE, START + 2 * MINUTE_MS, START)
    weights.learn(Counted(HERE, 0, 0, 0, START + 2 * MINUTE_MS, 1), START)
    assert weights.banned(HERE, START) is None


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


# Counted together with other servers ----------------------------------------------------------------------------------


def sharing(per_minute: int = 6_000) -> tuple[Weights, list[str]]:
    """Weights, and a list that grows whenever the others should know soon."""
    hurried: list[str] = []
    weights = Weights(per_minute)
    weights.share(lambda: hurried.append("now"))
    return weights, hurried


def test_nothing_is_kept_for_others_unless_there_are_any() -> None:
    weights = Weights(10)
    weights.charge(HERE, 1, START)
    assert weights.take_untold(START) == []


def test_what_was_charged_is_told_once() -> None:
    weights, _ = sharing(10)
    for weight in (4, 5, 6, 7):
        weights.charge(HERE, weight, START)
    weights.charge(THERE, 1, START)
    minute = START // MINUTE_MS
    assert weights.take_untold(START) == [Counted(HERE, minute, 22, 2), Counted(THERE, minute, 1, 0)]
    assert weights.take_untold(START) == []
    weights.charge(HERE, 1, START)
    assert weights.take_untold(START) == [Counted(HERE, minute, 1, 1)]


def test_the_others_should_know_soon_of_what_is_new_or_much_or_refused() -> None:
    weights, hurried = sharing(1_600)
    weights.charge(HERE, 1, START)
    assert len(hurried) == 1, "an address that was not here in this minute"
    weights.take_untold(START)
    for _ in range(99):
        weights.charge(HERE, 1, START)
    assert len(hurried) == 1
    weights.charge(HERE, 1, START)
    assert len(hurried) == 2, "a sixteenth of the minute"
    weights.take_untold(START)
    weights.charge(HERE, 1, START)
    assert len(hurried) == 2
    weights.learn(Counted(HERE, START // MINUTE_MS, 1_600, 0), START)
    assert isinstance(weights.charge(HERE, 1, START), Rejection)
    assert len(hurried) == 3
    weights.charge(HERE, 1, START + MINUTE_MS)
    assert len(hurried) == 4


def test_what_others_counted_is_refused_and_banned_for() -> None:
    weights, _ = sharing(10)
    weights.charge(HERE, 3, START)
    weights.learn(Counted(HERE, START // MINUTE_MS, 7, TOLERATED_429 - 1), START)
    assert weights.used(HERE, START) == 10, "3 of it were not told yet"
    assert refused(weights.charge(HERE, 1, START))[0] == 429
    assert refused(weights.charge(HERE, 1, START))[0] == 418
    weights.learn(Counted(HERE, START // MINUTE_MS, 5, 0), START)
    assert weights.used(HERE, START) == 12, "never less than is known here"


def test_an_address_never_seen_here_is_learned() -> None:
    weights, _ = sharing(10)
    weights.learn(Counted(HERE, START // MINUTE_MS, 10, 0), START)
    assert refused(weights.charge(HERE, 1, START))[0] == 429
    weights.learn(Counted(THERE, 0, 0, 0, START + 5_000, 3), START)
    assert refused(weights.charge(THERE, 1, START)) == (418, 5)


@pytest.mark.parametrize("minutes", [-1, 1])
def test_the_minute_of_a_clock_that_differs_is_not_ours(minutes: int) -> None:
    weights, _ = sharing(10)
    weights.charge(HERE, 6, START)
    weights.learn(Counted(HERE, START // MINUTE_MS + minutes, 10, 0), START)
    assert weights.charge(HERE, 4, START) == 10
    assert refused(weights.charge(HERE, 1, START))[0] == 429


def test_the_ban_that_lasts_longest_holds_and_its_step_counts() -> None:
    weights, _ = sharing(10)
    weights.learn(Counted(HERE, 0, 0, 0, START - 1, 4), START)
    assert weights.banned(HERE, START) is None
    exhausted(weights, START)
    assert refused(weights.charge(HERE, 1, START)) == (418, BAN_STEPS_MS[4] // 1_000)
    weights.learn(Counted(HERE, 0, 0, 0, START + 1_000, 1), START)
    assert refused(weights.charge(HERE, 1, START)) == (418, BAN_STEPS_MS[4] // 1_000)
    told = weights.take_untold(START)
    assert [(one.banned_until, one.bans) for one in told] == [(START + BAN_STEPS_MS[4], 5)]
    assert weights.bans(START) == [Counted(HERE, 0, 0, 0, START + BAN_STEPS_MS[4], 5)]
    assert weights.bans(START + BAN_STEPS_MS[4]) == []


def test_what_is_told_at_once_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, _ = sharing()
    for number in range(TOLD_AT_ONCE + 1):
        weights.charge(str(number), 1, START)
    assert [one.address for one in weights.take_untold(START)] == [str(number) for number in range(TOLD_AT_ONCE)]
    assert [one.address for one in weights.take_untold(START)] == [str(TOLD_AT_ONCE)]
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 3)
    weights, _ = sharing()
    for number in range(10):
        weights.charge(str(number), 1, START)
    assert [one.address for one in weights.take_untold(START)] == ["7", "8", "9"]


def test_a_minute_that_is_over_is_not_told() -> None:
    weights, _ = sharing()
    weights.charge(HERE, 1, START)
    assert weights.take_untold(START + MINUTE_MS) == []
    weights.charge(HERE, 2, START)
    weights.charge(HERE, 3, START + MINUTE_MS)
    assert weights.take_untold(START + MINUTE_MS) == [Counted(HERE, START // MINUTE_MS + 1, 3, 0)]


MINUTE = START // MINUTE_MS


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("charge"), st.integers(0, 2), st.integers(1, 9)),
            st.tuples(st.just("exchange"), st.integers(0, 2), st.just(0)),
            st.tuples(st.just("hear"), st.integers(0, 2), st.integers(0, 20)),
        ),
        max_size=60,
    )
)
def test_servers_never_count_more_than_was_charged_and_in_the_end_all_of_it(steps: list[tuple[str, int, int]]) -> None:
    """Whatever the order of charges, exchanges and news, late or twice."""
    servers = [sharing(10**9)[0] for _ in range(3)]
    news: list[Counted] = []
    true = shared = 0

    def exchange(server: Weights) -> None:
        nonlocal shared
        for told in server.take_untold(START):
            shared += told.used
            news.append(Counted(HERE, MINUTE, shared, 0))
            server.learn(news[-1], START)

    for step, number, value in steps:
        match step:
            case "charge":
                true += value
                servers[number].charge(HERE, value, START)
            case "exchange":
                exchange(servers[number])
            case _ if news:
                servers[number].learn(news[value % len(news)], START)
        assert all(server.used(HERE, START) <= true for server in servers)
    for server in servers:
        exchange(server)
    for server in servers:
        for counted in news:
            server.learn(counted, START)
    assert [server.used(HERE, START) for server in servers] == [true] * 3
