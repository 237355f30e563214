"""Splitting, cutting and decoding: what real clients send, and what no client should."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from catchment import errors
from catchment.errors import Rejection
from catchment.limits import MAX_PARAMETER_BYTES, MAX_PARAMETERS
from catchment.papi import params
from catchment.papi.contract import Kind, Parameter
from catchment.papi.params import Sent

HEX = b"a1" * 32


def read(query: bytes, body: bytes = b"") -> Sent:
    sent = params.read(query, body)
    assert isinstance(sent, Sent), sent
    return sent


def refused(query: bytes, body: bytes = b"") -> Rejection:
    sent = params.read(query, body)
    assert isinstance(sent, Rejection), sent
    return sent


# The signature covers the bytes as sent, with its own pair cut out ---------------------------------------------------


@pytest.mark.parametrize(
    ("query", "body", "payload"),
    [
        # at the end, as all clients send it
        (b"asset=USDT&timestamp=1&signature=" + HEX, b"", b"asset=USDT&timestamp=1"),
        (b"", b"asset=USDT&timestamp=1&signature=" + HEX, b"asset=USDT&timestamp=1"),
        # split: the two places with nothing between them
        (b"asset=USDT", b"timestamp=1&signature=" + HEX, b"asset=USDTtimestamp=1"),
        (b"timestamp=1&signature=" + HEX, b"asset=USDT", b"timestamp=1asset=USDT"),
        (b"signature=" + HEX, b"asset=USDT&timestamp=1", b"asset=USDT&timestamp=1"),
        (b"asset=USDT&timestamp=1", b"signature=" + HEX, b"asset=USDT&timestamp=1"),
        # first and in the middle
        (b"signature=" + HEX + b"&asset=USDT&timestamp=1", b"", b"asset=USDT&timestamp=1"),
        (b"asset=USDT&signature=" + HEX + b"&timestamp=1", b"", b"asset=USDT&timestamp=1"),
        # the Go connector signs a text that begins with `&` when a call has no parameters
        (b"&timestamp=1&signature=" + HEX, b"", b"&timestamp=1"),
        (b"&timestamp=1&signature=" + HEX + b"&recvWindow=5", b"", b"&timestamp=1&recvWindow=5"),
        # a longer name that ends in the word is not the signature
        (b"mysignature=2&signature=" + HEX, b"", b"mysignature=2"),
        (b"mysignature=2&timestamp=1&signature=" + HEX + b"&a=b", b"", b"mysignature=2&timestamp=1&a=b"),
        # escapes stay as they came, whichever encoder made them
        (b"symbol=a%20b+c~'(%2f%2F&timestamp=1&signature=" + HEX, b"", b"symbol=a%20b+c~'(%2f%2F&timestamp=1"),
    ],
)
def test_only_the_signature_is_cut_from_what_it_covers(query: bytes, body: bytes, payload: bytes) -> None:
    sent = read(query, body)
    assert sent.payload == payload
    assert sent.signature == HEX


def test_signature_at_any_place_of_many_parameters() -> None:
    pairs = [b"a=1", b"b=2", b"c=3", b"d=4"]
    for place in range(len(pairs) + 1):
        query = b"&".join([*pairs[:place], b"signature=" + HEX, *pairs[place:]])
        sent = read(query)
        assert sent.payload == b"&".join(pairs)
        assert sent.signature == HEX
        assert sent.values == {"a": "1", "b": "2", "c": "3", "d": "4"}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"ab%2Bcd%2Fef%3D", b"ab+cd/ef="),  # escaped, as all clients but one
        (b"ab+cd/ef==", b"ab+cd/ef=="),  # raw, as the Go connector
        (b"ab%2bcd+ef%3d", b"ab+cd+ef="),  # lower-case escapes, and both at once
        (b"ab%zzcd%", b"ab%zzcd%"),  # what is no escape is left alone
        (b"%FF%00", b"\xff\x00"),
        (HEX.upper(), HEX.upper()),
        (b"", b""),
    ],
)
def test_a_plus_in_the_signature_stays_a_plus(sent: bytes, meant: bytes) -> None:
    assert read(b"timestamp=1&signature=" + sent).signature == meant
    assert read(b"", b"timestamp=1&signature=" + sent).signature == meant


def test_no_signature_is_an_empty_one() -> None:
    assert read(b"timestamp=1").signature == b""
    assert read(b"timestamp=1&signature").signature == b""
    assert read(b"").signature == b""


def test_signature_of_the_query_wins_and_both_are_cut() -> None:
    sent = read(b"a=1&signature=first", b"b=2&signature=second")
    assert (sent.signature, sent.payload) == (b"first", b"a=1b=2")


# Decoding ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"", {}),
        (b"&", {}),
        (b"&&timestamp=1&&", {"timestamp": "1"}),
        (b"asset=USDT&timestamp=1", {"asset": "USDT", "timestamp": "1"}),
        (b"timestamp=1&asset=USDT", {"timestamp": "1", "asset": "USDT"}),
        (b"asset=", {"asset": ""}),
        (b"asset", {"asset": ""}),
        (b"=x", {"": "x"}),
        (b"asset=a=b", {"asset": "a=b"}),
        (b"asset=U%53DT", {"asset": "USDT"}),
        (b"as%73et=USDT", {"asset": "USDT"}),
        (b"symbol=a+b%20c%2Bd", {"symbol": "a b c+d"}),
        (b"symbol=%E4%BD%A0", {"symbol": "你"}),
        ("symbol=你".encode(), {"symbol": "你"}),
        (b"amount=1e-08", {"amount": "1e-08"}),
        (b"asset=50%", {"asset": "50%"}),
        (b"asset=%zz", {"asset": "%zz"}),
        (b"asset=undefined", {"asset": "undefined"}),
        (b"autoRepay=True", {"autoRepay": "True"}),
    ],
)
def test_values_are_percent_decoded_in_either_place(text: bytes, values: dict[str, str]) -> None:
    assert read(text).values == values
    assert read(b"", text).values == values
    assert read(text).payload == text
    assert read(b"", text).payload == text


def test_values_of_both_places_are_joined() -> None:
    assert read(b"asset=USDT", b"timestamp=1").values == {"asset": "USDT", "timestamp": "1"}


def test_the_query_wins_over_the_body() -> None:
    sent = read(b"asset=USDT", b"asset=BTC&timestamp=1")
    assert sent.values == {"asset": "USDT", "timestamp": "1"}
    assert read(b"asset=", b"asset=BTC").values == {"asset": ""}


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"asset=USDT&asset=USDT",
        b"asset=USDT&timestamp=1&asset=",
        b"asset=USDT&as%73et=BTC",
        b"asset&asset",
        b"timestamp=1&signature=ab&signature=cd",
        b"signature=ab&timestamp=1&signature=cd",
        b"timestamp=1&signature=ab&signature=ab",
    ],
)
def test_twice_in_one_place_is_refused(text: bytes) -> None:
    for rejection in (refused(text), refused(b"", text), refused(b"recvWindow=5", text)):
        assert rejection == errors.DUPLICATE_PARAMETER()
        assert rejection.code == -1101


@pytest.mark.parametrize("bad", [b"%FF", b"%C0%AF", b"\xff", b"%E4%BD", b"%ED%A0%80"])
def test_what_is_not_utf8_is_refused(bad: bytes) -> None:
    assert refused(b"timestamp=1&asset=" + bad) == errors.ILLEGAL_CHARS("asset", "UTF-8")
    assert refused(b"", b"asset=" + bad).code == -1100
    assert refused(b"a" + bad + b"z=1").code == -1100


def test_a_refusal_repeats_only_what_can_be_printed() -> None:
    name = "\x00\x1b[31m\xff" + "n" * 300
    sentence = refused(name.encode("latin-1") + b"=%FF").sentence
    assert sentence.isascii()
    assert sentence.isprintable()
    assert len(sentence) < 200


def test_the_largest_number_of_parameters() -> None:
    many = b"&".join(b"p%d=1" % number for number in range(MAX_PARAMETERS))
    assert len(read(many).values) == MAX_PARAMETERS
    assert len(read(many, many.replace(b"p", b"q")).values) == 2 * MAX_PARAMETERS
    rejection = refused(many + b"&one=more")
    assert rejection == errors.TOO_MANY_PARAMETERS(MAX_PARAMETERS, MAX_PARAMETERS + 1)
    assert rejection.sentence == "Too many parameters; expected '100' and received '101'."
    assert refused(b"", many + b"&one=more").code == -1101


def test_the_longest_parameter() -> None:
    longest = b"asset=" + b"A" * (MAX_PARAMETER_BYTES - len(b"asset="))
    assert len(longest) == MAX_PARAMETER_BYTES
    assert read(longest).values["asset"] == "A" * (MAX_PARAMETER_BYTES - 6)
    assert refused(longest + b"A").code == -1100
    assert refused(b"", longest + b"A").code == -1100


# Typing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("00012", 12), ("1790000000000", 1_790_000_000_000), ("9" * 20, 10**20 - 1)]
)
def test_a_long(text: str, number: int) -> None:
    assert params.long_value("timestamp", text) == number


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "1e3", "0x1", " 1", "1_000", "٣", "²", "9" * 21, "junk", "NaN"])
def test_what_is_no_long(text: str) -> None:
    found = params.long_value("timestamp", text)
    assert isinstance(found, Rejection)
    assert found.sentence == "Illegal characters found in parameter 'timestamp'; legal range is '^[0-9]{1,20}$'."
    assert found.code == -1100


ASSET = Parameter("asset", Kind.STRING, mandatory=True)
AMOUNT = Parameter("amount", Kind.DECIMAL)
SIDE = Parameter("futureType", Kind.ENUM, values=("UM", "CM"))
LIMIT = Parameter("limit", Kind.LONG, most=1_000)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"asset": "USDT"}, {"asset": "USDT"}),
        ({"asset": "USDT", "portfolioMargin": "true"}, {"asset": "USDT"}),
        ({"asset": "x", "amount": "1e-08", "futureType": "CM", "limit": "1000"}, None),
        ({}, errors.MANDATORY_PARAM("asset")),
        ({"asset": ""}, errors.MANDATORY_PARAM("asset")),
        ({"asset": "USDT", "amount": ""}, errors.PARAM_EMPTY("amount")),
        ({"asset": "USDT", "futureType": ""}, errors.PARAM_EMPTY("futureType")),
        ({"asset": "USDT", "futureType": "um"}, errors.INVALID_PARAMETER("futureType")),
        ({"asset": "USDT", "limit": "1001"}, errors.INVALID_PARAMETER("limit")),
        ({"asset": "USDT", "limit": "-1"}, errors.ILLEGAL_CHARS("limit", "^[0-9]{1,20}$")),
        ({"asset": "USDT", "limit": "9" * 20}, errors.INVALID_PARAMETER("limit")),
    ],
)
def test_an_endpoints_own_parameters(values: dict[str, str], found: dict[str, object] | Rejection | None) -> None:
    expected = {"asset": "x", "amount": "1e-08", "futureType": "CM", "limit": 1_000} if found is None else found
    assert params.typed((ASSET, AMOUNT, SIDE, LIMIT), values) == expected


def test_encoders_of_real_clients_agree_on_the_values() -> None:
    name = "a b~'(c)*!+/=&é"
    for text in (
        quote(name, safe=""),
        quote(name, safe="~"),
        quote(name, safe="!'()*~"),
        quote(name).replace("/", "%2f"),
    ):
        assert read(b"symbol=" + text.encode()).values == {"symbol": name}
