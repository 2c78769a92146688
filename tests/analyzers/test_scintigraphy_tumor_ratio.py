"""Tumour-to-normal ratios: on given masks, on masks of an earlier study, on hot regions, and on a real SPECT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzers import vocabulary
from analyzers.contract import Assessed, FrameRef, Segment
from analyzers.grid_mask import GridMask
from analyzers.priors import Prior
from analyzers.scintigraphy.tumor_ratio import (
    hot_regions,
    ratios_on_masks,
    ratios_on_priors,
    shift_onto,
)
from analyzers.segmentations import GivenSegmentation
from analyzers.volume import LoadedSeries, Volume
from tests.analyzers.scintigraphy_real_ratio import measured_ratios
from tests.analyzers.scintigraphy_samples import instance, study

STEP_MM, SHAPE = 5.0, (40, 44, 48)
LIVER, TUMOUR = ((0.0, 0.0, 0.0), 70.0), ((-25.0, 10.0, 15.0), 18.0)


def ball(
    centre_lps_mm: tuple[float, float, float],
    radius_mm: float,
    shape: tuple[int, int, int] = SHAPE,
    step: float = STEP_MM,
) -> NDArray[np.bool_]:
    z, y, x = ((index - (n - 1) / 2.0) * step for index, n in zip(np.indices(shape), shape, strict=True))
    left, back, up = centre_lps_mm
    return np.asarray((x - left) ** 2 + (y - back) ** 2 + (z - up) ** 2 <= radius_mm**2, np.bool_)


def affine(shape: tuple[int, int, int] = SHAPE, step: float = STEP_MM, *, shift: float = 0.0) -> NDArray[np.float64]:
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = [shift - step * (n - 1) / 2.0 for n in reversed(shape)]
    return matrix


def volume(values: NDArray[np.float32], matrix: NDArray[np.float64], series: str = "1.2") -> Volume:
    return Volume(
        voxels_zyx=values,
        affine_lps=matrix,
        planes=tuple(FrameRef(sop_instance_uid=series, frame=n + 1) for n in range(len(values))),
        series_instance_uid=series,
        header=instance(kind="RECON TOMO"),
    )


def spect(ratio: float = 4.0) -> Volume:
    counts = np.where(ball(*LIVER), 100.0, 1.0)
    counts[ball(*TUMOUR)] = 100.0 * ratio
    return volume(counts.astype(np.float32), affine())


def mask(what: tuple[tuple[float, float, float], float], *, shift: float = 0.0) -> GridMask:
    """On a grid of 3 mm, as a CT has."""
    shape = (66, 72, 80)
    return GridMask(label="one", mask_zyx=ball(*what, shape, 3.0), affine_lps=affine(shape, 3.0, shift=shift))


def test_a_given_mask_on_its_own_grid_gives_the_ratio_of_the_means() -> None:
    core = mask((TUMOUR[0], 12.0))
    rest = mask((LIVER[0], 62.0)).mask_zyx & ~mask((TUMOUR[0], 26.0)).mask_zyx
    liver = GridMask(label="liver", mask_zyx=rest, affine_lps=core.affine_lps)

    (found,) = ratios_on_masks(spect(4.0), [core], liver, "a reader")

    assert found.ratio == pytest.approx(4.0, rel=0.02)
    assert found.given
    assert found.volume_ml == pytest.approx(4.0 / 3.0 * np.pi * 1.2**3, rel=0.1)


def test_a_mask_outside_the_field_gives_no_ratio() -> None:
    away = mask((TUMOUR[0], 12.0), shift=400.0)

    assert ratios_on_masks(spect(), [away], away, "a reader") == ()


def test_livers_of_two_studies_are_brought_together() -> None:
    earlier, present = mask(LIVER, shift=37.0), mask((LIVER[0], LIVER[1]))

    shift, overlap = shift_onto(earlier, present)

    assert shift == pytest.approx([-37.0, -37.0, -37.0], abs=2.0)
    assert overlap > 0.95


class Images:
    """One stack of an earlier study."""

    def __init__(self, stack: Volume) -> None:
        self._stack = stack
        self.summary = study(instance(series=stack.series_instance_uid))
        self.roles: dict[str, str] = {}
        self.segmentations: tuple[GivenSegmentation, ...] = ()

    def load(self, series_instance_uid: str) -> LoadedSeries:
        assert series_instance_uid == self._stack.series_instance_uid
        return LoadedSeries(series=self.summary.series[0], volumes=(self._stack,))

    def with_role(self, role: str) -> tuple[LoadedSeries, ...]:
        del role
        return ()


def prior(liver_radius_mm: float) -> Prior:
    shape, matrix = (66, 72, 80), affine((66, 72, 80), 3.0, shift=20.0)
    stack = volume(np.zeros(shape, np.float32), matrix, "9.9")
    segments = tuple(
        Segment(
            name=name,
            label=name,
            category=vocabulary.ANATOMICAL_STRUCTURE,
            type=code,
            mask_planes=ball(*what, shape, 3.0),
            planes=stack.planes,
            series_instance_uid="9.9",
        )
        for name, code, what in (
            ("liver", vocabulary.LIVER, (LIVER[0], liver_radius_mm)),
            ("lesion-1", vocabulary.LESION, (TUMOUR[0], 12.0)),
        )
    )
    return Prior(
        study_instance_uid="8.8",
        study_date="20240105",
        analyzer_name="mri",
        analyzer_version="1",
        revision=1,
        result=Assessed(conclusion="", findings=(), measurements=(), segments=segments),
        images=Images(stack),
    )


def test_lesions_of_an_earlier_answer_are_measured_once_its_liver_lies_on_the_present_one() -> None:
    (found,) = ratios_on_priors(spect(4.0), ball(*LIVER), [prior(70.0)])

    assert found.ratio == pytest.approx(3.7, abs=0.4)
    assert "mri answer of 20240105" in found.origin


def test_an_earlier_liver_of_another_size_is_not_used() -> None:
    assert ratios_on_priors(spect(4.0), ball(*LIVER), [prior(40.0)]) == ()


def test_an_earlier_answer_without_its_images_is_passed_over() -> None:
    assert ratios_on_priors(spect(4.0), ball(*LIVER), [replace(prior(70.0), images=None)]) == ()


@pytest.mark.parametrize(("ratio", "regions"), [(1.0, 0), (4.0, 1)])
def test_a_hot_region_is_found_by_its_own_uptake_and_says_so(ratio: float, regions: int) -> None:
    one = spect(ratio)
    found = hot_regions(one, one.voxels_zyx, ball(*LIVER))

    assert len(found) == regions
    assert all(not region.given and "own uptake" in region.origin for region in found)
    assert [region.ratio for region in found] == pytest.approx([ratio] * regions, rel=0.05)


def test_ratios_on_a_real_spect_with_a_reader_s_masks_are_those_measured_by_hand(real_data_dir: Path) -> None:
    del real_data_dir
    found = measured_ratios()
    if found is None:
        pytest.skip("no real SPECT at hand")

    assert [ratio for _, ratio in found] == pytest.approx([6.9, 5.8], rel=0.10)
