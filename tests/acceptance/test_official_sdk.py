"""The exchange's own Python SDK against the started program; none of its models may complain of an answer."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import (
    BadRequestError,
    NotFoundError,
    RateLimitBanError,
    TooManyRequestsError,
    UnauthorizedError,
)
from binance_sdk_derivatives_trading_portfolio_margin.derivatives_trading_portfolio_margin import (
    DerivativesTradingPortfolioMargin,
)
from binance_sdk_derivatives_trading_portfolio_margin.rest_api import models
from binance_sdk_derivatives_trading_portfolio_margin.rest_api.models import FundCollectionByAssetFutureTypeEnum
from pydantic import BaseModel

from tests.acceptance.calls import CALLS, Client, camel, snake
from tests.acceptance.people import AT_FIRST, Credentials, Kind, Ring
from tests.acceptance.program import Program


def configured(program: Program, credentials: Credentials, **more: Any) -> Any:
    secret = (
        {"api_secret": credentials.secret} if credentials.kind is Kind.HMAC else {"private_key": credentials.secret}
    )
    settings: dict[str, Any] = {"timeout": 20_000, "retries": 0, **secret, **more}
    configuration = ConfigurationRestAPI(api_key=credentials.api_key, base_path=program.url, **settings)
    return DerivativesTradingPortfolioMargin(config_rest_api=configuration).rest_api


def plain(found: Any) -> Any:
    """Models as the wire has them. The SDK hands on raw data, with a warning, where its model does not fit, and keeps
    what its model does not know: nothing here may be either."""
    if isinstance(found, list):
        return [plain(row) for row in found]
    if hasattr(found, "actual_instance"):
        return plain(found.actual_instance)
    if found == {}:
        return found
    assert isinstance(found, BaseModel), found
    assert [extra for extra in extras(found) if extra] == []
    return found.to_dict()  # type: ignore[attr-defined]


def extras(model: Any) -> Iterator[Any]:
    """What of an answer no model has a field for."""
    if isinstance(model, BaseModel):
        for name, value in model:
            if name == "additional_properties":
                yield value
            else:
                yield from extras(value)
    elif isinstance(model, list | dict):
        for value in model.values() if isinstance(model, dict) else model:
            yield from extras(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Fails if the SDK logs or warns of anything meanwhile."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of what other tests left to the collector
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
    assert [*said, *(str(warning.message) for warning in warned)] == []


class Sdk(Client):
    """The walk's calls, by the SDK's methods."""

    def __init__(self, api: Any) -> None:
        super().__init__()
        self.api = api

    def has(self, call: str) -> bool:
        return bool(CALLS[call].sdk)

    def _ask(self, call: str, parameters: dict[str, Any]) -> Any:
        name = CALLS[call].sdk
        with quiet():
            arguments = {snake(key): typed(name, key, value) for key, value in parameters.items()}
            return plain(getattr(self.api, name)(**arguments).data())


def typed(method: str, key: str, value: Any) -> Any:
    """The SDK has an enum of its own for many a parameter."""
    name = camel(f"_{method}_{snake(key)}") + "Enum"
    return getattr(models, name)(value) if hasattr(models, name) else value


def test_a_model_that_does_not_fit_is_seen() -> None:
    good = models.AccountInformationResponse.from_dict({"uniMMR": "1"})
    assert plain(good) == {"uniMMR": "1"}
    more = models.AccountInformationResponse.from_dict({"uniMMR": "1", "more": 1})
    for bad in (more, [more], {"uniMMR": 1}):
        with pytest.raises(AssertionError):
            plain(bad)
    with pytest.raises(AssertionError, match="a warning"), quiet():
        logging.warning("a warning")


@pytest.fixture
def api(program: Program, ring: Ring) -> Any:
    return configured(program, ring.credentials("sdk-others"))


def test_used_weight_is_read_from_the_headers(api: Any) -> None:
    first = api.account_balance().rate_limits
    second = api.get_um_income_history().rate_limits
    for limits in (first, second):
        assert len(limits) == 1
        assert (limits[0].rateLimitType, limits[0].interval, limits[0].intervalNum) == ("REQUEST_WEIGHT", "MINUTE", 1)
        assert limits[0].retryAfter is None
    assert second[0].count - first[0].count == 30 or second[0].count < first[0].count, "unless a minute began"


def test_income_by_time_and_number(api: Any) -> None:
    rows = api.get_um_income_history(limit=2).data()
    assert [(row.asset, row.income) for row in rows] == [("ETH", "-2.50000000"), ("BNB", "2.50000000")]
    assert all(row.tran_id.isdigit() for row in rows)
    whole = api.get_um_income_history(start_time=rows[0].time - 60_000, end_time=rows[1].time).data()
    assert {row.asset for row in whole} == set(AT_FIRST)
    for times in ({"end_time": rows[0].time - 86_400_000}, {"end_time": 2**63 - 1}, {"start_time": 2**63 - 1}):
        assert api.get_um_income_history(**times).data() == []


def test_microseconds_are_not_asked_of_this_surface(program: Program, ring: Ring) -> None:
    """The client may send the header; the reference of Portfolio Margin does not know it."""
    api = configured(program, ring.credentials("sdk-others"), time_unit="MICROSECOND")
    assert len(str(api.account_information().data().update_time)) == 13


def test_connections_without_keep_alive(program: Program, ring: Ring) -> None:
    api = configured(program, ring.credentials("sdk-others"), keep_alive=False, compression=False)
    for _ in range(3):
        assert api.account_balance(asset="BTC").data().actual_instance.cm_wallet_balance == "0.12345678"


# Errors --------------------------------------------------------------------------------------------------------------

Call = Callable[[Any], Any]
UM, OPTION = FundCollectionByAssetFutureTypeEnum("UM"), FundCollectionByAssetFutureTypeEnum("OPTION")


def asset(*arguments: Any) -> Call:
    return lambda api: api.fund_collection_by_asset(*arguments)


def cm_income(*times: int) -> Call:
    return lambda api: api.get_cm_income_history(None, None, *times)


# fmt: off
ERRORS: list[tuple[type[Exception], int, str, Call]] = [
    (BadRequestError, -1108, "Invalid asset.",                      asset("NOPE")),
    (BadRequestError, -1102, "'asset' was not sent",                asset("")),
    (BadRequestError, -1020, "This operation is not supported.",    asset("BNB")),
    (BadRequestError, -1020, "This operation is not supported.",    asset("USDT", 1.0, OPTION)),
    (BadRequestError, -1128, "Combination of optional parameters",  asset("USDT", 1.0)),
    (BadRequestError, -1128, "Combination of optional parameters",  asset("USDT", None, UM)),
    (BadRequestError, -4055, "Amount must be positive.",            asset("USDT", 0.0, UM)),
    (BadRequestError, -4055, "Amount must be positive.",            asset("USDT", -1.0, UM)),
    (BadRequestError, -1111, "Precision is over the maximum",       asset("BTC", 1e-09, UM)),
    (BadRequestError, -2018, "Balance is insufficient.",            asset("BTC", 1.0, UM)),
    (BadRequestError, -1130, "parameter 'amount' is not valid",     asset("BTC", 1e30, UM)),
    (BadRequestError, -1130, "parameter 'amount' is not valid",     asset("BTC", float("nan"), UM)),
    (BadRequestError, -1130, "parameter 'amount' is not valid",     asset("BTC", float("inf"), UM)),
    (BadRequestError, -1131, "recvWindow must be less than 60000",  lambda api: api.fund_auto_collection(60_001)),
    (BadRequestError, -1100, "Illegal characters",                  lambda api: api.fund_auto_collection(-1)),
    (BadRequestError, -1108, "Invalid asset.",                      lambda api: api.account_balance(asset="nope")),
    (BadRequestError, -1023, "Start time is greater than end time", cm_income(2, 1)),
    (BadRequestError, -4165, "Maximum time interval is 200 days",   cm_income(1)),
    (NotFoundError,   -5000, "is invalid",                          lambda api: api.query_all_current_um_open_orders()),
]
# fmt: on


@pytest.mark.parametrize(("error", "code", "words", "call"), ERRORS)
def test_refusals_keep_code_and_sentence(api: Any, error: type[Exception], code: int, words: str, call: Call) -> None:
    before = [row.to_dict() for row in api.account_balance().data().actual_instance]
    with pytest.raises(error) as refused:
        call(api)
    found: Any = refused.value
    assert found.status_code == code, "the SDK puts the venue's code here"
    assert words in found.error_message
    assert [row.to_dict() for row in api.account_balance().data().actual_instance] == before


def test_keys_that_are_refused(program: Program, ring: Ring) -> None:
    good = ring.credentials("sdk-others")
    for credentials, code in (
        (Credentials("unknown", Kind.HMAC, "x"), -2015),
        (Credentials("", Kind.HMAC, good.secret), -2014),
        (ring.credentials("reader"), -2015),
    ):
        with pytest.raises(UnauthorizedError) as refused:
            configured(program, credentials).fund_auto_collection()
        assert refused.value.status_code == code
    for credentials in (
        Credentials(good.api_key, Kind.HMAC, "wrong"),
        Credentials(good.api_key, Kind.RSA, ring.credentials("x", Kind.RSA).secret),
        Credentials("sdk-rsa", Kind.HMAC, "wrong"),
        Credentials("sdk-rsa", Kind.ED25519, ring.credentials("x", Kind.ED25519).secret),
    ):
        with pytest.raises(BadRequestError) as wrong:
            configured(program, credentials).fund_auto_collection()
        assert wrong.value.status_code == -1022


def test_429_and_418_tell_when_to_come_back(strict: Program, ring: Ring) -> None:
    api = configured(strict, ring.credentials("sdk-others"))
    assert api.test_connectivity().status == 200
    with pytest.raises(TooManyRequestsError) as refused:
        api.fund_auto_collection()
    assert refused.value.status_code == -1003
    assert refused.value.retry_after in range(1, 61)
    assert "current limit is 700 requests per minute" in refused.value.error_message
    for _ in range(40):  # the minute may end once on the way to the ban
        with pytest.raises((TooManyRequestsError, RateLimitBanError)) as going_on:
            api.fund_auto_collection()
        if isinstance(going_on.value, RateLimitBanError):
            break
    with pytest.raises(RateLimitBanError) as banned:
        api.account_balance()
    assert banned.value.status_code == -1003
    assert banned.value.retry_after in range(60, 121)
