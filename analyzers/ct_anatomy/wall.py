"""The muscular wall of the trunk: it may look like an unenhanced liver and touches it, but lies outside of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from analyzers.ct_anatomy.body import Body, disc, trunk_beyond
from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.ct_anatomy.thresholds import TissueThresholds

_SKIN_MM = 4.0
"""Skin, and the voxel in which it is blended with air."""
_GAP_MM = 15.0
"""Half of the widest gap between the muscles: the linea alba of a rectus diastasis."""
_STRAY_MM = 9.0
"""What stands out of the muscles by less than twice this is a vessel, a scar or a port in the subcutaneous fat."""
_LEAST_SOLIDITY = 0.85
"""Area divided by that of the convex hull: a trunk in section is nearly convex, an open ring of muscles is not."""


def outer_wall(grid: PatientGrid, body: Body, thresholds: TissueThresholds) -> NDArray[np.bool_]:
    """The outermost millimetres of what the subcutaneous fat surrounds, (z, y, x) bool: muscle, never liver.

    Empty in planes in which the muscles do not close a ring. Where the field of view cuts the trunk, the trunk is taken
    to go on, so that the border of the field is no skin.
    """
    low_hu, high_hu = thresholds.fat_hu
    fat = (grid.hu_zyx > low_hu) & (grid.hu_zyx < high_hu)
    lean = body.mask_zyx & ~fat & (body.depth_mm_zyx > _SKIN_MM)
    wall = np.zeros_like(lean)
    margin = grid.voxels(_GAP_MM) + 1
    inner = (slice(margin, -margin),) * 2
    for z, plane in enumerate(lean):
        if not plane.any():
            continue
        framed = np.pad(plane, margin) | trunk_beyond(body.mask_zyx[z], grid.inside_zyx[z], margin)
        within = _surrounded(framed, grid)
        if within.any() and within.sum() >= _LEAST_SOLIDITY * convex_hull_image(within).sum():
            depth_mm = ndimage.distance_transform_edt(within) * grid.spacing_mm
            wall[z] = body.mask_zyx[z] & (within & (depth_mm <= thresholds.thinnest_wall_mm))[inner]
    return wall


def _surrounded(lean: NDArray[np.bool_], grid: PatientGrid) -> NDArray[np.bool_]:
    """Everything inside of the ring of muscles in one plane, the fat of the abdomen included."""
    closed = ndimage.binary_closing(lean, disc(grid.voxels(_GAP_MM)))
    filled = ndimage.binary_fill_holes(closed | lean)
    within: NDArray[np.bool_] = ndimage.binary_opening(filled, disc(grid.voxels(_STRAY_MM)))
    return within
