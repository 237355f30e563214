"""The order of refusals, the edges of the time window, and who may pass with which key from where."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from catchment.errors import Rejection
from catchment.limits import MAX_BODY_BYTES, MAX_QUERY_BYTES
from catchment.venue import NewKey
from tests.papi.desk import HERE, NOW, Desk, Key, ed25519_key, hmac_key, new_rsa, open_desk, plain, public_pem, rsa_key

PEOPLE = """
[[account]]
name = "alice"
[account.UM]
USDT = "5"

[[account.key]]
api_key = "alice"
secret = "alice-secret"
[[account.key]]
api_key = "reader"
secret = "reader-secret"
permissions = ["READ"]
[[account.key]]
api_key = "trader"
secret = "trader-secret"
permissions = ["TRADE"]
[[account.key]]
api_key = "nobody"
secret = "nobody-secret"
permissions = []
[[account.key]]
api_key = "office"
secret = "office-secret"
ip_allow = ["10.1.2.3", "192.168.7.0/24", "2001:db8::1", "2001:db8:77::/48"]

[[account]]
name = "outside"
portfolio_margin = false
[[account.key]]
api_key = "outside"
secret = "outside-secret"
"""

ALICE = plain("alice")
COLLECT = "/papi/v1/asset-collection"


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


# The order -----------------------------------------------------------------------------------------------------------

ORDER = {
    "weight": {(429, -1003), (418, -1003)},
    "query size": {(414, -1013)},
    "body size": {(413, -1013)},
    "text": {(400, -1101)},
    "key": {(401, -2015)},
    "time": {(400, -1021)},
    "signature": {(400, -1022)},
    "permission": {(401, -2015)},
    "parameters": {(400, -1102)},
}
EXHAUSTED = "10.0.0.9"


def faulty(desk: Desk, faults: set[str]) -> tuple[int, int | None]:
    """A collection of USDT with these faults and no other."""
    key = plain("reader") if "permission" in faults else ALICE
    query = b"" if "parameters" in faults else b"asset=USDT&"
    query += b"a=1&a=2&" if "text" in faults else b""
    query += b"".join(b"p%d=%s&" % (number, b"A" * 4_000) for number in range(5)) if "query size" in faults else b""
    query += b"timestamp=%d" % (NOW - (5_001 if "time" in faults else 0))
    body = b"z=" + b"A" * MAX_BODY_BYTES if "body size" in faults else b""
    signature = key.sign(query + body)
    if "signature" in faults:
        signature = signature[:-1] + (b"0" if signature[-1:] != b"0" else b"1")
    return desk.send(
        "POST",
        COLLECT,
        query + b"&signature=" + signature,
        body,
        "unknown" if "key" in faults else key.api_key,
        EXHAUSTED if "weight" in faults else HERE,
    ).outcome


def test_the_first_refusal_wins_in_every_combination_of_faults() -> None:
    with open_desk(PEOPLE, weight_per_minute=20_000) as desk:
        for _ in range(27):
            desk.post("auto-collection", ALICE, address=EXHAUSTED)
        before = desk.books()
        for chosen in product((False, True), repeat=len(ORDER)):
            faults = [fault for fault, there in zip(ORDER, chosen, strict=True) if there]
            if faults:
                assert faulty(desk, set(faults)) in ORDER[faults[0]], faults
        assert desk.books() == before
        assert faulty(desk, set()) == (200, None)


def test_a_missing_key_goes_before_everything_that_is_signed(desk: Desk) -> None:
    for api_key in (None, b"", b"a b", b"\xe4\xbd\xa0", b"k" * 129, b"a\x00b"):
        answer = desk.send("POST", COLLECT, b"", b"", api_key)
        assert answer.outcome == (401, -2014)
        assert answer.json["msg"] == "API-key format invalid."


def test_within_the_window_each_check_has_its_turn(desk: Desk) -> None:
    """timestamp missing, timestamp no number, recvWindow empty, no number, too large, then the two edges."""
    turns = [
        ("recvWindow=junk", -1102, "timestamp"),
        ("timestamp=&recvWindow=junk", -1102, "timestamp"),
        ("timestamp=junk&recvWindow=junk", -1100, "timestamp"),
        (f"timestamp={NOW - 10**6}&recvWindow=", -1105, "recvWindow"),
        (f"timestamp={NOW - 10**6}&recvWindow=junk", -1100, "recvWindow"),
        (f"timestamp={NOW - 10**6}&recvWindow=60001", -1131, "recvWindow"),
        (f"timestamp={NOW - 10**6}", -1021, "outside"),
        (f"timestamp={NOW + 10**6}", -1021, "ahead"),
        (f"timestamp={NOW}", -1102, "signature"),
        (f"timestamp={NOW}&signature=", -1102, "signature"),
    ]
    for query, code, word in turns:
        answer = desk.send("POST", COLLECT, query.encode(), b"", "alice")
        assert answer.outcome == (400, code), query
        assert word in answer.json["msg"], query


# The window ----------------------------------------------------------------------------------------------------------

# fmt: off
EDGES = (
    # timestamp - now   recvWindow   answer
    (               0,  None,        None),
    (             999,  None,        None),
    (           1_000,  None,        "Timestamp for this request was 1000ms ahead of the server's time."),
    (          -5_000,  None,        None),
    (          -5_001,  None,        "Timestamp for this request is outside of the recvWindow."),
    (               0,  0,           None),
    (             999,  0,           None),
    (              -1,  0,           "Timestamp for this request is outside of the recvWindow."),
    (         -10_000,  10_000,      None),
    (         -10_001,  10_000,      "Timestamp for this request is outside of the recvWindow."),
    (         -60_000,  60_000,      None),
    (         -60_001,  60_000,      "Timestamp for this request is outside of the recvWindow."),
    (           1_000,  60_000,      "Timestamp for this request was 1000ms ahead of the server's time."),
    (               0,  60_001,      "recvWindow must be less than 60000"),
    (               0,  10**20 - 1,  "recvWindow must be less than 60000"),
    (            -NOW,  60_000,      "Timestamp for this request is outside of the recvWindow."),
    (10**20 - 1 - NOW,  60_000,      "Timestamp for this request was 1000ms ahead of the server's time."),
)
# fmt: on


@pytest.mark.parametrize(("offset", "window", "sentence"), EDGES)
def test_the_edges_of_the_window(desk: Desk, offset: int, window: int | None, sentence: str | None) -> None:
    parameters = {} if window is None else {"recvWindow": window}
    answer = desk.send("GET", "/papi/v1/balance", desk.signed(ALICE, parameters, NOW + offset), b"", "alice")
    if sentence is None:
        assert answer.status == 200
    else:
        assert answer.status == 400
        assert answer.json["msg"] == sentence
        assert answer.code == (-1131 if "recvWindow must" in sentence else -1021)


# Who may pass --------------------------------------------------------------------------------------------------------

# fmt: off
PASSES = (
    # key       reads  trades
    ("alice",   True,  True),
    ("reader",  True,  False),
    ("trader",  False, True),
    ("nobody",  False, False),
    ("outside", False, False),
)
ADDRESSES = (
    ("10.1.2.3",             True),
    ("10.1.2.4",             False),
    ("192.168.7.0",          True),
    ("192.168.7.255",        True),
    ("192.168.8.0",          False),
    ("2001:db8::1",          True),
    ("2001:0db8:0:0::0001",  True),
    ("2001:db8::2",          False),
    ("2001:db8:77:1::9",     True),
    ("2001:db8:78::",        False),
    ("::ffff:10.1.2.3",      True),   # what a socket for both families calls an IPv4 caller
    ("::ffff:10.1.2.4",      False),
    ("127.0.0.1",            False),
    ("",                     False),
    ("not an address",       False),
    (None,                   False),  # a socket without addresses
)
# fmt: on


@pytest.mark.parametrize(("api_key", "reads", "trades"), PASSES)
def test_permissions(desk: Desk, api_key: str, reads: bool, trades: bool) -> None:
    key = plain(api_key)
    for path in ("balance", "account", "um/account", "cm/account", "um/income", "cm/income"):
        assert desk.get(path, key).outcome == ((200, None) if reads else (401, -2015))
    for path, parameters in (("auto-collection", ""), ("asset-collection", "asset=USDT")):
        assert desk.post(path, key, parameters).outcome == ((200, None) if trades else (401, -2015))


@pytest.mark.parametrize(("address", "allowed"), ADDRESSES)
def test_the_allow_list(desk: Desk, address: str | None, allowed: bool) -> None:
    answer = desk.get("balance", plain("office"), address=address)
    assert answer.outcome == ((200, None) if allowed else (401, -2015))


def test_a_refused_key_is_told_the_address(desk: Desk) -> None:
    """The sentence seen live ends so, for whatever reason the key was refused."""
    for key, address in (
        (plain("outside"), "10.9.9.9"),
        (plain("office"), "2001:db8::9"),
        (plain("unknown"), "10.9.9.8"),
    ):
        answer = desk.get("account", key, address=address)
        assert answer.status == 401
        assert answer.json == {
            "code": -2015,
            "msg": f"Invalid API-key, IP, or permissions for action., request ip: {address}",
        }


def test_a_revoked_key_ends_at_once(desk: Desk) -> None:
    assert desk.get("balance", ALICE).status == 200
    assert desk.run(desk.venue.revoke_key("alice")) is None
    assert desk.get("balance", ALICE).outcome == (401, -2015)
    assert desk.post("auto-collection", ALICE).outcome == (401, -2015)
    assert desk.get("balance", plain("reader")).status == 200


def test_a_new_key_works_at_once_even_if_it_was_refused_before(desk: Desk) -> None:
    key = plain("late")
    assert desk.get("balance", key).outcome == (401, -2015)
    made = desk.run(desk.venue.add_key(desk.account("alice"), api_key="late", secret="late-secret"))
    assert isinstance(made, NewKey)
    assert desk.get("balance", key).status == 200


def test_names_of_keys_and_secrets_are_case_sensitive(desk: Desk) -> None:
    assert desk.get("balance", hmac_key("ALICE", "alice-secret")).outcome == (401, -2015)
    assert desk.get("balance", hmac_key("alice", "Alice-secret")).outcome == (400, -1022)


def test_the_first_of_two_key_headers_counts(desk: Desk) -> None:
    """No client sends two; what must not happen is that one is checked and the other is used."""

    async def both() -> int:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/papi/v1/balance",
            "query_string": desk.signed(ALICE),
            "headers": [(b"x-mbx-apikey", b"reader"), (b"x-mbx-apikey", b"alice")],
            "client": (HERE, 1),
        }
        statuses: list[int] = []

        async def send(message: dict[str, int]) -> None:
            if "status" in message:
                statuses.append(message["status"])

        await desk.rest(scope, asyncio.Future, send)  # type: ignore[arg-type]
        return statuses[0]

    assert desk.run(both()) == 400


# How it may be signed ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strangers() -> dict[str, tuple[Key, str]]:
    """RSA and Ed25519 keys with the PEM of their public halves."""
    rsa, ed25519 = new_rsa(), Ed25519PrivateKey.generate()
    return {
        "rsa": (rsa_key("rsa", rsa), public_pem(rsa)),
        "ed25519": (ed25519_key("ed25519", ed25519), public_pem(ed25519)),
    }


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_public_keys(desk: Desk, strangers: dict[str, tuple[Key, str]], kind: str) -> None:
    key, pem = strangers[kind]
    made = desk.run(desk.venue.add_key(desk.account("alice"), api_key=kind, public_key=pem))
    assert not isinstance(made, Rejection)
    assert desk.post("asset-collection", key, "asset=USDT").outcome == (200, None)
    for at in range(12):  # so that `+`, `/` and `=` all occur
        text = b"timestamp=%d" % (NOW - at)
        raw = desk.send("GET", "/papi/v1/balance", text + b"&signature=" + key.sign(text), b"", kind)
        assert raw.status == 200, "base64 without escapes"
    good = key.sign(b"timestamp=%d" % NOW)
    swapped = good.swapcase()
    for bad in (b"junk", b"!!!!", b"=", good[:-4], good + b"AAAA", swapped, b"A" * 16_000, b"%00%FF", HEX):
        answer = desk.send("GET", "/papi/v1/balance", b"timestamp=%d&signature=%s" % (NOW, bad), b"", kind)
        assert answer.outcome == (400, -1022), bad


HEX = b"ab" * 32


def test_every_way_of_placing_the_parameters(desk: Desk) -> None:
    pairs = [b"asset=USDT", b"recvWindow=5000", b"timestamp=%d" % NOW]
    for cut in range(len(pairs) + 1):
        query, body = b"&".join(pairs[:cut]), b"&".join(pairs[cut:])
        signature = b"signature=" + ALICE.sign(query + body)
        below = desk.send("POST", COLLECT, query, body + b"&" + signature if body else signature, "alice")
        above = desk.send("POST", COLLECT, query + b"&" + signature if query else signature, body, "alice")
        assert (below.outcome, above.outcome) == ((200, None), (200, None)), cut


def test_a_signature_covers_both_places(desk: Desk) -> None:
    query, body = b"timestamp=%d" % NOW, b"asset=USDT"
    signature = ALICE.sign(query)
    answer = desk.send("POST", COLLECT, query + b"&signature=" + signature, body, "alice")
    assert answer.outcome == (400, -1022)


def test_parameters_are_verified_as_sent_and_never_encoded_again(desk: Desk) -> None:
    for text in ("symbol=a%20b", "symbol=a+b", "symbol=a~'(b)*!", "symbol=%7e%7E", "symbol=你", "&", "&&symbol=x&"):
        assert desk.get("um/income", ALICE, text).status == 200, text
    signed = desk.signed(ALICE, "symbol=a%20b")
    answer = desk.send("GET", "/papi/v1/um/income", signed.replace(b"%20", b"+"), b"", "alice")
    assert answer.outcome == (400, -1022)


def test_the_query_wins_where_it_matters(desk: Desk) -> None:
    """The body says BNB, which would be refused."""
    query, body = b"asset=USDT&timestamp=%d" % NOW, b"asset=BNB"
    query += b"&signature=" + ALICE.sign(query + body)
    assert desk.send("POST", COLLECT, query, body, "alice").outcome == (200, None)


def test_a_body_of_get_is_not_read(desk: Desk) -> None:
    answer = desk.send("GET", "/papi/v1/balance", desk.signed(ALICE), [], "alice")
    assert answer.status == 200
    assert desk.send("GET", "/papi/v1/balance", b"", desk.signed(ALICE), "alice").outcome == (400, -1102)


def test_calls_that_anyone_may_make_look_at_no_key(desk: Desk) -> None:
    """Clients send a key, an empty one, or sign these too."""
    for api_key in (None, b"", b"unknown", b"\xff"):
        for query in (b"", b"timestamp=1&signature=junk", b"recvWindow=junk"):
            assert desk.send("GET", "/papi/v1/ping", query, b"", api_key).json == {}
    assert desk.send("GET", "/papi/v1/time").json == {"serverTime": NOW}


def test_the_same_signed_bytes_may_come_again(desk: Desk) -> None:
    """A client that repeats a request after a lost answer finds nothing left to move."""
    signed = desk.signed(ALICE, "asset=USDT")
    assert desk.send("POST", COLLECT, signed, b"", "alice").status == 200
    moved = desk.get("balance", ALICE).json
    assert desk.send("POST", COLLECT, signed, b"", "alice").status == 200
    assert desk.get("balance", ALICE).json == moved


def test_a_query_of_the_largest_size_passes(desk: Desk) -> None:
    signed = desk.signed(ALICE)
    filling = b"".join(b"p%d=%s&" % (number, b"A" * 3_000) for number in range(5))
    text = filling + b"q=" + b"A" * (MAX_QUERY_BYTES - len(filling) - len(signed) - 3)
    query = desk.signed(ALICE, text)
    assert len(query) == MAX_QUERY_BYTES
    assert desk.send("GET", "/papi/v1/balance", query, b"", "alice").status == 200
    answer = desk.send("GET", "/papi/v1/balance", desk.signed(ALICE, text + b"A"), b"", "alice")
    assert answer.outcome == (414, -1013)
