"""Lateral views: at which depth a focus lies, and whether it is clear of the liver when seen from the side.

A stomach behind the left lobe or a duodenum beside the liver may touch it in opposite views and lie apart from it in a
lateral one. A lateral view is brought onto the grid of the pair, anterior at column 0 and rows as in the pair, and read
like a view of the pair: halo, liver, peaks, and the valley between each peak and the liver's core.

A valley alone proves nothing here: a left lobe near the camera is a peak of its own before the right one. So a peak is
clear of the liver only where its outline also keeps its distance from that of the liver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from analyzers.scintigraphy.peaks import part_above, significant_maxima, surface_of
from analyzers.scintigraphy.regions import NoLiver, PlanarRegions, dilated, find_regions
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair, field_of_view, shift_between_mm, summed_counts
from analyzers.scintigraphy.whereabouts import LocatedFocus
from analyzers.volume import PlanarView

LEFT_LATERAL = "left-lateral"
RIGHT_LATERAL = "right-lateral"
_SAME_HEIGHT_MM = 18.0
_MOST_SHIFT_MM = 20.0
_LUNG_MARGIN_MM = 12.0
_HALF = 0.5
_DEEP_VALLEY = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class LateralPeak:
    """A significant maximum of one lateral view.

    Attributes
    ----------
    row_col : (int, int)
        On the grid of the pair; columns count from the patient's front to the back.
    valley_fraction : float
        Height of the highest pass to the liver's core relative to the peak: near 0 apart from the liver.
    behind_front_mm : float
        Depth behind the front edge of the liver; negative before it.
    clear_of_liver : bool
        A deep valley, and an outline at half its height that keeps away from that of the liver.
    """

    row_col: tuple[int, int]
    valley_fraction: float
    behind_front_mm: float
    clear_of_liver: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LateralReading:
    """One lateral view that could be read.

    Attributes
    ----------
    view : PlanarView
        As received.
    regions : PlanarRegions
        On the grid of the pair, anterior at column 0.
    peaks : tuple of LateralPeak
    """

    view: PlanarView
    regions: PlanarRegions
    peaks: tuple[LateralPeak, ...]

    @property
    def words(self) -> str:
        """Name of the view for a report."""
        return self.view.direction.replace("-", " ")


def read_laterals(
    views: Sequence[PlanarView], pair: PlanarPair, thresholds: Thresholds
) -> tuple[tuple[LateralReading, ...], tuple[str, ...]]:
    """Read the brightest lateral view of each side; remarks say which could not be used and why."""
    readings, remarks = [], []
    for direction in (LEFT_LATERAL, RIGHT_LATERAL):
        found = [view for view in views if view.direction == direction]
        if not found:
            continue
        outcome = _read(max(found, key=lambda view: float(view.counts.sum(dtype=np.float64))), pair, thresholds)
        if isinstance(outcome, LateralReading):
            readings.append(outcome)
        else:
            remarks.append(f"The {direction.replace('-', ' ')} view was not used: {outcome}.")
    return tuple(readings), tuple(remarks)


def _read(view: PlanarView, pair: PlanarPair, thresholds: Thresholds) -> LateralReading | str:
    front = pair.anterior
    if view.counts.shape != front.counts.shape or view.spacing_row_col_mm != front.spacing_row_col_mm:
        return "its matrix or pixel size is another than that of the opposite views"
    counts = view.counts if view.direction == LEFT_LATERAL else view.counts[:, ::-1]
    counts_yx = summed_counts(counts, pair.binning)
    down_mm, _ = shift_between_mm(pair.anterior_yx + pair.posterior_yx, counts_yx, pair.pixel_mm)
    if abs(down_mm) > _MOST_SHIFT_MM:
        return f"it is shifted by {abs(down_mm):.0f} mm along the body against the opposite views"
    alone = replace(pair, anterior_yx=counts_yx, posterior_yx=counts_yx, field_yx=field_of_view(counts_yx))
    regions = find_regions(alone, thresholds)
    if isinstance(regions, NoLiver):
        return "no liver was found on it"
    return LateralReading(view=view, regions=regions, peaks=_peaks(alone, regions, thresholds))


def _peaks(alone: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> tuple[LateralPeak, ...]:
    surface = surface_of(alone, alone.anterior_yx, regions.halos[0].counts_yx, regions, thresholds)
    lungs = dilated(regions.lungs_yx | regions.lung_gap_yx, _LUNG_MARGIN_MM, alone.pixel_mm)
    front = float(np.flatnonzero(regions.liver_yx.any(axis=0))[0])
    from_liver_mm = ndimage.distance_transform_edt(~regions.liver_yx) * alone.pixel_mm
    found = []
    for place in significant_maxima(surface, alone, thresholds):
        if lungs[place]:
            continue
        outline = part_above(surface.excess_yx, _HALF * float(surface.excess_yx[place]), place)
        valley = surface.valley(place)
        found.append(
            LateralPeak(
                row_col=place,
                valley_fraction=valley,
                behind_front_mm=(place[1] - front) * alone.pixel_mm,
                clear_of_liver=bool(
                    valley < _DEEP_VALLEY and from_liver_mm[outline].min() >= thresholds.lateral_clear_of_liver_mm
                ),
            )
        )
    return tuple(found)


def seen_from_the_side(
    item: LocatedFocus, laterals: Sequence[LateralReading], pixel_mm: float, thresholds: Thresholds
) -> LocatedFocus:
    """Say at which depth a focus lies and whether a lateral view shows it clear of the liver; the latter makes it sure.

    A peak of a lateral view is taken for the focus where both lie at one height, the one clear of the liver first.
    """
    row = item.focus.peak_row_col[0]
    near = [
        (peak, lateral)
        for lateral in laterals
        for peak in lateral.peaks
        if abs(peak.row_col[0] - row) * pixel_mm <= _SAME_HEIGHT_MM
    ]
    if not near:
        return item
    peak, lateral = min(near, key=lambda pair: (not pair[0].clear_of_liver, pair[0].valley_fraction))
    if not peak.clear_of_liver:
        return item
    depth = f"{abs(peak.behind_front_mm):.0f} mm {'behind' if peak.behind_front_mm >= 0 else 'before'} its front edge"
    where = replace(
        item.whereabouts,
        reason=f"{item.whereabouts.reason}; the {lateral.words} view shows it clear of the liver, {depth}",
    )
    sure = max(item.focus.probability, thresholds.sure_focus_probability)
    focus = replace(item.focus, probability=sure, stands_apart=True, clear_in_lateral=True)
    return replace(item, focus=focus, whereabouts=where)


def laterals_sentence(laterals: Sequence[LateralReading], foci: Sequence[LocatedFocus]) -> str:
    """What the lateral views added; empty without any."""
    if not laterals:
        return ""
    names = " and ".join(lateral.words for lateral in laterals)
    clear = [item.focus.name.removeprefix("focus-") for item in foci if item.focus.clear_in_lateral]
    if clear:
        return f"Lateral views ({names}) show clear of the liver: focus {', '.join(clear)}."
    if foci:
        return f"Lateral views ({names}) show none of the foci clear of the liver."
    return f"Lateral views ({names}) were read for depth; there is no focus to place."
