"""What a receiver tells its recorder: one line of JSON for each event, through a pipe.

The pipe is no queue of promises: an object is safe before its notice is written, and a recorder that starts, or that is
told that a notice was lost, finds unrecorded objects by looking into the spool. It bounds how far recording may lag:
while it is full, receiving waits, and the sender with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from operator import attrgetter
from typing import Any

from scp_node.inbound.announcement import Announcement

CAPACITY_BYTES = 1 << 20
"""About 5,500 notices."""
LONGEST_WAIT_S = 10.0
"""For room in a full pipe; then the notice is given up and the recorder looks for itself."""

GATHER_S = 0.2
"""Notices that come within this time are acted on together: every commit costs the disk as much as an object does, and
the processor as much as recording ten of them."""

_SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ (Linux)."""
_STEP_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object was made durable and acknowledged."""

    call: int
    """Number of the association in its receiver."""
    spool_key: str
    announced: Announcement


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An object was refused, or an association was rejected."""

    peer: str
    """Name in ``peers.toml``; empty for a stranger."""
    status: str
    """DIMSE status, or the numbers of the rejection."""
    reason: str
    """Of ours, never of the sender's making."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An association is over."""

    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Notices were given up before this one."""


Notice = Stored | Refused | Ended | Lost
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Stored, Refused, Ended, Lost)}


class NoticeWriter:
    """The receiver's end; safe for many threads.

    Parameters
    ----------
    descriptor : int
        Write end of a pipe; taken over.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._some_lost = False
        os.set_blocking(descriptor, False)
        fcntl.fcntl(descriptor, _SET_PIPE_SIZE, CAPACITY_BYTES)

    def tell(self, notice: Notice) -> None:
        """Pass a notice on; waits while the pipe is full, but not for ever."""
        with self._lock:
            if self._some_lost:
                self._some_lost = not self._written(_line(Lost()), wait_s=0.0)
            if self._some_lost or not self._written(_line(notice), wait_s=LONGEST_WAIT_S):
                self._some_lost = True

    def remind(self) -> None:
        """Say again that notices were lost, if that could not be said; after the last notice nobody else would."""
        with self._lock:
            if self._some_lost:
                self._some_lost = not self._written(_line(Lost()), wait_s=0.0)

    def close(self) -> None:
        """Say that nothing more will come."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _written(self, line: bytes, *, wait_s: float) -> bool:
        # Lines are shorter than PIPE_BUF, so each is written whole or not at all.
        end_s = time.monotonic() + wait_s
        while self._descriptor >= 0:
            try:
                os.write(self._descriptor, line)
            except BlockingIOError:
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    return False
                select.select([], [self._descriptor], [], left_s)
            except BrokenPipeError:
                return False
            else:
                return True
        return False


class NoticeReader:
    """The recorder's end.

    Parameters
    ----------
    descriptor : int
        Read end of the pipe; taken over.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._waiting: deque[bytes] = deque()
        self.has_ended = False
        """The receiver closed its end, or is no more; all that it wrote was read."""

    def read(self, *, most: int, wait_s: float) -> list[Notice]:
        """The next notices, at most so many; empty if none came within ``wait_s``.

        When the first has come, others are waited for a moment, unless an association ended: its sender has what it
        wanted, and nobody knows when the next notice comes.
        """
        # One read may bring more than are given out at once; the rest must not wait for others to come.
        self._fill(most, 0.0 if self._waiting else wait_s)
        gathered_at_s = time.monotonic() + GATHER_S
        while self._waiting and not self._has_end(most) and (left_s := gathered_at_s - time.monotonic()) > 0:
            self._fill(most, left_s)
        count = min(most, len(self._waiting))
        return [_notice(self._waiting.popleft()) for _ in range(count)]

    def _fill(self, most: int, wait_s: float) -> None:
        """Take what is in the pipe, up to ``most`` notices in hand; waits only for the first of it."""
        while len(self._waiting) < most and not self.has_ended:
            readable, _, _ = select.select([self._descriptor], [], [], wait_s)
            if not readable:
                break
            read = os.read(self._descriptor, _STEP_BYTES)
            self.has_ended = not read
            *lines, self._rest = (self._rest + read).split(b"\n")
            self._waiting.extend(lines)
            wait_s = 0.0

    def _has_end(self, most: int) -> bool:
        """Whether there is nothing to be gained by waiting for more."""
        return self.has_ended or len(self._waiting) >= most or self._waiting[-1].startswith(_ENDED)

    @property
    def has_more(self) -> bool:
        """Notices were read and not yet given out."""
        return bool(self._waiting)


_ANNOUNCED_NAMES = tuple(field.name for field in dataclass_fields(Announcement))
_ANNOUNCED = attrgetter(*_ANNOUNCED_NAMES)
_ENDED = f'["{Ended.__name__}"'.encode("ascii")


def _line(notice: Notice) -> bytes:
    fields: dict[str, Any] | list[Any]
    if isinstance(notice, Stored):
        # One for each object: without the names of its fields it takes a third of the time.
        fields = [notice.call, notice.spool_key, *_ANNOUNCED(notice.announced)]
    else:
        fields = asdict(notice)
    return json.dumps([type(notice).__name__, fields]).encode("ascii") + b"\n"


def _notice(line: bytes) -> Notice:
    try:
        kind, fields = json.loads(line)
    except ValueError:
        # The rest of a line of which a killed reader took the first part.
        return Lost()
    if kind == Stored.__name__:
        call, spool_key, *values = fields
        announced = Announcement(**dict(zip(_ANNOUNCED_NAMES, values, strict=True)))
        return Stored(call=call, spool_key=spool_key, announced=announced)
    notice: Notice = _KINDS[kind](**fields)
    return notice
