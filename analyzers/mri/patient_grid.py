"""A coarse copy of an MR volume along the patient's axes, on which anatomy can be named by direction.

Source volumes come in any orientation and slice distance. The copy has cubic voxels; z runs from the feet to the
head, y from front to back, x from right to left (LPS). What is found on it goes back to the source by interpolation,
and a second volume of the same frame of reference is brought onto the grid of the first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.patient_axes import extent_lps_mm, index_map_from_copy, index_map_to_copy, mapped_inside
from analyzers.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientGrid:
    """Where the voxels of a copy lie.

    Attributes
    ----------
    shape_zyx : tuple of int
        z to the head, y to the back, x to the left.
    origin_lps_mm : (3,) float64
        Centre of voxel (0, 0, 0), as x, y, z.
    spacing_mm : float
        Edge of a voxel.
    """

    shape_zyx: tuple[int, int, int]
    origin_lps_mm: NDArray[np.float64]
    spacing_mm: float

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return self.spacing_mm**3 / 1000.0

    def voxels(self, length_mm: float) -> float:
        """The length in voxels."""
        return length_mm / self.spacing_mm


def grid_over(volume: Volume, spacing_mm: float) -> PatientGrid:
    """Lay a grid of cubic voxels over a volume."""
    low, high = extent_lps_mm(volume)
    nx, ny, nz = (int(np.floor(extent / spacing_mm)) + 1 for extent in high - low)
    return PatientGrid(shape_zyx=(nz, ny, nx), origin_lps_mm=low, spacing_mm=spacing_mm)


def on_grid(
    volume: Volume, grid: PatientGrid, shift_lps_mm: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Copy a volume onto a grid.

    Parameters
    ----------
    volume : Volume
        Any MR volume; what is finer than the grid is smoothed first.
    grid : PatientGrid
        Where to.
    shift_lps_mm : (3,) float64 or None
        Added to every position of the grid before the volume is asked: x, y, z.

    Returns
    -------
    values : (z, y, x) float32
        Zero where the volume has no voxels.
    inside : (z, y, x) bool
        Where it has.
    """
    sigmas = [max(0.0, 0.35 * (grid.spacing_mm / step_mm - 1.0)) for step_mm in volume.spacing_zyx_mm]
    smooth = ndimage.gaussian_filter(volume.voxels_zyx, sigmas)
    origin = grid.origin_lps_mm + (shift_lps_mm if shift_lps_mm is not None else np.zeros(3))
    matrix, offset = index_map_from_copy(volume.affine_lps, origin, grid.spacing_mm)
    values = ndimage.affine_transform(smooth, matrix, offset, output_shape=grid.shape_zyx, order=1, cval=0.0)
    inside = mapped_inside(smooth.shape, matrix, offset, grid.shape_zyx)
    return np.asarray(values, np.float32), inside


def field_on_source(field_zyx: NDArray[np.float32], grid: PatientGrid, volume: Volume) -> NDArray[np.float32]:
    """Bring a field of a grid to the source voxels by linear interpolation; the grid's border goes on outside."""
    matrix, offset = index_map_to_copy(volume.affine_lps, grid.origin_lps_mm, grid.spacing_mm)
    field: NDArray[np.float32] = ndimage.affine_transform(
        np.asarray(field_zyx, np.float32),
        matrix,
        offset,
        output_shape=volume.voxels_zyx.shape,
        order=1,
        mode="nearest",
    )
    return field


def source_on_source(moving: Volume, fixed: Volume, shift_lps_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values of one volume at the voxels of another; not a number where it has none.

    Parameters
    ----------
    moving, fixed : Volume
        In one frame of reference.
    shift_lps_mm : (3,) float64
        Added to every position of ``fixed`` before ``moving`` is asked.
    """
    inverse = np.linalg.inv(moving.affine_lps[:3, :3])
    matrix = (inverse @ fixed.affine_lps[:3, :3])[::-1, ::-1]
    offset = (inverse @ (fixed.affine_lps[:3, 3] + shift_lps_mm - moving.affine_lps[:3, 3]))[::-1]
    values: NDArray[np.float32] = ndimage.affine_transform(
        moving.voxels_zyx, matrix, offset, output_shape=fixed.voxels_zyx.shape, order=1, cval=np.nan
    )
    return values


def cropped(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """The part of a volume in a box of indices, in its place in the patient."""
    first_xyz = np.array([part.start for part in reversed(box)], np.float64)
    affine_lps = volume.affine_lps.copy()
    affine_lps[:3, 3] += affine_lps[:3, :3] @ first_xyz
    return replace(
        volume,
        voxels_zyx=volume.voxels_zyx[box],
        affine_lps=affine_lps,
        planes=volume.planes[box[0]],
        padding_zyx=None if volume.padding_zyx is None else volume.padding_zyx[box],
    )


def ball(radius_voxels: float) -> NDArray[np.bool_]:
    """A ball as structuring element, (z, y, x)."""
    reach = max(1, int(np.ceil(radius_voxels)))
    z, y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1]
    return np.asarray(z**2 + y**2 + x**2 <= radius_voxels**2 + 1e-6)


def eroded(mask_zyx: NDArray[np.bool_], radius_voxels: float) -> NDArray[np.bool_]:
    """Erode by a Euclidean ball; outside of the array counts as inside."""
    if mask_zyx.all():
        return mask_zyx.copy()
    return np.asarray(ndimage.distance_transform_edt(mask_zyx) > radius_voxels)


def dilated(mask_zyx: NDArray[np.bool_], radius_voxels: float) -> NDArray[np.bool_]:
    """Dilate by a Euclidean ball."""
    if not mask_zyx.any():
        return mask_zyx.copy()
    return np.asarray(ndimage.distance_transform_edt(~mask_zyx) <= radius_voxels)


def closed(mask_zyx: NDArray[np.bool_], radius_voxels: float) -> NDArray[np.bool_]:
    """Close by a Euclidean ball."""
    margin = int(np.ceil(radius_voxels)) + 1
    padded = np.pad(mask_zyx, ((0, 0), (margin, margin), (margin, margin)))
    grown = dilated(padded, radius_voxels)
    shrunk = eroded(grown, radius_voxels)
    return np.asarray((shrunk | padded)[:, margin:-margin, margin:-margin])


def largest_part(mask_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part (faces)."""
    labels, count = ndimage.label(mask_zyx)
    if count == 0:
        return mask_zyx.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))
