"""Where the main fissure of the liver runs in a SPECT/CT: by rule from the CT's spine, and by the step of the uptake.

No vessel is seen on an unenhanced CT. The rule lays a plane from the foramen of the vena cava, as far from the spine as
the width of the trunk suggests. Where the lobes differ in uptake, the profile of counts across that plane has a step,
and its place is better known than the rule is. Both are weighed by Bayes' rule: the profile is a step, blurred by the
camera, on slow and fast texture (a Gaussian process; Rasmussen and Williams 2006), and the rule is the prior. A lobe
without uptake is told from the other within a millimeter; lobes of like uptake leave the rule as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from analyzers.ct_anatomy.liver import Anatomy
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.volume import Volume

_CAVA_RIGHT_OF_SPINE_MM = 25.0
_CAVA_BEFORE_SPINE_MM = 15.0
_FISSURE_DEG = 15.0
"""The main fissure runs from the vena cava to the gallbladder's bed (Cantlie 1897), 75 degrees to the frontal plane
(Bismuth, World J Surg 1982); the foramen of the vena cava lies 2 to 3 cm right of the midline (textbooks of anatomy),
the vein before the right front of the vertebral body."""
_TRUNK_WIDTH_MM = 310.0
"""Width of an average adult's trunk at the height of the liver (anthropometry); the lengths above are for it."""

_PLACES_MM = np.arange(-20.0, 20.1, 0.5)
_REACH_MM = 40.0
_SHEET_MM = 2.0
_LEAST_SHEET_ML = 4.0
_LEAST_SHEETS = 12
_BELOW_SURFACE_MM = 9.0
"""Half of the blur's width: nearer to the surface of the liver counts are lost by blur."""
_BLUR_SIGMA_MM = 7.0
_STEP_SD = 0.5
_SLOW_SD, _SLOW_MM = 0.20, 25.0
_FAST_SD, _FAST_MM = 0.04, 9.0
_NOISE_SD = 0.01
"""Texture of the profile relative to the level of the better lobe, its length, and counting noise (chosen on 68
development phantoms so that the stated error of the plane is neither too small nor too large)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fissure:
    """Place of the plane between the lobes, in mm to the patient's left of the plane by rule.

    ``error_mm`` is one standard deviation.
    """

    moved_left_mm: float
    error_mm: float


def left_of_rule_mm(anatomy: Anatomy, spect: Volume, liver_zyx: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far left of the plane by rule each voxel of the SPECT lies, (z, y, x), along the patient's x.

    Parameters
    ----------
    anatomy : Anatomy
        Gives the place of the spine in every plane, and the width of the trunk.
    spect : Volume
    liver_zyx : (z, y, x) bool
        Liver on the SPECT: the trunk is measured at its height.
    """
    grid = anatomy.grid
    seen = anatomy.spine.seen if anatomy.spine.seen.any() else np.ones_like(anatomy.spine.seen)
    points = spect.to_lps_mm(np.argwhere(np.ones(spect.voxels_zyx.shape, np.bool_)).astype(np.float64))
    z = np.clip((points[:, 2] - grid.origin_lps_mm[2]) / grid.spacing_mm, 0, len(seen) - 1)
    planes = np.arange(len(seen), dtype=np.float64)
    spine_x_mm = grid.origin_lps_mm[0] + grid.spacing_mm * np.interp(z, planes[seen], anatomy.spine.x[seen])
    front_y_mm = grid.origin_lps_mm[1] + grid.spacing_mm * np.interp(z, planes[seen], anatomy.spine.front_y[seen])
    heights = np.unique(np.rint(z.reshape(liver_zyx.shape)[liver_zyx]).astype(int))
    widths_mm = anatomy.body.mask_zyx.any(axis=1).sum(axis=1)[heights] * grid.spacing_mm
    size = float(np.median(widths_mm)) / _TRUNK_WIDTH_MM if heights.size else 1.0
    forward_mm = front_y_mm - points[:, 1] - size * _CAVA_BEFORE_SPINE_MM
    plane_x_mm = spine_x_mm - size * _CAVA_RIGHT_OF_SPINE_MM - np.tan(np.radians(_FISSURE_DEG)) * forward_mm
    return np.asarray(points[:, 0] - plane_x_mm, np.float32).reshape(spect.voxels_zyx.shape)


def lay_fissure(
    counts_zyx: NDArray[np.float64],
    liver_zyx: NDArray[np.bool_],
    left_of_rule_mm_zyx: NDArray[np.float32],
    spacing_zyx_mm: tuple[float, float, float],
    thresholds: Thresholds,
) -> Fissure:
    """Weigh the step of the uptake against the rule.

    Parameters
    ----------
    counts_zyx : (z, y, x) float64
        Corrected for attenuation.
    liver_zyx : (z, y, x) bool
    left_of_rule_mm_zyx : (z, y, x) float32
    spacing_zyx_mm : three float
    thresholds : Thresholds
    """
    rule_sd_mm = thresholds.fissure_error_mm / 1.96
    at_mm, profile = _profile(counts_zyx, liver_zyx, left_of_rule_mm_zyx, spacing_zyx_mm)
    if len(at_mm) < _LEAST_SHEETS:
        return Fissure(moved_left_mm=0.0, error_mm=rule_sd_mm)
    log_probability = _log_likelihood(at_mm, profile) - 0.5 * (_PLACES_MM / rule_sd_mm) ** 2
    weight = np.exp(log_probability - log_probability.max())
    weight /= weight.sum()
    mean_mm = float(weight @ _PLACES_MM)
    variance = float(weight @ (_PLACES_MM - mean_mm) ** 2)
    return Fissure(moved_left_mm=mean_mm, error_mm=float(np.sqrt(variance)))


def right_share(left_mm_zyx: NDArray[np.float32], moved_left_mm: float, voxel_mm: float) -> NDArray[np.float32]:
    """Share of each voxel right of a plane that lies so far left of the plane by rule, from 0 to 1."""
    return np.asarray(np.clip(0.5 - (left_mm_zyx - moved_left_mm) / voxel_mm, 0.0, 1.0), np.float32)


def _profile(
    counts: NDArray[np.float64],
    liver: NDArray[np.bool_],
    left_mm: NDArray[np.float32],
    spacing: tuple[float, float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median counts of sheets that are parallel to the plane, and where they lie; lesions hardly move a median."""
    deep = ndimage.distance_transform_edt(liver, sampling=spacing) > _BELOW_SURFACE_MM
    sheet = np.rint(left_mm[deep] / _SHEET_MM).astype(int)
    values = counts[deep]
    least = _LEAST_SHEET_ML * 1000.0 / float(np.prod(spacing))
    most = int(_REACH_MM / _SHEET_MM)
    members = [(number, values[sheet == number]) for number in range(-most, most + 1)]
    known = [(number * _SHEET_MM, float(np.median(inside))) for number, inside in members if inside.size >= least]
    at_mm, medians = (np.asarray([one[part] for one in known], np.float64) for part in (0, 1))
    level = float(np.percentile(medians, 80)) if medians.size else 0.0
    return (at_mm, medians / level) if level > 0 else (at_mm[:0], medians[:0])


def _log_likelihood(at_mm: NDArray[np.float64], profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log likelihood of every place of a step of unknown height and level, but for a constant."""
    square = (at_mm[:, None] - at_mm[None, :]) ** 2
    # A variance of one for the common level: it is free.
    texture = 1.0 + _NOISE_SD**2 * np.eye(len(at_mm))
    texture += _SLOW_SD**2 * np.exp(-0.5 * square / _SLOW_MM**2) + _FAST_SD**2 * np.exp(-0.5 * square / _FAST_MM**2)
    steps = special.ndtr((at_mm[:, None] - _PLACES_MM[None, :]) / _BLUR_SIGMA_MM) - 0.5
    solved = np.linalg.solve(texture, np.column_stack([steps, profile - profile.mean()]))
    # Matrix determinant lemma and Sherman-Morrison, since a step adds one direction of variance.
    power = _STEP_SD**2 * (steps * solved[:, :-1]).sum(axis=0)
    match = _STEP_SD**2 * (steps * solved[:, -1:]).sum(axis=0) ** 2
    return np.asarray(0.5 * match / (1.0 + power) - 0.5 * np.log1p(power), np.float64)
