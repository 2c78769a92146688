"""The child process: one folder in, durable objects and a manifest out; the same bytes each time."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from analyzers.contract import AnalysisResult, Assessed, NotAssessable, Picture
from analyzers.wire import AnalysedStudy, AnalyzerIdentity, write_result
from scp_node.domain.delivery import ObjectKind
from scp_node.objects.__main__ import EXIT_BAD_ORDER, EXIT_FAULT, EXIT_MADE
from scp_node.objects.manifest import OBJECTS_FOLDER, digest_of, read_manifest
from scp_node.objects.order import EXIT_NO_ROOM, EncodingOrder, write_order
from scp_node.objects.text import sr_text
from tests.node.object_sources import (
    ABNORMALITY,
    METASTASIS,
    STUDY,
    ball,
    identity,
    order,
    planes_of,
    save,
    segment,
    slices,
)
from tests.small_disk import filled, mounted

SHAPE = (12, 24, 32)


def run(job_folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scp_node.objects", str(job_folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def written_result(job_folder: Path, result: AnalysisResult, images: list[Dataset], study_uid: str = STUDY) -> None:
    ramp = np.linspace(0, 255, 400 * 300 * 3, dtype=np.uint8).reshape(300, 400, 3)
    write_result(
        job_folder / "out",
        result,
        analyzer=AnalyzerIdentity(name="cta", version="0.1.0"),
        study=AnalysedStudy(study_instance_uid=study_uid),
        pictures=[Picture(name="montage-1", rgb=ramp, frame=planes_of(images)[3])],
    )


def a_job(job_folder: Path, result: AnalysisResult | None = None, **changes: object) -> EncodingOrder:
    images = slices(12)
    asked = order(save(images, job_folder / "study"), **changes)
    if asked.failure is None:
        answer = result or Assessed(
            conclusion="Seen.",
            findings=(),
            measurements=(),
            segments=(
                segment("liver", ball(SHAPE, (6, 12, 14), 5), images),
                segment("lesion-1", ball(SHAPE, (6, 12, 12), 2), images, type_=METASTASIS, category=ABNORMALITY),
            ),
        )
        written_result(job_folder, answer, images)
    write_order(asked, job_folder)
    return asked


@pytest.fixture(scope="module")
def made_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that was encoded; for tests that only look."""
    job = tmp_path_factory.mktemp("job")
    a_job(job)
    ended = run(job)
    assert (ended.returncode, ended.stderr) == (EXIT_MADE, "")
    return job


def test_every_object_is_made_and_named_in_the_manifest(made_job: Path) -> None:
    entries = read_manifest(made_job)
    assert [entry.kind for entry in entries] == [
        ObjectKind.SEGMENTATION,
        ObjectKind.SEGMENTATION,
        ObjectKind.SECONDARY_CAPTURE,
        ObjectKind.SECONDARY_CAPTURE,
        ObjectKind.REPORT,
        ObjectKind.TEXT_REPORT,
    ]
    folder = made_job / OBJECTS_FOLDER
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *(entry.file for entry in entries)}
    for entry in entries:
        dataset = dcmread(folder / entry.file)
        assert digest_of(folder / entry.file) == entry.digest
        assert (dataset.SOPInstanceUID, dataset.SOPClassUID) == (entry.sop_instance_uid, entry.sop_class_uid)
        assert (dataset.SeriesInstanceUID, dataset.StudyInstanceUID) == (entry.series_instance_uid, STUDY)


def test_encoding_again_gives_the_same_bytes_and_clears_what_was_left(made_job: Path, tmp_path: Path) -> None:
    a_job(tmp_path)
    (tmp_path / OBJECTS_FOLDER).mkdir()
    (tmp_path / OBJECTS_FOLDER / "segmentation-9.dcm").write_bytes(b"half")

    assert run(tmp_path).returncode == EXIT_MADE

    assert read_manifest(tmp_path) == read_manifest(made_job)
    assert not (tmp_path / OBJECTS_FOLDER / "segmentation-9.dcm").exists()


def test_a_new_revision_shares_no_object_and_no_series_with_the_old_one(made_job: Path, tmp_path: Path) -> None:
    a_job(tmp_path, revision=2)
    assert run(tmp_path).returncode == EXIT_MADE

    old, new = (
        {uid for entry in read_manifest(job) for uid in (entry.sop_instance_uid, entry.series_instance_uid)}
        for job in (made_job, tmp_path)
    )
    assert old.isdisjoint(new)


def test_a_technical_failure_is_answered_in_words(tmp_path: Path) -> None:
    a_job(tmp_path, failure="the analyzer ran out of memory")

    ended = run(tmp_path)

    assert ended.returncode == EXIT_MADE, ended.stderr
    entries = read_manifest(tmp_path)
    assert [entry.kind for entry in entries] == [ObjectKind.SECONDARY_CAPTURE, ObjectKind.TEXT_REPORT]
    text = sr_text(dcmread(tmp_path / OBJECTS_FOLDER / "text-report.dcm"))
    assert "COULD NOT BE ANALYSED (technical). The analyzer ran out of memory." in text


def test_a_study_that_is_not_assessable_is_answered_in_words(tmp_path: Path) -> None:
    a_job(tmp_path, NotAssessable(reasons=("No arterial phase was found",)))

    assert run(tmp_path).returncode == EXIT_MADE
    text = sr_text(dcmread(tmp_path / OBJECTS_FOLDER / "text-report.dcm"))
    assert "NOT ASSESSABLE. No arterial phase was found." in text


def test_a_wrong_order_is_told_in_one_line(tmp_path: Path) -> None:
    path = write_order(order(tmp_path / "study"), tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["revision"]
    path.write_text(json.dumps(content), encoding="utf-8")

    ended = run(tmp_path)

    assert ended.returncode == EXIT_BAD_ORDER
    assert ended.stderr.strip().splitlines() == ["the encoding order is wrong: job.json: key revision is missing."]
    assert not (tmp_path / OBJECTS_FOLDER).exists()


def test_a_result_of_another_study_makes_no_object(tmp_path: Path) -> None:
    images = slices(12)
    write_order(order(save(images, tmp_path / "study")), tmp_path)
    written_result(tmp_path, Assessed(conclusion="Seen.", findings=(), measurements=()), images, "1.2.3.4")

    ended = run(tmp_path)

    assert ended.returncode == EXIT_FAULT
    assert (
        ended.stderr.splitlines()[0] == "encoding failed: EncodingError: the result is of another study than the order."
    )
    assert not (tmp_path / OBJECTS_FOLDER / "manifest.json").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: (out / "result.json").unlink(),
        lambda out: (out / "result.json").write_text("{}"),
        lambda out: (out / "montage-1.png").write_bytes(b"no picture"),
        lambda out: (out / "segments" / "liver.npz").write_bytes(b"no mask"),
    ],
    ids=["no result", "empty result", "broken picture", "broken mask"],
)
def test_a_spoilt_output_of_the_analyzer_makes_no_object(tmp_path: Path, spoil: object) -> None:
    a_job(tmp_path)
    assert callable(spoil)
    spoil(tmp_path / "out")

    ended = run(tmp_path)

    assert ended.returncode == EXIT_FAULT
    assert ended.stderr.startswith("encoding failed: ")
    assert not (tmp_path / OBJECTS_FOLDER / "manifest.json").exists()


def test_without_room_to_write_the_encoder_says_so_and_leaves_no_manifest(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        job_folder = disk / "job"
        job_folder.mkdir()
        a_job(job_folder)
        with filled(disk, leave_bytes=20_000):
            done = run(job_folder)
            assert (done.returncode, done.stdout) == (EXIT_NO_ROOM, "")
            assert "No space left on device" in done.stderr
            assert not (job_folder / OBJECTS_FOLDER / "manifest.json").exists()
        assert run(job_folder).returncode == EXIT_MADE


def test_a_fault_never_prints_the_patient(tmp_path: Path) -> None:
    who = identity(patient_name="Secret^Sally", patient_id="SECRET-7", patient_birth_date="19")
    asked = a_job(tmp_path, identity=who)
    (tmp_path / "out" / "montage-1.png").write_bytes(b"no picture")

    ended = run(tmp_path)

    assert ended.returncode == EXIT_FAULT
    for private in ("Secret", "SECRET", asked.identity.accession_number):
        assert private not in ended.stderr + ended.stdout


def test_unruly_uids_of_the_images_are_referred_to_as_they_are(tmp_path: Path) -> None:
    # Leading zeros are illegal and not rare; the archive knows the images by them.
    images = slices(3)
    for number, image in enumerate(images):
        image["SOPInstanceUID"] = DataElement("SOPInstanceUID", "UI", f"1.2.03.{number}", validation_mode=IGNORE)
        image["SeriesInstanceUID"] = DataElement("SeriesInstanceUID", "UI", "1.2.007", validation_mode=IGNORE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = order(save(images, tmp_path / "study"))
    mask = np.zeros((3, 24, 32), dtype=np.bool_)
    mask[:, 5:15, 5:15] = True
    result = Assessed(conclusion="Seen.", findings=(), measurements=(), segments=(segment("liver", mask, images),))
    written_result(tmp_path, result, [*images, *images])
    write_order(asked, tmp_path)

    ended = run(tmp_path)

    assert ended.returncode == EXIT_MADE, ended.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = dcmread(tmp_path / OBJECTS_FOLDER / "segmentation-1.dcm")
        sources = {
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            for group in made.PerFrameFunctionalGroupsSequence
        }
    assert sources == {"1.2.03.0", "1.2.03.1", "1.2.03.2"}


def test_the_version_of_the_analyzer_is_the_one_that_answered(tmp_path: Path) -> None:
    asked = a_job(tmp_path)
    write_order(replace(asked, analyzer_version="9.9.9"), tmp_path)

    assert run(tmp_path).returncode == EXIT_MADE
    assert "Analyzer cta 0.1.0" in sr_text(dcmread(tmp_path / OBJECTS_FOLDER / "text-report.dcm"))


def test_a_page_is_lettered_above_and_its_picture_left_whole(made_job: Path) -> None:
    capture = dcmread(made_job / OBJECTS_FOLDER / "secondary-capture-1.dcm")

    pixels = capture.pixel_array
    banner = capture.Rows - 300
    left = (capture.Columns - 400) // 2
    ramp = np.linspace(0, 255, 400 * 300 * 3, dtype=np.uint8).reshape(300, 400, 3)
    assert np.array_equal(pixels[banner:, left : left + 400], ramp)
    assert banner >= 30
    assert (pixels[:banner].max(axis=(0, 2)) > 128).sum() > 200
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == planes_of(slices(12))[3].sop_instance_uid
    assert capture.BurnedInAnnotation == "NO"


def test_the_pages_of_a_study_form_one_series_in_order(made_job: Path) -> None:
    pages = [dcmread(made_job / OBJECTS_FOLDER / f"secondary-capture-{number}.dcm") for number in (1, 2)]

    assert len({page.SeriesInstanceUID for page in pages}) == 1
    assert [page.InstanceNumber for page in pages] == [1, 2]
    assert "SourceImageSequence" not in pages[1]
