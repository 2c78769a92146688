"""From the planar series of a study to one reading: regions, shunt, lobes, foci, gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import Gate
from analyzers.scintigraphy import gates
from analyzers.scintigraphy.colloid import AlignedColloid, ColloidCompared, compared, liver_outline, weighed_by_outline
from analyzers.scintigraphy.companion import beside_macroaggregates
from analyzers.scintigraphy.foci import PlanarFocus, find_foci, without_foci
from analyzers.scintigraphy.landmarks import Landmarks, find_landmarks
from analyzers.scintigraphy.laterals import LateralReading, read_laterals, seen_from_the_side
from analyzers.scintigraphy.lobes import LobarSplit, LobeUptake, split_lobes
from analyzers.scintigraphy.motion import stillness_gate
from analyzers.scintigraphy.patterns import doubted_after_subtraction, explained_together
from analyzers.scintigraphy.pocket import pocket_share_fraction
from analyzers.scintigraphy.regions import NoLiver, PlanarRegions, find_regions
from analyzers.scintigraphy.shunt import LungShunt, NoShunt, measure_shunt
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.tracer import tracer_faults
from analyzers.scintigraphy.views import NoPair, PlanarPair, pair_views
from analyzers.scintigraphy.whereabouts import PUMP_POCKET, LocatedFocus, Origin, whereabouts_of
from analyzers.scintigraphy.windows import photopeak_views
from analyzers.volume import LoadedSeries, PlanarView

_RIGHT_FLANK_MM = -95.0
_RIGHT_SIDE_MM = -35.0
_LOBE_ROWS_MM = (-20.0, 150.0)
_FAINT_FRACTION = 0.3
_IN_LUNG_FRACTION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarReading:
    """All that was measured on a pair of views.

    Attributes
    ----------
    colloid_given : bool
        Residue of colloid still lies under the views, for the reason beside it; ``colloid_supposed`` where no header
        names the tracer of either scan, so that one of them may be a colloid scan.
    colloid : ColloidCompared or None
        What the colloid scan says, where there is one that could be laid onto the views.
    laterals : tuple of LateralReading
        Lateral views that could be read.
    pocket_share_fraction : float
        Counts round the pump as a share of those of liver and pocket.
    in_faint_lobe : tuple of LocatedFocus
        What a SPECT/CT showed to be a lobe next to without uptake; not among the foci.
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
    colloid_supposed: bool = False
    colloid: ColloidCompared | None = None
    laterals: tuple[LateralReading, ...] = ()
    pocket_share_fraction: float = 0.0
    in_faint_lobe: tuple[LocatedFocus, ...] = ()

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
    series: Sequence[LoadedSeries],
    thresholds: Thresholds,
    *,
    colloid: Sequence[LoadedSeries] = (),
    dynamic: Sequence[LoadedSeries] = (),
) -> PlanarReading | PlanarRefusal:
    """Read the planar views of the macroaggregates.

    Parameters
    ----------
    series : sequence of LoadedSeries
        With views of the macroaggregates.
    thresholds : Thresholds
    colloid : sequence of LoadedSeries
        Views of a colloid scan of the same study, whose residue may lie under these views.
    dynamic : sequence of LoadedSeries
        Time slices of the same study, which tell whether the patient lay still.
    """
    views = [view for loaded in series for view in loaded.views]
    if not views:
        refused = tuple(f"{text[:1].upper()}{text[1:]}." for loaded in series for text in loaded.refusals)
        return PlanarRefusal(reasons=refused or ("No planar view could be read.",))
    wrong = tracer_faults(instance for loaded in series for instance in loaded.series.instances)
    if wrong:
        return PlanarRefusal(reasons=wrong)
    pair = pair_views(views, thresholds)
    if isinstance(pair, NoPair):
        return PlanarRefusal(reasons=pair.reasons)
    beside = beside_macroaggregates(colloid, views, pair, thresholds)
    pair = beside.pair
    regions = find_regions(pair, thresholds)
    if isinstance(regions, NoLiver):
        return PlanarRefusal(reasons=(regions.reason,))
    checked = (*gates.planar_gates(pair, regions, thresholds), *stillness_gate(dynamic, thresholds))
    blocking = [gate for gate in checked if gate.name in gates.BLOCKING and not gate.passed]
    if blocking:
        return PlanarRefusal(
            reasons=tuple(f"Planar views: {gate.name}: {gate.seen}; wanted {gate.wanted}." for gate in blocking),
            gates=checked,
        )
    reading = _measured(pair, regions, checked, thresholds, colloid_given=bool(beside.residue_reason))
    if isinstance(reading, PlanarRefusal):
        return reading
    reading = _with_laterals(reading, views, thresholds)
    reading = replace(reading, colloid_left_reason=beside.residue_reason, colloid_supposed=beside.is_supposed)
    return reading if beside.colloid is None else _with_colloid(reading, beside.colloid, thresholds)


def _with_laterals(reading: PlanarReading, views: Sequence[PlanarView], thresholds: Thresholds) -> PlanarReading:
    """Place the foci by the lateral views, where there are any."""
    peak = photopeak_views(views, thresholds.photopeak_kev)
    laterals, remarks = read_laterals(peak, reading.pair, thresholds)
    return replace(
        reading,
        pair=replace(reading.pair, remarks=(*reading.pair.remarks, *remarks)),
        laterals=laterals,
        foci=tuple(seen_from_the_side(item, laterals, reading.pair.pixel_mm, thresholds) for item in reading.foci),
    )


def _with_colloid(reading: PlanarReading, colloid: AlignedColloid, thresholds: Thresholds) -> PlanarReading:
    """Compare with the colloid scan; foci are weighed by its outline, and doubted where residue was subtracted."""
    liver = liver_outline(colloid, reading.landmarks)
    foci = tuple(weighed_by_outline(item, liver, reading.pair.pixel_mm, thresholds) for item in reading.foci)
    if not reading.colloid_given:
        foci = tuple(doubted_after_subtraction(item, thresholds) for item in foci)
    found = compared(
        reading.pair,
        reading.regions,
        reading.landmarks,
        foci,
        colloid,
        thresholds,
        residue_left=reading.colloid_given,
    )
    return replace(reading, foci=foci, colloid=found)


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
    alone = _left_lobe_alone(pair, regions, landmarks, thresholds)
    foci = tuple(
        focus
        for focus in found
        if not is_faint_right_lobe(focus, landmarks, left_lobe_alone=alone) and not is_lung(focus, regions)
    )
    # What may as well be liver stays with it: a bright left lobe that is doubted must not raise the lung shunt.
    apart = tuple(focus for focus in foci if focus.stands_apart or focus.clear_of_liver)
    liver = without_foci(regions, apart, pair.pixel_mm)
    split = split_lobes(pair, liver, landmarks, _taken(apart, liver), thresholds)
    located_alone = [
        LocatedFocus(focus=focus, whereabouts=whereabouts_of(focus, landmarks, colloid_given=colloid_given))
        for focus in foci
    ]
    if reason := _outshone(located_alone):
        return PlanarRefusal(reasons=(reason,), gates=checked)
    located = explained_together(located_alone, landmarks, int(np.flatnonzero(pair.field_yx.any(axis=1))[0]))
    in_pocket = _in_pocket(pair, liver, located)
    return PlanarReading(
        pair=pair,
        regions=liver,
        landmarks=landmarks,
        shunt=measure_shunt(pair, liver, thresholds, left_lobe_alone=split.uptake is LobeUptake.NO_RIGHT),
        split=split,
        foci=located,
        colloid_given=colloid_given,
        gates=(
            *checked,
            gates.liver_side_gate(split.left_share_fraction, split.left_to_right_level),
            gates.pocket_gate(in_pocket, thresholds),
        ),
        pocket_share_fraction=in_pocket,
    )


def _in_pocket(pair: PlanarPair, liver: PlanarRegions, foci: Sequence[LocatedFocus]) -> float:
    """Share of the counts of liver and pocket that lies round the pump."""
    patches = np.zeros(liver.liver_yx.shape, np.bool_)
    for item in foci:
        if item.whereabouts.words == PUMP_POCKET:
            patches |= item.focus.mask_yx
    front, back = (halo.counts_yx for halo in liver.halos)
    return pocket_share_fraction(pair, patches, liver.hot_yx, liver.liver_counts_yx, (front, back))


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


def is_faint_right_lobe(focus: PlanarFocus, landmarks: Landmarks, *, left_lobe_alone: bool) -> bool:
    """Whether a focus is what a right lobe without proper perfusion still holds: faint, on its side, at its height."""
    row, column = (float(place) for place in np.argwhere(focus.mask_yx).mean(axis=0))
    return (
        left_lobe_alone
        and landmarks.left_of_midline_mm(column) < _RIGHT_SIDE_MM
        and _LOBE_ROWS_MM[0] < landmarks.below_dome_mm(row) < _LOBE_ROWS_MM[1]
        and focus.peak_fraction < _FAINT_FRACTION
    )


def is_lung(focus: PlanarFocus, regions: PlanarRegions) -> bool:
    """Whether a focus is a bright lung: its outline lies mostly in what was recognised as one."""
    return float((focus.mask_yx & regions.lungs_yx).sum()) > _IN_LUNG_FRACTION * float(focus.mask_yx.sum())


def _left_lobe_alone(pair: PlanarPair, regions: PlanarRegions, landmarks: Landmarks, thresholds: Thresholds) -> bool:
    """Whether the liver as outlined does not reach to the right flank, or is far fainter there."""
    right_edge = float(np.flatnonzero(regions.liver_yx.any(axis=0))[0])
    split = split_lobes(pair, regions, landmarks, np.zeros_like(regions.liver_yx), thresholds)
    return landmarks.left_of_midline_mm(right_edge) > _RIGHT_FLANK_MM or split.uptake is LobeUptake.NO_RIGHT


def _taken(foci: Sequence[PlanarFocus], regions: PlanarRegions) -> NDArray[np.bool_]:
    taken = np.zeros(regions.liver_yx.shape, np.bool_)
    for focus in foci:
        taken |= focus.summed_yx
    return taken
