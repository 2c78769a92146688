"""The answer in sentences: what the text report and the summary page say, in the order in which it is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from highdicom.sr import CodedConcept

from analyzers.contract import (
    AnalysisResult,
    Assessed,
    Code,
    Declined,
    Finding,
    Gate,
    Grade,
    Interval,
    Measurement,
    NotAssessable,
    Presence,
    SeriesRole,
)
from scp_node.objects import codes
from scp_node.objects.modules import Setting
from scp_node.objects.plain_text import plain

_PRESENCE_WORDS = {
    Presence.PRESENT: "present",
    Presence.ABSENT: "not detected",
    Presence.INDETERMINATE: "indeterminate",
}
_RATIO_UNITS = frozenset({"{ratio}", "1"})
_UNIT_WORDS = {"[hnsf'U]": "HU", "{ratio}": "", "1": "", "{counts}": "counts", "cm3": "mL", "deg": "degrees"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading with its lines; ``item`` is the concept of each line."""

    heading: CodedConcept
    item: CodedConcept
    lines: tuple[str, ...]


def sections_of(result: AnalysisResult | None, setting: Setting, remarks: Iterable[str] = ()) -> tuple[Section, ...]:
    """Sections of the report; empty ones are left out.

    Parameters
    ----------
    result : AnalysisResult or None
        ``None`` for a technical failure; the order then says why.
    setting : Setting
        Order, study and provenance.
    remarks : sentences
        What the encoding itself could not do.
    """
    further = (
        *(f"Missing when the study was analysed: {what}" for what in setting.order.missing),
        *(f"Threshold set by this site: {threshold}" for threshold in setting.site_thresholds),
        *remarks,
    )
    match result:
        case None:
            body = _failure(setting, further)
        case Assessed():
            body = _assessed(result, setting, further)
        case NotAssessable():
            body = _not_assessable(result, setting, further)
        case Declined():
            body = _declined(result, further)
        case _:
            assert_never(result)
    notice = plain(f"AUTOMATED, UNVERIFIED. Made by software and not reviewed by a person. {setting.order.notice}")
    status = _section(codes.NOTICES, codes.NOTICE, [notice])
    origin = _section(codes.PROVENANCE, codes.ORIGIN, _origin(setting))
    return tuple(section for section in (status, *body, origin) if section.lines)


def number_text(value: float, significant_digits: int = 4) -> str:
    """Number rounded to some significant digits (never before the point), without exponent."""
    if value == 0.0 or not math.isfinite(value):
        return "0" if value == 0.0 else str(value)
    digits = max(0, significant_digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 8)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def measurement_line(measurement: Measurement, subject_label: str, source: str = "") -> str:
    """One measurement as a line: where, what, how much, how sure, how.

    ``source`` tells apart what is measured several times, e.g. on two views.
    """
    where = [subject_label] if subject_label else []
    if measurement.site and measurement.site.meaning.lower() not in subject_label.lower():
        where.append(_located(measurement.site, measurement.laterality))
    what = measurement.concept.meaning
    if measurement.derivation:
        what += f" ({measurement.derivation.meaning.lower()})"
    if source:
        what += f" [{source}]"
    line = f"{', '.join(where)}: {what} " if where else f"{what} "
    line += quantity_text(measurement)
    if measurement.interval is not None:
        line += f" ({_interval_text(measurement, measurement.interval)})"
    if measurement.method:
        line += f"; {measurement.method}"
    if measurement.grade is Grade.LIMITED:
        line += "; LIMITED reliability"
    if measurement.remark:
        line += f": {measurement.remark}" if measurement.grade is Grade.LIMITED else f"; {measurement.remark}"
    return plain(line)


def quantity_text(measurement: Measurement) -> str:
    """Value and unit; a fraction also as a percentage, because that is how it is spoken of."""
    unit = _UNIT_WORDS.get(measurement.unit.value, measurement.unit.value)
    if _is_share(measurement):
        return f"= {number_text(measurement.value, 3)} ({number_text(100.0 * measurement.value, 3)} %)"
    return f"= {number_text(measurement.value)} {unit}".rstrip()


def _interval_text(measurement: Measurement, interval: Interval) -> str:
    """Interval in the unit that the value is spoken of in."""
    scale, unit, digits = (100.0, " %", 3) if _is_share(measurement) else (1.0, "", 4)
    low = number_text(scale * interval.low, digits)
    if interval.high is None:
        return f"95 % interval from {low}{unit}, no upper limit"
    return f"95 % interval {low} to {number_text(scale * interval.high, digits)}{unit}"


def _is_share(measurement: Measurement) -> bool:
    """Whether a ratio is a part of a whole, which is spoken of in percent."""
    return measurement.unit.value in _RATIO_UNITS and ("fraction" in measurement.key or "share" in measurement.key)


def finding_line(finding: Finding) -> str:
    """One finding as a line: the question, its answer, the sentence."""
    question = finding.concept.meaning
    if finding.site:
        question += f" ({_located(finding.site, finding.laterality)})"
    answer = _PRESENCE_WORDS[finding.presence]
    if finding.value and finding.presence is not Presence.ABSENT:
        answer = finding.value.meaning
        if finding.presence is Presence.INDETERMINATE and not finding.undecided:
            answer = f"indeterminate, possibly {answer}"
    return plain(f"{question}: {answer}. {finding.sentence}")


def _assessed(result: Assessed, setting: Setting, further: tuple[str, ...]) -> list[Section]:
    labels: dict[str, str] = {segment.name: segment.label for segment in result.segments}
    labels |= {region.name: region.label for region in result.regions}
    names = Counter((each.key, each.subject, each.site) for each in result.measurements)
    measured = [
        measurement_line(
            each,
            labels.get(each.subject or "", ""),
            _source(each, setting) if names[each.key, each.subject, each.site] > 1 else "",
        )
        for each in result.measurements
    ]
    return [
        _section(codes.CONCLUSIONS, codes.CONCLUSION, [result.conclusion]),
        _section(codes.FINDINGS, codes.FINDING, map(finding_line, result.findings)),
        _section(codes.MEASUREMENTS, codes.MEASUREMENT, measured),
        _limitations((*result.limitations, *further)),
        _quality(result.gates),
        _series(result.roles, setting),
    ]


def _not_assessable(result: NotAssessable, setting: Setting, further: tuple[str, ...]) -> list[Section]:
    return [
        _section(codes.CONCLUSIONS, codes.CONCLUSION, [f"NOT ASSESSABLE. {' '.join(map(_sentence, result.reasons))}"]),
        _section(
            codes.RECOMMENDATIONS,
            codes.RECOMMENDATION,
            [
                "Read the images as usual. If a series is missing or can be reconstructed differently, send it: the "
                "study is then analysed again and this report replaced."
            ],
        ),
        _limitations(further),
        _quality(result.gates),
        _series(result.roles, setting),
    ]


def _declined(result: Declined, further: tuple[str, ...]) -> list[Section]:
    return [
        _section(codes.CONCLUSIONS, codes.CONCLUSION, [f"NOT ANALYSED. {_sentence(result.reason)}"]),
        _section(
            codes.RECOMMENDATIONS,
            codes.RECOMMENDATION,
            ["Read the images as usual. If the study was sent to this analysis by mistake, nothing needs to be done."],
        ),
        _limitations(further),
    ]


def _failure(setting: Setting, further: tuple[str, ...]) -> list[Section]:
    received = "" if setting.order.missing else "The images were received completely; "
    operator = f"{'the' if received else 'The'} operator of this node can repeat it."
    return [
        _section(
            codes.CONCLUSIONS,
            codes.CONCLUSION,
            [f"COULD NOT BE ANALYSED (technical). {_sentence(_capital(setting.order.failure or ''))}"],
        ),
        _section(
            codes.RECOMMENDATIONS,
            codes.RECOMMENDATION,
            [f"Read the images as usual. {received}{operator}"],
        ),
        _limitations(further),
    ]


def _quality(gates: Iterable[Gate]) -> Section:
    ordered = sorted(gates, key=lambda gate: gate.passed)
    lines = [
        f"{gate.name}: {'passed' if gate.passed else 'NOT PASSED'}; seen {gate.seen}; wanted {gate.wanted}"
        for gate in ordered
    ]
    return _section(codes.QUALITY_CHECKS, codes.QUALITY_CHECK, lines)


def _limitations(sentences: Iterable[str]) -> Section:
    return _section(codes.LIMITATIONS, codes.LIMITATION, sentences)


def _series(roles: Iterable[SeriesRole], setting: Setting) -> Section:
    lines = []
    for role in roles:
        images = setting.study.of_series(role.series_instance_uid)
        name = role.series_instance_uid
        if images:
            header = images[0].summary
            name = f"{header.text('SeriesNumber')} ({header.text('SeriesDescription') or 'no description'})"
        use = f"read as {role.role}" if role.role else "not used"
        lines.append(f"Series {name}: {use}; {role.reason}")
    return _section(codes.SERIES_USED, codes.SERIES_USE, lines)


def _origin(setting: Setting) -> list[str]:
    order, provenance = setting.order, setting.provenance
    lines = [
        f"Analyzer {order.analyzer_name} {order.analyzer_version}, software {provenance.model_name} "
        f"{provenance.software_version}, serial number {provenance.device_serial_number}",
        f"Revision {order.revision}, analysis begun {setting.moment.strftime('%Y-%m-%d %H:%M:%S %z')}",
        f"Device UID {provenance.device_uid}",
        f"Inputs {order.input_digest[:16]}, settings {order.settings_digest[:16]}",
    ]
    if order.revision > 1:
        lines.append(f"Replaces the report of revision {order.revision - 1}")
    return lines


def _source(measurement: Measurement, setting: Setting) -> str:
    """Series and plane that a measurement was taken from, where it names exactly one."""
    image = setting.study.image(measurement.sources[0]) if len(measurement.sources) == 1 else None
    if image is None:
        return ""
    frame = measurement.sources[0].frame
    plane = f"frame {frame}" if frame else f"image {image.summary.text('InstanceNumber')}"
    return f"series {image.summary.text('SeriesNumber')}, {plane}"


def _located(site: Code, laterality: Code | None) -> str:
    return f"{laterality.meaning.lower()} {site.meaning.lower()}" if laterality else site.meaning


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    stripped = text.strip()
    return stripped if not stripped or stripped[-1] in ".!?" else f"{stripped}."


def _section(heading: CodedConcept, item: CodedConcept, lines: Iterable[str]) -> Section:
    return Section(heading=heading, item=item, lines=tuple(text for line in lines if (text := plain(line))))
