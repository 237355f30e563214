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
11  Per asset over the whole venue, all wallets and what is owed equal deposits less withdrawals plus adjustments.
12  Sequences rise without a gap, and every account of the journal exists.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Final

import msgspec

from catchment.asset import MAX_UNITS
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId, AccountState, Balance
from catchment.ledger.collection import CmBnb
from catchment.ledger.commands import (
    Adjustment,
    AutoCollection,
    Deposit,
    MarginAdjustment,
    MarginReason,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Record, Stored, digest_of
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules, Window
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

    def __init__(self, rules: Rules, enrolled: Callable[[AccountId], bool | None]) -> None:
        """`enrolled` says whether an account is in Portfolio Margin, and None if there is no such account."""
        self._rules = rules
        self._readings = [
            Rules(cm_bnb=choice, api_per_hour=MAX_UNITS, button_per_day=MAX_UNITS)
            for choice in sorted(CmBnb, key=lambda choice: choice is not rules.cm_bnb)
        ]
        self._enrolled = enrolled
        self._states: dict[AccountId, AccountState] = {}
        self._uses: dict[AccountId, deque[tuple[int, Trigger]]] = defaultdict(deque)
        self._awaited: dict[AccountId, AccountState] = {}
        self._compared: set[AccountId] = set()
        self._brought: dict[str, int] = defaultdict(int)
        self._sequence = 0
        self.records = 0
        self.findings: list[Finding] = []
        """The first findings of each invariant, at most `LISTED` of each."""
        self.counts: Counter[int] = Counter()
        """How many findings each invariant had."""

    def read(self, stored: Stored) -> None:
        """Check one more record."""
        record = stored.record
        self.records += 1
        if stored.sequence != self._sequence + 1:
            self._find(12, stored, f"sequence {stored.sequence} follows {self._sequence}")
        self._sequence = stored.sequence
        state = self._state(record.account)
        if state is None:
            self._find(12, stored, "the account does not exist")
            state = self._states[record.account] = AccountState()
        self._chain(state, stored)
        self._arithmetic(state, stored)
        self._decision(state, stored)
        self._follow(state, record)
        self._count(record)
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

    def unheld(self) -> list[AccountId]:
        """Accounts with records whose stored state was not held against the journal yet."""
        return [account for account, state in self._states.items() if state.number and account not in self._compared]

    def finish(self) -> None:
        """After the last record: states the journal never came to, accounts without a state, totals."""
        for account, stored in self._awaited.items():
            self._compare(account, stored, self._state(account) or AccountState())
        for account in self.unheld():
            self._about(9, account, self._states[account].number, "the account has records and no stored state")
        totals = self.totals()
        for asset in sorted(totals.keys() | self._brought.keys()):
            places = totals.get(asset, {})
            held = sum(units for place, units in places.items() if place not in {Place.OUTSIDE, Place.MARKET})
            if held != self._brought[asset]:
                sentence = f"the venue holds {held} units of {asset}; {self._brought[asset]} were brought"
                self._about(11, AccountId(b""), 0, sentence)

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
        for field in ("portfolio_margin", "number", "timestamp", "digest"):
            mine, theirs = getattr(stored, field), getattr(replayed, field)
            if mine != theirs:
                self._about(9, account, stored.number, f"stored {field} {mine!r} is not {theirs!r}")
        for asset in sorted(stored.balances.keys() | replayed.balances.keys()):
            balance, again = stored.balances.get(asset, Balance()), replayed.balances.get(asset, Balance())
            if balance != again:
                self._about(9, account, stored.number, f"stored {asset} {balance} is not {again}")
        self._quotas(account, stored)

    def _count(self, record: Record) -> None:
        """What the command itself says it brings in or takes out, apart from any transfer."""
        command = record.command
        match command:
            case Deposit() | Adjustment():
                self._brought[command.asset] += command.amount
            case Withdrawal():
                self._brought[command.asset] -= command.amount
            case MarginAdjustment(reason=MarginReason.INTEREST):
                self._brought[command.asset] -= command.amount

    def _chain(self, state: AccountState, stored: Stored) -> None:
        record = stored.record
        if record.number != state.number + 1:
            self._find(1, stored, f"number {record.number} follows {state.number}")
        digest = digest_of(record.account, record.number, record.timestamp, record.text, state.digest)
        if digest != record.digest:
            self._find(2, stored, f"digest {record.digest.hex()} is not {digest.hex()}")
        if record.timestamp < state.timestamp:
            self._find(3, stored, f"time {record.timestamp} follows {state.timestamp}")

    def _arithmetic(self, state: AccountState, stored: Stored) -> None:
        places: dict[str, dict[Place, int]] = {}
        versions: dict[str, int] = {}
        for transfer in stored.record.transfers:
            asset = transfer.asset
            balance = state.balances.get(asset, Balance())
            after = places.setdefault(asset, {place: balance.at(place) for place in Place})
            versions[asset] = versions.get(asset, balance.version) + 1
            self._transfer(stored, transfer, after, versions[asset])
            after[transfer.source], after[transfer.target] = transfer.source_after, transfer.target_after
        for asset, after in places.items():
            if sum(after.values()):
                self._find(6, stored, f"the places of {asset} sum to {sum(after.values())}")

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

    def _decision(self, state: AccountState, stored: Stored) -> None:
        """Either reading of the settings will do: they may have been others at the time. Quotas: see `_quotas`."""
        record = stored.record
        answers = []
        for rules in self._readings:
            again = decide(record.account, state, record.command, record.timestamp, rules)
            if not isinstance(again, Rejection) and again.body == record.body:
                return
            answers.append(again)
        if isinstance(answers[0], Rejection):
            self._find(8, stored, f"the rules refuse it: {answers[0].sentence}")
        else:
            self._find(8, stored, f"the rules move {answers[0].transfers}, the record {record.transfers}")

    def _follow(self, state: AccountState, record: Record) -> None:
        apply(state, record, self._rules)
        if isinstance(record.command, AutoCollection):
            uses = self._uses[record.account]
            uses.append((record.timestamp, record.command.trigger))
            now = record.timestamp
            oldest = min(Window.ROLLING_HOUR.start(now), Window.UTC_DAY.start(now))
            while uses[0][0] < oldest:
                uses.popleft()

    def _quotas(self, account: AccountId, stored: AccountState) -> None:
        uses = self._uses.get(account, deque())
        for quota in self._rules.in_force:
            use = stored.quotas.get(quota.name)
            if use is None:
                continue
            start = max(use.since, quota.window.start(stored.timestamp))
            counted = sum(1 for time, trigger in uses if trigger in quota.triggers and time >= start)
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
