"""What a receiver counts, and how its node hears of it.

The counts live in the receiver's own memory and are told whole, in one message each time, over a socket that the node
holds the other end of. Not in a file that both map: on a full disk, a write into a page without a block kills the
process by SIGBUS. Labels hold no name that a peer sent.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from scp_node.dimse.statuses import status_text

LARGEST_MESSAGE_BYTES = 1 << 17
"""Labels are statuses and reasons of ours or of OpenSSL, some hundred at most; a message is some kilobytes long."""


class Count(Enum):
    """What only grows: its name, what it says, and what its label tells ("" for none)."""

    OBJECTS = ("hai_node_objects", "C-STORE requests by the status they were answered with", "status")
    BYTES = ("hai_node_received_bytes", "Bytes of acknowledged objects", "")
    REJECTED = ("hai_node_rejected_associations", "Association requests that were rejected, by reason", "reason")
    DROPPED = ("hai_node_dropped_connections", "Connections closed before an association, by reason", "reason")
    BREACHES = ("hai_node_aborted_associations", "Associations that were ended for what the peer did", "reason")


class Level(Enum):
    """What goes up and down."""

    OPEN = ("hai_node_open_associations", "Open associations")
    WAITING = ("hai_node_waiting_connections", "Connections without association")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """All counts of one receiver at one moment."""

    counts: Mapping[tuple[Count, str], int]
    """By what is counted and its label."""
    levels: Mapping[Level, int]
    beats: int = 0
    """Signs of life since it began. They are told by one thread and given by another, so only a receiver in which both
    go on is heard to live."""

    def to_bytes(self) -> bytes:
        """As one message."""
        counts = [[count.name, label, value] for (count, label), value in self.counts.items()]
        levels = {level.name: value for level, value in self.levels.items()}
        return json.dumps({"counts": counts, "levels": levels, "beats": self.beats}).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Counts:
        """Read a message of :meth:`to_bytes`."""
        told = json.loads(message)
        return cls(
            counts={(Count[name], label): value for name, label, value in told["counts"]},
            levels={Level[name]: value for name, value in told["levels"].items()},
            beats=told["beats"],
        )


class ReceiverMetrics:
    """The counts of this process; safe for many threads.

    Parameters
    ----------
    node : socket.socket or None
        Where they are told; it keeps the bounds of messages. ``None`` if nobody wants to know.
    """

    def __init__(self, node: socket.socket | None = None) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Count, str]] = Counter()
        self._answers: Counter[int] = Counter()
        self._received_bytes = 0
        self._levels = dict.fromkeys(Level, 0)
        self._beats = 0

    def tell(self) -> None:
        """Tell the node, if it has room for a message; call it every second. What it misses is in the next one."""
        if self._node is None:
            return
        with self._lock:
            message = Counts(counts=self._all_counts(), levels=self._levels, beats=self._beats).to_bytes()
        # Either it is slow, or it was killed and so are we soon.
        with suppress(OSError):
            self._node.send(message, socket.MSG_DONTWAIT)

    def beat(self) -> None:
        """Whoever takes callers in goes on; call it between any two steps that may last."""
        with self._lock:
            self._beats += 1

    def answered(self, status: int, byte_count: int = 0) -> None:
        """A C-STORE was answered, and so many bytes acknowledged with it."""
        # Labels are made when they are told: this happens for each object.
        with self._lock:
            self._answers[status] += 1
            self._received_bytes += byte_count

    def rejected(self, reason: str) -> None:
        """An association was rejected."""
        self._add(Count.REJECTED, reason)

    def dropped(self, reason: str) -> None:
        """A connection was closed before it became an association."""
        self._add(Count.DROPPED, reason)

    def ended_for(self, reason: str) -> None:
        """An association was ended for what the peer did."""
        self._add(Count.BREACHES, reason)

    def open_associations(self, count: int) -> None:
        """So many are open now."""
        with self._lock:
            self._levels[Level.OPEN] = count

    def waiting_connections(self, count: int) -> None:
        """So many wait now."""
        with self._lock:
            self._levels[Level.WAITING] = count

    def _add(self, count: Count, label: str) -> None:
        with self._lock:
            self._counts[count, label] += 1

    def _all_counts(self) -> dict[tuple[Count, str], int]:
        answers = {(Count.OBJECTS, status_text(status)): number for status, number in self._answers.items()}
        received = {(Count.BYTES, ""): self._received_bytes} if self._received_bytes else {}
        return {**self._counts, **answers, **received}
