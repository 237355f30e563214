"""How far a store's journal was ever committed, kept in a small file beside it.

SQLite cannot tell a write-ahead log that was cut off from one that ended there: it opens the store as it was some
commits ago, and everything in it fits. The mark is written after each commit and never forced to the disk, so it may
lag behind after a loss of power, but it is never ahead of what was committed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from zlib import crc32


class Mark:
    """The mark of the store at `path`; made if it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + "-mark")
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)

    def read(self) -> int:
        """The last sequence that was written; 0 if there is none, or none that can be trusted."""
        text = os.pread(self._file, 64, 0).decode("ascii", "replace")
        newest = text.partition(" ")[0]
        return int(newest) if newest.isdecimal() and text == _text(int(newest)) else 0

    def write(self, newest: int) -> None:
        """A mark that cannot be written is only older."""
        with suppress(OSError):
            os.pwrite(self._file, _text(newest).encode(), 0)

    def close(self) -> None:
        os.close(self._file)


def _text(newest: int) -> str:
    """Of one length, so that a shorter one leaves nothing of a longer one behind."""
    number = f"{newest:020d}"
    return f"{number} {crc32(number.encode()):08x}\n"
