"""What a client may ask on a websocket, and which streams an address names."""

from __future__ import annotations

import msgspec
import pytest

from catchment.stream.face import Asked, Fault, read_request, streams_of

ID = "2a6f1c52-8f0e-4c4e-9f59-0e8a5e0b7f0d"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (f'{{"method":"SUBSCRIBE","params":["a","b"],"id":"{ID}"}}', Asked("SUBSCRIBE", ["a", "b"], ID)),
        ('{"id":0,"params":[],"method":"UNSUBSCRIBE"}', Asked("UNSUBSCRIBE", [], 0)),
        ('{"method":"LIST_SUBSCRIPTIONS","id":18446744073709551615}', Asked("LIST_SUBSCRIPTIONS", [], 2**64 - 1)),
        ('{"method":"LIST_SUBSCRIPTIONS","params":["a"],"id":""}', Asked("LIST_SUBSCRIPTIONS", [], "")),
        (' {"method":"SUBSCRIBE","params":["a"],"more":{}} ', Asked("SUBSCRIBE", ["a"], None)),
        ('{"method":"SUBSCRIBE","params":["a"],"id":null}', Asked("SUBSCRIBE", ["a"], None)),
    ],
)
def test_requests_that_are_understood(text: str, asked: Asked) -> None:
    assert read_request(text.encode()) == asked


@pytest.mark.parametrize(
    ("text", "code", "words", "given"),
    [
        ("", 3, "Invalid JSON: expected value at line 1 column 1", None),
        ("hello", 3, "line 1 column 1", None),
        ('{"method":\n  x}', 3, "line 2 column 3", None),
        ('{"method":"SUBSCRIBE"', 3, "Invalid JSON", None),
        ("[" * 50_000, 3, "Invalid JSON", None),
        ('"\\ud800"', 3, "Invalid JSON", None),
        ("[]", 2, "expected an object", None),
        ("5", 2, "expected an object", None),
        ('{"id":1}', 2, "missing field method at line 1 column 8", 1),
        ('{"method":"NOPE","id":1}', 2, "unknown variant NOPE, expected one of SUBSCRIBE, UNSUBSCRIBE", 1),
        ('{"method":["SUBSCRIBE"],"id":1}', 2, "unknown variant", 1),
        ('{"method":"SUBSCRIBE","params":["a"],"id":-1}', 2, "request ID must be an unsigned integer", None),
        ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2, "request ID must be an unsigned integer", None),
        ('{"method":"SUBSCRIBE","params":["a"],"id":18446744073709551616}', 2, "must be an unsigned", None),
        ('{"method":"SUBSCRIBE","params":["a"],"id":true}', 2, "request ID must be an unsigned integer", None),
        ('{"method":"SUBSCRIBE","params":["a"],"id":[]}', 2, "request ID must be an unsigned integer", None),
        ('{"method":"SUBSCRIBE","params":"a","id":"x"}', 2, "params must be a list of stream names", "x"),
        ('{"method":"SUBSCRIBE","params":[1],"id":"x"}', 2, "params must be a list of stream names", "x"),
        ('{"method":"SUBSCRIBE","params":null,"id":"x"}', 2, "params must be a list of stream names", "x"),
    ],
)
def test_requests_that_are_not(text: str, code: int, words: str, given: object) -> None:
    fault = read_request(text.encode())
    assert isinstance(fault, Fault)
    assert (fault.code, fault.id) == (code, given)
    assert words in fault.msg
    assert msgspec.json.encode(fault)


@pytest.mark.parametrize(
    ("path", "query", "names"),
    [
        ("/pm/ws/abc", "", ["abc"]),
        ("/pm/ws/abc", "listenKey=x", ["abc"]),
        ("/pm/ws", "", []),
        ("/pm/ws/", "", []),
        ("/pm/ws/a/b", "", ["a", "b"]),
        ("/pm/stream", "", []),
        ("/pm/stream", "streams=", []),
        ("/pm/stream", "streams=abc", ["abc"]),
        ("/pm/stream", "x=1&streams=a/b%2Fc", ["a", "b", "c"]),
        ("/pm/stream/abc", "", None),
        ("/pm/wsabc", "", None),
        ("/ws/abc", "", None),
        ("/papi/v1/ping", "", None),
        ("/", "", None),
    ],
)
def test_the_streams_of_an_address(path: str, query: str, names: list[str] | None) -> None:
    assert streams_of(path, query) == names
