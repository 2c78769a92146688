"""A SPECT/CT from its images to objects that others read, by the command of the product."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, BasicTextSRStorage, Comprehensive3DSRStorage, SegmentationStorage

from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from scp_node.objects.text import sr_text
from tests.node.network import REPOSITORY
from tests.node.object_validation import complaints

pytestmark = pytest.mark.timeout(280)
REPORTS = {Comprehensive3DSRStorage}


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The images of a patient with perfusion of the stomach, and the objects that answer them."""
    folder = tmp_path_factory.mktemp("spect-ct")
    variants = ("any-strength", "extrahepatic-stomach", "no-planar", "spect-ct")
    make_phantom(PhantomRequest(kind="scintigraphy", seed=124, variants=variants, model="development"), folder / "made")
    command = [sys.executable, str(REPOSITORY / "run_node.py"), "analyze", "made/dicom", "--out", "OUT"]
    ended = subprocess.run(
        [*command, "--analyzer", "scintigraphy"], cwd=folder, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return folder / "made" / "dicom", sorted((folder / "OUT" / "scintigraphy").glob("*.dcm"))


def of_class(paths: list[Path], classes: set[UID]) -> list[Path]:
    return [path for path in paths if dcmread(path, stop_before_pixels=True).SOPClassUID in classes]


def test_a_spect_ct_is_answered_by_a_report_and_by_segmentations_on_both_grids(
    answered: tuple[Path, list[Path]],
) -> None:
    images, objects = answered
    sources = [dcmread(path, stop_before_pixels=True) for path in images.rglob("*.dcm")]
    (report,) = of_class(objects, REPORTS)
    document = hd.sr.srread(report)
    segmentations = [hd.seg.segread(path) for path in of_class(objects, {SegmentationStorage})]

    assert isinstance(document, hd.sr.Comprehensive3DSR)
    assert "Finding Site: Stomach" in sr_text(document)
    (words,) = of_class(objects, {BasicTextSRStorage})
    assert "Extrahepatic activity suspected: SPECT/CT stomach" in sr_text(dcmread(words))
    pointed_at = {
        reference.ReferencedSOPInstanceUID
        for one in segmentations
        for series in one.ReferencedSeriesSequence
        for reference in series.ReferencedInstanceSequence
    }
    assert {dataset.Modality for dataset in sources if dataset.SOPInstanceUID in pointed_at} == {"NM", "CT"}
    labels = {item.SegmentLabel for one in segmentations for item in one.SegmentSequence}
    assert {"Perfused liver", "Liver on the CT", "SPECT focus 1"} <= labels
    assert all(one.pixel_array.any() for one in segmentations)


def test_every_object_of_a_spect_ct_s_answer_is_without_fault_for_strangers(
    answered: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    _, objects = answered

    assert objects
    for path in objects:
        dataset: Dataset = dcmread(path)
        assert complaints(dataset, tmp_path) == [], path.name
