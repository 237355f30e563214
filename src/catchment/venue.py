"""The verbs of the venue: open, submit, preview, balances, keys, history, tail, close. Every face is built on these."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_network
from typing import Final, ParamSpec, TypeVar

import msgspec

from catchment import auditor, errors, margin, market, signature
from catchment.asset import DEFAULT_SCALE, Asset, valid_name
from catchment.auditor import Totals, Verdict
from catchment.batcher import Batcher, LoopBatcher, MakeExecutor, ProcessBatcher, ThreadBatcher
from catchment.clock import Clock, RealClock
from catchment.config import Settings
from catchment.errors import Refused, Rejection
from catchment.ledger import collection
from catchment.ledger.balance import AccountId, AccountState, QuotaUse
from catchment.ledger.commands import AutoCollection, Command, Trigger
from catchment.ledger.journal import Record, Stored
from catchment.ledger.ledger import decide
from catchment.ledger.quota import Quota, Rules
from catchment.limits import MAX_API_KEY_CHARS, MAX_CACHED_KEYS, MAX_COUNTED, Weights
from catchment.request_keeper import RequestKeeper, RequestPage
from catchment.signature import Algorithm, ApiKey, Permission, Verifier
from catchment.store.base import Account, Answered, Note, OnLoop, Store, StoreDamaged
from catchment.store.open import master_key_path, open_store
from catchment.symbol import known_symbols
from catchment.vault import Vault
from catchment.writer import Answer, Asked, Order

logger = logging.getLogger(__name__)

FOREVER: Final = 2**62
"""A time or a number beyond all others."""
PAGE: Final = 1_000
READERS: Final = 2
MAX_NAME: Final = 64
ID_BYTES: Final = 16
NOBODY: Final = AccountId(bytes(ID_BYTES))
"""An id that is never given: its time is 1970."""
WATCHED_EVERY_S: Final = 0.1
"""How long a key revoked by another process may still be taken, and its records unnoticed, in seconds."""
LIFTED: Final = "lifted-ban"
"""The kind of note that ends an address's ban: named by the address, its text is until when the ban was."""

ASSETS: Final = [
    "USDT",
    "USDC",
    "FDUSD",
    "BFUSD",
    "RWUSD",
    "BTC",
    "ETH",
    "BNB",
    "SOL",
    "XRP",
    "DOGE",
    "ADA",
    "TRX",
    "LINK",
    "AVAX",
    "DOT",
    "LTC",
    "BCH",
    "ETC",
    "ATOM",
    "UNI",
    "FIL",
    "NEAR",
    "APT",
    "SUI",
]
"""Known to every venue at 8 decimals; the setting `assets` adds more."""

STABLECOINS: Final = market.STABLECOINS
USD: Final = margin.USD

Listener = Callable[[Sequence[Answer]], None]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Holder(msgspec.Struct, frozen=True):
    """A living key, ready to verify with, and the account behind it."""

    key: ApiKey
    account: AccountId
    portfolio_margin: bool
    verify: Verifier


class Preview(msgspec.Struct, frozen=True):
    """What a command would do now: its transfers or its refusal, what stays in UM and CM and why, what quotas leave."""

    answer: Record | Rejection
    stays: list[collection.Stay]
    quotas: dict[str, tuple[int, int]]
    """By quota: uses left before this command, and the limit."""
    state: AccountState | None = None
    """What all of it was read from."""


class Counts(msgspec.Struct, frozen=True):
    """Accounts, living keys and records of the whole venue."""

    accounts: int
    keys: int
    records: int


class Left(msgspec.Struct, frozen=True):
    """What a quota leaves: uses, of how many, and when the next use or the day's is free again (milliseconds; 0 if none
    is used)."""

    left: int
    limit: int
    frees: int


class _Counted(msgspec.Struct, frozen=True):
    """A count of the journal, which holds until a time and while the state tells the same."""

    told: QuotaUse | None
    use: QuotaUse
    until: int


class NewKey(msgspec.Struct, frozen=True):
    """A key just made; `secret` is told this once, and empty for a public key."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.key.api_key})"


class Venue:
    """One open venue over one store. Made by `Venue.open` on the event loop that uses it."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        settings: Settings,
        clock: Clock,
        *,
        apart: bool,
        executor: MakeExecutor = ThreadPoolExecutor,
    ) -> None:
        self.store_address = store.address
        self.settings = settings
        self.clock = clock
        self.rules = rules_of(settings)
        self.assets = _known_assets(store, settings)
        self.prices = _prices(settings)
        self.symbols = known_symbols(settings.symbols, self.assets)
        self.market = market.MarketState(self, self.assets, self.symbols, self.prices)
        self._store = store
        self._vault = vault
        self._readers = executor(READERS, "catchment-reader")
        self._uses: dict[tuple[AccountId, str], _Counted] = {}
        self._holders: OrderedDict[str, Holder | None] = OrderedDict()
        self._keys_version = store.keys_version()
        self.notes_version = store.notes_version()
        """Another number whenever a note was kept or dropped, by whomever: for who remembers what notes say."""
        self._lifted_version: int | None = None
        self.newest = store.newest()
        """The newest sequence known here, by whomever it was written: what a subscriber's cursor is woken by."""
        self.listeners: list[Listener] = []
        """Called on the loop with the answers of each batch of this process, once they were given; and with none, ten
        times a second, when it was looked what other processes did."""
        self.weights = Weights(settings.weight_per_minute)
        """What each address has used at this process, or at all that share it; and who is banned."""
        self._requests = RequestKeeper(
            store,
            clock,
            self._account_behind,
            of_account=settings.requests_kept,
            make_executor=partial(executor, 1, "catchment-requests"),
        )
        self._loop = asyncio.get_running_loop()
        self._batcher = self._make_batcher(apart, executor)
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def open(cls, settings: Settings, clock: Clock | None = None, *, apart: bool = False) -> Venue:
        """Open the store that the settings name. Refuses what the store, the settings or the master key refuse.

        `apart` has a process of its own write, if others can open the store and the clock is the machine's.
        """
        key_path = master_key_path(settings.store)
        store = open_store(settings.store)
        vault = Vault(key_path)
        try:
            sealed_by = store.fingerprint("")
            if sealed_by and vault.fingerprint(create=False) != sealed_by:
                raise Refused(errors.WRONG_MASTER_KEY(vault.place))
            apart = apart and key_path is not None and clock is None and settings.writer != "thread"
            return cls(store, vault, settings, clock or RealClock(), apart=apart)
        except BaseException:
            store.close()
            raise

    async def close(self) -> None:
        """Refuse what comes now, answer everyone who waits, release the store."""
        await self._batcher.close()
        self._watching.cancel()
        await self._requests.close()
        self._readers.shutdown()
        self._store.close()

    # Commands ------------------------------------------------------------------------------------------------------

    def submit(self, account: AccountId, command: Command) -> asyncio.Future[Answer]:
        """Hand a command to the writer. The answer is a stored record, a refusal, or OUTCOME_UNKNOWN."""
        return self._batcher.submit(account, command)

    async def preview(self, account: AccountId, command: Command) -> Preview:
        """What `submit` would answer now, by the same `decide`; nothing is written and no quota is used."""
        return await self._read(self._preview, account, command)

    def _preview(self, account: AccountId, command: Command) -> Preview:
        state = self._store.load([account]).get(account)
        if state is None:
            return Preview(errors.BAD_ACCOUNT(), [], {})
        now = max(self.clock.now(), state.timestamp)
        left = {}
        for rule in self.rules.quotas(command):
            use = self._store.count_uses(account, rule.uses, rule.window.start(now))
            state.quotas[rule.name] = use
            left[rule.name] = (max(0, rule.limit - use.used), rule.limit)
        answer = decide(account, state, command, now, self.rules)
        moved = answer.transfers if isinstance(answer, Record) else ()
        return Preview(answer, collection.stays(state, moved, self.rules.cm_bnb), left, state)

    async def quotas(self, account: AccountId) -> dict[str, Left]:
        """What every quota in force leaves an account."""
        return await self._read(self._quotas, account)

    def _quotas(self, account: AccountId) -> dict[str, Left]:
        state = self._store.load([account]).get(account, AccountState())
        now = max(self.clock.now(), state.timestamp)
        left = {}
        for rule in self.rules.in_force:
            use = self._counted(account, state, rule, now)
            frees = rule.window.frees(use, now) if use.used else 0
            left[rule.name] = Left(max(0, rule.limit - use.used), rule.limit, frees)
        return left

    def _counted(self, account: AccountId, state: AccountState, rule: Quota, now: int) -> QuotaUse:
        """The uses in the window, exactly. The state counts every use, but may count old ones, too: then the journal is
        asked, and its answer holds until there is another use or the oldest leaves the window."""
        told, start = state.quotas.get(rule.name), rule.window.start(now)
        if told is not None and told.since >= start:
            return told
        known = self._uses.get((account, rule.name))
        if known is not None and known.told == told and now < known.until:
            return known.use
        use = self._store.count_uses(account, rule.uses, start)
        if len(self._uses) >= MAX_COUNTED:
            self._uses.clear()
        self._uses[account, rule.name] = _Counted(told, use, rule.window.frees(use, now) if use.used else FOREVER)
        return use

    def submit_all(self, asked: Sequence[Asked]) -> asyncio.Future[list[Answer]]:
        """Many commands at once, in the writer's batches; answers in the order asked. Bounded by the queue."""
        return self._batcher.submit_all(asked)

    # Readings ------------------------------------------------------------------------------------------------------

    async def state(self, account: AccountId) -> AccountState | None:
        """An account's balances as of the last commit."""
        return (await self.states([account])).get(account)

    async def states(self, accounts: Collection[AccountId]) -> dict[AccountId, AccountState]:
        """The same of many accounts, each as of one commit; one that does not exist is left out."""
        return await self._read(self._store.load, accounts)

    async def sound_states(self, accounts: Sequence[AccountId]) -> dict[AccountId, AccountState]:
        """The same, in the order asked; one whose state is damaged is left out."""
        return await self._read(self._sound_states, accounts)

    def _sound_states(self, accounts: Sequence[AccountId]) -> dict[AccountId, AccountState]:
        try:
            found = self._store.load(accounts)
        except StoreDamaged as error:
            if len(accounts) == 1:
                logger.error("account %s is left out: %s", accounts[0].hex(), error)
                return {}
            half = len(accounts) // 2
            return self._sound_states(accounts[:half]) | self._sound_states(accounts[half:])
        return {account: found[account] for account in accounts if account in found}

    async def history(
        self,
        account: AccountId,
        *,
        since: int = 0,
        until: int = FOREVER,
        below: int | None = None,
        limit: int = PAGE,
        newest_first: bool = True,
    ) -> list[Stored]:
        """At most `limit` records of an account between two times (milliseconds, both included).

        Newest first, those numbered under `below`; oldest first, those numbered over it: so the last number of one
        page is the `below` of the next.
        """
        edge = below if below is not None else FOREVER if newest_first else 0
        return await self._read(
            self._store.history,
            account,
            since=since,
            until=until,
            below=edge,
            limit=limit,
            newest_first=newest_first,
        )

    async def tail(self, after: int, limit: int = PAGE) -> list[Stored]:
        """At most `limit` records of all accounts after a sequence, in order."""
        return await self._read(self._store.tail, after, limit)

    async def touched(self, after: int, until: int, *, but: Collection[str]) -> set[AccountId]:
        """Accounts with a record between two sequences whose command's name is none of `but`; others may be too."""
        return await self._read(self._store.touched, after, until, but=but)

    # Accounts ------------------------------------------------------------------------------------------------------

    async def add_account(self, name: str, portfolio_margin: bool = True) -> Account | Rejection:
        """A new account with empty wallets. Refuses a name that is taken, empty or over 64 characters."""
        if not valid_account_name(name):
            return errors.INVALID_PARAMETER("name")
        now = self.clock.now()
        account = Account(new_account_id(now), name, portfolio_margin, now)
        return account if await self._read(self._store.add_account, account) else errors.ACCOUNT_EXISTS(name)

    async def account(self, name: str) -> Account | Rejection:
        """An account by its name, or by its id in hexadecimal."""
        found = await self._read(self._store.account_named, name)
        if found is None and len(name) == 2 * ID_BYTES:
            try:
                found = await self._read(self._store.account, AccountId(bytes.fromhex(name)))
            except ValueError:
                found = None
        return found if found is not None else errors.BAD_ACCOUNT()

    async def accounts(self) -> AsyncIterator[list[Account]]:
        """All accounts, in pages, in the order they were made."""
        after = None
        while page := await self._read(self._store.accounts, after, PAGE):
            yield page
            after = page[-1].id

    async def accounts_before(self, before: AccountId | None, limit: int) -> list[Account]:
        """The last accounts, or the last of those before one, in the order they were made."""
        return await self._read(self._store.accounts_before, before, limit)

    async def accounts_after(self, after: AccountId | None, limit: int) -> list[Account]:
        """The first accounts, or the first of those after one, in the order they were made."""
        return await self._read(self._store.accounts, after, limit)

    # API keys ------------------------------------------------------------------------------------------------------

    async def add_key(
        self,
        account: AccountId,
        *,
        api_key: str = "",
        secret: str = "",
        public_key: str = "",
        permissions: frozenset[Permission] = frozenset(Permission),
        ip_allow: tuple[str, ...] = (),
    ) -> NewKey | Rejection:
        """A new key: HMAC with a secret (given, or made), or the PEM of an RSA or Ed25519 public key.

        Refuses a text that is taken, a public key that is neither, an address that is none.
        """
        api_key = api_key or signature.make_token()
        if not valid_api_key(api_key):
            return errors.BAD_API_KEY_FMT()
        if not all(map(valid_network, ip_allow)):
            return errors.INVALID_PARAMETER("ip_allow")
        if public_key:
            made = signature.public_key_verifier(public_key.encode())
            if isinstance(made, Rejection):
                return made
            algorithm, material, secret = made[0], public_key.encode(), ""
        else:
            secret = secret or signature.make_token()
            algorithm, material = Algorithm.HMAC, await self._read(self._seal, secret.encode())
        key = ApiKey(api_key, account, algorithm, material, permissions, ip_allow, self.clock.now())
        if not await self._read(self._store.add_key, key):
            return errors.KEY_EXISTS()
        self._forget_keys()
        return NewKey(key, secret)

    async def keys(self, account: AccountId) -> list[ApiKey]:
        """An account's keys, revoked ones included; the store knows no secret in clear."""
        return await self._read(self._store.keys, account)

    async def revoke_key(self, api_key: str) -> Rejection | None:
        """End a key at once. Refuses a key that does not live."""
        if not await self._read(self._store.revoke_key, api_key, self.clock.now()):
            return errors.NO_SUCH_KEY(api_key)
        self._forget_keys()
        return None

    def held(self, api_key: str) -> Holder | None:
        """A living key that was looked up before: the quick half of `holder`, which is asked when this is None."""
        return self._holders.get(api_key)

    async def holder(self, api_key: str) -> Holder | None:
        """The living key of this text, or None. What was found is remembered, within a bound."""
        if api_key in self._holders:
            return self._holders[api_key]
        version = self._keys_version
        holder = await self._read(self._make_holder, api_key)
        if version == self._keys_version:
            if len(self._holders) >= MAX_CACHED_KEYS:
                self._holders.popitem(last=False)
            self._holders[api_key] = holder
        return holder

    def _make_holder(self, api_key: str) -> Holder | None:
        key = self._store.key(api_key)
        if key is None or key.revoked:
            return None
        account = self._store.account(AccountId(key.account))
        if account is None:
            return None
        if key.algorithm is Algorithm.HMAC:
            return Holder(
                key, account.id, account.portfolio_margin, signature.hmac_verifier(self._vault.open(key.material))
            )
        made = signature.public_key_verifier(key.material)
        return None if isinstance(made, Rejection) else Holder(key, account.id, account.portfolio_margin, made[1])

    def _seal(self, secret: bytes) -> bytes:
        if self._store.fingerprint(self._vault.fingerprint(create=True)) != self._vault.fingerprint(create=True):
            raise Refused(errors.WRONG_MASTER_KEY(self._vault.place))
        return self._vault.seal(secret)

    async def _watch(self) -> None:
        """Notice what another process did: keys added or revoked, records written."""
        failed = False
        while True:
            await asyncio.sleep(WATCHED_EVERY_S)
            try:
                version, notes_version, newest = await self._read(self._look)
            except Exception as error:
                if not failed:
                    logger.error("what other processes do cannot be read: %s", error)
                failed = True
                continue
            failed = False
            self.notes_version = notes_version
            if self._lifted_version != notes_version:
                for note in await self.all_kept(LIFTED):
                    self.weights.lift(note.name, int(note.text), self.clock.now())
                self._lifted_version = notes_version
            self._landed(newest)
            if version != self._keys_version:
                self._keys_version = version
                self._holders.clear()

    def _look(self) -> tuple[int, int, int]:
        return self._store.keys_version(), self._store.notes_version(), self._store.newest()

    def _forget_keys(self) -> None:
        """Takes a version that no store has, and each time another: a look-up under way must not be remembered."""
        self._keys_version = min(self._keys_version, 0) - 1
        self._holders.clear()

    # Notes: what is to be remembered and is not money --------------------------------------------------------------

    async def keep(self, kind: str, name: str, text: str, *, expires: int = 0, replace: bool = True) -> bool:
        """Keep a note until `expires` (milliseconds; 0: for ever). False if one is there and `replace` is not said."""
        note = Note(kind, name, text, expires)
        done = await self._read(self._store.put_note, note, self.clock.now(), replace=replace)
        await self._noted()
        return done

    async def kept(self, kind: str, name: str) -> Note | None:
        """The living note of that name."""
        return await self._read(self._store.note, kind, name, self.clock.now())

    async def all_kept(self, kind: str) -> list[Note]:
        """Every living note of a kind, in the order of their names."""
        return await self._read(self._store.notes, kind, self.clock.now())

    async def drop(self, kind: str, name: str) -> bool:
        """Forget a note. True for one caller alone, and only if it was living: what may be used once is dropped."""
        done = await self._read(self._store.drop_note, kind, name, self.clock.now())
        await self._noted()
        return done

    async def _noted(self) -> None:
        self.notes_version = await self._read(self._store.notes_version)

    # Bans ----------------------------------------------------------------------------------------------------------

    async def lift_ban(self, address: str) -> bool:
        """End the ban of an address here at once, and at every other server of this store within 0.1 s; False if there
        is none here."""
        now = self.clock.now()
        until = max((ban.banned_until for ban in self.weights.bans(now) if ban.address == address), default=0)
        if until:
            await self.keep(LIFTED, address, str(until), expires=until)
            self.weights.lift(address, until, now)
        return bool(until)

    # Requests, for people to look at -------------------------------------------------------------------------------

    def take_requests(self) -> RequestKeeper:
        """For a face: where to put the requests it answers. They are kept from now on, unless that is switched off."""
        self._requests.begin(self._loop)
        return self._requests

    async def requests(
        self, account: AccountId | None, *, before: int = FOREVER, after: int = 0, limit: int = PAGE
    ) -> RequestPage:
        """The last requests with an account's keys, or all of them, by whichever server they were answered; between two
        ids that are known already, if they are given. A request is there within a second.
        """
        return await self._read(self._request_page, account, before, after, limit)

    def _request_page(self, account: AccountId | None, before: int, after: int, limit: int) -> RequestPage:
        kept = self._requests.kept
        answered = [one for one in kept.newest(account, before, limit) if one.id > after]
        since = answered[-1].id if len(answered) == limit else after + 1
        return RequestPage(answered, kept.left_out(since, before))

    async def request_of(self, account: AccountId, number: int) -> Answered | None:
        """The request that made a record of an account, if it is kept."""
        return await self._read(self._requests.kept.of_record, account, number)

    async def newest_request(self) -> int:
        """The newest id, for who waits for another one: cheap to ask."""
        return await self._read(self._requests.kept.last)

    def _account_behind(self, api_key: str) -> AccountId | None:
        holder = self._holders.get(api_key)
        return None if holder is None else holder.account

    # Trust ---------------------------------------------------------------------------------------------------------

    async def verify(self, progress: Callable[[int], None] = lambda _: None) -> Verdict:
        """Check every invariant over the whole journal and every stored state; see `auditor.verify`.

        `progress` is called, from any thread, with the number of records read.
        """
        return await auditor.verify(self._store, self.settings.store, self.rules, progress, self._readers)

    async def totals(self, progress: Callable[[int], None] = lambda _: None) -> Totals:
        """What all accounts hold by their stored states, and whether it sums to zero; see `auditor.totals`.

        `progress` is called with the number of accounts added; `counts` has how many there are.
        """
        return await auditor.totals(self._store, progress, self._readers)

    async def counts(self) -> Counts:
        """How much there is in the whole venue."""
        accounts, keys = await self._read(self._store.count)
        return Counts(accounts, keys, await self._read(self._store.newest))

    async def ailment(self) -> str | None:
        """Why the venue cannot work, if it cannot. A reading, then a command for nobody: it walks the whole way through
        the writer and its transaction, and is refused there with nothing written."""
        try:
            await self.account("")
        except Exception:  # the store's own words are for the log of whoever reads more
            return "the store cannot be read"
        answer = await self.submit(NOBODY, AutoCollection(Trigger.OPERATOR))
        if isinstance(answer, Rejection) and answer.refusal is not errors.BAD_ACCOUNT:
            return f"the writer takes no commands: {answer.name}"
        return None

    # Inside --------------------------------------------------------------------------------------------------------

    def _make_batcher(self, apart: bool, executor: MakeExecutor) -> Batcher:
        queue, batch, store = self.settings.queue, self.settings.batch, self._store
        if self.settings.writer == "auto" and isinstance(store, OnLoop):
            return LoopBatcher(store.on_loop(), self.clock, self.rules, queue=queue, batch=batch, landed=self._landed)
        if apart:
            return ProcessBatcher(Order(self.settings.store, self.rules, batch), queue=queue, landed=self._landed)
        return ThreadBatcher(
            store, self.clock, self.rules, queue=queue, batch=batch, landed=self._landed, executor=executor
        )

    def _landed(self, newest: int, answers: Sequence[Answer] = ()) -> None:
        """Something was committed, up to a sequence."""
        self.newest = max(self.newest, newest)
        for listener in self.listeners:
            listener(answers)

    async def _read(
        self, call: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """A blocking call on a reader's thread, so that the loop never waits for a disk."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, partial(call, *args, **kwargs))


def rules_of(settings: Settings) -> Rules:
    """The rules of the ledger that the settings choose."""
    return Rules(
        cm_bnb=collection.CmBnb(settings.collection_cm_bnb),
        shared_daily=settings.quota_shared_daily,
        api_per_hour=settings.quota_api_per_hour,
        button_per_day=settings.quota_button_per_day,
    )


def new_account_id(now: int) -> AccountId:
    """48 bits of milliseconds, 80 random ones: ordered by time, unique without asking anyone."""
    return AccountId(now.to_bytes(6, "big") + secrets.token_bytes(10))


def valid_account_name(name: str) -> bool:
    """Whether an account may be called so: 1 to 64 printable characters, none of them a blank at either end."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()


def valid_api_key(text: str) -> bool:
    """Whether a text can be an API key: 1 to 128 printable ASCII characters without a space."""
    return 0 < len(text) <= MAX_API_KEY_CHARS and text.isascii() and text.isprintable() and " " not in text


def valid_network(text: str) -> bool:
    """Whether a text is an IP address or a network, as `ip_allow` lists them."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _known_assets(store: Store, settings: Settings) -> dict[str, Asset]:
    """Every asset of the store and the settings; refuses a setting that would change a scale."""
    wanted = dict.fromkeys(ASSETS, DEFAULT_SCALE) | settings.assets
    for name in wanted:
        if not valid_name(name):
            raise Refused(errors.BAD_SETTING("assets", f"{name!r} is not an asset's name"))
    known = store.add_assets(wanted)
    for name, scale in settings.assets.items():
        if known[name] != scale:
            raise Refused(errors.SCALE_CHANGED(name, known[name], scale))
    return {name: Asset(name, scale) for name, scale in sorted(known.items())}


def _prices(settings: Settings) -> dict[str, int]:
    """Index prices in USD at 8 decimals, by asset, as the settings say; `Venue.market` knows what was set since."""
    prices = {name: USD.units(text) for name, text in (market.PRICES | settings.prices).items()}
    for name, price in prices.items():
        if isinstance(price, Rejection) or price < 0:
            raise Refused(errors.BAD_SETTING("prices", f"the price of {name} is not a decimal text"))
    return {name: price for name, price in prices.items() if isinstance(price, int)}
