"""Folds SQLite's write-ahead log into its file beside the writer, which would otherwise stop for it.

SQLite has the writer do it once the log is long: tens of milliseconds in which nobody is answered. Here a thread does
it while the writer goes on; the writer does the short rest between two batches, so that the log begins anew.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

EVERY: Final = 8_192
"""Records after which the log is folded in."""
PASSES: Final = 2
"""What was appended during the first pass is the second one's work; what is left then is short."""

_PASSIVE: Final = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpointer:
    """Works for one writer. Its thread is made with the first log that is long enough."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._idle = True
        self._rest = False
        self._ended = False
        self._since = -1

    def committed(self, newest: int, writer: sqlite3.Connection) -> None:
        """Between two batches; `newest` is the last sequence. Never raises: a log that stays costs only its length."""
        if self._rest:
            self._rest = False
            _fold(writer)
        if self._since < 0:
            self._since = newest
        if newest - self._since >= EVERY and self._idle:
            self._since, self._idle = newest, False
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="catchment-checkpoint", daemon=True)
                self._thread.start()
            self._wake.set()

    def close(self) -> None:
        """Wait for what is under way."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        connection = self._connect()
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._ended:
                return
            for _ in range(PASSES):
                _fold(connection)
            self._rest = self._idle = True


def _fold(connection: sqlite3.Connection) -> None:
    try:
        connection.execute(_PASSIVE)
    except sqlite3.Error as error:
        logger.debug("the log stays as it is: %s", error)
