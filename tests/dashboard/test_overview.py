"""The operator's page of the venue: health, bans, what all accounts hold, and collecting all of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import msgspec
import pytest

from catchment.dashboard import overview, works
from catchment.dashboard.overview import Sums
from catchment.errors import Rejection
from catchment.ledger.commands import Adjustment, Deposit, Reason
from catchment.limits import Counted
from catchment.wallet import Place, Wallet
from tests.dashboard.browser import NOW, Answer, Browser, Venues, open_venues

PATIENCE_S = 20
PARTS = {"hx-request": "true"}


@pytest.fixture
def venues(monkeypatch: pytest.MonkeyPatch) -> Iterator[Venues]:
    monkeypatch.setattr(works, "TOLD_EVERY_S", 0.005)
    with open_venues() as opened:
        yield opened


def until(venues: Venues, browser: Browser, path: str, wanted: str) -> Answer:
    """The piece of the page once it says so."""

    async def asked() -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            while wanted not in (answer := await browser.ask("GET", path, b"", PARTS)).text:
                await asyncio.sleep(0.005)
            return answer

    return venues.run(asked())


def post(browser: Browser, path: str, **fields: str) -> Answer:
    token = browser.get("/dashboard/venue").field("token")
    return browser.post(path, {"token": token} | fields, hx_request="true")


def test_the_page_is_the_operators_alone(venues: Venues) -> None:
    paths = [page.path for page in overview.PAGES if page.method == "GET"]
    for path in paths:
        assert venues.browser("alice").get("/dashboard" + path).status == 404
        assert venues.browser().get("/dashboard" + path).goes == "/dashboard/sign-in"
    alice = venues.browser("alice")
    token = alice.follow("/").field("token")
    for page in overview.PAGES:
        if page.method == "POST":
            assert alice.post("/dashboard" + page.path, {"token": token, "after": "0"}).status == 404
    assert venues.records("bob") == 1


def test_it_says_that_the_venue_works_and_how_much_there_is(venues: Venues) -> None:
    text = venues.browser("*").get("/dashboard/venue").text
    assert 'id="works"' in text
    assert '<dd id="accounts-count">2</dd>' in text
    assert 'id="no-bans"' in text


def test_it_says_why_the_venue_does_not_work(venues: Venues, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ailing() -> str:
        return "the writer takes no commands: QUEUE_FULL"

    async def silent() -> None:
        await asyncio.Event().wait()

    browser = venues.browser("*")
    browser.headers["accept-language"] = "zh"
    monkeypatch.setattr(venues.venue, "ailment", ailing)
    text = browser.get("/dashboard/venue").text
    assert "写入进程不接受指令" in text
    assert "<code>QUEUE_FULL</code>" in text
    monkeypatch.setattr(venues.venue, "ailment", silent)
    monkeypatch.setattr(overview, "ANSWERED_WITHIN_S", 0.01)
    browser.headers["accept-language"] = "en"
    assert "no answer within 2 seconds" in browser.get("/dashboard/venue").text


def test_a_ban_is_shown_and_lifted(venues: Venues) -> None:
    weights = venues.venue.weights
    for address, minutes in (("192.0.2.9", 4), ("2001:db8::1", 8)):
        weights.learn(Counted(address, 0, 0, 0, NOW + minutes * 60_000, minutes // 4), NOW)
    browser = venues.browser("*")
    text = browser.get("/dashboard/venue").text
    assert re.findall(r'data-address="([^"]+)"', text) == ["2001:db8::1", "192.0.2.9"], "the longest first"
    answer = post(browser, "/dashboard/venue/lift", address="2001:db8::1")
    assert re.findall(r'data-address="([^"]+)"', answer.text) == ["192.0.2.9"]
    assert [ban.address for ban in weights.bans(NOW)] == ["192.0.2.9"]
    assert post(browser, "/dashboard/venue/lift", address="198.51.100.1").status == 200, "it was over already"


def test_what_all_accounts_hold_is_added_up(venues: Venues) -> None:
    browser = venues.browser("*")
    assert 'id="sums"' not in browser.get("/dashboard/venue").text
    answer = post(browser, "/dashboard/venue/totals", after="0")
    assert 'data-state="running"' in answer.text
    text = until(venues, browser, "/dashboard/venue/totals", 'data-state="done"').text
    assert 'id="sound"' in text
    row = re.search(r'<tr data-asset="USDT">.*?</tr>', text, re.DOTALL)
    assert row
    held = dict(re.findall(r'data-place="(\w+)"[^>]*><data class="[^"]*" value="([^"]+)"', row[0]))
    assert (held["um"], held["margin_free"], held["sum"]) == ("1234567.50000000", "10.00000000", "0.00000000")
    assert set(held) == {*Place, "sum"}
    browser.headers["accept-language"] = "zh"
    assert "合计" in browser.get("/dashboard/venue").text


def test_a_sum_beyond_64_bits_is_exact(venues: Venues) -> None:
    for name in ("alice", "bob"):
        venues.submit(name, Deposit("XRP", 2**62))
        venues.submit(name, Deposit("XRP", 2**62 - 1))
    browser = venues.browser("*")
    post(browser, "/dashboard/venue/totals", after="0")
    text = until(venues, browser, "/dashboard/venue/totals", 'data-state="done"').text
    whole = str(2 * (2**63 - 1))
    assert f'value="{whole[:-8]}.{whole[-8:]}"' in text


def test_money_from_nowhere_is_said_first() -> None:
    held = dict.fromkeys(Place, "0")
    assert Sums(1, 1, {"BTC": held}, 0, []).sound
    assert not Sums(1, 1, {"BTC": held}, 1, ["00" * 16]).sound
    odd = Sums(1, 1, {"BTC": held | {Place.UM: "1"}}, 0, [])
    assert (odd.rest("BTC"), odd.sound) == (1, False)


def test_a_broken_account_is_named(venues: Venues) -> None:
    told = works.Told(works.State.DONE, NOW, 2, NOW, NOW, 2, msgspec.Raw(b"null"))
    sums = Sums(1, 9, {"BTC": dict.fromkeys(Place, "0") | {Place.UM: "1"}}, 1, [venues.account("bob").hex()])
    text = msgspec.json.encode(msgspec.structs.replace(told, outcome=msgspec.Raw(msgspec.json.encode(sums)))).decode()
    venues.run(venues.venue.keep(works.WORK, overview.TOTALS, text))
    page = venues.browser("*").get("/dashboard/venue").text
    assert 'id="broken"' in page
    assert f'href="{venues.path("bob", "wallets")}"' in page
    assert 'id="sound"' not in page


def test_every_account_is_collected_after_one_confirmation(venues: Venues) -> None:
    browser = venues.browser("*")
    dialog = browser.get("/dashboard/venue/collect", hx_request="true")
    assert "2 accounts" in dialog.text
    assert venues.records("bob") == 1, "nothing happened yet"
    fields = {"token": dialog.field("token"), "after": dialog.field("after")}
    pressed = browser.post("/dashboard/venue/collect", fields, hx_request="true")
    assert pressed.headers["hx-redirect"] == "/dashboard/venue"
    text = until(venues, browser, "/dashboard/venue/collection", 'data-state="done"').text
    assert re.findall(r'data-asset="(\w+)"', text) == ["USDT", "USDC", "BTC", "BNB"]
    assert 'value="1234567.50000000"' in text
    records = venues.records("alice"), venues.records("bob")
    browser.post("/dashboard/venue/collect", fields, hx_request="true")
    assert (venues.records("alice"), venues.records("bob")) == records, "pressed twice, done once"
    state = venues.run(venues.venue.state(venues.account("bob")))
    assert state is not None
    assert (state.balances["USDC"].um, state.balances["USDC"].margin_free) == (0, 700_000_000)


def test_what_is_refused_is_told(venues: Venues) -> None:
    venues.submit("bob", Deposit("USDC", 2**63 - 1))
    venues.submit("alice", Adjustment(Wallet.UM, "USDT", 1, Reason.REALIZED_PNL))
    browser = venues.browser("*")
    assert post(browser, "/dashboard/venue/collect", after="x").status == 400
    post(browser, "/dashboard/venue/collect", after="0")
    text = until(venues, browser, "/dashboard/venue/collection", 'data-state="done"').text
    assert "<code>BALANCE_OVERFLOW</code>" in text


def test_a_piece_asked_for_as_a_page_is_the_page(venues: Venues) -> None:
    browser = venues.browser("*")
    for piece in ("health", "totals", "collection"):
        assert browser.get(f"/dashboard/venue/{piece}").goes == "/dashboard/venue"
    assert "<html" in browser.get("/dashboard/venue/collect").text


def test_the_list_of_accounts_has_pages_from_either_end(venues: Venues) -> None:
    for number in range(118):
        assert not isinstance(venues.run(venues.venue.add_account(f"account {number}")), Rejection)
    browser = venues.browser("*")
    everybody = [one.id.hex() for one in venues.run(venues.venue.accounts_after(None, 1_000))]
    assert len(everybody) == 120

    def shown(answer: Answer) -> list[str]:
        return re.findall(r'data-account="(\w+)"', answer.text)

    def link(answer: Answer, name: str) -> str:
        found = re.search(rf'id="{name}"[^>]* href="([^"]+)"', answer.text)
        return found[1] if found else ""

    page, seen = browser.get("/dashboard/accounts"), list[str]()
    assert "120 accounts" in page.text
    assert not link(page, "previous")
    while True:
        seen += shown(page)
        if not link(page, "next"):
            break
        page = browser.get(link(page, "next"))
    assert seen == everybody
    last = browser.get(link(browser.get("/dashboard/accounts"), "last"))
    assert shown(last) == everybody[-50:]
    assert not link(last, "next")
    before = browser.get(link(last, "previous"))
    assert shown(before) == everybody[-100:-50]
    first = browser.get(link(before, "previous"))
    assert shown(first) == everybody[:20]
    assert not link(first, "previous")
    assert shown(browser.get(link(before, "next"))) == everybody[-50:]


def test_an_account_is_found_by_name_or_id(venues: Venues) -> None:
    browser = venues.browser("*")
    for name in ("bob", venues.account("bob").hex()):
        assert browser.get(f"/dashboard/accounts?name={name}").goes == venues.path("bob", "wallets")
    missed = browser.get("/dashboard/accounts?name=nobody").text
    assert 'role="alert"' in missed
    assert 'value="nobody"' in missed
    assert len(re.findall("data-account=", browser.get("/dashboard/accounts?after=zz").text)) == 2
