"""What holds for every sequence of commands over several accounts, however odd."""

import copy
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from catchment.asset import MAX_UNITS
from catchment.errors import Rejection
from catchment.ledger.audit import Audit
from catchment.ledger.balance import AccountId, AccountState, Balance, decode_state, encode_state
from catchment.ledger.collection import CmBnb
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    AutoExchange,
    BnbTransfer,
    Borrow,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    NegativeInterest,
    Offer,
    Reason,
    Repay,
    RepayNegative,
    SetAutoCollection,
    SetAutoRepay,
    SetPosition,
    Side,
    Terms,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Record, Stored, decode_record
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.wallet import NON_NEGATIVE, Place, Wallet
from tests.ledger.lines import ALICE, BOB, NOON

CAROL = AccountId(b"carol".ljust(16, b"."))
ENROLLED = {ALICE: True, BOB: True, CAROL: False}

ASSETS = st.sampled_from(["USDT", "BTC", "BNB"])
AMOUNTS = st.integers(-20, 60) | st.sampled_from([MAX_UNITS, MAX_UNITS - 5, -MAX_UNITS])
RATES = st.integers(1, 3 * 10**8)
ODD_TEXT = st.text(max_size=8) | st.sampled_from(["", "\ud800", "\x00", "usdt", "A" * 10_000, "'; --", "{}"])
ODD_AMOUNTS = st.integers() | st.sampled_from([2**63, -(2**63), 2**64, 2**4096, -(2**4096), 0])


def commands(assets: st.SearchStrategy[str], amounts: st.SearchStrategy[int]) -> st.SearchStrategy[Command]:
    triggers = st.sampled_from(Trigger)
    return st.one_of(
        st.builds(Deposit, assets, amounts),
        st.builds(Withdrawal, assets, amounts),
        st.builds(Adjustment, st.sampled_from(Wallet), assets, amounts, st.sampled_from(Reason), assets),
        st.builds(MarginAdjustment, assets, amounts, st.sampled_from(MarginReason)),
        st.builds(AutoCollection, triggers),
        st.builds(AssetCollection, assets, triggers, st.none() | amounts, st.none() | st.sampled_from(Wallet)),
        st.builds(BnbTransfer, amounts, st.sampled_from(Side), triggers, st.booleans()),
        st.builds(RepayNegative, triggers),
        st.builds(SetAutoRepay, st.booleans(), triggers),
        st.builds(SetAutoCollection, st.booleans(), triggers),
        st.builds(Borrow, assets, amounts, amounts),
        st.builds(Repay, assets, amounts),
        st.builds(NegativeInterest, amounts, st.lists(st.builds(Terms, assets, amounts, RATES | amounts)).map(tuple)),
        st.builds(AutoExchange, offers(assets, amounts), amounts, st.lists(offers(assets, amounts)).map(tuple)),
        st.builds(SetPosition, st.sampled_from(Wallet), assets, amounts, amounts, amounts, st.just("BOTH") | assets),
    )


def offers(assets: st.SearchStrategy[str], amounts: st.SearchStrategy[int]) -> st.SearchStrategy[Offer]:
    return st.builds(Offer, assets, RATES | amounts, RATES | amounts, st.sampled_from([0, 8, 18]) | amounts)


STEPS = st.lists(
    st.tuples(st.sampled_from(list(ENROLLED)), commands(ASSETS, AMOUNTS), st.sampled_from([0, 1, 60_000, -5])),
    max_size=60,
)
RULES = st.builds(Rules, cm_bnb=st.sampled_from(CmBnb), shared_daily=st.booleans(), api_per_hour=st.just(5))


class House:
    """Several accounts over one journal, kept the plain way."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.states = {account: AccountState(portfolio_margin=flag) for account, flag in ENROLLED.items()}
        self.journal: list[Record] = []

    def ask(self, account: AccountId, command: Command, now: int) -> Record | Rejection:
        """Decide and apply; a refusal changes nothing, and deciding changes nothing."""
        state = self.states[account]
        before = copy.deepcopy(state)
        answer = decide(account, state, command, now, self.rules)
        assert state == before
        assert decide(account, state, command, now, self.rules) == answer, "the same input gives the same answer"
        if isinstance(answer, Record):
            apply(state, answer, self.rules)
            self.journal.append(answer)
        return answer


def played(rules: Rules, steps: list[tuple[AccountId, Command, int]]) -> House:
    house, now = House(rules), NOON
    for account, command, pause in steps:
        now += pause
        house.ask(account, command, now)
    return house


def brought(journal: list[Record]) -> Counter[str]:
    """Deposits less withdrawals plus adjustments less interest, as the commands say it; exchanges as they moved."""
    total: Counter[str] = Counter()
    for record in journal:
        match record.command:
            case Deposit(asset, amount) | Adjustment(asset=asset, amount=amount):
                total[asset] += amount
            case Withdrawal(asset, amount) | MarginAdjustment(asset, amount, MarginReason.INTEREST):
                total[asset] -= amount
            case NegativeInterest() | AutoExchange():
                for entry in (entry for move in record.transfers for entry in move.entries):
                    total[entry.asset] -= entry.amount * (entry.place is Place.MARKET)
    return total


@settings(max_examples=150)
@given(RULES, STEPS)
def test_every_record_balances(rules: Rules, steps: list[tuple[AccountId, Command, int]]) -> None:
    house = played(rules, steps)
    versions: Counter[tuple[AccountId, str]] = Counter()
    for record in house.journal:
        assert record.account in ENROLLED
        assert sum(entry.amount for move in record.transfers for entry in move.entries) == 0
        for move in record.transfers:
            versions[record.account, move.asset] += 1
            assert (move.amount > 0, move.source is not move.target) == (True, True)
            assert {entry.version for entry in move.entries} == {versions[record.account, move.asset]}
    for account, state in house.states.items():
        for asset, balance in state.balances.items():
            assert balance.places_sum() == 0
            assert balance.version == versions[account, asset]
            assert all(abs(balance.at(place)) <= MAX_UNITS for place in Place)
            assert all(balance.at(place) >= 0 for place in NON_NEGATIVE)
            assert max(balance.borrowed, balance.interest) <= 0


@settings(max_examples=150)
@given(RULES, STEPS)
def test_money_is_conserved(rules: Rules, steps: list[tuple[AccountId, Command, int]]) -> None:
    house = played(rules, steps)
    held: Counter[str] = Counter()
    for state in house.states.values():
        for asset, balance in state.balances.items():
            held[asset] += balance.futures + balance.margin + balance.borrowed + balance.interest
    wanted = brought(house.journal)
    assert {asset: units for asset, units in held.items() if units} == {
        asset: units for asset, units in wanted.items() if units
    }


@settings(max_examples=100)
@given(RULES, STEPS)
def test_the_journal_replayed_from_nothing_gives_the_same_state(
    rules: Rules, steps: list[tuple[AccountId, Command, int]]
) -> None:
    """Through the texts that a store keeps, so that nothing lives in memory alone."""
    house = played(rules, steps)
    replayed = {account: AccountState(portfolio_margin=flag) for account, flag in ENROLLED.items()}
    for record in house.journal:
        kept = decode_record(record.account, record.number, record.timestamp, record.text, record.digest)
        state = decode_state(encode_state(replayed[record.account]))
        again = decide(record.account, state, kept.command, kept.timestamp, rules)
        assert again == record
        apply(state, kept, rules)
        replayed[record.account] = state
    assert replayed == house.states


@settings(max_examples=100)
@given(RULES, STEPS)
def test_the_audit_of_a_journal_that_was_decided_finds_nothing(
    rules: Rules, steps: list[tuple[AccountId, Command, int]]
) -> None:
    house = played(rules, steps)
    audit = Audit(rules, ENROLLED.get)
    for sequence, record in enumerate(house.journal, 1):
        audit.read(Stored(sequence, record))
    for account, state in house.states.items():
        audit.expect(account, state)
    audit.finish()
    assert audit.findings == []
    assert audit.records == len(house.journal)


@settings(max_examples=300)
@given(st.lists(commands(ASSETS | ODD_TEXT, AMOUNTS | ODD_AMOUNTS), max_size=8), st.integers())
def test_decide_answers_whatever_it_is_asked(asked: list[Command], now: int) -> None:
    house = House(Rules())
    for command in asked:
        answer = house.ask(ALICE, command, now)
        if isinstance(answer, Rejection):
            assert answer.sentence
        else:
            again = decode_record(ALICE, answer.number, answer.timestamp, answer.text, answer.digest)
            assert again == answer, "what was accepted can be written down and read again"


@settings(max_examples=100)
@given(STEPS, st.sampled_from(list(ENROLLED)), commands(ASSETS, AMOUNTS))
def test_a_collection_empties_what_the_rules_let_it(
    steps: list[tuple[AccountId, Command, int]], account: AccountId, last: Command
) -> None:
    """After an auto-collection no positive futures balance is left but BNB in UM, and no other account changed."""
    house = played(Rules(), steps)
    house.ask(account, last, NOON)
    others = {other: copy.deepcopy(state) for other, state in house.states.items() if other != account}
    before = copy.deepcopy(house.states[account].balances)
    answer = house.ask(account, AutoCollection(Trigger.OPERATOR), NOON)
    if isinstance(answer, Rejection):
        assert answer.name in {"USER_IS_NOT_UNIACCOUNT", "BALANCE_OVERFLOW"}
        assert house.states[account].balances == before
        return
    for asset, balance in house.states[account].balances.items():
        was = before.get(asset, Balance())
        assert balance.um == (was.um if asset == "BNB" else min(was.um, 0))
        assert balance.cm == min(was.cm, 0)
        assert balance.margin_free == was.margin_free + (was.futures - balance.futures)
        assert (balance.margin_locked, balance.borrowed, balance.interest) == (
            was.margin_locked,
            was.borrowed,
            was.interest,
        )
    assert others == {other: state for other, state in house.states.items() if other != account}
