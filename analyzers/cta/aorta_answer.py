"""The aorta's part of the answer: segment, calibre at the celiac trunk, attenuation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analyzers import vocabulary
from analyzers.contract import Gate, Measurement, Outline
from analyzers.cta.lumen import LumenSection, celiac_section, lumen_mask
from analyzers.cta.part import SCALE_DOUBT_HU, Part, measurement, segment
from analyzers.cta.phase import Phase
from analyzers.cta.scan import Scan
from analyzers.cta.thresholds import AortaThresholds

_AORTA_RGB = (216, 66, 50)
_LEVEL_HALF_HEIGHT_MM = 10.0
"""Calibre and attenuation are medians over this far above and below the level."""


def aorta_part(
    scan: Scan,
    sections: tuple[LumenSection, ...],
    liver_z_mm: tuple[float, float] | None,
    thresholds: AortaThresholds,
) -> Part:
    """Delineate and measure the aorta of one scan."""
    if scan.aorta is None or not sections:
        return Part(found=False, limitations=("Aorta: no tube could be followed in front of the spine.",))
    volume = scan.volume
    met = float(np.median([section.edge_share_fraction for section in sections]))
    gates = (
        Gate(
            name="Aorta lumen attenuation",
            passed=scan.aorta.mean_hu >= thresholds.lumen_above_hu,
            seen=f"{scan.aorta.mean_hu:.0f} HU",
            wanted=f"at least {thresholds.lumen_above_hu:.0f} HU for a calibre",
        ),
        Gate(
            name="Aorta slice distance",
            passed=scan.slice_step_mm <= thresholds.thickest_slice_calibre_mm,
            seen=f"{scan.slice_step_mm:.1f} mm",
            wanted=f"at most {thresholds.thickest_slice_calibre_mm:.1f} mm for a calibre",
        ),
        Gate(
            name="Aorta outline",
            passed=met >= 0.6,
            seen=f"{100 * met:.0f} % of the rays meet a wall",
            wanted="at least 60 %",
        ),
    )
    if not gates[0].passed or not gates[2].passed:
        return Part(
            found=False,
            gates=gates,
            limitations=(f"Aorta not delineated: lumen {scan.aorta.mean_hu:.0f} HU, no contrast to its wall.",),
        )
    section, seen = celiac_section(volume, sections, liver_z_mm)
    measurements: tuple[Measurement, ...] = ()
    limitations = [] if section else ["Aorta: the level of the celiac trunk is not in the scan; no calibre."]
    if section is not None:
        measurements = _at_level(scan, sections, section, seen, gates[1].passed, thresholds)
        if not gates[1].passed:
            limitations.append(f"Aorta: no calibre from slices {scan.slice_step_mm:.1f} mm apart.")
    mask = lumen_mask(volume, sections)
    return Part(
        found=True,
        gates=gates,
        segments=(segment("aorta", "Aorta", vocabulary.AORTA, mask, volume, _AORTA_RGB),),
        measurements=measurements,
        limitations=tuple(limitations),
    )


def _at_level(
    scan: Scan,
    sections: tuple[LumenSection, ...],
    level: LumenSection,
    celiac_seen: bool,
    calibre_allowed: bool,
    thresholds: AortaThresholds,
) -> tuple[Measurement, ...]:
    reach = max(1, round(_LEVEL_HALF_HEIGHT_MM / scan.slice_step_mm))
    near = [section for section in sections if abs(section.plane - level.plane) <= reach]
    diameter_mm = float(np.median([section.diameter_mm for section in near]))
    pixel_mm = max(scan.volume.spacing_zyx_mm[1:])
    level_doubt = [] if celiac_seen else ["celiac trunk not seen, level taken from the liver's height"]
    doubts = list(level_doubt)
    if scan.aorta is not None and scan.aorta.mean_hu < thresholds.good_calibre_above_hu:
        doubts.append(f"lumen {scan.aorta.mean_hu:.0f} HU in the {scan.name}")
    if scan.slice_step_mm > thresholds.good_slice_mm:
        doubts.append(f"slices {scan.slice_step_mm:.1f} mm apart")
    if level.eccentricity_fraction > thresholds.most_eccentric_fraction:
        doubts.append("cross-section not round")
    frame = scan.volume.planes[level.plane]
    hu = measurement(
        "aorta_attenuation",
        float(np.median([section.lumen_hu for section in near])),
        "aorta",
        uncertainty=median_doubt_hu([section.lumen_hu for section in near]),
        method="Median of the inner half of the lumen",
        sources=(frame,),
        doubts=level_doubt,
    )
    if not calibre_allowed:
        return (hu,)
    diameter = measurement(
        "aorta_diameter",
        diameter_mm,
        "aorta",
        uncertainty=pixel_mm,
        method="Circle of equal area, half-maximum edge",
        sources=(frame,),
        doubts=doubts,
    )
    return replace(diameter, lines=(_width_line(scan, level, diameter_mm),)), hu


def median_doubt_hu(planes_hu: Sequence[float]) -> float:
    """Half width of the 95 % interval of the median over planes: the scanner's scale and the error of the median.

    The standard error of a median of n normal values is 1.253 standard deviations / sqrt(n) (Kendall and Stuart). A
    single plane has none that could be computed; the scale is then all that is stated.
    """
    count = len(planes_hu)
    error_hu = 1.253 * float(np.std(planes_hu, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return math.hypot(SCALE_DOUBT_HU, 1.96 * error_hu)


def _width_line(scan: Scan, section: LumenSection, diameter_mm: float) -> Outline:
    """The width of the outline that is nearest to the reported diameter, as a line on the source frame."""
    outline = section.outline_col_row
    half = len(outline) // 2
    _, row_mm, column_mm = scan.volume.spacing_zyx_mm
    across_mm = np.hypot(
        (outline[:half, 0] - outline[half:, 0]) * column_mm, (outline[:half, 1] - outline[half:, 1]) * row_mm
    )
    best = int(np.argmin(np.abs(across_mm - diameter_mm)))
    # Half a pixel: outlines count from the outer corner of the first pixel, indices from its centre.
    ends = outline[[best, best + half]] + 0.5
    points = tuple((round(float(column), 2), round(float(row), 2)) for column, row in ends)
    return Outline(frame=scan.volume.planes[section.plane], points_col_row=points, closed=False)


def prefers(scan: Scan) -> tuple[int, float]:
    """Sorts scans: arterial first, then portal; of one phase the thinnest."""
    order = {Phase.ARTERIAL: 0, Phase.PORTAL: 1, Phase.DELAYED: 2}
    return order.get(scan.phase.phase, 3), scan.slice_step_mm
