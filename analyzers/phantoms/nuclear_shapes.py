"""Solids on a voxel grid, for the bodies of the scintigraphy phantom.

A solid is a signed distance (mm, negative inside). It is turned into occupancy, the share of each voxel that it
fills, by a ramp one voxel wide at the surface, so that volumes and edges are right well below the voxel size.
Arrays are (z, y, x); coordinates are patient LPS mm: x to the patient's left, y to the back, z to the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
Box: TypeAlias = tuple[slice, slice, slice]
Point: TypeAlias = tuple[float, float, float]
Points: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]
"""x, y and z (LPS mm) of every voxel of a block, each (z, y, x)."""

# Extent within which random fields are defined: wider than any patient, from above the head to below the knees.
_LATTICE_ZYX_MM = ((-900.0, 560.0), (-260.0, 260.0), (-340.0, 340.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Cubic voxels in patient LPS.

    Attributes
    ----------
    voxel_mm : float
        Edge of a voxel.
    shape_zyx : tuple of int
    first_centre_lps_mm : tuple of float
        Centre of voxel (0, 0, 0) as x, y, z. All three indices count upwards in LPS.
    """

    voxel_mm: float
    shape_zyx: tuple[int, int, int]
    first_centre_lps_mm: Point

    def axis_mm(self, axis: int) -> FloatArray:
        """Voxel centres along array axis 0 (z), 1 (y) or 2 (x), in mm."""
        first = self.first_centre_lps_mm[2 - axis]
        return (first + self.voxel_mm * np.arange(self.shape_zyx[axis])).astype(np.float32)

    def box_around(self, low_lps_mm: Point, high_lps_mm: Point) -> Box:
        """Index box that covers two opposite corners (LPS mm), cut at the edge of the grid."""
        bounds = []
        for axis in range(3):
            first = self.first_centre_lps_mm[2 - axis]
            low = int(np.floor((low_lps_mm[2 - axis] - first) / self.voxel_mm))
            high = int(np.ceil((high_lps_mm[2 - axis] - first) / self.voxel_mm)) + 1
            start = min(max(low, 0), self.shape_zyx[axis])
            bounds.append(slice(start, max(start, min(high, self.shape_zyx[axis]))))
        return bounds[0], bounds[1], bounds[2]

    def index_of(self, point_lps_mm: Point) -> tuple[float, float, float]:
        """Continuous (z, y, x) index of a point in LPS mm."""
        x, y, z = ((point_lps_mm[i] - self.first_centre_lps_mm[i]) / self.voxel_mm for i in range(3))
        return z, y, x


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """Occupancy of one structure inside an index box of its grid.

    Attributes
    ----------
    box : tuple of slice
        Where the block lies in the grid, (z, y, x).
    occupancy_zyx : float32 array
        Share of each voxel of the block that is filled, 0 to 1.
    """

    box: Box
    occupancy_zyx: FloatArray

    def volume_ml(self, grid: Grid) -> float:
        """Filled volume in mL."""
        return float(self.occupancy_zyx.sum(dtype=np.float64)) * grid.voxel_mm**3 / 1000.0

    def centroid_lps_mm(self, grid: Grid) -> Point:
        """Centre of mass in LPS mm. An empty solid has its centre at the box corner."""
        weights = self.occupancy_zyx.astype(np.float64)
        total = max(float(weights.sum()), 1e-9)
        found = []
        for axis in (2, 1, 0):
            profile = weights.sum(axis=tuple(a for a in range(3) if a != axis))
            found.append(float((profile * grid.axis_mm(axis)[self.box[axis]]).sum() / total))
        return found[0], found[1], found[2]

    def full_zyx(self, grid: Grid) -> FloatArray:
        """Occupancy on the whole grid."""
        full = np.zeros(grid.shape_zyx, np.float32)
        full[self.box] = self.occupancy_zyx
        return full

    def times(self, factor_zyx: FloatArray) -> "Solid":
        """The same solid with its occupancy multiplied by a block of the same shape."""
        return Solid(box=self.box, occupancy_zyx=(self.occupancy_zyx * factor_zyx).astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """A smooth displacement that makes the regular solids of an atlas irregular.

    Attributes
    ----------
    grid : Grid
    shift_mm : float32 array
        (3, z, y, x) displacement along x, y, z in mm.
    """

    grid: Grid
    shift_mm: FloatArray

    def points(self, box: Box) -> Points:
        """Displaced coordinates (LPS mm) of the voxels in a box."""
        z = self.grid.axis_mm(0)[box[0]][:, None, None]
        y = self.grid.axis_mm(1)[box[1]][None, :, None]
        x = self.grid.axis_mm(2)[box[2]][None, None, :]
        block = (slice(None), *box)
        shift = self.shift_mm[block]
        return x + shift[0], y + shift[1], z + shift[2]


def smooth_noise_zyx(grid: Grid, scale_mm: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian random field of unit standard deviation with structures of about ``scale_mm``.

    It is drawn on a lattice fixed in space and interpolated by cubic B-splines, so the same generator state gives the
    same field whatever the voxel size or the extent of the grid.
    """
    nodes = [int(np.ceil((high - low) / scale_mm)) + 4 for low, high in _LATTICE_ZYX_MM]
    field = rng.standard_normal(nodes).astype(np.float32)
    for axis, (low, _) in enumerate(_LATTICE_ZYX_MM):
        positions = (grid.axis_mm(axis).astype(np.float64) - low) / scale_mm + 1.0
        weights = _spline_weights(positions, field.shape[axis])
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    # Mean sum of squared cubic B-spline weights is 0.479 per axis.
    return np.asarray(field / 0.479**1.5, np.float32)


def _spline_weights(positions: NDArray[np.float64], count: int) -> FloatArray:
    """Cubic B-spline weights, (positions, nodes)."""
    distance = np.abs(positions[:, None] - np.arange(count)[None, :])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = (2.0 - np.minimum(distance, 2.0)) ** 3 / 6.0
    return np.asarray(np.where(distance < 1.0, near, far), np.float32)


def random_warp(grid: Grid, amplitude_mm: float, scale_mm: float, rng: np.random.Generator) -> Warp:
    """A random displacement with the given standard deviation and structure size."""
    parts = [smooth_noise_zyx(grid, scale_mm, rng) * amplitude_mm for _ in range(3)]
    return Warp(grid=grid, shift_mm=np.stack(parts).astype(np.float32))


def occupancy_of(distance_mm: FloatArray, voxel_mm: float) -> FloatArray:
    """Share of each voxel inside a surface, from the signed distance of its centre."""
    return np.asarray(np.clip(0.5 - distance_mm / voxel_mm, 0.0, 1.0), np.float32)


def ellipsoid_mm(points: Points, centre: Point, radii: Point, tilt_deg: float = 0.0) -> FloatArray:
    """Approximate signed distance to an ellipsoid.

    Parameters
    ----------
    points : three arrays
        x, y, z in LPS mm.
    centre, radii : tuple of float
        x, y, z in mm.
    tilt_deg : float
        Turn about the y axis; positive lifts the patient's left end of the x radius towards the head.

    Notes
    -----
    First-order distance k0 (k0 - 1) / k1 with k0 = |p/r| and k1 = |p/r^2|; exact on the surface.
    """
    x, y, z = (axis - c for axis, c in zip(points, centre, strict=True))
    cos, sin = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    along, up = x * cos + z * sin, z * cos - x * sin
    k0 = np.sqrt((along / radii[0]) ** 2 + (y / radii[1]) ** 2 + (up / radii[2]) ** 2)
    k1 = np.sqrt((along / radii[0] ** 2) ** 2 + (y / radii[1] ** 2) ** 2 + (up / radii[2] ** 2) ** 2)
    return np.asarray(k0 * (k0 - 1.0) / np.maximum(k1, 1e-6), np.float32)


def tube_mm(points: Points, path: Sequence[tuple[float, float, float, float]]) -> FloatArray:
    """Signed distance to a tube along a polyline; each node is (x, y, z, radius) in mm."""
    best: FloatArray | None = None
    for (ax, ay, az, ar), (bx, by, bz, br) in pairwise(path):
        dx, dy, dz = bx - ax, by - ay, bz - az
        length_2 = max(dx * dx + dy * dy + dz * dz, 1e-6)
        px, py, pz = points[0] - ax, points[1] - ay, points[2] - az
        along = np.clip((px * dx + py * dy + pz * dz) / length_2, 0.0, 1.0)
        distance = np.sqrt((px - along * dx) ** 2 + (py - along * dy) ** 2 + (pz - along * dz) ** 2)
        distance = np.asarray(distance - (ar + along * (br - ar)), np.float32)
        best = distance if best is None else np.minimum(best, distance)
    if best is None:
        raise ValueError("a tube needs a path of at least two nodes")
    return best


def disc_mm(points: Points, centre: Point, normal: Point, radius_mm: float, thickness_mm: float) -> FloatArray:
    """Signed distance to a flat cylinder around its centre, with the unit normal as axis."""
    offset = [axis - c for axis, c in zip(points, centre, strict=True)]
    along = sum((o * n for o, n in zip(offset, normal, strict=True)), np.zeros_like(offset[0]))
    square = sum((o * o for o in offset), np.zeros_like(offset[0]))
    radial = np.sqrt(np.maximum(square - along**2, 0.0))
    return np.asarray(np.maximum(radial - radius_mm, np.abs(along) - thickness_mm / 2.0), np.float32)


def smooth_union_mm(first: FloatArray, second: FloatArray, blend_mm: float) -> FloatArray:
    """Union of two signed distances with a fillet of about ``blend_mm``."""
    mix = np.clip(0.5 + 0.5 * (second - first) / blend_mm, 0.0, 1.0)
    return np.asarray(second * (1 - mix) + first * mix - blend_mm * mix * (1 - mix), np.float32)


def blurred(values: FloatArray, fwhm_mm: float, voxel_mm: float) -> FloatArray:
    """Gaussian blur of any dimension, given the full width at half maximum."""
    sigma = fwhm_mm / 2.354820045 / voxel_mm
    return np.asarray(ndimage.gaussian_filter(values, sigma, mode="constant"), np.float32)
