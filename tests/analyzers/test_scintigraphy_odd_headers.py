"""Headers as real archives hold them: the same answer, or a reason."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from analyzers.contract import Accept, AnalysisResult, Assessed, Complete, Decline, Declined, Missing, NotAssessable
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.result_check import check_pictures
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.expectations import expects
from tests.analyzers.scintigraphy_samples import instance, study

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def edited(folder: Path, edit: Callable[[Dataset], None], *variants: str) -> AnalysisResult:
    """Make a phantom, change its headers, ask the analyzer."""
    make_phantom(PhantomRequest(kind="scintigraphy", seed=71, variants=tuple(sorted(variants))), folder)
    for file in sorted(path for path in (folder / "dicom").rglob("*") if path.is_file()):
        dataset = pydicom.dcmread(file)
        edit(dataset)
        dataset.save_as(file)
    loaded = open_study(folder / "dicom")
    acceptance = ANALYZER.accepts(loaded.summary)
    if isinstance(acceptance, Decline):
        return Declined(reason=acceptance.reason)
    assert isinstance(acceptance, Accept)
    images = loaded.with_roles(acceptance.roles)
    result = ANALYZER.analyze(images, ())
    check_pictures(ANALYZER.illustrate(images, result))
    return result


def shunt_of(result: AnalysisResult) -> float:
    assert isinstance(result, Assessed)
    return next(m.value for m in result.measurements if m.key == "lung_shunt_fraction_corrected")


@functools.cache
def plain_shunt() -> float:
    """What the same phantom gives with its headers as they are."""
    with tempfile.TemporaryDirectory() as folder:
        return shunt_of(edited(Path(folder), lambda _: None))


def without_direction(dataset: Dataset) -> None:
    for item in dataset.DetectorInformationSequence:
        for keyword in ("StartAngle", "ViewCodeSequence"):
            if keyword in item:
                delattr(item, keyword)


@pytest.mark.parametrize(
    ("front", "back"),
    [
        ("Leber von vorn", "Leber von hinten"),
        ("face antérieure", "face postérieure"),
        ("cara anterior", "vista de espaldas"),
        ("lever van voren", "lever van achteren"),
        ("fegato davanti", "fegato dietro"),
        ("incidence de face", "incidence de dos"),
    ],
)
def test_views_are_known_from_words_of_any_language(tmp_path: Path, front: str, back: str) -> None:
    def edit(dataset: Dataset) -> None:
        without_direction(dataset)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SeriesDescription = front if dataset.SeriesNumber == 1 else back
        dataset.ProtocolName = ""

    result = edited(tmp_path / "p", edit, "views-by-text")

    assert shunt_of(result) == pytest.approx(plain_shunt(), abs=0.005)
    assert isinstance(result, Assessed)
    assert "The direction of the views is known from: text." in result.limitations


def test_angles_counted_from_in_front_without_frame_of_reference_are_put_right(tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        without_direction(dataset)
        dataset.SeriesDescription = "MAA"
        for number, item in enumerate(dataset.DetectorInformationSequence):
            item.StartAngle = str((0, 180)[number])
        del dataset.FrameOfReferenceUID

    assert shunt_of(edited(tmp_path / "p", edit)) == pytest.approx(plain_shunt(), abs=0.005)


@pytest.mark.parametrize("dose", ["0", None])
def test_no_number_needs_a_dose(tmp_path: Path, dose: str | None) -> None:
    def edit(dataset: Dataset) -> None:
        for item in dataset.RadiopharmaceuticalInformationSequence:
            item.RadionuclideTotalDose = dose

    assert shunt_of(edited(tmp_path / "p", edit)) == pytest.approx(plain_shunt(), abs=0.005)


def empty(dataset: Dataset) -> None:
    dataset.PixelData = b""


def absent(dataset: Dataset) -> None:
    del dataset.PixelData


def all_zero(dataset: Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


@pytest.mark.parametrize(("edit", "word"), [(empty, "empty"), (absent, "Pixel Data"), (all_zero, "no counts")])
def test_pixels_that_hold_nothing_give_a_reason(tmp_path: Path, edit: Callable[[Dataset], None], word: str) -> None:
    result = edited(tmp_path / "p", edit)

    assert isinstance(result, NotAssessable)
    assert any(word in reason for reason in result.reasons)


def test_a_study_of_secondary_captures_alone_is_declined_with_the_reason(tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(SECONDARY_CAPTURE)

    result = edited(tmp_path / "p", edit)

    assert isinstance(result, Declined)
    assert "secondary capture" in result.reason


def test_a_secondary_capture_is_not_waited_for_as_the_opposite_view() -> None:
    one_view = instance(detectors=("1",), windows=("1",))
    screen = instance(uid="1.9", series="1.8", detectors=(), windows=(), sop_class=SECONDARY_CAPTURE)

    assert isinstance(expects(study(one_view, screen)), Missing)
    assert isinstance(expects(study(instance(), screen)), Complete)
