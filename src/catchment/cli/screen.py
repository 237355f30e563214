"""Tables and lines on a terminal; elsewhere plain columns for grep and awk, without box, colour or folding."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import click

Row = Sequence[str]

EMPTY = "-"
"""What a plain column shows for nothing, so that columns can be counted."""


class Column(NamedTuple):
    """A heading, whether numbers stand under it (right-aligned), how wide it is at least in plain text, and whether a
    terminal keeps its cells on one line."""

    name: str
    number: bool = False
    width: int = 0
    whole: bool = False


def on_terminal() -> bool:
    return sys.stdout.isatty()


def errors_on_terminal() -> bool:
    return sys.stderr.isatty()


def line(text: str = "") -> None:
    click.echo(text)


def wrapped(text: str, indent: int) -> str:
    """The text on as many lines as a terminal needs, all but the first indented; one line elsewhere."""
    if not on_terminal():
        return text
    width = max(shutil.get_terminal_size().columns - indent, 20)
    return f"\n{' ' * indent}".join(textwrap.wrap(text, width))


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Lines of a name and a value, the values in one column."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        label = click.style(name.ljust(width), dim=True) if on_terminal() else name.ljust(width)
        click.echo(f"{label}  {value}")


def table(columns: Sequence[Column], rows: Sequence[Row], title: str = "") -> None:
    """A table with a title over it. Numbers are exact text and end in one line."""
    if on_terminal():
        _boxed(columns, rows, title)
        return
    if title:
        click.echo(title)
    for text in plain(columns, rows):
        click.echo(text)


def plain(columns: Sequence[Column], rows: Sequence[Row], heading: bool = True) -> Iterator[str]:
    """The lines of a plain table: two blanks between columns, none at the end."""
    heads = [column.name.upper().replace(" ", "_") for column in columns]
    if on_terminal():
        heads = [column.name for column in columns]
    cells = [[cell or EMPTY for cell in row] for row in rows]
    shown = [heads, *cells]
    widths = [max(column.width, *(len(row[at]) for row in shown)) for at, column in enumerate(columns)]
    for row in shown if heading else cells:
        aligned = (
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        yield "  ".join(aligned).rstrip()


def _boxed(columns: Sequence[Column], rows: Sequence[Row], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(
        box=box.SIMPLE_HEAD,
        header_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for column in columns:
        grid.add_column(
            column.name,
            justify="right" if column.number else "left",
            no_wrap=column.number or column.whole,
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*(Text(cell, _style(cell, column)) for cell, column in zip(row, columns, strict=True)))
    console = Console(highlight=False)
    if title:
        console.print(Text(title, "bold cyan"))
    console.print(grid)


def _style(cell: str, column: Column) -> str:
    if not column.number:
        return ""
    if cell.startswith("-"):
        return "red"
    return "" if cell.strip("0.,") else "dim"


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr if that is a terminal. What it gives is called with how many of `total` are done so far."""
    if not errors_on_terminal():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
