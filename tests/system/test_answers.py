"""From the last image to committed answers, with a PACS that behaves and with peers that do not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import JPEGLSLossless, generate_uid

from scp_node.demo.ports import free_port
from scp_node.domain.delivery import DeliveryState, ObjectKind
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyState
from scp_node.objects.text import sr_text
from scp_node.store.overview import Explanation
from tests.node.network import part10, store
from tests.system.misbehaving_pacs import WELL_BEHAVED, MisbehavingPacs, misbehaving_pacs
from tests.system.node_process import NodeUnderTest, is_committed, made_objects, node_under_test
from tests.system.patient import Patient

pytestmark = pytest.mark.timeout(280)
KINDS = set(ObjectKind)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeUnderTest, MisbehavingPacs]]:
    pacs_port = free_port()
    with (
        node_under_test(tmp_path_factory.mktemp("node"), pacs_port=pacs_port, pacs="check_identity = true") as node,
        misbehaving_pacs("PACS", node_port=node.port, port=pacs_port) as pacs,
    ):
        yield node, pacs


@pytest.fixture
def node(world: tuple[NodeUnderTest, MisbehavingPacs]) -> NodeUnderTest:
    world[0].behave("fine")
    return world[0]


@pytest.fixture
def pacs(world: tuple[NodeUnderTest, MisbehavingPacs]) -> Iterator[MisbehavingPacs]:
    world[1].misbehaviour = WELL_BEHAVED
    yield world[1]
    world[1].misbehaviour = WELL_BEHAVED


def test_a_study_is_answered_and_every_object_committed(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    patient = Patient(tmp_path)
    assert store(node.port, patient.slices(1, 2, 3, 4)) == [0] * 4
    told = node.answered(patient.study)
    made = made_objects(told)
    assert {each.kind for each in told.jobs[0].objects} == KINDS
    assert set(made) <= set(pacs.held)
    ranks = [
        each.kind.send_rank for uid in pacs.arrived for each in told.jobs[0].objects if each.sop_instance_uid == uid
    ]
    assert ranks == sorted(ranks), "a report was sent before what it points at"


def test_objects_that_come_back_reopen_nothing(node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path) -> None:
    pacs.misbehaviour = replace(WELL_BEHAVED, forwards_back=True)
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2, 3))
    made = made_objects(node.answered(patient.study))
    node.until(
        patient.study,
        lambda told: sum(event.event == "own-object-returned" for event in told.events) == len(made),
        "everything to come back",
    )
    again = node.answered(patient.study)
    assert (again.study.revision, len(again.jobs)) == (1, 1)


def test_a_late_image_makes_revision_two_that_names_its_predecessor(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2, 3))
    first = node.answered(patient.study)
    store(node.port, patient.slices(4))
    second = node.answered(patient.study, revision=2)
    old, new = made_objects(first), made_objects(second, 2)
    assert not set(old) & set(new)
    reports = [pacs.held[uid].header for uid in new if pacs.held[uid].header.Modality == "SR"]
    named = {
        reference.ReferencedSOPInstanceUID
        for report in reports
        for study in report.PredecessorDocumentsSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    assert named
    assert named <= set(old)


def test_earlier_answers_reach_the_analyzer_with_and_without_their_images(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    del pacs
    first, second = (Patient(tmp_path, PatientID="SECRET-TWICE") for _ in range(2))
    store(node.port, first.slices(1, 2))
    assert conclusion(node, node.answered(first.study)) == "2 planes, 0 priors"
    store(node.port, first.slices(3))
    assert conclusion(node, node.answered(first.study, revision=2)) == "3 planes, 1 priors"
    assert node.command("requeue", first.study).returncode == 0
    assert conclusion(node, node.answered(first.study, revision=3)) == "3 planes, 2 priors"

    with closing(sqlite3.connect(node.data / "node.sqlite3", timeout=30)) as database, database:
        database.execute("UPDATE instance SET spool_key = NULL WHERE study_instance_uid = ?", [first.study])
    store(node.port, second.slices(1))

    assert conclusion(node, node.answered(second.study)) == "1 planes, 1 priors"


def conclusion(node: NodeUnderTest, told: Explanation) -> str:
    """What the analyzer of the newest revision said; it tells the number of priors."""
    (line,) = [line for line in told.jobs if line.job.revision == told.study.revision]
    assert line.job.state is JobState.ENCODED, line.job.last_cause
    return str(json.loads((node.data / line.out_folder / "result.json").read_text())["result"]["conclusion"])


def test_an_image_that_comes_during_the_analysis_supersedes_it_and_nothing_of_it_is_sent(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    node.behave("loop")
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    node.until(
        patient.study,
        lambda told: bool(told.jobs) and told.jobs[0].job.child_pid is not None,
        "the analyzer to run",
    )
    node.behave("fine")
    store(node.port, patient.slices(3))
    told = node.answered(patient.study)
    assert [line.job.state for line in told.jobs] == [JobState.SUPERSEDED, JobState.ENCODED]
    assert (told.study.revision, told.study.instance_count) == (1, 3)
    (report, *_) = [pacs.held[uid].header for uid in made_objects(told) if pacs.held[uid].header.Modality == "SR"]
    assert "PredecessorDocumentsSequence" not in report


def test_a_late_dose_report_changes_nothing(node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path) -> None:
    del pacs
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2, 3))
    node.answered(patient.study)
    dose = patient.slice(9, Modality="SR")
    dose.SOPClassUID, dose.SeriesInstanceUID = "1.2.840.10008.5.1.4.1.1.88.67", generate_uid()
    del dose.PixelData
    assert store(node.port, [part10(dose, tmp_path / "dose")]) == [0]
    told = node.answered(patient.study)
    assert (told.study.revision, told.study.state, len(told.jobs)) == (1, StudyState.ROUTED, 1)


def test_a_duplicate_in_another_transfer_syntax_changes_nothing(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    del pacs
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2, 3))
    node.answered(patient.study)
    compressed = part10(patient.slice(2), tmp_path / "compressed", JPEGLSLossless)
    assert store(node.port, [compressed]) == [0]
    told = node.until(patient.study, lambda told: told.correction_count == 1, "the second form recorded")
    assert is_committed(told, 1)
    assert (told.study.revision, len(told.jobs)) == (1, 1)


def test_other_pixels_under_a_known_uid_hold_the_study(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    del pacs
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2, 3))
    node.answered(patient.study)
    forged = patient.slice(2)
    forged.PixelData = b"\x07\x00" * (len(forged.PixelData) // 2)
    assert store(node.port, [part10(forged, tmp_path / "forged")]) == [0]
    told = node.state(patient.study, StudyState.HELD)
    assert told.quarantined


def test_two_interleaved_studies_are_answered_apart(node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path) -> None:
    del pacs
    one, two = Patient(tmp_path), Patient(tmp_path)
    mixed = [file for pair in zip(one.slices(1, 2, 3), two.slices(1, 2, 3), strict=True) for file in pair]
    assert store(node.port, mixed) == [0] * 6
    for patient in (one, two):
        told = node.answered(patient.study)
        assert told.study.instance_count == 3
        assert {each.study_instance_uid for each in told.jobs[0].objects} == {patient.study}


def test_a_radioembolisation_mapping_is_ignored_with_its_reason(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    del pacs
    patient = Patient(tmp_path, "Y90 MAPPING")
    store(node.port, patient.slices(1))
    told = node.state(patient.study, StudyState.IGNORED)
    assert "radioembolisation" in told.study.state_reason
    assert "mapping: matched" in node.command("explain", patient.study).stdout


def test_a_person_releases_what_was_ignored(node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path) -> None:
    del pacs
    patient = Patient(tmp_path, "CT KNEE")
    store(node.port, patient.slices(1, 2))
    node.state(patient.study, StudyState.IGNORED)
    released = node.command("release", patient.study, "--analyzer", "probe")
    assert released.returncode == 0, released.stderr
    node.answered(patient.study)


def test_a_renamed_patient_withholds_the_answer(node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    files = patient.slices(1, 2)
    assert store(pacs.port, files, called="PACS") == [0, 0], "an archive has the images before they are analysed"
    pacs.misbehaviour = replace(WELL_BEHAVED, files_under={patient.study: ("OTHER-PATIENT", "ACC")})
    store(node.port, files)
    told = node.until(
        patient.study,
        lambda told: any(each.state is DeliveryState.WITHHELD for line in told.jobs for each in line.deliveries),
        "something withheld",
    )
    # The reports wait for what they point at, so nothing at all has left.
    assert not set(made_objects(told)) & set(pacs.arrived)
    pacs.misbehaviour = WELL_BEHAVED
    assert node.command("requeue", "--peer", "pacs").returncode == 0
    node.answered(patient.study)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(replace(WELL_BEHAVED, rejects=(2, 3, 1)), id="rejects"),
        pytest.param(replace(WELL_BEHAVED, store_status=0xA700), id="out-of-resources"),
        pytest.param(replace(WELL_BEHAVED, loses=True), id="says-success-and-keeps-nothing"),
        pytest.param(replace(WELL_BEHAVED, stalls_s=15.0), id="stalls"),
    ],
)
def test_a_pacs_in_trouble_gets_everything_once_it_recovers(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path, trouble: object
) -> None:
    pacs.misbehaviour = trouble  # type: ignore[assignment]
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    node.until(
        patient.study,
        lambda told: bool(told.jobs) and any(each.last_cause for each in told.jobs[0].deliveries),
        "a first failure",
    )
    pacs.misbehaviour = WELL_BEHAVED
    told = node.answered(patient.study)
    assert set(made_objects(told)) <= set(pacs.held)


def test_a_pacs_that_aborts_in_the_middle_gets_everything(
    node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path
) -> None:
    pacs.misbehaviour = replace(WELL_BEHAVED, aborts_store_number=len(pacs.arrived) + 2)
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    told = node.answered(patient.study)
    assert set(made_objects(told)) <= set(pacs.held)


def test_a_pacs_that_was_away_gets_everything(node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path) -> None:
    port = pacs.port
    pacs.go_away()
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    node.until(
        patient.study,
        lambda told: bool(told.jobs) and any(each.last_cause for each in told.jobs[0].deliveries),
        "a first failure",
    )
    pacs.start(port)
    node.answered(patient.study)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeUnderTest, MisbehavingPacs]]:
    pacs_port = free_port()
    with (
        node_under_test(
            tmp_path_factory.mktemp("node"),
            pacs_port=pacs_port,
            analysis="time_limit_s = 5.0",
            thresholds="[probe]\nfewest_planes = 2\n",
        ) as node,
        misbehaving_pacs("PACS", node_port=node.port, port=pacs_port) as pacs,
    ):
        yield node, pacs


@pytest.mark.parametrize(("how", "cause"), [("crash", "signal"), ("loop", "longer"), ("hog", "GiB")])
def test_an_analyzer_that_fails_ends_in_a_technical_report_and_can_be_tried_again(
    impatient: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path, how: str, cause: str
) -> None:
    node, pacs = impatient
    node.behave(how)
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    told = node.answered(patient.study)
    assert told.jobs[0].job.state is JobState.FAILED
    assert cause in told.jobs[0].job.last_cause
    assert list((node.data / "jobs" / str(told.jobs[0].job.job_id)).glob("attempt-*.log"))
    made = [pacs.held[uid].header for uid in made_objects(told)]
    # The report and a page that says the same where no report is shown: no picture of a result, no region.
    assert sorted(header.Modality for header in made) == ["OT", "SR"]
    (report,) = [header for header in made if header.Modality == "SR"]
    assert "COULD NOT BE ANALYSED (technical)" in sr_text(report)
    assert "requeue" in node.command("status").stdout
    node.behave("fine")
    assert node.command("requeue", patient.study).returncode == 0
    again = node.answered(patient.study, revision=2)
    assert {each.kind for each in again.jobs[-1].objects} == KINDS


def test_a_threshold_of_the_site_decides_and_every_account_of_the_study_names_it(
    impatient: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = impatient
    node.behave("fine")
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1))

    told = node.answered(patient.study)

    result = json.loads((node.data / told.jobs[0].out_folder / "result.json").read_text())
    assert result["result"]["reasons"] == ["fewer than 2 planes"]
    (report,) = [pacs.held[uid].header for uid in made_objects(told) if pacs.held[uid].header.Modality == "SR"]
    named = "fewest_planes = 2 (default 1)"
    assert f"Threshold set by this site: {named}" in sr_text(report)
    assert f"settings {result['thresholds']['digest'][:16]}" in sr_text(report)
    assert f"threshold set by this site: {named}" in node.command("explain", patient.study).stdout


def test_an_offline_analysis_uses_the_thresholds_of_the_configuration(
    impatient: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, _ = impatient
    node.behave("fine")
    (tmp_path / "study").mkdir()
    Patient(tmp_path / "study").slices(1)

    ended = node.command("analyze", str(tmp_path / "study"), "--out", str(tmp_path / "out"), "--analyzer", "probe")

    assert ended.returncode == 0, ended.stderr
    result = json.loads((tmp_path / "out" / "probe" / "result.json").read_text())
    assert result["result"]["reasons"] == ["fewer than 2 planes"]
    report = pydicom.dcmread(tmp_path / "out" / "probe" / "text-report.dcm")
    assert "fewest_planes = 2 (default 1)" in sr_text(report)


def test_a_threshold_that_no_analyzer_has_stops_the_start(
    impatient: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, _ = impatient
    config = shutil.copytree(node.config, tmp_path / "config")
    (config / "thresholds.toml").write_text("[probe]\nfewest_plane = 2\n")

    for command in ("check-config", "serve"):
        ended = replace(node, config=config).command(command)
        assert ended.returncode == 2
        assert "probe.fewest_plane" in ended.stderr
        assert "did you mean fewest_planes?" in ended.stderr


def test_the_log_holds_no_patient(node: NodeUnderTest, pacs: MisbehavingPacs, tmp_path: Path) -> None:
    del pacs
    patient = Patient(tmp_path)
    store(node.port, patient.slices(1, 2))
    node.answered(patient.study)
    log = node.log.read_text()
    assert patient.study in log
    for secret in ("SECRET-", "Geheimnis", "Gerda", f"ACC{patient.study[-6:]}"):
        assert secret not in log
