"""Where a liver can lie: inside the rib cage, and below it in front of the spine.

Muscle between the ribs, the psoas and the muscles of the loin look like an unenhanced liver on a noisy scan.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from analyzers.ct_anatomy.liver import Anatomy
from analyzers.ct_anatomy.thresholds import TissueThresholds

_RIB_DISTANCE_MM = 30.0
"""From one rib to the next, so that each slab of this height holds bone on all sides. Anatomy."""
_RIB_MM = 9.0
"""Thickness of a rib with the muscle and pleura inside of it. Anatomy."""
_LEAST_SHARE = 0.55
"""Of the trunk's area that the hull must cover; below the costal arch it does not, and bounds nothing."""


def room_for_liver(anatomy: Anatomy, thresholds: TissueThresholds) -> NDArray[np.bool_]:
    """Where ribs and spine leave room for a liver, (z, y, x) bool.

    In planes that ribs surround it is what they enclose. Below, what lies behind the front of the vertebral bodies is
    kidney and muscle; above, nothing is excluded.
    """
    grid = anatomy.grid
    bone = (grid.hu_zyx > thresholds.bone_above_hu) & anatomy.body.mask_zyx
    slab = ndimage.maximum_filter1d(bone.astype(np.uint8), grid.voxels(_RIB_DISTANCE_MM), axis=0) > 0
    inside = np.ones_like(bone)
    surrounded = np.zeros(len(bone), np.bool_)
    for z, plane in enumerate(slab):
        trunk = anatomy.body.mask_zyx[z]
        if plane.sum() < 3 or not trunk.any():
            continue
        hull = convex_hull_image(plane) & trunk
        if hull.sum() < _LEAST_SHARE * trunk.sum():
            continue
        surrounded[z] = True
        inside[z] = ndimage.distance_transform_edt(hull) * grid.spacing_mm > _RIB_MM
    rows = np.arange(bone.shape[1])[:, None]
    below = int(np.flatnonzero(surrounded)[0]) if surrounded.any() else 0
    for z in range(below):
        inside[z] &= rows < anatomy.spine.front_y[z]
    return inside
