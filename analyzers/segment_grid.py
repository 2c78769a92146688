"""The grid that the frames of a segmentation lie on.

A segmentation has a frame for each segment and plane, in any order, and leaves out planes on which a segment is empty.
So its planes are a grid with holes, and the distance between them is what the object says, or else the least that
occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import FrameSummary
from analyzers.geometry import (
    EVENNESS_FRACTION,
    ROUNDED_POSITION_MM,
    SAME_PLACE_MM,
    STEEPEST_STEP_DEG,
    THINNEST_STEP_MM,
    StackRefusedError,
    slice_normal,
)
from analyzers.stacks import ORIENTATION_TOLERANCE

MOST_PLANES = 4000
"""Between the first and the last: a whole body at half a millimetre."""
_SPACING_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlace:
    """One frame of a segmentation: its index from 0, the segment that it shows, and its plane."""

    index: int
    segment_number: int | None
    frame: FrameSummary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentGrid:
    """Where planes may lie; ``affine_lps`` (4, 4) takes (x, y, z, 1) indices to LPS mm, plane 0 being the first."""

    affine_lps: NDArray[np.float64]

    def index(self, place: FramePlace) -> int:
        """Number of a frame's plane, from 0."""
        normal = np.cross(self.affine_lps[:3, 0], self.affine_lps[:3, 1])
        from_first = np.asarray(place.frame.position_lps_mm, np.float64) - self.affine_lps[:3, 3]
        return round(float(from_first @ normal) / float(self.affine_lps[:3, 2] @ normal))


def grid_of(places: Sequence[FramePlace], stated_step_mm: float | None) -> SegmentGrid:
    """Find the grid of all frames.

    Parameters
    ----------
    places : sequence of FramePlace
    stated_step_mm : float or None
        Spacing Between Slices, believed where the planes fit it.

    Raises
    ------
    StackRefusedError
        If frames name no plane, differ in direction or spacing, or lie at uneven distances.
    """
    first = places[0].frame if places else FrameSummary(frame=None)
    orientation, spacing = first.orientation, first.spacing_row_col_mm
    if orientation is None or spacing is None or any(not _has_plane(place.frame) for place in places):
        raise StackRefusedError("its frames name no position, orientation and spacing in the patient")
    if any(not _is_like(place.frame, first) for place in places):
        raise StackRefusedError("its frames differ in direction or pixel spacing")
    normal = slice_normal(orientation)
    positions = np.asarray([place.frame.position_lps_mm for place in places], np.float64)
    positions = positions[np.argsort(positions @ normal, kind="stable")]
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(orientation[:3]) * spacing[1]
    affine[:3, 1] = np.asarray(orientation[3:]) * spacing[0]
    affine[:3, 2] = _step(positions, normal, stated_step_mm, first.slice_thickness_mm)
    affine[:3, 3] = positions[0]
    return SegmentGrid(affine_lps=affine)


def _has_plane(frame: FrameSummary) -> bool:
    return None not in (frame.position_lps_mm, frame.orientation, frame.spacing_row_col_mm)


def _is_like(frame: FrameSummary, first: FrameSummary) -> bool:
    directions = np.subtract(frame.orientation or (), first.orientation or ())
    spacings = np.divide(frame.spacing_row_col_mm or (), first.spacing_row_col_mm or ())
    return bool(
        np.abs(directions).max() <= ORIENTATION_TOLERANCE and np.abs(spacings - 1.0).max() <= _SPACING_TOLERANCE
    )


def _step(
    positions: NDArray[np.float64], normal: NDArray[np.float64], stated_mm: float | None, thickness_mm: float | None
) -> NDArray[np.float64]:
    """From plane to plane, (3,) LPS mm, along the line on which the planes lie."""
    gaps = np.diff(positions @ normal)
    apart = gaps[gaps > SAME_PLACE_MM]
    stated = abs(stated_mm) if stated_mm else None
    if not apart.size:
        alone = stated or thickness_mm
        if alone is None:
            raise StackRefusedError("it is a single plane without a thickness")
        return normal * alone
    distance = _distance_mm(apart, stated, thickness_mm)
    multiples = np.rint(gaps / distance)
    if distance < THINNEST_STEP_MM or (np.abs(gaps - multiples * distance) > _tolerance_mm(distance)).any():
        raise StackRefusedError(f"its planes lie at uneven distances ({apart.min():.2f} to {apart.max():.2f} mm)")
    numbers = np.concatenate([[0.0], np.cumsum(multiples)])
    if numbers[-1] >= MOST_PLANES:
        raise StackRefusedError(f"its planes span {numbers[-1] + 1:.0f} steps, too many to be believed")
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / numbers[-1]
    off_line_mm = float(np.linalg.norm(positions - positions[0] - numbers[:, None] * step, axis=1).max())
    cosine = float(step @ normal) / float(np.linalg.norm(step))
    if off_line_mm > _tolerance_mm(distance) or np.degrees(np.arccos(min(1.0, cosine))) > STEEPEST_STEP_DEG:
        raise StackRefusedError(f"its planes do not lie on one straight line (up to {off_line_mm:.1f} mm off it)")
    return step


def _distance_mm(apart: NDArray[np.float64], stated_mm: float | None, thickness_mm: float | None) -> float:
    """Distance of neighbouring planes: the least that occurs, or what the object says.

    A smaller stated one means that planes between are empty; that is believed only where the planes are as thin.
    """
    least = float(apart.min())
    if stated_mm is None or least < 1.5 * stated_mm:
        return least
    is_as_thin = thickness_mm is not None and thickness_mm < 1.5 * stated_mm
    return stated_mm if is_as_thin else least


def _tolerance_mm(step_mm: float) -> float:
    return max(min(ROUNDED_POSITION_MM, 0.3 * step_mm), EVENNESS_FRACTION * step_mm)
