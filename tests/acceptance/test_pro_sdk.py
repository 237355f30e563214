"""The exchange's own SDK for Portfolio Margin Pro against the started program; no model may complain of an answer."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import BadRequestError, TooManyRequestsError
from binance_sdk_derivatives_trading_portfolio_margin_pro.derivatives_trading_portfolio_margin_pro import (
    DerivativesTradingPortfolioMarginPro,
)
from binance_sdk_derivatives_trading_portfolio_margin_pro.rest_api.models import (
    BnbTransferTransferSideEnum,
    ChangeAutoRepayFuturesStatusAutoRepayEnum,
    FundCollectionByAssetFutureTypeEnum,
)

from tests.acceptance.people import AT_FIRST, Ring
from tests.acceptance.program import Program

TO_UM, FROM_UM = BnbTransferTransferSideEnum.TO_UM.value, BnbTransferTransferSideEnum.FROM_UM.value


@pytest.fixture
def api(program: Program, ring: Ring) -> Any:
    credentials = ring.credentials("sdk-pro")
    configuration = ConfigurationRestAPI(
        api_key=credentials.api_key, api_secret=credentials.secret, base_path=program.url, timeout=20_000, retries=0
    )
    return DerivativesTradingPortfolioMarginPro(config_rest_api=configuration).rest_api


def held(api: Any, asset: str) -> tuple[str, str, str]:
    """UM, CM and what is free in Cross Margin."""
    (row,) = api.get_portfolio_margin_pro_account_balance(asset).data()
    return row.um_wallet_balance, row.cm_wallet_balance, row.cross_margin_free


def test_the_pro_sdk_walks_without_a_warning(
    api: Any, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with caplog.at_level(logging.WARNING):
        assert {row.asset for row in api.get_portfolio_margin_pro_account_balance().data()} == set(AT_FIRST)
        account = api.get_portfolio_margin_pro_account_info().data()
        assert (account.account_status, account.account_type) == ("NORMAL", "PM_2")

        um = FundCollectionByAssetFutureTypeEnum("UM").value
        assert api.fund_collection_by_asset("USDT", 1.5, um).data().msg == "success"
        assert held(api, "USDT") == ("12345678899.62345679", "0.0", "1001.6")
        assert api.fund_auto_collection().data().msg == "success"
        assert held(api, "USDT") == ("0.0", "0.0", "12345679901.22345679")
        assert held(api, "ETH") == ("-2.5", "0.0", "1.25")
        assert api.repay_futures_negative_balance().data().msg == "success"
        assert held(api, "ETH") == ("-1.25", "0.0", "0.0")

        assert api.bnb_transfer(1.0, FROM_UM).data().tran_id < api.bnb_transfer(0.25, TO_UM).data().tran_id
        assert held(api, "BNB") == ("1.75", "0.0", "1.5")

        assert api.get_auto_repay_futures_status().data().auto_repay is False
        on = ChangeAutoRepayFuturesStatusAutoRepayEnum.TRUE.value
        assert api.change_auto_repay_futures_status(on).data().msg == "success"
        assert api.get_auto_repay_futures_status().data().auto_repay is True

        assert api.query_portfolio_margin_pro_negative_balance_interest_history().data() == []
        assert api.query_portfolio_margin_asset_index_price(asset="BTC").data()[0].asset_index_price == "60000.00000000"
        rates = {row.asset: row.collateral_rate for row in api.portfolio_margin_collateral_rate().data()}
        assert (rates["USDT"], rates["BTC"]) == ("1.0", "0.95")

        assert api.query_portfolio_margin_pro_bankruptcy_loan_amount().data().amount == "0"
        assert api.query_portfolio_margin_pro_bankruptcy_loan_repay_history().data().total == 0
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(warning.message) for warning in recwarn] == []

    with pytest.raises(TooManyRequestsError) as third:
        api.bnb_transfer(0.25, TO_UM)
    assert third.value.status_code == -1003
    with pytest.raises(BadRequestError) as nothing:
        api.portfolio_margin_pro_bankruptcy_loan_repay()
    assert nothing.value.status_code == -21004
