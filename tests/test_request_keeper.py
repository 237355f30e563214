"""What is taken of requests, how it is shown, what is left out and said to be."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from catchment import request_keeper
from catchment.clock import FrozenClock
from catchment.ledger.balance import AccountId
from catchment.request_keeper import (
    CUT,
    KEPT_AT_ONCE,
    KEPT_FOR_MS,
    NOBODY,
    WAITING,
    Mistake,
    RequestKeeper,
    RequestPage,
    Taken,
    shown,
)
from catchment.signature import Algorithm, ApiKey
from catchment.store.base import Account, Answered, Requests, StoreFailed
from catchment.store.memory import MemoryStore
from tests.store.books import account_id

ALICE = account_id(1)
KEY = b"0123456789abcdefghij"
FOREVER = 2**62


def taken(
    number: int = 1,
    query: bytes = b"",
    body: bytes = b"",
    api_key: bytes | None = KEY,
    path: str = "/papi/v1/ping",
    address: str = "127.0.0.1",
) -> Taken:
    return (number, 1_000, "GET", path, query, body, api_key, address, 1, 400, -1021, 1_234_567, 7)


# How a request is shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (b"", []),
        (b"symbol=BTCUSDT&recvWindow=", [("symbol", "BTCUSDT"), ("recvWindow", "")]),
        (b"asset=%E5%B8%81+%26&a=b=c", [("asset", "币 &"), ("a", "b=c")]),
        (b"timestamp=1&signature=abcd", [("timestamp", "1"), ("signature", CUT)]),
        (b"signature=ab&timestamp=1", [("signature", CUT), ("timestamp", "1")]),
        (b"SIGNATURE=ab&%73ignature=cd", [("SIGNATURE", CUT), ("signature", CUT)]),
        (b"listenKey=abcd&apiSecret=x&passWord=y", [("listenKey", CUT), ("apiSecret", CUT), ("passWord", CUT)]),
        (b'{"signature":"abcd"}', [(CUT, CUT)]),
        (b"aSecretWithoutAName", [(CUT, CUT)]),
        (b"a" * 33 + b"=1", [(CUT, CUT)]),
        (b"x=" + b"v" * 40, [("x", "v" * 40)]),
        (b"x=" + b"v" * 41, [("x", "v" * 40 + CUT)]),
        (b"x=%1b[2J%00%ff", [("x", "\ufffd[2J\ufffd\ufffd")]),
        (b"&".join(b"a%d=1" % number for number in range(33)), [*((f"a{n}", "1") for n in range(32)), (CUT, CUT)]),
        (b"x=1&y=" + b"2" * 3_000, [("x", "1"), ("y", "2" * 40 + CUT), (CUT, CUT)]),
    ],
)
def test_parameters_are_shown_as_sent_but_for_what_is_secret(query: bytes, parameters: list[tuple[str, str]]) -> None:
    assert shown(taken(query=query), NOBODY).parameters == parameters
    assert shown(taken(query=b"q=1", body=query), NOBODY).parameters == [("q", "1"), *parameters]


@pytest.mark.parametrize(
    ("api_key", "of_alice", "of_nobody"),
    [
        (KEY, "012345…ghij", "012345…ghij"),
        (b"alice-key", "alice-key", "ali…"),
        (None, "", ""),
        (b"\x1b[2Jx" * 10, "\ufffd[2Jx\ufffd…[2Jx", "\ufffd[2Jx\ufffd…[2Jx"),
    ],
)
def test_a_key_is_shortened(api_key: bytes | None, of_alice: str, of_nobody: str) -> None:
    assert shown(taken(api_key=api_key), ALICE).key == of_alice
    assert shown(taken(api_key=api_key), NOBODY).key == of_nobody


def test_the_rest_is_shown_as_it_was() -> None:
    one = shown(taken(path="/papi/v1/um/" + "x" * 200), ALICE)
    assert one == Answered(
        0, ALICE, 1_000, "012345…ghij", "127.0.0.1", "GET", f"/papi/v1/um/{CUT}", [], 1, 400, -1021, 1_234, 7
    )


def test_refusals_are_grouped_by_code_and_endpoint() -> None:
    def one(time: int, code: int, path: str = "/a") -> Answered:
        return Answered(time, ALICE, time, "", "", "GET", path, [], 1, 400 if code else 200, code, 1)

    page = RequestPage([one(9, -1021), one(8, 0), one(7, -1022), one(6, -1021, "/b"), one(5, -1021)], 0)
    assert page.mistakes() == [
        Mistake(400, -1021, "GET", "/a", 2, 9),
        Mistake(400, -1022, "GET", "/a", 1, 7),
        Mistake(400, -1021, "GET", "/b", 1, 6),
    ]


# What is kept --------------------------------------------------------------------------------------------------------


def play(scene: Callable[[RequestKeeper, MemoryStore], Awaitable[None]], of_account: int = 1_000) -> None:
    async def played() -> None:
        store = MemoryStore()
        keeper = RequestKeeper(
            store,
            FrozenClock(10 * KEPT_FOR_MS),
            lambda text: ALICE if text == "known" else None,
            of_account=of_account,
            make_executor=lambda: ThreadPoolExecutor(1),
        )
        await scene(keeper, store)
        await keeper.close()

    asyncio.run(played())


def kept(keeper: RequestKeeper, account: AccountId | None = None) -> list[Answered]:
    return keeper.kept.newest(account, FOREVER, 10_000)


def take(keeper: RequestKeeper, count: int = 1, **given: object) -> None:
    for _ in range(count):
        keeper.taken.append(taken(next(keeper.numbers), **given))  # type: ignore[arg-type]


def test_a_key_leads_to_its_account_also_when_it_is_revoked() -> None:
    async def scene(keeper: RequestKeeper, store: MemoryStore) -> None:
        store.add_account(Account(ALICE, "alice", True, 1))
        store.add_key(ApiKey("revoked", ALICE, Algorithm.HMAC, b"", frozenset(), (), 1))
        store.revoke_key("revoked", 2)
        for key in (b"known", b"revoked", b"stranger", b"\xff" * 500, None):
            take(keeper, api_key=key)
        await keeper.keep()
        assert [one.account for one in reversed(kept(keeper))] == [ALICE, ALICE, NOBODY, NOBODY, NOBODY]
        assert [one.key for one in kept(keeper, ALICE)] == ["revoked", "known"]

    play(scene)


def test_of_a_flood_everybody_has_a_share_and_the_rest_is_counted() -> None:
    async def scene(keeper: RequestKeeper, _store: MemoryStore) -> None:
        take(keeper, 3, api_key=b"rare")
        take(keeper, WAITING - 13)
        take(keeper, 10, api_key=None, address="::1")
        await keeper.keep()
        found = kept(keeper)
        assert len(found) == 3 + 10 + KEPT_AT_ONCE // 3
        assert [one.address for one in found[:10]] == ["::1"] * 10
        assert keeper.kept.left_out(0, FOREVER) == WAITING - len(found)
        take(keeper, 3 * WAITING)
        await keeper.keep()
        assert len(kept(keeper)) == len(found) + KEPT_AT_ONCE
        assert keeper.kept.left_out(0, FOREVER) + len(kept(keeper)) == 4 * WAITING

    play(scene)


def test_more_callers_than_there_is_room_for() -> None:
    async def scene(keeper: RequestKeeper, _store: MemoryStore) -> None:
        for number in range(300):
            take(keeper, address=f"10.0.{number // 250}.{number % 250}")
        await keeper.keep()
        assert len(kept(keeper)) == KEPT_AT_ONCE
        assert keeper.kept.left_out(0, FOREVER) == 300 - KEPT_AT_ONCE

    play(scene)


class Failing:
    """Cannot write until it is mended."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self.mended = False

    def __getattr__(self, name: str) -> object:
        if name == "write" and not self.mended:
            raise StoreFailed("no room")
        return getattr(self._requests, name)


def test_what_could_not_be_kept_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(keeper: RequestKeeper, _store: MemoryStore) -> None:
        failing = Failing(keeper.kept)
        keeper.kept = failing  # type: ignore[assignment]
        for _ in range(3):
            take(keeper, 5)
            await keeper.keep()
        assert [record.getMessage() for record in caplog.records] == [
            "requests are not kept for the inspector: no room"
        ]
        failing.mended = True
        await keeper.keep()
        assert kept(keeper) == []
        take(keeper, 2)
        await keeper.keep()
        assert [one.left_out for one in kept(keeper)] == [0, 15]

    with caplog.at_level(logging.WARNING):
        play(scene)


def test_old_ones_are_forgotten_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_keeper, "PRUNED_EVERY", 2)

    async def scene(keeper: RequestKeeper, _store: MemoryStore) -> None:
        now = 10 * KEPT_FOR_MS
        for time, key in ((1, b"known"), (now, b"known"), (now, None), (now + 1, b"known"), (now + 2, b"known")):
            row = taken(next(keeper.numbers), api_key=key)
            keeper.taken.append((row[0], time, *row[2:]))
        await keeper.keep()
        assert len(kept(keeper)) == 5
        take(keeper)
        await keeper.keep()
        assert [one.time for one in kept(keeper, ALICE)] == [now + 2, now + 1]
        assert [one.time for one in kept(keeper)] == [1_000, now + 2, now + 1, now]

    play(scene, of_account=2)


def test_they_are_kept_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_keeper, "KEPT_EVERY_S", 1 / 1_000)

    async def scene(keeper: RequestKeeper, _store: MemoryStore) -> None:
        keeper.begin(asyncio.get_running_loop())
        for count in (1, 2):
            take(keeper)
            while len(kept(keeper)) < count:
                await asyncio.sleep(0)
        assert [one.id for one in kept(keeper)] == [2, 1]

    play(scene)


def test_the_last_ones_are_kept_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_keeper, "KEPT_EVERY_S", 1_000)

    async def scene(keeper: RequestKeeper, _store: MemoryStore) -> None:
        keeper.begin(asyncio.get_running_loop())
        take(keeper, 2)
        await keeper.close()
        assert len(kept(keeper)) == 2

    play(scene)


def test_switched_off_nothing_is_taken() -> None:
    async def scene(keeper: RequestKeeper, _store: MemoryStore) -> None:
        keeper.begin(asyncio.get_running_loop())
        take(keeper)
        assert not keeper.taken
        await keeper.keep()
        assert kept(keeper) == []

    play(scene, of_account=0)
