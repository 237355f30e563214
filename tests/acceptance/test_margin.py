"""BNB, repaying, loans, interest and exchanges, by the official SDK's and ccxt's own methods, without a warning."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any, Protocol
from unittest import mock

import ccxt
import pytest
from binance_common.errors import BadRequestError, TooManyRequestsError
from binance_sdk_derivatives_trading_portfolio_margin.rest_api import models

from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.commands import AutoExchange, NegativeInterest, Offer, Terms
from catchment.ledger.journal import Stored
from catchment.venue import Venue
from tests.acceptance.people import Ring
from tests.acceptance.program import Program
from tests.acceptance.test_ccxt import Sync, asynchronous, options, pointed
from tests.acceptance.test_official_sdk import Sdk, configured, plain

DAY_MS = 86_400_000
COIN = 10**8


class Client(Protocol):
    """What a client must be able to do; answers as the wire has them."""

    def balance(self, asset: str) -> dict[str, Any]: ...
    def um_income(self, kind: str) -> list[dict[str, Any]]: ...
    def bnb(self, amount: float, side: str) -> dict[str, Any]: ...
    def switch(self) -> dict[str, Any]: ...
    def turn(self, on: str) -> dict[str, Any]: ...
    def repay_negative(self) -> dict[str, Any]: ...
    def borrow(self, asset: str, amount: float) -> dict[str, Any]: ...
    def repay(self, asset: str, amount: float) -> dict[str, Any]: ...
    def loans(self, asset: str, tx_id: int) -> dict[str, Any]: ...
    def repayments(self, asset: str) -> dict[str, Any]: ...
    def interest(self) -> list[dict[str, Any]]: ...
    def loan_interest(self) -> dict[str, Any]: ...
    def exchanges(self, start: int, end: int) -> dict[str, Any]: ...


class MarginSdk(Sdk):
    def bnb(self, amount: float, side: str) -> dict[str, Any]:
        enum = models.BnbTransferTransferSideEnum(side)
        return plain(self.api.bnb_transfer(amount, enum).data(), models.BnbTransferResponse)

    def switch(self) -> dict[str, Any]:
        return plain(self.api.get_auto_repay_futures_status().data(), models.GetAutoRepayFuturesStatusResponse)

    def turn(self, on: str) -> dict[str, Any]:
        enum = models.ChangeAutoRepayFuturesStatusAutoRepayEnum(on)
        answer = self.api.change_auto_repay_futures_status(enum).data()
        return plain(answer, models.ChangeAutoRepayFuturesStatusResponse)

    def repay_negative(self) -> dict[str, Any]:
        return plain(self.api.repay_futures_negative_balance().data(), models.RepayFuturesNegativeBalanceResponse)

    def borrow(self, asset: str, amount: float) -> dict[str, Any]:
        return plain(self.api.margin_account_borrow(asset, amount).data(), models.MarginAccountBorrowResponse)

    def repay(self, asset: str, amount: float) -> dict[str, Any]:
        return plain(self.api.margin_account_repay(asset, amount).data(), models.MarginAccountRepayResponse)

    def loans(self, asset: str, tx_id: int) -> dict[str, Any]:
        answer = self.api.query_margin_loan_record(asset, tx_id=tx_id).data()
        return plain(answer, models.QueryMarginLoanRecordResponse)

    def repayments(self, asset: str) -> dict[str, Any]:
        return plain(self.api.query_margin_repay_record(asset).data(), models.QueryMarginRepayRecordResponse)

    def interest(self) -> list[dict[str, Any]]:
        rows = self.api.query_portfolio_margin_negative_balance_interest_history().data()
        return [plain(row, models.QueryPortfolioMarginNegativeBalanceInterestHistoryResponse) for row in rows]

    def loan_interest(self) -> dict[str, Any]:
        answer = self.api.get_margin_borrow_loan_interest_history().data()
        return plain(answer, models.GetMarginBorrowLoanInterestHistoryResponse)

    def exchanges(self, start: int, end: int) -> dict[str, Any]:
        answer = self.api.query_user_negative_balance_auto_exchange_record(start, end).data()
        return plain(answer, models.QueryUserNegativeBalanceAutoExchangeRecordResponse)


class MarginCcxt(Sync):
    def bnb(self, amount: float, side: str) -> dict[str, Any]:
        return self._one("papiPostBnbTransfer", amount=amount, transferSide=side)

    def switch(self) -> dict[str, Any]:
        return self._one("papiGetRepayFuturesSwitch")

    def turn(self, on: str) -> dict[str, Any]:
        return self._one("papiPostRepayFuturesSwitch", autoRepay=on)

    def repay_negative(self) -> dict[str, Any]:
        return self._one("papiPostRepayFuturesNegativeBalance")

    def borrow(self, asset: str, amount: float) -> dict[str, Any]:
        return self._one("papiPostMarginLoan", asset=asset, amount=amount)

    def repay(self, asset: str, amount: float) -> dict[str, Any]:
        return self._one("papiPostRepayLoan", asset=asset, amount=amount)

    def loans(self, asset: str, tx_id: int) -> dict[str, Any]:
        return self._one("papiGetMarginMarginLoan", asset=asset, txId=tx_id)

    def repayments(self, asset: str) -> dict[str, Any]:
        return self._one("papiGetMarginRepayLoan", asset=asset)

    def interest(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("papiGetPortfolioInterestHistory")
        return found

    def loan_interest(self) -> dict[str, Any]:
        return self._one("papiGetMarginMarginInterestHistory")

    def exchanges(self, start: int, end: int) -> dict[str, Any]:
        """ccxt has no method for this one; any path can be signed."""
        parameters = {"startTime": start, "endTime": end}
        found: dict[str, Any] = self.exchange.request(
            "portfolio/negative-balance-exchange-record", "papi", "GET", parameters
        )
        return found


def held(client: Client, asset: str) -> tuple[str, str, str, str]:
    row = client.balance(asset)
    return row["umWalletBalance"], row["cmWalletBalance"], row["crossMarginFree"], row["crossMarginBorrowed"]


def by_the_operator(program: Program, name: str) -> None:
    """A day's interest on 1.5 ETH of 2.5 that are negative, and an exchange: the venue's own doing, in this store."""

    async def work() -> None:
        venue = await Venue.open(Settings(store=program.announced["store"]))
        try:
            account = await venue.account(name)
            assert not isinstance(account, Rejection)
            eth, usdt = Offer("ETH", 2_000 * COIN, COIN, 8), Offer("USDT", COIN, COIN, 8)
            day = int(time.time() * 1_000) // DAY_MS + 1
            for command in (
                NegativeInterest(day, (Terms("ETH", COIN, 10_000),)),
                AutoExchange(eth, 2 * COIN, (usdt,)),
            ):
                assert isinstance(await venue.submit(account.id, command), Stored)
        finally:
            await venue.close()

    with mock.patch.dict(os.environ, XDG_DATA_HOME=str(program.folder)):
        asyncio.run(work())


def check_margin(client: Client, program: Program, name: str) -> None:
    """BNB there and back, a loan and its repayment, interest and an exchange, the switch and repaying by hand."""
    moved = client.bnb(0.5, "FROM_UM")
    assert held(client, "BNB") == ("2.0", "0.75", "0.5", "0.0")
    back = client.bnb(1e-08, "TO_UM")
    assert held(client, "BNB") == ("2.00000001", "0.75", "0.49999999", "0.0")
    rows = [(row["tranId"], row["income"]) for row in client.um_income("TRANSFER")]
    assert rows == [(str(moved["tranId"]), "-0.50000000"), (str(back["tranId"]), "0.00000001")]

    loan = client.borrow("ETH", 10)
    assert held(client, "ETH") == ("-2.5", "1.25", "10.0", "10.0")
    client.repay("ETH", 9.5)
    assert held(client, "ETH") == ("-2.5", "1.25", "0.5", "0.5")
    (row,) = client.loans("ETH", int(loan["tranId"]))["rows"]
    assert (int(row["txId"]), row["principal"], row["status"]) == (int(loan["tranId"]), "10.00000000", "CONFIRMED")
    (row,) = client.repayments("ETH")["rows"]
    assert (row["amount"], row["interest"], row["principal"]) == ("9.50000000", "0.00000000", "9.50000000")

    by_the_operator(program, name)
    (row,) = client.interest()
    assert (row["interest"], row["interestRate"], row["principal"]) == ("0.00015000", "0.00010000", "1.50000000")
    assert [one["type"] for one in client.loan_interest()["rows"]] == ["PORTFOLIO", "PERIODIC"]
    now = int(row["interestAccuredTime"])
    (exchange,) = client.exchanges(now - DAY_MS, now + DAY_MS)["rows"]
    (found,) = exchange["details"]
    assert (found["asset"], float(found["negativeBalance"])) == ("ETH", -2.50015)
    assert int(found["negativeMaxThreshold"]) == 2
    assert held(client, "ETH")[0] == "-1.6", "80 % of the most"

    assert client.switch() == {"autoRepay": False}
    assert client.turn("true") == {"msg": "success"}
    assert client.switch() == {"autoRepay": True}
    client.borrow("ETH", 2)
    assert client.repay_negative() == {"msg": "success"}
    assert held(client, "ETH")[0] == "0.0"


def test_the_sdk_without_a_warning(
    program: Program, ring: Ring, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with caplog.at_level(logging.WARNING):
        check_margin(MarginSdk(configured(program, ring.credentials("sdk-margin"))), program, "sdk-margin")
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(warning.message) for warning in recwarn] == []


def test_ccxt(program: Program, ring: Ring) -> None:
    exchange = pointed(ccxt.binance(options(ring.credentials("ccxt-margin"))), program.url)
    check_margin(MarginCcxt(exchange), program, "ccxt-margin")


def test_ccxt_async(program: Program, ring: Ring) -> None:
    with asynchronous(program, ring.credentials("ccxt-async-margin")) as client:
        assert client.call("papiPostBnbTransfer", {"amount": 0.5, "transferSide": "FROM_UM"})["tranId"]
        assert client.call("papiGetRepayFuturesSwitch") == {"autoRepay": False}
        assert client.call("papiPostRepayFuturesSwitch", {"autoRepay": True}) == {"msg": "success"}
        assert client.call("papiGetRepayFuturesSwitch") == {"autoRepay": True}


def test_ccxt_borrows_by_its_unified_methods(program: Program, ring: Ring) -> None:
    exchange = pointed(ccxt.binance(options(ring.credentials("ccxt-loans"))), program.url)
    exchange.currencies = {"BTC": exchange.safe_currency("BTC")}
    loan = exchange.borrow_cross_margin("BTC", 0.25, {"portfolioMargin": True})
    assert loan["id"] > 0
    payment = exchange.repay_cross_margin("BTC", 0.25, {"portfolioMargin": True})
    assert payment["id"] > loan["id"]
    (charged,) = exchange.fetch_borrow_interest(params={"portfolioMargin": True})
    assert (charged["currency"], charged["interest"]) == ("USDT", 0.5)


def test_refusals_keep_code_and_time(program: Program, ring: Ring) -> None:
    api = configured(program, ring.credentials("sdk-refused"))
    calls: list[tuple[int, Callable[[], Any]]] = [
        (-2018, lambda: api.bnb_transfer(1.0, models.BnbTransferTransferSideEnum("TO_UM"))),
        (-51006, lambda: api.margin_account_borrow("USDT", 1e9)),
        (-3015, lambda: api.margin_account_repay("BTC", 1.0)),
        (-4165, lambda: api.query_user_negative_balance_auto_exchange_record(0, 2**50)),
    ]
    for code, call in calls:
        with pytest.raises(BadRequestError) as refused:
            call()
        assert refused.value.status_code == code
    for _ in range(10):
        api.bnb_transfer(1e-08, models.BnbTransferTransferSideEnum("FROM_UM"))
    with pytest.raises(TooManyRequestsError) as too_often:
        api.bnb_transfer(1e-08, models.BnbTransferTransferSideEnum("TO_UM"))
    assert too_often.value.status_code == -1003
    assert too_often.value.retry_after in range(500, 601)
