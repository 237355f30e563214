"""The websocket on a socket: both addresses, pings, limits, a subscriber that does not read; and two programs on one
store."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect as connect_sync

from catchment import listen_keys, server
from catchment.app import serve
from catchment.config import Settings
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Deposit
from catchment.limits import MAX_STREAM_MESSAGE_BYTES, MAX_STREAM_MESSAGES_A_SECOND, MAX_STREAMS
from catchment.server import Address
from catchment.stream import wire
from catchment.venue import Venue
from tests import databases
from tests.acceptance.program import Program, running
from tests.papi.desk import plain
from tests.stream.ear import done, unframed

ONE = Deposit("USDT", 1)
connect = partial(connect_async, proxy=None)
PATIENCE_S = 20


class Room:
    """A served venue with one account, and its key."""

    def __init__(self, venue: Venue, address: Address) -> None:
        self.venue = venue
        self.port = address.port
        self.url = f"ws://127.0.0.1:{address.port}"
        self.alice = AccountId(b"")
        self.key = ""

    async def deposit(self, count: int = 1) -> int:
        return await done(self.venue, self.alice, *[ONE] * count)

    def bare(self, **how: Any) -> connect_async:
        return connect(f"{self.url}/pm/ws/{self.key}", **how)


def against(scene: Callable[[Room], Awaitable[None]]) -> None:
    """Serve a venue in memory from this process, and play; in the end it is told to stop as by its operator."""

    async def play(venue: Venue, address: Address) -> None:
        room = Room(venue, address)
        made = await venue.add_account("alice")
        room.alice = made.id  # type: ignore[union-attr]
        room.key = await listen_keys.begin(venue, room.alice)
        await asyncio.wait_for(scene(room), 60)

    async def work() -> None:
        playing: list[asyncio.Task[None]] = []

        async def opened(venue: Venue, address: Address) -> None:
            playing.append(asyncio.create_task(play(venue, address)))
            playing[0].add_done_callback(lambda _: signal.raise_signal(signal.SIGTERM))

        await serve(Settings(store="memory:", port=0), opened=opened)
        await playing[0]

    asyncio.run(work())


async def event(connection: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(connection.recv(), PATIENCE_S))


async def asked(connection: ClientConnection, **request: Any) -> Any:
    await connection.send(json.dumps(request))
    return await event(connection)


async def closed(connection: ClientConnection) -> tuple[int, str]:
    """The close frame, after whatever came before it."""
    with suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(connection.recv(), PATIENCE_S)
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_a_frame_is_what_the_library_would_make(size: int) -> None:
    message = b"x" * size
    assert wire.framed(message) == Frame(Opcode.TEXT, message).serialize(mask=False)
    assert unframed(wire.framed(message) * 2) == [message] * 2


def test_bare_events_come_under_the_key_and_wrapped_ones_under_its_name() -> None:
    async def scene(room: Room) -> None:
        combined = f"{room.url}/pm/stream"
        async with (
            room.bare() as bare,
            connect(f"{combined}?streams={room.key}") as named,
            connect(f"{combined}?streams=") as empty,
            connect(combined) as asking,
        ):
            assert await asked(asking, method="SUBSCRIBE", params=[room.key], id="an id") == {
                "result": None,
                "id": "an id",
            }
            assert (await asked(empty, method="LIST_SUBSCRIPTIONS", id=7)) == {"result": [], "id": 7}
            await room.deposit()
            first, second = await event(bare), await event(bare)
            assert (first["e"], second["e"]) == ("balanceUpdate", "outboundAccountPosition")
            for connection in (named, asking):
                assert await event(connection) == {"stream": room.key, "data": first}
                assert await event(connection) == {"stream": room.key, "data": second}
            assert (await asked(asking, method="UNSUBSCRIBE", params=[room.key], id=2**64 - 1))["id"] == 2**64 - 1
            await room.deposit()
            assert (await event(named))["data"]["U"] == 2
            assert await asked(asking, method="LIST_SUBSCRIPTIONS", id=1) == {"result": [], "id": 1}
            assert (await asked(asking, method="SUBSCRIBE", params=[], id=None)) == {"result": None, "id": None}
            refused = await asked(asking, method="SUBSCRIBE", params=[f"s{n}" for n in range(MAX_STREAMS + 1)], id=3)
            assert (refused["error"]["code"], refused["id"]) == (2, 3)
            await asking.send("no JSON")
            assert (await event(asking))["error"]["code"] == 3
            await asking.send(b'{"method":"LIST_SUBSCRIPTIONS","id":5}')
            assert (await event(asking))["id"] == 5

    against(scene)


def test_what_is_committed_after_the_handshake_is_heard() -> None:
    async def scene(room: Room) -> None:
        for number in range(1, 30):
            async with room.bare() as connection:
                assert await room.deposit() == number
                assert [(await event(connection))["U"], (await event(connection))["U"]] == [number, number]

    against(scene)


def test_an_unknown_key_is_taken_and_silent() -> None:
    async def scene(room: Room) -> None:
        async with connect(f"{room.url}/pm/ws/{'0' * 64}") as connection:
            await room.deposit()
            assert (await asked(connection, method="LIST_SUBSCRIPTIONS", id=1))["result"] == ["0" * 64]

    against(scene)


@pytest.mark.parametrize("path", ["/", "/ws/x", "/pm", "/papi/v1/ping", "/pm/stream/x"])
def test_an_address_that_is_none_is_answered_404(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(room: Room) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{room.url}{path}")
        assert refused.value.response.status_code == 404
        assert json.loads(refused.value.response.body)["code"] == -5000

    against(scene)
    assert caplog.messages == []


def test_a_handshake_that_is_none_is_refused_and_the_next_caller_served() -> None:
    async def scene(room: Room) -> None:
        for head in (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
            writer.write(b"GET /papi/v1/ping HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            assert answer[9:12] in {b"400", b"426", b"200"}
            writer.close()
        async with room.bare():
            pass

    against(scene)


def test_a_websocket_outlives_the_patience_for_request_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_WAIT_S", 0.2)

    async def scene(room: Room) -> None:
        async with room.bare() as connection:
            await asyncio.sleep(0.5)
            await room.deposit()
            assert (await event(connection))["U"] == 1

    against(scene)


def test_pings_are_answered_at_once_and_sent_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PING_EVERY_S", 0.3)
    monkeypatch.setattr(server, "PONG_WITHIN_S", 0.3)

    async def scene(room: Room) -> None:
        async with room.bare(ping_interval=None) as connection:
            await asyncio.wait_for(await connection.ping(b"mine"), PATIENCE_S)
            await connection.pong(b"unasked")
            await asyncio.sleep(1)
            await room.deposit()
            assert (await event(connection))["U"] == 1, "who answers stays"
        reader, writer = await handshake(room)
        assert (await asyncio.wait_for(reader.readexactly(2), PATIENCE_S)) == b"\x89\x04"
        assert b"keepalive" in await asyncio.wait_for(reader.read(), PATIENCE_S), "who does not is closed"
        writer.close()

    against(scene)


async def handshake(room: Room) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A subscriber that answers nothing, and reads what it likes."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    caller.setblocking(False)
    await asyncio.get_running_loop().sock_connect(caller, ("127.0.0.1", room.port))
    reader, writer = await asyncio.open_connection(sock=caller, limit=1_024)
    writer.write(
        f"GET /pm/ws/{room.key} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    return reader, writer


def test_more_than_ten_messages_a_second_end_the_connection() -> None:
    async def scene(room: Room) -> None:
        async with room.bare(ping_interval=None) as patient, room.bare(ping_interval=None) as hasty:
            for number in range(MAX_STREAM_MESSAGES_A_SECOND):
                await patient.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            for number in range(MAX_STREAM_MESSAGES_A_SECOND):
                assert (await event(patient))["id"] == number
            for _ in range(MAX_STREAM_MESSAGES_A_SECOND // 2 + 1):
                await hasty.send("{}")
                await hasty.ping()
            assert await closed(hasty) == (1008, "Too many requests")
            await asyncio.sleep(1)
            assert (await asked(patient, method="LIST_SUBSCRIPTIONS", id="later"))["id"] == "later"

    against(scene)


def test_a_message_over_the_limit_ends_the_connection() -> None:
    async def scene(room: Room) -> None:
        async with room.bare() as connection:
            await connection.send(" " * (MAX_STREAM_MESSAGE_BYTES + 1))
            assert (await closed(connection))[0] == 1009

    against(scene)


def test_who_does_not_read_is_closed_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BACKLOG_BYTES", 100_000)
    monkeypatch.setattr(wire, "LINGER_S", 0.2)
    largest = 0
    original = wire.Wire.deliver

    def deliver(self: wire.Wire, frames: bytes) -> None:
        nonlocal largest
        original(self, frames)
        largest = max(largest, self.transport.get_write_buffer_size())

    monkeypatch.setattr(wire.Wire, "deliver", deliver)

    async def scene(room: Room) -> None:
        reader, writer = await handshake(room)
        async with room.bare() as connection:
            for number in range(1, 400):
                await asyncio.wait_for(room.venue.submit_all([(room.alice, ONE)] * 100), PATIENCE_S)
                told = [await event(connection) for _ in range(200)]
                assert [each["U"] for each in told[::2]] == list(range(100 * number - 99, 100 * number + 1))
                if largest > 100_000:
                    break
        assert 100_000 < largest < 101_000
        with suppress(ConnectionError):
            while await asyncio.wait_for(reader.read(65_536), PATIENCE_S):
                pass
        writer.close()

    against(scene)


def test_the_end_of_the_server_is_told(tmp_path: Path) -> None:
    with (
        running(tmp_path, SCENARIO) as program,
        connect_sync(f"ws://127.0.0.1:{program.port}/pm/stream", proxy=None) as connection,
    ):
        assert program.stop() == 0
        with pytest.raises(ConnectionClosed):
            connection.recv(PATIENCE_S)
        assert connection.close_code == 1012


# Two programs on one store --------------------------------------------------------------------------------------------

SCENARIO = """
[[account]]
name = "alice"
[[account.key]]
api_key = "alice"
secret = "alice-secret"
[account.UM]
USDT = "5"
"""


@pytest.fixture(params=["sqlite", "postgres"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Program, Program]]:
    with ExitStack() as stack:
        store = f"sqlite:///{tmp_path / 'venue.sqlite'}"
        if request.param == "postgres":
            store = stack.enter_context(databases.new_schema(request.getfixturevalue("postgres_server")))
        programs = [stack.enter_context(running(tmp_path, SCENARIO, store=store)) for _ in range(2)]
        yield programs[0], programs[1]


def called(program: Program, method: str, path: str, query: bytes = b"") -> Any:
    address = f"{program.url}/papi/v1/{path}?{query.decode()}"
    request = urllib.request.Request(address, method=method, headers={"X-MBX-APIKEY": "alice"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.loads(answer.read())


def signed(program: Program) -> bytes:
    text = b"timestamp=%d" % called(program, "GET", "time")["serverTime"]
    return text + b"&signature=" + plain("alice").sign(text)


def test_a_collection_taken_by_one_is_heard_by_a_subscriber_of_the_other(two: tuple[Program, Program]) -> None:
    one, other = two
    key = called(one, "POST", "listenKey")["listenKey"]
    assert called(other, "POST", "listenKey")["listenKey"] == key
    with connect_sync(f"ws://127.0.0.1:{other.port}/pm/ws/{key}", proxy=None) as connection:
        assert called(one, "POST", "auto-collection", signed(one)) == {"msg": "success"}
        told = [json.loads(connection.recv(PATIENCE_S)) for _ in range(3)]
        assert [event["e"] for event in told] == ["ACCOUNT_UPDATE", "balanceUpdate", "outboundAccountPosition"]
        assert told[0]["a"]["B"] == [{"a": "USDT", "wb": "0.00000000", "cw": "0.00000000", "bc": "-5.00000000"}]
        assert called(one, "DELETE", "listenKey") == {}
        with pytest.raises(ConnectionClosed):
            connection.recv(PATIENCE_S)
