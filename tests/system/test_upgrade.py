"""A data folder outlives the program: brought up to date with studies in every state, and restored from a backup."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scp_node.demo.ports import free_port
from scp_node.domain.delivery import DeliveryState
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyState
from scp_node.errors import StoreError
from scp_node.store.database import Database
from scp_node.store.overview import Explanation
from scp_node.store.studies import StudyStore
from tests.node.earlier_tables import take_back
from tests.node.network import part10, store
from tests.system.misbehaving_pacs import MisbehavingPacs, misbehaving_pacs
from tests.system.node_process import NodeUnderTest, made_objects, node_under_test
from tests.system.patient import Patient

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[NodeUnderTest, MisbehavingPacs]]:
    pacs_port = free_port()
    with (
        node_under_test(tmp_path / "site", pacs_port=pacs_port, attempts=2) as node,
        misbehaving_pacs("PACS", node_port=node.port, port=pacs_port) as pacs,
    ):
        yield node, pacs


def renamed(patient: Patient, patient_id: str, folder: Path) -> Path:
    """The first slice again, under another patient ID."""
    return part10(patient.slice(1, PatientID=patient_id), folder / f"{patient_id}.dcm")


def is_encoded(told: Explanation) -> bool:
    return bool(told.jobs) and told.jobs[0].job.state is JobState.ENCODED


def is_running(told: Explanation) -> bool:
    return bool(told.jobs) and told.jobs[0].job.child_pid is not None


def test_a_data_folder_of_the_first_tables_goes_on_in_every_state(
    world: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = world
    names = ("answered", "ignored", "held", "failed", "undelivered", "running", "receiving")
    patients = {name: Patient(tmp_path, "Y90 MAPPING" if name == "ignored" else "HAI") for name in names}
    study = {name: patient.study for name, patient in patients.items()}

    store(node.port, patients["answered"].slices(1))
    node.answered(study["answered"])
    store(node.port, [renamed(patients["answered"], "MIDDLE", tmp_path)])
    store(node.port, [renamed(patients["answered"], "LAST", tmp_path)])
    store(node.port, patients["ignored"].slices(1))
    node.state(study["ignored"], StudyState.IGNORED)
    store(node.port, patients["held"].slices(1))
    node.answered(study["held"])
    forged = patients["held"].slice(1)
    forged.PixelData = b"\x07\x00" * (len(forged.PixelData) // 2)
    store(node.port, [part10(forged, tmp_path / "forged")])
    node.state(study["held"], StudyState.HELD)
    node.behave("crash")
    store(node.port, patients["failed"].slices(1))
    node.answered(study["failed"])
    node.behave("fine")
    pacs_port = pacs.port
    pacs.go_away()
    store(node.port, patients["undelivered"].slices(1))
    node.until(study["undelivered"], is_encoded, "an answer that cannot be delivered")
    node.behave("loop")
    store(node.port, patients["running"].slices(1))
    node.until(study["running"], is_running, "the analyzer to run")
    store(node.port, patients["receiving"].slices(1))
    node.kill()
    node.wait(lambda: not node.family(), "the rest of the node to end")
    before = {name: node.explanation(uid) for name, uid in study.items()}
    take_back(node.data, "0001")
    with pytest.raises(StoreError, match="start `serve` once"):
        Database.open(node.data, migrate=False)

    node.behave("fine")
    pacs.start(pacs_port)
    node.start()

    for name in ("undelivered", "running", "receiving"):
        node.answered(study[name])
    after = {name: node.explanation(uid) for name, uid in study.items()}
    for name in names:
        earlier, later = before[name], after[name]
        assert earlier is not None
        assert later is not None
        assert later.events[: len(earlier.events)] == earlier.events, name
        assert later.study.revision == earlier.study.revision == 1, name
        if name in ("answered", "ignored", "held", "failed"):
            assert (later.study, later.jobs) == (earlier.study, earlier.jobs), name
    undelivered = before["undelivered"]
    assert undelivered is not None
    assert set(made_objects(undelivered)) <= set(pacs.held)
    assert before["receiving"] is None or before["receiving"].study.state is StudyState.RECEIVING

    database = Database.open(node.data, migrate=False)
    assert [found.study_instance_uid for found in StudyStore(database).find("MIDDLE")] == [study["answered"]]
    database.close()
    assert node.command("release", study["ignored"], "--analyzer", "probe").returncode == 0
    assert node.command("requeue", study["failed"]).returncode == 0
    node.answered(study["ignored"])
    node.answered(study["failed"], revision=2)


def test_a_backup_brings_back_what_it_holds_and_the_rest_can_be_sent_again(
    world: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = world
    site, archive = node.data.parent, tmp_path / "backup.tar.gz"
    early, late = Patient(tmp_path), Patient(tmp_path)
    pacs_port = pacs.port
    pacs.go_away()
    store(node.port, early.slices(1))
    made = made_objects(node.until(early.study, is_encoded, "an answer that cannot be delivered"))
    node.stop()
    subprocess.run(
        ["tar", "--create", "--gzip", "--file", str(archive), "--directory", str(site), "config", "data"], check=True
    )
    pacs.start(pacs_port)
    node.start()
    node.answered(early.study)
    delivered = {uid: pacs.held[uid].content for uid in made}
    store(node.port, late.slices(1))
    first = made_objects(node.answered(late.study))

    node.stop()
    shutil.rmtree(node.data)
    subprocess.run(["tar", "--extract", "--gzip", "--file", str(archive), "--directory", str(site)], check=True)
    node.forget_database()
    node.start()

    told = node.answered(early.study)
    assert made_objects(told) == made
    assert all(each.state is DeliveryState.COMMITTED for each in told.jobs[0].deliveries)
    assert all(pacs.arrived.count(uid) == 2 for uid in made)
    assert {uid: pacs.held[uid].content for uid in made} == delivered
    assert node.explanation(late.study) is None
    store(node.port, late.slices(1))
    again = made_objects(node.answered(late.study))
    assert not set(again) & set(first), "an analysis at another time makes other objects"
