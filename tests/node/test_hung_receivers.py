"""A receiver that runs and does nothing is noticed and replaced; one that is only slow, or was suspended, is not."""

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp_node import receivers
from scp_node.heartbeat import Heartbeats
from scp_node.metrics import Loss
from scp_node.receivers import receivers_fault
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.bench.kills import Load, examined
from tests.bench.prepared_objects import instance_uid
from tests.hostile.raw_peer import SUCCESS, RawPeer, associate_request, new_uid, small_object
from tests.node.faulty_disk import FaultyDisk
from tests.node.network import Site, eventually, make_site, peers_toml
from tests.node.receiver_pair import NUMBERS, Pair, receiver_pair

ACCEPTED = 2
LIMIT_S = 5
LOOK_S = 0.2
LOST = "hai_node_lost_receivers_total"


def impatient_site(folder: Path) -> Site:
    return make_site(folder, peers=peers_toml(), receiving=f"processes = 2\nprocess_timeout_s = {LIMIT_S:.1f}")


def looks(pair: Pair, for_s: float) -> None:
    """What the node does every few seconds."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        pair.mend()
        time.sleep(LOOK_S)


def is_replaced(pair: Pair, number: int, hung: psutil.Process) -> bool:
    pair.mend()
    time.sleep(LOOK_S)
    return pair.process(number).pid != hung.pid


def is_stopped_in_a_call(process: psutil.Process) -> bool:
    """Stop a receiver if somebody sends to it now."""
    process.send_signal(signal.SIGSTOP)
    if any(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections("tcp")):
        return True
    process.send_signal(signal.SIGCONT)
    return False


def stores(site: Site) -> bool:
    """Waits longer for its answers than a hung receiver is waited for."""
    with contextlib.closing(RawPeer.call(site.port, address="127.0.0.1")) as peer:
        peer.connection.settimeout(6.0 * LIMIT_S)
        peer.send(associate_request(calling="CT_1"))
        assert peer.answer()[0] == ACCEPTED
        uid = new_uid()
        return peer.store(uid, small_object(uid)) == SUCCESS


# --- real receivers ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(200)
def test_a_receiver_that_hangs_under_load_is_replaced_and_nothing_acknowledged_is_missing_twice_or_half(
    tmp_path: Path,
) -> None:
    site = impatient_site(tmp_path)
    load = Load(port=site.port, threads=3)
    with receiver_pair(site) as pair:
        hung, other = pair.process(1), pair.process(2)
        family = [hung, *hung.children()]
        with load.running():
            assert eventually(lambda: len(load.acknowledged) > 30)
            assert eventually(lambda: is_stopped_in_a_call(hung))
            assert eventually(lambda: is_replaced(pair, 1, hung), within_s=60.0)
            before = len(load.acknowledged)
            assert eventually(lambda: len(load.acknowledged) > before + 30)
        assert pair.process(2).pid == other.pid
        assert eventually(lambda: not any(one.is_running() for one in family)), "its recorder is left"
        assert pair.told(LOST, reason=Loss.HUNG.value) == 1
        assert pair.told(LOST, reason=Loss.ENDED.value) == 0
        with pair.only(1):
            RawPeer.associated(site.port, address="127.0.0.1", calling="CT_1").close()
        with contextlib.closing(Database.open(site.data, migrate=False)) as database:
            uids = {instance_uid(number) for number in load.acknowledged}
            rows = StudyStore(database)
            assert eventually(lambda: len(rows.spool_keys()) >= len(uids), within_s=90.0)
            assert eventually(lambda: rows.spool_keys() == {file.stem for file in site.spooled}, within_s=30.0)
    outcome = examined(site, load, kills=0, orphans=0)
    assert outcome.faults == {"missing": 0, "twice": 0, "half": 0, "orphans": 0}
    assert outcome.sent_again >= 1, "nobody was cut off"


def test_a_caller_whom_hung_receivers_keep_waiting_is_served_by_those_in_their_place(tmp_path: Path) -> None:
    site = impatient_site(tmp_path)
    with receiver_pair(site) as pair, ThreadPoolExecutor() as aside:
        hung = [pair.process(number) for number in NUMBERS]
        for process in hung:
            process.send_signal(signal.SIGSTOP)
        answered = aside.submit(stores, site)
        for number, process in zip(NUMBERS, hung, strict=True):
            assert eventually(partial(is_replaced, pair, number, process), within_s=60.0)
        assert answered.result(timeout=60)
        assert receivers_fault(site.data, datetime.now(UTC)) == ""


def test_one_that_even_a_kill_does_not_end_is_missed_and_replaced_once_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that waits in the kernel for a disk that does not answer."""
    site = impatient_site(tmp_path)
    with receiver_pair(site) as pair:
        hung = pair.process(1)
        with monkeypatch.context() as patched:
            patched.setattr(receivers, "_killed", lambda _process: False)
            hung.send_signal(signal.SIGSTOP)
            looks(pair, for_s=LIMIT_S + 2.0)
            assert pair.process(1).pid == hung.pid, "two of one number would share its places"
            assert "1 of 2 receivers" in receivers_fault(site.data, datetime.now(UTC))
            assert stores(site)
        pair.kill(1)
        pair.mend()
        assert pair.process(1).pid != hung.pid
        assert receivers_fault(site.data, datetime.now(UTC)) == ""
        assert pair.told(LOST, reason=Loss.HUNG.value) == 1


def test_a_receiver_whose_disk_is_slower_than_the_limit_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, tools = impatient_site(tmp_path), tmp_path / "tools"
    tools.mkdir()
    disk = FaultyDisk.built(tools)
    for name, value in disk.environment(site.data).items():
        monkeypatch.setenv(name, value)
    with receiver_pair(site) as pair, ThreadPoolExecutor() as aside:
        before = [pair.process(number).pid for number in NUMBERS]
        disk.is_slow("sync", LIMIT_S + 3, "spool")
        answered = aside.submit(stores, site)
        looks(pair, for_s=LIMIT_S + 2.0)
        assert not answered.done(), "the disk is not slow"
        assert answered.result(timeout=60)
        disk.works()
        assert [pair.process(number).pid for number in NUMBERS] == before
        assert pair.told(LOST) == 0


def test_receivers_that_stood_still_with_their_node_are_left_alone(tmp_path: Path) -> None:
    """A machine that is suspended: the node wakes first, looks at the clock, and has heard nothing."""
    site = impatient_site(tmp_path)
    with receiver_pair(site) as pair:
        looks(pair, for_s=2.0)
        before = [pair.process(number).pid for number in NUMBERS]
        with pair.only(1), pair.only(2):
            pair.mend()  # hears what they said last
            time.sleep(LIMIT_S + 1.0)
            pair.mend()
        looks(pair, for_s=2.0)
        assert [pair.process(number).pid for number in NUMBERS] == before
        assert pair.told(LOST) == 0


# --- the decision -----------------------------------------------------------------------------------------------

PATIENCE_S = 60.0


def test_who_is_silent_for_longer_than_the_patience_hangs_and_the_others_do_not() -> None:
    heartbeats = Heartbeats(PATIENCE_S)
    verdicts = [heartbeats.hung({1: 7, 2: look}, 5.0 * look) for look in range(15)]
    assert verdicts == [[]] * 13 + [[1]] * 2


def test_one_sign_of_life_begins_the_patience_anew() -> None:
    heartbeats = Heartbeats(PATIENCE_S)
    verdicts = [heartbeats.hung({1: look // 12}, 5.0 * look) for look in range(40)]
    assert not any(verdicts)


def test_a_new_process_has_the_whole_patience_whoever_was_there_before() -> None:
    heartbeats = Heartbeats(PATIENCE_S)
    for look in range(12):
        assert heartbeats.hung({1: 0}, 5.0 * look) == []
    assert heartbeats.hung({2: 0}, 60.0) == []
    assert heartbeats.hung({2: 0}, 65.0) == []


@given(st.floats(0, 1e7), st.floats(0, 19.0))
def test_however_late_one_look_comes_nobody_hangs_before_two_more(late_s: float, before_s: float) -> None:
    heartbeats = Heartbeats(PATIENCE_S)
    heartbeats.hung({1: 0}, 0.0)
    heartbeats.hung({1: 0}, before_s)
    assert heartbeats.hung({1: 0}, before_s + late_s) == []
    assert heartbeats.hung({1: 0}, before_s + late_s + 5.0) == []


@given(st.lists(st.floats(0.1, 300.0), min_size=1, max_size=30))
def test_who_gives_a_sign_before_each_look_never_hangs(gaps_s: list[float]) -> None:
    heartbeats, now_s = Heartbeats(PATIENCE_S), 0.0
    for beats, gap_s in enumerate(gaps_s):
        now_s += gap_s
        assert heartbeats.hung({1: beats}, now_s) == []


@given(st.lists(st.floats(1.0, 300.0), min_size=70, max_size=70))
def test_who_is_silent_for_ever_hangs_in_the_end_however_late_the_looks(gaps_s: list[float]) -> None:
    heartbeats, now_s = Heartbeats(PATIENCE_S), 0.0
    for gap_s in gaps_s:
        now_s += gap_s
        verdict = heartbeats.hung({1: 0}, now_s)
    assert verdict == [1]
