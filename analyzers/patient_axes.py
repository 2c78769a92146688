"""From the index axes of a volume to the patient's own, for coarse copies on which anatomy is named by direction.

A copy has cubic voxels whose index axes are the patient's (LPS): z runs from the feet to the head, y from front to
back, x from right to left. An index map takes indices of the copy to (fractional) indices of the source; it is what
:func:`scipy.ndimage.affine_transform` asks for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyzers.volume import Volume


def extent_lps_mm(volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper corner of the box along the patient's axes that holds every voxel centre, (3,) x, y, z."""
    last = np.array(volume.voxels_zyx.shape) - 1
    corners = np.array([[z, y, x] for z in (0, last[0]) for y in (0, last[1]) for x in (0, last[2])], float)
    points_lps_mm = volume.to_lps_mm(corners)
    return points_lps_mm.min(axis=0), points_lps_mm.max(axis=0)


def index_map_from_copy(
    affine_lps: NDArray[np.float64], origin_lps_mm: NDArray[np.float64], spacing_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and offset that take indices (z, y, x) of a copy to those of the source.

    Parameters
    ----------
    affine_lps : (4, 4) float64
        Of the source: indices (x, y, z) to LPS mm.
    origin_lps_mm : (3,) float64
        Centre of the copy's voxel (0, 0, 0), as x, y, z.
    spacing_mm : float
        Edge of the copy's voxels.
    """
    inverse = np.asarray(np.linalg.inv(affine_lps[:3, :3]), np.float64)
    # Index order is reversed on both sides.
    matrix = (inverse * spacing_mm)[::-1, ::-1]
    offset = (inverse @ (origin_lps_mm - affine_lps[:3, 3]))[::-1]
    return np.asarray(matrix, np.float64), np.asarray(offset, np.float64)


def index_map_to_copy(
    affine_lps: NDArray[np.float64], origin_lps_mm: NDArray[np.float64], spacing_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The way back: matrix and offset that take indices (z, y, x) of the source to those of a copy."""
    matrix = (affine_lps[:3, :3] / spacing_mm)[::-1, ::-1]
    offset = ((affine_lps[:3, 3] - origin_lps_mm) / spacing_mm)[::-1]
    return np.asarray(matrix, np.float64), np.asarray(offset, np.float64)


def mapped_inside(
    source_shape: tuple[int, ...],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape_zyx: tuple[int, ...],
) -> NDArray[np.bool_]:
    """Where a copy of ``shape_zyx`` lies on voxels of the source: not more than half a voxel beyond the last centre."""
    inside = np.ones(shape_zyx, bool)
    ramps = np.ogrid[tuple(slice(0, size) for size in shape_zyx)]
    for axis, size in enumerate(source_shape):
        # Axes that do not take part stay flat, which keeps a straight grid cheap.
        parts = [matrix[axis, other] * ramps[other] for other in range(3) if abs(matrix[axis, other]) > 1e-9]
        index = offset[axis] + sum(parts)
        inside &= (index >= -0.5) & (index <= size - 0.5)
    return inside
