"""BNB both ways, repaying, and the switches: each rule holds, and each press counts once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from catchment.ledger.balance import balance_of, standing_of
from catchment.ledger.commands import (
    BnbTransfer,
    Deposit,
    RepayNegative,
    SetAutoCollection,
    SetAutoRepay,
    Side,
    Trigger,
)
from tests.dashboard.browser import Answer, Browser, Venues, open_venues


@pytest.fixture
def venues() -> Iterator[Venues]:
    with open_venues() as opened:
        yield opened


def held(venues: Venues, asset: str) -> tuple[int, int]:
    """UM and free Cross Margin, in units."""
    state = venues.run(venues.venue.state(venues.account("alice")))
    assert state is not None
    balance = balance_of(state, asset)
    return balance.um, balance.margin_free


def send(venues: Venues, browser: Browser, page: str, **fields: str) -> Answer:
    """Fill in the form of a page as it is now."""
    token = browser.follow("/").field("token")
    number = str(venues.records("alice"))
    return browser.post(venues.path("alice", page), {"token": token, "number": number, **fields})


def newest(venues: Venues) -> object:
    (found,) = venues.run(venues.venue.history(venues.account("alice"), limit=1))
    return found.record.command


def test_bnb_goes_both_ways(venues: Venues) -> None:
    browser = venues.browser("alice")
    form = browser.get(venues.path("alice", "bnb")).text
    assert 'value="3.00000000"' in form
    assert "10 of 10 left" in form
    assert send(venues, browser, "bnb", side="FROM_UM", amount=" 2.5 ").status == 200
    assert held(venues, "BNB") == (50_000_000, 250_000_000)
    assert newest(venues) == BnbTransfer(250_000_000, Side.FROM_UM, Trigger.BUTTON)
    assert send(venues, browser, "bnb", side="TO_UM", amount="0.00000001").status == 200
    assert held(venues, "BNB") == (50_000_001, 249_999_999)
    assert "8 of 10 left" in browser.get(venues.path("alice", "bnb")).text


@pytest.mark.parametrize(
    ("side", "amount", "name"),
    [
        ("FROM_UM", "3.00000001", "BALANCE_NOT_SUFFICIENT"),
        ("TO_UM", "1", "BALANCE_NOT_SUFFICIENT"),
        ("FROM_UM", "0", "AMOUNT_MUST_BE_POSITIVE"),
        ("FROM_UM", "-1", "AMOUNT_MUST_BE_POSITIVE"),
        ("FROM_UM", "1.123456789", "BAD_PRECISION"),
        ("FROM_UM", "many", "INVALID_PARAMETER"),
        ("FROM_UM", "", "INVALID_PARAMETER"),
        ("FROM_UM", "9" * 60, "AMOUNT_TOO_LARGE"),
        ("SIDEWAYS", "1", "INVALID_PARAMETER"),
    ],
)
def test_what_is_refused_is_said_over_the_form(venues: Venues, side: str, amount: str, name: str) -> None:
    browser = venues.browser("alice")
    before = venues.records("alice")
    answer = send(venues, browser, "bnb", side=side, amount=amount)
    assert answer.status == 400
    assert f'data-name="{name}"' in answer.text
    assert f'value="{amount}"' in answer.text or side == "SIDEWAYS"
    assert venues.records("alice") == before


def test_the_quota_of_bnb_transfers(venues: Venues) -> None:
    browser = venues.browser("alice")
    for _ in range(10):
        assert send(venues, browser, "bnb", side="FROM_UM", amount="0.1").status == 200
    refused = send(venues, browser, "bnb", side="FROM_UM", amount="0.1")
    assert refused.status == 429
    assert "0 of 10 left" in refused.text
    assert "It works again at 14:23 UTC." in refused.text
    venues.clock.advance(600_000)
    assert send(venues, browser, "bnb", side="FROM_UM", amount="0.1").status == 200


def test_one_form_pressed_twice_transfers_once(venues: Venues) -> None:
    browser = venues.browser("alice")
    token, number = browser.follow("/").field("token"), str(venues.records("alice"))
    fields = {"token": token, "number": number, "side": "FROM_UM", "amount": "1"}
    first, second = (browser.post(venues.path("alice", "bnb"), fields) for _ in range(2))
    assert 'data-again="no"' in first.text
    assert 'data-again="yes"' in second.text
    assert held(venues, "BNB") == (200_000_000, 100_000_000)


def test_repaying(venues: Venues) -> None:
    browser = venues.browser("alice")
    assert "There is nothing to repay" in browser.get(venues.path("alice", "repay")).text
    venues.submit("alice", Deposit("ETH", 30_000_000))
    preview = browser.get(venues.path("alice", "repay"))
    assert 'data-asset="ETH" data-to="um"' in preview.text
    assert 'value="-0.10000000"' in preview.text
    assert held(venues, "ETH") == (-40_000_000, 30_000_000)
    assert send(venues, browser, "repay").status == 200
    assert held(venues, "ETH") == (-10_000_000, 0)
    assert newest(venues) == RepayNegative(Trigger.BUTTON)


@pytest.mark.parametrize(("name", "command"), [("auto-repay", SetAutoRepay), ("auto-collection", SetAutoCollection)])
def test_a_switch_turns(venues: Venues, name: str, command: type[SetAutoRepay] | type[SetAutoCollection]) -> None:
    browser = venues.browser("alice")
    path = venues.path("alice", "wallets")

    def shown() -> bool:
        return f'aria-checked="true" id="switch-{name}"' in browser.get(path).text

    assert not shown()
    assert send(venues, browser, "switch", switch=name, to="on").goes == path
    assert newest(venues) == command(True, Trigger.BUTTON)
    assert shown()
    state = venues.run(venues.venue.state(venues.account("alice")))
    assert state is not None
    assert getattr(standing_of(state), name.replace("-", "_"))
    assert send(venues, browser, "switch", switch=name, to="off").goes == path
    assert not shown()


def test_a_switch_refuses_what_it_is_not(venues: Venues) -> None:
    browser = venues.browser("alice")
    assert send(venues, browser, "switch", switch="auto-repay", to="maybe").status == 400
    assert send(venues, browser, "switch", switch="gravity", to="off").status == 400


def test_inside_the_page_a_switch_has_the_page_read_itself_anew(venues: Venues) -> None:
    browser = venues.browser("alice")
    browser.headers = {"hx-request": "true"}
    fields = {"number": str(venues.records("alice")), "switch": "auto-repay", "to": "on"}
    fields["token"] = browser.get(venues.path("alice", "wallets")).field("token")
    answer = browser.post(venues.path("alice", "switch"), fields)
    assert (answer.status, answer.headers["hx-trigger"]) == (204, "record")
