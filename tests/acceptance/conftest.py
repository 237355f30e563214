"""The program, started once for all stock clients on each store, and once more with hardly any weight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests import databases
from tests.acceptance.people import Kind, Ring
from tests.acceptance.program import Program, running

pytest.register_assert_rewrite("tests.acceptance.walk", "tests.acceptance.walk_on")

SDKS = (
    "sdk-others",
    "sdk-stream",
    "sdk-refused",
    "sdk-pro",
    "python-binance-others",
    "official-others",
    "siebly-others",
)
CCXTS = ("ccxt-others", "ccxt-pro", "ccxt-loans", "ccxt-default", "ccxt-default-async")
OTHERS = (*SDKS, *CCXTS, "raw", "listeners")
"""Who tries what is not the walk."""


@pytest.fixture(scope="session")
def ring() -> Ring:
    return Ring()


@pytest.fixture(scope="session")
def people(ring: Ring) -> str:
    from tests.acceptance.clients import CLIENTS  # noqa: PLC0415 - after the walk was registered

    walkers = [ring.account(f"{client}-{kind}", kind) for client in CLIENTS for kind in Kind]
    others = [ring.account(name) for name in OTHERS]
    raw = [ring.account(f"raw-{kind}", kind) for kind in (Kind.RSA, Kind.ED25519)]
    return "\n".join([*walkers, *others, *raw, ring.account("reader", permissions='"READ"')])


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, people: str) -> Iterator[Program]:
    """All tests share one address, so it has more weight than the usual 6000 a minute."""
    with ExitStack() as stack:
        store = ""
        if request.param == "postgres":
            store = stack.enter_context(databases.new_schema(request.getfixturevalue("postgres_server")))
        folder = tmp_path_factory.mktemp("venue")
        yield stack.enter_context(running(folder, people, "--weight-per-minute", "10000000", store=store))


@pytest.fixture
def strict(tmp_path_factory: pytest.TempPathFactory, people: str) -> Iterator[Program]:
    """A minute here has less weight than one auto-collection, so the first is refused whenever the minute began."""
    with running(tmp_path_factory.mktemp("strict"), people, "--weight-per-minute", "700") as program:
        yield program
