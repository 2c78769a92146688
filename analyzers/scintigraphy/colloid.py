"""The colloid scan of the same study: its residue under the macroaggregates, and the liver that it outlines.

Colloid stays where phagocytes took it up, so that what is left under a later view is the earlier picture, weaker by
decay, longer or shorter by the duration. It is registered (:mod:`~analyzers.scintigraphy.alignment`), scaled and
subtracted. Without a clock or a duration in both headers it cannot be scaled, and is left.

Colloid marks parenchyma whatever artery feeds it. So where it shows a lobe and the macroaggregates do not, that lobe is
not perfused by the pump; where it shows none either, the lobe is not there. Macroaggregates outside its outline of the
liver are outside the liver.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.alignment import Rigid, moved_pair, registered
from analyzers.scintigraphy.corrections import exposure_ratio
from analyzers.scintigraphy.landmarks import Landmarks
from analyzers.scintigraphy.lobes import LobeUptake, split_lobes
from analyzers.scintigraphy.regions import NoLiver, PlanarRegions, dilated, find_regions
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair
from analyzers.scintigraphy.whereabouts import LocatedFocus, Origin

_MOST_SHIFT_MM = 60.0
_LEAST_AGREEMENT = 0.6
_BLUR_MM = 6.0
_SPLEEN_LEFT_MM = 50.0
_SPLEEN_BEHIND = 1.35
_OUTLINE_MARGIN_MM = 8.0
_MOSTLY_OUTSIDE = 0.2
_MOSTLY_INSIDE = 0.8
PERFUSED_LEVELS = (0.10, 0.20, 0.40)
"""Uptake of macroaggregates per uptake of colloid, relative to its median, from which a pixel counts as perfused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidueLeft:
    """Why the residue could not be subtracted."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedColloid:
    """The colloid scan, laid onto the views of the macroaggregates.

    Attributes
    ----------
    pair : PlanarPair
        Both views, moved.
    regions : PlanarRegions
        Found on it.
    motion : Rigid
        How it had to be moved.
    """

    pair: PlanarPair
    regions: PlanarRegions
    motion: Rigid


@dataclass(frozen=True, slots=True, kw_only=True)
class ColloidCompared:
    """What the comparison of both tracers says.

    Attributes
    ----------
    liver_yx : (rows, columns) bool
        The colloid's outline of the liver on the grid of the macroaggregates.
    motion : Rigid
    parenchyma : LobeUptake
        Which lobes the colloid shows.
    perfused_shares : tuple of float
        Share of the outline with perfusion, at each of :data:`PERFUSED_LEVELS`; empty where residue of colloid still
        lies under the macroaggregates.
    outside_share_fraction : float
        Counts of extrahepatic foci outside the outline, relative to those of the liver.
    """

    liver_yx: NDArray[np.bool_]
    motion: Rigid
    parenchyma: LobeUptake
    perfused_shares: tuple[float, ...]
    outside_share_fraction: float


def aligned(colloid: PlanarPair, pair: PlanarPair, thresholds: Thresholds) -> AlignedColloid | ResidueLeft:
    """Lay the colloid scan onto the views of the macroaggregates."""
    if pair.anterior_yx.shape != colloid.anterior_yx.shape or abs(pair.pixel_mm / colloid.pixel_mm - 1.0) > 0.02:
        return ResidueLeft(reason="the colloid scan has another matrix or pixel size")
    motion = registered(colloid, pair)
    if np.hypot(motion.down_mm, motion.left_mm) > _MOST_SHIFT_MM or motion.agreement < _LEAST_AGREEMENT:
        return ResidueLeft(reason="both scans cannot be laid onto each other")
    moved = moved_pair(colloid, motion)
    regions = find_regions(moved, thresholds)
    if isinstance(regions, NoLiver):
        return ResidueLeft(reason="no liver was found on the colloid scan")
    return AlignedColloid(pair=moved, regions=regions, motion=motion)


def without_residue(pair: PlanarPair, before: PlanarPair, tracer: str) -> PlanarPair | ResidueLeft:
    """Subtract what an earlier tracer still gives from both views of a pair.

    Parameters
    ----------
    pair, before : PlanarPair
        On one grid.
    tracer : str
        Name of the earlier one, for the report.
    """
    cleaned = []
    for own, earlier_yx, view, earlier in zip(pair.counts_yx, before.counts_yx, pair.views, before.views, strict=True):
        ratio = exposure_ratio(earlier, view)
        if ratio is None:
            return ResidueLeft(
                reason="durations and times of both scans are not known, or not as they decayed, so it cannot be scaled"
            )
        cleaned.append(np.maximum(own - ratio * earlier_yx, 0.0))
    return replace(
        pair,
        anterior_yx=cleaned[0],
        posterior_yx=cleaned[1],
        corrections=(*pair.corrections, f"residue of {tracer} scaled by decay and duration and subtracted"),
    )


def compared(
    pair: PlanarPair,
    regions: PlanarRegions,
    landmarks: Landmarks,
    foci: tuple[LocatedFocus, ...],
    colloid: AlignedColloid,
    thresholds: Thresholds,
    *,
    residue_left: bool,
) -> ColloidCompared:
    """Compare the macroaggregates with the parenchyma that the colloid shows."""
    liver = liver_outline(colloid, landmarks)
    rows = np.flatnonzero(liver.any(axis=1))
    own = replace(landmarks, dome_row=int(rows[0]), lower_edge_row=int(rows[-1]))
    split = split_lobes(colloid.pair, colloid.regions, own, np.zeros_like(liver), thresholds)
    outside = sum(
        item.focus.share_fraction
        for item in foci
        if item.whereabouts.origin in {Origin.EXTRAHEPATIC, Origin.AMBIGUOUS}
        and _inside(item, liver, pair.pixel_mm) < 0.5
    )
    return ColloidCompared(
        liver_yx=liver,
        motion=colloid.motion,
        parenchyma=split.uptake,
        perfused_shares=() if residue_left else _perfused_shares(pair, regions, colloid, liver),
        outside_share_fraction=float(outside),
    )


def liver_outline(colloid: AlignedColloid, landmarks: Landmarks) -> NDArray[np.bool_]:
    """The colloid's outline of the liver, without a spleen that blur joins to the left lobe: it lies far behind."""
    front, back = (ndimage.gaussian_filter(view, _BLUR_MM / landmarks.pixel_mm) for view in colloid.pair.counts_yx)
    columns = np.arange(front.shape[1])[None, :]
    spleen = (columns > landmarks.column_at(_SPLEEN_LEFT_MM)) & (back > _SPLEEN_BEHIND * front)
    return np.asarray(colloid.regions.liver_yx & ~spleen, np.bool_)


def _less_halo(pair: PlanarPair, regions: PlanarRegions) -> NDArray[np.float64]:
    """Geometric mean of both views, smoothed and without what is scatter."""
    front, back = (
        np.maximum(ndimage.gaussian_filter(view - halo.counts_yx, _BLUR_MM / pair.pixel_mm), 0.0)
        for view, halo in zip(pair.counts_yx, regions.halos, strict=True)
    )
    return np.asarray(np.sqrt(front * back), np.float64)


def _perfused_shares(
    pair: PlanarPair, regions: PlanarRegions, colloid: AlignedColloid, liver_yx: NDArray[np.bool_]
) -> tuple[float, ...]:
    """Blur and thickness mark both tracers alike, so that their ratio tells perfusion up to the edge of the outline."""
    inside = liver_yx & pair.field_yx & colloid.pair.field_yx
    ratio = _less_halo(pair, regions)[inside] / np.maximum(_less_halo(colloid.pair, colloid.regions)[inside], 1.0)
    usual = float(np.median(ratio[ratio >= np.median(ratio)]))
    return tuple(float((ratio >= level * usual).mean()) for level in PERFUSED_LEVELS)


def weighed_by_outline(
    item: LocatedFocus, liver_yx: NDArray[np.bool_], pixel_mm: float, thresholds: Thresholds
) -> LocatedFocus:
    """A focus that lies outside the colloid's outline of the liver is no liver; one inside may be."""
    where = item.whereabouts
    if where.origin is not Origin.EXTRAHEPATIC:
        return item
    share = _inside(item, liver_yx, pixel_mm)
    if share <= _MOSTLY_OUTSIDE:
        sure = max(item.focus.probability, thresholds.sure_focus_probability)
        said = replace(where, reason=f"{where.reason}; outside the liver that the colloid outlines")
        return replace(item, focus=replace(item.focus, probability=sure, stands_apart=True), whereabouts=said)
    if share >= _MOSTLY_INSIDE and not item.focus.stands_apart:
        return replace(
            item, whereabouts=replace(where, reason=f"{where.reason}; where the colloid shows liver, so perhaps liver")
        )
    return item


def _inside(item: LocatedFocus, liver_yx: NDArray[np.bool_], pixel_mm: float) -> float:
    """Part of a focus that lies within the outline and its margin."""
    around = dilated(liver_yx, _OUTLINE_MARGIN_MM, pixel_mm)
    return float((item.focus.mask_yx & around).sum()) / max(float(item.focus.mask_yx.sum()), 1.0)
