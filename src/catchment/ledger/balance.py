"""The state a decision may see: an account's balances and flags, and what its quotas have counted."""

from __future__ import annotations

from typing import NewType

import msgspec

from catchment.wallet import Place

AccountId = NewType("AccountId", bytes)
"""128 bits, made by the venue, ordered by the time of making; never a database sequence."""

GENESIS = bytes(32)
"""The digest before an account's first record."""


class Balance(msgspec.Struct, array_like=True, gc=False):
    """The money of one (account, asset), in units, by place; see `wallet.Place` for the signs.

    `version` counts the transfers that ever touched it; `updated` is the time of the last one, in milliseconds.
    """

    um: int = 0
    cm: int = 0
    margin_free: int = 0
    margin_locked: int = 0
    borrowed: int = 0
    interest: int = 0
    outside: int = 0
    market: int = 0
    version: int = 0
    updated: int = 0

    def at(self, place: Place) -> int:
        """Units at one place."""
        units: int = getattr(self, place)
        return units

    @property
    def futures(self) -> int:
        """UM and CM together."""
        return self.um + self.cm

    @property
    def margin(self) -> int:
        """Cross Margin as the wire shows it: free and locked, not net of debt."""
        return self.margin_free + self.margin_locked

    def places_sum(self) -> int:
        """Zero, always: what came in is somewhere."""
        return sum(self.at(place) for place in Place)


class QuotaUse(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`used` commands counted at or after `since` (milliseconds)."""

    since: int
    used: int


class Position(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A futures position as somebody set it: contracts or coins (signed) and a price, both at 8 decimals."""

    amount: int
    entry_price: int
    leverage: int
    updated: int


class Standing(msgspec.Struct, array_like=True):
    """What an account has standing beside its money: switches, positions, and the last UTC day that was charged.

    Positions are keyed `UM:BTCUSDT:BOTH`: wallet, symbol, side.
    """

    auto_repay: bool = False
    auto_collection: bool = False
    interest_day: int = 0
    positions: dict[str, Position] = {}


class AccountState(msgspec.Struct, array_like=True):
    """Everything a decision about one account may see. It is changed only by `ledger.apply`.

    `number` counts the account's records, `timestamp` is the last one's, `digest` closes the chain so far.
    """

    portfolio_margin: bool = True
    number: int = 0
    timestamp: int = 0
    digest: bytes = GENESIS
    quotas: dict[str, QuotaUse] = {}
    balances: dict[str, Balance] = {}
    standing: Standing | None = None


def balance_of(state: AccountState, asset: str) -> Balance:
    """The balance of an asset the account may never have touched."""
    return state.balances.get(asset) or Balance()


def standing_of(state: AccountState) -> Standing:
    """What an account has standing that may never have had anything."""
    return state.standing or Standing()


def encode_state(state: AccountState) -> str:
    """Canonical JSON text of a state, the form in which every store keeps it."""
    return _ENCODER.encode(state).decode()


def decode_state(text: str) -> AccountState:
    """A state from its text. Raises `msgspec.DecodeError` or `msgspec.ValidationError` on damage."""
    return _DECODER.decode(text)


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AccountState)
