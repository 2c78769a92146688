"""The trunk surveyed before any organ is searched: outline, spine, lungs, wall, and attenuation without noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyzers.ct_anatomy.body import find_body
from analyzers.ct_anatomy.liver import Anatomy
from analyzers.ct_anatomy.lungs import find_lungs
from analyzers.ct_anatomy.patient_grid import PatientGrid, patient_grid
from analyzers.ct_anatomy.spine import find_spine
from analyzers.ct_anatomy.thresholds import TissueThresholds
from analyzers.ct_anatomy.wall import outer_wall
from analyzers.volume import Volume

ORGAN_GRID_MM = 3.0
"""Organs are found at this resolution; a liver's border moves by a fraction of it."""


def survey_trunk(volume: Volume, thresholds: TissueThresholds, spacing_mm: float = ORGAN_GRID_MM) -> Anatomy | str:
    """Survey one volume; the reason in words if it shows no trunk.

    Parameters
    ----------
    volume : Volume
        CT in HU.
    thresholds : TissueThresholds
    spacing_mm : float
        Edge of the voxels on which organs are to be found.
    """
    grid = patient_grid(volume, spacing_mm)
    body = find_body(grid, thresholds)
    if body is None:
        return "no trunk in the images"
    width_mm = _trunk_width_mm(body.mask_zyx, grid)
    if width_mm < thresholds.narrowest_trunk_mm:
        return f"the body is only {width_mm:.0f} mm wide: a head or a limb, or a small field of view"
    spine = find_spine(grid, body, thresholds)
    if spine is None:
        return "no spine found to find the organs by"
    lungs = find_lungs(grid, body, spine.x, thresholds)
    wall = outer_wall(grid, body, thresholds)
    return Anatomy(grid=grid, body=body, lungs=lungs, spine=spine, wall_zyx=wall, smooth_hu_zyx=_smoothed(grid))


def _trunk_width_mm(body_zyx: NDArray[np.bool_], grid: PatientGrid) -> float:
    widths = body_zyx.any(axis=1).sum(axis=1) * grid.spacing_mm
    return float(np.percentile(widths[widths > 0], 75)) if (widths > 0).any() else 0.0


def _smoothed(grid: PatientGrid) -> NDArray[np.float32]:
    """Noise removed, borders kept (curvature anisotropic diffusion, Whitaker and Xue, ICIP 2001)."""
    import SimpleITK  # noqa: PLC0415 - studies without a CT do not pay for it

    image = SimpleITK.GetImageFromArray(np.clip(grid.hu_zyx, -200.0, 400.0).astype(np.float32))
    smooth = SimpleITK.CurvatureAnisotropicDiffusion(image, 0.0625, 2.0, 1, 6)  # type: ignore[no-untyped-call]
    return np.asarray(SimpleITK.GetArrayFromImage(smooth), np.float32)
