"""Planes of the body for pictures: any volume or mask, resampled by patient coordinates onto one sheet in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.volume import Volume

_STEP_MM = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One axial, coronal or sagittal plane as a reader is used to it.

    Attributes
    ----------
    name : str
        ``axial``, ``coronal`` or ``sagittal``.
    points_lps_mm : (rows, columns, 3) float64
        Rows run from front to back (axial) or from head to feet, columns from right to left or from front to back.
    """

    name: str
    points_lps_mm: NDArray[np.float64]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the picture, in mm along the patient's axes."""
        across, down = _AXES[self.name]
        first, last = self.points_lps_mm[0, 0], self.points_lps_mm[-1, -1]
        return float(first[across]), float(last[across]), float(last[down]), float(first[down])

    def shown(self, point_lps_mm: NDArray[np.float64]) -> tuple[float, float]:
        """A point's place on the picture, in mm."""
        across, down = _AXES[self.name]
        return float(point_lps_mm[across]), float(point_lps_mm[down])


_AXES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}


def sheet(name: str, through_lps_mm: NDArray[np.float64], box_lps_mm: NDArray[np.float64]) -> Sheet:
    """A sheet through a point, as large as a box (two corners, LPS mm)."""
    across, down = _AXES[name]
    low, high = box_lps_mm
    columns = np.arange(low[across], high[across], _STEP_MM)
    # Rows of an axial plane run to the back (LPS y grows), those of the others to the feet.
    rows = np.arange(low[down], high[down], _STEP_MM)
    rows = rows if name == "axial" else rows[::-1]
    points = np.empty((len(rows), len(columns), 3), np.float64)
    points[...] = through_lps_mm
    points[..., across] = columns[None, :]
    points[..., down] = rows[:, None]
    return Sheet(name=name, points_lps_mm=points)


def sampled(
    plane: Sheet, values_zyx: NDArray[np.float32] | NDArray[np.bool_], volume: Volume, outside: float
) -> NDArray[np.float32]:
    """Values of a volume's grid on a sheet by linear interpolation."""
    indices = volume.to_indices_zyx(plane.points_lps_mm.reshape(-1, 3))
    found = ndimage.map_coordinates(values_zyx.astype(np.float32), indices.T, order=1, mode="constant", cval=outside)
    return np.asarray(found, np.float32).reshape(plane.points_lps_mm.shape[:2])


def projected(
    name: str, values_zyx: NDArray[np.float32] | NDArray[np.bool_], volume: Volume, box_lps_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float32], Sheet]:
    """Maximum along the viewing direction inside a box: ``coronal`` from in front, ``sagittal`` from the left."""
    depth = 1 if name == "coronal" else 0
    low, high = box_lps_mm
    first = sheet(name, low, box_lps_mm)
    most: NDArray[np.float32] | None = None
    for place in np.arange(low[depth], high[depth], 2.5 * _STEP_MM):
        through = low.copy()
        through[depth] = place
        layer = sampled(sheet(name, through, box_lps_mm), values_zyx, volume, 0.0)
        most = layer if most is None else np.maximum(most, layer)
    return (np.zeros(first.points_lps_mm.shape[:2], np.float32) if most is None else most), first
