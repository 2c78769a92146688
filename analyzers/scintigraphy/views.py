"""Anterior and posterior view of one posture, brought onto one grid.

The two detectors of a camera see a patient from opposite sides: a posterior view is mirrored along its rows before
it is compared with the anterior one. Everything that follows works on a :class:`PlanarPair`: both views with the
patient's right on the left of the picture, summed (never interpolated) to pixels of at least four millimetres.

Column ``c`` of the pair is column ``columns - 1 - c`` of the posterior view as received;
:meth:`PlanarPair.outline` goes that way back, to the pixels of the source frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours
from skimage.morphology import convex_hull_image

from analyzers.contract import Outline
from analyzers.scintigraphy.corrections import camera_corrections, posterior_scale, scatter_under
from analyzers.scintigraphy.thresholds import DEFAULTS, Thresholds
from analyzers.scintigraphy.windows import photopeak_views, range_faults, unnamed_windows_fault, view_ranges
from analyzers.volume import PlanarView

ANTERIOR = "anterior"
POSTERIOR = "posterior"
_LATERALS = frozenset({"left-lateral", "right-lateral"})
_OPPOSITE = {ANTERIOR: POSTERIOR, POSTERIOR: ANTERIOR}
_OUTLINE_TOLERANCE_PIXELS = 0.3
_SEEN_FRACTION = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarPair:
    """Two opposite views on one working grid.

    Attributes
    ----------
    anterior, posterior : PlanarView
        As received.
    anterior_yx, posterior_yx : (rows, columns) float64
        Counts on the working grid, rows from head to feet, the patient's right at column 0 (posterior mirrored).
    pixel_mm : float
        Edge of a pixel of the working grid (square to within a few per cent, else the pair is refused).
    binning : int
        Source pixels summed along each edge of a working pixel.
    field_yx : (rows, columns) bool
        Where the crystal sees: the convex part that holds counts, without its outermost pixels.
    shift_mm : (row, column)
        How far the mirrored posterior view would have to be moved to lie best on the anterior one. Not applied.
    remarks : tuple of str
    scatter_yx : (anterior, posterior) of (rows, columns) float64, or None
        Scatter by energy windows, on the working grid; not subtracted from the counts here.
    corrections : tuple of str
        What the headers allow to be corrected.
    posterior_scale : float
        Multiplies posterior counts where they are compared with anterior ones (duration and decay between the views).
    """

    anterior: PlanarView
    posterior: PlanarView
    anterior_yx: NDArray[np.float64]
    posterior_yx: NDArray[np.float64]
    pixel_mm: float
    binning: int
    field_yx: NDArray[np.bool_]
    shift_mm: tuple[float, float] = (0.0, 0.0)
    remarks: tuple[str, ...] = ()
    scatter_yx: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    corrections: tuple[str, ...] = ()
    posterior_scale: float = 1.0

    @property
    def is_derived(self) -> bool:
        """Whether a view was computed from others, so that its counts may not be those received."""
        return any(_is_derived(view) for view in self.views)

    @property
    def views(self) -> tuple[PlanarView, PlanarView]:
        """Anterior, posterior."""
        return self.anterior, self.posterior

    @property
    def counts_yx(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Anterior and mirrored posterior counts on the working grid."""
        return self.anterior_yx, self.posterior_yx

    def smoothed(self, sigma_mm: float) -> NDArray[np.float64]:
        """Geometric mean of both views after Gaussian smoothing, counts per working pixel."""
        front, back = (ndimage.gaussian_filter(view, sigma_mm / self.pixel_mm) for view in self.counts_yx)
        return np.asarray(np.sqrt(front * back), np.float64)

    def outlines(self, mask_yx: NDArray[np.bool_]) -> tuple[Outline, ...]:
        """Polygons of a mask on both source frames, in (column, row) of the source with pixel-corner origin.

        Every connected part becomes one polygon for each view; holes are ignored.
        """
        polygons = [polygon * self.binning for polygon in polygons_of(mask_yx)]
        found = []
        for view in self.views:
            columns = view.counts.shape[1]
            for polygon in polygons:
                points = polygon.copy()
                if view is self.posterior:
                    points[:, 0] = columns - points[:, 0]
                inside = np.clip(points, 0.0, (columns, view.counts.shape[0]))
                found.append(
                    Outline(frame=view.frame, points_col_row=tuple((float(c), float(r)) for c, r in inside.round(2)))
                )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPair:
    """Why two views could not be paired."""

    reasons: tuple[str, ...]


def polygons_of(mask_yx: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed outlines of a mask, each (n, 2) as (column, row) with pixel-corner origin, n > 5, not repeating the first.

    Outlines run along the half-way level between set and unset pixel centres, so a polygon's area differs from the
    mask's by less than the pixels of its corners.
    """
    padded = np.pad(mask_yx, 1).astype(np.float64)
    polygons = []
    labels, count = ndimage.label(padded)
    for number in range(1, count + 1):
        part = ndimage.binary_fill_holes(labels == number)
        if part is None or part.sum() < 2:
            continue
        contour = max(find_contours(part.astype(np.float64), 0.5), key=len)
        simple = simplified(contour, _OUTLINE_TOLERANCE_PIXELS)
        points = simple if len(simple) > 6 else contour
        # Centre of padded pixel (1, 1) is the corner-origin point (0.5, 0.5).
        polygons.append(np.asarray(points[:-1, ::-1] - 0.5, np.float64))
    return polygons


def simplified(points: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """A line of points, (n, 2), without those that lie within a tolerance of the line that is left.

    The point farthest from the chord of a stretch is kept and divides it, until none is too far (Ramer 1972; Douglas
    and Peucker 1973). First and last point stay. (scikit-image has this too, and imports all of scipy.signal with it.)
    """
    kept = np.zeros(len(points), np.bool_)
    kept[[0, -1]] = True
    stretches = [(0, len(points) - 1)]
    while stretches:
        first, last = stretches.pop()
        if last - first < 2:
            continue
        off = _off_chord(points[first + 1 : last], points[first], points[last])
        farthest = int(np.argmax(off))
        if off[farthest] > tolerance:
            middle = first + 1 + farthest
            kept[middle] = True
            stretches += [(first, middle), (middle, last)]
    return points[kept]


def _off_chord(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of points from the chord between two others; of a closed line, whose chord is a point, from that."""
    along = end - start
    length = float(np.hypot(along[0], along[1]))
    away = points - start
    if length <= 0.0:
        return np.asarray(np.hypot(away[:, 0], away[:, 1]), np.float64)
    share = np.clip(away @ along / length**2, 0.0, 1.0)
    rest = away - share[:, None] * along
    return np.asarray(np.hypot(rest[:, 0], rest[:, 1]), np.float64)


def pair_views(views: Sequence[PlanarView], thresholds: Thresholds = DEFAULTS) -> PlanarPair | NoPair:
    """Find the anterior and posterior view that belong together, preferring the pair with the most counts.

    Parameters
    ----------
    views : sequence of PlanarView
        All projections of the tracer's series, of any direction and energy window.
    thresholds : Thresholds

    Returns
    -------
    PlanarPair or NoPair
        Where a direction is unknown, or known from an angle or a detector's number only, the side of the liver
        decides; ``remarks`` say so.
    """
    ranges = [view_ranges(view) for view in views]
    doubtful = range_faults(ranges, thresholds.photopeak_kev, "The energy window of the views")
    if doubtful := (doubtful or unnamed_windows_fault([view.header for view in views])):
        return NoPair(reasons=doubtful)
    peak = photopeak_views(views, thresholds.photopeak_kev)
    filled = [view for view in peak if view.counts.size and view.counts.max() > 0]
    if not filled:
        return NoPair(reasons=("The views hold no counts.",))
    if any(_is_upside_down(view) for view in filled):
        return NoPair(reasons=("By their header (Patient Orientation) the views show the body upside down.",))
    directed, remarks = settle_directions(filled)
    front = [view for view in directed if view.direction == ANTERIOR]
    back = [view for view in directed if view.direction == POSTERIOR]
    missing = [name for name, found in ((ANTERIOR, front), (POSTERIOR, back)) if not found]
    if missing:
        return NoPair(
            reasons=tuple(
                f"The {name} view is missing: without it attenuation cannot be balanced by the geometric mean."
                for name in missing
            )
        )
    candidates = [(a, p) for a in front for p in back if a.counts.shape == p.counts.shape]
    if not candidates:
        return NoPair(reasons=("Anterior and posterior view have different matrices.",))
    best = max(candidates, key=_fitness)
    unread = sum(view.direction not in _LATERALS for view in directed) - 2
    if unread:
        remarks = (*remarks, f"{unread} further view(s) were not read; the pair with the most counts was.")
    if any(_is_derived(view) for view in best):
        remarks = (*remarks, "The views were computed from others (derived): their counts may not be those received.")
    return _on_working_grid(best[0], best[1], remarks, views, thresholds)


def _is_upside_down(view: PlanarView) -> bool:
    """Whether columns run towards the head; directions of rows are not believed, for many cameras copy one for all."""
    return [value[:1].upper() for value in view.header.attributes.get("PatientOrientation", ())][1:2] == ["H"]


def settle_directions(views: Sequence[PlanarView]) -> tuple[tuple[PlanarView, ...], tuple[str, ...]]:
    """Check weakly known directions against the side of the liver, and fill in those that nothing told.

    Codes and words are believed. An angle or a detector's number is believed unless the picture says otherwise: angles
    are counted from the back by the standard and from the front by some cameras. A left lobe alone also lies on the
    "wrong" side, but is far brighter from in front; where the view called anterior is, nothing is changed. Where the
    liver lies in the middle of every view, the far brighter one is the anterior one.
    """
    brighter = _brighter_direction(views)
    soft = [view for view in views if not _is_firm(view)]
    sides = {id(view): direction_by_liver(view) for view in soft if not (view.direction and brighter == ANTERIOR)}
    exchanged = brighter == POSTERIOR and len(soft) == len(views) and not any(sides.values())
    settled, remarks = [], []
    for view in views:
        seen = _OPPOSITE.get(view.direction, "") if exchanged else sides.get(id(view), "")
        if not seen or seen == view.direction:
            settled.append(view)
            continue
        told = f"said {view.direction} by {view.direction_from}" if view.direction else "of unnamed direction"
        shows = "has the brightness" if exchanged else "shows the liver on the side"
        remarks.append(f"A view {told} {shows} of a view from {seen}, and was read as that.")
        source = "brightness of the liver" if exchanged else "side of the liver"
        settled.append(replace(view, direction=seen, direction_from=source))
    if len(settled) == 2 and [view.direction for view in settled].count("") == 1:
        known = settled[0].direction or settled[1].direction
        other = _OPPOSITE.get(known, "")
        settled = [v if v.direction else replace(v, direction=other, direction_from="the other view") for v in settled]
    return tuple(settled), tuple(remarks)


def _is_firm(view: PlanarView) -> bool:
    """Whether a view's direction is believed whatever the picture shows."""
    return view.direction_from in {"view code", "text"} or view.direction not in {ANTERIOR, POSTERIOR, ""}


def _brighter_direction(views: Sequence[PlanarView]) -> str:
    """Of what is called anterior and posterior, the one whose peak is more than 1.6 times the other's; else empty."""
    peaks = {ANTERIOR: 0.0, POSTERIOR: 0.0}
    for view in views:
        if view.direction in peaks:
            smooth = ndimage.gaussian_filter(view.counts.astype(np.float64), max(view.counts.shape) / 60.0)
            peaks[view.direction] = max(peaks[view.direction], float(smooth.max()))
    if min(peaks.values()) == 0.0:
        return ANTERIOR if peaks[ANTERIOR] > 0.0 else ""
    return next((name for name, peak in peaks.items() if peak > 1.6 * peaks[_OPPOSITE[name]]), "")


def direction_by_liver(view: PlanarView) -> str:
    """Anterior where the hottest large region lies left of the middle of all counts, posterior where right.

    Empty when it lies within 6 % of the trunk's width of the middle, as after a right hepatectomy.
    """
    smooth = ndimage.gaussian_filter(view.counts.astype(np.float64), max(view.counts.shape) / 60.0)
    trunk = np.flatnonzero((smooth > 0.004 * smooth.max()).any(axis=0))
    hot = np.argwhere(smooth > 0.4 * smooth.max())[:, 1]
    offset = (float(np.median(hot)) - float(trunk[0] + trunk[-1]) / 2.0) / max(float(trunk[-1] - trunk[0]), 1.0)
    if abs(offset) < 0.06:
        return ""
    return ANTERIOR if offset < 0 else POSTERIOR


def _fitness(pair: tuple[PlanarView, PlanarView]) -> tuple[float, float, float]:
    """Views as acquired first, then those of one object, then the more counts."""
    front, back = pair
    original = not (_is_derived(front) or _is_derived(back))
    together = front.frame.sop_instance_uid == back.frame.sop_instance_uid
    counts = float(np.sqrt(float(front.counts.sum(dtype=np.float64)) * float(back.counts.sum(dtype=np.float64))))
    return float(original), float(together), counts


def _is_derived(view: PlanarView) -> bool:
    """Whether a view was computed from others: filtered, summed, subtracted (Image Type value 1)."""
    return view.header.attributes.get("ImageType", ())[:1] == ("DERIVED",)


def _on_working_grid(
    front: PlanarView,
    back: PlanarView,
    remarks: tuple[str, ...],
    every_view: Sequence[PlanarView],
    thresholds: Thresholds,
) -> PlanarPair | NoPair:
    spacing_mm = _spacing_mm(front) or _spacing_mm(back)
    if spacing_mm is None:
        assumed = thresholds.assumed_field_mm / front.counts.shape[1]
        spacing_mm = (assumed, assumed)
        remarks = (*remarks, f"Pixel spacing is missing: a field of {thresholds.assumed_field_mm:.0f} mm was assumed.")
    if max(spacing_mm) > 1.05 * min(spacing_mm):
        return NoPair(reasons=("The pixels of the views are not square.",))
    source_mm = float(np.mean(spacing_mm))
    binning = max(1, int(np.ceil(thresholds.least_pixel_mm / source_mm - 0.01)))
    front_yx = summed_counts(front.counts, binning)
    back_yx = summed_counts(back.counts[:, ::-1], binning)
    scatter: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    front_scatter, back_scatter = (scatter_under(view, every_view, source_mm) for view in (front, back))
    scale, timing = posterior_scale(front, back)
    corrections = tuple(f"depth from {words}" for words in timing)
    if front_scatter is not None and back_scatter is not None:
        scatter = (summed_counts(front_scatter.counts, binning), summed_counts(back_scatter.counts[:, ::-1], binning))
        corrections = (f"scatter by {front_scatter.words}", *corrections)
    corrections += tuple(f"{name} by the camera" for name in camera_corrections(front.header))
    return PlanarPair(
        anterior=front,
        posterior=back,
        anterior_yx=front_yx,
        posterior_yx=back_yx,
        pixel_mm=source_mm * binning,
        binning=binning,
        field_yx=field_of_view(front_yx + back_yx),
        scatter_yx=scatter,
        shift_mm=shift_between_mm(front_yx, back_yx, source_mm * binning),
        remarks=remarks,
        corrections=corrections,
        posterior_scale=scale,
    )


def _spacing_mm(view: PlanarView) -> tuple[float, float] | None:
    spacing_mm = view.spacing_row_col_mm
    return spacing_mm if spacing_mm is not None and min(spacing_mm) > 0 else None


def summed_counts(counts: NDArray[np.float32] | NDArray[np.float64], binning: int) -> NDArray[np.float64]:
    """Block sums; edges are padded with zeros so that no count is lost. What a rescale made negative is none."""
    rows, columns = counts.shape
    padded = np.pad(np.maximum(counts.astype(np.float64), 0.0), ((0, -rows % binning), (0, -columns % binning)))
    blocks = padded.reshape(padded.shape[0] // binning, binning, padded.shape[1] // binning, binning)
    return np.asarray(blocks.sum(axis=(1, 3)), np.float64)


def field_of_view(counts_yx: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the crystal sees: the convex part with counts, less its rim where a border without any surrounds it.

    Fields are rectangles, circles or hexagons, so convex. What holds a few per cent of the usual counts is seen; a
    stray count outside the field, or a letter in a corner, is not.
    """
    window = 5
    local = ndimage.uniform_filter(counts_yx, window)
    field = np.zeros(counts_yx.shape, np.bool_)
    if not (local > 0).any():
        return field
    labels, _ = ndimage.label(local > _SEEN_FRACTION * float(np.median(local[local > 0])))
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    seen = np.asarray(convex_hull_image(largest), np.bool_)
    # The window reaches two pixels beyond the last count; one more keeps half-seen pixels out.
    seen = ndimage.binary_erosion(seen, np.ones((3, 3)), iterations=window // 2 + 1, border_value=1)
    field[1:-1, 1:-1] = seen[1:-1, 1:-1]
    return field


def shift_between_mm(
    front_yx: NDArray[np.float64], back_yx: NDArray[np.float64], pixel_mm: float
) -> tuple[float, float]:
    """Shift of the second view onto the first, along the body and across, by correlation of the root of counts."""
    front, back = (np.sqrt(ndimage.gaussian_filter(view, 6.0 / pixel_mm)) for view in (front_yx, back_yx))
    found = []
    for axis in (1, 0):
        a, b = (profile - profile.mean() for profile in (front.sum(axis=axis), back.sum(axis=axis)))
        correlation = np.correlate(a, b, mode="full")
        reach = int(80.0 / pixel_mm)
        middle = len(b) - 1
        window = correlation[max(0, middle - reach) : middle + reach + 1]
        found.append((int(np.argmax(window)) - min(reach, middle)) * pixel_mm)
    return found[0], found[1]
