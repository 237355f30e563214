"""Who gets in, and who does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from catchment.dashboard.people import ATTEMPTS_OF_A_NAME, People
from catchment.venue import Venue
from tests.browser.conftest import Visit
from tests.browser.house import OPERATOR, Started, records, settle


def test_a_name_and_a_password_lead_to_the_wallets_and_out_again(house: Started, visit: Visit) -> None:
    account = settle(house, "door")
    visitor = visit(house, "door")
    assert visitor.account == account
    expect(visitor.page.locator("#account")).to_have_text("door")
    visitor.page.click("#sign-out")
    expect(visitor.page.locator("#sign-in")).to_be_visible()
    visitor.go("wallets")
    expect(visitor.page.locator("#sign-in")).to_be_visible()


def test_a_link_signs_in_once(house: Started, visit: Visit) -> None:
    account = settle(house, "linked")

    async def made(venue: Venue) -> str:
        return await People(venue).make_link(account)

    link = f"/dashboard/link/{house.do(made)}"
    first, second = visit(house), visit(house)
    first.page.goto(link)
    expect(first.page.locator("#account")).to_have_text("linked")
    second.page.goto(link)
    expect(second.page.locator("#refused")).to_have_attribute("data-name", "LINK_SPENT")
    second.faulted("403|410")


def test_a_wrong_password_locks_the_name_out(house: Started, visit: Visit) -> None:
    settle(house, "locked")
    visitor = visit(house)
    for _ in range(ATTEMPTS_OF_A_NAME):
        visitor.sign_in("locked", "not it")
        expect(visitor.page.locator("#refused")).to_be_visible()
        expect(visitor.page.locator("#name")).to_have_value("locked")
    visitor.faulted("401")
    visitor.sign_in("locked")
    expect(visitor.page.locator("#refused")).to_contain_text("15 minutes")
    visitor.faulted("429")
    assert not visitor.context.cookies()


def test_another_account_is_not_there(house: Started, visit: Visit) -> None:
    mine, theirs = settle(house, "mine"), settle(house, "theirs")
    visitor = visit(house, "mine")
    for page in ("wallets", "collect", "bnb", "repay", "history", "records/1", "requests", "export/csv", "live"):
        visitor.page.goto(f"/dashboard/accounts/{theirs}/{page}")
        expect(visitor.page.locator("#refused")).to_have_attribute("data-name", "NO_SUCH_PAGE")
    visitor.page.goto("/dashboard/accounts")
    expect(visitor.page.locator("#refused")).to_have_attribute("data-name", "NO_SUCH_PAGE")
    visitor.faulted("404")
    before = len(records(house, theirs))
    visitor.go("collect")
    form = visitor.page.locator("#confirm")
    form.evaluate("(form, [mine, theirs]) => form.action = form.action.replace(mine, theirs)", [mine, theirs])
    form.evaluate("form => form.submit()")
    expect(visitor.page.locator("#refused")).to_have_attribute("data-name", "NO_SUCH_PAGE")
    visitor.faulted("404")
    assert len(records(house, theirs)) == before


def test_the_operator_sees_every_account(house: Started, visit: Visit) -> None:
    account = settle(house, "seen")
    visitor = visit(house, OPERATOR)
    visitor.page.fill("#find", "seen")
    visitor.page.press("#find", "Enter")
    expect(visitor.page.locator("#account")).to_have_text("seen")
    expect(visitor.page).to_have_url(f"{house.url}/dashboard/accounts/{account}/wallets")


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another site on this machine: its address, and the form that its only page sends off by itself."""
    form: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = form[-1].encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/page", form
        server.shutdown()
        thread.join()


def test_a_form_of_another_site_is_refused(house: Started, visit: Visit, elsewhere: tuple[str, list[str]]) -> None:
    """Another port is the same site, so the cookie is sent along; and it even knows the token."""
    address, form = elsewhere
    account = settle(house, "lured")
    visitor = visit(house, "lured")
    visitor.go("collect")
    whole = visitor.page.locator("#confirm").evaluate("form => form.outerHTML")
    path = f"/dashboard/accounts/{account}/collect"
    assert f'action="{path}"' in whole
    before = len(records(house, account))
    form.append(f'<!doctype html>{whole.replace(path, house.url + path)}<link rel="icon" href="data:,">')
    other = visitor.context.new_page()
    other.goto(address)
    with other.expect_request(lambda request: request.method == "POST") as sent:
        other.evaluate("document.forms[0].submit()")
    assert "catchment-" in sent.value.all_headers()["cookie"]
    expect(other.locator("#refused")).to_have_attribute("data-name", "FOREIGN_FORM")
    assert len(records(house, account)) == before
    visitor.faulted("403")
    visitor.faulted(f"elsewhere: {address}")
    visitor.page.click("#confirm-button")
    expect(visitor.page.locator("#done")).to_be_visible()
