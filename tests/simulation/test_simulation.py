"""Seeds run clean, one seed is one history, and everything that can fail does."""

import os
import secrets
import subprocess
import sys

import pytest

from tests.simulation import world
from tests.simulation.loop import Loop
from tests.simulation.stores import Fault

FRESH = secrets.randbits(32)
FIXED = (18, 26)
"""One on the engine in memory, one on SQLite; several servers on each."""


@pytest.fixture(scope="module")
def results() -> dict[int, world.Result]:
    return {}


@pytest.mark.parametrize("seed", [*FIXED, pytest.param(FRESH, id="fresh")])
def test_a_seed_runs_clean(seed: int, results: dict[int, world.Result]) -> None:
    sys.stdout.write(f"python -m tests.simulation --seed {seed}\n")
    result = results[seed] = world.run(seed, days=1)
    assert not result.failures, f"again: {result.replay}\n" + "\n".join(result.failures[:20])
    assert result.requests > 500
    assert result.records > 100


@pytest.mark.parametrize("seed", FIXED)
def test_one_seed_is_one_history(seed: int) -> None:
    """In another process, where sets and dictionaries of texts are ordered otherwise."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--days", "0.3"]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    again = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert f"history {world.run(seed, days=0.3).digest}\n" in again.stdout
    assert world.run(seed + 1, days=0.3).digest not in again.stdout


def test_everything_that_can_fail_does_on_both_engines(results: dict[int, world.Result]) -> None:
    played = [results.get(seed) or world.run(seed, days=1) for seed in FIXED]
    assert [result.store for result in played] == ["memory", "sqlite"]
    assert [set(result.faults) for result in played] == [set(Fault)] * 2


def test_an_answer_that_never_comes_is_seen_by_the_loop() -> None:
    loop = Loop()
    with pytest.raises(RuntimeError, match="nothing is due"):
        loop.run_until_complete(loop.create_future())
    loop.close()
