"""Processes under test: started on a free port of 127.0.0.1, awaited on their socket, stopped by their id."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.load import HOST

ROOT = Path(__file__).resolve().parents[1]
STARTS_WITHIN_S = 20
STOPS_WITHIN_S = 20
POLL_S = 0.001


class Running(NamedTuple):
    """A server that answered its first ping, and how long that took from the start of the process."""

    pid: int
    port: int
    seconds: float


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(arguments: Sequence[str], port: int, log: Path, **environment: str) -> Iterator[Running]:
    """Start Python with the arguments, wait until it answers, stop it when the block ends.

    Bytecode is kept, as for anyone who starts a program twice, but beside the log and not in the tree.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept["PYTHONPYCACHEPREFIX"] = str(log.parent / "bytecode")
    with log.open("ab") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=kept | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            _await_answer(process, port, log)
            yield Running(process.pid, port, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def venue(store: str, port: int, log: Path, **environment: str) -> contextlib.AbstractContextManager[Running]:
    """A venue as anybody starts one, with its weights out of the way."""
    arguments = ["-m", "catchment", "serve", "--store", store, "--port", str(port)]
    return running(arguments, port, log, CATCHMENT_WEIGHT_PER_MINUTE="2000000000", **environment)


def resident_mib(pid: int) -> float:
    """Resident memory of a process and its children, in MiB; pages that they share are counted for each."""
    told = subprocess.run(
        ["ps", "-o", "rss=", "--pid", str(pid), "--ppid", str(pid)], stdout=subprocess.PIPE, check=True
    )
    return sum(map(int, told.stdout.split())) / 1024


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    request = b"GET /papi/v1/ping HTTP/1.1\r\nHost: %b:%d\r\n\r\n" % (HOST.encode(), port)
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=STARTS_WITHIN_S) as caller:
            caller.sendall(request)
            if caller.recv(64).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(POLL_S)
    raise RuntimeError(f"no answer on port {port}:\n{log.read_text()[-2_000:]}")
