"""Pump and catheter in the answer: present, absent or not to be told, and their measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code, Finding, Measurement, Presence
from analyzers.ct_anatomy.body import at_field_border
from analyzers.cta.bones_answer import bones_on_source
from analyzers.cta.catheter import Catheter, CatheterSearch, catheter_mask, trace_catheter
from analyzers.cta.lumen import lumen_mask, lumen_sections
from analyzers.cta.part import Part, frames_of, measurement, segment
from analyzers.cta.pump import MetalAtEdge, Pump, PumpSearch, find_pump, pump_mask
from analyzers.cta.scan import Scan
from analyzers.cta.thresholds import CtaThresholds, DeviceThresholds
from analyzers.quality import plane_normal_lps

_PUMP_RGB = (120, 190, 255)
_CATHETER_RGB = (90, 255, 140)
_PELVIS_MM = 30.0
"""So much of the iliac wings in the scan means that the lower quadrants are."""
_BELOW_LIVER_MM = 120.0
"""A pump lies in a lower quadrant; a scan that reaches less far below the liver cannot exclude one."""
_CREST_TO_HIP_MM = 80.0
"""The hip joints lie more than this below the iliac crests, and an implant cut by the end of the scan lies there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpFound:
    """A pump and the scan that it is measured on."""

    scan: Scan
    pump: Pump


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMetal:
    """What the scans hold where no pump was found."""

    rejected: tuple[str, ...] = ()
    edge_mm: float | None = None
    """Extent of the largest piece in a pump's place that the scan cuts."""


def find_device(scans: Sequence[Scan], thresholds: DeviceThresholds) -> tuple[PumpFound | None, OtherMetal]:
    """Find the pump in the scan with the thinnest slices that shows it whole, and say what other metal is there."""
    found, rejected = [], dict[str, None]()
    edge_mm: list[float] = []
    for scan in scans:
        search: PumpSearch = find_pump(scan.volume, scan.anatomy.grid, scan.anatomy.body, thresholds)
        if search.pump is not None:
            found.append(PumpFound(scan=scan, pump=search.pump))
        else:
            rejected.update(dict.fromkeys(search.rejected))
            edge_mm += [metal.extent_mm for metal in search.at_edge if _in_pump_place(metal, scan)]
    if not found:
        return None, OtherMetal(rejected=tuple(rejected), edge_mm=max(edge_mm, default=None))
    # Of equal slices the least enhanced: there the catheter stands out of the vessels.
    return min(
        found, key=lambda item: (item.pump.cut, round(item.scan.slice_step_mm, 1), _blood_hu(item.scan))
    ), OtherMetal()


def _in_pump_place(metal: MetalAtEdge, scan: Scan) -> bool:
    """Whether metal lies between the top of the liver (teeth lie above) and the hips (implants lie below)."""
    grid = scan.anatomy.grid
    crest_mm = float(grid.origin_lps_mm[2]) + scan.anatomy.spine.pelvis_mm
    top_mm = np.inf
    if scan.liver_seed is not None:
        top_mm = (
            float(grid.origin_lps_mm[2])
            + grid.spacing_mm * np.flatnonzero(scan.liver_seed.core_zyx.any(axis=(1, 2))).max()
        )
    return bool(crest_mm - _CREST_TO_HIP_MM < metal.z_mm < top_mm)


def device_part(
    found: PumpFound | None,
    other: OtherMetal,
    scans: Sequence[Scan],
    liver_lps_mm: NDArray[np.float64] | None,
    bones_zyx: NDArray[np.bool_],
    thresholds: CtaThresholds,
) -> Part:
    """Measure pump and catheter, or say why there is nothing to measure.

    Parameters
    ----------
    bones_zyx : (z, y, x) bool
        The skeleton on the organ grid of the scan with the pump: no catheter is followed in it.
    """
    if found is None:
        return Part(found=False, findings=(_no_pump(other, scans, liver_lps_mm, thresholds.device),))
    volume, pump = found.scan.volume, found.pump
    housing = pump_mask(pump, volume, thresholds.device.fallback_metal_above_hu)
    search = _traced(found, bones_zyx, thresholds)
    side = _side(found)
    measurements = _pump_measurements(found, side, thresholds.device)
    body = segment("pump", "Infusion pump", vocabulary.INFUSION_PUMP, housing, volume, _PUMP_RGB, device=True)
    segments = [replace(body, site=vocabulary.ABDOMINAL_WALL, laterality=side)]
    limitations = []
    short = _short_of_liver(search.catheter, liver_lps_mm, thresholds.device)
    if search.catheter is None:
        limitations.append(f"Catheter not traced: {search.reason}.")
    else:
        tube = catheter_mask(search.catheter, volume, thresholds.device.catheter_radius_mm, housing)
        segments.append(segment("catheter", "Catheter", vocabulary.CATHETER, tube, volume, _CATHETER_RGB, device=True))
        measurements += (_catheter_measurement(search.catheter, found.scan, tube, short, thresholds.device),)
    return Part(
        found=True,
        measurements=measurements,
        segments=tuple(segments),
        findings=_findings(found, side, search, short, thresholds.device),
        limitations=tuple(limitations),
    )


def _traced(found: PumpFound, bones_zyx: NDArray[np.bool_], thresholds: CtaThresholds) -> CatheterSearch:
    scan = found.scan
    excluded = bones_on_source(scan, ndimage.binary_dilation(bones_zyx))
    blood_hu = None
    if scan.aorta is not None:
        excluded |= lumen_mask(scan.volume, lumen_sections(scan.volume, scan.aorta))
        blood_hu = scan.aorta.mean_hu
    return trace_catheter(scan.volume, found.pump, blood_hu, excluded, thresholds.device)


def _short_of_liver(
    catheter: Catheter | None, liver_lps_mm: NDArray[np.float64] | None, thresholds: DeviceThresholds
) -> str:
    """Say that the path was probably not followed to the tip; empty if it ends near the liver."""
    if catheter is None:
        return ""
    if liver_lps_mm is None:
        return "no liver to judge by whether its end was reached"
    away_mm = float(np.linalg.norm(liver_lps_mm - catheter.points_lps_mm[-1], axis=1).min())
    if away_mm <= thresholds.catheter_end_to_liver_mm:
        return ""
    return f"lost {away_mm:.0f} mm away from the liver, its end was probably not reached"


def _blood_hu(scan: Scan) -> float:
    return 0.0 if scan.aorta is None else scan.aorta.mean_hu


def _side(found: PumpFound) -> Code:
    grid, spine = found.scan.anatomy.grid, found.scan.anatomy.spine
    z, _, x = grid.to_indices_zyx(found.pump.centre_lps_mm)[0]
    plane = int(np.clip(round(float(z)), 0, len(spine.x) - 1))
    return vocabulary.LEFT if x > spine.x[plane] else vocabulary.RIGHT


def _pump_measurements(found: PumpFound, side: Code, thresholds: DeviceThresholds) -> tuple[Measurement, ...]:
    pump, volume = found.pump, found.scan.volume
    in_plane_mm = max(volume.spacing_zyx_mm[1:])
    voxel_mm = float(np.abs(plane_normal_lps(volume) @ pump.normal_lps)) * volume.spacing_zyx_mm[0] + in_plane_mm
    cut = ["the scan ends inside the pump"] if pump.cut else []
    sources = tuple(volume.planes[index] for index in _planes_of(found))
    values = [
        ("pump_diameter", pump.diameter_mm, 2 * in_plane_mm, "Circle fitted to the rim", cut),
        ("pump_thickness", pump.thickness_mm, voxel_mm, "Distance of the faces, dome left out", cut),
    ]
    if pump.tilt_deg is not None:
        values.append(("pump_tilt", pump.tilt_deg, thresholds.tilt_doubt_deg, "Disc normal against smoothed skin", cut))
    if pump.depth_mm is not None:
        values.append(("pump_depth", pump.depth_mm, found.scan.anatomy.grid.spacing_mm, "Outer face to skin", cut))
    return tuple(
        replace(
            measurement(key, value, "pump", uncertainty=doubt, method=method, sources=sources, doubts=doubts),
            site=vocabulary.ABDOMINAL_WALL,
            laterality=side,
        )
        for key, value, doubt, method, doubts in values
    )


def _planes_of(found: PumpFound) -> tuple[int, ...]:
    """The plane through the middle of the pump, if the scan has it."""
    plane = round(float(found.scan.volume.to_indices_zyx(found.pump.centre_lps_mm)[0, 0]))
    return (plane,) if 0 <= plane < len(found.scan.volume.planes) else ()


def _catheter_measurement(
    catheter: Catheter, scan: Scan, tube: NDArray[np.bool_], short: str, thresholds: DeviceThresholds
) -> Measurement:
    doubts = [f"at least: {short}"] if short else []
    if scan.slice_step_mm > thresholds.good_slice_mm:
        doubts.append(f"at least, as far as visible in slices {scan.slice_step_mm:.1f} mm apart")
    lower_limit = bool(doubts)
    if catheter.gaps_mm:
        doubts.append(f"{len(catheter.gaps_mm)} stretches without visible catheter bridged")
    if catheter.hidden_mm > 10.0:
        doubts.append(f"first {catheter.hidden_mm:.0f} mm hidden beside the pump")
    return measurement(
        "catheter_length",
        catheter.length_mm,
        "catheter",
        uncertainty=max(thresholds.length_doubt_fraction * catheter.length_mm, 3 * scan.slice_step_mm),
        lower_limit=lower_limit,
        method="Path along the radiopaque line, from 4 mm off the housing",
        sources=frames_of(tube, scan.volume),
        doubts=doubts,
    )


def _no_pump(
    other: OtherMetal, scans: Sequence[Scan], liver_lps_mm: NDArray[np.float64] | None, thresholds: DeviceThresholds
) -> Finding:
    metal = f" Other metal: {'; '.join(other.rejected)}." if other.rejected else ""
    covering = [scan for scan in scans if _reaches_pelvis(scan, liver_lps_mm)]
    presence = Presence.INDETERMINATE
    if other.edge_mm is not None:
        sentence = f"Metal of {other.edge_mm:.0f} mm at the edge of the scan: part of a pump? Not measurable." + metal
    elif not covering:
        sentence = "No infusion pump detected, but the lower abdomen is not scanned far enough to exclude one." + metal
    elif all(_trunk_cut(scan, liver_lps_mm, thresholds) for scan in covering):
        sentence = "No infusion pump detected, but the field of view cuts the trunk, so none can be excluded." + metal
    else:
        presence = Presence.ABSENT
        sentence = "No infusion pump detected in the scanned part of the body." + metal
    return Finding(key="pump_presence", concept=vocabulary.INFUSION_PUMP, presence=presence, sentence=sentence)


def _trunk_cut(scan: Scan, liver_lps_mm: NDArray[np.float64] | None, thresholds: DeviceThresholds) -> bool:
    """Whether the field cuts front or flank below the liver's middle widely enough, over a pump's radius, to hide one.

    The back does not count: no pump lies behind the spine's front.
    """
    grid, spine = scan.anatomy.grid, scan.anatomy.spine
    border = at_field_border(scan.anatomy.body.mask_zyx, grid)
    border &= np.arange(border.shape[1])[None, :, None] < spine.front_y[:, None, None]
    # Two voxels deep, so half of the count is the length of the cut.
    cut_mm = 0.5 * border.sum(axis=(1, 2)) * grid.spacing_mm
    heights_mm = grid.origin_lps_mm[2] + grid.spacing_mm * np.arange(len(cut_mm))
    below = np.ones(len(cut_mm), bool) if liver_lps_mm is None else heights_mm < np.median(liver_lps_mm[:, 2])
    planes = int((below & (cut_mm > thresholds.widest_cut_mm)).sum())
    return planes * grid.spacing_mm >= 0.5 * thresholds.pump_diameter_mm[0]


def _reaches_pelvis(scan: Scan, liver_lps_mm: NDArray[np.float64] | None) -> bool:
    lowest_mm = float(scan.anatomy.grid.origin_lps_mm[2])
    far_below = liver_lps_mm is not None and lowest_mm < float(liver_lps_mm[:, 2].min()) - _BELOW_LIVER_MM
    return far_below or scan.anatomy.spine.pelvis_mm >= _PELVIS_MM


def _findings(
    found: PumpFound, side: Code, search: CatheterSearch, short: str, thresholds: DeviceThresholds
) -> tuple[Finding, ...]:
    pump = found.pump
    size = "cut by the end of the scan" if pump.cut else f"{pump.diameter_mm:.0f} x {pump.thickness_mm:.0f} mm"
    findings = [
        Finding(
            key="pump_presence",
            concept=vocabulary.INFUSION_PUMP,
            presence=Presence.PRESENT,
            sentence=f"Infusion pump present on the {side.meaning.lower()} side, {size}.",
            subject="pump",
            site=vocabulary.ABDOMINAL_WALL,
            laterality=side,
            evidence=("pump_diameter", "pump_thickness"),
        ),
        _orientation(pump, thresholds),
    ]
    return (*findings, *_catheter_findings(found.scan, search, short, thresholds))


def _orientation(pump: Pump, thresholds: DeviceThresholds) -> Finding:
    tilt = "" if pump.tilt_deg is None else f", tilted by {pump.tilt_deg:.0f} degrees against the skin"
    if pump.dome_outwards is None:
        presence, words = Presence.INDETERMINATE, "No dome stands out of the pump, so its face cannot be told"
    elif pump.dome_outwards:
        presence, words = Presence.ABSENT, "The pump's dome faces the skin"
    else:
        presence, words = Presence.PRESENT, "The pump's dome faces inwards: it has turned over"
    notable = (
        " (more than expected)" if pump.tilt_deg is not None and pump.tilt_deg > thresholds.tilted_above_deg else ""
    )
    return Finding(
        key="pump_turned_over",
        concept=vocabulary.PUMP_ORIENTATION,
        presence=presence,
        sentence=f"{words}{tilt}{notable}.",
        subject="pump",
        evidence=("pump_tilt",) if pump.tilt_deg is not None else (),
    )


def _catheter_findings(
    scan: Scan, search: CatheterSearch, short: str, thresholds: DeviceThresholds
) -> tuple[Finding, ...]:
    catheter = search.catheter
    if catheter is None:
        return (
            Finding(
                key="catheter_presence",
                concept=vocabulary.CATHETER,
                presence=Presence.INDETERMINATE,
                sentence=f"Catheter not traced: {search.reason}.",
            ),
        )
    gaps = [gap for gap in catheter.gaps_mm if gap > thresholds.catheter_gap_mm]
    fine = scan.slice_step_mm <= 2.0
    # Streaks and thick slices hide a stretch as well as a break does: a gap is a question, not a fracture.
    continuity = Presence.INDETERMINATE if gaps or short or not fine else Presence.ABSENT
    if gaps:
        words = f"Catheter path interrupted for {max(gaps):.0f} mm; break or hidden stretch cannot be told apart."
    elif short:
        words = f"Continuity of the catheter cannot be judged: {short}."
    elif fine:
        words = "No interruption of the traced catheter path detected."
    else:
        words = f"Continuity of the catheter cannot be judged in slices {scan.slice_step_mm:.1f} mm apart."
    return (
        Finding(
            key="catheter_presence",
            concept=vocabulary.CATHETER,
            presence=Presence.PRESENT,
            sentence=f"Catheter traced from the pump over {catheter.length_mm:.0f} mm{', ' + short if short else ''}.",
            subject="catheter",
            evidence=("catheter_length",),
        ),
        Finding(
            key="catheter_interruption",
            concept=vocabulary.CATHETER_INTERRUPTION,
            presence=continuity,
            sentence=words,
            subject="catheter",
            evidence=("catheter_length",),
        ),
    )
