"""The aorta's lumen on the source planes: outline, cross-section and where the celiac trunk leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon2mask

from analyzers.cta.aorta import AortaCourse
from analyzers.volume import Volume

_RAYS = 48
_RAY_STEP_MM = 0.4
_BEYOND_MM = 9.0
_FRONT_HALF_ANGLE_DEG = 35.0
"""Celiac trunk and superior mesenteric artery leave within this of straight forward. Anatomy."""
_BRANCH_REACH_MM = (3.0, 8.0)
"""Distance beyond the wall in which a branch is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LumenSection:
    """The lumen in one source plane.

    Attributes
    ----------
    plane : int
        z index in the source volume.
    centre_row_col : (float, float)
        Pixel indices of the centre line.
    outline_col_row : (48, 2) float64
        Pixel indices (centre of the first pixel is 0).
    diameter_mm : float
        Diameter of the circle of the same area, corrected for the slant between vessel and plane.
    eccentricity_fraction : float
        Difference of the long and the short axis divided by their mean.
    lumen_hu : float
        Median of the inner half.
    branch_in_front : bool
        Whether a vessel of the same blood leaves forwards in this plane.
    edge_share_fraction : float
        Share of the rays that met an edge; the others pass into a branch or touch bone.
    """

    plane: int
    centre_row_col: tuple[float, float]
    outline_col_row: NDArray[np.float64]
    diameter_mm: float
    eccentricity_fraction: float
    lumen_hu: float
    branch_in_front: bool
    edge_share_fraction: float


def lumen_sections(volume: Volume, course: AortaCourse) -> tuple[LumenSection, ...]:
    """Outline the lumen in every source plane that the course passes."""
    indices = volume.to_indices_zyx(course.centres_lps_mm)
    order = np.argsort(indices[:, 0])
    indices, radii = indices[order], course.radii_mm[order]
    if len(np.unique(indices[:, 0])) < 2:
        return ()
    first = max(0, int(np.ceil(indices[0, 0])))
    last = min(len(volume.voxels_zyx) - 1, int(np.floor(indices[-1, 0])))
    planes = np.arange(first, last + 1)
    if planes.size == 0:
        return ()
    rows, columns, radius_mm = (
        np.interp(planes, indices[:, 0], values) for values in (indices[:, 1], indices[:, 2], radii)
    )
    cosines = _slant_cosines(volume, course)[order]
    cosine = np.interp(planes, indices[:, 0], cosines)
    rays = [
        _edges_mm(volume, int(plane), (float(row), float(column)), float(radius))
        for plane, row, column, radius in zip(planes, rows, columns, radius_mm, strict=True)
    ]
    edges_mm = np.array([found for found, *_ in rays])
    # One noisy plane takes the shape of its neighbours.
    edges_mm = ndimage.median_filter(edges_mm, size=(3, 1), mode="nearest")
    return tuple(
        _section(volume, int(plane), (float(rows[i]), float(columns[i])), edges_mm[i], float(cosine[i]), rays[i])
        for i, plane in enumerate(planes)
    )


def lumen_mask(volume: Volume, sections: tuple[LumenSection, ...]) -> NDArray[np.bool_]:
    """The outlines filled, (z, y, x)."""
    mask = np.zeros(volume.voxels_zyx.shape, bool)
    for section in sections:
        mask[section.plane] = polygon2mask(mask.shape[1:], section.outline_col_row[:, ::-1])
    return mask


def celiac_section(
    volume: Volume, sections: tuple[LumenSection, ...], liver_z_mm: tuple[float, float] | None
) -> tuple[LumenSection | None, bool]:
    """The plane in which the celiac trunk leaves, and whether that was seen rather than taken from the liver's height.

    The highest branch that leaves forwards below the upper third of the liver is taken for the celiac trunk. Without
    one, the level is 0.45 of the liver's height above its lower end, where the porta hepatis lies.
    """
    if not sections or liver_z_mm is None:
        return None, False
    heights = np.array([_height_mm(volume, section) for section in sections])
    low, high = liver_z_mm
    order = np.argsort(-heights)
    in_reach = (heights < low + 0.7 * (high - low)) & (heights > low - 0.1 * (high - low))
    flags = np.array([section.branch_in_front for section in sections])
    step_mm = max(0.1, float(np.median(np.abs(np.diff(heights)))) if len(heights) > 1 else 1.0)
    needed = max(1, round(3.0 / step_mm))
    run = 0
    for index in order:
        run = run + 1 if flags[index] and in_reach[index] else 0
        if run >= needed:
            return sections[int(index)], True
    wanted = low + 0.45 * (high - low)
    nearest = int(np.argmin(np.abs(heights - wanted)))
    if abs(heights[nearest] - wanted) > 30.0:
        return None, False
    return sections[nearest], False


def _height_mm(volume: Volume, section: LumenSection) -> float:
    return float(volume.to_lps_mm(np.array([[section.plane, *section.centre_row_col]]))[0, 2])


def _slant_cosines(volume: Volume, course: AortaCourse) -> NDArray[np.float64]:
    normal = np.cross(volume.affine_lps[:3, 0], volume.affine_lps[:3, 1])
    normal /= np.linalg.norm(normal)
    smooth = ndimage.gaussian_filter1d(course.centres_lps_mm, 3.0, axis=0, mode="nearest")
    tangents = np.gradient(smooth, axis=0)
    cosines: NDArray[np.float64] = np.abs(tangents @ normal) / np.maximum(np.linalg.norm(tangents, axis=1), 1e-6)
    return np.clip(cosines, 0.6, 1.0)


def _edges_mm(
    volume: Volume, plane: int, centre: tuple[float, float], radius_mm: float
) -> tuple[NDArray[np.float64], float, bool, float]:
    """Distance to the wall per ray, attenuation of the lumen, branch in front, share of rays with an edge."""
    _, row_mm, column_mm = volume.spacing_zyx_mm
    reach_mm = max(1.7 * radius_mm, radius_mm + _BEYOND_MM)
    steps_mm = np.arange(0.0, reach_mm, _RAY_STEP_MM)
    angles = np.arange(_RAYS) * 2 * np.pi / _RAYS
    rows = centre[0] + np.sin(angles)[:, None] * steps_mm / row_mm
    columns = centre[1] + np.cos(angles)[:, None] * steps_mm / column_mm
    profiles = ndimage.map_coordinates(volume.voxels_zyx[plane], np.array([rows, columns]), order=1, mode="nearest")
    profiles = ndimage.gaussian_filter(profiles, (1.0, 0.6 / _RAY_STEP_MM), mode=("wrap", "nearest"))
    lumen_hu = float(np.median(profiles[:, steps_mm < 0.5 * radius_mm]))
    around_hu = np.clip(np.minimum.accumulate(profiles, axis=1)[:, -1], -60.0, lumen_hu - 1.0)
    around_hu = np.minimum(around_hu, np.percentile(around_hu, 75))
    half_hu = (lumen_hu + around_hu) / 2
    below = profiles < half_hu[:, None]
    below[:, steps_mm < 0.35 * radius_mm] = False
    met = below.any(axis=1)
    edges = np.where(met, steps_mm[np.argmax(below, axis=1)], np.nan)
    share = float(met.mean())
    if share < 0.4:
        return np.full(_RAYS, radius_mm), lumen_hu, False, share
    typical = float(np.nanmedian(edges))
    edges = np.where(edges > 1.35 * typical, np.nan, edges)
    known = np.flatnonzero(np.isfinite(edges))
    edges = np.interp(np.arange(_RAYS), known, edges[known], period=_RAYS)
    edges = ndimage.median_filter(edges, size=5, mode="wrap")
    branch = _branch_in_front(volume, angles, profiles, steps_mm, typical, half_hu)
    return edges, lumen_hu, branch, share


def _branch_in_front(
    volume: Volume,
    angles: NDArray[np.float64],
    profiles: NDArray[np.float32],
    steps_mm: NDArray[np.float64],
    typical_mm: float,
    half_hu: NDArray[np.float64],
) -> bool:
    """Whether some ray towards the front keeps the blood's attenuation beyond the wall."""
    directions = np.cos(angles)[:, None] * volume.affine_lps[:3, 0] + np.sin(angles)[:, None] * volume.affine_lps[:3, 1]
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    forwards = -directions[:, 1] > np.cos(np.radians(_FRONT_HALF_ANGLE_DEG))
    beyond = (steps_mm > typical_mm + _BRANCH_REACH_MM[0]) & (steps_mm < typical_mm + _BRANCH_REACH_MM[1])
    if not beyond.any() or not forwards.any():
        return False
    return bool(np.any(profiles[forwards][:, beyond].min(axis=1) > half_hu[forwards]))


def _section(
    volume: Volume,
    plane: int,
    centre: tuple[float, float],
    edges_mm: NDArray[np.float64],
    cosine: float,
    ray: tuple[NDArray[np.float64], float, bool, float],
) -> LumenSection:
    _, row_mm, column_mm = volume.spacing_zyx_mm
    angles = np.arange(_RAYS) * 2 * np.pi / _RAYS
    outline = np.column_stack(
        [centre[1] + np.cos(angles) * edges_mm / column_mm, centre[0] + np.sin(angles) * edges_mm / row_mm]
    )
    area_mm2 = 0.5 * float(np.sum(edges_mm * np.roll(edges_mm, 1)) * np.sin(2 * np.pi / _RAYS))
    widths = edges_mm + np.roll(edges_mm, _RAYS // 2)
    return LumenSection(
        plane=plane,
        centre_row_col=centre,
        outline_col_row=outline,
        diameter_mm=2 * float(np.sqrt(area_mm2 * cosine / np.pi)),
        eccentricity_fraction=float((widths.max() - widths.min()) / widths.mean()),
        lumen_hu=ray[1],
        branch_in_front=ray[2],
        edge_share_fraction=ray[3],
    )
