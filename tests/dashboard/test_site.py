"""What every answer has: its headers, its frame, no word for another host; and the files of script and style."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from catchment.dashboard import assets
from catchment.dashboard.site import FIRST, PAGES, Site
from tests.dashboard.browser import Venues, open_venues

FIRST_PAGE_BYTES = 250_000
TOOLS = Path(__file__).parents[2] / "tools" / "assets"


@pytest.fixture
def venues() -> Iterator[Venues]:
    with open_venues() as opened:
        yield opened


def test_every_answer_has_the_headers(venues: Venues) -> None:
    browser = venues.browser("alice")
    style = browser.get("/dashboard/sign-in", cookie="")
    paths = ["/", "/dashboard/", "/dashboard/nowhere", "/dashboard/static/0/x.js", venues.path("alice", "wallets")]
    for path in [*paths, assets.Files().addresses["dashboard.css"]]:
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store" or "/static/" in path
        assert "server" not in headers
    assert style.headers["cross-origin-opener-policy"] == "same-origin"


def test_no_page_names_another_host_or_has_script_or_style_in_it(venues: Venues) -> None:
    browser, operator = venues.browser("alice"), venues.browser("*")
    texts = [browser.get(venues.path("alice", page)).text for page in ("wallets", "collect", "bnb", "repay")]
    texts += [operator.get("/dashboard/accounts").text, venues.browser().get("/dashboard/sign-in").text]
    for text in texts:
        assert "http://" not in text
        assert "https://" not in text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
        assert all("src=" in script for script in re.findall(r"<script[^>]*>", text))
    style = (assets.FOLDER / "dashboard.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_every_form_that_writes_has_its_token(venues: Venues) -> None:
    browser = venues.browser("alice")
    for page in ("wallets", "collect", "bnb"):
        text = browser.get(venues.path("alice", page)).text
        forms = re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL)
        assert forms
        assert all('name="token" value="' in form for form in forms)


@pytest.mark.parametrize("page", [page for page in PAGES if page.method == "POST" and not page.open])
def test_no_page_that_writes_is_reached_from_elsewhere(venues: Venues, page: object) -> None:
    path = "/dashboard" + page.path.replace("{account}", venues.account("alice").hex())  # type: ignore[attr-defined]
    browser, before = venues.browser("alice"), venues.records("alice")
    token = browser.follow("/").field("token")
    fields = {
        "token": token,
        "number": str(before),
        "side": "FROM_UM",
        "amount": "1",
        "switch": "auto-repay",
        "to": "on",
    }
    assert browser.post(path, fields, origin="http://evil.example", sec_fetch_site="cross-site").status == 403
    assert browser.post(path, fields | {"token": "0" * 64}).status == 403
    assert venues.browser().post(path, fields).goes == "/dashboard/sign-in"
    assert venues.records("alice") == before
    assert browser.get(venues.path("alice", "wallets")).status == 200, "still signed in"


def test_an_unknown_page_and_a_wrong_method_are_refused(venues: Venues) -> None:
    browser = venues.browser("alice")
    assert browser.get("/dashboard/nowhere").status == 404
    assert browser.post(venues.path("alice", "wallets"), {}).status == 404
    assert browser.get(venues.path("alice", "switch")).status == 404


def test_files_are_kept_for_ever_under_the_hash_of_what_is_in_them(venues: Venues) -> None:
    browser = venues.browser()
    page = browser.get("/dashboard/sign-in").text
    found = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page)
    assert {Path(path).name for path in found} == {"dashboard.css", "dashboard.js", "drop.svg"}
    for path in found:
        answer = browser.get(path, accept_encoding="gzip, deflate")
        assert answer.headers["content-encoding"] == "gzip"
        assert "immutable" in answer.headers["cache-control"]
        assert sha256(gzip.decompress(answer.body)).hexdigest().startswith(path.split("/")[3])
        assert browser.get(path).body == gzip.decompress(answer.body)
        assert browser.get(path.replace("/static/", "/static/f")).status == 404
    assert browser.get("/dashboard/static/..%2f/people.py").status == 404


def test_what_the_first_sign_in_waits_for_is_ready_before_it(venues: Venues) -> None:
    venues.browser().get("/dashboard/sign-in")

    async def warmed() -> Site:
        assert venues.dashboard._warming is not None
        await venues.dashboard._warming
        assert venues.dashboard._opening is not None
        return await venues.dashboard._opening

    site = venues.run(warmed())
    for words in site._words.values():
        assert words.pages.cache is not None
        ready = {name for _loader, name in words.pages.cache.keys()}  # noqa: SIM118 - a cache is no dictionary
        assert set(FIRST) <= ready


def test_the_first_page_is_small(venues: Venues) -> None:
    browser = venues.browser("alice")
    files = sum(len(browser.get(path, accept_encoding="gzip").body) for path in assets.Files().addresses.values())
    assert files + len(browser.get(venues.path("alice", "wallets")).body) < FIRST_PAGE_BYTES


def test_the_script_was_built_from_the_pinned_packages() -> None:
    wanted = json.loads((TOOLS / "package.json").read_text())["devDependencies"]
    banner = (assets.FOLDER / "dashboard.js").read_text().partition("*/")[0]
    for name in ("htmx.org", "d3-sankey"):
        assert f"{name} {wanted[name]}" in banner, "run `make assets`"
    lock = json.loads((TOOLS / "package-lock.json").read_text())
    assert all("integrity" in package for path, package in lock["packages"].items() if path)
    assert "resolved" not in (TOOLS / "package-lock.json").read_text()


def test_nothing_of_the_pages_is_loaded_before_somebody_looks(tmp_path: Path) -> None:
    """So that starting a venue costs what it did."""
    source = (
        "import sys, catchment.app, catchment.cli\n"
        "print([name for name in ('starlette', 'jinja2', 'argon2', 'anyio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"


def test_who_comes_together_waits_for_one_loading(venues: Venues) -> None:
    async def all_at_once() -> set[int]:
        asked = (venues.browser().ask("GET", "/dashboard/sign-in", b"", {}) for _ in range(20))
        return {answer.status for answer in await asyncio.gather(*asked)}

    assert venues.run(all_at_once()) == {200}
