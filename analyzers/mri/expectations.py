"""What the headers promise: which series is what, whether all has come, whether there is anything to measure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from analyzers.contract import Accept, Acceptance, Complete, Decline, Expectation, Missing, SeriesSummary, StudySummary
from analyzers.mri.roles import ENHANCED, Role, RoleOf, first_roles
from analyzers.mri.sequences import SequenceFacts, facts_of
from analyzers.mri.thresholds import DEFAULT, MriThresholds

NOT_READ = ("", Role.LOCALIZER.value, Role.MRCP.value)
_ORDERED_HBP = re.compile(r"gadoxet|primovist|eovist|gd-?eob", re.IGNORECASE)
_SPECIMENS = 6
"""Headers of one series that are looked at beside the first of each kind."""


def study_roles(study: StudySummary, thresholds: MriThresholds = DEFAULT) -> Mapping[str, RoleOf]:
    """Role of every series by its UID; a series of several stacks has the role that is read first."""
    owners: list[str] = []
    facts: list[SequenceFacts] = []
    for series in study.series:
        if series.modality == "MR":
            for one in _kinds(series):
                owners.append(series.series_instance_uid)
                facts.append(one)
    found = first_roles(facts, thresholds.series)
    roles: dict[str, RoleOf] = {}
    for series in study.series:
        own = [role for uid, role in zip(owners, found, strict=True) if uid == series.series_instance_uid]
        roles[series.series_instance_uid] = _together(own, series)
    return roles


def role_names(study: StudySummary, thresholds: MriThresholds = DEFAULT) -> Mapping[str, str]:
    """Series UID → role as routing and reports see it; only the series that are read."""
    roles = study_roles(study, thresholds)
    return {uid: found.role.value for uid, found in roles.items() if found.role.value not in NOT_READ}


def accepts(study: StudySummary, thresholds: MriThresholds = DEFAULT) -> Acceptance:
    """Accept a study with a stack in which a liver could be outlined; decline others with the reason."""
    if "MR" not in study.modalities:
        return Decline(reason="The study holds no MR images.")
    roles = role_names(study, thresholds)
    outlining = {name for name in roles.values() if name not in {Role.DWI, Role.ADC, Role.T1_FAT}}
    if not outlining:
        reasons = sorted({found.reason for found in study_roles(study, thresholds).values()})[:4]
        return Decline(reason="No T1- or T2-weighted images to outline the liver in: " + "; ".join(reasons) + ".")
    return Accept(
        reason=f"MR images to measure: {', '.join(sorted(set(roles.values())))}",
        roles=roles,
        missing=_missing(study, thresholds),
    )


def expects(study: StudySummary, thresholds: MriThresholds = DEFAULT) -> Expectation:
    """Complete when T1 with contrast, and T2 or diffusion, are there, and uptake images where the order names it."""
    missing = _missing(study, thresholds)
    return Missing(what=missing) if missing else Complete(reason="all sequences that response is read from have come")


def _missing(study: StudySummary, thresholds: MriThresholds) -> tuple[str, ...]:
    present = {found.role for found in study_roles(study, thresholds).values()}
    missing = []
    if not present & set(ENHANCED):
        missing.append("T1-weighted images with contrast")
    elif Role.T1_HBP not in present and _names_hepatobiliary(study):
        missing.append("the hepatobiliary phase that the agent allows")
    if not present & {Role.T2, Role.HASTE, Role.DWI}:
        missing.append("T2- or diffusion-weighted images")
    return tuple(missing)


def _names_hepatobiliary(study: StudySummary) -> bool:
    keywords = ("StudyDescription", "RequestedProcedureDescription", "ContrastBolusAgent")
    return any(_ORDERED_HBP.search(series.first.text(keyword)) for series in study.series for keyword in keywords)


def _kinds(series: SeriesSummary) -> list[SequenceFacts]:
    """One set of facts per kind of image in the series: echo, b value, image type, phase."""
    kinds: dict[tuple[object, ...], SequenceFacts] = {}
    for instance in series.instances:
        facts = facts_of(instance)
        part = instance.text("TemporalPositionIdentifier") or instance.text("AcquisitionNumber")
        kinds.setdefault((facts.image_type, facts.echo_ms, facts.b_value, part), facts)
        if len(kinds) >= 4 * _SPECIMENS:
            break
    return list(kinds.values())


def _together(own: list[RoleOf], series: SeriesSummary) -> RoleOf:
    if not own:
        return RoleOf(role=Role.UNREAD, reason=f"modality {series.modality or 'unknown'}")
    order = (Role.T1_HBP, Role.T1_PORTAL, Role.T1_TRANSITIONAL, Role.T1_ARTERIAL, Role.T1_PRE, Role.T1, Role.T1_IN)
    best = next((one for role in order for one in own if one.role is role), None)
    best = best or next((one for one in own if one.role is not Role.UNREAD), own[0])
    others = sorted({one.role.value for one in own if one.role not in (best.role, Role.UNREAD)})
    reason = f"{best.reason}; also {', '.join(others)}" if others else best.reason
    return replace(best, reason=reason)
