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


@given(spacing_mm=st.floats(0.5, 8.0), tilt_deg=st.floats(0.0, 30.0))
def test_planes_are_as_far_apart_as_along_their_normal_however_the_gantry_is_tilted(
    spacing_mm: float, tilt_deg: float
) -> None:
    stack = volume(np.zeros((3, 4, 4)), (spacing_mm, 1.0, 1.0), tilt_deg)

    assert quality.plane_distance_mm(stack) == pytest.approx(spacing_mm)


@pytest.mark.parametrize(("first", "passed"), [(0, True), (2, True), (3, False)])
def test_a_structure_cut_by_the_first_slice_fails(first: int, *, passed: bool) -> None:
    mask = np.zeros((5, 10, 10), np.bool_)
    mask[2, :5, :5] = True
    mask[0, 0, :first] = True

    gate = quality.truncation_gate(volume(np.zeros(mask.shape), (1.0, 1.0, 1.0)), mask, "liver", 0.08)

    assert gate.passed == passed
    assert gate.seen == f"{first / 25:.0%} of its largest section on an outermost slice"


def test_a_mask_of_another_grid_is_refused() -> None:
    with pytest.raises(GridMismatchError):
        quality.truncation_gate(
            volume(np.zeros((3, 4, 4)), (1.0, 1.0, 1.0)), np.zeros((3, 4, 5), np.bool_), "liver", 0.08
        )
