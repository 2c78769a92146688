"""Whether the patient lay still: how far the picture moves from slice to slice of a dynamic series.

Two opposite views at one time show a slip alike, so the pair itself cannot tell it; time slices can. Only slices in
which most of the tracer has arrived are compared, since before that the picture changes by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Gate
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.volume import LoadedSeries, PlanarView

STILL = "patient lay still"
_ARRIVED_FRACTION = 0.7
_LEAST_KILOCOUNTS = 20.0
_LEAST_GROUPS = 2
_BLUR_MM = 12.0
_ASSUMED_MM = 4.8


def stillness_gate(dynamic: Sequence[LoadedSeries], thresholds: Thresholds) -> tuple[Gate, ...]:
    """One gate where a dynamic series could be followed; none where there is no such series."""
    moved = [shift for loaded in dynamic if (shift := greatest_shift_mm(loaded.views)) is not None]
    if not moved:
        return ()
    return (
        Gate(
            name=STILL,
            passed=max(moved) <= thresholds.most_motion_mm,
            seen=f"the liver moved by {max(moved):.0f} mm within the dynamic series",
            wanted=f"at most {thresholds.most_motion_mm:.0f} mm",
        ),
    )


def greatest_shift_mm(views: Sequence[PlanarView]) -> float | None:
    """Greatest distance between the picture's places in two parts of a dynamic series.

    Parameters
    ----------
    views : sequence of PlanarView
        Time slices of one or more directions, each in the order of its frames.

    Returns
    -------
    float or None
        In mm; ``None`` where too few counts or slices are there to tell.
    """
    found = []
    for direction in dict.fromkeys(view.direction for view in views):
        slices = [view for view in views if view.direction == direction]
        groups = _groups([np.asarray(view.counts, np.float64) for view in slices])
        if len(groups) >= _LEAST_GROUPS:
            spacing_mm = slices[0].spacing_row_col_mm
            found.append(_spread_mm(groups, float(np.mean(spacing_mm)) if spacing_mm else _ASSUMED_MM))
    return max(found) if found else None


def _groups(slices: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Sums of successive slices with enough counts each, from when most of the tracer has arrived."""
    totals = np.asarray([float(counts.sum()) for counts in slices])
    if not totals.size or totals.max() <= 0:
        return []
    least = _ARRIVED_FRACTION * float(totals.max())
    arrived = [counts for counts, total in zip(slices, totals, strict=True) if total >= least]
    groups: list[NDArray[np.float64]] = []
    gathered = np.zeros_like(arrived[0])
    for counts in arrived:
        gathered = gathered + counts
        if gathered.sum() >= 1000.0 * _LEAST_KILOCOUNTS:
            groups.append(gathered)
            gathered = np.zeros_like(counts)
    return groups


def _spread_mm(groups: list[NDArray[np.float64]], pixel_mm: float) -> float:
    """Distance between the outermost places of what is hot."""
    places = []
    for counts in groups:
        smooth = ndimage.gaussian_filter(counts, _BLUR_MM / pixel_mm)
        # Weights instead of a threshold alone, so that the place moves smoothly with the picture.
        weights = np.maximum(smooth - 0.3 * smooth.max(), 0.0)
        places.append(ndimage.center_of_mass(weights))
    apart = np.asarray(places)[:, None] - np.asarray(places)[None]
    return float(np.hypot(apart[..., 0], apart[..., 1]).max()) * pixel_mm
