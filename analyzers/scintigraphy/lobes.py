"""How the tracer divides between the right and the left side of the liver, as far as a projection can tell.

A projection cannot follow the oblique plane between the lobes; a vertical line stands for it, 0.31 of the way from
the midline of the body to the right edge of the liver. How far off that may be gives the interval of the split: the
shares that the line would give at both ends of its own interval. The levels on both sides, rather than the counts,
decide whether a lobe has uptake at all.

A left lobe hangs on the right one: on the way to it uptake may fall, but does not rise again out of nothing. Stomach,
spleen and the base of a bright lung lie beyond a valley, and without a left lobe they are all that its place holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import reconstruction

from analyzers.scintigraphy.landmarks import Landmarks
from analyzers.scintigraphy.regions import PlanarRegions, dilated
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair

_LEFT_REACH_MM = 65.0
_RIGHT_REACH_MM = 130.0
_ROWS_MM = 140.0
_LUNG_BLUR_MM = 10.0
_SPINE_MM = 10.0
_RIGHT_EDGE_MM = (90.0, 200.0)
_RIGHT_FROM_MM = 50.0
_HIGHEST_RATIO = 100.0
"""A side with less than a hundredth of the other's level is background, and how much less says nothing."""
_LEFT_PERCENTILE = 90.0
"""A small left lobe fills little more than a tenth of the place where one may lie."""
_RIGHT_PERCENTILE = 75.0
"""A right lobe fills most of its place; a tenth of that place is reached by the blur of a left lobe alone."""


class LobeUptake(StrEnum):
    """What the levels say."""

    BOTH = "both"
    NO_LEFT = "no-left"
    NO_RIGHT = "no-right"


@dataclass(frozen=True, slots=True, kw_only=True)
class LobarSplit:
    """Split of the liver's counts.

    Attributes
    ----------
    left_share_fraction : float
        Left of the dividing line, of the liver's geometric-mean counts.
    left_share_low, left_share_high : float
        95 % interval, from where the line may lie.
    left_to_right_level : float
        Ratio of the levels: percentiles of the smoothed geometric mean less the halo, the 90th on the left, the 75th on
        the right. Where the right side is the brighter one, uptake on the left counts no higher than the pass from
        there. From 0 to 100.
    uptake : LobeUptake
    left_yx, right_yx : (rows, columns) bool
        The parts of the liver on both sides of the line; one may be empty.
    """

    left_share_fraction: float
    left_share_low: float
    left_share_high: float
    left_to_right_level: float
    uptake: LobeUptake
    left_yx: NDArray[np.bool_]
    right_yx: NDArray[np.bool_]


def split_lobes(
    pair: PlanarPair, regions: PlanarRegions, landmarks: Landmarks, taken_yx: NDArray[np.bool_], thresholds: Thresholds
) -> LobarSplit:
    """Divide the liver; ``taken_yx`` are pixels of foci that belong to neither side."""
    line_mm = -dividing_mm(regions, landmarks, thresholds)
    columns = np.arange(regions.liver_yx.shape[1])[None, :]
    left_side = columns >= landmarks.column_at(line_mm)
    views = [view - halo.counts_yx for view, halo in zip(pair.counts_yx, regions.halos, strict=True)]
    counts = regions.liver_counts_yx & ~taken_yx
    doubt_mm = thresholds.split_line_error_mm
    share, low, high = (
        _left_share(views, counts, landmarks, line_mm + moved_mm) for moved_mm in (0.0, doubt_mm, -doubt_mm)
    )
    smooth = _smoothed_mean(views, pair)
    rows = np.arange(smooth.shape[0])[:, None]
    height = (rows > landmarks.dome_row) & (rows < landmarks.dome_row + _ROWS_MM / pair.pixel_mm)
    lungs = dilated(regions.lungs_yx, _LUNG_BLUR_MM, pair.pixel_mm) | regions.lung_gap_yx
    usable = height & pair.field_yx & ~taken_yx & ~lungs
    ratio = _left_to_right(smooth, usable, landmarks)
    uptake = LobeUptake.BOTH
    if ratio < thresholds.absent_left_fraction:
        uptake = LobeUptake.NO_LEFT
    elif 1.0 / max(ratio, 1e-9) < thresholds.absent_right_fraction:
        uptake = LobeUptake.NO_RIGHT
    return LobarSplit(
        left_share_fraction=share,
        left_share_low=min(low, share),
        left_share_high=max(high, share),
        left_to_right_level=ratio,
        uptake=uptake,
        left_yx=regions.liver_yx & left_side,
        right_yx=regions.liver_yx & ~left_side,
    )


def _left_to_right(smooth_yx: NDArray[np.float64], usable_yx: NDArray[np.bool_], landmarks: Landmarks) -> float:
    """Level of the place of the left lobe relative to that of the right one; no more than its pass where fainter."""
    columns = np.arange(smooth_yx.shape[1])[None, :]
    left_zone = usable_yx & (columns > landmarks.column_at(_SPINE_MM)) & (columns < landmarks.column_at(_LEFT_REACH_MM))
    right_zone = (
        usable_yx & (columns < landmarks.column_at(-_RIGHT_FROM_MM)) & (columns > landmarks.column_at(-_RIGHT_REACH_MM))
    )
    left, right = _level(smooth_yx, left_zone, _LEFT_PERCENTILE), _level(smooth_yx, right_zone, _RIGHT_PERCENTILE)
    if left < right:
        left = _level(_reached_from(right_zone, smooth_yx, usable_yx), left_zone, _LEFT_PERCENTILE)
    return left / max(right, left / _HIGHEST_RATIO, 1e-9)


def _reached_from(
    start_yx: NDArray[np.bool_], smooth_yx: NDArray[np.float64], usable_yx: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Height of the highest pass from a region to every pixel, its own height where no valley lies between."""
    ground = np.where(usable_yx, smooth_yx, 0.0)
    return np.asarray(reconstruction(np.where(start_yx, ground, 0.0), ground), np.float64)


def dividing_mm(regions: PlanarRegions, landmarks: Landmarks, thresholds: Thresholds) -> float:
    """How far right of the midline the dividing line lies; a fixed distance where no right edge of a liver shows."""
    edge = float(np.flatnonzero(regions.liver_yx.any(axis=0))[0])
    reach_mm = -landmarks.left_of_midline_mm(edge)
    if reach_mm < _RIGHT_EDGE_MM[0] or reach_mm > _RIGHT_EDGE_MM[1]:
        return thresholds.split_right_of_midline_mm
    return thresholds.split_reach_fraction * reach_mm


def _left_share(
    views: list[NDArray[np.float64]], counts_yx: NDArray[np.bool_], landmarks: Landmarks, line_mm: float
) -> float:
    """Share of the geometric-mean counts left of a line; the column that the line crosses is divided."""
    # Column c covers c - 1/2 to c + 1/2.
    across = landmarks.midline_col + line_mm / landmarks.pixel_mm
    weight = np.clip(np.arange(counts_yx.shape[1]) + 0.5 - across, 0.0, 1.0)[None, :]
    left, right = (_geometric_mean([view * part for view in views], counts_yx) for part in (weight, 1.0 - weight))
    return left / max(left + right, 1e-9)


def _geometric_mean(views: list[NDArray[np.float64]], mask_yx: NDArray[np.bool_]) -> float:
    front, back = (max(float(view[mask_yx].sum()), 0.0) for view in views)
    return float(np.sqrt(front * back))


def _smoothed_mean(views: list[NDArray[np.float64]], pair: PlanarPair) -> NDArray[np.float64]:
    front, back = (np.maximum(ndimage.gaussian_filter(view, 8.0 / pair.pixel_mm), 0.0) for view in views)
    return np.asarray(np.sqrt(front * back), np.float64)


def _level(smooth_yx: NDArray[np.float64], zone_yx: NDArray[np.bool_], percentile: float) -> float:
    return float(np.percentile(smooth_yx[zone_yx], percentile)) if zone_yx.any() else 0.0
