"""The OpenAPI description, made from the table of endpoints and the types of their answers."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from catchment import __version__, errors
from catchment.papi.contract import Endpoint, Kind, Parameter
from catchment.papi.endpoints import ENDPOINTS, SIGNED

_SCHEMAS: dict[Kind, dict[str, Any]] = {
    Kind.STRING: {"type": "string"},
    Kind.LONG: {"type": "integer", "format": "int64", "minimum": 0},
    Kind.DECIMAL: {"type": "string", "format": "decimal"},
    Kind.ENUM: {"type": "string"},
}


class ErrorAnswer(msgspec.Struct):
    """Every refusal: the venue's code and sentence."""

    code: int
    msg: str


@cache
def document() -> bytes:
    """OpenAPI 3.1 as JSON. Parameters of POST are described in the query; a form body is read as well."""
    answers = [endpoint.answer for endpoint in ENDPOINTS]
    schemas, components = msgspec.json.schema_components(
        [*answers, ErrorAnswer], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint, schema in zip(ENDPOINTS, schemas, strict=False):
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Catchment, a Portfolio Margin venue",
                "version": __version__,
                "license": {"name": "Apache-2.0"},
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-MBX-APIKEY"}},
            },
        }
    )


def _operation(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    parameters = (*endpoint.parameters, *(SIGNED if endpoint.signed else ()))
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "description": endpoint.difference,
        "tags": [endpoint.security],
        "x-weight": endpoint.weight,
        "parameters": [_parameter(parameter) for parameter in parameters],
        "responses": {"200": _answer(endpoint, "Done.", schema), **_refusals(endpoint)},
    }
    if endpoint.keyed:
        operation["security"] = [{"apiKey": []}]
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(_SCHEMAS[parameter.kind])
    if parameter.values:
        schema["enum"] = parameter.values
    if parameter.kind is Kind.LONG:
        schema["maximum"] = parameter.most
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.mandatory,
        "description": parameter.sentence,
        "schema": schema,
    }


def _refusals(endpoint: Endpoint) -> dict[str, Any]:
    """One answer for each status a call can be refused with; which codes come with it is said in words."""
    reasons: dict[int, set[str]] = {}
    for refusal in errors.REFUSALS:
        if refusal.code > errors.OPERATOR_CODES and (endpoint.keyed or refusal.status not in {401}):
            reasons.setdefault(refusal.status, set()).add(f"{refusal.code} {refusal.name}")
    error = {"$ref": "#/components/schemas/ErrorAnswer"}
    answers = {str(status): _answer(endpoint, "; ".join(sorted(reasons[status])), error) for status in sorted(reasons)}
    for status in answers.keys() & {"418", "429"}:
        answers[status]["headers"]["Retry-After"] = _header("Seconds until it may be tried again.")
    return answers


def _answer(endpoint: Endpoint, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {endpoint.budget.header.decode().title(): _header("Weight used in this minute.")},
        "content": {"application/json": {"schema": schema}},
    }


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "integer", "minimum": 0}}
