"""From the planar series of a study to one reading: regions, shunt, lobes, foci, gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import Gate
from analyzers.scintigraphy import gates
from analyzers.scintigraphy.colloid import ResidueLeft, perfused_shares, without_residue
from analyzers.scintigraphy.foci import PlanarFocus, find_foci, without_foci
from analyzers.scintigraphy.landmarks import Landmarks, find_landmarks
from analyzers.scintigraphy.lobes import LobarSplit, split_lobes
from analyzers.scintigraphy.patterns import doubted_after_subtraction, explained_together
from analyzers.scintigraphy.regions import NoLiver, PlanarRegions, find_regions
from analyzers.scintigraphy.shunt import LungShunt, NoShunt, measure_shunt
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.tracer import tracer_of
from analyzers.scintigraphy.views import NoPair, PlanarPair, pair_views
from analyzers.scintigraphy.whereabouts import PUMP_POCKET, LocatedFocus, Origin, whereabouts_of
from analyzers.volume import LoadedSeries

_RIGHT_FLANK_MM = -95.0
_RIGHT_SIDE_MM = -35.0
_LOBE_ROWS_MM = (-20.0, 150.0)
_FAINT_FRACTION = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarReading:
    """All that was measured on a pair of views.

    Attributes
    ----------
    colloid_given : bool
        Residue of colloid still lies under the views, for the reason beside it.
    perfused_shares : tuple of float
        Share of the colloid's outline with perfusion, at each of ``colloid.PERFUSED_LEVELS``; empty without colloid.
    """

    pair: PlanarPair
    regions: PlanarRegions
    landmarks: Landmarks
    shunt: LungShunt | NoShunt
    split: LobarSplit
    foci: tuple[LocatedFocus, ...]
    gates: tuple[Gate, ...]
    colloid_given: bool = False
    colloid_left_reason: str = ""
    perfused_shares: tuple[float, ...] = ()

    def of_origin(self, origin: Origin) -> tuple[LocatedFocus, ...]:
        """Foci of one origin, in order."""
        return tuple(located for located in self.foci if located.whereabouts.origin is origin)

    def passed(self, name: str) -> bool:
        """Whether a gate was passed; a gate that was never asked counts as passed."""
        return all(gate.passed for gate in self.gates if gate.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarRefusal:
    """Why nothing was measured on the planar views."""

    reasons: tuple[str, ...]
    gates: tuple[Gate, ...] = ()


def read_planar(
    series: Sequence[LoadedSeries], thresholds: Thresholds, *, colloid: Sequence[LoadedSeries] = ()
) -> PlanarReading | PlanarRefusal:
    """Read the planar views of the macroaggregates.

    Parameters
    ----------
    series : sequence of LoadedSeries
        With views of the macroaggregates.
    thresholds : Thresholds
    colloid : sequence of LoadedSeries
        Views of a colloid scan of the same study, whose residue may lie under these views.
    """
    views = [view for loaded in series for view in loaded.views]
    if not views:
        refused = tuple(f"{text[:1].upper()}{text[1:]}." for loaded in series for text in loaded.refusals)
        return PlanarRefusal(reasons=refused or ("No planar view could be read.",))
    wrong = _wrong_tracer(series)
    if wrong:
        return PlanarRefusal(reasons=wrong)
    pair = pair_views(views, thresholds)
    if isinstance(pair, NoPair):
        return PlanarRefusal(reasons=pair.reasons)
    earlier = pair_views([view for loaded in colloid for view in loaded.views], thresholds) if colloid else None
    left_reason = ""
    if earlier is not None:
        cleaned = without_residue(pair, earlier) if isinstance(earlier, PlanarPair) else _no_colloid_pair(earlier)
        left_reason = cleaned.reason if isinstance(cleaned, ResidueLeft) else ""
        pair = cleaned if isinstance(cleaned, PlanarPair) else pair
    regions = find_regions(pair, thresholds)
    if isinstance(regions, NoLiver):
        return PlanarRefusal(reasons=(regions.reason,))
    checked = gates.planar_gates(pair, regions, thresholds)
    blocking = [gate for gate in checked if gate.name in gates.BLOCKING and not gate.passed]
    if blocking:
        return PlanarRefusal(
            reasons=tuple(f"Planar views: {gate.name}: {gate.seen}; wanted {gate.wanted}." for gate in blocking),
            gates=checked,
        )
    reading = _measured(pair, regions, checked, thresholds, colloid_given=bool(left_reason))
    if isinstance(reading, PlanarRefusal) or not isinstance(earlier, PlanarPair):
        return reading
    outline = find_regions(earlier, thresholds)
    if isinstance(outline, NoLiver) or left_reason:
        return replace(reading, colloid_left_reason=left_reason)
    return replace(
        reading,
        foci=tuple(doubted_after_subtraction(item, thresholds) for item in reading.foci),
        perfused_shares=perfused_shares(pair, reading.regions, outline.liver_yx),
    )


def _no_colloid_pair(earlier: NoPair) -> ResidueLeft:
    return ResidueLeft(reason=f"the colloid scan cannot be read: {'; '.join(earlier.reasons)}")


def _measured(
    pair: PlanarPair,
    regions: PlanarRegions,
    checked: tuple[Gate, ...],
    thresholds: Thresholds,
    *,
    colloid_given: bool,
) -> PlanarReading | PlanarRefusal:
    found = find_foci(pair, regions, thresholds)
    landmarks = find_landmarks(pair, without_foci(regions, found, pair.pixel_mm))
    foci = tuple(focus for focus in found if not is_faint_right_lobe(focus, regions, landmarks))
    liver = without_foci(regions, foci, pair.pixel_mm)
    split = split_lobes(pair, liver, landmarks, _taken(foci, liver), thresholds)
    alone = [
        LocatedFocus(focus=focus, whereabouts=whereabouts_of(focus, landmarks, colloid_given=colloid_given))
        for focus in foci
    ]
    if reason := _outshone(alone):
        return PlanarRefusal(reasons=(reason,), gates=checked)
    located = explained_together(alone, landmarks, int(np.flatnonzero(pair.field_yx.any(axis=1))[0]))
    in_pocket = sum(item.focus.share_fraction for item in located if item.whereabouts.words == PUMP_POCKET)
    return PlanarReading(
        pair=pair,
        regions=liver,
        landmarks=landmarks,
        shunt=measure_shunt(pair, liver, thresholds),
        split=split,
        foci=located,
        colloid_given=colloid_given,
        gates=(
            *checked,
            gates.liver_side_gate(split.left_share_fraction, split.left_to_right_level),
            gates.pocket_gate(in_pocket / (1.0 + in_pocket), thresholds),
        ),
    )


def _outshone(foci: Sequence[LocatedFocus]) -> str:
    """Why the liver was not recognised: a region elsewhere, no device, holds more counts than what was taken for it."""
    brightest = max(
        (item.focus.share_fraction for item in foci if item.whereabouts.origin is not Origin.DEVICE), default=0.0
    )
    if brightest <= 1.0:
        return ""
    return (
        f"A region outside what looks like the liver holds {100 * brightest:.0f} % of its counts: "
        "which of them is the liver cannot be told."
    )


def is_faint_right_lobe(focus: PlanarFocus, regions: PlanarRegions, landmarks: Landmarks) -> bool:
    """Whether a focus is what a right lobe without proper perfusion still holds.

    That is so where the liver as outlined does not reach to the right flank, and the focus lies there at its height.
    """
    right_edge = float(np.flatnonzero(regions.liver_yx.any(axis=0))[0])
    row, column = (float(place) for place in np.argwhere(focus.mask_yx).mean(axis=0))
    return (
        landmarks.left_of_midline_mm(right_edge) > _RIGHT_FLANK_MM
        and landmarks.left_of_midline_mm(column) < _RIGHT_SIDE_MM
        and _LOBE_ROWS_MM[0] < landmarks.below_dome_mm(row) < _LOBE_ROWS_MM[1]
        and focus.peak_fraction < _FAINT_FRACTION
    )


def _taken(foci: Sequence[PlanarFocus], regions: PlanarRegions) -> NDArray[np.bool_]:
    taken = np.zeros(regions.liver_yx.shape, np.bool_)
    for focus in foci:
        taken |= focus.summed_yx
    return taken


def _wrong_tracer(series: Sequence[LoadedSeries]) -> tuple[str, ...]:
    """Reasons against the tracer that the headers name; silent headers are no reason."""
    reasons = []
    for loaded in series:
        for instance in loaded.series.instances:
            tracer = tracer_of(instance)
            if len(tracer.nuclides) > 1:
                reasons.append(
                    f"Two nuclides were imaged together ({', '.join(tracer.nuclides)}): "
                    "counts of one lie under the other."
                )
            elif tracer.is_technetium is False:
                reasons.append(f"The nuclide is not Tc-99m but {tracer.nuclides[0]}.")
    return tuple(dict.fromkeys(reasons))
