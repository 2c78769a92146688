"""Lung shunt fraction from the geometric means of opposite views.

*Raw*: ``L / (L + H)`` with L and H the geometric means of anterior and posterior counts in lungs and liver, less the
level of the body, and less the scatter by energy windows where there are any; what planar work-up reports, known to be
too high (scatter from the liver lies over the lungs, and lungs attenuate less).

*Corrected*: from the photopeak alone, whether there are windows or not, so that it means the same in every study: the
fitted halo of scatter is removed from both regions, the lung counts are divided by the share of lung
that is not hidden by the liver and by the scatter of their own, and multiplied by k, the ratio of attenuation factors
of liver and lung: ``k L' / (k L' + H')``. k differs between patients; its published range gives most of the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.scintigraphy.regions import PlanarRegions, dilated
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair

_Z_95 = 1.96
_BLUR_MARGIN_MM = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LungShunt:
    """The lung shunt fraction with what it rests on.

    Attributes
    ----------
    raw, corrected : float
        Fractions, 0 to 1.
    raw_uncertainty : float
        Half width of the 95 % interval of the raw value: counting and outlines, no attenuation.
    corrected_low, corrected_high : float
        95 % interval.
    liver_counts, lung_counts : float
        Geometric means less the level of the body (what the raw value is made of).
    lungs_seen : bool
        False where no lung stood out and the place where lungs must lie was measured instead.
    at_least : bool
        The field cuts the lungs, so the true value is higher.
    """

    raw: float
    raw_uncertainty: float
    corrected: float
    corrected_low: float
    corrected_high: float
    liver_counts: float
    lung_counts: float
    lungs_seen: bool
    at_least: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoShunt:
    """Why the lung shunt fraction cannot be measured."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Counts of one view: lungs and liver, less the body, and less the halo as well; with the lungs' variance."""

    lungs_less_body: float
    lungs_less_halo: float
    liver_less_body: float
    liver_less_halo: float
    lung_counting_variance: float
    lung_halo: float


def measure_shunt(
    pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds, *, left_lobe_alone: bool = False
) -> LungShunt | NoShunt:
    """Measure the lung shunt fraction of a pair of views, or say why not.

    Where the left lobe alone holds the tracer, k is smaller and the interval wider.
    """
    top = int(np.flatnonzero(pair.field_yx.any(axis=1))[0])
    above_mm = (regions.dome_row - top) * pair.pixel_mm
    if above_mm < thresholds.least_lung_field_mm:
        return NoShunt(
            reason=f"The field ends {max(above_mm, 0):.0f} mm above the dome of the liver: the lungs are not in it."
        )
    seen = bool(regions.lungs_yx.any())
    lungs_yx = regions.lungs_yx if seen else expected_lungs(pair, regions)
    scatter_yx = pair.scatter_yx or (np.zeros(lungs_yx.shape), np.zeros(lungs_yx.shape))
    front, back = (
        _sums(view, halo.counts_yx, halo.flat_yx + scatter, regions, lungs_yx, pair.pixel_mm)
        for view, halo, scatter in zip(pair.counts_yx, regions.halos, scatter_yx, strict=True)
    )
    liver = _geometric_mean(front.liver_less_body, back.liver_less_body)
    liver_primary = _geometric_mean(front.liver_less_halo, back.liver_less_halo)
    if liver <= 0 or liver_primary <= 0:
        return NoShunt(reason="The liver holds no counts above the background.")
    lungs = _geometric_mean(front.lungs_less_body, back.lungs_less_body)
    lungs_primary = _geometric_mean(front.lungs_less_halo, back.lungs_less_halo)
    counting = 0.5 * float(np.hypot(_relative_error(front, thresholds), _relative_error(back, thresholds)))
    spread = float(np.hypot(_Z_95 * counting, thresholds.lung_outline_fraction))
    raw = lungs / (lungs + liver)
    raw_uncertainty = float(np.hypot(spread * raw * (1.0 - raw), 0.003))
    seen_of_lungs = (1.0 - thresholds.hidden_lung_fraction) * (1.0 + thresholds.lung_scatter_fraction)
    ratio = thresholds.attenuation_factor / seen_of_lungs * lungs_primary / liver_primary
    if left_lobe_alone:
        ratio *= thresholds.left_lobe_alone_factor
        spread = float(np.hypot(spread, thresholds.right_lobe_missing_error_fraction))
    low, high = _interval(ratio, spread, thresholds)
    if ratio <= 0.0:
        # No counts are left over the halo: what it may have taken too much bounds the fraction from above.
        most = _geometric_mean(*(_Z_95 * _error_counts(view, thresholds) for view in (front, back)))
        bound = thresholds.attenuation_factor_high / seen_of_lungs * most / liver_primary
        high = bound / (1.0 + bound)
    if not seen:
        # Nothing stands out: the interval begins at none at all.
        low = 0.0
    return LungShunt(
        raw=raw,
        raw_uncertainty=raw_uncertainty,
        corrected=ratio / (1.0 + ratio),
        corrected_low=low,
        corrected_high=high,
        liver_counts=liver,
        lung_counts=lungs,
        lungs_seen=seen,
        at_least=regions.lungs_cut_fraction > thresholds.most_lung_cut_fraction,
    )


def expected_lungs(pair: PlanarPair, regions: PlanarRegions) -> NDArray[np.bool_]:
    """Where lungs must lie if none stands out: the columns of the trunk from 20 to 180 mm above the dome."""
    band = np.zeros(pair.field_yx.shape, np.bool_)
    first, last = (max(0, regions.dome_row - round(reach / pair.pixel_mm)) for reach in (180.0, 20.0))
    columns = np.flatnonzero(regions.liver_yx.any(axis=0))
    # A right lung is about as wide as the dome; the left one lies as far on the other side of the spine.
    span = round(260.0 / pair.pixel_mm)
    band[first:last, columns[0] : columns[0] + span] = True
    return band & pair.field_yx


def _sums(
    counts_yx: NDArray[np.float64],
    halo_yx: NDArray[np.float64],
    flat_yx: NDArray[np.float64],
    regions: PlanarRegions,
    lungs_yx: NDArray[np.bool_],
    pixel_mm: float,
) -> _Sums:
    """Sum one view over the regions; the gap at the lung base is filled with the level of the lung next to it."""
    liver = regions.liver_counts_yx
    near = lungs_yx & dilated(regions.liver_yx, 40.0, pixel_mm)
    # What blur carries over the outline belongs to the lungs as it does to the liver, except where the liver is near.
    lungs_yx = lungs_yx | (dilated(lungs_yx, _BLUR_MARGIN_MM, pixel_mm) & ~dilated(regions.hot_yx, 22.0, pixel_mm))
    gap_pixels = float(regions.lung_gap_yx.sum())
    filled = float((counts_yx - halo_yx)[near].mean()) * gap_pixels if near.any() else 0.0
    return _Sums(
        lungs_less_body=float((counts_yx - flat_yx)[lungs_yx | regions.lung_gap_yx].sum()),
        lungs_less_halo=float((counts_yx - halo_yx)[lungs_yx].sum()) + filled,
        liver_less_body=float((counts_yx - flat_yx)[liver].sum()),
        liver_less_halo=float((counts_yx - halo_yx)[liver].sum()),
        lung_counting_variance=float(counts_yx[lungs_yx].sum()),
        lung_halo=float(halo_yx[lungs_yx].sum()),
    )


def _geometric_mean(front: float, back: float) -> float:
    return float(np.sqrt(max(front, 0.0) * max(back, 0.0)))


def _relative_error(view: _Sums, thresholds: Thresholds) -> float:
    return _error_counts(view, thresholds) / max(view.lungs_less_halo, 1.0)


def _error_counts(view: _Sums, thresholds: Thresholds) -> float:
    """One standard deviation of a view's lung counts: Poisson, and the modelled scatter that was taken away."""
    modelled = thresholds.scatter_model_fraction * view.lung_halo / 2.0
    return float(np.sqrt(view.lung_counting_variance + modelled**2))


def _interval(ratio: float, spread: float, thresholds: Thresholds) -> tuple[float, float]:
    """95 % interval of the corrected fraction from relative errors, asymmetric as the range of k is."""
    hidden = thresholds.hidden_lung_error_fraction / (1.0 - thresholds.hidden_lung_fraction)
    k_down = 1.0 - thresholds.attenuation_factor_low / thresholds.attenuation_factor
    k_up = thresholds.attenuation_factor_high / thresholds.attenuation_factor - 1.0
    down, up = (float(np.sqrt(spread**2 + hidden**2 + k**2)) for k in (k_down, k_up))
    low, high = ratio * max(0.0, 1.0 - down), ratio * (1.0 + up)
    return low / (1.0 + low), high / (1.0 + high)
