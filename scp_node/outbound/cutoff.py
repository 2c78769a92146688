"""The end of every association that we opened, however long its peer keeps us waiting: the node has to stop.

A peer may take its whole response time for one answer, which is longer than a service manager waits for us. Nothing is
lost by hanging up: what was not answered is sent again.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from pynetdicom import evt
from pynetdicom.association import Association


class Cutoff:
    """Knows the open associations, and can hang up on all of them from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Association] = set()
        self._is_cut = False

    @property
    def is_cut(self) -> bool:
        """True once nobody is to be called any more."""
        return self._is_cut

    @property
    def handlers(self) -> list[tuple[evt.EventType, Callable[[evt.Event], None]]]:
        """For an association that is about to be opened."""
        return [(evt.EVT_CONN_OPEN, self._opened), (evt.EVT_CONN_CLOSE, self._closed)]

    def cut(self) -> None:
        """Hang up on every peer; nobody is called any more."""
        with self._lock:
            self._is_cut = True
            associations = list(self._open)
        for association in associations:
            _hang_up(association)

    def _opened(self, event: evt.Event) -> None:
        with self._lock:
            self._open.add(event.assoc)
            is_cut = self._is_cut
        if is_cut:  # it came between the look and the call
            _hang_up(event.assoc)

    def _closed(self, event: evt.Event) -> None:
        with self._lock:
            self._open.discard(event.assoc)


def _hang_up(association: Association) -> None:
    """Shut the connection down; the library notices, and tells whoever waits for an answer that none will come."""
    wire = association.dul.socket
    if wire is not None and wire.socket is not None:
        with suppress(OSError):
            wire.socket.shutdown(socket.SHUT_RDWR)
