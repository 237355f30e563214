"""The shapes of other clients, byte for byte over a socket, and what a server must stand on any connection."""

from __future__ import annotations

import hmac
import json
import signal
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.acceptance.people import AT_FIRST, COLLECTED, FIELDS, Credentials, Kind, Ring
from tests.acceptance.program import Program, running

FORM = "Content-Type: application/x-www-form-urlencoded"
JSON = "Content-Type: application/json"
COLLECT = "/papi/v1/asset-collection"
SUCCESS = {"msg": "success"}


class Response(msgspec.Struct):
    """A response as it came over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"].startswith("application/json")
        return json.loads(self.body)


class Line:
    """One connection."""

    def __init__(self, program: Program) -> None:
        self._socket = socket.create_connection(("127.0.0.1", program.port), timeout=20)
        self._read = b""

    def send(self, text: str | bytes) -> None:
        self._socket.sendall(text if isinstance(text, bytes) else text.encode())

    def answer(self, without_body: bool = False) -> Response:
        """The next response, by its Content-Length."""
        head = self._until(b"\r\n\r\n").decode("ascii")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if without_body else int(headers["content-length"])
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Response(int(first.split(" ")[1]), headers, body)

    def nothing_more(self) -> bool:
        """Whether the other side closed without a further byte."""
        return self._read == b"" and self._socket.recv(1) == b""

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            self._more()
        found, _, self._read = self._read.partition(mark)
        return found

    def _more(self) -> None:
        piece = self._socket.recv(65_536)
        assert piece, "the other side closed"
        self._read += piece

    def close(self) -> None:
        self._socket.close()


@contextmanager
def connected(program: Program) -> Iterator[Line]:
    line = Line(program)
    try:
        yield line
    finally:
        line.close()


@pytest.fixture
def line(program: Program) -> Iterator[Line]:
    with connected(program) as line:
        yield line


def now() -> int:
    return time.time_ns() // 1_000_000


def hexed(text: str, secret: str = "raw-secret") -> str:
    return hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()


def signed(text: str) -> str:
    return f"{text}&signature={hexed(text)}"


def request(method: str, target: str, *headers: str, body: str = "", api_key: str = "raw") -> str:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"X-MBX-APIKEY: {api_key}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([*lines, "", body])


# Shapes --------------------------------------------------------------------------------------------------------------


def shapes() -> dict[str, str]:
    """A collection of an asset of which there is nothing, as each client would send it."""
    last = signed(f"asset=SOL&timestamp={now()}")
    ordered = signed(f"asset=SOL&recvWindow=10000&timestamp={now()}")
    below, above = f"timestamp={now()}", "asset=SOL&recvWindow=5000"
    return {
        "official JavaScript": request("POST", f"{COLLECT}?{last}", JSON, "Content-Length: 0"),
        "official JavaScript, no length": request("POST", f"{COLLECT}?{last}", JSON),
        "official Python": request("POST", f"{COLLECT}?{last}", "Content-Length: 0", "Accept-Encoding: gzip, deflate"),
        "siebly": request("POST", f"{COLLECT}?{last}", FORM, "Content-Length: 0"),
        "binance-api-node": request("POST", f"{COLLECT}?{last}", "Content-Length: 0"),
        "python-binance": request("POST", COLLECT, FORM, body=ordered),
        "ccxt": request("POST", COLLECT, FORM, body=signed(f"timestamp={now()}&asset=SOL&recvWindow=10000")),
        "form without its type": request("POST", COLLECT, body=ordered),
        "split, signature below": request(
            "POST", f"{COLLECT}?{above}", FORM, body=f"{below}&signature={hexed(above + below)}"
        ),
        "split, signature above": request(
            "POST", f"{COLLECT}?{above}&signature={hexed(above + below)}", FORM, body=below
        ),
        "a header in other letters": request("POST", f"{COLLECT}?{last}", "Content-Length: 0").replace(
            "X-MBX-APIKEY", "x-Mbx-ApiKey"
        ),
        "an absolute target": request("POST", f"http://localhost{COLLECT}?{last}", "Content-Length: 0"),
    }


@pytest.mark.parametrize("shape", shapes())
def test_the_shapes_of_other_clients(line: Line, shape: str) -> None:
    line.send(shapes()[shape])
    response = line.answer()
    assert (response.status, response.json) == (200, SUCCESS)
    assert int(response.headers["x-mbx-used-weight-1m"]) >= 30


def test_get_with_a_content_type_and_no_body(line: Line) -> None:
    line.send(request("GET", f"/papi/v1/balance?{signed(f'recvWindow=10000&timestamp={now()}')}", JSON))
    assert {row["asset"] for row in line.answer().json} == set(AT_FIRST)


def signature_of(credentials: Credentials, text: str) -> str:
    """Base64, not escaped."""
    private = load_pem_private_key(credentials.secret.encode(), None)
    if isinstance(private, RSAPrivateKey):
        return b64encode(private.sign(text.encode(), PKCS1v15(), SHA256())).decode()
    assert isinstance(private, Ed25519PrivateKey)
    return b64encode(private.sign(text.encode())).decode()


@pytest.mark.parametrize("kind", [Kind.RSA, Kind.ED25519])
def test_the_go_connector(program: Program, line: Line, ring: Ring, kind: Kind) -> None:
    """Its query begins with `&` when a call has no parameters, and its base64 is not escaped."""
    credentials = ring.credentials(f"raw-{kind}", kind)
    seen = ""
    start = now()
    for back in range(500):
        text = f"&timestamp={start - back}"
        signature = signature_of(credentials, text)
        if not seen or not {"+", "/"} <= set(seen):
            seen += signature
            line.send(
                request("GET", f"/papi/v1/balance?{text}&signature={signature}", FORM, api_key=credentials.api_key)
            )
            assert line.answer().status == 200
            line.send(
                request(
                    "GET", f"/papi/v1/balance?{text}&signature={quote_plus(signature)}", api_key=credentials.api_key
                )
            )
            assert line.answer().status == 200
        else:
            break
    assert {"+", "/", "="} <= set(seen)
    text = f"&timestamp={now()}"
    signature = signature_of(credentials, text)
    line.send(
        request("POST", f"/papi/v1/auto-collection?{text}&signature={signature}", FORM, api_key=credentials.api_key)
    )
    assert line.answer().json == SUCCESS
    text = f"&timestamp={now()}"
    line.send(
        request(
            "GET", f"/papi/v1/balance?{text}&signature={signature_of(credentials, text)}", api_key=credentials.api_key
        )
    )
    rows = line.answer().json
    assert {row["asset"]: tuple(row[field] for field in FIELDS) for row in rows} == COLLECTED


@pytest.mark.parametrize("path", ["/papi/v1/time", "/fapi/v1/time", "/dapi/v1/time", "/api/v3/time"])
def test_every_time_path(line: Line, path: str) -> None:
    before = now()
    line.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    told = line.answer().json
    assert set(told) == {"serverTime"}
    assert before <= told["serverTime"] <= now()


# Connections ---------------------------------------------------------------------------------------------------------


def test_requests_follow_each_other_on_one_connection(line: Line) -> None:
    for _ in range(5):
        line.send(request("POST", f"{COLLECT}?{signed(f'asset=SOL&timestamp={now()}')}", "Content-Length: 0"))
        assert line.answer().json == SUCCESS
    line.send(request("GET", "/nowhere"))
    assert line.answer().json["code"] == -5000
    line.send(request("GET", "/papi/v1/ping"))
    assert line.answer().json == {}


def test_two_requests_sent_at_once_are_answered_in_order(line: Line) -> None:
    first = request("POST", COLLECT, FORM, body=signed(f"asset=SOL&timestamp={now()}"))
    line.send(first + request("GET", "/papi/v1/time") + request("GET", "/papi/v1/ping"))
    assert line.answer().json == SUCCESS
    assert set(line.answer().json) == {"serverTime"}
    assert line.answer().json == {}


def test_a_request_in_single_bytes(line: Line) -> None:
    for byte in request("POST", COLLECT, FORM, body=signed(f"asset=SOL&timestamp={now()}")):
        line.send(byte)
    assert line.answer().json == SUCCESS


def test_a_body_in_chunks(line: Line) -> None:
    body = signed(f"asset=SOL&timestamp={now()}")
    line.send(request("POST", COLLECT, FORM, "Transfer-Encoding: chunked"))
    for at in range(0, len(body), 11):
        part = body[at : at + 11]
        line.send(f"{len(part):x}\r\n{part}\r\n")
    line.send("0\r\n\r\n")
    assert line.answer().json == SUCCESS


def test_a_client_that_asks_before_it_sends_its_body(line: Line) -> None:
    """curl does so with long bodies."""
    body = signed(f"asset=SOL&timestamp={now()}")
    line.send(request("POST", COLLECT, FORM, "Expect: 100-continue", f"Content-Length: {len(body)}"))
    assert line.answer(without_body=True).status == 100
    line.send(body)
    assert line.answer().json == SUCCESS


def test_a_body_over_the_limit(line: Line) -> None:
    line.send(request("POST", COLLECT, FORM, body="z=" + "A" * 200_000))
    response = line.answer()
    assert (response.status, response.json["code"]) == (413, -1013)
    line.send(request("GET", "/papi/v1/ping"))
    assert line.answer().json == {}, "the connection is still of use"


def test_a_query_over_the_limit(line: Line) -> None:
    line.send(request("GET", "/papi/v1/balance?" + "&".join(["z=" + "A" * 4_000] * 5)))
    response = line.answer()
    assert (response.status, response.json["code"]) == (414, -1013)


def test_head_has_headers_and_no_body(line: Line) -> None:
    line.send(request("HEAD", "/papi/v1/ping"))
    response = line.answer(without_body=True)
    assert response.status == 404
    line.send(request("GET", "/papi/v1/ping"))
    assert line.answer().json == {}


def test_http_1_0_and_close(program: Program) -> None:
    for text in (
        "GET /papi/v1/ping HTTP/1.0\r\n\r\n",
        "GET /papi/v1/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ):
        with connected(program) as line:
            line.send(text)
            assert line.answer().json == {}
            assert line.nothing_more()


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01", b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 99]
)
def test_what_is_not_http_is_refused_and_the_venue_goes_on(program: Program, junk: bytes) -> None:
    """A client that speaks TLS to this port, among others."""
    with connected(program) as line:
        line.send(junk)
        assert line.answer(without_body=True).status == 400
    with connected(program) as line:
        line.send(request("GET", "/papi/v1/ping"))
        assert line.answer().json == {}


def test_who_hangs_up_mid_body_moves_nothing(program: Program, ring: Ring) -> None:
    body = signed(f"asset=USDT&timestamp={now()}")
    with connected(program) as line:
        line.send(request("POST", COLLECT, FORM, f"Content-Length: {len(body) + 1}") + body)
        time.sleep(0.1)
    with connected(program) as line:
        line.send(request("GET", f"/papi/v1/balance?{signed(f'asset=USDT&timestamp={now()}')}"))
        assert line.answer().json["umWalletBalance"] == AT_FIRST["USDT"][0]


def test_many_connections_at_once(program: Program) -> None:
    lines = [Line(program) for _ in range(100)]
    try:
        for line in lines:
            line.send(request("POST", f"{COLLECT}?{signed(f'asset=SOL&timestamp={now()}')}", "Content-Length: 0"))
        assert [line.answer().json for line in lines] == [SUCCESS] * 100
    finally:
        for line in lines:
            line.close()


# The process ---------------------------------------------------------------------------------------------------------


def test_what_was_answered_is_there_after_a_crash(tmp_path: Path, ring: Ring) -> None:
    def balance(program: Program) -> dict[str, Any]:
        with connected(program) as line:
            line.send(request("GET", f"/papi/v1/balance?{signed(f'asset=USDT&timestamp={now()}')}"))
            found: dict[str, Any] = line.answer().json
            return found

    scenario = ring.account("raw")
    with running(tmp_path, scenario) as program:
        before = balance(program)
        with connected(program) as line:
            line.send(request("POST", f"/papi/v1/auto-collection?{signed(f'timestamp={now()}')}", "Content-Length: 0"))
            assert line.answer().json == SUCCESS
            program.process.kill()
            program.process.wait()
    with running(tmp_path, scenario) as program:
        after = balance(program)
        assert tuple(after[field] for field in FIELDS) == COLLECTED["USDT"]
        assert tuple(before[field] for field in FIELDS) == AT_FIRST["USDT"]
        assert program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_waits_is_answered_before_the_program_ends(tmp_path: Path, ring: Ring, number: signal.Signals) -> None:
    body = signed(f"asset=USDT&recvWindow=60000&timestamp={now()}")
    with running(tmp_path, ring.account("raw")) as program, connected(program) as line:
        line.send(request("POST", COLLECT, FORM, f"Content-Length: {len(body)}") + body[:20])
        time.sleep(0.2)
        program.process.send_signal(number)
        time.sleep(0.2)
        line.send(body[20:])
        assert line.answer().json == SUCCESS
        assert program.process.wait(20) == 0
