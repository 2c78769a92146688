"""Solid shapes as signed distances: the clay from which organs are modelled.

A signed distance field is negative inside, positive outside, in mm, and near its surface its slope is one. Organs
are unions, cuts and roundings of simple solids. Fields are evaluated on a coarse `Lattice` and interpolated
when they are painted, which also rounds edges as soft tissue does. Axes are z, y, x; coordinates LPS mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Field = NDArray[np.float32]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Coordinates of a box of points, LPS mm, broadcastable against each other as (z, y, x).

    The coordinates may be warped (then each is a full (z, y, x) array): shapes evaluated on them are bent.
    ``axes_zyx_mm`` are the unwarped positions.
    """

    x: Field
    y: Field
    z: Field
    axes_zyx_mm: tuple[Field, Field, Field]

    @classmethod
    def spanning(cls, low_xyz_mm: Point, high_xyz_mm: Point, step_mm: float) -> "Lattice":
        """Return an unwarped lattice from one corner to the other."""
        x, y, z = (
            np.arange(low, high + step_mm, step_mm, dtype=np.float32)
            for low, high in zip(low_xyz_mm, high_xyz_mm, strict=True)
        )
        return cls(x=x[None, None, :], y=y[None, :, None], z=z[:, None, None], axes_zyx_mm=(z, y, x))

    def thinned(self) -> "Lattice":
        """Return every other point along each axis."""
        x, y, z = (axis[tuple(slice(None, None, 2) for _ in range(3))] for axis in (self.x, self.y, self.z))
        axes = tuple(axis[::2] for axis in self.axes_zyx_mm)
        return Lattice(x=x, y=y, z=z, axes_zyx_mm=(axes[0], axes[1], axes[2]))

    def warped(self, rng: np.random.Generator, amplitude_mm: float, waves: int) -> "Lattice":
        """Return the lattice bent by a few random plane waves of 90 to 170 mm length."""
        moved = []
        for axis in (self.x, self.y, self.z):
            shift: Field = np.zeros((), dtype=np.float32)
            for _ in range(waves):
                direction = rng.normal(size=3)
                direction *= 2 * np.pi / (np.linalg.norm(direction) * rng.uniform(90.0, 170.0))
                phase = rng.uniform(0, 2 * np.pi)
                kx, ky, kz = (np.float32(value) for value in direction)
                wave = np.sin(kx * self.x + ky * self.y + kz * self.z + np.float32(phase))
                shift = shift + wave * np.float32(amplitude_mm / np.sqrt(waves))
            moved.append((axis + shift).astype(np.float32))
        return Lattice(x=moved[0], y=moved[1], z=moved[2], axes_zyx_mm=self.axes_zyx_mm)


def ellipsoid(at: Lattice, centre: Point, radii: Point, turn_z_rad: float = 0.0, tilt_x_rad: float = 0.0) -> Field:
    """Ellipsoid, turned about z, then tilted about x.

    The distance is the usual first-order one, k0 (k0 - 1) / k1 with k0 = |p / r| and k1 = |p / r²|.
    """
    x, y, z = at.x - centre[0], at.y - centre[1], at.z - centre[2]
    if turn_z_rad:
        cos, sin = np.float32(np.cos(turn_z_rad)), np.float32(np.sin(turn_z_rad))
        x, y = cos * x + sin * y, cos * y - sin * x
    if tilt_x_rad:
        cos, sin = np.float32(np.cos(tilt_x_rad)), np.float32(np.sin(tilt_x_rad))
        y, z = cos * y + sin * z, cos * z - sin * y
    rx, ry, rz = (np.float32(radius) for radius in radii)
    k0 = np.sqrt((x / rx) ** 2 + (y / ry) ** 2 + (z / rz) ** 2)
    k1 = np.sqrt((x / rx**2) ** 2 + (y / ry**2) ** 2 + (z / rz**2) ** 2)
    return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-6), dtype=np.float32)


def oval_column(
    at: Lattice, centre_xy: tuple[float, float], half_x: float | Field, half_y: float | Field, power: float
) -> Field:
    """Column along z whose section is a super-ellipse; half axes may change with z."""
    x, y = np.abs(at.x - centre_xy[0]), np.abs(at.y - centre_xy[1])
    px, py = (x / half_x) ** power, (y / half_y) ** power
    f = np.maximum((px + py) ** (1 / power), 1e-3)
    slope_x = f ** (1 - power) * (x / half_x) ** (power - 1) / half_x
    slope_y = f ** (1 - power) * (y / half_y) ** (power - 1) / half_y
    return np.asarray((f - 1) / np.sqrt(slope_x**2 + slope_y**2 + 1e-9), dtype=np.float32)


def cone(at: Lattice, start: Point, end: Point, start_radius: float, end_radius: float) -> Field:
    """Rounded cone: a ball that changes size on a straight way; without a way it stays the first ball."""
    # Python floats, unlike numpy's, leave the fields in single precision.
    axis = [float(b - a) for a, b in zip(start, end, strict=True)]
    square = sum(part * part for part in axis) or 1.0
    x, y, z = at.x - float(start[0]), at.y - float(start[1]), at.z - float(start[2])
    along = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / square, 0, 1)
    gap_squared = (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (z - along * axis[2]) ** 2
    return np.asarray(
        np.sqrt(gap_squared) - (float(start_radius) + along * float(end_radius - start_radius)), np.float32
    )


def chain(at: Lattice, points: Sequence[Point], radii: Sequence[float]) -> Field:
    """Union of rounded cones along a polyline: a gut, a gland, a muscle."""
    links = zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    result: Field | None = None
    for start, end, start_radius, end_radius in links:
        link = cone(at, start, end, start_radius, end_radius)
        result = link if result is None else np.minimum(result, link)
    if result is None:
        raise ValueError("a chain needs two points")
    return result


def half_space(at: Lattice, through: Point, normal: Point) -> Field:
    """The side of a plane that its normal does not point to."""
    nx, ny, nz = np.asarray(normal) / np.linalg.norm(normal)
    return np.asarray((at.x - through[0]) * nx + (at.y - through[1]) * ny + (at.z - through[2]) * nz, np.float32)


def smooth_union(a: Field, b: Field, blend_mm: float) -> Field:
    """Union with a fillet of about ``blend_mm``."""
    h = np.maximum(blend_mm - np.abs(a - b), 0) / blend_mm
    return np.asarray(np.minimum(a, b) - h * h * (blend_mm / 4), dtype=np.float32)


def smooth_cut(solid: Field, keep: Field, blend_mm: float) -> Field:
    """Part of a solid that lies inside another, with a rounded edge. Pass ``-tool`` to carve."""
    return -smooth_union(-solid, -keep, blend_mm)


def level_set_distance(values: Field, step_mm: float) -> Field:
    """Turn any field that is zero on a surface into a distance near it, by dividing by its slope."""
    slope = np.sqrt(sum(np.square(part) for part in np.gradient(values, step_mm)))
    return np.asarray(values / np.maximum(slope, 0.3), dtype=np.float32)


def smooth_path(control_lps_mm: NDArray[np.float64], step_mm: float = 2.0) -> NDArray[np.float64]:
    """Interpolate control points by a cubic spline of chord length.

    Parameters
    ----------
    control_lps_mm : (n, d) float
        Two points or more; the first three columns are positions, further columns (radii) go along.
    step_mm : float
        Distance between the points returned.

    Returns
    -------
    (m, d) float
        First and last control points included.
    """
    chords = np.linalg.norm(np.diff(control_lps_mm[:, :3], axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(chords)])
    count = max(3, int(np.ceil(at[-1] / step_mm)) + 1)
    wanted = np.linspace(0, at[-1], count)
    if len(control_lps_mm) == 2:
        return np.stack([np.interp(wanted, at, column) for column in control_lps_mm.T], axis=1)
    return np.asarray(CubicSpline(at, control_lps_mm, bc_type="natural")(wanted), dtype=np.float64)


def path_length_mm(points_lps_mm: NDArray[np.float64]) -> float:
    """Length of a polyline, in mm."""
    return float(np.linalg.norm(np.diff(points_lps_mm[:, :3], axis=0), axis=1).sum())
