"""Counts for Prometheus, served on this machine only: what receivers count, and what the rows say.

A receiver is another process; it writes its counts into files of its own (the library's multi-process mode), and they
are added up here when they are asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from scp_node.store.overview import Overview, Status

COUNTS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The library's name for the folder, in a receiver's environment."""
LOOPBACK = "127.0.0.1"


def counts_folder(data_folder: Path) -> Path:
    """The folder of the receivers' counts, made anew: they begin at zero with the node."""
    folder = data_folder / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def forget_process(folder: Path, pid: int) -> None:
    """A receiver ended; what it had open does not count any more."""
    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


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


def serve_metrics(port: int, counts: Path, collector: NodeCollector) -> Callable[[], None]:
    """Serve on the loopback address until the returned function is called.

    Raises
    ------
    OSError
        If the port cannot be had.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(counts))  # type: ignore[no-untyped-call]
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
