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
    AutoExchange,
    BnbTransfer,
    Borrow,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    NegativeInterest,
    Offer,
    Reason,
    Repay,
    RepayNegative,
    SetAutoCollection,
    SetAutoRepay,
    Side,
    Terms,
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
BNB: Final = "/papi/v1/bnb-transfer"
SWITCH: Final = "/papi/v1/repay-futures-switch"
REPAY_NEGATIVE: Final = "/papi/v1/repay-futures-negative-balance"
BORROW: Final = "/papi/v1/marginLoan"
REPAY: Final = "/papi/v1/repayLoan"
HISTORIES: Final = (
    "/papi/v1/margin/marginLoan",
    "/papi/v1/margin/repayLoan",
    "/papi/v1/margin/marginInterestHistory",
    "/papi/v1/portfolio/interest-history",
    "/papi/v1/portfolio/negative-balance-exchange-record",
)
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
            (10, self.around_margin),
            (6, self.read_around_margin),
            (2, self.burn_bnb),
            (8, self.press_button),
            (34, self.operate),
            (3, self.operate_much),
            (2, self.hammer),
            (3, self.burn_quota),
            (6, self.change_keys),
            (4, self.at_the_command_line),
            (2, self.look_after),
            (1, self.turn_much),
            (1, self.schedule_much),
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

    async def around_margin(self) -> None:
        """BNB, repaying and its switch, loans; some of it badly asked."""
        rng, person = self.rng, self.person()
        amount = rng.choice(AMOUNTS) if rng.random() < 0.4 else f"{rng.random() * 10 ** rng.choice([0, 1, 7]):.8f}"
        match rng.randrange(8):
            case 0 | 1 | 2:
                sides = ["TO_UM", "FROM_UM", "TO_UM", "FROM_UM", "TO_CM", ""]
                await self.ask(person, "POST", BNB, amount=amount, transferSide=rng.choice(sides))
            case 3:
                await self.ask(person, "POST", REPAY_NEGATIVE)
            case 4:
                said = rng.choice(["true", "True", "false", "False", "true", "false", "yes", ""])
                await self.ask(person, "POST", SWITCH, autoRepay=said)
            case 5 | 6:
                await self.ask(person, "POST", BORROW, asset=rng.choice([*ASSETS, "NONE"]), amount=amount)
            case _:
                asset = rng.choice([*ASSETS, "NONE"])
                if rng.random() < 0.7:
                    await self.ask(person, "POST", BORROW, asset=asset, amount=amount)
                await self.ask(person, "POST", REPAY, asset=asset, amount=amount if rng.random() < 0.5 else "0.5")

    async def read_around_margin(self) -> None:
        rng, now, day = self.rng, self.world.wall(), 86_400_000
        path = rng.choice([SWITCH, *HISTORIES])
        choices: dict[str, Any] = {
            "startTime": now - rng.randrange(40 * day),
            "endTime": now - rng.randrange(7_200_000),
            "asset": rng.choice([*ASSETS, "NONE"]),
            "size": rng.choice([0, 1, 5, 100]),
            "current": rng.choice([0, 1, 2, 3]),
            "txId": rng.randrange(1, 40) * 10**6,
        }
        if path == SWITCH:
            choices = {}
        if not path.endswith("Loan"):
            choices.pop("txId", None)
        if "portfolio" in path:
            choices.pop("current")
        parameters = {name: value for name, value in choices.items() if rng.random() < 0.4}
        if path.endswith("Loan") and rng.random() < 0.9:
            parameters["asset"] = choices["asset"]
        if path.endswith("exchange-record"):
            parameters = {"startTime": choices["startTime"], "endTime": choices["endTime"]}
        await self.ask(self.person(), "GET", path, **parameters)

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

    async def burn_bnb(self) -> None:
        """BNB there and back until the quota refuses, and again at the very millisecond it may."""
        person, server = self.person(), self.world.any_server()
        if server is None or server.gone:
            return
        await self._order(server, person, Deposit("BNB", 10**9))
        sent = [{"amount": "0.1", "transferSide": self.rng.choice(["TO_UM", "TO_UM", "FROM_UM"])} for _ in range(16)]
        await asyncio.gather(*(self._from_anywhere(person, None, BNB, **one) for one in sent))
        await self._at_the_edge(person, 600_000, BnbTransfer, BNB, amount="0.1", transferSide="TO_UM")

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
        await self._at_the_edge(person, HOUR_MS, AutoCollection, AUTO)

    async def _at_the_edge(self, person: Person, length: int, kind: type[Command], path: str, **sent: Any) -> None:
        """Ask again when the oldest use of a rolling window stops counting, a millisecond before, or after."""
        rng, server = self.rng, self.world.any_server()
        if server is None or server.gone:
            return
        page = {"since": server.clock.now() - length, "until": 2**62, "limit": 1_000}
        own = server.engine.history(person.account, **page, below=0, newest_first=False)
        times = [
            one.record.timestamp
            for one in own
            if isinstance(one.record.command, kind) and getattr(one.record.command, "trigger", None) is Trigger.API
        ]
        if times:
            await self._until(server, times[0] + length + rng.choice([-1, 0, 1]))
            asked = (self._from_anywhere(person, server, path, **sent) for _ in range(rng.randint(1, 2)))
            await asyncio.gather(*asked)

    async def _from_anywhere(
        self, person: Person, server: Server | None = None, path: str = AUTO, **sent: Any
    ) -> Exchange | None:
        """A call from an address not seen before, by a key that may make it from anywhere if there is one."""
        if not person.keys:
            return None
        fit = [key for key in person.keys if not key.ip_allow and "TRADE" in key.permissions]
        key = self.rng.choice(fit or person.keys)
        address = f"10.8.{self.rng.randrange(256)}.{self.rng.randrange(256)}"
        return await self.world.request(
            address, "POST", path, query=self.signed(key, sent), api_key=key.api_key, server=server
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
        match rng.randrange(16):
            case 12 | 13 | 14:
                return self.margin_command(asset, amount, signed)
            case 15:
                return self.own_command()
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

    def margin_command(self, asset: str, amount: int, signed: int) -> Command:
        """What a dashboard or a command line asks for around Cross Margin."""
        rng = self.rng
        by = rng.choice([Trigger.BUTTON, Trigger.OPERATOR])
        match rng.randrange(7):
            case 0:
                return BnbTransfer(signed, rng.choice(list(Side)), by)
            case 1 | 2:
                return RepayNegative(by)
            case 3:
                return SetAutoRepay(rng.random() < 0.7, by)
            case 4:
                return SetAutoCollection(rng.random() < 0.7, by)
            case 5:
                return Borrow(asset, signed, rng.choice([10**9, 10**12, 2**63 - 1]))
        return Repay(asset, signed)

    def own_command(self) -> Command:
        """What the venue does by its own schedule, and at times twice."""
        rng = self.rng
        match rng.randrange(4):
            case 0:
                return RepayNegative(Trigger.SCHEDULE)
            case 1:
                return AutoCollection(Trigger.SCHEDULE)
            case 2:
                names = rng.sample(sorted(set(ASSETS)), 3)
                terms = (Terms(name, rng.choice([0, 10**6]), rng.choice([1, 10**4, 10**7])) for name in names)
                return NegativeInterest(self.world.wall() // 86_400_000, tuple(terms))
        scales = {"WHOLE": 0, "TINY": 18}
        names = rng.sample(sorted(set(ASSETS)), 4)
        offers = [
            Offer(name, rng.choice([1, 10**8, 7 * 10**12]), rng.choice([0, 9 * 10**7, 10**8]), scales.get(name, 8))
            for name in names
        ]
        return AutoExchange(offers[0], rng.choice([0, 10, 10**8]), tuple(offers[rng.choice([0, 1]) :]))

    async def look_after(self) -> None:
        """The venue's own doings, for everybody."""
        for person in self.people:
            server = self.world.any_server()
            if server is not None:
                await self._order(server, person, self.own_command())

    async def turn_much(self) -> None:
        """More changes of Auto Repay than a day allows."""
        server = self.world.any_server()
        if server is not None:
            changes = [SetAutoRepay(change % 2 == 0, Trigger.BUTTON) for change in range(self.rng.randint(3, 22))]
            await self._order(server, self.person(), *changes)

    async def schedule_much(self) -> None:
        """The venue collects by itself, at times more often than it may."""
        server = self.world.any_server()
        if server is not None:
            person, fills = self.person(), Adjustment(Wallet.CM, "BTC", 5, Reason.REALIZED_PNL)
            pair: list[Command] = [fills, AutoCollection(Trigger.SCHEDULE)]
            await self._order(server, person, SetAutoCollection(True, Trigger.BUTTON))
            await self._order(server, person, *pair * self.rng.choice([1, 1, 14]))

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
