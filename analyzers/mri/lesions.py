"""Candidates of lesions inside the liver: solid places that differ from parenchyma the way lesions do.

In T1-weighted images with contrast metastases are darker than parenchyma, most of all in the hepatobiliary phase; in
T2 and diffusion they are brighter. Vessels are dark in the hepatobiliary phase too, but bright while blood is enhanced;
gallbladder, fissures and hilum are not enclosed by parenchyma. What remains is a candidate, never a diagnosis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.mri.axes import Axes, lesion_axes
from analyzers.mri.thresholds import LesionThresholds

_SMOOTH_MM = 1.2
_OPENING_FRACTION = 0.28
_REGROWTH_MM = 2.5
_MARGIN_MM = 10.0

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiverImage:
    """What lesions are searched in, all on one grid that is cut to the liver.

    Attributes
    ----------
    relative_zyx : (z, y, x) float32
        Bias-corrected reference divided by the level of parenchyma: 1 is parenchyma.
    liver_zyx : (z, y, x) bool
        The liver, vessels and lesions included.
    darker : bool
        Whether lesions are darker than parenchyma in the reference.
    blood_zyx : (z, y, x) float32 or None
        The same for a phase with enhanced blood, not a number where it was not scanned.
    fat_zyx : (z, y, x) float32 or None
        The same for T1 without fat suppression, where the reference suppresses fat and lesions are darker.
    others : mapping
        Name of a sequence where lesions are bright → the same for it.
    name : str
        Name of the sequence that ``relative_zyx`` shows.
    confirm : bool
        Whether another sequence must show a candidate too.
    """

    relative_zyx: NDArray[np.float32]
    liver_zyx: NDArray[np.bool_]
    spacing_zyx_mm: tuple[float, float, float]
    voxel_ml: float
    darker: bool
    blood_zyx: NDArray[np.float32] | None
    fat_zyx: NDArray[np.float32] | None
    others: Mapping[str, NDArray[np.float32]]
    name: str
    confirm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One candidate.

    Attributes
    ----------
    mask_zyx : (z, y, x) bool
        On the grid of the image that it was found in.
    contrast_fraction : float
        Mean difference to parenchyma as a share of its level.
    enclosed_fraction : float
        Share of its surface that faces parenchyma.
    found_in : str
        Sequence that it was found and measured in.
    seen_in : tuple of str
        Other sequences that show it.
    score : float
        From 0 to 1, for ordering: contrast, enclosure, roundness and other sequences in equal parts. No probability.
    """

    mask_zyx: NDArray[np.bool_]
    axes: Axes
    volume_ml: float
    contrast_fraction: float
    enclosed_fraction: float
    found_in: str
    seen_in: tuple[str, ...]
    score: float


def find_candidates(image: LiverImage, settings: LesionThresholds) -> tuple[Candidate, ...]:
    """Search candidates, largest first."""
    contrast = _contrast(image)
    noise = _noise(contrast, image.liver_zyx)
    threshold = max(settings.least_contrast_fraction, settings.least_contrast_sigma * noise)
    suspect = (contrast > threshold) & image.liver_zyx & ~_vessels(image, settings)
    least_mm = max(settings.least_diameter_mm, settings.least_diameter_slices * image.spacing_zyx_mm[0])
    # Half a pixel more than one: a single pixel is noise on any grid.
    opening_mm = max(_OPENING_FRACTION * settings.least_diameter_mm, 1.1 * max(image.spacing_zyx_mm[1:]))
    depth = ndimage.distance_transform_edt(np.pad(suspect, 1), image.spacing_zyx_mm)[1:-1, 1:-1, 1:-1]
    cores, _ = ndimage.label(depth > opening_mm)
    candidates = []
    for number, place in enumerate(ndimage.find_objects(cores), 1):
        box = _wider(place, image)
        grown = _grown(contrast[box], suspect[box], cores[box] == number, opening_mm, image.spacing_zyx_mm)
        found = _judged(grown, contrast[box], _cut(image, box), threshold, least_mm, settings)
        if found is not None:
            candidates.append(placed(found, box, image.liver_zyx.shape))
    candidates.sort(key=lambda found: -found.volume_ml)
    return tuple(apart(candidates)[: settings.most_candidates])


def placed(candidate: Candidate, box: Box, shape_zyx: tuple[int, ...]) -> Candidate:
    """The candidate of a box on the whole grid."""
    mask = np.zeros(shape_zyx, bool)
    mask[box] = candidate.mask_zyx
    return replace(candidate, mask_zyx=mask, axes=candidate.axes.moved(box[0].start, box[1].start, box[2].start))


def _wider(place: Box, image: LiverImage) -> Box:
    z, y, x = (
        slice(max(0, part.start - round(_MARGIN_MM / step) - 1), part.stop + round(_MARGIN_MM / step) + 1)
        for part, step in zip(place, image.spacing_zyx_mm, strict=True)
    )
    return z, y, x


def _cut(image: LiverImage, box: Box) -> LiverImage:
    return replace(
        image,
        relative_zyx=image.relative_zyx[box],
        liver_zyx=image.liver_zyx[box],
        blood_zyx=None if image.blood_zyx is None else image.blood_zyx[box],
        fat_zyx=None if image.fat_zyx is None else image.fat_zyx[box],
        others={name: values[box] for name, values in image.others.items()},
    )


def _contrast(image: LiverImage) -> NDArray[np.float32]:
    sigmas = [min(0.6, _SMOOTH_MM / step) if axis == 0 else _SMOOTH_MM / step
              for axis, step in enumerate(image.spacing_zyx_mm)]  # fmt: skip
    difference = (1.0 - image.relative_zyx) if image.darker else (image.relative_zyx - 1.0)
    return np.asarray(ndimage.gaussian_filter(difference, sigmas), np.float32)


def _noise(contrast: NDArray[np.float32], liver: NDArray[np.bool_]) -> float:
    values = contrast[liver]
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _vessels(image: LiverImage, settings: LesionThresholds) -> NDArray[np.bool_]:
    if image.blood_zyx is None:
        return np.zeros_like(image.liver_zyx)
    return np.nan_to_num(image.blood_zyx, nan=1.0) > 1.0 + settings.vessel_contrast_fraction


def _grown(
    contrast: NDArray[np.float32],
    suspect: NDArray[np.bool_],
    core: NDArray[np.bool_],
    opening_mm: float,
    spacing_zyx_mm: tuple[float, float, float],
) -> NDArray[np.bool_]:
    """From the core out to half of its contrast, in its surroundings only."""
    half = 0.5 * float(np.percentile(contrast[core], 75.0))
    distance = ndimage.distance_transform_edt(~core, spacing_zyx_mm)
    near = distance <= opening_mm + _REGROWTH_MM
    region = near & (contrast > half) & (suspect | (distance <= opening_mm + 1.0))
    labels, _ = ndimage.label(region | core)
    numbers = np.unique(labels[core])
    filled = np.stack([ndimage.binary_fill_holes(section) for section in np.isin(labels, numbers[numbers > 0])])
    return np.asarray(filled, bool)


def _judged(
    mask: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    image: LiverImage,
    threshold: float,
    least_mm: float,
    settings: LesionThresholds,
) -> Candidate | None:
    """The candidate with what speaks for it, or ``None`` where its shape or place speaks against it."""
    axes = lesion_axes(mask, image.spacing_zyx_mm[1:])
    if axes is None or axes.long_mm < least_mm or axes.short_mm < 0.6 * settings.least_diameter_mm:
        return None
    if np.count_nonzero(mask.any(axis=(1, 2))) < settings.least_diameter_slices:
        return None
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), image.spacing_zyx_mm)
    thick_mm = 2.0 * float(depth.max())
    height_mm = float(np.count_nonzero(mask.any(axis=(1, 2)))) * image.spacing_zyx_mm[0]
    if max(axes.long_mm, height_mm) > settings.longest_to_thick * thick_mm:
        return None
    volume_ml = float(np.count_nonzero(mask)) * image.voxel_ml
    ellipsoid_ml = np.pi / 6.0 * axes.long_mm * axes.short_mm * height_mm / 1000.0
    if volume_ml < settings.least_solidity * ellipsoid_ml:
        return None
    enclosed = _enclosed_fraction(mask, contrast, image, threshold)
    if enclosed < settings.least_enclosed_fraction:
        return None
    difference = float(contrast[mask].mean())
    seen_in = tuple(name for name, values in image.others.items() if _bright(values, mask, settings))
    support = len(seen_in) / len(image.others) if image.others else 0.5
    if _unlike_a_lesion(image, mask, seen_in, axes, settings):
        return None
    round_share = min(1.0, axes.short_mm / axes.long_mm)
    score = (min(1.0, difference / (2.0 * threshold)) + enclosed + round_share + support) / 4.0
    return Candidate(
        mask_zyx=mask,
        axes=axes,
        volume_ml=volume_ml,
        contrast_fraction=difference,
        enclosed_fraction=enclosed,
        found_in=image.name,
        seen_in=seen_in,
        score=score,
    )


def _enclosed_fraction(
    mask: NDArray[np.bool_], contrast: NDArray[np.float32], image: LiverImage, threshold: float
) -> float:
    distance = ndimage.distance_transform_edt(~mask, image.spacing_zyx_mm)
    shell = (distance > 1.5) & (distance <= 5.0)
    parenchyma = image.liver_zyx & (np.abs(contrast) < max(threshold, 0.25))
    return float(parenchyma[shell].mean()) if shell.any() else 0.0


def _unlike_a_lesion(
    image: LiverImage, mask: NDArray[np.bool_], seen_in: tuple[str, ...], axes: Axes, settings: LesionThresholds
) -> bool:
    """Whether other sequences speak against it: nothing to see in them, or the darkness of fat, bile ducts and flow."""
    if image.confirm and not seen_in:
        return True
    if image.fat_zyx is not None and (_level_in(image.fat_zyx, mask) or 0.0) > settings.fat_above:
        return True
    if not image.others:
        return False
    if not seen_in and axes.long_mm < settings.unseen_least_mm:
        return True
    levels = [level for values in image.others.values() if (level := _level_in(values, mask)) is not None]
    return bool(levels) and min(levels) < settings.dark_below < settings.fluid_above > max(levels)


def _bright(values: NDArray[np.float32], mask: NDArray[np.bool_], settings: LesionThresholds) -> bool:
    level = _level_in(values, mask)
    return level is not None and level > 1.0 + settings.least_contrast_fraction


def _level_in(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> float | None:
    """Median of a sequence in a mask, parenchyma being 1; ``None`` where it covers less than half."""
    inside = values[mask]
    inside = inside[np.isfinite(inside)]
    return float(np.median(inside)) if inside.size > 0.5 * np.count_nonzero(mask) else None


def apart(candidates: list[Candidate]) -> list[Candidate]:
    """Larger ones first; one that shares voxels with a larger one is a part of it."""
    kept: list[Candidate] = []
    for candidate in candidates:
        if not any(bool((candidate.mask_zyx & other.mask_zyx).any()) for other in kept):
            kept.append(candidate)
    return kept
