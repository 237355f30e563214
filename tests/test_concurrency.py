"""Many clients, and a second process on the same store, at the same accounts at once: no money and no update is lost.

Run as a program, this file is the second process.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    Reason,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Stored
from catchment.store.base import Account
from catchment.venue import Venue
from catchment.wallet import Place, Wallet

ACCOUNTS = 5
CLIENTS = 16
TURNS = 40
ASSETS = ("USDT", "BTC", "BNB")
LASTING = {"sqlite": "file", "postgres": "postgres"}
"""The fixture that knows the address of an engine."""
LONGEST_S = 60
"""A deadlock fails the test instead of hanging it."""


def any_command(rng: random.Random) -> Command:
    asset, amount, wallet = rng.choice(ASSETS), rng.randrange(1, 100), rng.choice([Wallet.UM, Wallet.CM])
    match rng.randrange(8):
        case 0 | 1:
            return Deposit(asset, amount)
        case 2:
            return Withdrawal(asset, amount)
        case 3 | 4:
            return Adjustment(wallet, asset, amount - 30 or 1, Reason.REALIZED_PNL)
        case 5:
            return AutoCollection(rng.choice([Trigger.API, Trigger.OPERATOR]))
        case 6:
            return AssetCollection(asset, Trigger.API)
    return MarginAdjustment(asset, amount, MarginReason.LOCK)


def brought(command: Command) -> int:
    """What a command brings into the venue, by itself."""
    if isinstance(command, Deposit | Adjustment):
        return command.amount
    return -command.amount if isinstance(command, Withdrawal) else 0


async def load(venue: Venue, seed: int) -> tuple[Counter[str], int]:
    """Many clients at once; gives what was brought in by asset, and how many commands were accepted."""
    accounts = [account.id async for page in venue.accounts() for account in page]
    total: Counter[str] = Counter()
    accepted = 0

    async def client(number: int) -> None:
        nonlocal accepted
        rng = random.Random(seed * CLIENTS + number)
        for _ in range(TURNS):
            command = any_command(rng)
            answer = await venue.submit(rng.choice(accounts), command)
            if isinstance(answer, Stored):
                accepted += 1
                if isinstance(command, Deposit | Withdrawal | Adjustment):
                    total[command.asset] += brought(command)
            else:
                assert answer.name in {"BALANCE_NOT_SUFFICIENT", "UNSUPPORTED_OPERATION", "COLLECTION_QUOTA"}, answer

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return total, accepted


async def press(venue: Venue, times: int) -> int:
    """The button of the first account, many times at once; how often it worked."""
    async for page in venue.accounts():
        button = AutoCollection(Trigger.BUTTON)
        answers = await venue.submit_all([(page[0].id, button)] * times)
        return sum(isinstance(answer, Stored) for answer in answers)
    raise AssertionError("there is no account")


async def second_process(address: str, seed: int) -> None:
    """Ready when the venue is open; then waits for a line, so that both sides begin together."""
    venue = await Venue.open(Settings(store=address))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    pressed = await press(venue, 15)
    total, accepted = await load(venue, seed)
    await venue.close()
    sys.stdout.write(json.dumps({"pressed": pressed, "total": total, "accepted": accepted}))


def play(address: str, scene: Callable[[Venue], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        venue = await Venue.open(Settings(store=address))
        try:
            await asyncio.wait_for(scene(venue), LONGEST_S)
        finally:
            await asyncio.wait_for(venue.close(), LONGEST_S)

    asyncio.run(bounded())


async def enrolled(venue: Venue, count: int = ACCOUNTS) -> list[AccountId]:
    made = [await venue.add_account(f"account {number}") for number in range(count)]
    return [account.id for account in made if isinstance(account, Account)]


async def check_books(venue: Venue, total: Counter[str], accepted: int) -> None:
    """Every invariant holds, every accepted command is there, and every unit is where one can point at it."""
    verdict = await venue.verify()
    assert verdict.findings == []
    assert verdict.records == accepted
    held = {
        asset: sum(units for place, units in places.items() if place not in {Place.OUTSIDE, Place.MARKET})
        for asset, places in verdict.totals.items()
    }
    assert held == dict(total)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def address(request: pytest.FixtureRequest) -> str:
    return "memory:" if request.param == "memory" else str(request.getfixturevalue(LASTING[request.param]))


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest) -> str:
    """A store that is still there when it is opened again, also by another process."""
    return str(request.getfixturevalue(LASTING[request.param]))


def test_many_clients_at_the_same_accounts(address: str) -> None:
    async def scene(venue: Venue) -> None:
        await enrolled(venue)
        total, accepted = await load(venue, seed=1)
        assert accepted > CLIENTS * TURNS // 2
        await check_books(venue, total, accepted)

    play(address, scene)


def test_a_second_process_on_the_same_store(lasting: str) -> None:
    async def scene(venue: Venue) -> None:
        await enrolled(venue)
        other = await asyncio.create_subprocess_exec(
            sys.executable, __file__, lasting, "2", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        try:
            assert await other.stdout.readline() == b"ready\n"
            asked = asyncio.ensure_future(other.communicate(b"\n"))
            pressed = await press(venue, 15)
            total, accepted = await load(venue, seed=1)
            theirs = json.loads((await asked)[0])
        finally:
            if other.returncode is None:
                other.kill()
        assert pressed + theirs["pressed"] == 10, "the quota is one for both"
        total.update(theirs["total"])
        await check_books(venue, total, accepted + theirs["accepted"] + 10)

    play(lasting, scene)


def test_what_is_there_can_leave_once(address: str) -> None:
    """500 units, and 20 clients who each withdraw one at a time until they are refused."""

    async def scene(venue: Venue) -> None:
        (alice,) = await enrolled(venue, 1)
        await venue.submit(alice, Deposit("USDT", 500))
        left = 0

        async def client() -> None:
            nonlocal left
            while isinstance(await venue.submit(alice, Withdrawal("USDT", 1)), Stored):
                left += 1

        await asyncio.gather(*(client() for _ in range(20)))
        assert left == 500
        state = await venue.state(alice)
        assert state is not None
        assert state.balances["USDT"].margin_free == 0

    play(address, scene)


def test_a_collection_racing_a_withdrawal_cannot_overdraw(address: str) -> None:
    """Profit arrives, is collected and withdrawn by three clients at once; only what was collected can leave."""

    async def scene(venue: Venue) -> None:
        (alice,) = await enrolled(venue, 1)
        withdrawn = 0

        async def earn() -> None:
            for _ in range(100):
                answer = await venue.submit(alice, Adjustment(Wallet.UM, "USDT", 3, Reason.REALIZED_PNL))
                assert not isinstance(answer, Rejection)

        async def collect() -> None:
            for _ in range(100):
                assert not isinstance(await venue.submit(alice, AssetCollection("USDT", Trigger.API)), Rejection)

        async def withdraw() -> None:
            nonlocal withdrawn
            for _ in range(100):
                if isinstance(await venue.submit(alice, Withdrawal("USDT", 2)), Stored):
                    withdrawn += 2

        await asyncio.gather(earn(), collect(), withdraw())
        state = await venue.state(alice)
        assert state is not None
        balance = state.balances["USDT"]
        assert balance.um + balance.margin_free + withdrawn == 300
        assert min(balance.um, balance.margin_free) >= 0
        assert withdrawn > 0

    play(address, scene)


def test_keys_and_accounts_are_made_while_money_moves(address: str) -> None:
    async def scene(venue: Venue) -> None:
        await enrolled(venue)

        async def administrate() -> None:
            for number in range(20):
                made = await venue.add_account(f"late {number}")
                assert isinstance(made, Account)
                assert not isinstance(
                    await venue.add_key(made.id, api_key=f"key {number}".replace(" ", "-")), Rejection
                )
                assert await venue.holder(f"key-{number}") is not None

        (total, accepted), _ = await asyncio.gather(load(venue, seed=3), administrate())
        await check_books(venue, total, accepted)

    play(address, scene)


if __name__ == "__main__":
    asyncio.run(second_process(sys.argv[1], int(sys.argv[2])))
