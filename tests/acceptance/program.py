"""Starts the program as a user would, in a process of its own, and stops it by its process id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

STARTS_WITHIN_S: Final = 30
STOPS_WITHIN_S: Final = 20


class Program:
    """A running `catchment serve`; its address is on this machine."""

    def __init__(self, store: str, scenario: Path, *options: str) -> None:
        self.folder = scenario.parent
        """Where it keeps its data, and the master key of a store that is no file."""
        command = [sys.executable, "-m", "catchment", "serve", "--json", "--store", store, "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--scenario", str(scenario), *options],
            stdout=subprocess.PIPE,
            # What a developer has set or kept for a venue of their own must not reach this one.
            env={name: value for name, value in os.environ.items() if not name.startswith("CATCHMENT_")}
            | {"XDG_DATA_HOME": str(self.folder)},
        )
        self.announced = self._announcement()
        self.url: str = self.announced["url"]
        assert self.url.startswith("http://127.0.0.1:")
        self.port = int(self.url.rpartition(":")[2])

    def _announcement(self) -> dict[str, Any]:
        """The JSON document on standard output, which the program writes once it listens."""
        assert self.process.stdout is not None
        late = threading.Timer(STARTS_WITHIN_S, self.process.kill)
        late.start()
        text = b""
        try:
            for line in self.process.stdout:
                text += line
                with suppress(msgspec.DecodeError):
                    found: dict[str, Any] = msgspec.json.decode(text)
                    return found
        finally:
            late.cancel()
        raise AssertionError(f"the program ended with {self.process.wait()} before it listened: {text!r}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; says the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOPS_WITHIN_S)
        finally:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()


@contextmanager
def running(folder: Path, scenario: str, *options: str, store: str = "") -> Iterator[Program]:
    """The program over a store, by default in this folder, until the block ends; a scenario is given as text."""
    file = folder / "scenario.toml"
    file.write_text(scenario, encoding="utf-8")
    program = Program(store or f"sqlite:///{folder / 'venue.sqlite'}", file, *options)
    try:
        yield program
    finally:
        program.stop()
