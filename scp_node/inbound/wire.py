"""One connection's bytes: a buffer, a clock against dawdling, and no waiting for delayed acknowledgements."""

from __future__ import annotations

import mmap
import os
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pynetdicom.transport import AssociationSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

BUFFER_BYTES = 2 << 20
"""Holds every single slice whole; larger objects are written out each time it is full."""
_TCP_QUICKACK = 12


class DawdlingError(OSError):
    """The peer takes longer for a message than a sender at work does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slow a sender may be."""

    silence_s: float
    """Between two pieces of one message."""
    grace_s: float
    """A message may take so long at any pace ..."""
    least_bytes_per_s: float
    """... and beyond that only if it comes at this pace on average."""


class Wire(AssociationSocket):
    """The library's socket with a receive buffer of our own; ``lo:hi`` of the buffer is unread.

    Used by one thread at a time.

    Parameters
    ----------
    assoc : Association
        Its association.
    connection : socket.socket
        Connected; its handshake is done.
    received : bytes
        What was read from it before.
    pace : Pace
        What is too slow.
    """

    def __init__(self, assoc: Association, connection: socket.socket, received: bytes, pace: Pace) -> None:
        super().__init__(assoc, client_socket=connection)
        self._pace = pace
        # Pages of its own: what a small association never touches costs nothing, and all goes back at the end.
        self.buffer = mmap.mmap(-1, BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.lo, self.hi = 0, len(received)
        self.buffer[: self.hi] = received
        self._begun_at_s = 0.0
        self._taken_bytes = 0
        self._is_plain = not isinstance(connection, ssl.SSLSocket)
        self._is_readable = False
        self.on_progress: Callable[[], None] = lambda: None
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(pace.silence_s)

    def release(self) -> None:
        """Give the buffer back; nothing may be read any more."""
        self.lo = self.hi = 0
        self.view.release()
        # A view that a fault's traceback still holds keeps it until the garbage collector comes.
        with suppress(BufferError):
            self.buffer.close()

    @property
    def unread_bytes(self) -> int:
        """Bytes in the buffer that nobody has taken."""
        return self.hi - self.lo

    @property
    def ready(self) -> bool:
        """There is something to read, here or in the kernel."""
        return self.may_have_bytes or bool(super().ready)

    @property
    def may_have_bytes(self) -> bool:
        """Something may be read without asking the kernel whether it can."""
        connection = self.socket
        if self.hi > self.lo or self._is_readable:
            return True
        return isinstance(connection, ssl.SSLSocket) and connection.pending() > 0

    def tell_readable(self) -> None:
        """The kernel said that the connection can be read."""
        self._is_readable = True

    def begin_message(self) -> None:
        """A message begins: from now on its sender must not dawdle."""
        self._begun_at_s = time.monotonic()
        self._taken_bytes = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly so many bytes for the library; fewer if the peer closed the connection."""
        taken = bytearray(self.view[self.lo : min(self.hi, self.lo + nr_bytes)])
        self.lo += len(taken)
        while len(taken) < nr_bytes and self.fill():
            more = min(self.hi - self.lo, nr_bytes - len(taken))
            taken += self.view[self.lo : self.lo + more]
            self.lo += more
        return taken

    def need(self, count: int) -> bool:
        """Have so many unread bytes in one piece; ``False`` if the peer closed the connection before.

        ``count`` is small beside the buffer. Unread bytes may move: no view into the buffer may be held.
        """
        if self.hi - self.lo >= count:
            return True
        if BUFFER_BYTES - self.lo < count:
            self.move_to_start()
        while self.hi - self.lo < count:
            if not self.fill():
                return False
        return True

    def move_to_start(self) -> None:
        """Bring the unread bytes to the start of the buffer."""
        unread = self.hi - self.lo
        self.buffer[:unread] = self.buffer[self.lo : self.hi]
        self.lo, self.hi = 0, unread

    def fill(self) -> bool:
        """Read once from the kernel, as much as is there; ``False`` at the end of the connection.

        Raises
        ------
        OSError
            If the connection failed, was silent for too long, or the message takes too long.
        """
        if self.lo == self.hi:
            self.lo = self.hi = 0
        return self.fill_behind()

    def fill_behind(self) -> bool:
        """As :meth:`fill`, but nothing in the buffer moves or is overwritten; there must be room behind."""
        connection = self.socket
        if connection is None:
            return False
        self._is_readable = False
        count = self._received(connection)
        # Senders that leave Nagle's algorithm on wait for our acknowledgement before they go on.
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
        if not count:
            return False
        self.hi += count
        self._taken_bytes += count
        self.on_progress()
        pace = self._pace
        allowed_s = pace.grace_s + self._taken_bytes / pace.least_bytes_per_s
        if self._begun_at_s and time.monotonic() - self._begun_at_s > allowed_s:
            raise DawdlingError("a message comes too slowly")
        return True

    def answer(self, content: bytes) -> None:
        """Send all of it; it is short.

        Raises
        ------
        OSError
            If the connection failed, or its peer takes nothing for too long.
        """
        connection = self.socket
        if connection is None:
            raise ConnectionResetError
        sent = 0
        if self._is_plain:
            # A socket with a time-out asks whether it can be written before it writes; it nearly always can.
            with suppress(BlockingIOError):
                sent = os.write(connection.fileno(), content)
        if sent < len(content):
            connection.sendall(content[sent:])

    def _received(self, connection: socket.socket) -> int:
        """Read once into the room behind; likewise without asking before."""
        room = self.view[self.hi :]
        if self._is_plain:
            with suppress(BlockingIOError):
                return os.readv(connection.fileno(), [room])
        return connection.recv_into(room)
