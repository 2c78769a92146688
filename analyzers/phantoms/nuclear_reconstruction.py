"""Ordered-subset expectation maximisation (Hudson and Larkin 1994) of parallel projections, attenuated or not.

The projector of the reconstruction knows no blur: the camera's resolution stays in the image, as it does on scanners
without resolution recovery. Slices perpendicular to the axis are reconstructed together; turning them all is one
product with a sparse matrix of bilinear weights.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from analyzers.phantoms.nuclear_camera import turned
from analyzers.phantoms.nuclear_shapes import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Projections:
    """What the camera counted on its way round the patient.

    Attributes
    ----------
    counts : (views, z, columns) float32
        z from feet to head, columns as the detector sees them.
    scatter : (views, z, columns) float32
        Estimate of the scattered counts among them; zero where none is subtracted.
    angles_deg : (views,) float64
        Start Angle of each view, as `turned` takes it.
    """

    counts: FloatArray
    scatter: FloatArray
    angles_deg: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long is iterated: ``subsets`` must divide the number of views."""

    iterations: int
    subsets: int


def reconstruct(
    projections: Projections, attenuation_per_mm_zyx: FloatArray | None, voxel_mm: float, effort: Effort
) -> FloatArray:
    """Activity per voxel in counts of one view, (z, y, x), on slices as wide as the projections.

    Parameters
    ----------
    projections : Projections
    attenuation_per_mm_zyx : (z, y, x) float32 or None
        Map to correct with; ``None`` reconstructs as if nothing were absorbed.
    voxel_mm : float
    effort : Effort
    """
    views, slices, width = projections.counts.shape
    ratio_of = [_Path(angle, width, attenuation_per_mm_zyx, voxel_mm) for angle in projections.angles_deg]
    measured = projections.counts.transpose(0, 2, 1)
    scatter = projections.scatter.transpose(0, 2, 1)
    estimate = np.ones((width * width, slices), np.float32)
    for _ in range(effort.iterations):
        for first in range(effort.subsets):
            subset = range(first, views, effort.subsets)
            gain, seen = np.zeros_like(estimate), np.zeros_like(estimate)
            for view in subset:
                path = ratio_of[view]
                expected = path.forward(estimate) + scatter[view] + np.float32(1e-3)
                gain += path.backward(measured[view] / expected)
                seen += path.backward(np.ones_like(expected))
            estimate *= gain / np.maximum(seen, 1e-4)
    # What no view sees well is not part of the image.
    return np.ascontiguousarray(estimate.reshape(width, width, slices).transpose(2, 0, 1))


class _Path:
    """One view's line integrals: turn, weaken by the tissue in front, sum along the rays; and the transpose of it."""

    def __init__(self, angle_deg: float, width: int, attenuation: FloatArray | None, voxel_mm: float) -> None:
        self._width = width
        self._turn = turning_matrix(angle_deg, width)
        self._survival: FloatArray | None = None
        if attenuation is not None:
            faced = turned(attenuation, angle_deg)
            depth = (np.cumsum(faced, axis=1, dtype=np.float32) - faced / 2) * np.float32(voxel_mm)
            self._survival = np.ascontiguousarray(np.exp(-depth).transpose(1, 2, 0), dtype=np.float32)

    def forward(self, estimate: FloatArray) -> FloatArray:
        """(y * x, z) to (x, z)."""
        faced = (self._turn @ estimate).reshape(self._width, self._width, -1)
        if self._survival is not None:
            faced = faced * self._survival
        return np.asarray(faced.sum(axis=0), np.float32)

    def backward(self, image: FloatArray) -> FloatArray:
        """(x, z) to (y * x, z)."""
        spread = np.broadcast_to(image, (self._width, *image.shape))
        if self._survival is not None:
            spread = spread * self._survival
        return np.asarray(self._turn.T @ spread.reshape(self._width**2, -1), np.float32)


@lru_cache(maxsize=128)
def turning_matrix(angle_deg: float, width: int) -> sparse.csr_matrix:
    """Bilinear weights that turn a flattened (y, x) slice as `turned` does."""
    turn = np.radians((180.0 - angle_deg) % 360.0)
    middle = (width - 1) / 2
    y, x = np.indices((width, width), np.float64).reshape(2, -1) - middle
    from_y = np.cos(turn) * y + np.sin(turn) * x + middle
    from_x = np.cos(turn) * x - np.sin(turn) * y + middle
    rows, columns, weights = [], [], []
    low_y, low_x = np.floor(from_y).astype(int), np.floor(from_x).astype(int)
    for step_y in (0, 1):
        for step_x in (0, 1):
            at_y, at_x = low_y + step_y, low_x + step_x
            weight = (1 - np.abs(from_y - at_y)) * (1 - np.abs(from_x - at_x))
            inside = (at_y >= 0) & (at_y < width) & (at_x >= 0) & (at_x < width)
            rows.append(np.flatnonzero(inside))
            columns.append((at_y * width + at_x)[inside])
            weights.append(weight[inside])
    return sparse.coo_matrix(
        (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns))),
        shape=(width**2, width**2),
    ).tocsr()
