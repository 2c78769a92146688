"""What a killed receiver left in the spool: empty files that it made ahead, and half of what it was receiving.

Nothing of it was acknowledged. A writer locks its file before the first byte and until it is durable or gone, and the
kernel takes the lock from the dead; so whoever gets it disturbs nobody.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scp_node.store.seal import is_unfinished


def remove_blank(path: Path) -> None:
    """Remove a file if it is empty and nobody has it in hand; what the disk refuses stays."""
    with suppress(OSError), _alone_with(path) as descriptor:
        if os.fstat(descriptor).st_size == 0:
            path.unlink()


def remove_unfinished(path: Path) -> bool:
    """Remove a file that is not empty, never got its seal, and that nobody has in hand; whether it was that.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    with suppress(FileNotFoundError, BlockingIOError), _alone_with(path) as descriptor:
        # An empty one may be one that a living receiver has just made and not yet locked.
        if os.fstat(descriptor).st_size and is_unfinished(path):
            path.unlink()
            return True
    return False


@contextmanager
def _alone_with(path: Path) -> Iterator[int]:
    """A locked descriptor.

    Raises
    ------
    BlockingIOError
        If somebody has the file in hand.
    OSError
        If it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)
