"""SPECT: the region of liver uptake and foci outside it, from activity alone.

Without a CT nothing tells liver from its neighbours but uptake. The outline is laid at a share of the *median inside
the outline*: levels are tried from high to low until that holds. A fixed share of the maximum would fail for a liver
with tumours seven times as hot as the rest; the median of what is enclosed follows the normal liver as soon as that
is in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.volume import Volume

_BLUR_MM = 4.5
_LEVELS = 28
_LOWEST_LEVEL_FRACTION = 0.02
_HIGHEST_LEVEL_FRACTION = 0.6
_LEAST_LIVER_ML = 250.0
_MOST_LIVER_ML = 3500.0
_MOST_FOCUS_ML = 400.0
_SHELL_MM = 70.0
_BLUR_MARGIN_MM = 8.0
_MIDLINE_MM = 45.0
# The centre of a liver lies some 6 cm right of the spine, kidneys 4 to 8 cm beside it.
_SPINE_LEFT_OF_LIVER_MM = 60.0
_KIDNEY_BESIDE_SPINE_MM = (30.0, 110.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectFocus:
    """One focus outside the liver.

    Attributes
    ----------
    name : str
    mask_zyx : (z, y, x) bool
        On the volume's grid, at half the peak's height.
    volume_ml : float
    share_fraction : float
        Counts relative to those of the liver's region.
    peak_fraction : float
        Peak relative to the mean of the liver's region.
    significance_sigma : float
        Peak over the surroundings of the liver, in robust standard deviations of these.
    centroid_lps_mm : (x, y, z)
    words : str
    site : Code
    physiologic : bool
    """

    name: str
    mask_zyx: NDArray[np.bool_]
    volume_ml: float
    share_fraction: float
    peak_fraction: float
    significance_sigma: float
    centroid_lps_mm: tuple[float, float, float]
    words: str
    site: Code
    physiologic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectReading:
    """What one reconstructed SPECT shows.

    Attributes
    ----------
    volume : Volume
    attenuation_corrected : bool
    liver_zyx : (z, y, x) bool
        Region of uptake of the liver.
    liver_ml : float
    liver_share_fraction : float
        Counts inside the region relative to all counts of the volume.
    foci : tuple of SpectFocus
        Outside the liver, physiologic uptake left out; the largest share first.
    physiologic : tuple of SpectFocus
        What looks like kidneys; macroaggregates do not reach them, so it is not explained by that.
    """

    volume: Volume
    attenuation_corrected: bool
    liver_zyx: NDArray[np.bool_]
    liver_ml: float
    liver_share_fraction: float
    foci: tuple[SpectFocus, ...]
    physiologic: tuple[SpectFocus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectRefusal:
    """Why a SPECT was not read."""

    reasons: tuple[str, ...]


def read_spect(volume: Volume, attenuation_corrected: bool, thresholds: Thresholds) -> SpectReading | SpectRefusal:
    """Find the liver's uptake and foci outside it."""
    counts = np.maximum(volume.voxels_zyx.astype(np.float64), 0.0)
    if counts.max() <= 0:
        return SpectRefusal(reasons=("The SPECT holds no counts.",))
    sigma = tuple(_BLUR_MM / step for step in volume.spacing_zyx_mm)
    smooth = ndimage.gaussian_filter(counts, sigma)
    liver = liver_region(smooth, volume.voxel_ml, thresholds.spect_edge_fraction)
    if liver is None:
        return SpectRefusal(reasons=("No region of uptake of the size of a liver was found in the SPECT.",))
    liver_counts = float(counts[liver].sum())
    found = _foci(volume, counts, smooth, liver, thresholds)
    return SpectReading(
        volume=volume,
        attenuation_corrected=attenuation_corrected,
        liver_zyx=liver,
        liver_ml=float(liver.sum()) * volume.voxel_ml,
        liver_share_fraction=liver_counts / float(counts.sum()),
        foci=_named([focus for focus in found if not focus.physiologic], "spect-focus"),
        physiologic=_named([focus for focus in found if focus.physiologic], "spect-physiologic"),
    )


def liver_region(smooth_zyx: NDArray[np.float64], voxel_ml: float, edge_fraction: float) -> NDArray[np.bool_] | None:
    """Largest part above the highest level that is at most a given share of the median inside; ``None`` without one.

    Parameters
    ----------
    smooth_zyx : (z, y, x) float64
        Counts after smoothing.
    voxel_ml : float
    edge_fraction : float
        Level of the outline relative to the median inside it.
    """
    for level in np.geomspace(_HIGHEST_LEVEL_FRACTION, _LOWEST_LEVEL_FRACTION, _LEVELS) * float(smooth_zyx.max()):
        labels, count = ndimage.label(smooth_zyx > level)
        if not count:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        part = labels == 1 + int(np.argmax(sizes))
        size_ml = float(sizes.max()) * voxel_ml
        if size_ml > _MOST_LIVER_ML:
            return None
        if size_ml >= _LEAST_LIVER_ML and level <= edge_fraction * float(np.median(smooth_zyx[part])):
            return np.asarray(ndimage.binary_fill_holes(part), np.bool_)
    return None


def _foci(
    volume: Volume,
    counts: NDArray[np.float64],
    smooth: NDArray[np.float64],
    liver: NDArray[np.bool_],
    thresholds: Thresholds,
) -> list[SpectFocus]:
    spacing = volume.spacing_zyx_mm
    from_liver_mm = ndimage.distance_transform_edt(~liver, sampling=spacing)
    mean_in_liver = float(counts[liver].mean())
    outside = from_liver_mm > thresholds.spect_clear_of_liver_mm
    body = smooth > 0.005 * mean_in_liver
    shell = smooth[outside & body & (from_liver_mm < _SHELL_MM)]
    if shell.size < 100:
        return []
    middle = float(np.median(shell))
    spread = max(1.4826 * float(np.median(np.abs(shell - middle))), 1e-9)
    floor = max(thresholds.spect_focus_peak_fraction * mean_in_liver, middle + thresholds.focus_sigma * spread)
    size = tuple(2 * max(1, round(8.0 / step)) + 1 for step in spacing)
    peaks = outside & (smooth >= floor) & (ndimage.maximum_filter(smooth, size) == smooth)
    found: list[SpectFocus] = []
    for place in sorted(map(tuple, np.argwhere(peaks)), key=lambda index: -float(smooth[index])):
        if any(focus.mask_zyx[place] for focus in found):
            continue
        peak = float(smooth[place])
        labels, _ = ndimage.label((smooth > max(0.5 * peak, floor * 0.5)) & (from_liver_mm > 0))
        mask = np.asarray(labels == labels[place], np.bool_)
        volume_ml = float(mask.sum()) * volume.voxel_ml
        # A tail of the liver is brightest at the liver; a lung is larger than any focus.
        if not thresholds.spect_focus_millilitres <= volume_ml <= _MOST_FOCUS_ML:
            continue
        found.append(_located(volume, counts, liver, mask, volume_ml, peak, (peak - middle) / spread))
    return found


def _located(
    volume: Volume,
    counts: NDArray[np.float64],
    liver: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    volume_ml: float,
    peak: float,
    significance: float,
) -> SpectFocus:
    centroid, liver_centroid = (
        volume.to_lps_mm(np.argwhere(part).mean(axis=0, keepdims=True))[0] for part in (mask, liver)
    )
    words, site, physiologic = _guess(centroid, liver_centroid)
    reach = ndimage.distance_transform_edt(~mask, sampling=volume.spacing_zyx_mm)
    around = (reach <= _BLUR_MARGIN_MM) & ~liver
    return SpectFocus(
        name="",
        mask_zyx=mask,
        volume_ml=volume_ml,
        share_fraction=float(counts[around].sum()) / float(counts[liver].sum()),
        peak_fraction=peak / float(counts[liver].mean()),
        significance_sigma=significance,
        centroid_lps_mm=(float(centroid[0]), float(centroid[1]), float(centroid[2])),
        words=words,
        site=site,
        physiologic=physiologic,
    )


def _guess(centroid: NDArray[np.float64], liver_centroid: NDArray[np.float64]) -> tuple[str, Code, bool]:
    """Organ by the direction from the centre of the liver's uptake (LPS mm)."""
    left, back, up = (float(value) for value in centroid - liver_centroid)
    where = (
        f"{abs(left):.0f} mm {'left' if left > 0 else 'right'}, {abs(back):.0f} mm "
        f"{'behind' if back > 0 else 'in front'}, {abs(up):.0f} mm {'above' if up > 0 else 'below'} the liver's centre"
    )
    beside_spine_mm = abs(left - _SPINE_LEFT_OF_LIVER_MM)
    if back > 25.0 and up < -30.0 and _KIDNEY_BESIDE_SPINE_MM[0] <= beside_spine_mm <= _KIDNEY_BESIDE_SPINE_MM[1]:
        return f"kidney? ({where})", vocabulary.KIDNEY, True
    if left > 110.0 and back > 0.0:
        return f"spleen? ({where})", vocabulary.SPLEEN, False
    if left > _MIDLINE_MM and up > -90.0:
        return f"stomach? ({where})", vocabulary.STOMACH, False
    if up < -110.0:
        return f"bowel? ({where})", vocabulary.SMALL_INTESTINE, False
    return f"duodenum or pancreas? ({where})", vocabulary.DUODENUM, False


def _named(foci: list[SpectFocus], stem: str) -> tuple[SpectFocus, ...]:
    ordered = sorted(foci, key=lambda focus: -focus.share_fraction)
    return tuple(replace(focus, name=f"{stem}-{number}") for number, focus in enumerate(ordered, start=1))
