"""What is left when a process is killed: nothing acknowledged is lost, and every study gets exactly one answer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from enum import IntEnum
from pathlib import Path

import psutil
import pytest

from scp_node.demo.ports import free_port
from scp_node.domain.delivery import DeliveryState, ObjectKind
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyState
from scp_node.pipeline.inputs import DIGEST_FILE
from scp_node.settings.node import ReceivingSettings
from scp_node.store.overview import Explanation
from tests.node.network import association, dataset_bytes, eventually, kinds, send, store
from tests.system.misbehaving_pacs import WELL_BEHAVED, Commitment, MisbehavingPacs, misbehaving_pacs
from tests.system.node_process import NodeUnderTest, made_objects, node_under_test
from tests.system.patient import Patient

pytestmark = pytest.mark.timeout(280)

RECEIVER, RECORDER = "scp_node.inbound", "scp_node.inbound.record"
RECEIVERS: int = ReceivingSettings.model_fields["processes"].default


class Commit(IntEnum):
    """How far the newest job of a study has come; each is at least one commit further than the one before."""

    RECEIVING = 0
    COMPLETE = 1
    QUEUED = 2
    RUNNING = 3
    ANALYZED = 4
    ENCODED = 5
    SENDING = 6
    SENT = 7
    COMMITTED = 8


def reached(told: Explanation) -> Commit:
    if not told.jobs:
        return Commit.COMPLETE if told.study.state is StudyState.COMPLETE else Commit.RECEIVING
    line = told.jobs[-1]
    states = {each.state for each in line.deliveries}
    if not states:
        begun = line.job.state is JobState.RUNNING and line.job.child_pid is not None
        return Commit.ANALYZED if line.job.state is JobState.ANALYZED else Commit.RUNNING if begun else Commit.QUEUED
    if states == {DeliveryState.QUEUED}:
        return Commit.ENCODED
    if not states <= {DeliveryState.SENT, DeliveryState.COMMITTED}:
        return Commit.SENDING
    return Commit.COMMITTED if states == {DeliveryState.COMMITTED} else Commit.SENT


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeUnderTest, MisbehavingPacs]]:
    pacs_port = free_port()
    with (
        # Every kill while the analyzer runs costs an attempt.
        node_under_test(tmp_path_factory.mktemp("node"), pacs_port=pacs_port, attempts=10) as node,
        misbehaving_pacs("PACS", node_port=node.port, port=pacs_port) as pacs,
    ):
        yield node, pacs


@pytest.fixture
def node(world: tuple[NodeUnderTest, MisbehavingPacs]) -> NodeUnderTest:
    world[0].behave("fine")
    return world[0]


@pytest.fixture
def pacs(world: tuple[NodeUnderTest, MisbehavingPacs]) -> MisbehavingPacs:
    world[1].misbehaviour = WELL_BEHAVED
    return world[1]


def assert_one_answer(node: NodeUnderTest, pacs: MisbehavingPacs, told: Explanation) -> None:
    """One job, one result of one attempt, one set of objects at the PACS, to the byte."""
    (line,) = told.jobs
    assert (told.study.revision, line.job.state) == (1, JobState.ENCODED)
    assert {each.kind for each in line.objects} == set(ObjectKind)
    of_study = {uid for uid, held in pacs.held.items() if held.header.StudyInstanceUID == told.study.study_instance_uid}
    assert of_study == set(made_objects(told))
    for each in line.objects:
        assert pacs.held[each.sop_instance_uid].content == dataset_bytes(node.data / each.file)
    attempts = [entry.name for entry in (node.data / "jobs" / str(line.job.job_id)).iterdir() if entry.name.isdigit()]
    assert attempts == [str(line.job.fence)], "results of two attempts are left"
    assert line.out_folder == f"jobs/{line.job.job_id}/{line.job.fence}/out"
    attempt = (node.data / line.out_folder).parent
    kept = {"out", DIGEST_FILE}
    assert eventually(lambda: {entry.name for entry in attempt.iterdir()} == kept), "copies of images are left"


def assert_nobody_is_left_over(node: NodeUnderTest) -> None:
    """The main process, its receivers and a recorder of each; an analyzer or an encoder would be an orphan."""
    assert node.process is not None

    def others() -> int:
        """Those of the family that are none of these, and receivers or recorders that are too many or too few."""
        wrong = [abs(len(running(node, module)) - RECEIVERS) for module in (RECEIVER, RECORDER)]
        return len(node.family()) - 1 - 2 * RECEIVERS + sum(wrong)

    # The recorder of a killed receiver is there until it has recorded everything.
    assert eventually(lambda: others() == 0)
    assert node.process.pid in {process.pid for process in node.family()}


def receiver_with_association(node: NodeUnderTest) -> psutil.Process:
    """The one of the receivers that took the call of a single caller."""
    (found,) = (
        process
        for process in running(node, RECEIVER)
        if any(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections("tcp"))
    )
    return found


def running(node: NodeUnderTest, module: str) -> list[psutil.Process]:
    """The processes of the node that run the module."""
    return [process for process in node.family() if module in process.cmdline()]


def test_a_node_killed_after_every_commit_still_gives_exactly_one_committed_answer(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    node.behave("slow")
    pacs.misbehaviour = replace(WELL_BEHAVED, stalls_s=0.3, commitment=Commitment.NEVER)
    patient = Patient(tmp_path)
    files = patient.slices(1, 2, 3, 4)
    assert store(node.port, files[:2]) == [0, 0]
    node.kill_when(patient.study, lambda told: told.study.instance_count == 2, "two images acknowledged")
    node.start()
    # The scanner does not know what became of its association, so it sends everything.
    assert store(node.port, files) == [0] * 4
    hit = []
    for commit in list(Commit)[1:-1]:
        left = node.kill_when(patient.study, lambda told, commit=commit: reached(told) >= commit, commit.name)  # type: ignore[misc]
        hit.append(reached(left).name)
        node.behave("fine" if commit >= Commit.RUNNING else "slow")
        node.start()
    assert hit.count(Commit.SENT.name) == 1, hit
    pacs.misbehaviour = WELL_BEHAVED
    told = node.answered(patient.study)
    assert told.study.instance_count == 4
    assert_one_answer(node, pacs, told)
    assert_nobody_is_left_over(node)


def test_a_killed_analyzer_is_tried_again_in_a_folder_of_its_own(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    node.behave("loop")
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    at_work = node.until(patient.study, lambda told: reached(told) is Commit.RUNNING, "the analyzer to run")
    pid = at_work.jobs[0].job.child_pid
    assert pid is not None
    node.behave("fine")
    os.kill(pid, signal.SIGKILL)
    told = node.answered(patient.study)
    assert told.jobs[0].job.attempts == 2
    assert [event.reason for event in told.events if event.event == "attempt-failed"] == ["ended with signal 9"]
    assert_one_answer(node, pacs, told)
    assert_nobody_is_left_over(node)


def test_what_an_analyzer_started_does_not_outlive_a_killed_node_for_long(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    node.behave("family")
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    at_work = node.until(patient.study, lambda told: reached(told) is Commit.RUNNING, "the analyzer to run")
    pid = at_work.jobs[0].job.child_pid
    assert pid is not None
    analyzer = psutil.Process(pid)
    assert eventually(lambda: bool(analyzer.children()))
    (started,) = analyzer.children()
    node.kill()
    assert eventually(lambda: not analyzer.is_running() or analyzer.status() == psutil.STATUS_ZOMBIE)
    assert started.is_running()
    node.behave("fine")
    node.start()
    told = node.answered(patient.study)
    assert_one_answer(node, pacs, told)
    assert_nobody_is_left_over(node)


def test_a_killed_receiver_loses_nothing_acknowledged_and_holds_no_study(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    patient = Patient(tmp_path)
    files = patient.slices(1, 2, 3)
    with association(node.port, kinds(files)) as link:
        old = receiver_with_association(node)
        assert [send(link, file).status for file in files[:2]] == [0, 0]
        old.kill()
        told = node.answered(patient.study)
    assert told.study.instance_count == 2
    assert_one_answer(node, pacs, told)
    receivers = {process.pid for process in running(node, RECEIVER)}
    assert len(receivers) == RECEIVERS
    assert old.pid not in receivers
    assert store(node.port, files) == [0] * 3
    assert node.answered(patient.study, revision=2).study.instance_count == 3


def test_a_node_asked_to_stop_ends_the_analysis_and_takes_it_up_again_without_counting_it(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    node.behave("loop")
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    node.until(patient.study, lambda told: reached(told) is Commit.RUNNING, "the analyzer to run")
    assert node.stop() == 0
    assert node.family() == []
    node.behave("fine")
    node.start()
    told = node.answered(patient.study)
    assert told.jobs[0].job.attempts == 1
    assert_one_answer(node, pacs, told)


def test_a_node_that_is_killed_during_an_association_comes_back_to_an_undamaged_store(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    patient = Patient(tmp_path)
    files = patient.slices(*range(1, 41))
    acknowledged = 0
    with association(node.port, kinds(files)) as link:
        for file in files:
            if acknowledged == 10:
                node.kill()
                # The old receiver gives the association some seconds more, while the next node begins already.
                node.begin()
            if not link.is_established or send(link, file).status != 0:
                break
            acknowledged += 1
            time.sleep(0.1)
    assert acknowledged > 10
    node.await_serving()
    told = node.answered(patient.study)
    # Of the object whose answer never came nobody knows; it may be there.
    assert told.study.instance_count in (acknowledged, acknowledged + 1)
    assert_one_answer(node, pacs, told)
