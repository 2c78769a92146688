"""The liver's surface on the source voxels: half way between the liver and what lies outside, place by place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.mri.patient_grid import largest_part

_BAND_MM = 5.0
_SURE_MM = 3.0
_OUTSIDE_MM = 9.0
_LOCAL_MM = 8.0
_MARGIN_MM = 20.0
_LEAST_STEP_FRACTION = 0.12


def refined_surface(
    values_zyx: NDArray[np.float32], mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Move the surface of a mask to the edge that the image shows.

    Voxels within 5 mm of the surface go to the side whose local mean is nearer. Where inside and outside are alike, the
    surface stays.

    Parameters
    ----------
    values_zyx : (z, y, x) float32
        Bias-corrected intensity.
    mask_zyx : (z, y, x) bool
        The organ, right to within the band.
    spacing_zyx_mm : tuple of float
        Voxel edges in mm.
    """
    found = ndimage.find_objects(mask_zyx.astype(np.uint8))
    if not found:
        return mask_zyx.copy()
    box = tuple(
        slice(max(0, part.start - int(_MARGIN_MM / step)), part.stop + int(_MARGIN_MM / step))
        for part, step in zip(found[0], spacing_zyx_mm, strict=True)
    )
    values, mask = values_zyx[box], mask_zyx[box]
    # Edges of the box count as inside for the depth, so that a scan's end is no surface.
    depth = ndimage.distance_transform_edt(mask, spacing_zyx_mm)
    height = ndimage.distance_transform_edt(~mask, spacing_zyx_mm)
    sigmas = [_LOCAL_MM / step for step in spacing_zyx_mm]
    inside = _local_mean(values, depth > _SURE_MM, sigmas)
    outside = _local_mean(values, (height > _SURE_MM) & (height <= _OUTSIDE_MM), sigmas)
    band = ((depth > 0) & (depth <= _BAND_MM)) | ((height > 0) & (height <= _BAND_MM))
    telling = band & (np.abs(inside - outside) > _LEAST_STEP_FRACTION * np.abs(inside))
    nearer = np.abs(values - inside) < np.abs(values - outside)
    moved = np.where(telling, nearer, mask)
    smooth = ndimage.gaussian_filter(moved.astype(np.float32), [0.0, 0.8, 0.8]) >= 0.5
    result = np.zeros_like(mask_zyx)
    # What the band cannot reach (vessels, lesions deep inside) stays.
    result[box] = largest_part(smooth | (mask & (depth > _BAND_MM)))
    return result


def _local_mean(values: NDArray[np.float32], where: NDArray[np.bool_], sigmas: list[float]) -> NDArray[np.float32]:
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigmas, truncate=2.5)
    total = ndimage.gaussian_filter(values * where, sigmas, truncate=2.5)
    overall = float(values[where].mean()) if where.any() else 0.0
    mean: NDArray[np.float32] = np.where(weight > 1e-4, total / np.maximum(weight, 1e-4), overall)
    return mean
