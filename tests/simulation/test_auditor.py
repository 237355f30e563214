"""The auditor has teeth: each bug planted here is found by it within a few seeds, and without one it finds nothing."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from catchment import batcher, errors, limits, margin, venue, writer
from catchment.asset import Asset
from catchment.errors import Rejection
from catchment.ledger import collection, journal, ledger, negative, quota
from catchment.ledger.balance import Standing, balance_of
from catchment.ledger.commands import AutoCollection, Borrow, Command, Deposit, NegativeInterest, Repay
from catchment.ledger.journal import Record
from catchment.ledger.quota import Window
from catchment.ledger.transfer import Move
from catchment.papi import bnb, history, repay
from catchment.store import memory, states
from catchment.store.base import StoreUnknown
from catchment.wallet import Place
from tests.simulation import world

SEEDS = (1, 26, 52, *range(2, 21))
DAYS = 0.3
"""Few enough that each planted bug is found within seconds. The first seed has the engine in memory, the second SQLite,
both with several servers."""

Plant = Callable[[pytest.MonkeyPatch], None]


def skipped_entry(patch: pytest.MonkeyPatch) -> None:
    """The credit of a record's first transfer is not applied."""

    def apply(state: Any, record: Record, rules: Any) -> None:
        ledger.apply(state, record, rules)
        for transfer in record.transfers[:1]:
            setattr(state.balances[transfer.asset], transfer.target, transfer.target_after - transfer.amount)

    patch.setattr(writer, "apply", apply)


def double_apply(patch: pytest.MonkeyPatch) -> None:
    """What a record brings is applied twice."""

    def apply(state: Any, record: Record, rules: Any) -> None:
        ledger.apply(state, record, rules)
        for one in record.transfers:
            balance = state.balances[one.asset]
            setattr(balance, one.source, one.source_after - one.amount)
            setattr(balance, one.target, one.target_after + one.amount)

    patch.setattr(writer, "apply", apply)


def wrong_record(patch: pytest.MonkeyPatch) -> None:
    """A deposit is written down as one unit more."""

    def deposit(state: Any, command: Deposit, now: int, rules: Any) -> Any:
        if command.amount <= 0:
            return errors.AMOUNT_MUST_BE_POSITIVE()
        return [Move(command.asset, command.amount + 1, Place.OUTSIDE, Place.MARGIN_FREE)]

    patch.setitem(ledger._PLANS, Deposit, deposit)


def one_use_too_many(patch: pytest.MonkeyPatch) -> None:
    real = quota.refusal

    def refusal(state: Any, rule: Any, now: int) -> Any:
        use = state.quotas.get(rule.name)
        return None if use is not None and use.used == rule.limit else real(state, rule, now)

    patch.setattr(quota, "refusal", refusal)


def one_use_too_few(patch: pytest.MonkeyPatch) -> None:
    def refusal(state: Any, rule: Any, now: int) -> Any:
        use = state.quotas.get(rule.name)
        return None if use is None or use.used < rule.limit - 1 else errors.COLLECTION_QUOTA(rule.limit, rule.window)

    patch.setattr(quota, "refusal", refusal)


def window_a_millisecond_long(patch: pytest.MonkeyPatch) -> None:
    _move_window(patch, -1)


def window_a_millisecond_short(patch: pytest.MonkeyPatch) -> None:
    _move_window(patch, 1)


def _move_window(patch: pytest.MonkeyPatch, by: int, moved: Window = Window.ROLLING_HOUR) -> None:
    real = Window.start
    patch.setattr(Window, "start", lambda self, now: real(self, now) + (by if self is moved else 0))


def lost_answer(patch: pytest.MonkeyPatch) -> None:
    """Every fiftieth caller is never answered."""
    real = batcher.Batcher._answer
    given = iter(range(10**9))

    def answer(self: Any, futures: Any, answers: Any) -> None:
        kept = [number for number in range(len(futures)) if next(given) % 50 != 49]
        real(self, [futures[number] for number in kept], [answers[number] for number in kept])

    patch.setattr(batcher.Batcher, "_answer", answer)


def lost_commit(patch: pytest.MonkeyPatch) -> None:
    """Every fortieth commit is said to be done and is not."""
    real = memory.MemoryStore._commit
    commits = iter(range(10**9))

    def commit(self: Any, written: Any, held: Any) -> None:
        if next(commits) % 40 != 39:
            real(self, written, held)

    patch.setattr(memory.MemoryStore, "_commit", commit)


def half_a_batch(patch: pytest.MonkeyPatch) -> None:
    """Of a batch, the states are kept and half of the records are lost."""
    real = memory.MemoryStore._commit
    patch.setattr(memory.MemoryStore, "_commit", lambda self, written, held: real(self, written[::2], held))


def stale_state(patch: pytest.MonkeyPatch) -> None:
    """A writer goes on from the states it remembers, whoever wrote meanwhile."""
    patch.setattr(states.Kept, "forget", lambda self: None)


def stale_version(patch: pytest.MonkeyPatch) -> None:
    """A balance's version stays as it was."""

    def apply(state: Any, record: Record, rules: Any) -> None:
        known = {asset: balance.version for asset, balance in state.balances.items()}
        ledger.apply(state, record, rules)
        for asset, balance in state.balances.items():
            balance.version = known.get(asset, 0)

    patch.setattr(writer, "apply", apply)


def stale_reading(patch: pytest.MonkeyPatch) -> None:
    """A reading is answered with what the account held the last time but one."""
    real = venue.Venue.state
    known: dict[bytes, Any] = {}

    async def state(self: Any, account: Any) -> Any:
        found = await real(self, account)
        before, known[account] = known.get(account, found), found
        return before

    patch.setattr(venue.Venue, "state", state)


def preview_that_drifts(patch: pytest.MonkeyPatch) -> None:
    """A dry run does not know that BNB in UM stays."""
    real = venue.Venue._preview

    def preview(self: Any, account: Any, command: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(collection, "BNB", "NONE")
            return real(self, account, command)

    patch.setattr(venue.Venue, "_preview", preview)


def retry_that_repeats(patch: pytest.MonkeyPatch) -> None:
    """A batch whose outcome is unknown is written again."""
    real = writer.write_batch

    def again(*args: Any) -> Any:
        try:
            return real(*args)
        except StoreUnknown:
            return real(*args)

    patch.setattr(writer, "write_batch", again)


def unknown_told_as_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(errors, "OUTCOME_UNKNOWN", errors.STORE_UNAVAILABLE)


def refused_told_as_done(patch: pytest.MonkeyPatch) -> None:
    """A batch that was rolled back is answered as if it had been written."""

    def write(store: Any, batch: Any, clock: Any, rules: Any) -> Any:
        try:
            return writer.write_batch(store, batch, clock.now(), rules)
        except Exception:
            record = journal.seal(batch[0][0], 1, clock.now(), journal.Body(batch[0][1], ()), bytes(32))
            return [journal.Stored(1, record)] * len(batch)

    patch.setattr(writer, "write", write)


def bnb_from_um(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(collection, "BNB", "NONE")


def broken_chain(patch: pytest.MonkeyPatch) -> None:
    """A digest does not cover the record before."""
    real: Callable[..., bytes] = journal.digest_of
    patch.setattr(journal, "digest_of", lambda *parts: real(*parts[:4], bytes(32)))


def time_runs_back(patch: pytest.MonkeyPatch) -> None:
    """The clock is taken as it is, though it was set back."""

    def decide(account: Any, state: Any, command: Command, now: int, rules: Any) -> Any:
        last, state.timestamp = state.timestamp, 0
        try:
            return ledger.decide(account, state, command, now, rules)
        finally:
            state.timestamp = last

    patch.setattr(writer, "decide", decide)


def use_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Now and then a collection is not counted by its quotas."""
    real = quota.count

    def count(state: Any, command: Command, now: int, rules: Any) -> None:
        if not isinstance(command, AutoCollection) or state.number % 2:
            real(state, command, now, rules)

    patch.setattr(quota, "count", count)


def keys_never_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A key that another server revoked is taken for ever."""

    async def watch(self: Any) -> None:
        await asyncio.sleep(10**9)

    patch.setattr(venue.Venue, "_watch", watch)


def free_request(patch: pytest.MonkeyPatch) -> None:
    """Every hundredth request costs nothing."""
    real = limits.Weights.charge
    asked = iter(range(10**9))
    patch.setattr(
        limits.Weights,
        "charge",
        lambda self, address, weight, now: real(self, address, 0 if next(asked) % 100 == 99 else weight, now),
    )


def ban_a_refusal_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "TOLERATED_429", 11)


def a_digit_lost(patch: pytest.MonkeyPatch) -> None:
    """The last decimal of a long amount is cut off."""
    real = Asset.text
    patch.setattr(Asset, "text", lambda self, units: real(self, units if units < 10**11 else units - units % 10))


def one_bnb_transfer_too_many(patch: pytest.MonkeyPatch) -> None:
    real = venue.rules_of
    patch.setattr(venue, "rules_of", lambda settings: replace(real(settings), bnb_transfers=11))


def ten_minutes_a_millisecond_short(patch: pytest.MonkeyPatch) -> None:
    _move_window(patch, 1, Window.TEN_MINUTES)


def one_switch_too_few(patch: pytest.MonkeyPatch) -> None:
    real = venue.rules_of
    patch.setattr(venue, "rules_of", lambda settings: replace(real(settings), switches_per_day=19))


def repay_that_overdraws(patch: pytest.MonkeyPatch) -> None:
    """A hole is filled whole, whatever is free."""

    def repaying(state: Any, command: Any) -> Any:
        return [
            Move(asset, -balance.at(place), Place.MARGIN_FREE, place)
            for asset, balance in state.balances.items()
            for place in (Place.UM, Place.CM)
            if balance.at(place) < 0
        ]

    patch.setattr(negative, "repaying", repaying)
    patch.setattr(ledger, "NON_NEGATIVE", frozenset())


def interest_charged_twice(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers which day was charged."""
    patch.delitem(ledger._EFFECTS, NegativeInterest)


def interest_rounded_down(patch: pytest.MonkeyPatch) -> None:
    """In the customer's favour, by one unit."""
    real = negative.interest

    def interest(state: Any, command: Any) -> Any:
        plan = real(state, command)
        if isinstance(plan, Rejection):
            return plan
        moves, found = plan
        return [Move(one.asset, one.amount - 1, one.source, one.target) for one in moves if one.amount > 1], found

    patch.setattr(negative, "interest", interest)


def exchange_that_overshoots(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(negative, "BROUGHT_DOWN_TO", (79, 100))


def principal_before_interest(patch: pytest.MonkeyPatch) -> None:
    """A repayment goes to what was borrowed first."""

    def repay(state: Any, command: Repay, now: int, rules: Any) -> Any:
        balance = balance_of(state, command.asset)
        principal = min(command.amount, -balance.borrowed)
        if not 0 < command.amount <= -balance.borrowed - balance.interest:
            return errors.REPAY_EXCEEDS_DEBT()
        ends = ((principal, Place.BORROWED), (command.amount - principal, Place.INTEREST))
        return [Move(command.asset, amount, Place.MARGIN_FREE, place) for amount, place in ends if amount]

    patch.setitem(ledger._PLANS, Repay, repay)


def loan_over_the_limit(patch: pytest.MonkeyPatch) -> None:
    """Interest that is owed does not count."""

    def borrow(state: Any, command: Borrow, now: int, rules: Any) -> Any:
        if command.amount <= 0:
            return errors.AMOUNT_MUST_BE_POSITIVE()
        if command.amount > command.limit:
            return errors.EXCEED_MAX_BORROWABLE()
        return [Move(command.asset, command.amount, Place.BORROWED, Place.MARGIN_FREE)]

    patch.setitem(ledger._PLANS, Borrow, borrow)


def everybody_may_owe_as_much(patch: pytest.MonkeyPatch) -> None:
    """A loan over the API is not held against what the account is worth."""
    most = margin.Borrowable(10**12, 10**12)
    patch.setattr(margin, "borrowable", lambda state, quotes, asset: most)


def id_of_the_record_before(patch: pytest.MonkeyPatch) -> None:
    real = history.tran_id
    patch.setattr(bnb, "tran_id", lambda record: real(record) - history.PLACES)


def stale_switch(patch: pytest.MonkeyPatch) -> None:
    """Auto Repay is told as it always was."""
    patch.setattr(repay, "standing_of", lambda state: Standing())


PLANTS: list[tuple[Plant, str]] = [
    (skipped_entry, "had to move"),
    (double_apply, "had to move"),
    (wrong_record, "were brought"),
    (one_use_too_many, "over the quota"),
    (one_use_too_few, "refused by quota"),
    (window_a_millisecond_long, "refused by quota"),
    (window_a_millisecond_short, "over the quota"),
    (use_not_counted, "over the quota"),
    (lost_answer, "never answered"),
    (lost_commit, "and not in the journal"),
    (half_a_batch, "has sequence"),
    (stale_state, "follows"),
    (stale_version, "had to move"),
    (stale_reading, "is not what the account held"),
    (preview_that_drifts, "a preview at"),
    (retry_that_repeats, "not asked for, or not that often"),
    (unknown_told_as_refused, "not asked for, or not that often"),
    (refused_told_as_done, "and not in the journal"),
    (bnb_from_um, "moved BNB out of UM"),
    (broken_chain, "the digest does not follow"),
    (time_runs_back, "time runs back"),
    (keys_never_looked_at, "answered 0, expected one of ['-1001', '-2015']"),
    (free_request, "header says"),
    (ban_a_refusal_late, "expected 418"),
    (a_digit_lost, "is not what the account held"),
    (one_bnb_transfer_too_many, "over the quota of {'type': 'BnbTransfer'"),
    (ten_minutes_a_millisecond_short, "over the quota of {'type': 'BnbTransfer'"),
    (one_switch_too_few, "refused by quota"),
    (repay_that_overdraws, "{'type': 'RepayNegative', 'trigger': 'API'} had to move"),
    (interest_charged_twice, "had to be refused with -90012"),
    (interest_rounded_down, "had to move"),
    (exchange_that_overshoots, "had to move"),
    (principal_before_interest, "had to move"),
    (loan_over_the_limit, "had to be refused with -51006"),
    (everybody_may_owe_as_much, "which was not the account's"),
    (id_of_the_record_before, "which is another record or none"),
    (stale_switch, "is not what the account held"),
]
"""Each with words of the finding that must name it."""


@contextmanager
def planted(plant: Plant) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        yield


@cache
def failures(seed: int) -> list[str]:
    """What is found without a planted bug."""
    return world.run(seed, DAYS).failures


@pytest.mark.parametrize(("plant", "words"), [pytest.param(*case, id=case[0].__name__) for case in PLANTS])
def test_a_planted_bug_is_found(plant: Plant, words: str) -> None:
    with planted(plant):
        seed = next((seed for seed in SEEDS if any(words in found for found in world.run(seed, DAYS).findings)), None)
    assert seed is not None, "the auditor did not see it"
    assert not failures(seed), "and without the bug there is nothing to see"
