"""The dashboard: from sending the sign-in form to the first page with its picture drawn, in Chromium, and how much is
transferred for it; and the page of history of an account with a long journal, against one with a short one."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from bench import process, seed
from bench.figure import AT_MOST, Figure, Plan
from bench.load import HOST
from catchment.config import Settings
from catchment.dashboard.people import People
from catchment.venue import Venue

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PART = "pages"
READY_MS = 200.0
FIRST_KB = 250.0
FLAT = 1.5

NAME, PASSWORD = "bench", "nothing to hide"
SHORT = 1_003
"""Records, as all counts here, such that the last three are profits, not yet collected: there is something to draw."""
PATIENCE_MS = 30_000
CHROMIUM = process.ROOT / "tools" / "chromium"
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
TOLD = """
    const now = () => performance.timeOrigin + performance.now();
    addEventListener("submit", () => sessionStorage.setItem("sent", now()), true);
    let parsed = false;
    const look = () => {
        if (!parsed || !document.querySelector("#sankey svg path")) return;
        window.ready = now() - sessionStorage.getItem("sent");
        seen.disconnect();
    };
    const seen = new MutationObserver(look);
    seen.observe(document, { childList: true, subtree: true });
    addEventListener("DOMContentLoaded", () => { parsed = true; look(); });
"""
"""Says in `window.ready` how many milliseconds after the form was sent the picture was there."""


class First(NamedTuple):
    """One sign-in: milliseconds to the first page, and bytes over the wire since the browser came."""

    ready: float
    bytes: int


def measure(plan: Plan) -> list[Figure]:
    """The figures of this part."""
    return [*measure_first(plan), *measure_history(plan)]


def chromium() -> str:
    """Where the browser is; it is installed first where there is none and that is possible."""
    found = subprocess.run([CHROMIUM], capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeError(found.stderr)
    return found.stdout.strip()


def measure_first(plan: Plan) -> list[Figure]:
    """The first page of an account among many. Each round is a browser that was never here."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the other half needs no browser

    accounts, each = plan.pick(50, 10_000), plan.pick(23, 103)
    with _served(plan.folder, "many", accounts, each) as port, sync_playwright() as playwright:
        sandbox = () if os.getuid() else ("--no-sandbox",)
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *sandbox])
        try:
            rounds = [_first_page(browser, port) for _ in range(plan.pick(3, 21))]
        finally:
            browser.close()
    ready = [one.ready for one in rounds[1:]]
    kilobytes = max(one.bytes for one in rounds) / 1_000
    told = f"{accounts:,} accounts, {accounts * each:,} records"
    return [
        Figure(PART, "first page ready", median(ready), "ms", READY_MS, AT_MOST, told),
        Figure(PART, "the slowest of them", max(ready), "ms"),
        Figure(PART, "the first since the start", rounds[0].ready, "ms"),
        Figure(PART, "transferred", kilobytes, "KB", FIRST_KB, AT_MOST, "with the sign-in page, as compressed"),
    ]


def measure_history(plan: Plan) -> list[Figure]:
    """The same page of two accounts in turns, their venues side by side: the newest records, then the middle ones."""
    long = plan.pick(5_003, 1_000_003)
    with (
        _served(plan.folder, "long", 1, long) as long_port,
        _served(plan.folder, "short", 1, SHORT) as short_port,
        ExitStack() as stack,
    ):
        clerks = [(_Clerk(port), count) for port, count in ((long_port, long), (short_port, SHORT))]
        for clerk, _count in clerks:
            stack.callback(clerk.close)
        figures = []
        for name, middle in (("newest", False), ("middle", True)):
            queries = [f"?below={count // 2}" if middle else "" for _clerk, count in clerks]
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(plan.pick(5, 101)):
                for (clerk, _count), query, told in zip(clerks, queries, times, strict=True):
                    told.append(clerk.history(query))
            slow, quick = (1_000 * median(told[1:]) for told in times)
            figures += [
                Figure(PART, f"history, {name}, {long:,} records", slow, "ms"),
                Figure(PART, f"against {SHORT:,}", slow / quick, "x", FLAT, AT_MOST, f"{quick:.1f} ms"),
            ]
    return figures


class _Clerk:
    """Somebody signed in who asks for history over one kept connection, without a browser."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_MS / 1_000)
        form = urlencode({"name": NAME, "password": PASSWORD})
        headers = {"origin": f"http://{HOST}:{port}", "content-type": "application/x-www-form-urlencoded"}
        answer = self._ask("POST", "/dashboard/sign-in", form, headers)
        self._cookie = str(answer.headers["set-cookie"]).partition(";")[0]
        self._path = f"/dashboard/accounts/{seed.account_id(0).hex()}/history"

    def history(self, query: str) -> float:
        """Seconds to the whole page."""
        began = time.perf_counter()
        answer = self._ask("GET", self._path + query, None, {"cookie": self._cookie})
        taken = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"the history was answered {answer.status}")
        return taken

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer


def _first_page(browser: Browser, port: int) -> First:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.add_init_script(TOLD)
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")
        taken: list[int] = []
        wire.on("Network.loadingFinished", lambda event: taken.append(_length(event)))
        page.goto(f"http://{HOST}:{port}/dashboard/sign-in", wait_until="load")
        page.fill("#name", NAME)
        page.fill("#password", PASSWORD)
        page.click("#sign-in button", no_wait_after=True)
        page.wait_for_function("window.ready", timeout=PATIENCE_MS)
        return First(float(page.evaluate("window.ready")), sum(taken))
    finally:
        context.close()


def _length(event: dict[str, Any]) -> int:
    return int(event["encodedDataLength"])


@contextmanager
def _served(folder: Path, name: str, accounts: int, each: int) -> Iterator[int]:
    """A venue over a store of its own, on a port; somebody who sees its first account can sign in."""
    path = folder / f"{name}.db"
    store = f"sqlite:///{path}"
    seed.add_accounts(path, accounts)
    seed.add_history(path, accounts, each)
    asyncio.run(_let_in(store))
    port = process.free_port()
    with process.venue(store, port, folder / f"{name}.log"):
        yield port


async def _let_in(store: str) -> None:
    venue = await Venue.open(Settings(store=store))
    try:
        refused = await People(venue).put(NAME, PASSWORD, seed.account_id(0).hex())
        if refused is not None:
            raise RuntimeError(refused.sentence)
    finally:
        await venue.close()
