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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from analyzers import vocabulary
from analyzers.contract import Assessed, Segment, SegmentRef
from analyzers.grid_mask import GridMask
from analyzers.priors import Prior
from analyzers.volume import Volume

_LESION_CODES = frozenset({vocabulary.LESION, vocabulary.NEOPLASM, vocabulary.METASTASIS, vocabulary.PRIMARY_NEOPLASM})
LEAST_OVERLAP = 0.75
"""Dice coefficient of two livers after their registration, from which on they are taken for one."""
REGISTERED = "registered by the outline of the liver alone"
"""What limits a ratio on masks of another frame of reference."""
_LEAST_INSIDE = 0.98
_REGISTRATION_MM = 5.0
_HOT_FACTOR = 2.0
_LEAST_HOT_ML = 4.0
_MOST_HOT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TumorRatio:
    """One lesion: its mean over that of normal liver.

    ``given`` says whether the mask was given or outlined by the lesion's own uptake; ``mask_zyx`` is the lesion on the
    SPECT, of a given one the voxels whose centres its mask holds. ``cautions`` say what limits the ratio.
    """

    name: str
    label: str
    ratio: float
    volume_ml: float
    given: bool
    origin: str
    mask_zyx: NDArray[np.bool_]
    segment: SegmentRef | None = None
    cautions: tuple[str, ...] = ()


def ratios_on_masks(spect: Volume, lesions: Sequence[GridMask], liver: GridMask, origin: str) -> tuple[TumorRatio, ...]:
    """Ratio of each lesion; empty where normal liver holds no counts or leaves the field.

    Parameters
    ----------
    spect : Volume
    lesions : sequence of GridMask
        Each on a grid of its own.
    liver : GridMask
        With or without the lesions: what any of them holds is left out.
    origin : str
        Who outlined the masks, in words.
    """
    level = normal_level(spect, liver, lesions)
    if level is None:
        return ()
    ratios = []
    for number, lesion in enumerate(lesions, start=1):
        mean = mean_counts(spect, lesion.points_lps_mm())
        if mean is not None:
            ratios.append(
                TumorRatio(
                    name=f"lesion-{number}",
                    label=lesion.label,
                    ratio=mean / level,
                    volume_ml=lesion.volume_ml,
                    given=True,
                    origin=origin,
                    mask_zyx=on_spect(lesion, spect),
                )
            )
    return tuple(ratios)


def normal_level(spect: Volume, liver: GridMask, lesions: Sequence[GridMask]) -> float | None:
    """Mean counts of the liver without its lesions; ``None`` where there are none, or it leaves the field."""
    points = liver.points_lps_mm()
    for lesion in lesions:
        points = points[~lesion.holds(points)]
    level = mean_counts(spect, points)
    return level if level is not None and level > 0 else None


def mean_counts(spect: Volume, points_lps_mm: NDArray[np.float64]) -> float | None:
    """Mean of the SPECT at points, (n, 3); ``None`` where there are none, or more than 2 % leave the field."""
    if not len(points_lps_mm):
        return None
    indices = spect.to_indices_zyx(points_lps_mm)
    inside = ((indices >= -0.5) & (indices <= np.asarray(spect.voxels_zyx.shape) - 0.5)).all(axis=1)
    if inside.mean() < _LEAST_INSIDE:
        return None
    return float(ndimage.map_coordinates(spect.voxels_zyx, indices.T, order=1, mode="nearest").mean(dtype=np.float64))


def on_spect(mask: GridMask, spect: Volume) -> NDArray[np.bool_]:
    """Voxels of the SPECT whose centres a mask holds; of one too small to hold any, those that it touches."""
    found = np.zeros(spect.voxels_zyx.shape, np.bool_)
    touched = np.rint(spect.to_indices_zyx(mask.points_lps_mm())).astype(np.intp)
    touched = touched[((touched >= 0) & (touched < np.asarray(found.shape))).all(axis=1)]
    if not len(touched):
        return found
    low = np.maximum(touched.min(axis=0) - 1, 0)
    high = np.minimum(touched.max(axis=0) + 2, found.shape)
    box = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    inside = box[mask.holds(spect.to_lps_mm(box.astype(np.float64)))]
    found[tuple((inside if len(inside) else touched).T)] = True
    return found


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
        origin = f"lesions of the {prior.analyzer_name} answer of {prior.study_date or 'unknown date'}"
        if ratios := registered_ratios(spect, present, lesions, liver, origin):
            return ratios
    return ()


def registered_ratios(
    spect: Volume, present: GridMask, lesions: Sequence[GridMask], liver: GridMask, origin: str
) -> tuple[TumorRatio, ...]:
    """Ratios on masks of another frame of reference, moved by what brings their liver onto the present one.

    Parameters
    ----------
    spect : Volume
    present : GridMask
        Liver of now.
    lesions : sequence of GridMask
    liver : GridMask
        In the frame of the lesions.
    origin : str
        Who outlined the masks and when, in words.

    Returns
    -------
    tuple of TumorRatio
        Empty where the livers do not fit.
    """
    shift, overlap = shift_onto(liver, present)
    if overlap < LEAST_OVERLAP:
        return ()
    words = f"{origin}, livers overlap by {100 * overlap:.0f} %"
    found = ratios_on_masks(spect, [lesion.moved(shift) for lesion in lesions], liver.moved(shift), words)
    return tuple(replace(one, cautions=(REGISTERED,)) for one in found)


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
        volume = volume_under(prior, liver) if same else None
        if volume is not None:
            whole, *parts = (
                GridMask(label=one.label, mask_zyx=one.mask_planes, affine_lps=volume.affine_lps)
                for one in (liver, *same)
            )
            return whole, parts
    return None


def volume_under(prior: Prior, segment: Segment) -> Volume | None:
    """The stack of an earlier study that a segment lies on; ``None`` where it is no longer kept."""
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
