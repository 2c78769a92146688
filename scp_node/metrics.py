"""Counts for Prometheus, served on this machine only: what receivers count, and what the rows say.

A receiver is another process; it tells its counts over a socket, and they are added up here when they are asked for.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from scp_node.inbound.metrics import LARGEST_MESSAGE_BYTES, Count, Counts, Level
from scp_node.store.overview import Overview, Status

LOOPBACK = "127.0.0.1"


class Loss(Enum):
    """Why a receiver was started again."""

    ENDED = "it ended"
    HUNG = "it hung"


class ReceiverCounts(Collector):
    """What the receivers told last, added up; safe for many threads.

    What a receiver counted stays when it ends; what it had open does not count any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: dict[int, socket.socket] = {}
        self._last: dict[int, Counts] = {}
        self._ended: Counter[tuple[Count, str]] = Counter()
        self._lost: Counter[Loss] = Counter()

    def link(self, pid: int, ours: socket.socket) -> None:
        """A receiver was started; ``ours`` is our end of the socket, taken over."""
        with self._lock:
            self._links[pid] = ours

    def hear(self) -> dict[int, int]:
        """Take what was told, so that there is room for more; call it every few seconds.

        Returns
        -------
        process id → count
            Signs of life that each receiver has told of.
        """
        with self._lock:
            self._hear()
            return {pid: self._last[pid].beats if pid in self._last else 0 for pid in self._links}

    def forget(self, pid: int, loss: Loss | None = None) -> None:
        """A receiver ended; ``loss`` says why, if it should not have. To say so again has no effect."""
        with self._lock:
            self._hear()
            link, last = self._links.pop(pid, None), self._last.pop(pid, None)
            if link is not None:
                link.close()
                if loss is not None:
                    self._lost[loss] += 1
            if last is not None:
                self._ended.update(last.counts)

    def collect(self) -> Iterable[Metric]:
        """All counters and gauges."""
        with self._lock:
            self._hear()
            counts, levels, lost = self._ended.copy(), Counter[Level](), self._lost.copy()
            for last in self._last.values():
                counts.update(last.counts)
                levels.update(last.levels)
        for count in Count:
            name, text, label = count.value
            counter = CounterMetricFamily(name, text, labels=[label] if label else [])
            if not label:
                counter.add_metric([], counts[count, ""])
            else:
                for (_, value), number in sorted(item for item in counts.items() if item[0][0] is count):
                    counter.add_metric([value], number)
            yield counter
        for level in Level:
            name, text = level.value
            yield GaugeMetricFamily(name, text, value=levels[level])
        losses = CounterMetricFamily(
            "hai_node_lost_receivers", "Receivers that were started again, by reason", labels=["reason"]
        )
        for loss in Loss:
            losses.add_metric([loss.value], lost[loss])
        yield losses

    def _hear(self) -> None:
        for pid, link in self._links.items():
            while message := _message(link):
                self._last[pid] = Counts.from_bytes(message)


def _message(link: socket.socket) -> bytes:
    """The next message; empty if there is none, or the receiver has ended."""
    try:
        return link.recv(LARGEST_MESSAGE_BYTES, socket.MSG_DONTWAIT)
    except OSError:
        return b""


class NodeCollector(Collector):
    """What the rows say, at the moment when it is asked for.

    Parameters
    ----------
    overview : Overview
        The rows.
    clock : () -> datetime
        Aware UTC.
    """

    def __init__(self, overview: Overview, clock: Callable[[], datetime]) -> None:
        self._overview = overview
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """All gauges."""
        now = self._clock()
        status = self._overview.status(now)
        yield _by_state("hai_node_studies", "Studies by state", status.studies.items())
        yield _by_state("hai_node_jobs", "Analyses by state", status.jobs.items())
        deliveries = GaugeMetricFamily(
            "hai_node_deliveries", "Objects to deliver, by peer and state", labels=["peer", "state"]
        )
        for queue in status.peers:
            for state, count in queue.counts.items():
                deliveries.add_metric([queue.peer, state.value], count)
        yield deliveries
        yield GaugeMetricFamily(
            "hai_node_oldest_unanswered_seconds",
            "Age of the study that waits longest for its answer to be committed; 0 if none waits",
            value=_age_s(status, now),
        )
        yield GaugeMetricFamily("hai_node_alarms", "What status gives an alarm for", value=len(status.alarms))
        yield GaugeMetricFamily("hai_node_spool_bytes", "Size of the received files", value=status.spool.byte_count)
        yield GaugeMetricFamily(
            "hai_node_disk_free_bytes", "What the disk of the data folder has left", value=status.spool.disk_free_bytes
        )


def serve_metrics(port: int, *collectors: Collector) -> Callable[[], None]:
    """Serve on the loopback address until the returned function is called.

    Raises
    ------
    OSError
        If the port cannot be had.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    server, thread = start_http_server(port, addr=LOOPBACK, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _by_state(name: str, text: str, counts: Iterable[tuple[str, int]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in counts:
        family.add_metric([str(state)], count)
    return family


def _age_s(status: Status, now: datetime) -> float:
    if status.oldest_unanswered_at is None:
        return 0.0
    return (now - status.oldest_unanswered_at).total_seconds()
