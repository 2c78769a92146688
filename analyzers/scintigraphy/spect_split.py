"""How the activity of a SPECT/CT divides between the lobes, with what blur carries over their borders taken back.

Right lobe, left lobe, lungs, foci and the rest of the body are taken to be even; how much each spills into each gives a
geometric transfer matrix, whose solution are their levels (Rousset et al., J Nucl Med 1998). One step of expectation
maximisation (Richardson 1972, Lucy 1974) then lets every voxel follow its counts. A lobe of even level without uptake
stays one: counts that belong to its neighbour are no longer its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.spect_fissure import Fissure, right_share
from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.spect_spill import box_round, spread_sigmas
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.volume import Volume

_LEAST_VOXELS = 20
_LEAST_LEVEL = 1e-4
_MOST_CHANGE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivitySplit:
    """Share of the liver's activity in the right lobe, and half of its 95 % interval."""

    right_fraction: float
    error: float


def split_activity(
    volume: Volume,
    counts_zyx: NDArray[np.float64],
    organs: CtOrgans,
    fissure: Fissure,
    foci_zyx: NDArray[np.bool_],
    thresholds: Thresholds,
) -> ActivitySplit:
    """Divide the activity at the fissure; the interval moves it, and adds what the correction of blur leaves.

    Parameters
    ----------
    volume : Volume
        SPECT, corrected for attenuation.
    counts_zyx : (z, y, x) float64
        Its counts, not negative.
    organs : CtOrgans
    fissure : Fissure
    foci_zyx : (z, y, x) bool
        Uptake outside the liver.
    thresholds : Thresholds
    """
    box = box_round(organs.liver_zyx, volume.spacing_zyx_mm)
    liver = organs.liver_zyx[box]
    lungs, foci = organs.lungs_zyx[box] & ~liver, foci_zyx[box] & ~liver
    rest = organs.body_zyx[box] & ~liver & ~lungs & ~foci
    others = [part for part in (rest, lungs & ~foci, foci) if part.sum() >= _LEAST_VOXELS]
    counts = np.asarray(counts_zyx[box] / max(float(counts_zyx[organs.liver_zyx].mean()), 1e-9), np.float32)
    sigmas = spread_sigmas(1.0, volume.spacing_zyx_mm)
    across_mm = float(np.linalg.norm(volume.affine_lps[:3, 0]))

    def right_of(moved_left_mm: float) -> float:
        share = right_share(organs.left_of_rule_mm_zyx[box], moved_left_mm, across_mm)
        return _right_fraction(counts, liver, share, others, sigmas)

    right = right_of(fissure.moved_left_mm)
    reach_mm = 1.96 * fissure.error_mm
    moved = max(abs(right_of(fissure.moved_left_mm + way * reach_mm) - right) for way in (-1.0, 1.0))
    return ActivitySplit(right_fraction=right, error=float(np.hypot(moved, thresholds.spect_split_error)))


def _right_fraction(
    counts: NDArray[np.float32],
    liver: NDArray[np.bool_],
    share: NDArray[np.float32],
    others: Sequence[NDArray[np.bool_]],
    sigmas: tuple[float, ...],
) -> float:
    lobes = (liver & (share > 0.5), liver & (share <= 0.5))
    if min(int(lobe.sum()) for lobe in lobes) < _LEAST_VOXELS:
        total = float(counts[liver].sum(dtype=np.float64))
        return float((counts * share)[liver].sum(dtype=np.float64)) / max(total, 1e-9)
    parts = [liver * share, liver * (1.0 - share), *(other.astype(np.float32) for other in others)]
    spread = [ndimage.gaussian_filter(part, sigmas, truncate=3.0) for part in parts]
    regions = [*lobes, *others]
    transfer = np.asarray([[float(one[region].mean()) for one in spread] for region in regions], np.float64)
    seen = np.asarray([float(counts[region].mean()) for region in regions], np.float64)
    levels = np.maximum(np.linalg.lstsq(transfer, seen, rcond=None)[0], _LEAST_LEVEL).astype(np.float32)
    activity = sum((level * part for level, part in zip(levels, parts, strict=True)), np.zeros_like(counts))
    expected = sum((level * part for level, part in zip(levels, spread, strict=True)), np.zeros_like(counts))
    change = np.clip(counts / np.maximum(expected, 1e-6), 1.0 / _MOST_CHANGE, _MOST_CHANGE)
    activity = activity * ndimage.gaussian_filter(change, sigmas, truncate=3.0)
    whole = float(activity[liver].sum(dtype=np.float64))
    return float((activity * share)[liver].sum(dtype=np.float64)) / max(whole, 1e-9)
