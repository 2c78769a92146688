"""What the headers of a study tell: which series can be read, as which phase, and whether all has arrived."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

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
    r"(?<![a-z])(?:scout|topogram\w*|locali[sz]er\w*|surview|mip|minip|vrt|"
    r"dose[ -]?(?:report|info\w*|summary|page|record)|"
    r"dosis[ -]?(?:protokoll|bericht|info\w*)|patient ?protocol|smart ?prep|premonitoring|"
    r"monitoring|screen ?save)(?![a-z])",
    re.IGNORECASE,
)
"""Words for scouts, projections and bolus tracking. Reformats are told by their orientation: an axial one is read if
there is nothing better."""
_SHARP_KERNEL = re.compile(
    r"^(?:B[rlf]?[678]\d|B[5678]\d|Br6\d|H[67]\d|BONE|BONEPLUS|LUNG|EDGE|DETAIL|YC|YD|D|FC5\d|FC8\d|FC3\d)",
    re.IGNORECASE,
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
_HOUNSFIELD = frozenset({"", "HU", "HOUNSFIELD", "US"})
"""Rescale Type of a CT that can be one in Hounsfield units; absent means so (PS3.3 C.8.2.1), US is remarked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    series: SeriesSummary
    phase: Phase
    rank: tuple[bool, bool, bool, float, int]
    """Sorts the better series first: without a gap, original, soft kernel, thin, many planes."""
    began_s: float | None
    """When its first plane was acquired, in seconds; ``None`` if no header tells."""
    width_mm: float
    """Shorter side of the field, zero if no header tells."""


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
    groups = _acquisitions(candidates, thresholds.series)
    roles = {
        candidate.series.series_instance_uid: _PHASE_ROLES[candidate.phase] for group in groups for candidate in group
    }
    named = ", ".join(sorted(set(roles.values())))
    expectation = expects(summary, thresholds)
    missing = expectation.what if isinstance(expectation, Missing) else ()
    reserve = len(roles) - len(groups)
    spare = f", {reserve} more in reserve" if reserve else ""
    return Accept(
        reason=f"{len(groups)} of {len(summary.series)} series to read ({named}){spare}", roles=roles, missing=missing
    )


def reading_order(summary: StudySummary, thresholds: CtaThresholds = DEFAULT) -> tuple[tuple[str, ...], ...]:
    """Series Instance UIDs by acquisition, the best reconstruction of each first, the one to fall back on second."""
    groups = _acquisitions(_candidates(summary, thresholds.series)[0], thresholds.series)
    return tuple(tuple(candidate.series.series_instance_uid for candidate in group) for group in groups)


def series_roles(summary: StudySummary, thresholds: CtaThresholds = DEFAULT) -> tuple[SeriesRole, ...]:
    """Every series of the study with the role that it got by its headers, or why it was left unread."""
    candidates, unread = _candidates(summary, thresholds.series)
    groups = _acquisitions(candidates, thresholds.series)
    chosen = {candidate.series.series_instance_uid for group in groups for candidate in group}
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
                SeriesRole(series_instance_uid=uid, role="", reason=_why_left(candidate, groups, thresholds.series))
            )
    roles += [SeriesRole(series_instance_uid=uid, role="", reason=reason) for uid, reason in unread.items()]
    return tuple(sorted(roles, key=lambda role: role.series_instance_uid))


def _why_left(candidate: _Candidate, groups: list[list[_Candidate]], thresholds: SeriesThresholds) -> str:
    """Why a series that could be read is not: no more than the headers bear out."""
    alike = [
        group[0] for group in groups if group[0].phase is candidate.phase and _together(candidate, group[0], thresholds)
    ]
    if not alike and candidate.phase is Phase.DELAYED and any(group[0].phase is Phase.PORTAL for group in groups):
        return "header says delayed, and a portal venous series is read"
    if not alike:
        return f"{thresholds.most_acquisitions} other acquisitions are read"
    if None in (candidate.began_s, alike[0].began_s):
        return "another series with the same words for its phase is read; no times tell whether it is the same scan"
    return "another reconstruction of the same acquisition is read"


def _together(one: _Candidate, other: _Candidate, thresholds: SeriesThresholds) -> bool:
    """Whether two series of the same words can be one acquisition.

    Without times a named phase is one acquisition, but series without a name for it are as many as there are.
    """
    if one.began_s is None or other.began_s is None:
        return one.phase is not Phase.UNKNOWN
    return abs(one.began_s - other.began_s) <= thresholds.same_acquisition_s


def _acquisitions(candidates: list[_Candidate], thresholds: SeriesThresholds) -> list[list[_Candidate]]:
    """The acquisitions to read, each phase once before any is read twice; in each the best reconstructions."""
    by_phase: dict[Phase, list[list[_Candidate]]] = {phase: [] for phase in _PHASE_ROLES}
    for candidate in sorted(candidates, key=lambda item: (item.rank, item.series.series_instance_uid)):
        of_phase = by_phase[candidate.phase]
        known = next((group for group in of_phase if _together(candidate, group[0], thresholds)), None)
        if known is None:
            of_phase.append([candidate])
        else:
            known.append(candidate)
    if by_phase[Phase.PORTAL]:
        by_phase[Phase.DELAYED] = []
    deepest = max((len(groups) for groups in by_phase.values()), default=0)
    ordered = [groups[turn] for turn in range(deepest) for groups in by_phase.values() if turn < len(groups)]
    return [_best(group, thresholds) for group in ordered[: thresholds.most_acquisitions]]


def _best(group: list[_Candidate], thresholds: SeriesThresholds) -> list[_Candidate]:
    """The best reconstructions of one acquisition: a gap is worst, then a field much narrower than another's."""
    widest_mm = max(candidate.width_mm for candidate in group)

    def order(candidate: _Candidate) -> tuple[bool, bool]:
        cropped = 0.0 < candidate.width_mm < thresholds.cropped_share * widest_mm
        return candidate.rank[0], cropped

    return sorted(group, key=order)[: thresholds.most_per_acquisition]


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
    others = {value.strip().upper() for one in axial for value in one.attributes.get("RescaleType", ())} - _HOUNSFIELD
    if others:
        return f"values in {', '.join(sorted(others))[:40]}, not in Hounsfield units"
    return _why_no_stack(axial, thresholds)


def _why_no_stack(axial: list[InstanceSummary], thresholds: SeriesThresholds) -> str:
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
    gap = bool(_missing_planes(series))
    return _Candidate(
        series=series,
        phase=phase_in_words(series.description) if series.description else phase_in_words(words),
        rank=(gap, derived, sharp, thickness_mm if thickness_mm is not None else 5.0, -series.frame_count),
        began_s=_began_s(axial),
        width_mm=_width_mm(first),
    )


def _began_s(instances: list[InstanceSummary]) -> float | None:
    """Earliest acquisition time of a series in seconds; ``None`` where the headers are silent or no times."""
    moments = []
    for instance in instances:
        own = [value for frame in instance.frames for value in frame.attributes.get("FrameAcquisitionDateTime", ())]
        text = instance.text("AcquisitionDateTime") or (
            instance.text("AcquisitionDate") + instance.text("AcquisitionTime")
            if instance.text("AcquisitionTime")
            else ""
        )
        moments += [second for value in (*own, text) if (second := _seconds(value)) is not None]
    return min(moments, default=None)


def _seconds(text: str) -> float | None:
    """A DICOM date and time as seconds, without fraction and zone: only differences within a study are asked for."""
    try:
        return datetime.strptime(text[:14] + "+0000", "%Y%m%d%H%M%S%z").timestamp()
    except ValueError:
        return None


def _width_mm(instance: InstanceSummary) -> float:
    spacing = next((frame.spacing_row_col_mm for frame in instance.frames if frame.spacing_row_col_mm), None)
    if spacing is None or not instance.rows or not instance.columns:
        return 0.0
    return min(instance.rows * spacing[0], instance.columns * spacing[1])


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
