"""What a receiver tells its recorder, through a pipe: lists of events in JSON, one in a line.

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
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from operator import attrgetter
from typing import Any

from scp_node.inbound.announcement import Announcement

CAPACITY_BYTES = 1 << 20
"""About 5,500 notices."""
TOGETHER_S = 0.02
"""Notices of this time are written together: one by one they would take a tenth of the receiver's time. That one of an
association's end takes all before it along at once."""
MOST_WAITING = 500
"""Not yet written; with more, receiving waits."""
LONGEST_WAIT_S = 10.0
"""Of a receiving thread for room; then the notice is given up and the recorder looks for itself."""

_SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ (Linux)."""
_STEP_BYTES = 1 << 16
_LOOK_S = 0.5
"""How often a writer that finds the pipe full sees whether it is to end."""


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
    """The receiver's end; safe for many threads. A thread of its own writes.

    Parameters
    ----------
    descriptor : int
        Write end of a pipe; taken over.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[Notice] = []
        self._room = threading.Condition()
        self._told, self._hurried = threading.Event(), threading.Event()
        self._some_lost = False
        self._last_moment_s: float | None = None
        os.set_blocking(descriptor, False)
        fcntl.fcntl(descriptor, _SET_PIPE_SIZE, CAPACITY_BYTES)
        self._writing = threading.Thread(target=self._write_on, name="notices", daemon=True)
        self._writing.start()

    def tell(self, notice: Notice) -> None:
        """Pass a notice on; waits while too many are waiting, but not for ever, and not again if that was in vain."""
        with self._room:
            if not self._some_lost:
                self._room.wait_for(lambda: len(self._waiting) < MOST_WAITING, LONGEST_WAIT_S)
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(notice)
            else:
                self._some_lost = True
        if isinstance(notice, Ended):
            self._hurried.set()
        # Asked first, because it is most often set already, and setting it takes two locks.
        if not self._told.is_set():
            self._told.set()

    def close(self) -> None:
        """Say that nothing more will come, once what was told is written; that too does not wait for ever."""
        self._last_moment_s = time.monotonic() + LONGEST_WAIT_S
        self._hurried.set()
        self._told.set()
        self._writing.join()

    def _write_on(self) -> None:
        is_closing = False
        while not is_closing:
            self._told.wait()
            self._hurried.wait(TOGETHER_S)
            # In this order: what is told from here on sets them again.
            is_closing = self._last_moment_s is not None
            self._told.clear()
            self._hurried.clear()
            with self._room:
                notices, self._waiting = self._waiting, []
                if self._some_lost:
                    notices.append(Lost())
                self._some_lost = False
                self._room.notify_all()
            if notices:
                self._write(_line(notices))
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                if self._last_moment_s is not None and time.monotonic() > self._last_moment_s:
                    return
                select.select([], [self._descriptor], [], _LOOK_S)
            except BrokenPipeError:
                return


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
        self._waiting: deque[Notice] = deque()
        self.has_ended = False
        """The receiver closed its end, or is no more; all that it wrote was read."""

    def read(self, *, most: int, wait_s: float) -> list[Notice]:
        """The next notices, at most so many; empty if none came within ``wait_s``."""
        # One read may bring more than are given out at once; the rest must not wait for others to come.
        self._fill(most, 0.0 if self._waiting else wait_s)
        count = min(most, len(self._waiting))
        return [self._waiting.popleft() for _ in range(count)]

    def _fill(self, most: int, wait_s: float) -> None:
        """Take what is in the pipe, up to ``most`` notices in hand; waits only for the first of it."""
        while len(self._waiting) < most and not self.has_ended:
            readable, _, _ = select.select([self._descriptor], [], [], wait_s)
            if not readable:
                break
            read = os.read(self._descriptor, _STEP_BYTES)
            self.has_ended = not read
            *lines, self._rest = (self._rest + read).split(b"\n")
            for line in lines:
                self._waiting.extend(_notices(line))
            wait_s = 0.0

    @property
    def has_more(self) -> bool:
        """Notices were read and not yet given out."""
        return bool(self._waiting)


_ANNOUNCED_NAMES = tuple(field.name for field in dataclass_fields(Announcement))
_ANNOUNCED = attrgetter(*_ANNOUNCED_NAMES)


def _line(notices: Iterable[Notice]) -> bytes:
    return json.dumps([(type(notice).__name__, _fields(notice)) for notice in notices]).encode("ascii") + b"\n"


def _fields(notice: Notice) -> dict[str, Any] | list[Any]:
    if isinstance(notice, Stored):
        # One for each object: without the names of its fields it takes a third of the time.
        return [notice.call, notice.spool_key, *_ANNOUNCED(notice.announced)]
    return asdict(notice)


def _notices(line: bytes) -> list[Notice]:
    try:
        return [_notice(kind, fields) for kind, fields in json.loads(line)]
    except ValueError:
        # The rest of a line of which a killed reader took the first part.
        return [Lost()]


def _notice(kind: str, fields: Any) -> Notice:
    if kind == Stored.__name__:
        call, spool_key, *values = fields
        announced = Announcement(**dict(zip(_ANNOUNCED_NAMES, values, strict=True)))
        return Stored(call=call, spool_key=spool_key, announced=announced)
    notice: Notice = _KINDS[kind](**fields)
    return notice
