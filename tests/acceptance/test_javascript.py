"""The exchange's own JavaScript SDK, and siebly's, under Node.js against the started program."""

from __future__ import annotations

import pytest

from tests.acceptance.javascript import Refused, node
from tests.acceptance.people import Credentials, Kind, Ring
from tests.acceptance.program import Program
from tests.acceptance.walk import held

KINDS = ("official", "siebly")


@pytest.mark.parametrize("client", KINDS)
def test_refusals_keep_code_and_sentence(program: Program, ring: Ring, client: str) -> None:
    with node(client, program, ring.credentials(f"{client}-others")) as asker:
        before = held(asker)
        for parameters, code, words in (
            ({"asset": "NOPE"}, -1108, "Invalid asset."),
            ({"asset": ""}, -1102, "'asset' was not sent"),
            ({"asset": "BNB"}, -1020, "This operation is not supported."),
            ({"asset": "USDT", "amount": 1}, -1128, "Combination of optional parameters"),
            ({"asset": "USDT", "amount": 0, "futureType": "UM"}, -4055, "Amount must be positive."),
            ({"asset": "BTC", "amount": 1, "futureType": "UM"}, -2018, "Balance is insufficient."),
        ):
            with pytest.raises(Refused) as refused:
                asker.ask("POST v1/asset-collection", **parameters)
            assert (refused.value.code, words in refused.value.message) == (code, True)
        assert held(asker) == before


@pytest.mark.parametrize("client", KINDS)
def test_keys_that_are_refused(program: Program, ring: Ring, client: str) -> None:
    for credentials, code in (
        (Credentials("unknown", Kind.HMAC, "x"), -2015),
        (Credentials(f"{client}-others", Kind.HMAC, "wrong"), -1022),
        (Credentials(f"{client}-rsa", Kind.ED25519, ring.credentials("x", Kind.ED25519).secret), -1022),
        (ring.credentials("reader"), -2015),
    ):
        with node(client, program, credentials) as asker, pytest.raises(Refused) as refused:
            asker.ask("POST v1/auto-collection")
        assert refused.value.code == code


@pytest.mark.parametrize("client", KINDS)
def test_429_and_418(strict: Program, ring: Ring, client: str) -> None:
    with node(client, strict, ring.credentials(f"{client}-others")) as asker:

        def refusal() -> Refused:
            with pytest.raises(Refused) as refused:
                asker.ask("POST v1/auto-collection")
            return refused.value

        told = [refusal() for _ in range(40)]  # the minute may end once on the way to the ban
    assert {one.code for one in told} == {-1003}
    assert "current limit is 700 requests per minute" in told[0].message
    assert "IP banned until" in told[-1].message
    if client == "official":
        assert {one.name for one in told} == {"TooManyRequestsError", "RateLimitBanError"}
