"""Receivers and recorders killed at random moments under load; the long run is `make soak`."""

from pathlib import Path

import pytest

from tests.bench.kills import kill_often
from tests.node.network import make_site, peers_toml

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
