"""From an address to a store, or to a refusal that names the address."""

from pathlib import Path

import pytest

from catchment.errors import Refused
from catchment.store.memory import MemoryStore
from catchment.store.open import default_path, open_store, sqlite_path
from catchment.store.sqlite import SqliteStore


def test_memory() -> None:
    store = open_store("memory:")
    assert isinstance(store, MemoryStore)
    assert (store.address, sqlite_path("memory:")) == ("memory:", None)


def test_a_file_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "store.db"
    store = open_store(f"sqlite:///{path}")
    assert isinstance(store, SqliteStore)
    assert store.address == f"sqlite:///{path}"
    assert path.exists()
    store.close()


def test_where_addresses_lead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sqlite_path("sqlite:////var/lib/x.db") == Path("/var/lib/x.db")
    assert sqlite_path("sqlite:///x.db") == Path("x.db")
    assert sqlite_path("sqlite:///~/x.db") == tmp_path / "x.db"
    assert sqlite_path("") == default_path()
    assert default_path().name == "catchment.db"


@pytest.mark.parametrize(
    "address", ["x.db", "sqlite:", "sqlite://x.db", "sqlite:///", "postgres:///x", "memory", "SQLITE:///x", ":///x"]
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(Refused) as refused:
        open_store(address)
    assert refused.value.rejection.name == "BAD_STORE_ADDRESS"
    assert f"'{address}'" in str(refused.value)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused) as refused:
        open_store(f"sqlite:///{tmp_path}/file/store.db")
    assert refused.value.rejection.name == "BAD_STORE_ADDRESS"
