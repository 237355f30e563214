"""Who listens to which account, and the account's records told to them in order.

A followed account has a cursor: its state at the last record that was told. Records of this process come as their
batch is answered; those of others are looked for only if sequences are missing. An account without a subscriber is not
read. Its level of risk is weighed after what can have changed it: a record, or a price.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from catchment import listen_keys
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId, AccountState
from catchment.ledger.journal import Record, Stored
from catchment.limits import MAX_CONNECTION_MS, MAX_SUBSCRIBERS, MAX_UNTOLD_RECORDS
from catchment.stream.events import Event, ListenKeyExpired, level_moved, moved_on, risk_level
from catchment.stream.wire import framed
from catchment.venue import FOREVER, PAGE, Venue

logger = logging.getLogger(__name__)

SLICE_S: Final = 0.002
"""How long records are told at a stretch, in seconds; then the loop answers callers."""
TRIES: Final = 100
"""How often an account is read, ten times a second, before who listens to it is told that it cannot be."""
MISSED_S: Final = 0.01
"""How long whoever names no living key waits, in seconds: each such name costs a reading."""
FEW: Final = 100
"""Records of other processes that are read even if nobody may follow their accounts."""
NORMAL, GOING_AWAY, FAILED = 1000, 1001, 1011
_ENCODER = msgspec.json.Encoder()


class Carrier(Protocol):
    """What takes frames to one client."""

    def deliver(self, frames: bytes) -> None: ...

    def end(self, code: int, reason: str) -> None: ...


class Connection:
    """One client: the streams it named, and whether its events come wrapped in their stream's name."""

    def __init__(self, carrier: Carrier, wrapped: bool, opened: int) -> None:
        self.carrier = carrier
        self.wrapped = wrapped
        self.until = opened + MAX_CONNECTION_MS
        self.names: dict[str, Followed | None] = {}


class Followed:
    """An account that somebody listens to, under its listen key."""

    def __init__(self, account: AccountId, key: str, expires: int) -> None:
        self.account = account
        self.key = key
        self.expires = expires
        self.state: AccountState | None = None
        self.failures = 0
        self.level = ""
        self.connections: dict[Connection, None] = {}
        self.ready: asyncio.Task[None] | None = None


class UserData:
    """The subscribers of one process. Made and used on the venue's event loop."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._loop = asyncio.get_running_loop()
        self._connections: dict[Connection, None] = {}
        self._followed: dict[AccountId, Followed] = {}
        self._untold: deque[Record] = deque()
        self._telling = False
        self._behind: dict[Followed, None] = {}
        self._complaint = ""
        self._seen = 0
        self._own: list[int] = []
        self._due = 0
        self._notes_version = 0
        self._quotes = venue.market.latest
        self._tasks: dict[Callable[..., Coroutine[Any, Any, None]], asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Stop looking for records."""
        self._stop_listening()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # Who listens ---------------------------------------------------------------------------------------------------

    def join(self, connection: Connection) -> bool:
        """Take a connection; False if there are as many as may be."""
        if len(self._connections) >= MAX_SUBSCRIBERS:
            return False
        if not self._connections:
            self._seen, self._own = self._venue.newest, []
            self._venue.listeners.append(self._hear)
        self._connections[connection] = None
        self._due = min(self._due, connection.until)
        return True

    def leave(self, connection: Connection) -> None:
        """The connection is gone."""
        for name in tuple(connection.names):
            self.unsubscribe(connection, name)
        self._connections.pop(connection, None)
        if not self._connections:
            self._stop_listening()

    def _stop_listening(self) -> None:
        if self._hear in self._venue.listeners:
            self._venue.listeners.remove(self._hear)

    async def subscribe(self, connection: Connection, name: str) -> None:
        """What is committed from now on is told. A name that is no living listen key stays silent, as on the live
        venue. Raises `Refused` if the store cannot be read."""
        connection.names[name] = None
        found = await listen_keys.find(self._venue, name)
        if found is None:
            await asyncio.sleep(MISSED_S)
        if found is None or name not in connection.names or connection not in self._connections:
            return
        followed = self._followed.get(found.account)
        if followed is not None and followed.key != name:  # its key is over, or there would be no other
            over = self._expire if followed.expires <= self._venue.clock.now() else self._end
            over(followed)
            followed = None
        if followed is None:
            followed = self._followed[found.account] = Followed(found.account, name, found.expires)
            followed.ready = self._loop.create_task(self._begin(followed))
        followed.connections[connection] = None
        connection.names[name] = followed
        self._due = min(self._due, followed.expires)
        assert followed.ready is not None
        await followed.ready

    async def _begin(self, followed: Followed) -> None:
        try:
            await self._weigh_all()
            followed.state = await self._venue.state(followed.account)
            self._weigh(followed)
        except BaseException:
            self._abandon(followed, "The account cannot be read")
            raise

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """The connection hears no more of a stream."""
        followed = connection.names.pop(name, None)
        if followed is not None:
            followed.connections.pop(connection, None)
            if not followed.connections:
                self._forget(followed)

    def _forget(self, followed: Followed) -> None:
        if self._followed.get(followed.account) is followed:
            del self._followed[followed.account]
        self._behind.pop(followed, None)

    def _abandon(self, followed: Followed, reason: str) -> None:
        """Nobody is told half of an account's records: who listens is to begin anew."""
        self._forget(followed)
        for connection in followed.connections:
            connection.carrier.end(FAILED, reason)

    def _end(self, followed: Followed) -> None:
        """The key was ended: a connection that has no other stream goes with it."""
        self._forget(followed)
        for connection in followed.connections:
            connection.names.pop(followed.key, None)
            if not connection.names:
                connection.carrier.end(NORMAL, "The listenKey was closed")

    # Records in ----------------------------------------------------------------------------------------------------

    def _hear(self, answers: Sequence[Stored | Rejection]) -> None:
        """Of what this process committed; or, with nothing, that it is time to look what others did."""
        if not answers:
            return self._look_around()
        for answer in answers:
            if type(answer) is Stored:
                if answer.sequence > self._seen:
                    self._own.append(answer.sequence)
                followed = self._followed.get(answer.record.account)
                if followed is None:
                    continue
                if len(self._untold) < MAX_UNTOLD_RECORDS:
                    self._untold.append(answer.record)
                else:
                    self._fall_behind(followed)
        if self._untold and not self._telling:
            self._telling = True
            self._loop.call_soon(self._loop.call_soon, self._tell)  # the turn after the one that answers the callers
        return None

    def _tell(self) -> None:
        """Tell what was heard, a slice at a time."""
        until = self._loop.time() + SLICE_S
        while self._untold:
            self._take(self._untold.popleft())
            if self._loop.time() > until and self._untold:
                self._loop.call_soon(self._tell)
                return
        self._telling = False

    def _take(self, record: Record) -> None:
        """Tell a record if it is the next of its account; one before it may be missing, which is then read."""
        followed = self._followed.get(record.account)
        if followed is None:
            return
        state = followed.state
        if state is None or record.number > state.number + 1:
            self._fall_behind(followed)
        elif record.number == state.number + 1:
            try:
                venue = self._venue
                events = moved_on(state, record, venue.rules, self._quotes, venue.clock.now())
                if level_moved(record):
                    events += self._weigh(followed)
                if events:
                    self._deliver(followed, events)
            except Exception:
                logger.exception("record %d of account %s cannot be told", record.number, record.account.hex())
                self._abandon(followed, "A record cannot be told")

    def _deliver(self, followed: Followed, events: Iterable[Event]) -> None:
        """Encode and frame once for all who hear the same."""
        texts = [_ENCODER.encode(event) for event in events]
        made: dict[bool, bytes] = {}
        for connection in followed.connections:
            frames = made.get(connection.wrapped)
            if frames is None:
                head = b'{"stream":"%b","data":' % followed.key.encode()
                each = [head + text + b"}" for text in texts] if connection.wrapped else texts
                frames = made[connection.wrapped] = b"".join(map(framed, each))
            connection.carrier.deliver(frames)

    # Risk ----------------------------------------------------------------------------------------------------------

    def _weigh(self, followed: Followed) -> list[Event]:
        """The event of a level of risk that the account came to. Trading freely again is not told: the event has no
        word for it."""
        if followed.state is None:
            return []
        change = risk_level(followed.state, self._quotes, self._venue.clock.now())
        before, followed.level = followed.level, change.s if change else ""
        return [change] if change and change.s != before else []

    async def _weigh_all(self) -> None:
        """Take the prices of now; if they are others, tell who came to another level by them."""
        quotes = await self._venue.market.quotes()
        if quotes is self._quotes:
            return
        self._quotes = quotes
        until = self._loop.time() + SLICE_S
        for followed in list(self._followed.values()):
            if events := self._weigh(followed):
                self._deliver(followed, events)
            if self._loop.time() > until:
                await asyncio.sleep(0)
                until = self._loop.time() + SLICE_S

    # Records of other processes ------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Ten times a second. Sequences have no gaps: if all since the last look were heard of, nobody else wrote."""
        if self._venue.clock.now() >= self._due or self._notes_version != self._venue.notes_version:
            self._start(self._sweep)
        if self._behind:
            self._start(self._catch_up)
        if not self._is_busy(self._look):
            newest, seen = self._venue.newest, self._seen
            own = len(self._own)
            self._own = [sequence for sequence in self._own if sequence > newest]
            self._seen = newest
            if newest - seen > own - len(self._own) and self._followed:
                self._start(self._look, seen, newest)

    async def _look(self, after: int, newest: int) -> None:
        """Find the records that others wrote: in the journal, at 3 µs each; or, if it has many, by which followed
        accounts have one more, at 6 µs each, and 200 for reading those that do."""
        try:
            few = newest - after <= max(FEW, 2 * len(self._followed))
            if not few or not await self._read_journal(after, newest):
                await self._compare_states()
            self._complaint = ""
        except Exception as error:
            self._complain("accounts", error)
            self._seen = min(self._seen, after)

    async def _read_journal(self, after: int, newest: int) -> bool:
        """False if it cannot be read: one account's damage is not the others'."""
        try:
            while after < newest and (page := await self._venue.tail(after, PAGE)):
                for stored in page:
                    self._take(stored.record)
                after = page[-1].sequence
        except Exception as error:
            self._complain("the journal", error)
            return False
        return True

    async def _compare_states(self) -> None:
        for account, state in (await self._venue.states(list(self._followed))).items():
            followed = self._followed.get(account)
            if followed is not None and (followed.state is None or state.number > followed.state.number):
                self._fall_behind(followed)

    def _fall_behind(self, followed: Followed) -> None:
        self._behind[followed] = None
        self._start(self._catch_up)

    async def _catch_up(self) -> None:
        """Read what is missing of each account that is behind; what cannot be read is tried again at the next look."""
        while self._behind:
            followed = next(iter(self._behind))
            del self._behind[followed]
            try:
                assert followed.ready is not None
                await followed.ready
                await self._read_on(followed)
            except Exception as error:
                self._complain(f"account {followed.account.hex()}", error)
                followed.failures += 1
                if followed.failures >= TRIES:
                    self._abandon(followed, "The account cannot be read")
                elif self._followed.get(followed.account) is followed:
                    self._behind[followed] = None
                return
            followed.failures = 0

    async def _read_on(self, followed: Followed) -> None:
        full = True
        while full and followed.state is not None and self._followed.get(followed.account) is followed:
            page = await self._venue.history(followed.account, below=followed.state.number, newest_first=False)
            for stored in page:
                self._take(stored.record)
            full = len(page) == PAGE

    def _complain(self, what: str, error: Exception) -> None:
        """Once, not at every look."""
        complaint = f"{what} cannot be read for subscribers: {error}"
        if complaint != self._complaint:
            logger.error(complaint)
        self._complaint = complaint

    # Time ----------------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """End what was ended, what is too old, and what was not prolonged, by the venue's clock."""
        now, version = self._venue.clock.now(), self._venue.notes_version
        try:
            if version != self._notes_version and self._followed:
                ended = await listen_keys.ended(self._venue)
                for followed in [followed for followed in self._followed.values() if followed.key in ended]:
                    self._end(followed)
                await self._weigh_all()
            for followed in [followed for followed in self._followed.values() if followed.expires <= now]:
                await self._look_again(followed)
        except Exception as error:
            self._complain("listen keys or prices", error)
            return
        for connection in self._connections:
            if connection.until <= now:
                connection.carrier.end(GOING_AWAY, "24 hours are over")
        ends = [followed.expires for followed in self._followed.values()]
        ends += [connection.until for connection in self._connections if connection.until > now]
        self._notes_version, self._due = version, min(ends, default=FOREVER)

    async def _look_again(self, followed: Followed) -> None:
        """The key may have been prolonged meanwhile."""
        found = await listen_keys.find(self._venue, followed.key)
        if found is not None:
            followed.expires = found.expires
        elif self._followed.get(followed.account) is followed:
            self._expire(followed)

    def _expire(self, followed: Followed) -> None:
        """The connections are told so, and stay, as on the live venue."""
        self._deliver(followed, [ListenKeyExpired(self._venue.clock.now())])
        self._forget(followed)

    # Tasks ---------------------------------------------------------------------------------------------------------

    def _is_busy(self, work: Callable[..., Coroutine[Any, Any, None]]) -> bool:
        task = self._tasks.get(work)
        return task is not None and not task.done()

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *args: int) -> None:
        """Have a piece of work done, unless it is under way."""
        if not self._is_busy(work):
            self._tasks[work] = self._loop.create_task(work(*args))
