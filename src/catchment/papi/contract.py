"""What a row of the contract is made of: endpoint, parameter, security; and what passes from the gate to a handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Command
from catchment.ledger.journal import Stored
from catchment.venue import Venue


class Security(StrEnum):
    """Who may call (general-info page): NONE anyone; MARKET_DATA with a key; USER_STREAM too, as all clients send it
    (the English page asks for a signature); the others with key and signature."""

    NONE = "NONE"
    MARKET_DATA = "MARKET_DATA"
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


class Budget(msgspec.Struct, frozen=True):
    """What a weight is counted against in a minute, and the header that tells how much of it is used.

    The one of the address holds `weight_per_minute`, and over it comes a ban. On /sapi each endpoint has one of its
    own for each address or account, `times` as large, and over it there is 429 alone.
    """

    header: bytes
    times: int = 1


ADDRESS: Final = Budget(b"x-mbx-used-weight-1m")
SAPI_IP: Final = Budget(b"x-sapi-used-ip-weight-1m", 2)
"""12,000 a minute for each endpoint."""
SAPI_UID: Final = Budget(b"x-sapi-used-uid-weight-1m", 30)
"""180,000 a minute for each endpoint; to the address's own such a call is one of weight 1."""


class Parameter(msgspec.Struct, frozen=True):
    """One parameter as the reference names it; `values` lists what an ENUM may be, `most` bounds a LONG."""

    name: str
    kind: Kind
    mandatory: bool = False
    values: tuple[str, ...] = ()
    most: int = 2**63 - 1
    sentence: str = ""


Headers = Sequence[tuple[bytes, bytes]]


class Call(msgspec.Struct):
    """A request that passed the gate: who calls, when (milliseconds), and the endpoint's parameters, typed."""

    venue: Venue
    account: AccountId
    now: int
    values: dict[str, Any]
    headers: Headers = ()
    record: int = 0
    """The number of the last record it made."""

    async def submit(self, command: Command) -> Stored | Rejection:
        """Have the venue do it; a record that comes of it is known as this call's."""
        answer = await self.venue.submit(self.account, command)
        if type(answer) is Stored:
            self.record = answer.record.number
        return answer

    @property
    def base(self) -> str:
        """What this client calls the server, and so what a link for it begins with; a TLS proxy says so itself."""
        told = {name: value.decode("latin-1") for name, value in self.headers}
        return f"{told.get(b'x-forwarded-proto', 'http')}://{told.get(b'host', '')}"


Handler = Callable[[Call], Awaitable[bytes | Rejection]]


class Endpoint(msgspec.Struct, frozen=True):
    """One row of the contract. `weight` is charged to the budget; `answer` is the type the schema is made from."""

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
    budget: Budget = ADDRESS
    lighter_with: str = ""
    """A parameter with which the call weighs 1."""

    @property
    def keyed(self) -> bool:
        return self.security is not Security.NONE

    @property
    def signed(self) -> bool:
        return self.security in {Security.USER_DATA, Security.TRADE}
