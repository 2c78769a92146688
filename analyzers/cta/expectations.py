"""What the headers of a study tell: which series can be read, as which phase, and whether all has arrived."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from analyzers.contract import (
    Accept,
    Acceptance,
    Complete,
    Decline,
    Expectation,
    InstanceSummary,
    Missing,
    SeriesRole,
    SeriesSummary,
    StudySummary,
)
from analyzers.cta.phase import Phase, phase_in_words
from analyzers.cta.thresholds import DEFAULT, CtaThresholds, SeriesThresholds

CT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.2.2",
    }
)
"""CT Image Storage, Enhanced CT Image Storage, Legacy Converted Enhanced CT Image Storage (PS3.4 B.5)."""

_NO_AXIAL_SCAN = frozenset({"LOCALIZER", "SCOUT", "MIP", "MINIP", "CPR", "VRT", "SCREEN SAVE", "DOSE_INFO"})
"""Values of Image Type that say a picture does not hold the attenuation of planes of its own."""
_PICTURE_WORDS = re.compile(
    r"(?<![a-z])(?:scout|topogram\w*|locali[sz]er\w*|surview|mip|minip|vrt|dose|dosis|smart ?prep|premonitoring|"
    r"monitoring|screen ?save)(?![a-z])",
    re.IGNORECASE,
)
"""Words for scouts, projections and bolus tracking. Reformats are told by their orientation: an axial one is read if
there is nothing better."""
_SHARP_KERNEL = re.compile(
    r"^(?:B[rlf]?[67]\d|B[567]\d|Br6\d|H[67]\d|BONE|BONEPLUS|LUNG|EDGE|DETAIL|YC|YD|D|FC5\d|FC8\d|FC3\d)", re.IGNORECASE
)
"""Kernels for bone and lung by the names of four makers; they double the noise of soft tissue."""
_PHASE_ROLES = {
    Phase.ARTERIAL: "arterial",
    Phase.PORTAL: "portal",
    Phase.NATIVE: "native",
    Phase.DELAYED: "delayed",
    Phase.UNKNOWN: "unnamed-phase",
}
READ_ROLES = tuple(_PHASE_ROLES.values())
_MOST_UNNAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    series: SeriesSummary
    phase: Phase
    rank: tuple[bool, bool, float, int]
    """Sorts the better series first: original, soft kernel, thin, many planes."""


def expects(summary: StudySummary, thresholds: CtaThresholds = DEFAULT) -> Expectation:
    """Complete when there is an axial CT series and no series of the study lacks a plane between its ends."""
    candidates, _ = _candidates(summary, thresholds.series)
    if not candidates:
        return Missing(what=("an axial CT series that shows the liver",))
    gaps = [
        f"series {_name(candidate.series)}: {missing}"
        for candidate in candidates
        if (missing := _missing_planes(candidate.series))
    ]
    if gaps:
        return Missing(what=tuple(gaps))
    return Complete(reason=f"{len(candidates)} axial CT series without a gap")


def accepts(summary: StudySummary, thresholds: CtaThresholds = DEFAULT) -> Acceptance:
    """Name the best series of each phase."""
    candidates, _ = _candidates(summary, thresholds.series)
    if "CT" not in summary.modalities:
        return Decline(reason="no CT in the study")
    if not candidates:
        return Decline(reason="no axial CT series: only scouts, reformats, single images or dose pictures")
    chosen = _chosen(candidates)
    roles = {candidate.series.series_instance_uid: _PHASE_ROLES[candidate.phase] for candidate in chosen}
    named = ", ".join(sorted(set(roles.values())))
    expectation = expects(summary, thresholds)
    missing = expectation.what if isinstance(expectation, Missing) else ()
    return Accept(
        reason=f"{len(chosen)} of {len(summary.series)} series to read ({named})", roles=roles, missing=missing
    )


def series_roles(summary: StudySummary, thresholds: CtaThresholds = DEFAULT) -> tuple[SeriesRole, ...]:
    """Every series of the study with the role that it got by its headers, or why it was left unread."""
    candidates, unread = _candidates(summary, thresholds.series)
    chosen = {candidate.series.series_instance_uid for candidate in _chosen(candidates)}
    roles = []
    for candidate in candidates:
        uid = candidate.series.series_instance_uid
        if uid in chosen:
            header = (
                "header names no phase" if candidate.phase is Phase.UNKNOWN else f"header says {candidate.phase.value}"
            )
            roles.append(SeriesRole(series_instance_uid=uid, role=_PHASE_ROLES[candidate.phase], reason=header))
        else:
            roles.append(
                SeriesRole(series_instance_uid=uid, role="", reason="a better series of the same phase is read")
            )
    roles += [SeriesRole(series_instance_uid=uid, role="", reason=reason) for uid, reason in unread.items()]
    return tuple(sorted(roles, key=lambda role: role.series_instance_uid))


def _candidates(summary: StudySummary, thresholds: SeriesThresholds) -> tuple[list[_Candidate], dict[str, str]]:
    found, unread = [], {}
    for series in summary.series:
        reason = _why_unread(series, thresholds)
        if reason:
            unread[series.series_instance_uid] = reason
        else:
            found.append(_candidate(series))
    return found, unread


def _why_unread(series: SeriesSummary, thresholds: SeriesThresholds) -> str:
    if series.modality != "CT" or series.first.sop_class_uid not in CT_CLASSES:
        return "no CT images"
    axial = [instance for instance in series.instances if not _image_types(instance) & _NO_AXIAL_SCAN]
    if not axial:
        return "scout or projection by its Image Type"
    frames = sum(max(1, len(instance.frames)) for instance in axial)
    if frames < thresholds.fewest_images:
        return f"only {frames} images"
    if _PICTURE_WORDS.search(series.description.replace("_", " ")):
        return "scout, projection or monitoring by its description"
    steepness_deg = _steepness_deg(axial)
    if steepness_deg is None:
        return "no plane orientation in the headers"
    if steepness_deg > thresholds.steepest_slice_normal_deg:
        return "not axial"
    thickness_mm = _thickness_mm(axial)
    if thickness_mm is not None and thickness_mm > thresholds.thickest_slice_mm:
        return f"slices of {thickness_mm:.0f} mm"
    return ""


def _candidate(series: SeriesSummary) -> _Candidate:
    axial = [instance for instance in series.instances if not _image_types(instance) & _NO_AXIAL_SCAN]
    first = axial[0]
    words = " ".join([series.description, first.text("ProtocolName"), first.text("ContrastBolusAgentPhase")])
    derived = "ORIGINAL" not in _image_types(first) or "MPR" in _image_types(first)
    sharp = bool(_SHARP_KERNEL.match(first.text("ConvolutionKernel")))
    thickness_mm = _thickness_mm(axial)
    return _Candidate(
        series=series,
        phase=phase_in_words(series.description) if series.description else phase_in_words(words),
        rank=(derived, sharp, thickness_mm if thickness_mm is not None else 5.0, -series.frame_count),
    )


def _chosen(candidates: list[_Candidate]) -> list[_Candidate]:
    chosen: list[_Candidate] = []
    for phase in _PHASE_ROLES:
        of_phase = sorted(
            (candidate for candidate in candidates if candidate.phase is phase),
            key=lambda candidate: (candidate.rank, candidate.series.series_instance_uid),
        )
        chosen += of_phase[: _MOST_UNNAMED if phase is Phase.UNKNOWN else 1]
    if any(candidate.phase is Phase.PORTAL for candidate in chosen):
        chosen = [candidate for candidate in chosen if candidate.phase is not Phase.DELAYED]
    return chosen


def _image_types(instance: InstanceSummary) -> frozenset[str]:
    return frozenset(value.strip().upper() for value in instance.attributes.get("ImageType", ()))


def _steepness_deg(instances: list[InstanceSummary]) -> float | None:
    """Median angle between the slice normals and the body's long axis, in degrees."""
    angles = []
    for instance in instances:
        for frame in instance.frames:
            if frame.orientation is not None:
                normal = np.cross(frame.orientation[:3], frame.orientation[3:])
                length = float(np.linalg.norm(normal))
                if length > 1e-3:
                    angles.append(float(np.degrees(np.arccos(min(1.0, abs(normal[2]) / length)))))
    return float(np.median(angles)) if angles else None


def _thickness_mm(instances: list[InstanceSummary]) -> float | None:
    """Slice thickness, or the median distance of the planes where the header is silent."""
    known = [frame.slice_thickness_mm for instance in instances for frame in instance.frames]
    given = [value for value in known if value]
    if given:
        return float(np.median(given))
    heights = _heights_mm(instances)
    return float(np.median(np.diff(heights))) if len(heights) > 1 else None


def _heights_mm(instances: list[InstanceSummary]) -> list[float]:
    heights = {
        round(frame.position_lps_mm[2], 2)
        for instance in instances
        for frame in instance.frames
        if frame.position_lps_mm is not None
    }
    return sorted(heights)


def _missing_planes(series: SeriesSummary) -> str:
    """Say where planes are missing between the ends of a series; empty if none, or if the headers are silent."""
    axial = [instance for instance in series.instances if not _image_types(instance) & _NO_AXIAL_SCAN]
    steep = _steepness_deg(axial)
    orientations = {frame.orientation for instance in axial for frame in instance.frames}
    heights = _heights_mm(axial)
    if steep is None or len(orientations) > 1 or len(heights) < 3:
        return ""
    steps = np.diff(heights)
    typical = float(np.median(steps))
    wide = np.flatnonzero(steps > 1.5 * typical)
    if wide.size == 0 or wide.size > 0.2 * len(steps):
        return ""
    count = int(np.rint(steps[wide] / typical - 1).sum())
    return f"{count} planes missing, the first above z = {heights[int(wide[0])]:.1f} mm"


def _name(series: SeriesSummary) -> str:
    number = series.first.text("SeriesNumber")
    return f"{number} ({series.description})" if number else series.description or series.series_instance_uid
