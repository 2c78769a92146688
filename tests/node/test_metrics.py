"""Counts for Prometheus: what receivers count and what the rows say, on the loopback address."""

import os
import socket
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scp_node.metrics import COUNTS_VARIABLE, NodeCollector, counts_folder, forget_process, serve_metrics
from scp_node.store.database import Database
from scp_node.store.overview import Overview
from scp_node.store.studies import StudyStore
from tests.node.network import REPOSITORY, free_port
from tests.node.store_samples import received

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

COUNTING = """
from scp_node.inbound.metrics import ReceiverMetrics
metrics = ReceiverMetrics()
metrics.answered(0x0000)
metrics.answered(0xA700)
metrics.open_associations(3)
print("counted", flush=True)
input()
"""


def counting(folder: Path) -> subprocess.Popen[str]:
    """A process that counts like a receiver."""
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING],
        env={**os.environ, COUNTS_VARIABLE: str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


def page(port: int) -> dict[str, float]:
    """Values by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_what_several_receivers_count_is_added_up_and_outlives_them(tmp_path: Path) -> None:
    folder = counts_folder(tmp_path)
    database = Database.open(tmp_path, migrate=True)
    StudyStore(database).record(received(1), NOW)
    port = free_port()
    stop = serve_metrics(port, folder, NodeCollector(Overview(database, tmp_path), lambda: NOW))
    try:
        with counting(folder) as one, counting(folder) as other:
            told = page(port)
            assert told['hai_node_objects_total{status="0x0000"}'] == 2
            assert told["hai_node_open_associations"] == 6
            one.communicate("\n")
            forget_process(folder, one.pid)
            told = page(port)
            assert told['hai_node_objects_total{status="0x0000"}'] == 2
            assert told["hai_node_open_associations"] == 3
            other.communicate("\n")
        assert told['hai_node_studies{state="receiving"}'] == 1
        assert told["hai_node_oldest_unanswered_seconds"] >= 0
        assert told["hai_node_disk_free_bytes"] > 0
    finally:
        stop()
        database.close()


def test_counts_are_served_on_the_loopback_address_only(tmp_path: Path) -> None:
    database = Database.open(tmp_path, migrate=True)
    port = free_port()
    stop = serve_metrics(port, counts_folder(tmp_path), NodeCollector(Overview(database, tmp_path), lambda: NOW))
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
                counts_folder(tmp_path),
                NodeCollector(Overview(database, tmp_path), lambda: NOW),
            )
    database.close()
