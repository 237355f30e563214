"""The server under the faces: where it listens, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from catchment import app
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.dashboard.people import People, link_path
from catchment.errors import Refused, Rejection
from catchment.ledger.commands import Deposit
from catchment.server import GRACE_S, PORTS_TRIED, Address
from catchment.venue import Venue

Opened = Callable[[Venue, Address], Awaitable[None]]


def served(opened: Opened, next_free_port: bool = False, clock: FrozenClock | None = None, **settings: Any) -> None:
    """Serve until `opened` has stopped it."""
    chosen = Settings(**{"store": "memory:", "port": 0, **settings})
    app.run(app.serve(chosen, opened=opened, next_free_port=next_free_port, clock=clock))


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fetched(
    address: Address, path: str = "/papi/v1/ping", host: str | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(host or address.host, address.port, timeout=20)
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}


def visit(**settings: Any) -> tuple[Address, tuple[int, bytes, dict[str, str]]]:
    """Serve, ask once, stop."""
    seen: list[Any] = []

    async def opened(venue: Venue, address: Address) -> None:
        seen.extend((address, await asyncio.to_thread(fetched, address)))
        stop()

    served(opened, **settings)
    address, answer = seen
    return address, answer


@contextmanager
def busy(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that someone listens on."""
    with closing(socket.create_server((host, 0))) as listener:
        yield listener.getsockname()[1]


def test_port_0_takes_a_free_one() -> None:
    address, (status, body, headers) = visit()
    assert address.port > 0
    assert address.url == f"http://127.0.0.1:{address.port}"
    assert (status, body) == (200, b"{}")
    assert headers["content-type"] == "application/json;charset=UTF-8"
    assert "server" not in headers


def test_a_wildcard_address_is_told_as_loopback() -> None:
    address, (status, _, _) = visit(host="0.0.0.0")
    assert address.url == f"http://127.0.0.1:{address.port}"
    assert status == 200


def has_ipv6() -> bool:
    try:
        with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6(host: str) -> None:
    address, (status, _, _) = visit(host=host)
    assert address.url == f"http://[::1]:{address.port}"
    assert status == 200


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_an_ipv4_caller_of_an_ipv6_wildcard_keeps_its_address() -> None:
    """Or the allow-list of a key would not know it."""
    bodies: list[bytes] = []

    async def opened(venue: Venue, address: Address) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=20)
        with closing(connection):
            await asyncio.to_thread(connection.request, "GET", "/papi/v1/balance", headers={"X-MBX-APIKEY": "unknown"})
            bodies.append((await asyncio.to_thread(connection.getresponse)).read())
        stop()

    served(opened, host="::")
    assert b"request ip: 127.0.0.1" in bodies[0]


def test_a_busy_port_is_refused() -> None:
    async def opened(venue: Venue, address: Address) -> None:
        raise AssertionError("it must not open")

    with busy() as port, pytest.raises(Refused) as refused:
        served(opened, port=port)
    assert refused.value.rejection.name == "BAD_SETTING"
    assert f"127.0.0.1:{port}" in refused.value.rejection.sentence


def test_the_next_free_port_is_taken_when_asked() -> None:
    ports: list[int] = []

    async def opened(venue: Venue, address: Address) -> None:
        ports.append(address.port)
        assert (await asyncio.to_thread(fetched, address))[0] == 200
        stop()

    with busy() as port:
        served(opened, next_free_port=True, port=port)
        assert port < ports[0] < port + PORTS_TRIED


def test_an_address_that_is_not_ours_is_refused() -> None:
    host = "203.0.113.1"  # set aside for documents, so no machine has it

    async def opened(venue: Venue, address: Address) -> None:
        raise AssertionError("it must not open")

    with pytest.raises(Refused) as refused:
        served(opened, host=host)
    assert refused.value.rejection.name == "BAD_SETTING"
    assert host in refused.value.rejection.sentence


def test_a_store_that_is_refused_leaves_the_port_free() -> None:
    async def opened(venue: Venue, address: Address) -> None:
        raise AssertionError("it must not open")

    with busy() as port:
        pass
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            served(opened, port=port, store="nonsense://x")
        assert refused.value.rejection.name == "BAD_STORE_ADDRESS"


def test_it_listens_before_it_says_so_and_stops_after() -> None:
    seen: list[Address] = []

    async def opened(venue: Venue, address: Address) -> None:
        seen.append(address)
        assert (await asyncio.to_thread(fetched, address))[0] == 200
        stop()

    served(opened)
    with pytest.raises(ConnectionRefusedError):
        fetched(seen[0])


def test_a_failure_of_the_announcement_ends_everything() -> None:
    seen: list[Address] = []

    async def opened(venue: Venue, address: Address) -> None:
        seen.append(address)
        raise ValueError("nobody to tell")

    with pytest.raises(ValueError, match="nobody to tell"):
        served(opened)
    with pytest.raises(ConnectionRefusedError):
        fetched(seen[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_clean_end_and_the_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    venues: list[Venue] = []

    async def opened(venue: Venue, address: Address) -> None:
        venues.append(venue)
        os.kill(os.getpid(), number)

    served(opened)
    assert len(venues) == 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_venue_is_closed_after_the_server() -> None:
    venues: list[Venue] = []

    async def opened(venue: Venue, address: Address) -> None:
        venues.append(venue)
        account = await venue.add_account("alice")
        assert not isinstance(account, Rejection)
        answer = await venue.submit(account.id, Deposit("USDT", 1))
        assert not isinstance(answer, Rejection)
        stop()

    served(opened)

    async def late() -> Any:
        return await venues[0].account("alice")

    with pytest.raises(RuntimeError):
        asyncio.run(late())


def test_a_request_that_is_under_way_is_answered_before_the_end() -> None:
    answers: list[bytes] = []

    def finish(connection: socket.socket) -> None:
        time.sleep(0.2)
        connection.sendall(b"1")
        answers.append(connection.recv(10_000))

    async def opened(venue: Venue, address: Address) -> None:
        connection = socket.create_connection((address.host, address.port), timeout=20)
        connection.sendall(b"POST /papi/v1/auto-collection HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na=")
        await asyncio.sleep(0.1)
        stop()
        client = threading.Thread(target=finish, args=(connection,))
        client.start()
        clients.append((client, connection))

    clients: list[tuple[threading.Thread, socket.socket]] = []
    served(opened)
    for client, connection in clients:
        client.join()
        connection.close()
    assert answers[0].startswith(b"HTTP/1.1 401")
    assert b'"code":-2014' in answers[0]


def test_a_page_that_is_kept_up_to_date_does_not_hold_up_the_end() -> None:
    took: list[float] = []

    def listen(address: Address, link: str, account: str) -> http.client.HTTPConnection:
        """A signed-in browser with a live page open: one event has come, the next is waited for."""
        connection = http.client.HTTPConnection(address.host, address.port, timeout=20)
        connection.request("GET", link)
        signed_in = connection.getresponse()
        signed_in.read()
        cookie = str(signed_in.headers["set-cookie"]).partition(";")[0]
        connection.request("GET", f"/dashboard/accounts/{account}/live", headers={"cookie": cookie})
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream")
        while not answer.readline().startswith(b"id: "):
            pass
        return connection

    async def opened(venue: Venue, address: Address) -> None:
        account = await venue.add_account("alice")
        assert not isinstance(account, Rejection)
        link = link_path(await People(venue).make_link(account.id.hex()))
        connections.append(await asyncio.to_thread(listen, address, link, account.id.hex()))
        took.append(time.monotonic())
        stop()

    connections: list[http.client.HTTPConnection] = []
    served(opened)
    connections[0].close()
    assert time.monotonic() - took[0] < GRACE_S / 2


def test_the_clock_may_be_given() -> None:
    bodies: list[bytes] = []

    async def opened(venue: Venue, address: Address) -> None:
        bodies.append((await asyncio.to_thread(fetched, address, "/papi/v1/time"))[1])
        stop()

    served(opened, clock=FrozenClock(1_234_567_890_123))
    assert bodies == [b'{"serverTime":1234567890123}']


@pytest.mark.parametrize("on", [True, False])
def test_the_schedule_runs_unless_a_setting_says_otherwise(on: bool) -> None:
    running: list[bool] = []

    async def opened(venue: Venue, address: Address) -> None:
        names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
        running.append("Schedule.run" in names)
        stop()

    served(opened, schedule=on)
    assert running == [on]


def test_a_schedule_that_cannot_be_is_refused() -> None:
    async def opened(venue: Venue, address: Address) -> None:
        raise AssertionError("it must not open")

    with pytest.raises(Refused, match="negative_rate"):
        served(opened, negative_rate={"NOSUCH": "0.1"})
