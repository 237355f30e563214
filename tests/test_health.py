"""Life and readiness: what fails, what is said, and that it comes back by itself."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from catchment import health
from catchment.batcher import ProcessBatcher
from catchment.config import Settings
from catchment.dashboard.door import Dashboard
from catchment.health import Faces, Health
from catchment.papi.rest import Rest
from catchment.store.base import StoreFailed
from catchment.venue import Venue
from tests.test_app import fetched, served, stop

PATIENCE_S = 30


class Faced:
    """The faces of a venue, called without a socket."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.rest = Rest(venue)
        self.faces = Faces(self.rest, Health(venue), Dashboard(venue, self.rest.weights))

    async def get(self, path: str, method: str = "GET") -> tuple[int, Any, dict[bytes, bytes]]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"method": method, "path": path, "query_string": b"", "headers": [], "client": ("192.0.2.1", 1)}
        await self.faces(scope, None, send)
        head, body = sent
        return head["status"], json.loads(body["body"]), dict(head["headers"])

    async def becomes_ready(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.get("/readyz"))[0] != 200:
                await asyncio.sleep(0.01)


def faced(
    work: Callable[[Faced], Awaitable[None]], store: str = "memory:", *, apart: bool = False, **settings: Any
) -> None:
    async def opened() -> None:
        venue = await Venue.open(Settings(store=store, **settings), apart=apart)
        try:
            await work(Faced(venue))
        finally:
            await venue.close()

    asyncio.run(opened())


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'venue.db'}"


def test_a_venue_that_works_lives_and_is_ready() -> None:
    async def work(it: Faced) -> None:
        assert (await it.get("/healthz"))[:2] == (200, {"pid": os.getpid()})
        status, body, headers = await it.get("/readyz")
        assert (status, body) == (200, {"ready": True})
        assert headers[b"cache-control"] == b"no-store"
        assert int(headers[b"content-length"]) == len(b'{"ready":true}')
        assert await it.venue.tail(0) == [], "asking leaves no record"

    faced(work)


def test_each_path_has_its_face() -> None:
    async def work(it: Faced) -> None:
        reached: list[str] = []

        async def pages(scope: Any, receive: Any, send: Any) -> None:
            reached.append(scope["path"])

        faces = Faces(it.rest, Health(it.venue), pages)
        for path in ("/", "/dashboard", "/dashboard/", "/dashboard/accounts/x/wallets"):
            await faces({"path": path}, None, None)  # type: ignore[arg-type]
        assert reached == ["/", "/dashboard", "/dashboard/", "/dashboard/accounts/x/wallets"]
        for path in ("/dashboards", "/index.html", ""):
            assert (await it.get(path))[0] == 404
            assert (await it.get(path))[1]["code"] == -5000
        assert (await it.get("/papi/v1/ping"))[0] == 200

    faced(work)


def test_it_charges_nothing_and_a_banned_address_is_answered() -> None:
    async def work(it: Faced) -> None:
        for _ in range(20):
            assert (await it.get("/readyz"))[0] == 200
            assert (await it.get("/healthz"))[0] == 200
        assert it.rest.weights.used("192.0.2.1", it.venue.clock.now()) == 0
        statuses = [(await it.get("/papi/v1/ping"))[0] for _ in range(20)]
        assert statuses[0] == 200
        assert statuses[-1] == 418
        assert (await it.get("/nowhere"))[0] == 418
        assert (await it.get("/healthz"))[0] == 200
        assert (await it.get("/readyz"))[0] == 200

    faced(work, weight_per_minute=1)


def test_a_store_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def work(it: Faced) -> None:
        def fail(_name: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as broken:
            broken.setattr(it.venue._store, "account_named", fail)
            assert (await it.get("/readyz"))[:2] == (503, {"ready": False, "reason": "the store cannot be read"})
            assert (await it.get("/healthz"))[0] == 200
        assert (await it.get("/readyz"))[:2] == (200, {"ready": True})

    faced(work, sqlite(tmp_path))


def test_a_store_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def work(it: Faced) -> None:
        @contextmanager
        def fail() -> Any:
            raise StoreFailed("disk full")
            yield

        with monkeypatch.context() as broken:
            broken.setattr(it.venue._store, "transaction", fail)
            status, body, _ = await it.get("/readyz")
            assert status == 503
            assert body == {"ready": False, "reason": "the writer takes no commands: STORE_UNAVAILABLE"}
        assert (await it.get("/readyz"))[0] == 200

    faced(work, sqlite(tmp_path))


def test_a_store_locked_by_somebody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def work(it: Faced) -> None:
        with closing(sqlite3.connect(tmp_path / "venue.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            status, body, _ = await it.get("/readyz")
            assert status == 503
            assert "within" in body["reason"]
            assert (await it.get("/healthz"))[0] == 200
            other.execute("ROLLBACK")
        await it.becomes_ready()

    monkeypatch.setattr(health, "ANSWERED_WITHIN_S", 0.1)
    faced(work, sqlite(tmp_path))


def test_a_store_that_hangs_is_asked_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(it: Faced) -> None:
        hangs = threading.Event()
        asked = []

        def hang(name: str) -> None:
            asked.append(name)
            hangs.wait(PATIENCE_S)

        with monkeypatch.context() as broken:
            broken.setattr(it.venue._store, "account_named", hang)
            answers = await asyncio.gather(*(it.get("/readyz") for _ in range(50)))
            assert {status for status, _, _ in answers} == {503}
            assert (await it.get("/readyz"))[0] == 503
            assert len(asked) == 1
        hangs.set()
        await it.becomes_ready()

    monkeypatch.setattr(health, "ANSWERED_WITHIN_S", 0.05)
    faced(work)


def test_a_venue_that_closes_is_not_ready() -> None:
    async def work(it: Faced) -> None:
        it.venue._batcher._closing = True
        status, body, _ = await it.get("/readyz")
        assert status == 503
        assert body["reason"].endswith("SERVICE_SHUTTING_DOWN")

    faced(work)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_over_http(path: str) -> None:
    answers: list[Any] = []

    async def opened(venue: Venue, address: Any) -> None:
        answers.append(await asyncio.to_thread(fetched, address, path))
        stop()

    served(opened)
    status, _, headers = answers[0]
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert "x-mbx-used-weight-1m" not in headers


def test_a_writer_that_is_killed_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def work(it: Faced) -> None:
        await it.becomes_ready()
        batcher = it.venue._batcher
        assert isinstance(batcher, ProcessBatcher)
        assert batcher._process is not None
        batcher._process.kill()
        batcher._process.wait()
        assert (await it.get("/readyz"))[0] == 503
        await it.becomes_ready()

    monkeypatch.setattr(health, "ANSWERED_WITHIN_S", 0.1)
    faced(work, sqlite(tmp_path), apart=True)
