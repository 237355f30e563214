"""Scenario files: what they make, what they refuse and where, and that a refused one leaves nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from catchment import scenario
from catchment.asset import MAX_UNITS
from catchment.config import Settings
from catchment.errors import Refused, Rejection
from catchment.ledger.balance import AccountState, Balance, standing_of
from catchment.market import Figure
from catchment.signature import Algorithm, Permission, sign_hmac
from catchment.venue import Venue

Result = TypeVar("Result")

WHOLE = """
[[account]]
name = "alice"

[[account.key]]
api_key = "alice-key"
secret = "alice-secret"

[[account.key]]
api_key = "alice-reads"
secret = "other-secret"
permissions = ["READ"]
ip_allow = ["10.0.0.0/8"]

[account.UM]
USDT = "12345678901.12345679"
ETH = "-0.4"
[account.CM]
BTC = "0.12345678"
[account.MARGIN]
USDT = "1000.1"
BTC = { free = "0.5", locked = "0.1" }

[[account]]
name = "bob"
portfolio_margin = false
"""

POSITION = '[[account]]\nname = "a"\n[[account.position]]\namount = "1"\nentry_price = "1"\n{}'


def on_a_venue(work: Callable[[Venue], Awaitable[Result]], store: str = "memory:", **settings: int) -> Result:
    async def opened() -> Result:
        venue = await Venue.open(Settings(store=store, **settings))  # type: ignore[arg-type]
        try:
            return await work(venue)
        finally:
            await venue.close()

    return asyncio.run(opened())


async def balances(venue: Venue, name: str) -> dict[str, Balance]:
    return (await state_of(venue, name)).balances


async def state_of(venue: Venue, name: str) -> AccountState:
    account = await venue.account(name)
    assert not isinstance(account, Rejection)
    state = await venue.state(account.id)
    assert state is not None
    return state


def holding(text: str, wallet: str = "MARGIN") -> dict[str, Balance]:
    """The balances of one account with one wallet written so."""

    async def work(venue: Venue) -> dict[str, Balance]:
        await scenario.apply(venue, scenario.parse(f'[[account]]\nname = "a"\n[account.{wallet}]\n{text}\n'))
        assert not (await venue.verify()).findings
        return await balances(venue, "a")

    return on_a_venue(work)


def refusal_of(text: str) -> str:
    with pytest.raises(Refused) as caught:
        on_a_venue(lambda venue: scenario.apply(venue, scenario.parse(text)))
    assert caught.value.rejection.name == "BAD_SCENARIO"
    return caught.value.rejection.sentence.removeprefix("Scenario: ")


def test_a_whole_scenario_is_made() -> None:
    async def work(venue: Venue) -> None:
        applied = await scenario.apply(venue, scenario.parse(WHOLE))
        assert applied == scenario.Applied(made=("alice", "bob"), left=())
        held = await balances(venue, "alice")
        assert held["USDT"].um == 1_234_567_890_112_345_679
        assert held["ETH"].um == -40_000_000
        assert (held["BTC"].cm, held["BTC"].margin_free, held["BTC"].margin_locked) == (12_345_678, 5 * 10**7, 10**7)
        assert held["USDT"].margin_free == 100_010_000_000
        alice, bob = await venue.account("alice"), await venue.account("bob")
        assert not isinstance(alice, Rejection)
        assert not isinstance(bob, Rejection)
        assert alice.portfolio_margin
        assert not bob.portfolio_margin
        assert await venue.keys(bob.id) == []
        whole, reads = await venue.holder("alice-key"), await venue.holder("alice-reads")
        assert whole is not None
        assert reads is not None
        assert whole.verify(b"x", sign_hmac(b"alice-secret", b"x").encode())
        assert whole.key.permissions == frozenset(Permission)
        assert reads.key.permissions == {Permission.READ}
        assert reads.key.ip_allow == ("10.0.0.0/8",)
        assert not (await venue.verify()).findings

    on_a_venue(work)


MARKET = """
[prices]
mark = { BTCUSDT = "61000.5" }
index = { BTC = "60900" }
collateral = { BTC = "0.9" }

[[account]]
name = "alice"
auto_repay = true
UM = { USDT = "-5" }

[[account.position]]
symbol = "BTCUSDT"
amount = "-0.5"
entry_price = "60000"
leverage = 10

[[account.position]]
symbol = "BTCUSD_PERP"
amount = "3"
entry_price = "59000.1"
side = "LONG"
"""


def test_prices_positions_and_the_switch() -> None:
    async def work(venue: Venue) -> None:
        await scenario.apply(venue, scenario.parse(MARKET))
        quotes = await venue.market.quotes()
        assert (quotes.marks["BTCUSDT"], quotes.prices["BTC"], quotes.rates["BTC"]) == (
            6_100_050_000_000,
            6_090_000_000_000,
            90_000_000,
        )
        standing = standing_of(await state_of(venue, "alice"))
        assert standing.auto_repay
        held = {
            key: (position.amount, position.entry_price, position.leverage)
            for key, position in standing.positions.items()
        }
        assert held == {
            "UM:BTCUSDT:BOTH": (-50_000_000, 6_000_000_000_000, 10),
            "CM:BTCUSD_PERP:LONG": (300_000_000, 5_900_010_000_000, 20),
        }
        assert not (await venue.verify()).findings

    on_a_venue(work)


def test_a_price_that_was_set_stays() -> None:
    async def work(venue: Venue) -> None:
        await venue.market.set(Figure.INDEX, "BTC", "1")
        await scenario.apply(venue, scenario.parse(MARKET))
        quotes = await venue.market.quotes()
        assert (quotes.prices["BTC"], quotes.rates["BTC"]) == (10**8, 90_000_000)

    on_a_venue(work)


def test_a_refused_price_leaves_nothing_behind() -> None:
    async def work(venue: Venue) -> None:
        with pytest.raises(Refused):
            await scenario.apply(venue, scenario.parse(MARKET.replace('"0.9"', '"9"')))
        with pytest.raises(Refused):
            await scenario.apply(venue, scenario.parse(MARKET.replace("BTCUSD_PERP", "NOPE")))
        assert [await venue.all_kept(figure) for figure in Figure] == [[], [], []]
        assert [account async for page in venue.accounts() for account in page] == []

    on_a_venue(work)


def test_a_public_key_is_made() -> None:
    pem = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f'[[account]]\nname = "a"\n[[account.key]]\napi_key = "k"\npublic_key = """{pem.decode()}"""\n'

    async def work(venue: Venue) -> Algorithm:
        await scenario.apply(venue, scenario.parse(text))
        holder = await venue.holder("k")
        assert holder is not None
        return holder.key.algorithm

    assert on_a_venue(work) is Algorithm.ED25519


def test_an_account_that_exists_is_left_untouched(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'venue.db'}"
    on_a_venue(lambda venue: scenario.apply(venue, scenario.parse(WHOLE)), store)
    more = WHOLE.replace('"0.12345678"', '"9"') + '\n[[account]]\nname = "carol"\nUM = { USDT = "1" }\n'

    async def work(venue: Venue) -> None:
        before = await balances(venue, "alice")
        applied = await scenario.apply(venue, scenario.parse(more))
        assert applied == scenario.Applied(made=("carol",), left=("alice", "bob"))
        assert await balances(venue, "alice") == before
        assert (await balances(venue, "carol"))["USDT"].um == 10**8

    on_a_venue(work, store)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('USDT = "5"', (5, 0, 0, 0)),
        ('USDT = { free = "5", borrowed = "2" }', (5, 0, 2, 0)),
        ('USDT = { free = "1", borrowed = "4" }', (1, 0, 4, 0)),
        ('USDT = { free = "1", locked = "3", borrowed = "4", interest = "2" }', (1, 3, 4, 2)),
        ('USDT = { borrowed = "4", interest = "1" }', (0, 0, 4, 1)),
        ('USDT = { locked = "2" }', (0, 2, 0, 0)),
        ('USDT = { interest = "2" }', (0, 0, 0, 2)),
    ],
)
def test_cross_margin_is_brought_to_what_is_written(text: str, expected: tuple[int, int, int, int]) -> None:
    held = holding(text)["USDT"]
    units = (held.margin_free, held.margin_locked, -held.borrowed, -held.interest)
    assert units == tuple(number * 10**8 for number in expected)


def test_zero_brings_no_record() -> None:
    assert holding('USDT = { free = "0", locked = "0.0" }') == {}
    assert holding('USDT = "0"', "UM") == {}


@pytest.mark.parametrize("amount", ["5", "0.1", "-2.5", "1e3"])
@pytest.mark.parametrize("wallet", ["UM", "CM", "MARGIN"])
def test_a_bare_number_is_refused_because_it_would_be_a_float(amount: str, wallet: str) -> None:
    sentence = refusal_of(f'[[account]]\nname = "a"\n[account.{wallet}]\nUSDT = {amount}\n')
    assert sentence.startswith(f"account 'a', {wallet}, USDT: write the amount as text")
    assert "float" in sentence


def test_a_bare_number_in_a_margin_table_is_refused() -> None:
    sentence = refusal_of('[[account]]\nname = "a"\nMARGIN = { BTC = { free = 0.5 } }\n')
    assert sentence.startswith("account 'a', MARGIN, BTC, free: write the amount as text, \"0.5\"")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[[account]", "it is not TOML"),
        ("colour = 1", "file: Object contains unknown field `colour`"),
        ('[[account]]\nname = "a"\ncolour = 1', "account 'a': Object contains unknown field `colour`"),
        ('[[account]]\nUM = { USDT = "1" }', "account[0]: Object missing required field `name`"),
        ('[[account]]\nname = "a"\nportfolio_margin = "yes"', "account 'a'.portfolio_margin: "),
        ('[[account]]\nname = "a"\nUM = { USDT = true }', "account 'a'.UM"),
        ('[[account]]\nname = "a"\nMARGIN = { USDT = { owed = "1" } }', "account 'a'.MARGIN"),
        ('[[account]]\nname = " a"', "account ' a': a name has 1 to 64"),
        ('[[account]]\nname = "a"\n[[account]]\nname = "a"', "account 'a': this name stands twice"),
        ("prices = 1", "prices: "),
        ('[prices]\nspot = { BTC = "1" }', "prices: "),
        ("[prices.mark]\nBTCUSDT = 1.5", 'prices, mark, BTCUSDT: write the amount as text, "1.5"'),
        ('[prices.mark]\nNOPE = "1"', 'prices, mark, NOPE: "1": Invalid symbol.'),
        ('[prices.index]\nBTCUSDT = "1"', 'prices, index, BTCUSDT: "1": Invalid asset.'),
        ('[prices.collateral]\nBTC = "1.1"', 'prices, collateral, BTC: "1.1": Data sent'),
        (POSITION.format('symbol = "NOPE"'), "account 'a', position, NOPE: \"1 at 1\": Invalid symbol."),
        (POSITION.format('symbol = "BTCUSDT"\nentry_price = "1"'), "it is not TOML"),
        (POSITION.format('symbol = "BTCUSDT"\nsize = "1"'), "account 'a'.position[0]: "),
        (POSITION.format('symbol = "BTCUSDT"\nside = "LEFT"'), "account 'a', BTCUSDT: Data sent"),
        (POSITION.format('symbol = "BTCUSDT"\nside = "SHORT"'), "account 'a', position, BTCUSDT: \"1 at 1\": "),
        (POSITION.format('symbol = "BTCUSDT"\nleverage = 126'), "account 'a', BTCUSDT: "),
        (POSITION.format('symbol = "BTCUSDT"\nleverage = "3"'), "account 'a'.position[0].leverage: "),
        (
            '[[account]]\nname = "a"\nposition = [{ symbol = "BTCUSDT", amount = 1.5, entry_price = "1" }]',
            "account 'a', position, BTCUSDT, amount: write the amount as text",
        ),
        (
            POSITION.format('symbol = "BTCUSDT"')
            + '\n[[account.position]]\nsymbol = "BTCUSDT"\namount = "2"\nentry_price = "1"',
            "account 'a', position: a symbol and side stand twice",
        ),
        ('[[account]]\nname = "a"\nUM = { usdt = "1" }', "account 'a', UM, usdt: Invalid asset."),
        ('[[account]]\nname = "a"\nCM = { BTC = "x" }', "account 'a', CM, BTC: \"x\": Data sent"),
        ('[[account]]\nname = "a"\nCM = { BTC = "0.123456789" }', "account 'a', CM, BTC: \"0.123456789\": Precision"),
        ('[[account]]\nname = "a"\nMARGIN = { BTC = "-1" }', "account 'a', MARGIN, BTC, free: \"-1\" is negative"),
        ('[[account]]\nname = "a"\nMARGIN = { BTC = { borrowed = "-1" } }', "account 'a', MARGIN, BTC, borrowed: "),
        ('[[account]]\nname = "a"\nkey = [{ api_key = "k" }]', "account 'a', key, k: give a secret or"),
        (
            '[[account]]\nname = "a"\nkey = [{ api_key = "k", secret = "s", public_key = "p" }]',
            "account 'a', key, k: give a secret or",
        ),
        ('[[account]]\nname = "a"\nkey = [{ api_key = "k", public_key = "p" }]', "account 'a', key, k, public_key: "),
        ('[[account]]\nname = "a"\nkey = [{ api_key = "k k", secret = "s" }]', "account 'a', key, k k: API-key format"),
        (
            '[[account]]\nname = "a"\nkey = [{ api_key = "k", secret = "s", ip_allow = ["x"] }]',
            "account 'a', key, k, ip_allow: ",
        ),
        (
            '[[account]]\nname = "a"\nkey = [{ api_key = "k", secret = "s", permissions = ["WITHDRAW"] }]',
            "account 'a'.key[0].permissions",
        ),
        (
            '[[account]]\nname = "a"\nkey = [{ api_key = "k", secret = "s" }, { api_key = "k", secret = "t" }]',
            "account 'a', key, k: this API key stands twice",
        ),
    ],
)
def test_a_refusal_says_where(text: str, where: str) -> None:
    assert refusal_of(text).startswith(where)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[[account]]\nname = "\xe4"\n')
    for path in (tmp_path / "none.toml", tmp_path, latin):
        with pytest.raises(Refused, match=r"^Scenario: ") as caught:
            scenario.read(path)
        assert str(path) in caught.value.rejection.sentence


@pytest.mark.parametrize(
    "second",
    [
        'UM = { NONE = "1" }',
        f'MARGIN = {{ USDT = {{ free = "{MAX_UNITS // 10**8}", locked = "1" }} }}',
        'key = [{ api_key = "taken", secret = "s" }]',
    ],
)
def test_nothing_is_written_when_a_later_account_is_refused(second: str) -> None:
    async def work(venue: Venue) -> None:
        other = await venue.add_account("other")
        assert not isinstance(other, Rejection)
        await venue.add_key(other.id, api_key="taken")
        plan = scenario.parse(f'[[account]]\nname = "a"\nUM = {{ USDT = "1" }}\n[[account]]\nname = "b"\n{second}\n')
        with pytest.raises(Refused) as caught:
            await scenario.apply(venue, plan)
        assert caught.value.rejection.name == "BAD_SCENARIO"
        assert "account 'b'" in caught.value.rejection.sentence
        assert [account.name async for page in venue.accounts() for account in page] == ["other"]
        assert await venue.tail(0) == []

    on_a_venue(work)


def test_more_commands_than_the_queue_holds() -> None:
    text = "".join(f'[[account]]\nname = "a{at}"\nUM = {{ USDT = "1", BTC = "1", ETH = "1" }}\n' for at in range(5))

    async def work(venue: Venue) -> int:
        await scenario.apply(venue, scenario.parse(text))
        return len(await venue.tail(0))

    assert on_a_venue(work, queue=2) == 15


def test_no_secret_in_a_repr() -> None:
    shown = repr(scenario.parse(WHOLE))
    assert "alice-key" in shown
    assert "secret" not in shown
