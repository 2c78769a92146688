"""Whether a set of planes is a stack, and where it lies.

A *plane* has a position (centre of its first pixel, LPS mm) and an orientation (directions of its rows and columns).
A *stack* is a set of parallel planes whose positions lie on one straight line at even distances. The line need not
be perpendicular to the planes: a tilted gantry shears the grid, and the affine keeps the shear. Anything else is
refused with numbers: resampling uneven slices in silence would change every length and volume measured on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Orientation = tuple[float, float, float, float, float, float]

ROUNDED_POSITION_MM = 0.11
"""Distance from the even line that positions rounded to a tenth of a millimetre may have (their own and the ends')."""
EVENNESS_FRACTION = 0.05
"""Distance from the even line, as part of the spacing, that no measurement would notice (table motion)."""
LARGEST_UNEVENNESS_FRACTION = 0.3
"""Never more than this, however thin the slices: one missing slice shifts its neighbours by half a spacing or more."""
SAME_PLACE_MM = 0.01
"""Positions nearer than this are the same plane: headers round to micrometres, scanners step by 0.1 mm or more."""
STEEPEST_STEP_DEG = 60.0
"""Largest angle between step and slice normal; a gantry tilts by up to 30 degrees."""
THINNEST_STEP_MM = 0.1
"""No body scanner steps by less: nearer neighbours are one slice twice, its position jittering."""


class StackRefusedError(ValueError):
    """A set of planes is not a stack; the message says where and by how much, in words for the report."""


def slice_normal(orientation: Orientation) -> NDArray[np.float64]:
    """Unit normal of a plane, row direction × column direction, shape (3,), LPS."""
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), np.float64)


def distances_along(positions_lps_mm: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed distances of positions, shape (n, 3), along a unit vector, in mm, shape (n,)."""
    return np.asarray(positions_lps_mm @ normal, np.float64)


def place_in_words(position_lps_mm: NDArray[np.float64], normal: NDArray[np.float64]) -> str:
    """Coordinate that tells a plane from its neighbours: ``z=-112.5`` for axial planes, ``y=...`` for coronal."""
    axis = int(np.argmax(np.abs(normal)))
    return f"{'xyz'[axis]}={position_lps_mm[axis]:.1f}"


def stack_affine(
    positions_lps_mm: NDArray[np.float64],
    orientation: Orientation,
    spacing_row_col_mm: tuple[float, float],
    lone_step_mm: float,
) -> NDArray[np.float64]:
    """Affine of a stack: (x, y, z, 1) voxel-centre indices → LPS mm.

    Parameters
    ----------
    positions_lps_mm : (n, 3) float64
        Centres of the first pixels, sorted along the slice normal, n >= 1.
    orientation : six floats
        Directions of rows and columns, unit and perpendicular.
    spacing_row_col_mm : two floats
        Distance between rows, then between columns (PS3.3 10.7.1.3).
    lone_step_mm : float
        Extent given to a single plane along its normal.

    Returns
    -------
    (4, 4) float64
        First column along the rows, second along the columns, third from plane to plane.

    Raises
    ------
    StackRefusedError
        If planes are missing, unevenly spaced or off the line.
    """
    normal = slice_normal(orientation)
    alone = len(positions_lps_mm) == 1
    step = normal * lone_step_mm if alone else _even_step(positions_lps_mm, normal)
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(orientation[:3]) * spacing_row_col_mm[1]
    affine[:3, 1] = np.asarray(orientation[3:]) * spacing_row_col_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions_lps_mm[0]
    return affine


def _even_step(positions_lps_mm: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    count = len(positions_lps_mm)
    step: NDArray[np.float64] = (positions_lps_mm[-1] - positions_lps_mm[0]) / (count - 1)
    on_line = positions_lps_mm[0] + np.arange(count)[:, None] * step
    off_line_mm = float(np.linalg.norm(positions_lps_mm - on_line, axis=1).max())
    if off_line_mm > _tolerance_mm(float(step @ normal)):
        raise StackRefusedError(_why_uneven(positions_lps_mm, normal, off_line_mm))
    angle_deg = float(np.degrees(np.arccos(min(1.0, float(step @ normal) / float(np.linalg.norm(step))))))
    if angle_deg > STEEPEST_STEP_DEG:
        raise StackRefusedError(f"slices are stacked {angle_deg:.0f} degrees off their normal")
    return step


def _why_uneven(positions_lps_mm: NDArray[np.float64], normal: NDArray[np.float64], off_line_mm: float) -> str:
    gaps_mm = np.diff(distances_along(positions_lps_mm, normal))
    usual_mm = float(np.median(gaps_mm))
    if usual_mm < THINNEST_STEP_MM:
        return f"images repeat: most lie only {usual_mm:.3f} mm from their neighbour"
    tolerance_mm = _tolerance_mm(usual_mm)
    wrong = np.flatnonzero(np.abs(gaps_mm - usual_mm) > tolerance_mm)
    if not len(wrong):
        return f"slices do not lie on one straight line at even distances: up to {off_line_mm:.2f} mm off it"
    first = int(wrong[0])
    between = (
        f"between {place_in_words(positions_lps_mm[first], normal)} "
        f"and {place_in_words(positions_lps_mm[first + 1], normal)} mm"
    )
    multiples = np.rint(gaps_mm[wrong] / usual_mm)
    whole = np.abs(gaps_mm[wrong] - multiples * usual_mm) <= tolerance_mm * multiples
    missing = int(multiples.sum()) - len(wrong)
    # More missing than present is two blocks of slices, or another fault: then only the distances are told.
    if np.all(multiples >= 2) and np.all(whole) and missing < len(positions_lps_mm):
        elsewhere = f" (and at {len(wrong) - 1} other places)" if len(wrong) > 1 else ""
        return f"{missing} slice{'s' if missing > 1 else ''} missing {between}{elsewhere}"
    return (
        f"slice spacing varies from {gaps_mm.min():.2f} to {gaps_mm.max():.2f} mm (usually {usual_mm:.2f} mm, "
        f"first change {between})"
    )


def _tolerance_mm(spacing_mm: float) -> float:
    rounding_mm = min(ROUNDED_POSITION_MM, LARGEST_UNEVENNESS_FRACTION * spacing_mm)
    return max(rounding_mm, EVENNESS_FRACTION * spacing_mm)
