"""From an address to a store, or to a refusal that names the address."""

import sys
from pathlib import Path

import pytest

from catchment.errors import Refused
from catchment.store.memory import MemoryStore
from catchment.store.open import default_path, master_key_path, open_existing, open_store, sqlite_path
from catchment.store.sqlite import SqliteStore
from tests import databases


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


def test_where_master_keys_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert master_key_path("memory:") is None
    assert master_key_path("sqlite:////var/lib/x.db") == Path("/var/lib/x.db.key")
    path = master_key_path("postgresql://db/venue")
    assert path is not None
    assert (path.name, path.is_relative_to(tmp_path)) == ("postgresql.key", True)


def test_a_store_that_must_be_there_is_not_made(unmade: str, tmp_path: Path) -> None:
    for address in (f"sqlite:///{tmp_path}/none.db", "memory:", unmade):
        with pytest.raises(Refused, match="there is no such store"):
            open_existing(address)
    assert not databases.value(unmade, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
    open_store(unmade).close()
    open_existing(unmade).close()


def test_without_the_driver_a_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("asyncpg", "catchment.store.postgres", "catchment.store.connections"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(Refused) as refused:
        open_store("postgresql://me:s3cret@db/venue")
    assert refused.value.rejection.name == "BAD_STORE_ADDRESS"
    assert "'postgresql://me@db/venue'" in str(refused.value)
    assert "pip install 'catchment[postgres]'" in str(refused.value)


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
