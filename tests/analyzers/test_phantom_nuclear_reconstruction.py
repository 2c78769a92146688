"""The reconstruction of phantom tomographies: it turns as the camera does, and gives back what was projected."""

import numpy as np
import pytest
from scipy import ndimage

from analyzers.phantoms.nuclear_camera import turned
from analyzers.phantoms.nuclear_reconstruction import Effort, Projections, reconstruct, turning_matrix

WIDTH, VOXEL_MM = 40, 6.0
ANGLES = tuple(float(angle) for angle in np.arange(0.0, 360.0, 15.0))


def smooth_map(seed: int = 3) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    field = np.random.default_rng(seed).random((3, WIDTH, WIDTH))
    y, x = np.indices((WIDTH, WIDTH)) - (WIDTH - 1) / 2
    return np.asarray(ndimage.gaussian_filter(field * (np.hypot(y, x) < 13), (0, 2, 2)), np.float32)


@pytest.mark.parametrize("angle_deg", [0.0, 37.5, 90.0, 180.0, 262.5])
def test_the_sparse_turn_is_the_camera_s_turn(angle_deg: float) -> None:
    image = smooth_map()
    sparse_turn = (turning_matrix(angle_deg, WIDTH) @ image.reshape(3, -1).T).T.reshape(image.shape)
    np.testing.assert_allclose(sparse_turn, turned(image, angle_deg), atol=1e-3)


def projections(activity: np.ndarray[tuple[int, int, int], np.dtype[np.float32]], per_mm: float) -> Projections:
    attenuation = np.asarray((activity > 0) * per_mm, np.float32)
    counts = []
    for angle in ANGLES:
        faced = turned(attenuation, angle)
        depth = (np.cumsum(faced, axis=1) - faced / 2) * VOXEL_MM
        counts.append((turned(activity, angle) * np.exp(-depth)).sum(axis=1))
    images = np.asarray(np.stack(counts), np.float32)
    return Projections(counts=images, scatter=np.zeros_like(images), angles_deg=ANGLES)


@pytest.mark.parametrize("per_mm", [0.0, 0.012])
def test_what_was_projected_comes_back_once_its_attenuation_is_known(per_mm: float) -> None:
    activity = 100.0 * smooth_map()
    attenuation = np.asarray((activity > 0) * per_mm, np.float32)
    image = reconstruct(projections(activity, per_mm), attenuation, VOXEL_MM, Effort(iterations=8, subsets=4))
    inside = activity > 0.3 * activity.max()
    assert image[inside].mean() == pytest.approx(activity[inside].mean(), rel=0.05)
    assert np.corrcoef(image[inside], activity[inside])[0, 1] > 0.9


def test_without_correction_the_depth_is_lost() -> None:
    activity = 100.0 * smooth_map()
    image = reconstruct(projections(activity, 0.012), None, VOXEL_MM, Effort(iterations=8, subsets=4))
    inside = activity > 0.3 * activity.max()
    assert image[inside].mean() < 0.6 * activity[inside].mean()
