"""Geometry of stacks: for any orientation, tilt and spacing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from analyzers.geometry import Orientation, StackRefusedError, slice_normal, stack_affine

SPACING_ROW_COL_MM = (2.0, 1.5)
AXIAL: Orientation = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
angles_deg = st.floats(-180.0, 180.0)


def turned(turns_deg: tuple[float, float, float]) -> Orientation:
    matrix = Rotation.from_euler("xyz", turns_deg, degrees=True).as_matrix()
    a, b, c, d, e, f = (float(value) for value in (*matrix[:, 0], *matrix[:, 1]))
    return a, b, c, d, e, f


def axial_positions(z_mm: list[float]) -> np.ndarray:
    return np.array([[-10.0, -20.0, z] for z in z_mm])


@given(
    turns_deg=st.tuples(angles_deg, angles_deg, angles_deg),
    spacing_mm=st.floats(0.3, 10.0),
    tilt_deg=st.floats(-30.0, 30.0),
    count=st.integers(2, 40),
)
def test_affine_puts_every_plane_where_its_header_says(
    turns_deg: tuple[float, float, float], spacing_mm: float, tilt_deg: float, count: int
) -> None:
    orientation = turned(turns_deg)
    normal = slice_normal(orientation)
    step = spacing_mm * (normal + np.tan(np.radians(tilt_deg)) * np.asarray(orientation[3:]))
    positions = np.array([5.0, -7.0, 11.0]) + np.arange(count)[:, None] * step

    affine = stack_affine(positions, orientation, SPACING_ROW_COL_MM, 1.0)

    for index, position in enumerate(positions):
        assert np.allclose(affine @ [0.0, 0.0, index, 1.0], [*position, 1.0], atol=1e-6)
    # A tilt shears the voxel, it does not make it larger.
    voxel_mm3 = abs(np.linalg.det(affine[:3, :3]))
    assert voxel_mm3 == pytest.approx(spacing_mm * SPACING_ROW_COL_MM[0] * SPACING_ROW_COL_MM[1], rel=1e-6)


@given(count=st.integers(5, 60), spacing_mm=st.floats(0.4, 10.0), data=st.data())
def test_any_missing_inner_slice_is_refused_by_name(count: int, spacing_mm: float, data: st.DataObject) -> None:
    gone = data.draw(st.integers(1, count - 2))
    z_mm = [index * spacing_mm for index in range(count) if index != gone]

    with pytest.raises(StackRefusedError, match="1 slice missing between z="):
        stack_affine(axial_positions(z_mm), AXIAL, SPACING_ROW_COL_MM, 1.0)


@given(st.lists(st.floats(-0.05, 0.05), min_size=5, max_size=30))
def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even(jitter_mm: list[float]) -> None:
    z_mm = [index * 1.25 + shift for index, shift in enumerate(jitter_mm)]

    affine = stack_affine(axial_positions(z_mm), AXIAL, SPACING_ROW_COL_MM, 1.0)

    assert affine[2, 2] == pytest.approx(1.25, abs=0.026)


def test_variable_spacing_is_refused_with_its_numbers() -> None:
    z_mm = [0.0, 2.0, 4.0, 6.0, 8.0, 11.0, 14.0, 17.0]

    with pytest.raises(StackRefusedError, match=r"varies from 2\.00 to 3\.00 mm .* between z=8\.0 and z=11\.0"):
        stack_affine(axial_positions(z_mm), AXIAL, SPACING_ROW_COL_MM, 1.0)


def test_slices_off_the_line_are_refused() -> None:
    positions = axial_positions([0.0, 2.0, 4.0, 6.0])
    positions[2, 0] += 3.0

    with pytest.raises(StackRefusedError, match="one straight line"):
        stack_affine(positions, AXIAL, SPACING_ROW_COL_MM, 1.0)


def test_a_coronal_gap_is_named_by_y() -> None:
    coronal: Orientation = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    positions = np.array([[0.0, y, 0.0] for y in (0.0, 5.0, 10.0, 20.0, 25.0, 30.0)])

    with pytest.raises(StackRefusedError, match=r"between y=10\.0 and y=20\.0 mm"):
        stack_affine(positions, coronal, SPACING_ROW_COL_MM, 1.0)


def test_a_single_plane_is_as_thick_as_its_header_says() -> None:
    affine = stack_affine(axial_positions([7.0]), AXIAL, SPACING_ROW_COL_MM, 8.0)

    assert np.allclose(affine[:3, 2], [0.0, 0.0, 8.0])


@given(count=st.integers(3, 40), spacing_mm=st.floats(1.0, 10.0), apart_mm=st.floats(0.015, 0.09))
def test_slices_given_twice_with_jitter_are_called_repeats(count: int, spacing_mm: float, apart_mm: float) -> None:
    z_mm = [index * spacing_mm + shift_mm for index in range(count) for shift_mm in (0.0, apart_mm)]

    with pytest.raises(StackRefusedError, match="images repeat"):
        stack_affine(axial_positions(z_mm), AXIAL, SPACING_ROW_COL_MM, 1.0)


def test_two_blocks_far_apart_are_not_called_thousands_of_missing_slices() -> None:
    z_mm = [0.0, 1.0, 2.0, 900.0, 901.0]

    with pytest.raises(StackRefusedError, match=r"slice spacing varies from 1\.00 to 898\.00 mm"):
        stack_affine(axial_positions(z_mm), AXIAL, SPACING_ROW_COL_MM, 1.0)
