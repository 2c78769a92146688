"""Receivers and recorders killed at random moments under load; the long run is `make soak`."""

import time
from pathlib import Path

import pytest

from scp_node.demo.ports import free_port
from tests.bench.kills import Load, examined, kill_often
from tests.node.network import Site, make_site, peers_toml
from tests.system.node_process import node_under_test

pytestmark = pytest.mark.timeout(280)


def test_whatever_is_killed_at_whatever_moment_nothing_acknowledged_is_missing_twice_or_half(tmp_path: Path) -> None:
    site = make_site(tmp_path, peers=peers_toml())
    (site.config / "node.toml").write_text(
        (site.config / "node.toml").read_text().replace('log_level = "debug"', 'log_level = "info"')
    )

    outcome = kill_often(site, tmp_path / "journal", kills=27, senders=3, seed=20260101)

    assert outcome.faults == {"missing": 0, "twice": 0, "half": 0, "orphans": 0}
    assert outcome.acknowledged > 500
    assert outcome.sent_again > 20, "the kills met nobody"


def test_a_main_process_that_is_killed_under_load_leaves_nobody_behind_and_loses_nothing(tmp_path: Path) -> None:
    with node_under_test(tmp_path / "node", pacs_port=free_port()) as node:
        load = Load(port=node.port, threads=2)
        with load.running():
            for pause_s in (0.2, 0.7, 1.3):
                time.sleep(pause_s)
                node.kill()
                node.start()
            time.sleep(0.5)
        node.stop()
        orphans = len(node.family())
        site = Site(config=node.config, data=node.data, port=node.port)
        outcome = examined(site, load, kills=3, orphans=orphans)

    assert outcome.faults == {"missing": 0, "twice": 0, "half": 0, "orphans": 0}
    assert outcome.acknowledged > 100
