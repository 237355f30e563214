"""What a row of the contract is made of: endpoint, parameter, security; and what passes from the gate to a handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

import msgspec

from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.venue import Venue


class Security(StrEnum):
    """Who may call (general-info page): NONE anyone; USER_STREAM with a key, as all clients
    send it (the English page asks for a signature too); the others with key and signature."""

    NONE = "NONE"
    USER_STREAM = "USER_STREAM"
    USER_DATA = "USER_DATA"
    TRADE = "TRADE"
    MARGIN = "MARGIN"


class Kind(StrEnum):
    """How the reference types a parameter; DECIMAL also takes the exponent form clients render floats in."""

    STRING = "STRING"
    LONG = "LONG"
    DECIMAL = "DECIMAL"
    ENUM = "ENUM"


class Parameter(msgspec.Struct, frozen=True):
    """One parameter as the reference names it; `values` lists what an ENUM may be, `most` bounds a LONG."""

    name: str
    kind: Kind
    mandatory: bool = False
    values: tuple[str, ...] = ()
    most: int = 2**63 - 1
    sentence: str = ""


class Call(msgspec.Struct):
    """A request that passed the gate: who calls, when (milliseconds), and the endpoint's parameters, typed."""

    venue: Venue
    account: AccountId
    now: int
    values: dict[str, Any]


Handler = Callable[[Call], Awaitable[bytes | Rejection]]


class Endpoint(msgspec.Struct, frozen=True):
    """One row of the contract. `weight` is charged to the address; `answer` is the type the schema is made from."""

    method: str
    path: str
    security: Security
    weight: int
    handler: Handler
    answer: Any
    summary: str
    reference: str = ""
    parameters: tuple[Parameter, ...] = ()
    difference: str = ""

    @property
    def keyed(self) -> bool:
        return self.security is not Security.NONE

    @property
    def signed(self) -> bool:
        return self.keyed and self.security is not Security.USER_STREAM
