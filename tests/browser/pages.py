"""Every page that there is to look at, with something on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from playwright.sync_api import Page, expect

from catchment.dashboard import site
from catchment.ledger.commands import Adjustment, Deposit, MarginAdjustment, MarginReason, Reason
from catchment.venue import Venue
from catchment.wallet import Wallet
from tests.browser.house import HOLDINGS, OPERATOR, House, call, hire, records, settle, submit
from tests.browser.visitor import Visitor

COLLECT: Final = "/papi/v1/auto-collection"
REQUESTS: Final = 4
BANNED: Final = "192.0.2.9"
NO_PAGES: Final = (
    "/",
    "/link/{secret}",
    "/accounts/{account}/live",
    "/accounts/{account}/export/{form}",
    *(f"/venue/{piece}" for piece in ("health", "totals", "collection")),
)
"""Addresses that lead on, or answer with something else."""

Act = Callable[[Visitor], object]


class Stage:
    """A venue with two accounts, some of their past, and the operator."""

    def __init__(self, house: House) -> None:
        self.house = house
        hire(house)
        self.account = settle(house, "alice", HOLDINGS)
        settle(house, "bob", 'UM = { USDC = "7" }')
        assert call(house, "alice", "POST", COLLECT) == 200
        self.record = records(house, self.account)[-1].number
        self.request = house.do(self._newest_request)
        for _ in range(2):
            assert call(house, "alice", "POST", "/papi/v1/asset-collection", asset="BNB") == 400
        assert call(house, "bob", "GET", "/papi/v1/balance") == 200
        house.do(self._kept)
        submit(
            house,
            self.account,
            Deposit("USDT", 250_075_000_001),
            MarginAdjustment("USDT", 5_000_000_000, MarginReason.BORROW),
            MarginAdjustment("USDT", 12_345, MarginReason.INTEREST),
            Adjustment(Wallet.UM, "USDT", 123_456_750_000, Reason.REALIZED_PNL),
            Adjustment(Wallet.UM, "BTC", 250_000, Reason.FUNDING_FEE),
            Adjustment(Wallet.CM, "BTC", 12_500_000, Reason.REALIZED_PNL),
            Adjustment(Wallet.CM, "BNB", 150_000_000, Reason.COMMISSION),
            Deposit("ETH", 10_000_000),
        )
        house.do(self._banned)

    async def _banned(self, venue: Venue) -> None:
        """Somebody who asked for more than there is, and went on."""
        now = venue.clock.now()
        while not venue.weights.bans(now):
            venue.weights.charge(BANNED, venue.weights.per_minute, now)

    async def _newest_request(self, venue: Venue) -> int:
        while not (newest := await venue.newest_request()):
            await asyncio.sleep(0.01)
        return newest

    async def _kept(self, venue: Venue) -> None:
        """Requests are kept a little after they were answered."""
        while len((await venue.requests(None)).answered) < REQUESTS:
            await asyncio.sleep(0.01)

    def addresses(self) -> dict[str, str]:
        """By the path of its row in the table of pages, the address of every page of those who have signed in."""
        examples = {"records": str(self.record), "requests": str(self.request)}
        found = {}
        for page in site.PAGES:
            if page.method == "GET" and not page.open and page.path not in NO_PAGES:
                path = page.path.replace("{account}", self.account)
                if "{number}" in path:
                    path = path.replace("{number}", examples[path.split("/")[-2]])
                assert "{" not in path, f"{page.path}: say in tests/browser/pages.py what to look at"
                found[page.path] = f"/dashboard{path}"
        return found


def refused_at_the_door(visitor: Visitor) -> None:
    visitor.sign_in("nobody")
    expect(visitor.page.locator("#refused")).to_be_visible()
    visitor.faulted("401")


def nowhere(visitor: Visitor) -> None:
    visitor.page.goto("/dashboard/nowhere")
    visitor.faulted("404")


AT_THE_DOOR: Final[dict[str, Act]] = {
    "sign-in": lambda visitor: visitor.page.goto("/dashboard/sign-in"),
    "sign-in-refused": refused_at_the_door,
    "nowhere": nowhere,
}
"""What is seen without having signed in."""


def _dialog(visitor: Visitor, opener: str) -> Page:
    page = visitor.go("wallets")
    visitor.is_live()
    page.click(opener)
    expect(page.locator("#dialog")).to_be_visible()
    return page


def _bnb_refused(visitor: Visitor) -> None:
    page = _dialog(visitor, "#open-bnb")
    page.fill("#amount", "1000")
    page.click("#confirm-button")
    expect(page.locator("#refused")).to_be_visible()
    visitor.faulted("400")


def _confirmed(visitor: Visitor, opener: str) -> Page:
    page = _dialog(visitor, opener)
    page.click("#confirm-button")
    expect(page.locator("#done")).to_be_visible()
    return page


def _nothing(visitor: Visitor) -> None:
    expect(_dialog(visitor, "#aggregate").locator("#nothing")).to_be_visible()


DIALOGS: Final[dict[str, Act]] = {
    "preview": lambda visitor: _dialog(visitor, "#aggregate"),
    "preview-one": lambda visitor: _dialog(visitor, "#collect-BTC"),
    "bnb": lambda visitor: _dialog(visitor, "#open-bnb"),
    "bnb-refused": _bnb_refused,
    "repay": lambda visitor: _dialog(visitor, "#open-repay"),
    "repaid": lambda visitor: _confirmed(visitor, "#open-repay"),
    "collected": lambda visitor: _confirmed(visitor, "#aggregate"),
    "nothing": _nothing,
}
"""The dialogs over the wallets, in an order in which each has something to show."""


def _all_confirmed(visitor: Visitor) -> None:
    page = visitor.page
    page.click("#confirm-button")
    expect(page.locator("#collection-state")).to_have_attribute("data-state", "done")


def _added_up(visitor: Visitor) -> None:
    page = visitor.page
    page.click("#add-up")
    expect(page.locator("#totals-state")).to_have_attribute("data-state", "done")
    expect(page.locator("#sound")).to_be_visible()


def _all_asked(visitor: Visitor) -> None:
    visitor.page.goto("/dashboard/venue")
    visitor.page.click("#collect-all")
    expect(visitor.page.locator("#dialog")).to_be_visible()


VENUE: Final[dict[str, Act]] = {
    "collect-all": _all_asked,
    "all-collected": _all_confirmed,
    "added-up": _added_up,
}
"""What the operator does to the whole venue, one after the other."""


def name_of(path: str) -> str:
    """What a page is called in a list or a file name."""
    plain = path.strip("/").replace("/{number}", "-one").replace("/", "-")
    return plain.replace("accounts-{account}-", "") if "{account}" in path else f"operator-{plain}"


def owner_of(path: str) -> str:
    """Who looks at a page."""
    return "alice" if "{account}" in path else OPERATOR
