"""The last requests of a store on PostgreSQL: one unlogged table, for all servers on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final

from catchment.ledger.balance import AccountId
from catchment.store.base import Answered
from catchment.store.connections import SQL, Connection, Connections
from catchment.store.statements import request_of_row, row_of_request

TURN: Final = 0x63617463686D7271
"""The advisory lock of whoever writes."""

Transact = Callable[[Callable[[Connection], Coroutine[Any, Any, bool]]], Coroutine[Any, Any, bool]]


class RequestTable:
    """The requests in a store's database; `transact` is the store's way to commit beside the journal."""

    def __init__(self, link: Connections, transact: Transact) -> None:
        self._link = link
        self._transact = transact

    def write(self, answered: Sequence[Answered]) -> None:
        columns = list(map(list, zip(*map(row_of_request, answered), strict=True)))

        async def write(connection: Connection) -> bool:
            await connection.fetch(SQL["one_at_a_time"], TURN)
            await connection.execute(SQL["add_requests"], *columns)
            return True

        self._link.run(self._transact, write)

    def newest(self, account: AccountId | None, before: int, limit: int) -> list[Answered]:
        whose = () if account is None else (account,)
        name = "requests" if account is None else "requests_of_account"
        return list(map(request_of_row, self._link.run(self._link.fetch, name, before, limit, *whose)))

    def of_record(self, account: AccountId, number: int) -> Answered | None:
        rows = self._link.run(self._link.fetch, "request_of_record", account, number)
        return next(map(request_of_row, rows), None)

    def left_out(self, since: int, before: int) -> int:
        return int(self._link.run(self._link.fetch, "requests_left_out", since, before)[0][0])

    def last(self) -> int:
        return int(self._link.run(self._link.fetch, "last_request")[0][0])

    def prune(self, accounts: Collection[AccountId], of_account: int, of_all: int, before: int) -> None:
        async def prune(connection: Connection) -> bool:
            await connection.fetch(SQL["one_at_a_time"], TURN)
            for account in accounts:
                await connection.execute(SQL["prune_requests_of_account"], account, of_account)
            await connection.execute(SQL["prune_requests"], of_all)
            await connection.execute(SQL["prune_old_requests"], before)
            return True

        self._link.run(self._transact, prune)

    def close(self) -> None:
        """The connections are the store's."""
