"""From the start of the process to the first answered ping, and what an idle venue over an empty store weighs."""

from __future__ import annotations

import time
from statistics import median

from bench import process
from bench.figure import AT_MOST, Figure, Plan

PART = "start"
SECONDS = 0.25
SETTLED_S = 0.5
MIB = 60.0


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part. Each start makes a store of its own; the first one only fills the file cache."""
    seconds, mib = [], []
    for number in range(plan.pick(2, 8)):
        store = f"sqlite:///{plan.folder / f'start-{number}.db'}"
        with process.venue(store, process.free_port(), plan.folder / "start.log") as running:
            seconds.append(running.seconds)
            time.sleep(SETTLED_S)  # its writer's process is still being started
            mib.append(process.resident_mib(running.pid))
    return [
        Figure(PART, "first answer after", median(seconds[1:]), "s", SECONDS, AT_MOST, "a new, empty store"),
        Figure(PART, "resident memory", median(mib[1:]), "MiB", MIB, AT_MOST),
    ]
