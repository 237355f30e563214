"""Every refusal formats with its details, and the table can be told apart by name and read in order."""

import ast
import inspect
from collections import defaultdict

import pytest

from catchment import errors
from catchment.errors import REFUSALS, Refusal, Refused


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_sentence_takes_its_details(refusal: Refusal) -> None:
    places = refusal.sentence.count("%s")
    assert refusal.sentence.count("%") == places, "only %s is filled in"
    details = [f"<{place} %s>" for place in range(places)]
    sentence = refusal(*details).sentence
    assert all(detail in sentence for detail in details), "a detail is text, and never a pattern itself"
    assert sentence.count("%s") == places


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_row_is_whole(refusal: Refusal) -> None:
    rejection = refusal(*["x"] * refusal.sentence.count("%s"))
    assert refusal.name.isupper()
    assert refusal.code < 0
    assert 400 <= refusal.status < 600
    assert refusal.sentence.strip() == refusal.sentence != ""
    assert (rejection.name, rejection.code, rejection.status) == (refusal.name, refusal.code, refusal.status)
    assert rejection.retry_after is None


def test_the_table_is_every_refusal_in_the_order_they_are_written() -> None:
    """The order is the order of precedence, so what stands in the file is what a reader is told."""
    written = [
        statement.targets[0].id
        for statement in ast.parse(inspect.getsource(errors)).body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Name)
        and statement.value.func.id == "Refusal"
    ]
    assert [getattr(errors, name) for name in written] == list(REFUSALS)


def test_what_shares_a_name_shares_a_code() -> None:
    """A timestamp that is too old and one that is ahead have one name on the page, and two sentences."""
    rows = defaultdict(list)
    for refusal in REFUSALS:
        rows[refusal.name].append(refusal)
    shared = {name: found for name, found in rows.items() if len(found) > 1}
    assert set(shared) == {"INVALID_TIMESTAMP"}
    for found in shared.values():
        assert len({(refusal.code, refusal.status) for refusal in found}) == 1
        assert len({refusal.sentence for refusal in found}) == len(found)


def test_precedence() -> None:
    """The process protects itself, then the text, then who asks, then the parameters, then the ledger."""
    order = [REFUSALS.index(refusal) for refusal in (
        errors.IP_BANNED,
        errors.TOO_MANY_REQUESTS,
        errors.UNKNOWN_PATH,
        errors.ILLEGAL_CHARS,
        errors.BAD_API_KEY_FMT,
        errors.REJECTED_MBX_KEY,
        errors.BAD_RECV_WINDOW,
        errors.TIMESTAMP_TOO_OLD,
        errors.INVALID_SIGNATURE,
        errors.BAD_ASSET,
        errors.NOT_PORTFOLIO_MARGIN,
        errors.COLLECTION_QUOTA,
        errors.BALANCE_NOT_SUFFICIENT,
        errors.QUEUE_FULL,
    )]  # fmt: skip
    assert order == sorted(order)


def test_codes_of_the_published_table() -> None:
    """Literal on purpose: these are what a client has been written against."""
    assert {refusal.name: refusal.code for refusal in REFUSALS if refusal.code > errors.OPERATOR_CODES} == {
        "IP_BANNED": -1003,
        "TOO_MANY_REQUESTS": -1003,
        "TOO_MUCH_WEIGHT": -1003,
        "UNKNOWN_PATH": -5000,
        "BODY_TOO_LARGE": -1013,
        "QUERY_TOO_LARGE": -1013,
        "ILLEGAL_CHARS": -1100,
        "TOO_MANY_PARAMETERS": -1101,
        "DUPLICATE_PARAMETER": -1101,
        "BAD_API_KEY_FMT": -2014,
        "REJECTED_MBX_KEY": -2015,
        "MANDATORY_PARAM_EMPTY_OR_MALFORMED": -1102,
        "BAD_RECV_WINDOW": -1131,
        "INVALID_TIMESTAMP": -1021,
        "INVALID_SIGNATURE": -1022,
        "PARAM_EMPTY": -1105,
        "OPTIONAL_PARAMS_BAD_COMBO": -1128,
        "INVALID_PARAMETER": -1130,
        "INVALID_LISTEN_KEY": -1125,
        "START_TIME_GREATER_THAN_END_TIME": -1023,
        "INVALID_TIME_INTERVAL": -4165,
        "MORE_THAN_XX_HOURS": -1127,
        "BAD_SYMBOL": -1121,
        "BAD_ASSET": -1108,
        "EXCEED_MAX_BORROWABLE": -51006,
        "REPAY_EXCEED_LIABILITY": -3015,
        "UNSUPPORTED_OPERATION": -1020,
        "AMOUNT_MUST_BE_POSITIVE": -4055,
        "BAD_PRECISION": -1111,
        "AMOUNT_TOO_LARGE": -1130,
        "BAD_ACCOUNT": -1109,
        "USER_IS_NOT_UNIACCOUNT": -21001,
        "USER_NO_LIABILITY": -21004,
        "UNI_ACCOUNT_CANT_TRANSFER_FUTURE": -21002,
        "COLLECTION_QUOTA": -1003,
        "BALANCE_NOT_SUFFICIENT": -2018,
        "TRANSFER_BALANCE_INSUFFICIENT": -5013,
        "EXCEED_MAX_ROLLOUT": -3020,
        "QUANTITY_NOT_POSITIVE": -5007,
        "BALANCE_OVERFLOW": -1130,
        "QUEUE_FULL": -1001,
        "SERVICE_SHUTTING_DOWN": -1016,
        "STORE_UNAVAILABLE": -1001,
        "OUTCOME_UNKNOWN": -1007,
        "UNKNOWN": -1000,
        "INVALID_RSA_PUBLIC_KEY": -4057,
    }


def test_the_three_outcomes_can_be_told_apart() -> None:
    """Refused means nothing happened; only what may have happened says that the status is unknown."""
    unknown = [refusal.name for refusal in REFUSALS if "unknown" in refusal.sentence.lower()]
    assert unknown == ["OUTCOME_UNKNOWN", "UNKNOWN"]
    assert {errors.QUEUE_FULL.status, errors.STORE_UNAVAILABLE.status, errors.OUTCOME_UNKNOWN.status} == {503}


def test_a_refusal_can_leave_a_constructor() -> None:
    rejection = errors.SCALE_CHANGED("USDT", 8, 6)
    refused = Refused(rejection)
    assert refused.rejection is rejection
    assert str(refused) == "Asset USDT has scale 8 in this store; the settings say 6."


def test_retry_after_travels_with_the_rejection() -> None:
    assert errors.TOO_MANY_REQUESTS(6000, retry_after=7).retry_after == 7
