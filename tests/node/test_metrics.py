"""Counts for Prometheus: what receivers count and what the rows say, on the loopback address."""

import os
import socket
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scp_node.demo.ports import free_port
from scp_node.inbound.metrics import ReceiverMetrics
from scp_node.metrics import NodeCollector, ReceiverCounts, serve_metrics
from scp_node.receivers import Receivers
from scp_node.store.database import Database
from scp_node.store.overview import Overview
from scp_node.store.studies import StudyStore
from tests.node.network import ct_slice, eventually, make_site, part10, peers_toml, store
from tests.node.store_samples import received

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def counting(node: ReceiverCounts, pid: int) -> tuple[ReceiverMetrics, socket.socket]:
    """The counts of a receiver of that pid, which has counted a little, and its end of the socket."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    node.link(pid, ours)
    metrics = ReceiverMetrics(its)
    metrics.answered(0x0000)
    metrics.answered(0xA700)
    metrics.open_associations(3)
    metrics.tell()
    return metrics, its


def page(port: int) -> dict[str, float]:
    """Values by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_what_several_receivers_count_is_added_up_and_outlives_them(tmp_path: Path) -> None:
    database = Database.open(tmp_path, migrate=True)
    StudyStore(database).record(received(1), NOW)
    port, node = free_port(), ReceiverCounts()
    stop = serve_metrics(port, node, NodeCollector(Overview(database, tmp_path), lambda: NOW))
    (one, one_end), (_, other_end) = counting(node, 1), counting(node, 2)
    with closing(one_end), closing(other_end):
        told = page(port)
        assert told['hai_node_objects_total{status="0x0000"}'] == 2
        assert told["hai_node_received_bytes_total"] == 0
        assert told["hai_node_open_associations"] == 6
        one.answered(0x0000, 525_000)
        one.tell()
        one_end.close()
        node.forget(1)
        told = page(port)
        assert told['hai_node_objects_total{status="0x0000"}'] == 3
        assert told["hai_node_received_bytes_total"] == 525_000
        assert told["hai_node_open_associations"] == 3
        assert told['hai_node_studies{state="receiving"}'] == 1
        assert told["hai_node_oldest_unanswered_seconds"] >= 0
        assert told["hai_node_disk_free_bytes"] > 0
    stop()
    node.forget(2)
    database.close()


def test_a_node_that_does_not_listen_holds_no_receiver_up_and_hears_the_newest_afterwards() -> None:
    node = ReceiverCounts()
    metrics, its = counting(node, 1)
    with closing(its):
        for number in range(5000):
            metrics.dropped(f"reason {number % 100}")
            metrics.tell()
        node.hear()
        metrics.tell()
        counter = next(one for one in node.collect() if one.name == "hai_node_dropped_connections")
        assert sum(sample.value for sample in counter.samples) == 5000
    metrics.tell()
    node.forget(1)


def test_counts_of_real_receivers_reach_the_page_also_of_one_that_was_killed(tmp_path: Path) -> None:
    site = make_site(tmp_path, peers=peers_toml())
    files = [part10(ct_slice(number), tmp_path / f"{number}.dcm") for number in range(3)]
    size = sum(len(file.read_bytes()) for file in files)
    node = ReceiverCounts()
    lock = os.open(site.data / "node.lock", os.O_CREAT | os.O_RDWR)
    receivers = Receivers(site.config, site.settings.node, lock, node)

    def told(name: str) -> float:
        samples = [one for family in node.collect() for one in family.samples if one.name == name]
        return sum((one.value for one in samples), 0.0)

    try:
        receivers.start(NOW)
        assert store(site.port, files) == [0x0000] * 3
        assert eventually(lambda: told("hai_node_objects_total") == 3)
        assert 0 < told("hai_node_received_bytes_total") < size
        for process in receivers._processes.values():
            process.kill()
            process.wait()
        receivers.mend(NOW)
        assert store(site.port, files[:1]) == [0x0000]
        assert eventually(lambda: told("hai_node_objects_total") == 4)
    finally:
        receivers.stop()
        os.close(lock)
    assert told("hai_node_objects_total") == 4


def test_counts_are_served_on_the_loopback_address_only(tmp_path: Path) -> None:
    database = Database.open(tmp_path, migrate=True)
    port = free_port()
    stop = serve_metrics(port, NodeCollector(Overview(database, tmp_path), lambda: NOW))
    try:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.2", port)) != 0
    finally:
        stop()
        database.close()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    database = Database.open(tmp_path, migrate=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            serve_metrics(
                taken.getsockname()[1],
                NodeCollector(Overview(database, tmp_path), lambda: NOW),
            )
    database.close()
