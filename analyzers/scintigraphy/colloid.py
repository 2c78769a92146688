"""The colloid scan of the same study: its residue under the macroaggregates, and the liver that it outlines.

Colloid stays where phagocytes took it up, so that what is left under a later view is the earlier picture, weaker by
decay, longer or shorter by the duration. It is registered by the correlation of the outlines, scaled and subtracted.
Without a clock or a duration in both headers it cannot be scaled, and is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.corrections import exposure_ratio
from analyzers.scintigraphy.regions import PlanarRegions
from analyzers.scintigraphy.views import PlanarPair, shift_between_mm

_MOST_SHIFT_MM = 40.0
_PERFUSED_BLUR_MM = 6.0
_BRIGHT_PERCENTILE = 95
PERFUSED_LEVELS = (0.10, 0.20, 0.40)
"""Shares of the bright liver's level above which a pixel counts as perfused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidueLeft:
    """Why the residue could not be subtracted."""

    reason: str


def without_residue(pair: PlanarPair, colloid: PlanarPair) -> PlanarPair | ResidueLeft:
    """Subtract the scaled colloid scan from both views of a pair."""
    if pair.anterior_yx.shape != colloid.anterior_yx.shape or abs(pair.pixel_mm / colloid.pixel_mm - 1.0) > 0.02:
        return ResidueLeft(reason="the colloid scan has another matrix or pixel size")
    cleaned = []
    for own, other, view, earlier in zip(pair.counts_yx, colloid.counts_yx, pair.views, colloid.views, strict=True):
        ratio = exposure_ratio(earlier, view)
        if ratio is None:
            return ResidueLeft(reason="durations and times of both scans are not known, so it cannot be scaled")
        shift_mm = shift_between_mm(own, other, pair.pixel_mm)
        if max(abs(part) for part in shift_mm) > _MOST_SHIFT_MM:
            return ResidueLeft(reason="both scans do not lie on each other")
        moved = ndimage.shift(other, [part / pair.pixel_mm for part in shift_mm], order=1, mode="constant")
        cleaned.append(np.maximum(own - ratio * moved, 0.0))
    return replace(
        pair,
        anterior_yx=cleaned[0],
        posterior_yx=cleaned[1],
        corrections=(*pair.corrections, "residue of colloid scaled by decay and duration and subtracted"),
    )


def perfused_shares(pair: PlanarPair, regions: PlanarRegions, colloid_liver_yx: NDArray[np.bool_]) -> tuple[float, ...]:
    """Share of the colloid's outline of the liver with perfusion, at each of :data:`PERFUSED_LEVELS`."""
    smooth = pair.smoothed(_PERFUSED_BLUR_MM)
    bright = float(np.percentile(smooth[regions.liver_yx], _BRIGHT_PERCENTILE))
    inside = smooth[colloid_liver_yx]
    return tuple(float((inside >= level * bright).mean()) for level in PERFUSED_LEVELS)
