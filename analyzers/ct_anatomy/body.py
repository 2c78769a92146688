"""The patient's outline, without the table, and the tissues that a threshold can name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.ct_anatomy.thresholds import TissueThresholds

_MARGIN_MM = 60.0
"""A trunk is taken to go on this far beyond the field; depths above are asked by nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The body on a patient grid.

    Attributes
    ----------
    mask_zyx : (z, y, x) bool
        Everything inside of the skin, gas included.
    depth_mm_zyx : (z, y, x) float32
        In-plane distance to the skin, zero outside. Where the field of view cuts the trunk, the trunk is taken to go
        on, so that the border of the field is no skin.
    """

    mask_zyx: NDArray[np.bool_]
    depth_mm_zyx: NDArray[np.float32]


def find_body(grid: PatientGrid, thresholds: TissueThresholds) -> Body | None:
    """Outline the patient; ``None`` if nothing on the grid is large enough to be a trunk.

    Table and covers are thinner than the opening's radius, or not connected to the patient after it.
    """
    dense = (grid.hu_zyx > _outline_above_hu(grid, thresholds)) & grid.inside_zyx
    round_element = disc(grid.voxels(thresholds.table_half_thickness_mm))
    # Filled first: the wall over a lung is thinner than a table top, the filled trunk is not.
    opened = np.stack([ndimage.binary_opening(_filled(plane), round_element) for plane in dense])
    labels, count = ndimage.label(opened)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    trunk = labels == int(np.argmax(sizes))
    # The skin that the opening rounded off comes back, the table does not.
    trunk = ndimage.binary_dilation(trunk, iterations=1) & (dense | opened)
    mask = np.stack([_filled(plane) for plane in trunk])
    if mask.sum() * grid.voxel_ml < thresholds.smallest_body_ml:
        return None
    depth = np.stack([_depth(*planes, grid.voxels(_MARGIN_MM)) for planes in zip(mask, grid.inside_zyx, strict=True)])
    return Body(mask_zyx=mask, depth_mm_zyx=(depth * grid.spacing_mm).astype(np.float32))


def trunk_beyond(trunk: NDArray[np.bool_], inside: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """Where the trunk goes on beyond the scanned field of one plane, with a margin around the plane."""
    scanned = np.pad(inside, margin)
    if not scanned.any():
        return scanned
    nearest = ndimage.distance_transform_edt(~scanned, return_distances=False, return_indices=True)
    beyond: NDArray[np.bool_] = np.pad(trunk, margin)[tuple(nearest)] & ~scanned
    return beyond


def at_field_border(mask_zyx: NDArray[np.bool_], grid: PatientGrid) -> NDArray[np.bool_]:
    """The voxels of a mask within two voxels of a lateral border of the scanned field, (z, y, x) bool.

    The ends of the scan along z do not count: planes are padded sideways only.
    """
    outside = np.pad(~grid.inside_zyx, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    near = np.stack([ndimage.binary_dilation(plane, iterations=2) for plane in outside])[:, 1:-1, 1:-1]
    # A plane beyond a tilted or short scan has no field at all, hence no border sideways.
    return np.asarray(mask_zyx & near & grid.inside_zyx)


def _depth(trunk: NDArray[np.bool_], inside: NDArray[np.bool_], margin: int) -> NDArray[np.float64]:
    """Pixels to the skin in one plane."""
    whole = np.pad(trunk, margin) | trunk_beyond(trunk, inside, margin)
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(whole)[margin:-margin, margin:-margin]
    return np.where(trunk, depth, 0.0)


def _outline_above_hu(grid: PatientGrid, thresholds: TissueThresholds) -> float:
    """Skin against air; where the field of view cuts through the chest, lung must not count as air."""
    border = np.zeros(grid.hu_zyx.shape[1:], bool)
    border[[0, -1], :] = border[:, [0, -1]] = True
    at_border = border & grid.inside_zyx
    within_hu = grid.hu_zyx[at_border]
    cropped = within_hu.size > 0 and np.mean(within_hu > thresholds.air_below_hu) > thresholds.cropped_border_fraction
    return thresholds.air_below_hu if cropped else thresholds.body_above_hu


def _filled(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what the outline of one plane surrounds."""
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(plane)
    return filled


def disc(radius: int) -> NDArray[np.bool_]:
    """A flat round structuring element of ``2 * radius + 1`` pixels."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(y * y + x * x <= radius * radius)
