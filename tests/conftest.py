"""What every test shares: hypothesis never fails a test for being slow, because the machine may be; and a server for
databases, started when the first test asks for it."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import databases

hypothesis.settings.register_profile("house", deadline=None)
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
def postgres(postgres_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a store that is not made yet; its master key will not be the one of whoever runs the tests."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with databases.new_schema(postgres_server) as address:
        databases.spread_where_possible(address)
        yield address
