"""SPECT/CT: how much of the liver is perfused, how the activity is split between the lobes, and what reaches the lungs.

Everything here needs parenchyma from the CT and a SPECT corrected for attenuation. The lobes are divided at the main
fissure as ``spect_fissure`` lays it; ``spect_split`` says how the activity divides there, ``spect_shunt``
what reaches the lungs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.spect_fissure import lay_fissure
from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.spect_shunt import SpectShunt, measure_shunt
from analyzers.scintigraphy.spect_split import ActivitySplit, split_activity
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.volume import Volume

_CORE_MM = 10.0
"""Levels of a lobe are read this far inside its surface and from the plane between the lobes: one width of the blur."""
_LEVELS = (0.10, 0.20, 0.40)
_LEAST_CORE_VOXELS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Lobe:
    """One side of the main fissure.

    Attributes
    ----------
    side : str
        ``right`` or ``left``.
    mask_zyx : (z, y, x) bool
        On the SPECT.
    volume_ml, volume_fraction : float
        On the CT's liver; the share of the whole liver.
    activity_fraction, activity_error : float
        Share of the liver's activity, and half its 95 % interval.
    perfusion_index : float
        Share of activity over share of volume.
    level : float
        Median counts in the core.
    covered_fractions : three float
        Share of the lobe's volume above 10, 20 and 40 % of the liver's 95th percentile.
    is_resected : bool
        The CT shows next to no parenchyma there.
    is_perfused : bool
    """

    side: str
    mask_zyx: NDArray[np.bool_]
    volume_ml: float
    volume_fraction: float
    activity_fraction: float
    activity_error: float
    perfusion_index: float
    level: float
    covered_fractions: tuple[float, float, float]
    is_resected: bool
    is_perfused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Perfusion:
    """What the liver of the CT holds."""

    right: Lobe
    left: Lobe
    perfused_ml: float
    covered_fractions: tuple[float, float, float]
    shunt: SpectShunt | None
    above_dome_ml: float
    """Volume of uptake above the highest point of the CT's liver, where the CT was not moved."""

    @property
    def missing_lobe(self) -> str:
        """``left`` or ``right`` where parenchyma has no uptake; else empty."""
        return next((one.side for one in (self.left, self.right) if not one.is_perfused and not one.is_resected), "")

    @property
    def resected_lobe(self) -> str:
        """``left`` or ``right`` where the CT shows no parenchyma; else empty."""
        return next((one.side for one in (self.left, self.right) if one.is_resected), "")


def measure_perfusion(
    volume: Volume,
    organs: CtOrgans,
    uptake_zyx: NDArray[np.bool_],
    foci_zyx: NDArray[np.bool_],
    thresholds: Thresholds,
) -> Perfusion:
    """Measure lobes, coverage and lung shunt.

    Parameters
    ----------
    volume : Volume
        SPECT, corrected for attenuation.
    organs : CtOrgans
    uptake_zyx : (z, y, x) bool
        Region of uptake found from activity alone.
    foci_zyx : (z, y, x) bool
        Uptake outside the liver; it spills into the lungs as the liver does.
    thresholds : Thresholds
    """
    counts = np.maximum(volume.voxels_zyx.astype(np.float64), 0.0)
    reference = float(np.percentile(counts[organs.liver_zyx], 95))
    fissure = lay_fissure(counts, organs.liver_zyx, organs.left_of_rule_mm_zyx, volume.spacing_zyx_mm, thresholds)
    right_zyx = organs.left_of_rule_mm_zyx < fissure.moved_left_mm
    split = split_activity(volume, counts, organs, fissure, foci_zyx, thresholds)
    right, left = (
        _lobe(side, volume, counts, organs, organs.liver_zyx & where, reference, split, thresholds)
        for side, where in (("right", right_zyx), ("left", ~right_zyx))
    )
    right, left = _judged(right, left, thresholds), _judged(left, right, thresholds)
    covered = _covered(counts, organs.liver_zyx, reference)
    return Perfusion(
        right=right,
        left=left,
        perfused_ml=covered[1] * organs.liver_ml,
        covered_fractions=covered,
        shunt=measure_shunt(volume, counts, organs, foci_zyx, thresholds),
        above_dome_ml=_above_dome_ml(volume, organs, uptake_zyx),
    )


def _lobe(
    side: str,
    volume: Volume,
    counts: NDArray[np.float64],
    organs: CtOrgans,
    mask: NDArray[np.bool_],
    reference: float,
    split: ActivitySplit,
    thresholds: Thresholds,
) -> Lobe:
    share = float(mask.sum()) / max(1, int(organs.liver_zyx.sum()))
    activity = split.right_fraction if side == "right" else 1.0 - split.right_fraction
    depth_mm = ndimage.distance_transform_edt(mask, sampling=volume.spacing_zyx_mm)
    core = depth_mm > _CORE_MM
    if core.sum() < _LEAST_CORE_VOXELS:
        core = depth_mm >= 0.5 * float(depth_mm.max()) if mask.any() else mask
    return Lobe(
        side=side,
        mask_zyx=mask,
        volume_ml=share * organs.liver_ml,
        volume_fraction=share,
        activity_fraction=activity,
        activity_error=split.error,
        perfusion_index=activity / share if share > 0 else 0.0,
        level=float(np.median(counts[core])) if core.any() else 0.0,
        covered_fractions=_covered(counts, mask, reference),
        is_resected=share < thresholds.absent_parenchyma_fraction,
        is_perfused=True,
    )


def _judged(lobe: Lobe, other: Lobe, thresholds: Thresholds) -> Lobe:
    perfused = other.is_resected or lobe.level >= thresholds.absent_lobe_spect_fraction * other.level
    return replace(lobe, is_perfused=perfused and not lobe.is_resected)


def _covered(counts: NDArray[np.float64], mask: NDArray[np.bool_], reference: float) -> tuple[float, float, float]:
    inside = counts[mask]
    if not inside.size:
        return 0.0, 0.0, 0.0
    ten, twenty, forty = (float((inside > level * reference).mean()) for level in _LEVELS)
    return ten, twenty, forty


def _above_dome_ml(volume: Volume, organs: CtOrgans, uptake_zyx: NDArray[np.bool_]) -> float:
    grid = organs.anatomy.grid
    planes = np.flatnonzero(organs.liver_on_ct_zyx.any(axis=(1, 2)))
    middle = np.asarray(organs.ct.voxels_zyx.shape[1:], np.float64) / 2
    dome_mm = float(organs.ct.to_lps_mm(np.asarray([[plane, *middle] for plane in planes]))[:, 2].max())
    height_mm = volume.to_lps_mm(np.argwhere(uptake_zyx).astype(np.float64))[:, 2]
    return float((height_mm > dome_mm + grid.spacing_mm / 2).sum()) * volume.voxel_ml
