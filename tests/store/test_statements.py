"""The PostgreSQL engine's statements can be spread over machines: each is read, and held to the rules for that."""

import re
from collections.abc import Iterator

import pytest

from catchment.store.postgres import _times
from catchment.store.statements import parts, statements

SQL = statements("postgres.sql")

KEY_OF = {
    "account": "id",
    "holding": "account",
    "journal": "account",
    "api_key": "account",
    "name_of_account": "name",
    "key_of_account": "api_key",
}
"""Of each table that grows with accounts, the column that says where a row lives. The last two are look-up tables: what
must be unique among all accounts leads them."""
ON_ONE_MACHINE = {"meta", "asset", "batch", "turn", "note", "request"}
ACROSS_ACCOUNTS = {"accounts", "accounts_before", "count", "rows_of_batches", "tail", "touched"}

TABLE = re.compile(r"CREATE (?:UNLOGGED )?TABLE (\w+) \((.*?)\n\)", re.S)
USED = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE) (\w+)(?: AS (\w+))?")


def is_across(statement: str) -> bool:
    return bool(re.match(r"-- across accounts: \w+", statement))


def bare(statement: str) -> str:
    return re.sub(r"--.*", "", statement)


def ddl() -> dict[str, str]:
    """Every statement that makes tables, of the schema and of its upgrades."""
    return {name: bare(text) for name, text in SQL.items() if name == "schema" or name.startswith("upgrade_")}


def key_faults(schema: str) -> Iterator[str]:
    """Keys of tables that do not begin with the column a row is found by."""
    for table, columns in TABLE.findall(schema):
        if table in ON_ONE_MACHINE:
            continue
        key = KEY_OF.get(table, "?")
        for line in columns.split("\n"):
            words = line.split()
            for kind in ("PRIMARY KEY", "UNIQUE", "REFERENCES"):
                if kind not in line:
                    continue
                listed = re.match(rf"\s*(?:FOREIGN KEY|{kind}) \((\w+)", line)
                if (listed[1] if listed else words[0]) != key:
                    yield f"{table}: {line.strip()}"
        if "PRIMARY KEY" not in columns:
            yield f"{table}: no key"


def where_faults(name: str, statement: str) -> Iterator[str]:
    """Tables that grow with accounts, read or changed without the column that a row is found by."""
    text = bare(statement)
    for table, alias in USED.findall(text):
        if table not in KEY_OF or re.search(rf"INSERT INTO {table}\b", text) or is_across(statement):
            continue
        key = KEY_OF[table]
        owner = rf"(?:{alias}\.)" if alias else rf"(?:{table}\.)?"
        given = rf"(?:ANY \()?\$1\b|new\.{key}\b" if "FROM unnest($1::bytea[]" in text else r"(?:ANY \()?\$1\b"
        if not re.search(rf"(?:WHERE|ON) {owner}{key} = (?:{given})", text):
            yield f"{name}: {table} without {KEY_OF[table]}"


def other_faults(name: str, statement: str) -> Iterator[str]:
    text = bare(statement)
    if found := re.search(r"(?i)CREATE [\w ]*(TRIGGER|FUNCTION|PROCEDURE|SEQUENCE)\b|serial\b|GENERATED", text):
        yield f"{name}: {found[0]}"
    if re.search(r"AS \(\s*INSERT", text):
        yield f"{name}: an INSERT in a CTE"
    for table, _ in USED.findall(text):
        if "FOR UPDATE" in text and table not in ON_ONE_MACHINE:
            yield f"{name}: FOR UPDATE on {table}"
    for table, key in re.findall(r"INSERT INTO (\w+) \((\w+)", text):
        if table in KEY_OF and ("VALUES" not in text or key != KEY_OF[table]):
            yield f"{name}: {table} is not written as VALUES with {KEY_OF[table]} first"


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE holding (\n    account bytea,\n    state text PRIMARY KEY\n);",
        "CREATE TABLE journal (\n    account bytea,\n    PRIMARY KEY (number, account)\n);",
        "CREATE TABLE journal (\n    account bytea,\n    PRIMARY KEY (account, number),\n    UNIQUE (batch, place)\n);",
        "CREATE TABLE api_key (\n    account bytea PRIMARY KEY,\n    api_key text UNIQUE\n);",
        "CREATE TABLE holding (\n    account bytea\n);",
        "CREATE TABLE invented (\n    account bytea PRIMARY KEY\n);",
    ],
)
def test_a_key_that_cannot_be_spread_is_seen(schema: str) -> None:
    assert list(key_faults(schema))


def test_the_accounts_id_leads_every_key() -> None:
    assert {table for text in ddl().values() for table, _ in TABLE.findall(text)} == ON_ONE_MACHINE | set(KEY_OF)
    assert [fault for text in ddl().values() for fault in key_faults(text)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT state FROM holding",
        "SELECT body FROM journal WHERE number = $1",
        "UPDATE api_key SET revoked = 1 WHERE api_key = $1",
        "SELECT m.body FROM batch JOIN journal AS m ON m.number = $1",
        "DELETE FROM holding WHERE version = $1",
        "UPDATE holding SET state = $1 FROM unnest($2::bytea[]) AS new (account) WHERE holding.version = new.version",
    ],
)
def test_a_statement_without_the_accounts_id_is_seen(statement: str) -> None:
    assert list(where_faults("bad", statement))


def test_the_accounts_id_stands_in_every_where() -> None:
    faults = [fault for name, text in SQL.items() if name not in ddl() for fault in where_faults(name, text)]
    assert faults == []
    assert {name for name, text in SQL.items() if is_across(text)} == ACROSS_ACCOUNTS


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON journal",
        "CREATE OR REPLACE FUNCTION f() RETURNS int",
        "CREATE TABLE t (id bigserial)",
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY)",
        "CREATE SEQUENCE s",
        "WITH new AS (INSERT INTO holding (account) VALUES ($1)) SELECT 1",
        "SELECT 1 FROM holding WHERE account = $1 FOR UPDATE",
        "INSERT INTO holding (account, state) SELECT account, state FROM holding WHERE account = $1",
        "INSERT INTO holding (state, account) VALUES ($1, $2)",
    ],
)
def test_what_cannot_be_spread_is_seen(statement: str) -> None:
    assert list(other_faults("bad", statement))


def test_nothing_else_stands_in_the_way() -> None:
    assert [fault for name, text in SQL.items() for fault in other_faults(name, text)] == []


def test_a_statement_serves_many_rows() -> None:
    written = _times("add_account", 2)
    assert "VALUES ($1, $2, $3, $4), ($5, $6, $7, $8) ON CONFLICT" in written
    assert "$" + str(256 * 8) in _times("add_key", 256)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 255, 256, 1_000])
def test_rows_are_cut_into_parts(rows: int) -> None:
    cut = list(parts(rows))
    assert sum(count for _, count in cut) == rows
    assert [start for start, _ in cut] == [sum(count for _, count in cut[:place]) for place in range(len(cut))]
