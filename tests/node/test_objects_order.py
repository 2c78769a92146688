"""The order of an encoding and its manifest: written, read back, and refused when wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp_node.domain.delivery import ObjectKind
from scp_node.domain.study import Identity
from scp_node.objects.manifest import (
    OBJECTS_FOLDER,
    ManifestEntry,
    ManifestError,
    digest_of,
    read_manifest,
    write_manifest,
)
from scp_node.objects.order import EncodingOrder, EncodingOrderError, Predecessor, read_order, write_order
from scp_node.objects.provenance import device_uid, provenance_of

IDENTITY = Identity(
    patient_id="P1",
    issuer_of_patient_id="HOSP",
    patient_name="Müller^Jörg",
    patient_birth_date="19600101",
    patient_sex="M",
    accession_number="A1",
    study_id="S1",
    study_date="20260102",
    study_time="101500",
    study_description="CT HAI",
    referring_physician="Doe^Ann",
    character_set="ISO_IR 100",
)
ORDER = EncodingOrder(
    study_instance_uid="1.2.3",
    revision=2,
    analyzer_name="cta",
    analyzer_version="0.1.0",
    analysis_started_at=datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC),
    utc_offset_minutes=60,
    study_folder=Path("study"),
    out_folder=Path("out"),
    failure=None,
    identity=IDENTITY,
    input_digest="aa",
    settings_digest="bb",
    predecessors=(
        Predecessor(
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            sop_instance_uid="1.2.3.1",
            series_instance_uid="1.2.3.2",
            study_instance_uid="1.2.3",
        ),
    ),
    missing=("arterial phase",),
    object_kinds=frozenset({ObjectKind.REPORT, ObjectKind.SEGMENTATION}),
    groups_without_coordinates=True,
    device_serial_number="7",
    institution_name="Klinikum",
    notice="Research only.",
)
ENTRY = ManifestEntry(
    kind=ObjectKind.REPORT,
    file="report-1.dcm",
    sop_class_uid="1.2",
    sop_instance_uid="1.3",
    series_instance_uid="1.4",
    study_instance_uid="1.5",
    digest="cc",
)


def altered(job_folder: Path, alter: Callable[[dict[str, Any]], object]) -> Path:
    path = write_order(ORDER, job_folder)
    content = json.loads(path.read_text(encoding="utf-8"))
    alter(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return job_folder


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_order(ORDER, tmp_path)

    expected = replace(ORDER, study_folder=tmp_path / "study", out_folder=tmp_path / "out")
    assert read_order(tmp_path) == expected


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no revision": (lambda job: job.pop("revision"), "revision"),
    "revision 0": (lambda job: job.update(revision=0), "revision"),
    "revision true": (lambda job: job.update(revision=True), "revision"),
    "revision as text": (lambda job: job.update(revision="1"), "revision"),
    "unknown key": (lambda job: job.update(surprise=1), "surprise"),
    "identity without patient": (lambda job: job["identity"].pop("patient_id"), "identity"),
    "identity with null": (lambda job: job["identity"].update(patient_name=None), "patient_name"),
    "naive time": (lambda job: job.update(analysis_started_at="2026-01-02T12:00:00"), "analysis_started_at"),
    "no time": (lambda job: job.update(analysis_started_at="yesterday"), "analysis_started_at"),
    "unknown kind": (lambda job: job.update(object_kinds=["report", "fax"]), "object_kinds"),
    "kind as number": (lambda job: job.update(object_kinds=[1]), "object_kinds"),
    "failure and result": (lambda job: job.update(failure="crashed"), "failure"),
    "neither failure nor result": (lambda job: job.update(out_folder=None), "failure"),
    "later schema": (lambda job: job.update(schema="hai-encoding-order/9"), "schema"),
    "offset of weeks": (lambda job: job.update(utc_offset_minutes=100000), "utc_offset_minutes"),
    "predecessors as object": (lambda job: job.update(predecessors={}), "predecessors"),
    "half a predecessor": (lambda job: job.update(predecessors=[{"sop_class_uid": "1"}]), "predecessors"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_order_is_refused_and_the_key_named(tmp_path: Path, wrong: str) -> None:
    alter, named = WRONG[wrong]
    with pytest.raises(EncodingOrderError, match=named):
        read_order(altered(tmp_path, alter))


def test_a_refused_order_does_not_show_the_patient(tmp_path: Path) -> None:
    folder = altered(tmp_path, lambda job: job.update(identity=["Müller^Jörg"]))

    with pytest.raises(EncodingOrderError) as refused:
        read_order(folder)

    assert "Müller" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff\xfe", b"{", b"[" * 100_000],
    ids=["empty", "list", "no text", "cut off", "nested on purpose"],
)
def test_an_order_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "job.json").write_bytes(content)

    with pytest.raises(EncodingOrderError, match=r"job\.json"):
        read_order(tmp_path)


def test_an_absent_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncodingOrderError, match=r"job\.json"):
        read_order(tmp_path)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / OBJECTS_FOLDER).mkdir()
    write_manifest((ENTRY,), tmp_path)

    assert read_manifest(tmp_path) == (ENTRY,)


def test_a_manifest_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / OBJECTS_FOLDER).mkdir()
    path = write_manifest((ENTRY,), tmp_path)

    assert list(path.parent.iterdir()) == [path]
    assert len(digest_of(path)) == 64


@pytest.mark.parametrize("file", ["../report.dcm", "/etc/passwd", "a/b.dcm"])
def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path, file: str) -> None:
    (tmp_path / OBJECTS_FOLDER).mkdir()
    write_manifest((replace(ENTRY, file=file),), tmp_path)

    with pytest.raises(ManifestError, match="file"):
        read_manifest(tmp_path)


def test_without_a_manifest_nothing_was_made(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        read_manifest(tmp_path)


def test_the_folders_of_an_order_change_no_uid() -> None:
    moved = replace(ORDER, study_folder=Path("elsewhere"), out_folder=Path("there"))

    assert provenance_of(moved) == provenance_of(ORDER)


@pytest.mark.parametrize(
    "changed",
    [
        replace(ORDER, revision=3),
        replace(ORDER, input_digest="ab"),
        replace(ORDER, settings_digest="bc"),
        replace(ORDER, analyzer_version="0.2.0"),
        replace(ORDER, identity=replace(IDENTITY, patient_name="Miller^Joe")),
        replace(ORDER, missing=()),
    ],
    ids=["revision", "input", "settings", "analyzer version", "identity", "missing"],
)
def test_whatever_changes_an_object_changes_its_uids(changed: EncodingOrder) -> None:
    before, after = provenance_of(ORDER), provenance_of(changed)

    assert before.instance_uid(ObjectKind.REPORT) != after.instance_uid(ObjectKind.REPORT)
    assert before.series_uid(ObjectKind.REPORT) != after.series_uid(ObjectKind.REPORT)
    assert before.tracking_uid("liver") != after.tracking_uid("liver")


def test_a_tracked_structure_keeps_its_uid_in_the_next_study() -> None:
    later = replace(ORDER, study_instance_uid="1.2.4", revision=1)

    assert provenance_of(ORDER).tracking_uid("lesion-1", "L1") == provenance_of(later).tracking_uid("lesion-3", "L1")


def test_another_version_of_an_analyzer_is_another_device() -> None:
    assert device_uid("cta", "0.1.0") != device_uid("cta", "0.1.1")
    assert device_uid("cta", "0.1.0") != device_uid("mri", "0.1.0")


@given(st.text(max_size=20), st.integers(min_value=1, max_value=10_000))
def test_every_uid_is_legal(word: str, number: int) -> None:
    provenance = provenance_of(ORDER)
    uids = [
        provenance.instance_uid(ObjectKind.SEGMENTATION, number),
        provenance.series_uid(ObjectKind.SECONDARY_CAPTURE, number),
        provenance.tracking_uid(word),
        provenance.tracking_uid(word, f"{word} matched"),
        provenance.dimension_organization_uid(number),
        device_uid(word, word),
    ]

    for uid in uids:
        parts = uid.split(".")
        assert len(uid) <= 64
        assert all(part.isdigit() and (part == "0" or not part.startswith("0")) for part in parts)
    assert len(set(uids)) == len(uids)


def test_times_are_told_at_the_offset_of_the_images_else_of_the_site() -> None:
    provenance = provenance_of(ORDER)

    assert provenance.moment(None).hour == 13
    assert provenance.moment(-300).hour == 7
