"""What the headers promise: which series is what, whether all has come, whether there is anything to measure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from analyzers.contract import (
    Accept,
    Acceptance,
    Complete,
    Decline,
    Expectation,
    InstanceSummary,
    Missing,
    SeriesSummary,
    StudySummary,
)
from analyzers.scintigraphy.tracer import Agent, agents_of, tracer_of


class Role(StrEnum):
    """What a series is for this analyzer."""

    PLANAR_MAA = "planar-maa"
    PLANAR_COLLOID = "planar-colloid"
    WHOLE_BODY = "whole-body"
    SPECT = "spect"
    SPECT_NAC = "spect-nac"
    DYNAMIC = "dynamic"
    CT = "ct"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOf:
    """The role of a series, or none, and the reason in words."""

    role: Role | None
    reason: str


_DYNAMIC = "a dynamic series shows the infusion, not where the tracer came to rest; followed for motion"
_NOT_READ = {
    "GATED": "gated frames hold parts of a heart beat, not a distribution",
    "TOMO": "raw projections of a tomography are read only once they are reconstructed",
    "GATED TOMO": "gated projections are not read",
    "RECON GATED TOMO": "a gated reconstruction is not read",
}
_NOT_CORRECTED = re.compile(
    r"\b(?:nac|no[ \-]?ac|non[ \-]?ac|uncorr\w*|without ac|ohne (?:ac|sk)|unkorr\w*|sans (?:ac|ca))\b", re.IGNORECASE
)
_CORRECTED = re.compile(r"\b(?:ac|ctac|irac\w*|attenuation corr\w*|schw[aä]chungskorr\w*)\b", re.IGNORECASE)
_ATTENUATION_MAP = re.compile(r"(?:\bmu|\u00b5|\u03bc|atten\w*|\bac)[ _\-]*maps?\b|\btransmission\b", re.IGNORECASE)
_SPECT_WORDS = re.compile(r"\bspect\b", re.IGNORECASE)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PLANAR_ROLES = (Role.PLANAR_MAA, Role.WHOLE_BODY)
_MEASURED = frozenset({Role.PLANAR_MAA, Role.WHOLE_BODY, Role.SPECT, Role.SPECT_NAC})
_COMPANIONS = frozenset({Role.CT, Role.DYNAMIC})


def image_kind(instance: InstanceSummary) -> str:
    """Value 3 of Image Type (PS3.3 C.8.4.9.1.1), else what the vectors of the frames imply."""
    kind = next(iter(instance.attributes.get("ImageType", ())[2:3]), "").strip().upper()
    if kind:
        return kind
    return "RECON TOMO" if any("SliceVector" in frame.attributes for frame in instance.frames) else "STATIC"


def is_transmission(instance: InstanceSummary) -> bool:
    """Value 4 of Image Type: a picture of attenuation by a source outside the patient (PS3.3 C.8.4.9.1.1)."""
    return "TRANSMISSION" in (value.strip().upper() for value in instance.attributes.get("ImageType", ())[3:4])


def _telling(series: SeriesSummary) -> InstanceSummary:
    """The first header of what can be read: a screen or projections may lie in front in the same series."""

    def is_read(instance: InstanceSummary) -> bool:
        capture = instance.sop_class_uid.startswith(_SECONDARY_CAPTURE)
        return not (capture or is_transmission(instance) or image_kind(instance) in _NOT_READ)

    readable = [instance for instance in series.instances if is_read(instance)]
    still = (instance for instance in readable if image_kind(instance) != "DYNAMIC")
    return next(still, readable[0] if readable else series.first)


def role_of(series: SeriesSummary, agents: Mapping[str, tuple[Agent, str]] | None = None) -> RoleOf:
    """Tell what a series is from its first header that can be read.

    Parameters
    ----------
    series : SeriesSummary
    agents : mapping, optional
        What the whole study tells of the agents, by SOP Instance UID.
    """
    instance = _telling(series)
    if series.modality == "CT":
        return RoleOf(role=Role.CT, reason="a CT; gives liver, lungs and body where it shares the frame of a SPECT")
    if reason := _why_not_read(series, instance):
        return RoleOf(role=None, reason=reason)
    kind = image_kind(instance)
    if kind == "RECON TOMO":
        return _spect_role(instance)
    if kind == "DYNAMIC":
        return RoleOf(role=Role.DYNAMIC, reason=_DYNAMIC)
    known = agents or agents_of(series.instances)
    return _planar_role(kind, [known[one.sop_instance_uid] for one in series.instances])


def _why_not_read(series: SeriesSummary, instance: InstanceSummary) -> str:
    """Why a series has no role; empty where it has one."""
    if series.modality != "NM":
        return f"modality {series.modality or 'unknown'}"
    if instance.sop_class_uid.startswith(_SECONDARY_CAPTURE):
        return "a secondary capture is a picture without measurable values"
    if is_transmission(instance) or _ATTENUATION_MAP.search(series.description):
        return "a transmission image or attenuation map shows no tracer"
    tracer, kind = tracer_of(instance), image_kind(instance)
    if tracer.other_agent:
        return f"the tracer is named as {tracer.other_agent}, no macroaggregates"
    if kind == "RECON TOMO" and tracer.agent is Agent.COLLOID:
        return "a SPECT of Tc-99m colloid, which was not given through the pump"
    return _NOT_READ.get(kind, "")


def _planar_role(kind: str, agents: Sequence[tuple[Agent, str]]) -> RoleOf:
    """Role of a series of projections; one that holds both agents is a series of macroaggregates."""
    agent, source = next((one for one in agents if one[0] is not Agent.COLLOID), agents[0])
    told = f" by {source}" if source else ""
    if agent is Agent.COLLOID:
        return RoleOf(role=Role.PLANAR_COLLOID, reason=f"views of Tc-99m colloid{told}")
    words = f"macroaggregates{told}" if agent is Agent.MAA else "a tracer that no header names, taken for MAA"
    if any(one is Agent.COLLOID for one, _ in agents):
        words = f"{words}, and of Tc-99m colloid"
    role = Role.WHOLE_BODY if kind == "WHOLE BODY" else Role.PLANAR_MAA
    return RoleOf(role=role, reason=f"{kind.lower()} views of {words}")


def _spect_role(instance: InstanceSummary) -> RoleOf:
    if not is_attenuation_corrected(instance):
        return RoleOf(role=Role.SPECT_NAC, reason="reconstructed SPECT, not known to be corrected for attenuation")
    by = "" if "ATTN" in _corrections(instance) else " by its description"
    return RoleOf(role=Role.SPECT, reason=f"reconstructed SPECT, corrected for attenuation{by}")


def is_attenuation_corrected(instance: InstanceSummary) -> bool:
    """Whether a reconstruction says so, in Corrected Image or, where that is silent, in the series' description."""
    description = instance.text("SeriesDescription")
    if corrections := _corrections(instance):
        return "ATTN" in corrections
    return bool(_CORRECTED.search(description)) and not _NOT_CORRECTED.search(description)


def _corrections(instance: InstanceSummary) -> set[str]:
    return {value.strip().upper() for value in instance.attributes.get("CorrectedImage", ())} - {""}


def study_roles(study: StudySummary) -> Mapping[str, RoleOf]:
    """Role of every series by its UID."""
    agents = agents_of(instance for series in study.series for instance in series.instances)
    return {series.series_instance_uid: role_of(series, agents) for series in study.series}


def accepts(study: StudySummary) -> Acceptance:
    """Accept a study with planar views or a reconstructed SPECT; decline others with the reason."""
    if "NM" not in study.modalities:
        return Decline(reason="The study holds no nuclear medicine images.")
    roles = study_roles(study)
    read = {uid: found.role.value for uid, found in roles.items() if found.role is not None}
    kinds = set(read.values())
    if not kinds & _MEASURED:
        if Role.PLANAR_COLLOID in kinds:
            return Decline(reason="Only a colloid scan of the liver: nothing was given through the pump.")
        reasons = sorted({found.reason for found in roles.values() if found.role in {None, Role.DYNAMIC}})
        return Decline(reason="Nothing to measure: " + "; ".join(reasons) + ".")
    return Accept(
        reason=f"nuclear medicine images to measure: {', '.join(sorted(kinds - _COMPANIONS))}",
        roles=read,
        missing=_missing(study, roles),
    )


def expects(study: StudySummary) -> Expectation:
    """Complete when opposite views are there, and SPECT slices where the order names a SPECT."""
    missing = _missing(study, study_roles(study))
    if missing:
        return Missing(what=missing)
    return Complete(reason="all views that the order names have come")


def _missing(study: StudySummary, roles: Mapping[str, RoleOf]) -> tuple[str, ...]:
    planar = [series for series in study.series if roles[series.series_instance_uid].role in _PLANAR_ROLES]
    volumes = any(found.role in {Role.SPECT, Role.SPECT_NAC} for found in roles.values())
    missing = []
    if planar and _opposite_views(planar) < 2:
        missing.append("the opposite view (anterior and posterior are needed)")
    named = any(
        _SPECT_WORDS.search(series.first.text(keyword))
        for series in study.series
        for keyword in ("RequestedProcedureDescription", "StudyDescription")
    )
    if named and not volumes:
        missing.append("the reconstructed SPECT that the order names")
    if not planar and not volumes:
        missing.append("planar views or a reconstructed SPECT")
    return tuple(missing)


def _opposite_views(series_list: list[SeriesSummary]) -> int:
    """Views told apart by object and detector (energy windows of one detector count once)."""
    views = set()
    for series in series_list:
        for instance in series.instances:
            for frame in instance.frames:
                detector = frame.attributes.get("DetectorVector", ("",))[0]
                window = frame.attributes.get("EnergyWindowVector", ("",))[0]
                # Without a detector number, frames of one energy window are views of their own.
                views.add((instance.sop_instance_uid, detector or (frame.frame, window)))
            if not instance.frames:
                views.add((instance.sop_instance_uid, ""))
    return len(views)
