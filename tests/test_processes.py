"""Several processes of one server: who answers, what happens when one dies, and that none is left."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catchment import app, processes
from catchment.cli import main
from catchment.config import Settings
from catchment.errors import Refused
from catchment.server import Address
from catchment.venue import Venue
from tests.acceptance.program import Program, running
from tests.redis_server import needs_redis, redis_server

PATIENCE_S = 30
SCENARIO = """
[[account]]
name = "alice"
UM = { USDT = "5" }
"""


def fetched(port: int, path: str = "/healthz") -> tuple[int, Any]:
    """Over a connection of its own, so that any of the processes may have it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def pids(port: int) -> set[int]:
    """Who answers, of many calls."""
    return {fetched(port)[1]["pid"] for _ in range(40)}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(group: int) -> bool:
    """Whether a server process or its writer is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def refuses(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) != 0


def test_both_answer_the_scenario_is_made_once_and_none_is_left(tmp_path: Path) -> None:
    with running(tmp_path, SCENARIO, "--processes", "2") as program:
        made = program.announced["processes"]
        assert len(set(made)) == 2
        assert program.process.pid not in made
        assert program.announced["scenario"].startswith("1 accounts made, 0 existed")
        wait_until(lambda: pids(program.port) == set(made))
        assert fetched(program.port, "/readyz") == (200, {"ready": True})
        assert program.stop(signal.SIGTERM) == 0
        assert not any(map(lives, made))
        assert refuses(program.port)
    with running(tmp_path, SCENARIO, "--processes", "2") as program:
        assert program.announced["scenario"].startswith("0 accounts made, 1 existed")
        assert program.stop(signal.SIGINT) == 0


def test_one_that_is_killed_under_load_is_replaced_and_the_other_serves_meanwhile(tmp_path: Path) -> None:
    with running(tmp_path, SCENARIO, "--processes", "2", "--weight-per-minute", "1000000000") as program:
        killed, other = program.announced["processes"]
        ended = threading.Event()
        answers: list[int] = []

        def call() -> None:
            while not ended.is_set():
                try:
                    answers.append(fetched(program.port, "/papi/v1/ping")[0])
                except (OSError, http.client.HTTPException):  # it was on its way to the one that was killed
                    answers.append(0)

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        os.kill(killed, signal.SIGKILL)
        seen: set[int] = set()

        def replaced() -> bool:
            seen.clear()
            for _ in range(40):
                try:
                    seen.add(fetched(program.port)[1]["pid"])
                except (OSError, http.client.HTTPException):
                    return False
            return len(seen) == 2

        wait_until(replaced)
        ended.set()
        for caller in callers:
            caller.join()
        assert killed not in seen
        assert other in seen
        assert set(answers) <= {0, 200}
        assert answers.count(0) < len(answers) / 10
        assert program.stop() == 0
        assert not any(map(lives, seen))


def test_without_their_parent_they_end(tmp_path: Path) -> None:
    with running(tmp_path, SCENARIO, "--processes", "2") as program:
        assert program.stop(signal.SIGKILL) == -signal.SIGKILL
        wait_until(lambda: refuses(program.port))


def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    with running(tmp_path, SCENARIO, "--processes", "2") as program:
        with closing(socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE_S)) as caller:
            caller.sendall(b"POST /papi/v1/auto-collection HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na=")
            assert fetched(program.port)[0] == 200
            program.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses(program.port))
            caller.sendall(b"1")
            assert caller.recv(10_000).startswith(b"HTTP/1.1 401")
        assert program.process.wait(PATIENCE_S) == 0


def test_the_requests_of_all_of_them_are_seen_by_anybody(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'venue.sqlite'}"
    with running(tmp_path, SCENARIO, "--processes", "2") as program:
        wait_until(lambda: len(pids(program.port)) == 2)
        for number in range(40):  # each over a connection of its own, so that both have some
            assert fetched(program.port, f"/papi/v1/ping?number={number}&signature=beefbeef")[0] == 200

        def seen() -> list[Any]:
            result = CliRunner().invoke(main, ["requests", "--store", store, "--limit", "100", "--json"])
            assert result.exit_code == 0, result.output
            found: list[Any] = json.loads(result.stdout)["requests"]
            return found

        wait_until(lambda: len(seen()) == 40)
        assert sorted(int(one["parameters"][0]["value"]) for one in seen()) == list(range(40))
        assert fetched(program.port, "/papi/v1/time?last")[0] == 200
        assert program.stop() == 0  # what was not yet kept is
        assert seen()[0]["path"] == "/papi/v1/time"
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"/papi/v1/ping" in written
    assert b"beef" not in written


@needs_redis
def test_they_share_weight_through_the_store_of_weights(tmp_path: Path) -> None:
    with redis_server(tmp_path, "s3cret") as redis:
        settings = tmp_path / "settings.toml"
        settings.write_text(f'weights = "{redis.address}"\nprocesses = 2\nweight_per_minute = 1000000\n')
        with running(tmp_path, SCENARIO, "--config", str(settings)) as program:
            assert program.announced["weights"] == f"redis://127.0.0.1:{redis.port}/0"
            wait_until(lambda: len(pids(program.port)) == 2)
            wait_until(lambda: time.time() % 60 < 55)  # so that what follows is within one minute
            first = _used(program)
            for _ in range(20):
                _used(program)
            time.sleep(0.5)  # five exchanges
            assert _used(program) == first + 21


def _used(program: Program) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=PATIENCE_S)
    with closing(connection):
        connection.request("GET", "/papi/v1/ping")
        return int(connection.getresponse().headers["X-MBX-USED-WEIGHT-1M"])


# In this process ------------------------------------------------------------------------------------------------------


def serve(store: str, opened: Callable[[Address, Sequence[int]], None], **settings: Any) -> None:
    async def prepare(venue: Venue) -> None:
        prepared.append(venue)

    prepared: list[Venue] = []
    chosen = Settings(**{"store": store, "port": 0, "processes": 2, **settings})
    app.run(processes.serve(chosen, prepare=prepare, opened=opened))
    assert len(prepared) == 1


def never(_address: Address, _pids: Sequence[int]) -> None:
    raise AssertionError("it must not open")


def test_where_the_system_does_not_spread_callers_they_share_one_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answered: list[int] = []

    def opened(address: Address, made: Sequence[int]) -> None:
        assert len(set(made)) == 2
        threading.Thread(target=call, args=(address,)).start()

    def call(address: Address) -> None:
        try:
            answered.extend(fetched(address.port)[0] for _ in range(20))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(processes, "SPREADS", False)
    serve(f"sqlite:///{tmp_path / 'venue.db'}", opened)
    assert answered == [200] * 20


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(Refused, match="memory:") as refused:
        serve("memory:", never)
    assert refused.value.rejection.name == "BAD_SETTING"


def test_a_busy_port_is_refused(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0), reuse_port=processes.SPREADS)
    with closing(listener), pytest.raises(Refused, match="port"):
        serve(f"sqlite:///{tmp_path / 'venue.db'}", never, port=listener.getsockname()[1])


@pytest.mark.parametrize("program", ["false", "nowhere"])
def test_processes_that_do_not_come_to_listen_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    executable = tmp_path / program
    if program == "false":
        executable.write_text("#!/bin/sh\nexit 7\n")
        executable.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(executable))
    with pytest.raises(Refused, match="did not come to listen") as refused:
        serve(f"sqlite:///{tmp_path / 'venue.db'}", never)
    assert ("ended with 7" in str(refused.value)) == (program == "false")


def test_the_pause_grows_with_every_death(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        pauses: list[float] = []
        place = processes._Place(Settings(), None)  # type: ignore[arg-type]
        place.listens.set()

        async def run() -> int:
            return 1

        async def sleep(pause: float) -> None:
            pauses.append(pause)
            if len(pauses) == len(processes.PAUSES_S) + 1:
                raise asyncio.CancelledError

        monkeypatch.setattr(place, "_run", run)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await place.keep()
        assert pauses == [*processes.PAUSES_S, processes.PAUSES_S[-1]]

    asyncio.run(work())
    assert "another one starts in 0.5 s" in caplog.messages[0]


def test_the_command_line_warns_when_weight_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def announced(settings: Settings, *, prepare: Any, opened: Any) -> None:
        venue = await Venue.open(settings)
        await prepare(venue)
        await venue.close()
        opened(Address("127.0.0.1", 1, "http://127.0.0.1:1"), [11, 12, 13])

    monkeypatch.setattr(processes, "serve", announced)
    words = ["serve", "--processes", "3", "--store", f"sqlite:///{tmp_path / 'venue.db'}"]
    alone = CliRunner().invoke(main, words)
    assert "processes 11, 12, 13" in alone.stdout
    assert "warning: each of the 3 processes counts weight and bans alone" in alone.stderr
    sharing = CliRunner().invoke(main, words, env={"CATCHMENT_WEIGHTS": "redis://:s3cret@127.0.0.1:1/0"})
    assert "weights   shared by redis://127.0.0.1:1/0" in sharing.stdout
    assert sharing.stderr == ""
    assert "s3cret" not in sharing.output
