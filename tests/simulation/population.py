"""Who lives in the world: clients that collect and read and retry, operators, those who overdo it, and the weather."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

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
from catchment.signature import Permission
from catchment.store.base import Account
from catchment.wallet import Wallet
from tests.simulation.auditor import code_of
from tests.simulation.history import Exchange, Key
from tests.simulation.stores import Fault
from tests.simulation.world import Server, World

HOUR_MS: Final = 3_600_000
BETWEEN_CROWDS_S: Final = 420
PATIENCE_S: Final = 7_200
"""How long the end waits for those who are not done, in seconds."""
AUTO: Final = "/papi/v1/auto-collection"
ASSET: Final = "/papi/v1/asset-collection"
ASSETS: Final = ("USDT", "BTC", "BNB", "BNB", "WHOLE", "TINY")
AMOUNTS: Final = ("1", "0.5", "3e0", "0.00000001", "0.000000000000000000001", "0", "-1", "abc", "9" * 30, "12345.5", "")


@dataclass
class Person:
    """An account and who uses it; `addresses` are where its clients call from."""

    account: AccountId
    addresses: list[str]
    keys: list[Key] = field(default_factory=list)


class Population:
    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self.people: list[Person] = []
        self._busy: set[asyncio.Task[None]] = set()
        self._acts: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (26, self.collect),
            (18, self.collect_asset),
            (22, self.read),
            (5, self.nonsense),
            (8, self.press_button),
            (34, self.operate),
            (3, self.operate_much),
            (2, self.hammer),
            (3, self.burn_quota),
            (6, self.change_keys),
            (4, self.at_the_command_line),
        ]

    async def live(self, seconds: float) -> None:
        """Crowds of acts at random moments until the time is over; then everybody finishes what they began."""
        world = self.world
        for _ in range(self.rng.randint(3, 9)):
            await self.move_in()
        end = world.loop.now + seconds
        weather = world.loop.create_task(self.weather())
        acts = [act for _, act in self._acts]
        weights = [weight for weight, _ in self._acts]
        while world.loop.now < end:
            await asyncio.sleep(self.rng.expovariate(1 / BETWEEN_CROWDS_S))
            for act in self.rng.choices(acts, weights, k=1 + int(self.rng.expovariate(0.13))):
                self._begin(act)
                if self.rng.random() < 0.3:
                    await asyncio.sleep(self.rng.random() * 0.2)
        weather.cancel()
        world.faults.rate = 0.0
        patience = world.loop.now + PATIENCE_S
        while self._busy and world.loop.now < patience:
            await asyncio.sleep(30)
        await self.look_at_everything()

    def _begin(self, act: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await act()

        task = self.world.loop.create_task(whole())
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    # Clients ---------------------------------------------------------------------------------------------------------

    def signed(self, key: Key, parameters: dict[str, Any]) -> bytes:
        """Parameters with time and signature, as bytes."""
        rng, draw = self.rng, self.rng.random()
        sent = parameters | {
            "timestamp": self.world.wall() - (rng.randrange(100) if draw < 0.9 else rng.randrange(7000))
        }
        if draw < 0.1:
            sent["recvWindow"] = rng.choice([3_000, 60_000, 60_001])
        payload = urlencode(sent).encode()
        return payload + b"&signature=" + hmac.new(key.secret.encode(), payload, "sha256").hexdigest().encode()

    async def ask(self, person: Person, method: str, path: str, **parameters: Any) -> Exchange | None:
        """A signed request; after no answer or a 5xx again, with the same bytes or signed anew."""
        if not person.keys:
            return None
        rng = self.rng
        key = rng.choice(person.keys)
        sent = self.signed(key, parameters)
        while True:
            below = method == "POST" and rng.random() < 0.3
            exchange = await self.world.request(
                rng.choice(person.addresses),
                method,
                path,
                query=b"" if below else sent,
                body=sent if below else b"",
                api_key=key.api_key,
            )
            if (exchange is not None and exchange.status < 500) or rng.random() < 0.25:
                return exchange
            await asyncio.sleep(rng.choice([0.0, 0.2, 1.0, 20.0]))
            if rng.random() < 0.5:
                sent = self.signed(key, parameters)

    async def collect(self) -> None:
        await self.ask(self.person(), "POST", AUTO)

    async def collect_asset(self) -> None:
        rng = self.rng
        parameters: dict[str, Any] = {"asset": rng.choice([*ASSETS, "NONE"])}
        if rng.random() < 0.5:
            amount = rng.choice(AMOUNTS) if rng.random() < 0.6 else f"{rng.random() * 10:.8f}"
            parameters |= {"amount": amount, "futureType": rng.choice(["UM", "CM", "UM", "CM", "OPTION", "XM"])}
            if rng.random() < 0.1:
                del parameters[rng.choice(["asset", "amount", "futureType"])]
        await self.ask(self.person(), "POST", ASSET, **parameters)

    async def read(self) -> None:
        rng = self.rng
        person = self.person()
        path = rng.choice(["balance", "balance", "account", "um/account", "cm/account", "um/income", "cm/income"])
        parameters: dict[str, Any] = {}
        if path == "balance" and rng.random() < 0.4:
            parameters["asset"] = rng.choice([*ASSETS, "NONE"])
        if path.endswith("income"):
            now = self.world.wall()
            choices = {
                "startTime": now - rng.randrange(86_400_000 * 250),
                "endTime": now - rng.randrange(7_200_000),
                "limit": rng.choice([0, 1, 5, 1_000, 1_001]),
                "incomeType": rng.choice(["TRANSFER", "REALIZED_PNL"]),
            }
            parameters = {name: value for name, value in choices.items() if rng.random() < 0.3}
        await self.ask(person, "GET", f"/papi/v1/{path}", **parameters)

    async def nonsense(self) -> None:
        """What the gate must stop, and what it lets anybody do."""
        rng, person = self.rng, self.person()
        key = rng.choice(person.keys) if person.keys else None
        sent = self.signed(key, {}) if key else b"timestamp=1&signature=00"
        name = key.api_key if key else None
        method, path = rng.choice([("POST", AUTO), ("GET", "/papi/v1/balance"), ("GET", "/papi/v1/account")])
        match rng.randrange(7):
            case 0:
                method, path = "GET", rng.choice(["/papi/v1/ping", "/papi/v1/time"])
            case 1:
                path = "/papi/v1/nowhere"
            case 2:
                sent = sent[:-1] + (b"0" if sent[-1:] != b"0" else b"1")
            case 3:
                sent = sent.replace(b"timestamp=1", b"timestamp=2")
            case 4:
                name = rng.choice([None, "", "nobody"])
            case 5:
                sent = sent[: sent.index(b"&signature=")] + b"&signature="
            case _:
                sent = b"recvWindow=5000" + sent[sent.index(b"&signature=") :]
        await self.world.request(rng.choice(person.addresses), method, path, query=sent, api_key=name)

    async def hammer(self) -> None:
        """One address asks far too much, is refused, banned, and comes back the moment it may."""
        rng, world = self.rng, self.world
        person = self.person()
        address = f"10.9.9.{rng.randrange(3)}"
        server = world.any_server()
        for _ in range(rng.randint(8, 26)):
            if server is None or server.gone or not person.keys:
                return
            key = rng.choice(person.keys)
            sent = self.signed(key, {})
            answer = await world.request(address, "POST", AUTO, query=sent, api_key=key.api_key, server=server)
            retry_after = dict(answer.headers).get(b"retry-after") if answer is not None else None
            if retry_after is not None and int(retry_after) < 3_000 and rng.random() < 0.1:
                await asyncio.sleep(int(retry_after) + rng.choice([-1.001, -1.0, -0.001, 0.0, 0.001]))
            elif rng.random() < 0.2:
                await asyncio.sleep(rng.random())

    async def burn_quota(self) -> None:
        """Collect until the quota refuses, from many addresses, and again at the very millisecond it may."""
        rng, world, person = self.rng, self.world, self.person()
        limit = world.settings.quota_api_per_hour
        if limit > 30 and rng.random() < 0.85:
            return
        for _ in range(limit // 6 + 1):  # some more than the limit, for some of them fail
            asked = [self._from_anywhere(person) for _ in range(8)]
            answers = await asyncio.gather(*asked)
            if any(answer is not None and code_of(answer) == -1003 for answer in answers):
                break
        server = world.any_server()
        if server is None or server.gone:
            return
        now = server.clock.now()
        page = {"since": now - HOUR_MS, "until": 2**62, "limit": 1_000}
        own = server.engine.history(person.account, **page, below=0, newest_first=False)
        times = [one.record.timestamp for one in own if one.record.command == AutoCollection(Trigger.API)]
        if times:
            await self._until(server, times[0] + HOUR_MS + rng.choice([-1, 0, 1]))
            await asyncio.gather(*(self._from_anywhere(person, server) for _ in range(rng.randint(1, 2))))

    async def _from_anywhere(self, person: Person, server: Server | None = None) -> Exchange | None:
        """A collection from an address not seen before, by a key that may do it from anywhere if there is one."""
        if not person.keys:
            return None
        fit = [key for key in person.keys if not key.ip_allow and "TRADE" in key.permissions]
        key = self.rng.choice(fit or person.keys)
        address = f"10.8.{self.rng.randrange(256)}.{self.rng.randrange(256)}"
        return await self.world.request(
            address, "POST", AUTO, query=self.signed(key, {}), api_key=key.api_key, server=server
        )

    async def _until(self, server: Server, time: int) -> None:
        """Wait until a server's clock shows a time, to the millisecond unless somebody sets it."""
        loop = self.world.loop
        wait = (time - server.clock.now()) / 1000
        if wait > 0:
            await asyncio.sleep(wait - (loop.now * 1000 % 1) / 1000 + 0.0005)

    # Operators -------------------------------------------------------------------------------------------------------

    def person(self) -> Person:
        return self.rng.choice(self.people)

    def command(self) -> Command:
        rng = self.rng
        asset = rng.choice(ASSETS)
        amount = rng.randrange(1, 10 ** rng.choice([1, 9, 12]))
        if rng.random() < 0.004:
            amount = 2**63 - 1 - rng.randrange(3)
        wallet = rng.choice([Wallet.UM, Wallet.UM, Wallet.CM, Wallet.CM, Wallet.MARGIN])
        signed = amount * rng.choice([1, 1, 1, -1])
        match rng.randrange(12):
            case 0 | 1:
                return Deposit(asset, amount if rng.random() < 0.95 else -amount)
            case 2:
                return Withdrawal(asset, amount)
            case 3:
                return MarginAdjustment(asset, signed, rng.choice(list(MarginReason)))
            case 4:
                return AutoCollection(Trigger.OPERATOR)
            case 5:
                both = rng.random() < 0.8
                return AssetCollection(asset, Trigger.OPERATOR, amount if both else None, wallet if both else None)
        symbol = rng.choice(["", "BTCUSDT"])
        return Adjustment(wallet, asset, signed if rng.random() < 0.98 else 0, rng.choice(list(Reason)), symbol)

    async def operate(self) -> None:
        server = self.world.any_server()
        if server is not None:
            await self._order(server, self.person(), self.command())

    async def operate_much(self) -> None:
        """Several commands for one account in one batch."""
        server = self.world.any_server()
        if server is not None:
            await self._order(server, self.person(), *(self.command() for _ in range(self.rng.randint(2, 12))))

    async def press_button(self) -> None:
        server = self.world.any_server()
        if server is not None:
            presses = self.rng.choice([1, 1, 1, 12])
            await self._order(server, self.person(), *[AutoCollection(Trigger.BUTTON)] * presses)

    async def at_the_command_line(self) -> None:
        person = self.person() if self.rng.random() < 0.9 else Person(AccountId(bytes(16)), [])
        rehearsed = self.rng.choice(
            [AutoCollection(by) for by in (Trigger.API, Trigger.BUTTON, Trigger.OPERATOR)]
            + [AssetCollection("BTC", Trigger.API)]
        )

        async def work(server: Server) -> None:
            await server.preview(person.account, rehearsed)
            await server.order(person.account, self.command())

        await self.world.besides(work)

    async def _order(self, server: Server, person: Person, *commands: Command) -> None:
        await server.start(server.order, person.account, *commands)

    # Accounts and keys -----------------------------------------------------------------------------------------------

    async def move_in(self) -> None:
        """A new account with a key."""
        rng, server = self.rng, self.world.any_server()
        if server is None:
            return
        enrolled = rng.random() < 0.9
        account = await server.start(server.venue.add_account, f"person {len(self.people)} {rng.random()}", enrolled)
        if isinstance(account, Account):
            self.world.history.accounts[account.id.hex()] = enrolled
            addresses = [f"10.{len(self.people)}.0.{rng.randrange(4)}" for _ in range(rng.randint(1, 3))]
            person = Person(account.id, addresses)
            self.people.append(person)
            await self.add_key(server, person)

    async def add_key(self, server: Server, person: Person, *, whole: bool = False) -> None:
        rng, loop = self.rng, self.world.loop
        name = f"key-{len(self.world.history.keys)}"
        rights = frozenset(Permission) if whole or rng.random() < 0.8 else frozenset({rng.choice(list(Permission))})
        ip_allow = () if whole or rng.random() < 0.8 else (person.addresses[0], "10.99.0.0/16")
        rights_told = tuple(sorted(rights))
        key = Key(
            api_key=name,
            secret=f"secret-{name}",
            account=person.account.hex(),
            permissions=rights_told,
            ip_allow=ip_allow,
            maker=server.number,
            asked_at=loop.now,
        )
        self.world.history.keys[name] = key
        made = await server.start(
            server.venue.add_key,
            person.account,
            api_key=name,
            secret=key.secret,
            permissions=rights,
            ip_allow=ip_allow,
        )
        if made is not None and not isinstance(made, Rejection | Exception):
            key.made_at = loop.now
            person.keys.append(key)

    async def change_keys(self) -> None:
        """Make a key or revoke one; the client that had it goes on trying, for it was not told."""
        rng, server, person = self.rng, self.world.any_server(), self.person()
        if server is None or server.gone:
            return
        if rng.random() < 0.1:
            await self.move_in()
        elif len(person.keys) < 2 or rng.random() < 0.4:
            await self.add_key(server, person)
        else:
            await self.revoke_key(server, person, rng.choice(person.keys))

    async def revoke_key(self, server: Server, person: Person, key: Key) -> None:
        """A client that just used the key goes on trying it everywhere."""
        await self._try_key(person, key)
        if key.revoke_asked_at is None:
            key.revoker, key.revoke_asked_at = server.number, self.world.loop.now
            if await server.start(_revoked, server, key) is True:
                key.revoked_at = self.world.loop.now
        for wait in (0.0, 1.0, 100.0, 400.0):
            await asyncio.sleep(self.rng.random() * wait)
            await self._try_key(person, key)
        if key in person.keys:
            person.keys.remove(key)

    async def _try_key(self, person: Person, key: Key) -> None:
        """The same key at every server."""
        for server in self.world.servers:
            if server is not None and not server.gone:
                await self.world.request(
                    person.addresses[0],
                    "GET",
                    "/papi/v1/um/account",
                    query=self.signed(key, {}),
                    api_key=key.api_key,
                    server=server,
                )

    # The weather -----------------------------------------------------------------------------------------------------

    async def weather(self) -> None:
        """How much fails, who is killed, and how the clock is set."""
        rng, world = self.rng, self.world
        while True:
            await asyncio.sleep(rng.expovariate(1 / 2_400))
            if not world.history.terms.calm:
                world.faults.rate = rng.choice([0.0, 0.01, 0.05, 0.2, 0.5])
            place = rng.randrange(len(world.servers))
            server = world.servers[place]
            match rng.randrange(12):
                case 0 | 1 if server is not None:
                    world.faults.counts[Fault.KILLED] += 1
                    server.die()
                case 2:
                    self._begin(partial(world.restart, place))
                case 3 | 4 | 5:
                    world.step_clock(-rng.randrange(1, 3_000))
                case 6 | 7:
                    world.step_clock(rng.randrange(1, 600_000))
                case 8:
                    world.step_clock(rng.randrange(HOUR_MS, 4 * HOUR_MS))
                case 9 if rng.random() < 0.2:
                    world.step_clock(rng.randrange(20 * HOUR_MS, 100 * HOUR_MS))

    async def look_at_everything(self) -> None:
        """The last readings, by a new key of each account, when nothing fails any more."""
        while (server := self.world.any_server()) is None or server.gone:
            await asyncio.sleep(1)
        for person in self.people:
            await self.add_key(server, person, whole=True)
            for path in ("balance", "um/account", "cm/income"):
                sent = self.signed(person.keys[-1], {})
                await self.world.request(
                    "10.7.7.7", "GET", f"/papi/v1/{path}", query=sent, api_key=person.keys[-1].api_key, server=server
                )
                await asyncio.sleep(60)


async def _revoked(server: Server, key: Key) -> bool:
    """Whether a key was revoked; not None, which is no answer."""
    return await server.venue.revoke_key(key.api_key) is None
