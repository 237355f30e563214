"""Pages of a venue that is several processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import expect

from catchment.ledger.commands import Adjustment, Reason
from catchment.wallet import Wallet
from tests import databases
from tests.browser.conftest import Visit
from tests.browser.house import Started, settle, submit

PROFIT = Adjustment(Wallet.UM, "USDT", 100_000_000, Reason.REALIZED_PNL)


@pytest.fixture
def shared(postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store on PostgreSQL. Made in a thread, because what drives the browser has the event loop of this one."""
    for name in ("XDG_DATA_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    schema = databases.new_schema(postgres_server)
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(schema.__enter__).result()
        thread.submit(schema.__exit__, None, None, None).result()


def test_pages_work_whichever_of_two_processes_is_reached(shared: str, visit: Visit, tmp_path: Path) -> None:
    """Two processes on one port and one PostgreSQL: sign-in, preview, press and news go from one to the other."""
    house = Started(tmp_path, "--processes", "2", store=shared)
    try:
        account = settle(house, "spread")
        visitor = visit(house, "spread")
        page, asks = visitor.page, visitor.context.request
        alone = {"connection": "close"}
        reached = set()
        for _ in range(40):
            reached.add(asks.get(f"{house.url}/healthz", headers=alone).json()["pid"])
            assert "1234567.50000000" in asks.get(page.url, headers=alone).text(), "signed in here as well as there"
        assert len(reached) == 2
        page.click("#aggregate")
        page.click("#confirm-button")
        expect(page.locator("#done")).to_have_attribute("data-again", "no")
        page.click("#done [data-close]")
        expect(visitor.held("USDT", "free")).to_have_attribute("value", "1234577.50000000")
        submit(house, account, PROFIT)
        expect(visitor.held("USDT", "um")).to_have_attribute("value", "1.00000000")
        visitor.context.close()
    finally:
        house.stop()
