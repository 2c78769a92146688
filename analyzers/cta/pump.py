"""The infusion pump: a round, flat titanium housing under the skin.

The housing is hollow and saturates the scale, so its outline is fitted, not integrated: the direction in which the
metal extends least is the disc's normal, the farthest metal per angle is its rim, and the faces are where the metal
ends along the normal away from the central septum's dome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.ct_anatomy.body import Body
from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.cta.metal import MetalPiece, metal_pieces
from analyzers.cta.thresholds import DeviceThresholds
from analyzers.volume import Volume

_SECTORS = 48
_DOME_SHARE = 0.28
"""Radius of the dome over the septum divided by the disc's radius, and a margin: 10 of 39 mm."""
_LEAST_DOME_MM = 4.0
"""Seams and septa of a housing without a dome stand out by less; a dome by 10 mm."""
_SKIN_SMOOTHING_MM = 18.0
_MOST_VOXELS_FITTED = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pump:
    """A disc fitted to metal, in LPS mm.

    Attributes
    ----------
    centre_lps_mm, normal_lps : (3,) float64
        Middle of the disc; unit normal that points towards the nearest skin.
    diameter_mm, thickness_mm : float
        Of the housing, the dome left out.
    depth_mm : float or None
        From the outer face to the skin along the normal; ``None`` where the skin lies outside of the scan.
    tilt_deg : float or None
        Between the disc's normal and the skin's.
    dome_outwards : bool or None
        Whether the septum's dome faces the skin; ``None`` where no dome stands out.
    cut : bool
        Whether the scan ends inside of the housing.
    """

    centre_lps_mm: NDArray[np.float64]
    normal_lps: NDArray[np.float64]
    diameter_mm: float
    thickness_mm: float
    depth_mm: float | None
    tilt_deg: float | None
    dome_outwards: bool | None
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpSearch:
    """What a search for a pump saw: the pump, or why the metal there is none."""

    pump: Pump | None
    rejected: tuple[str, ...] = ()
    """One reason for each large piece of metal that is no pump."""
    at_edge: tuple[MetalAtEdge, ...] = ()
    """Those among them that the scan cuts: what they are cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetalAtEdge:
    """A large piece of metal inside of the body that goes on beyond the scanned field."""

    extent_mm: float
    z_mm: float
    """Height of its middle, LPS mm."""


def find_pump(volume: Volume, grid: PatientGrid, body: Body, thresholds: DeviceThresholds) -> PumpSearch:
    """Find the pump among the metal of a volume."""
    reasons: list[str] = []
    at_edge: list[MetalAtEdge] = []
    for above_hu in (thresholds.metal_above_hu, thresholds.fallback_metal_above_hu):
        reasons, at_edge = [], []
        for piece in metal_pieces(volume, above_hu):
            pump, reason = _as_pump(piece, grid, body, thresholds)
            if pump is not None:
                return PumpSearch(pump=pump)
            if reason:
                reasons.append(reason)
                at_edge += _at_edge(piece, grid, body, thresholds)
    return PumpSearch(pump=None, rejected=tuple(reasons[:5]), at_edge=tuple(at_edge))


def _at_edge(piece: MetalPiece, grid: PatientGrid, body: Body, thresholds: DeviceThresholds) -> list[MetalAtEdge]:
    """The piece, if the scan cuts it and it lies under the skin: wires lie on it, implants of joints deeper."""
    middle = piece.points_lps_mm.mean(axis=0)
    if not piece.cut or not 0.0 < _depth_mm(grid, body, middle) <= thresholds.deepest_part_mm:
        return []
    return [MetalAtEdge(extent_mm=float(np.ptp(piece.points_lps_mm, axis=0).max()), z_mm=float(middle[2]))]


def pump_mask(pump: Pump, volume: Volume, metal_above_hu: float) -> NDArray[np.bool_]:
    """The filled housing on the source voxels, (z, y, x), with the metal of the dome."""
    mask = np.zeros(volume.voxels_zyx.shape, bool)
    reach_mm = pump.diameter_mm / 2 + 15.0
    corners = pump.centre_lps_mm + reach_mm * np.array(
        [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float
    )
    indices = volume.to_indices_zyx(corners)
    low = np.clip(np.floor(indices.min(axis=0)).astype(int), 0, mask.shape)
    high = np.clip(np.ceil(indices.max(axis=0)).astype(int) + 1, 0, mask.shape)
    box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    shape = mask[box].shape
    if 0 in shape:
        return mask
    places = np.indices(shape).reshape(3, -1).T + low
    offset = volume.to_lps_mm(places.astype(float)) - pump.centre_lps_mm
    along = offset @ pump.normal_lps
    across = np.linalg.norm(offset - along[:, None] * pump.normal_lps, axis=1)
    disc = (np.abs(along) <= pump.thickness_mm / 2) & (across <= pump.diameter_mm / 2)
    dome = (across <= _DOME_SHARE * pump.diameter_mm / 2 + 3.0) & (np.abs(along) <= pump.thickness_mm / 2 + 14.0)
    metal = (volume.voxels_zyx[box] >= metal_above_hu).reshape(-1)
    mask[box] = (disc | (dome & metal)).reshape(shape)
    return mask


def _as_pump(piece: MetalPiece, grid: PatientGrid, body: Body, thresholds: DeviceThresholds) -> tuple[Pump | None, str]:
    """The piece as a pump, or the reason why not (empty for a small piece)."""
    points = piece.points_lps_mm[:: max(1, len(piece.points_lps_mm) // _MOST_VOXELS_FITTED)]
    extents_mm = np.sort(np.ptp(points, axis=0))
    if extents_mm[-1] < thresholds.part_of_pump_fraction * thresholds.pump_diameter_mm[0]:
        return None, ""
    centre, normal, first, second = _disc_axes(points)
    u, v = (points - centre) @ first, (points - centre) @ second
    rim = _rim(u, v)
    if rim is None:
        return None, f"metal of {extents_mm[-1]:.0f} mm without a closed rim"
    rim_u, rim_v, radii_mm = rim
    diameter = 2 * float(np.median(radii_mm))
    roundness = float(np.percentile(radii_mm, 10) / np.percentile(radii_mm, 90))
    centre = centre + rim_u * first + rim_v * second
    thickness, middle_mm, dome_mm = _faces(points, centre, normal, diameter / 2)
    centre = centre + middle_mm * normal
    low, high = thresholds.pump_diameter_mm
    seen = f"metal of {diameter:.0f} x {thickness:.0f} mm"
    depth_of_centre = _depth_mm(grid, body, centre)
    gates = (
        (low <= diameter <= high, "of another size"),
        (thresholds.pump_thickness_mm[0] <= thickness <= thresholds.pump_thickness_mm[1], "of another thickness"),
        (thickness <= thresholds.flat_fraction * diameter, "not flat"),
        (roundness >= thresholds.round_fraction, "not round"),
        (depth_of_centre <= thresholds.deepest_centre_mm, "too deep"),
    )
    failed = [word for passed, word in gates if not passed]
    if failed:
        return None, f"{seen} is {', '.join(failed)} for a pump"
    skin_normal = _skin_normal(grid, body, centre)
    if skin_normal is not None and skin_normal @ normal < 0:
        normal, dome_mm = -normal, -dome_mm
    tilt = None if skin_normal is None else float(np.degrees(np.arccos(np.clip(skin_normal @ normal, -1.0, 1.0))))
    return Pump(
        centre_lps_mm=centre,
        normal_lps=normal,
        diameter_mm=diameter,
        thickness_mm=thickness,
        depth_mm=_skin_distance_mm(grid, body, centre, normal, thickness / 2),
        tilt_deg=tilt,
        dome_outwards=None if abs(dome_mm) < _LEAST_DOME_MM or skin_normal is None else dome_mm > 0,
        cut=piece.cut,
    ), ""


def _disc_axes(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Centroid, normal (least extent) and two in-plane directions."""
    centre = points.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((points - centre).T))
    return centre, vectors[:, 0], vectors[:, 2], vectors[:, 1]


def _rim(u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]] | None:
    """Centre of the rim and the rim's radius per sector; ``None`` if a quarter of the sectors is empty."""
    centre_u, centre_v = 0.0, 0.0
    radii = np.zeros(_SECTORS)
    for _ in range(8):
        angle = np.arctan2(v - centre_v, u - centre_u)
        sector = ((angle + np.pi) / (2 * np.pi) * _SECTORS).astype(int) % _SECTORS
        radius = np.hypot(u - centre_u, v - centre_v)
        radii = np.array([_outermost(radius[sector == index]) for index in range(_SECTORS)])
        known = np.isfinite(radii)
        if known.mean() < 0.75:
            return None
        middle = (np.arange(_SECTORS) + 0.5) / _SECTORS * 2 * np.pi - np.pi
        # A catheter or a suture loop that sticks out of the rim must not pull the centre.
        capped = np.minimum(radii[known], 1.1 * np.median(radii[known]))
        x, y = capped * np.cos(middle[known]), capped * np.sin(middle[known])
        design = np.column_stack([x, y, np.ones_like(x)])
        shift, *_ = np.linalg.lstsq(design, (x**2 + y**2) / 2, rcond=None)
        centre_u, centre_v = centre_u + float(shift[0]), centre_v + float(shift[1])
        if np.hypot(shift[0], shift[1]) < 0.05:
            break
    return centre_u, centre_v, radii[np.isfinite(radii)]


def _outermost(radii: NDArray[np.float64]) -> float:
    return float(np.percentile(radii, 98)) if radii.size >= 3 else float("nan")


def _faces(
    points: NDArray[np.float64], centre: NDArray[np.float64], normal: NDArray[np.float64], radius_mm: float
) -> tuple[float, float, float]:
    """Thickness, middle along the normal, and how far the dome stands out (signed along the normal), in mm."""
    along = (points - centre) @ normal
    across = np.linalg.norm((points - centre) - along[:, None] * normal, axis=1)
    plate = (across > (_DOME_SHARE + 0.12) * radius_mm) & (across < 0.97 * radius_mm)
    chosen = along[plate] if plate.sum() >= 30 else along
    low, high = np.percentile(chosen, [1.5, 98.5])
    inner = along[across < _DOME_SHARE * radius_mm]
    above = float(np.percentile(inner, 98) - high) if inner.size >= 10 else 0.0
    below = float(low - np.percentile(inner, 2)) if inner.size >= 10 else 0.0
    return float(high - low), float((high + low) / 2), above if above >= below else -below


def _skin_normal(grid: PatientGrid, body: Body, point_lps_mm: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Outward normal (LPS) of the smoothed skin nearest to a point; ``None`` where there is none."""
    soft = ndimage.gaussian_filter(body.mask_zyx.astype(np.float32), _SKIN_SMOOTHING_MM / grid.spacing_mm)
    z, y, x = (round(float(value)) for value in grid.to_indices_zyx(point_lps_mm)[0])
    if not all(1 <= index < size - 1 for index, size in zip((z, y, x), soft.shape, strict=True)):
        return None
    slope = np.array([soft[z, y, x + 1] - soft[z, y, x - 1], soft[z, y + 1, x] - soft[z, y - 1, x], 0.0], float)
    length = float(np.linalg.norm(slope))
    return -slope / length if length > 1e-3 else None


def _depth_mm(grid: PatientGrid, body: Body, point_lps_mm: NDArray[np.float64]) -> float:
    z, y, x = np.rint(grid.to_indices_zyx(point_lps_mm)[0]).astype(int)
    shape = body.depth_mm_zyx.shape
    if not (0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]):
        return 0.0
    return float(body.depth_mm_zyx[z, y, x])


def _skin_distance_mm(
    grid: PatientGrid, body: Body, centre: NDArray[np.float64], normal: NDArray[np.float64], start_mm: float
) -> float | None:
    """Way along the normal from the face to where the body ends."""
    steps_mm = np.arange(start_mm, start_mm + 120.0, 0.5)
    indices = grid.to_indices_zyx(centre + steps_mm[:, None] * normal)
    inside = ndimage.map_coordinates(body.mask_zyx.astype(np.float32), indices.T, order=1, cval=-1.0)
    beyond = np.flatnonzero(inside < 0.5)
    if beyond.size == 0 or inside[beyond[0]] < -0.01:
        return None
    return float(steps_mm[beyond[0]] - start_mm)
