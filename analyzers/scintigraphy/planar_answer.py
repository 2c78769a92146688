"""What a planar reading says in the words of the contract: regions, measurements, findings, limitations."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

import numpy as np

from analyzers import vocabulary
from analyzers.contract import Finding, FrameRef, Grade, Interval, Measurement, Region
from analyzers.measuring import measurement
from analyzers.scintigraphy import gates
from analyzers.scintigraphy.answer import is_extrahepatic, planar_share_words, presence_of
from analyzers.scintigraphy.colloid import PERFUSED_LEVELS
from analyzers.scintigraphy.foci import PlanarFocus
from analyzers.scintigraphy.laterals import laterals_sentence
from analyzers.scintigraphy.motion import STILL
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.shunt import LungShunt, NoShunt
from analyzers.scintigraphy.shunt_words import shunt_limits
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair
from analyzers.scintigraphy.whereabouts import LocatedFocus, Origin

_METHOD_RAW = "Geometric mean, body background subtracted"
_METHOD_CORRECTED = "Geometric mean, scatter and attenuation corrected"
_LABEL_LETTERS = 64
_LIVER_RGB = (0, 158, 115)
_COLLOID_RGB = (230, 159, 0)
_LUNG_RGB = (86, 180, 233)
_FOCUS_RGB = (213, 94, 0)
_DEVICE_RGB = (204, 121, 167)
_FINDING_KEYS = {
    Origin.EXTRAHEPATIC: "extrahepatic_focus",
    Origin.AMBIGUOUS: "extrahepatic_focus",
    Origin.DEVICE: "device_activity",
    Origin.PHYSIOLOGIC: "physiologic_uptake",
    Origin.PERTECHNETATE: "free_pertechnetate",
}
_CONCEPTS = {
    Origin.EXTRAHEPATIC: vocabulary.EXTRAHEPATIC_PERFUSION,
    Origin.AMBIGUOUS: vocabulary.EXTRAHEPATIC_PERFUSION,
    Origin.DEVICE: vocabulary.DEVICE_ACTIVITY,
    Origin.PHYSIOLOGIC: vocabulary.PHYSIOLOGIC_UPTAKE,
    Origin.PERTECHNETATE: vocabulary.FREE_PERTECHNETATE,
}

PLANAR_SENSITIVITY = (
    "Planar views show only about 30 % of extrahepatic perfusion that SPECT/CT shows (32 % in 90 angiographies): "
    "a negative result does not exclude it."
)
HIDDEN_BY_LIVER = "Extrahepatic activity in front of or behind the liver cannot be told from a tumor on planar views."


def planar_regions(reading: PlanarReading) -> tuple[Region, ...]:
    """Liver, lungs and foci as polygons on both frames."""
    pair = reading.pair
    regions = [
        Region(
            name="liver",
            label="Liver",
            type=vocabulary.LIVER,
            outlines=pair.outlines(reading.regions.liver_yx),
            rgb=_LIVER_RGB,
        )
    ]
    if reading.colloid is not None:
        regions.append(
            Region(
                name="liver-by-colloid",
                label="Liver as the colloid scan outlines it",
                type=vocabulary.LIVER,
                outlines=pair.outlines(reading.colloid.liver_yx),
                rgb=_COLLOID_RGB,
            )
        )
    columns = np.arange(pair.field_yx.shape[1])[None, :]
    right_side = columns < reading.landmarks.midline_col
    for name, label, side, mask in (
        ("lung-right", "Right lung", vocabulary.RIGHT, reading.regions.lungs_yx & right_side),
        ("lung-left", "Left lung", vocabulary.LEFT, reading.regions.lungs_yx & ~right_side),
    ):
        outlines = pair.outlines(mask)
        if outlines:
            regions.append(
                Region(name=name, label=label, type=vocabulary.LUNG, laterality=side, outlines=outlines, rgb=_LUNG_RGB)
            )
    for located in reading.foci:
        origin = located.whereabouts.origin
        regions.append(
            Region(
                name=located.focus.name,
                label=shorten(
                    f"Focus {located.focus.name.removeprefix('focus-')}: {located.whereabouts.words}?",
                    _LABEL_LETTERS,
                    placeholder=" ...?",
                ),
                type=_CONCEPTS[origin],
                site=located.whereabouts.site,
                outlines=pair.outlines(located.focus.mask_yx),
                rgb=_FOCUS_RGB if is_extrahepatic(located) else _DEVICE_RGB,
            )
        )
    return tuple(regions)


def planar_measurements(reading: PlanarReading, thresholds: Thresholds) -> tuple[Measurement, ...]:
    """All numbers of a planar reading."""
    frames = (reading.pair.anterior.frame, reading.pair.posterior.frame)
    measurements: list[Measurement] = []
    if isinstance(reading.shunt, LungShunt):
        measurements += _shunt_measurements(reading, reading.shunt, frames, thresholds)
    measurements += _lobe_measurements(reading, frames)
    measurements += _colloid_measurements(reading, frames)
    extrahepatic = [located for located in reading.foci if is_extrahepatic(located)]
    measurements.append(
        measurement(
            "extrahepatic_focus_count",
            float(len(extrahepatic)),
            None,
            sources=frames,
            method="Peaks apart from the liver, planar",
        )
    )
    for located in reading.foci:
        measurements += _focus_measurements(located, frames)
    return tuple(measurements)


def _colloid_measurements(reading: PlanarReading, frames: tuple[FrameRef, ...]) -> list[Measurement]:
    """How much of the liver that the colloid outlines is perfused, and what lies outside it."""
    if reading.colloid is None:
        return []
    laid = f"colloid scan laid onto the views by {reading.colloid.motion.words}"
    shares = [
        measurement(
            f"perfused_outline_share_{100 * level:.0f}",
            share,
            "liver",
            sources=frames,
            method=f"MAA to colloid above {100 * level:.0f} % of usual",
            remark=laid,
        )
        for level, share in zip(PERFUSED_LEVELS, reading.colloid.perfused_shares, strict=False)
    ]
    outside = reading.colloid.outside_share_fraction
    if outside > 1.0:
        return shares
    return [
        *shares,
        measurement(
            "outside_colloid_share",
            outside,
            None,
            sources=frames,
            method="Foci outside the colloid outline of the liver",
            remark=laid,
        ),
    ]


def _shunt_measurements(
    reading: PlanarReading, shunt: LungShunt, frames: tuple[FrameRef, ...], thresholds: Thresholds
) -> list[Measurement]:
    limits = shunt_limits(reading, shunt, thresholds)
    grade = Grade.LIMITED if limits else Grade.GOOD
    # The fraction belongs to no region alone; with the outlines that it rests on, a viewer can show where it is from.
    regions = planar_regions(reading)
    lungs = tuple(outline for region in regions if region.type == vocabulary.LUNG for outline in region.outlines)
    liver = tuple(outline for region in regions if region.name == "liver" for outline in region.outlines)
    factor = (
        f"attenuation factor {thresholds.attenuation_factor:g} "
        f"({thresholds.attenuation_factor_low:g} to {thresholds.attenuation_factor_high:g})"
    )
    return [
        measurement(
            "lung_shunt_fraction",
            shunt.raw,
            None,
            sources=frames,
            lines=(*lungs, *liver),
            uncertainty=shunt.raw_uncertainty,
            method=_METHOD_RAW,
            grade=grade,
            remark="; ".join((_raw_remark(reading.pair), *limits)),
        ),
        measurement(
            "lung_shunt_fraction_corrected",
            shunt.corrected,
            None,
            sources=frames,
            lines=(*lungs, *liver),
            uncertainty=Interval(low=shunt.corrected_low, high=None if shunt.at_least else shunt.corrected_high),
            method=_METHOD_CORRECTED,
            grade=grade,
            remark="; ".join((factor, *limits)),
        ),
        measurement("liver_geometric_mean_counts", shunt.liver_counts, "liver", sources=frames, method=_METHOD_RAW),
        measurement(
            "lung_geometric_mean_counts",
            shunt.lung_counts,
            None,
            sources=frames,
            method=_METHOD_RAW,
            site=vocabulary.LUNG,
            lines=lungs,
        ),
    ]


def _raw_remark(pair: PlanarPair) -> str:
    by_windows = [words for words in pair.corrections if "energy window" in words]
    if by_windows:
        return f"{by_windows[0]}, not corrected for attenuation: too high by nature"
    return "not corrected for scatter and attenuation: too high by nature"


def _lobe_measurements(reading: PlanarReading, frames: tuple[FrameRef, ...]) -> list[Measurement]:
    remark = f"divided by a vertical line; midline from {reading.landmarks.midline_from}"
    split = reading.split
    share = split.left_share_fraction
    return [
        measurement(
            "left_lobe_share",
            share,
            "liver",
            sources=frames,
            uncertainty=Interval(low=split.left_share_low, high=split.left_share_high),
            method="Geometric mean left of a vertical line",
            grade=Grade.LIMITED,
            remark=f"{remark}; a projection cannot follow the plane between the lobes",
        ),
        measurement(
            "left_to_right_level",
            reading.split.left_to_right_level,
            "liver",
            sources=frames,
            method="90th percentile left, over no valley, to 75th right",
            remark=remark,
        ),
    ]


def _focus_measurements(located: LocatedFocus, frames: tuple[FrameRef, ...]) -> list[Measurement]:
    focus, site = located.focus, located.whereabouts.site
    doubts = (
        *(() if focus.clear_of_liver else ("touches the liver: counts of both are mixed",)),
        *(("at least: cut by the edge of the field",) if focus.cut_by_field else ()),
    )
    remark, grade = "; ".join(doubts), Grade.LIMITED if doubts else Grade.GOOD
    share = measurement(
        "extrahepatic_share",
        focus.share_fraction,
        focus.name,
        sources=frames,
        uncertainty=focus.share_uncertainty,
        method="Geometric mean relative to liver",
        grade=grade,
        remark=remark,
        site=site,
    )
    return [
        *([share] if focus.share_fraction <= 1.0 else []),
        measurement(
            "extrahepatic_peak",
            focus.peak_fraction,
            focus.name,
            sources=frames,
            method="Peak over liver median, better view",
            site=site,
        ),
        measurement(
            "extrahepatic_significance",
            focus.significance_sigma,
            focus.name,
            sources=frames,
            method="Poisson counting and background model",
            site=site,
        ),
    ]


def focus_findings(foci: Sequence[LocatedFocus]) -> tuple[Finding, ...]:
    """One finding for each focus."""
    findings = []
    for located in foci:
        focus, where = located.focus, located.whereabouts
        findings.append(
            Finding(
                key=_FINDING_KEYS[where.origin],
                concept=_CONCEPTS[where.origin],
                presence=presence_of(located),
                sentence=(
                    f"Focus {focus.name.removeprefix('focus-')}: {where.words}? {where.reason}; "
                    f"{planar_share_words(focus)}, "
                    f"{focus.significance_sigma:.0f} standard deviations above its surroundings"
                    f"{_nearness(focus)}."
                ),
                subject=focus.name,
                site=where.site,
                evidence=(
                    *(("extrahepatic_share",) if focus.share_fraction <= 1.0 else ()),
                    "extrahepatic_peak",
                    "extrahepatic_significance",
                ),
            )
        )
    return tuple(findings)


def _nearness(focus: PlanarFocus) -> str:
    if focus.clear_of_liver:
        return ""
    return ", beside the liver" if focus.stands_apart else ", not separable from the liver"


def corrections_sentence(pair: PlanarPair) -> str:
    """What was corrected before measuring, and what no header allows."""
    if not pair.corrections:
        return "Counts are as received: no energy window for scatter and no dead time is stated."
    scatter = any(words.startswith("scatter by") and "window" in words for words in pair.corrections)
    which = (
        " The windows correct the lung shunt before attenuation correction; the other one estimates scatter."
        if scatter
        else ""
    )
    return f"Corrected before measuring, not in the pictures: {'; '.join(pair.corrections)}.{which}"


def planar_limitations(reading: PlanarReading, thresholds: Thresholds) -> tuple[str, ...]:
    """What a reader of the planar result must know."""
    limitations = [PLANAR_SENSITIVITY, HIDDEN_BY_LIVER, *reading.pair.remarks, corrections_sentence(reading.pair)]
    if sides := laterals_sentence(reading.laterals, reading.foci):
        limitations.append(sides)
    if isinstance(reading.shunt, NoShunt):
        limitations.append(f"Lung shunt on planar views not assessable. {reading.shunt.reason}")
    elif limits := shunt_limits(reading, reading.shunt, thresholds):
        limitations.append(f"Lung shunt on planar views limited: {'; '.join(limits)}.")
    limitations += [
        f"Faint uptake on the planar views ({planar_share_words(item.focus)}; {item.whereabouts.reason}) lies where "
        "the CT shows a lobe of the liver next to without uptake, and the SPECT/CT shows nothing outside the liver "
        "there: it is taken for that lobe."
        for item in reading.in_faint_lobe
    ]
    if reading.colloid_supposed:
        limitations.append(
            f"{reading.colloid_left_reason[:1].upper()}{reading.colloid_left_reason[1:]}: uptake of spleen and marrow "
            "is indeterminate, and a lobe without perfusion would show what it holds of the colloid."
        )
    elif reading.colloid_given:
        limitations.append(
            "Colloid was given as well: its residue in liver, spleen and marrow is not subtracted"
            f"{f' ({reading.colloid_left_reason})' if reading.colloid_left_reason else ''}, so uptake of spleen and "
            "marrow is indeterminate, and a lobe without perfusion would show what it holds of the colloid."
        )
    limitations += _posture_limitations(reading)
    if not reading.passed(gates.LIVER_SIDE):
        limitations.append(
            "Most of the liver's counts lie on the left side: a left lobe alone, a mirrored body, or views whose names "
            "are exchanged."
        )
    sources = {view.direction_from for view in reading.pair.views} - {"view code"}
    if sources:
        limitations.append(f"The direction of the views is known from: {', '.join(sorted(sources))}.")
    return tuple(limitations)


def _posture_limitations(reading: PlanarReading) -> list[str]:
    """What motion makes doubtful, and what of it nothing could show."""
    said = []
    if not reading.passed(gates.ALIGNMENT):
        seen = next(gate.seen for gate in reading.gates if gate.name == gates.ALIGNMENT)
        said.append(
            f"The patient moved between the anterior and the posterior view ({seen}): "
            "what depends on both views is limited."
        )
    still = [gate for gate in reading.gates if gate.name == STILL]
    if still and not still[0].passed:
        said.append(f"The patient did not lie still ({still[0].seen}): outlines and faint foci may be blurred.")
    if not still:
        said.append("Motion during the exposure that both views show alike cannot be told from the views.")
    return said
