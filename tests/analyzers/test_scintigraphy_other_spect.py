"""Reconstructions as other workstations write them: windows, planes, series, values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.sequence import Sequence as DicomSequence

from analyzers import vocabulary
from tests.analyzers.scintigraphy_studies import (
    SPECT,
    Made,
    Study,
    assessed,
    give,
    in_one_series,
    reasons,
    value,
    without_limits,
)


def with_scatter_volume(study: Study) -> Study:
    """One object that holds the scatter window's volume before the photopeak's."""
    (dataset,) = study
    counts = dataset.pixel_array
    planes = len(counts)
    give(dataset, np.concatenate([counts[:, ::-1] // 3, counts]))
    dataset.NumberOfFrames, dataset.NumberOfEnergyWindows = 2 * planes, 2
    dataset.EnergyWindowVector = [1] * planes + [2] * planes
    dataset.DetectorVector = dataset.RotationVector = [1] * (2 * planes)
    dataset.SliceVector = [*range(1, planes + 1)] * 2
    peak = dataset.EnergyWindowInformationSequence[0]
    scatter = copy.deepcopy(peak)
    scatter.EnergyWindowRangeSequence[0].EnergyWindowLowerLimit = "108"
    scatter.EnergyWindowRangeSequence[0].EnergyWindowUpperLimit = "126"
    dataset.EnergyWindowInformationSequence = DicomSequence([scatter, peak])
    return study


def test_of_two_windows_of_a_spect_the_photopeak_is_read(made: Made, tmp_path: Path) -> None:
    plain = assessed(made(*SPECT), tmp_path / "plain")
    result = assessed(with_scatter_volume(made(*SPECT)), tmp_path / "both")

    assert value(result, "liver_activity_share") == value(plain, "liver_activity_share")
    assert any("1 further reconstruction was not read" in text for text in result.limitations)


def test_two_windows_of_a_spect_that_nothing_tells_apart_give_no_number(made: Made, tmp_path: Path) -> None:
    study = with_scatter_volume(made(*SPECT))
    without_limits(study[0], "1", "2")

    assert "which of them holds the photopeak" in reasons(study, tmp_path / "unnamed")


def as_coronal(study: Study) -> Study:
    """The same volume in coronal planes, as workstations store it beside the transverse ones."""
    (dataset,) = study
    detector = dataset.DetectorInformationSequence[0]
    counts, step_mm = dataset.pixel_array[::-1].transpose(1, 0, 2), float(dataset.SpacingBetweenSlices)
    x, y, z = (float(one) for one in detector.ImagePositionPatient)
    detector.ImagePositionPatient = [x, y, z + step_mm * (counts.shape[1] - 1)]
    detector.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = counts.shape
    dataset.SliceVector = [*range(1, len(counts) + 1)]
    for keyword in ("EnergyWindowVector", "DetectorVector", "RotationVector"):
        setattr(dataset, keyword, [1] * len(counts))
    give(dataset, counts)
    return study


def test_coronal_planes_are_refused_and_transverse_ones_beside_them_read(made: Made, tmp_path: Path) -> None:
    assert "transverse" in reasons(as_coronal(made(*SPECT)), tmp_path / "coronal")

    (coronal,), (transverse,) = as_coronal(made(*SPECT)), made(*SPECT)
    coronal.SeriesInstanceUID, coronal.SOPInstanceUID = "2.25.5", "2.25.6"
    plain = assessed(made(*SPECT), tmp_path / "plain")
    both = assessed([coronal, transverse], tmp_path / "both")
    assert [one.value for one in both.measurements] == [one.value for one in plain.measurements]


@pytest.mark.parametrize("uids", [("2.25.8", "2.25.9"), ("2.25.9", "2.25.8")])
def test_of_both_reconstructions_in_one_series_each_is_known_for_what_it_is(
    made: Made, tmp_path: Path, uids: tuple[str, str]
) -> None:
    study = made("no-planar", "spect", "spect-nac")
    plain = assessed(made("no-planar", "spect"), tmp_path / "plain")
    for number, (dataset, uid) in enumerate(zip(in_one_series(study), uids, strict=True), start=1):
        dataset.SOPInstanceUID, dataset.InstanceNumber = uid, number
    result = assessed(study, tmp_path / "one")

    assert value(result, "liver_activity_share") == value(plain, "liver_activity_share")
    assert not any("not known to be corrected for attenuation" in text for text in result.limitations)


def test_a_spect_without_a_distance_between_its_planes_says_what_it_lacks(made: Made, tmp_path: Path) -> None:
    study = made(*SPECT)
    del study[0].SpacingBetweenSlices
    del study[0].SliceThickness

    assert "lack a valid position" in reasons(study, tmp_path / "nowhere")


def point(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """A hot vial and nothing else."""
    counts = np.zeros(shape, np.uint16)
    counts[30:34, 60:64, 60:64] = 900
    return counts


def flood(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Activity everywhere, as in a uniform phantom."""
    return np.random.default_rng(1).poisson(100.0, shape).astype(np.uint16)


@pytest.mark.parametrize("shown", [point, flood])
def test_a_spect_without_a_liver_gives_no_number(
    made: Made, tmp_path: Path, shown: Callable[[tuple[int, ...]], NDArray[np.uint16]]
) -> None:
    study = made(*SPECT)
    give(study[0], shown(study[0].pixel_array.shape))

    assert "No region of uptake of the size of a liver" in reasons(study, tmp_path / "none")


def test_negative_voxels_of_a_reconstruction_are_no_activity(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(*SPECT), tmp_path / "plain"), made(*SPECT)
    (dataset,) = study
    give(dataset, np.where(dataset.pixel_array == 0, -7, dataset.pixel_array).astype(np.int16))
    dataset.PixelRepresentation = 1
    result = assessed(study, tmp_path / "negative")

    assert value(result, "liver_activity_share") == pytest.approx(value(plain, "liver_activity_share"), abs=0.002)


def test_a_tilted_spect_keeps_its_volumes(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(*SPECT), tmp_path / "plain"), made(*SPECT)
    cosine, sine = np.cos(0.2), np.sin(0.2)
    study[0].DetectorInformationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, f"{cosine:.6f}", f"{sine:.6f}"]

    result = assessed(study, tmp_path / "tilted")
    assert value(result, "perfused_volume") == pytest.approx(value(plain, "perfused_volume"), rel=1e-4)


def test_a_large_spill_round_the_pump_on_a_spect_ct_is_non_diagnostic(made: Made, tmp_path: Path) -> None:
    result = assessed(made("no-planar", "spect-ct", "pocket-extravasation"), tmp_path / "spilt")

    assert result.findings[0].value == vocabulary.PERFUSION_NON_DIAGNOSTIC
    assert "pump pocket" in result.conclusion
