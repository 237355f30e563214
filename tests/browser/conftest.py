"""Chromium, the program, and people who look at it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser import visitor
from tests.browser.house import Frozen, House, Started, frozen, hire
from tests.browser.visitor import Visitor

TOOL = Path(__file__).parents[2] / "tools" / "chromium"

Visit = Callable[..., Visitor]
Freeze = Callable[[int], Frozen]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where Chromium is. Without it a test is skipped, and says why; where everything has to be tested, it fails."""
    found = subprocess.run([str(TOOL)], capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return found.stdout.strip()
    reason = found.stderr.strip().rpartition("\n")[2]
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Browser]:
    """Not longer than a module: as long as it is driven, nothing else can run an event loop in this thread."""
    with sync_playwright() as playwright, visitor.browser(playwright, chromium_path) as started:
        yield started


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The program, for all tests that leave it running; each makes accounts of its own."""
    started = Started(tmp_path_factory.mktemp("venue"))
    try:
        hire(started)
        yield started
    finally:
        started.stop()


@pytest.fixture
def freeze() -> Iterator[Freeze]:
    """Opens venues on frozen clocks, as `frozen` does; they stay until their visitors have left."""
    with ExitStack() as stack:

        def opened(now: int) -> Frozen:
            return stack.enter_context(frozen(now))

        yield opened


@pytest.fixture
def visit(chromium: Browser, freeze: Freeze) -> Iterator[Visit]:
    """Brings somebody to a house; at the end nothing may have gone wrong in any of their browsers."""
    visitors: list[Visitor] = []

    def brought(house: House, name: str = "", *, language: str = "en") -> Visitor:
        visitors.append(Visitor(chromium, house, name, language=language))
        return visitors[-1]

    yield brought
    for each in visitors:
        each.leave()
