"""What every answer has in common: JSON and used weight; and how weight, bans, sizes and failures are answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from catchment import errors
from catchment.errors import Refused
from catchment.ledger.balance import AccountId
from catchment.limits import BAN_STEPS_MS, MAX_BODY_BYTES, MINUTE_MS, TOLERATED_429
from catchment.papi.contract import Endpoint, Security
from catchment.papi.endpoints import ENDPOINTS
from catchment.papi.rest import DESCRIPTION, MAX_PATH_TOLD
from catchment.store.base import Answered, StoreFailed
from tests.papi.desk import NOW, Desk, hmac_key, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
[[account.key]]
api_key = "alice"
secret = "alice-secret"
[account.UM]
USDT = "5"
"""
COLLECT = "/papi/v1/auto-collection"
SECOND = 1_000
HOUR_MS = 3_600_000
INTO_THE_MINUTE = NOW % MINUTE_MS


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE) as desk:
        yield desk


@pytest.fixture
def wide() -> Iterator[Desk]:
    """A desk whose weight never runs out."""
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


# Headers -------------------------------------------------------------------------------------------------------------


def test_success_and_refusal_have_the_same_headers(desk: Desk) -> None:
    done = desk.get("balance", ALICE)
    refused = desk.send("GET", "/papi/v1/balance")
    unknown = desk.send("GET", "/nowhere")
    assert (done.status, refused.status, unknown.status) == (200, 401, 404)
    for answer in (done, refused, unknown):
        assert set(answer.headers) == {"content-type", "content-length", "x-mbx-used-weight-1m"}
        assert answer.headers["content-type"] == "application/json;charset=UTF-8"


def test_used_weight_counts_each_request_of_an_address(desk: Desk) -> None:
    assert desk.send("GET", "/papi/v1/ping").used == 1
    assert desk.get("balance", ALICE).used == 21
    assert desk.get("um/income", ALICE).used == 51
    assert desk.send("GET", "/nowhere").used == 51, "an unknown path costs nothing"
    assert desk.send("GET", "/papi/v1/balance").used == 71, "a refused request costs the same"
    assert desk.post("auto-collection", ALICE).used == 821
    assert desk.get("balance", ALICE, address="10.0.0.2").used == 20, "another address has its own"
    desk.clock.advance(MINUTE_MS - INTO_THE_MINUTE - 1)
    assert desk.send("GET", "/papi/v1/ping").used == 822
    desk.clock.advance(1)
    assert desk.send("GET", "/papi/v1/ping").used == 1, "and each minute begins at nothing"


SENT = {
    "asset": "USDT",
    "amount": "1",
    "transferSide": "TO_UM",
    "type": "MAIN_PORTFOLIO_MARGIN",
    "startTime": "1",
    "endTime": "2",
    "downloadId": "1",
}
REFUSED = {"income/asyn/id", "order/asyn/id", "trade/asyn/id", "portfolio/repay", "/bnb-transfer", "/v1/repayLoan"}
"""An id that is none, a debt that is none, BNB that is none."""


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_charges_its_weight(desk: Desk, endpoint: Endpoint) -> None:
    symbol = "BTCUSD_PERP" if "/cm/" in endpoint.path else "BTCUSDT"
    if endpoint.security is Security.USER_STREAM:
        desk.post("listenKey", ALICE, address="10.0.0.2")
    parameters = {
        parameter.name: {**SENT, "symbol": symbol}.get(parameter.name) or parameter.values[0]
        for parameter in endpoint.parameters
        if parameter.mandatory
    }
    answer = desk.call(endpoint.method, endpoint.path, ALICE, parameters)
    assert answer.status == (400 if endpoint.path.endswith(tuple(REFUSED)) else 200)
    assert answer.used == endpoint.weight
    assert int(answer.headers[endpoint.budget.header.decode()]) == endpoint.weight


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/papi/v1/um/apiTradingStatus", [], 10),
        ("/papi/v1/um/apiTradingStatus", [("symbol", "BTCUSDT")], 1),
        ("/papi/v1/um/apiTradingStatus", [("symbol", "")], 10),
        ("/papi/v1/um/apiTradingStatus", [("asymbol", "BTCUSDT")], 10),
        ("/sapi/v1/portfolio/asset-index-price", [], 50),
        ("/sapi/v1/portfolio/asset-index-price", [("asset", "BTC")], 1),
    ],
)
def test_a_call_about_one_thing_weighs_less(desk: Desk, path: str, query: list[tuple[str, str]], weight: int) -> None:
    answer = desk.call("GET", path, ALICE, query)
    used = {name: value for name, value in answer.headers.items() if "-used-" in name}
    assert list(used.values()) == [str(weight)]


def test_both_ways_to_write_an_ipv4_caller_are_one_address(desk: Desk) -> None:
    assert desk.send("GET", "/papi/v1/ping", address="10.0.0.3").used == 1
    assert desk.send("GET", "/papi/v1/ping", address="::ffff:10.0.0.3").used == 2
    assert desk.send("GET", "/papi/v1/ping", address="::ffff:a00:3").used == 1


# Paths and methods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/papi/v1/exchangeInfo"),
        ("GET", "/papi/v1/balance/"),
        ("GET", "/PAPI/v1/balance"),
        ("GET", "/papi/v2/balance"),
        ("GET", "/sapi/v1/portfolio/nowhere"),
        ("GET", "/papi/v1/auto-collection"),
        ("PUT", "/papi/v1/auto-collection"),
        ("DELETE", "/papi/v1/asset-collection"),
        ("POST", "/papi/v1/balance"),
        ("POST", "/papi/v1/ping"),
        ("HEAD", "/papi/v1/balance"),
        ("HEAD", "/papi/v1/ping"),
        ("OPTIONS", "/papi/v1/balance"),
        ("TRACE", "/papi/v1/balance"),
        ("get", "/papi/v1/ping"),
        ("POST", DESCRIPTION),
    ],
)
def test_what_is_no_endpoint(desk: Desk, method: str, path: str) -> None:
    before = desk.books()
    for query in (b"", desk.signed(ALICE)):
        answer = desk.send(method, path, query, b"", "alice")
        assert answer.status == 404
        assert answer.json == {"code": -5000, "msg": f"Path {path}, Method {method} is invalid"}
        assert answer.used == 0
    assert desk.books() == before


@pytest.mark.parametrize("path", ["/%s%d%%", '/"\\', "/\x00\x1b", "/你\ufffd", "/" + "x" * 100_000])
def test_an_unknown_path_is_repeated_safely(desk: Desk, path: str) -> None:
    answer = desk.send("GET", path)
    assert answer.code == -5000
    assert answer.json["msg"] == f"Path {path[:MAX_PATH_TOLD]}, Method GET is invalid"


def test_the_description_is_served(desk: Desk) -> None:
    assert desk.send("GET", DESCRIPTION).json["openapi"] == "3.1.0"


# Bodies --------------------------------------------------------------------------------------------------------------


def chunks(body: bytes, size: int) -> list[dict[str, Any]]:
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    return [
        {"type": "http.request", "body": part, "more_body": place < len(parts) - 1} for place, part in enumerate(parts)
    ]


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_a_body_in_pieces(desk: Desk, size: int) -> None:
    body = desk.signed(ALICE, "asset=USDT")
    answer = desk.send("POST", "/papi/v1/asset-collection", b"", chunks(body, size), "alice")
    assert answer.outcome == (200, None)


def test_pieces_may_be_empty_and_bare(desk: Desk) -> None:
    """The protocol lets a server leave `body` and `more_body` out."""
    body = desk.signed(ALICE)
    pieces: list[dict[str, Any]] = [
        {"type": "http.request", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.request", "body": body, "more_body": True},
        {"type": "http.request"},
    ]
    assert desk.send("POST", COLLECT, b"", pieces, "alice").outcome == (200, None)


def long_body(desk: Desk, length: int) -> bytes:
    """A signed form body of exactly this length; no single parameter is over its own limit."""
    filling = b"&".join(b"p%02d=%s" % (number, b"A" * 3_000) for number in range(21)) + b"&q="
    bare = desk.signed(ALICE, filling)
    return desk.signed(ALICE, filling + b"A" * (length - len(bare)))


@pytest.mark.parametrize("size", [1_000, 65_536, 10**6])
def test_the_largest_body(desk: Desk, size: int) -> None:
    body = long_body(desk, MAX_BODY_BYTES)
    assert len(body) == MAX_BODY_BYTES
    assert desk.send("POST", COLLECT, b"", chunks(body, size), "alice").outcome == (200, None)
    before = desk.books()
    body = long_body(desk, MAX_BODY_BYTES + 1)
    answer = desk.send("POST", COLLECT, b"", chunks(body, size), "alice")
    assert answer.outcome == (413, -1013)
    assert answer.json["msg"] == "Request body is larger than 65536 bytes."
    assert desk.books() == before


def test_a_body_over_the_limit_is_refused_before_its_end(desk: Desk) -> None:
    """The pieces have no end: reading on would find nothing and fail."""
    piece = {"type": "http.request", "body": b"A" * 10_000, "more_body": True}
    assert desk.send("POST", COLLECT, b"", [piece] * 7, "alice").outcome == (413, -1013)


@pytest.mark.parametrize("read", [0, 1, 2])
def test_who_leaves_before_the_end_is_answered_nothing(desk: Desk, read: int) -> None:
    before = desk.books()
    body = desk.signed(ALICE)
    pieces = [*chunks(body, 30)[:read], {"type": "http.disconnect"}]
    assert desk.run(desk.messages("POST", COLLECT, b"", pieces, "alice")) == []
    assert desk.books() == before
    assert desk.send("GET", "/papi/v1/ping").used == 751, "the weight stays charged"


# Failures ------------------------------------------------------------------------------------------------------------


def test_a_failure_inside_tells_nothing_of_itself(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(account: object) -> None:
        raise RuntimeError("a secret 8750 words")

    monkeypatch.setattr(desk.venue, "state", fail)
    with caplog.at_level(logging.ERROR):
        answer = desk.get("balance", ALICE)
    assert answer.status == 500
    assert answer.json == {"code": -1000, "msg": "An unknown error occured while processing the request."}
    assert answer.used == 20
    assert "a secret 8750 words" in caplog.text, "the operator is told"
    monkeypatch.undo()
    assert desk.get("balance", ALICE).status == 200


def test_a_store_that_cannot_be_read_is_503_and_not_500(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreFailed("the disk is on fire")

    monkeypatch.setattr(desk.venue._store, "load", fail)
    answer = desk.get("balance", ALICE)
    assert answer.outcome == (503, -1001)
    assert "fire" not in str(answer.json)


def test_a_refusal_for_the_operator_is_not_told_to_a_client(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Refused(errors.WRONG_MASTER_KEY("/secret/place"))

    monkeypatch.setattr(desk.venue._store, "load", fail)
    answer = desk.get("balance", ALICE)
    assert answer.outcome == (500, -1000)
    assert "secret" not in str(answer.json)


def test_a_closing_venue_says_so(desk: Desk) -> None:
    signed = desk.signed(ALICE)
    before = desk.books()
    desk.run(desk.venue._batcher.close())
    answer = desk.send("POST", COLLECT, signed, b"", "alice")
    assert answer.outcome == (503, -1016)
    assert desk.books() == before


# Weight and bans -----------------------------------------------------------------------------------------------------


def test_the_ninth_auto_collection_of_a_minute_is_429(desk: Desk) -> None:
    for number in range(1, 9):
        answer = desk.post("auto-collection", ALICE)
        assert (answer.status, answer.used, answer.retry_after) == (200, 750 * number, None)
    before = desk.books()
    ninth = desk.post("auto-collection", ALICE)
    assert ninth.status == 429
    assert ninth.retry_after == 40, "the minute began 20 seconds ago"
    assert ninth.json == {
        "code": -1003,
        "msg": "Too many requests; current limit is 6000 requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
    }
    assert ninth.used == 6_750
    assert desk.send("GET", "/papi/v1/ping").status == 429, "for every path"
    assert desk.books() == before
    assert desk.post("auto-collection", ALICE, address="10.0.0.2").status == 200, "but for this address only"
    desk.clock.advance(40 * SECOND - 1)
    late = desk.post("auto-collection", ALICE)
    assert (late.status, late.retry_after) == (429, 1)
    desk.clock.advance(1)
    again = desk.post("auto-collection", ALICE)
    assert (again.status, again.used) == (200, 750)


def test_the_limit_itself_is_allowed(desk: Desk) -> None:
    last = [desk.get("um/income", ALICE) for _ in range(200)][-1]
    assert (last.status, last.used) == (200, 6_000)
    assert desk.send("GET", "/papi/v1/ping").status == 429


def until_banned(desk: Desk) -> int:
    """Go on after 429 until the ban; says how long it is."""
    for _ in range(8):
        assert desk.post("auto-collection", ALICE).status == 200
    for _ in range(TOLERATED_429):
        assert desk.post("auto-collection", ALICE).status == 429
    answer = desk.post("auto-collection", ALICE)
    assert answer.status == 418
    until = int(answer.json["msg"].split("banned until ")[1].split(".")[0])
    length = until - desk.clock.now()
    assert answer.retry_after == -(-length // SECOND)
    return length


def test_a_ban_grows_from_two_minutes_to_three_days(desk: Desk) -> None:
    lengths = []
    for _ in range(len(BAN_STEPS_MS) + 1):
        length = until_banned(desk)
        lengths.append(length)
        desk.clock.advance(length - 1)
        last = desk.send("GET", "/papi/v1/ping")
        assert (last.status, last.retry_after) == (418, 1)
        assert desk.send("GET", "/papi/v1/ping", address="10.0.0.2").status == 200
        desk.clock.advance(1)
        assert desk.send("GET", "/papi/v1/ping").status == 200
        desk.clock.advance(MINUTE_MS)
    assert lengths[:4] == [120_000, 240_000, 480_000, 960_000]
    assert lengths == sorted(lengths)
    assert lengths[-2:] == [3 * 86_400_000] * 2
    desk.clock.advance(4 * 86_400_000)
    assert until_banned(desk) == 120_000, "days without a ban are forgiven"


def test_a_ban_covers_every_path_and_its_sentence_is_the_venues(desk: Desk) -> None:
    until_banned(desk)
    until = NOW + 120_000
    for method, path in (("GET", "/papi/v1/ping"), ("GET", "/nowhere"), ("GET", DESCRIPTION), ("POST", COLLECT)):
        answer = desk.send(method, path)
        assert (answer.status, answer.retry_after) == (418, 120)
        assert answer.json == {
            "code": -1003,
            "msg": f"Way too many requests; IP banned until {until}. "
            "Please use the websocket for live updates to avoid bans.",
        }
    desk.clock.advance(60 * SECOND)
    assert desk.send("GET", "/papi/v1/ping").retry_after == 60


def test_ten_refusals_spread_over_minutes_are_no_ban(desk: Desk) -> None:
    for _ in range(3):
        for _ in range(8):
            assert desk.post("auto-collection", ALICE).status == 200
        for _ in range(TOLERATED_429):
            assert desk.post("auto-collection", ALICE).status == 429
        desk.clock.advance(MINUTE_MS)


# The quota of an account ---------------------------------------------------------------------------------------------


def test_the_501st_collection_of_a_rolling_hour_is_429(wide: Desk) -> None:
    for _ in range(499):
        assert wide.post("auto-collection", ALICE).status == 200
    wide.clock.advance(10 * SECOND)
    assert wide.post("auto-collection", ALICE).status == 200
    before = wide.books()
    refused = wide.post("auto-collection", ALICE)
    assert refused.status == 429
    assert refused.retry_after == 3_590
    assert refused.json == {"code": -1003, "msg": "Too many requests; current limit is 500 requests per hour."}
    assert wide.post("auto-collection", ALICE, address="10.0.0.2").status == 429, "of the account, not of the address"
    assert wide.books() == before
    assert wide.post("asset-collection", ALICE, "asset=BTC").status == 200, "asset-collection has no quota"

    wide.clock.advance(HOUR_MS - 10 * SECOND - 1)
    last = wide.post("auto-collection", ALICE)
    assert (last.status, last.retry_after) == (429, 1)
    wide.clock.advance(1)
    for _ in range(499):
        assert wide.post("auto-collection", ALICE).status == 200, "the first 499 are an hour old"
    full = wide.post("auto-collection", ALICE)
    assert (full.status, full.retry_after) == (429, 10), "the 500th is not"
    wide.clock.advance(10 * SECOND)
    assert wide.post("auto-collection", ALICE).status == 200
    assert wide.post("auto-collection", ALICE).retry_after == 3_590
    assert before[0] == ("journal", 1 + 500)
    assert wide.books()[0] == ("journal", 1 + 500 + 1 + 499 + 1)


def test_a_refused_collection_uses_no_quota() -> None:
    with open_desk(PEOPLE, weight_per_minute=10**9, quota_api_per_hour=2) as desk:
        for _ in range(5):
            wrong = desk.signed(ALICE)[:-1] + b"!"
            assert desk.send("POST", COLLECT, wrong, b"", "alice").outcome == (400, -1022)
        outcomes = [desk.post("auto-collection", ALICE).status for _ in range(4)]
        assert outcomes == [200, 200, 429, 429]


# Requests, for people to look at --------------------------------------------------------------------------------------


def looked_at(desk: Desk, account: AccountId | None = None) -> list[Answered]:
    desk.run(desk.venue.take_requests().keep())
    return desk.run(desk.venue.requests(account)).answered


def test_every_request_is_seen_by_whom_it_concerns(wide: Desk) -> None:
    wide.get("balance", ALICE, "asset=USDT")
    wide.get("balance", plain("mallory"))
    wide.send("POST", COLLECT, b"timestamp=1", b"signature=beef", "alice", "::ffff:10.1.2.3")
    wide.send("GET", "/nowhere", b"a=1", api_key="alice")
    wide.send("GET", DESCRIPTION)
    found = looked_at(wide)[::-1]
    assert [(one.method, one.path, one.weight, one.status, one.code) for one in found] == [
        ("GET", "/papi/v1/balance", 20, 200, 0),
        ("GET", "/papi/v1/balance", 20, 401, -2015),
        ("POST", COLLECT, 750, 400, -1021),
        ("GET", "/nowhere", 0, 404, errors.UNKNOWN_PATH("", "").code),
        ("GET", DESCRIPTION, 0, 200, 0),
    ]
    assert found[0].parameters == [("asset", "USDT"), ("timestamp", str(NOW)), ("signature", "…")]
    assert found[2].parameters == [("timestamp", "1"), ("signature", "…")]
    assert [one.address for one in found] == ["127.0.0.1"] * 2 + ["10.1.2.3"] + ["127.0.0.1"] * 2
    assert all(one.time == NOW and 0 < one.took < 60_000_000 for one in found)
    assert looked_at(wide, wide.account("alice")) == [found[3], found[2], found[0]]


def test_requests_refused_for_their_weight_are_seen(desk: Desk) -> None:
    for _ in range(8 + TOLERATED_429 + 2):
        desk.post("auto-collection", ALICE)
    found = looked_at(desk, desk.account("alice"))
    assert [one.status for one in found] == [418] * 2 + [429] * TOLERATED_429 + [200] * 8
    assert {one.code for one in found[:-8]} == {-1003}


def test_who_went_away_has_no_status(wide: Desk) -> None:
    wide.run(wide.messages("POST", COLLECT, body=[{"type": "http.disconnect"}]))
    assert [(one.status, one.code) for one in looked_at(wide)] == [(0, 0)]


def test_a_request_knows_the_record_it_made(desk: Desk) -> None:
    alice = desk.account("alice")
    before = len(desk.run(desk.venue.history(alice)))
    assert desk.post("auto-collection", ALICE).status == 200
    assert desk.get("balance", ALICE).status == 200
    assert desk.post("asset-collection", ALICE, {"asset": "BNB"}).status == 400
    assert [one.record for one in looked_at(desk)][:3] == [0, 0, before + 1]
    made = desk.run(desk.venue.request_of(alice, before + 1))
    assert made is not None
    assert made.path == "/papi/v1/auto-collection"
    assert desk.run(desk.venue.request_of(alice, before)) is None


def test_no_signature_secret_or_whole_key_is_kept() -> None:
    secret, key = "s3cretS3cretS3cret" * 3, "k3yk3yk3y" * 6
    with open_desk(PEOPLE) as desk:
        account = desk.account("alice")
        desk.run(desk.venue.add_key(account, api_key=key, secret=secret))
        signed = desk.signed(hmac_key(key, secret), "asset=USDT")
        signature = signed.rpartition(b"=")[2]
        assert desk.send("GET", "/papi/v1/balance", signed, api_key=key).status == 200
        for text in (secret.encode(), key.encode(), signature):
            desk.send("GET", "/papi/v1/balance", text, text, api_key=text)
            desk.send("POST", COLLECT, b"secret=%s&asset=%s" % (text, text), b'{"signature": "%s"}' % text)
            desk.send("GET", f"/papi/v1/{text.decode()}", b"timestamp=1&%%73ignature=%s" % text)
        shown = str(looked_at(desk))
        assert shown.count("Answered(") == 10
        for hidden in (secret, key, signature.decode()):
            assert hidden not in shown


def test_switched_off_no_request_is_seen() -> None:
    with open_desk(PEOPLE, requests_kept=0) as desk:
        assert desk.get("balance", ALICE).status == 200
        assert looked_at(desk) == []
