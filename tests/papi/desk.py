"""A venue in memory with its REST face, called over ASGI without a socket; its clock stands still until it is moved.

Every answer that passes here is checked for what must hold of all of them: one JSON body, its length and the used
weight in the headers. Accounts come from scenario texts, so a test reads as: who holds what, what is sent, what comes.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from catchment import scenario
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.journal import Stored
from catchment.papi.rest import Message, Rest
from catchment.venue import Venue

NOW: Final = 1_790_000_000_000
"""The frozen start: 20 seconds into a minute."""
HERE: Final = "127.0.0.1"

WEIGHTS: Final = {"x-mbx-used-weight-1m", "x-sapi-used-ip-weight-1m", "x-sapi-used-uid-weight-1m"}

Result = TypeVar("Result")
Sign = Callable[[bytes], bytes]
"""Makes the signature of a payload, as text that still has to be percent-encoded."""
Parameters = Mapping[str, object] | Sequence[tuple[str, object]] | str | bytes


class Key(msgspec.Struct, frozen=True):
    """What a client holds: its API key and the means to sign."""

    api_key: str
    sign: Sign


def hmac_key(api_key: str, secret: str) -> Key:
    return Key(api_key, lambda payload: hmac.new(secret.encode(), payload, "sha256").hexdigest().encode())


def rsa_key(api_key: str, private: RSAPrivateKey) -> Key:
    return Key(api_key, lambda payload: base64.b64encode(private.sign(payload, PKCS1v15(), SHA256())))


def ed25519_key(api_key: str, private: Ed25519PrivateKey) -> Key:
    return Key(api_key, lambda payload: base64.b64encode(private.sign(payload)))


def new_rsa() -> RSAPrivateKey:
    return generate_private_key(65_537, 2_048)


def public_pem(private: RSAPrivateKey | Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def plain(api_key: str) -> Key:
    """The HMAC key of a scenario in which each secret is the API key with `-secret` after it."""
    return hmac_key(api_key, f"{api_key}-secret")


def encoded(parameters: Parameters) -> bytes:
    """As most clients encode; bytes and text are taken as they are."""
    if isinstance(parameters, bytes):
        return parameters
    return (parameters if isinstance(parameters, str) else urlencode(parameters)).encode()


class Answer(msgspec.Struct, frozen=True):
    """A response, with the names of its headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> int | None:
        """The code of a refusal; None of a success."""
        if self.status == 200:
            return None
        found = self.json
        assert set(found) == {"code", "msg"}
        assert type(found["code"]) is int
        assert type(found["msg"]) is str
        assert found["msg"]
        code: int = found["code"]
        return code

    @property
    def outcome(self) -> tuple[int, int | None]:
        return self.status, self.code

    @property
    def used(self) -> int:
        """Of whatever the call counts against; one header tells it."""
        (text,) = (value for name, value in self.headers.items() if name in WEIGHTS)
        return int(text)

    @property
    def retry_after(self) -> int | None:
        text = self.headers.get("retry-after")
        return None if text is None else int(text)


class Desk:
    """The venue, its clock, and two ways to call it: `send` takes bytes as they are, `call` signs."""

    def __init__(self, runner: asyncio.Runner, venue: Venue, clock: FrozenClock) -> None:
        self._runner = runner
        self.venue = venue
        self.clock = clock
        self.rest = Rest(venue)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def populate(self, text: str) -> None:
        self.run(scenario.apply(self.venue, scenario.parse(text)))

    def account(self, name: str) -> AccountId:
        found = self.run(self.venue.account(name))
        assert not isinstance(found, Rejection)
        return found.id

    def submit(self, name: str, command: Command) -> Stored | Rejection:
        """What the venue makes of a command that no request names."""
        account = self.account(name)

        async def submit() -> Stored | Rejection:
            return await self.venue.submit(account, command)

        return self.run(submit())

    def books(self) -> list[tuple[Any, ...]]:
        """Everything a request could have moved: each account's state (balances, quotas, chain) and the journal."""
        return self.run(self._books())

    async def _books(self) -> list[tuple[Any, ...]]:
        books: list[tuple[Any, ...]] = [("journal", len(await self.venue.tail(0, 10**6)))]
        async for page in self.venue.accounts():
            for account in page:
                state = await self.venue.state(account.id)
                books.append((account.name, msgspec.to_builtins(state)))
        return books

    def send(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        body: bytes | Sequence[Message] = b"",
        api_key: str | bytes | None = None,
        address: str | None = HERE,
    ) -> Answer:
        """One request, as bytes. `body` may be the very messages the server would hand on."""
        sent = self.run(self.messages(method, path, query, body, api_key, address))
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        start, rest = sent
        headers = {name.decode("ascii"): value.decode("ascii") for name, value in start["headers"]}
        assert len(headers) == len(start["headers"])
        answer = Answer(start["status"], headers, rest["body"])
        assert headers["content-type"].startswith("application/json")
        assert int(headers["content-length"]) == len(answer.body)
        assert answer.used >= 0
        assert answer.json is not None
        return answer

    async def messages(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        body: bytes | Sequence[Message] = b"",
        api_key: str | bytes | None = None,
        address: str | None = HERE,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> list[Message]:
        """What the REST face sends back, unchecked."""
        waiting = [{"type": "http.request", "body": body}] if isinstance(body, bytes) else list(body)
        sent: list[Message] = []

        async def receive() -> Message:
            assert waiting, "read on after the last message"
            return waiting.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        key = api_key.encode() if isinstance(api_key, str) else api_key
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(b"host", b"localhost"), *more, *([] if key is None else [(b"x-mbx-apikey", key)])],
            "client": None if address is None else (address, 40_000),
        }
        await self.rest(scope, receive, send)
        return sent

    def signed(self, key: Key, parameters: Parameters = (), at: int | None = None) -> bytes:
        """Parameters with timestamp and signature after them; `at` is the timestamp if not the venue's."""
        text = encoded(parameters)
        text += b"%stimestamp=%d" % (b"&" if text else b"", self.clock.now() if at is None else at)
        return text + b"&signature=" + quote_plus(key.sign(text)).encode()

    def call(self, method: str, path: str, key: Key, parameters: Parameters = (), address: str | None = HERE) -> Answer:
        """A signed call, everything in the query."""
        return self.send(method, path, self.signed(key, parameters), b"", key.api_key, address)

    def get(self, path: str, key: Key, parameters: Parameters = (), address: str | None = HERE) -> Answer:
        return self.call("GET", f"/papi/v1/{path}", key, parameters, address)

    def sapi(self, method: str, path: str, key: Key, parameters: Parameters = (), address: str = HERE) -> Answer:
        return self.call(method, f"/sapi/v1/{path}", key, parameters, address)

    def post(self, path: str, key: Key, parameters: Parameters = (), address: str | None = HERE) -> Answer:
        return self.call("POST", f"/papi/v1/{path}", key, parameters, address)


@contextmanager
def open_desk(text: str = "", **settings: Any) -> Iterator[Desk]:
    """A desk over a fresh venue in memory, or over another store, with the accounts of a scenario."""
    with asyncio.Runner() as runner:
        clock = FrozenClock(NOW)
        venue = runner.run(Venue.open(Settings(**{"store": "memory:"} | settings), clock))
        try:
            desk = Desk(runner, venue, clock)
            if text:
                desk.populate(text)
            yield desk
        finally:
            runner.run(venue.close())
