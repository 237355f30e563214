"""POST, PUT and DELETE /papi/v1/listenKey: one key an account, 60 minutes, a key is enough."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from catchment import listen_keys
from tests.papi.desk import Answer, Desk, open_desk, plain

ALICE = plain("alice")
PEOPLE = """
[[account]]
name = "alice"
[[account.key]]
api_key = "alice"
secret = "alice-secret"
[[account.key]]
api_key = "reader"
secret = "reader-secret"
permissions = ["READ"]
[[account.key]]
api_key = "foreign"
secret = "foreign-secret"
ip_allow = ["10.0.0.9"]
[[account.key]]
api_key = "trader"
secret = "trader-secret"
permissions = ["TRADE"]

[[account]]
name = "bob"
[[account.key]]
api_key = "bob"
secret = "bob-secret"

[[account]]
name = "outside"
portfolio_margin = false
[[account.key]]
api_key = "outside"
secret = "outside-secret"
"""
PATH = "/papi/v1/listenKey"
SENTENCE = "This listenKey does not exist. Please use `POST /papi/v1/listenKey` to recreate `listenKey`"
MINUTE = 60_000


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(PEOPLE) as opened:
        yield opened


def ask(desk: Desk, method: str, api_key: str = "alice", query: bytes = b"", body: bytes = b"") -> Answer:
    """Unsigned, as every client sends it."""
    return desk.send(method, PATH, query, body, api_key)


def key_of(desk: Desk, api_key: str = "alice") -> str:
    answer = ask(desk, "POST", api_key)
    assert answer.status == 200
    assert set(answer.json) == {"listenKey"}
    key: str = answer.json["listenKey"]
    return key


def living(desk: Desk, key: str) -> int | None:
    """When a key ends, by whatever a subscriber would be told."""
    found = desk.run(listen_keys.find(desk.venue, key))
    return None if found is None else found.expires


def test_a_key_has_letters_and_digits_only_and_each_account_has_one(desk: Desk) -> None:
    key = key_of(desk)
    assert re.fullmatch("[0-9A-Za-z]{64}", key)
    assert key_of(desk) == key
    assert key_of(desk, "reader") == key, "it is the account's, not the API key's"
    assert key_of(desk, "bob") != key
    found = desk.run(listen_keys.find(desk.venue, key))
    assert found is not None
    assert found.account == desk.account("alice")


def test_it_lives_an_hour_from_when_it_was_last_asked_for_or_prolonged(desk: Desk) -> None:
    key = key_of(desk)
    assert living(desk, key) == desk.clock.now() + 60 * MINUTE
    desk.clock.advance(59 * MINUTE)
    assert key_of(desk) == key
    desk.clock.advance(59 * MINUTE)
    assert ask(desk, "PUT").json == {}
    assert living(desk, key) == desk.clock.now() + 60 * MINUTE
    desk.clock.advance(60 * MINUTE - 1)
    assert living(desk, key) is not None
    desk.clock.advance(1)
    assert living(desk, key) is None
    refused = ask(desk, "PUT")
    assert (refused.outcome, refused.json["msg"]) == ((400, -1125), SENTENCE)
    assert key_of(desk) != key


def test_a_key_that_would_hardly_live_longer_is_not_written_anew(desk: Desk) -> None:
    key = key_of(desk)
    version = desk.venue.notes_version
    desk.clock.advance(listen_keys.WORTH_KEEPING_MS - 1)
    assert key_of(desk) == key
    assert ask(desk, "PUT").status == 200
    assert desk.venue.notes_version == version
    desk.clock.advance(1)
    assert ask(desk, "PUT").status == 200
    assert desk.venue.notes_version != version


def test_delete_ends_it_once(desk: Desk) -> None:
    key = key_of(desk)
    assert ask(desk, "DELETE").json == {}
    assert living(desk, key) is None
    assert desk.run(listen_keys.ended(desk.venue)) == {key}
    assert ask(desk, "DELETE").outcome == (400, -1125)
    assert ask(desk, "PUT").outcome == (400, -1125)
    assert key_of(desk) != key
    desk.clock.advance(listen_keys.NOTICED_WITHIN_MS)
    assert desk.run(listen_keys.ended(desk.venue)) == set()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(("query", "body"), [(b"listenKey=x&a=1", b""), (b"", b"listenKey=another")])
def test_parameters_are_not_looked_at(desk: Desk, method: str, query: bytes, body: bytes) -> None:
    key_of(desk)
    assert ask(desk, method, query=query, body=body).json == {}


def test_a_signed_call_will_do_and_so_will_a_wrong_signature(desk: Desk) -> None:
    assert desk.call("POST", PATH, ALICE).status == 200
    assert ask(desk, "PUT", query=b"timestamp=1&signature=00").status == 200


@pytest.mark.parametrize(
    ("api_key", "outcome"),
    [("", (401, -2014)), ("nobody", (401, -2015)), ("foreign", (401, -2015)), ("trader", (401, -2015)),
     ("outside", (401, -2015))],
)  # fmt: skip
def test_keys_that_are_refused(desk: Desk, api_key: str, outcome: tuple[int, int]) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert ask(desk, method, api_key).outcome == outcome


def test_it_is_money_to_nobody(desk: Desk) -> None:
    before = desk.books()
    key_of(desk)
    ask(desk, "PUT")
    ask(desk, "DELETE")
    assert desk.books() == before


@pytest.mark.parametrize("key", ["", "x", "/", "0" * 64, "\x00" * 64, "é" * 64, "0" * 65, "A" * 63])
def test_a_text_that_is_no_key_is_nobodys(desk: Desk, key: str) -> None:
    key_of(desk)
    assert living(desk, key) is None


def test_a_key_with_another_ending_is_nobodys(desk: Desk) -> None:
    key = key_of(desk)
    assert living(desk, key[:-1] + ("0" if key[-1] != "0" else "1")) is None
