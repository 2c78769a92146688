"""The receive field of an MR volume, from the organ whose evenness is known.

Coils make the same tissue brighter near them, by factors. Its logarithm is smooth, so a polynomial of second degree is
fitted to the logarithm of parenchyma and grows with it. A blind correction (N4) was tried and left out: it needs
minutes, and where brightness falls evenly over the whole field it keeps a part of the fall.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_SAMPLES = 20000
_REACH_MM = 60.0
"""How far beyond the organ the polynomial is believed; farther out it goes on as a constant."""
_RIDGE = 1e-3
_SCALE_MM = 100.0


def fitted_bias(
    values_zyx: NDArray[np.float32], tissue_zyx: NDArray[np.bool_], spacing_mm: float, degree: int
) -> NDArray[np.float32]:
    """Smooth field whose geometric mean over the tissue is 1.

    Parameters
    ----------
    values_zyx : (z, y, x) float32
        Intensity on a grid of cubic voxels.
    tissue_zyx : (z, y, x) bool
        One kind of tissue.
    spacing_mm : float
        Edge of a voxel.
    degree : int
        1 where the tissue known so far is small, else 2.

    Returns
    -------
    (z, y, x) float32
        Divide by it. All ones where the tissue is too small to tell.
    """
    positions = np.argwhere(tissue_zyx & (values_zyx > 0))
    if len(positions) < 500:
        return np.ones_like(values_zyx)
    # Every n-th voxel: the same sample each time, spread over the whole organ.
    positions = positions[:: max(1, len(positions) // _MOST_SAMPLES)]
    middle = positions.mean(axis=0)
    logarithm = np.log(values_zyx[tuple(positions.T)].astype(np.float64))
    terms = _terms([(positions[:, axis] - middle[axis]) * spacing_mm / _SCALE_MM for axis in range(3)], degree)
    basis = np.stack(terms, axis=1)
    weights = np.ones(len(positions))
    for _ in range(4):
        weighted = basis * weights[:, None]
        left = weighted.T @ basis + _RIDGE * len(positions) * np.diag([0.0] + [1.0] * (basis.shape[1] - 1))
        solution = np.linalg.solve(left, weighted.T @ logarithm)
        residual = np.abs(logarithm - basis @ solution)
        # Cauchy weights: vessels and lesions among the tissue lose their say.
        weights = 1.0 / (1.0 + (residual / max(1e-3, 2.0 * float(np.median(residual)))) ** 2)
    low, high = positions.min(axis=0), positions.max(axis=0)
    reach = _REACH_MM / spacing_mm
    axes = []
    for axis, size in enumerate(values_zyx.shape):
        index = np.clip(np.arange(size), low[axis] - reach, high[axis] + reach)
        shape = [1, 1, 1]
        shape[axis] = size
        axes.append(((index - middle[axis]) * spacing_mm / _SCALE_MM).reshape(shape))
    field = sum(weight * term for weight, term in zip(solution[1:], _terms(axes, degree)[1:], strict=True))
    field = np.broadcast_to(np.asarray(field), values_zyx.shape)
    field = field - float(field[tissue_zyx].mean())
    return np.exp(np.clip(field, -1.6, 1.6)).astype(np.float32)


def _terms(axes: list[NDArray[np.float64]], degree: int) -> list[NDArray[np.float64]]:
    z, y, x = axes
    terms = [np.ones_like(z), z, y, x]
    if degree >= 2:
        terms += [z * z, y * y, x * x, z * y, z * x, y * x]
    return terms
