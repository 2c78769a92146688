"""Gates of quality: what they see is true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers import quality
from analyzers.contract import FrameRef
from analyzers.headers import instance_summary
from analyzers.volume import GridMismatchError, Volume
from tests.analyzers import dicom_samples as sample


def volume(voxels_zyx: np.ndarray, spacing_zyx_mm: tuple[float, float, float], tilt_deg: float = 0.0) -> Volume:
    affine_lps = np.diag([*spacing_zyx_mm[::-1], 1.0])
    affine_lps[1, 2] = spacing_zyx_mm[0] * np.tan(np.radians(tilt_deg))
    return Volume(
        voxels_zyx=voxels_zyx.astype(np.float32),
        affine_lps=affine_lps,
        planes=tuple(FrameRef(sop_instance_uid=f"1.{z}") for z in range(len(voxels_zyx))),
        series_instance_uid="1.2",
        header=instance_summary(sample.ct_slice(0.0), "1.2.840.10008.1.2.1"),
    )


@given(spacing_mm=st.floats(0.5, 8.0), tilt_deg=st.floats(0.0, 30.0), largest_mm=st.floats(0.5, 8.0))
def test_slice_spacing_is_measured_along_the_normal(spacing_mm: float, tilt_deg: float, largest_mm: float) -> None:
    gate = quality.slice_spacing_gate(volume(np.zeros((3, 4, 4)), (spacing_mm, 1.0, 1.0), tilt_deg), largest_mm)

    assert gate.passed == (spacing_mm <= largest_mm + 1e-6)
    assert gate.seen == f"{spacing_mm:.2f} mm"


def test_coverage_counts_the_outer_faces() -> None:
    stack = volume(np.zeros((40, 4, 4)), (2.5, 1.0, 1.0))

    assert quality.coverage_gate(stack, 100.0).passed
    assert not quality.coverage_gate(stack, 101.0).passed


def test_pixel_spacing_is_judged_by_the_larger_side() -> None:
    assert not quality.pixel_spacing_gate(volume(np.zeros((2, 4, 4)), (1.0, 0.7, 1.2)), 1.0).passed


@pytest.mark.parametrize(("first", "passed"), [(0, True), (2, True), (3, False)])
def test_a_structure_cut_by_the_first_slice_fails(first: int, *, passed: bool) -> None:
    mask = np.zeros((5, 10, 10), np.bool_)
    mask[2, :5, :5] = True
    mask[0, 0, :first] = True

    gate = quality.truncation_gate(volume(np.zeros(mask.shape), (1.0, 1.0, 1.0)), mask, "liver", 0.08)

    assert gate.passed == passed
    assert gate.seen == f"{first / 25:.0%} of its largest section on an outermost slice"


@given(sigma=st.floats(1.0, 60.0), offset=st.floats(-1000.0, 1000.0), seed=st.integers(0, 1000))
def test_noise_is_found_in_a_noisy_structure_with_vessels(sigma: float, offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    voxels = offset + rng.normal(0.0, sigma, (6, 60, 60))
    voxels[:, 30:33, :] += 150.0
    mask = np.zeros(voxels.shape, np.bool_)
    mask[:, 4:56, 4:56] = True

    assert quality.noise_in(volume(voxels, (3.0, 1.5, 1.5)), mask) == pytest.approx(sigma, rel=0.1)


def test_noise_without_room_to_measure_fails_its_gate() -> None:
    mask = np.zeros((3, 20, 20), np.bool_)
    mask[1, 3:5, 3:5] = True
    stack = volume(np.zeros(mask.shape), (1.0, 1.0, 1.0))

    gate = quality.noise_gate(stack, mask, "liver", 20.0, "HU")

    assert (gate.passed, gate.seen) == (False, "not measurable")
    with pytest.raises(quality.EmptyMaskError):
        quality.noise_in(stack, np.zeros_like(mask))


def test_a_mask_of_another_grid_is_refused() -> None:
    with pytest.raises(GridMismatchError):
        quality.noise_in(volume(np.zeros((3, 4, 4)), (1.0, 1.0, 1.0)), np.zeros((3, 4, 5), np.bool_))
