"""The bones: bright voxels with a cortical shell, enhanced vessels and organs left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.ct_anatomy.body import Body
from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.ct_anatomy.spine import Spine
from analyzers.ct_anatomy.thresholds import TissueThresholds

_CORTEX_SHARE = 0.12
"""Share of source voxels: noise on enhanced blood stays below."""
_SMALLEST_ML = 0.4
_SHELL_SHARE = 0.04
"""Share of a bone's voxels that are cortical; enhanced kidneys, bowel and heart have next to none."""
_REACH_MM = 8.0
"""Spongy bone lies within this of its cortex, except in a vertebral body, which is filled from its outline."""


def find_bones(
    grid: PatientGrid,
    body: Body,
    spine: Spine,
    cortex_share_zyx: NDArray[np.float32],
    not_bone_zyx: NDArray[np.bool_],
    thresholds: TissueThresholds,
) -> NDArray[np.bool_]:
    """Outline the skeleton on a patient grid, (z, y, x) bool.

    Parameters
    ----------
    cortex_share_zyx : (z, y, x) float32
        Share of the source voxels in each grid voxel that are as bright as cortical bone.
    not_bone_zyx : (z, y, x) bool
        What is known to be something else: aorta, pump, liver.
    """
    inside = body.mask_zyx & ~not_bone_zyx
    cortex = (cortex_share_zyx > _CORTEX_SHARE) & inside
    bright = (grid.hu_zyx > thresholds.bone_above_hu) & inside
    near_cortex = ndimage.distance_transform_edt(~cortex) * grid.spacing_mm <= _REACH_MM
    rows = np.arange(bright.shape[1])[None, :, None]
    columns = np.arange(bright.shape[2])[None, None, :]
    beside = np.abs(columns - spine.x[:, None, None]) * grid.spacing_mm < 30.0
    vertebral = beside & (rows > (spine.front_y - 2.0)[:, None, None])
    labels, count = ndimage.label(bright & (near_cortex | vertebral))
    if count == 0:
        return np.zeros_like(bright)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    # A catheter, a clip or a stent is a line on this grid, a rib is not: it has an inside.
    insides = np.bincount(labels[ndimage.binary_erosion(labels > 0)], minlength=count + 1)
    shells = np.bincount(labels[cortex], minlength=count + 1)
    kept = (sizes * grid.voxel_ml >= _SMALLEST_ML) & (shells >= _SHELL_SHARE * sizes) & (insides > 0)
    kept[0] = False
    bones = kept[labels]
    return np.stack([ndimage.binary_fill_holes(plane) for plane in ndimage.binary_closing(bones)]) & inside
