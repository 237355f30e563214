"""Settings: each with its name, default and a sentence; from a TOML file, then from the environment.

`CATCHMENT_WEIGHT_PER_MINUTE=60000` sets `weight_per_minute`, and so on; what the command line says comes last.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from catchment import errors
from catchment.asset import MAX_SCALE
from catchment.errors import Refused

ENVIRONMENT_PREFIX: Final = "CATCHMENT_"

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Processes = Annotated[int, msgspec.Meta(ge=1, le=64)]
Kept = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Scale = Annotated[int, msgspec.Meta(ge=0, le=MAX_SCALE)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a venue can be told; the sentences are in `SENTENCES`."""

    host: str = "127.0.0.1"
    port: Port = 8750
    store: str = ""
    scenario: str = ""
    processes: Processes = 1
    weight_per_minute: Positive = 6_000
    weights: str = ""
    queue: Positive = 10_000
    batch: Positive = 1_000
    writer: Literal["auto", "process", "thread"] = "auto"
    quota_shared_daily: bool = False
    quota_api_per_hour: Positive = 500
    quota_button_per_day: Positive = 10
    collection_cm_bnb: Literal["collect", "keep"] = "collect"
    requests_kept: Kept = 1_000
    collection_after_minutes: Positive = 5
    schedule: bool = True
    negative_threshold: dict[str, str] = {}
    negative_rate: dict[str, str] = {}
    negative_maximum: dict[str, str] = {}
    assets: dict[str, Scale] = {}
    prices: dict[str, str] = {}
    symbols: dict[str, str] = {}

    def __repr__(self) -> str:
        values = msgspec.structs.asdict(self) | {"store": hide_password(self.store)}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in values.items())})"


SENTENCES: Final[dict[str, str]] = {
    "host": "Address to listen on; the venue speaks plain HTTP, so keep it on loopback or behind a TLS proxy.",
    "port": "Port to listen on; 0 takes any free one.",
    "store": "memory:, sqlite:///path, postgresql://user@host/database; or empty: a file in the user's data folder.",
    "scenario": "A scenario file (TOML) whose accounts are made when the venue opens, if they do not exist yet.",
    "processes": "Server processes on the one port; more than 1 needs a store that is not memory:.",
    "weight_per_minute": "Request weight an address may use in a minute; raise it for a bench or a desk of test bots.",
    "weights": "redis://host:port/0: weight and bans are shared with every server that names it; empty: not shared.",
    "queue": "Commands that may wait for the writer; one more is refused with 503.",
    "batch": "Commands committed together at most.",
    "writer": "auto: a server on SQLite writes in a process of its own, one on PostgreSQL on its event loop; "
    "or process, or thread, on either.",
    "quota_shared_daily": "true: the 10 a day count every collection of a person, by button or by API.",
    "quota_api_per_hour": "Auto-collections by API an account may make in a rolling hour.",
    "quota_button_per_day": "Auto-collections by the button an account may make in a UTC day.",
    "collection_cm_bnb": "collect: BNB in CM is collected (English pages); keep: it stays (Chinese page).",
    "requests_kept": "The last requests kept for people to look at, of each account; 0: none are.",
    "collection_after_minutes": "For how long something has lain that is collected by itself, if the account wants it.",
    "schedule": "false: this server collects, repays, charges and exchanges nothing by itself.",
    "negative_threshold": 'What may be negative of an asset without interest: { USDT = "10000" }; 0 if not named.',
    "negative_rate": 'Interest a day on what is beyond it: { USDT = "0.001" }; none if not named.',
    "negative_maximum": 'What may be negative of an asset at most, before others are exchanged: { USDT = "150000" }.',
    "assets": "More assets and their number of decimals: { NAME = 8 }. A known asset's scale never changes.",
    "prices": 'Index prices in USD until others are set: { BTC = "60000" }; well-known assets have a made-up one.',
    "symbols": 'More symbols and their steps of price and quantity: { ARBUSDT = "0.0001/0.1" }, spot and UM; '
    'of price and contract size in USD: { ARBUSD_PERP = "0.0001/10" }.',
}


def hide_password(address: str) -> str:
    """A store's address as it may be shown: without the password in it, however badly the address is written."""
    bare = re.sub(r"^(\w+://)(?![^:/?@]*:\d+(?:[/?]|$))([^:/?@]*):.*@", r"\1\2@", address, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", bare, flags=re.IGNORECASE)


def load(path: Path | None, environment: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """The settings of a file (if any), overridden by the environment, overridden by what is `given` and not None.

    Raises `Refused` with BAD_SETTING for a file that cannot be read, an unknown name or a value out of range.
    """
    values: dict[str, Any] = _from_file(path) if path is not None else {}
    values |= _from_environment(environment)
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(errors.BAD_SETTING(*_where(str(error)))) from None


def _from_file(path: Path) -> dict[str, Any]:
    """A TOML file; `[quota] shared_daily` and `quota_shared_daily` are the same name."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Refused(errors.BAD_SETTING(path, error.strerror or "cannot be read")) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(errors.BAD_SETTING(path, f"is not TOML: {error}")) from None
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name in {"quota", "collection", "negative"} and isinstance(value, dict):
            values |= {f"{name}_{inner}": setting for inner, setting in value.items()}
        else:
            values[name] = value
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Only names of scalar settings are read; CATCHMENT_MASTER_KEY and others are not settings."""
    tables = {name for name, value in msgspec.structs.asdict(Settings()).items() if isinstance(value, dict)}
    names = [name for name in SENTENCES if name not in tables]
    found = {name: environment.get(ENVIRONMENT_PREFIX + name.upper()) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _where(sentence: str) -> tuple[str, str]:
    """msgspec says "... - at `$.port`"; the setting's name comes first here."""
    reason, _, place = sentence.partition(" - at `$.")
    return (place.rstrip("`"), reason) if place else ("file", sentence)
