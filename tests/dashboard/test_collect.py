"""The button: what is previewed is what happens, one confirmation moves money once, and every refusal moves nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from catchment import errors
from catchment.config import Settings
from catchment.dashboard import presses
from catchment.dashboard.people import form_token
from catchment.dashboard.presses import Pressed, press
from catchment.errors import Rejection
from catchment.ledger.commands import Adjustment, AutoCollection, Reason, Trigger
from catchment.venue import Venue
from catchment.wallet import Wallet
from tests.dashboard.browser import HOST, Answer, Browser, Venues, open_venues


@pytest.fixture
def venues() -> Iterator[Venues]:
    with open_venues() as opened:
        yield opened


def moves(page: Answer, table: str) -> list[tuple[str, str, str]]:
    """Asset, wallet and amount of each row of a table."""
    body = page.text.partition(f'id="{table}"')[2].partition("</table>")[0]
    return re.findall(r'data-asset="(\w+)" data-(?:from|in)="(\w+)".*?value="([^"]*)"', body, re.DOTALL)


def confirm(venues: Venues, browser: Browser, page: Answer, name: str = "alice", **more: str) -> Answer:
    fields = {"token": page.field("token"), "number": page.field("number")} | more
    return browser.post(venues.path(name, "collect"), fields)


def test_the_preview_is_what_happens(venues: Venues) -> None:
    browser = venues.browser("alice")
    before = venues.records("alice")
    preview = browser.get(venues.path("alice", "collect"))
    assert venues.records("alice") == before
    expected = [
        ("USDT", "um", "1234567.50000000"),
        ("BTC", "cm", "0.25000000"),
        ("BNB", "cm", "1.00000000"),
    ]
    assert moves(preview, "moves") == expected
    assert moves(preview, "stays") == [("BNB", "um", "3.00000000"), ("ETH", "um", "-0.40000000")]
    assert "9 of 10 left after this" in preview.text

    done = confirm(venues, browser, preview)
    assert done.status == 200
    assert sorted(moves(done, "moved")) == sorted(expected)
    assert f'data-number="{before + 1}" data-kind="auto-collection" data-again="no"' in done.text
    (newest,) = venues.run(venues.venue.history(venues.account("alice"), limit=1))
    assert newest.record.command == AutoCollection(Trigger.BUTTON)
    assert "1234577.50000000" in done.text


def test_nothing_to_move_is_said_and_asks_for_no_confirmation(venues: Venues) -> None:
    browser = venues.browser("alice")
    confirm(venues, browser, browser.get(venues.path("alice", "collect")))
    page = browser.get(venues.path("alice", "collect"))
    assert "There is nothing to move." in page.text
    assert 'id="confirm"' not in page.text
    assert moves(page, "stays") == [("BNB", "um", "3.00000000"), ("ETH", "um", "-0.40000000")]


def test_the_second_press_shows_what_the_first_did(venues: Venues) -> None:
    browser, tab = venues.browser("alice"), venues.browser("alice")
    preview, other = browser.get(venues.path("alice", "collect")), tab.get(venues.path("alice", "collect"))
    first = confirm(venues, browser, preview)
    again = confirm(venues, browser, preview)
    in_a_tab = confirm(venues, tab, other)
    assert 'data-again="no"' in first.text
    for answer in (again, in_a_tab):
        assert 'data-again="yes"' in answer.text
        assert moves(answer, "moved") == moves(first, "moved")
    assert venues.records("alice") == int(preview.field("number")) + 1


def test_presses_at_the_same_moment_collect_once(venues: Venues) -> None:
    browser = venues.browser("alice")
    preview = browser.get(venues.path("alice", "collect"))
    body = f"token={preview.field('token')}&number={preview.field('number')}".encode()
    path = venues.path("alice", "collect")

    async def pressed() -> list[Answer]:
        asked = (browser.ask("POST", path, body, {"origin": f"http://{HOST}"}) for _ in range(8))
        return await asyncio.gather(*asked)

    answers = venues.run(pressed())
    assert [answer.status for answer in answers] == [200] * 8
    assert sum('data-again="no"' in answer.text for answer in answers) == 1
    assert venues.records("alice") == int(preview.field("number")) + 1


def test_one_asset_alone(venues: Venues) -> None:
    browser = venues.browser("alice")
    preview = browser.get(venues.path("alice", "collect") + "?asset=BTC")
    assert moves(preview, "moves") == [("BTC", "cm", "0.25000000")]
    assert "left after this" not in preview.text
    assert moves(confirm(venues, browser, preview, asset="BTC"), "moved") == [("BTC", "cm", "0.25000000")]
    page = browser.get(venues.path("alice", "wallets")).text
    assert 'value="1234567.50000000"' in page


def test_bnb_alone_and_an_unknown_asset_are_refused(venues: Venues) -> None:
    browser = venues.browser("alice")
    before = venues.records("alice")
    page = browser.get(venues.path("alice", "collect") + "?asset=BNB")
    assert "This operation is not supported." in page.text
    assert browser.get(venues.path("alice", "collect") + "?asset=NOPE").status == 400
    token = browser.follow("/").field("token")
    for fields in (
        {"asset": "BNB", "number": "5"},
        {"asset": "NOPE", "number": "5"},
        {"number": "x"},
        {"number": "9" * 19},
        {},
    ):
        assert browser.post(venues.path("alice", "collect"), {"token": token, **fields}).status == 400
    assert venues.records("alice") == before


def test_a_refused_press_may_be_repeated(venues: Venues) -> None:
    for _ in range(10):
        venues.submit("alice", AutoCollection(Trigger.BUTTON))
    venues.submit("alice", Adjustment(Wallet.UM, "USDT", 5, Reason.REALIZED_PNL))
    browser = venues.browser("alice")
    fields = {"token": browser.follow("/").field("token"), "number": str(venues.records("alice"))}
    refused = browser.post(venues.path("alice", "collect"), fields)
    assert refused.status == 429
    assert 'data-name="COLLECTION_QUOTA"' in refused.text
    assert int(refused.headers["retry-after"]) > 0
    venues.clock.advance(86_400_000)
    browser = venues.browser("alice")
    fields["token"] = browser.follow("/").field("token")
    assert browser.post(venues.path("alice", "collect"), fields).status == 200


def test_the_operator_is_under_no_quota(venues: Venues) -> None:
    for _ in range(10):
        venues.submit("alice", AutoCollection(Trigger.BUTTON))
    venues.submit("alice", Adjustment(Wallet.UM, "USDT", 5, Reason.REALIZED_PNL))
    browser = venues.browser("*")
    assert confirm(venues, browser, browser.get(venues.path("alice", "collect"))).status == 200
    (newest,) = venues.run(venues.venue.history(venues.account("alice"), limit=1))
    assert newest.record.command == AutoCollection(Trigger.OPERATOR)


def test_a_press_without_an_outcome_is_never_repeated(venues: Venues, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit may have happened: nobody moves money again on a guess."""
    account = venues.account("alice")
    command = AutoCollection(Trigger.BUTTON)
    submitted = []

    def lost(*asked: object) -> asyncio.Future[Rejection]:
        submitted.append(asked)
        answer: asyncio.Future[Rejection] = asyncio.get_running_loop().create_future()
        answer.set_result(errors.OUTCOME_UNKNOWN())
        return answer

    async def pressed() -> Pressed | Rejection:
        return await press(venues.venue, account, command, 9)

    monkeypatch.setattr(presses, "WAITED_S", 0)
    with monkeypatch.context() as broken:
        broken.setattr(venues.venue, "submit", lost)
        for _ in range(2):
            answer = venues.run(pressed())
            assert isinstance(answer, Rejection)
            assert answer.refusal is errors.OUTCOME_UNKNOWN
    assert len(submitted) == 1
    venues.clock.advance(presses.UNKNOWN_MS)
    answer = venues.run(pressed())
    assert isinstance(answer, Pressed), "after that time it has failed or is in the journal"


def test_two_processes_press_once(tmp_path: object) -> None:
    """Two venues on one store, as two server processes are."""

    async def pressed() -> tuple[list[Pressed | Rejection], int]:
        settings = Settings(store=f"sqlite:///{tmp_path}/venue.db")
        one, other = await Venue.open(settings), await Venue.open(settings)
        try:
            account = await one.add_account("alice")
            assert not isinstance(account, Rejection)
            await one.submit(account.id, Adjustment(Wallet.UM, "USDT", 5, Reason.REALIZED_PNL))
            asked = (press(venue, account.id, AutoCollection(Trigger.BUTTON), 1) for venue in (one, other) * 4)
            answers = await asyncio.gather(*asked)
            state = await one.state(account.id)
            assert state is not None
            return answers, state.number
        finally:
            await one.close()
            await other.close()

    answers, number = asyncio.run(pressed())
    assert all(isinstance(answer, Pressed) for answer in answers)
    assert [answer.again for answer in answers if isinstance(answer, Pressed)].count(False) == 1
    assert number == 2


def test_the_token_of_a_form_is_the_session_s(venues: Venues) -> None:
    browser = venues.browser("alice")
    assert browser.follow("/").field("token") == form_token(next(iter(browser.cookies.values())))
