"""Peaks of a pair of views, and what speaks for each of them being no part of the liver.

Each view is smoothed and the fitted halo is taken away. A local maximum that stands out of counting noise and of the
error of the halo is a peak. Its evidence is how deep a valley lies between it and the liver's core, in its own and in
the opposite view, and where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.landmarks import Landmarks
from analyzers.scintigraphy.likelihood import PeakEvidence
from analyzers.scintigraphy.regions import PlanarRegions, dilated
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair

_BLUR_MM = 6.0
_PEAK_DISTANCE_MM = 14.0
_LUNG_MARGIN_MM = 12.0
_OUTSHINES_LUNG = 2.0
_SADDLE_STEPS = 14
_TIGHT_FRACTION = 0.45
_LOOSE_FRACTION = 0.20
_LEAST_TAIL_MM2 = 350.0
_APPENDAGE_RADIUS_MM = 24.0
_APPENDAGE_MARGIN_MM = 15.0
FOCUS_EDGE_FRACTION = 0.5
_BRIGHTER_FROM_BEHIND = 1.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One view less its halo, smoothed: counts per pixel, significance, the liver's level and its core."""

    excess_yx: NDArray[np.float64]
    sigma_yx: NDArray[np.float64]
    level: float
    core_yx: NDArray[np.bool_]

    def valley(self, place: tuple[int, int]) -> float:
        """Height of the highest pass from a place to the liver's core: near 1 inside the liver, near 0 apart from it.

        Relative to the lower of the place's own height and the liver's level.
        """
        height = min(float(self.excess_yx[place]), self.level)
        return pass_height(self.excess_yx, place, self.core_yx) / max(height, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A significant local maximum of one view.

    Attributes
    ----------
    row_col : (int, int)
        On the working grid.
    view : int
        0 anterior, 1 posterior.
    surface : Surface
        Of that view.
    evidence : PeakEvidence
    """

    row_col: tuple[int, int]
    view: int
    surface: Surface
    evidence: PeakEvidence


def find_peaks(
    pair: PlanarPair, regions: PlanarRegions, landmarks: Landmarks, thresholds: Thresholds
) -> tuple[Peak, ...]:
    """All significant peaks of both views that do not lie in the lungs, with their evidence."""
    surfaces = tuple(
        surface_of(pair, view, halo.counts_yx, regions, thresholds)
        for view, halo in zip(pair.counts_yx, regions.halos, strict=True)
    )
    lungs = dilated(regions.lungs_yx | regions.lung_gap_yx, _LUNG_MARGIN_MM, pair.pixel_mm)
    # The liver's outline is wide on purpose; at nearly half its level a narrow appendage is still narrow.
    tight = np.logical_or.reduce([surface.excess_yx > _TIGHT_FRACTION * surface.level for surface in surfaces])
    appendage = caudal_appendage(tight, pair.pixel_mm)
    outside = ndimage.distance_transform_edt(~regions.liver_yx) - ndimage.distance_transform_edt(regions.liver_yx)
    # Where the liver itself lies on the left, by its lobes or by mislabelled views, the left flank speaks for nothing.
    usual_side = landmarks.left_of_midline_mm(float(np.argwhere(surfaces[0].core_yx)[:, 1].mean())) < 0.0
    found = []
    for number, (own, other) in enumerate((surfaces, surfaces[::-1])):
        maxima = significant_maxima(own, pair, thresholds)
        for place in (*maxima, *_tails(own, maxima, pair, thresholds)):
            if lungs[place] and not _outshines_lung(own, place, regions):
                continue
            ratio = (float(own.excess_yx[place]) / own.level) / max(float(other.excess_yx[place]) / other.level, 1e-3)
            evidence = PeakEvidence(
                valley_fraction=own.valley(place),
                opposite_valley_fraction=other.valley(place),
                outside_liver_mm=float(outside[place]) * pair.pixel_mm,
                left_of_midline_mm=landmarks.left_of_midline_mm(place[1]) if usual_side else 0.0,
                below_liver_mm=landmarks.below_liver_mm(place[0]),
                hangs_below=bool(appendage[place]) or place not in maxima,
                compact=is_compact(own, place, pair.pixel_mm, thresholds),
                brighter_from_behind=number == 1 and ratio > _BRIGHTER_FROM_BEHIND,
            )
            found.append(Peak(row_col=place, view=number, surface=own, evidence=evidence))
    return tuple(found)


def _outshines_lung(surface: Surface, place: tuple[int, int], regions: PlanarRegions) -> bool:
    """Whether a place below the dome is far brighter than lung, as a spleen under the base of one is."""
    if not regions.lungs_yx.any() or place[0] <= regions.dome_row:
        return False
    return float(surface.excess_yx[place]) > _OUTSHINES_LUNG * float(np.median(surface.excess_yx[regions.lungs_yx]))


def surface_of(
    pair: PlanarPair,
    counts_yx: NDArray[np.float64],
    halo_yx: NDArray[np.float64],
    regions: PlanarRegions,
    thresholds: Thresholds,
) -> Surface:
    """One view less its halo, with its noise, the level of the liver's plateau and the plateau itself."""
    width = _BLUR_MM / pair.pixel_mm
    excess = ndimage.gaussian_filter(np.where(pair.field_yx, counts_yx - halo_yx, 0.0), width)
    # Smoothing with a Gaussian of width s keeps 1 / (4 pi s^2) of white noise's variance.
    counting = ndimage.gaussian_filter(counts_yx, width / np.sqrt(2.0)) / (4.0 * np.pi * width**2)
    modelled = (thresholds.background_error_fraction * halo_yx) ** 2
    # The outline is wide, so its median lies on the liver's slopes; the third quarter is the plateau.
    level = float(np.percentile(excess[regions.liver_yx], 75))
    labels, count = ndimage.label(regions.liver_yx & (excess >= level))
    sizes = ndimage.sum_labels(np.ones(labels.shape), labels, np.arange(1, count + 1))
    return Surface(
        excess_yx=excess,
        sigma_yx=excess / np.sqrt(np.maximum(counting + modelled, 1e-3)),
        level=level,
        core_yx=np.asarray(labels == 1 + int(np.argmax(sizes)), np.bool_),
    )


def significant_maxima(surface: Surface, pair: PlanarPair, thresholds: Thresholds) -> list[tuple[int, int]]:
    """Local maxima that are significant and bright enough, brightest first."""
    size = 2 * max(1, round(_PEAK_DISTANCE_MM / pair.pixel_mm / 2.0)) + 1
    kept = (
        (ndimage.maximum_filter(surface.excess_yx, size) == surface.excess_yx)
        & pair.field_yx
        & (surface.sigma_yx >= thresholds.focus_sigma)
        & (surface.excess_yx >= thresholds.focus_peak_fraction * surface.level)
    )
    places = ((int(row), int(col)) for row, col in np.argwhere(kept))
    return sorted(places, key=lambda place: -float(surface.excess_yx[place]))


def _tails(
    surface: Surface, maxima: list[tuple[int, int]], pair: PlanarPair, thresholds: Thresholds
) -> list[tuple[int, int]]:
    """Where something narrow hangs from the lower edge of the liver without a maximum of its own: its brightest pixel.

    Duodenum and gallbladder beside the liver fade into it without a valley, and are told by their shape alone.
    """
    loose = (surface.excess_yx > _LOOSE_FRACTION * surface.level) & pair.field_yx
    labels, count = ndimage.label(loose)
    core = np.unique(labels[surface.core_yx])
    body = np.asarray(np.isin(labels, core[core > 0]), np.bool_) if count else loose
    labels, count = ndimage.label(caudal_appendage(body, pair.pixel_mm) & body)
    tails = []
    for number in range(1, count + 1):
        tail = labels == number
        if tail.sum() * pair.pixel_mm**2 < _LEAST_TAIL_MM2 or any(tail[place] for place in maxima):
            continue
        row, column = np.unravel_index(int(np.argmax(np.where(tail, surface.excess_yx, -np.inf))), tail.shape)
        if surface.sigma_yx[row, column] >= thresholds.focus_sigma:
            tails.append((int(row), int(column)))
    return tails


def caudal_appendage(mask_yx: NDArray[np.bool_], pixel_mm: float) -> NDArray[np.bool_]:
    """What hangs from the lower edge of a mask and is too narrow to be a lobe, or lies below it altogether.

    An opening with a disc takes away what is narrower; of that, only what lies below the remaining edge counts: a left
    lobe is narrow too, but points to the side.
    """
    radius = max(1, round(_APPENDAGE_RADIUS_MM / pixel_mm))
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    body = ndimage.binary_opening(np.pad(mask_yx, radius, mode="edge"), disc)[radius:-radius, radius:-radius]
    labels, count = ndimage.label(body)
    if not count:
        return np.zeros(mask_yx.shape, np.bool_)
    sizes = ndimage.sum_labels(body, labels, np.arange(1, count + 1))
    body = labels == 1 + int(np.argmax(sizes))
    lowest = np.where(body.any(axis=0), body.shape[0] - 1 - np.argmax(body[::-1], axis=0), body.shape[0])
    margin = round(_APPENDAGE_MARGIN_MM / pixel_mm)
    around = ndimage.maximum_filter1d(np.where(lowest < body.shape[0], lowest, -1), 2 * margin + 1)
    edge = np.where(around >= 0, around, body.shape[0])
    return np.asarray(np.arange(body.shape[0])[:, None] > edge[None, :] + margin // 2, np.bool_)


def is_compact(surface: Surface, place: tuple[int, int], pixel_mm: float, thresholds: Thresholds) -> bool:
    """Whether a peak is hot, and as small as a point is through a camera: a catheter's tip, or a small hot tumour."""
    height = float(surface.excess_yx[place])
    if height < thresholds.tip_peak_fraction * surface.level:
        return False
    half = part_above(surface.excess_yx, FOCUS_EDGE_FRACTION * height, place)
    return long_axis_mm(half, pixel_mm) <= thresholds.tip_extent_mm


def pass_height(surface_yx: NDArray[np.float64], peak: tuple[int, int], core_yx: NDArray[np.bool_]) -> float:
    """Height of the highest pass between a place and the liver's core, by bisection."""
    low, high = 0.0, max(float(surface_yx[peak]), 0.0)
    if core_yx[peak]:
        return high
    for _ in range(_SADDLE_STEPS):
        middle = (low + high) / 2.0
        labels, _ = ndimage.label(surface_yx > middle)
        own = labels[peak]
        if own and (labels[core_yx] == own).any():
            low = middle
        else:
            high = middle
    return low


def part_above(surface_yx: NDArray[np.float64], level: float, place: tuple[int, int]) -> NDArray[np.bool_]:
    """The connected part above a level that holds a place; empty where the place is not above it."""
    labels, _ = ndimage.label(surface_yx > level)
    return np.asarray((labels == labels[place]) & (labels > 0), np.bool_)


def long_axis_mm(mask_yx: NDArray[np.bool_], pixel_mm: float) -> float:
    """Greatest distance between two pixels of a mask, pixel widths included."""
    points = np.argwhere(mask_yx & ~ndimage.binary_erosion(mask_yx)).astype(np.float64)
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    return float(apart.max() + 1.0) * pixel_mm
