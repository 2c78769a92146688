"""Files made ahead: empty, under their final opaque names, and with these names on the disk.

An object whose file is made when it comes waits for two syncs, of its bytes and of its name. A name that is on the disk
before needs only the first, and one sync of a folder serves many names. What is never used is empty, has no seal, and
so is nobody's: another process may remove it, also from under a receiver that meant to use it. One that was killed
leaves up to as many as it makes ahead, and the recorder of the next one removes them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scp_node.durability import sync_folder

SUFFIX = ".dcm"
_KEYS_IN_A_ROW = 256
"""New files in one folder before the next is taken, so that a sync has few blocks of the file system to write; folders
fill evenly all the same."""
_SOON_S = 1.0
"""If the last ones were used up within this time, twice as many are made; else one, so that a node at rest has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """An empty file, open for writing and locked by who took it."""

    spool_key: str
    path: Path
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
        self._waiting: list[Path] = []
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
                if not self._waiting:
                    self._waiting = self._made(self._next_count())
                path = self._waiting.pop()
            # Opened only now: what waits holds no descriptor.
            descriptor = _opened(path)
            if descriptor is not None:
                return Blank(spool_key=path.stem, path=path, descriptor=descriptor)

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

    def _made(self, count: int) -> list[Path]:
        if self._keys_left < count:
            self._place = secrets.token_hex(1)
            self._keys_left = max(count, _KEYS_IN_A_ROW)
        self._keys_left -= count
        folder = self._folder / self._place
        made: list[Path] = []
        try:
            for _ in range(count):
                made.append(_new(folder, self._place + secrets.token_hex(15)))  # noqa: PERF401 - those made are undone
            sync_folder(folder)
        except OSError:
            _undo(made)
            raise
        return made


def _new(folder: Path, spool_key: str) -> Path:
    path = folder / f"{spool_key}{SUFFIX}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    return path


def _opened(path: Path) -> int | None:
    """A locked descriptor of a file that still has its name; ``None`` if somebody removed it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if os.fstat(descriptor).st_nlink:
        return descriptor
    # Removed between opening and locking: what is written into it would be lost.
    os.close(descriptor)
    return None


def remove_blank(path: Path) -> None:
    """Remove a file if it is empty and nobody has it in hand; what the disk refuses stays."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_size == 0:
                path.unlink()
        finally:
            os.close(descriptor)


def _undo(paths: list[Path]) -> None:
    for path in paths:
        # What cannot be removed is empty, and so removed at the next start.
        with suppress(OSError):
            path.unlink()
