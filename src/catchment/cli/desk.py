"""What every verb has at hand: the settings, an open venue, one way to answer and one way to refuse.

Only `click` and the standard library are imported on the way in, so that `--help` and `serve` start at once.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from catchment.asset import Asset
    from catchment.config import Settings
    from catchment.errors import Rejection
    from catchment.store.base import Account
    from catchment.venue import Venue

Result = TypeVar("Result")

DEBUG_VARIABLE: Final = "CATCHMENT_DEBUG"
_AS_JSON: Final = "catchment.json"
_ADDRESS: Final = "catchment.store"
_STORE_REFUSALS: Final = frozenset(
    {
        "BAD_STORE_ADDRESS",
        "NEWER_STORE",
        "DAMAGED_STORE",
        "SCALE_CHANGED",
        "WRONG_MASTER_KEY",
        "STORE_UNAVAILABLE",
    }
)
_UNKNOWN_REFUSALS: Final = frozenset({"OUTCOME_UNKNOWN", "UNKNOWN"})


class Exit(IntEnum):
    """The exit codes, as `catchment --help` lists them."""

    DONE = 0
    CHECK_FAILED = 1
    BAD_USAGE = 2
    REFUSED = 3
    UNKNOWN = 4
    STORE = 5
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class Desk:
    """The options every verb takes, and what can be done with them."""

    def __init__(self, store: str | None, config: Path | None, as_json: bool) -> None:
        self.store = store
        self.config = config
        self.as_json = as_json
        click.get_current_context().meta[_AS_JSON] = as_json

    def settings(self, **given: Any) -> Settings:
        """The settings of file, environment and this command line. Raises `Refused` with BAD_SETTING."""
        from catchment import config

        settings = config.load(self.config, store=self.store, **given)
        click.get_current_context().meta[_ADDRESS] = settings.store
        return settings

    def run(self, work: Callable[[Venue], Awaitable[Result]]) -> Result:
        """Open the venue, do the work, close the venue."""
        settings = self.settings()

        async def opened() -> Result:
            from catchment.venue import Venue

            venue = await Venue.open(settings)
            try:
                return await work(venue)
            finally:
                await venue.close()

        with failures_told(self.as_json):
            return asyncio.run(opened())

    def answer(self, document: object, words: Callable[[], None]) -> None:
        """The answer on stdout: the document as JSON if that was asked for, else what `words` prints."""
        if self.as_json:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            words()


def with_desk(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options that all have, as its first argument."""

    @click.option(
        "--store",
        metavar="ADDRESS",
        help="memory:, sqlite:///path or postgresql://…; by default the user's data folder.",
    )
    @click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="A settings file (TOML).")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; errors as JSON on stderr.")
    @functools.wraps(verb)
    def wrapped(*args: Any, store: str | None, config: Path | None, as_json: bool, **rest: Any) -> None:
        verb(Desk(store, config, as_json), *args, **rest)

    return wrapped


class Verbs(click.Group):
    """The top group: turns what a verb raises into one line on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a person meets them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted: what was under way may have happened; read it again", err=True)
            ctx.exit(Exit.INTERRUPTED)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                _close_stdout()
                ctx.exit(Exit.BROKEN_PIPE)
            if os.environ.get(DEBUG_VARIABLE) == "1":
                import traceback

                traceback.print_exception(error)
            ctx.exit(_tell(error, ctx))


def _tell(error: Exception, ctx: click.Context) -> Exit:
    """Say what went wrong, once and on one line; gives the exit code."""
    name, code, message, exit_code = _in_words(error, str(ctx.meta.get(_ADDRESS, "")))
    message = " ".join(message.split())
    if ctx.meta.get(_AS_JSON):
        document = {"error": {"name": name, "code": code, "message": message}}
        click.echo(json.dumps(document, ensure_ascii=False), err=True)
    else:
        verdict = "unknown" if exit_code is Exit.UNKNOWN else "refused"
        click.echo(f"{verdict}: {message} ({name}, {code})", err=True)
    return exit_code


def _in_words(error: Exception, address: str) -> tuple[str, int, str, Exit]:
    """Name, code, sentence and exit code of what a verb raised."""
    import sqlite3

    import msgspec

    from catchment import errors
    from catchment.config import hide_password
    from catchment.store.base import StoreDamaged, StoreFailed
    from catchment.store.open import default_path

    rejection: Rejection
    match error:
        case StoreDamaged() | msgspec.DecodeError():
            rejection = errors.DAMAGED_STORE(error)
        case StoreFailed() | sqlite3.Error():
            rejection = errors.BAD_STORE_ADDRESS(hide_password(address) or default_path(), error)
        case errors.Refused(rejection=rejection):
            pass
        case _:
            sentence = f"unexpected {type(error).__name__}: {error}; {DEBUG_VARIABLE}=1 shows where"
            return errors.UNKNOWN.name, errors.UNKNOWN.code, sentence, Exit.UNKNOWN
    return rejection.name, rejection.code, rejection.sentence, exit_of(rejection)


def exit_of(rejection: Rejection) -> Exit:
    """The exit code of a rejection."""
    if rejection.name in _STORE_REFUSALS:
        return Exit.STORE
    return Exit.UNKNOWN if rejection.name in _UNKNOWN_REFUSALS else Exit.REFUSED


def _close_stdout() -> None:
    """The reader has gone: let nothing be flushed into its pipe when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def failures_told(as_json: bool) -> Iterator[None]:
    """The reason of a failed batch is logged where it is known: one line of it goes to stderr, never a traceback."""
    import logging

    class OneLine(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"{record.levelname.lower()}: {record.getMessage()}"

    handler = logging.NullHandler() if as_json else logging.StreamHandler()
    if os.environ.get(DEBUG_VARIABLE) != "1":
        handler.setFormatter(OneLine())
    logger = logging.getLogger("catchment")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def taken(answer: Result | Rejection) -> Result:
    """The answer itself. Raises `Refused` if it is a rejection."""
    from catchment.errors import Refused, Rejection

    if isinstance(answer, Rejection):
        raise Refused(answer)
    return answer


async def account_of(venue: Venue, name: str) -> Account:
    """The account of a name or of an id in hexadecimal. Refuses BAD_ACCOUNT."""
    return taken(await venue.account(name))


def asset_of(venue: Venue, name: str) -> Asset:
    """The asset of exactly this name. Refuses BAD_ASSET."""
    from catchment import errors
    from catchment.errors import Refused

    if name not in venue.assets:
        raise Refused(errors.BAD_ASSET())
    return venue.assets[name]
