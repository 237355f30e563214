"""The bounds on a connection: a request head may be neither endless nor endlessly slow."""

from __future__ import annotations

import asyncio
import socket

import pytest

from catchment import server
from catchment.app import serve
from catchment.config import Settings
from catchment.limits import MAX_HEAD_BYTES
from catchment.server import Address
from catchment.venue import Venue


def _talk(address: Address, *pieces: bytes) -> bytes:
    """Send the pieces, then read until the venue closes."""
    with socket.create_connection((address.host, address.port), timeout=10) as client:
        answer = b""
        try:
            for piece in pieces:
                client.sendall(piece)
            client.settimeout(10)
            while chunk := client.recv(65_536):
                answer += chunk
        except ConnectionError:
            pass
        return answer


def _against_a_venue(*pieces: bytes) -> bytes:
    answers: list[bytes] = []

    async def scenario() -> None:
        stop = asyncio.Event()

        async def opened(venue: Venue, address: Address) -> None:
            answers.append(await asyncio.to_thread(_talk, address, *pieces))
            stop.set()

        serving = asyncio.create_task(serve(Settings(store="memory:", port=0), opened=opened))
        await stop.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(scenario())
    return answers[0]


def test_a_head_over_the_limit_is_answered_431_and_closed() -> None:
    answer = _against_a_venue(b"GET /papi/v1/ping HTTP/1.1\r\nHost: x\r\nX-A: ", b"A" * (20 * MAX_HEAD_BYTES))
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_head_under_the_limit_is_read() -> None:
    head = b"GET /papi/v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"A" * 50_000
    assert _against_a_venue(head, b"\r\n\r\n").endswith(b"{}")


def test_many_requests_on_one_connection_do_not_add_up() -> None:
    one = b"GET /papi/v1/ping HTTP/1.1\r\nHost: x\r\nX-A: " + b"A" * 20_000 + b"\r\n\r\n"
    last = b"GET /papi/v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert _against_a_venue(one * 5 + last).count(b"HTTP/1.1 200 OK") == 6


@pytest.mark.parametrize("sent", [b"", b"GET /papi/v1/pi"])
def test_an_unfinished_head_is_not_waited_for_for_ever(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_WAIT_S", 0.2)
    assert _against_a_venue(sent) == b""
