"""Every stock client plays the walk, with every kind of key, on every store."""

from __future__ import annotations

import pytest

from tests.acceptance.calls import CALLS, NO_METHOD, SERVED
from tests.acceptance.clients import CLIENTS
from tests.acceptance.people import Kind, Ring
from tests.acceptance.program import Program
from tests.acceptance.walk import check_walk


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_walks(program: Program, ring: Ring, name: str, kind: Kind) -> None:
    credentials = ring.credentials(f"{name}-{kind}", kind)
    with CLIENTS[name](program, credentials) as client:
        check_walk(client, program, credentials.api_key)


def test_the_walk_asks_every_endpoint() -> None:
    """Each client's own part of them is checked at the end of its walk."""
    assert set(CALLS) >= SERVED - NO_METHOD, "tests/acceptance/calls.txt names what clients call an endpoint"
