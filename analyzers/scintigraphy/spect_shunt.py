"""Lung shunt fraction of a SPECT/CT: what the lungs and the liver hold, with what blur carries over their outlines.

Lungs and liver are outlined by the CT, but blur and breathing carry a tenth of the lungs' counts over their outline,
and the liver's into the base of the lungs. Lungs are taken to be filled evenly but for a slope from front to back and
from base to apex, as gravity fills them (West 1964). What is counted clear of the liver is divided by the share of such
lungs that would be counted there, once blurred; so the base beside the liver holds what the slope gives it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.spect_spill import box_round, spread_sigmas
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.volume import Volume

_LUNG_EDGE_SHARE = 0.25
_LEAST_CLEAR_FRACTION = 0.4
_RIM_MM = 20.0
"""Lungs' counts are collected so far beyond their outline: two and a half standard deviations of the blur."""
_AWAY_MM = 40.0
"""Blur and scatter of liver and foci end here: the rest of the body is seen by itself."""
_AWAY_FROM_LUNGS_MM = 25.0
_LEAST_AWAY_VOXELS = 200
_LEAST_SHAPE = 0.2
"""A slope that leaves a part of the lungs with less than this share of their mean was fitted to noise."""
_TRUNCATE = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectShunt:
    """Lung / (lung + liver) of attenuation-corrected counts, with its 95 % interval.

    ``at_least`` says that the lungs go on above the field; ``filled_fraction`` which part of them lay too near to the
    liver and was filled.
    """

    fraction: float
    error: float
    at_least: bool
    filled_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """Counts and regions in the box round lungs and liver; distances in mm, all (z, y, x)."""

    counts: NDArray[np.float32]
    liver: NDArray[np.bool_]
    lungs: NDArray[np.bool_]
    from_liver_mm: NDArray[np.float64]
    clear: NDArray[np.bool_]
    background: NDArray[np.float32]
    sigmas: tuple[float, ...]
    spacing_mm: tuple[float, float, float]

    def blurred(self, activity: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(activity, self.sigmas, truncate=_TRUNCATE), np.float32)


def measure_shunt(
    volume: Volume,
    counts_zyx: NDArray[np.float64],
    organs: CtOrgans,
    foci_zyx: NDArray[np.bool_],
    thresholds: Thresholds,
) -> SpectShunt | None:
    """Measure the lung shunt; ``None`` where too little of the lungs is clear of liver and foci.

    Parameters
    ----------
    volume : Volume
        SPECT, corrected for attenuation.
    counts_zyx : (z, y, x) float64
        Its counts, not negative.
    organs : CtOrgans
    foci_zyx : (z, y, x) bool
        Uptake outside the liver; it spills into the lungs as the liver does.
    thresholds : Thresholds
    """
    field = _field_of(volume, counts_zyx, organs, foci_zyx, thresholds)
    clear_lungs = field.lungs & field.clear
    if not clear_lungs.any() or clear_lungs.sum() < _LEAST_CLEAR_FRACTION * field.lungs.sum():
        return None
    seen = (_far_mm(field.lungs, field.spacing_mm) <= _RIM_MM) & field.clear
    own = field.counts - field.background
    shape = _lung_shape(field, own, seen)
    blurred_shape = field.blurred(shape)
    lung_counts = max(float(own[seen].sum(dtype=np.float64)), 0.0) * _share(shape, blurred_shape, seen)
    level = lung_counts / float(shape.sum(dtype=np.float64))
    near = field.from_liver_mm <= thresholds.spect_clear_of_liver_mm
    liver = field.liver.astype(np.float32)
    theirs = own[near].sum(dtype=np.float64) - level * blurred_shape[near].sum(dtype=np.float64)
    liver_counts = float(theirs) * _share(liver, field.blurred(liver), near)
    fraction = lung_counts / max(lung_counts + liver_counts, 1e-9)
    planes = organs.lungs_zyx.sum(axis=(1, 2))
    top = planes[-1] if volume.affine_lps[2, 2] > 0 else planes[0]
    return SpectShunt(
        fraction=fraction,
        error=thresholds.spect_shunt_error_fraction * fraction + thresholds.spect_shunt_error,
        at_least=bool(top > _LUNG_EDGE_SHARE * planes.max()),
        filled_fraction=1.0 - float(clear_lungs.sum()) / float(field.lungs.sum()),
    )


def _field_of(
    volume: Volume,
    counts_zyx: NDArray[np.float64],
    organs: CtOrgans,
    foci_zyx: NDArray[np.bool_],
    thresholds: Thresholds,
) -> _Field:
    spacing = volume.spacing_zyx_mm
    box = box_round(organs.liver_zyx | organs.lungs_zyx, spacing)
    counts = np.asarray(counts_zyx[box] / max(float(counts_zyx[organs.liver_zyx].mean()), 1e-9), np.float32)
    liver, foci, body = organs.liver_zyx[box], foci_zyx[box] & ~organs.liver_zyx[box], organs.body_zyx[box]
    lungs = organs.lungs_zyx[box] & ~liver & ~foci
    from_liver_mm, from_foci_mm = _far_mm(liver, spacing), _far_mm(foci, spacing)
    nearest_mm = np.minimum(from_liver_mm, from_foci_mm)
    away = body & (nearest_mm > _AWAY_MM) & (_far_mm(lungs, spacing) > _AWAY_FROM_LUNGS_MM)
    # The median is not moved by a heart or a kidney.
    level = float(np.median(counts[away])) if away.sum() >= _LEAST_AWAY_VOXELS else 0.0
    sigmas = spread_sigmas(1.0, spacing)
    rest = (body & ~lungs & ~liver & ~foci).astype(np.float32)
    return _Field(
        counts=counts,
        liver=liver,
        lungs=lungs,
        from_liver_mm=from_liver_mm,
        clear=nearest_mm > thresholds.lung_margin_spect_mm,
        background=np.float32(level) * np.asarray(ndimage.gaussian_filter(rest, sigmas), np.float32),
        sigmas=sigmas,
        spacing_mm=spacing,
    )


def _lung_shape(field: _Field, own: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Activity of the lungs per voxel relative to their middle: one, but for two slopes fitted where they are clear."""
    even = field.lungs.astype(np.float32)
    middle = ndimage.center_of_mass(even)
    z, y = (
        np.arange(size, dtype=np.float32) - np.float32(at) for size, at in zip(even.shape[:2], middle[:2], strict=True)
    )
    parts = (even, even * y[None, :, None], even * z[:, None, None])
    design = np.stack([field.blurred(part)[seen] for part in parts], axis=1).astype(np.float64)
    normal, right_side = design.T @ design, design.T @ own[seen].astype(np.float64)
    level, backwards, upwards = np.linalg.lstsq(normal, right_side, rcond=None)[0]
    if level <= 0.0:
        return even
    sloped = even + np.float32(backwards / level) * parts[1] + np.float32(upwards / level) * parts[2]
    return sloped if float(sloped[field.lungs].min()) >= _LEAST_SHAPE else even


def _share(activity: NDArray[np.float32], blurred: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    """All of an activity over what a region shows of it once it is blurred."""
    return float(activity.sum(dtype=np.float64)) / max(float(blurred[region].sum(dtype=np.float64)), 1e-9)


def _far_mm(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance to a mask, infinite where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing), np.float64)
