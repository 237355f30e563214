"""How pages look and are reached: both languages, both looks, both widths, without barriers, and by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from catchment.clock import FrozenClock
from catchment.ledger.commands import AutoCollection, Trigger
from tests.browser.conftest import Visit
from tests.browser.house import OPERATOR, PASSWORD, Started, frozen, records, settle
from tests.browser.pages import AT_THE_DOOR, DIALOGS, VENUE, Act, Stage, owner_of
from tests.browser.visitor import NARROW, WIDE, Visitor

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
LOOKS: dict[Literal["light", "dark"], list[str]] = {"light": [], "dark": ["color-contrast"]}
"""What is looked for in which look: all rules, and in the other the one that colours can break."""
OVER = """Math.max(...[document.documentElement, ...document.querySelectorAll("dialog[open]")]
    .map(one => one.scrollWidth - one.clientWidth))"""
"""By how much a page, or the dialog on it, is wider than it is shown."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with frozen(FrozenClock().now()) as house:
        yield Stage(house)


@pytest.fixture
def visitor(stage: Stage, visit: Visit) -> Visitor:
    return visit(stage.house)


def barriers(page: Page) -> list[str]:
    """What axe finds in the page as it is, in both looks and both widths."""
    found = []
    for width, height in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": height})
        for look, rules in LOOKS.items():
            page.emulate_media(color_scheme=look, reduced_motion="reduce")
            found += [f"{width} {look}: {sentence}" for sentence in violations(page, rules)]
        over = page.evaluate(OVER)
        found += [f"{width}: {over} pixels are over the edge"] if over else []
    return found


def violations(page: Page, rules: Sequence[str] = ()) -> list[str]:
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE)
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    answer: list[Any] = page.evaluate("options => axe.run(options).then(found => found.violations)", options)
    return [f"{each['id']}: {', '.join(node['html'][:160] for node in each['nodes'])}" for each in answer]


def test_a_barrier_is_found(visitor: Visitor) -> None:
    visitor.page.goto("/dashboard/sign-in")
    assert violations(visitor.page) == []
    visitor.page.evaluate("document.querySelector('label').remove()")
    (found,) = violations(visitor.page)
    assert found.startswith("label: <input")


@pytest.mark.parametrize("name", AT_THE_DOOR)
def test_no_barrier_at_the_door(visitor: Visitor, name: str) -> None:
    AT_THE_DOOR[name](visitor)
    assert barriers(visitor.page) == []


def test_no_barrier_on_any_page(stage: Stage, visit: Visit) -> None:
    visitors: dict[str, Visitor] = {}
    for path, address in stage.addresses().items():
        name = owner_of(path)
        visitor = visitors[name] = visitors.get(name) or visit(stage.house, name)
        visitor.page.goto(address)
        if "{account}" in path:
            visitor.is_live()
        assert (path, barriers(visitor.page)) == (path, [])


@pytest.mark.parametrize(("name", "acts"), [("alice", DIALOGS), (OPERATOR, VENUE)])
def test_no_barrier_in_any_dialog(stage: Stage, visit: Visit, name: str, acts: dict[str, Act]) -> None:
    visitor = visit(stage.house, name)
    for what, act in acts.items():
        act(visitor)
        assert (what, barriers(visitor.page)) == (what, [])


def test_the_language_is_the_browser_s_until_one_is_chosen(stage: Stage, visit: Visit) -> None:
    visitor = visit(stage.house, language="zh-CN")
    page = visitor.page
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator("h1")).to_have_text("登录")
    page.click("#language-en")
    expect(page.locator("h1")).to_have_text("Sign in")
    visitor.sign_in("alice")
    visitor.go("history")
    expect(page.locator("h1")).to_have_text("History")
    page.click("#language-zh")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator("#history-title")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")


def ground(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


def test_the_look_is_the_system_s_until_one_is_chosen(stage: Stage, visit: Visit) -> None:
    visitor = visit(stage.house, "alice")
    page = visitor.page
    page.emulate_media(color_scheme="light")
    light = ground(page)
    page.emulate_media(color_scheme="dark")
    dark = ground(page)
    assert light != dark
    page.click("#look-light")
    expect(page.locator("#look-light")).to_have_attribute("aria-pressed", "true")
    assert ground(page) == light
    page.emulate_media(color_scheme="light")
    page.click("#look-dark")
    expect(page.locator("#look-dark")).to_have_attribute("aria-pressed", "true")
    assert ground(page) == dark
    page.click("#look-auto")
    expect(page.locator("#look-auto")).to_have_attribute("aria-pressed", "true")
    assert ground(page) == light


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until this has the focus, and say that it is seen."""
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.locator("*:focus")
        seen.append(here.evaluate_all("each => each.map(one => one.id)"))
        if seen[-1] == [wanted]:
            assert here.evaluate("one => getComputedStyle(one).outlineStyle") != "none", wanted
            return
    raise AssertionError((wanted, seen))


def test_a_keyboard_is_enough(house: Started, visit: Visit) -> None:
    account = settle(house, "keys")
    visitor = visit(house)
    page = visitor.page
    page.goto("/")
    page.keyboard.type("keys")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#aggregate")).to_be_visible()
    tab_to(page, "aggregate")
    page.keyboard.press("Enter")
    expect(page.locator("#confirm-button")).to_be_visible()
    tab_to(page, "confirm-button")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    tab_to(page, "open-bnb")
    page.keyboard.press("Enter")
    expect(page.locator("#amount")).to_be_focused()
    page.keyboard.press("Escape")
    tab_to(page, "switch-auto-repay")
    page.keyboard.press("Space")
    expect(page.locator("#switch-auto-repay")).to_have_attribute("aria-checked", "true")
    assert records(house, account)[-2].command == AutoCollection(Trigger.BUTTON)
