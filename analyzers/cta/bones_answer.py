"""The skeleton of one scan, found on the organ grid and brought to the source voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.ct_anatomy.patient_grid import field_on_source, share_on_grid
from analyzers.cta.bones import find_bones
from analyzers.cta.lumen import lumen_mask, lumen_sections
from analyzers.cta.part import Part, segment
from analyzers.cta.scan import Scan
from analyzers.cta.thresholds import CtaThresholds

_BONES_RGB = (241, 214, 145)


def bones_part(scan: Scan, bones_zyx: NDArray[np.bool_]) -> Part:
    """The segment of the skeleton, if there is any."""
    bones = bones_on_source(scan, bones_zyx)
    if not bones.any():
        return Part(found=False)
    return Part(found=True, segments=(segment("bones", "Bones", vocabulary.BONE, bones, scan.volume, _BONES_RGB),))


def bones_on_grid(scan: Scan, thresholds: CtaThresholds) -> NDArray[np.bool_]:
    """The skeleton on the organ grid, (z, y, x), without pump and aorta."""
    grid = scan.anatomy.grid
    cortex = share_on_grid(scan.volume.voxels_zyx > thresholds.tissue.cortical_above_hu, scan.volume, grid)
    metal = share_on_grid(scan.volume.voxels_zyx > thresholds.tissue.metal_above_hu, scan.volume, grid) > 0.05
    not_bone = ndimage.binary_dilation(metal, iterations=grid.voxels(6.0)) & (
        scan.anatomy.body.depth_mm_zyx < thresholds.device.deepest_centre_mm
    )
    if scan.aorta is not None:
        aorta = share_on_grid(lumen_mask(scan.volume, lumen_sections(scan.volume, scan.aorta)), scan.volume, grid)
        not_bone |= aorta > 0.3
    return find_bones(grid, scan.anatomy.body, scan.anatomy.spine, cortex, not_bone, thresholds.tissue)


def bones_on_source(scan: Scan, bones_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A skeleton on the organ grid brought to the source voxels, (z, y, x)."""
    field = ndimage.gaussian_filter(bones_zyx.astype(np.float32), 0.5)
    return np.asarray(field_on_source(field, scan.anatomy.grid, scan.volume) >= 0.5)
