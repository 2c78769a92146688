"""How the tracer divides between the right and the left side of the liver, as far as a projection can tell.

A projection cannot follow the oblique plane between the lobes; a vertical line stands for it, 0.31 of the way from
the midline of the body to the right edge of the liver. How far off that may be gives the interval of the split: the
shares that the line would give at both ends of its own interval. The levels on both sides, rather than the counts,
decide whether a lobe has uptake at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.landmarks import Landmarks
from analyzers.scintigraphy.regions import PlanarRegions
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair

_LEFT_REACH_MM = 65.0
_RIGHT_REACH_MM = 130.0
_ROWS_MM = 140.0
_ABOVE_MM = 30.0
_SPINE_MM = 10.0
_RIGHT_EDGE_MM = (90.0, 200.0)


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
        Ratio of the levels (90th percentiles of the smoothed geometric mean less the halo).
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
    height = (rows > landmarks.dome_row - _ABOVE_MM / pair.pixel_mm) & (
        rows < landmarks.dome_row + _ROWS_MM / pair.pixel_mm
    )
    usable = height & pair.field_yx & ~taken_yx & ~regions.lungs_yx & ~regions.lung_gap_yx
    left_zone = usable & (columns > landmarks.column_at(_SPINE_MM)) & (columns < landmarks.column_at(_LEFT_REACH_MM))
    right_zone = usable & (columns < landmarks.column_at(-50.0)) & (columns > landmarks.column_at(-_RIGHT_REACH_MM))
    ratio = _level(smooth, left_zone) / max(_level(smooth, right_zone), 1e-9)
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


def _level(smooth_yx: NDArray[np.float64], zone_yx: NDArray[np.bool_]) -> float:
    return float(np.percentile(smooth_yx[zone_yx], 90)) if zone_yx.any() else 0.0
