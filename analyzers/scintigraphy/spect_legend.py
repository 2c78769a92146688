"""The text beside the SPECT pictures: conclusion, what was corrected, numbers with units, foci as in the report."""

from __future__ import annotations

import re
from collections.abc import Iterable

from analyzers.contract import Assessed, Grade, Measurement, Region
from analyzers.scintigraphy.pages import wrapped
from analyzers.scintigraphy.spect_given import lesion_mark
from analyzers.scintigraphy.spect_names import CT_LIVER_SEGMENT, LIVER_SEGMENT, LOBE_SEGMENTS

_COLUMNS = 66
_BOLD_COLUMNS = 51
_MARKS = {"spect-focus": "F", "spect-physiologic": "P", "spect-device": "D"}
_INDENT = "     "
_MOST_FOCI = 8
_MOST_NOTES = 6
_NOT_CORRECTED = "The SPECT is not known"
_WITH_INTERVAL = ("lung_shunt_fraction_spect", "lobe_activity_share")


def mark_of(name: str) -> str:
    """``F1`` for the segment ``spect-focus-1``, ``P1`` for physiologic uptake, ``D1`` for the device; else empty."""
    found = re.fullmatch(r"(spect-(?:focus|physiologic|device))-(\d+)", name)
    return f"{_MARKS[found.group(1)]}{found.group(2)}" if found else ""


def hot_mark_of(name: str) -> str:
    """``H1`` for the segment ``hot-region-1``; else empty."""
    found = re.fullmatch(r"hot-region-(\d+)", name)
    return f"H{found.group(1)}" if found else ""


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
    lines += [(text, False) for text in _wrapped(_drawn(result, fused=fused))]
    notes = [text for text in result.limitations if not text.startswith(_NOT_CORRECTED)]
    lines += [(text, False) for note in notes[:_MOST_NOTES] for text in _wrapped(note)]
    if len(notes) > _MOST_NOTES:
        lines.append(("... more in the report", False))
    return lines


def _drawn(result: Assessed, *, fused: bool) -> str:
    """What the pictures are, what is not measured on them and why, and what the numbers mean."""
    unmeasured = "no lung shunt, lobar split or coverage from it"
    corrected = not any(text.startswith(_NOT_CORRECTED) for text in result.limitations)
    if corrected:
        first = f"Corrected for attenuation{'' if fused else f'; {unmeasured}, for these need a CT'}"
    else:
        first = (
            "NOT known to be corrected for attenuation, without which counts fall with depth: "
            f"{unmeasured}, and shares of foci are approximate"
        )
    second = "planes fused with the CT, its liver outlined" if fused else "no CT used: the uptake itself is outlined"
    names = {segment.name for segment in result.segments}
    third = "; dashed the border between the lobes" if names >= set(LOBE_SEGMENTS.values()) else ""
    fourth = "; dotted, with T: lesions that others outlined" if any(map(_is_lesion, result.regions)) else ""
    brackets = " In brackets: 95 % interval." if any(_one_key(result, key) for key in _WITH_INTERVAL) else ""
    index = " Index: share of counts by share of volume." if _one_key(result, "lobe_perfusion_index") else ""
    return f"{first}; {second}{third}{fourth}.{brackets}{index}"


def _is_lesion(region: Region) -> bool:
    return bool(lesion_mark(region.name))


def _wrapped(text: str, columns: int = _COLUMNS) -> list[str]:
    return wrapped(text, columns) or [""]


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
        yield f"Perfused volume\t{perfused.value:.0f} ml{'' if volume is not None else ' (by its own uptake)'}"
    covered = [_one(result, f"liver_covered_share_{percent}", CT_LIVER_SEGMENT) for percent in (10, 20, 40)]
    if all(covered):
        shares = " / ".join(f"{100 * one.value:.0f}" for one in covered if one is not None)
        yield f"Covered > 10 / 20 / 40 %\t{shares} % of the liver"
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
            yield f"H{number} hot, own outline\t{one.value:.1f} x the rest of the liver"


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
    """The interval of a share in percent, in brackets, perhaps without an upper end; empty without one."""
    if share.interval is None:
        return ""
    if share.interval.high is None:
        return f" (from {100 * share.interval.low:.{digits}f})"
    return f" ({100 * share.interval.low:.{digits}f} to {100 * share.interval.high:.{digits}f})"


def _focus(name: str, result: Assessed) -> list[str]:
    mark = mark_of(name)
    if not mark or int(mark[1:]) > _MOST_FOCI:
        return []
    finding = next(one for one in result.findings if one.subject == name)
    _, rest = finding.sentence.split(": ", maxsplit=1)
    certain = " (stands apart)" if finding.presence == "present" else ""
    first, *others = wrapped(f"{mark}{certain} {rest}", _COLUMNS - len(_INDENT))
    return [first, *(f"{_INDENT}{text}" for text in others)]


def _one_key(result: Assessed, key: str) -> bool:
    return any(one.key == key for one in result.measurements)


def _one(result: Assessed, key: str, subject: str | None) -> Measurement | None:
    return next((one for one in result.measurements if one.key == key and one.subject == subject), None)
