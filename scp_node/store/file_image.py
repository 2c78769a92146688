"""A file put together in memory, so that the disk can take it from there without another copy.

What is written in the usual way is copied into memory of the system first, page by page, and pushes out what others may
need; for objects that nobody reads until their study is complete that is wasted: it takes more processor time than all
that this program does with them. The kernel takes bytes directly (O_DIRECT) if they begin on a page and fill whole
blocks.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

BLOCK_BYTES = 4096
"""Blocks of every file system that we know are no larger."""
LARGEST_BYTES = (2 << 20) + (64 << 10)
"""What fits into the receive buffer, and a head."""
LEAST_DIRECT_BYTES = 64 << 10
"""Smaller files are written in the usual way: they are soon read again, by the recorder, and are copied quickly."""
_MOST_KEPT = 8
_MOST_PARTS = 512
"""Buffers in one system call; Linux takes 1,024."""


class FileImage:
    """One file of at most :data:`LARGEST_BYTES`; used by one thread at a time."""

    def __init__(self) -> None:
        self._view = memoryview(mmap.mmap(-1, LARGEST_BYTES))
        self.byte_count = 0

    def put(self, start: int, parts: Sequence[bytes | bytearray | memoryview]) -> memoryview:
        """Lay parts one behind the other from ``start`` on; a view of them, valid until the image is used again."""
        view, end = self._view, start
        for part in parts:
            begin, end = end, end + len(part)
            view[begin:end] = part
        self.byte_count = max(self.byte_count, end)
        return view[start:end]

    def write_to(self, descriptor: int) -> None:
        """Write the whole file, directly where it fills whole blocks and the file system can.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        whole = self._view[: self.byte_count]
        if self.byte_count % BLOCK_BYTES == 0 and _becomes_direct(descriptor):
            try:
                _write(descriptor, whole)
            except OSError as fault:
                if fault.errno != errno.EINVAL:
                    raise
                # Larger blocks than ours; the same bytes at the same places once more.
                fcntl.fcntl(descriptor, fcntl.F_SETFL, 0)
            else:
                return
        _write(descriptor, whole)


class FileImages:
    """A few images that are used again and again: fresh memory costs as much as the copy that it would save."""

    def __init__(self) -> None:
        self._kept: list[FileImage] = []

    @contextmanager
    def one(self) -> Iterator[FileImage]:
        """An empty image for the time of the block."""
        try:
            image = self._kept.pop()
        except IndexError:
            image = FileImage()
        image.byte_count = 0
        yield image
        if len(self._kept) < _MOST_KEPT:
            self._kept.append(image)


def _becomes_direct(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_DIRECT)
    except OSError:
        # A file system without it, one in memory for example.
        return False
    return True


def _write(descriptor: int, whole: memoryview) -> None:
    """Write every byte; a call may take less than it was given."""
    done = 0
    while done < len(whole):
        done += os.pwrite(descriptor, whole[done:], done)


def write_all(descriptor: int, parts: Sequence[bytes | bytearray | memoryview]) -> None:
    """Append every byte; a call may take less than it was given."""
    waiting = [memoryview(part) for part in parts if len(part)]
    while waiting:
        taken = os.writev(descriptor, waiting[:_MOST_PARTS])
        done = 0
        while done < len(waiting) and taken >= len(waiting[done]):
            taken -= len(waiting[done])
            done += 1
        del waiting[:done]
        if taken:
            waiting[0] = waiting[0][taken:]
