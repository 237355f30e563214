"""What every test shares: hypothesis never fails a test for being slow, because the machine may be, and draws other
examples each time, in CI too; and a server for databases, started when the first test asks for it."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import databases

hypothesis.settings.register_profile("house", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.load_profile("house")

_SERVER = os.environ.get(databases.SERVER_VARIABLE, "")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server that all tests share."""
    if _SERVER:
        yield _SERVER
    else:
        with databases.own_server() as server:
            yield server.get_uri()


@pytest.fixture
def one_machine(postgres_server: str) -> None:
    """For what can only be seen where one server has all rows: its plans, its waiting locks, its count of deadlocks."""
    if databases.is_cluster(postgres_server):
        pytest.skip("looks at the rows' own server, and a cluster's coordinator is not that")


@pytest.fixture
def unmade(postgres_server: str) -> Iterator[str]:
    """The address of a store that is not made yet, nor will be by a fixture."""
    with databases.new_schema(postgres_server) as address:
        yield address


@pytest.fixture
def cluster(postgres_server: str, unmade: str) -> str:
    """The address of a store that is not made yet, on a Citus coordinator."""
    if not databases.is_cluster(postgres_server):
        pytest.skip(f"{databases.SERVER_VARIABLE} names no Citus coordinator")
    return unmade


@pytest.fixture
def postgres(postgres_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a store that is not made yet, but for a cluster's, which is spread; its master key will not be the
    one of whoever runs the tests."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with databases.new_schema(postgres_server) as address:
        databases.spread_where_possible(address)
        yield address
