"""How the tracer divides between the right and the left side of the liver, as far as a projection can tell.

A projection cannot follow the oblique plane between the lobes; a vertical line a little to the right of the midline
stands for it. The levels on both sides, rather than the counts, decide whether a lobe has uptake at all.
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
    left_to_right_level : float
        Ratio of the levels (90th percentiles of the smoothed geometric mean less the halo).
    uptake : LobeUptake
    left_yx, right_yx : (rows, columns) bool
        The parts of the liver on both sides of the line; one may be empty.
    """

    left_share_fraction: float
    left_to_right_level: float
    uptake: LobeUptake
    left_yx: NDArray[np.bool_]
    right_yx: NDArray[np.bool_]


def split_lobes(
    pair: PlanarPair, regions: PlanarRegions, landmarks: Landmarks, taken_yx: NDArray[np.bool_], thresholds: Thresholds
) -> LobarSplit:
    """Divide the liver; ``taken_yx`` are pixels of foci that belong to neither side."""
    line = landmarks.column_at(-thresholds.split_right_of_midline_mm)
    columns = np.arange(regions.liver_yx.shape[1])[None, :]
    left_side = columns >= line
    views = [view - halo.counts_yx for view, halo in zip(pair.counts_yx, regions.halos, strict=True)]
    counts = regions.liver_counts_yx & ~taken_yx
    left, right = (_geometric_mean(views, counts & side) for side in (left_side, ~left_side))
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
        left_share_fraction=left / max(left + right, 1e-9),
        left_to_right_level=ratio,
        uptake=uptake,
        left_yx=regions.liver_yx & left_side,
        right_yx=regions.liver_yx & ~left_side,
    )


def _geometric_mean(views: list[NDArray[np.float64]], mask_yx: NDArray[np.bool_]) -> float:
    front, back = (max(float(view[mask_yx].sum()), 0.0) for view in views)
    return float(np.sqrt(front * back))


def _smoothed_mean(views: list[NDArray[np.float64]], pair: PlanarPair) -> NDArray[np.float64]:
    front, back = (np.maximum(ndimage.gaussian_filter(view, 8.0 / pair.pixel_mm), 0.0) for view in views)
    return np.asarray(np.sqrt(front * back), np.float64)


def _level(smooth_yx: NDArray[np.float64], zone_yx: NDArray[np.bool_]) -> float:
    return float(np.percentile(smooth_yx[zone_yx], 90)) if zone_yx.any() else 0.0
