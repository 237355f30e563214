"""An event loop whose time is simulated: waiting takes no time, nothing runs beside it, and the order of everything
follows from the seed. Blocking calls run on the loop itself, where threads would have run them."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final

SHORT_S: Final = 0.03
"""How long a blocking call usually takes at most, in simulated seconds."""


class Died(BaseException):
    """The process dies here: nothing after this line happens, and nobody is told."""


class Loop(asyncio.BaseEventLoop):
    """Goes straight to the moment at which the next thing is due. `now` is in simulated seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self  # what the standard loop waits with
        self._clock_resolution = 1e-6
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits and nothing is due: an answer was lost")
        if timeout > 0:
            self.now = self._scheduled[0]._when  # type: ignore[attr-defined]
        return []

    def _process_events(self, events: list[Any]) -> None:
        """There is no file or socket to hear from."""

    def _write_to_self(self) -> None:
        """Nobody else could have woken it."""


class Inline(Executor):
    """In place of a thread pool: a call runs whole at one moment, and its answer arrives at a later one.

    At most `workers` calls are under way. `slow` gives the seconds that one takes on top; never all of several workers
    are slow at once.
    """

    def __init__(
        self, workers: int, loop: Loop, rng: random.Random, slow: Callable[[], float], died: Callable[[], None]
    ):
        self._workers = workers
        self._loop = loop
        self._rng = rng
        self._slow = slow
        self._died = died
        self._busy = 0
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, partial(fn, *args, **kwargs)))
        self._start()
        return future

    def end(self) -> None:
        """Run nothing any more and answer nobody."""
        self._ended = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """The venue closes once everybody was answered; only its look at the keys may be under way."""
        self.end()

    def _start(self) -> None:
        while self._waiting and self._busy < self._workers:
            self._busy += 1
            future, call = self._waiting.popleft()
            self._loop.call_later(self._wait(), self._run, future, call)

    def _wait(self) -> float:
        draw = self._rng.random()
        return draw * SHORT_S if draw < 0.25 else 0.0

    def _run(self, future: Future[Any], call: Callable[[], Any]) -> None:
        if self._ended:
            return
        if not future.set_running_or_notify_cancel():
            self._done(lambda: None)
            return
        try:
            answer = call()
        except Died:
            self._died()
            return
        except Exception as error:
            tell = partial(future.set_exception, error)
        else:
            tell = partial(future.set_result, answer)
        slow = self._slow() if self._busy == 1 else 0.0
        self._loop.call_later(self._wait() + slow, self._done, tell)

    def _done(self, tell: Callable[[], None]) -> None:
        self._busy -= 1
        if not self._ended:
            tell()
            self._start()
