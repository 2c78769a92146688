"""Extrahepatic foci on planar views: which peaks are not liver, how sure, and how large.

Every significant peak has a probability of being a focus of its own (:mod:`~analyzers.scintigraphy.likelihood`), and
those above the operating point are foci. A hot tumour at the liver's edge has no valley to the liver, and neither has
stomach behind it: planar foci that no view shows clear of the liver cannot be told from tumours, and are not claimed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.landmarks import find_landmarks
from analyzers.scintigraphy.likelihood import focus_probability
from analyzers.scintigraphy.peaks import FOCUS_EDGE_FRACTION, Peak, find_peaks, long_axis_mm, part_above, pass_height
from analyzers.scintigraphy.regions import PlanarRegions, dilated
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair

_FOCUS_BLUR_MARGIN_MM = 6.0
_LUNG_BLUR_MARGIN_MM = 10.0
_SKIRT_FRACTION = 0.2
_SKIRT_REACH_MM = 30.0
_SHALLOW_RADIUS_MM = 14.0


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
    probability : float
        That it is no part of the liver, from the better view.
    stands_apart : bool
        That probability is high enough to be sure.
    peak_row_col : (int, int)
        On the working grid.
    best_view : int
        0 where the anterior view shows it best, 1 where the posterior one does.
    from_liver_mm : float
        Least distance between both outlines.
    clear_in_lateral : bool
        A lateral view shows it clear of the liver.
    cut_by_field : bool
        It reaches the edge of the field: it holds more than was counted.
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
    probability: float
    stands_apart: bool
    peak_row_col: tuple[int, int]
    best_view: int
    from_liver_mm: float = 0.0
    clear_in_lateral: bool = False
    cut_by_field: bool = False


def find_foci(pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> tuple[PlanarFocus, ...]:
    """Find foci outside the liver and the lungs, the largest share first."""
    found = []
    for peak in find_peaks(pair, regions, find_landmarks(pair, regions), thresholds):
        probability = focus_probability(peak.evidence)
        if probability < thresholds.focus_probability:
            continue
        found.append(_measure(pair, regions, peak, probability, thresholds))
    weighed = [focus for focus in found if focus.share_fraction >= thresholds.least_focus_share_fraction]
    distinct = _distinct(weighed, pair.pixel_mm)
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


def _measure(
    pair: PlanarPair,
    regions: PlanarRegions,
    peak: Peak,
    probability: float,
    thresholds: Thresholds,
) -> PlanarFocus:
    """Outline a focus at half its height, sum it down to a fifth of it, never below the pass to the liver."""
    surface, place = peak.surface, peak.row_col
    height = float(surface.excess_yx[place])
    floor = 1.05 * pass_height(surface.excess_yx, place, surface.core_yx)
    # Lungs half as bright as a spleen below them are no part of it.
    lungs = dilated(regions.lungs_yx, _LUNG_BLUR_MARGIN_MM, pair.pixel_mm)
    excess_yx = np.where(lungs & ~_disc(lungs.shape, place, pair), 0.0, surface.excess_yx)
    mask = part_above(excess_yx, max(FOCUS_EDGE_FRACTION * height, floor), place)
    if mask.sum() < 2:
        # Next to no valley: the surroundings of the peak stand for it, and its share is a guess.
        mask = part_above(excess_yx, FOCUS_EDGE_FRACTION * height, place) & _disc(mask.shape, place, pair)
    skirt = mask | part_above(excess_yx, max(_SKIRT_FRACTION * height, floor), place)
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
    apart_mm = ndimage.distance_transform_edt(~(regions.liver_yx & ~summed)) * pair.pixel_mm
    return PlanarFocus(
        name="",
        mask_yx=mask,
        summed_yx=summed,
        share_fraction=counts / liver_mean,
        share_uncertainty=1.96 * relative * counts / liver_mean,
        peak_fraction=height / surface.level,
        significance_sigma=float(surface.sigma_yx[place]),
        front_back_ratio=max(excesses[0], 1.0) / (max(excesses[1], 1.0) * pair.posterior_scale),
        long_axis_mm=long_axis_mm(mask, pair.pixel_mm),
        clear_of_liver=bool(apart_mm[mask].min() >= thresholds.focus_clear_of_liver_mm),
        from_liver_mm=float(apart_mm[mask].min()),
        probability=probability,
        stands_apart=probability >= thresholds.sure_focus_probability,
        peak_row_col=place,
        best_view=peak.view,
        cut_by_field=bool((mask & ~ndimage.binary_erosion(pair.field_yx)).any()),
    )


def _disc(shape: tuple[int, ...], place: tuple[int, int], pair: PlanarPair) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    square = (rows - place[0]) ** 2 + (columns - place[1]) ** 2
    return np.asarray(square <= (_SHALLOW_RADIUS_MM / pair.pixel_mm) ** 2, np.bool_)


def _distinct(foci: list[PlanarFocus], pixel_mm: float) -> list[PlanarFocus]:
    """One focus where both views show the same, the more significant one; also where outlines of one view overlap."""
    kept: list[PlanarFocus] = []
    for focus in sorted(foci, key=lambda focus: -focus.significance_sigma):
        around = dilated(focus.mask_yx, _FOCUS_BLUR_MARGIN_MM, pixel_mm)
        same = next((n for n, known in enumerate(kept) if (around & known.mask_yx).any()), None)
        if same is None:
            kept.append(focus)
        elif focus.probability > kept[same].probability:
            sure = focus.stands_apart or kept[same].stands_apart
            kept[same] = replace(kept[same], probability=focus.probability, stands_apart=sure)
    return kept
