"""Outlines of masks and of measured lines, in the form that viewers draw and leave alone.

Pixel coordinates are (column, row) with the origin at the outer corner of the first pixel (PS3.3 C.18.6).
A viewer that is offered a polyline of up to five points may take it for a measurement of its own and compute the
numbers anew; so every outline here has more.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from analyzers.contract import Outline, Segment

MINIMUM_POINTS = 8
_SIMPLIFICATION_PIXELS = 0.25

Points = NDArray[np.float64]

# The library is typed in part only; its two functions used here take and return coordinates.
_measure: Any = measure


def key_plane(segment: Segment) -> int | None:
    """Index of the plane on which the segment is largest, the middle one of several; ``None`` for an empty segment."""
    areas_pixels = [int(np.count_nonzero(plane)) for plane in segment.mask_planes]
    largest = max(areas_pixels, default=0)
    candidates = [index for index, area in enumerate(areas_pixels) if area == largest]
    return candidates[len(candidates) // 2] if largest else None


def key_outline(segment: Segment) -> Outline | None:
    """Outline of the largest connected part of a segment on its key plane; ``None`` for an empty segment."""
    index = key_plane(segment)
    if index is None:
        return None
    points = mask_outline(segment.mask_planes[index])
    return Outline(
        frame=segment.planes[index],
        points_col_row=tuple((float(column), float(row)) for column, row in points),
        closed=True,
    )


def mask_outline(mask: NDArray[np.bool_]) -> Points:
    """Outer outline of the largest connected part of a mask.

    Parameters
    ----------
    mask : (rows, columns) bool
        Not empty.

    Returns
    -------
    (n, 2) float64
        (column, row); not repeating its first point; inside the image.
    """
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    part = ndimage.binary_fill_holes(labels == int(np.argmax(sizes)) + 1)
    contours: list[Points] = _measure.find_contours(np.pad(part.astype(np.float32), 1), 0.5)
    contour = max(contours, key=len)
    if len(contour) > 4 * MINIMUM_POINTS:
        contour = _measure.approximate_polygon(contour, _SIMPLIFICATION_PIXELS)
    # Back from the padded array (one pixel), and from pixel centres to the corner-based origin (half a pixel).
    points = contour[:-1, ::-1] - 0.5
    rows, columns = mask.shape
    inside: Points = np.clip(points, 0.0, [columns, rows])
    return inside


def drawn_points(outline: Outline) -> Points:
    """Points of an outline as they are written: a closed one ends where it began, none has few points.

    Points are added on the straight lines between the given ones, so the shape stays the same.

    Returns
    -------
    (n, 2) float64
        (column, row), at least :data:`MINIMUM_POINTS`.
    """
    points = np.asarray(outline.points_col_row, dtype=np.float64)
    if outline.closed and len(points) > 1 and not np.array_equal(points[0], points[-1]):
        points = np.vstack([points, points[:1]])
    if len(points) < 2:
        return points
    edges = len(points) - 1
    steps = -(-(MINIMUM_POINTS - 1) // edges)
    if steps <= 1:
        return points
    fractions = np.arange(steps, dtype=np.float64)[:, np.newaxis] / steps
    dense = [start + fractions * (end - start) for start, end in pairwise(points)]
    return np.vstack([*dense, points[-1:]])
