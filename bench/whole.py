"""What goes over the whole venue: `verify` of a long journal, and `collect --all` of many accounts, as anybody runs
them: the command line, from its start to its exit code. Every figure is of one run, for a run takes its minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench import process, seed
from bench.figure import AT_MOST, Figure, Plan

PART = "whole"
ACCOUNTS = 10_000
VERIFY_S = 120
COLLECT_S = 25
GROWTH = 1.2
"""Memory over the second half of a verify, against that of the first: every account is met early in it."""
LOOKED_AT_EVERY_S = 0.1


class Run(NamedTuple):
    """A verb that was run: what it answered, how long it took, and its resident memory in MiB on the way."""

    answer: dict[str, Any]
    seconds: float
    mib: list[float]


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part."""
    return [*_verify(plan), *_collect(plan)]


def _verify(plan: Plan) -> list[Figure]:
    path = plan.folder / "journal.db"
    accounts = plan.pick(600, ACCOUNTS)
    records = plan.pick(60_000, 10_000_000)
    started = time.perf_counter()
    seed.add_accounts(path, accounts)
    seed.add_history(path, accounts, records // accounts)
    made = time.perf_counter() - started
    os.sync()
    run = _run(path, "verify")
    path.unlink()
    if not run.answer["ok"] or run.answer["records"] != records:
        raise RuntimeError(f"not all of it was verified: {run.answer['records']} records, ok: {run.answer['ok']}")
    half = len(run.mib) // 2
    growth = max(run.mib[half:]) / max(run.mib[:half])
    return [
        Figure(PART, f"verify of {records:,} records", run.seconds, "s", VERIFY_S, AT_MOST, f"made in {made:.0f} s"),
        Figure(PART, "its memory", max(run.mib), "MiB", note="all processes"),
        Figure(PART, "second half over first", growth, "", GROWTH, AT_MOST, "memory is flat"),
    ]


def _collect(plan: Plan) -> list[Figure]:
    path = plan.folder / "accounts.db"
    accounts = plan.pick(2_000, 1_000_000)
    seed.add_accounts(path, accounts, funded=True)
    os.sync()
    run = _run(path, "collect", "--all")
    path.unlink()
    if run.answer["transfers"] != accounts * len(seed.FUNDS):
        raise RuntimeError(f"not everybody was collected: {run.answer}")
    return [Figure(PART, f"collect --all, {accounts:,} accounts", run.seconds, "s", COLLECT_S, AT_MOST)]


def _run(path: Path, *verb: str) -> Run:
    command = [sys.executable, "-m", "catchment", *verb, "--store", f"sqlite:///{path}", "--json"]
    mib: list[float] = []
    ended = threading.Event()
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=process.ROOT, stdout=subprocess.PIPE) as running:

        def watch() -> None:
            with suppress(subprocess.CalledProcessError):  # it has just ended
                while not ended.wait(LOOKED_AT_EVERY_S):
                    mib.append(process.resident_mib(running.pid))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            answer, _ = running.communicate()
        finally:
            running.kill()
            ended.set()
            watching.join()
    seconds = time.perf_counter() - started
    if running.returncode:
        raise RuntimeError(f"{' '.join(verb)} ended with {running.returncode}: {answer.decode()[-2_000:]}")
    return Run(msgspec.json.decode(answer), seconds, mib)
