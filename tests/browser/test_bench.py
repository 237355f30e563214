"""The bench's part that needs a browser; the others are in tests/test_bench.py."""

from __future__ import annotations

from pathlib import Path

from bench import pages
from bench.figure import Plan


def test_the_first_page_is_measured(tmp_path: Path, chromium_path: str) -> None:
    assert pages.chromium() == chromium_path
    figures = {figure.name: figure for figure in pages.measure_first(Plan(tmp_path, quick=True))}
    assert figures["first page ready"].value > 1
    assert figures["transferred"].reached
    assert figures["transferred"].value > 20, "script and style were transferred, too"
