"""What happened, as an outsider could have written it down: what was asked and answered, and the journal's text.

The world writes it, the auditor reads it. Moments are simulated seconds; clocks are a server's own, in milliseconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields

UNANSWERED = -1


@dataclass(slots=True, kw_only=True)
class Asked:
    """What every question has: who was asked, when, and how long the journal was before it and after its answer."""

    server: int
    asked_at: float
    clock: int
    before: int
    clock_low: int
    clock_high: int
    """Between which the server's clock was while it was under way."""
    after: int = UNANSWERED
    answered_at: float = -1.0


@dataclass(slots=True, kw_only=True)
class Exchange(Asked):
    """One request and its answer. `status` is 0 if the server died before it answered."""

    address: str
    method: str
    path: str
    query: bytes
    body: bytes
    api_key: str | None
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    answer: bytes = b""


@dataclass(slots=True, kw_only=True)
class Order(Asked):
    """One command handed to a venue without a request: JSON text. `code` is 0 when done, None without an answer."""

    account: str
    command: bytes
    code: int | None = None
    sequence: int = 0
    retry_after: int | None = None


@dataclass(slots=True, kw_only=True)
class Preview(Asked):
    """What a collection would have done, as it was told: the transfers it would make, as JSON text, or a code."""

    account: str
    command: bytes
    code: int | None = None
    retry_after: int | None = None
    moves: bytes = b"[]"
    left: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By quota: uses left, and the limit."""


@dataclass(slots=True, kw_only=True)
class Key:
    """An API key and its life. A moment is None while it has not come, or if nobody knows whether it came."""

    api_key: str
    secret: str
    account: str
    permissions: tuple[str, ...]
    ip_allow: tuple[str, ...]
    maker: int
    asked_at: float
    made_at: float | None = None
    revoker: int = 0
    revoke_asked_at: float | None = None
    revoked_at: float | None = None


@dataclass(slots=True)
class Row:
    """A record as the journal has it."""

    sequence: int
    account: str
    number: int
    timestamp: int
    text: bytes
    digest: bytes


@dataclass(slots=True)
class Terms:
    """What the venue was told when it was opened, and how often it looks at the keys (seconds)."""

    weight_per_minute: int
    api_per_hour: int
    button_per_day: int
    shared_daily: bool
    keep_cm_bnb: bool
    scales: dict[str, int]
    looks_every: float
    calm: bool
    """Nothing is made to fail, and the queue is long."""


@dataclass(slots=True)
class History:
    terms: Terms
    exchanges: list[Exchange] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    accounts: dict[str, bool] = field(default_factory=dict)
    """By id in hexadecimal: whether it is in Portfolio Margin."""
    opened: dict[int, float] = field(default_factory=dict)
    """When each server was opened."""
    looked_in_vain: list[tuple[int, float]] = field(default_factory=list)
    """A server whose look at the keys failed, and when."""
    journal: list[Row] = field(default_factory=list)

    def digest(self) -> str:
        """SHA-256 over everything above."""
        whole = hashlib.sha256()
        for one in fields(self):
            value = getattr(self, one.name)
            for item in value.items() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
                whole.update(repr(item).encode())
        return whole.hexdigest()
