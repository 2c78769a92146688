"""Metal in a CT: voxels at the end of the scale, gathered into pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.volume import Volume

_CELL_MM = 4.0
"""Pieces whose voxels lie closer than about this are one: a hollow housing has seams and faces in different planes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetalPiece:
    """One connected piece of metal.

    Attributes
    ----------
    indices_zyx : (n, 3) int
        Its voxels in the source volume.
    points_lps_mm : (n, 3) float64
        Their centres.
    cut : bool
        Whether it reaches the border of the volume, so that its size is not known.
    """

    indices_zyx: NDArray[np.intp]
    points_lps_mm: NDArray[np.float64]
    cut: bool


def metal_pieces(volume: Volume, above_hu: float, fewest_voxels: int = 30) -> Iterator[MetalPiece]:
    """Gather voxels above a threshold into pieces, the largest first.

    Cells of 4 mm are joined rather than voxels, so that thick slices do not tear a housing apart.
    """
    indices = np.argwhere(volume.voxels_zyx >= above_hu)
    if len(indices) < fewest_voxels:
        return
    points = volume.to_lps_mm(indices.astype(float))
    step_mm = max(_CELL_MM, 1.5 * volume.spacing_zyx_mm[0])
    cells = np.floor((points - points.min(axis=0)) / step_mm).astype(int)
    occupied = np.zeros(cells.max(axis=0) + 1, bool)
    occupied[tuple(cells.T)] = True
    labels, count = ndimage.label(occupied, np.ones((3, 3, 3)))
    of_voxel = labels[tuple(cells.T)]
    sizes = np.bincount(of_voxel, minlength=count + 1)
    last = np.array(volume.voxels_zyx.shape) - 1
    for label in np.argsort(-sizes, kind="stable"):
        if sizes[label] < fewest_voxels:
            return
        members = indices[of_voxel == label]
        cut = bool(np.any(members <= 0) or np.any(members >= last))
        yield MetalPiece(indices_zyx=members, points_lps_mm=points[of_voxel == label], cut=cut)
