"""Keeps the library's reactor away from the answers to our own requests.

An association that we open has a thread, the reactor, which takes messages off the association's queue to serve what
the peer asks of us. Before each request the library asks it to pause, and looks whether it *is* paused: but between
leaving its checkpoint and saying so the reactor still counts as paused, and then takes our answer for an unexpected
message. On a busy machine about one request in a hundred is lost so, and with it the time until the time-out. Here
the reactor is stopped once, by a checkpoint that tells when it has really been reached, and stays there.

Relies on a private name of pynetdicom 3.0.4, which is pinned: ``Association._reactor_checkpoint``. The reactor waits at
it between two messages and looks it up for each wait. A test fails when that changes.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association

_LOOK_S = 0.05


class Pause(threading.Event):
    """A checkpoint that the reactor cannot pass, and the library cannot open, until :meth:`end`."""

    def __init__(self) -> None:
        super().__init__()
        self._reached = threading.Event()
        self._ended = False

    @classmethod
    def of(cls, link: Association) -> Pause:
        """Stop the reactor of an established association; returns when it stands, or has ended."""
        pause = cls()
        link._reactor_checkpoint = pause  # noqa: SLF001 - see above
        while link.is_alive() and not pause._reached.wait(_LOOK_S):
            pass
        return pause

    def wait(self, timeout: float | None = None) -> bool:
        """Hold the reactor here."""
        self._reached.set()
        return super().wait(timeout)

    def set(self) -> None:
        """Do nothing while the pause lasts: the library sets the checkpoint after each of its requests."""
        if self._ended:
            super().set()

    def end(self) -> None:
        """Let the reactor serve what the peer asks, or end."""
        self._ended = True
        super().set()
