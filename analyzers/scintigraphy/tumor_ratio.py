"""Tumour-to-normal ratio: uptake of lesions relative to liver without them.

Masks come from a reader or another analyzer, on their own grid; the SPECT is read at the centres of their voxels by
linear interpolation, so that a mask finer than the SPECT keeps its outline. Normal liver is the liver without its
lesions, and the ratio that of mean counts, as the partition model has it (Ho et al., Eur J Nucl Med 1996; 23: 947);
what blur carries out of the lesions stays in normal liver and lowers the ratio. Masks of an earlier study are first
brought onto the present liver by the shift along the three axes that lets both livers overlap best.

Where no masks are given, hot regions of the liver itself are reported as what they are: outlined by their own uptake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from analyzers import vocabulary
from analyzers.contract import Assessed, Segment
from analyzers.grid_mask import GridMask
from analyzers.priors import Prior
from analyzers.volume import Volume

_LESION_CODES = frozenset({vocabulary.LESION, vocabulary.NEOPLASM, vocabulary.METASTASIS, vocabulary.PRIMARY_NEOPLASM})
_LEAST_OVERLAP = 0.75
_REGISTRATION_MM = 5.0
_HOT_FACTOR = 2.0
_LEAST_HOT_ML = 4.0
_MOST_HOT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TumorRatio:
    """One lesion: its mean over that of normal liver.

    ``given`` says whether the mask was given or outlined by the lesion's own uptake; ``mask_zyx`` is on the SPECT and
    ``None`` for given masks.
    """

    name: str
    label: str
    ratio: float
    volume_ml: float
    given: bool
    origin: str
    mask_zyx: NDArray[np.bool_] | None = None


def ratios_on_masks(
    spect: Volume,
    lesions: Sequence[GridMask],
    liver: GridMask,
    origin: str,
    shift_lps_mm: NDArray[np.float64] | None = None,
) -> tuple[TumorRatio, ...]:
    """Ratio of each lesion; empty where normal liver holds no counts.

    Parameters
    ----------
    spect : Volume
    lesions : sequence of GridMask
        On the grid of the liver.
    liver : GridMask
    origin : str
        Who outlined the masks, in words.
    shift_lps_mm : (3,) float64, optional
        Added to the positions of the masks.
    """
    if not lesions:
        return ()
    union = np.logical_or.reduce([lesion.mask_zyx for lesion in lesions])
    normal = GridMask(label="normal liver", mask_zyx=liver.mask_zyx & ~union, affine_lps=liver.affine_lps)
    shift = np.zeros(3) if shift_lps_mm is None else shift_lps_mm
    level = _mean_counts(spect, normal, shift)
    if level is None or level <= 0:
        return ()
    ratios = []
    for number, lesion in enumerate(lesions, start=1):
        mean = _mean_counts(spect, lesion, shift)
        if mean is not None:
            ratios.append(
                TumorRatio(
                    name=f"lesion-{number}",
                    label=lesion.label,
                    ratio=mean / level,
                    volume_ml=lesion.volume_ml,
                    given=True,
                    origin=origin,
                )
            )
    return tuple(ratios)


def _mean_counts(spect: Volume, mask: GridMask, shift: NDArray[np.float64]) -> float | None:
    """Mean of the SPECT over a mask; ``None`` where the mask is empty or leaves the field."""
    if not mask.mask_zyx.any():
        return None
    indices = spect.to_indices_zyx(mask.points_lps_mm() + shift)
    inside = ((indices >= -0.5) & (indices <= np.asarray(spect.voxels_zyx.shape) - 0.5)).all(axis=1)
    if inside.mean() < 0.98:
        return None
    return float(ndimage.map_coordinates(spect.voxels_zyx, indices.T, order=1, mode="nearest").mean(dtype=np.float64))


def ratios_on_priors(spect: Volume, liver_zyx: NDArray[np.bool_], priors: Sequence[Prior]) -> tuple[TumorRatio, ...]:
    """Ratios on the lesions of the newest prior that has a liver, lesions and their images, and fits.

    Parameters
    ----------
    spect : Volume
    liver_zyx : (z, y, x) bool
        Present liver on the SPECT.
    priors : sequence of Prior
    """
    for prior in sorted(priors, key=lambda one: one.study_date, reverse=True):
        masks = _masks_of(prior)
        if masks is None:
            continue
        liver, lesions = masks
        present = GridMask(label="liver", mask_zyx=liver_zyx, affine_lps=spect.affine_lps)
        shift, overlap = shift_onto(liver, present)
        if overlap < _LEAST_OVERLAP:
            continue
        day = prior.study_date or "unknown date"
        words = f"lesions of the {prior.analyzer_name} answer of {day}, livers overlap by {100 * overlap:.0f} %"
        if ratios := ratios_on_masks(spect, lesions, liver, words, shift):
            return ratios
    return ()


def shift_onto(moving: GridMask, fixed: GridMask) -> tuple[NDArray[np.float64], float]:
    """Shift (LPS mm) that lets two livers overlap best, and the Dice coefficient of both after it."""
    step = _REGISTRATION_MM
    points = moving.points_lps_mm()
    soft = ndimage.gaussian_filter(
        fixed.mask_zyx.astype(np.float32),
        tuple(step / float(np.linalg.norm(fixed.affine_lps[:3, axis])) for axis in (2, 1, 0)),
    )
    inverse = np.linalg.inv(fixed.affine_lps[:3, :3])
    chosen = points[:: max(1, len(points) // 8000)]

    def inside(shift: NDArray[np.float64], image: NDArray[np.float32], where: NDArray[np.float64]) -> float:
        indices = ((where + shift - fixed.affine_lps[:3, 3]) @ inverse.T)[:, ::-1]
        return float(ndimage.map_coordinates(image, indices.T, order=1).mean())

    start = fixed.points_lps_mm().mean(axis=0) - points.mean(axis=0)
    best = optimize.minimize(
        lambda shift: -inside(shift, soft, chosen), start, method="Powell", options={"xtol": 0.5, "ftol": 1e-4}
    )
    shift = np.asarray(best.x, np.float64)
    common_ml = inside(shift, fixed.mask_zyx.astype(np.float32), chosen) * moving.volume_ml
    return shift, 2.0 * common_ml / (moving.volume_ml + fixed.volume_ml)


def _masks_of(prior: Prior) -> tuple[GridMask, list[GridMask]] | None:
    if not isinstance(prior.result, Assessed) or prior.images is None:
        return None
    lesions = [segment for segment in prior.result.segments if segment.type in _LESION_CODES]
    livers = [segment for segment in prior.result.segments if segment.type == vocabulary.LIVER]
    for liver in livers:
        same = [lesion for lesion in lesions if lesion.planes == liver.planes]
        volume = _volume_under(prior, liver) if same else None
        if volume is not None:
            whole, *parts = (
                GridMask(label=one.label, mask_zyx=one.mask_planes, affine_lps=volume.affine_lps)
                for one in (liver, *same)
            )
            return whole, parts
    return None


def _volume_under(prior: Prior, segment: Segment) -> Volume | None:
    if prior.images is None:
        return None
    try:
        loaded = prior.images.load(segment.series_instance_uid)
    except KeyError:
        return None
    return next((volume for volume in loaded.volumes if volume.planes == segment.planes), None)


def hot_regions(spect: Volume, smooth_zyx: NDArray[np.float32], liver_zyx: NDArray[np.bool_]) -> tuple[TumorRatio, ...]:
    """Regions of the liver with at least twice its median level, each over the rest of the perfused liver.

    Their outline lies at half their own peak, so the ratio says how the uptake differs, not how a tumour's would.
    """
    inside = smooth_zyx[liver_zyx]
    if not inside.size:
        return ()
    perfused = inside[inside > 0.2 * float(np.percentile(inside, 95))]
    level = float(np.median(perfused)) if perfused.size else 0.0
    if level <= 0:
        return ()
    labels, count = ndimage.label((smooth_zyx > _HOT_FACTOR * level) & liver_zyx)
    sizes_ml = np.bincount(labels.ravel(), minlength=count + 1)[1:] * spect.voxel_ml
    order = [int(label) for label in np.argsort(-sizes_ml) if sizes_ml[label] >= _LEAST_HOT_ML][:_MOST_HOT]
    regions = []
    for number, label in enumerate(order, start=1):
        part = labels == label + 1
        mask = np.asarray(part & (smooth_zyx >= 0.5 * float(smooth_zyx[part].max())), np.bool_)
        regions.append(
            TumorRatio(
                name=f"hot-region-{number}",
                label=f"Hot region of the liver {number}",
                ratio=float(spect.voxels_zyx[mask].mean(dtype=np.float64)) / level,
                volume_ml=float(mask.sum()) * spect.voxel_ml,
                given=False,
                origin="outlined by its own uptake",
                mask_zyx=mask,
            )
        )
    return tuple(regions)
