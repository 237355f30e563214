"""The simulated store: a real engine that fails at every step, when the seed says so.

Over the engine in memory the failures are raised around its verbs. Over SQLite they are raised by the writer's
connection, so that the engine's own way of failing is what runs.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from catchment.store.base import StoreFailed, StoreUnknown
from tests.simulation.loop import Died


class Fault(StrEnum):
    """What can go wrong. The first six end in an answer, the next two in none."""

    BEGIN = "begin refused"
    LOAD = "load failed"
    APPEND = "append failed"
    COMMIT = "failed before commit"
    UNKNOWN_DONE = "unknown, committed"
    UNKNOWN_NOT = "unknown, not committed"
    DIES_BEFORE = "died before commit"
    DIES_AFTER = "died after commit"
    READ = "reading failed"
    SLOW_WRITE = "slow write"
    SLOW_READ = "slow reading"
    LOST = "answer lost on the way"
    KILLED = "server killed"


IN_TRANSACTION = tuple(Fault)[:8]


class Injected(StoreFailed):
    """A failure of our own making."""


class Faults:
    """Draws what goes wrong: `rate` is how often, from 0 to 1; `counts` is what did."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.rate = 0.0
        self.counts: Counter[str] = Counter()

    def draw(self, *kinds: Fault, share: float = 1.0) -> Fault | None:
        """One of the kinds, or None, which is what it mostly is. `share` is of the rate."""
        if not self.rate or self._rng.random() >= self.rate * share:
            return None
        fault = kinds[self._rng.randrange(len(kinds))]
        self.counts[fault] += 1
        return fault

    @contextmanager
    def none(self) -> Iterator[None]:
        """Nothing goes wrong inside."""
        rate, self.rate = self.rate, 0.0
        yield
        self.rate = rate

    def write_takes(self) -> float:
        """Simulated seconds that a batch takes on top."""
        return self._rng.uniform(1, 40) if self.draw(Fault.SLOW_WRITE, share=0.2) else 0.0

    def read_takes(self) -> float:
        return self._rng.uniform(0.1, 8) if self.draw(Fault.SLOW_READ, share=0.1) else 0.0


class SimulatedStore:
    """One process's view of the store. `looked_in_vain` is called when the keys' version could not be read."""

    READINGS = frozenset({"load", "tail", "touched", "history", "account", "account_named", "accounts", "key", "keys"})
    VERBS = READINGS | {"count_uses", "keys_version", "add_account", "add_key", "revoke_key"}

    def __init__(self, engine: Any, faults: Faults, looked_in_vain: Callable[[], None]) -> None:
        self._engine = engine
        self._faults = faults
        self._looked_in_vain = looked_in_vain
        self._connection: FailingConnection | None = None
        if hasattr(engine, "_writer"):
            self._connection = engine._writer = FailingConnection(engine._writer)
        for name in self.VERBS:
            setattr(self, name, self._failing(name, getattr(engine, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def _failing(self, name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._faults.draw(Fault.READ, share=0.3):
                if name == "keys_version":
                    self._looked_in_vain()
                raise Injected(f"{name} failed")
            return verb(*args, **kwargs)

        return call

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        fault = self._faults.draw(*IN_TRANSACTION)
        if self._connection is not None and fault not in {Fault.DIES_BEFORE, Fault.DIES_AFTER}:
            self._connection.fault = fault
            fault = None
        try:
            yield from self._transaction(fault)
        finally:
            if self._connection is not None and self._connection.fault is not None:  # its statement never came
                self._faults.counts[self._connection.fault] -= 1
                self._connection.fault = None

    def _transaction(self, fault: Fault | None) -> Iterator[Any]:
        if fault is Fault.BEGIN:
            raise Injected(fault)
        with self._engine.transaction() as transaction:
            yield _Transaction(transaction, fault) if fault in {Fault.LOAD, Fault.APPEND} else transaction
            match fault:
                case Fault.COMMIT:
                    raise Injected(fault)
                case Fault.UNKNOWN_NOT:
                    raise StoreUnknown(fault)
                case Fault.DIES_BEFORE:
                    raise Died
        if fault is Fault.UNKNOWN_DONE:
            raise StoreUnknown(fault)
        if fault is Fault.DIES_AFTER:
            raise Died


class _Transaction:
    def __init__(self, transaction: Any, fault: Fault) -> None:
        self._transaction = transaction
        self._fault = fault

    def load(self, accounts: Any) -> Any:
        if self._fault is Fault.LOAD:
            raise Injected(self._fault)
        return self._transaction.load(accounts)

    def append(self, records: Any, states: Any) -> Any:
        sequences = self._transaction.append(records, states)
        if self._fault is Fault.APPEND:
            raise Injected(self._fault)
        return sequences


class FailingConnection:
    """A connection on which one statement of the next transaction fails."""

    AT = {  # noqa: RUF012 - never changed
        Fault.BEGIN: "BEGIN",
        Fault.LOAD: "SELECT",
        Fault.APPEND: "INSERT INTO journal",
        Fault.COMMIT: "INSERT INTO recent",
        Fault.UNKNOWN_DONE: "COMMIT",
        Fault.UNKNOWN_NOT: "COMMIT",
    }

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.fault: Fault | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        fault = self.fault
        if fault is not None and statement.startswith(self.AT[fault]):
            self.fault = None
            if fault is Fault.UNKNOWN_DONE:
                self._connection.execute(statement)
            elif fault is Fault.UNKNOWN_NOT:
                self._connection.execute("ROLLBACK")
            raise sqlite3.OperationalError(fault)
        return self._connection.execute(statement, *values)
