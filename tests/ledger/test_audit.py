"""Each invariant is broken in an otherwise good journal, and the audit must name it, and where."""

import copy
from collections.abc import Callable

import msgspec
import pytest

from catchment.asset import MAX_UNITS
from catchment.ledger.audit import LISTED, Audit, Finding, unequal
from catchment.ledger.balance import GENESIS, AccountId, AccountState, QuotaUse
from catchment.ledger.collection import CmBnb
from catchment.ledger.commands import AutoCollection, Command, Deposit, Trigger, Withdrawal
from catchment.ledger.journal import Body, Record, Stored, seal
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import HOUR_MS, Rules
from catchment.ledger.transfer import Transfer
from catchment.wallet import Place
from tests.ledger.lines import ALICE, BOB, NOON, command_of, rows

RULES = Rules()
NOBODY = AccountId(b"nobody".ljust(16, b"."))
ENROLLED = {ALICE: True, BOB: True}

GOOD = """
1 | alice | deposit USDT 100
2 | bob   | deposit BTC 7
3 | alice | adjust UM USDT 30
4 | alice | adjust UM BNB 5
5 | alice | auto
6 | bob   | withdraw BTC 2
7 | bob   | borrow BTC 3
8 | bob   | interest BTC 1
"""
LATER = NOON + 2 * HOUR_MS
COLLECTION = 5
"""The sequence of the collection above: alice's record number 4."""


class Books:
    """A journal and the stored states that go with it; every damage leaves the rest as it would be."""

    def __init__(self) -> None:
        self.journal: list[Stored] = []
        self.states = {account: AccountState() for account in ENROLLED}
        for sequence, name, line in rows(GOOD, columns=3):
            account = {"alice": ALICE, "bob": BOB}[name]
            self.write(account, command_of(line), NOON + int(sequence))

    def write(self, account: AccountId, command: Command, now: int, rules: Rules = RULES) -> None:
        state = self.states[account]
        record = decide(account, state, command, now, rules)
        assert isinstance(record, Record), record
        apply(state, record, rules)
        self.journal.append(Stored(len(self.journal) + 1, record))

    def findings(self, rules: Rules = RULES) -> list[Finding]:
        audit = Audit(rules, ENROLLED.get)
        for stored in self.journal:
            audit.read(stored)
        for account, state in self.states.items():
            audit.expect(account, state)
        audit.finish()
        return audit.findings

    def record(self, sequence: int) -> Record:
        return self.journal[sequence - 1].record

    def reseal(self, changed: dict[int, Record]) -> None:
        """Put changed records in, seal every record again, and keep the states that the journal now gives."""
        previous = dict.fromkeys([*ENROLLED, NOBODY], GENESIS)
        states: dict[AccountId, AccountState] = {}
        for place, stored in enumerate(self.journal):
            old = changed.get(stored.sequence, stored.record)
            record = seal(old.account, old.number, old.timestamp, old.body, previous[old.account])
            previous[old.account] = record.digest
            apply(states.setdefault(old.account, AccountState()), record, RULES)
            self.journal[place] = Stored(stored.sequence, record)
        self.states = states

    def rewrite(self, sequence: int, **changes: object) -> None:
        self.reseal({sequence: msgspec.structs.replace(self.record(sequence), **changes)})

    def move(self, sequence: int, *transfers: Transfer, command: Command | None = None) -> None:
        """Give a record other transfers, and another command if there is one."""
        self.rewrite(sequence, read=Body(command or self.record(sequence).command, transfers))


def first(books: Books, sequence: int) -> Transfer:
    return books.record(sequence).transfers[0]


def changed(books: Books, sequence: int, **changes: object) -> Transfer:
    return msgspec.structs.replace(first(books, sequence), **changes)


Damage = Callable[[Books], None]
DAMAGES: list[tuple[str, set[int], tuple[int, AccountId, int, int], Damage]] = []


def damage(broken: int, account: AccountId, number: int, sequence: int, *also: int) -> Callable[[Damage], Damage]:
    """Register a damage: the invariant it breaks and where, and others that cannot hold then either."""

    def register(function: Damage) -> Damage:
        DAMAGES.append((function.__name__, {broken, *also}, (broken, account, number, sequence), function))
        return function

    return register


@damage(1, ALICE, 5, 5)
def a_number_is_left_out(books: Books) -> None:
    books.rewrite(COLLECTION, number=5)


@damage(1, ALICE, 3, 5)
def a_number_is_used_twice(books: Books) -> None:
    books.rewrite(COLLECTION, number=3)


@damage(2, ALICE, 4, 5, 9)
def a_digest_is_another(books: Books) -> None:
    books.journal[4] = Stored(5, msgspec.structs.replace(books.record(5), digest=bytes(32)))


@damage(2, ALICE, 3, 4)
def a_text_is_another_although_it_says_the_same(books: Books) -> None:
    books.journal[3] = Stored(4, msgspec.structs.replace(books.record(4), text=books.record(4).text + b" "))


@damage(3, ALICE, 3, 4)
def the_time_runs_back(books: Books) -> None:
    books.rewrite(4, timestamp=NOON + 2)


@damage(4, ALICE, 2, 3, 8)
def a_transfer_moves_nothing(books: Books) -> None:
    move = first(books, 3)
    books.move(3, move, Transfer("USDT", 0, Place.UM, Place.CM, 30, 0, 3))
    books.rewrite(5, read=Body(AutoCollection(Trigger.API), (changed(books, 5, version=4),)))


@damage(4, BOB, 2, 6, 8)
def a_transfer_moves_a_negative_amount(books: Books) -> None:
    books.move(6, Transfer("BTC", -2, Place.OUTSIDE, Place.MARGIN_FREE, -5, 5, 2))


@damage(4, ALICE, 4, 5, 5, 6, 8, 11)
def a_transfer_goes_where_it_comes_from(books: Books) -> None:
    books.move(5, Transfer("USDT", 30, Place.UM, Place.UM, 0, 0, 3))


@damage(5, ALICE, 4, 5, 8)
def both_balances_after_are_wrong(books: Books) -> None:
    books.move(5, changed(books, 5, source_after=1, target_after=129))


@damage(5, ALICE, 4, 5, 8)
def a_version_is_left_out(books: Books) -> None:
    books.move(5, changed(books, 5, version=first(books, 5).version + 1))


@damage(6, ALICE, 4, 5, 5, 8, 11)
def one_balance_after_is_wrong(books: Books) -> None:
    books.move(5, changed(books, 5, target_after=131))


@damage(7, BOB, 2, 6, 8)
def free_margin_falls_below_zero(books: Books) -> None:
    overdraft = Transfer("BTC", 9, Place.MARGIN_FREE, Place.OUTSIDE, -2, 2, 2)
    books.journal = books.journal[:6]
    books.move(6, overdraft, command=Withdrawal("BTC", 9))


@damage(7, BOB, 1, 2, 8)
def a_balance_is_beyond_63_bits(books: Books) -> None:
    books.journal = books.journal[:5]
    huge = MAX_UNITS + 1
    books.move(2, Transfer("BTC", huge, Place.OUTSIDE, Place.MARGIN_FREE, -huge, huge, 1), command=Deposit("BTC", huge))


@damage(8, ALICE, 4, 5)
def a_collection_moves_less_than_all(books: Books) -> None:
    books.move(5, changed(books, 5, amount=20, source_after=10, target_after=120))


@damage(8, ALICE, 4, 5)
def a_collection_moves_bnb_from_um(books: Books) -> None:
    books.move(5, first(books, 5), Transfer("BNB", 5, Place.UM, Place.MARGIN_FREE, 0, 5, 2))


@damage(8, ALICE, 4, 5)
def a_record_holds_what_the_rules_refuse(books: Books) -> None:
    books.move(5, command=Withdrawal("ETH", 1))
    books.journal[4:] = [Stored(5, books.record(5))]
    books.reseal({5: msgspec.structs.replace(books.record(5), read=Body(command_of("collect BNB"), ()))})


@damage(9, ALICE, 4, 0)
def a_stored_balance_is_not_the_journals(books: Books) -> None:
    books.states[ALICE].balances["USDT"].margin_free += 1


@damage(9, BOB, 4, 0)
def a_stored_balance_is_missing(books: Books) -> None:
    del books.states[BOB].balances["BTC"]


@damage(9, BOB, 4, 0)
def a_stored_balance_has_no_records(books: Books) -> None:
    books.states[BOB].balances["ETH"] = copy.deepcopy(books.states[BOB].balances["BTC"])


@damage(9, BOB, 4, 0)
def a_stored_flag_is_another(books: Books) -> None:
    books.states[BOB].portfolio_margin = False


@damage(9, BOB, 4, 0)
def a_stored_digest_is_another(books: Books) -> None:
    books.states[BOB].digest = bytes(32)


@damage(9, BOB, 4, 0)
def the_last_record_is_lost(books: Books) -> None:
    del books.journal[-1]


@damage(9, BOB, 3, 0)
def the_stored_state_is_behind(books: Books) -> None:
    books.states[BOB].number -= 1


@damage(9, BOB, 4, 0)
def the_stored_state_is_lost(books: Books) -> None:
    del books.states[BOB]


@damage(10, ALICE, 4, 0)
def a_quota_count_is_too_low(books: Books) -> None:
    books.states[ALICE].quotas["api_hour"] = QuotaUse(NOON + COLLECTION, 0)


@damage(11, AccountId(b""), 0, 0, 8)
def a_deposit_arrives_nowhere(books: Books) -> None:
    books.journal = [Stored(1, books.record(2))]
    books.reseal({1: msgspec.structs.replace(books.record(1), read=Body(Deposit("BTC", 7), ()))})


@damage(11, AccountId(b""), 0, 0, 8)
def interest_is_charged_twice_over(books: Books) -> None:
    books.move(8, Transfer("BTC", 2, Place.INTEREST, Place.MARKET, -2, 2, 4))


@damage(12, ALICE, 4, 6)
def a_sequence_is_left_out(books: Books) -> None:
    books.journal[4:] = [Stored(stored.sequence + 1, stored.record) for stored in books.journal[4:]]


@damage(12, ALICE, 1, 2)
def two_sequences_are_exchanged(books: Books) -> None:
    books.journal[:2] = [Stored(2, books.record(1)), Stored(1, books.record(2))]


@damage(12, NOBODY, 1, 9, 9)
def an_account_does_not_exist(books: Books) -> None:
    record = decide(NOBODY, AccountState(), Deposit("USDT", 1), NOON, RULES)
    assert isinstance(record, Record)
    books.journal.append(Stored(9, record))


@pytest.mark.parametrize(
    ("broken", "place", "function"), [case[1:] for case in DAMAGES], ids=[case[0] for case in DAMAGES]
)
def test_damage_is_found_and_named(broken: set[int], place: tuple[int, AccountId, int, int], function: Damage) -> None:
    books = Books()
    function(books)
    found = books.findings()
    assert {finding.invariant for finding in found} == broken
    places = [(finding.invariant, finding.account, finding.number, finding.sequence) for finding in found]
    assert next(there for there in places if there[0] == place[0]) == place, "the first of its kind is the damage"
    assert all(finding.sentence for finding in found)


def test_every_invariant_is_broken_by_some_damage() -> None:
    assert {place[0] for _, _, place, _ in DAMAGES} == set(range(1, 13))


def test_good_books_have_no_findings() -> None:
    assert Books().findings() == []


def test_an_empty_venue_has_no_findings() -> None:
    audit = Audit(RULES, ENROLLED.get)
    audit.expect(ALICE, AccountState())
    audit.finish()
    assert (audit.findings, audit.records, audit.totals()) == ([], 0, {})


def test_totals_by_asset_and_place() -> None:
    books = Books()
    audit = Audit(RULES, ENROLLED.get)
    for stored in books.journal:
        audit.read(stored)
    nothing = dict.fromkeys(Place, 0)
    assert audit.totals() == {
        "USDT": nothing | {Place.MARGIN_FREE: 130, Place.OUTSIDE: -100, Place.MARKET: -30},
        "BNB": nothing | {Place.UM: 5, Place.MARKET: -5},
        "BTC": nothing
        | {Place.MARGIN_FREE: 8, Place.BORROWED: -3, Place.INTEREST: -1, Place.OUTSIDE: -5, Place.MARKET: 1},
    }


@pytest.mark.parametrize("read_before", range(9))
@pytest.mark.parametrize("damaged", [False, True])
def test_a_state_ahead_of_the_journal_waits_and_is_then_compared(read_before: int, damaged: bool) -> None:
    books = Books()
    if damaged:
        a_stored_balance_is_not_the_journals(books)
    audit = Audit(RULES, ENROLLED.get)
    for stored in books.journal[:read_before]:
        audit.read(stored)
    for account, state in books.states.items():
        audit.expect(account, state)
    seen_at_once = len(audit.findings)
    for stored in books.journal[read_before:]:
        audit.read(stored)
    audit.finish()
    assert [finding.invariant for finding in audit.findings] == [9] * damaged
    assert seen_at_once == (damaged and read_before >= COLLECTION), "not compared before the journal came to it"


def test_a_state_is_compared_at_its_own_number_while_the_journal_goes_on() -> None:
    """A venue that writes while it is audited: later records must not be held against the earlier state."""
    books = Books()
    early = copy.deepcopy(books.states[ALICE])
    books.write(ALICE, Deposit("USDT", 1), NOON + 20)
    audit = Audit(RULES, ENROLLED.get)
    audit.expect(ALICE, early)
    audit.expect(BOB, books.states[BOB])
    for stored in books.journal:
        audit.read(stored)
    audit.finish()
    assert audit.findings == []


def test_accounts_made_after_the_audit_was_closed_are_passed_over() -> None:
    books = Books()
    audit = Audit(RULES, ENROLLED.get)
    first, second, *rest = books.journal
    audit.read(first)
    audit.close()
    audit.read(second)
    for stored in rest:
        audit.read(stored)
    audit.expect(ALICE, books.states[ALICE])
    audit.finish()
    assert audit.findings == []
    assert audit.records == books.states[ALICE].number
    audit.read(Stored(99, second.record))
    assert [finding.invariant for finding in audit.findings] == [12], "the sequence of what is passed over counts"


def test_a_part_of_the_journal_has_no_gaps_and_no_totals_of_its_own() -> None:
    books = Books()
    audit = Audit(RULES, ENROLLED.get, whole=False)
    for stored in books.journal:
        if stored.record.account == BOB:
            audit.read(stored)
    audit.expect(BOB, books.states[BOB])
    audit.settle()
    assert audit.findings == []
    assert unequal(audit.totals(), audit.brought) == []


def test_the_same_asset_moved_twice_with_another_between_is_looked_at_closely() -> None:
    """The second move must be held against what the first one left, or a repeated balance would go unseen."""
    books = Books()
    books.write(ALICE, command_of("adjust UM USDT 7"), NOON + 20)
    books.write(ALICE, command_of("adjust CM BTC 5"), NOON + 21)
    books.write(ALICE, AutoCollection(Trigger.API), NOON + 22)
    usdt, btc = books.record(11).transfers
    books.move(11, usdt, btc, usdt)
    found = [(finding.invariant, finding.sentence) for finding in books.findings() if finding.sequence == 11]
    assert (5, "USDT um is 0, not -7") in found


def test_a_journal_made_under_the_other_setting_is_good() -> None:
    """The setting may have been another when the record was made; the auditor is not told."""
    for made_under, read_under in ((CmBnb.KEEP, CmBnb.COLLECT), (CmBnb.COLLECT, CmBnb.KEEP)):
        books = Books()
        books.write(ALICE, command_of("adjust CM BNB 3"), NOON + 20)
        books.write(ALICE, AutoCollection(Trigger.API), NOON + 21, Rules(cm_bnb=made_under))
        assert books.findings(Rules(cm_bnb=read_under)) == []


@pytest.mark.parametrize(
    ("use", "found"),
    [
        (None, []),
        (QuotaUse(NOON, 5), []),
        (QuotaUse(NOON, 99), []),
        # What left the window may be missing.
        (QuotaUse(NOON, 3), []),
        (QuotaUse(0, 3), []),
        (QuotaUse(NOON, 2), [10]),
        (QuotaUse(0, 0), [10]),
        # A count that begins later need not hold what came before.
        (QuotaUse(LATER + 1, 2), []),
        (QuotaUse(LATER + 1, 1), [10]),
        (QuotaUse(LATER + 3, 0), []),
    ],
)
def test_a_quota_count_may_be_too_high_and_never_too_low(use: QuotaUse | None, found: list[int]) -> None:
    """Two collections at noon and three two hours later, which alone are left in the rolling hour."""
    books = Books()
    books.journal.clear()
    books.states = {ALICE: AccountState()}
    for now in (NOON, NOON, LATER, LATER + 1, LATER + 2):
        books.write(ALICE, AutoCollection(Trigger.API), now)
    books.states[ALICE].quotas = {} if use is None else {"api_hour": use}
    assert [finding.invariant for finding in books.findings()] == found


def test_findings_are_counted_without_bound_and_listed_within_one() -> None:
    auditor = Audit(Rules(), lambda account: True)
    state = AccountState(number=1)
    for place in range(LISTED + 5):
        auditor.expect(AccountId(place.to_bytes(16, "big")), state)
    auditor.finish()
    assert len([finding for finding in auditor.findings if finding.invariant == 9]) == LISTED
    assert auditor.counts[9] >= LISTED + 5
