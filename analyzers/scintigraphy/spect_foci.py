"""Foci outside the liver in three dimensions: peaks over what the liver and the lungs spill.

A focus must rise over three things: a share of the liver's mean level, the noise of the body far from the liver, and
the error of the modelled spill, taken at its highest within a voxel or two, since breathing and registration move
the liver's edge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.spect_sites import (
    Site,
    doubted_beside_kidneys,
    landmarks_of,
    site_by_ct,
    site_by_direction,
)
from analyzers.scintigraphy.spect_spill import spill_of_liver, spill_of_lungs
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.whereabouts import Origin
from analyzers.volume import Volume

_MOST_FOCUS_ML = 400.0
_MOST_FOCUS_CT_ML = 700.0
_SHELL_MM = 70.0
_BLUR_MARGIN_MM, _CT_BLUR_MARGIN_MM = 8.0, 14.0
"""How far from the half height of a focus its counts are summed; with a CT the liver's spill is subtracted."""
_PEAK_APART_MM = 8.0
_SPILL_SHIFT_MM = 8.0
_HOT_LUNG_FACTOR = 5.0
_LUNG_RIM_MM, _LUNG_RIM_FACTOR = 20.0, 0.75
"""Beside a lung up to half of its level is left where breathing moves its border; half as much again for noise."""
_SURE_FACTOR = 2.0
"""A peak twice as high as it must be, clear of the liver, is called present."""
_MOST_FOCI = 12


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
    where : Site
    certain : bool
        Clear of the liver on a CT, high above the threshold, and without another explanation.
    """

    name: str
    mask_zyx: NDArray[np.bool_]
    volume_ml: float
    share_fraction: float
    peak_fraction: float
    significance_sigma: float
    centroid_lps_mm: tuple[float, float, float]
    where: Site
    certain: bool = False

    @property
    def words(self) -> str:
        """The place in words."""
        return self.where.words

    @property
    def site(self) -> Code:
        """The organ."""
        return self.where.site

    @property
    def physiologic(self) -> bool:
        """Whether it looks like an organ that macroaggregates do not reach."""
        return self.where.origin is Origin.PHYSIOLOGIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What the search works on, all (z, y, x) on the SPECT; counts are not negative, ``smooth`` is blurred lightly."""

    volume: Volume
    counts_zyx: NDArray[np.float32]
    smooth_zyx: NDArray[np.float32]
    liver_zyx: NDArray[np.bool_]
    organs: CtOrgans | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Intermediate images and levels of one search."""

    field: Field
    excess_zyx: NDArray[np.float32]
    floor_zyx: NDArray[np.float32]
    from_liver_mm_zyx: NDArray[np.float64]
    allowed_zyx: NDArray[np.bool_]
    mean_in_liver: float
    middle: float
    spread: float


def find_foci(field: Field, thresholds: Thresholds) -> tuple[SpectFocus, ...]:
    """Find foci outside the liver, the largest share first; names are given later."""
    search = _prepared(field, thresholds)
    if search is None:
        return ()
    size = tuple(2 * max(1, round(_PEAK_APART_MM / step)) + 1 for step in field.volume.spacing_zyx_mm)
    excess = search.excess_zyx
    peaks = search.allowed_zyx & (excess >= search.floor_zyx) & (ndimage.maximum_filter(excess, size) == excess)
    found: list[SpectFocus] = []
    most_ml = _MOST_FOCUS_ML if field.organs is None else _MOST_FOCUS_CT_ML
    for place in sorted(map(tuple, np.argwhere(peaks)), key=lambda index: -float(excess[index])):
        if len(found) == _MOST_FOCI or any(focus.mask_zyx[place] for focus in found):
            continue
        mask = _extent(search, place)
        # What is connected to a stronger focus above half of its own peak is a part of that one.
        if any((focus.mask_zyx & mask).any() for focus in found):
            continue
        volume_ml = float(mask.sum()) * field.volume.voxel_ml
        # A tail of the liver is brightest at the liver; a lung is larger than any focus.
        if thresholds.spect_focus_millilitres <= volume_ml <= most_ml:
            found.append(_measured(search, mask, place, thresholds))
    kidneys = any(focus.site == vocabulary.KIDNEY for focus in found)
    settled = [_settled(focus, kidneys) for focus in found]
    return tuple(sorted(settled, key=lambda focus: -focus.share_fraction))


def _prepared(field: Field, thresholds: Thresholds) -> _Search | None:
    spacing, organs, liver = field.volume.spacing_zyx_mm, field.organs, field.liver_zyx
    from_liver_mm = ndimage.distance_transform_edt(~liver, sampling=spacing)
    mean_in_liver = float(field.counts_zyx[liver].mean())
    smooth = field.smooth_zyx
    if organs is None:
        body, clear_mm, lung_level = smooth > 0.005 * mean_in_liver, thresholds.spect_clear_of_liver_mm, 0.0
        spill = np.zeros_like(smooth)
        allowed = from_liver_mm > clear_mm
        level = thresholds.spect_focus_peak_fraction
    else:
        body, level = organs.body_zyx, thresholds.spect_focus_level_fraction
        lungs = organs.lungs_zyx
        spill = spill_of_liver(smooth, liver, from_liver_mm, spacing) + spill_of_lungs(smooth, lungs, spacing)
        lung_level = float(np.median(smooth[lungs])) if lungs.any() else 0.0
        hottest_lung = _HOT_LUNG_FACTOR * lung_level
        # Under the diaphragm a focus may lie where the CT, in another breath, shows lung; it is far hotter than lung.
        allowed = (from_liver_mm > thresholds.spect_ct_clear_of_liver_mm) & (~lungs | (smooth > hottest_lung))
    shell = allowed & body & (from_liver_mm < _SHELL_MM)
    if shell.sum() < 100:
        return None
    excess = np.asarray(smooth - spill, np.float32)
    middle = float(np.median(excess[shell]))
    spread = max(1.4826 * float(np.median(np.abs(excess[shell] - middle))), 1e-9)
    floor = max(level * mean_in_liver, middle + thresholds.focus_sigma * spread)
    rim = np.zeros_like(spill)
    if organs is not None and organs.lungs_zyx.any():
        beside_lung = ndimage.distance_transform_edt(~organs.lungs_zyx, sampling=spacing) <= _LUNG_RIM_MM
        rim[beside_lung] = _LUNG_RIM_FACTOR * lung_level
    reach = tuple(2 * max(1, round(_SPILL_SHIFT_MM / step)) + 1 for step in spacing)
    doubt = np.float32(thresholds.spill_error_fraction) * ndimage.maximum_filter(spill, reach)
    return _Search(
        field=field,
        excess_zyx=excess,
        floor_zyx=np.maximum(np.float32(floor) + rim, doubt),
        from_liver_mm_zyx=from_liver_mm,
        allowed_zyx=allowed,
        mean_in_liver=mean_in_liver,
        middle=middle,
        spread=spread,
    )


def _extent(search: _Search, place: tuple[int, ...]) -> NDArray[np.bool_]:
    """What is connected to a peak at half its height outside the liver."""
    half = np.float32(0.5 * float(search.excess_zyx[place]))
    # Beside the liver what the spill leaves unexplained must not be taken for the focus.
    above = (search.excess_zyx > np.maximum(half, 0.5 * search.floor_zyx)) & (search.from_liver_mm_zyx > 0)
    above &= search.allowed_zyx | (search.from_liver_mm_zyx < _PEAK_APART_MM)
    labels, _ = ndimage.label(above)
    return np.asarray(labels == labels[place], np.bool_)


def _measured(search: _Search, mask: NDArray[np.bool_], place: tuple[int, ...], thresholds: Thresholds) -> SpectFocus:
    field = search.field
    volume, organs, liver = field.volume, field.organs, field.liver_zyx
    centroid, liver_centroid = (
        volume.to_lps_mm(np.argwhere(part).mean(axis=0, keepdims=True))[0] for part in (mask, liver)
    )
    peak = float(search.excess_zyx[place])
    reach = ndimage.distance_transform_edt(~mask, sampling=volume.spacing_zyx_mm)
    around = (reach <= (_BLUR_MARGIN_MM if organs is None else _CT_BLUR_MARGIN_MM)) & ~liver
    counts = field.counts_zyx if organs is None else np.maximum(search.excess_zyx, 0.0)
    in_liver = float(field.counts_zyx[liver].sum(dtype=np.float64))
    if organs is None:
        where, clear = site_by_direction(centroid, liver_centroid), False
    else:
        at = landmarks_of(mask, volume, organs, search.from_liver_mm_zyx, peak / search.mean_in_liver)
        where = site_by_ct(at)
        clear = float(search.from_liver_mm_zyx[place]) >= thresholds.spect_clear_of_liver_mm
    return SpectFocus(
        name="",
        mask_zyx=mask,
        volume_ml=float(mask.sum()) * volume.voxel_ml,
        share_fraction=float(counts[around].sum(dtype=np.float64)) / in_liver,
        peak_fraction=peak / search.mean_in_liver,
        significance_sigma=(peak - search.middle) / search.spread,
        centroid_lps_mm=(float(centroid[0]), float(centroid[1]), float(centroid[2])),
        where=where,
        certain=clear and peak >= _SURE_FACTOR * float(search.floor_zyx[place]),
    )


def _settled(focus: SpectFocus, kidneys: bool) -> SpectFocus:
    where = doubted_beside_kidneys(focus.where, kidneys)
    return replace(focus, where=where, certain=focus.certain and where.origin is Origin.EXTRAHEPATIC)
