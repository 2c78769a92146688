"""The spine's place in every plane: the body's midline, and the landmark that aorta and liver are searched from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.ct_anatomy.body import Body
from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.ct_anatomy.thresholds import TissueThresholds

_SIDE_REACH_MM = 45.0
"""Half width of the strip around the trunk's middle in which a vertebra is searched; a scoliosis shifts it by less."""
_SMOOTHING_MM = 30.0
"""About one vertebra with its disc."""
_BROAD_BONE_MM2 = 600.0
"""A rib cut along its length stays below; an iliac wing is above. Anatomy."""
_LEAST_AREA_MM2 = 250.0
"""Bone in one plane that counts as a vertebra; the body of one has 800 mm2 and more. Anatomy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spine:
    """Centre of the vertebral bone per plane, in grid indices, smoothed along z.

    Attributes
    ----------
    x, y : (z,) float64
        Column and row index.
    front_y : (z,) float64
        Row index of the front of the vertebral body.
    seen : (z,) bool
        Planes in which a vertebra was found beside which there is no pelvis and no shoulder; the others are
        interpolated.
    pelvis_mm : float
        Height over which iliac wings are seen in the lower half of the scan.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    front_y: NDArray[np.float64]
    seen: NDArray[np.bool_]
    pelvis_mm: float


def find_spine(grid: PatientGrid, body: Body, thresholds: TissueThresholds) -> Spine | None:
    """Find the spine as the bone nearest to the middle of the back half of the trunk; ``None`` without one."""
    bone = (grid.hu_zyx > thresholds.bone_above_hu) & body.mask_zyx
    planes = len(bone)
    cortical = grid.hu_zyx > thresholds.cortical_above_hu
    found = np.full((planes, 3), np.nan)
    at_pelvis = np.zeros(planes, bool)
    least_voxels = _LEAST_AREA_MM2 / grid.spacing_mm**2
    for z in range(planes):
        found[z] = _vertebra(bone[z], body.mask_zyx[z], _SIDE_REACH_MM / grid.spacing_mm, least_voxels)
        at_pelvis[z] = _has_broad_bone(bone[z], cortical[z], found[z, 0], grid.spacing_mm)
    at_pelvis = ndimage.binary_opening(at_pelvis, iterations=2)
    found[at_pelvis] = np.nan
    seen = np.isfinite(found[:, 0])
    if seen.sum() < max(3, 0.2 * planes):
        return None
    sigma = _SMOOTHING_MM / grid.spacing_mm / 2
    x, y, front = (_smooth(found[:, column], seen, sigma) for column in range(3))
    pelvis_mm = float(at_pelvis[: planes // 2].sum()) * grid.spacing_mm
    return Spine(x=x, y=y, front_y=front, seen=seen, pelvis_mm=pelvis_mm)


def _vertebra(
    bone: NDArray[np.bool_], trunk: NDArray[np.bool_], reach: float, least_voxels: float
) -> tuple[float, float, float]:
    """Centre x, centre y and front y of the vertebra in one plane; NaN where there is none."""
    rows, columns = np.nonzero(trunk)
    if rows.size < 4 * least_voxels:
        return (np.nan, np.nan, np.nan)
    middle_x = (np.percentile(columns, 2) + np.percentile(columns, 98)) / 2
    front, back = np.percentile(rows, 2), np.percentile(rows, 98)
    strip = bone.copy()
    strip[:, : max(0, int(middle_x - reach))] = False
    strip[:, int(middle_x + reach) + 1 :] = False
    strip[: int(front + 0.4 * (back - front))] = False
    labels, count = ndimage.label(strip, np.ones((3, 3)))
    if count == 0:
        return (np.nan, np.nan, np.nan)
    sizes = np.bincount(labels.ravel())[1:].astype(float)
    centres = np.array(ndimage.center_of_mass(strip, labels, range(1, count + 1)))
    # Behind the vertebra lies little; in front of it kidneys and vessels may be as bright.
    behind = (centres[:, 0] - front) / max(1.0, back - front)
    label = int(np.argmax(np.minimum(sizes, 6 * least_voxels) * np.clip(behind, 0.05, 1.0) ** 4))
    if sizes[label] < least_voxels:
        return (np.nan, np.nan, np.nan)
    member_rows, member_columns = np.nonzero(labels == label + 1)
    return float(np.median(member_columns)), float(np.median(member_rows)), float(np.percentile(member_rows, 5))


def _has_broad_bone(bone: NDArray[np.bool_], cortical: NDArray[np.bool_], spine_x: float, spacing_mm: float) -> bool:
    """Whether a plane cuts an iliac wing, a femur or a shoulder: bone beside the spine, broader than a rib."""
    if not np.isfinite(spine_x):
        return False
    beside = bone.copy()
    reach = _SIDE_REACH_MM / spacing_mm
    beside[:, max(0, int(spine_x - reach)) : int(spine_x + reach) + 1] = False
    labels, count = ndimage.label(beside, np.ones((3, 3)))
    if count == 0:
        return False
    areas_mm2 = np.bincount(labels.ravel())[1:] * spacing_mm**2
    # An enhanced kidney is as bright as spongy bone, yet has no cortical shell.
    shells_mm2 = np.bincount(labels[cortical & beside], minlength=count + 1)[1:] * spacing_mm**2
    return bool(np.any((areas_mm2 > _BROAD_BONE_MM2) & (shells_mm2 > 0.15 * areas_mm2)))


def _smooth(values: NDArray[np.float64], seen: NDArray[np.bool_], sigma: float) -> NDArray[np.float64]:
    z = np.arange(len(values))
    known = ndimage.median_filter(values[seen], size=min(9, int(seen.sum())), mode="nearest")
    filled = np.interp(z, z[seen], known)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter1d(filled, sigma, mode="nearest")
    return smooth
