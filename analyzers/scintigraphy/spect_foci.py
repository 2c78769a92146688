"""Foci outside the liver in three dimensions: peaks over what the liver and the lungs spill.

A focus must rise over three things: a share of the liver's mean level, the noise of the body far from the liver, and
the error of the modelled spill, taken at its highest within a voxel or two, since breathing and registration move
the liver's edge. With a CT these are no hard limits but signs, weighed together with the valley towards the liver and
the tissue that the CT shows: ``spect_likelihood``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy.spect_likelihood import SpectEvidence, focus_probability
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

_BLUR_MM = 4.5
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
_LOOSE_NOISE, _LOOSE_SPILL = 0.5, 0.3
"""Lower shares of both limits are not even weighed."""
_MOST_CANDIDATES = 40
_INTO_LIVER_MM, _VALLEY_STEPS = 12.0, 24
_MOST_FOCI = 12
_WIDE_ML = 100.0
"""Over such a volume a focus of 0.3 % of the liver's counts rises to the least level (``spect_focus_level_fraction``):
what is wider at half its height, and stays below the limits of noise, is no focus. Derived."""


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
    probability : float
        Of being no part of the liver and no noise; without a CT it is not judged, and 1.
    stands_out : bool
        Whether the probability is that of a sure focus.
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
    probability: float = 1.0
    stands_out: bool = True

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

    @classmethod
    def of(cls, volume: Volume, liver_zyx: NDArray[np.bool_], organs: CtOrgans | None) -> Field:
        """The field of a SPECT once its liver is known."""
        counts = np.maximum(volume.voxels_zyx, np.float32(0.0))
        smooth = smoothed(counts, volume.spacing_zyx_mm)
        return cls(volume=volume, counts_zyx=counts, smooth_zyx=smooth, liver_zyx=liver_zyx, organs=organs)


def smoothed(counts_zyx: NDArray[np.float32], spacing_zyx_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """Counts blurred lightly, against the noise of single voxels."""
    sigma = tuple(_BLUR_MM / step for step in spacing_zyx_mm)
    return np.asarray(ndimage.gaussian_filter(counts_zyx, sigma), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Intermediate images and levels of one search."""

    field: Field
    excess_zyx: NDArray[np.float32]
    noise_zyx: NDArray[np.float32]
    doubt_zyx: NDArray[np.float32]
    from_liver_mm_zyx: NDArray[np.float64]
    allowed_zyx: NDArray[np.bool_]
    mean_in_liver: float
    middle: float
    spread: float

    @property
    def floor_zyx(self) -> NDArray[np.float32]:
        """What a peak should exceed: the limit of noise and that of the spill."""
        return np.maximum(self.noise_zyx, self.doubt_zyx)


def find_foci(field: Field, thresholds: Thresholds) -> tuple[SpectFocus, ...]:
    """Find foci outside the liver, the largest share first; names are given later.

    On a SPECT/CT wide regions of background are among them, known by their origin; they hide no focus.
    """
    search = _prepared(field, thresholds)
    if search is None:
        return ()
    found: list[SpectFocus] = []
    wide: list[SpectFocus] = []
    most_ml = _MOST_FOCUS_ML if field.organs is None else _MOST_FOCUS_CT_ML
    for place, probability in _candidates(search):
        if probability < thresholds.spect_focus_probability or len(found) == _MOST_FOCI:
            break
        if any(focus.mask_zyx[place] for focus in found):
            continue
        mask = _extent(search, place)
        # What is connected to a more probable focus above half of its own peak is a part of that one.
        if any((focus.mask_zyx & mask).any() for focus in found):
            continue
        volume_ml = float(mask.sum()) * field.volume.voxel_ml
        if field.organs is not None and _is_background(search, place, volume_ml):
            wide.append(_as_background(_measured(search, mask, place, thresholds)))
            continue
        # A tail of the liver is brightest at the liver; a lung is larger than any focus.
        if thresholds.spect_focus_millilitres <= volume_ml <= most_ml:
            found.append(replace(_measured(search, mask, place, thresholds), probability=probability))
    kidneys = any(focus.site == vocabulary.KIDNEY for focus in found)
    settled = [_settled(focus, kidneys, thresholds) for focus in found]
    return tuple(sorted((*settled, *_apart(wide)), key=lambda focus: -focus.share_fraction))


def _is_background(search: _Search, place: tuple[int, ...], volume_ml: float) -> bool:
    """Whether a peak is wider than a focus so faint can be: beside blood, scatter and what the spill leaves."""
    return volume_ml > _WIDE_ML and float(search.excess_zyx[place]) < float(search.noise_zyx[place])


def _as_background(focus: SpectFocus) -> SpectFocus:
    return replace(focus, where=replace(focus.where, origin=Origin.BACKGROUND), certain=False, stands_out=False)


def _apart(wide: list[SpectFocus]) -> list[SpectFocus]:
    """Regions of background that do not overlap, the largest of those that do."""
    kept: list[SpectFocus] = []
    for region in sorted(wide, key=lambda one: -one.volume_ml):
        if not any((region.mask_zyx & other.mask_zyx).any() for other in kept):
            kept.append(region)
    return kept


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
        noise_zyx=np.asarray(np.float32(floor) + rim, np.float32),
        doubt_zyx=np.asarray(doubt, np.float32),
        from_liver_mm_zyx=from_liver_mm,
        allowed_zyx=allowed,
        mean_in_liver=mean_in_liver,
        middle=middle,
        spread=spread,
    )


def weighed_peaks(field: Field, thresholds: Thresholds) -> list[tuple[tuple[int, ...], SpectEvidence]]:
    """Peaks of a SPECT/CT that are worth weighing, (z, y, x), with what speaks for each; empty without a CT."""
    search = _prepared(field, thresholds)
    if search is None or field.organs is None:
        return []
    return _weighed(search, field.organs)


def _candidates(search: _Search) -> list[tuple[tuple[int, ...], float]]:
    """Local maxima with their probability, the most probable first; without a CT all that exceed both limits."""
    organs, excess = search.field.organs, search.excess_zyx
    if organs is None:
        places = _places(_maxima(search) & (excess >= search.floor_zyx))
        return [(place, 1.0) for place in sorted(places, key=lambda index: -float(excess[index]))]
    judged = [(place, focus_probability(one)) for place, one in _weighed(search, organs)]
    return sorted(judged, key=lambda item: (-item[1], item[0]))


def _maxima(search: _Search) -> NDArray[np.bool_]:
    size = tuple(2 * max(1, round(_PEAK_APART_MM / step)) + 1 for step in search.field.volume.spacing_zyx_mm)
    excess = search.excess_zyx
    return np.asarray(search.allowed_zyx & (ndimage.maximum_filter(excess, size) == excess), np.bool_)


def _places(mask_zyx: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    return [tuple(map(int, place)) for place in np.argwhere(mask_zyx)]


def _weighed(search: _Search, organs: CtOrgans) -> list[tuple[tuple[int, ...], SpectEvidence]]:
    """The brightest peaks above the loose limits with what speaks for each being a focus of its own."""
    excess = search.excess_zyx
    loose = np.maximum(_LOOSE_NOISE * search.noise_zyx, _LOOSE_SPILL * search.doubt_zyx)
    found = _places(_maxima(search) & organs.body_zyx & (excess >= loose))
    places = sorted(found, key=lambda index: -float(excess[index]))[:_MOST_CANDIDATES]
    field = search.field
    step_mm = np.asarray(field.volume.spacing_zyx_mm)
    nearest = ndimage.distance_transform_edt(
        ~field.liver_zyx, sampling=step_mm, return_distances=False, return_indices=True
    )
    liver_hu = float(np.median(organs.hu_zyx[field.liver_zyx]))
    smooth_hu = ndimage.uniform_filter(organs.hu_zyx, 3)
    weighed = []
    for place in places:
        here, liver = np.asarray(place, np.float64), nearest[(slice(None), *place)].astype(np.float64)
        way = liver - here
        end = liver + way * (_INTO_LIVER_MM / max(float(np.linalg.norm(way * step_mm)), 1e-3))
        line = np.linspace(here, end, _VALLEY_STEPS)
        lowest = float(ndimage.map_coordinates(field.smooth_zyx, line.T, order=1, mode="nearest").min())
        height = float(search.excess_zyx[place])
        evidence = SpectEvidence(
            over_noise=height / float(search.noise_zyx[place]),
            over_spill=height / max(float(search.doubt_zyx[place]), 1e-6 * search.mean_in_liver),
            valley_fraction=lowest / float(field.smooth_zyx[place]),
            from_liver_mm=float(search.from_liver_mm_zyx[place]),
            hu=float(smooth_hu[place]),
            liver_hu=liver_hu,
        )
        weighed.append((place, evidence))
    return weighed


def _extent(search: _Search, place: tuple[int, ...]) -> NDArray[np.bool_]:
    """What is connected to a peak at half its height outside the liver."""
    height = float(search.excess_zyx[place])
    # Beside the liver what the spill leaves unexplained must not be taken for the focus.
    level = np.maximum(np.float32(0.5 * height), np.minimum(0.5 * search.floor_zyx, np.float32(0.9 * height)))
    above = (search.excess_zyx > level) & (search.from_liver_mm_zyx > 0)
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


def _settled(focus: SpectFocus, kidneys: bool, thresholds: Thresholds) -> SpectFocus:
    where = doubted_beside_kidneys(focus.where, kidneys)
    sure = focus.probability >= thresholds.sure_focus_probability
    certain = sure and focus.certain and where.origin is Origin.EXTRAHEPATIC
    return replace(focus, where=where, certain=certain, stands_out=sure)
