"""Recorded HTTP sessions: each file in sessions/ is replayed, and every byte the venue answers must stand there again.

The files are meant to be read: they show what a client sends and gets, step by step. A line is one of
    @ settings NAME=VALUE …     what this venue is told beside its defaults; first of all
    @ scenario                  followed by TOML, four blanks in front: accounts are made
    @ clock +SECONDS            the venue's clock moves; until then it stands at 1790000000000
    @ repeat N                  the last request is sent N times more; each gets the answer that follows
    > …                         a request: its line, headers, an empty line, a body
    < …                         the response, likewise
and anything else is prose. To record what the venue answers now: CATCHMENT_RECORD=1 pytest tests/papi/test_sessions.py
In a request that is not recorded yet, `signature=SIGN` is replaced by the right one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest

from catchment.config import Settings
from tests.papi.desk import Answer, Desk, Key, hmac_key, open_desk

FOLDER = Path(__file__).parent / "sessions"
SESSIONS = sorted(FOLDER.glob("*.txt"))
EXPECTED = {
    "first_collection",
    "one_asset_and_amount",
    "refused_calls",
    "the_quota_of_an_hour",
    "weight_and_ban",
    "income_history",
    "bnb_and_repaying",
    "loans",
    "positions_and_margin",
    "the_pro_twins",
}
RECORD = bool(os.environ.get("CATCHMENT_RECORD"))


class Request(msgspec.Struct):
    """A request as a session writes it."""

    method: str
    path: str
    query: str
    api_key: str | None
    body: str

    def lines(self) -> list[str]:
        target = f"{self.path}?{self.query}" if self.query else self.path
        lines = [f"{self.method} {target} HTTP/1.1"]
        if self.api_key is not None:
            lines.append(f"X-MBX-APIKEY: {self.api_key}")
        if self.body:
            lines += ["Content-Type: application/x-www-form-urlencoded", "", self.body]
        return lines


def parsed(lines: list[str]) -> Request:
    head, _, body = "\n".join(lines).partition("\n\n")
    first, *headers = head.split("\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    path, _, query = target.partition("?")
    named = {name.lower(): value for name, _, value in (line.partition(": ") for line in headers)}
    assert set(named) <= {"x-mbx-apikey", "content-type"}
    return Request(method, path, query, named.get("x-mbx-apikey"), body)


def answer_lines(answer: Answer) -> list[str]:
    status = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"
    headers = [f"{name}: {value}" for name, value in answer.headers.items()]
    return [status, *headers, "", answer.body.decode()]


class Replay:
    """Plays a session's lines against a venue of its own and gives the lines that should stand there."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._desk: Desk | None = None
        self._keys: dict[str, Key] = {}
        self._request: Request | None = None
        self._settings: dict[str, Any] = {}
        self.answers: list[Answer] = []

    @property
    def desk(self) -> Desk:
        if self._desk is None:
            self._desk = self._stack.enter_context(open_desk("", **self._settings))
        return self._desk

    def lines(self, text: str) -> Iterator[str]:
        """Blocks of `>` and `@ scenario` lines are played when they end; `<` lines are made anew."""
        lines = text.splitlines()
        while lines:
            line = lines.pop(0)
            if line.startswith(">"):
                block = [line, *taken(lines, ">")]
                yield from self._send([part[2:] for part in block])
                taken(lines, "<")
            elif line == "@ scenario":
                block = taken(lines, "    ")
                self._populate("\n".join(part[4:] for part in block))
                yield from [line, *block]
            elif line.startswith("@ "):
                yield line
                yield from self._directive(*line[2:].split(" "))
                if line.startswith("@ repeat"):
                    taken(lines, "<")
            else:
                assert not line.startswith(("<", "@")), f"an answer to nothing: {line}"
                yield line

    def _directive(self, name: str, *values: str) -> list[str]:
        if name == "settings":
            assert self._desk is None, "settings come first"
            pairs = dict(value.split("=") for value in values)
            self._settings = msgspec.to_builtins(msgspec.convert(pairs, Settings, strict=False))
            self._settings = {setting: self._settings[setting] for setting in pairs}
            return []
        if name == "clock":
            self.desk.clock.advance(int(values[0]) * 1_000)
            return []
        assert name == "repeat", name
        assert self._request is not None
        answers = [self._play(self._request) for _ in range(int(values[0]))]
        assert {answer.outcome for answer in answers} == {answers[-1].outcome}, "not all the same"
        return told(answers[-1])

    def _populate(self, text: str) -> None:
        for account in tomllib.loads(text)["account"]:
            for key in account.get("key", ()):
                self._keys[key["api_key"]] = hmac_key(key["api_key"], key["secret"])
        self.desk.populate(text)

    def _send(self, lines: list[str]) -> list[str]:
        self._request = request = parsed(lines)
        key = self._keys.get(request.api_key or "")
        if key is not None and RECORD:
            payload = re.sub("&?signature=SIGN", "", request.query) + re.sub("&?signature=SIGN", "", request.body)
            signature = "signature=" + key.sign(payload.encode()).decode()
            request.query = request.query.replace("signature=SIGN", signature)
            request.body = request.body.replace("signature=SIGN", signature)
        return [f"> {line}".rstrip() for line in request.lines()] + told(self._play(request))

    def _play(self, request: Request) -> Answer:
        query, body = request.query.encode(), request.body.encode()
        answer = self.desk.send(request.method, request.path, query, body, request.api_key)
        self.answers.append(answer)
        return answer


def told(answer: Answer) -> list[str]:
    return [f"< {line}".rstrip() for line in answer_lines(answer)]


def taken(lines: list[str], start: str) -> list[str]:
    """The lines at the head that begin so, removed."""
    block: list[str] = []
    while lines and (lines[0].startswith(start) or (start.isspace() and block and not lines[0])):
        block.append(lines.pop(0))
    while block and not block[-1]:
        lines.insert(0, block.pop())
    return block


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_a_session_is_answered_as_recorded(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    with ExitStack() as stack:
        replay = Replay(stack)
        replayed = "\n".join(replay.lines(text)) + "\n"
    if RECORD:
        path.write_text(replayed, encoding="utf-8")
    assert replay.answers
    assert "signature=SIGN" not in replayed
    assert replayed == text or RECORD


def test_the_sessions_are_all_there() -> None:
    assert {path.stem for path in SESSIONS} == EXPECTED


def test_a_session_that_is_answered_otherwise_is_seen() -> None:
    text = (FOLDER / "first_collection.txt").read_text(encoding="utf-8")
    for good, bad in (('"success"', '"sucess"'), ("200 OK", "201 Created"), ("weight-1m: 21", "weight-1m: 20")):
        assert good in text
        with ExitStack() as stack:
            assert "\n".join(Replay(stack).lines(text.replace(good, bad))) + "\n" == text
