"""The measurements of a SPECT reading, each with method, interval, grade and what makes it doubtful."""

from __future__ import annotations

from analyzers import vocabulary
from analyzers.contract import Grade, Interval, Measurement
from analyzers.measuring import measurement
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_foci import SpectFocus
from analyzers.scintigraphy.spect_names import CT_LIVER_SEGMENT, LIVER_SEGMENT, LOBE_SEGMENTS
from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.spect_perfusion import Lobe, Perfusion
from analyzers.scintigraphy.tumor_ratio import TumorRatio

_FISSURE = "Plane from caval foramen, moved to a step of uptake"
_SPLIT = "Blur corrected at the plane between the lobes (GTM)"
_PERCENTS = (10, 20, 40)


def spect_measurements(reading: SpectReading) -> tuple[Measurement, ...]:
    """Every number that the reading allows."""
    corrected = reading.attenuation_corrected
    remark = "" if corrected else "not corrected for attenuation: depth changes the counts"
    grade = Grade.GOOD if corrected else Grade.LIMITED
    numbers = [
        measurement(
            "liver_activity_share",
            reading.liver_share_fraction,
            LIVER_SEGMENT,
            method="Counts in the outline relative to the volume",
            grade=grade,
            remark=remark,
        ),
        measurement(
            "extrahepatic_focus_count_spect",
            float(len(reading.foci)),
            None,
            method=f"Peaks outside the liver, {reading.seen_on}",
            grade=grade,
            remark=remark,
        ),
    ]
    numbers += _uptake_volume(reading)
    if reading.organs is not None:
        numbers += _organ_numbers(reading.organs)
    if reading.perfusion is not None:
        numbers += _perfusion_numbers(reading.perfusion)
    numbers += [number for ratio in reading.ratios for number in _ratio_numbers(ratio)]
    for focus in (*reading.foci, *reading.physiologic, *reading.device):
        numbers += _focus_numbers(focus, reading.seen_on, grade, remark)
    return tuple(numbers)


def _uptake_volume(reading: SpectReading) -> list[Measurement]:
    if reading.perfusion is not None:
        return [
            measurement(
                "perfused_volume",
                reading.perfusion.perfused_ml,
                LIVER_SEGMENT,
                method="CT liver above 20 % of the 95th percentile",
                remark="blur moves its border by up to one centimeter",
                grade=Grade.LIMITED,
            )
        ]
    return [
        measurement(
            "perfused_volume",
            reading.liver_ml,
            LIVER_SEGMENT,
            method="Level at 40 % of the median inside",
            grade=Grade.LIMITED,
            remark="outlined by activity alone: breathing and blur widen it, parts without uptake are left out",
        )
    ]


def _organ_numbers(organs: CtOrgans) -> list[Measurement]:
    return [
        measurement(
            "liver_volume",
            organs.liver_ml,
            CT_LIVER_SEGMENT,
            method="Voxel sum, random walker on low-dose CT",
            grade=Grade.LIMITED,
            remark="without contrast the borders to stomach, heart and muscle are weak",
        ),
        measurement(
            "respiratory_shift",
            organs.shift_up_mm,
            CT_LIVER_SEGMENT,
            method="Shift of CT liver onto the uptake, along the body",
            uncertainty=4.0,
            remark="positive: the uptake lies nearer to the head than the liver of the CT",
        ),
    ]


def _perfusion_numbers(perfusion: Perfusion) -> list[Measurement]:
    numbers = []
    for percent, share in zip(_PERCENTS, perfusion.covered_fractions, strict=True):
        numbers.append(
            measurement(
                f"liver_covered_share_{percent}",
                share,
                CT_LIVER_SEGMENT,
                method=f"CT liver above {percent} % of the 95th percentile",
            )
        )
    for lobe in (perfusion.right, perfusion.left):
        if not lobe.is_resected:
            numbers += _lobe_numbers(lobe, split=not perfusion.resected_lobe)
    shunt = perfusion.shunt
    if shunt is not None:
        filled = f"{100 * shunt.filled_fraction:.0f} % of the lungs lie too near to the liver and were filled"
        numbers.append(
            measurement(
                "lung_shunt_fraction_spect",
                shunt.fraction,
                None,
                uncertainty=Interval(
                    low=max(0.0, shunt.fraction - shunt.error),
                    high=None if shunt.at_least else min(1.0, shunt.fraction + shunt.error),
                ),
                method="Counts of CT lungs over lungs and liver, SPECT/CT",
                site=vocabulary.LUNG,
                grade=Grade.LIMITED if shunt.at_least else Grade.GOOD,
                remark=f"at least: the lungs go on above the field; {filled}" if shunt.at_least else filled,
            )
        )
    return numbers


def _lobe_numbers(lobe: Lobe, *, split: bool) -> list[Measurement]:
    name = LOBE_SEGMENTS[lobe.side]
    remark = "the lobes are divided by rule or by a step of uptake, not by vessels; growth of a lobe breaks the rule"
    numbers = [measurement("lobe_volume", lobe.volume_ml, name, method=_FISSURE, grade=Grade.LIMITED, remark=remark)]
    if not split:
        return numbers
    numbers += [
        measurement(
            "lobe_activity_share",
            lobe.activity_fraction,
            name,
            uncertainty=lobe.activity_error,
            method=_SPLIT,
            grade=Grade.LIMITED,
            remark=f"{remark}; the interval moves the plane",
        ),
        measurement(
            "lobe_perfusion_index",
            lobe.perfusion_index,
            name,
            method="Share of activity by share of volume",
            grade=Grade.LIMITED,
            remark=remark,
        ),
    ]
    numbers += [
        measurement(
            f"lobe_covered_share_{percent}",
            share,
            name,
            method=f"Lobe above {percent} % of the liver's 95th percentile",
            grade=Grade.LIMITED,
            remark=remark,
        )
        for percent, share in zip(_PERCENTS, lobe.covered_fractions, strict=True)
    ]
    return numbers


def _ratio_numbers(ratio: TumorRatio) -> list[Measurement]:
    if ratio.given:
        told = "; ".join((f"{ratio.label}, {ratio.volume_ml:.0f} mL", ratio.origin, *ratio.cautions))
        grade = Grade.LIMITED if ratio.cautions else Grade.GOOD
        return [
            measurement(
                "tumor_to_normal_ratio",
                ratio.ratio,
                ratio.name,
                method="Mean on given mask over mean of liver without lesions",
                site=vocabulary.LIVER,
                grade=grade,
                remark=told,
            ),
            measurement("lesion_volume", ratio.volume_ml, ratio.name, method="Voxel sum of the given mask"),
        ]
    remark = "outlined by its own uptake, not by a reader or on CT: a hot region, not a tumor"
    return [
        measurement(
            "hot_region_ratio",
            ratio.ratio,
            ratio.name,
            method="Mean above half the peak over median of perfused liver",
            grade=Grade.LIMITED,
            remark=remark,
        ),
        measurement(
            "hot_region_volume",
            ratio.volume_ml,
            ratio.name,
            method="SPECT, half of the peak",
            grade=Grade.LIMITED,
            remark=remark,
        ),
    ]


def _focus_numbers(focus: SpectFocus, seen_on: str, grade: Grade, remark: str) -> list[Measurement]:
    wording = (
        ("extrahepatic_share", focus.share_fraction, f"{seen_on}, relative to liver"),
        ("extrahepatic_peak", focus.peak_fraction, f"{seen_on}, peak over liver mean"),
        ("extrahepatic_significance", focus.significance_sigma, f"{seen_on}, over surroundings"),
        ("extrahepatic_volume", focus.volume_ml, f"{seen_on}, half of the peak"),
    )
    return [
        measurement(key, value, focus.name, method=method, grade=grade, remark=remark) for key, value, method in wording
    ]
