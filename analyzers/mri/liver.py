"""The liver in MR images, without a learned model.

The liver is the largest solid organ that the other half of the body does not repeat. So a seed is searched among the
thick, even regions deep to the skin: at every level of intensity, what is left after an erosion, is not as
bright as subcutaneous fat and has no mirror image at the midline. The seed gives level and spread of parenchyma in
the reference and in supporting sequences; parenchyma is what fits all of them and hangs together after thin necks to
neighbours are cut. Vessels and lesions inside are filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.mri.bias import fitted_bias
from analyzers.mri.body import Body, fat_and_wall
from analyzers.mri.patient_grid import PatientGrid, closed, dilated, eroded, largest_part
from analyzers.mri.thresholds import LiverThresholds

_LEVELS = 24
_DEGREES = (1, 1, 2, 2, 2)
"""Degree of the receive field in each round of growing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A region that is liver beyond doubt.

    ``mirrored_fraction`` says how much of it has a like region on the other side of the midline.
    """

    core_zyx: NDArray[np.bool_]
    level: float
    volume_ml: float
    mirrored_fraction: float
    right_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Liver:
    """The liver on the patient grid.

    Attributes
    ----------
    field_zyx : (z, y, x) float32
        Soft mask from 0 to 1; 0.5 is the surface.
    parenchyma_zyx : (z, y, x) bool
        Without vessels and lesions.
    bias_zyx : (z, y, x) float32
        Receive field of the reference, to divide by.
    level, sd : float
        Mean and standard deviation of parenchyma in the reference, bias corrected.
    """

    field_zyx: NDArray[np.float32]
    parenchyma_zyx: NDArray[np.bool_]
    bias_zyx: NDArray[np.float32]
    level: float
    sd: float
    seed: Seed


def find_seed(
    values_zyx: NDArray[np.float32], body: Body, grid: PatientGrid, fat: float, settings: LiverThresholds
) -> Seed | None:
    """Search the liver's core over all levels of intensity.

    Parameters
    ----------
    values_zyx : (z, y, x) float32
        Bias-corrected reference on the patient grid.
    body : Body
        On the same grid.
    fat : float
        Level of subcutaneous fat.
    """
    smooth = ndimage.gaussian_filter(values_zyx, 1.0)
    deep = body.mask_zyx & (body.depth_mm_zyx > settings.seed_depth_mm)
    if not deep.any():
        return None
    low, high = (float(value) for value in np.percentile(smooth[deep], [3.0, 99.7]))
    best: Seed | None = None
    for level in np.geomspace(max(low, high / 40.0), high, _LEVELS):
        if abs(level / fat - 1.0) < settings.fat_likeness_fraction if fat > 0 else False:
            continue
        seed = _seed_at(smooth, deep, body, grid, float(level), settings)
        if seed is not None and (best is None or _worth(seed) > _worth(best)):
            best = seed
    return best


def _worth(seed: Seed) -> float:
    return seed.volume_ml * max(0.0, 1.0 - seed.mirrored_fraction) * seed.right_fraction**2


def _seed_at(
    smooth: NDArray[np.float32],
    deep: NDArray[np.bool_],
    body: Body,
    grid: PatientGrid,
    level: float,
    settings: LiverThresholds,
) -> Seed | None:
    window = deep & (np.abs(smooth / level - 1.0) <= settings.level_half_width)
    core = largest_part(eroded(window, grid.voxels(settings.core_radius_mm)))
    volume_ml = float(np.count_nonzero(core)) * grid.voxel_ml
    if volume_ml < settings.smallest_core_ml:
        return None
    right = float(body.right_zyx[core].mean())
    return Seed(
        core_zyx=core,
        level=float(np.median(smooth[core])),
        volume_ml=volume_ml,
        mirrored_fraction=_mirrored_fraction(core, window, body),
        right_fraction=right,
    )


def _mirrored_fraction(core: NDArray[np.bool_], window: NDArray[np.bool_], body: Body) -> float:
    z, y, x = np.nonzero(core)
    mirrored = np.rint(2.0 * body.midline_x[z] - x).astype(int)
    inside = (mirrored >= 0) & (mirrored < core.shape[2])
    hits = np.zeros(len(z), bool)
    hits[inside] = window[z[inside], y[inside], mirrored[inside]]
    return float(hits.mean())


def grow_liver(
    channels: Sequence[NDArray[np.float32]],
    seen: Sequence[NDArray[np.bool_]],
    seed: Seed,
    body: Body,
    grid: PatientGrid,
    settings: LiverThresholds,
) -> Liver:
    """Grow the liver from its seed, and the receive field of every channel with it.

    Parameters
    ----------
    channels : sequence of (z, y, x) float32
        As received, the reference first; all brought onto the patient grid.
    seen : sequence of (z, y, x) bool
        Where each channel has voxels; elsewhere it has no say.
    """
    kept = seed.core_zyx
    corrected = list(channels)
    neck = grid.voxels(settings.neck_mm)
    barred = np.zeros(kept.shape, bool)
    for degree in _DEGREES:
        inner = eroded(kept, 1.5) if degree > 1 else kept
        inner = inner if np.count_nonzero(inner) > 1000 else kept
        corrected = [
            values / fitted_bias(values, inner & inside, grid.spacing_mm, degree)
            for values, inside in zip(channels, seen, strict=True)
        ]
        level, _ = _level(corrected[0], inner, settings)
        barred = fat_and_wall(corrected[0], level, body, grid, settings)
        fits = _fitting(corrected, seen, inner, settings) & body.mask_zyx & ~barred
        kept = _without_necks(fits, seed.core_zyx, neck)
    level, sd = _level(corrected[0], eroded(kept, 1.5), settings)
    filled = _filled(kept, body, grid, settings) & ~barred
    field = np.clip(ndimage.gaussian_filter(filled.astype(np.float32), 0.8), 0.0, 1.0)
    bias = channels[0] / np.maximum(corrected[0], 1e-6)
    bias = np.where(channels[0] > 0, bias, 1.0)
    return Liver(field_zyx=field, parenchyma_zyx=kept, bias_zyx=bias.astype(np.float32), level=level, sd=sd, seed=seed)


def _fitting(
    channels: Sequence[NDArray[np.float32]],
    seen: Sequence[NDArray[np.bool_]],
    sample: NDArray[np.bool_],
    settings: LiverThresholds,
) -> NDArray[np.bool_]:
    """Voxels that look like the sample in every channel."""
    fits = np.ones(sample.shape, bool)
    for number, (values, inside) in enumerate(zip(channels, seen, strict=True)):
        middle, spread = _level(values, sample & inside, settings)
        span = settings.span if number == 0 else settings.support_span
        fits &= ~inside | (np.abs(ndimage.gaussian_filter(values, 0.6) - middle) <= span * spread)
    return fits & seen[0]


def _level(values: NDArray[np.float32], core: NDArray[np.bool_], settings: LiverThresholds) -> tuple[float, float]:
    """Median and spread of a channel in the core; the spread never below what texture alone makes."""
    sample = values[core]
    if sample.size < 50:
        return 0.0, float("inf")
    middle = float(np.median(sample))
    spread = 1.4826 * float(np.median(np.abs(sample - middle)))
    return middle, max(spread, settings.least_sd_fraction * middle)


def _without_necks(fits: NDArray[np.bool_], core: NDArray[np.bool_], neck_voxels: float) -> NDArray[np.bool_]:
    """The part that hangs together with the core after thin connections are cut, grown back to its surface."""
    thick = eroded(fits, neck_voxels)
    labels, _ = ndimage.label(thick)
    touched = np.unique(labels[core & thick])
    inner = np.isin(labels, touched[touched > 0])
    return fits & dilated(inner, neck_voxels + 1.0)


def _filled(
    parenchyma: NDArray[np.bool_], body: Body, grid: PatientGrid, settings: LiverThresholds
) -> NDArray[np.bool_]:
    """Vessels and lesions inside are liver too: close gaps, then fill what is enclosed."""
    bridged = closed(parenchyma, grid.voxels(settings.closing_mm)) & body.mask_zyx
    filled = np.stack([ndimage.binary_fill_holes(section) for section in bridged])
    return largest_part(np.asarray(filled, bool))
