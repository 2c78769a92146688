"""The catheter: a thin radiopaque line that begins at the pump's rim.

Voxels brighter than blood that stand out of their neighbourhood at the width of the catheter become the nodes of a
graph; neighbours are joined, and small gaps too, at a price. Of all that hangs together with the pump's rim the longest
shortest path is the catheter. Nothing is bridged beyond the gap limit: what lies behind it is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from analyzers.cta.pump import Pump
from analyzers.cta.thresholds import DeviceThresholds
from analyzers.volume import Volume

_HALO_MM = 4.0
"""Metal blooms this far beyond the rim; candidates begin outside of it."""
_FACE_HALO_MM = 9.0
"""In front of and behind the faces streaks run along the housing, bright, straight and as thin as a catheter. What
truly coils there is lost to them."""
_START_REACH_MM = 28.0
"""The first centimetre or two hide in the pump's streaks; visible catheter must begin within this of the housing."""
_TOP_HAT_MM = 3.5
_STANDS_OUT_HU = 110.0
_FAINT_STANDS_OUT_HU = 80.0
_FAINT_SHARE = 0.75
"""A line that runs between two slices is blended with fat over both and loses contrast there: so much of it is left."""
_FAINT_ABOVE_BLOOD_HU = 25.0
_FAINT_REACH_MM = 8.0
"""Faint voxels count only this near to plain ones; elsewhere they are vessels and noise."""
_LINK_MM = 2.6
_BRIDGE_PRICE = 3.0
"""A bridged gap counts as so many times its length when paths are compared."""
_SMOOTHING_MM = 4.0
_MOST_NODES = 40_000
_MOST_PAIRS = 6_000_000
"""Pairs of nodes within a gap: about 250 MB of them with their lengths and costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catheter:
    """The path of the catheter from the pump to its end, in LPS mm.

    Attributes
    ----------
    points_lps_mm : (n, 3) float64
        About one point per mm, smoothed.
    length_mm : float
        Along the points, from the pump's rim, the hidden first part as a straight line included.
    hidden_mm : float
        That first part.
    gaps_mm : tuple of float
        Stretches without visible catheter that were bridged.
    mean_hu : float
        Median attenuation along the path.
    """

    points_lps_mm: NDArray[np.float64]
    length_mm: float
    hidden_mm: float
    gaps_mm: tuple[float, ...]
    mean_hu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CatheterSearch:
    """The catheter, or in words why it was not traced."""

    catheter: Catheter | None
    reason: str = ""


def trace_catheter(
    volume: Volume,
    pump: Pump,
    blood_hu: float | None,
    excluded_zyx: NDArray[np.bool_],
    thresholds: DeviceThresholds,
) -> CatheterSearch:
    """Trace the catheter from the pump.

    Parameters
    ----------
    volume : Volume
        CT in HU, the thinnest slices there are.
    blood_hu : float or None
        Mean of the aorta in this scan: the catheter must be brighter, or vessels would be followed.
    excluded_zyx : (z, y, x) bool
        Bones and the aorta, dilated.
    """
    step_mm = max(volume.spacing_zyx_mm)
    if step_mm > thresholds.thickest_slice_mm:
        return CatheterSearch(
            catheter=None,
            reason=f"slices {step_mm:.1f} mm apart, at most {thresholds.thickest_slice_mm:.0f} mm show a thin catheter",
        )
    above_hu = (
        max(_FAINT_SHARE * thresholds.catheter_above_hu, (blood_hu or 0.0) + _FAINT_ABOVE_BLOOD_HU),
        max(thresholds.catheter_above_hu, (blood_hu or 0.0) + 60.0),
    )
    indices, distance_mm = _candidates(volume, pump, above_hu, excluded_zyx)
    if len(indices) < 20:
        return CatheterSearch(catheter=None, reason="no thin radiopaque line beside the pump")
    link_mm = max(_LINK_MM, 1.3 * step_mm)
    bridge_mm = max(thresholds.catheter_gap_mm + link_mm, 2.2 * step_mm)
    attached = _attached_to_pump(volume.to_lps_mm(indices.astype(float)), distance_mm, bridge_mm)
    indices, distance_mm = indices[attached], distance_mm[attached]
    if len(indices) > _MOST_NODES:
        return CatheterSearch(catheter=None, reason="too much bright matter (bowel contrast, streaks) to follow a line")
    points = volume.to_lps_mm(indices.astype(float))
    if too_dense(points, bridge_mm):
        return CatheterSearch(catheter=None, reason="too much bright matter (bowel contrast, streaks) to follow a line")
    weights = volume.voxels_zyx[tuple(indices.T)].astype(float)
    path = _longest_path(points, distance_mm, link_mm, bridge_mm)
    if path is None:
        return CatheterSearch(catheter=None, reason="no visible catheter within 3 cm of the pump's housing")
    catheter = _measured(points[path], weights[path], float(distance_mm[path[0]]), link_mm, points, weights)
    if catheter.length_mm < thresholds.shortest_catheter_mm:
        return CatheterSearch(catheter=None, reason=f"only {catheter.length_mm:.0f} mm could be followed from the pump")
    if catheter.length_mm > thresholds.longest_catheter_mm:
        return CatheterSearch(catheter=None, reason="the line followed is longer than any catheter")
    return CatheterSearch(catheter=catheter)


def too_dense(points: NDArray[np.float64], bridge_mm: float) -> bool:
    """Whether points, (n, 3) mm, have more pairs within the widest gap than the search has memory for.

    Counted before any pair is listed: a line has few, a solid of bowel contrast a thousand for each point.
    """
    tree = cKDTree(points)
    # Counts each pair twice, and each point with itself.
    return (int(tree.count_neighbors(tree, bridge_mm)) - len(points)) // 2 > _MOST_PAIRS


def catheter_mask(
    catheter: Catheter, volume: Volume, radius_mm: float, not_catheter_zyx: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """A tube around the path on the source voxels, at least one voxel thick; never on top of another structure."""
    mask = np.zeros(volume.voxels_zyx.shape, bool)
    reach_mm = max(radius_mm, 0.5 * max(volume.spacing_zyx_mm))
    indices = volume.to_indices_zyx(catheter.points_lps_mm)
    around = np.ceil(reach_mm / np.array(volume.spacing_zyx_mm)).astype(int)
    offsets = np.indices(tuple(int(size) for size in 2 * around + 1)).reshape(3, -1).T - around
    places = np.unique((np.rint(indices)[:, None, :] + offsets).reshape(-1, 3).astype(int), axis=0)
    places = places[np.all((places >= 0) & (places < mask.shape), axis=1)]
    distance, _ = cKDTree(catheter.points_lps_mm).query(volume.to_lps_mm(places.astype(float)))
    mask[tuple(places[distance <= reach_mm].T)] = True
    return mask & ~not_catheter_zyx


def _candidates(
    volume: Volume, pump: Pump, above_hu: tuple[float, float], excluded_zyx: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indices of thin bright voxels outside of the housing, and their distance from it in mm.

    Parameters
    ----------
    above_hu : (float, float)
        For faint voxels, which need plain ones nearby, and for plain ones.
    """
    indices, stands_out_hu = _thin_and_bright(volume, above_hu[0], excluded_zyx)
    points = volume.to_lps_mm(indices.astype(float))
    distance = _distance_to_housing_mm(points, pump)
    outside = (distance > _HALO_MM) & ~_along_a_face(points, pump)
    plain = outside & (volume.voxels_zyx[tuple(indices.T)] > above_hu[1]) & (stands_out_hu > _STANDS_OUT_HU)
    if not plain.any():
        return np.zeros((0, 3), np.intp), np.zeros(0)
    away_mm, _ = cKDTree(points[plain]).query(points, distance_upper_bound=_FAINT_REACH_MM)
    kept = outside & (plain | (away_mm < _FAINT_REACH_MM))
    return indices[kept], distance[kept]


def _thin_and_bright(
    volume: Volume, above_hu: float, excluded_zyx: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Indices, (n, 3) z, y, x, of bright voxels that stand out of their plane at a catheter's width, and by how much.

    Sideways only: a line across the planes is a dot in each, one within a plane a line, and both stand out.
    """
    hu = volume.voxels_zyx
    _, height, width = (2 * round(_TOP_HAT_MM / step_mm) + 1 for step_mm in volume.spacing_zyx_mm)
    found = [np.zeros((0, 3), np.intp)]
    heights = [np.zeros(0, np.float32)]
    for z in range(len(hu)):
        bright = (hu[z] > above_hu) & ~excluded_zyx[z]
        boxes = ndimage.find_objects(bright.astype(np.int8))
        if not boxes:
            continue
        around = tuple(
            slice(max(0, part.start - reach), part.stop + reach)
            for part, reach in zip(boxes[0], (height, width), strict=True)
        )
        plane = np.minimum(hu[z][around], 2000.0)
        stands_out = plane - ndimage.grey_opening(plane, size=(max(3, height), max(3, width)))
        rows, columns = np.nonzero(bright[around] & (stands_out > _FAINT_STANDS_OUT_HU))
        found.append(np.column_stack([np.full(len(rows), z), rows + around[0].start, columns + around[1].start]))
        heights.append(stands_out[rows, columns])
    return np.concatenate(found), np.concatenate(heights)


def _attached_to_pump(
    points: NDArray[np.float64], distance_mm: NDArray[np.float64], bridge_mm: float
) -> NDArray[np.bool_]:
    """Which points could hang together with the housing at all, by cells of the widest gap."""
    cells = np.floor((points - points.min(axis=0)) / bridge_mm).astype(int)
    occupied = np.zeros(cells.max(axis=0) + 1, bool)
    occupied[tuple(cells.T)] = True
    labels, _ = ndimage.label(occupied, np.ones((3, 3, 3)))
    of_point = labels[tuple(cells.T)]
    return np.isin(of_point, np.unique(of_point[distance_mm < _START_REACH_MM]))


def _distance_to_housing_mm(points_lps_mm: NDArray[np.float64], pump: Pump) -> NDArray[np.float64]:
    offset = points_lps_mm - pump.centre_lps_mm
    along = offset @ pump.normal_lps
    across = np.linalg.norm(offset - along[:, None] * pump.normal_lps, axis=1)
    beyond_face = np.maximum(np.abs(along) - pump.thickness_mm / 2, 0.0)
    beyond_rim = np.maximum(across - pump.diameter_mm / 2, 0.0)
    distance: NDArray[np.float64] = np.hypot(beyond_face, beyond_rim)
    return distance


def _along_a_face(points_lps_mm: NDArray[np.float64], pump: Pump) -> NDArray[np.bool_]:
    offset = points_lps_mm - pump.centre_lps_mm
    along = offset @ pump.normal_lps
    across = np.linalg.norm(offset - along[:, None] * pump.normal_lps, axis=1)
    near = (across < pump.diameter_mm / 2 + 1.0) & (np.abs(along) < pump.thickness_mm / 2 + _FACE_HALO_MM)
    return np.asarray(near)


def _longest_path(
    points: NDArray[np.float64], distance_mm: NDArray[np.float64], link_mm: float, bridge_mm: float
) -> NDArray[np.intp] | None:
    """Node numbers from the start near the housing to the farthest end that hangs together with it."""
    pairs = cKDTree(points).query_pairs(bridge_mm, output_type="ndarray")
    if len(pairs) == 0:
        return None
    lengths = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    costs = np.where(lengths <= link_mm, lengths, _BRIDGE_PRICE * lengths)
    size = len(points)
    graph = sparse.coo_matrix((costs, (pairs[:, 0], pairs[:, 1])), shape=(size, size)).tocsr()
    near = np.flatnonzero(distance_mm < _START_REACH_MM)
    if near.size == 0:
        return None
    _, component = csgraph.connected_components(graph, directed=False)
    reaches = [distance_mm[component == label].max() for label in np.unique(component[near])]
    best = np.unique(component[near])[int(np.argmax(reaches))]
    members = near[component[near] == best]
    start = int(members[np.argmin(distance_mm[members])])
    cost = csgraph.dijkstra(graph, directed=False, indices=start)
    end = int(np.argmax(np.where(np.isfinite(cost), cost, -1.0)))
    # Loops behind the pump pass near it several times: the outlet is where the way to the end is longest.
    cost, after = csgraph.dijkstra(graph, directed=False, indices=end, return_predecessors=True)
    start = int(members[np.argmax(cost[members])])
    path = [start]
    while path[-1] != end:
        path.append(int(after[path[-1]]))
    return np.array(path)


def _measured(
    nodes: NDArray[np.float64],
    node_hu: NDArray[np.float64],
    hidden_mm: float,
    link_mm: float,
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Catheter:
    """Centre the path on the bright voxels around it, smooth it and measure it."""
    steps = np.linalg.norm(np.diff(nodes, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    every_mm = np.arange(0.0, along[-1] + 1e-6, 1.0)
    line = np.column_stack([np.interp(every_mm, along, nodes[:, axis]) for axis in range(3)])
    tree = cKDTree(points)
    centred = np.array(
        [
            np.average(points[near], axis=0, weights=weights[near]) if near else point
            for point, near in zip(line, tree.query_ball_point(line, 3.0), strict=True)
        ]
    )
    smooth = ndimage.gaussian_filter1d(centred, _SMOOTHING_MM / 2, axis=0, mode="nearest")
    smooth[0], smooth[-1] = line[0], line[-1]
    length = float(np.linalg.norm(np.diff(smooth, axis=0), axis=1).sum())
    return Catheter(
        points_lps_mm=smooth,
        length_mm=length + hidden_mm,
        hidden_mm=hidden_mm,
        gaps_mm=tuple(float(step) for step in steps if step > link_mm + 1.0),
        mean_hu=float(np.median(node_hu)),
    )
