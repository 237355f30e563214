"""What every test shares: hypothesis never fails a test for being slow, because the machine may be; and a server for
databases, started when the first test asks for it."""

import itertools
import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests import databases

hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

_NUMBERS = itertools.count(1)
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
def postgres(postgres_server: str) -> Iterator[str]:
    """The address of a schema in which nothing is yet. A database for each test takes longer."""
    name = f"catchment_test_{os.getpid()}_{next(_NUMBERS)}"
    databases.execute(postgres_server, f"CREATE SCHEMA {name}")
    yield databases.in_schema(postgres_server, name)
    databases.execute(postgres_server, f"DROP SCHEMA {name} CASCADE")
