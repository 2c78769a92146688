"""Long and short axis of a lesion in the plane of the images, as RECIST 1.1 measures them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from skimage.measure import find_contours

_CHORDS = 25

Line = tuple[tuple[float, float], tuple[float, float]]
"""Two ends as (column, row), (0.5, 0.5) being the centre of the first pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """Axes of the section with the longest long axis, lengths in mm; ``plane`` is its index along z."""

    plane: int
    long_mm: float
    short_mm: float
    long_line: Line
    short_line: Line

    def moved(self, planes: int, rows: int, columns: int) -> Axes:
        """The same axes on a grid that begins so many planes, rows and columns earlier."""

        def shifted(line: Line) -> Line:
            (col_a, row_a), (col_b, row_b) = line
            return (col_a + columns, row_a + rows), (col_b + columns, row_b + rows)

        return replace(
            self,
            plane=self.plane + planes,
            long_line=shifted(self.long_line),
            short_line=shifted(self.short_line),
        )


def lesion_axes(mask_zyx: NDArray[np.bool_], spacing_row_col_mm: tuple[float, float]) -> Axes | None:
    """Measure the section with the longest diameter; ``None`` for an empty mask.

    Parameters
    ----------
    mask_zyx : (z, y, x) bool
        One lesion.
    spacing_row_col_mm : tuple of float
        Distance between rows and between columns.
    """
    spacing = np.asarray(spacing_row_col_mm)
    planes = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    measured = (_section_axes(mask_zyx[z], int(z), spacing) for z in planes)
    return max(measured, key=lambda axes: axes.long_mm, default=None)


def _section_axes(section: NDArray[np.bool_], plane: int, spacing: NDArray[np.float64]) -> Axes:
    # The outline lies half way between pixel centres, so a line over n pixels is n pixels long.
    contours = find_contours(np.pad(section, 1).astype(np.float64), 0.5)
    rows_cols = max(contours, key=len)[:, :2] - 1.0
    points_mm = rows_cols * spacing
    distances = squareform(pdist(points_mm))
    first, second = np.unravel_index(int(distances.argmax()), distances.shape)
    ends = rows_cols[[first, second]]
    along = points_mm[second] - points_mm[first]
    along /= max(float(np.linalg.norm(along)), 1e-9)
    short_ends, short_mm = _widest_chord(points_mm - points_mm[first], along)
    short = (short_ends + points_mm[first]) / spacing
    return Axes(
        plane=plane,
        long_mm=float(distances[first, second]),
        short_mm=short_mm,
        long_line=_line(ends),
        short_line=_line(short),
    )


def _widest_chord(points_mm: NDArray[np.float64], along: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Longest chord perpendicular to the long axis: its ends (2, 2) and length in mm."""
    across = np.array([-along[1], along[0]])
    t, s = points_mm @ along, points_mm @ across
    closed_t, closed_s = np.append(t, t[0]), np.append(s, s[0])
    best, best_mm = np.zeros((2, 2)), 0.0
    for at in np.linspace(float(t.min()), float(t.max()), _CHORDS + 2)[1:-1]:
        crosses = np.flatnonzero((closed_t[:-1] - at) * (closed_t[1:] - at) <= 0)
        span = closed_t[crosses + 1] - closed_t[crosses]
        share = np.divide(at - closed_t[crosses], span, out=np.zeros(len(crosses)), where=np.abs(span) > 1e-12)
        heights = closed_s[crosses] + share * (closed_s[crosses + 1] - closed_s[crosses])
        if heights.size and float(np.ptp(heights)) > best_mm:
            best_mm = float(np.ptp(heights))
            best = np.stack([at * along + height * across for height in (heights.min(), heights.max())])
    return best, best_mm


def _line(ends: NDArray[np.float64]) -> Line:
    (row_a, col_a), (row_b, col_b) = ends
    return (float(col_a) + 0.5, float(row_a) + 0.5), (float(col_b) + 0.5, float(row_b) + 0.5)
