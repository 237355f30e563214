"""The door: who gets in, who does not, and what a browser is told on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from catchment.dashboard import people
from tests.dashboard.browser import HOST, PASSWORD, Browser, Venues, open_venues


@pytest.fixture
def venues() -> Iterator[Venues]:
    with open_venues("alice", "bob", "op") as opened:
        yield opened


def test_nobody_sees_anything_without_a_session(venues: Venues) -> None:
    browser = venues.browser()
    for path in (
        "/",
        "/dashboard/",
        "/dashboard/accounts",
        venues.path("alice", "wallets"),
        venues.path("alice", "live"),
    ):
        assert browser.get(path).goes in {"/dashboard/", "/dashboard/sign-in"}
    assert browser.post(venues.path("alice", "collect"), {"number": "1"}).goes == "/dashboard/sign-in"
    assert "alice" not in browser.get("/dashboard/sign-in").text


def test_a_password_opens_the_own_account(venues: Venues) -> None:
    browser = venues.browser()
    answer = browser.sign_in("alice")
    assert answer.goes == venues.path("alice", "wallets")
    page = browser.follow("/dashboard/")
    assert page.status == 200
    assert 'id="account" title="' + venues.account("alice").hex() in page.text
    (cookie,) = answer.cookies
    assert cookie.startswith("catchment-8750=")
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert "path=/dashboard" in cookie.lower()
    assert "secure" not in cookie.lower()


def test_behind_tls_the_cookie_is_secure(venues: Venues) -> None:
    browser = venues.browser()
    browser.headers = {"x-forwarded-proto": "https"}
    answer = browser.post("/dashboard/sign-in", {"name": "alice", "password": PASSWORD}, origin=f"https://{HOST}")
    (cookie,) = answer.cookies
    assert cookie.startswith("__Secure-catchment-8750=")
    assert "secure" in cookie.lower().split("; ")


@pytest.mark.parametrize("name", ["alice", "nobody", "", "\ud800", "a" * 5_000])
def test_a_wrong_password_and_a_wrong_name_look_the_same(venues: Venues, name: str) -> None:
    browser = venues.browser()
    answer = browser.post("/dashboard/sign-in", {"name": name.encode("utf-8", "replace").decode(), "password": "x" * 9})
    assert answer.status == 401
    assert not answer.cookies
    assert "The name or the password is wrong." in answer.text


def test_somebody_unknown_costs_as_much_work_as_a_wrong_password(
    venues: Venues, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = people._HASHER.verify

    class Counting:
        hash = people._HASHER.hash

        def verify(self, hashed: str, password: str) -> bool:
            verified.append(hashed)
            return verify(hashed, password)

    monkeypatch.setattr(people, "_HASHER", Counting())
    venues.browser().sign_in("alice", "wrong horse")
    venues.browser().sign_in("nobody", "wrong horse")
    assert len(verified) == 2
    assert len({hashed.rpartition("$")[0].rpartition("$")[0] for hashed in verified}) == 1, "the same parameters"


def test_wrong_passwords_lock_a_name_for_a_while(venues: Venues) -> None:
    browser = venues.browser()
    for _ in range(people.ATTEMPTS_OF_A_NAME):
        assert browser.sign_in("alice", "wrong horse").status == 401
    answer = browser.sign_in("alice")
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) == people.ATTEMPT_MS // 1_000
    assert "wait 15 minutes" in answer.text
    assert Browser(venues, address="192.0.2.8").sign_in("alice").status == 429, "whoever asks"
    assert venues.browser().sign_in("bob").status == 303, "another name"
    venues.clock.advance(people.ATTEMPT_MS)
    assert browser.sign_in("alice").status == 303


def test_names_that_do_not_exist_are_locked_alike(venues: Venues) -> None:
    browser = venues.browser()
    statuses = [browser.sign_in("nobody", "wrong horse").status for _ in range(people.ATTEMPTS_OF_A_NAME + 1)]
    assert statuses == [401] * people.ATTEMPTS_OF_A_NAME + [429]


def test_an_address_is_locked_after_many_names(venues: Venues) -> None:
    browser = venues.browser()
    for number in range(people.ATTEMPTS_OF_AN_ADDRESS):
        assert browser.sign_in(f"name {number}", "wrong horse").status == 401
    assert browser.sign_in("alice").status == 429
    assert Browser(venues, address="192.0.2.8").sign_in("alice").status == 303


def test_who_gets_in_has_no_attempts_left_against_the_name(venues: Venues) -> None:
    browser = venues.browser()
    for _ in range(3):
        for _ in range(people.ATTEMPTS_OF_A_NAME - 1):
            assert browser.sign_in("alice", "wrong horse").status == 401
        assert venues.browser().sign_in("alice").status == 303


def test_attempts_at_the_same_time_are_all_counted(venues: Venues) -> None:
    async def attempts() -> list[int]:
        browsers = [Browser(venues) for _ in range(12)]
        body = b"name=alice&password=wrong+horse"
        headers = {"origin": f"http://{HOST}"}
        asked = (browser.ask("POST", "/dashboard/sign-in", body, headers) for browser in browsers)
        return [answer.status for answer in await asyncio.gather(*asked)]

    assert sorted(venues.run(attempts())) == [401] * people.ATTEMPTS_OF_A_NAME + [429] * (
        12 - people.ATTEMPTS_OF_A_NAME
    )


def test_a_link_signs_in_once(venues: Venues) -> None:
    path = f"/dashboard/link/{venues.run(venues.people.make_link(venues.account('bob').hex()))}"
    first, second = venues.browser(), venues.browser()
    assert first.get(path).goes == venues.path("bob", "wallets")
    assert ">bob</span>" in first.follow("/").text
    refused = second.get(path)
    assert refused.status == 410
    assert "This link was used before" in refused.text
    assert not second.cookies


def test_a_link_grows_too_old(venues: Venues) -> None:
    path = f"/dashboard/link/{venues.run(venues.people.make_link(venues.account('bob').hex()))}"
    venues.clock.advance(people.LINK_MS)
    assert venues.browser().get(path).status == 410


def test_no_token_and_no_password_is_kept_in_clear(venues: Venues) -> None:
    browser = venues.browser("alice")
    link = venues.run(venues.people.make_link(""))
    kinds = (people.PERSON, people.SESSION, people.SEEN, people.LINK, people.ATTEMPT)
    kept = "".join(repr(note) for kind in kinds for note in venues.run(venues.venue.all_kept(kind)))
    assert kept
    for secret in (*browser.cookies.values(), link, PASSWORD):
        assert secret not in kept


def test_signing_out_ends_the_session_also_for_who_kept_the_cookie(venues: Venues) -> None:
    browser = venues.browser("alice")
    kept = dict(browser.cookies)
    token = browser.follow("/").field("token")
    assert browser.post("/dashboard/sign-out", {"token": token}).goes == "/dashboard/sign-in"
    assert not any(browser.cookies.values())
    browser.cookies = kept
    assert browser.get(venues.path("alice", "wallets")).goes == "/dashboard/sign-in"


def test_an_idle_session_ends_and_a_used_one_does_not(venues: Venues) -> None:
    used, idle = venues.browser("alice"), venues.browser("alice")
    path = venues.path("alice", "wallets")
    for _ in range(4):
        venues.clock.advance(people.IDLE_MS // 3)
        assert used.get(path).status == 200
    assert idle.get(path).status == 303


def test_every_session_ends_in_the_end(venues: Venues) -> None:
    browser = venues.browser("alice")
    path = venues.path("alice", "wallets")
    statuses = []
    for _ in range(people.SESSION_MS // (people.IDLE_MS // 2) + 1):
        statuses.append(browser.get(path).status)
        venues.clock.advance(people.IDLE_MS // 2)
    assert statuses[:-1] == [200] * (len(statuses) - 1)
    assert statuses[-1] == 303


def test_sessions_end_with_the_password_they_began_with(venues: Venues) -> None:
    browser, other = venues.browser(), venues.browser()
    browser.sign_in("alice")
    other.sign_in("bob")
    venues.run(venues.people.put("alice", "another horse", venues.account("alice").hex()))
    assert browser.get("/dashboard/").goes == "/dashboard/sign-in"
    venues.run(venues.people.remove("bob"))
    assert other.get("/dashboard/").goes == "/dashboard/sign-in"
    assert browser.sign_in("alice", "another horse").status == 303


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_a_password_has_a_length(venues: Venues, password: str) -> None:
    refused = venues.run(venues.people.put("alice", password, ""))
    assert refused is not None
    assert refused.name == "BAD_PASSWORD"
    assert venues.browser().sign_in("alice").status == 303


def test_nobody_sees_another_account_and_cannot_tell_whether_it_exists(venues: Venues) -> None:
    browser = venues.browser("alice")
    there = browser.get(venues.path("bob", "wallets"))
    nowhere = browser.get(f"/dashboard/accounts/{'0' * 32}/wallets")
    assert there.status == nowhere.status == 404
    assert there.text.replace(venues.account("bob").hex(), "") == nowhere.text.replace("0" * 32, "")
    assert browser.get("/dashboard/accounts").status == 404
    token = browser.follow("/").field("token")
    before = venues.records("bob")
    assert browser.post(venues.path("bob", "collect"), {"token": token, "number": str(before)}).status == 404
    assert venues.records("bob") == before


def test_the_operator_sees_all(venues: Venues) -> None:
    browser = venues.browser()
    browser.sign_in("op")
    page = browser.follow("/")
    assert ">alice</a>" in page.text
    assert ">bob</a>" in page.text
    assert browser.get(venues.path("bob", "wallets")).status == 200
    assert browser.get("/dashboard/accounts?name=bob").goes == venues.path("bob", "wallets")
    assert "Invalid account." in browser.get("/dashboard/accounts?name=nobody").text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null", "sec-fetch-site": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "", "sec-fetch-site": ""},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": ""},
    ],
)
def test_a_form_from_elsewhere_is_refused(venues: Venues, headers: dict[str, str]) -> None:
    browser = venues.browser("alice")
    fields = {"token": browser.follow("/").field("token"), "number": str(venues.records("alice"))}
    before = venues.records("alice")
    answer = browser.post(venues.path("alice", "collect"), fields, **headers)
    assert answer.status == 403
    assert 'data-name="FOREIGN_FORM"' in answer.text
    assert venues.records("alice") == before
    assert venues.browser().post("/dashboard/sign-in", {"name": "alice", "password": PASSWORD}, **headers).status == 403


def test_a_form_without_the_token_of_this_session_is_refused(venues: Venues) -> None:
    browser, other = venues.browser("alice"), venues.browser("alice")
    number = str(venues.records("alice"))
    stolen = other.follow("/").field("token")
    for fields in ({}, {"token": ""}, {"token": stolen}):
        answer = browser.post(venues.path("alice", "collect"), {"number": number, **fields})
        assert answer.status == 403
    assert browser.post("/dashboard/sign-out", {}).status == 403
    assert str(venues.records("alice")) == number


def test_a_form_has_a_size(venues: Venues) -> None:
    browser = venues.browser()
    assert browser.post("/dashboard/sign-in", {"name": "x" * 70_000}).status == 413
    assert browser.post("/dashboard/sign-in", {f"f{number}": "" for number in range(200)}).status == 400


def test_language_and_look_are_kept(venues: Venues) -> None:
    browser = venues.browser()
    browser.headers = {"accept-language": "fr, zh-CN;q=0.8, en;q=0.9"}
    assert '<html lang="en"' in browser.get("/dashboard/sign-in").text
    browser.headers = {"accept-language": "zh-TW,en;q=0.9"}
    assert '<html lang="zh-Hans"' in browser.get("/dashboard/sign-in").text
    browser.post("/dashboard/prefer", {"language": "en", "look": "dark", "there": "/dashboard/sign-in"})
    assert '<html lang="en" data-look="dark"' in browser.get("/dashboard/sign-in").text


@pytest.mark.parametrize("there", ["//evil.example/", "https://evil.example/", "/papi", "/dashboard/\r\nx: y", ""])
def test_a_preference_leads_back_to_a_page_of_ours(venues: Venues, there: str) -> None:
    assert venues.browser().post("/dashboard/prefer", {"look": "dark", "there": there}).goes == "/dashboard/"
