"""Parameters from the bytes of a query and a body: split, decoded, typed, or refused.

The signature is verified over the bytes as received, so they are cut here and never encoded again: the encoders in
use differ. The query wins over the body; twice in one place is refused.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from catchment import errors
from catchment.errors import Rejection
from catchment.limits import MAX_PARAMETER_BYTES, MAX_PARAMETERS
from catchment.papi.contract import Kind, Parameter

DIGITS: Final = "^[0-9]{1,20}$"
UTF8: Final = "UTF-8"
_MARK = b"signature="


class Sent(msgspec.Struct):
    """What a client sent: values by name, percent-decoded; the signature, decoded; the bytes it must cover."""

    values: dict[str, str]
    signature: bytes
    payload: bytes


def read(query: bytes, body: bytes) -> Sent | Rejection:
    """Split and decode. Refuses duplicates (-1101), too many (-1101), and what is oversized or not UTF-8 (-1100)."""
    covered, signature = _cut_signature(query)
    if isinstance(covered, Rejection):
        return covered
    values = _pairs(covered)
    if isinstance(values, Rejection):
        return values
    if body:
        more, signature_below = _cut_signature(body)
        if isinstance(more, Rejection):
            return more
        below = _pairs(more)
        if isinstance(below, Rejection):
            return below
        values = {**below, **values}
        covered += more
        signature = signature_below if signature is None else signature
    return Sent(values, signature or b"", covered)


def long_value(name: str, text: str) -> int | Rejection:
    """A LONG: up to 20 ASCII digits, no sign; else -1100 with the legal range, as the live venue answers."""
    if len(text) <= 20 and text.isascii() and text.isdigit():
        return int(text)
    return errors.ILLEGAL_CHARS(name, DIGITS)


def typed(parameters: tuple[Parameter, ...], values: dict[str, str]) -> dict[str, Any] | Rejection:
    """The endpoint's own parameters as values; others that were sent are ignored, as real clients send some.

    Refuses a mandatory one that is missing or empty (-1102), an optional one that is empty (-1105), text that is not
    of its kind (-1100, -1130).
    """
    found: dict[str, Any] = {}
    for parameter in parameters:
        text = values.get(parameter.name)
        if not text:
            if parameter.mandatory:
                return errors.MANDATORY_PARAM(parameter.name)
            if text is not None:
                return errors.PARAM_EMPTY(parameter.name)
            continue
        value = _typed(parameter, text)
        if isinstance(value, Rejection):
            return value
        found[parameter.name] = value
    return found


def _typed(parameter: Parameter, text: str) -> Any:
    if parameter.kind is Kind.LONG:
        number = long_value(parameter.name, text)
        if isinstance(number, int) and number > parameter.most:
            return errors.INVALID_PARAMETER(parameter.name)
        return number
    if parameter.kind is Kind.ENUM and text not in parameter.values:
        return errors.INVALID_PARAMETER(parameter.name)
    return text


def _cut_signature(place: bytes) -> tuple[bytes | Rejection, bytes | None]:
    """The place without its `signature` pair, and the signature. Clients send it last; anywhere is accepted."""
    if _MARK not in place:
        return place, None
    covered, found, last = place.rpartition(b"&" + _MARK)
    if found and b"&" not in last and _MARK not in covered:
        return covered, _unquoted(last)
    parts = place.split(b"&")
    marked = [part for part in parts if part.startswith(_MARK)]
    if not marked:
        return place, None
    if len(marked) > 1:
        return errors.DUPLICATE_PARAMETER(), None
    return b"&".join(part for part in parts if not part.startswith(_MARK)), _unquoted(marked[0][len(_MARK) :])


def _unquoted(value: bytes) -> bytes:
    """Percent-decoding only: some clients send base64 raw, so `+` stays `+`."""
    return unquote_to_bytes(value) if b"%" in value else value


def _pairs(place: bytes) -> dict[str, str] | Rejection:
    plain = place.isascii() and b"%" not in place and b"+" not in place
    pairs: dict[str, str] = {}
    parts = place.decode("latin-1").split("&")
    if len(parts) > MAX_PARAMETERS:
        return errors.TOO_MANY_PARAMETERS(MAX_PARAMETERS, len(parts))
    crowded = len(place) > MAX_PARAMETER_BYTES
    for part in parts:
        if not part:
            continue
        name, _, value = part.partition("=")
        if crowded and len(part) > MAX_PARAMETER_BYTES:
            return errors.ILLEGAL_CHARS(_printable(name), f"at most {MAX_PARAMETER_BYTES} bytes")
        if not plain:
            try:
                name, value = _decoded(name), _decoded(value)
            except UnicodeDecodeError:
                return errors.ILLEGAL_CHARS(_printable(name), UTF8)
        if name in pairs:
            return errors.DUPLICATE_PARAMETER()
        pairs[name] = value
    return pairs


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode("utf-8")


def _printable(name: str) -> str:
    """A name fit for an error sentence."""
    return "".join(letter for letter in name[:64] if letter.isascii() and letter.isprintable())
