"""um/account (v1, v2), cm/account and the income histories: fields, filters, windows, limits, order and paging."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from catchment.errors import Rejection
from catchment.ledger.balance import GENESIS
from catchment.ledger.commands import Adjustment, AutoCollection, Reason, Trigger
from catchment.ledger.journal import Body, Stored, seal
from catchment.ledger.transfer import Transfer
from catchment.papi.futures import CM_INCOME_TYPES, UM_INCOME_TYPES
from catchment.wallet import Place, Wallet
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
[[account.key]]
api_key = "alice"
secret = "alice-secret"
"""
DAY_MS = 86_400_000
ROW = {"symbol", "incomeType", "income", "asset", "info", "time", "tranId", "tradeId"}
UNITS = 10**8


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def adjust(
    desk: Desk,
    amount: str,
    asset: str = "USDT",
    wallet: Wallet = Wallet.UM,
    reason: Reason = Reason.REALIZED_PNL,
    symbol: str = "",
    times: int = 1,
) -> None:
    """Change a futures wallet, as trading would, once or many times over."""
    command = Adjustment(wallet, asset, int(Decimal(amount) * UNITS), reason, symbol)
    account = desk.account("alice")

    async def submit() -> list[Stored | Rejection]:
        return await desk.venue.submit_all([(account, command)] * times)

    assert all(isinstance(answer, Stored) for answer in desk.run(submit()))


def income(desk: Desk, parameters: str = "", wallet: str = "um") -> list[dict[str, Any]]:
    answer = desk.get(f"{wallet}/income", ALICE, parameters)
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.json
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows), "in order of time"
    for row in rows:
        assert set(row) == ROW
        assert {name for name, value in row.items() if type(value) is not str} == {"time"}
        assert type(row["time"]) is int
    return rows


def amounts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["income"] for row in rows]


# The wallets ---------------------------------------------------------------------------------------------------------


def test_the_wallets_of_an_account(desk: Desk) -> None:
    desk.clock.advance(7)
    adjust(desk, "330.25")
    adjust(desk, "-1.5", "ETH")
    desk.clock.advance(7)
    adjust(desk, "0.00000001", "BTC", Wallet.CM)
    um, v2 = (desk.call("GET", f"/papi/{version}/um/account", ALICE).json for version in ("v1", "v2"))
    cm = desk.get("cm/account", ALICE).json
    zeros = dict.fromkeys(
        ("crossUnPnl", "maintMargin", "initialMargin", "positionInitialMargin", "openOrderInitialMargin"), "0"
    )
    assert (
        um
        == v2
        == {
            "assets": [
                {"asset": "BTC", "crossWalletBalance": "0.0", **zeros, "updateTime": NOW + 14},
                {"asset": "ETH", "crossWalletBalance": "-1.5", **zeros, "updateTime": NOW + 7},
                {"asset": "USDT", "crossWalletBalance": "330.25", **zeros, "updateTime": NOW + 7},
            ],
            "positions": [],
        }
    )
    assert {asset["asset"]: asset["crossWalletBalance"] for asset in cm["assets"]} == {
        "BTC": "0.00000001",
        "ETH": "0.0",
        "USDT": "0.0",
    }
    assert cm["positions"] == []


def test_the_wallets_of_an_account_that_holds_nothing(desk: Desk) -> None:
    for path in ("/papi/v1/um/account", "/papi/v2/um/account", "/papi/v1/cm/account"):
        assert desk.call("GET", path, ALICE).json == {"assets": [], "positions": []}


# Rows of income ------------------------------------------------------------------------------------------------------


def test_an_adjustment_is_a_row_under_its_reason(desk: Desk) -> None:
    adjust(desk, "12.5", symbol="ETHUSDC", asset="USDC")
    adjust(desk, "-0.00000001", reason=Reason.FUNDING_FEE, symbol="BTCUSDT")
    adjust(desk, "-3", reason=Reason.COMMISSION)
    told = [(row["incomeType"], row["income"], row["asset"], row["symbol"], row["info"]) for row in income(desk)]
    assert told == [
        ("REALIZED_PNL", "12.50000000", "USDC", "ETHUSDC", "REALIZED_PNL"),
        ("FUNDING_FEE", "-0.00000001", "USDT", "BTCUSDT", "FUNDING_FEE"),
        ("COMMISSION", "-3.00000000", "USDT", "", "COMMISSION"),
    ]
    assert income(desk, wallet="cm") == []


def test_a_collection_is_a_negative_transfer_in_the_wallet_it_left(desk: Desk) -> None:
    adjust(desk, "330.25")
    adjust(desk, "0.5", "BTC", Wallet.CM)
    desk.clock.advance(1_000)
    assert desk.post("auto-collection", ALICE).status == 200
    (um,), (cm,) = income(desk, "incomeType=TRANSFER"), income(desk, "incomeType=TRANSFER", "cm")
    assert {**um, "tranId": ""} == {
        "symbol": "",
        "incomeType": "TRANSFER",
        "income": "-330.25000000",
        "asset": "USDT",
        "info": "TRANSFER",
        "time": NOW + 1_000,
        "tranId": "",
        "tradeId": "",
    }
    assert (cm["income"], cm["asset"], cm["info"]) == ("-0.50000000", "BTC", "WITHDRAW")


def test_a_collection_of_nothing_and_deposits_make_no_row(desk: Desk) -> None:
    desk.populate(
        '[[account]]\nname = "bob"\nkey = [{ api_key = "bob", secret = "bob-secret" }]\nMARGIN = { USDT = "5" }'
    )
    bob = plain("bob")
    assert desk.post("auto-collection", bob).status == 200
    assert desk.get("um/income", bob).json == desk.get("cm/income", bob).json == []


def test_wallets_and_their_incomes_agree(desk: Desk) -> None:
    for amount in ("100", "-30.5", "0.00000001", "7"):
        adjust(desk, amount)
        adjust(desk, amount, wallet=Wallet.CM, asset="BTC")
    assert desk.post("asset-collection", ALICE, "asset=USDT&amount=12.25&futureType=UM").status == 200
    adjust(desk, "-1000")
    balance = desk.get("balance", ALICE, "asset=USDT").json
    assert sum(map(Decimal, amounts(income(desk)))) == Decimal(balance["umWalletBalance"])
    btc = desk.get("balance", ALICE, "asset=BTC").json
    assert sum(map(Decimal, amounts(income(desk, wallet="cm")))) == Decimal(btc["cmWalletBalance"])


def test_each_account_reads_its_own(desk: Desk) -> None:
    adjust(desk, "1")
    desk.populate('[[account]]\nname = "bob"\nkey = [{ api_key = "bob", secret = "bob-secret" }]\nUM = { USDT = "5" }')
    assert amounts(desk.get("um/income", plain("bob")).json) == ["5.00000000"]
    assert amounts(income(desk)) == ["1.00000000"]


# tranId --------------------------------------------------------------------------------------------------------------


def test_tran_ids_are_unique_texts_of_digits(desk: Desk) -> None:
    for asset in ("USDT", "BTC", "ETH", "SOL"):
        adjust(desk, "2", asset)
        adjust(desk, "3", asset, Wallet.CM)
    for _ in range(3):
        assert desk.post("auto-collection", ALICE).status == 200
        adjust(desk, "1")
    ids = [row["tranId"] for wallet in ("um", "cm") for row in income(desk, wallet=wallet)]
    assert len(ids) == 4 + 4 + 8 + 3 + 2
    assert len(set(ids)) == len(ids)
    assert all(text.isdigit() for text in ids)


def test_tran_ids_of_a_record_with_thousands_of_transfers(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings may name any number of assets, and one collection moves them all."""

    def stored(number: int, transfers: int) -> Stored:
        moved = tuple(Transfer("USDT", 1, Place.UM, Place.MARGIN_FREE, 0, 1, place + 1) for place in range(transfers))
        body = Body(AutoCollection(Trigger.API), moved)
        return Stored(number, seal(desk.account("alice"), number, NOW, body, GENESIS))

    records = [stored(number, 900) for number in (11, 12, 110)] + [stored(1, 2_500)]

    async def history(*_: object, **__: object) -> list[Stored]:
        return records

    monkeypatch.setattr(desk.venue, "history", history)
    records = records[:3]
    many = [row["tranId"] for row in income(desk, "limit=1000")]
    records = [stored(1, 2_500)]
    many += [row["tranId"] for row in income(desk, "limit=1000")]
    assert len(many) == 2_000
    assert len(set(many)) == 2_000


# Filters -------------------------------------------------------------------------------------------------------------


def test_filters_by_type_and_symbol(desk: Desk) -> None:
    adjust(desk, "1", symbol="BTCUSDT")
    adjust(desk, "2", symbol="ETHUSDT", reason=Reason.FUNDING_FEE)
    adjust(desk, "3", symbol="BTCUSDT", reason=Reason.FUNDING_FEE)
    assert desk.post("auto-collection", ALICE).status == 200
    assert amounts(income(desk, "symbol=BTCUSDT")) == ["1.00000000", "3.00000000"]
    assert amounts(income(desk, "incomeType=FUNDING_FEE")) == ["2.00000000", "3.00000000"]
    assert amounts(income(desk, "incomeType=FUNDING_FEE&symbol=BTCUSDT")) == ["3.00000000"]
    assert amounts(income(desk, "incomeType=TRANSFER")) == ["-6.00000000"]
    assert income(desk, "symbol=btcusdt") == income(desk, "incomeType=WELCOME_BONUS") == []


@pytest.mark.parametrize(("wallet", "types"), [("um", UM_INCOME_TYPES), ("cm", CM_INCOME_TYPES)])
def test_every_income_type_of_the_reference_is_taken(desk: Desk, wallet: str, types: tuple[str, ...]) -> None:
    assert len(types) == {"um": 19, "cm": 7}[wallet]
    for name in types:
        assert income(desk, f"incomeType={name}", wallet) == []
    assert desk.get(f"{wallet}/income", ALICE, "incomeType=NOPE").outcome == (400, -1130)


def test_a_type_that_cm_does_not_have(desk: Desk) -> None:
    assert desk.get("cm/income", ALICE, "incomeType=AUTO_EXCHANGE").outcome == (400, -1130)
    assert desk.get("um/income", ALICE, "incomeType=AUTO_EXCHANGE").status == 200


# Windows -------------------------------------------------------------------------------------------------------------


def test_both_ends_of_a_window_are_included(desk: Desk) -> None:
    for number in range(1, 6):
        desk.clock.advance(10)
        adjust(desk, str(number))
    low, high = NOW + 20, NOW + 40

    def wholes(parameters: str) -> list[int]:
        return [int(Decimal(row["income"])) for row in income(desk, parameters)]

    assert wholes(f"startTime={low}&endTime={high}") == [2, 3, 4]
    assert wholes(f"startTime={low + 1}&endTime={high - 1}") == [3]
    assert wholes(f"startTime={low}") == [2, 3, 4, 5]
    assert wholes(f"endTime={high}") == [1, 2, 3, 4]
    assert wholes(f"startTime={high}&endTime={high}") == [4]
    assert wholes(f"endTime={NOW + DAY_MS}") == [1, 2, 3, 4, 5]
    assert wholes(f"startTime={NOW}&endTime={2**63 - 1}") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("wallet", ["um", "cm"])
def test_a_window_that_ends_before_it_starts(desk: Desk, wallet: str) -> None:
    answer = desk.get(f"{wallet}/income", ALICE, f"startTime={NOW}&endTime={NOW - 1}")
    assert answer.json == {"code": -1023, "msg": "Start time is greater than end time."}
    assert answer.status == 400


@pytest.mark.parametrize("wallet", ["um", "cm"])
def test_a_start_in_the_future_is_no_error(desk: Desk, wallet: str) -> None:
    """A client that asks for what came after its last row may be a moment ahead of the venue's clock."""
    adjust(desk, "1", wallet=Wallet(wallet.upper()))
    for ahead in (1, 999, DAY_MS):
        assert income(desk, f"startTime={NOW + ahead}", wallet) == []
    assert len(income(desk, f"startTime={NOW}", wallet)) == 1


def test_without_times_um_shows_seven_days_and_cm_two_hundred(desk: Desk) -> None:
    adjust(desk, "1")
    adjust(desk, "1", wallet=Wallet.CM)
    desk.clock.advance(7 * DAY_MS)
    assert len(income(desk)) == 1
    desk.clock.advance(1)
    assert income(desk) == []
    assert len(income(desk, f"startTime={NOW}")) == 1, "further back when asked"
    assert len(income(desk, f"endTime={NOW + DAY_MS}")) == 1, "seven days before the end that was sent"
    desk.clock.advance(193 * DAY_MS - 1)
    assert len(income(desk, wallet="cm")) == 1
    desk.clock.advance(1)
    assert income(desk, wallet="cm") == []


def test_um_keeps_three_months(desk: Desk) -> None:
    adjust(desk, "1")
    desk.clock.advance(90 * DAY_MS)
    assert len(income(desk, f"startTime={NOW}")) == 1
    desk.clock.advance(1)
    assert income(desk, f"startTime={NOW}") == []
    assert income(desk, "startTime=0") == []
    assert income(desk, "startTime=0&endTime=1") == []


def test_cm_takes_no_more_than_two_hundred_days_at_once(desk: Desk) -> None:
    adjust(desk, "1", wallet=Wallet.CM)
    longest = 200 * DAY_MS
    assert len(income(desk, f"startTime={NOW - longest}&endTime={NOW}", "cm")) == 1
    assert len(income(desk, f"startTime={NOW - longest}", "cm")) == 1
    for parameters in (f"startTime={NOW - longest - 1}&endTime={NOW}", f"startTime={NOW - longest - 1}", "startTime=0"):
        answer = desk.get("cm/income", ALICE, parameters)
        assert answer.json == {"code": -4165, "msg": "Maximum time interval is 200 days"}
        assert answer.status == 400
    assert len(income(desk, f"startTime={NOW - longest - 1}&endTime={NOW}")) == 0, "UM has no such bound"


# Limits and order ----------------------------------------------------------------------------------------------------


def numbered(desk: Desk, count: int) -> None:
    """Rows whose incomes are 1, 2, 3 ... in units, each in a millisecond of its own."""
    for number in range(1, count + 1):
        desk.clock.advance(1)
        adjust(desk, f"{number}e-8")


def units(rows: list[dict[str, Any]]) -> list[int]:
    return [int(Decimal(row["income"]) * UNITS) for row in rows]


def test_a_limit_takes_the_first_rows_after_a_start_and_the_last_rows_otherwise(desk: Desk) -> None:
    numbered(desk, 150)
    assert units(income(desk)) == list(range(51, 151)), "100 if no limit is sent"
    assert units(income(desk, f"startTime={NOW}")) == list(range(1, 101))
    assert units(income(desk, "limit=1")) == [150]
    assert units(income(desk, "limit=1000")) == list(range(1, 151))
    assert units(income(desk, f"startTime={NOW + 10}&limit=3")) == [10, 11, 12]
    assert units(income(desk, f"endTime={NOW + 10}&limit=3")) == [8, 9, 10]
    assert units(income(desk, f"startTime={NOW + 10}&endTime={NOW + 11}&limit=3")) == [10, 11]


def test_a_client_can_walk_the_whole_history_by_time(desk: Desk) -> None:
    numbered(desk, 120)
    seen: list[int] = []
    start = NOW
    while page := income(desk, f"startTime={start}&limit=50"):
        seen += units(page)
        start = page[-1]["time"] + 1
    assert seen == list(range(1, 121))


def test_rows_of_one_record_stay_together_in_order(desk: Desk) -> None:
    for asset in ("USDT", "BTC", "ETH"):
        adjust(desk, "1", asset)
    assert desk.post("auto-collection", ALICE).status == 200
    whole = income(desk, "incomeType=TRANSFER")
    assert len(whole) == 3
    assert [row["tranId"] for row in whole] == sorted(row["tranId"] for row in whole)
    assert income(desk, "limit=2") == whole[1:]
    assert income(desk, f"startTime={NOW}&incomeType=TRANSFER&limit=2") == whole[:2]


def test_three_thousand_records_are_read_through_to_the_rare_row(desk: Desk) -> None:
    """The journal is read in pages of a thousand; a filter must reach beyond the first, from either end."""
    adjust(desk, "0.5", wallet=Wallet.CM, asset="BTC")
    adjust(desk, "0.00000007", reason=Reason.FUNDING_FEE)
    adjust(desk, "0.00000001", times=1_500)
    desk.clock.advance(1)
    adjust(desk, "0.00000002", times=1_500)
    adjust(desk, "0.00000008", reason=Reason.FUNDING_FEE)
    assert units(income(desk, "incomeType=FUNDING_FEE")) == [7, 8]
    assert units(income(desk, f"startTime={NOW}&incomeType=FUNDING_FEE")) == [7, 8]
    assert units(income(desk, f"incomeType=FUNDING_FEE&endTime={NOW}")) == [7]
    assert amounts(income(desk, wallet="cm")) == ["0.50000000"]
    assert amounts(income(desk, f"startTime={NOW}", "cm")) == ["0.50000000"]
    latest = income(desk, "limit=1000")
    assert units(latest) == [2] * 999 + [8]
    earliest = income(desk, f"startTime={NOW}&limit=1000")
    assert units(earliest) == [7] + [1] * 999
    numbers = [int(row["tranId"]) for row in earliest]
    assert numbers == sorted(set(numbers)), "none twice, none out of place"
    second = income(desk, f"startTime={NOW + 1}&limit=1000&incomeType=REALIZED_PNL")
    assert units(second) == [2] * 1_000


def test_a_page_that_ends_exactly_at_the_last_record(desk: Desk) -> None:
    adjust(desk, "0.00000001", times=2_000)
    assert income(desk, "incomeType=TRANSFER") == []
    assert income(desk, f"incomeType=TRANSFER&startTime={NOW}") == []
    assert len(income(desk, "limit=1000")) == 1_000
