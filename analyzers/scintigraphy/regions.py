"""Liver, lungs and background on a pair of views.

The liver is the most cranial large hot region of the smoothed geometric mean. Once the halo of scatter round it is
known (:mod:`~analyzers.scintigraphy.halo`), what remains above the dome at half its level or more is lung. The order
is: hot organs, halo, lungs, then the halo again with the trunk's level, now that lungs and trunk are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.halo import Halo, fit_halo
from analyzers.scintigraphy.pocket import pocket_in
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair

_CORE_BLUR_MM = 20.0
_DOME_BLUR_MM = 15.0
_LARGE_SHARE_FRACTION = 0.25
_LUNG_BLUR_MM = 9.0
_LUNG_REACH_MM = 230.0
_BASE_BELOW_DOME_MM = 60.0
_BASE_MARGIN_FACTOR = 1.2
_LOBE_IN_FRONT = 1.25
# A rise is measured over twice this. As natural logarithms: how marked it must be, how far below the usual level of the
# rows above the peak (most of them lung) the foot of the apex's rise lies, and how far below the peak a lung may be.
# A rise by a third is marked however much steeper the edge of a tumour is.
_RISE_MM = 15.0
_LEAST_RISE = 0.17
_MARKED_RISE = 0.3
_LIVER_REACHED = 0.3
_APEX_BELOW = 0.12
_FAINTEST_LUNG = 3.3
_LEAST_LUNG_MM2 = 1500.0
_TRUNK_MARGIN_MM = 28.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarRegions:
    """Regions on the working grid of a pair; all masks have shape (rows, columns).

    Attributes
    ----------
    liver_yx : bool
        Outline at a low share of the liver's level.
    liver_counts_yx : bool
        The same with what blur carries over it: where the liver's counts are summed.
    hot_yx : bool
        Everything as bright as the liver's outline, also outside the liver.
    lungs_yx : bool
        Visible lungs, clear of the liver's blur.
    lung_gap_yx : bool
        Lung base between the visible lung and the dome of the liver, where blur hides it.
    level_counts : float
        Median of the smoothed geometric mean in the liver, counts per pixel.
    lung_level_counts : float
        Level of the lungs after removal of the halo; 0 when no lung stands out.
    halos : (Halo, Halo)
        Anterior, posterior.
    lungs_cut_fraction : float
        Width of the lungs at the upper edge of the field relative to their greatest width; 0 when not cut.
    """

    liver_yx: NDArray[np.bool_]
    liver_counts_yx: NDArray[np.bool_]
    hot_yx: NDArray[np.bool_]
    lungs_yx: NDArray[np.bool_]
    lung_gap_yx: NDArray[np.bool_]
    level_counts: float
    lung_level_counts: float
    halos: tuple[Halo, Halo]
    lungs_cut_fraction: float

    @property
    def dome_row(self) -> int:
        """Uppermost row of the liver."""
        return int(np.flatnonzero(self.liver_yx.any(axis=1))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class NoLiver:
    """No region that could be the liver was found."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _HotOrgans:
    liver_yx: NDArray[np.bool_]
    hot_yx: NDArray[np.bool_]
    level_counts: float


def find_regions(pair: PlanarPair, thresholds: Thresholds) -> PlanarRegions | NoLiver:
    """Find liver, lungs and background of a pair of views."""
    hot = _find_liver(pair, thresholds)
    if hot is None:
        return NoLiver(reason="No hot region of the size of a liver was found.")
    pixel_mm = pair.pixel_mm
    from_hot_mm = ndimage.distance_transform_edt(~hot.hot_yx) * pixel_mm
    dome = _top_row(hot.liver_yx)
    below_dome = np.arange(pair.field_yx.shape[0])[:, None] > dome + 40.0 / pixel_mm
    clear = pair.field_yx & (from_hot_mm > thresholds.halo_distance_mm)
    sources = dilated(hot.hot_yx, thresholds.liver_blur_margin_mm, pixel_mm)
    # Before the lungs are known, the halo is fitted below the dome, where no lung is.
    halos = _halos(pair, sources, clear & below_dome)
    lungs, _ = _find_lungs(pair, hot, halos, thresholds)
    trunk = _trunk(pair, hot.liver_yx | lungs)
    from_lungs_mm = ndimage.distance_transform_edt(~lungs) * pixel_mm if lungs.any() else np.full(lungs.shape, np.inf)
    halos = _halos(pair, sources, clear & (from_lungs_mm > 20.0), trunk, dilated(lungs, 8.0, pixel_mm))
    lungs, level = _find_lungs(pair, hot, halos, thresholds)
    near = dilated(lungs, 18.0, pixel_mm) if lungs.any() else lungs
    base = np.arange(lungs.shape[0])[:, None] < dome + _BASE_BELOW_DOME_MM / pixel_mm
    return PlanarRegions(
        liver_yx=hot.liver_yx,
        liver_counts_yx=dilated(hot.liver_yx, thresholds.liver_blur_margin_mm, pixel_mm) & pair.field_yx,
        hot_yx=hot.hot_yx,
        lungs_yx=lungs,
        lung_gap_yx=near & ~lungs & ~hot.hot_yx & pair.field_yx & base & (from_hot_mm <= _clearance_mm(thresholds)),
        level_counts=hot.level_counts,
        lung_level_counts=level,
        halos=halos,
        lungs_cut_fraction=_cut_fraction(lungs, pair.field_yx),
    )


def dilated(mask_yx: NDArray[np.bool_], reach_mm: float, pixel_mm: float) -> NDArray[np.bool_]:
    """All pixels within a distance of a mask; an empty mask stays empty."""
    if not mask_yx.any():
        return mask_yx
    return np.asarray(ndimage.distance_transform_edt(~mask_yx) * pixel_mm <= reach_mm, np.bool_)


def _clearance_mm(thresholds: Thresholds) -> float:
    return thresholds.liver_blur_margin_mm + 4.0


def _halos(
    pair: PlanarPair,
    sources: NDArray[np.bool_],
    region: NDArray[np.bool_],
    trunk: NDArray[np.bool_] | None = None,
    lungs: NDArray[np.bool_] | None = None,
) -> tuple[Halo, Halo]:
    front, back = (
        fit_halo(view, sources, region, pair.pixel_mm, trunk_yx=trunk, lungs_yx=lungs) for view in pair.counts_yx
    )
    return front, back


def _find_liver(pair: PlanarPair, thresholds: Thresholds) -> _HotOrgans | None:
    """Outline the liver at a share of its median level that stays above the level of the lungs."""
    fine, coarse = pair.smoothed(thresholds.region_blur_mm), pair.smoothed(_CORE_BLUR_MM)
    core = _most_cranial_large(coarse > 0.5 * coarse.max(), fine)
    if core is None:
        return None
    lungs = _level_above(pair, fine, _top_row(core))
    allowed = np.ones(fine.shape, np.bool_)
    floor = np.full(fine.shape, thresholds.lung_margin_factor * lungs)
    if floor[0, 0] > thresholds.liver_edge_fraction * float(np.median(fine[core])):
        # Lungs so bright that outline and core would climb into them: nothing far above the step at the dome is liver.
        dome = _dome_row(fine, coarse, core, pair.pixel_mm)
        lungs = _level_above(pair, fine, dome)
        allowed[: max(0, dome - round(_DOME_BLUR_MM / pair.pixel_mm))] = False
        core = core & allowed
        floor = _lung_floor(pair, core, dome, lungs, thresholds)
    core_level = float(np.median(fine[core]))
    liver, hot, level = core, core, core_level
    for _ in range(6):
        # Never above most of the core's level, so that very bright lungs cannot make the liver vanish.
        hot = (fine > np.minimum(np.maximum(thresholds.liver_edge_fraction * level, floor), 0.7 * core_level)) & allowed
        found = _most_cranial_large(hot, fine)
        if found is None or not found.any():
            return None
        liver, level = found, float(np.median(fine[found]))
    liver = np.asarray(ndimage.binary_fill_holes(liver), np.bool_)
    pocket = pocket_in(pair, liver)
    if pocket.any():
        # It stays hot, and so becomes a focus; what is left of the outline is the liver, highest up.
        rest = _most_cranial_large(liver & ~pocket, fine)
        liver = liver if rest is None else rest
        level = float(np.median(fine[liver]))
    return _HotOrgans(liver_yx=liver, hot_yx=hot, level_counts=level)


def _lung_floor(
    pair: PlanarPair, core_yx: NDArray[np.bool_], dome_row: int, lung_counts: float, thresholds: Thresholds
) -> NDArray[np.float64]:
    """What the liver's outline must exceed because of lungs, shape (rows, columns).

    Above the dome well above the lungs. Below it nothing on the right, where all lung lies behind the liver. On the
    left, beside the base of the lung, a thin left lobe may hardly be brighter than lung, but it lies in front: where
    the anterior view is clearly brighter than over the lungs, nothing is asked either.
    """
    rows, columns = (np.arange(length) for length in core_yx.shape)
    below_mm = (rows[:, None] - dome_row) * pair.pixel_mm
    front, back = (ndimage.gaussian_filter(view, _LUNG_BLUR_MM / pair.pixel_mm) for view in pair.counts_yx)
    ratio = front / np.maximum(back, 1e-3)
    lung = (below_mm < -30.0) & (below_mm > -150.0) & (np.sqrt(front * back) > 0.5 * lung_counts)
    usual = float(np.median(ratio[lung])) if lung.any() else 1.0
    on_the_right = (columns < np.argwhere(core_yx)[:, 1].mean())[None, :]
    free = (below_mm > _BASE_BELOW_DOME_MM) | ((below_mm >= 0.0) & (on_the_right | (ratio > _LOBE_IN_FRONT * usual)))
    factor = np.where(below_mm < 0.0, thresholds.lung_margin_factor, _BASE_MARGIN_FACTOR)
    return np.asarray(np.where(free, 0.0, factor * lung_counts), np.float64)


def _dome_row(
    fine_yx: NDArray[np.float64], coarse_yx: NDArray[np.float64], core_yx: NDArray[np.bool_], pixel_mm: float
) -> int:
    """Row of the most cranial marked rise between lung and liver, along the core's hottest columns.

    Not the steepest rise: that may be the edge of a hot tumour. Rises from next to nothing are those at the apex.
    """
    hottest = core_yx & (coarse_yx > 0.7 * coarse_yx[core_yx].max())
    profile = np.log(np.maximum(fine_yx[:, hottest.any(axis=0)].mean(axis=1), 1.0))
    rows = np.flatnonzero(hottest.any(axis=1))
    peak = int(rows[0] + np.argmax(profile[rows[0] : rows[-1] + 1]))
    step = max(1, round(_RISE_MM / pixel_mm))
    middle = np.arange(step, peak + 1)
    if not middle.size:
        return int(rows[0])
    above, below = profile[middle - step], profile[np.minimum(middle + step, peak)]
    over = profile[: peak + 1]
    usual = float(np.median(over[over > over.max() - _FAINTEST_LUNG]))
    rise = np.where(above > usual - _APEX_BELOW, below - above, 0.0)
    marked = rise >= max(_LEAST_RISE, min(0.45 * float(rise.max()), _MARKED_RISE))
    reached = usual + _LIVER_REACHED * (float(np.median(profile[rows])) - usual)
    labels, count = ndimage.label(marked)
    for number in range(1, count + 1):
        run = np.flatnonzero(labels == number)
        # A patch of lung rises as well, but not far towards the liver.
        if float(below[run].max()) >= reached:
            return int(middle[run[int(np.argmax(rise[run]))]])
    return int(rows[0])


def _top_row(mask_yx: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(mask_yx.any(axis=1))[0])


def _most_cranial_large(mask_yx: NDArray[np.bool_], level_yx: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Of the parts that hold a quarter of the largest part's counts at a similar level, the one highest up.

    A spill round the pump may outshine the liver, but it lies below it.
    """
    labels, count = ndimage.label(mask_yx)
    if not count:
        return None
    numbers = np.arange(1, count + 1)
    sums = np.asarray(ndimage.sum_labels(level_yx, labels, numbers))
    medians = np.asarray(ndimage.median(level_yx, labels, numbers))
    rows = np.asarray(ndimage.center_of_mass(mask_yx, labels, numbers))[:, 0]
    largest = int(np.argmax(sums))
    large = (sums >= _LARGE_SHARE_FRACTION * sums[largest]) & (medians >= 0.3 * medians[largest])
    chosen = min(np.flatnonzero(large), key=lambda index: float(rows[index]))
    return np.asarray(labels == chosen + 1, np.bool_)


def _level_above(pair: PlanarPair, fine_yx: NDArray[np.float64], top_row: int) -> float:
    """90th percentile of the band from 30 to 150 mm above a row, which holds the lungs if any are in the field."""
    band = np.zeros(fine_yx.shape, np.bool_)
    first, last = (max(0, top_row - round(reach_mm / pair.pixel_mm)) for reach_mm in (150.0, 30.0))
    band[first:last] = True
    band &= pair.field_yx
    return float(np.percentile(fine_yx[band], 90)) if band.sum() > 30 else 0.0


def _find_lungs(
    pair: PlanarPair, hot: _HotOrgans, halos: tuple[Halo, Halo], thresholds: Thresholds
) -> tuple[NDArray[np.bool_], float]:
    """Lungs above the dome and their level, from what the halo leaves."""
    pixel_mm = pair.pixel_mm
    left_over = [
        np.maximum(ndimage.gaussian_filter((view - halo.counts_yx) * pair.field_yx, _LUNG_BLUR_MM / pixel_mm), 0.0)
        for view, halo in zip(pair.counts_yx, halos, strict=True)
    ]
    uptake = np.sqrt(left_over[0] * left_over[1])
    rows = np.arange(uptake.shape[0])[:, None]
    dome = _top_row(hot.liver_yx)
    from_hot_mm = ndimage.distance_transform_edt(~hot.hot_yx) * pixel_mm
    reach = pair.field_yx & (rows > dome - _LUNG_REACH_MM / pixel_mm)
    band = reach & (rows < dome - 55.0 / pixel_mm) & (from_hot_mm > 30.0)
    nothing = np.zeros(uptake.shape, np.bool_)
    if band.sum() * pixel_mm**2 < 4000.0:
        return nothing, 0.0
    level = float(np.percentile(uptake[band], 90))
    # Only on the left does a lung reach below the dome; right of the liver lies what a missing right lobe still holds.
    right_of_liver = np.arange(uptake.shape[1])[None, :] < np.argwhere(hot.liver_yx)[:, 1].mean()
    base = np.where(right_of_liver, dome, dome + _BASE_BELOW_DOME_MM / pixel_mm)
    zone = reach & (rows < base) & (from_hot_mm > _clearance_mm(thresholds))
    bright = zone & (uptake > thresholds.lung_edge_fraction * level) & (uptake < 3.0 * level)
    bright = ndimage.binary_opening(bright, iterations=max(1, round(8.0 / pixel_mm)))
    labels, count = ndimage.label(bright)
    above = rows < dome - 20.0 / pixel_mm
    kept = [
        number
        for number in range(1, count + 1)
        if (labels == number).sum() * pixel_mm**2 > _LEAST_LUNG_MM2 and ((labels == number) & above).any()
    ]
    lungs = np.asarray(np.isin(labels, kept), np.bool_)
    return (lungs, level) if lungs.any() else (nothing, 0.0)


def _trunk(pair: PlanarPair, organs_yx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The columns that liver and lungs span, with the thickness of the chest wall on both sides."""
    columns = np.flatnonzero(organs_yx.any(axis=0))
    margin = round(_TRUNK_MARGIN_MM / pair.pixel_mm)
    trunk = np.zeros(organs_yx.shape, np.bool_)
    trunk[:, max(0, columns[0] - margin) : columns[-1] + margin + 1] = True
    return trunk & pair.field_yx


def _cut_fraction(lungs_yx: NDArray[np.bool_], field_yx: NDArray[np.bool_]) -> float:
    """Width of the lungs at the field's upper edge relative to their greatest width."""
    if not lungs_yx.any():
        return 0.0
    top = int(np.flatnonzero(field_yx.any(axis=1))[0])
    widths = lungs_yx.sum(axis=1)
    return float(widths[top : top + 2].max() / widths.max())
