"""The lungs, as far as the scan shows them: they tell where the liver's dome is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.ct_anatomy.body import Body
from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.ct_anatomy.thresholds import TissueThresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Lungs:
    """Aerated lung on a patient grid; both masks are empty where the scan begins below the lungs."""

    right_zyx: NDArray[np.bool_]
    left_zyx: NDArray[np.bool_]

    @property
    def both_zyx(self) -> NDArray[np.bool_]:
        """Right and left together."""
        return self.right_zyx | self.left_zyx


def find_lungs(grid: PatientGrid, body: Body, midline_x: NDArray[np.float64], thresholds: TissueThresholds) -> Lungs:
    """Find aerated lung: gas inside of the body, with the attenuation of lung, not enclosed by bowel.

    Parameters
    ----------
    midline_x : (z,) float64
        Column index of the spine per plane; what lies at smaller x is the patient's right.
    """
    gas = (grid.hu_zyx < thresholds.gas_below_hu) & body.mask_zyx & grid.inside_zyx
    # Gas that reaches the skin is outside air caught by the outline.
    gas &= body.depth_mm_zyx > 2 * grid.spacing_mm
    labels, count = ndimage.label(gas)
    lung = np.zeros_like(gas)
    if count:
        index = np.arange(1, count + 1)
        sizes_ml = np.bincount(labels.ravel(), minlength=count + 1)[1:] * grid.voxel_ml
        large = index[sizes_ml >= thresholds.smallest_lung_ml]
        medians = ndimage.median(grid.hu_zyx, labels, large) if large.size else []
        low, high = thresholds.lung_median_hu
        kept = [label for label, median in zip(large, medians, strict=True) if low <= median <= high]
        lung = np.isin(labels, kept)
    right = np.arange(grid.hu_zyx.shape[2])[None, None, :] < midline_x[:, None, None]
    return Lungs(right_zyx=lung & right, left_zyx=lung & ~right)
