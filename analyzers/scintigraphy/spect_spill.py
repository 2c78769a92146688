"""What the liver's own activity spills over its outline in a SPECT: the background of every focus beside it.

The camera's blur and breathing carry counts over the outline, far enough to hide a focus and to look like one. The
activity inside the outline is restored by a few multiplicative steps (Richardson 1972, Lucy 1974), blurred again, and
what lies beyond the outline is the spill. Its width is the one of four that leaves the least behind just outside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SIGMA_Z_MM, _SIGMA_IN_PLANE_MM = 8.0, 6.5
"""Standard deviation of a reconstruction of 15 mm resolution; along the body breathing of 10 mm is added."""
_WIDTHS = (0.8, 1.0, 1.2, 1.4)
_STEPS = 5
_SHELL_MM = (6.0, 14.0)
_ROUND_MM = 40.0


def spill_of_liver(
    counts_zyx: NDArray[np.float32],
    liver_zyx: NDArray[np.bool_],
    from_liver_mm_zyx: NDArray[np.float64],
    spacing_zyx_mm: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Expected counts of the liver alone, inside and outside its outline, (z, y, x).

    Parameters
    ----------
    counts_zyx : (z, y, x) float32
        Smoothed counts, not negative.
    liver_zyx : (z, y, x) bool
    from_liver_mm_zyx : (z, y, x) float64
        Distance to the liver's outline outside of it.
    spacing_zyx_mm : three float
    """
    shell = (from_liver_mm_zyx > _SHELL_MM[0]) & (from_liver_mm_zyx < _SHELL_MM[1])
    best, least = np.zeros_like(counts_zyx), np.inf
    for width in _WIDTHS:
        model = _restored(counts_zyx, liver_zyx, width, spacing_zyx_mm)
        # The median is not moved by a focus in the shell.
        left_over = float(np.median(np.abs(counts_zyx[shell] - model[shell]))) if shell.any() else 0.0
        if left_over < least:
            best, least = model, left_over
    return best


def spill_of_lungs(
    counts_zyx: NDArray[np.float32], lungs_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Expected counts of the lungs alone, at most twice their median level: what is hotter is not theirs."""
    if not lungs_zyx.any():
        return np.zeros_like(counts_zyx)
    level = np.float32(2.0 * float(np.median(counts_zyx[lungs_zyx])))
    own = np.where(lungs_zyx, np.minimum(counts_zyx, level), np.float32(0.0))
    return np.asarray(ndimage.gaussian_filter(own, spread_sigmas(1.0, spacing_zyx_mm), truncate=3.0), np.float32)


def spread_sigmas(width: float, spacing: tuple[float, float, float]) -> tuple[float, ...]:
    """Standard deviations of blur and breathing in voxels, (z, y, x), times ``width``."""
    lengths = (_SIGMA_Z_MM, _SIGMA_IN_PLANE_MM, _SIGMA_IN_PLANE_MM)
    return tuple(width * length / step for length, step in zip(lengths, spacing, strict=True))


def box_round(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """Index box of a mask with room for blur on all sides, (z, y, x)."""
    found = ndimage.find_objects(mask.astype(np.int8))[0]
    z, y, x = (
        slice(max(0, part.start - int(_ROUND_MM / step)), min(size, part.stop + int(_ROUND_MM / step)))
        for part, step, size in zip(found, spacing, mask.shape, strict=True)
    )
    return z, y, x


def _restored(
    counts: NDArray[np.float32], liver: NDArray[np.bool_], width: float, spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    sigma = spread_sigmas(width, spacing)
    activity = np.where(liver, counts, 0.0).astype(np.float32)
    blurred = ndimage.gaussian_filter(activity, sigma, truncate=3.0)
    for _ in range(_STEPS):
        ratio = np.clip(counts / np.maximum(blurred, 1e-6), 0.3, 3.0)
        activity *= np.where(liver, ratio, 0.0).astype(np.float32)
        blurred = ndimage.gaussian_filter(activity, sigma, truncate=3.0)
    return np.asarray(blurred, np.float32)
