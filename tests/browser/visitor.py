"""Somebody at a browser, and everything that goes wrong in it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright, Request, Route, expect

from tests.browser.house import PASSWORD, House

PATIENCE_MS: Final = 30_000
WIDE: Final = (1280, 860)
NARROW: Final = (380, 800)
FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Whatever calls home all the same finds nobody there.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def browser(playwright: Playwright, path: str) -> Iterator[Browser]:
    """Chromium at this path, without a window."""
    chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
    try:
        yield chromium
    finally:
        chromium.close()


class Held:
    """The first request of a kind that a page sends from now on, held back until it is let go."""

    def __init__(self, page: Page, pattern: str, method: str = "GET") -> None:
        self._routes: list[Route] = []
        self._page = page
        self._method = method
        page.route(pattern, self._hold)

    def _hold(self, route: Route) -> None:
        if route.request.method == self._method and not self._routes:
            self._routes.append(route)
        else:
            route.continue_()

    def wait(self) -> Route:
        """Until it is held."""
        give_up = time.monotonic() + PATIENCE_MS / 1_000
        while not self._routes:
            assert time.monotonic() < give_up
            self._page.evaluate("new Promise(requestAnimationFrame)")
        return self._routes[0]


class Visitor:
    """A person with a browser of their own. `faults` is what no page should do; a test that provokes one takes it off
    with `faulted`, and none may be left at the end."""

    def __init__(self, chromium: Browser, house: House, name: str = "", *, language: str = "en") -> None:
        self.house = house
        self.faults: list[str] = []
        self.account = ""
        """The id of the account that the person sees."""
        width, height = WIDE
        self.context = chromium.new_context(
            locale=language, viewport={"width": width, "height": height}, base_url=house.url, accept_downloads=True
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        self.context.on("requestfailed", self._failed)
        self.context.on("request", self._asked)
        self.page = self.context.new_page()
        if name:
            self.sign_in(name)

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        self.page.goto("/")
        self.page.fill("#name", name)
        self.page.fill("#password", password)
        self.page.click("#sign-in button")
        if found := re.search(r"/accounts/([0-9a-f]+)/", self.page.url):
            self.account = found[1]

    def go(self, page: str, tab: Page | None = None) -> Page:
        """To a page of the account, in this tab or another."""
        tab = tab or self.page
        tab.goto(f"/dashboard/accounts/{self.account}/{page}")
        return tab

    def another_tab(self, page: str) -> Page:
        return self.go(page, self.context.new_page())

    def held(self, asset: str, place: str, tab: Page | None = None) -> Locator:
        """A number of the table of wallets; its attribute `value` is the exact text."""
        return (tab or self.page).locator(f"#asset-{asset} td[data-place={place}] data").first

    def is_live(self, tab: Page | None = None) -> None:
        """Wait until the page is kept up to date."""
        expect((tab or self.page).locator("#live")).to_have_attribute("data-state", "on")

    def faulted(self, pattern: str) -> None:
        """Take off the faults that fit; there must be some."""
        assert self.forgive(pattern), (pattern, self.faults)

    def forgive(self, pattern: str) -> list[str]:
        """Take off the faults that fit, if there are any; gives them."""
        found = [fault for fault in self.faults if re.search(pattern, fault)]
        self.faults[:] = [fault for fault in self.faults if fault not in found]
        return found

    def leave(self) -> None:
        self.context.close()
        assert not self.faults, "\n".join(self.faults)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text} {message.location['url']}")

    def _failed(self, request: Request) -> None:
        # Whoever leaves a page gives up what it was still asking for.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.failure} {request.url}")

    def _asked(self, request: Request) -> None:
        asked = urlsplit(request.url)
        if asked.scheme != "data" and f"{asked.scheme}://{asked.netloc}" != self.house.url:
            self.faults.append(f"elsewhere: {request.url}")
