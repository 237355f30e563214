"""The SQLite engine's named statements, and how one of them serves many rows in one step."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

ROWS_AT_ONCE: Final = (64, 8, 1)
"""How many rows one statement may serve; a few fixed numbers, so that each is prepared once and kept."""


def _statements(text: str) -> dict[str, str]:
    named = re.findall(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", text, re.M | re.S)
    return {name: statement.strip() for name, statement in named}


SQL: Final = _statements(files("catchment.store").joinpath("sqlite.sql").read_text("utf-8"))


@cache
def _times(name: str, rows: int) -> str:
    """The statement with what stands before "times" repeated for so many rows."""
    return re.sub(r"(\([?, ]+\)|\?) /\* times \*/", lambda found: ", ".join([found[1]] * rows), SQL[name], count=1)


def read_rows(connection: sqlite3.Connection, name: str, keys: Sequence[Any]) -> list[Any]:
    """The rows a statement gives for keys."""
    rows: list[Any] = []
    for start, count in _parts(len(keys)):
        rows += connection.execute(_times(name, count), keys[start : start + count])
    return rows


def write_rows(connection: sqlite3.Connection, name: str, values: list[Any], width: int) -> None:
    """Write rows of `width` values each, all of them in one flat list."""
    for start, count in _parts(len(values) // width):
        connection.execute(_times(name, count), values[width * start : width * (start + count)])


def _parts(rows: int) -> Iterator[tuple[int, int]]:
    """Where each statement begins and how many rows it serves."""
    start = 0
    for count in ROWS_AT_ONCE:
        while rows - start >= count:
            yield start, count
            start += count
