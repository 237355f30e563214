"""The engines' named statements, and their rows: an API key as one, many of SQLite's in one step, their checksums."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final
from zlib import crc32

import msgspec

from catchment.signature import Algorithm, ApiKey, Permission
from catchment.store.base import Answered, StoreDamaged

ROWS_AT_ONCE: Final = (64, 8, 1)
"""How many rows one statement may serve; a few fixed numbers, so that each is prepared once and kept."""


def statements(file: str) -> dict[str, str]:
    """The statements of a file of this folder, by name."""
    text = files("catchment.store").joinpath(file).read_text("utf-8")
    named = re.findall(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", text, re.M | re.S)
    return {name: statement.strip() for name, statement in named}


SQL: Final = statements("sqlite.sql")


@cache
def _times(name: str, rows: int) -> str:
    """The statement with what stands before "times" repeated for so many rows."""
    return re.sub(r"(\([?, ]+\)|\?) /\* times \*/", lambda found: ", ".join([found[1]] * rows), SQL[name], count=1)


def read_rows(connection: sqlite3.Connection, name: str, keys: Sequence[Any]) -> list[Any]:
    """The rows a statement gives for keys."""
    rows: list[Any] = []
    for start, count in parts(len(keys)):
        rows += connection.execute(_times(name, count), keys[start : start + count])
    return rows


def fold_rows(connection: sqlite3.Connection, sequences: Sequence[int]) -> None:
    """Write states that are in `recent` to their accounts' own rows."""
    for start, count in parts(len(sequences)):
        connection.execute(_times("fold_some", count), sequences[start : start + count])


def write_rows(connection: sqlite3.Connection, name: str, values: list[Any], width: int) -> None:
    """Write rows of `width` values each, all of them in one flat list."""
    for start, count in parts(len(values) // width):
        connection.execute(_times(name, count), values[width * start : width * (start + count)])


encode_row: Final = msgspec.msgpack.Encoder().encode


def checksum(*values: Any) -> int:
    """Of the columns of a row, in their order, without the checksum's own."""
    return crc32(encode_row(values))


def sound(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row, if it fits the checksum in its last column. Raises `StoreDamaged`, which tells no more than its key."""
    if crc32(encode_row(row[:-1])) != row[-1]:
        key = row[0]
        raise StoreDamaged(f"the row of {key.hex() if isinstance(key, bytes) else key} does not fit its checksum")
    return row


def row_of_key(key: ApiKey) -> tuple[Any, ...]:
    """An API key as a row of `api_key`, in the order of its columns."""
    permissions, ip_allow = json.dumps(sorted(key.permissions)), json.dumps(key.ip_allow)
    return key.account, key.api_key, str(key.algorithm), key.material, permissions, ip_allow, key.created, key.revoked


def key_of_row(row: Sequence[Any]) -> ApiKey:
    account, api_key, algorithm, material, permissions, ip_allow, created, revoked = row
    return ApiKey(
        api_key,
        account,
        Algorithm(algorithm),
        material,
        frozenset(Permission(name) for name in json.loads(permissions)),
        tuple(json.loads(ip_allow)),
        created,
        revoked,
    )


def row_of_request(one: Answered) -> tuple[Any, ...]:
    """A request as a row of `request`, in the order of its columns, without its id."""
    _, *before, parameters, weight, status, code, took, record, left_out = msgspec.structs.astuple(one)
    return (*before, msgspec.json.encode(parameters).decode(), weight, status, code, took, record, left_out)


def request_of_row(row: Sequence[Any]) -> Answered:
    fields = list(row)
    fields[7] = _PARAMETERS.decode(fields[7])
    return Answered(*fields)


_PARAMETERS: Final = msgspec.json.Decoder(list[tuple[str, str]])


def parts(rows: int, at_once: Sequence[int] = ROWS_AT_ONCE) -> Iterator[tuple[int, int]]:
    """Where each statement begins and how many rows it serves."""
    start = 0
    for count in at_once:
        while rows - start >= count:
            yield start, count
            start += count
