"""The whole analysis: survey every readable scan, choose one for each structure, measure, and say what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analyzers import vocabulary
from analyzers.contract import (
    Assessed,
    Finding,
    Gate,
    Measurement,
    NotAssessable,
    Presence,
    SeriesRole,
)
from analyzers.cta.aorta_answer import aorta_part
from analyzers.cta.aorta_answer import prefers as prefers_for_aorta
from analyzers.cta.bones_answer import bones_on_grid, bones_part
from analyzers.cta.device_answer import device_part, find_device
from analyzers.cta.expectations import READ_ROLES, series_roles
from analyzers.cta.liver_answer import liver_heights_mm, liver_part, liver_points_lps_mm
from analyzers.cta.lumen import lumen_sections
from analyzers.cta.part import Part
from analyzers.cta.phase import Phase
from analyzers.cta.scan import Scan, survey
from analyzers.cta.thresholds import DEFAULT, CtaThresholds
from analyzers.priors import Prior
from analyzers.volume import StudyImages

_MOST_VOLUMES = 4
"""Scans that are surveyed; time and memory are bounded."""
_PHASE_CODES = {
    Phase.NATIVE: vocabulary.NATIVE_PHASE,
    Phase.ARTERIAL: vocabulary.ARTERIAL_PHASE,
    Phase.PORTAL: vocabulary.PORTAL_PHASE,
    Phase.DELAYED: vocabulary.DELAYED_PHASE,
}


def analyze(
    images: StudyImages,
    priors: Sequence[Prior],  # noqa: ARG001
    thresholds: CtaThresholds = DEFAULT,
) -> Assessed | NotAssessable:
    """Measure liver, aorta, pump and catheter; earlier results are not used by this version."""
    scans, refusals = surveyed(images, thresholds)
    roles = _roles(images, scans, thresholds)
    if not scans:
        return NotAssessable(reasons=tuple(refusals) or ("No readable axial CT scan.",), roles=roles)
    liver_scan, liver = _liver(scans, thresholds)
    liver_z_mm = None if liver_scan is None else liver_heights_mm(liver, liver_scan)
    found, rejected = find_device(scans, thresholds.device)
    if not liver.found and found is None:
        reasons = (*refusals, *liver.limitations, "Neither liver nor infusion pump could be found.")
        return NotAssessable(reasons=reasons, gates=liver.gates, roles=roles)
    aorta = _aorta(scans, liver_z_mm, thresholds)
    liver_lps_mm = None if liver_scan is None else liver_points_lps_mm(liver, liver_scan)
    bones_scan = found.scan if found is not None else liver_scan or scans[0]
    bones_zyx = bones_on_grid(bones_scan, thresholds)
    device = device_part(found, rejected, scans, liver_lps_mm, bones_zyx, thresholds)
    parts = (liver, aorta, device, bones_part(bones_scan, bones_zyx))
    findings = (_phase_finding(scans, liver_scan), *(finding for part in parts for finding in part.findings))
    measurements = tuple(value for part in parts for value in part.measurements)
    return Assessed(
        conclusion=_conclusion(measurements, findings),
        findings=findings,
        measurements=measurements,
        segments=tuple(item for part in parts for item in part.segments),
        gates=(*_scan_gates(scans), *(gate for part in parts for gate in part.gates)),
        roles=roles,
        limitations=(*refusals, *_remarks(scans), *(text for part in parts for text in part.limitations)),
    )


def surveyed(images: StudyImages, thresholds: CtaThresholds) -> tuple[list[Scan], list[str]]:
    """Survey every volume of the series that were given a role, and say which could not be read and why."""
    scans: list[Scan] = []
    refusals: list[str] = []
    for role in READ_ROLES:
        for loaded in images.with_role(role):
            name = loaded.series.description or "a series without a description"
            refusals += [ascii_text(f"Series {name}: {refusal}.") for refusal in loaded.refusals]
            volumes = [volume for volume in loaded.volumes if len(volume.planes) >= thresholds.series.fewest_images]
            for volume in sorted(volumes, key=lambda item: -len(item.planes))[:2]:
                if len(scans) >= _MOST_VOLUMES:
                    continue
                scan = survey(volume, thresholds)
                if isinstance(scan, str):
                    refusals.append(ascii_text(f"Series {name}: {scan}."))
                else:
                    scans.append(scan)
    return scans, refusals


def ascii_text(text: str) -> str:
    """The text without what plain ASCII cannot say (a description may hold umlauts)."""
    return text.encode("ascii", "replace").decode("ascii")


def _liver(scans: Sequence[Scan], thresholds: CtaThresholds) -> tuple[Scan | None, Part]:
    """The liver from the most suitable scan in which it passes its gates."""
    order = {Phase.PORTAL: 0, Phase.DELAYED: 1, Phase.ARTERIAL: 2, Phase.UNKNOWN: 3, Phase.NATIVE: 4}
    seeded = [scan for scan in scans if scan.liver_seed is not None]
    part = Part(found=False, limitations=("Liver: no deep soft tissue in the right upper abdomen.",))
    for scan in sorted(seeded, key=lambda item: (order[item.phase.phase], item.slice_step_mm)):
        sections = lumen_sections(scan.volume, scan.aorta) if scan.aorta is not None else ()
        part = liver_part(scan, sections, thresholds.liver)
        if part.found:
            return scan, part
    return None, part


def _aorta(scans: Sequence[Scan], liver_z_mm: tuple[float, float] | None, thresholds: CtaThresholds) -> Part:
    part = Part(found=False, limitations=("Aorta: no tube could be followed in front of the spine.",))
    for scan in sorted((scan for scan in scans if scan.aorta is not None), key=prefers_for_aorta):
        sections = lumen_sections(scan.volume, scan.aorta) if scan.aorta is not None else ()
        part = aorta_part(scan, sections, liver_z_mm, thresholds.aorta)
        if part.found:
            return part
    return part


def _phase_finding(scans: Sequence[Scan], liver_scan: Scan | None) -> Finding:
    scan = liver_scan or scans[0]
    code = _PHASE_CODES.get(scan.phase.phase)
    each = ", ".join(f"{item.phase.phase.value} ({item.phase.rule})" for item in scans)
    contradicted = any(item.phase.contradicted for item in scans)
    doubt = " The header of a series names another phase than its attenuation shows." if contradicted else ""
    return Finding(
        key="contrast_phase",
        concept=vocabulary.CONTRAST_PHASE,
        presence=Presence.PRESENT if code is not None else Presence.INDETERMINATE,
        sentence=ascii_text(f"Contrast phases by attenuation: {each}.{doubt}"),
        value=code,
    )


def _roles(images: StudyImages, scans: Sequence[Scan], thresholds: CtaThresholds) -> tuple[SeriesRole, ...]:
    """Header roles, with what the pixels said about those that were read."""
    measured: dict[str, list[str]] = {}
    for scan in scans:
        measured.setdefault(scan.volume.series_instance_uid, []).append(
            f"measured {scan.phase.phase.value} ({scan.phase.rule})"
        )
    return tuple(
        replace(role, reason="; ".join([role.reason, *measured.get(role.series_instance_uid, [])]))
        for role in series_roles(images.summary, thresholds)
    )


def _scan_gates(scans: Sequence[Scan]) -> tuple[Gate, ...]:
    return tuple(
        Gate(
            name=f"Slice distance, {scan.name}",
            passed=scan.slice_step_mm <= 5.0,
            seen=f"{scan.slice_step_mm:.1f} mm",
            wanted="at most 5.0 mm",
        )
        for scan in scans
    )


def _remarks(scans: Sequence[Scan]) -> tuple[str, ...]:
    """What loading had to do, each once."""
    return tuple(dict.fromkeys(ascii_text(remark) for scan in scans for remark in scan.volume.remarks))


def _conclusion(measurements: Sequence[Measurement], findings: Sequence[Finding]) -> str:
    values = {value.key: value for value in measurements}
    parts = []
    if "liver_volume" in values:
        volume = values["liver_volume"]
        words = ("at least", "incomplete")
        cut = next((f"{word} " for word in words if volume.remark.startswith(word)), "")
        parts.append(f"Liver {cut}{volume.value:.0f} mL.")
    else:
        parts.append("Liver not delineated.")
    if "aorta_diameter" in values:
        diameter = values["aorta_diameter"]
        level = "the estimated celiac level" if "not seen" in diameter.remark else "the celiac level"
        parts.append(f"Aorta {diameter.value:.1f} mm at {level}.")
    parts += [item.sentence for item in findings if item.key in ("pump_presence", "catheter_presence")]
    return " ".join(parts)
