"""`python -m tests.simulation`: replays one seed, or plays fresh ones for a time."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback
from collections import Counter
from typing import Final

from tests.simulation.world import Result, run

FINDINGS_TOLD: Final = 20


def main() -> int:
    """Exit code 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this seed; without it, fresh seeds are played")
    parser.add_argument("--days", type=float, default=1.0, help="simulated days of each seed (default: 1)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to play fresh seeds (default: 10)")
    asked = parser.parse_args()
    if asked.seed is not None:
        result = played(asked.seed, asked.days)
        if result is not None:
            say(f"seed {asked.seed}: history {result.digest}")
            say(closing([result], 0))
        return int(result is None or bool(result.failures))
    end = time.monotonic() + asked.minutes * 60
    results: list[Result] = []
    crashed = 0
    while time.monotonic() < end:
        result = played(secrets.randbits(32), asked.days)
        if result is None:
            crashed += 1
            continue
        results.append(result)
        if len(results) % 20 == 0:
            say(f"{len(results)} seeds, {sum(one.requests for one in results)} requests, {failed(results)} failed")
    say(closing(results, crashed))
    return int(bool(crashed or failed(results)))


def played(seed: int, days: float) -> Result | None:
    """The result of a seed, with what was found said at once; None if the simulation itself fell over."""
    try:
        result = run(seed, days)
    except Exception:
        traceback.print_exc()
        say(f"seed {seed} fell over; again: python -m tests.simulation --seed {seed} --days {days:g}")
        return None
    if result.failures:
        say(f"seed {seed}: {len(result.failures)} findings; again: {result.replay}")
        for finding in result.failures[:FINDINGS_TOLD]:
            say(f"  {finding}")
    return result


def failed(results: list[Result]) -> int:
    return sum(bool(result.failures) for result in results)


def closing(results: list[Result], crashed: int) -> str:
    """The last line: how much was played, what was made to fail, and what came of it."""
    faults: Counter[str] = Counter()
    for result in results:
        faults.update(result.faults)
    by_kind = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    days, requests, commands, records = (
        sum(getattr(result, name) for result in results) for name in ("days", "requests", "commands", "records")
    )
    return (
        f"{len(results)} seeds, {days:g} simulated days, {requests} requests, {commands} direct commands, "
        f"{records} records, {faults.total()} faults ({by_kind}), {failed(results) + crashed} failures"
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
