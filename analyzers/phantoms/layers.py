"""Layers of tissue and the painter that lays them over each other on a voxel grid.

Each layer knows how much of a voxel it fills: the share falls from one to zero over one voxel's width across
the surface, so a voxel on an edge holds a mixture (partial volume), and the sum of shares is the volume.
Later layers cover earlier ones. Thin layers (vessels, catheter) are sampled twice as finely along each axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.shapes import Field, Lattice, Point

Block = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A voxel grid along the patient axes: centres of voxels in LPS mm, all steps equal per axis."""

    z_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    x_mm: NDArray[np.float64]
    steps_zyx_mm: tuple[float, float, float]

    @classmethod
    def spanning(cls, low_xyz_mm: Point, high_xyz_mm: Point, steps_zyx_mm: tuple[float, float, float]) -> "Grid":
        """Return the grid whose first voxel centres are at the low corner."""
        axes = [
            low + step * np.arange(max(round((high - low) / step), 1), dtype=np.float64)
            for low, high, step in zip(low_xyz_mm[::-1], high_xyz_mm[::-1], steps_zyx_mm, strict=True)
        ]
        return cls(z_mm=axes[0], y_mm=axes[1], x_mm=axes[2], steps_zyx_mm=steps_zyx_mm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, y, x."""
        return len(self.z_mm), len(self.y_mm), len(self.x_mm)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.steps_zyx_mm)) / 1000

    def block(self, low_xyz_mm: Point, high_xyz_mm: Point) -> Block | None:
        """Indices of the voxels in a box, or None if there are none."""
        slices = []
        for axis, low, high in zip((self.z_mm, self.y_mm, self.x_mm), low_xyz_mm[::-1], high_xyz_mm[::-1], strict=True):
            first, last = np.searchsorted(axis, low), np.searchsorted(axis, high)
            if first >= last:
                return None
            slices.append(slice(int(first), int(last)))
        return slices[0], slices[1], slices[2]

    def part(self, block: Block) -> "Grid":
        """The grid of a block."""
        z, y, x = block
        return Grid(z_mm=self.z_mm[z], y_mm=self.y_mm[y], x_mm=self.x_mm[x], steps_zyx_mm=self.steps_zyx_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Something made of one tissue.

    Attributes
    ----------
    tissue : str
        Looked up in the scanner's table of tissues.
    mask : str
        Name of the true region that this layer belongs to, or empty.
    within : frozenset of str
        Regions that keep the voxels which this layer covers (a vessel in the liver is liver).
    """

    tissue: str
    mask: str = ""
    within: frozenset[str] = frozenset()

    def bounds(self) -> tuple[Point, Point]:
        """Low and high corner of a box round the layer, x, y, z, LPS mm."""
        raise NotImplementedError

    def share(self, grid: Grid) -> Field:
        """Share of each voxel of a small grid that the layer fills, 0 to 1, (z, y, x)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLayer(Layer):
    """A layer whose distance field was modelled on a lattice; ``softness_mm`` widens its edge."""

    distance_zyx: Field
    axes_zyx_mm: tuple[Field, Field, Field]
    softness_mm: float = 0.0

    def bounds(self) -> tuple[Point, Point]:
        """See `Layer`."""
        low = tuple(float(axis[0]) for axis in reversed(self.axes_zyx_mm))
        high = tuple(float(axis[-1]) for axis in reversed(self.axes_zyx_mm))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def share(self, grid: Grid) -> Field:
        """See `Layer`."""
        distance = self.distance_zyx
        for number, (axis, wanted) in enumerate(zip(self.axes_zyx_mm, (grid.z_mm, grid.y_mm, grid.x_mm), strict=True)):
            distance = _interpolate_axis(distance, axis, wanted, number)
        return ramp(distance, max(grid.steps_zyx_mm[1], self.softness_mm))


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeLayer(Layer):
    """A tube along a polyline: ``path`` is (n, 4) with x, y, z, radius in mm."""

    path: NDArray[np.float64]

    def bounds(self) -> tuple[Point, Point]:
        """See `Layer`."""
        reach = self.path[:, 3:4] + 3.0
        low, high = (self.path[:, :3] - reach).min(axis=0), (self.path[:, :3] + reach).max(axis=0)
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def share(self, grid: Grid) -> Field:
        """See `Layer`."""
        result = np.zeros(grid.shape, dtype=np.float32)
        for start, end in zip(self.path[:-1], self.path[1:], strict=True):
            reach = max(start[3], end[3]) + max(grid.steps_zyx_mm)
            low, high = np.minimum(start, end)[:3] - reach, np.maximum(start, end)[:3] + reach
            block = grid.block((low[0], low[1], low[2]), (high[0], high[1], high[2]))
            if block is None:
                continue
            filled = _supersampled(grid.part(block), _Segment(start=start, end=end))
            np.maximum(result[block], filled, out=result[block])
        return result


class SolidShape:
    """A distance known as a formula at any point; see `SolidLayer`."""

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """Signed distance in mm at broadcastable LPS coordinates."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class SolidLayer(Layer):
    """A small exact solid (pump, clip, lesion) within ``reach_mm`` of its centre."""

    shape: SolidShape
    centre: Point
    reach_mm: float

    def bounds(self) -> tuple[Point, Point]:
        """See `Layer`."""
        x, y, z = self.centre
        r = self.reach_mm
        return (x - r, y - r, z - r), (x + r, y + r, z + r)

    def share(self, grid: Grid) -> Field:
        """See `Layer`."""
        return _supersampled(grid, self.shape)


@dataclass(slots=True, kw_only=True)
class Region:
    """Share of each voxel that belongs to a named part of the body, kept in the box that can hold it.

    ``share_zyx`` is uint8 (255 = all) for a finished painting, float32 while a slab is painted.
    """

    block: Block
    share_zyx: NDArray[np.uint8] | NDArray[np.float32]


@dataclass(slots=True, kw_only=True)
class Painting:
    """What the painter has made on one grid.

    Attributes
    ----------
    values_czyx : (channel, z, y, x) float32
        One channel per contrast phase or pulse sequence.
    regions : mapping of name to Region
        What each named part of the body fills.
    volumes_ml : mapping of name to float
        Sum of shares before rounding.
    """

    grid: Grid
    values_czyx: NDArray[np.float32]
    regions: dict[str, Region]
    volumes_ml: dict[str, float]

    def mask(self, name: str) -> NDArray[np.uint8]:
        """Share of each voxel of the whole grid, (z, y, x), 255 = all."""
        whole = np.zeros(self.grid.shape, dtype=np.uint8)
        region = self.regions[name]
        whole[region.block] = region.share_zyx
        return whole

    def whole_volumes_ml(self) -> dict[str, float]:
        """Volumes of the regions that do not leave the grid, sorted by name."""
        return {name: volume for name, volume in sorted(self.volumes_ml.items()) if not self._leaves(name)}

    def _leaves(self, name: str) -> bool:
        block, share = self.regions[name].block, self.regions[name].share_zyx
        at_end = block[0].stop == len(self.grid.z_mm) and bool(share[-1].any())
        return at_end or (block[0].start == 0 and bool(share[0].any()))


def paint(
    layers: Sequence[Layer], grid: Grid, tissues: Mapping[str, Sequence[float]], background: str, slab: int = 48
) -> Painting:
    """Lay all layers over each other, slab by slab to stay small in memory.

    Parameters
    ----------
    layers : sequence of Layer
        Deepest first.
    grid : Grid
        The voxels.
    tissues : mapping of tissue to one value per channel
    background : str
        Tissue of an empty voxel.
    slab : int
        Slices painted at a time.
    """
    base = np.asarray(tissues[background], dtype=np.float32)
    regions = _empty_regions(layers, grid)
    values = np.empty((len(base), *grid.shape), dtype=np.float32)
    values[:] = base[:, None, None, None]
    painting = Painting(grid=grid, values_czyx=values, regions=regions, volumes_ml=dict.fromkeys(regions, 0.0))
    for first in range(0, len(grid.z_mm), slab):
        _paint_slab(painting, layers, tissues, slice(first, min(first + slab, len(grid.z_mm))))
    return painting


def _empty_regions(layers: Sequence[Layer], grid: Grid) -> dict[str, Region]:
    """One region per name, in the box round all layers of that name."""
    blocks: dict[str, Block] = {}
    for layer in layers:
        block = grid.block(*layer.bounds())
        if layer.mask and block is not None:
            blocks[layer.mask] = _hull(blocks.get(layer.mask, block), block)
    return {
        name: Region(block=block, share_zyx=np.zeros(tuple(s.stop - s.start for s in block), dtype=np.uint8))
        for name, block in sorted(blocks.items())
    }


def _hull(a: Block, b: Block) -> Block:
    z, y, x = (slice(min(i.start, j.start), max(i.stop, j.stop)) for i, j in zip(a, b, strict=True))
    return z, y, x


def _overlap(a: Block, b: Block) -> tuple[Block, Block] | None:
    """Where two blocks meet, counted from the corner of each; None if they do not."""
    own, other = [], []
    for i, j in zip(a, b, strict=True):
        low, high = max(i.start, j.start), min(i.stop, j.stop)
        if low >= high:
            return None
        own.append(slice(low - i.start, high - i.start))
        other.append(slice(low - j.start, high - j.start))
    return (own[0], own[1], own[2]), (other[0], other[1], other[2])


def _paint_slab(
    painting: Painting, layers: Sequence[Layer], tissues: Mapping[str, Sequence[float]], part: slice
) -> None:
    """Paint some slices; regions are kept as real numbers until the slab is done."""
    grid = painting.grid.part((part, slice(None), slice(None)))
    values = painting.values_czyx[:, part]
    regions: dict[str, Region] = {}
    for layer in layers:
        block = grid.block(*layer.bounds())
        if block is None:
            continue
        share = layer.share(grid.part(block))
        for channel, value in enumerate(tissues[layer.tissue]):
            target = values[channel][block]
            target += share * (np.float32(value) - target)
        _cover(painting, regions, layer, block, share, part)
    for name, region in regions.items():
        first = part.start + region.block[0].start - painting.regions[name].block[0].start
        last = first + len(region.share_zyx)
        painting.regions[name].share_zyx[first:last] = np.rint(region.share_zyx * 255).astype(np.uint8)
        painting.volumes_ml[name] += float(region.share_zyx.sum(dtype=np.float64)) * painting.grid.voxel_ml


def _cover(
    painting: Painting, regions: dict[str, Region], layer: Layer, block: Block, share: Field, part: slice
) -> None:
    """Take what a layer covers from the regions that do not hold it, and give it to its own."""
    for name, region in regions.items():
        if name != layer.mask and name not in layer.within and (meeting := _overlap(block, region.block)):
            region.share_zyx[meeting[1]] *= 1 - share[meeting[0]]
    if not layer.mask:
        return
    if layer.mask not in regions:
        z, y, x = painting.regions[layer.mask].block
        z = slice(max(z.start - part.start, 0), min(z.stop, part.stop) - part.start)
        empty = np.zeros(tuple(s.stop - s.start for s in (z, y, x)), dtype=np.float32)
        regions[layer.mask] = Region(block=(z, y, x), share_zyx=empty)
    own = regions[layer.mask]
    if meeting := _overlap(block, own.block):
        target = own.share_zyx[meeting[1]]
        target += share[meeting[0]] * (1 - target)


def crop_field(
    distance_zyx: Field, lattice: Lattice, margin_mm: float = 4.0
) -> tuple[Field, tuple[Field, Field, Field]]:
    """Cut a distance field to the box where it matters, so that painting it is quick."""
    inside = distance_zyx < margin_mm
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(hit):
            hit = np.array([0, 1])
        slices.append(slice(max(int(hit[0]) - 1, 0), int(hit[-1]) + 2))
    z, y, x = (axis[cut] for axis, cut in zip(lattice.axes_zyx_mm, slices, strict=True))
    return np.ascontiguousarray(distance_zyx[slices[0], slices[1], slices[2]]), (z, y, x)


def field_layer(
    distance_zyx: NDArray[np.floating[Any]], lattice: Lattice, layer: Layer, softness_mm: float = 0.0
) -> FieldLayer:
    """Make a layer from a modelled field; ``layer`` gives tissue and region."""
    full = np.broadcast_to(distance_zyx, tuple(len(axis) for axis in lattice.axes_zyx_mm))
    cropped, axes = crop_field(np.asarray(full, dtype=np.float32), lattice)
    return FieldLayer(
        tissue=layer.tissue,
        mask=layer.mask,
        within=layer.within,
        distance_zyx=cropped,
        axes_zyx_mm=axes,
        softness_mm=softness_mm,
    )


def ramp(distance_mm: Field, width_mm: float) -> Field:
    """Share of a voxel of that width inside a plane surface at this distance."""
    return np.asarray(np.clip(np.float32(0.5) - distance_mm / np.float32(width_mm), 0, 1), dtype=np.float32)


def _interpolate_axis(values: Field, axis: Field, wanted: NDArray[np.float64], number: int) -> Field:
    """Linear interpolation along one axis of an evenly spaced field."""
    at = np.clip((wanted - axis[0]) / (axis[1] - axis[0]), 0, len(axis) - 1.000001)
    low = at.astype(np.intp)
    weight = (at - low).astype(np.float32)
    shape = [1, 1, 1]
    shape[number] = len(wanted)
    lower, upper = values.take(low, axis=number), values.take(low + 1, axis=number)
    return np.asarray(lower + (upper - lower) * weight.reshape(shape), dtype=np.float32)


def _supersampled(grid: Grid, shape: SolidShape) -> Field:
    """Mean share over two by two by two points per voxel."""
    total = np.zeros(grid.shape, dtype=np.float32)
    half_voxel = grid.steps_zyx_mm[1] / 2
    axes = (grid.z_mm, grid.y_mm, grid.x_mm)
    for parts in product((-0.25, 0.25), repeat=3):
        z, y, x = (
            (axis + part * step).astype(np.float32)
            for axis, part, step in zip(axes, parts, grid.steps_zyx_mm, strict=True)
        )
        total += ramp(shape.distance(x[None, None, :], y[None, :, None], z[:, None, None]), half_voxel)
    return np.asarray(total / 8, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment(SolidShape):
    """Rounded cone between two (x, y, z, radius) points."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        ax, ay, az, ar = (float(value) for value in self.start)
        bx, by, bz, br = (float(value) for value in self.end - self.start)
        along = ((x - ax) * bx + (y - ay) * by + (z - az) * bz) / max(bx * bx + by * by + bz * bz, 1e-9)
        along = np.clip(along, 0, 1)
        gap = np.sqrt((x - ax - along * bx) ** 2 + (y - ay - along * by) ** 2 + (z - az - along * bz) ** 2)
        return np.asarray(gap - (ar + along * br), dtype=np.float32)
