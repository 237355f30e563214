"""The coverage page, and the weights in the table of endpoints against a table written from the reference alone."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path

import pytest

from catchment import errors
from catchment.papi import coverage
from catchment.papi.contract import Security
from catchment.papi.endpoints import ENDPOINTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"

# The account section of the exchange's reference, its time call, and the calls of other sections that clients make
# first. Nothing here is read from the code.
# fmt: off
REFERENCE = {
    # method, path                                                       weight  security
    ("GET",    "/papi/v1/ping"):                                             (1, "NONE"),
    ("GET",    "/papi/v1/time"):                                             (1, "NONE"),
    ("GET",    "/fapi/v1/ping"):                                             (1, "NONE"),
    ("GET",    "/fapi/v1/time"):                                             (1, "NONE"),
    ("GET",    "/dapi/v1/time"):                                             (1, "NONE"),
    ("GET",    "/api/v3/ping"):                                              (1, "NONE"),
    ("GET",    "/api/v3/time"):                                              (1, "NONE"),
    ("GET",    "/papi/v1/balance"):                                         (20, "USER_DATA"),
    ("GET",    "/papi/v1/account"):                                         (20, "USER_DATA"),
    ("GET",    "/papi/v1/um/account"):                                       (5, "USER_DATA"),
    ("GET",    "/papi/v2/um/account"):                                       (5, "USER_DATA"),
    ("GET",    "/papi/v1/cm/account"):                                       (5, "USER_DATA"),
    ("GET",    "/papi/v1/um/income"):                                       (30, "USER_DATA"),
    ("GET",    "/papi/v1/cm/income"):                                       (30, "USER_DATA"),
    ("POST",   "/papi/v1/auto-collection"):                                (750, "TRADE"),
    ("POST",   "/papi/v1/asset-collection"):                                (30, "TRADE"),
    ("POST",   "/papi/v1/bnb-transfer"):                                   (750, "TRADE"),
    ("GET",    "/papi/v1/repay-futures-switch"):                            (30, "USER_DATA"),
    ("POST",   "/papi/v1/repay-futures-switch"):                           (750, "TRADE"),
    ("POST",   "/papi/v1/repay-futures-negative-balance"):                 (750, "USER_DATA"),
    ("GET",    "/papi/v1/portfolio/interest-history"):                      (50, "USER_DATA"),
    ("GET",    "/papi/v1/portfolio/negative-balance-exchange-record"):     (100, "USER_DATA"),
    ("GET",    "/papi/v1/margin/maxWithdraw"):                               (5, "USER_DATA"),
    ("GET",    "/papi/v1/margin/maxBorrowable"):                             (5, "USER_DATA"),
    ("GET",    "/papi/v1/margin/marginInterestHistory"):                     (1, "USER_DATA"),
    ("GET",    "/papi/v1/margin/marginLoan"):                               (10, "USER_DATA"),
    ("GET",    "/papi/v1/margin/repayLoan"):                                (10, "USER_DATA"),
    ("POST",   "/papi/v1/marginLoan"):                                     (100, "MARGIN"),
    ("POST",   "/papi/v1/repayLoan"):                                      (100, "MARGIN"),
    ("GET",    "/papi/v1/rateLimit/order"):                                  (1, "USER_DATA"),
    ("GET",    "/papi/v1/um/apiTradingStatus"):                             (10, "USER_DATA"),
    ("GET",    "/papi/v1/um/adlQuantile"):                                   (5, "USER_DATA"),
    ("GET",    "/papi/v1/cm/adlQuantile"):                                   (5, "USER_DATA"),
    ("GET",    "/papi/v1/um/income/asyn"):                                (1500, "USER_DATA"),
    ("GET",    "/papi/v1/um/income/asyn/id"):                               (10, "USER_DATA"),
    ("GET",    "/papi/v1/um/order/asyn"):                                 (1500, "USER_DATA"),
    ("GET",    "/papi/v1/um/order/asyn/id"):                                (10, "USER_DATA"),
    ("GET",    "/papi/v1/um/trade/asyn"):                                 (1500, "USER_DATA"),
    ("GET",    "/papi/v1/um/trade/asyn/id"):                                (10, "USER_DATA"),
    ("GET",    "/papi/v1/um/accountConfig"):                                 (5, "USER_DATA"),
    ("GET",    "/papi/v1/um/symbolConfig"):                                  (5, "USER_DATA"),
    ("GET",    "/papi/v1/um/positionRisk"):                                  (5, "USER_DATA"),
    ("GET",    "/papi/v1/cm/positionRisk"):                                  (1, "USER_DATA"),
    ("GET",    "/papi/v1/um/positionSide/dual"):                            (30, "USER_DATA"),
    ("GET",    "/papi/v1/cm/positionSide/dual"):                            (30, "USER_DATA"),
    ("GET",    "/papi/v1/um/commissionRate"):                               (20, "USER_DATA"),
    ("GET",    "/papi/v1/cm/commissionRate"):                               (20, "USER_DATA"),
    ("GET",    "/papi/v1/um/leverageBracket"):                               (1, "USER_DATA"),
    ("GET",    "/papi/v1/cm/leverageBracket"):                               (1, "USER_DATA"),
    ("GET",    "/papi/v1/um/feeBurn"):                                      (30, "USER_DATA"),
    ("POST",   "/papi/v1/um/feeBurn"):                                       (1, "TRADE"),
    ("POST",   "/papi/v1/listenKey"):                                        (1, "USER_STREAM"),
    ("PUT",    "/papi/v1/listenKey"):                                        (1, "USER_STREAM"),
    ("DELETE", "/papi/v1/listenKey"):                                        (1, "USER_STREAM"),
    ("GET",    "/dapi/v1/ping"):                                             (1, "NONE"),
    ("GET",    "/api/v3/exchangeInfo"):                                     (20, "NONE"),
    ("GET",    "/fapi/v1/exchangeInfo"):                                     (1, "NONE"),
    ("GET",    "/dapi/v1/exchangeInfo"):                                     (1, "NONE"),
    ("GET",    "/sapi/v1/system/status"):                                    (1, "NONE"),
    ("GET",    "/sapi/v1/capital/config/getall"):                           (10, "USER_DATA"),
    ("GET",    "/sapi/v1/margin/allPairs"):                                  (1, "MARKET_DATA"),
    ("GET",    "/sapi/v1/margin/isolated/allPairs"):                        (10, "MARKET_DATA"),
    # Of an account, and not of an address: asset/transfer, account, pmLoan and repay.
    ("POST",   "/sapi/v1/asset/transfer"):                                 (900, "TRADE"),
    ("GET",    "/sapi/v1/asset/transfer"):                                   (1, "USER_DATA"),
    ("POST",   "/sapi/v1/portfolio/auto-collection"):                     (1500, "TRADE"),
    ("POST",   "/sapi/v1/portfolio/asset-collection"):                      (60, "TRADE"),
    ("POST",   "/sapi/v1/portfolio/bnb-transfer"):                        (1500, "TRADE"),
    ("GET",    "/sapi/v1/portfolio/balance"):                               (20, "USER_DATA"),
    ("GET",    "/sapi/v1/portfolio/account"):                                (5, "USER_DATA"),
    ("GET",    "/sapi/v1/portfolio/repay-futures-switch"):                  (30, "USER_DATA"),
    ("POST",   "/sapi/v1/portfolio/repay-futures-switch"):                (1500, "TRADE"),
    ("POST",   "/sapi/v1/portfolio/repay-futures-negative-balance"):      (1500, "TRADE"),
    ("GET",    "/sapi/v1/portfolio/interest-history"):                      (50, "USER_DATA"),
    ("GET",    "/sapi/v1/portfolio/asset-index-price"):                     (50, "MARKET_DATA"),
    ("GET",    "/sapi/v1/portfolio/collateralRate"):                        (50, "MARKET_DATA"),
    ("GET",    "/sapi/v1/portfolio/pmLoan"):                               (500, "USER_DATA"),
    ("POST",   "/sapi/v1/portfolio/repay"):                               (3000, "TRADE"),
    ("GET",    "/sapi/v1/portfolio/pmloan-history"):                       (500, "USER_DATA"),
}
MANDATORY = {
    # beside timestamp and signature
    "POST /papi/v1/asset-collection": {"asset"},
    "POST /papi/v1/bnb-transfer": {"amount", "transferSide"},
    "POST /papi/v1/repay-futures-switch": {"autoRepay"},
    "POST /papi/v1/marginLoan": {"asset", "amount"},
    "POST /papi/v1/repayLoan": {"asset", "amount"},
    "GET /papi/v1/margin/marginLoan": {"asset"},
    "GET /papi/v1/margin/repayLoan": {"asset"},
    "GET /papi/v1/portfolio/negative-balance-exchange-record": {"startTime", "endTime"},
    "GET /papi/v1/margin/maxWithdraw": {"asset"},
    "GET /papi/v1/margin/maxBorrowable": {"asset"},
    "POST /papi/v1/um/feeBurn": {"feeBurn"},
    "GET /papi/v1/um/commissionRate": {"symbol"},
    "GET /papi/v1/cm/commissionRate": {"symbol"},
    "POST /sapi/v1/portfolio/asset-collection": {"asset"},
    "POST /sapi/v1/portfolio/bnb-transfer": {"amount", "transferSide"},
    "POST /sapi/v1/portfolio/repay-futures-switch": {"autoRepay"},
    "POST /sapi/v1/asset/transfer": {"type", "asset", "amount"},
    "GET /sapi/v1/asset/transfer": {"type"},
    **{f"GET /papi/v1/um/{kind}/asyn": {"startTime", "endTime"} for kind in ("income", "order", "trade")},
    **{f"GET /papi/v1/um/{kind}/asyn/id": {"downloadId"} for kind in ("income", "order", "trade")},
}
# fmt: on


def test_every_weight_is_that_of_the_reference() -> None:
    for endpoint in ENDPOINTS:
        weight, security = REFERENCE[endpoint.method, endpoint.path]
        assert endpoint.weight == weight, endpoint.path
        assert endpoint.security == Security(security), endpoint.path


def test_mandatory_parameters_are_those_of_the_reference() -> None:
    for endpoint in ENDPOINTS:
        mandatory = {parameter.name for parameter in endpoint.parameters if parameter.mandatory}
        assert mandatory == MANDATORY.get(f"{endpoint.method} {endpoint.path}", set()), endpoint.path


def test_the_calls_this_project_is_about_are_there() -> None:
    there = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert {("POST", "/papi/v1/auto-collection"), ("POST", "/papi/v1/asset-collection")} <= there
    assert len(there) == len(ENDPOINTS), "no row stands twice"


def test_the_page_tells_each_account_endpoint_once() -> None:
    implemented = {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}
    missing = [line for line in (coverage.MISSING + coverage.ORDERS).split("\n") if line]
    assert len(missing) == len(set(missing))
    assert not implemented & set(missing)
    unspoken = {f"{method} {path}" for method, path in REFERENCE} - implemented - set(missing)
    assert unspoken == set()


@pytest.mark.parametrize(("sdk", "fewest"), [("portfolio_margin", 90), ("portfolio_margin_pro", 20)])
def test_every_method_of_the_official_sdks_is_told(sdk: str, fewest: int) -> None:
    """A release that brings a new one fails here, and `make drift` looks for it before this tree is held to it."""
    folder = importlib.resources.files(f"binance_sdk_derivatives_trading_{sdk}") / "rest_api" / "api"
    source = "".join(file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith("_api.py"))
    calls = {f"{method} {path}" for method, path in re.findall(r'method="(\w+)",\s+path="([^"]+)"', source)}
    assert len(calls) >= fewest, "the SDK is not written as it was; read it anew"
    told = {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}
    told |= set((coverage.MISSING + coverage.ORDERS).split("\n"))
    assert calls - told == set()


def test_the_page_tells_every_row_choice_and_refusal() -> None:
    page = coverage.markdown()
    for endpoint in ENDPOINTS:
        line = f"| {endpoint.method} | `{endpoint.path}` | {endpoint.weight} | {endpoint.security} |"
        assert page.count(line) == 1
    for case, choice in coverage.CHOICES:
        assert f"| {case} | {choice} |" in page
    for refusal in errors.REFUSALS:
        assert f"| {refusal.name} | {refusal.code} | {refusal.status} |" in page


def test_no_cell_breaks_its_table() -> None:
    columns = 0
    for line in coverage.markdown().splitlines():
        found = line.count("|")
        assert not columns or not found or found == columns, line
        columns = found


@pytest.mark.skipif(not PAGE.exists(), reason="docs/coverage.md is not written yet")
def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8").strip() == coverage.markdown().strip(), "run `make docs`"
