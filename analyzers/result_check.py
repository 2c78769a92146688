"""Whether a result keeps the contract, before it crosses the wall.

The encoder trusts what it reads: a name that is not a file name, a label that a DICOM attribute cannot hold or a mask
that does not match its planes would become a wrong object, so the analyzer's author is told here, by the path of
the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from analyzers.contract import (
    AnalysisResult,
    Assessed,
    Code,
    Declined,
    Finding,
    Interval,
    Measurement,
    NotAssessable,
    Outline,
    Picture,
    Presence,
    Region,
    Segment,
)
from analyzers.json_values import ContractBrokenError

LONGEST_LABEL = 64
"""Characters of a label, a method or a code meaning (VR LO)."""

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
KEY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def check_result(result: AnalysisResult) -> None:
    """Check one result.

    Raises
    ------
    ContractBrokenError
        At the first field that breaks the contract, with its path.
    """
    match result:
        case Assessed():
            _check_assessed(result)
        case NotAssessable(reasons=reasons):
            if not reasons:
                raise ContractBrokenError("reasons: a study that is not assessable needs a reason")
            _check_each("reasons", reasons, _check_ascii)
        case Declined(reason=reason):
            if not reason:
                raise ContractBrokenError("reason: declining needs a reason")
            _check_ascii("reason", reason)


def check_pictures(pictures: Sequence[Picture]) -> None:
    """Check the pages of a montage.

    Raises
    ------
    ContractBrokenError
        If a name is no file name or used twice, or an array is not (rows, columns, 3) uint8.
    """
    _check_names("pictures", [picture.name for picture in pictures])
    for index, picture in enumerate(pictures):
        if picture.rgb.dtype != np.uint8 or picture.rgb.ndim != 3 or picture.rgb.shape[2] != 3:
            raise ContractBrokenError(f"pictures[{index}].rgb: expected (rows, columns, 3) uint8")


def _check_assessed(result: Assessed) -> None:
    _check_ascii("conclusion", result.conclusion)
    _check_names("segments", [segment.name for segment in result.segments])
    _check_names("regions", [region.name for region in result.regions])
    _check_each("segments", result.segments, _check_segment)
    _check_each("regions", result.regions, _check_region)
    _check_each("measurements", result.measurements, _check_measurement)
    _check_each("findings", result.findings, _check_finding)
    _check_each("limitations", result.limitations, _check_ascii)
    subjects = {segment.name for segment in result.segments} | {region.name for region in result.regions}
    for group in ("measurements", "findings"):
        for index, item in enumerate(getattr(result, group)):
            if item.subject is not None and item.subject not in subjects:
                raise ContractBrokenError(f"{group}[{index}].subject: no segment or region is called {item.subject!r}")
    keys = {measurement.key for measurement in result.measurements}
    for index, finding in enumerate(result.findings):
        for key in finding.evidence:
            if key not in keys:
                raise ContractBrokenError(f"findings[{index}].evidence: no measurement has the key {key!r}")


def _check_segment(where: str, segment: Segment) -> None:
    _check_label(f"{where}.label", segment.label)
    _check_codes(where, segment.category, segment.type, segment.site, segment.laterality)
    _check_rgb(where, segment.rgb)
    mask = segment.mask_planes
    if mask.dtype != np.bool_ or mask.ndim != 3:
        raise ContractBrokenError(f"{where}.mask_planes: expected bool of shape (n, rows, columns)")
    if len(mask) != len(segment.planes):
        raise ContractBrokenError(
            f"{where}.planes: {len(segment.planes)} planes named for a mask of {len(mask)} planes"
        )
    if len(set(segment.planes)) != len(segment.planes):
        raise ContractBrokenError(f"{where}.planes: a source plane is named twice")


def _check_region(where: str, region: Region) -> None:
    _check_label(f"{where}.label", region.label)
    _check_codes(where, region.type, region.site, region.laterality)
    _check_rgb(where, region.rgb)
    _check_each(f"{where}.outlines", region.outlines, _check_outline)
    if region.segment is not None and region.segment.number < 1:
        raise ContractBrokenError(f"{where}.segment.number: segments are counted from 1")


def _check_measurement(where: str, measurement: Measurement) -> None:
    if not KEY.fullmatch(measurement.key):
        raise ContractBrokenError(f"{where}.key: {measurement.key!r} is not snake_case")
    if not np.isfinite(measurement.value):
        raise ContractBrokenError(f"{where}.value: {measurement.value} is not a finite number")
    interval = measurement.interval
    if interval is not None and not _holds(interval, measurement.value):
        raise ContractBrokenError(f"{where}.interval: {interval} does not hold the value {measurement.value}")
    if measurement.unit.scheme != "UCUM":
        raise ContractBrokenError(f"{where}.unit: expected UCUM, found {measurement.unit.scheme}")
    if len(measurement.method) > LONGEST_LABEL:
        raise ContractBrokenError(f"{where}.method: longer than {LONGEST_LABEL} characters")
    _check_ascii(f"{where}.method", measurement.method)
    _check_ascii(f"{where}.remark", measurement.remark)
    _check_codes(
        where,
        measurement.concept,
        measurement.unit,
        measurement.derivation,
        measurement.site,
        measurement.laterality,
    )
    _check_each(f"{where}.lines", measurement.lines, _check_outline)


def _holds(interval: Interval, value: float) -> bool:
    """Whether a value lies in an interval of finite numbers."""
    high = value if interval.high is None else interval.high
    return bool(np.isfinite([interval.low, high]).all()) and interval.low <= value <= high


def _check_finding(where: str, finding: Finding) -> None:
    if not KEY.fullmatch(finding.key):
        raise ContractBrokenError(f"{where}.key: {finding.key!r} is not snake_case")
    _check_ascii(f"{where}.sentence", finding.sentence)
    _check_codes(where, finding.concept, finding.site, finding.laterality, finding.value)
    if finding.undecided and (finding.value is None or finding.presence is not Presence.INDETERMINATE):
        raise ContractBrokenError(f"{where}.undecided: only the value of an indeterminate finding says so")
    _check_each(f"{where}.outlines", finding.outlines, _check_outline)


def _check_outline(where: str, outline: Outline) -> None:
    least = 3 if outline.closed else 2
    if len(outline.points_col_row) < least:
        raise ContractBrokenError(f"{where}.points_col_row: fewer than {least} points")
    if not np.all(np.isfinite(outline.points_col_row)):
        raise ContractBrokenError(f"{where}.points_col_row: a coordinate is not finite")


def _check_names(where: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if not NAME.fullmatch(name):
            raise ContractBrokenError(f"{where}[{index}].name: {name!r} is not lower-case with hyphens")
        if name in names[:index]:
            raise ContractBrokenError(f"{where}[{index}].name: {name!r} is used twice")


def _check_each(where: str, items: Iterable[object], check: Callable[[str, Any], None]) -> None:
    for index, item in enumerate(items):
        check(f"{where}[{index}]", item)


def _check_label(where: str, label: str) -> None:
    if not label or len(label) > LONGEST_LABEL:
        raise ContractBrokenError(f"{where}: expected 1 to {LONGEST_LABEL} characters")
    _check_ascii(where, label)


def _check_ascii(where: str, text: str) -> None:
    if not text.isascii():
        raise ContractBrokenError(f"{where}: {text!r} is not plain ASCII")


def _check_codes(where: str, *codes: Code | None) -> None:
    for code in codes:
        if code is not None and not (code.value and code.scheme and 0 < len(code.meaning) <= LONGEST_LABEL):
            raise ContractBrokenError(
                f"{where}: code {code} needs a value, a scheme and a meaning of at most {LONGEST_LABEL} characters"
            )


def _check_rgb(where: str, rgb: tuple[int, int, int]) -> None:
    if any(not 0 <= part <= 255 for part in rgb):
        raise ContractBrokenError(f"{where}.rgb: expected three numbers from 0 to 255, found {rgb}")
