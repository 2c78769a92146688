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
from analyzers.cta.expectations import reading_order, series_roles
from analyzers.cta.liver_answer import liver_heights_mm, liver_part, liver_points_lps_mm
from analyzers.cta.lumen import lumen_sections
from analyzers.cta.part import Part
from analyzers.cta.phase import Phase
from analyzers.cta.scan import Scan, survey
from analyzers.cta.thresholds import DEFAULT, CtaThresholds
from analyzers.priors import Prior
from analyzers.volume import LoadedSeries, StudyImages

_MOST_SCANS = 4
"""Scans that are surveyed; time and memory are bounded."""
_MOST_OF_SERIES = 2
"""Volumes (phases) of one series that are surveyed."""
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
    found, other = find_device(scans, thresholds.device)
    if not liver.found and found is None:
        reasons = (*refusals, *liver.limitations, "Neither liver nor infusion pump could be found.")
        return NotAssessable(reasons=reasons, gates=liver.gates, roles=roles)
    aorta = _aorta(scans, liver_z_mm, thresholds)
    liver_lps_mm = None if liver_scan is None else liver_points_lps_mm(liver, liver_scan)
    bones_scan = found.scan if found is not None else liver_scan or scans[0]
    bones_zyx = bones_on_grid(bones_scan, thresholds)
    device = device_part(found, other, scans, liver_lps_mm, bones_zyx, thresholds)
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
    """Survey one readable series of each acquisition that was given a role, and say what was not read and why."""
    scans: list[Scan] = []
    refusals: list[str] = []
    for group in _groups(images, thresholds):
        for uid in group:
            found, said = _surveyed_series(images.load(uid), _MOST_SCANS - len(scans), thresholds)
            scans += found
            refusals += said
            if found:
                break
    return scans, refusals


def _groups(images: StudyImages, thresholds: CtaThresholds) -> list[tuple[str, ...]]:
    """Series with a role by acquisition; one that was named by somebody else than the headers stands for itself."""
    known = [tuple(uid for uid in group if uid in images.roles) for group in reading_order(images.summary, thresholds)]
    grouped = {uid for group in known for uid in group}
    return [*(group for group in known if group), *((uid,) for uid in images.roles if uid not in grouped)]


def _surveyed_series(loaded: LoadedSeries, most: int, thresholds: CtaThresholds) -> tuple[list[Scan], list[str]]:
    """Scans of one series, at most so many, and in words what else it holds."""
    name = loaded.series.description or "a series without a description"
    scans: list[Scan] = []
    said = list(loaded.refusals)
    fewest = thresholds.series.fewest_images
    volumes = sorted(loaded.volumes, key=lambda item: -len(item.planes))
    said += [
        " ".join(f"{len(volume.planes)} images {volume.label}".split()) + f" not read, fewer than {fewest}"
        for volume in volumes
        if len(volume.planes) < fewest
    ]
    volumes = [volume for volume in volumes if len(volume.planes) >= fewest]
    readable = min(most, _MOST_OF_SERIES)
    for volume in volumes[:readable]:
        scan = survey(volume, thresholds)
        if isinstance(scan, str):
            said.append(scan)
        else:
            scans.append(scan)
    left = [volume.label or f"{len(volume.planes)} images" for volume in volumes[readable:]]
    if left:
        said.append(f"not read, since time and memory are bounded: {', '.join(left)}")
    return scans, [ascii_text(f"Series {name}: {text}.") for text in said]


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
    read = frozenset(measured)
    spare = {
        uid
        for group in reading_order(images.summary, thresholds)
        if read & set(group)
        for uid in group
        if uid not in read
    }
    return tuple(
        replace(role, role="", reason="kept in reserve: another reconstruction of the same acquisition is read")
        if role.series_instance_uid in spare
        else replace(role, reason="; ".join([role.reason, *measured.get(role.series_instance_uid, [])]))
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
        level = "below mid-liver" if "not seen" in diameter.remark else "at the celiac level"
        parts.append(f"Aorta {diameter.value:.1f} mm {level}.")
    parts += [item.sentence for item in findings if item.key in ("pump_presence", "catheter_presence")]
    return " ".join(parts)
