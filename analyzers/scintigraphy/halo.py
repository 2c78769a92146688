"""Scatter and body background round hot organs, fitted to the picture itself.

Photons that scattered on their way out lie as a broad halo round the liver; over the lungs they can outnumber the
photons of a small lung shunt. The halo of a view is described as what the hot organs' own counts give when they are
blurred by a few Gaussians of fixed widths, plus a flat level over the whole field and one over the trunk. The
amplitudes are non-negative, those of the Gaussians together at most 1 (no organ scatters more than it holds). They are
found by weighted least squares where nothing else is expected, leaving out what sticks out (foci). No property of a
particular camera is assumed; the picture decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

_WIDTHS_MM = (15.0, 30.0, 60.0, 120.0)
_LUNG_WIDTHS_MM = (15.0, 45.0)
_ROUNDS = 6
_OUTLIER_SIGMA = 3.0
_MODEL_ERROR_FRACTION = 0.10
_STRICT = 1e2


@dataclass(frozen=True, slots=True, kw_only=True)
class Halo:
    """Fitted background of one view.

    Attributes
    ----------
    counts_yx : (rows, columns) float64
        Scatter and body background, counts per pixel; defined everywhere, also inside the hot organs.
    flat_yx : (rows, columns) float64
        The part of it that belongs to the body and the room, without the halo of the hot organs.
    """

    counts_yx: NDArray[np.float64]
    flat_yx: NDArray[np.float64]


def fit_halo(
    counts_yx: NDArray[np.float64],
    sources_yx: NDArray[np.bool_],
    fit_region_yx: NDArray[np.bool_],
    pixel_mm: float,
    *,
    trunk_yx: NDArray[np.bool_] | None = None,
    lungs_yx: NDArray[np.bool_] | None = None,
) -> Halo:
    """Fit the halo of hot organs and the level of the body.

    Parameters
    ----------
    counts_yx : (rows, columns) float64
        One view.
    sources_yx : (rows, columns) bool
        Pixels whose counts make the halo, blur margin included.
    fit_region_yx : (rows, columns) bool
        Pixels to fit: clear of sources and of the lungs. May hold foci; what sticks out is left out.
    pixel_mm : float
    trunk_yx : (rows, columns) bool, optional
        The trunk, which gets a level of its own.
    lungs_yx : (rows, columns) bool, optional
        The lungs, blur margin included. They have a halo too; it is fitted so that it does not pass for background,
        and is not part of the result: what lungs scatter is theirs.
    """
    columns = _blurred(counts_yx * sources_yx, _WIDTHS_MM, pixel_mm)
    columns.append(np.ones_like(counts_yx))
    if trunk_yx is not None:
        columns.append(ndimage.gaussian_filter(trunk_yx.astype(np.float64), 12.0 / pixel_mm))
    background = len(columns)
    if lungs_yx is not None and lungs_yx.any():
        columns += _blurred(counts_yx * lungs_yx, _LUNG_WIDTHS_MM, pixel_mm)
    design = np.stack(columns, axis=-1)
    weights = _fit(counts_yx, _with_slack(design), fit_region_yx)[:background]
    flat = len(_WIDTHS_MM)
    return Halo(counts_yx=design[..., :background] @ weights, flat_yx=design[..., flat:background] @ weights[flat:])


def _with_slack(design: NDArray[np.float64]) -> NDArray[np.float64]:
    """One more column, empty in the picture: what the amplitudes of the Gaussians leave of 1."""
    return np.concatenate([design, np.zeros((*design.shape[:-1], 1))], axis=-1)


def _blurred(
    source_yx: NDArray[np.float64], widths_mm: tuple[float, ...], pixel_mm: float
) -> list[NDArray[np.float64]]:
    return [ndimage.gaussian_filter(source_yx, width / pixel_mm, truncate=5.0) for width in widths_mm]


def _fit(
    counts_yx: NDArray[np.float64], design: NDArray[np.float64], region_yx: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Non-negative amplitudes; every round leaves out pixels whose neighbourhood exceeds the last fit."""
    weights = np.zeros(design.shape[-1])
    if region_yx.sum() < 4 * design.shape[-1]:
        return weights
    used = region_yx
    # One heavy row says that the halo's amplitudes and the slack add up to 1.
    strict = _STRICT * float(np.sqrt(max(counts_yx.sum(), 1.0)))
    together = np.zeros(design.shape[-1])
    together[: len(_WIDTHS_MM)] = strict
    together[-1] = strict
    expected = np.maximum(ndimage.gaussian_filter(counts_yx, 2.0), 0.5)
    around = ndimage.uniform_filter(counts_yx, 3) * 9.0
    for _ in range(_ROUNDS):
        root = 1.0 / np.sqrt(np.maximum(expected[used], 0.3))
        weights, _ = optimize.nnls(
            np.vstack([design[used] * root[:, None], together]), np.append(counts_yx[used] * root, strict)
        )
        expected = design @ weights
        model = ndimage.uniform_filter(expected, 3) * 9.0
        sigma = np.sqrt(np.maximum(model, 1.0) + (_MODEL_ERROR_FRACTION * model) ** 2)
        kept = region_yx & (around - model < _OUTLIER_SIGMA * sigma)
        if kept.sum() < 4 * design.shape[-1]:
            break
        used = kept
    return np.asarray(weights, np.float64)
