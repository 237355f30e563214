"""From a store's address to an open store: `memory:`, `sqlite:///path`, or empty for the user's data folder."""

from __future__ import annotations

from pathlib import Path

from catchment import errors
from catchment.errors import Refused
from catchment.store.base import Store


def default_path() -> Path:
    """The SQLite file in the user's data folder."""
    from platformdirs import user_data_path  # noqa: PLC0415 - only the default store asks for the folder

    return user_data_path("catchment", appauthor=False) / "catchment.db"


def sqlite_path(address: str) -> Path | None:
    """The file behind an address, or None for `memory:`. Refuses an address of another kind."""
    if address == "memory:":
        return None
    if not address:
        return default_path()
    scheme, found, path = address.partition(":///")
    if scheme != "sqlite" or not found or not path:
        raise Refused(errors.BAD_STORE_ADDRESS(address, "use memory: or sqlite:///path"))
    return Path(path).expanduser()


def open_store(address: str) -> Store:
    """Open the store, making its folder and file if they are missing."""
    path = sqlite_path(address)
    if path is None:
        from catchment.store.memory import MemoryStore  # noqa: PLC0415 - each engine is loaded only when used

        return MemoryStore()
    from catchment.store.sqlite import SqliteStore  # noqa: PLC0415

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(errors.BAD_STORE_ADDRESS(address, error.strerror)) from None
    return SqliteStore(path)
