"""Liver metastases: irregular, hypovascular, with a rim."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from analyzers.phantoms.layers import Grid, Layer, SolidLayer, SolidShape
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import Field, Lattice, Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion(SolidShape):
    """One metastasis: a ball whose radius varies with direction.

    ``lobes`` are (direction, amplitude, frequency, phase): each adds a wave over the surface.
    """

    name: str
    centre: Point
    radius_mm: float
    lobes: tuple[tuple[Point, float, float, float], ...]

    @property
    def reach_mm(self) -> float:
        """A radius that surely holds the lesion."""
        return self.radius_mm * (1 + sum(abs(lobe[1]) for lobe in self.lobes)) + 2

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """See `SolidShape`."""
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        far = np.sqrt(dx * dx + dy * dy + dz * dz)
        inverse = 1 / np.maximum(far, 0.1)
        radius = np.ones_like(far)
        for (ux, uy, uz), amplitude, frequency, phase in self.lobes:
            cosine = (dx * ux + dy * uy + dz * uz) * inverse
            radius = radius + np.float32(amplitude) * np.cos(np.float32(frequency) * cosine + np.float32(phase))
        return np.asarray(far - radius * np.float32(self.radius_mm), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(SolidShape):
    """The part of a lesion that lies deeper than ``depth_mm``."""

    lesion: Lesion
    depth_mm: float

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """See `SolidShape`."""
        return self.lesion.distance(x, y, z) + np.float32(self.depth_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionTruth:
    """True size of a lesion: volume, and longest axial diameter with the longest one perpendicular to it."""

    volume_ml: float
    long_axis_mm: float
    short_axis_mm: float
    centroid: Point


def draw_lesions(request: PhantomRequest, at: Lattice, liver: Field) -> tuple[Lesion, ...]:
    """Draw two to six lesions of 10 to 45 mm that lie wholly in the liver, apart from each other."""
    rng = request.rng("lesions")
    wanted = int(rng.integers(2, 7))
    depth = -liver
    z, y, x = at.axes_zyx_mm
    lesions: list[Lesion] = []
    for _ in range(60):
        if len(lesions) == wanted:
            break
        radius = float(np.exp(rng.uniform(np.log(5.0), np.log(19.0))))
        index = _pick(rng, depth, radius * 1.25 + 2)
        if index is None:
            continue
        centre = (float(x[index[2]]), float(y[index[1]]), float(z[index[0]]))
        gaps = [float(np.linalg.norm(np.subtract(centre, other.centre))) - other.radius_mm * 1.3 for other in lesions]
        if gaps and min(gaps) < 1.3 * radius + 5:
            continue
        lesions.append(_lesion(rng, f"L{len(lesions) + 1}", centre, radius))
    return tuple(lesions)


def _pick(rng: np.random.Generator, depth: Field, least_mm: float) -> tuple[int, int, int] | None:
    """A random lattice point at least so deep in the liver."""
    candidates = np.argwhere(depth > least_mm)
    if not len(candidates):
        return None
    k, j, i = candidates[int(rng.integers(len(candidates)))]
    return int(k), int(j), int(i)


def _lesion(rng: np.random.Generator, name: str, centre: Point, radius: float) -> Lesion:
    lobes = []
    for frequency in (2.0, 2.6, 3.6, 5.0):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        axis = (float(direction[0]), float(direction[1]), float(direction[2]))
        lobes.append((axis, float(rng.normal(0, 0.10) * 2 / frequency), frequency, float(rng.uniform(0, 6.28))))
    return Lesion(name=name, centre=centre, radius_mm=radius, lobes=tuple(lobes))


def lesion_layers(lesions: Sequence[Lesion]) -> Iterator[Layer]:
    """Rim and centre of each lesion; larger ones have a necrotic core."""
    for lesion in lesions:
        kept = frozenset({"body", "liver"})
        yield SolidLayer(
            tissue="lesion_rim",
            mask=f"lesion_{lesion.name}",
            within=kept,
            shape=lesion,
            centre=lesion.centre,
            reach_mm=lesion.reach_mm,
        )
        kept = frozenset({"body", "liver", f"lesion_{lesion.name}"})
        depths = [("lesion", min(0.22 * lesion.radius_mm, 2.5))]
        if lesion.radius_mm > 11:
            depths.append(("lesion_core", 0.55 * lesion.radius_mm))
        for tissue, depth in depths:
            yield SolidLayer(
                tissue=tissue,
                within=kept,
                shape=Shell(lesion=lesion, depth_mm=depth),
                centre=lesion.centre,
                reach_mm=lesion.reach_mm,
            )


def measure_lesion(lesion: Lesion, step_mm: float = 0.5) -> LesionTruth:
    """Measure the shape itself, on a grid of ``step_mm``, as RECIST asks: in axial planes."""
    reach = lesion.reach_mm
    low, high = np.subtract(lesion.centre, reach), np.add(lesion.centre, reach)
    grid = Grid.spanning((low[0], low[1], low[2]), (high[0], high[1], high[2]), (step_mm, step_mm, step_mm))
    z, y, x = (axis.astype(np.float32) for axis in (grid.z_mm, grid.y_mm, grid.x_mm))
    distance = lesion.distance(x[None, None, :], y[None, :, None], z[:, None, None])
    inside = distance < 0
    share = np.clip(0.5 - distance / step_mm, 0, 1)
    best = (0.0, 0.0)
    for plane in inside:
        if plane.sum() > 8:
            best = max(best, _axes_mm(np.argwhere(plane) * step_mm, step_mm))
    centroid = [
        float((share * axis).sum() / share.sum()) for axis in (x[None, None, :], y[None, :, None], z[:, None, None])
    ]
    return LesionTruth(
        volume_ml=float(share.sum(dtype=np.float64)) * step_mm**3 / 1000,
        long_axis_mm=best[0],
        short_axis_mm=best[1],
        centroid=(centroid[0], centroid[1], centroid[2]),
    )


def _axes_mm(points_yx_mm: NDArray[np.floating[Any]], step_mm: float) -> tuple[float, float]:
    """Longest diameter of a plane figure, and its width across that diameter; pixels count with their extent."""
    hull = points_yx_mm[ConvexHull(points_yx_mm).vertices]
    gaps = squareform(pdist(hull))
    first, second = np.unravel_index(int(gaps.argmax()), gaps.shape)
    along = (hull[second] - hull[first]) / gaps.max()
    across = hull @ np.array([-along[1], along[0]])
    return float(gaps.max()) + step_mm, float(np.ptp(across)) + step_mm
