"""The muscular wall of the trunk: it may look like an unenhanced liver and touches it, but lies outside of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from analyzers.cta.body import Body, disc
from analyzers.cta.patient_grid import PatientGrid
from analyzers.cta.thresholds import TissueThresholds

_SKIN_MM = 4.0
"""Skin, and the voxel in which it is blended with air."""
_GAP_MM = 15.0
"""Half of the widest gap between the muscles: the linea alba of a rectus diastasis."""
_STRAY_MM = 9.0
"""What stands out of the muscles by less than twice this is a vessel, a scar or a port in the subcutaneous fat."""
_BORDER_VOXELS = 3
_LONGEST_CONTACT_MM = 60.0
"""Along the border of the field; more means that a part of the trunk is missing."""
_LEAST_SOLIDITY = 0.85
"""Area divided by that of the convex hull: a trunk in section is nearly convex, an open ring of muscles is not."""


def outer_wall(grid: PatientGrid, body: Body, thresholds: TissueThresholds) -> NDArray[np.bool_]:
    """The outermost millimetres of what the subcutaneous fat surrounds, (z, y, x) bool: muscle, never liver.

    Empty in planes in which the muscles do not close a ring, or the field of view cuts it.
    """
    low_hu, high_hu = thresholds.fat_hu
    fat = (grid.hu_zyx > low_hu) & (grid.hu_zyx < high_hu)
    lean = body.mask_zyx & ~fat & (body.depth_mm_zyx > _SKIN_MM)
    wall = np.zeros_like(lean)
    for z, plane in enumerate(lean):
        if _cut_by_the_field(body.mask_zyx[z], grid.inside_zyx[z], grid.spacing_mm):
            continue
        within = _surrounded(plane, grid)
        if within.any() and within.sum() >= _LEAST_SOLIDITY * convex_hull_image(within).sum():
            depth_mm = ndimage.distance_transform_edt(np.pad(within, 1))[1:-1, 1:-1] * grid.spacing_mm
            wall[z] = within & (depth_mm <= thresholds.thinnest_wall_mm)
    return wall


def _cut_by_the_field(trunk: NDArray[np.bool_], inside: NDArray[np.bool_], spacing_mm: float) -> bool:
    """Whether the trunk lies along the border of the scanned field in one plane."""
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    along_border = trunk & (depth > 0) & (depth <= _BORDER_VOXELS)
    return bool(along_border.sum() / _BORDER_VOXELS * spacing_mm > _LONGEST_CONTACT_MM)


def _surrounded(lean: NDArray[np.bool_], grid: PatientGrid) -> NDArray[np.bool_]:
    """Everything inside of the ring of muscles in one plane, the fat of the abdomen included."""
    reach = grid.voxels(_GAP_MM)
    closed = ndimage.binary_closing(np.pad(lean, reach + 1), disc(reach))
    solid = ndimage.binary_opening(ndimage.binary_fill_holes(closed), disc(grid.voxels(_STRAY_MM)))
    within: NDArray[np.bool_] = solid[reach + 1 : -reach - 1, reach + 1 : -reach - 1]
    return within
