"""Every input on which no number may rest, from its DICOM object to the reason that the report gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID

from analyzers.contract import Accept, AnalysisResult, Assessed, Decline, Declined, NotAssessable
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.result_check import check_pictures
from analyzers.scintigraphy import ANALYZER

Edit = Callable[[Dataset], None]
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make each phantom once; the tests write what they change elsewhere."""
    made: dict[tuple[str, ...], Path] = {}

    def phantom(*variants: str) -> Path:
        if variants not in made:
            folder = tmp_path_factory.mktemp("phantom") / "study"
            make_phantom(PhantomRequest(kind="scintigraphy", seed=71, variants=tuple(sorted(variants))), folder)
            made[variants] = folder / "dicom"
        return made[variants]

    return phantom


def answer(source: Path, folder: Path, edit: Edit) -> AnalysisResult:
    """The answer to a study whose objects were changed."""
    folder.mkdir()
    for number, file in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        dataset = pydicom.dcmread(file)
        if dataset.Modality == "NM":
            edit(dataset)
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    study = open_study(folder)
    acceptance = ANALYZER.accepts(study.summary)
    if isinstance(acceptance, Decline):
        return Declined(reason=acceptance.reason)
    assert isinstance(acceptance, Accept)
    images = study.with_roles(acceptance.roles)
    result = ANALYZER.analyze(images, ())
    check_pictures(ANALYZER.illustrate(images, result))
    return result


def unchanged(_: Dataset) -> None:
    pass


def of_kind(kind: str) -> Edit:
    def edit(dataset: Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]

    return edit


def nuclides(*meanings: str) -> Edit:
    def code(meaning: str) -> Dataset:
        item, one = Dataset(), Dataset()
        one.CodeValue, one.CodingSchemeDesignator, one.CodeMeaning = meaning[:16], "99TEST", meaning
        item.RadionuclideCodeSequence = DicomSequence([one])
        return item

    def edit(dataset: Dataset) -> None:
        dataset.RadiopharmaceuticalInformationSequence = DicomSequence([code(meaning) for meaning in meanings])

    return edit


def another_window(dataset: Dataset) -> None:
    """That of iodine-131."""
    for item in dataset.EnergyWindowInformationSequence:
        for window in item.EnergyWindowRangeSequence:
            window.EnergyWindowLowerLimit, window.EnergyWindowUpperLimit = 328.0, 400.0


def without_pixels(dataset: Dataset) -> None:
    dataset.PixelData = b""


def without_counts(dataset: Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def clipped(dataset: Dataset) -> None:
    """Everything above half of the maximum became the same value."""
    counts = dataset.pixel_array
    dataset.PixelData = np.minimum(counts, counts.max() // 2).astype(counts.dtype).tobytes()


def secondary_capture(dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(SECONDARY_CAPTURE)


PLANAR: Sequence[str] = ()
SPECT: Sequence[str] = ("no-planar", "spect")
RAW: Sequence[str] = ("no-planar", "tomo")

CASES: dict[str, tuple[Sequence[str], Edit, type, str]] = {
    "planar: no posterior view": (("no-posterior",), unchanged, NotAssessable, "posterior"),
    "planar: fewer than 300 kcounts": (("low-counts",), unchanged, NotAssessable, "kcounts"),
    "planar: saturated": (PLANAR, clipped, NotAssessable, "saturated"),
    "planar: another nuclide": (PLANAR, nuclides("Indium-111"), NotAssessable, "not Tc-99m but Indium-111"),
    "planar: another energy window": (PLANAR, another_window, NotAssessable, "energy window"),
    "planar: two nuclides": (("dual-isotope",), unchanged, NotAssessable, "Two nuclides"),
    "planar: gated": (PLANAR, of_kind("GATED"), Declined, "gated"),
    "planar: empty": (PLANAR, without_pixels, NotAssessable, "empty"),
    "planar: no counts": (PLANAR, without_counts, NotAssessable, "no counts"),
    "planar: secondary capture": (PLANAR, secondary_capture, Declined, "secondary capture"),
    "raw projections": (RAW, unchanged, Declined, "reconstructed"),
    "gated projections": (RAW, of_kind("GATED TOMO"), Declined, "gated projections"),
    "SPECT: gated": (SPECT, of_kind("RECON GATED TOMO"), Declined, "gated reconstruction"),
    "SPECT: another nuclide": (SPECT, nuclides("Lutetium-177"), NotAssessable, "not Tc-99m but Lutetium-177"),
    "SPECT: two nuclides": (SPECT, nuclides("Indium-111", "Iodine-123"), NotAssessable, "Two nuclides"),
    "SPECT: another energy window": (SPECT, another_window, NotAssessable, "328 to 400 keV"),
    "SPECT: saturated": (SPECT, clipped, NotAssessable, "saturated"),
    "SPECT: liver cut by the field": (("field-cuts-liver", *SPECT), unchanged, NotAssessable, "cuts the liver"),
    "SPECT: empty": (SPECT, without_pixels, NotAssessable, "empty"),
    "SPECT: no counts": (SPECT, without_counts, NotAssessable, "no counts"),
    "SPECT: secondary capture": (SPECT, secondary_capture, Declined, "secondary capture"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gives_its_reason_and_no_number(phantoms: Callable[..., Path], tmp_path: Path, name: str) -> None:
    variants, edit, kind, word = CASES[name]

    result = answer(phantoms(*variants), tmp_path / "changed", edit)

    assert isinstance(result, kind), result
    reasons = result.reasons if isinstance(result, NotAssessable) else (getattr(result, "reason", ""),)
    assert any(word in reason for reason in reasons), reasons


def colloid(dataset: Dataset) -> None:
    item = dataset.RadiopharmaceuticalInformationSequence[0]
    item.Radiopharmaceutical = "Tc-99m sulfur colloid"
    if "RadiopharmaceuticalCodeSequence" in item:
        del item.RadiopharmaceuticalCodeSequence


def test_a_spect_of_colloid_is_not_read_as_perfusion(phantoms: Callable[..., Path], tmp_path: Path) -> None:
    result = answer(phantoms(*SPECT), tmp_path / "changed", colloid)

    assert isinstance(result, Declined)
    assert "colloid" in result.reason


def test_a_spect_without_fault_is_assessed(phantoms: Callable[..., Path], tmp_path: Path) -> None:
    """Else every test above could pass for another reason than its own."""
    assert isinstance(answer(phantoms(*SPECT), tmp_path / "same", unchanged), Assessed)
    assert isinstance(answer(phantoms(*PLANAR), tmp_path / "planar", unchanged), Assessed)


def test_a_dose_of_zero_changes_nothing_in_a_spect(phantoms: Callable[..., Path], tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "0"

    plain, zero = (
        answer(phantoms(*SPECT), tmp_path / name, one) for name, one in (("plain", unchanged), ("zero", edit))
    )

    assert isinstance(plain, Assessed)
    assert isinstance(zero, Assessed)
    assert [m.value for m in zero.measurements] == [m.value for m in plain.measurements]


def test_of_two_reconstructions_the_one_corrected_for_attenuation_is_read(
    phantoms: Callable[..., Path], tmp_path: Path
) -> None:
    both, alone = (
        answer(phantoms("no-planar", *kinds), tmp_path / "-".join(kinds), unchanged)
        for kinds in (("spect", "spect-nac"), ("spect-nac",))
    )

    assert isinstance(both, Assessed)
    assert isinstance(alone, Assessed)
    assert not any("not known to be corrected for attenuation" in text for text in both.limitations)
    assert any("a lung shunt would come out too high" in text for text in alone.limitations)
    given = {number.key for number in alone.measurements}
    assert not {key for key in given if key.startswith(("lung_shunt", "hot_region", "tumor", "lobe_", "coverage"))}
    assert any(number.key == "hot_region_ratio" for number in both.measurements)
