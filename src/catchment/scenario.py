"""Scenario files: TOML that seeds a venue with prices, accounts, keys, balances and positions.

Reading is strict: an unknown name, a bare number for an amount, or anything the venue would refuse is BAD_SCENARIO with
the place in the file, before anything is written. An account or a price that is there already is left untouched.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from catchment import errors, signature
from catchment.errors import Refused, Rejection
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.commands import (
    Adjustment,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    Reason,
    SetAutoRepay,
    Trigger,
    Withdrawal,
)
from catchment.ledger.ledger import apply as apply_record
from catchment.ledger.ledger import decide
from catchment.margin import DEFAULT_LEVERAGE, Quotes, named_position
from catchment.market import Figure
from catchment.signature import Permission
from catchment.venue import Venue, valid_account_name, valid_api_key, valid_network
from catchment.wallet import Wallet

Answer = TypeVar("Answer")

COMMANDS_AT_ONCE: Final = 1_000
"""How many commands wait in the venue's queue at most, less if the queue is shorter."""


class KeyPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An API key to make: HMAC with its `secret`, or RSA or Ed25519 by the PEM of a `public_key`."""

    api_key: str
    secret: str = ""
    public_key: str = ""
    permissions: frozenset[Permission] = frozenset(Permission)
    ip_allow: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"KeyPlan({self.api_key})"


class MarginPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Cross Margin holds of an asset, as decimal texts; what is borrowed and its interest are positive."""

    free: str = "0"
    locked: str = "0"
    borrowed: str = "0"
    interest: str = "0"


class PositionPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A UM or CM position: a signed amount (on CM of contracts) and its entry price, as decimal texts."""

    symbol: str
    amount: str
    entry_price: str
    leverage: int = DEFAULT_LEVERAGE
    side: str = "BOTH"


class AccountPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account to make, its keys, by wallet its balances as decimal texts, and its positions."""

    name: str
    portfolio_margin: bool = True
    auto_repay: bool = False
    key: tuple[KeyPlan, ...] = ()
    position: tuple[PositionPlan, ...] = ()
    UM: dict[str, str] = {}
    CM: dict[str, str] = {}
    MARGIN: dict[str, str | MarginPlan] = {}


class PricesPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mark prices by symbol, index prices in USD and collateral rates by asset, as decimal texts."""

    mark: dict[str, str] = {}
    index: dict[str, str] = {}
    collateral: dict[str, str] = {}

    def figures(self) -> Iterator[tuple[Figure, str, str, str]]:
        """What is set, to what, and where that stands in the file."""
        for figure in Figure:
            for name, text in getattr(self, figure.name.lower()).items():
                yield figure, name, text, f"prices, {figure.name.lower()}, {name}"


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The accounts of a file, in its order, and its prices."""

    account: tuple[AccountPlan, ...] = ()
    prices: PricesPlan = PricesPlan()


class Applied(msgspec.Struct, frozen=True):
    """The names of the accounts that were made, and of those that existed and were left untouched."""

    made: tuple[str, ...]
    left: tuple[str, ...]


def read(path: Path) -> Scenario:
    """The scenario of a file. Refuses (BAD_SCENARIO) what cannot be read and what `parse` refuses."""
    try:
        return parse(path.read_text("utf-8"))
    except OSError as error:
        raise _bad(str(path), error.strerror or "cannot be read") from None
    except UnicodeDecodeError as error:
        raise _bad(str(path), f"is not UTF-8: {error.reason}") from None


def parse(text: str) -> Scenario:
    """The scenario of a TOML text.

    Refuses (BAD_SCENARIO) what is not TOML, an unknown name, a value of the wrong type, a bare number for an amount, a
    name or API key said twice, and a key that has neither a secret nor a public key, or both.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(errors.BAD_SCENARIO(f"it is not TOML: {error}")) from None
    _refuse_bare_numbers(raw)
    try:
        scenario = msgspec.convert(raw, Scenario)
    except msgspec.ValidationError as error:
        raise Refused(errors.BAD_SCENARIO(_in_words(str(error), raw))) from None
    _refuse_doubles(scenario)
    for account in scenario.account:
        _check_account(account)
    return scenario


async def apply(venue: Venue, scenario: Scenario) -> Applied:
    """Set the prices that nobody set yet; make the accounts that do not exist yet, their keys, balances and positions.

    Refuses (BAD_SCENARIO) an unknown asset or symbol, an amount its scale or 63 bits cannot hold, a negative amount in
    Cross Margin, and an API key that lives already; nothing is written then. UM and CM may be negative.
    """
    for figure, name, text, where in scenario.prices.figures():
        _good(venue.market.checked(figure, name, text), where, text)
    missing, left = [], []
    for account in scenario.account:
        found = await venue.account(account.name)
        if isinstance(found, Rejection):
            missing.append(account)
        else:
            left.append(account.name)
    quotes = await venue.market.quotes()
    plans = [(account, list(_commands(venue, account, quotes))) for account in missing]
    for account, commands in plans:
        _rehearse(venue, account, commands)
        for key in account.key:
            if await venue.holder(key.api_key) is not None:
                raise _bad(_at(account.name, "key", key.api_key), errors.KEY_EXISTS().sentence)
    for figure, name, text, _ in scenario.prices.figures():
        _taken(await venue.market.set(figure, name, text, replace=False))
    asked: list[tuple[AccountId, Command]] = []
    for account, commands in plans:
        made = _taken(await venue.add_account(account.name, account.portfolio_margin))
        for key in account.key:
            _taken(
                await venue.add_key(
                    made.id,
                    api_key=key.api_key,
                    secret=key.secret,
                    public_key=key.public_key,
                    permissions=key.permissions,
                    ip_allow=key.ip_allow,
                )
            )
        asked += [(made.id, command) for command in commands]
    at_once = min(COMMANDS_AT_ONCE, venue.settings.queue)
    for start in range(0, len(asked), at_once):
        for answer in await venue.submit_all(asked[start : start + at_once]):
            _taken(answer)
    return Applied(tuple(account.name for account in missing), tuple(left))


def _taken(answer: Answer | Rejection) -> Answer:
    if isinstance(answer, Rejection):
        raise Refused(answer)
    return answer


# What a text alone tells ----------------------------------------------------------------------------------------------


def _refuse_bare_numbers(raw: dict[str, Any]) -> None:
    """Say why before the type check would only say that a text was expected."""
    for where, amount in _numbers(raw):
        if isinstance(amount, int | float) and not isinstance(amount, bool):
            raise _bad(where, f'write the amount as text, "{amount}": a bare number would become a float')


def _numbers(raw: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every amount and price of a file, whatever its type."""
    for kind, figures in _table(raw.get("prices")):
        yield from ((f"prices, {kind}, {name}", figure) for name, figure in _table(figures))
    for account in _list(raw.get("account")):
        who = dict(_table(account)).get("name", "?")
        for wallet, amounts in _table(account):
            if wallet in set(Wallet) and isinstance(amounts, dict):
                yield from _amounts(amounts, who, wallet)
        for position in _list(dict(_table(account)).get("position")):
            plan = dict(_table(position))
            where = _at(who, "position", str(plan.get("symbol", "?")))
            yield from ((f"{where}, {name}", plan[name]) for name in ("amount", "entry_price") if name in plan)


def _table(part: Any) -> list[tuple[str, Any]]:
    return list(part.items()) if isinstance(part, dict) else []


def _list(part: Any) -> list[Any]:
    return part if isinstance(part, list) else []


def _amounts(amounts: dict[str, Any], *where: str) -> Iterator[tuple[str, Any]]:
    for name, amount in amounts.items():
        if isinstance(amount, dict):
            yield from _amounts(amount, *where, name)
        else:
            yield _at(*where, name), amount


def _in_words(sentence: str, raw: dict[str, Any]) -> str:
    """msgspec says "... - at `$.account[0].key[1].secret`": the place comes first here, the account by its name."""
    reason, _, place = sentence.partition(" - at `$.")
    place = place.rstrip("`") or "file"
    index = place.removeprefix("account[").partition("]")[0]
    if place.startswith("account[") and index.isdecimal():
        account = raw["account"][int(index)]
        if isinstance(account, dict) and isinstance(account.get("name"), str):
            place = place.replace(f"account[{index}]", f"account '{account['name']}'", 1)
    return f"{place}: {reason}"


def _refuse_doubles(scenario: Scenario) -> None:
    names: set[str] = set()
    api_keys: set[str] = set()
    for account in scenario.account:
        if account.name in names:
            raise _bad(_at(account.name), "this name stands twice")
        names.add(account.name)
        for key in account.key:
            if key.api_key in api_keys:
                raise _bad(_at(account.name, "key", key.api_key), "this API key stands twice")
            api_keys.add(key.api_key)


def _check_account(account: AccountPlan) -> None:
    if not valid_account_name(account.name):
        raise _bad(_at(account.name), "a name has 1 to 64 printable characters, none of them a blank at either end")
    if len({(position.symbol, position.side) for position in account.position}) < len(account.position):
        raise _bad(_at(account.name, "position"), "a symbol and side stand twice")
    for key in account.key:
        where = _at(account.name, "key", key.api_key)
        if not valid_api_key(key.api_key):
            raise _bad(where, errors.BAD_API_KEY_FMT().sentence)
        if bool(key.secret) == bool(key.public_key):
            raise _bad(where, "give a secret or a public_key, and not both")
        if not all(map(valid_network, key.ip_allow)):
            raise _bad(f"{where}, ip_allow", "lists IP addresses or networks")
        if key.public_key:
            made = signature.public_key_verifier(key.public_key.encode())
            if isinstance(made, Rejection):
                raise _bad(f"{where}, public_key", "is not the PEM of an RSA or Ed25519 public key")


# What needs the venue -------------------------------------------------------------------------------------------------


def _commands(venue: Venue, account: AccountPlan, quotes: Quotes) -> Iterator[Command]:
    """What brings the account to its balances, then its switch and positions. A futures wallet is brought there as by
    trading; Cross Margin by a loan first, then by the deposit or withdrawal that is left to do, then by the lock and
    the interest."""
    for wallet, amounts in ((Wallet.UM, account.UM), (Wallet.CM, account.CM)):
        for asset, text in amounts.items():
            units = _units(venue, asset, text, _at(account.name, wallet, asset))
            if units:
                yield Adjustment(wallet, asset, units, Reason.REALIZED_PNL)
    for asset, amount in account.MARGIN.items():
        plan = MarginPlan(free=amount) if isinstance(amount, str) else amount
        free, locked, borrowed, interest = (
            _owned(venue, asset, getattr(plan, field), _at(account.name, "MARGIN", asset, field))
            for field in ("free", "locked", "borrowed", "interest")
        )
        if borrowed:
            yield MarginAdjustment(asset, borrowed, MarginReason.BORROW)
        if free + locked > borrowed:
            yield Deposit(asset, free + locked - borrowed)
        elif free + locked < borrowed:
            yield Withdrawal(asset, borrowed - free - locked)
        if locked:
            yield MarginAdjustment(asset, locked, MarginReason.LOCK)
        if interest:
            yield MarginAdjustment(asset, interest, MarginReason.INTEREST)
    if account.auto_repay:
        yield SetAutoRepay(True, Trigger.OPERATOR)
    for held in account.position:
        named = named_position(quotes, held.symbol, held.amount, held.entry_price, held.leverage, held.side)
        yield _good(named, _at(account.name, "position", held.symbol), f"{held.amount} at {held.entry_price}")


def _units(venue: Venue, asset: str, text: str, where: str) -> int:
    if asset not in venue.assets:
        raise _bad(where, errors.BAD_ASSET().sentence)
    return _good(venue.assets[asset].units(text), where, text)


def _good(found: Answer | Rejection, where: str, text: str) -> Answer:
    if isinstance(found, Rejection):
        raise _bad(where, f'"{text}": {found.sentence}')
    return found


def _owned(venue: Venue, asset: str, text: str, where: str) -> int:
    units = _units(venue, asset, text, where)
    if units < 0:
        raise _bad(where, f'"{text}" is negative; only UM and CM may be')
    return units


def _rehearse(venue: Venue, account: AccountPlan, commands: list[Command]) -> None:
    """Decide everything once on an empty account, so that nothing is refused half-way."""
    state = AccountState(portfolio_margin=account.portfolio_margin)
    for command in commands:
        record = decide(AccountId(bytes(16)), state, command, venue.clock.now(), venue.rules)
        if isinstance(record, Rejection):
            raise _bad(
                _at(account.name, *filter(None, [getattr(command, "asset", getattr(command, "symbol", ""))])),
                record.sentence,
            )
        apply_record(state, record, venue.rules)


def _at(account: str, *rest: str) -> str:
    return ", ".join([f"account '{account}'", *rest])


def _bad(where: str, why: str) -> Refused:
    return Refused(errors.BAD_SCENARIO(f"{where}: {why}"))
