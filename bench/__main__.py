"""`python -m bench`: every figure in one run, side by side, and a table in the end."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import alone, ceiling, on_postgres, over_http, pages, servers, start, stream, whole, writing
from bench.figure import Figure, Plan, table

PARTS: dict[str, Callable[[Plan], list[Figure]]] = {
    ceiling.PART: ceiling.measure,
    over_http.PART: over_http.measure,
    alone.PART: alone.measure,
    start.PART: start.measure,
    stream.PART: stream.measure,
    pages.PART: pages.measure,
    writing.PART: writing.measure,
    whole.PART: whole.measure,
    on_postgres.PART: on_postgres.measure,
    servers.PART: servers.measure,
}


def main() -> int:
    """Measure, show, and say with the exit code whether every goal was reached."""
    told = _arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    started = time.monotonic()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="catchment-bench-", dir=told.folder) as folder:
        for name, measure in PARTS.items():
            if told.only in {None, name}:
                part = Path(folder) / name
                part.mkdir()
                print(f"measuring {name} ...", file=sys.stderr, flush=True)
                figures += measure(Plan(part, told.quick))
    print(table(figures))
    print(f"\n{_machine()}; {time.monotonic() - started:.0f} s")
    if told.json:
        told.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    return 1 if any(figure.reached is False for figure in figures) else 0


def _machine() -> str:
    """What the figures depend on, beside the code."""
    python = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {python}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean nothing")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made: the disk under test")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
