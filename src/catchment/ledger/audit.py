"""The numbered invariants, checked over a whole journal: each finding says which one, where, and what was expected.

 1  An account's records are numbered 1, 2, 3 ... without a gap.
 2  Every digest follows from the one before it and the record's text.
 3  Timestamps never run back within an account.
 4  Every transfer moves a positive amount between two different places.
 5  Every balance after a transfer is the balance before it, less or plus the amount; versions count by one.
 6  The eight places of every (account, asset) sum to zero.
 7  What is free or locked in Cross Margin is never negative; nothing is beyond 63 bits.
 8  Every record is what `decide` gives for the state before it: no money moved that the rules would not move.
 9  The stored state of an account is its journal, replayed.
10  Quota counts in the stored state are never lower than the journal's.
11  Per asset over the whole venue, all wallets and what is owed equal deposits less withdrawals, plus adjustments, plus
    what exchanges and interest brought in and took out.
12  Sequences rise without a gap, and every account of the journal exists.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec.structs import astuple

from catchment.asset import MAX_UNITS
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId, AccountState, Balance
from catchment.ledger.collection import CmBnb
from catchment.ledger.commands import (
    Adjustment,
    AutoExchange,
    Deposit,
    MarginAdjustment,
    MarginReason,
    NegativeInterest,
    Withdrawal,
)
from catchment.ledger.journal import Body, Record, Stored, digest_of
from catchment.ledger.ledger import apply, decided
from catchment.ledger.quota import Rules, use_of
from catchment.ledger.transfer import Transfer
from catchment.wallet import NON_NEGATIVE, Place

LISTED: Final = 1_000
"""How many findings of one invariant are kept word for word."""


class Finding(msgspec.Struct, frozen=True):
    """Where an invariant does not hold. `sequence` is 0 for a finding about a stored state or a total."""

    invariant: int
    account: bytes
    number: int
    sequence: int
    sentence: str


class Audit:
    """Reads a journal record by record, in the order of sequences, and holds every account's replayed state.

    Stored states are held against it with `expect`, at any time: one that is ahead of the journal read so far is
    compared once the journal has come to it. Memory grows with accounts, not with records.
    """

    def __init__(self, rules: Rules, enrolled: Callable[[AccountId], bool | None], *, whole: bool = True) -> None:
        """`enrolled` says whether an account is in Portfolio Margin, and None if there is no such account.

        Not `whole`: it is read the records of some accounts, each account's all in order; whether sequences have gaps
        and what the venue holds in all is then for whoever has the other parts.
        """
        self._rules = rules
        self._readings = [
            Rules(choice, False, *(MAX_UNITS,) * 6)
            for choice in sorted(CmBnb, key=lambda choice: choice is not rules.cm_bnb)
        ]
        self._enrolled = enrolled
        self._whole = whole
        self._states: dict[AccountId, AccountState] = {}
        self._uses: dict[str, dict[AccountId, list[int]]] = defaultdict(dict)
        self._awaited: dict[AccountId, AccountState] = {}
        self._compared: set[AccountId] = set()
        self._unsound: set[AccountId] = set()
        self._names: dict[str, str] = {}
        self._sequence = 0
        self._closed = False
        self.records = 0
        self.brought: dict[str, int] = defaultdict(int)
        """Units of every asset that the commands themselves say they bring in, less what they take out."""
        self.findings: list[Finding] = []
        """The first findings of each invariant, at most `LISTED` of each."""
        self.counts: Counter[int] = Counter()
        """How many findings each invariant had."""

    def read(self, stored: Stored) -> None:
        """Check one more record."""
        record = stored.record
        if self._whole:
            if stored.sequence != self._sequence + 1:
                self._find(12, stored, gap(stored.sequence, self._sequence))
            self._sequence = stored.sequence
        state = self._states.get(record.account)
        if state is None and self._closed:
            return
        self.records += 1
        state = state or self._state(record.account)
        if state is None:
            self._find(12, stored, "the account does not exist")
            state = self._states[record.account] = AccountState()
        body = record.body
        self._chain(state, stored)
        self._arithmetic(state, stored, body)
        self._decision(state, stored, body)
        self._follow(state, record, body)
        if type(body.command) in _BRINGING:
            self._count(body)
        if self._awaited:
            awaited = self._awaited.get(record.account)
            if awaited is not None and awaited.number <= state.number:
                self._compare(record.account, self._awaited.pop(record.account), state)

    def expect(self, account: AccountId, stored: AccountState) -> None:
        """Hold a stored state against the journal."""
        state = self._state(account) or AccountState()
        self._compared.add(account)
        if stored.number > state.number:
            self._awaited[account] = stored
        else:
            self._compare(account, stored, state)

    def close(self) -> None:
        """Pass over the records of accounts that were not met so far: they were made while the audit was under way."""
        self._closed = True

    def unheld(self) -> list[AccountId]:
        """Accounts with records whose stored state was not held against the journal yet."""
        return [account for account, state in self._states.items() if state.number and account not in self._compared]

    def settle(self) -> None:
        """After the last record: states the journal never came to, accounts without a state."""
        for account, stored in self._awaited.items():
            self._compare(account, stored, self._state(account) or AccountState())
        for account in self.unheld():
            self._about(9, account, self._states[account].number, "the account has records and no stored state")

    def finish(self) -> None:
        """After the last record of the whole journal: `settle`, and then totals."""
        self.settle()
        for finding in unequal(self.totals(), self.brought):
            self._note(finding)

    def totals(self) -> dict[str, dict[Place, int]]:
        """Units of every asset over all accounts, by place, as of the last record read."""
        sums: dict[str, dict[Place, int]] = {}
        for state in self._states.values():
            for asset, balance in state.balances.items():
                places = sums.setdefault(asset, dict.fromkeys(Place, 0))
                for place in Place:
                    places[place] += balance.at(place)
        return sums

    def _state(self, account: AccountId) -> AccountState | None:
        state = self._states.get(account)
        if state is None:
            flag = self._enrolled(account)
            if flag is not None:
                state = self._states[account] = AccountState(portfolio_margin=flag)
        return state

    def _compare(self, account: AccountId, stored: AccountState, replayed: AccountState) -> None:
        for field in ("portfolio_margin", "number", "timestamp", "digest", "standing"):
            mine, theirs = getattr(stored, field), getattr(replayed, field)
            if mine != theirs:
                self._about(9, account, stored.number, f"stored {field} {mine!r} is not {theirs!r}")
        for asset in sorted(stored.balances.keys() | replayed.balances.keys()):
            balance, again = stored.balances.get(asset, Balance()), replayed.balances.get(asset, Balance())
            if balance != again:
                self._about(9, account, stored.number, f"stored {asset} {balance} is not {again}")
        self._quotas(account, stored)

    def _count(self, body: Body) -> None:
        """What the command itself says it brings in or takes out, apart from any transfer."""
        command = body.command
        match command:
            case Deposit() | Adjustment():
                self.brought[command.asset] += command.amount
            case Withdrawal():
                self.brought[command.asset] -= command.amount
            case MarginAdjustment(reason=MarginReason.INTEREST):
                self.brought[command.asset] -= command.amount
            case NegativeInterest() | AutoExchange():
                for transfer in body.transfers:
                    self.brought[transfer.asset] -= transfer.amount * (transfer.target is Place.MARKET)
                    self.brought[transfer.asset] += transfer.amount * (transfer.source is Place.MARKET)

    def _chain(self, state: AccountState, stored: Stored) -> None:
        record = stored.record
        if record.number != state.number + 1:
            self._find(1, stored, f"number {record.number} follows {state.number}")
        digest = digest_of(record.account, record.number, record.timestamp, record.text, state.digest)
        if digest != record.digest:
            self._find(2, stored, f"digest {record.digest.hex()} is not {digest.hex()}")
        if record.timestamp < state.timestamp:
            self._find(3, stored, f"time {record.timestamp} follows {state.timestamp}")

    def _arithmetic(self, state: AccountState, stored: Stored, body: Body) -> None:
        if self._sound(state, stored.record.account, body):
            return
        places: dict[str, dict[Place, int]] = {}
        versions: dict[str, int] = {}
        found = self.counts.total()
        for transfer in body.transfers:
            asset = transfer.asset
            balance = state.balances.get(asset, Balance())
            after = places.setdefault(asset, {place: balance.at(place) for place in Place})
            versions[asset] = versions.get(asset, balance.version) + 1
            self._transfer(stored, transfer, after, versions[asset])
            after[transfer.source], after[transfer.target] = transfer.source_after, transfer.target_after
        for asset, after in places.items():
            if sum(after.values()):
                self._find(6, stored, f"the places of {asset} sum to {sum(after.values())}")
        if self.counts.total() > found:
            self._unsound.add(stored.record.account)

    def _sound(self, state: AccountState, account: AccountId, body: Body) -> bool:
        """Whether invariants 4 to 7 surely hold: the quick answer for nearly every record, or False for a closer look.

        Places that summed to zero still do if one gains what another loses; an account in which something was found
        is therefore never quick again.
        """
        if account in self._unsound:
            return False
        seen: set[str] = set()
        for transfer in body.transfers:
            asset, amount, source, target, source_after, target_after, version = astuple(transfer)
            balance = state.balances.get(asset, _NOTHING)
            if (
                asset in seen
                or amount <= 0
                or source is target
                or source_after != getattr(balance, source) - amount
                or target_after != getattr(balance, target) + amount
                or version != balance.version + 1
                or not -MAX_UNITS <= source_after <= MAX_UNITS
                or not -MAX_UNITS <= target_after <= MAX_UNITS
                or (source_after < 0 and source in NON_NEGATIVE)
                or (target_after < 0 and target in NON_NEGATIVE)
            ):
                return False
            seen.add(asset)
        return True

    def _transfer(self, stored: Stored, transfer: Transfer, before: dict[Place, int], version: int) -> None:
        if transfer.amount <= 0 or transfer.source is transfer.target:
            self._find(4, stored, f"{transfer} does not move a positive amount between two places")
        for entry in transfer.entries:
            expected = before[entry.place] + entry.amount
            if entry.balance_after != expected:
                self._find(5, stored, f"{entry.asset} {entry.place} is {entry.balance_after}, not {expected}")
            if entry.version != version:
                self._find(5, stored, f"{entry.asset} has version {entry.version}, not {version}")
            if abs(entry.balance_after) > MAX_UNITS or (entry.balance_after < 0 and entry.place in NON_NEGATIVE):
                self._find(7, stored, f"{entry.asset} {entry.place} is {entry.balance_after}")

    def _decision(self, state: AccountState, stored: Stored, body: Body) -> None:
        """Either reading of the settings will do: they may have been others at the time. Quotas: see `_quotas`."""
        now = max(stored.record.timestamp, state.timestamp)
        answers = []
        for rules in self._readings:
            again = decided(state, body.command, now, rules)
            if again == body:
                return
            answers.append(again)
        first = answers[0]
        if isinstance(first, Rejection):
            self._find(8, stored, f"the rules refuse it: {first.sentence}")
        else:
            self._find(8, stored, f"the rules move {_said(first)}, the record {_said(body)}")

    def _follow(self, state: AccountState, record: Record, body: Body) -> None:
        for transfer in body.transfers:
            if (
                transfer.asset not in state.balances
            ):  # every account's own copy of a name would take more than its money
                state.balances[self._names.setdefault(transfer.asset, transfer.asset)] = Balance()
        apply(state, record, self._rules)
        if quotas := self._rules.quotas(body.command):
            now = record.timestamp
            uses = self._uses[use_of(body.command)].setdefault(record.account, [])
            uses.append(now)
            oldest = min(quota.window.start(now) for quota in quotas)
            if uses[0] < oldest:
                del uses[: bisect_left(uses, oldest)]

    def _quotas(self, account: AccountId, stored: AccountState) -> None:
        for quota in self._rules.in_force:
            use = stored.quotas.get(quota.name)
            if use is None:
                continue
            start = max(use.since, quota.window.start(stored.timestamp))
            uses = [self._uses[use].get(account, []) for use in quota.uses]
            counted = sum(len(times) - bisect_left(times, start) for times in uses)
            if use.used < counted:
                self._about(10, account, stored.number, f"{quota.name} says {use.used} uses, the journal {counted}")

    def _find(self, invariant: int, stored: Stored, sentence: str) -> None:
        record = stored.record
        self._note(Finding(invariant, record.account, record.number, stored.sequence, sentence))

    def _about(self, invariant: int, account: AccountId, number: int, sentence: str) -> None:
        self._note(Finding(invariant, account, number, 0, sentence))

    def _note(self, finding: Finding) -> None:
        """A store with a finding for every record must not fill the memory with them."""
        self.counts[finding.invariant] += 1
        if self.counts[finding.invariant] <= LISTED:
            self.findings.append(finding)


def gap(sequence: int, before: int) -> str:
    """The sentence of invariant 12 about a sequence that does not follow the one before it."""
    return f"sequence {sequence} follows {before}"


def unequal(totals: Mapping[str, Mapping[Place, int]], brought: Mapping[str, int]) -> list[Finding]:
    """The findings of invariant 11, given what the whole venue holds by place and what was brought in."""
    findings = []
    for asset in sorted(totals.keys() | brought.keys()):
        places, came = totals.get(asset, {}), brought.get(asset, 0)
        held = sum(units for place, units in places.items() if place not in {Place.OUTSIDE, Place.MARKET})
        if held != came:
            findings.append(Finding(11, b"", 0, 0, f"the venue holds {held} units of {asset}; {came} were brought"))
    return findings


def _said(body: Body) -> object:
    """What was moved, and what was found if anything was."""
    return (body.transfers, body.found) if body.found else body.transfers


_NOTHING = Balance()
_BRINGING: Final = frozenset({Deposit, Adjustment, Withdrawal, MarginAdjustment, NegativeInterest, AutoExchange})
