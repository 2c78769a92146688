"""Axes, receive field, shifts, walls and bays are right on shapes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.mri.axes import lesion_axes
from analyzers.mri.bays import with_bays
from analyzers.mri.bias import fitted_bias
from analyzers.mri.body import Body, fat_and_wall
from analyzers.mri.breath import shift_between
from analyzers.mri.lesions import LiverImage, find_candidates
from analyzers.mri.liver import Liver, Seed
from analyzers.mri.patient_grid import PatientGrid
from analyzers.mri.searches import Search, stated_floor_mm
from analyzers.mri.surface import refined_surface
from analyzers.mri.thresholds import LesionThresholds, LiverThresholds


def ellipsoid(shape: tuple[int, int, int], radii: tuple[float, float, float]) -> NDArray[np.bool_]:
    z, y, x = np.ogrid[tuple(slice(0, size) for size in shape)]
    centre = [(size - 1) / 2 for size in shape]
    inside = sum(((axis - middle) / radius) ** 2 for axis, middle, radius in zip((z, y, x), centre, radii, strict=True))
    return np.asarray(inside <= 1.0)


def test_axes_of_an_ellipse_are_its_diameters_and_perpendicular() -> None:
    axes = lesion_axes(ellipsoid((9, 61, 61), (4, 10, 20)), (1.0, 1.5))
    assert axes is not None
    assert axes.plane == 4
    assert axes.long_mm == pytest.approx(60.0, abs=2.5)
    assert axes.short_mm == pytest.approx(20.0, abs=1.5)
    long = np.diff(np.asarray(axes.long_line), axis=0)[0] * (1.5, 1.0)
    short = np.diff(np.asarray(axes.short_line), axis=0)[0] * (1.5, 1.0)
    assert abs(float(long @ short)) / (np.linalg.norm(long) * np.linalg.norm(short)) < 0.02


def test_a_row_of_pixels_is_as_long_as_its_pixels_and_lies_on_their_outer_edges() -> None:
    mask = np.zeros((1, 5, 12), bool)
    mask[0, 2, 3:9] = True
    axes = lesion_axes(mask, (2.0, 2.0))
    assert axes is not None
    assert axes.long_mm == pytest.approx(12.0, abs=0.1)
    assert sorted(column for column, _ in axes.long_line) == pytest.approx([3.0, 9.0])


def test_nothing_has_no_axes() -> None:
    assert lesion_axes(np.zeros((2, 4, 4), bool), (1.0, 1.0)) is None


def test_the_receive_field_of_even_tissue_is_recovered() -> None:
    tissue = ellipsoid((30, 40, 40), (13, 18, 18))
    z = np.arange(30, dtype=np.float32)[:, None, None]
    field = np.exp(0.03 * (z - 15.0)) * np.ones((30, 40, 40), np.float32)
    values = (700.0 * field).astype(np.float32)
    corrected = values / fitted_bias(values, tissue, 3.0, degree=2)
    assert float(np.std(corrected[tissue]) / np.mean(corrected[tissue])) < 0.02


def test_a_moved_organ_of_other_contrast_is_found_where_it_went() -> None:
    organ = ellipsoid((40, 50, 50), (10, 14, 16))
    fixed = np.where(organ, 300.0, 100.0).astype(np.float32)
    moving = np.roll(np.where(organ, 50.0, 200.0).astype(np.float32), (4, -2, 0), axis=(0, 1, 2))
    shift_lps_mm = shift_between(fixed, moving, organ, 3.0)
    assert shift_lps_mm == pytest.approx([0.0, -6.0, 12.0])


def test_a_surface_that_is_too_wide_moves_to_the_edge_bright_or_dark_outside() -> None:
    organ = ellipsoid((24, 60, 60), (9, 20, 20))
    wide = ellipsoid((24, 60, 60), (10, 22, 22))
    x = np.arange(60)[None, None, :]
    values = np.where(organ, 1.0, np.where(x < 30, 0.3, 2.0)).astype(np.float32)
    refined = refined_surface(values, wide, (3.0, 1.5, 1.5))
    before = np.count_nonzero(wide ^ organ)
    assert np.count_nonzero(refined ^ organ) < 0.3 * before


GRID = PatientGrid(shape_zyx=(50, 70, 90), origin_lps_mm=np.zeros(3), spacing_mm=3.0)


def ball_at(centre_zyx: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    z, y, x = np.ogrid[tuple(slice(0, size) for size in GRID.shape_zyx)]
    offsets = zip((z, y, x), centre_zyx, strict=True)
    return np.asarray(sum((axis - middle) ** 2 for axis, middle in offsets) <= radius**2)


def trunk() -> Body:
    mask = np.broadcast_to(ellipsoid((1, 70, 90), (1, 34, 44)), GRID.shape_zyx)
    depth = np.stack([ndimage.distance_transform_edt(section) for section in mask]) * GRID.spacing_mm
    return Body(
        mask_zyx=mask, depth_mm_zyx=depth.astype(np.float32), midline_x=np.full(50, 44.5), width_mm=264.0
    )  # fmt: skip


def test_fat_that_is_bright_and_the_wall_inside_of_it_are_no_organ() -> None:
    body = trunk()
    values = np.where(body.mask_zyx, 100.0, 0.0).astype(np.float32)
    values[body.mask_zyx & (body.depth_mm_zyx <= 15.0)] = 400.0
    barred = fat_and_wall(values, 100.0, body, GRID, LiverThresholds())
    depth = body.depth_mm_zyx[25, 35]
    assert barred[25, 35][(depth > 0) & (depth <= 21.0)].all()
    assert not barred[25, 35][depth > 24.0].any()


def test_suppressed_fat_bars_nothing() -> None:
    body = trunk()
    values = np.where(body.mask_zyx, 100.0, 0.0).astype(np.float32)
    values[body.mask_zyx & (body.depth_mm_zyx <= 15.0)] = 30.0
    assert not fat_and_wall(values, 100.0, body, GRID, LiverThresholds()).any()


@pytest.mark.parametrize(
    ("diffusion", "reach", "added"),
    [(2.0, 7.0, True), (0.6, 7.0, False), (2.0, 24.0, False)],
    ids=["lesion", "fluid", "organ beside the liver"],
)
def test_a_bay_of_the_surface_is_liver_only_where_a_bright_lesion_fills_it(
    diffusion: float, reach: float, added: bool
) -> None:
    organ = ball_at((25, 35, 30), 18)
    # Each begins at the same depth; what is larger lies mostly outside of the hull.
    filling = ball_at((25, 35, 35 + reach), reach)
    parenchyma = organ & ~filling
    reference = np.where(filling, 0.6, np.where(organ, 1.0, 0.1)).astype(np.float32) * 200.0
    weighted = np.where(filling, diffusion, np.where(organ, 1.0, 0.1)).astype(np.float32) * 50.0
    liver = Liver(
        field_zyx=parenchyma.astype(np.float32), parenchyma_zyx=parenchyma,
        bias_zyx=np.ones(GRID.shape_zyx, np.float32), level=200.0, sd=10.0,
        seed=Seed(core_zyx=parenchyma, level=200.0, volume_ml=1.0, mirrored_fraction=0.0, right_fraction=1.0),
    )  # fmt: skip
    seen = np.ones(GRID.shape_zyx, bool)
    grown = with_bays(liver, reference, weighted, seen, trunk(), GRID, LiverThresholds()).field_zyx >= 0.5
    assert bool(grown[25, 35, 42]) is added
    assert np.array_equal(grown, parenchyma) is not added


def sphere_in_liver(diameter_mm: float, step_mm: float, off: NDArray[np.float64]) -> LiverImage:
    """A sphere of half the level of even parenchyma, averaged over voxels of 1.5 mm and one slice distance."""
    spacing_mm = np.array([step_mm, 1.5, 1.5])
    shape, parts = np.array([int(72 / step_mm), 40, 40]), (6, 2, 2)
    centre_mm = (shape / 2.0 + off) * spacing_mm
    fine = np.ogrid[tuple(slice(0, size * part) for size, part in zip(shape, parts, strict=True))]
    places_mm = ((one + 0.5) * step / part for one, step, part in zip(fine, spacing_mm, parts, strict=True))
    inside = (
        sum((place - middle) ** 2 for place, middle in zip(places_mm, centre_mm, strict=True))
        <= (diameter_mm / 2.0) ** 2
    )
    share = inside.reshape(shape[0], 6, 40, 2, 40, 2).mean(axis=(1, 3, 5))
    noise = np.random.default_rng(7).normal(0.0, 0.05, share.shape)
    return LiverImage(
        relative_zyx=(1.0 - 0.5 * share + noise).astype(np.float32), liver_zyx=np.ones(share.shape, bool),
        spacing_zyx_mm=(step_mm, 1.5, 1.5), voxel_ml=step_mm * 1.5**2 / 1000.0, darker=True, blood_zyx=None,
        fat_zyx=None, others={}, name="T1 hepatobiliary", confirm=False,
    )  # fmt: skip


@pytest.mark.parametrize("step_mm", [2.0, 3.0, 4.0, 5.0, 6.0, 7.2, 8.0, 10.0])
def test_a_lesion_of_the_stated_floor_is_found_wherever_it_lies_between_slices(step_mm: float) -> None:
    search = Search(
        candidates=(), compared=(), searched=("T1 hepatobiliary",), vessels_told=True, coarsest_step_mm=step_mm
    )
    floor_mm = stated_floor_mm(search, LesionThresholds())
    assert floor_mm >= 15.0
    for off in np.random.default_rng(3).uniform(-0.5, 0.5, (6, 3)):
        assert len(find_candidates(sphere_in_liver(floor_mm, step_mm, off), LesionThresholds())) == 1


def test_thick_slices_miss_what_thin_ones_show() -> None:
    assert find_candidates(sphere_in_liver(10.0, 3.0, np.zeros(3)), LesionThresholds())
    assert not find_candidates(sphere_in_liver(10.0, 8.0, np.zeros(3)), LesionThresholds())
