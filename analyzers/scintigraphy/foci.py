"""Extrahepatic foci on planar views: which peaks are not liver, how sure, and how large.

Each view is smoothed, the fitted halo is taken away, and every local maximum is asked four things. Does it stand out
of counting noise and of the error of the halo? Is it bright enough to matter? Is it clear of the lungs? And is it
separate from the liver: does the way from the peak to the liver's core lead through a deep valley, in this view at
least, while the other view does not show it inside the liver? A hot tumour at the liver's edge has no such valley,
and neither has stomach behind it: planar foci without a valley cannot be told from tumours, and are not claimed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.regions import PlanarRegions, dilated
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair

_BLUR_MM = 6.0
_PEAK_DISTANCE_MM = 14.0
_LUNG_MARGIN_MM = 12.0
_FOCUS_EDGE_FRACTION = 0.5
_FOCUS_BLUR_MARGIN_MM = 6.0
_SKIRT_FRACTION = 0.2
_SKIRT_REACH_MM = 30.0
_SADDLE_STEPS = 14
_TIGHT_FRACTION = 0.45
_APPENDAGE_RADIUS_MM = 24.0
_APPENDAGE_MARGIN_MM = 15.0
_INSIDE_FRACTION = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarFocus:
    """One focus of uptake outside the liver.

    Attributes
    ----------
    name : str
        ``focus-1`` ..., from the largest share.
    mask_yx : (rows, columns) bool
        Outline at half its height, on the working grid.
    summed_yx : (rows, columns) bool
        Where its counts were summed.
    share_fraction : float
        Geometric-mean counts relative to those of the liver.
    share_uncertainty : float
        Half width of the 95 % interval: counting and halo.
    peak_fraction : float
        Excess of the peak relative to the liver's median level.
    significance_sigma : float
        Excess of the peak over its surroundings, in standard deviations, in the view that shows it best.
    front_back_ratio : float
        Anterior over posterior counts, which tells depth: above 1 lies nearer to the front.
    long_axis_mm : float
        Extent of the mask.
    clear_of_liver : bool
        The outline lies at least the margin away from the liver's outline.
    stands_apart : bool
        Clear of the liver, or a deep valley lies between both in one view at least: no part of the liver.
    peak_row_col : (int, int)
        On the working grid.
    best_view : int
        0 where the anterior view shows it best, 1 where the posterior one does.
    """

    name: str
    mask_yx: NDArray[np.bool_]
    summed_yx: NDArray[np.bool_]
    share_fraction: float
    share_uncertainty: float
    peak_fraction: float
    significance_sigma: float
    front_back_ratio: float
    long_axis_mm: float
    clear_of_liver: bool
    stands_apart: bool
    peak_row_col: tuple[int, int]
    best_view: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surface:
    """One view less its halo, smoothed: counts per pixel, significance, the liver's level and its core."""

    excess_yx: NDArray[np.float64]
    sigma_yx: NDArray[np.float64]
    level: float
    core_yx: NDArray[np.bool_]

    def valley(self, place: tuple[int, int]) -> float:
        """Height of the highest pass from a place to the liver's core: near 1 inside the liver, near 0 apart from it.

        Relative to the lower of the place's own height and the liver's level.
        """
        height = min(float(self.excess_yx[place]), self.level)
        return _pass_height(self.excess_yx, place, self.core_yx) / max(height, 1e-9)


def find_foci(pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> tuple[PlanarFocus, ...]:
    """Find foci outside the liver and the lungs, the largest share first."""
    surfaces = tuple(
        _surface(pair, view, halo.counts_yx, regions, thresholds)
        for view, halo in zip(pair.counts_yx, regions.halos, strict=True)
    )
    lungs = dilated(regions.lungs_yx | regions.lung_gap_yx, _LUNG_MARGIN_MM, pair.pixel_mm)
    # The liver's outline is wide on purpose; at nearly half its level a narrow appendage is still narrow.
    tight = np.logical_or.reduce([surface.excess_yx > _TIGHT_FRACTION * surface.level for surface in surfaces])
    appendage = caudal_appendage(tight, pair.pixel_mm)
    found: list[PlanarFocus] = []
    for number, (own, other) in enumerate((surfaces, surfaces[::-1])):
        for place in _peaks(own, pair, thresholds):
            if lungs[place]:
                continue
            limit = thresholds.appendage_valley_fraction if appendage[place] else thresholds.valley_fraction
            compact = _is_compact(own, place, pair.pixel_mm, thresholds)
            if not compact and not _is_apart(own, other, place, limit, from_behind=number == 1, thresholds=thresholds):
                continue
            focus = _measure(pair, regions, own, number, place, thresholds)
            if focus is not None:
                found.append(focus)
    distinct = _distinct(found, pair.pixel_mm)
    ordered = sorted(distinct, key=lambda focus: -focus.share_fraction)
    return tuple(replace(focus, name=f"focus-{number}") for number, focus in enumerate(ordered, start=1))


def without_foci(regions: PlanarRegions, foci: tuple[PlanarFocus, ...], pixel_mm: float) -> PlanarRegions:
    """The same regions with every focus cut out of the liver."""
    if not foci:
        return regions
    taken = np.zeros(regions.liver_yx.shape, np.bool_)
    for focus in foci:
        taken |= focus.summed_yx
    liver = regions.liver_yx & ~taken
    labels, count = ndimage.label(liver)
    if count > 1:
        sizes = ndimage.sum_labels(liver, labels, np.arange(1, count + 1))
        liver = np.asarray(labels == 1 + int(np.argmax(sizes)), np.bool_)
    if not liver.any():
        return regions
    around = dilated(taken, _FOCUS_BLUR_MARGIN_MM, pixel_mm) & ~liver
    return replace(regions, liver_yx=liver, liver_counts_yx=regions.liver_counts_yx & ~around)


def _surface(
    pair: PlanarPair,
    counts_yx: NDArray[np.float64],
    halo_yx: NDArray[np.float64],
    regions: PlanarRegions,
    thresholds: Thresholds,
) -> _Surface:
    width = _BLUR_MM / pair.pixel_mm
    excess = ndimage.gaussian_filter(np.where(pair.field_yx, counts_yx - halo_yx, 0.0), width)
    # Smoothing with a Gaussian of width s keeps 1 / (4 pi s^2) of white noise's variance.
    counting = ndimage.gaussian_filter(counts_yx, width / np.sqrt(2.0)) / (4.0 * np.pi * width**2)
    modelled = (thresholds.background_error_fraction * halo_yx) ** 2
    # The outline is wide, so its median lies on the liver's slopes; the third quarter is the plateau.
    level = float(np.percentile(excess[regions.liver_yx], 75))
    labels, count = ndimage.label(regions.liver_yx & (excess >= level))
    sizes = ndimage.sum_labels(np.ones(labels.shape), labels, np.arange(1, count + 1))
    return _Surface(
        excess_yx=excess,
        sigma_yx=excess / np.sqrt(np.maximum(counting + modelled, 1e-3)),
        level=level,
        core_yx=np.asarray(labels == 1 + int(np.argmax(sizes)), np.bool_),
    )


def _peaks(surface: _Surface, pair: PlanarPair, thresholds: Thresholds) -> list[tuple[int, int]]:
    """Local maxima that are significant and bright enough, brightest first."""
    size = 2 * max(1, round(_PEAK_DISTANCE_MM / pair.pixel_mm / 2.0)) + 1
    kept = (
        (ndimage.maximum_filter(surface.excess_yx, size) == surface.excess_yx)
        & pair.field_yx
        & (surface.sigma_yx >= thresholds.focus_sigma)
        & (surface.excess_yx >= thresholds.focus_peak_fraction * surface.level)
    )
    places = ((int(row), int(col)) for row, col in np.argwhere(kept))
    return sorted(places, key=lambda place: -float(surface.excess_yx[place]))


def caudal_appendage(mask_yx: NDArray[np.bool_], pixel_mm: float) -> NDArray[np.bool_]:
    """What hangs from the lower edge of a mask and is too narrow to be a lobe, or lies below it altogether.

    An opening with a disc takes away what is narrower; of that, only what lies below the remaining edge counts: a left
    lobe is narrow too, but points to the side.
    """
    radius = max(1, round(_APPENDAGE_RADIUS_MM / pixel_mm))
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    body = ndimage.binary_opening(np.pad(mask_yx, radius, mode="edge"), disc)[radius:-radius, radius:-radius]
    labels, count = ndimage.label(body)
    if not count:
        return np.zeros(mask_yx.shape, np.bool_)
    sizes = ndimage.sum_labels(body, labels, np.arange(1, count + 1))
    body = labels == 1 + int(np.argmax(sizes))
    lowest = np.where(body.any(axis=0), body.shape[0] - 1 - np.argmax(body[::-1], axis=0), body.shape[0])
    margin = round(_APPENDAGE_MARGIN_MM / pixel_mm)
    around = ndimage.maximum_filter1d(np.where(lowest < body.shape[0], lowest, -1), 2 * margin + 1)
    edge = np.where(around >= 0, around, body.shape[0])
    return np.asarray(np.arange(body.shape[0])[:, None] > edge[None, :] + margin // 2, np.bool_)


def _is_compact(surface: _Surface, place: tuple[int, int], pixel_mm: float, thresholds: Thresholds) -> bool:
    """Whether a peak is hot, and as small as a point is through a camera: a catheter's tip, or a small hot tumour."""
    height = float(surface.excess_yx[place])
    if height < thresholds.tip_peak_fraction * surface.level:
        return False
    half = _part_above(surface.excess_yx, _FOCUS_EDGE_FRACTION * height, place)
    return _long_axis_mm(half, pixel_mm) <= thresholds.tip_extent_mm


def _is_apart(
    own: _Surface,
    other: _Surface,
    place: tuple[int, int],
    limit: float,
    *,
    from_behind: bool,
    thresholds: Thresholds,
) -> bool:
    """Whether a peak of one view is separate from the liver, and the other view does not contradict."""
    valley = own.valley(place)
    own_height = float(own.excess_yx[place]) / own.level
    other_height = float(other.excess_yx[place]) / other.level
    if from_behind and own_height > thresholds.behind_ratio * other_height:
        # A left lobe lies in front, so what is bright from behind and faint from in front, left of the liver, is none.
        return valley < max(thresholds.behind_valley_fraction, limit)
    if valley >= limit:
        return False
    inside_the_other = other_height > 0.8 * own_height and other.valley(place) > _INSIDE_FRACTION
    return limit > thresholds.valley_fraction or not inside_the_other


def _pass_height(surface_yx: NDArray[np.float64], peak: tuple[int, int], core_yx: NDArray[np.bool_]) -> float:
    """Height of the highest pass between a place and the liver's core, by bisection."""
    low, high = 0.0, max(float(surface_yx[peak]), 0.0)
    if core_yx[peak]:
        return high
    for _ in range(_SADDLE_STEPS):
        middle = (low + high) / 2.0
        labels, _ = ndimage.label(surface_yx > middle)
        own = labels[peak]
        if own and (labels[core_yx] == own).any():
            low = middle
        else:
            high = middle
    return low


def _measure(
    pair: PlanarPair,
    regions: PlanarRegions,
    surface: _Surface,
    view_number: int,
    peak: tuple[int, int],
    thresholds: Thresholds,
) -> PlanarFocus | None:
    """Outline a focus at half its height, sum it down to a fifth of it, never below the pass to the liver."""
    height = float(surface.excess_yx[peak])
    floor = 1.05 * _pass_height(surface.excess_yx, peak, surface.core_yx)
    mask = _part_above(surface.excess_yx, max(_FOCUS_EDGE_FRACTION * height, floor), peak)
    if mask.sum() < 2:
        return None
    skirt = _part_above(surface.excess_yx, max(_SKIRT_FRACTION * height, floor), peak)
    summed = skirt & dilated(mask, _SKIRT_REACH_MM, pair.pixel_mm) & pair.field_yx
    excesses, variances = [], []
    for view, halo in zip(pair.counts_yx, regions.halos, strict=True):
        background = float(halo.counts_yx[summed].sum())
        excesses.append(float(view[summed].sum()) - background)
        variances.append(float(view[summed].sum()) + (thresholds.background_error_fraction * background) ** 2)
    liver_yx = regions.liver_counts_yx & ~summed
    liver = [
        float((view - halo.counts_yx)[liver_yx].sum()) for view, halo in zip(pair.counts_yx, regions.halos, strict=True)
    ]
    liver_mean = float(np.sqrt(max(liver[0], 1.0) * max(liver[1], 1.0)))
    # A focus that one view does not show at all still has counts: the mean of both then stands for the geometric one.
    both = min(excesses) > 0.02 * max(excesses)
    counts = float(np.sqrt(excesses[0] * excesses[1])) if both else max(sum(excesses) / 2.0, 0.0)
    relative = float(np.sqrt(sum(variances))) / max(sum(excesses), 1.0)
    valley = surface.valley(peak)
    apart_mm = ndimage.distance_transform_edt(~(regions.liver_yx & ~summed)) * pair.pixel_mm
    return PlanarFocus(
        name="",
        mask_yx=mask,
        summed_yx=summed,
        share_fraction=counts / liver_mean,
        share_uncertainty=1.96 * relative * counts / liver_mean,
        peak_fraction=height / surface.level,
        significance_sigma=float(surface.sigma_yx[peak]),
        front_back_ratio=max(excesses[0], 1.0) / max(excesses[1], 1.0),
        long_axis_mm=_long_axis_mm(mask, pair.pixel_mm),
        clear_of_liver=(clear := bool(apart_mm[mask].min() >= thresholds.focus_clear_of_liver_mm)),
        stands_apart=clear or valley < thresholds.valley_fraction,
        peak_row_col=peak,
        best_view=view_number,
    )


def _part_above(surface_yx: NDArray[np.float64], level: float, place: tuple[int, int]) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(surface_yx > level)
    return np.asarray((labels == labels[place]) & (labels > 0), np.bool_)


def _distinct(foci: list[PlanarFocus], pixel_mm: float) -> list[PlanarFocus]:
    """One focus where both views show the same, the more significant one; also where outlines of one view overlap."""
    kept: list[PlanarFocus] = []
    for focus in sorted(foci, key=lambda focus: -focus.significance_sigma):
        around = dilated(focus.mask_yx, _FOCUS_BLUR_MARGIN_MM, pixel_mm)
        same = next((n for n, known in enumerate(kept) if (around & known.mask_yx).any()), None)
        if same is None:
            kept.append(focus)
        elif focus.stands_apart:
            kept[same] = replace(kept[same], stands_apart=True)
    return kept


def _long_axis_mm(mask_yx: NDArray[np.bool_], pixel_mm: float) -> float:
    """Greatest distance between two pixels of a mask, pixel widths included."""
    points = np.argwhere(mask_yx & ~ndimage.binary_erosion(mask_yx)).astype(np.float64)
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    return float(apart.max() + 1.0) * pixel_mm
