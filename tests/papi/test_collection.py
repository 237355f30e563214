"""The two collections over the wire: what moves, what stays, and a table of everything that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from catchment.limits import MAX_BODY_BYTES
from tests.papi.desk import NOW, Desk, Key, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
[account.UM]
USDT = "12345678901.12345679"
BTC = "0.00000001"
ETH = "-2.5"
BNB = "2.5"
[account.CM]
BTC = "0.12345678"
ETH = "1.25"
BNB = "0.75"
[account.MARGIN]
USDT = { free = "1000.1", locked = "10", borrowed = "5", interest = "0.5" }

[[account.key]]
api_key = "alice"
secret = "alice-secret"
[[account.key]]
api_key = "reader"
secret = "reader-secret"
permissions = ["READ"]
[[account.key]]
api_key = "trader"
secret = "trader-secret"
permissions = ["TRADE"]
[[account.key]]
api_key = "office"
secret = "office-secret"
ip_allow = ["10.0.0.0/8"]
[[account.key]]
api_key = "ended"
secret = "ended-secret"

[[account]]
name = "outside"
portfolio_margin = false
[[account.key]]
api_key = "outside"
secret = "outside-secret"
"""

Holding = tuple[str, str, str, str, str]
BEFORE: dict[str, Holding] = {
    # asset   UM                       CM            free      locked  total
    "USDT": ("12345678901.12345679", "0.0", "1000.1", "10.0", "12345679911.22345679"),
    "BTC": ("0.00000001", "0.12345678", "0.0", "0.0", "0.12345679"),
    "ETH": ("-2.5", "1.25", "0.0", "0.0", "-1.25"),
    "BNB": ("2.5", "0.75", "0.0", "0.0", "3.25"),
}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        yield desk


def holdings(desk: Desk, key: Key = ALICE) -> dict[str, Holding]:
    fields = ("umWalletBalance", "cmWalletBalance", "crossMarginFree", "crossMarginLocked", "totalWalletBalance")
    found = {}
    for row in desk.get("balance", key).json:
        um, cm, free, locked, total = (row[field] for field in fields)
        found[row["asset"]] = (um, cm, free, locked, total)
    return found


# What moves ----------------------------------------------------------------------------------------------------------


def test_the_scenario_is_what_the_wire_shows(desk: Desk) -> None:
    assert holdings(desk) == BEFORE


def test_auto_collection_empties_both_futures_wallets(desk: Desk) -> None:
    answer = desk.post("auto-collection", ALICE)
    assert (answer.status, answer.body) == (200, b'{"msg":"success"}')
    after = {
        "USDT": ("0.0", "0.0", "12345679901.22345679", "10.0", "12345679911.22345679"),
        "BTC": ("0.0", "0.0", "0.12345679", "0.0", "0.12345679"),
        "ETH": ("-2.5", "0.0", "1.25", "0.0", "-1.25"),  # a negative balance stays and is not repaid
        "BNB": ("2.5", "0.0", "0.75", "0.0", "3.25"),  # BNB in UM stays
    }
    assert holdings(desk) == after
    assert desk.post("auto-collection", ALICE).body == b'{"msg":"success"}', "with nothing left, success again"
    assert holdings(desk) == after


def test_bnb_in_cm_stays_by_setting() -> None:
    with open_desk(PEOPLE, collection_cm_bnb="keep") as desk:
        assert desk.post("auto-collection", ALICE).status == 200
        assert holdings(desk)["BNB"] == BEFORE["BNB"]
        assert holdings(desk)["BTC"] == ("0.0", "0.0", "0.12345679", "0.0", "0.12345679")


@pytest.mark.parametrize(
    ("parameters", "asset", "after"),
    [
        ("asset=USDT", "USDT", ("0.0", "0.0", "12345679901.22345679", "10.0", "12345679911.22345679")),
        ("asset=BTC", "BTC", ("0.0", "0.0", "0.12345679", "0.0", "0.12345679")),
        ("asset=ETH", "ETH", ("-2.5", "0.0", "1.25", "0.0", "-1.25")),
        ("asset=BTC&amount=0.1&futureType=CM", "BTC", ("0.00000001", "0.02345678", "0.1", "0.0", "0.12345679")),
        ("asset=BTC&amount=1e-08&futureType=UM", "BTC", ("0.0", "0.12345678", "0.00000001", "0.0", "0.12345679")),
        (
            "futureType=UM&amount=12345678901.12345679&asset=USDT",
            "USDT",
            ("0.0", "0.0", "12345679901.22345679", "10.0", "12345679911.22345679"),
        ),
    ],
)
def test_asset_collection_moves_one_asset_and_no_other(desk: Desk, parameters: str, asset: str, after: Holding) -> None:
    answer = desk.post("asset-collection", ALICE, parameters)
    assert (answer.status, answer.body) == (200, b'{"msg":"success"}')
    assert holdings(desk) == {**BEFORE, asset: after}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("0.02345678", "0.1"),
        ("00.02345678", "0.1"),
        (".02345678", "0.1"),
        ("0.0234567800000", "0.1"),
        ("2345678e-8", "0.1"),
        ("2.345678E-02", "0.1"),
        ("%2B0.02345678", "0.1"),
        ("1e-8", "0.12345677"),
        ("1E-08", "0.12345677"),
        ("0.12345678", "0.0"),
        ("0.0000001e5", "0.11345678"),
    ],
)
def test_an_amount_is_taken_in_every_exact_form(desk: Desk, text: str, left: str) -> None:
    answer = desk.post("asset-collection", ALICE, f"asset=BTC&amount={text}&futureType=CM")
    assert answer.outcome == (200, None)
    assert holdings(desk)["BTC"][1] == left


def test_a_collection_with_nothing_to_move_is_a_success(desk: Desk) -> None:
    journal = desk.books()[0]
    for asset in ("SOL", "DOGE"):
        assert desk.post("asset-collection", ALICE, f"asset={asset}").body == b'{"msg":"success"}'
    assert holdings(desk) == BEFORE
    assert desk.books()[0] == ("journal", journal[1] + 2)


def test_one_account_moves_and_no_other(desk: Desk) -> None:
    desk.populate('[[account]]\nname = "bob"\nkey = [{ api_key = "bob", secret = "bob-secret" }]\nUM = { USDT = "7" }')
    assert desk.post("auto-collection", ALICE).status == 200
    assert holdings(desk, plain("bob")) == {"USDT": ("7.0", "0.0", "0.0", "0.0", "7.0")}


# Bad input -----------------------------------------------------------------------------------------------------------


class Sent(NamedTuple):
    """A request that is refused. `twist` says what is wrong beside the parameters; see `twisted`."""

    method: str
    path: str
    parameters: str
    twist: str
    status: int
    code: int


AUTO, ASSET, BALANCE, INCOME = "auto-collection", "asset-collection", "balance", "um/income"
LONG = "A" * 4_097
# fmt: off
BAD_INPUT = (
    # method  path      parameters                                    twist                     HTTP  code
    # the asset
    Sent("POST", ASSET,   "",                                           "",                       400, -1102),
    Sent("POST", ASSET,   "asset=",                                     "",                       400, -1102),
    Sent("POST", ASSET,   "asset",                                      "",                       400, -1102),
    Sent("POST", ASSET,   "Asset=USDT",                                 "",                       400, -1102),
    Sent("POST", ASSET,   "asset=BNB",                                  "",                       400, -1020),
    Sent("POST", ASSET,   "asset=bnb",                                  "",                       400, -1108),
    Sent("POST", ASSET,   "asset=NOPE",                                 "",                       400, -1108),
    Sent("POST", ASSET,   "asset=usdt",                                 "",                       400, -1108),
    Sent("POST", ASSET,   "asset=undefined",                            "",                       400, -1108),
    Sent("POST", ASSET,   "asset=USDT%20",                              "",                       400, -1108),
    Sent("POST", ASSET,   "asset=USDT%00",                              "",                       400, -1108),
    Sent("POST", ASSET,   "asset=USDT,BTC",                             "",                       400, -1108),
    Sent("POST", ASSET,   "asset=你",                                   "",                       400, -1108),
    Sent("POST", ASSET,   "asset='; DROP TABLE account; --",            "",                       400, -1108),
    Sent("POST", ASSET,   "asset=%FF",                                  "",                       400, -1100),
    Sent("POST", ASSET,   "asset=%C0%AF",                               "",                       400, -1100),
    Sent("POST", ASSET,   f"asset={LONG}",                              "",                       400, -1100),
    Sent("POST", ASSET,   "asset=USDT&asset=USDT",                      "",                       400, -1101),
    Sent("POST", ASSET,   "asset=USDT&asset=BTC",                       "in the body",            400, -1101),
    Sent("POST", ASSET,   "asset=USDT&timestamp=1",                     "",                       400, -1101),
    Sent("POST", ASSET,   "asset=USDT" + "&a%d=" * 100 % (*range(100),), "",                      400, -1101),
    Sent("POST", ASSET,   "asset=NOPE",                                 "in the body",            400, -1108),
    Sent("POST", ASSET,   '{"asset":"USDT"}',                           "in the body",            400, -1102),

    # amount and futureType: both or neither
    Sent("POST", ASSET,   "asset=USDT&amount=1",                        "",                       400, -1128),
    Sent("POST", ASSET,   "asset=USDT&futureType=UM",                   "",                       400, -1128),
    Sent("POST", ASSET,   "asset=USDT&amount=1&futureType=OPTION",      "",                       400, -1020),
    Sent("POST", ASSET,   "asset=USDT&amount=1&futureType=um",          "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1&futureType=MARGIN",      "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1&futureType=undefined",   "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1&futureType=",            "",                       400, -1105),
    Sent("POST", ASSET,   "asset=USDT&amount=&futureType=UM",           "",                       400, -1105),
    Sent("POST", ASSET,   "asset=BNB&amount=1&futureType=UM",           "",                       400, -1020),
    Sent("POST", ASSET,   "asset=BNB&amount=junk",                      "",                       400, -1020),
    Sent("POST", ASSET,   "asset=NOPE&amount=1&futureType=UM",          "",                       400, -1108),

    # the amount
    Sent("POST", ASSET,   "asset=USDT&amount=0&futureType=UM",          "",                       400, -4055),
    Sent("POST", ASSET,   "asset=USDT&amount=-0&futureType=UM",         "",                       400, -4055),
    Sent("POST", ASSET,   "asset=USDT&amount=0e99&futureType=UM",       "",                       400, -4055),
    Sent("POST", ASSET,   "asset=USDT&amount=-1&futureType=UM",         "",                       400, -4055),
    Sent("POST", ASSET,   "asset=USDT&amount=-1e-08&futureType=UM",     "",                       400, -4055),
    Sent("POST", ASSET,   "asset=USDT&amount=1e-9&futureType=UM",       "",                       400, -1111),
    Sent("POST", ASSET,   "asset=USDT&amount=0.123456789&futureType=UM", "",                      400, -1111),
    Sent("POST", ASSET,   "asset=USDT&amount=1e-999&futureType=UM",     "",                       400, -1111),
    Sent("POST", ASSET,   "asset=USDT&amount=12345678901.1234568&futureType=UM", "",              400, -2018),
    Sent("POST", ASSET,   "asset=USDT&amount=0.00000001&futureType=CM", "",                       400, -2018),
    Sent("POST", ASSET,   "asset=ETH&amount=1&futureType=UM",           "",                       400, -2018),
    Sent("POST", ASSET,   "asset=SOL&amount=1&futureType=UM",           "",                       400, -2018),
    Sent("POST", ASSET,   "asset=USDT&amount=92233720368.54775807&futureType=UM", "",             400, -2018),
    Sent("POST", ASSET,   "asset=USDT&amount=92233720368.54775808&futureType=UM", "",             400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1e11&futureType=UM",       "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1e999&futureType=UM",      "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1e9999&futureType=UM",     "",                       400, -1130),
    Sent("POST", ASSET,   f"asset=USDT&amount={'9' * 65}&futureType=UM", "",                      400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=junk&futureType=UM",       "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=NaN&futureType=UM",        "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=Infinity&futureType=UM",   "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=-Infinity&futureType=UM",  "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=0x10&futureType=UM",       "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1,5&futureType=UM",        "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1_000&futureType=UM",      "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=+1&futureType=UM",         "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=%201&futureType=UM",       "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=%D9%A1&futureType=UM",     "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=.&futureType=UM",          "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=1e&futureType=UM",         "",                       400, -1130),
    Sent("POST", ASSET,   "asset=USDT&amount=undefined&futureType=UM",  "",                       400, -1130),

    # the time
    Sent("POST", AUTO,    "",                                           "timestamp: none",        400, -1102),
    Sent("POST", AUTO,    "",                                           "timestamp: ",            400, -1102),
    Sent("POST", AUTO,    "",                                           f"timestamp: {NOW - 5_001}", 400, -1021),
    Sent("POST", AUTO,    "",                                           f"timestamp: {NOW + 1_000}", 400, -1021),
    Sent("POST", AUTO,    "",                                           f"timestamp: {NOW // 1_000}", 400, -1021),
    Sent("POST", AUTO,    "",                                           f"timestamp: {NOW}000",   400, -1021),
    Sent("POST", AUTO,    "",                                           "timestamp: 0",           400, -1021),
    Sent("POST", AUTO,    "",                                           "timestamp: junk",        400, -1100),
    Sent("POST", AUTO,    "",                                           "timestamp: -1",          400, -1100),
    Sent("POST", AUTO,    "",                                           f"timestamp: {NOW}.0",    400, -1100),
    Sent("POST", AUTO,    "",                                           f"timestamp: %20{NOW}",   400, -1100),
    Sent("POST", AUTO,    "",                                           f"timestamp: {'9' * 21}", 400, -1100),
    Sent("POST", AUTO,    "",                                           f"timestamp: {'9' * 20}", 400, -1021),
    Sent("POST", AUTO,    "recvWindow=60001",                           "",                       400, -1131),
    Sent("POST", AUTO,    "recvWindow=" + "9" * 20,                     "",                       400, -1131),
    Sent("POST", AUTO,    "recvWindow=junk",                            "",                       400, -1100),
    Sent("POST", AUTO,    "recvWindow=-1",                              "",                       400, -1100),
    Sent("POST", AUTO,    "recvWindow=5000.5",                          "",                       400, -1100),
    Sent("POST", AUTO,    "recvWindow=" + "9" * 21,                     "",                       400, -1100),
    Sent("POST", AUTO,    "recvWindow=",                                "",                       400, -1105),
    Sent("POST", AUTO,    "recvWindow=0",                               f"timestamp: {NOW - 1}",  400, -1021),

    # the signature
    Sent("POST", AUTO,    "",                                           "signature: none",        400, -1102),
    Sent("POST", AUTO,    "",                                           "signature: ",            400, -1102),
    Sent("POST", AUTO,    "",                                           "signature: " + "0" * 64, 400, -1022),
    Sent("POST", AUTO,    "",                                           "signature: zz" + "0" * 62, 400, -1022),
    Sent("POST", AUTO,    "",                                           "signature: AAAA%2B%2F%3D%3D", 400, -1022),
    Sent("POST", AUTO,    "",                                           "signature: %FF%00",      400, -1022),
    Sent("POST", AUTO,    "",                                           "signature cut",          400, -1022),
    Sent("POST", AUTO,    "",                                           "signature with a blank", 400, -1022),
    Sent("POST", AUTO,    "",                                           "signature of another key", 400, -1022),
    Sent("POST", AUTO,    "",                                           "signature of other text", 400, -1022),
    Sent("POST", AUTO,    "",                                           "signature twice",        400, -1101),

    # the key
    Sent("POST", AUTO,    "",                                           "key: none",              401, -2014),
    Sent("POST", AUTO,    "",                                           "key: ",                  401, -2014),
    Sent("POST", AUTO,    "",                                           "key: a b",               401, -2014),
    Sent("POST", AUTO,    "",                                           "key: " + "k" * 129,      401, -2014),
    Sent("POST", AUTO,    "",                                           "key: 你",                401, -2014),
    Sent("POST", AUTO,    "",                                           "key: unknown",           401, -2015),
    Sent("POST", AUTO,    "",                                           "key: ALICE",             401, -2015),
    Sent("POST", AUTO,    "",                                           "key: ended",             401, -2015),
    Sent("POST", AUTO,    "",                                           "key: reader",            401, -2015),
    Sent("GET",  BALANCE, "",                                           "key: trader",            401, -2015),
    Sent("POST", AUTO,    "",                                           "key: office",            401, -2015),
    Sent("POST", AUTO,    "",                                           "key: outside",           401, -2015),
    Sent("POST", ASSET,   "asset=USDT",                                 "key: outside",           401, -2015),
    Sent("GET",  BALANCE, "",                                           "key: outside",           401, -2015),

    # sizes and methods
    Sent("POST", AUTO,    "z=" + "A" * MAX_BODY_BYTES,                  "in the body",            413, -1013),
    Sent("POST", AUTO,    "&".join(["z=" + "A" * 4_000] * 5),           "",                       414, -1013),
    Sent("GET",  AUTO,    "",                                           "",                       404, -5000),
    Sent("PUT",  AUTO,    "",                                           "",                       404, -5000),
    Sent("DELETE", ASSET, "asset=USDT",                                 "",                       404, -5000),
    Sent("POST", BALANCE, "",                                           "",                       404, -5000),
    Sent("POST", "Auto-Collection", "",                                 "",                       404, -5000),

    # readings
    Sent("GET",  BALANCE, "asset=NOPE",                                 "",                       400, -1108),
    Sent("GET",  BALANCE, "asset=",                                     "",                       400, -1105),
    Sent("GET",  BALANCE, "asset=USDT&asset=BTC",                       "",                       400, -1101),
    Sent("GET",  BALANCE, "",                                           "in the body",            400, -1102),
    Sent("GET",  INCOME,  "limit=0",                                    "",                       400, -1130),
    Sent("GET",  INCOME,  "limit=1001",                                 "",                       400, -1130),
    Sent("GET",  INCOME,  "limit=-1",                                   "",                       400, -1100),
    Sent("GET",  INCOME,  "limit=",                                     "",                       400, -1105),
    Sent("GET",  INCOME,  "incomeType=transfer",                        "",                       400, -1130),
    Sent("GET",  INCOME,  "startTime=junk",                             "",                       400, -1100),
    Sent("GET",  INCOME,  f"startTime={2**63}",                         "",                       400, -1130),
    Sent("GET",  INCOME,  f"startTime={NOW}&endTime={NOW - 1}",         "",                       400, -1023),
)
GOOD_INPUT = (
    Sent("POST", AUTO,    "recvWindow=60000",                           f"timestamp: {NOW - 60_000}", 200, 0),
    Sent("POST", AUTO,    "recvWindow=0",                               "",                       200, 0),
    Sent("POST", AUTO,    "",                                           f"timestamp: 0{NOW}",     200, 0),
    Sent("POST", AUTO,    "",                                           "signature in capitals",  200, 0),
    Sent("POST", AUTO,    "portfolioMargin=true&unknown=",              "",                       200, 0),
    Sent("POST", AUTO,    "asset=NOPE",                                 "",                       200, 0),
    Sent("POST", AUTO,    "",                                           "in the body",            200, 0),
    Sent("POST", AUTO,    "",                                           "key: trader",            200, 0),
    Sent("POST", ASSET,   "asset=USDT",                                 "in the body",            200, 0),
    Sent("POST", ASSET,   "asset=U%53DT",                               "",                       200, 0),
    Sent("POST", ASSET,   "asset=USDT&amount=1e3&futureType=UM",        "",                       200, 0),
    Sent("POST", ASSET,   "asset=USDT&amount=1.&futureType=UM",         "",                       200, 0),
)
# fmt: on


def twisted(desk: Desk, sent: Sent) -> tuple[int, int | None]:
    """Send it, signed well but for its twist."""
    name, _, value = sent.twist.partition(": ")
    key = plain(value) if name == "key" else ALICE
    text = sent.parameters.encode()
    timestamp = value if name == "timestamp" else str(NOW)
    if timestamp != "none":
        text += (b"&" if text else b"") + b"timestamp=" + timestamp.encode()
    good = key.sign(text)
    signature = {
        "signature": value.encode(),
        "signature in capitals": good.upper(),
        "signature cut": good[:-1],
        "signature with a blank": good + b"%20",
        "signature of another key": plain("reader").sign(text),
        "signature of other text": key.sign(text + b"&"),
        "signature twice": good + b"&signature=" + good,
    }.get(name, good)
    if signature != b"none":
        text += b"&signature=" + signature
    query, body = (b"", text) if name == "in the body" else (text, b"")
    api_key = None if (name, value) == ("key", "none") else key.api_key
    return desk.send(sent.method, f"/papi/v1/{sent.path}", query, body, api_key).outcome


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        desk.run(desk.venue.revoke_key("ended"))
        yield desk


def named(sent: Sent) -> str:
    return f"{sent.method} {sent.path} {sent.parameters[:60]} {sent.twist[:40]}".encode("ascii", "replace").decode()


@pytest.mark.parametrize("sent", BAD_INPUT, ids=named)
def test_bad_input_is_refused_and_moves_nothing(shared: Desk, sent: Sent) -> None:
    before = shared.books()
    assert twisted(shared, sent) == (sent.status, sent.code)
    assert shared.books() == before


@pytest.mark.parametrize("sent", GOOD_INPUT, ids=named)
def test_odd_but_good_input_is_taken(desk: Desk, sent: Sent) -> None:
    journal = desk.books()[0][1]
    assert twisted(desk, sent) == (200, None)
    assert desk.books()[0][1] == journal + 1
    assert holdings(desk) != BEFORE
