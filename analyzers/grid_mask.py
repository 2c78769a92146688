"""A region on a grid of its own: neither pixel for pixel on the images at hand, nor made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class GridMask:
    """A region on a grid of its own.

    Attributes
    ----------
    label : str
    mask_zyx : (z, y, x) bool
    affine_lps : (4, 4) float64
        Takes (x, y, z, 1) indices to LPS mm.
    """

    label: str
    mask_zyx: NDArray[np.bool_]
    affine_lps: NDArray[np.float64]

    def points_lps_mm(self) -> NDArray[np.float64]:
        """Centres of the voxels inside, (n, 3)."""
        xyz = np.argwhere(self.mask_zyx)[:, ::-1].astype(np.float64)
        return np.asarray(xyz @ self.affine_lps[:3, :3].T + self.affine_lps[:3, 3], np.float64)

    @property
    def volume_ml(self) -> float:
        """Volume of the region."""
        return float(self.mask_zyx.sum()) * abs(float(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    def moved(self, shift_lps_mm: NDArray[np.float64]) -> GridMask:
        """The same region, moved by (3,) LPS mm."""
        affine = self.affine_lps.copy()
        affine[:3, 3] += shift_lps_mm
        return replace(self, affine_lps=affine)

    def holds(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the points, (n, 3) LPS mm, lie in a voxel of the region; (n,) bool."""
        inverse = np.linalg.inv(self.affine_lps[:3, :3])
        nearest = np.rint((points_lps_mm - self.affine_lps[:3, 3]) @ inverse.T)[:, ::-1].astype(np.intp)
        inside = ((nearest >= 0) & (nearest < np.asarray(self.mask_zyx.shape))).all(axis=1)
        held = np.zeros(len(points_lps_mm), np.bool_)
        held[inside] = self.mask_zyx[tuple(nearest[inside].T)]
        return held
