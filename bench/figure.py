"""A figure: what was measured, its goal, and whether it was reached; and the table that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

AT_LEAST = ">="
AT_MOST = "<="


class Figure(msgspec.Struct, frozen=True):
    """One line of the table. `goal` is None for a figure that only explains another."""

    part: str
    name: str
    value: float
    unit: str
    goal: float | None = None
    sense: str = AT_LEAST
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.sense == AT_LEAST else self.value <= self.goal


class Plan(NamedTuple):
    """How large a run is, and the folder it works in."""

    folder: Path
    quick: bool

    def pick(self, quick: int, canonical: int) -> int:
        """A number by the size of the run."""
        return quick if self.quick else canonical


def shown(value: float, unit: str) -> str:
    """A number as people read it, with its unit."""
    digits = 0 if abs(value) >= 1_000 else 1 if abs(value) >= 100 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def table(figures: Sequence[Figure]) -> str:
    """The figures in columns: part, figure, value, goal, reached, note."""
    rows = [("part", "figure", "value", "goal", "reached", "")]
    for figure in figures:
        goal = "" if figure.goal is None else f"{figure.sense} {shown(figure.goal, figure.unit)}"
        reached = {None: "", True: "yes", False: "NO"}[figure.reached]
        rows.append((figure.part, figure.name, shown(figure.value, figure.unit), goal, reached, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for part, name, value, goal, reached, note in rows:
        cells = (
            part.ljust(widths[0]),
            name.ljust(widths[1]),
            value.rjust(widths[2]),
            goal.rjust(widths[3]),
            reached.ljust(widths[4]),
            note,
        )
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
