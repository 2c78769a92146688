"""Receivers and recorders killed at random moments under load; the long run is `make soak`."""

import signal
import time
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import psutil
import pytest

from scp_node.demo.ports import free_port
from scp_node.inbound.listener import listening_socket
from tests.bench.kills import SUCCESS, Load, examined, kill_often
from tests.bench.prepared_objects import PreparedObjects, Sender, instance_uid
from tests.node.network import Receiver, Site, eventually, make_site, peers_toml, receiving
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
    assert outcome.direct > 50
    assert outcome.spilt > 0
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


def test_what_a_killed_receiver_made_ahead_goes_with_the_next_one_while_its_sibling_goes_on(tmp_path: Path) -> None:
    site = make_site(tmp_path, peers=peers_toml())
    objects, numbers = PreparedObjects.small(), count()

    def send(link: Sender, how_many: int) -> list[int]:
        sent = [next(numbers) for _ in range(how_many)]
        return [link.store(instance_uid(number), objects.dataset(number, 0)) for number in sent]

    def sent_to(one: Receiver, other: Receiver, how_many: int) -> list[int]:
        """A process that is stopped takes no call."""
        other.process.send_signal(signal.SIGSTOP)
        try:
            assert eventually(lambda: psutil.Process(other.process.pid).status() == psutil.STATUS_STOPPED)
            with Sender(one.port, timeout_s=20.0) as link:
                return send(link, how_many)
        finally:
            other.process.send_signal(signal.SIGCONT)

    def empty() -> int:
        return sum(path.stat().st_size == 0 for path in (site.data / "spool").rglob("*.dcm"))

    # Of 33 that come one after the other the last takes the second of the 32 that were made for it.
    with closing(listening_socket("127.0.0.1", site.port)) as shared, ExitStack() as living:
        sibling = living.enter_context(receiving(site, number=1, listening=shared))
        with receiving(site, number=2, listening=shared) as killed:
            assert sent_to(sibling, killed, 33) == [SUCCESS] * 33
            siblings = empty()
            assert sent_to(killed, sibling, 33) == [SUCCESS] * 33
            assert 0 < siblings < empty()
            killed.process.kill()
            killed.process.wait(timeout=20)
        successor = living.enter_context(receiving(site, number=3, listening=shared))
        # What waits in the sibling's hands is not of the dead.
        assert eventually(lambda: empty() == siblings), "they lie there until the node starts again"
        assert sent_to(sibling, successor, 40) == [SUCCESS] * 40

    assert len(site.spooled) == 33 + 33 + 40
