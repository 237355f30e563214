"""Pictures of every page, in both languages, both looks and both widths. `make screenshots`."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, sync_playwright

from catchment.clock import FrozenClock
from tests.browser import visitor
from tests.browser.conftest import TOOL
from tests.browser.house import OPERATOR, frozen
from tests.browser.pages import AT_THE_DOOR, DIALOGS, VENUE, Stage, name_of, owner_of
from tests.browser.visitor import NARROW, WIDE, Visitor

FOLDER: Final = Path(__file__).parents[2] / "screenshots"
LANGUAGES: Final = ("en", "zh")
LOOKS: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


def main() -> None:
    """Each language on a venue of its own, because the dialogs change what is on it."""
    path = subprocess.run([str(TOOL)], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    with sync_playwright() as playwright, visitor.browser(playwright, path) as chromium:
        for language in LANGUAGES:
            with frozen(FrozenClock().now()) as house:
                take(chromium, Stage(house), language)
    sys.stdout.write(f"{len(list(FOLDER.iterdir()))} pictures in {FOLDER.name}/\n")


def take(chromium: Browser, stage: Stage, language: str) -> None:
    """Every page in one language."""
    stranger = Visitor(chromium, stage.house, language=language)
    for name, act in AT_THE_DOOR.items():
        act(stranger)
        picture(stranger, f"{name}-{language}")
    people: dict[str, Visitor] = {}
    for path, address in stage.addresses().items():
        name = owner_of(path)
        visitor = people[name] = people.get(name) or Visitor(chromium, stage.house, name, language=language)
        visitor.page.goto(address)
        if "{account}" in path:
            visitor.is_live()
        picture(visitor, f"{name_of(path)}-{language}")
    for name, act in DIALOGS.items():
        act(people["alice"])
        picture(people["alice"], f"dialog-{name}-{language}")
    for name, act in VENUE.items():
        act(people[OPERATOR])
        picture(people[OPERATOR], f"operator-{name}-{language}")
    for each in (stranger, *people.values()):
        each.leave()


def picture(visitor: Visitor, name: str) -> None:
    """The page as it is, in both widths and both looks; a dialog as the window shows it."""
    for (width, height), look in product((WIDE, NARROW), LOOKS):
        visitor.page.set_viewport_size({"width": width, "height": height})
        visitor.page.emulate_media(color_scheme=look, reduced_motion="reduce")
        # The flow is drawn anew a little after the width has changed.
        visitor.page.wait_for_function(
            "() => { const drawn = document.querySelector('#sankey svg');"
            " return !drawn || drawn.getAttribute('width') == drawn.parentElement.clientWidth }"
        )
        whole = not visitor.page.locator("dialog[open]").count()
        visitor.page.screenshot(path=FOLDER / f"{name}-{look}-{width}.png", full_page=whole)


if __name__ == "__main__":
    main()
