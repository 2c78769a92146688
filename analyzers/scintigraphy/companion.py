"""What another tracer of the same study does to the views of the macroaggregates.

A colloid scan made before lies under them as residue; one made after them has theirs under it, and leaves them as they
are. Where no header names the tracer of two scans of the liver, one of them may be a colloid scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analyzers.scintigraphy.colloid import AlignedColloid, ResidueLeft, aligned, without_residue
from analyzers.scintigraphy.corrections import minutes_between
from analyzers.scintigraphy.regions import NoLiver, find_regions
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.tracer import Agent, tracer_of
from analyzers.scintigraphy.views import NoPair, PlanarPair, pair_views
from analyzers.volume import LoadedSeries, PlanarView

_ONE_EXPOSURE_MIN = 1.0
_LEAST_LEFT_FRACTION = 0.15
"""Of a colloid scan's counts in the liver, once the macroaggregates are taken away (derived: activities differ by a
factor of three at most); with less the times of both cannot be right."""
_UNNAMED = "no header names the tracer of two scans of the liver, and one of them may be a colloid scan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The pair without what was under it, and the colloid scan that it can be compared with.

    Attributes
    ----------
    pair : PlanarPair
    colloid : AlignedColloid or None
    residue_reason : str
        Why residue of a colloid still lies under the pair; empty where none does.
    is_supposed : bool
        That a colloid was given is not known, but possible.
    """

    pair: PlanarPair
    colloid: AlignedColloid | None = None
    residue_reason: str = ""
    is_supposed: bool = False


def beside_macroaggregates(
    colloid: Sequence[LoadedSeries], views: Sequence[PlanarView], pair: PlanarPair, thresholds: Thresholds
) -> Beside:
    """Subtract the colloid that was given first, or the macroaggregates from a colloid scan that came later.

    Parameters
    ----------
    colloid : sequence of LoadedSeries
        Views of a colloid scan.
    views : sequence of PlanarView
        All views that are taken for macroaggregates.
    pair : PlanarPair
        Chosen from these.
    thresholds : Thresholds
    """
    if not colloid:
        unnamed = _is_unnamed(pair.anterior) and _shows_another_scan(views, pair, thresholds)
        return Beside(pair=pair, residue_reason=_UNNAMED if unnamed else "", is_supposed=unnamed)
    found = pair_views([view for loaded in colloid for view in loaded.views], thresholds)
    if isinstance(found, NoPair):
        return Beside(pair=pair, residue_reason=f"the colloid scan cannot be read: {'; '.join(found.reasons)}")
    since_min = minutes_between(pair.anterior, found.anterior)
    came_later = since_min is not None and since_min > 0.0
    laid = aligned(found, pair, thresholds)
    if came_later:
        later = _without_macroaggregates(laid, pair, thresholds)
        said = "compared without what these give in it" if later is not None else "not compared, for these lie under it"
        remark = f"The colloid scan came after the macroaggregates and was {said}."
        return Beside(pair=replace(pair, remarks=(*pair.remarks, remark)), colloid=later)
    if isinstance(laid, ResidueLeft):
        return Beside(pair=pair, residue_reason=laid.reason)
    cleaned = without_residue(pair, laid.pair, "colloid")
    if isinstance(cleaned, ResidueLeft):
        return Beside(pair=pair, colloid=laid, residue_reason=cleaned.reason)
    return Beside(pair=cleaned, colloid=laid)


def _without_macroaggregates(
    laid: AlignedColloid | ResidueLeft, pair: PlanarPair, thresholds: Thresholds
) -> AlignedColloid | None:
    """A later colloid scan less what the macroaggregates give in it; ``None`` where that cannot be told apart."""
    if isinstance(laid, ResidueLeft):
        return None
    cleaned = without_residue(laid.pair, pair, "macroaggregates")
    if isinstance(cleaned, ResidueLeft):
        return None
    left = float(np.sum([view[laid.regions.liver_yx].sum() for view in cleaned.counts_yx]))
    if left < _LEAST_LEFT_FRACTION * float(np.sum([view[laid.regions.liver_yx].sum() for view in laid.pair.counts_yx])):
        return None
    regions = find_regions(cleaned, thresholds)
    return None if isinstance(regions, NoLiver) else replace(laid, pair=cleaned, regions=regions)


def _is_unnamed(view: PlanarView) -> bool:
    return tracer_of(view.header).agent is Agent.UNKNOWN


def _shows_another_scan(views: Sequence[PlanarView], pair: PlanarPair, thresholds: Thresholds) -> bool:
    """Whether views of another exposure, of no named tracer either, show the same liver."""
    own = {view.frame.sop_instance_uid for view in pair.views}
    others = [
        view
        for view in views
        if view.frame.sop_instance_uid not in own
        and _is_unnamed(view)
        and abs(minutes_between(pair.anterior, view) or 0.0) >= _ONE_EXPOSURE_MIN
    ]
    found = pair_views(others, thresholds) if others else NoPair(reasons=())
    return not isinstance(found, NoPair) and isinstance(aligned(found, pair, thresholds), AlignedColloid)
