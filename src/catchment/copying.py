"""Copies a store into another, whichever engines they are: assets, accounts, API keys, and the journal in order.

At every commit the target is the beginning of the source, so a copy that was stopped anywhere goes on where the
target's journal ends. Nothing is taken on trust: every digest is made anew, and states come from `apply`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Refused
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.journal import Record, Stored, digest_of
from catchment.ledger.ledger import apply
from catchment.ledger.quota import Rules
from catchment.signature import ApiKey
from catchment.store.base import Account, Store

AT_ONCE: Final = 20_000
"""Records committed together, or accounts looked at."""


class Copied(msgspec.Struct, frozen=True):
    """What the target holds now, and how much of it this call brought.

    `compared` accounts were found in both with the same digest and balances; the others have newer records in the
    source, which has gone on by `ahead` records since the call began.
    """

    records: int
    copied: int
    accounts: int
    compared: int
    ahead: int


def copy(source: Store, target: Store, rules: Rules, progress: Callable[[int], None] = lambda _: None) -> Copied:
    """Bring the target to where the source's journal stands now. `progress` is told the last sequence copied.

    Refuses a target that is not the beginning of the source (NOT_A_COPY; nothing was written) and a source whose
    digests, numbers, sequences or states do not follow from its journal (DAMAGED_STORE; what came before it is copied).
    Raises `StoreFailed` or `StoreUnknown`: call again, and it goes on.
    """
    end, begun = source.newest(), target.newest()
    _refuse_other_settings(source, target)
    _refuse_strangers(source, target)
    _refuse_other_records(source, target, begun)
    target.add_assets(source.add_assets({}))
    target.fingerprint(source.fingerprint(""))
    accounts = _bring_accounts(source, target)
    after = begun
    while after < end:
        after = _bring_records(source, target, rules, after, end)
        progress(after)
    compared = _compare_states(source, target)
    return Copied(after, after - begun, accounts, compared, source.newest() - end)


# What must be equal already ------------------------------------------------------------------------------------------


def _refuse_other_settings(source: Store, target: Store) -> None:
    """Assets the source does not know are no harm: a venue that was opened on the target may have added them."""
    scales = source.add_assets({})
    for name, scale in target.add_assets({}).items():
        if scales.get(name, scale) != scale:
            raise _stranger(f"asset {name} has scale {scale} there and {scales[name]} here")
    sealed_by = target.fingerprint("")
    if sealed_by and sealed_by != source.fingerprint(""):
        raise _stranger("its secrets are sealed under another master key")


def _refuse_strangers(source: Store, target: Store) -> None:
    """Accounts and keys of the target that the source does not have."""
    ours = _accounts(source)
    for account in _accounts(target):
        if next((one for one in ours if one.id >= account.id), None) != account:
            raise _stranger(f"account {account.name} ({account.id.hex()}) is another there, or not here")
        keys = {key.api_key: key for key in source.keys(account.id)}
        for key in target.keys(account.id):
            known = keys.get(key.api_key)
            if known is None or key not in (known, msgspec.structs.replace(known, revoked=0)):
                raise _stranger(f"API key {key.api_key} is another there, or not here")


def _refuse_other_records(source: Store, target: Store, begun: int) -> None:
    after = 0
    while after < begun:
        theirs, ours = target.tail(after, AT_ONCE), source.tail(after, AT_ONCE)
        for their, our in zip(theirs, ours, strict=False):
            if their != our:
                raise _stranger(f"record {their.sequence} is {_told(their)} there and {_told(our)} here")
        if len(ours) < len(theirs):
            raise _stranger(f"record {theirs[len(ours)].sequence} is {_told(theirs[len(ours)])} there and missing here")
        after = theirs[-1].sequence


def _stranger(sentence: str) -> Refused:
    return Refused(errors.NOT_A_COPY(sentence))


def _told(stored: Stored) -> str:
    record = stored.record
    return f"number {record.number} of account {record.account.hex()} with digest {record.digest.hex()[:16]}…"


# What is brought -----------------------------------------------------------------------------------------------------


def _bring_accounts(source: Store, target: Store) -> int:
    """Accounts and keys that are missing, and revocations; how many accounts there are then."""
    count = 0
    for page in _pages(source):
        count += len(page)
        missing = [account for account in page if target.account(account.id) is None]
        keys: list[ApiKey] = []
        for account in page:
            known = {key.api_key: key for key in target.keys(account.id)}
            for key in source.keys(account.id):
                if key.api_key not in known:
                    keys.append(key)
                elif key.revoked and not known[key.api_key].revoked:
                    target.revoke_key(key.api_key, key.revoked)
        if missing or keys:
            target.admit(missing, keys)
    return count


def _bring_records(source: Store, target: Store, rules: Rules, after: int, end: int) -> int:
    """One commit's worth of records after a sequence; the last sequence brought."""
    page = source.tail(after, min(AT_ONCE, end - after))
    with target.transaction() as transaction:
        states = transaction.load(dict.fromkeys(stored.record.account for stored in page))
        for sequence, stored in enumerate(page, after + 1):
            if stored.sequence != sequence:
                raise Refused(errors.DAMAGED_STORE(f"sequence {stored.sequence} follows {sequence - 1}"))
            record = stored.record
            state = states.get(record.account)
            if state is None or record.number != state.number + 1 or record.digest != _digest(record, state):
                raise Refused(errors.DAMAGED_STORE(f"record {sequence}, {_told(stored)}, does not follow"))
            apply(state, record, rules)
        sequences = transaction.append([stored.record for stored in page], states) if page else []
        if sequences != [stored.sequence for stored in page]:
            raise _stranger("somebody else writes to it")
    if not page:
        raise Refused(errors.DAMAGED_STORE(f"there is no record after {after}, and {end} is the last"))
    return page[-1].sequence


def _digest(record: Record, state: AccountState) -> bytes:
    return digest_of(record.account, record.number, record.timestamp, record.text, state.digest)


def _compare_states(source: Store, target: Store) -> int:
    """How many accounts stand at the same record in both. Refuses a source whose state is not what its journal gives.

    Quotas are left out: a count is right if it is not too low, so two right ones need not be equal.
    """
    compared = 0
    for page in _pages(target):
        ids = [account.id for account in page]
        ours, theirs = source.load(ids), target.load(ids)
        for account in ids:
            if account in ours and ours[account].number > theirs[account].number:
                continue
            compared += 1
            if account not in ours or _facts(ours[account]) != _facts(theirs[account]):
                raise Refused(
                    errors.DAMAGED_STORE(f"the state of account {account.hex()} is not its journal, replayed")
                )
    return compared


def _facts(state: AccountState) -> AccountState:
    return msgspec.structs.replace(state, quotas={})


def _pages(store: Store) -> Iterator[Sequence[Account]]:
    last: AccountId | None = None
    while page := store.accounts(last, AT_ONCE):
        yield page
        last = page[-1].id


def _accounts(store: Store) -> Iterator[Account]:
    return chain.from_iterable(_pages(store))
