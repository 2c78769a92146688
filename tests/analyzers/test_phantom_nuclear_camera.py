"""The camera of the scintigraphy phantom obeys the physics that it claims."""

import numpy as np
import pytest

from analyzers.phantoms.nuclear_camera import (
    GENERAL_PURPOSE,
    HIGH_RESOLUTION,
    Camera,
    field_of_view,
    project,
    turned,
)
from analyzers.phantoms.nuclear_scene import counted
from analyzers.phantoms.nuclear_shapes import FloatArray, Grid, ellipsoid_mm, occupancy_of, smooth_noise_zyx, tube_mm
from analyzers.phantoms.request import Model

PIXEL_MM = 2.0
WATER_PER_MM = 0.0154


def _camera(model: Model = "development") -> Camera:
    return Camera(collimator=HIGH_RESOLUTION, pixel_mm=PIXEL_MM, gap_mm=10.0, model=model)


def _point(depth_index: int, shape: tuple[int, int, int] = (81, 60, 81)) -> FloatArray:
    activity = np.zeros(shape, np.float32)
    activity[40, depth_index, 40] = 1.0
    return activity


def _fwhm_mm(profile: FloatArray) -> float:
    """Full width at half maximum of a centred, sampled peak, by linear interpolation."""
    half = profile.max() / 2
    inside = np.flatnonzero(profile >= half)
    first, last = inside[0], inside[-1]
    left = first - (profile[first] - half) / (profile[first] - profile[first - 1])
    right = last + (profile[last] - half) / (profile[last] - profile[last + 1])
    return float((right - left) * PIXEL_MM)


def test_resolution_follows_the_collimator_with_distance() -> None:
    tissue = np.full((81, 60, 81), 0.006, np.float32)
    for depth_index in (5, 30, 55):
        image = project(_point(depth_index), tissue, _camera()).primary
        distance_mm = 10.0 + (depth_index + 0.5) * PIXEL_MM
        assert _fwhm_mm(image[40]) == pytest.approx(HIGH_RESOLUTION.fwhm_mm(distance_mm), rel=0.05)


def test_high_resolution_is_about_7_mm_at_10_cm_and_general_purpose_is_coarser_and_more_sensitive() -> None:
    assert 6.5 < HIGH_RESOLUTION.fwhm_mm(100) < 8.0
    assert GENERAL_PURPOSE.fwhm_mm(100) > HIGH_RESOLUTION.fwhm_mm(100)
    assert GENERAL_PURPOSE.sensitivity_cps_per_mbq > HIGH_RESOLUTION.sensitivity_cps_per_mbq


@pytest.mark.parametrize("model", ["development", "evaluation"])
def test_unscattered_photons_are_attenuated_exponentially(model: Model) -> None:
    water = np.full((81, 60, 81), WATER_PER_MM, np.float32)
    for depth_index in (5, 25, 45):
        seen = project(_point(depth_index), water, _camera(model)).primary.sum(dtype=np.float64)
        expected = np.exp(-WATER_PER_MM * PIXEL_MM * (depth_index + 0.5))
        # A penetration tail may leave the small image.
        assert seen == pytest.approx(expected, rel=0.02)


def test_in_air_every_emission_is_counted_once() -> None:
    air = np.zeros((81, 60, 81), np.float32)
    seen = project(_point(30), air, _camera())
    assert seen.primary.sum(dtype=np.float64) == pytest.approx(1.0, rel=1e-3)
    assert seen.scatter.sum(dtype=np.float64) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("model", ["development", "evaluation"])
def test_scatter_grows_with_depth_and_is_broader_than_the_peak(model: Model) -> None:
    water = np.full((81, 60, 81), WATER_PER_MM, np.float32)
    shallow, deep = (project(_point(index), water, _camera(model)) for index in (8, 50))
    ratios = [view.scatter.sum(dtype=np.float64) / view.primary.sum(dtype=np.float64) for view in (shallow, deep)]
    assert ratios[1] > 2 * ratios[0]
    assert 0.2 < ratios[1] < 0.6
    assert deep.scatter.max() / deep.scatter.sum() < 0.2 * deep.primary.max() / deep.primary.sum()


def test_the_two_forward_models_differ_in_their_tails() -> None:
    air = np.full((81, 60, 81), 0.006, np.float32)
    narrow, tailed = (project(_point(30), air, _camera(model)).primary for model in ("development", "evaluation"))
    ring = np.hypot(*(np.indices(narrow.shape) - 40)) * PIXEL_MM > 30
    assert narrow[ring].sum() < 1e-3 * narrow.sum()
    assert tailed[ring].sum() > 0.01 * tailed.sum()


@pytest.mark.parametrize("start_angle_deg", [0.0, 90.0, 180.0, 270.0])
def test_turning_by_any_angle_agrees_with_the_quarter_turns(start_angle_deg: float) -> None:
    y, x = np.mgrid[-31.5:32, -31.5:32]
    blob = np.exp(-((x - 9) ** 2 + (y + 4) ** 2) / 60.0) + 0.5 * np.exp(-((x + 12) ** 2 + (y - 8) ** 2) / 40.0)
    volume = np.stack([blob, 2 * blob]).astype(np.float32)
    np.testing.assert_allclose(turned(volume, start_angle_deg + 0.01), turned(volume, start_angle_deg), atol=0.02)


def test_start_angles_put_the_named_side_before_the_detector() -> None:
    marked = {0.0: (-1, 32), 90.0: (32, -1), 180.0: (0, 32), 270.0: (32, 0)}
    for start_angle_deg, (y, x) in marked.items():
        volume = np.zeros((1, 64, 64), np.float32)
        volume[0, y, x] = 1.0
        assert np.argmax(turned(volume, start_angle_deg).sum(axis=(0, 2))) == 0, start_angle_deg


def test_counts_are_poisson_distributed() -> None:
    counts = counted(np.full((300, 300), 20.0, np.float32), np.random.default_rng(1)).astype(float)
    assert counts.mean() == pytest.approx(20.0, rel=0.01)
    assert counts.var() == pytest.approx(20.0, rel=0.05)


def test_the_crystal_sees_its_rectangle_without_the_corners() -> None:
    seen = field_of_view((128, 128), 4.8, 540.0, 400.0)
    assert seen[64, 64]
    assert not seen[0, 64]
    assert not seen[23, 8]
    assert seen[64, 10]


def test_occupancy_measures_volume_below_the_voxel_size() -> None:
    grid = Grid(voxel_mm=4.8, shape_zyx=(40, 40, 40), first_centre_lps_mm=(-93.6, -93.6, -93.6))
    z, y, x = np.meshgrid(*(grid.axis_mm(axis) for axis in range(3)), indexing="ij")
    sphere = occupancy_of(ellipsoid_mm((x, y, z), (1.3, 0.4, -0.7), (40, 40, 40)), 4.8)
    assert sphere.sum() * 4.8**3 == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.005)
    tube = occupancy_of(tube_mm((x, y, z), [(-50, 0, 0, 12), (50, 0, 0, 12)]), 4.8)
    assert tube.sum() * 4.8**3 == pytest.approx(np.pi * 12**2 * 100 + 4 / 3 * np.pi * 12**3, rel=0.02)


def test_random_texture_does_not_depend_on_the_grid_that_samples_it() -> None:
    wide = Grid(voxel_mm=5.0, shape_zyx=(40, 30, 40), first_centre_lps_mm=(-100.0, -75.0, -100.0))
    part = Grid(voxel_mm=2.5, shape_zyx=(20, 20, 20), first_centre_lps_mm=(-50.0, -25.0, -50.0))
    whole, fine = (smooth_noise_zyx(grid, 40.0, np.random.default_rng(3)) for grid in (wide, part))
    np.testing.assert_allclose(fine[::2, ::2, ::2], whole[10:20, 10:20, 10:20], atol=1e-4)
    assert 0.7 < whole.std() < 1.3
