"""Starting the node: what stops it, what it refuses while it runs, and that it is one of its kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scp_node.demo.ports import free_port
from scp_node.domain.delivery import DeliveryState
from tests.node.network import REPOSITORY, store
from tests.system.misbehaving_pacs import Misbehaviour, misbehaving_pacs
from tests.system.node_process import NodeUnderTest, node_under_test
from tests.system.patient import Patient

pytestmark = pytest.mark.timeout(280)


FAULTY_NODE = """
data_folder = "relative/data"
log_level = "loud"
[receiving]
ae_titles = ["FAR_TOO_LONG_A_TITLE"]
port = 0
"""
FAULTY_PEERS = """
[peer.pacs]
ae_title = "PACS"
may_fly = true
"""
FAULTY_ROUTES = """
[[route]]
name = "one"
analyze = ["astrology"]
deliver_to = ["pacs"]
when = { attribute = "Modality", equals = "CT" }
"""
FAULTS = (
    "node.toml: data_folder",
    "node.toml: log_level",
    "node.toml: receiving.ae_titles",
    "node.toml: receiving.port",
    "peers.toml: peer.pacs.may_fly",
    "routes.toml: route.0.analyze",
)


def serve(config: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``serve`` where it has to end by itself."""
    command = [sys.executable, str(REPOSITORY / "run_node.py"), "serve", "--config", str(config)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=REPOSITORY, env=environment
    )


def test_every_fault_of_all_three_files_stops_the_start_at_once(tmp_path: Path) -> None:
    for name, content in (("node", FAULTY_NODE), ("peers", FAULTY_PEERS), ("routes", FAULTY_ROUTES)):
        (tmp_path / f"{name}.toml").write_text(content)
    ended = serve(tmp_path)
    told = ended.stdout + ended.stderr
    assert ended.returncode == 2
    assert [fault for fault in FAULTS if fault not in told] == []
    assert "Traceback" not in told


def test_a_full_spool_answers_a700_and_what_was_acknowledged_goes_its_way(tmp_path: Path) -> None:
    with node_under_test(tmp_path / "node", pacs_port=free_port(), receiving="spool_quota_gib = 0.000002") as node:
        patient = Patient(tmp_path)
        statuses = store(node.port, patient.slices(1, 2, 3, 4))
        assert statuses[0] == 0x0000
        assert statuses[-1] == 0xA700
        told = node.until(patient.study, lambda told: bool(told.jobs), "an analysis")
        assert told.study.instance_count == statuses.count(0x0000)
        assert_refuses_a_second_node(node)


def assert_refuses_a_second_node(node: NodeUnderTest) -> None:
    """Two nodes on one data folder would recover each other's work."""
    second = serve(node.config, node.environment)
    told = second.stdout + second.stderr
    assert second.returncode == 1
    assert "another node works on" in told
    assert "Traceback" not in told


def test_a_node_stops_also_while_a_peer_keeps_it_waiting_for_an_answer(tmp_path: Path) -> None:
    port = free_port()
    with (
        node_under_test(tmp_path / "node", pacs_port=port, response_timeout_s=3000.0) as node,
        misbehaving_pacs("PACS", node_port=node.port, port=port) as pacs,
    ):
        pacs.misbehaviour = Misbehaviour(stalls_s=3000.0)
        patient = Patient(tmp_path)
        store(node.port, patient.slices(1, 2))
        node.wait(lambda: len(pacs.arrived) == 1, "the first object on its way")
        assert node.stop() == 0
        assert node.family() == []
        told = node.explanation(patient.study)
        assert told is not None
        assert {each.state for line in told.jobs for each in line.deliveries} == {DeliveryState.QUEUED}


def test_status_says_when_no_receiver_listens_although_the_node_runs(tmp_path: Path) -> None:
    with node_under_test(tmp_path / "node", pacs_port=free_port()) as node:
        assert node.command("status").returncode == 0
        kept = node.data / "config-in-use" / "node.toml"
        content = kept.read_text()
        kept.write_text("what no receiver can read")
        for process in node.family():
            if "scp_node.inbound" in process.cmdline():
                process.kill()
        node.wait(lambda: node.command("status").returncode == 1, "status to find no receiver")
        assert "no receiver listens" in node.command("status").stdout
        kept.write_text(content)
        node.wait(lambda: node.command("status").returncode == 0, "a new receiver")
