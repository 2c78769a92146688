"""How far one breath-hold lies from another: a shift of the liver, found on edges because contrasts differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

_REACH_MM = 27.0
"""Largest shift that is searched: the liver moves 10 to 25 mm between breath-holds (anatomy)."""
_LEAST_GAIN = 0.02
"""Rise of the correlation without which a shift is not believed."""


def shift_between(
    fixed_zyx: NDArray[np.float32],
    moving_zyx: NDArray[np.float32],
    region_zyx: NDArray[np.bool_],
    spacing_mm: float,
) -> NDArray[np.float64]:
    """Shift to add to a place in the fixed image to find it in the moving one.

    Parameters
    ----------
    fixed_zyx, moving_zyx : (z, y, x) float32
        On one patient grid; zero where a scan has no voxels.
    region_zyx : (z, y, x) bool
        The organ that counts; its surroundings within the reach count too.
    spacing_mm : float
        Edge of a voxel.

    Returns
    -------
    (3,) float64
        x, y, z in mm, LPS; a whole number of voxels, zero where no shift fits better than none.
    """
    reach = int(_REACH_MM / spacing_mm)
    box = ndimage.find_objects(region_zyx.astype(np.uint8))
    if not box:
        return np.zeros(3)
    wide = tuple(
        slice(max(0, part.start - reach), min(size, part.stop + reach))
        for part, size in zip(box[0], region_zyx.shape, strict=True)
    )
    fixed, moving = _edges(fixed_zyx[wide]), _edges(moving_zyx[wide])
    shape = [fft.next_fast_len(size + 2 * reach) for size in fixed.shape]
    product = np.conj(fft.rfftn(fixed, shape)) * fft.rfftn(moving, shape)
    correlation = fft.irfftn(product, shape)
    offsets = np.arange(-reach, reach + 1)
    near = correlation[np.ix_(offsets, offsets, offsets)]
    norm = float(np.linalg.norm(fixed) * np.linalg.norm(moving))
    if norm == 0.0:
        return np.zeros(3)
    best = np.unravel_index(int(near.argmax()), near.shape)
    if float(near[best] - near[reach, reach, reach]) / norm < _LEAST_GAIN:
        return np.zeros(3)
    return np.array([float(offsets[index]) * spacing_mm for index in reversed(best)])


def _edges(values_zyx: NDArray[np.float32]) -> NDArray[np.float32]:
    """Strength of edges, capped so that fat and skin do not outweigh the liver, without its mean."""
    strength = ndimage.gaussian_gradient_magnitude(values_zyx, 1.0)
    capped = np.minimum(strength, np.percentile(strength, 90.0))
    return np.asarray(capped - capped.mean(), np.float32)
