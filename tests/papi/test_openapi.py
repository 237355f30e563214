"""The OpenAPI description: a sound document, every endpoint in it, and schemas that real answers keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from catchment import __version__, errors
from catchment.ledger.commands import AutoExchange, NegativeInterest, Offer, Terms
from catchment.ledger.journal import Stored
from catchment.papi import openapi
from catchment.papi.endpoints import ENDPOINTS
from catchment.papi.rest import DESCRIPTION
from tests.papi.desk import NOW, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
[[account.key]]
api_key = "alice"
secret = "alice-secret"
[account.UM]
USDT = "330.25"
ETH = "-2"
[account.CM]
BTC = "0.5"
[account.MARGIN]
BNB = "2"
USDT = { free = "10", locked = "1", borrowed = "2", interest = "0.5" }
[[account.position]]
symbol = "BTCUSDT"
amount = "-0.001"
entry_price = "60000"
[[account.position]]
symbol = "BTCUSD_PERP"
amount = "1"
entry_price = "60000"
"""
DOCUMENT: dict[str, Any] = msgspec.json.decode(openapi.document())


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE, weight_per_minute=10**9) as desk:
        desk.post("asset-collection", ALICE, "asset=USDT&amount=1&futureType=UM")
        desk.post("asset-collection", ALICE, "asset=BTC")
        desk.post("repayLoan", ALICE, "asset=USDT&amount=1")
        price = 10**8
        for command in (
            NegativeInterest(NOW // 86_400_000, (Terms("ETH", 0, 10**4),)),
            AutoExchange(Offer("ETH", price, price, 8), 10**8, (Offer("USDT", price, price, 8),)),
        ):
            assert isinstance(desk.submit("alice", command), Stored)
        yield desk


# A checker of the keywords that the description uses; a keyword it does not know fails, rather than pass unseen.

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "array": (list,),
    "object": (dict,),
    "boolean": (bool,),
    "number": (int, float),
}
KNOWN = {"$ref", "anyOf", "type", "items", "properties", "required", "additionalProperties", "title", "description"}
KNOWN |= {"default", "minimum", "maximum", "enum", "format"}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    target: Any = DOCUMENT
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    assert isinstance(target, dict)
    return target


def faults(value: Any, schema: dict[str, Any], where: str = "$", strict: bool = True) -> list[str]:
    """What keeps a value from its schema; `strict` also says which fields the schema does not name."""
    schema = resolved(schema)
    assert set(schema) <= KNOWN, f"{where}: {set(schema) - KNOWN} is not checked"
    if "anyOf" in schema:
        found = [faults(value, one, where, strict) for one in schema["anyOf"]]
        return [] if [] in found else min(found, key=len)
    if "type" in schema and (type(value) is bool) != (schema["type"] == "boolean"):
        return [f"{where}: {value!r} is not {schema['type']}"]
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return [f"{where}: {value!r} is not {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {schema['enum']}"]
    found = []
    if isinstance(value, list):
        for place, item in enumerate(value):
            found += [faults(item, schema.get("items", {}), f"{where}[{place}]", strict)]
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        missing = [f"{where}.{name} is missing" for name in schema.get("required", []) if name not in value]
        others = schema.get("additionalProperties", {})
        unnamed = [f"{where}.{name} is not described" for name in value if strict and name not in fields and not others]
        found += [missing, unnamed]
        found += [faults(item, fields.get(name, others), f"{where}.{name}", strict) for name, item in value.items()]
    return [fault for list_of_faults in found for fault in list_of_faults]


def operation(method: str, path: str) -> dict[str, Any]:
    found = DOCUMENT["paths"][path][method.lower()]
    assert isinstance(found, dict)
    return found


def schema_of(method: str, path: str, status: int) -> dict[str, Any]:
    found = operation(method, path)["responses"][str(status)]["content"]["application/json"]["schema"]
    assert isinstance(found, dict)
    return found


def test_the_checker_bites() -> None:
    done = schema_of("POST", "/papi/v1/auto-collection", 200)
    assert faults({"msg": "success"}, done) == []
    bad: list[Any] = [{}, {"msg": 1}, {"msg": None}, [], "success", {"msg": "success", "more": 1}]
    for value in bad:
        assert faults(value, done), value
    row = schema_of("GET", "/papi/v1/time", 200)
    assert faults({"serverTime": True}, row)
    assert faults({"serverTime": "1"}, row)
    assert faults({"serverTime": 1.5}, row)


# The document --------------------------------------------------------------------------------------------------------


def test_the_document_is_openapi(desk: Desk) -> None:
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert DOCUMENT["info"]["version"] == __version__
    assert DOCUMENT["info"]["title"]
    assert set(DOCUMENT) == {"openapi", "info", "paths", "components"}
    assert desk.send("GET", DESCRIPTION).body == openapi.document()


def test_every_endpoint_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    for endpoint in ENDPOINTS:
        found = operation(endpoint.method, endpoint.path)
        assert found["x-weight"] == endpoint.weight
        assert found["summary"] == endpoint.summary
        assert ("security" in found) == endpoint.keyed


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    named = set(references(DOCUMENT))
    assert named == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    for name in named:
        assert resolved({"$ref": name})
    schemes = DOCUMENT["components"]["securitySchemes"]
    used = {
        name
        for path in DOCUMENT["paths"].values()
        for one in path.values()
        for s in one.get("security", [])
        for name in s
    }
    assert used == set(schemes)
    assert schemes["apiKey"] == {"type": "apiKey", "in": "header", "name": "X-MBX-APIKEY"}


def test_parameters_are_described_once_each() -> None:
    for endpoint in ENDPOINTS:
        parameters = operation(endpoint.method, endpoint.path)["parameters"]
        names = [parameter["name"] for parameter in parameters]
        assert len(names) == len(set(names))
        assert ({"timestamp", "signature", "recvWindow"} <= set(names)) == endpoint.signed
        for parameter in parameters:
            assert set(parameter) == {"name", "in", "required", "description", "schema"}
            assert parameter["in"] == "query"
            assert type(parameter["required"]) is bool
            assert parameter["schema"]["type"] in {"string", "integer"}
    collected = {
        parameter["name"]: parameter for parameter in operation("POST", "/papi/v1/asset-collection")["parameters"]
    }
    assert collected["asset"]["required"] is True
    assert collected["amount"]["required"] is False
    assert collected["futureType"]["schema"]["enum"] == ["UM", "CM", "OPTION"]
    assert collected["recvWindow"]["schema"]["maximum"] == 60_000


def test_every_refusal_on_the_wire_is_described() -> None:
    for endpoint in ENDPOINTS:
        responses = operation(endpoint.method, endpoint.path)["responses"]
        told = " ".join(answer["description"] for status, answer in responses.items() if status != "200")
        for refusal in errors.REFUSALS:
            wanted = refusal.code > -90_000 and (endpoint.keyed or refusal.status != 401)
            assert (f"{refusal.code} {refusal.name}" in told) == wanted, (endpoint.path, refusal.name)
        for status, answer in responses.items():
            assert 100 <= int(status) < 600
            assert answer["description"]


# Real answers --------------------------------------------------------------------------------------------------------

PARAMETERS = {
    "/papi/v1/asset-collection": ("asset=USDT", "asset=BTC&amount=0&futureType=CM"),
    "/papi/v1/balance": ("", "asset=USDT", "asset=NOPE"),
    "/papi/v1/um/income": ("", "limit=0"),
    "/papi/v1/bnb-transfer": ("amount=1&transferSide=TO_UM", "amount=1"),
    "/papi/v1/repay-futures-switch": ("autoRepay=true",),
    "/papi/v1/portfolio/interest-history": ("", "size=0"),
    "/papi/v1/portfolio/negative-balance-exchange-record": (f"startTime={NOW}&endTime={NOW}", ""),
    "/papi/v1/marginLoan": ("asset=BTC&amount=1", "asset=BTC"),
    "/papi/v1/repayLoan": ("asset=BTC&amount=0.5", "asset=BTC&amount=9"),
    "/papi/v1/margin/marginLoan": ("asset=USDT", ""),
    "/papi/v1/margin/repayLoan": ("asset=USDT", ""),
    "/papi/v1/um/positionRisk": ("", "symbol=ETHUSDT", "symbol=NOPE"),
    "/papi/v1/margin/maxWithdraw": ("asset=USDT", ""),
    "/papi/v1/margin/maxBorrowable": ("asset=USDT", "asset=NOPE"),
    "/papi/v1/um/commissionRate": ("symbol=BTCUSDT", "symbol=NOPE"),
    "/papi/v1/cm/commissionRate": ("symbol=BTCUSD_PERP", ""),
    "/papi/v1/um/feeBurn": ("feeBurn=true",),
    **{f"/papi/v1/um/{kind}/asyn": ("startTime=1&endTime=2", "") for kind in ("income", "order", "trade")},
    "/sapi/v1/asset/transfer": ("type=MAIN_PORTFOLIO_MARGIN&asset=USDT&amount=1", "type=NOPE"),
    "/sapi/v1/portfolio/asset-collection": ("asset=USDT",),
    "/sapi/v1/portfolio/bnb-transfer": ("amount=1&transferSide=TO_UM",),
    "/sapi/v1/portfolio/repay-futures-switch": ("autoRepay=true",),
}


def calls() -> Iterator[tuple[str, str, str]]:
    for endpoint in ENDPOINTS:
        for parameters in PARAMETERS.get(endpoint.path, ("",)):
            yield endpoint.method, endpoint.path, parameters


@pytest.mark.parametrize(("method", "path", "parameters"), list(calls()))
def test_real_answers_keep_the_schema(desk: Desk, method: str, path: str, parameters: str) -> None:
    answer = desk.call(method, path, ALICE, parameters)
    assert faults(answer.json, schema_of(method, path, answer.status)) == []


def test_lists_that_were_checked_were_not_empty(desk: Desk) -> None:
    for path in ("balance", "um/income", "cm/income", "portfolio/interest-history"):
        assert desk.get(path, ALICE).json != []
    for path in ("marginLoan", "repayLoan", "marginInterestHistory"):
        assert desk.get(f"margin/{path}", ALICE, "asset=USDT" if path != "marginInterestHistory" else "").json["rows"]
    exchanges = desk.get("portfolio/negative-balance-exchange-record", ALICE, f"startTime={NOW}&endTime={NOW}").json
    assert exchanges["rows"][0]["details"] != []
    for path in ("um/account", "cm/account"):
        assert desk.get(path, ALICE).json["assets"] != []


def test_real_refusals_keep_the_schema(desk: Desk) -> None:
    path = "/papi/v1/asset-collection"
    good = desk.signed(ALICE, "asset=USDT")
    stale = desk.signed(ALICE, "asset=USDT", NOW - 10**6)
    for query, body, key, status in (
        (good[:-1] + b"!", b"", "alice", 400),
        (stale, b"", "alice", 400),
        (good, b"", "unknown", 401),
        (good, b"a" * 70_000, "alice", 413),
        (b"a" * 20_000, b"", "alice", 414),
    ):
        answer = desk.send("POST", path, query, body, key)
        assert answer.status == status
        assert faults(answer.json, schema_of("POST", path, status)) == []


def test_every_answer_tells_its_weight_and_when_to_come_back() -> None:
    for endpoint in ENDPOINTS:
        for status, answer in operation(endpoint.method, endpoint.path)["responses"].items():
            names = {name.lower().encode() for name in answer["headers"]}
            assert names == {endpoint.budget.header} | ({b"retry-after"} if status in {"418", "429"} else set())
            assert all(header["required"] is True for header in answer["headers"].values())
