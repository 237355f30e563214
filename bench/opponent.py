"""The opponent: the same signed call the usual way, FastAPI and SQLAlchemy on SQLite, one transaction a request.

It does what the venue does for a collection: checks key, time window, HMAC over the bytes and quota, moves every
positive balance, writes balances and journal, fsyncs. Tuned: uvloop and httptools, no access log, keys in memory, WAL,
SQLAlchemy Core with cached statements, and one kept connection used on the event loop itself, since SQLite has one
writer anyway: that beat a pool of threads and a writer's thread (README.md has the numbers).
"""

from __future__ import annotations

import hashlib
import hmac
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    or_,
    select,
    update,
)

from bench.load import HOST, SECRET, api_key
from bench.seed import FUNDS, account_id
from catchment.wallet import Wallet

CALLS_AN_HOUR = 500
HOUR_MS = 3_600_000
WINDOW_MS = 60_000
SUCCESS = b'{"msg":"success"}'

metadata = MetaData()
key = Table(
    "api_key",
    metadata,
    Column("api_key", String, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("account", LargeBinary, nullable=False),
)
balance = Table(
    "balance",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("asset", String, primary_key=True),
    Column("um", Integer, nullable=False),
    Column("cm", Integer, nullable=False),
    Column("margin", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    sqlite_with_rowid=False,
)
journal = Table(
    "journal",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("account", LargeBinary, nullable=False),
    Column("timestamp", Integer, nullable=False),
    Column("body", String, nullable=False),
    Index("by_account", "account", "timestamp"),
)

COUNT = select(func.count()).where(journal.c.account == bindparam("of"), journal.c.timestamp > bindparam("since"))
POSITIVE = select(balance.c.asset, balance.c.um, balance.c.cm, balance.c.margin).where(
    balance.c.account == bindparam("of"), or_(balance.c.um > 0, balance.c.cm > 0)
)
KEEP = (
    update(balance)
    .where(balance.c.account == bindparam("of"), balance.c.asset == bindparam("named"))
    .values(
        um=bindparam("new_um"), cm=bindparam("new_cm"), margin=bindparam("new_margin"), version=balance.c.version + 1
    )
)
APPEND = insert(journal)


def engine(path: Path) -> Engine:
    """WAL, an fsync for every commit, transactions that take the write lock at once."""
    made = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0, connect_args={"timeout": 30})

    @event.listens_for(made, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 16384")
        connection.execute("PRAGMA cache_size = -65536")

    @event.listens_for(made, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made


def collect(connection: Connection, account: bytes, now: int) -> bool:
    """Collect every positive balance of an account; False if its hour is used up."""
    used = connection.execute(COUNT, {"of": account, "since": now - HOUR_MS}).scalar_one()
    if used >= CALLS_AN_HOUR:
        return False
    transfers = []
    kept = []
    for asset, um, cm, margin in connection.execute(POSITIVE, {"of": account}).all():
        for wallet, units in (("UM", um), ("CM", cm)):
            if units > 0:
                margin += units  # noqa: PLW2901 - the balance after each transfer is written with it
                transfers.append([asset, units, wallet, "MARGIN", 0, margin])
        kept.append({"of": account, "named": asset, "new_um": min(um, 0), "new_cm": min(cm, 0), "new_margin": margin})
    if kept:
        connection.execute(KEEP, kept)
    body = msgspec.json.encode({"command": "auto-collection", "transfers": transfers}).decode()
    connection.execute(APPEND, {"account": account, "timestamp": now, "body": body})
    return True


def application(path: Path) -> FastAPI:
    """The application over a prepared database."""
    database = engine(path)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    keys: dict[str, tuple[bytes, bytes]] = {}
    connection = database.connect()
    with connection.begin():
        for name, secret, account in connection.execute(select(key)):
            keys[name] = (secret, account)

    @app.get("/papi/v1/ping")
    async def ping() -> Response:
        return Response(b"{}", media_type="application/json")

    @app.post("/papi/v1/auto-collection")
    async def auto_collection(request: Request) -> Response:
        query: bytes = request.scope["query_string"]
        payload, _, signature = query.rpartition(b"&signature=")
        known = keys.get(request.headers.get("x-mbx-apikey", ""))
        if known is None:
            return refused(-2015)
        secret, account = known
        now = time.time_ns() // 1_000_000
        sent = int(request.query_params["timestamp"])
        window = min(int(request.query_params.get("recvWindow", 5_000)), WINDOW_MS)
        if not now - window <= sent < now + 1_000:
            return refused(-1021)
        expected = hmac.new(secret, payload, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature):
            return refused(-1022)
        with connection.begin():
            done = collect(connection, account, now)
        return Response(SUCCESS, media_type="application/json") if done else refused(-1015)

    return app


def refused(code: int) -> Response:
    """A refusal with its code."""
    return Response(b'{"code":%d}' % code, status_code=400, media_type="application/json")


def prepare(path: Path, count: int) -> None:
    """A database with `count` accounts, each with a key and its funds."""
    database = engine(path)
    metadata.create_all(database)
    with database.begin() as connection:
        connection.execute(
            insert(key),
            [{"api_key": api_key(n), "secret": SECRET.encode(), "account": account_id(n)} for n in range(count)],
        )
        connection.execute(
            insert(balance),
            [
                {"account": account_id(n), "asset": asset, "um": 0, "cm": 0, "margin": 0, "version": 0}
                for n in range(count)
                for asset in FUNDS
            ],
        )
    database.dispose()
    refund(path)


def refund(path: Path) -> None:
    """Put every account's funds back."""
    database = engine(path)
    with database.begin() as connection:
        for asset, (wallet, units) in FUNDS.items():
            column = "um" if wallet is Wallet.UM else "cm"
            connection.execute(update(balance).where(balance.c.asset == asset).values({column: units}))
    database.dispose()


def collected(path: Path) -> int:
    """How many collections the journal holds."""
    database = engine(path)
    with database.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(journal)).scalar_one()
    database.dispose()
    return int(rows)


def serve(path: Path, port: int) -> None:
    """Listen until the process is told to stop."""
    uvicorn.run(
        application(path),
        host=HOST,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
