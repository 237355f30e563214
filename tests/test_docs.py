"""The documentation says what is true: every setting, verb and option is on its page, and coverage is up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from catchment.cli import main
from catchment.config import SENTENCES, Settings
from catchment.papi import coverage

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
IN_EVERY_VERB = {"--store", "--config", "--json", "--help"}


def _verbs(group: click.Command, name: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        for part, command in group.commands.items():
            yield from _verbs(command, (*name, part))
    else:
        yield " ".join(name), group


@pytest.mark.parametrize(("verb", "command"), list(_verbs(main)), ids=lambda value: str(value)[:20])
def test_every_verb_and_option_is_on_the_command_line_page(verb: str, command: click.Command) -> None:
    page = (DOCS / "reference" / "cli.md").read_text("utf-8")
    assert f"`{verb}" in page
    for parameter in command.params:
        for option in set(parameter.opts) - IN_EVERY_VERB:
            assert not option.startswith("--") or option in page, f"{verb} {option}"


def test_every_setting_is_on_the_settings_page_with_its_default() -> None:
    page = (DOCS / "reference" / "settings.md").read_text("utf-8")
    defaults = Settings()
    for name in SENTENCES:
        line = next((line for line in page.splitlines() if line.startswith(f"| `{name}` |")), "")
        assert line, name
        default = getattr(defaults, name)
        if default not in ("", {}):
            assert f"`{str(default).lower()}`" in line.lower(), name


def test_the_coverage_page_is_up_to_date() -> None:
    assert (DOCS / "coverage.md").read_text("utf-8") == coverage.markdown()
