"""Planar views as other cameras write them: matrices, scales, orders, energy windows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Grade, Presence
from tests.analyzers.scintigraphy_samples import ellipse
from tests.analyzers.scintigraphy_studies import (
    SHUNT,
    SPECT,
    Made,
    Study,
    assessed,
    give,
    reasons,
    value,
    without_limits,
)


def test_a_rescale_intercept_is_applied_to_views(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made()
    give(study[0], study[0].pixel_array + np.uint16(50))
    study[0].RescaleSlope, study[0].RescaleIntercept = "1", "-50"

    assert value(assessed(study, tmp_path / "rescaled"), SHUNT) == value(plain, SHUNT)


def test_counts_that_a_rescale_made_negative_are_none(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made()
    study[0].RescaleSlope, study[0].RescaleIntercept = "1", "-1"

    assert value(assessed(study, tmp_path / "negative"), SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.01)


@pytest.mark.parametrize("signed", [False, True])
def test_few_pixels_at_the_end_of_the_scale_are_saturated_whatever_the_rescale(
    made: Made, tmp_path: Path, signed: bool
) -> None:
    (dataset,) = made()
    counts, greatest = dataset.pixel_array.astype(np.int64), 2**15 - 1 if signed else 2**16 - 1
    third = int(np.sort(counts.ravel())[-3])
    give(dataset, np.minimum(counts * greatest // third, greatest).astype(np.int16 if signed else np.uint16))
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = str(third / greatest)[:16], "0"

    assert "saturated" in reasons([dataset], tmp_path / "full")


def with_matrix(study: Study, factor: float) -> Study:
    """The same field on another matrix: counts of a finer one are spread by chance, as a camera does."""
    (dataset,) = study
    rows, columns = dataset.Rows, dataset.Columns
    counts = dataset.pixel_array.reshape(-1, rows, columns)
    frames = len(counts)
    if factor < 1:
        block = round(1 / factor)
        counts = counts.reshape(frames, rows // block, block, columns // block, block).sum(axis=(2, 4), dtype=np.int64)
    else:
        rng, parts = np.random.default_rng(1), int(factor) ** 2
        split = rng.multinomial(counts.astype(np.int64).ravel(), [1 / parts] * parts)
        side = int(factor)
        counts = split.reshape(frames, rows, columns, side, side).transpose(0, 1, 3, 2, 4)
        counts = counts.reshape(frames, rows * side, columns * side)
    give(dataset, counts.astype(np.uint16))
    dataset.Rows, dataset.Columns = counts.shape[1:]
    dataset.PixelSpacing = [str(round(float(edge) / factor, 6)) for edge in dataset.PixelSpacing]
    return study


@pytest.mark.parametrize("factor", [0.5, 2, 8])
def test_the_matrix_changes_no_answer(made: Made, tmp_path: Path, factor: float) -> None:
    plain = assessed(made(), tmp_path / "plain")
    result = assessed(with_matrix(made(), factor), tmp_path / "matrix")

    assert value(result, SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.015)
    assert result.findings[0].value == plain.findings[0].value


def posterior_first(study: Study) -> Study:
    give(study[0], study[0].pixel_array[::-1])
    study[0].DetectorVector = [2, 1]
    return study


def detectors_exchanged(study: Study) -> Study:
    give(study[0], study[0].pixel_array[::-1])
    study[0].DetectorInformationSequence = DicomSequence(study[0].DetectorInformationSequence[::-1])
    return study


@pytest.mark.parametrize("change", [posterior_first, detectors_exchanged])
def test_the_order_of_the_views_changes_no_answer(made: Made, tmp_path: Path, change: Callable[[Study], Study]) -> None:
    plain = assessed(made(), tmp_path / "plain")

    assert value(assessed(change(made()), tmp_path / "changed"), SHUNT) == value(plain, SHUNT)


def test_views_in_series_of_their_own_with_durations_of_their_own_are_compared(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made("separate-views")
    study[1].SeriesInstanceUID = "2.25.77"
    study[1].ActualFrameDuration = 2 * int(study[1].ActualFrameDuration)
    give(study[1], (2 * study[1].pixel_array).astype(np.uint16))
    result = assessed(study, tmp_path / "long")

    assert value(result, SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.005)
    assert any("durations of 300 and 600 s" in text for text in result.limitations)


def test_views_with_the_head_below_are_refused(made: Made, tmp_path: Path) -> None:
    study = made()
    give(study[0], study[0].pixel_array[:, ::-1, ::-1])
    study[0].PatientOrientation = ["R", "H"]

    assert "upside down" in reasons(study, tmp_path / "turned")


def processed(study: Study) -> Study:
    """A filtered and scaled copy, as a workstation stores it: smoother and with more counts."""
    (dataset,) = study
    dataset.ImageType = ["DERIVED", "SECONDARY", "STATIC", "EMISSION"]
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "2.25.12", "2.25.11"
    smooth = ndimage.gaussian_filter(dataset.pixel_array.astype(np.float64), (0, 3, 3))
    give(dataset, (1.2 * smooth).astype(np.uint16))
    return study


def test_views_as_acquired_are_read_before_processed_ones(made: Made, tmp_path: Path) -> None:
    plain = assessed(made(), tmp_path / "plain")
    both = assessed([*made(), *processed(made())], tmp_path / "both")
    alone = assessed(processed(made()), tmp_path / "alone")

    assert value(both, SHUNT) == value(plain, SHUNT)
    assert next(one.grade for one in alone.measurements if one.key == SHUNT) is Grade.LIMITED
    assert any("computed from others" in text for text in alone.limitations)


def test_laterals_alone_give_no_number(made: Made, tmp_path: Path) -> None:
    study = made("laterals")
    (dataset,) = study
    give(dataset, dataset.pixel_array[2:])
    dataset.NumberOfFrames = dataset.NumberOfDetectors = 2
    dataset.DetectorVector, dataset.EnergyWindowVector = [1, 2], [1, 1]
    dataset.DetectorInformationSequence = DicomSequence(dataset.DetectorInformationSequence[2:])
    said = reasons(study, tmp_path / "sides")

    assert "anterior view is missing" in said
    assert "posterior view is missing" in said


def test_an_oblique_view_with_more_counts_is_not_taken_for_the_anterior_one(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made()
    (dataset,) = study
    counts = dataset.pixel_array
    give(dataset, np.concatenate([counts, (1.5 * counts[:1, :, ::-1]).astype(np.uint16)]))
    dataset.NumberOfFrames = dataset.NumberOfDetectors = 3
    dataset.DetectorVector, dataset.EnergyWindowVector = [1, 2, 3], [1, 1, 1]
    oblique = copy.deepcopy(dataset.DetectorInformationSequence[0])
    oblique.ViewCodeSequence[0].CodeValue = "399074003"
    oblique.ViewCodeSequence[0].CodeMeaning = "Left anterior oblique"
    dataset.DetectorInformationSequence.append(oblique)

    assert value(assessed(study, tmp_path / "oblique"), SHUNT) == value(plain, SHUNT)


@pytest.mark.parametrize(("row", "column", "radius"), [(112, 95, 9), (60, 100, 8)])
def test_an_organ_that_outshines_the_liver_is_never_called_no_extrahepatic_activity(
    made: Made, tmp_path: Path, row: int, column: int, radius: int
) -> None:
    """A catheter that slipped: bowel or spleen holds twice the liver's counts."""
    study, rng = made(), np.random.default_rng(3)
    front, back = study[0].pixel_array.astype(np.float64) * 0.3
    organ = ndimage.gaussian_filter(ellipse(row, column, radius, radius, 2.0 * float(front.sum())), 2.0)
    give(study[0], np.stack([front + rng.poisson(organ), back + rng.poisson(organ[:, ::-1])]).astype(np.uint16))
    result = assessed(study, tmp_path / "slipped")

    assert result.findings[0].value == vocabulary.PERFUSION_INDETERMINATE
    assert "o extrahepatic activity detected" not in result.conclusion
    assert "another organ" in result.conclusion
    (outside,) = (one for one in result.findings if one.key == "extrahepatic_perfusion")
    assert outside.presence is Presence.INDETERMINATE


def test_views_on_different_matrices_give_no_number(made: Made, tmp_path: Path) -> None:
    front, back = made("separate-views")
    with_matrix([back], 2)

    assert "different matrices" in reasons([front, back], tmp_path / "two")


def test_pixels_that_are_not_square_give_no_number(made: Made, tmp_path: Path) -> None:
    study = made()
    study[0].PixelSpacing = ["4.8", "5.2"]

    assert "not square" in reasons(study, tmp_path / "oblong")


def test_a_background_that_holds_nearly_all_counts_gives_no_number(made: Made, tmp_path: Path) -> None:
    """Activity that stayed in the blood: the liver hardly stands out."""
    study = made()
    counts = study[0].pixel_array
    body = (ndimage.gaussian_filter(counts.astype(np.float64), (0, 2, 2)) > 3.0).astype(np.float64)
    blood = 0.9 * float(counts.max()) * ndimage.gaussian_filter(body, (0, 6, 6))
    give(study[0], (0.4 * counts + np.random.default_rng(5).poisson(blood)).astype(np.uint16))

    assert "background below the liver's counts" in reasons(study, tmp_path / "blood")


def scatter_first(dataset: Dataset) -> None:
    dataset.EnergyWindowInformationSequence = DicomSequence(dataset.EnergyWindowInformationSequence[::-1])
    frames = dataset.pixel_array
    give(dataset, np.concatenate([frames[2:], frames[:2]]))


def test_of_windows_without_limits_a_scatter_window_is_known_by_its_name(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made("scatter-window"), tmp_path / "plain"), made("scatter-window")
    scatter_first(study[0])
    without_limits(study[0], "Streustrahlung", "Tc-99m")

    assert value(assessed(study, tmp_path / "named"), SHUNT) == value(plain, SHUNT)


def test_windows_that_nothing_tells_apart_give_no_number(made: Made, tmp_path: Path) -> None:
    study = made("scatter-window")
    scatter_first(study[0])
    without_limits(study[0], "EW1", "EW2")

    assert "which of them holds the photopeak" in reasons(study, tmp_path / "unnamed")


def with_range(dataset: Dataset, low_kev: str, high_kev: str) -> None:
    ranges = dataset.EnergyWindowInformationSequence[0].EnergyWindowRangeSequence
    ranges.append(copy.deepcopy(ranges[0]))
    ranges[-1].EnergyWindowLowerLimit, ranges[-1].EnergyWindowUpperLimit = low_kev, high_kev


@pytest.mark.parametrize("kind", [(), SPECT])
@pytest.mark.parametrize("limits", [("90", "120"), ("220", "270")])
def test_a_window_that_adds_up_other_energies_gives_no_number(
    made: Made, tmp_path: Path, kind: tuple[str, ...], limits: tuple[str, str]
) -> None:
    study = made(*kind)
    with_range(study[0], *limits)

    said = reasons(study, tmp_path / "added")

    assert "adds up several ranges of energy" in said
    assert f"{limits[0]} to {limits[1]} keV" in said


def test_a_photopeak_window_in_two_halves_is_one(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made()
    study[0].EnergyWindowInformationSequence[0].EnergyWindowRangeSequence[0].EnergyWindowUpperLimit = "140"
    with_range(study[0], "140", "154")

    assert value(assessed(study, tmp_path / "halves"), SHUNT) == value(plain, SHUNT)
