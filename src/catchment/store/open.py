"""From a store's address to an open store: `memory:`, `sqlite:///path`, `postgresql://…`, or empty for the user's data
folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from catchment import errors
from catchment.config import hide_password
from catchment.errors import Refused
from catchment.store.base import Store

POSTGRES: Final = "postgresql://"


def data_folder() -> Path:
    """Where the user's own venue is kept."""
    from platformdirs import user_data_path  # noqa: PLC0415 - not every store asks for the folder

    return user_data_path("catchment", appauthor=False)


def default_path() -> Path:
    """The SQLite file in the user's data folder."""
    return data_folder() / "catchment.db"


def master_key_path(address: str) -> Path | None:
    """The file for the master key of a store: beside an SQLite file; in the user's data folder, one for all databases
    on servers; none for `memory:`. Refuses what `open_store` refuses."""
    if address.startswith(POSTGRES):
        return data_folder() / "postgresql.key"
    path = sqlite_path(address)
    return None if path is None else path.with_name(path.name + ".key")


def sqlite_path(address: str) -> Path | None:
    """The file behind an address, or None for `memory:`. Refuses an address of another kind."""
    if address == "memory:":
        return None
    if not address:
        return default_path()
    scheme, found, path = address.partition(":///")
    if scheme != "sqlite" or not found or not path:
        words = "use memory:, sqlite:///path or postgresql://user@host/database"
        raise Refused(errors.BAD_STORE_ADDRESS(hide_password(address), words))
    return Path(path).expanduser()


def open_existing(address: str) -> Store:
    """Open a store that is there. Refuses an address at which one would have to be made."""
    if address.startswith(POSTGRES):
        return _open_postgres(address, make=False)
    path = sqlite_path(address)
    if path is None or not path.exists():
        raise Refused(errors.BAD_STORE_ADDRESS(address or path, "there is no such store"))
    return open_store(address)


def open_store(address: str) -> Store:
    """Open the store, making its folder and file, or its tables, if they are missing."""
    if address.startswith(POSTGRES):
        return _open_postgres(address, make=True)
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


def _open_postgres(address: str, *, make: bool) -> Store:
    try:
        from catchment.store.postgres import PostgresStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        words = "the driver is not installed; pip install 'catchment[postgres]'"
        raise Refused(errors.BAD_STORE_ADDRESS(hide_password(address), words)) from None
    with suppress(OSError):  # where the master key goes, if it is not in the environment
        data_folder().mkdir(parents=True, exist_ok=True)
    return PostgresStore(address, make=make)
