"""Files made ahead: empty, under their final opaque names, and with these names on the disk.

An object whose file is made when it comes waits for two syncs, of its bytes and of its name. A name that is on the disk
before needs only the first, and one sync of a folder serves many names. What waits is open and locked, so that the next
object takes it without asking for anything, and no other process takes it for a leaving of the dead. What is never used
is empty, has no seal, and so is nobody's. A receiver that was killed leaves up to as many as it makes ahead, without
their locks, and the recorder of the next one removes them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from scp_node.durability import sync_folder

SUFFIX = ".dcm"
_KEYS_IN_A_ROW = 256
"""New files in one folder before the next is taken, so that a sync has few blocks of the file system to write; folders
fill evenly all the same."""
_SOON_S = 1.0
"""If the last ones were used up within this time, twice as many are made; else one, so that a node at rest has none."""


class Blank(NamedTuple):
    """An empty file, open for writing and locked by who made it."""

    spool_key: str
    path: str
    descriptor: int


class Blanks:
    """Empty files of one spool; safe for many threads.

    Parameters
    ----------
    folder : Path
        Of the spool; its 256 folders are there.
    most : int
        So many are made ahead at most.
    elapsed_s : () -> float
        A clock that only runs forward, in seconds.
    """

    def __init__(self, folder: Path, *, most: int, elapsed_s: Callable[[], float] = time.monotonic) -> None:
        self._folder: Final = folder
        self._most: Final = most
        self._elapsed_s: Final = elapsed_s
        self._lock = threading.Lock()
        self._waiting: list[Blank] = []
        self._last_count = 0
        self._made_at_s = 0.0
        self._place = ""
        self._keys_left = 0

    def take(self) -> Blank:
        """One of them, the caller's from now on.

        Raises
        ------
        OSError
            If the disk refuses to make or to sync any; then none is left behind.
        """
        while True:
            with self._lock:
                while not self._waiting:
                    self._waiting = self._made(self._next_count())
                blank = self._waiting.pop()
            if _has_name(blank.descriptor):
                return blank
            # Another process took it for a leaving before it was locked, or somebody tidied up by hand: what is
            # written into it would be lost.
            os.close(blank.descriptor)

    def remove(self) -> None:
        """Remove those that nobody took."""
        with self._lock:
            _undo(self._waiting)
            self._waiting = []

    def _next_count(self) -> int:
        now_s = self._elapsed_s()
        soon = self._last_count and now_s - self._made_at_s < _SOON_S
        self._last_count = min(self._most, 2 * self._last_count) if soon else 1
        self._made_at_s = now_s
        return self._last_count

    def _made(self, count: int) -> list[Blank]:
        if self._keys_left < count:
            self._place = secrets.token_hex(1)
            self._keys_left = max(count, _KEYS_IN_A_ROW)
        self._keys_left -= count
        folder = self._folder / self._place
        made: list[Blank] = []
        try:
            for key in _keys(self._place, count):
                made.append(_new(f"{folder}/{key}{SUFFIX}", key))  # noqa: PERF401 - those made are undone
            sync_folder(folder)
        except OSError:
            _undo(made)
            raise
        return made


def _keys(place: str, count: int) -> list[str]:
    digits = secrets.token_hex(15 * count)
    return [place + digits[30 * number : 30 * (number + 1)] for number in range(count)]


def _new(path: str, spool_key: str) -> Blank:
    """A new file, locked; another process may have taken it for a leaving before it was, see :meth:`Blanks.take`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    blank = Blank(spool_key=spool_key, path=path, descriptor=descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        _undo([blank])
        raise
    return blank


def _has_name(descriptor: int) -> bool:
    return os.fstat(descriptor).st_nlink > 0


def _undo(blanks: list[Blank]) -> None:
    for blank in blanks:
        # What cannot be removed is empty, and so removed at the next start.
        with suppress(OSError):
            Path(blank.path).unlink()
        os.close(blank.descriptor)
