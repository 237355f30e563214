"""The verbs of the venue over every store: commands, readings, accounts, keys, previews, quotas, secrets, trust."""

import asyncio
import base64
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from catchment import auditor
from catchment import venue as venue_module
from catchment.batcher import LoopBatcher, ThreadBatcher
from catchment.clock import FrozenClock
from catchment.config import Settings
from catchment.errors import Refused, Rejection
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.collection import Stay
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    BnbTransfer,
    Command,
    Deposit,
    Reason,
    Side,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Record, Stored
from catchment.ledger.quota import DAY_MS, HOUR_MS
from catchment.limits import Counted
from catchment.request_keeper import KEPT_AT_ONCE, RequestKeeper
from catchment.signature import Algorithm, Permission, sign_hmac
from catchment.store.base import Account
from catchment.store.memory import MemoryStore
from catchment.store.open import master_key_path
from catchment.vault import MASTER_KEY_VARIABLE
from catchment.venue import Counts, Holder, NewKey, Preview, Venue, new_account_id
from catchment.wallet import Place, Wallet
from catchment.writer import Answer
from tests.store.books import tamper, write

AUTO = AutoCollection(Trigger.API)
LASTING = {"sqlite": "file", "postgres": "postgres"}
"""The fixture that knows the address of an engine."""


@pytest.fixture(autouse=True)
def _no_master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine may have set is not what a test is about."""
    monkeypatch.delenv(MASTER_KEY_VARIABLE, raising=False)


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


Scene = Callable[[Venue], Coroutine[None, None, None]]


def run(settings: Settings | str, *scenes: Scene, clock: FrozenClock | None = None) -> None:
    """Play each scene in a venue of its own, opened on the same store and clock and closed after it."""
    settings = Settings(store=settings) if isinstance(settings, str) else settings
    clock = clock or FrozenClock()

    async def play(scene: Scene) -> None:
        venue = await Venue.open(settings, clock)
        try:
            await asyncio.wait_for(scene(venue), 30)
        finally:
            await asyncio.wait_for(venue.close(), 30)

    for scene in scenes:
        asyncio.run(play(scene))


def refusal_of(settings: Settings) -> str:
    async def play() -> None:
        await (await Venue.open(settings)).close()

    with pytest.raises(Refused) as refused:
        asyncio.run(play())
    return f"{refused.value.rejection.name}: {refused.value}"


async def enrolled(venue: Venue, name: str = "alice", portfolio_margin: bool = True) -> AccountId:
    account = await venue.add_account(name, portfolio_margin)
    assert isinstance(account, Account)
    return account.id


def record_of(answer: Answer) -> Record:
    assert isinstance(answer, Stored), answer
    return answer.record


def profit(wallet: str, asset: str, amount: int) -> Command:
    return Adjustment(Wallet(wallet), asset, amount, Reason.REALIZED_PNL)


# Commands and readings -----------------------------------------------------------------------------------------------


def test_a_collection_from_beginning_to_end(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit_all(
            [(alice, profit("UM", "USDT", 5)), (alice, profit("CM", "BTC", 3)), (alice, profit("UM", "BNB", 1))]
        )
        answer = await venue.submit(alice, AUTO)
        assert isinstance(answer, Stored)
        assert (answer.sequence, venue.newest) == (4, 4)
        state = await venue.state(alice)
        assert state is not None
        held = {asset: (balance.um, balance.cm, balance.margin_free) for asset, balance in state.balances.items()}
        assert held == {"USDT": (0, 0, 5), "BTC": (0, 0, 3), "BNB": (1, 0, 0)}
        assert await venue.tail(3) == [answer]
        assert (await venue.verify()).findings == []

    run(address, scene)


def test_a_closed_venue_refuses(address: str) -> None:
    async def play() -> None:
        venue = await Venue.open(Settings(store=address), FrozenClock())
        alice = await enrolled(venue)
        waiting = venue.submit(alice, Deposit("USDT", 5))
        await venue.close()
        assert isinstance(await waiting, Stored), "who waited was answered"
        refused = await venue.submit(alice, Deposit("USDT", 5))
        assert isinstance(refused, Rejection)
        assert refused.name == "SERVICE_SHUTTING_DOWN"

    asyncio.run(play())


def test_the_queue_of_the_settings_is_the_bound() -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        answers = await venue.submit_all([(alice, Deposit("USDT", 1))] * 50)
        refused = [answer.name for answer in answers if isinstance(answer, Rejection)]
        assert refused == ["QUEUE_FULL"] * 40
        state = await venue.state(alice)
        assert state is not None
        assert state.balances["USDT"].margin_free == 10
        assert await venue.submit_all([]) == []

    run(Settings(store="memory:", queue=10, batch=4), scene)


def test_history_both_ways(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice, bob = await enrolled(venue), await enrolled(venue, "bob")
        for place in range(12):
            await venue.submit(bob if place % 3 == 0 else alice, Deposit("USDT", place + 1))
            assert isinstance(venue.clock, FrozenClock)
            venue.clock.advance(10)
        start = venue.clock.now() - 120

        async def numbers(**which: int | bool) -> list[int]:
            return [stored.record.number for stored in await venue.history(alice, **which)]  # type: ignore[arg-type]

        assert await numbers() == [8, 7, 6, 5, 4, 3, 2, 1]
        assert await numbers(newest_first=False) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert await numbers(limit=3) == [8, 7, 6]
        assert await numbers(limit=3, below=6) == [5, 4, 3]
        assert await numbers(limit=3, below=6, newest_first=False) == [7, 8]
        assert await numbers(since=start + 20, until=start + 40) == [3, 2]
        assert await numbers(since=start + 41, until=start + 49) == []
        assert await venue.history(AccountId(bytes(16))) == []

    run(address, scene)


def test_what_nobody_has_is_none(address: str) -> None:
    async def scene(venue: Venue) -> None:
        nobody = AccountId(bytes(16))
        assert await venue.state(nobody) is None
        answer = await venue.submit(nobody, AUTO)
        assert isinstance(answer, Rejection)
        assert answer.name == "BAD_ACCOUNT"
        preview = await venue.preview(nobody, AUTO)
        assert isinstance(preview.answer, Rejection)
        assert (preview.answer.name, preview.stays, preview.quotas) == ("BAD_ACCOUNT", [], {})

    run(address, scene)


# Accounts ------------------------------------------------------------------------------------------------------------


def test_accounts_by_name_and_by_id(address: str) -> None:
    async def scene(venue: Venue) -> None:
        made = await venue.add_account("alice", portfolio_margin=False)
        assert isinstance(made, Account)
        assert (made.name, made.portfolio_margin, made.created) == ("alice", False, venue.clock.now())
        assert await venue.account("alice") == await venue.account(made.id.hex()) == made
        for unknown in ("bob", "", "00" * 16, "zz" * 16, "a" * 31):
            refused = await venue.account(unknown)
            assert isinstance(refused, Rejection)
            assert refused.name == "BAD_ACCOUNT"
        taken = await venue.add_account("alice")
        assert isinstance(taken, Rejection)
        assert (taken.name, taken.details) == ("ACCOUNT_EXISTS", ("alice",))

    run(address, scene)


@pytest.mark.parametrize("name", ["", " ", " alice", "alice ", "al\nice", "a" * 65, "\ud800", "a\x00b", "\u202ealice"])
def test_a_name_that_cannot_be_read_back_is_refused(address: str, name: str) -> None:
    async def scene(venue: Venue) -> None:
        refused = await venue.add_account(name)
        assert isinstance(refused, Rejection)
        assert refused.name == "INVALID_PARAMETER"
        assert [page async for page in venue.accounts()] == []

    run(address, scene)


def test_all_accounts_in_pages(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_module, "PAGE", 3)

    async def scene(venue: Venue) -> None:
        made = [await enrolled(venue, f"account {number}") for number in range(7)]
        pages = [page async for page in venue.accounts()]
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [account.id for page in pages for account in page] == sorted(made)

    run(address, scene)


# API keys ------------------------------------------------------------------------------------------------------------


def new_key(made: NewKey | Rejection) -> NewKey:
    assert isinstance(made, NewKey), made
    return made


async def holder_of(venue: Venue, api_key: str) -> Holder:
    holder = await venue.holder(api_key)
    assert holder is not None
    return holder


def test_an_hmac_key(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_module, "WATCHED_EVERY_S", 3_600)  # the watch forgets what was found before it looked

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue, portfolio_margin=False)
        made = new_key(await venue.add_key(alice))
        assert (len(made.key.api_key), len(made.secret)) == (64, 64)
        assert venue.held(made.key.api_key) is None, "it was not looked up yet"
        holder = await holder_of(venue, made.key.api_key)
        assert (holder.account, holder.portfolio_margin, holder.key.algorithm) == (alice, False, Algorithm.HMAC)
        assert holder.verify(b"payload", sign_hmac(made.secret.encode(), b"payload").encode())
        assert not holder.verify(b"payload", sign_hmac(b"other", b"payload").encode())
        assert venue.held(made.key.api_key) is holder

    run(address, scene)


def test_a_key_whose_secret_is_given(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        made = new_key(
            await venue.add_key(
                alice, api_key="alice-key", secret="é", permissions=frozenset({Permission.READ}), ip_allow=("::1",)
            )
        )
        holder = await holder_of(venue, "alice-key")
        assert (holder.key.permissions, holder.key.ip_allow) == (frozenset({Permission.READ}), ("::1",))
        assert holder.verify(b"x", sign_hmac("é".encode(), b"x").encode())
        assert await venue.keys(alice) == [made.key]

    run(address, scene)


def pem(key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form).decode()


def test_public_keys(address: str) -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ed25519_key = ed25519.Ed25519PrivateKey.generate()

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        made = {
            Algorithm.RSA: await venue.add_key(alice, public_key=pem(rsa_key.public_key())),
            Algorithm.ED25519: await venue.add_key(alice, public_key=pem(ed25519_key.public_key()), secret="unused"),
        }
        signatures = {
            Algorithm.RSA: rsa_key.sign(b"payload", padding.PKCS1v15(), hashes.SHA256()),
            Algorithm.ED25519: ed25519_key.sign(b"payload"),
        }
        for algorithm, answer in made.items():
            assert new_key(answer).secret == "", "a public key has no secret to tell"
            holder = await holder_of(venue, new_key(answer).key.api_key)
            assert holder.key.algorithm is algorithm
            assert holder.verify(b"payload", base64.b64encode(signatures[algorithm]))
            assert not holder.verify(b"other", base64.b64encode(signatures[algorithm]))

    run(address, scene)


def test_keys_that_are_refused(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        new_key(await venue.add_key(alice, api_key="taken"))
        refused = {
            "KEY_EXISTS": [await venue.add_key(alice, api_key="taken")],
            "BAD_API_KEY_FMT": [
                await venue.add_key(alice, api_key=text) for text in ("a b", "é", "a\n", "\x00", "x" * 129, " ")
            ],
            "INVALID_PARAMETER": [
                await venue.add_key(alice, ip_allow=(text,)) for text in ("", "localhost", "1.2.3", "10.0.0.1/8")
            ],
            "INVALID_RSA_PUBLIC_KEY": [await venue.add_key(alice, public_key=text) for text in ("pem", " ", "\x00")],
        }
        for name, answers in refused.items():
            assert [answer.name for answer in answers if isinstance(answer, Rejection)] == [name] * len(answers)
        assert len(await venue.keys(alice)) == 1
        gone = await venue.revoke_key("unknown")
        assert isinstance(gone, Rejection)
        assert gone.name == "NO_SUCH_KEY"

    run(address, scene)


def test_a_revoked_key_is_gone_at_once(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        made = new_key(await venue.add_key(alice, api_key="key"))
        await holder_of(venue, "key")
        assert await venue.revoke_key("key") is None
        assert (venue.held("key"), await venue.holder("key")) == (None, None)
        assert [key.revoked for key in await venue.keys(alice)] == [venue.clock.now()]
        again = await venue.revoke_key("key")
        assert isinstance(again, Rejection)
        back = await venue.add_key(alice, api_key="key", secret=made.secret)
        assert isinstance(back, Rejection), "a text that was once a key is never one again"

    run(address, scene)


def test_a_key_that_was_asked_for_too_early_is_found_once_it_is_made(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        assert await venue.holder("key") is None
        new_key(await venue.add_key(alice, api_key="key"))
        await holder_of(venue, "key")

    run(address, scene)


def test_a_look_up_that_a_revocation_overtakes_is_not_remembered() -> None:
    """The look-up read the living key, the revocation ended it, and only then did the look-up come home."""

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        new_key(await venue.add_key(alice, api_key="key"))
        make, loop = venue._make_holder, asyncio.get_running_loop()
        read, go_on = asyncio.Event(), asyncio.Event()

        def overtaken(api_key: str) -> Holder | None:
            found = make(api_key)
            loop.call_soon_threadsafe(read.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            return found

        venue._make_holder = overtaken  # type: ignore[method-assign]
        looking = asyncio.ensure_future(venue.holder("key"))
        await read.wait()
        assert await venue.revoke_key("key") is None
        go_on.set()
        await looking
        assert venue.held("key") is None

    run("memory:", scene)


def test_records_of_another_process_are_noticed(lasting: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit(alice, Deposit("USDT", 1))
        other = await Venue.open(Settings(store=lasting))
        try:
            assert other.newest == 1, "at once, when it opens"
            await other.submit(alice, Deposit("USDT", 1))
        finally:
            await other.close()
        while venue.newest != 2:
            await asyncio.sleep(0.01)

    run(lasting, scene)


def test_another_process_adds_and_revokes(lasting: str) -> None:
    """Two venues on one lasting know of each other only through it, as two processes do."""

    async def play() -> None:
        here, there = await Venue.open(Settings(store=lasting)), await Venue.open(Settings(store=lasting))
        try:
            alice = await enrolled(here)
            assert await there.holder("key") is None
            made = new_key(await here.add_key(alice, api_key="key"))
            await settled(lambda: there.holder("key"), there_is=True)
            holder = await holder_of(there, "key")
            assert holder.verify(b"x", sign_hmac(made.secret.encode(), b"x").encode())
            assert await here.revoke_key("key") is None
            await settled(lambda: there.holder("key"), there_is=False)
            assert there.held("key") is None
        finally:
            await here.close()
            await there.close()

    asyncio.run(play())


async def settled(look: Callable[[], Awaitable[object | None]], there_is: bool) -> None:
    """Within about a second; the bound is wider only because the machine may be busy."""
    began = time.monotonic()
    while (await look() is not None) != there_is:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.02)


def test_notes_are_noticed_by_another_process(lasting: str) -> None:
    async def scene(one: Venue) -> None:
        other = await Venue.open(Settings(store=lasting))
        try:
            seen = other.notes_version
            mine = one.notes_version
            assert await one.keep("link", "once", "for alice")
            assert one.notes_version != mine, "at once where it was done"
            async with asyncio.timeout(10):
                while other.notes_version == seen:
                    await asyncio.sleep(0.01)
            note = await other.kept("link", "once")
            assert note is not None
            assert note.text == "for alice"
            assert not await other.keep("link", "once", "again", replace=False)
            assert [await venue.drop("link", "once") for venue in (other, one)] == [True, False]
            assert await one.all_kept("link") == []
        finally:
            await other.close()

    run(lasting, scene)


def test_a_ban_is_lifted_at_every_server(lasting: str) -> None:
    async def scene(one: Venue) -> None:
        assert not await one.lift_ban("192.0.2.7"), "it has none"
        other = await Venue.open(Settings(store=lasting))
        try:
            ban = Counted("192.0.2.7", 0, 0, 0, one.clock.now() + 120_000, 1)
            for venue in (one, other):
                venue.weights.learn(ban, venue.clock.now())
            assert await one.lift_ban("192.0.2.7")
            assert one.weights.bans(one.clock.now()) == []
            async with asyncio.timeout(10):
                while other.weights.bans(other.clock.now()):
                    await asyncio.sleep(0.01)
        finally:
            await other.close()

    run(lasting, scene)


def test_remembered_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_module, "MAX_CACHED_KEYS", 10)

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        new_key(await venue.add_key(alice, api_key="key"))
        for number in range(50):
            assert await venue.holder(f"guess {number}") is None
        assert len(venue._holders) <= 10
        await holder_of(venue, "key")

    run("memory:", scene)


# The master key and secrets ------------------------------------------------------------------------------------------


def test_a_secret_outlives_the_venue(lasting: str) -> None:
    secrets: list[str] = []

    async def make(venue: Venue) -> None:
        secrets.append(new_key(await venue.add_key(await enrolled(venue), api_key="key")).secret)

    async def use(venue: Venue) -> None:
        holder = await holder_of(venue, "key")
        assert holder.verify(b"x", sign_hmac(secrets[0].encode(), b"x").encode())

    run(lasting, make, use)


def test_a_wrong_master_key_is_refused_by_name(lasting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def make(venue: Venue) -> None:
        new_key(await venue.add_key(await enrolled(venue), api_key="key"))

    run(lasting, make)
    key_file = master_key_path(lasting)
    assert key_file is not None
    monkeypatch.setenv(MASTER_KEY_VARIABLE, base64.urlsafe_b64encode(bytes(32)).decode())
    assert refusal_of(Settings(store=lasting)).startswith("WRONG_MASTER_KEY")
    assert MASTER_KEY_VARIABLE in refusal_of(Settings(store=lasting)), "it says where the key was read"
    monkeypatch.setenv(MASTER_KEY_VARIABLE, key_file.read_text())
    run(lasting, opened)
    monkeypatch.delenv(MASTER_KEY_VARIABLE)
    key_file.unlink()
    assert refusal_of(Settings(store=lasting)).startswith("WRONG_MASTER_KEY")
    assert not key_file.exists(), "a new key would only hide that the old one is lost"


async def opened(venue: Venue) -> None:
    assert venue.assets["USDT"].scale == 8


def test_two_that_begin_with_different_master_keys(lasting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever seals first decides; the other is refused before it seals what nobody could open."""

    async def scene(here: Venue) -> None:
        alice = await enrolled(here)
        monkeypatch.setenv(MASTER_KEY_VARIABLE, base64.urlsafe_b64encode(bytes(32)).decode())
        there = await Venue.open(Settings(store=lasting))
        new_key(await here.add_key(alice, api_key="one"))
        with pytest.raises(Refused) as refused:
            await there.add_key(alice, api_key="two")
        assert refused.value.rejection.name == "WRONG_MASTER_KEY"
        assert [key.api_key for key in await there.keys(alice)] == ["one"]
        await there.close()

    run(lasting, scene)


def test_a_loose_master_key_file_is_refused(file: str, tmp_path: Path) -> None:
    async def make(venue: Venue) -> None:
        new_key(await venue.add_key(await enrolled(venue), api_key="key"))

    run(file, make)
    (tmp_path / "store.db.key").chmod(0o644)
    assert "mode 0600" in refusal_of(Settings(store=file))


def test_a_store_without_secrets_needs_no_master_key(file: str, tmp_path: Path) -> None:
    async def make(venue: Venue) -> None:
        public = pem(ed25519.Ed25519PrivateKey.generate().public_key())
        new_key(await venue.add_key(await enrolled(venue), api_key="key", public_key=public))

    async def use(venue: Venue) -> None:
        await holder_of(venue, "key")

    run(file, make, use)
    assert not (tmp_path / "store.db.key").exists()


def test_no_secret_is_shown_or_kept_in_clear(file: str, tmp_path: Path) -> None:
    secret = "s3cret-that-nobody-may-read-0123456789"

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        made = new_key(await venue.add_key(alice, api_key="key", secret=secret))
        holder = await holder_of(venue, "key")
        again = await venue.add_key(alice, api_key="key", secret=secret)
        shown = [made, made.key, holder, again, venue, venue._vault, venue.settings, await venue.keys(alice)]
        assert made.secret == secret
        for thing in shown:
            assert secret not in f"{thing} {thing!r}"
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert {"store.db", "store.db-wal", "store.db.key"} <= files.keys()
        master = files.pop("store.db.key")
        for forbidden in (secret.encode(), base64.b64encode(secret.encode()), secret.encode().hex().encode(), master):
            assert not [name for name, content in files.items() if forbidden in content]

    async def later(venue: Venue) -> None:
        assert secret.encode() not in (tmp_path / "store.db").read_bytes()

    run(file, scene, later)


# Preview -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        AUTO,
        AutoCollection(Trigger.BUTTON),
        AutoCollection(Trigger.OPERATOR),
        AssetCollection("USDT", Trigger.API),
        AssetCollection("USDT", Trigger.API, 3, Wallet.UM),
        AssetCollection("USDT", Trigger.API, 99, Wallet.UM),
        AssetCollection("BNB", Trigger.API),
        AssetCollection("ETH", Trigger.API),
    ],
)
def test_a_preview_is_the_submit_that_follows(address: str, command: AutoCollection | AssetCollection) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        for wallet, asset, amount in (("UM", "USDT", 5), ("CM", "USDT", 2), ("UM", "BNB", 3), ("CM", "BTC", -4)):
            await venue.submit(alice, profit(wallet, asset, amount))
        before = await venue.state(alice)
        first, second = await venue.preview(alice, command), await venue.preview(alice, command)
        assert first == second
        assert (await venue.state(alice), len(await venue.tail(0))) == (before, 4), "nothing was written"
        answer = await venue.submit(alice, command)
        assert first.answer == (answer.record if isinstance(answer, Stored) else answer)

    run(address, scene)


def test_what_quotas_leave_is_exact_and_not_counted_twice() -> None:
    """Held against previews, which always count the journal, while uses come and leave their windows."""
    clock = FrozenClock()
    counted: list[object] = []
    draw = random.Random(4)

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        count_uses = venue._store.count_uses

        def counting(*asked: Any) -> Any:
            counted.append(asked)
            return count_uses(*asked)

        commands: list[Command] = [AUTO, AutoCollection(Trigger.BUTTON), BnbTransfer(1, Side.TO_UM, Trigger.API)]
        await venue.submit(alice, Deposit("BNB", 1_000))
        for _ in range(150):
            clock.advance(draw.choice([0, 1, 1_000, 60_000, HOUR_MS // 3, HOUR_MS, DAY_MS // 3]))
            if draw.random() < 0.6:
                await venue.submit(alice, draw.choice(commands))
            told = await venue.quotas(alice)
            for command in commands:
                for name, left in (await venue.preview(alice, command)).quotas.items():
                    assert (told[name].left, told[name].limit) == left
            assert all((left.frees > clock.now()) == (left.left < left.limit) for left in told.values())
            with pytest.MonkeyPatch.context() as watched:
                watched.setattr(venue._store, "count_uses", counting)
                assert await venue.quotas(alice) == told
        assert counted == [], "the same question is answered from memory"

    run("memory:", scene, clock=clock)


def test_a_preview_says_what_stays_and_what_quotas_leave(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit_all([(alice, profit("UM", "BNB", 3)), (alice, profit("UM", "USDT", 5)), (alice, AUTO)])
        preview = await venue.preview(alice, AUTO)
        assert preview.stays == [Stay("BNB", 3, Place.UM, "BNB in UM is never collected")]
        assert preview.quotas == {"api_hour": (499, 500)}
        button = await venue.preview(alice, AutoCollection(Trigger.BUTTON))
        assert button.quotas == {"button_day": (10, 10)}
        assert (await venue.preview(alice, AutoCollection(Trigger.OPERATOR))).quotas == {}
        assert (await venue.preview(alice, AssetCollection("USDT", Trigger.API))).quotas == {}

    run(address, scene)


def test_a_preview_at_the_limit_is_the_refusal_that_follows(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit_all([(alice, AutoCollection(Trigger.BUTTON))] * 10)
        preview = await venue.preview(alice, AutoCollection(Trigger.BUTTON))
        assert preview.answer == await venue.submit(alice, AutoCollection(Trigger.BUTTON))
        assert isinstance(preview.answer, Rejection)
        assert (preview.answer.name, preview.quotas) == ("COLLECTION_QUOTA", {"button_day": (0, 10)})

    run(address, scene)


@pytest.mark.parametrize("back", [1, HOUR_MS // 2, HOUR_MS, 2 * HOUR_MS])
def test_a_preview_agrees_when_the_clock_was_put_back(address: str, back: int) -> None:
    """Time never runs back within an account, in a preview neither: its window is that of the last record."""
    clock = FrozenClock()

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit_all([(alice, AUTO)] * 2)
        clock.advance(HOUR_MS)
        await venue.submit(alice, Deposit("USDT", 1))
        venue.clock = FrozenClock(clock.now() - back)
        assert isinstance(venue._batcher, (ThreadBatcher, LoopBatcher))
        venue._batcher._clock = venue.clock
        preview = await venue.preview(alice, AUTO)
        assert preview.quotas == {"api_hour": (2, 2)}
        answer = await venue.submit(alice, AUTO)
        assert preview.answer == (answer.record if isinstance(answer, Stored) else answer)

    run(Settings(store=address, quota_api_per_hour=2), scene, clock=clock)


# Quotas, settings, assets --------------------------------------------------------------------------------------------


def test_quotas_survive_reopening(lasting: str) -> None:
    clock = FrozenClock()

    async def use_up(venue: Venue) -> None:
        alice = await enrolled(venue)
        answers = await venue.submit_all([(alice, AUTO)] * 501)
        assert [place for place, answer in enumerate(answers) if isinstance(answer, Rejection)] == [500]

    async def still_used_up(venue: Venue) -> None:
        alice = await venue.account("alice")
        assert isinstance(alice, Account)
        clock.advance(HOUR_MS - 1)
        refused = await venue.submit(alice.id, AUTO)
        assert isinstance(refused, Rejection)
        assert (refused.name, refused.retry_after) == ("COLLECTION_QUOTA", 1)
        clock.advance(1)
        record_of(await venue.submit(alice.id, AUTO))

    run(lasting, use_up, still_used_up, clock=clock)


def test_a_count_made_under_other_settings_is_not_trusted(lasting: str) -> None:
    """The shared daily quota is switched off for a while; what was done meanwhile still counts afterwards."""

    def scene_of(times: int, refused: int) -> Scene:
        async def scene(venue: Venue) -> None:
            found = await venue.account("alice")
            alice = found.id if isinstance(found, Account) else await enrolled(venue)
            answers = await venue.submit_all([(alice, AUTO)] * times)
            assert sum(isinstance(answer, Rejection) for answer in answers) == refused
            assert (await venue.verify()).findings == []

        return scene

    clock = FrozenClock()
    shared, plain = Settings(store=lasting, quota_shared_daily=True), Settings(store=lasting)
    run(shared, scene_of(3, refused=0), clock=clock)
    run(plain, scene_of(7, refused=0), clock=clock)
    run(shared, scene_of(1, refused=1), clock=clock)


def test_settings_reach_the_rules() -> None:
    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit(alice, profit("CM", "BNB", 3))
        assert record_of(await venue.submit(alice, AUTO)).transfers == ()
        refused = await venue.submit(alice, AutoCollection(Trigger.BUTTON))
        assert isinstance(refused, Rejection)
        assert refused.details == ("1", "day")

    settings = Settings(
        store="memory:", collection_cm_bnb="keep", quota_shared_daily=True, quota_button_per_day=1, quota_api_per_hour=9
    )
    run(settings, scene, clock=FrozenClock(20_000 * DAY_MS))


def test_a_scale_cannot_be_changed(lasting: str) -> None:
    async def scene(venue: Venue) -> None:
        assert (venue.assets["PEPE"].scale, venue.assets["USDT"].scale) == (4, 8)

    run(Settings(store=lasting, assets={"PEPE": 4}), scene)
    assert refusal_of(Settings(store=lasting, assets={"PEPE": 5})) == (
        "SCALE_CHANGED: Asset PEPE has scale 4 in this store; the settings say 5."
    )
    assert refusal_of(Settings(store=lasting, assets={"USDT": 2})).startswith("SCALE_CHANGED: Asset USDT")
    run(Settings(store=lasting, assets={"PEPE": 4}), scene)
    run(lasting, scene)


@pytest.mark.parametrize("name", ["pepe", "", "PE PE", "P" * 21, "É"])
def test_an_asset_of_an_odd_name_is_refused(name: str) -> None:
    assert refusal_of(Settings(store="memory:", assets={name: 8})).startswith("BAD_SETTING: Setting assets")


@pytest.mark.parametrize("price", ["", "cheap", "-1", "1.123456789", "NaN", "1e99"])
def test_a_price_that_is_none_is_refused(price: str) -> None:
    assert refusal_of(Settings(store="memory:", prices={"BTC": price})).startswith("BAD_SETTING: Setting prices")


def test_a_store_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert refusal_of(Settings(store="redis://x")).startswith("BAD_STORE_ADDRESS")
    assert refusal_of(Settings(store=f"sqlite:///{tmp_path}")).startswith("BAD_STORE_ADDRESS")


def test_a_refused_opening_lets_go_of_the_store(lasting: str) -> None:
    """What was refused can be put right and opened at once."""
    for _ in range(3):
        assert refusal_of(Settings(store=lasting, assets={"bad name": 1})).startswith("BAD_SETTING")
    run(lasting, opened)


# Trust ---------------------------------------------------------------------------------------------------------------


def test_verify_counts_and_totals(address: str) -> None:
    async def scene(venue: Venue) -> None:
        alice, bob = await enrolled(venue), await enrolled(venue, "bob", portfolio_margin=False)
        await enrolled(venue, "carol")
        await venue.submit_all(
            [
                (alice, Deposit("USDT", 100)),
                (bob, Deposit("USDT", 50)),
                (alice, profit("UM", "USDT", 7)),
                (alice, AUTO),
                (bob, Withdrawal("USDT", 20)),
            ]
        )
        told: list[int] = []
        verdict = await venue.verify(told.append)
        assert (verdict.records, verdict.accounts, verdict.findings) == (5, 3, [])
        assert verdict.totals["USDT"][Place.MARGIN_FREE] == 137
        assert sum(verdict.totals["USDT"].values()) == 0
        assert told == sorted(told)
        assert told[-1] == 5

    run(address, scene)


def test_verify_of_an_empty_venue(address: str) -> None:
    async def scene(venue: Venue) -> None:
        verdict = await venue.verify()
        assert (verdict.records, verdict.accounts, verdict.findings, verdict.totals) == (0, 0, [], {})

    run(address, scene)


def test_verify_finds_what_was_changed_in_the_file(file: str, tmp_path: Path) -> None:
    async def fill(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit_all([(alice, Deposit("USDT", 100)), (alice, profit("UM", "USDT", 7)), (alice, AUTO)])

    async def verify(venue: Venue) -> None:
        found = (await venue.verify()).findings
        assert {finding.invariant for finding in found} == {2, 9}
        assert {finding.sequence for finding in found if finding.invariant == 2} == {2}

    run(file, fill)
    tamper(
        tmp_path / "store.db",
        "UPDATE journal SET body = replace(body, 'REALIZED_PNL', 'FUNDING_FEE')",
        "UPDATE recent SET state = replace(state, '[0,0,107,', '[0,0,108,')",
    )
    run(file, verify)


def test_verify_while_the_venue_writes(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that goes on writing, new accounts included, does not disturb the audit."""
    monkeypatch.setattr(auditor, "PAGE", 20)

    async def scene(venue: Venue) -> None:
        accounts = [await enrolled(venue, f"account {number}") for number in range(30)]
        done = asyncio.Event()

        async def go_on_writing() -> None:
            number = 0
            while not done.is_set():
                number += 1
                accounts.append(await enrolled(venue, f"late {number}"))
                await venue.submit_all([(account, Deposit("USDT", 1)) for account in accounts[-30:]])

        writing = asyncio.ensure_future(go_on_writing())
        try:
            for _ in range(8):
                assert (await venue.verify()).findings == []
        finally:
            done.set()
            await writing

    run(address, scene)


class Growing(MemoryStore):
    """A store that another process goes on writing to: when the last page of accounts was read, one more is there."""

    def accounts(self, after: AccountId | None, limit: int) -> list[Account]:
        page = super().accounts(after, limit)
        if not page and not super().account_named("late"):
            late = AccountId(bytes(16))
            self.add_account(Account(late, "late", portfolio_margin=True, created=0))
            write(self, [(late, Deposit("USDT", 1))])
        return page


def test_an_account_made_during_the_audit_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_module, "open_store", lambda _: Growing())

    async def scene(venue: Venue) -> None:
        await venue.submit(await enrolled(venue), Deposit("USDT", 1))
        verdict = await venue.verify()
        assert verdict.records == 2
        assert verdict.findings == []

    run("memory:", scene)


def test_previews_and_readings_leave_no_state_behind() -> None:
    """What a reader was handed is its own."""

    async def scene(venue: Venue) -> None:
        alice = await enrolled(venue)
        await venue.submit(alice, Deposit("USDT", 5))
        mine = await venue.state(alice)
        assert isinstance(mine, AccountState)
        mine.balances["USDT"].margin_free = 99
        again = await venue.state(alice)
        assert again is not None
        assert again.balances["USDT"].margin_free == 5
        assert isinstance(await venue.preview(alice, AUTO), Preview)

    run("memory:", scene)


# For people who look at it all ----------------------------------------------------------------------------------------


def test_the_whole_venue_is_counted_and_added_up(address: str) -> None:
    async def scene(venue: Venue) -> None:
        assert await venue.counts() == Counts(0, 0, 0)
        for name in ("alice", "bob"):
            account = await enrolled(venue, name)
            await venue.add_key(account)
            await venue.submit(account, Deposit("USDT", 5))
        seen: list[int] = []
        totals = await venue.totals(seen.append)
        assert totals.places["USDT"][Place.MARGIN_FREE] == -totals.places["USDT"][Place.OUTSIDE] == 10
        assert (totals.accounts, totals.first, totals.last, totals.broken) == (2, 2, 2, 0)
        assert seen[-1] == 2
        assert await venue.counts() == Counts(2, 2, 2)

    run(address, scene)


def test_requests_are_read_by_account_in_pages_whoever_answered_them(lasting: str) -> None:
    def taken(keeper: RequestKeeper, *names: str) -> None:
        for name in names:
            number = next(keeper.numbers)
            row = (number, number, "GET", "/papi/v1/ping", b"", b"", name.encode(), "::1", 1, 200, 0, 1_000, 0)
            keeper.taken.append(row)

    async def scene(here: Venue) -> None:
        there = await Venue.open(Settings(store=lasting))
        alice = await enrolled(here)
        await here.add_key(alice, api_key="alice-key")
        for venue in (here, there):
            taken(venue.take_requests(), "alice-key", "mallory", "alice-key")
            await venue.take_requests().keep()
        assert await here.newest_request() == await there.newest_request() == 6
        assert [one.id for one in (await there.requests(None)).answered] == [6, 5, 4, 3, 2, 1]
        assert [one.id for one in (await here.requests(alice)).answered] == [6, 4, 3, 1]
        assert [one.id for one in (await here.requests(alice, before=6, limit=2)).answered] == [4, 3]
        assert [one.id for one in (await here.requests(alice, before=6, after=3)).answered] == [4]
        await here.revoke_key("alice-key")
        taken(there.take_requests(), *["alice-key"] * (KEPT_AT_ONCE + 5))
        await there.close()
        page = await here.requests(alice, limit=KEPT_AT_ONCE)
        assert (len(page.answered), page.left_out) == (KEPT_AT_ONCE, 5)
        assert (await here.requests(alice, before=page.answered[-1].id)).left_out == 0
        assert (await here.requests(new_account_id(1), after=5)).left_out == 5

    run(lasting, scene)
