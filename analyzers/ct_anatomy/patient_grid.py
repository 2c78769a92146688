"""A coarse, axis-aligned copy of a CT volume on which anatomy can be named by direction.

Source volumes come in any orientation, slice distance and shear. Anatomy is found on a copy whose index axes are
the patient's own: z runs from the feet to the head, y from front to back, x from right to left (LPS), with cubic voxels
a few millimetres wide. What is found there goes back to the source grid by interpolation.

The copy averages blocks of source voxels before it samples them: noise falls, and thin structures are blended rather
than hit or missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.patient_axes import extent_lps_mm, index_map_from_copy, index_map_to_copy, mapped_inside
from analyzers.volume import Volume

AIR_HU = -1024.0
BRIGHTEST_HU = 1500.0
"""Values are clipped here before averaging, so that metal does not flood its neighbourhood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientGrid:
    """A CT on cubic voxels along the patient's axes.

    Attributes
    ----------
    hu_zyx : (z, y, x) float32
        Attenuation; z to the head, y to the back, x to the left. Air outside of the scanned field.
    inside_zyx : (z, y, x) bool
        True where the source volume has voxels inside of the circle of reconstruction.
    origin_lps_mm : (3,) float64
        Centre of voxel (0, 0, 0), as x, y, z.
    spacing_mm : float
        Edge of a voxel.
    """

    hu_zyx: NDArray[np.float32]
    inside_zyx: NDArray[np.bool_]
    origin_lps_mm: NDArray[np.float64]
    spacing_mm: float

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return self.spacing_mm**3 / 1000.0

    def voxels(self, length_mm: float) -> int:
        """The length as a whole number of voxels, at least one."""
        return max(1, round(length_mm / self.spacing_mm))

    def to_lps_mm(self, indices_zyx: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions of (fractional) indices: (n, 3) z, y, x to (n, 3) LPS mm."""
        return self.origin_lps_mm + self.spacing_mm * np.atleast_2d(indices_zyx)[:, ::-1]

    def to_indices_zyx(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional indices of positions: (n, 3) LPS mm to (n, 3) z, y, x."""
        return (np.atleast_2d(points_lps_mm) - self.origin_lps_mm)[:, ::-1] / self.spacing_mm


def patient_grid(
    volume: Volume,
    spacing_mm: float,
    within_lps_mm: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> PatientGrid:
    """Copy a volume onto cubic voxels along the patient's axes.

    Parameters
    ----------
    volume : Volume
        CT in HU; sheared and oblique grids are fine.
    spacing_mm : float
        Edge of the new voxels, in mm.
    within_lps_mm : pair of (3,) float64, optional
        Lower and upper corner of the part to copy; all of the volume by default.
    """
    blocks, block_affine = _block_means(volume.voxels_zyx, volume, spacing_mm)
    low, high = extent_lps_mm(volume)
    if within_lps_mm is not None:
        low, high = np.maximum(low, within_lps_mm[0]), np.minimum(high, within_lps_mm[1])
    shape_zyx = tuple(int(np.ceil(extent / spacing_mm - 0.01)) + 1 for extent in (high - low)[::-1])
    matrix, offset = index_map_from_copy(block_affine, low, spacing_mm)
    hu = _transformed(blocks, matrix, offset, shape_zyx)
    # Voxel centres of the outermost blocks lie inside the field, hence the half voxel of tolerance.
    inside = mapped_inside(blocks.shape, matrix, offset, shape_zyx)
    if volume.padding_zyx is not None:
        padding, _ = _block_means(volume.padding_zyx, volume, spacing_mm)
        scanned = _transformed(padding, matrix, offset, shape_zyx) < 0.5
        # What streaks have darkened inside of the body is no padding.
        inside &= np.stack([ndimage.binary_fill_holes(plane) for plane in scanned])
    hu[~inside] = AIR_HU
    return PatientGrid(hu_zyx=hu, inside_zyx=inside, origin_lps_mm=low, spacing_mm=spacing_mm)


def field_on_source(field_zyx: NDArray[np.float32], grid: PatientGrid, volume: Volume) -> NDArray[np.float32]:
    """Bring a field of a grid to the source voxels by linear interpolation.

    Parameters
    ----------
    field_zyx : (z, y, x) float32 on the grid
        Such as the probability of an organ; zero outside of the grid.

    Returns
    -------
    (z, y, x) float32 on the volume's voxels
    """
    matrix, offset = index_map_to_copy(volume.affine_lps, grid.origin_lps_mm, grid.spacing_mm)
    field = np.zeros(volume.voxels_zyx.shape, np.float32)
    box = _source_box(field_zyx, grid, volume)
    shape = field[box].shape
    if 0 not in shape:
        start = np.array([part.start for part in box], float)
        field[box] = _transformed(np.asarray(field_zyx, np.float32), matrix, offset + matrix @ start, shape)
    return field


def mask_on_source(mask_zyx: NDArray[np.bool_], grid: PatientGrid, volume: Volume) -> NDArray[np.bool_]:
    """Bring a mask of a grid to the source voxels; its surface is smoothed by less than a grid voxel."""
    softened = ndimage.gaussian_filter(mask_zyx.astype(np.float32), 0.6)
    return np.asarray(field_on_source(softened, grid, volume) >= 0.5)


def share_on_grid(mask_zyx: NDArray[np.bool_], volume: Volume, grid: PatientGrid) -> NDArray[np.float32]:
    """Share of the source voxels around each grid voxel that a mask of the source holds, (z, y, x) from 0 to 1.

    What is thinner than a grid voxel (the cortex of a rib) is lost in a mean attenuation, but not here.
    """
    blocks, block_affine = _block_means(mask_zyx, volume, grid.spacing_mm)
    matrix, offset = index_map_from_copy(block_affine, grid.origin_lps_mm, grid.spacing_mm)
    share = _transformed(blocks, matrix, offset, grid.hu_zyx.shape)
    share[~grid.inside_zyx] = 0.0
    return share


def _transformed(
    field: NDArray[np.float32],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.float32]:
    """Linear interpolation, the outermost values going on beyond the edge; a straight grid takes a faster way."""
    diagonal = np.diag(matrix)
    straight = np.allclose(matrix, np.diag(diagonal), atol=1e-6)
    values: NDArray[np.float32] = ndimage.affine_transform(
        field, diagonal if straight else matrix, offset, output_shape=shape, order=1, mode="nearest"
    )
    return values


def _source_box(field_zyx: NDArray[np.float32], grid: PatientGrid, volume: Volume) -> tuple[slice, slice, slice]:
    """The source voxels that a field can reach."""
    shape = volume.voxels_zyx.shape
    reached = ndimage.find_objects((field_zyx > 0).astype(np.int8))
    if not reached:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    ends = [(part.start - 1, part.stop) for part in reached[0]]
    corners = np.array([[z, y, x] for z in ends[0] for y in ends[1] for x in ends[2]], float)
    indices = volume.to_indices_zyx(grid.to_lps_mm(corners))
    low = np.clip(np.floor(indices.min(axis=0)).astype(int), 0, shape)
    high = np.clip(np.ceil(indices.max(axis=0)).astype(int) + 1, 0, shape)
    z, y, x = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return z, y, x


def _block_means(
    voxels_zyx: NDArray[np.float32] | NDArray[np.bool_], volume: Volume, spacing_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Means over blocks that nearly fill the new spacing, and the affine of the block centres.

    One layer of blocks after the other: copies of a whole abdomen in thin slices would take a gigabyte.
    """
    fz, fy, fx = (max(1, int(spacing_mm / step_mm + 0.25)) for step_mm in volume.spacing_zyx_mm)
    planes, rows, columns = voxels_zyx.shape
    spare = ((0, -rows % fy), (0, -columns % fx))
    means = np.empty((-(-planes // fz), -(-rows // fy), -(-columns // fx)), np.float32)
    for z in range(len(means)):
        # The outermost plane, row and column stand in for those that the last block lacks.
        summed = np.zeros((rows, columns), np.float32)
        for plane in range(z * fz, (z + 1) * fz):
            summed += np.clip(voxels_zyx[min(plane, planes - 1)].astype(np.float32), AIR_HU, BRIGHTEST_HU)
        padded = np.pad(summed, spare, mode="edge")
        means[z] = sum(padded[row::fy, column::fx] for row in range(fy) for column in range(fx))
    means /= fz * fy * fx
    affine = volume.affine_lps.copy()
    factors_xyz = np.array([fx, fy, fz], float)
    affine[:3, 3] += affine[:3, :3] @ ((factors_xyz - 1) / 2)
    affine[:3, :3] *= factors_xyz
    return means, affine
