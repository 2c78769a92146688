"""What a receiver counts, for Prometheus.

The receivers write their counts into files that they share with the node (the library's multi-process mode); the node
serves them on its loopback port. Labels hold no name that a peer sent.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from scp_node.dimse.statuses import status_text

_OBJECTS = Counter("hai_node_objects", "C-STORE requests by the status they were answered with", ["status"])
_BYTES = Counter("hai_node_received_bytes", "Bytes of acknowledged objects")
_REJECTED = Counter("hai_node_rejected_associations", "Association requests that were rejected, by reason", ["reason"])
_DROPPED = Counter("hai_node_dropped_connections", "Connections closed before an association, by reason", ["reason"])
_BREACHES = Counter("hai_node_aborted_associations", "Associations that were ended for what the peer did", ["reason"])
_OPEN = Gauge("hai_node_open_associations", "Open associations", multiprocess_mode="livesum")
_WAITING = Gauge("hai_node_waiting_connections", "Connections without association", multiprocess_mode="livesum")


class ReceiverMetrics:
    """The counts of this process."""

    def answered(self, status: int) -> None:
        """A C-STORE was answered."""
        _OBJECTS.labels(status_text(status)).inc()

    def received(self, byte_count: int) -> None:
        """So many bytes were acknowledged."""
        _BYTES.inc(byte_count)

    def rejected(self, reason: str) -> None:
        """An association was rejected."""
        _REJECTED.labels(reason).inc()

    def dropped(self, reason: str) -> None:
        """A connection was closed before it became an association."""
        _DROPPED.labels(reason).inc()

    def ended_for(self, reason: str) -> None:
        """An association was ended for what the peer did."""
        _BREACHES.labels(reason).inc()

    def open_associations(self, count: int) -> None:
        """So many are open now."""
        _OPEN.set(count)

    def waiting_connections(self, count: int) -> None:
        """So many wait now."""
        _WAITING.set(count)
