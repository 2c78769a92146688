"""Lesions at the liver's surface, which parenchyma does not enclose: tissue in a bay, bright in diffusion.

A large lesion under the capsule leaves a bay in what looks like parenchyma. Kidney, stomach and spleen lie in bays too,
but most of them lies outside; bile is dark at high b values. So a bay is liver where a solid region that is bright in
diffusion and darker than parenchyma in T1 lies nearly whole inside of the liver's hull.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.mri.bias import fitted_bias
from analyzers.mri.body import Body
from analyzers.mri.liver import Liver
from analyzers.mri.patient_grid import PatientGrid, closed, dilated, eroded, largest_part
from analyzers.mri.thresholds import LiverThresholds


def with_bays(
    liver: Liver,
    reference_zyx: NDArray[np.float32],
    diffusion_zyx: NDArray[np.float32],
    seen_zyx: NDArray[np.bool_],
    body: Body,
    grid: PatientGrid,
    settings: LiverThresholds,
) -> Liver:
    """Add the lesions in bays to a liver.

    Parameters
    ----------
    reference_zyx, diffusion_zyx : (z, y, x) float32
        As received, on the patient grid, diffusion moved to the reference's breath-hold.
    seen_zyx : (z, y, x) bool
        Where diffusion has voxels.
    """
    outlined = np.asarray(liver.field_zyx >= 0.5)
    sample = liver.parenchyma_zyx & seen_zyx
    if np.count_nonzero(sample) < 1000:
        return liver
    even = diffusion_zyx / fitted_bias(diffusion_zyx, sample, grid.spacing_mm, degree=2)
    bright = even / max(float(np.median(even[sample])), 1e-6) > settings.bay_diffusion_level
    relative = reference_zyx / (liver.bias_zyx * max(liver.level, 1e-6))
    low, high = settings.bay_reference_level
    dark = (relative > low) & (relative < high)
    hull = closed(outlined, grid.voxels(settings.bay_closing_mm)) & body.mask_zyx
    tissue = bright & dark & seen_zyx & body.mask_zyx
    cores, _ = ndimage.label(eroded(tissue, grid.voxels(settings.bay_core_mm)))
    added = np.zeros_like(outlined)
    for number in np.unique(cores[hull & ~outlined & (cores > 0)]):
        lesion = tissue & dilated(cores == number, grid.voxels(settings.bay_core_mm) + 1.0)
        if float(hull[lesion].mean()) >= settings.bay_least_inside_fraction and _faces(lesion, outlined, settings):
            added |= lesion
    if not added.any():
        return liver
    whole = largest_part(closed(outlined | added, grid.voxels(settings.neck_mm)) & hull)
    field = np.clip(ndimage.gaussian_filter(whole.astype(np.float32), 0.8), 0.0, 1.0)
    return replace(liver, field_zyx=np.maximum(liver.field_zyx, field))


def _faces(lesion: NDArray[np.bool_], outlined: NDArray[np.bool_], settings: LiverThresholds) -> bool:
    """Whether the liver lies round enough of it."""
    shell = dilated(lesion, 2.0) & ~lesion
    return bool(shell.any()) and float(outlined[shell].mean()) >= settings.bay_least_facing_fraction
