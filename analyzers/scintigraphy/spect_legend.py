"""The text beside the SPECT pictures: conclusion, what was corrected, numbers with units, foci as in the report."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from analyzers.contract import Assessed, Grade, Measurement
from analyzers.scintigraphy.spect_given import lesion_mark
from analyzers.scintigraphy.spect_names import CT_LIVER_SEGMENT, LIVER_SEGMENT, LOBE_SEGMENTS

_COLUMNS = 66
_BOLD_COLUMNS = 51
_MARKS = {"spect-focus": "F", "spect-physiologic": "P", "spect-device": "D"}
_MOST_FOCI = 8


def mark_of(name: str) -> str:
    """``F1`` for the segment ``spect-focus-1``, ``P1`` for physiologic uptake, ``D1`` for the device; else empty."""
    found = re.fullmatch(r"(spect-(?:focus|physiologic|device))-(\d+)", name)
    return f"{_MARKS[found.group(1)]}{found.group(2)}" if found else ""


def legend_lines(result: Assessed, *, fused: bool) -> list[tuple[str, bool]]:
    """Lines in order; true for those set in bold. A tab parts the name of a number from its value."""
    lines = [(text, True) for text in _wrapped(result.conclusion, _BOLD_COLUMNS)]
    lines += [("", False)]
    lines += [(text, False) for text in _numbers(result)]
    foci = [text for finding in result.findings if finding.subject for text in _focus(finding.subject, result)]
    if foci:
        lines += [("", False), ("Outside the liver, numbered as in the report", True)]
        lines += [(text, False) for text in foci]
    lines += [("", False), ("How to read it", True)]
    corrected = not any("not known to be corrected for attenuation" in text for text in result.limitations)
    first = "Corrected for attenuation" if corrected else "NOT known to be corrected for attenuation: no quantities"
    second = "planes fused with the CT, its liver outlined" if fused else "no CT used: the uptake itself is outlined"
    divided = {segment.name for segment in result.segments} >= set(LOBE_SEGMENTS.values())
    third = "; dashed the border between the lobes" if divided else ""
    outlined = any(lesion_mark(region.name) for region in result.regions)
    fourth = "; dotted, with T: lesions that others outlined" if outlined else ""
    lines += [(text, False) for text in _wrapped(f"{first}; {second}{third}{fourth}.")]
    notes = [text for text in result.limitations if not text.startswith("The SPECT is not known")]
    lines += [(text, False) for note in notes[:5] for text in _wrapped(note)]
    return lines


def _wrapped(text: str, columns: int = _COLUMNS) -> list[str]:
    return textwrap.wrap(text, columns) or [""]


def _numbers(result: Assessed) -> Iterable[str]:
    shunt = _one(result, "lung_shunt_fraction_spect", None)
    if shunt is not None:
        least = "at least " if shunt.remark.startswith("at least") else ""
        yield f"Lung shunt (SPECT/CT)\t{least}{100 * shunt.value:.1f} %{_range(shunt, 1)}"
    volume = _one(result, "liver_volume", CT_LIVER_SEGMENT)
    if volume is not None:
        yield f"Liver on the CT\t{volume.value:.0f} ml"
    perfused = _one(result, "perfused_volume", LIVER_SEGMENT)
    if perfused is not None:
        yield f"Perfused volume\t{perfused.value:.0f} ml"
    covered = [_one(result, f"liver_covered_share_{percent}", CT_LIVER_SEGMENT) for percent in (10, 20, 40)]
    if all(covered):
        shares = " / ".join(f"{100 * one.value:.0f}" for one in covered if one is not None)
        yield f"Covered at 10 / 20 / 40 %\t{shares} % of the liver"
    for side in ("right", "left"):
        yield from _lobe(result, side)
    shift = _one(result, "respiratory_shift", CT_LIVER_SEGMENT)
    if shift is not None:
        yield f"Uptake against CT\t{abs(shift.value):.0f} mm {'higher' if shift.value > 0 else 'lower'}"
    labels = {region.name: region.label for region in result.regions}
    for one in result.measurements:
        if one.key == "tumor_to_normal_ratio":
            limited = " (limited)" if one.grade is Grade.LIMITED else ""
            named = f"{lesion_mark(one.subject or '')} {labels.get(one.subject or '', 'lesion')}".strip()
            yield f"T/N, {named[:22]}\t{one.value:.1f}{limited}, outline given"
        if one.key == "hot_region_ratio":
            number = (one.subject or "").rsplit("-", maxsplit=1)[-1]
            yield f"Hot region {number} (own outline)\t{one.value:.1f} x liver"


def _lobe(result: Assessed, side: str) -> Iterable[str]:
    name = LOBE_SEGMENTS[side]
    share, volume, index = (
        _one(result, key, name) for key in ("lobe_activity_share", "lobe_volume", "lobe_perfusion_index")
    )
    if volume is None:
        return
    words = f"{side.capitalize()} lobe, {volume.value:.0f} ml"
    if share is None or index is None:
        yield words
        return
    yield f"{words}\t{100 * share.value:.0f} %{_range(share, 0)} of counts, index {index.value:.2f}"


def _range(share: Measurement, digits: int) -> str:
    """The interval of a share in percent, in brackets; empty without one."""
    if share.interval is None or share.interval.high is None:
        return ""
    return f" ({100 * share.interval.low:.{digits}f} to {100 * share.interval.high:.{digits}f})"


def _focus(name: str, result: Assessed) -> list[str]:
    mark = mark_of(name)
    if not mark or int(mark[1:]) > _MOST_FOCI:
        return []
    finding = next(one for one in result.findings if one.subject == name)
    label, rest = finding.sentence.split(": ", maxsplit=1)
    certain = " (stands apart)" if finding.presence == "present" else ""
    del label
    first, *others = textwrap.wrap(f"{mark}{certain} {rest}", _COLUMNS)
    return [first, *(f"     {text}" for text in others)]


def _one(result: Assessed, key: str, subject: str | None) -> Measurement | None:
    return next((one for one in result.measurements if one.key == key and one.subject == subject), None)
