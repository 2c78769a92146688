"""Keeps the library's threads out of the way of an association that we open.

Two kinds of them serve what the peer asks of us. The *reactor* takes messages off the association's queue. Before each
request of ours the library asks it to pause, and looks whether it *is* paused: but between leaving its checkpoint and
saying so the reactor still counts as paused, and then takes our answer for an unexpected message. On a busy machine
about one request in a hundred is lost so, and with it the time until the time-out. Here the reactor is stopped by a
checkpoint that tells when it has really been reached, and stays there.

An N-EVENT-REPORT is served in a *thread of its own*, whether the reactor stands or not. When that ends it says that the
reactor is not paused: if it stands, our next request waits for it for ever. And a release may overtake its response,
which the upper layer forbids (PS3.8 section 9.2): the association is broken. Here such threads are counted, leave the
reactor's state as it is, and are waited for before the release.

Relies on private names of pynetdicom 3.0.4, which is pinned: ``_reactor_checkpoint``, at which the reactor waits
between two messages and which it looks up for each wait; ``_serve_request``, looked up for each message;
``_is_paused``. Tests fail when that changes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom.association import Association

_LOOK_S = 0.05


class Pause(threading.Event):
    """A checkpoint that the reactor cannot pass, and the library cannot open, until :meth:`end`."""

    def __init__(self, link: Association) -> None:
        super().__init__()
        self._link = link
        self._library_serves = link._serve_request  # noqa: SLF001 - see above
        self._reached = threading.Event()
        self._turn = threading.Condition()
        self._serving = 0
        self._is_leaving = False
        self._ended = False

    @classmethod
    def of(cls, link: Association) -> Pause:
        """Stop the reactor of an established association; returns when it stands, or has ended."""
        pause = cls(link)
        link._serve_request = pause._serve  # type: ignore[assignment]  # noqa: SLF001 - see above
        link._reactor_checkpoint = pause  # noqa: SLF001
        pause._await()
        return pause

    @classmethod
    @contextmanager
    def held(cls, link: Association) -> Iterator[None]:
        """Stop the reactor of an established association for the time of the block."""
        pause = cls.of(link)
        try:
            yield
        finally:
            pause.end()

    def release(self, *, within_s: float) -> None:
        """Release the association after our response to what is being served; abort it if that takes too long."""
        with self._turn:
            self._is_leaving = True
            is_served = self._turn.wait_for(lambda: not self._serving, timeout=within_s)
        if not is_served:
            self._link.abort()
            return
        self._stop_again()
        self._link.release()

    def end(self) -> None:
        """Let the reactor serve what the peer asks, or end."""
        self._ended = True
        super().set()

    # --- what the library calls ---

    def wait(self, timeout: float | None = None) -> bool:
        """Hold the reactor here."""
        with self._turn:
            if self.is_set():
                # On its way past: it does not stand, and says nothing.
                return True
            self._reached.set()
        return super().wait(timeout)

    def set(self) -> None:
        """Do nothing while the pause lasts: the library sets the checkpoint after each of its requests."""
        if self._ended:
            super().set()

    def _serve(self, message: Any, context_id: int) -> None:
        with self._turn:
            if self._is_leaving:
                return
            self._serving += 1
        try:
            self._library_serves(message, context_id)
        finally:
            self._link._is_paused = True  # noqa: SLF001
            with self._turn:
                self._serving -= 1
                self._turn.notify_all()

    # --- the reactor ---

    def _stop_again(self) -> None:
        if not self._ended:
            return
        with self._turn:
            self._ended = False
            self._reached.clear()
            self.clear()
        self._await()

    def _await(self) -> None:
        while self._link.is_alive() and not self._reached.wait(_LOOK_S):
            pass
