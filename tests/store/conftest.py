"""Every engine, as a place where a store can be opened, and again if what it keeps lasts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from catchment.store.base import Store
from catchment.store.memory import MemoryStore
from catchment.store.postgres import PostgresStore
from catchment.store.sqlite import SqliteStore


@dataclass
class Engine:
    """`open` gives a store on the same place each time; `lasts` says whether it finds there what was kept."""

    open_one: Callable[[], Store]
    lasts: bool
    opened: list[Store] = field(default_factory=list)

    def open(self) -> Store:
        store = self.open_one()
        self.opened.append(store)
        return store

    def reopen(self, store: Store) -> Store:
        """A store that lasts is closed and opened again; another one is handed back as it is."""
        if not self.lasts:
            return store
        store.close()
        return self.open()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    match request.param:
        case "memory":
            made = Engine(MemoryStore, lasts=False)
        case "sqlite":
            made = Engine(lambda: SqliteStore(tmp_path / "store.db"), lasts=True)
        case _:
            address = request.getfixturevalue("postgres")
            made = Engine(lambda: PostgresStore(address), lasts=True)
    yield made
    for store in made.opened:
        store.close()


@pytest.fixture
def store(engine: Engine) -> Store:
    return engine.open()
