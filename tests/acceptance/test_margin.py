"""What the walk leaves out of Cross Margin: ccxt's unified methods, and refusals with the time they last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ccxt
import pytest
from binance_common.errors import BadRequestError, TooManyRequestsError
from binance_sdk_derivatives_trading_portfolio_margin.rest_api import models

from tests.acceptance.people import Ring
from tests.acceptance.program import Program
from tests.acceptance.test_ccxt import options, pointed
from tests.acceptance.test_official_sdk import configured


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
