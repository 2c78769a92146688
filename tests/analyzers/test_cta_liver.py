"""The wall of the trunk and the liver's border on shapes whose place is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Grade
from analyzers.ct_anatomy.body import find_body
from analyzers.ct_anatomy.liver import find_liver
from analyzers.ct_anatomy.patient_grid import mask_on_source, patient_grid, share_on_grid
from analyzers.ct_anatomy.wall import outer_wall
from analyzers.cta.liver_answer import liver_part
from analyzers.cta.scan import Scan, survey
from analyzers.cta.thresholds import DEFAULT
from tests.analyzers.cta_samples import trunk, volume

SPACING_MM = 2.0
SHAPE = (90, 140, 180)
HALF_AXES_MM = (100.0, 150.0)


def ellipse_radius() -> NDArray[np.float32]:
    """Distance from the trunk's axis as a share of the way to the skin, (y, x)."""
    y, x = np.indices(SHAPE[1:], dtype=np.float32)
    y_mm, x_mm = (y - SHAPE[1] / 2) * SPACING_MM, (x - SHAPE[2] / 2) * SPACING_MM
    return np.asarray(np.hypot(y_mm / HALF_AXES_MM[0], x_mm / HALF_AXES_MM[1]), np.float32)


def with_liver(liver_hu: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The trunk with a ball of liver that lies against the wall's inside, slightly blurred; and the ball."""
    z, y, x = np.indices(SHAPE, dtype=np.float32)
    distance_mm = SPACING_MM * np.sqrt(
        (z - SHAPE[0] / 2) ** 2 + (y - SHAPE[1] / 2 + 5.0) ** 2 + (x - SHAPE[2] / 2 + 32.0) ** 2
    )
    liver = (distance_mm < 70.0) & (ellipse_radius() < 0.83)
    hu = np.where(liver, np.float32(liver_hu), trunk(SHAPE, SPACING_MM, HALF_AXES_MM))
    noise = np.random.default_rng(8).normal(0.0, 8.0, SHAPE)
    return np.asarray(ndimage.gaussian_filter(hu, 0.7) + noise, np.float32), liver


@pytest.mark.parametrize("liver_hu", [58.0, 115.0])
def test_liver_is_told_from_a_muscle_of_the_same_attenuation_that_it_touches(liver_hu: float) -> None:
    hu, liver = with_liver(liver_hu)
    scan = survey(volume(hu, (SPACING_MM, SPACING_MM, SPACING_MM)), DEFAULT)
    assert isinstance(scan, Scan)
    assert scan.liver_seed is not None

    on_grid = find_liver(scan.anatomy, scan.liver_seed, None, DEFAULT.liver.unenhanced_below_hu) > 0.5
    found = mask_on_source(on_grid, scan.anatomy.grid, scan.volume)

    assert found.sum() == pytest.approx(liver.sum(), rel=0.05)
    assert 2 * (found & liver).sum() / (found.sum() + liver.sum()) > 0.95


def test_wall_is_the_outside_of_the_muscles_and_holds_nothing_of_the_abdomen() -> None:
    hu, liver = with_liver(58.0)
    scan = volume(hu, (SPACING_MM, SPACING_MM, SPACING_MM))
    grid = patient_grid(scan, 3.0)
    body = find_body(grid, DEFAULT.tissue)
    assert body is not None

    wall = mask_on_source(outer_wall(grid, body, DEFAULT.tissue), grid, scan)

    muscle = np.broadcast_to((ellipse_radius() > 0.83) & (ellipse_radius() < 0.93), SHAPE)
    assert (wall & muscle).sum() > 0.3 * muscle.sum()
    assert not (wall & liver).any()


def test_where_the_field_of_view_cuts_the_trunk_its_border_is_not_taken_for_skin() -> None:
    hu, _ = with_liver(58.0)
    cropped = volume(hu[:, 40:100, 50:130], (SPACING_MM, SPACING_MM, SPACING_MM))
    grid = patient_grid(cropped, 3.0)
    body = find_body(grid, DEFAULT.tissue)
    assert body is not None

    assert not outer_wall(grid, body, DEFAULT.tissue).any()


def test_muscles_bound_the_liver_though_the_field_of_view_cuts_the_other_side() -> None:
    hu, liver = with_liver(58.0)
    seen = slice(0, 110)
    scan = volume(hu[:, :, seen], (SPACING_MM, SPACING_MM, SPACING_MM))
    grid = patient_grid(scan, 3.0)
    body = find_body(grid, DEFAULT.tissue)
    assert body is not None

    wall = mask_on_source(outer_wall(grid, body, DEFAULT.tissue), grid, scan)

    muscle = np.broadcast_to((ellipse_radius() > 0.83) & (ellipse_radius() < 0.93), SHAPE)[:, :, seen]
    assert (wall & muscle).sum() > 0.3 * muscle.sum()
    assert not (wall & liver[:, :, seen]).any()


def test_a_mask_on_a_tilted_scan_does_not_go_on_beyond_its_planes() -> None:
    hu, _ = with_liver(58.0)
    scan = volume(hu, (SPACING_MM, SPACING_MM, SPACING_MM))
    scan.affine_lps[2, 1] = 0.4
    grid = patient_grid(scan, 3.0)

    share = share_on_grid(np.ones(SHAPE, bool), scan, grid)

    assert share[grid.inside_zyx].min() > 0.99
    assert not share[~grid.inside_zyx].any()


def test_a_part_of_the_volume_is_copied_as_in_the_whole() -> None:
    hu, _ = with_liver(58.0)
    scan = volume(hu, (SPACING_MM, SPACING_MM, SPACING_MM))
    whole = patient_grid(scan, 3.0)
    low = whole.origin_lps_mm + np.array([30.0, 60.0, -np.inf])
    high = whole.origin_lps_mm + np.array([150.0, 180.0, np.inf])

    part = patient_grid(scan, 3.0, (low, high))

    assert part.hu_zyx.shape == (len(whole.hu_zyx), 41, 41)
    assert part.hu_zyx == pytest.approx(whole.hu_zyx[:, 20:61, 10:51], abs=0.01)


@pytest.mark.parametrize("padded", [False, True])
def test_a_liver_cut_sideways_by_the_field_or_its_circle_is_at_least_so_large(padded: bool) -> None:
    hu, liver = with_liver(115.0)
    columns = 46
    spacing_zyx_mm = (SPACING_MM, SPACING_MM, SPACING_MM)
    if padded:
        padding = np.zeros(SHAPE, bool)
        padding[:, :, :columns] = True
        seen = replace(volume(np.where(padding, np.float32(-1000.0), hu), spacing_zyx_mm), padding_zyx=padding)
    else:
        seen = volume(hu[:, :, columns:], spacing_zyx_mm)
    within = float(liver[:, :, columns:].sum()) / liver.sum()
    assert 0.7 < within < 0.97

    whole, cut = (survey(scan, DEFAULT) for scan in (volume(hu, spacing_zyx_mm), seen))
    assert isinstance(whole, Scan)
    assert isinstance(cut, Scan)
    (before, after) = (liver_part(scan, (), DEFAULT.liver).measurements[0] for scan in (whole, cut))

    assert before.remark == ""
    assert after.grade is Grade.LIMITED
    assert after.remark.startswith("at least: the field of view cuts the liver sideways")
    assert after.value == pytest.approx(within * before.value, rel=0.05)
