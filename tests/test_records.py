"""Records as documents and rows, and the search for some of them, over a journal with every kind of command."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from catchment import records
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    AutoExchange,
    BnbTransfer,
    Borrow,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    NegativeInterest,
    Offer,
    Reason,
    Repay,
    RepayNegative,
    SetAutoCollection,
    SetAutoRepay,
    SetPosition,
    Side,
    Terms,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Stored
from catchment.records import Wanted
from catchment.venue import Venue
from catchment.wallet import Wallet

ONE = 10**8
EVERY: list[Command] = [
    Deposit("USDT", 5 * ONE),
    Withdrawal("USDT", ONE),
    Adjustment(Wallet.UM, "USDT", -3 * ONE, Reason.FUNDING_FEE, "BTCUSDT"),
    MarginAdjustment("USDT", ONE, MarginReason.LOCK),
    AutoCollection(Trigger.API),
    AssetCollection("USDT", Trigger.BUTTON),
    Deposit("BNB", 2 * ONE),
    BnbTransfer(ONE, Side.TO_UM, Trigger.API),
    RepayNegative(Trigger.BUTTON),
    SetAutoRepay(True, Trigger.API),
    SetAutoCollection(True, Trigger.BUTTON),
    Borrow("BTC", ONE, 2 * ONE),
    Repay("BTC", ONE // 2),
    Adjustment(Wallet.CM, "USDT", -ONE, Reason.COMMISSION),
    NegativeInterest(20_000, (Terms("USDT", 0, ONE // 100),)),
    AutoExchange(Offer("USDT", ONE, ONE, 8), 0, (Offer("BTC", 60_000 * ONE, ONE * 95 // 100, 8),)),
    SetPosition(Wallet.UM, "BTCUSDT", -ONE // 4, 60_000 * ONE),
]

Look = Callable[[Venue, AccountId, list[Stored]], Coroutine[None, None, None]]


def over_every_kind(look: Look) -> None:
    """A minute between two records."""

    async def play() -> None:
        clock = FrozenClock()
        venue = await Venue.open(Settings(store="memory:"), clock)
        try:
            account = await venue.add_account("alice")
            assert not hasattr(account, "code")
            written = []
            for command in EVERY:
                answer = await venue.submit(account.id, command)
                assert isinstance(answer, Stored), (command, answer)
                written.append(answer)
                clock.advance(60_000)
            await look(venue, account.id, written)
        finally:
            await venue.close()

    asyncio.run(play())


def test_there_is_a_name_for_every_kind() -> None:
    assert {records.kind_of(command) for command in EVERY} == set(records.KINDS)


def test_every_record_is_a_document_without_a_unit() -> None:
    async def look(venue: Venue, account: AccountId, written: list[Stored]) -> None:
        documents = {each["kind"]: each for each in (records.record_document(one, venue.assets) for one in written)}
        assert documents["bnb-transfer"]["command"] == {
            "type": "BnbTransfer",
            "amount": "1.0",
            "side": "TO_UM",
            "trigger": "API",
        }
        assert documents["borrow"]["command"]["limit"] == "2.0"
        assert documents["repay"]["command"]["amount"] == "0.5"
        assert documents["set-position"]["command"]["amount"] == "-0.25"
        assert documents["set-position"]["command"]["entry_price"] == "60000.0"
        assert documents["negative-interest"]["command"]["terms"] == [
            {"asset": "USDT", "threshold": "0.0", "rate": "0.01"}
        ]
        assert documents["negative-interest"]["found"] == [{"asset": "USDT", "amount": "1.0"}]
        assert documents["auto-exchange"]["command"]["debt"] == {"asset": "USDT", "price": "1.0", "rate": "1.0"}
        assert documents["auto-exchange"]["command"]["most"] == "0.0"
        assert documents["auto-exchange"]["command"]["offers"] == [{"asset": "BTC", "price": "60000.0", "rate": "0.95"}]
        assert documents["auto-collection"]["cause"] == "API"
        assert "found" not in documents["auto-collection"]

    over_every_kind(look)


def test_entries_sum_to_zero_and_a_record_without_one_has_a_row() -> None:
    async def look(venue: Venue, account: AccountId, written: list[Stored]) -> None:
        for stored in written:
            rows = list(records.entry_rows(stored, venue.assets))
            assert {len(row) for row in rows} == {len(records.ENTRY_HEADS)}
            assert len(rows) == max(1, 2 * len(stored.record.transfers))

    over_every_kind(look)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), range(17, 0, -1)),
        (Wanted(kind="deposit"), [7, 1]),
        (Wanted(kind="deposit", asset="BNB"), [7]),
        (Wanted(cause="BUTTON"), [11, 9, 6]),
        (Wanted(place="cm"), [16, 15, 14]),
        (Wanted(place="cm", asset="BTC"), []),
        (Wanted(asset="BNB", place="um"), [8]),
        (Wanted(FrozenClock().now() + 60_000, FrozenClock().now() + 180_000), [4, 3, 2]),
    ],
)
def test_what_is_wanted_is_found(wanted: Wanted, numbers: list[int]) -> None:
    async def look(venue: Venue, account: AccountId, written: list[Stored]) -> None:
        for limit, most in ((100, 100), (2, 100), (100, 3), (1, 1)):
            found: list[int] = []
            below: int | None = None
            while below != 0:
                part = await records.search(venue, account, wanted, below=below, limit=limit, most=most)
                assert len(part.found) <= limit
                assert below is None or part.below < below, "each look goes on"
                found += [stored.record.number for stored in part.found]
                below = part.below
            assert found == list(numbers), (limit, most)
        forward = [stored.record.number async for stored in records.oldest_first(venue, account, wanted)]
        assert forward == list(numbers)[::-1]
        assert [stored.record.number async for stored in records.newest_first(venue, account, wanted)] == list(numbers)

    over_every_kind(look)
