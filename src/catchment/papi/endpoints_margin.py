"""The rows of the contract around Cross Margin: BNB, repaying negative balances, loans, and their histories."""

from __future__ import annotations

from typing import Final

from catchment.ledger.commands import Side
from catchment.papi import bnb, collection, loans, portfolio, repay
from catchment.papi.contract import Endpoint, Kind, Parameter, Security
from catchment.papi.history import END, START

_ASSET = Parameter("asset", Kind.STRING, mandatory=True)
_ANY_ASSET = Parameter("asset", Kind.STRING)
_AMOUNT = Parameter("amount", Kind.DECIMAL, mandatory=True)
_SIZE = Parameter("size", Kind.LONG, most=portfolio.MAX_SIZE, sentence=f"{portfolio.DEFAULT_SIZE} if not sent.")
_PAGE = (
    START,
    END,
    Parameter("current", Kind.LONG, sentence="The page, from 1."),
    _SIZE,
    Parameter("archived", Kind.ENUM, values=repay.BOOLEANS, sentence="Makes no difference: nothing is archived."),
)
_LOANS = (_ASSET, Parameter("txId", Kind.LONG, sentence="Of this tranId alone, whatever the times."), *_PAGE)
_NEITHER_SENT = "Without txId and startTime the last 7 days are answered; both count, so neither is demanded."

MARGIN: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "POST",
        "/papi/v1/bnb-transfer",
        Security.TRADE,
        750,
        bnb.bnb_transfer,
        bnb.Transferred,
        "BNB transfer",
        "account/BNB-transfer",
        (_AMOUNT, Parameter("transferSide", Kind.ENUM, mandatory=True, values=tuple(Side))),
    ),
    Endpoint(
        "GET",
        "/papi/v1/repay-futures-switch",
        Security.USER_DATA,
        30,
        repay.auto_repay,
        repay.AutoRepay,
        "Get Auto-repay-futures Status",
        "account/Get-Auto-repay-futures-Status",
        (),
        "Off until it is turned on.",
    ),
    Endpoint(
        "POST",
        "/papi/v1/repay-futures-switch",
        Security.TRADE,
        750,
        repay.set_auto_repay,
        collection.Done,
        "Change Auto-repay-futures Status",
        "account/Change-Auto-repay-futures-Status",
        (Parameter("autoRepay", Kind.ENUM, mandatory=True, values=repay.BOOLEANS),),
    ),
    Endpoint(
        "POST",
        "/papi/v1/repay-futures-negative-balance",
        Security.USER_DATA,
        750,
        repay.repay_negative,
        collection.Done,
        "Repay futures Negative Balance",
        "account/Repay-futures-Negative-Balance",
    ),
    Endpoint(
        "GET",
        "/papi/v1/portfolio/interest-history",
        Security.USER_DATA,
        50,
        portfolio.interest_history,
        list[portfolio.InterestRow],
        "Query Portfolio Margin Negative Balance Interest History",
        "account/Query-Portfolio-Margin-Negative-Balance-Interest-History",
        (_ANY_ASSET, START, END, _SIZE),
    ),
    Endpoint(
        "GET",
        "/papi/v1/portfolio/negative-balance-exchange-record",
        Security.USER_DATA,
        100,
        portfolio.exchange_records,
        portfolio.ExchangeRecords,
        "Query User Negative Balance Auto Exchange Record",
        "account/Query-User-Negative-Balance-Auto-Exchange-Record",
        (
            Parameter("startTime", Kind.LONG, mandatory=True, sentence="Milliseconds, included."),
            Parameter("endTime", Kind.LONG, mandatory=True, sentence="Milliseconds, included."),
        ),
        "One row an asset; an exchange takes no time, so startTime and endTime of a row are the same.",
    ),
    Endpoint(
        "POST",
        "/papi/v1/marginLoan",
        Security.MARGIN,
        100,
        loans.borrow,
        bnb.Transferred,
        "Margin Account Borrow",
        "trade/Margin-Account-Borrow",
        (_ASSET, _AMOUNT),
        "Within what maxBorrowable allows at that moment (-51006).",
    ),
    Endpoint(
        "POST",
        "/papi/v1/repayLoan",
        Security.MARGIN,
        100,
        loans.repay,
        bnb.Transferred,
        "Margin Account Repay",
        "trade/Margin-Account-Repay",
        (_ASSET, _AMOUNT),
    ),
    Endpoint(
        "GET",
        "/papi/v1/margin/marginLoan",
        Security.USER_DATA,
        10,
        loans.loans,
        loans.Loans,
        "Query Margin Loan Record",
        "account/Query-Margin-Loan-Record",
        _LOANS,
        _NEITHER_SENT,
    ),
    Endpoint(
        "GET",
        "/papi/v1/margin/repayLoan",
        Security.USER_DATA,
        10,
        loans.repayments,
        loans.Repayments,
        "Query Margin repay Record",
        "account/Query-Margin-repay-Record",
        _LOANS,
        _NEITHER_SENT,
    ),
    Endpoint(
        "GET",
        "/papi/v1/margin/marginInterestHistory",
        Security.USER_DATA,
        1,
        loans.interest_history,
        loans.LoanInterest,
        "Get Margin Borrow/Loan Interest History",
        "account/Get-Margin-BorrowLoan-Interest-History",
        (_ANY_ASSET, *_PAGE),
        "PORTFOLIO rows, and PERIODIC ones without principal and rate for what an operator charged: loans bear no "
        "interest by themselves.",
    ),
)
