"""The aorta's course: the tube in front and to the left of the spine, followed through all planes at once.

In each plane every circle of a plausible size near the spine is scored by the edge along its rim (inside brighter than
outside; what touches it, such as a vertebra, merely adds nothing) and by the evenness of its inside. The best chain
of circles from plane to plane is then found by dynamic programming, so one bad plane does not lose the vessel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.ct_anatomy.spine import Spine
from analyzers.cta.thresholds import AortaThresholds

_SMOOTHING_MM = 1.5
_ANGLES = 24
_CANDIDATES = 60
_EDGE_MM = 2.5
"""Half of the distance between the inner and the outer sample of the rim."""
_FULL_EDGE_HU = 70.0
"""A step of this height counts fully: unenhanced blood against fat gives 130, against muscle nothing."""
_BRIGHT_NEIGHBOUR = -0.3
"""A rim against something brighter speaks against a vessel, yet little: vertebrae touch the aorta."""
_DARKEST_BLOOD_HU = 15.0
"""Unenhanced blood of a severe anaemia."""
_SEEN_REACH_MM = 9.0
"""A plane through a disc shows little bone; its neighbours speak for it."""
_STEP_MM = 3.0
_SCORE_FLOOR = 0.42
"""Rim and evenness of a chain below this are no vessel; a random place next to the spine scores about 0.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AortaCourse:
    """The centre line of the aorta, from the feet to the head.

    Attributes
    ----------
    centres_lps_mm : (n, 3) float64
        One point per step along z.
    radii_mm : (n,) float64
        Coarse radius of the best circle.
    scores : (n,) float64
        From 0 to 1: edge along the rim, less unevenness inside.
    mean_hu : float
        Mean attenuation of the inner half of the lumen over the course.
    """

    centres_lps_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]
    scores: NDArray[np.float64]
    mean_hu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Circles:
    """The best circles of one plane, in mm within the grid; (k,) each."""

    y_mm: NDArray[np.float64]
    x_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    quality: NDArray[np.float64]
    total: NDArray[np.float64]
    inner_hu: NDArray[np.float64]


def follow_aorta(
    grid: PatientGrid, spine: Spine, spine_grid: PatientGrid, thresholds: AortaThresholds
) -> AortaCourse | None:
    """Follow the aorta; ``None`` where no tube stands out over a sufficient length.

    Parameters
    ----------
    grid : PatientGrid
        Fine enough for a rim: 2 mm or less.
    spine : Spine
        In indices of ``spine_grid``.
    """
    step = grid.voxels(_STEP_MM)
    planes = list(range(0, len(grid.hu_zyx), step))
    radii_mm = np.geomspace(thresholds.radius_mm[0], thresholds.radius_mm[1], 9)
    circles = []
    for z in planes:
        at = _spine_plane(spine, z, grid, spine_grid)
        place_lps_mm = spine_grid.to_lps_mm(np.array([[at, spine.front_y[at], spine.x[at]]]))[0]
        x_mm, y_mm, _ = (place_lps_mm - grid.origin_lps_mm).tolist()
        place_mm = (y_mm, x_mm)
        circles.append(_best_circles(grid, z, place_mm, radii_mm, thresholds))
    chain = _best_chain(circles, step * grid.spacing_mm, thresholds)
    picked = [(plane, circle, index) for plane, circle, index in zip(planes, circles, chain, strict=True)]
    scores = np.array([circle.quality[index] for _, circle, index in picked])
    at_spine = np.array([spine.seen[_spine_plane(spine, z, grid, spine_grid)] for z in planes])
    near_spine = ndimage.binary_dilation(at_spine, iterations=grid.voxels(_SEEN_REACH_MM) // step)
    first, last = _longest_run((_running_mean(scores, 5) > _SCORE_FLOOR) & near_spine)
    if (last - first) * step * grid.spacing_mm < thresholds.least_length_mm:
        return None
    picked, scores = picked[first:last], scores[first:last]
    centres = np.array([[z * grid.spacing_mm, circle.y_mm[index], circle.x_mm[index]] for z, circle, index in picked])
    for column in (1, 2):
        centres[:, column] = _running_mean(centres[:, column], 3)
    radii = np.array([circle.radius_mm[index] for _, circle, index in picked])
    inner = np.array([circle.inner_hu[index] for _, circle, index in picked])
    return AortaCourse(
        centres_lps_mm=grid.origin_lps_mm + centres[:, ::-1],
        radii_mm=_running_mean(radii, 3),
        scores=scores,
        mean_hu=float(np.median(inner)),
    )


def _spine_plane(spine: Spine, z: int, grid: PatientGrid, spine_grid: PatientGrid) -> int:
    """The plane of the spine's grid at the height of a plane of the fine grid."""
    height_mm = z * grid.spacing_mm + float(grid.origin_lps_mm[2] - spine_grid.origin_lps_mm[2])
    return int(np.clip(round(height_mm / spine_grid.spacing_mm), 0, len(spine.x) - 1))


def _best_circles(
    grid: PatientGrid,
    z: int,
    place_mm: tuple[float, float],
    radii_mm: NDArray[np.float64],
    thresholds: AortaThresholds,
) -> _Circles:
    """Score circles around the front of the spine in one plane; the best of them, best first."""
    front_y_mm, spine_x_mm = place_mm
    # From far to the right of the spine up to the left kidney; from beside the vertebra up to the pancreas.
    lattice_y_mm, lattice_x_mm = np.meshgrid(
        front_y_mm + np.arange(-60.0, 31.0, 3.0), spine_x_mm + np.arange(-30.0, 61.0, 3.0), indexing="ij"
    )
    y_mm, x_mm = lattice_y_mm.ravel(), lattice_x_mm.ravel()
    plane = ndimage.gaussian_filter(np.clip(grid.hu_zyx[z], -100.0, 600.0), _SMOOTHING_MM / grid.spacing_mm)
    angles = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    best: dict[str, list[NDArray[np.floating]]] = {name: [] for name in ("quality", "total", "inner")}
    for radius in radii_mm:
        inner = _ring(plane, grid.spacing_mm, y_mm, x_mm, max(radius - _EDGE_MM, 0.3 * radius), angles)
        outer = _ring(plane, grid.spacing_mm, y_mm, x_mm, radius + _EDGE_MM, angles)
        half = _ring(plane, grid.spacing_mm, y_mm, x_mm, 0.5 * radius, angles[::3])
        edge = np.clip((inner - outer) / _FULL_EDGE_HU, _BRIGHT_NEIGHBOUR, 1.0).mean(axis=1)
        inside = np.concatenate([inner, half], axis=1)
        mean_hu = inside.mean(axis=1)
        uneven = inside.std(axis=1) / (_FULL_EDGE_HU + 0.25 * np.abs(mean_hu))
        # Cancellous bone is as bright as blood, yet its rim is brighter than its middle.
        bony = (inner.max(axis=1) > half.mean(axis=1) + 150.0) | (mean_hu < _DARKEST_BLOOD_HU)
        quality = np.where(bony, 0.0, np.clip(edge - 0.7 * uneven, 0.0, 1.0))
        best["quality"].append(quality)
        best["inner"].append(half.mean(axis=1))
        best["total"].append(quality + _place_bonus(y_mm, x_mm, radius, place_mm, thresholds))
    quality, inner_hu, total = (np.concatenate(best[name]) for name in ("quality", "inner", "total"))
    order = np.argsort(-total, kind="stable")[:_CANDIDATES]
    count = len(y_mm)
    return _Circles(
        y_mm=y_mm[order % count],
        x_mm=x_mm[order % count],
        radius_mm=radii_mm[order // count],
        quality=quality[order],
        total=total[order],
        inner_hu=inner_hu[order],
    )


def _place_bonus(
    y_mm: NDArray[np.float64],
    x_mm: NDArray[np.float64],
    radius_mm: float,
    place_mm: tuple[float, float],
    thresholds: AortaThresholds,
) -> NDArray[np.float64]:
    """Up to zero: the aorta lies on the spine, left of its middle, and is about as wide as most are."""
    front_y_mm, spine_x_mm = place_mm
    sideways = (x_mm - (spine_x_mm + 10.0)) / 18.0
    # The vena cava mirrors the aorta on the right.
    sideways = np.where(x_mm < spine_x_mm, sideways * 1.6, sideways)
    forwards = (front_y_mm - radius_mm - 1.0 - y_mm) / 14.0
    # In the chest the aorta lies beside the vertebra, hence the slack; further back there is only bone.
    forwards = np.where(y_mm > front_y_mm - 0.3 * radius_mm + 6.0, forwards - 3.0, forwards)
    size = np.log(radius_mm / thresholds.expected_radius_mm) / 0.45
    bonus: NDArray[np.float64] = -0.12 * (sideways**2 + forwards**2) - 0.06 * size**2
    return bonus


def _ring(
    plane: NDArray[np.float32],
    spacing_mm: float,
    y_mm: NDArray[np.float64],
    x_mm: NDArray[np.float64],
    radius_mm: float,
    angles: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Nearest values on circles around (n,) centres: (n, angles)."""
    rows = np.rint((y_mm[:, None] + radius_mm * np.sin(angles)) / spacing_mm).astype(int)
    columns = np.rint((x_mm[:, None] + radius_mm * np.cos(angles)) / spacing_mm).astype(int)
    values: NDArray[np.float32] = plane[np.clip(rows, 0, plane.shape[0] - 1), np.clip(columns, 0, plane.shape[1] - 1)]
    return values


def _best_chain(circles: list[_Circles], step_mm: float, thresholds: AortaThresholds) -> list[int]:
    """Viterbi: the chain with the greatest sum of scores, less the cost of jumping and of changing calibre."""
    reach_mm = thresholds.step_limit_fraction * step_mm + 1.5
    reached = circles[0].total.copy()
    came_from: list[NDArray[np.intp]] = []
    for before, here in pairwise(circles):
        shift = np.hypot(here.y_mm[:, None] - before.y_mm, here.x_mm[:, None] - before.x_mm) / reach_mm
        swell = np.abs(np.log(here.radius_mm[:, None] / before.radius_mm)) / 0.25
        brighter = np.abs(here.inner_hu[:, None] - before.inner_hu) / 80.0
        cost = 0.12 * np.minimum(shift**2, 16.0) + 0.1 * np.minimum(swell, 4.0) + 0.1 * np.minimum(brighter, 4.0)
        through = reached[None, :] - cost
        came_from.append(np.argmax(through, axis=1))
        reached = through.max(axis=1) + here.total
    chain = [int(np.argmax(reached))]
    for pointers in reversed(came_from):
        chain.append(int(pointers[chain[-1]]))
    return chain[::-1]


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """First and one-past-last index of the longest run of true values; (0, 0) without any."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    if edges.size == 0:
        return 0, 0
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])
