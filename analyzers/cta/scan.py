"""One scan surveyed: trunk, spine, lungs, aorta, the liver's seed, and the phase that follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.ct_anatomy.liver import Anatomy, LiverSeed, find_liver_seed
from analyzers.ct_anatomy.patient_grid import PatientGrid, patient_grid
from analyzers.ct_anatomy.spine import Spine
from analyzers.ct_anatomy.survey import survey_trunk
from analyzers.cta.aorta import AortaCourse, follow_aorta
from analyzers.cta.phase import Phase, PhaseEvidence, phase_of
from analyzers.cta.thresholds import CtaThresholds
from analyzers.quality import plane_distance_mm
from analyzers.volume import Volume

VESSEL_GRID_MM = 1.5
_LEAST_OVERLAP_MM = 30.0
_SIDE_REACH_MM = 95.0
_FRONT_REACH_MM = 95.0
"""Circles are looked for up to 60 mm away and reach 27 mm further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A volume with what was found in it before any structure is measured."""

    volume: Volume
    anatomy: Anatomy
    aorta: AortaCourse | None
    liver_seed: LiverSeed | None
    phase: PhaseEvidence

    @property
    def name(self) -> str:
        """How the report calls the scan: the measured phase."""
        return f"{self.phase.phase.value} phase" if self.phase.phase is not Phase.NATIVE else "native scan"

    @property
    def slice_step_mm(self) -> float:
        """Distance of the planes along their normal."""
        return plane_distance_mm(self.volume)


def survey(volume: Volume, thresholds: CtaThresholds) -> Scan | str:
    """Survey one volume; the reason in words if it shows no trunk."""
    anatomy = survey_trunk(volume, thresholds.tissue)
    if isinstance(anatomy, str):
        return anatomy
    grid, spine = anatomy.grid, anatomy.spine
    beside_spine = patient_grid(volume, VESSEL_GRID_MM, _around_spine(grid, spine))
    aorta = follow_aorta(beside_spine, spine, grid, thresholds.aorta)
    seed = find_liver_seed(anatomy, thresholds.liver)
    if aorta is not None and seed is not None and not _side_by_side(aorta, seed, grid):
        aorta = None
    header = volume.header
    text = header.text("SeriesDescription") or header.text("ProtocolName")
    evidence = phase_of(
        None if aorta is None else aorta.mean_hu, None if seed is None else seed.centre_hu, text, thresholds.phase
    )
    return Scan(volume=volume, anatomy=anatomy, aorta=aorta, liver_seed=seed, phase=evidence)


def _around_spine(grid: PatientGrid, spine: Spine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners (LPS mm) of the part of the trunk in which an aorta can lie, at full height."""
    planes = np.arange(len(spine.x), dtype=float)
    front_lps_mm = grid.to_lps_mm(np.column_stack([planes, spine.front_y, spine.x]))
    low = front_lps_mm.min(axis=0) - np.array([_SIDE_REACH_MM, _FRONT_REACH_MM, np.inf])
    high = front_lps_mm.max(axis=0) + np.array([_SIDE_REACH_MM, _FRONT_REACH_MM, np.inf])
    return low, high


def _side_by_side(aorta: AortaCourse, seed: LiverSeed, grid: PatientGrid) -> bool:
    """Whether the tube passes the liver at all; one that does not is bone, bowel or an iliac artery."""
    planes = np.flatnonzero(seed.core_zyx.any(axis=(1, 2)))
    low, high = (grid.origin_lps_mm[2] + grid.spacing_mm * planes[[0, -1]]).tolist()
    heights = aorta.centres_lps_mm[:, 2]
    overlap_mm = min(high, float(heights.max())) - max(low, float(heights.min()))
    return bool(overlap_mm >= min(_LEAST_OVERLAP_MM, 0.5 * (high - low)))
