"""The command line: every verb, every exit code, beside a running server, and that no secret is told twice."""

import asyncio
import csv
import io
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from catchment import __version__, errors
from catchment.asset import MAX_UNITS
from catchment.cli import main
from catchment.cli.collect import api_weights
from catchment.cli.journal import invariants
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.dashboard.people import People
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId, AccountState, Balance
from catchment.ledger.commands import (
    Adjustment,
    AutoCollection,
    AutoExchange,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    NegativeInterest,
    Offer,
    Reason,
    SetPosition,
    Terms,
    Trigger,
)
from catchment.ledger.journal import Body, seal
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.papi import coverage
from catchment.papi.endpoints import ENDPOINTS
from catchment.papi.rest import Rest
from catchment.signature import sign_hmac
from catchment.store.base import StoreFailed
from catchment.store.sqlite import SqliteStore
from catchment.venue import Venue
from catchment.wallet import Wallet
from tests import databases
from tests.store.books import tamper

Result = TypeVar("Result")
PATIENCE_S = 30


class Terminal:
    """The command line over one store, without a process of its own."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.environment = {"CATCHMENT_STORE": store}

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a verb prints; it must end with `code`, and print nothing on stderr if that is 0."""
        result = CliRunner().invoke(main, words, env=self.environment)
        assert result.exit_code == code, result.output
        assert bool(result.stderr) <= bool(code), result.stderr
        return result.stdout if not code or result.stdout else result.stderr

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code))

    def refused(self, *words: str, code: int = 3) -> str:
        """The line of a refusal; nothing stands on stdout."""
        result = CliRunner().invoke(main, words, env=self.environment)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        return result.stderr.rstrip("\n")

    def venue(self, work: Callable[[Venue], Awaitable[Result]]) -> Result:
        async def opened() -> Result:
            venue = await Venue.open(Settings(store=self.store))
            try:
                return await work(venue)
            finally:
                await venue.close()

        return asyncio.run(opened())


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, master key or data folder of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("CATCHMENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def run(tmp_path: Path) -> Terminal:
    return Terminal(f"sqlite:///{tmp_path / 'venue.db'}")


@pytest.fixture
def alice(run: Terminal) -> Terminal:
    """A store with one account that has something everywhere."""
    run("account", "create", "alice")
    run("deposit", "alice", "USDT", "1000.1")
    run("adjust", "alice", "UM", "BTC", "0.5")
    run("adjust", "alice", "UM", "ETH", "-0.25")
    run("adjust", "alice", "CM", "USDT", "2.00000001")
    run("adjust", "alice", "UM", "BNB", "3")
    return run


def table(text: str) -> list[dict[str, str]]:
    """A plain table as grep and awk see it: cut where there are two blanks or more."""
    heads, *rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip()]
    assert all(len(row) == len(heads) for row in rows), text
    return [dict(zip(heads, row, strict=True)) for row in rows]


# The way in -----------------------------------------------------------------------------------------------------------


def test_help_names_every_verb_and_exit_code(run: Terminal) -> None:
    text = run("--help")
    for verb in main.commands:
        assert re.search(rf"^  {verb} +\w", text, re.MULTILINE)
    assert [int(code) for code in re.findall(r"^ +(\d+)  \w", text, re.MULTILINE)] == [0, 1, 2, 3, 4, 5, 130]
    assert max(map(len, text.splitlines())) <= 100


def test_every_verb_takes_the_same_options() -> None:
    groups = [verb for verb in main.commands.values() if isinstance(verb, click.Group)]
    verbs = [verb for group in (main, *groups) for verb in group.commands.values() if verb not in groups]
    assert len(verbs) > 18
    for verb in verbs:
        assert {"store", "config", "as_json"} <= {option.name for option in verb.params}, verb.name
        assert verb.help, verb.name


def test_the_version_is_told(run: Terminal) -> None:
    assert __version__ in run("--version")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["serve", "--help"], ["collect", "--help"]])
def test_nothing_heavy_is_loaded_on_the_way_in(words: list[str]) -> None:
    script = f"import sys; from catchment.cli import main; main({words!r}, standalone_mode=False); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "catchment.cli" in loaded.split()
    assert not {"rich", "cryptography", "uvicorn", "catchment.venue", "msgspec", "sqlite3"} & set(loaded.split())


def test_the_default_store_is_in_the_data_folder(run: Terminal, tmp_path: Path) -> None:
    run.environment = {}
    run("account", "create", "alice")
    assert list(tmp_path.rglob("catchment.db"))


def test_a_settings_file_is_read(run: Terminal, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'store = "sqlite:///{tmp_path}/other.db"\nassets = {{ MINE = 2 }}\n')
    run.environment = {}
    run("account", "create", "alice", "--config", str(config))
    run("deposit", "alice", "MINE", "1.25", "--config", str(config))
    rows = table(run("balance", "alice", "--store", f"sqlite:///{tmp_path}/other.db"))
    assert [(row["ASSET"], row["MARGIN_FREE"]) for row in rows] == [("MINE", "1.25")]


# A store on a server --------------------------------------------------------------------------------------------------


def test_the_verbs_work_on_a_server(postgres: str) -> None:
    run = Terminal(postgres)
    run("account", "create", "alice")
    secret = run.json("key", "create", "alice")["secret"]
    assert secret
    run("deposit", "alice", "USDT", "1000.1")
    run("adjust", "alice", "UM", "BTC", "0.5")
    run("withdraw", "alice", "USDT", "0.1")
    assert "0.5" in run("collect", "alice", "--dry-run")
    run("collect", "alice")
    run("collect", "--all")
    rows = {row["ASSET"]: row["MARGIN_FREE"] for row in table(run("balance", "alice"))}
    assert rows == {"BTC": "0.50000000", "USDT": "1000.00000000"}
    assert run("history", "alice").count("\n") == 1 + 5
    assert len(run("export", "--format", "jsonl").splitlines()) == 5
    assert run.json("verify")["findings"] == []
    key = run.json("key", "list", "alice")[0]["api_key"]
    run("key", "revoke", key)
    assert "NO_SUCH_KEY" in run.refused("key", "revoke", key)
    assert "alice" in run("account", "list")


def test_a_servers_password_is_in_no_message(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Terminal("postgresql://me:s3cret@127.0.0.1:1/venue")
    assert "postgresql://me@127.0.0.1:1/venue" in gone.refused("account", "list", code=5)
    run = Terminal(postgres.replace("postgres:@", "postgres:s3cret@"))

    def fail(*_: object) -> None:
        raise StoreFailed("the disk is full")

    run("account", "create", "alice")
    monkeypatch.setattr("catchment.store.postgres.PostgresStore.add_account", fail)
    line = run.refused("account", "create", "bob", code=5)
    assert "the disk is full (BAD_STORE_ADDRESS" in line
    assert "s3cret" not in line


# Refusals and exit codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("deposit nobody USDT 1", "refused: Invalid account. (BAD_ACCOUNT, -1109)"),
        ("deposit alice usdt 1", "refused: Invalid asset. (BAD_ASSET, -1108)"),
        ("deposit alice USDT -1", "refused: Amount must be positive. (AMOUNT_MUST_BE_POSITIVE, -4055)"),
        ("withdraw alice USDT 1000.10000001", "refused: Balance is insufficient. (BALANCE_NOT_SUFFICIENT, -2018)"),
        (
            "deposit alice USDT 0.123456789",
            "refused: Precision is over the maximum defined for this asset. (BAD_PRECISION, -1111)",
        ),
        (
            "deposit alice USDT 1,5",
            "refused: Data sent for parameter 'amount' is not valid. (INVALID_PARAMETER, -1130)",
        ),
        (
            "adjust alice UM USDT 0",
            "refused: Data sent for parameter 'amount' is not valid. (INVALID_PARAMETER, -1130)",
        ),
        ("account create alice", "refused: An account named 'alice' already exists. (ACCOUNT_EXISTS, -90001)"),
        ("account show bob", "refused: Invalid account. (BAD_ACCOUNT, -1109)"),
        ("key revoke none", "refused: There is no API key 'none'. (NO_SUCH_KEY, -90003)"),
        ("balance alice --asset NONE", "refused: Invalid asset. (BAD_ASSET, -1108)"),
        ("collect alice --asset BNB", "refused: This operation is not supported. (UNSUPPORTED_OPERATION, -1020)"),
        (
            "collect alice --asset BTC --amount 0.1",
            "refused: Combination of optional parameters invalid. (OPTIONAL_PARAMS_BAD_COMBO, -1128)",
        ),
        (
            "collect alice --asset BTC --amount 0.6 --wallet UM --dry-run",
            "refused: Balance is insufficient. (BALANCE_NOT_SUFFICIENT, -2018)",
        ),
        ("export nobody", "refused: Invalid account. (BAD_ACCOUNT, -1109)"),
    ],
)
def test_a_refusal_is_one_line_and_nothing_happens(alice: Terminal, words: str, line: str) -> None:
    before = alice("export")
    assert alice.refused(*words.split()) == line
    assert alice("export") == before


def test_a_refusal_as_json_stands_on_stderr(alice: Terminal) -> None:
    told = json.loads(alice.refused("deposit", "alice", "USDT", "0", "--json"))
    assert told == {"error": {"name": "AMOUNT_MUST_BE_POSITIVE", "code": -4055, "message": "Amount must be positive."}}


@pytest.mark.parametrize(
    "words",
    [
        "deposit alice USDT",
        "adjust alice MARGIN USDT 1",
        "adjust alice UM USDT 1 --reason luck",
        "collect",
        "collect alice --all",
        "collect --all --dry-run",
        "collect --all --asset BTC",
        "collect alice --wallet UM",
        "collect alice --amount 1",
        "export --json",
        "export --format xml",
        "history alice --since yesterday",
        "history alice --limit 0",
        "history alice --kind luck",
        "key create alice --permission WITHDRAW",
        "serve --port 65536",
        "demo --keep x.db --store memory:",
        "luck",
    ],
)
def test_bad_usage_is_2(alice: Terminal, words: str) -> None:
    assert "Usage: " in alice(*words.split(), code=2)


def test_a_store_that_cannot_be_used_is_5(run: Terminal, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be looked at " * 100)
    assert "(DAMAGED_STORE, -90006)" in run.refused("verify", "--store", f"sqlite:///{text}", code=5)
    assert "(BAD_STORE_ADDRESS, -90004)" in run.refused("verify", "--store", "mysql://x", code=5)
    run("account", "create", "alice")
    with closing(sqlite3.connect(tmp_path / "venue.db")) as connection, connection:
        connection.execute("update meta set value = '99' where name = 'schema_version'")
    assert "(NEWER_STORE, -90005)" in run.refused("account", "list", code=5)


def test_a_store_that_fails_under_way_is_5(alice: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreFailed("database or disk is full")

    monkeypatch.setattr(SqliteStore, "transaction", fail)
    text = alice("deposit", "alice", "USDT", "1", code=5)
    assert text.splitlines()[0] == "error: a batch of 1 was rolled back: database or disk is full"
    assert "(STORE_UNAVAILABLE, -1001)" in text.splitlines()[1]
    assert json.loads(alice.refused("deposit", "alice", "USDT", "1", "--json", code=5))["error"]["code"] == -1001
    monkeypatch.setattr(SqliteStore, "add_account", fail)
    assert "database or disk is full (BAD_STORE_ADDRESS" in alice.refused("account", "create", "bob", code=5)


def test_an_unknown_outcome_is_4_and_not_called_refused(alice: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(*_: object) -> "asyncio.Future[Rejection]":
        future: asyncio.Future[Rejection] = asyncio.get_running_loop().create_future()
        future.set_result(errors.OUTCOME_UNKNOWN())
        return future

    monkeypatch.setattr(Venue, "submit", submit)
    line = alice.refused("deposit", "alice", "USDT", "1", code=4)
    assert line.startswith("unknown: Timeout")
    assert line.endswith("(OUTCOME_UNKNOWN, -1007)")


def test_an_unexpected_exception_is_one_line(alice: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    async def state(*_: object) -> None:
        raise LookupError("two\nlines")

    monkeypatch.setattr(Venue, "state", state)
    line = alice.refused("balance", "alice", code=4)
    assert line == "unknown: unexpected LookupError: two lines; CATCHMENT_DEBUG=1 shows where (UNKNOWN, -1000)"
    alice.environment["CATCHMENT_DEBUG"] = "1"
    assert "Traceback" in alice("balance", "alice", code=4)


def test_an_interrupt_is_130(alice: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    async def state(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Venue, "state", state)
    assert alice.refused("balance", "alice", code=130).startswith("interrupted: ")


# Accounts and keys ----------------------------------------------------------------------------------------------------


def test_accounts_are_made_listed_and_shown(run: Terminal) -> None:
    assert run("account", "list") == "no accounts\n"
    assert run.json("account", "list") == []
    made = run.json("account", "create", "alice")
    run("account", "create", "bob the second", "--no-portfolio-margin")
    rows = table(run("account", "list"))
    assert [(row["NAME"], row["PORTFOLIO_MARGIN"]) for row in rows] == [("alice", "yes"), ("bob the second", "no")]
    assert [row["name"] for row in run.json("account", "list")] == ["alice", "bob the second"]
    assert rows[0]["ID"] == made["id"]
    assert run.json("account", "show", made["id"]) == run.json("account", "show", "alice")


def test_account_list_pages_through_all(run: Terminal) -> None:
    run("account", "create", "first")

    async def work(venue: Venue) -> None:
        for at in range(1_200):
            await venue.add_account(f"account {at}")

    run.environment["CATCHMENT_STORE"] = run.store
    run.venue(work)
    names = ["first", *(f"account {at}" for at in range(1_200))]
    assert sorted(row["NAME"] for row in table(run("account", "list"))) == sorted(names)
    assert sorted(row["name"] for row in run.json("account", "list")) == sorted(names)


def test_account_show_counts_keys_and_quotas(alice: Terminal) -> None:
    first = alice.json("key", "create", "alice")
    alice("key", "create", "alice")
    alice("key", "revoke", first["api_key"])

    async def by_api(venue: Venue) -> None:
        account = await venue.account("alice")
        assert not isinstance(account, Rejection)
        for trigger in (Trigger.API, Trigger.API, Trigger.BUTTON):
            await venue.submit(account.id, AutoCollection(trigger))

    alice.venue(by_api)
    shown = alice.json("account", "show", "alice")
    assert shown["keys"] == {"living": 1, "revoked": 1}
    assert shown["quotas"] == {"api_hour": {"left": 498, "limit": 500}, "button_day": {"left": 9, "limit": 10}}
    assert shown["records"] == 8
    text = alice("account", "show", "alice")
    assert "498 of 500 left" in text
    assert "1, and 1 revoked" in text


def ask(store: str, count: int = 1) -> None:
    """Requests to the REST face of a venue over the store, from an account's key and from nobody."""

    async def asked() -> None:
        venue = await Venue.open(Settings(store=store, weight_per_minute=10**9), FrozenClock())
        rest = Rest(venue)
        for number in range(count):
            for key in (b"alice-key", b"mallory"):
                query = b"number=%d&signature=beef" % number
                headers = [(b"x-mbx-apikey", key)]
                scope = {"method": "GET", "path": "/papi/v1/balance", "query_string": query, "headers": headers}
                await rest(scope, _nothing, _nothing)
        await venue.close()

    asyncio.run(asked())


async def _nothing(*_: Any) -> Any:
    return None


def test_the_last_requests_are_shown(alice: Terminal) -> None:
    assert alice("requests") == "no requests\n"
    alice("key", "create", "alice", "--api-key", "alice-key")
    ask(alice.store)
    rows = table(alice("requests"))
    assert [row["KEY"] for row in rows] == ["ma…", "alice-key"]
    assert rows[1]["TIME_(UTC)"] == "2026-09-21T14:13:20.000Z"
    assert rows[1]["PARAMETERS"] == "number=0&signature=…"
    assert (rows[1]["WEIGHT"], rows[1]["STATUS"], rows[1]["CODE"]) == ("20", "400", "-1102")
    assert re.fullmatch(r"\d+\.\d{3}", rows[1]["MS"])
    assert len(table(alice("requests", "alice"))) == len(table(alice("requests", "--limit", "1"))) == 1
    document = alice.json("requests", "alice")
    assert document["left_out"] == 0
    (one,) = document["requests"]
    assert one["parameters"] == [{"name": "number", "value": "0"}, {"name": "signature", "value": "…"}]
    assert "(BAD_ACCOUNT, " in alice.refused("requests", "nobody")


def test_what_came_too_fast_is_said(alice: Terminal) -> None:
    ask(alice.store, 100)
    assert alice("requests", "--limit", "200").splitlines()[-1] == "136 more, of anybody, came too fast to be kept"
    assert alice("requests", "alice").splitlines() == ["no requests", "136 more, of anybody, came too fast to be kept"]


@pytest.mark.parametrize("as_json", [True, False])
def test_requests_are_followed_until_interrupted(alice: Terminal, as_json: bool) -> None:
    ask(alice.store)
    command = [sys.executable, "-m", "catchment", "requests", "--follow", "--store", alice.store]
    with subprocess.Popen([*command, *["--json"] * as_json], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            heading = 0 if as_json else 1
            first = [process.stdout.readline() for _ in range(heading + 2)]
            ask(alice.store, 2)
            more = [process.stdout.readline() for _ in range(4)]
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 130
        finally:
            process.kill()
    lines = [*first[heading:], *more]
    if as_json:
        assert [json.loads(line)["id"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [b"number=1" in line or b'"1"' in line for line in lines] == [False] * 4 + [True] * 2


def test_a_secret_is_told_once_and_never_again(alice: Terminal, tmp_path: Path) -> None:
    text = alice("key", "create", "alice", "--permission", "read", "--ip", "127.0.0.1")
    found = re.search(r"^secret +(\w{64})  \(shown this once\)$", text, re.MULTILINE)
    assert found
    secret = found[1]
    api_key = table(alice("key", "list", "alice"))[0]["API_KEY"]

    async def verified(venue: Venue) -> bool:
        holder = await venue.holder(api_key)
        assert holder is not None
        assert holder.key.permissions == {"READ"}
        assert holder.key.ip_allow == ("127.0.0.1",)
        return holder.verify(b"x", sign_hmac(secret.encode(), b"x").encode())

    assert alice.venue(verified)
    said = [alice("key", "list", "alice"), alice("account", "show", "alice", "--json"), alice("export")]
    assert not any(secret in text for text in said)
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_key_with_a_public_key_has_no_secret(alice: Terminal, tmp_path: Path) -> None:
    pem = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    made = alice.json("key", "create", "alice", "--public-key", str(tmp_path / "key.pem"), "--api-key", "mine")
    assert made["api_key"] == "mine"
    assert made["algorithm"] == "ED25519"
    assert "secret" not in made
    (tmp_path / "key.pem").write_text("nothing")
    line = alice.refused("key", "create", "alice", "--public-key", str(tmp_path / "key.pem"))
    assert line.endswith("(INVALID_RSA_PUBLIC_KEY, -4057)")


def test_a_revoked_key_is_listed_as_such(alice: Terminal) -> None:
    assert alice("key", "list", "alice") == "no keys\n"
    alice("key", "create", "alice", "--api-key", "one")
    alice("key", "create", "alice", "--api-key", "two")
    assert alice.refused("key", "create", "alice", "--api-key", "two").endswith("(KEY_EXISTS, -90002)")
    assert alice("key", "revoke", "one") == "revoked one\n"
    states = {row["API_KEY"]: row["STATE"] for row in table(alice("key", "list", "alice"))}
    assert states == {"one": "revoked", "two": "lives"}
    assert {key["api_key"]: key["revoked"] > 0 for key in alice.json("key", "list", "alice")} == {
        "one": True,
        "two": False,
    }
    alice.refused("key", "revoke", "one")


# Funds ----------------------------------------------------------------------------------------------------------------


# Who may see the dashboard --------------------------------------------------------------------------------------------


def entered(store: str, *words: str, typed: str, code: int = 0) -> str:
    """What a verb prints that reads a password from stdin."""
    result = CliRunner().invoke(main, words, input=typed, env={"CATCHMENT_STORE": store})
    assert result.exit_code == code, result.output
    return result.output


def test_people_are_made_listed_and_removed(alice: Terminal) -> None:
    password = "correct horse battery"
    assert entered(alice.store, "person", "set", "alice", typed=password + "\n") == (
        "alice may sign in and sees the account alice\n"
    )
    entered(alice.store, "person", "set", "bob", "--account", "alice", typed=password)
    entered(alice.store, "person", "set", "admin", "--operator", typed=password + "\r\n")
    listed = alice.json("person", "list")
    assert [(one["name"], one["account"], one["operator"]) for one in listed] == [
        ("admin", None, True),
        ("alice", "alice", False),
        ("bob", "alice", False),
    ]

    async def sign_in(venue: Venue) -> list[bool]:
        people = People(venue)
        return [
            not isinstance(await people.sign_in(name, password, "::1"), Rejection)
            for name in ("alice", "bob", "admin", "x")
        ]

    assert alice.venue(sign_in) == [True, True, True, False]
    assert alice("person", "remove", "bob") == "removed bob\n"
    assert "NO_SUCH_PERSON" in alice.refused("person", "remove", "bob")
    assert "correct horse" not in alice("person", "list")


def test_a_person_needs_an_account_and_a_password(alice: Terminal) -> None:
    assert "BAD_PASSWORD" in entered(alice.store, "person", "set", "alice", typed="short\n", code=3)
    assert "BAD_ACCOUNT" in entered(alice.store, "person", "set", "nobody", typed="correct horse\n", code=3)
    entered(alice.store, "person", "set", "alice", "--operator", "--account", "alice", typed="x", code=2)
    assert alice.json("person", "list") == []


def test_a_link_signs_in_once(alice: Terminal) -> None:
    url = alice("link", "alice").strip()
    assert url.startswith("http://127.0.0.1:8750/dashboard/link/")
    token = url.rpartition("/")[2]

    async def use(venue: Venue) -> list[bool]:
        return [isinstance(await People(venue).use_link(token), str) for _ in range(2)]

    assert alice.venue(use) == [True, False]
    assert alice.json("link", "--operator")["url"] != url
    assert "BAD_ACCOUNT" in alice.refused("link", "nobody")
    alice("link", code=2)
    alice("link", "alice", "--operator", code=2)


def test_balances_are_exact_text(alice: Terminal) -> None:
    alice("deposit", "alice", "BTC", "12345678901.12345679")
    text = alice("balance", "alice")
    assert {row["ASSET"]: (row["UM"], row["CM"], row["MARGIN_FREE"]) for row in table(text)} == {
        "BNB": ("3.00000000", "0.00000000", "0.00000000"),
        "BTC": ("0.50000000", "0.00000000", "12345678901.12345679"),
        "ETH": ("-0.25000000", "0.00000000", "0.00000000"),
        "USDT": ("0.00000000", "2.00000001", "1000.10000000"),
    }
    assert len({line.index(".") for line in text.splitlines()[1:]}) == 1
    by_asset = {row["asset"]: row for row in alice.json("balance", "alice")}
    assert by_asset["BTC"]["margin_free"] == "12345678901.12345679"
    assert by_asset["ETH"]["um"] == "-0.25"
    assert alice.json("balance", "alice", "--asset", "SOL")[0]["um"] == "0.0"


def test_an_account_without_money_says_so(run: Terminal) -> None:
    run("account", "create", "alice")
    assert run("balance", "alice") == "no balances\n"
    assert run("history", "alice") == "no records\n"


@pytest.mark.parametrize("amount", ["-0.25", "-.25", "-25e-2"])
def test_a_negative_amount_is_no_option(run: Terminal, amount: str) -> None:
    run("account", "create", "alice")
    words = ["adjust", "alice", "CM", "ETH", amount, "--reason", "funding-fee", "--symbol", "ETHUSD_PERP"]
    record = run.json(*words)
    assert record["command"] == {
        "type": "Adjustment",
        "wallet": "CM",
        "asset": "ETH",
        "amount": "-0.25",
        "reason": "FUNDING_FEE",
        "symbol": "ETHUSD_PERP",
    }
    assert record["transfers"][0] | {"version": 1} == {
        "asset": "ETH",
        "amount": "0.25",
        "source": "cm",
        "target": "market",
        "source_after": "-0.25",
        "target_after": "0.25",
        "version": 1,
    }
    assert run("adjust", "alice", "CM", "ETH", "--", "-1").endswith("CM now -1.25 (record 2)\n")


def test_what_was_booked_is_said_in_words(alice: Terminal) -> None:
    said = alice("withdraw", "alice", "USDT", "0.1")
    assert said == "alice: 0.1 USDT from Cross Margin to outside; Cross Margin now 1000.0 (record 6)\n"
    said = alice("adjust", "alice", "UM", "BTC", "-1", "--reason", "commission")
    assert said == "alice: 1.0 BTC from UM to market; UM now -0.5 (record 7)\n"


# Collection -----------------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_what_the_collection_then_does(alice: Terminal) -> None:
    before = alice("export")
    shown = alice.json("collect", "alice", "--dry-run")
    assert alice("export") == before
    done = alice.json("collect", "alice")
    moved = [{"asset": row["asset"], "from": row["source"], "amount": row["amount"]} for row in done["transfers"]]
    assert shown["moves"] == moved
    assert {(row["asset"], row["amount"]) for row in moved} == {("BTC", "0.5"), ("USDT", "2.00000001")}
    assert (
        shown["stays"]
        == done["stays"]
        == [
            {"asset": "BNB", "in": "um", "amount": "3.0", "why": "BNB in UM is never collected"},
            {"asset": "ETH", "in": "um", "amount": "-0.25", "why": "negative: a collection does not repay"},
        ]
    )
    assert shown["quotas"] == {"api_hour": {"left": 500, "limit": 500}}
    assert shown["weights"] == {
        "auto_collection": 750,
        "asset_collection": 60,
        "asset_collections": 2,
        "cheapest": "asset-collection",
    }
    assert done["cause"] == "OPERATOR"


def test_a_dry_run_in_words(alice: Terminal) -> None:
    text = alice("collect", "alice", "--dry-run")
    assert "weight   over the API 60, by 2 asset-collections; 750 by one auto-collection\n" in text
    assert "quota    500 of 500 left: auto-collections by API, in any 60 minutes\n" in text
    assert "dry run  nothing was written\n" in text
    assert re.search(r"^ETH +UM +-0\.25000000  negative: a collection does not repay$", text, re.MULTILINE)


def test_collecting_twice_finds_nothing(alice: Terminal) -> None:
    assert "Moved to Cross Margin" in alice("collect", "alice")
    assert alice("collect", "alice").startswith("alice: nothing to collect\n")
    assert alice("collect", "alice", "--dry-run").startswith("alice: nothing would move\n")
    assert "no call needed" in alice("collect", "alice", "--dry-run")


def test_one_asset_or_part_of_it(alice: Terminal) -> None:
    part = alice.json("collect", "alice", "--asset", "BTC", "--amount", "0.2", "--wallet", "um")
    assert [(row["asset"], row["amount"], row["source_after"]) for row in part["transfers"]] == [("BTC", "0.2", "0.3")]
    rest = alice.json("collect", "alice", "--asset", "BTC")
    assert [row["amount"] for row in rest["transfers"]] == ["0.3"]
    assert alice.json("balance", "alice", "--asset", "USDT")[0]["cm"] == "2.00000001"


def weights_of(count: int, bnb: bool = False) -> dict[str, Any]:
    """The weights of collecting so many assets, each from UM and CM."""
    names = [f"A{at}" for at in range(count - bnb)] + ["BNB"] * bnb
    state = AccountState(balances={name: Balance(um=1, cm=1, market=-2) for name in names})
    record = decide(AccountId(bytes(16)), state, AutoCollection(Trigger.OPERATOR), 1, Rules())
    assert not isinstance(record, Rejection)
    return api_weights(record)


def test_the_cheapest_way_over_the_api() -> None:
    assert weights_of(24)["cheapest"] == "asset-collection"
    assert weights_of(26)["cheapest"] == "auto-collection"
    assert weights_of(26)["asset_collection"] == 780
    assert weights_of(2, bnb=True)["cheapest"] == "auto-collection"
    assert weights_of(2, bnb=True)["asset_collection"] is None
    assert weights_of(0)["cheapest"] is None


def test_collect_all(alice: Terminal) -> None:
    async def more(venue: Venue) -> None:
        for at in range(30):
            account = await venue.add_account(f"account {at}", at % 3 != 0)
            assert not isinstance(account, Rejection)
            await venue.submit(account.id, Adjustment(Wallet.UM, "USDT", 1 + at, Reason.REALIZED_PNL))

    alice.venue(more)
    # So short a queue refuses whoever hands it more than it can hold.
    alice.environment["CATCHMENT_QUEUE"] = "6"
    tally = alice.json("collect", "--all")
    units = sum(1 + at for at in range(30) if at % 3)
    assert tally == {
        "accounts": 21,
        "skipped": 10,
        "collections": 21,
        "transfers": 22,
        "refused": 0,
        "refusals": [],
        "moved": {"BTC": "0.5", "USDT": f"2.00000{units + 1:03}"},
    }
    assert alice.json("verify")["ok"]
    text = alice("collect", "--all")
    assert text.startswith("accounts     21, and 10 outside Portfolio Margin\n")
    assert "transfers    0\n" in text


def test_collect_all_goes_on_after_a_refusal(alice: Terminal) -> None:
    async def more(venue: Venue) -> None:
        account = await venue.add_account("full")
        assert not isinstance(account, Rejection)
        await venue.submit(account.id, Deposit("BTC", MAX_UNITS))
        await venue.submit(account.id, Adjustment(Wallet.UM, "BTC", 1, Reason.REALIZED_PNL))

    alice.venue(more)
    tally = alice.json("collect", "--all", code=3)
    assert (tally["accounts"], tally["collections"], tally["refused"]) == (2, 1, 1)
    assert tally["refusals"][0]["name"] == "BALANCE_OVERFLOW"
    assert alice.json("balance", "alice", "--asset", "BTC")[0]["um"] == "0.0"


# Prices and positions -------------------------------------------------------------------------------------------------


def test_a_price_is_set_for_the_whole_venue(run: Terminal) -> None:
    assert run("price", "set", "index", "BTC", "61000.50") == "index of BTC now 61000.5\n"
    assert run.json("price", "set", "mark", "BTCUSDT", "61001") == {
        "figure": "mark",
        "name": "BTCUSDT",
        "value": "61001.0",
    }
    run("price", "set", "collateral", "BTC", "0.9")
    rows = {(row["FIGURE"], row["OF"]): (row["VALUE"], row["SOURCE"]) for row in table(run("price", "list"))}
    assert rows["index", "BTC"] == ("61000.5", "set")
    assert rows["mark", "BTCUSDT"] == ("61001.0", "set")
    assert rows["mark", "BTCUSD_PERP"] == ("61000.5", "default"), "it follows the index price"
    assert rows["collateral", "BTC"] == ("0.9", "set")
    assert rows["index", "USDT"] == rows["collateral", "USDT"] == ("1.0", "default")
    listed = run.json("price", "list")
    assert {"figure": "collateral", "name": "BTC", "value": "0.9", "set": True} in listed
    assert len(listed) == len(rows)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("mark", "NOPE", "1"), -1121),
        (("index", "BTCUSDT", "1"), -1108),
        (("index", "BTC", "-1"), -1130),
        (("collateral", "BTC", "1.5"), -1130),
        (("index", "BTC", "1.123456789"), -1111),
    ],
)
def test_a_price_that_is_refused(run: Terminal, words: tuple[str, ...], code: int) -> None:
    assert run.refused("price", "set", *words).endswith(f", {code})")
    assert not any(row["set"] for row in run.json("price", "list"))


def test_a_position_from_opening_to_closing(alice: Terminal) -> None:
    alice("price", "set", "mark", "BTCUSDT", "62000")
    line = alice("position", "set", "alice", "BTCUSDT", "0.5", "--entry-price", "60000", "--leverage", "10")
    assert line == "alice: UM BTCUSDT BOTH 0.5 at 60000.0 (record 6)\n"
    made = alice.json("position", "set", "alice", "BTCUSD_PERP", "-30", "--side", "short")
    assert (made["kind"], made["transfers"]) == ("set-position", [])
    assert made["command"]["entry_price"] == "60000.0", "the mark price, for none was given"
    assert alice.json("position", "list", "alice") == [
        {
            "wallet": "CM",
            "symbol": "BTCUSD_PERP",
            "side": "SHORT",
            "amount": "-30",
            "entry_price": "60000.0",
            "mark_price": "60000.0",
            "leverage": "20",
            "unrealized_profit": "0.0",
            "initial_margin": "0.0025",  # 30 x 100 / 60000 = 0.05 BTC; / 20
            "maintenance_margin": "0.0002",  # x 0.4 %
            "asset": "BTC",
        },
        {
            "wallet": "UM",
            "symbol": "BTCUSDT",
            "side": "BOTH",
            "amount": "0.500",
            "entry_price": "60000.0",
            "mark_price": "62000.0",
            "leverage": "10",
            "unrealized_profit": "1000.0",  # 0.5 x 2000
            "initial_margin": "3100.0",  # 0.5 x 62000 / 10
            "maintenance_margin": "124.0",  # x 0.4 %
            "asset": "USDT",
        },
    ]
    assert [row["SYMBOL"] for row in table(alice("position", "list", "alice"))] == ["BTCUSD_PERP", "BTCUSDT"]
    assert alice("position", "close", "alice", "BTCUSDT") == "alice: UM BTCUSDT BOTH closed (record 8)\n"
    alice("position", "close", "alice", "BTCUSD_PERP", "--side", "SHORT")
    assert alice("position", "list", "alice") == "no positions\n"
    assert [record["kind"] for record in alice.json("history", "alice", "--limit", "4")] == ["set-position"] * 4
    alice("verify")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("set", "nobody", "BTCUSDT", "1"), -1109),
        (("set", "alice", "NOPE", "1"), -1121),
        (("set", "alice", "BTCUSDT", "0"), -1130),
        (("set", "alice", "BTCUSDT", "-1", "--side", "LONG"), -1130),
        (("set", "alice", "BTCUSDT", "0.0001"), -1111),
        (("set", "alice", "BTCUSDT", "1", "--entry-price", "0"), -1130),
        (("set", "alice", "BTCUSDT", "1", "--leverage", "0"), -1130),
        (("set", "alice", "BTCUSDT", "1", "--leverage", "126"), -1130),
        (("close", "alice", "BTCUSDT"), -1130),
        (("list", "nobody"), -1109),
    ],
)
def test_a_position_that_is_refused(alice: Terminal, words: tuple[str, ...], code: int) -> None:
    assert alice.refused("position", *words).endswith(f", {code})")
    assert alice.json("position", "list", "alice") == []


# The journal ----------------------------------------------------------------------------------------------------------


def test_history_is_newest_first_and_filtered(alice: Terminal) -> None:
    alice("collect", "alice")
    alice("collect", "alice")
    rows = table(alice("history", "alice"))
    assert [int(row["NO"]) for row in rows] == [7, 6, 6, 5, 4, 3, 2, 1]
    assert rows[0] | {"TIME_(UTC)": ""} == {
        "NO": "7",
        "TIME_(UTC)": "",
        "KIND": "auto-collection",
        "BY": "OPERATOR",
        "ASSET": "-",
        "AMOUNT": "-",
        "FROM": "-",
        "TO": "-",
        "FOUND": "-",
    }
    assert [record["number"] for record in alice.json("history", "alice", "--limit", "2")] == [7, 6]
    assert [record["number"] for record in alice.json("history", "alice", "--asset", "BTC")] == [6, 2]
    assert [record["number"] for record in alice.json("history", "alice", "--kind", "adjustment")] == [5, 4, 3, 2]
    kinds = {"--kind": "auto-collection", "--asset": "USDT", "--limit": "1"}
    assert [record["number"] for record in alice.json("history", "alice", *sum(kinds.items(), ()))] == [6]


def test_history_says_what_was_found_and_what_was_set(alice: Terminal) -> None:
    """0.25 ETH negative, of which 0.05 are free: 0.2 at 0.001 a day; then 0.2502 are brought down to 0.08."""
    coin = 10**8
    account = alice.venue(lambda venue: venue.account("alice"))
    assert not isinstance(account, Rejection)
    commands: list[Command] = [
        NegativeInterest(20_000, (Terms("ETH", coin // 20, coin // 1_000),)),
        AutoExchange(Offer("ETH", 2_000 * coin, coin, 8), coin // 10, (Offer("USDT", coin, coin, 8),)),
        SetPosition(Wallet.UM, "BTCUSDT", coin // 2, 60_000 * coin),
    ]
    alice.venue(lambda venue: venue.submit_all([(account.id, command) for command in commands]))
    alice("auto-repay", "alice", "on")
    rows = table(alice("history", "alice", "--limit", "4"))
    told = [[row[name] for name in ("KIND", "ASSET", "AMOUNT", "FROM", "TO", "FOUND")] for row in rows]
    assert told == [
        ["set-auto-repay", "-", "-", "-", "on", "-"],
        ["set-position", "BTCUSDT", "0.5", "-", "UM", "-"],
        ["auto-exchange", "USDT", "340.40000000", "free", "market", "-"],
        ["auto-exchange", "ETH", "0.17020000", "market", "UM", "0.25020000"],
        ["negative-interest", "ETH", "0.00020000", "UM", "market", "0.20000000"],
    ]
    (interest,) = alice.json("history", "alice", "--kind", "negative-interest")
    assert interest["found"] == [{"asset": "ETH", "amount": "0.2"}]


# The verbs around Cross Margin ---------------------------------------------------------------------------------------


def test_bnb_to_um_and_back(alice: Terminal) -> None:
    assert alice("bnb", "alice", "1.5", "from-um") == (
        "alice: 1.5 BNB from UM to Cross Margin; Cross Margin now 1.5 (record 6)\n"
    )
    record = alice.json("bnb", "alice", "1e-8", "TO-UM")
    assert record["command"] == {"type": "BnbTransfer", "amount": "0.00000001", "side": "TO_UM", "trigger": "OPERATOR"}
    for _ in range(8):
        alice("bnb", "alice", "0.1", "from-um")
    assert "(COLLECTION_QUOTA, -1003)" in alice.refused("bnb", "alice", "0.1", "to-um")


def test_repaying_by_hand(alice: Terminal) -> None:
    assert alice("repay", "alice") == "alice: nothing to repay\n", "there is no free ETH"
    alice("deposit", "alice", "ETH", "0.2")
    assert alice("repay", "alice").splitlines() == [
        "Repaid from Cross Margin",
        "ASSET  TO      AMOUNT",
        "ETH    UM  0.20000000",
    ]
    alice("deposit", "alice", "ETH", "1")
    (transfer,) = alice.json("repay", "alice")["transfers"]
    assert (transfer["amount"], transfer["target"], transfer["target_after"]) == ("0.05", "um", "0.0")


def test_the_switches(alice: Terminal) -> None:
    assert alice("auto-repay", "alice", "on") == "alice: Auto Repay is on (record 6)\n"
    assert alice("auto-collect", "alice", "ON") == "alice: automatic collection is on (record 7)\n"
    shown = alice.json("account", "show", "alice")
    assert (shown["auto_repay"], shown["auto_collection"]) == (True, True)
    command = alice.json("auto-repay", "alice", "off")["command"]
    assert command == {"type": "SetAutoRepay", "on": False, "trigger": "OPERATOR"}
    assert alice.json("account", "show", "alice")["auto_repay"] is False
    assert "auto-repay" in alice("auto-repay", "alice", "maybe", code=2)


def test_a_loan_and_its_repayment(alice: Terminal) -> None:
    assert alice("borrow", "alice", "USDT", "50") == (
        "alice: 50.0 USDT from borrowed to Cross Margin; Cross Margin now 1050.1 (record 6)\n"
    )
    limit = alice.json("borrow", "alice", "BTC", "0.5")["command"]["limit"]
    assert 1 < float(limit) < 1_000_000 / 60_000, "by the equity, which is 0.5 BTC and some"
    assert "(EXCEED_MAX_BORROWABLE, -51006)" in alice.refused("borrow", "alice", "USDT", "999950.00000001")
    account = alice.venue(lambda venue: venue.account("alice"))
    assert not isinstance(account, Rejection)
    charge = MarginAdjustment("USDT", 10**8, MarginReason.INTEREST)
    alice.venue(lambda venue: venue.submit(account.id, charge))
    assert alice("payback", "alice", "USDT", "11") == (
        "alice: 1.0 USDT from Cross Margin to interest, 10.0 USDT from Cross Margin to borrowed; "
        "borrowed now 40.0 (record 9)\n"
    )
    assert "(REPAY_EXCEED_LIABILITY, -3015)" in alice.refused("payback", "alice", "USDT", "40.00000001")
    assert "(AMOUNT_MUST_BE_POSITIVE, -4055)" in alice.refused("payback", "alice", "USDT", "-1")


def test_history_between_two_times(alice: Terminal) -> None:
    records = alice.json("history", "alice")
    times = {record["number"]: record["timestamp"] for record in records}
    within = [number for number, at in times.items() if times[2] <= at <= times[4]]
    found = alice.json("history", "alice", "--since", str(times[2]), "--until", str(times[4]))
    assert [record["number"] for record in found] == within
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(times[5] // 1000 + 1))
    assert alice.json("history", "alice", "--since", f"{second}Z") == []
    assert len(alice.json("history", "alice", "--until", f"{second}+00:00")) == 5
    assert len(alice.json("history", "alice", "--until", second)) == 5
    assert alice.json("history", "alice", "--until", "2020-01-01") == []


def test_history_pages_until_it_has_enough(alice: Terminal) -> None:
    async def more(venue: Venue) -> None:
        account = await venue.account("alice")
        assert not isinstance(account, Rejection)
        await venue.submit_all([(account.id, Deposit("SOL", 1))] * 1_200)

    alice.venue(more)
    assert [record["number"] for record in alice.json("history", "alice", "--asset", "ETH")] == [3]
    assert len(alice.json("history", "alice", "--limit", "1100")) == 1_100


def test_export_as_csv(alice: Terminal) -> None:
    alice("account", "create", "bob")
    alice("deposit", "bob", "BTC", "0.00000001")
    alice("collect", "alice")
    alice("collect", "bob")
    rows = list(csv.DictReader(io.StringIO(alice("export"))))
    assert [int(row["sequence"]) for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 7, 8]
    assert rows[0] | {"account": "", "timestamp": "", "digest": ""} == {
        "sequence": "1",
        "account": "",
        "number": "1",
        "timestamp": "",
        "kind": "deposit",
        "cause": "",
        "asset": "USDT",
        "place": "outside",
        "amount": "-1000.10000000",
        "balance_after": "-1000.10000000",
        "version": "1",
        "digest": "",
    }
    assert rows[-1]["kind"] == "auto-collection"
    assert rows[-1]["amount"] == ""
    assert all(len(row["digest"]) == 64 for row in rows)
    assert alice("export", "--format", "csv") == alice("export")
    numbers = [int(row["number"]) for row in csv.DictReader(io.StringIO(alice("export", "bob")))]
    assert numbers == [1, 1, 2]


def test_export_as_jsonl(alice: Terminal) -> None:
    alice("collect", "alice")
    records = [json.loads(line) for line in alice("export", "--format", "jsonl").splitlines()]
    assert [record["number"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[::-1] == alice.json("history", "alice")
    assert alice("export", "alice", "--format", "jsonl") == alice("export", "--format", "jsonl")


def test_an_export_into_a_file_is_whole_or_not_there(alice: Terminal, tmp_path: Path) -> None:
    target = tmp_path / "export.csv"
    assert alice("export", "--output", str(target)) == f"5 records written to {target}\n"
    assert target.read_text() == alice("export")
    target.write_text("kept")
    alice.refused("export", "nobody", "--output", str(target))
    assert target.read_text() == "kept"
    assert alice.json("export", "--output", str(target)) == {"records": 5, "format": "csv", "output": str(target)}
    assert [path.name for path in tmp_path.glob("*export*")] == ["export.csv"]
    alice("export", "--output", str(tmp_path / "none" / "export.csv"), code=2)


def test_verify_names_every_invariant(alice: Terminal) -> None:
    assert list(invariants()) == list(range(1, 13))
    text = alice("verify")
    assert re.findall(r"^(\w+) +(\d+)  ", text, re.MULTILINE) == [("ok", str(number)) for number in range(1, 13)]
    assert "records   5\n" in text
    found = alice.json("verify")
    assert found["ok"]
    assert found["findings"] == []
    assert (found["records"], found["accounts"]) == (5, 1)
    assert found["totals"]["USDT"]["margin_free"] == "1000.1"
    assert found["totals"]["USDT"]["outside"] == "-1000.1"


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("update journal set body = replace(body, '100010000000', '100010000001') where sequence = 1", 2),
        ("update journal set timestamp = 1 where sequence = 3", 3),
        ("update recent set state = replace(state, '50000000', '50000001')", 9),
        ("delete from journal where sequence = 4", 12),
    ],
)
def test_verify_says_where_a_tampered_store_breaks(alice: Terminal, tmp_path: Path, change: str, broken: int) -> None:
    tamper(tmp_path / "venue.db", change)
    found = alice.json("verify", code=1)
    assert not found["ok"]
    assert broken in {finding["invariant"] for finding in found["findings"]}
    text = alice("verify", code=1)
    assert re.search(rf"^BROKEN +{broken}  ", text, re.MULTILINE)
    account = alice.json("account", "list")[0]["id"]
    assert re.search(rf"^invariant {broken}: account {account}, number \d", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "checksums_fit", "why"),
    [
        (
            "update journal set timestamp = timestamp + 1 where sequence = 3",
            False,
            "row of 3 does not fit its checksum",
        ),
        ("update journal set body = '{' where sequence = 3", True, "truncated"),
        ("update recent set state = replace(state, '5', '6')", False, "does not fit its checksum"),
    ],
)
def test_verify_of_what_cannot_be_read(
    alice: Terminal, tmp_path: Path, change: str, checksums_fit: bool, why: str
) -> None:
    if checksums_fit:
        tamper(tmp_path / "venue.db", change)
    else:
        with closing(sqlite3.connect(tmp_path / "venue.db")) as connection, connection:
            connection.execute(change)
    told = alice("verify", code=1)
    assert told.startswith("BROKEN  a record or a state cannot be read")
    assert why in told
    assert not alice.json("verify", code=1)["ok"]
    spoilt = ["export", "--format", "jsonl", "--output", str(tmp_path / "x")] if "journal" in change else ["balance"]
    assert "(DAMAGED_STORE, -90006)" in alice(*spoilt, *(["alice"] if spoilt == ["balance"] else []), code=5)


# The store as a whole -------------------------------------------------------------------------------------------------


def test_a_store_is_made_once(run: Terminal, tmp_path: Path) -> None:
    assert run("store", "init") == f"store   {run.store}\nschema  made\n"
    assert (tmp_path / "venue.db").exists()
    assert run.json("store", "init") == {"store": run.store, "made": False, "spread": None}
    assert "would not outlast" in run.refused("store", "init", "--store", "memory:", code=5)


def test_a_store_on_a_server_is_made_once(unmade: str) -> None:
    run = Terminal(unmade)
    assert [run.json("store", "init")["made"] for _ in range(2)] == [True, False]
    run("account", "create", "alice")


def test_only_a_cluster_can_have_a_store_spread(run: Terminal, tmp_path: Path) -> None:
    for address in (run.store, "memory:"):
        line = run.refused("store", "init", "--distributed", "--store", address, code=5)
        assert "only a store on PostgreSQL can be spread over machines (BAD_STORE_ADDRESS" in line
    assert not (tmp_path / "venue.db").exists()


@pytest.mark.usefixtures("one_machine")
def test_a_store_on_one_machine_is_not_spread_and_stays_of_use(postgres: str) -> None:
    run = Terminal(postgres)
    line = run.refused("store", "init", "--distributed", code=5)
    assert "its database has no extension citus (BAD_STORE_ADDRESS" in line
    run("account", "create", "alice")
    run("deposit", "alice", "USDT", "1")
    assert run.json("verify")["findings"] == []


def test_a_store_is_spread_over_a_cluster_once(cluster: str) -> None:
    run = Terminal(cluster)
    assert run("store", "init", "--distributed") == (
        f"store   {cluster}\nschema  made\ntables  spread over the cluster\n"
    )
    assert run.json("store", "init", "--distributed") == {"store": cluster, "made": False, "spread": False}
    shards = "SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'journal'::regclass"
    assert databases.value(cluster, shards) > 1
    run("account", "create", "alice")
    run("deposit", "alice", "USDT", "1")
    assert run.json("verify")["findings"] == []


def test_a_store_that_has_records_is_spread_with_them(cluster: str) -> None:
    run = Terminal(cluster)
    for name in ("alice", "bob", "carol"):
        run("account", "create", name)
        run("deposit", name, "USDT", "1")
    before = run("export", "--format", "jsonl")
    assert run.json("store", "init", "--distributed")["spread"]
    run("deposit", "bob", "USDT", "1")
    after = run("export", "--format", "jsonl").splitlines()
    assert after[:-1] == before.splitlines()
    assert run.json("verify")["findings"] == []


def test_a_store_is_copied_to_a_server_and_back(alice: Terminal, postgres: str, tmp_path: Path) -> None:
    back = f"sqlite:///{tmp_path / 'back.db'}"
    assert alice.json("store", "copy", alice.store, postgres)["findings"] == 0
    assert alice.json("store", "copy", postgres, back)["copied"] == 5
    assert Terminal(back)("export", "--format", "jsonl") == alice("export", "--format", "jsonl")


def test_a_store_is_copied_and_caught_up(alice: Terminal, tmp_path: Path) -> None:
    alice("key", "create", "alice")
    other = f"sqlite:///{tmp_path / 'copy.db'}"
    copied = alice.json("store", "copy", alice.store, other)
    assert copied.pop("seconds") >= 0
    assert copied == {
        "records": 5,
        "copied": 5,
        "accounts": 1,
        "digests": "equal",
        "compared": 1,
        "ahead": 0,
        "findings": 0,
    }
    alice("collect", "alice")
    text = alice("store", "copy", alice.store, other)
    assert "records     6, of which 1 were copied now\n" in text
    assert "verified    nothing wrong\n" in text
    assert "master key  not copied; the secrets need the one they were sealed under\n" in text
    (tmp_path / "copy.db.key").write_bytes((tmp_path / "venue.db.key").read_bytes())
    (tmp_path / "copy.db.key").chmod(0o600)
    there = Terminal(other)
    assert there.json("history", "alice") == alice.json("history", "alice")
    assert there.json("key", "list", "alice") == alice.json("key", "list", "alice")
    there("deposit", "alice", "USDT", "1")
    assert "(NOT_A_COPY, -90011)" in alice.refused("store", "copy", alice.store, other)


def test_what_cannot_be_copied(alice: Terminal, tmp_path: Path) -> None:
    other, none = f"sqlite:///{tmp_path / 'copy.db'}", f"sqlite:///{tmp_path / 'none.db'}"
    assert "there is no such store" in alice.refused("store", "copy", none, other, code=5)
    assert "there is no such store" in alice.refused("store", "copy", "memory:", other, code=5)
    assert not (tmp_path / "none.db").exists()
    assert not (tmp_path / "copy.db").exists()
    for target in (alice.store, "memory:"):
        assert "a copy needs another store" in alice.refused("store", "copy", alice.store, target, code=5)
    assert "FROM and TO name the stores" in alice("store", "copy", alice.store, other, "--store", other, code=2)
    with closing(sqlite3.connect(tmp_path / "venue.db")) as connection, connection:
        connection.execute("update journal set digest = zeroblob(32) where sequence = 3")
    assert "(DAMAGED_STORE, -90006)" in alice.refused("store", "copy", alice.store, other, code=5)


def test_a_copy_that_does_not_verify_is_1(alice: Terminal, tmp_path: Path) -> None:
    """Both have the same journal and the same states, and a record that the rules would not have made."""
    with closing(SqliteStore(tmp_path / "venue.db")) as store:
        (account,) = store.accounts(None, 1)
        with store.transaction() as transaction:
            state = transaction.load([account.id])[account.id]
            refused = seal(account.id, state.number + 1, state.timestamp, Body(Deposit("SOL", 7), ()), state.digest)
            apply(state, refused, Rules())
            transaction.append([refused], {account.id: state})
    other = f"sqlite:///{tmp_path / 'copy.db'}"
    assert alice.json("store", "copy", alice.store, other, code=1)["findings"] == 2
    text = alice("store", "copy", alice.store, other, code=1)
    assert "verified  2 findings\n" in text
    assert f"invariant 8: account {account.id.hex()}, number 6, sequence 6: " in text


# The contract ---------------------------------------------------------------------------------------------------------


def test_endpoints_are_the_contract(run: Terminal) -> None:
    rows = table(run("endpoints"))
    assert [(row["METHOD"], row["PATH"], row["SECURITY"], row["WEIGHT"]) for row in rows] == [
        (row.method, row.path, row.security, str(row.weight)) for row in ENDPOINTS
    ]
    by_path = {(row["method"], row["path"]): row for row in run.json("endpoints")}
    parameters = by_path["POST", "/papi/v1/asset-collection"]["parameters"]
    assert {"name": "asset", "mandatory": True} in parameters
    assert run("endpoints", "--markdown").rstrip("\n") == coverage.markdown().rstrip("\n")


# A terminal, and processes of their own -------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **more}


def process(*words: str, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "catchment", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )


@contextmanager
def server(*words: str, **more: str) -> Iterator[tuple["subprocess.Popen[str]", list[str], str]]:
    """A running `serve`: the process, the lines it said, its address. Killed if the test leaves it running."""
    running = process("serve", "--port", "0", *words, **more)
    try:
        lines: list[str] = []
        assert running.stdout is not None
        while not lines or not lines[-1].startswith("Ctrl-C"):
            line = running.stdout.readline()
            assert line, running.communicate()[1]
            lines.append(line.rstrip("\n"))
        yield running, lines, lines[0].rpartition(" ")[2]
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def ended(running: "subprocess.Popen[str]", number: int = signal.SIGINT) -> tuple[int, str]:
    """The exit code after a signal, and what was said on stderr."""
    running.send_signal(number)
    _, said = running.communicate(timeout=PATIENCE_S)
    return running.returncode, said


def call(url: str, method: str, path: str, key: dict[str, str]) -> Any:
    query = f"timestamp={time.time_ns() // 1_000_000}"
    signed = f"{url}{path}?{query}&signature={sign_hmac(key['secret'].encode(), query.encode())}"
    request = Request(signed, headers={"X-MBX-APIKEY": key["api_key"]}, method=method)
    with urlopen(request, timeout=PATIENCE_S) as response:
        return json.loads(response.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly(run: Terminal, number: int) -> None:
    with server("--store", run.store) as (running, lines, url):
        assert lines == [
            f"Catchment {__version__} listens on {url}",
            f"store     {run.store}",
            "Ctrl-C ends it.",
        ]
        with urlopen(f"{url}/papi/v1/ping", timeout=PATIENCE_S) as response:
            assert response.read() == b"{}"
        assert ended(running, number) == (0, "")


def test_serve_says_aloud_what_is_unusual(run: Terminal, tmp_path: Path) -> None:
    seed = tmp_path / "seed.toml"
    seed.write_text('[[account]]\nname = "alice"\nUM = { BTC = "1.5" }\n')
    words = ["--store", run.store, "--host", "0.0.0.0", "--weight-per-minute", "60000", "--scenario", str(seed)]
    with server(*words) as (running, lines, url):
        assert f"scenario  {seed}: 1 accounts made, 0 existed and were left as they are" in lines
        assert "weight    60000 a minute for each address, where the live venue has 6000" in lines
        assert url.startswith("http://127.0.0.1:")
        code, said = ended(running)
        assert code == 0
        assert said.startswith("warning: 0.0.0.0 is not a loopback address.")
    with server(*words) as (running, lines, _):
        assert f"scenario  {seed}: 0 accounts made, 1 existed and were left as they are" in lines
        assert ended(running)[0] == 0
    assert run.json("balance", "alice")[0]["um"] == "1.5"


def test_serve_refuses_a_bad_scenario_before_it_listens(run: Terminal, tmp_path: Path) -> None:
    (tmp_path / "seed.toml").write_text('[[account]]\nname = "alice"\nUM = { BTC = 1.5 }\n')
    line = run.refused("serve", "--scenario", str(tmp_path / "seed.toml"))
    assert line.startswith("refused: Scenario: account 'alice', UM, BTC: write the amount as text")
    assert run("account", "list") == "no accounts\n"


def test_serve_refuses_a_busy_port(run: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = run.refused("serve", "--port", str(taken.getsockname()[1]))
    assert line.endswith("(BAD_SETTING, -90008)")
    assert "port" in line


def test_verbs_and_a_server_share_a_store(alice: Terminal) -> None:
    """Deposits and collections from other processes, while the server collects the same account over HTTP."""
    many = {"CATCHMENT_WEIGHT_PER_MINUTE": "100000000", "CATCHMENT_QUOTA_API_PER_HOUR": "1000000"}
    with server("--store", alice.store, **many) as (running, _, url):
        key = alice.json("key", "create", "alice")
        others = []
        for _ in range(3):
            others.append(process("adjust", "alice", "UM", "USDT", "0.1", "--store", alice.store))
            others.append(process("collect", "alice", "--store", alice.store))
            others.append(process("deposit", "alice", "USDT", "1", "--store", alice.store))
        while any(other.poll() is None for other in others):
            assert call(url, "POST", "/papi/v1/auto-collection", key) == {"msg": "success"}
        assert [(other.communicate()[1], other.returncode) for other in others] == [("", 0)] * 9
        assert call(url, "POST", "/papi/v1/auto-collection", key) == {"msg": "success"}
        balances = {row["asset"]: row for row in call(url, "GET", "/papi/v1/balance", key)}
        assert balances["USDT"]["crossMarginFree"] == "1005.40000001"
        assert balances["USDT"]["umWalletBalance"] == "0.0"
        assert alice.json("verify")["ok"]
        alice("key", "revoke", key["api_key"])
        assert ended(running) == (0, "")
    assert alice.json("verify")["ok"]


def on_a_terminal(*words: str, columns: int = 100) -> str:
    """What a verb shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    running = subprocess.Popen(
        [sys.executable, "-m", "catchment", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color"),
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert running.wait(PATIENCE_S) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.mark.parametrize("verb", ["balance", "history", "account show", "key list", "collect --dry-run"])
def test_a_terminal_of_100_columns_holds_every_line(alice: Terminal, verb: str) -> None:
    alice("key", "create", "alice")
    words = [*verb.split(), "alice"]
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", on_a_terminal(*words, "--store", alice.store))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    plain = alice(*words)
    for amount in re.findall(r"-?\d+\.\d{8}", plain):
        if amount.strip("0."):
            assert amount in text


def test_a_terminal_has_colours_and_bars_and_a_pipe_has_not(alice: Terminal) -> None:
    shown = on_a_terminal("balance", "alice", "--store", alice.store)
    assert "\x1b[31m-0.25000000" in shown
    assert "─" in shown
    assert "Locked" not in shown
    plain = alice("balance", "alice")
    assert "\x1b" not in plain
    assert "─" not in plain
    assert "LOCKED" in plain
    assert "verifying" in on_a_terminal("verify", "--store", alice.store)
    assert "collecting" in on_a_terminal("collect", "--all", "--store", alice.store)
    assert "copying" in on_a_terminal("store", "copy", alice.store, alice.store.replace("venue.db", "copy.db"))


def test_a_reader_that_leaves_ends_it_quietly(alice: Terminal) -> None:
    async def more(venue: Venue) -> None:
        account = await venue.account("alice")
        assert not isinstance(account, Rejection)
        await venue.submit_all([(account.id, Deposit("SOL", 1))] * 2_000)

    alice.venue(more)
    running = process("export", "--store", alice.store)
    assert running.stdout is not None
    assert running.stderr is not None
    assert running.stdout.readline().startswith("sequence,")
    running.stdout.close()
    assert running.stderr.read() == ""
    running.stderr.close()
    assert running.wait(PATIENCE_S) == 141
