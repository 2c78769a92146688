"""A random walker with priors on a voxel grid.

Minimises the sum over neighbours of w (p_i - p_j)^2 plus a pull of each voxel towards its prior, with p = 1 on the
organ's seeds and 0 on the background's (Grady, "Multilabel random walker image segmentation using prior models", CVPR
2005). The minimum is unique and found by conjugate gradients, so the result depends on nothing but the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import linalg

_PULL = 0.06
"""Weight of the prior against one full-strength neighbour."""
_EDGE_SHARPNESS = 0.35
_WEAKEST_EDGE = 1e-3
_TOLERANCE = 1e-3
_MOST_STEPS = 400


def liver_probability(
    deviation_zyx: NDArray[np.float32],
    prior_zyx: NDArray[np.float32],
    organ_zyx: NDArray[np.bool_],
    background_zyx: NDArray[np.bool_],
    domain_zyx: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Probability that a walker from each voxel reaches the organ before the background.

    Parameters
    ----------
    deviation_zyx : (z, y, x) float32
        Attenuation in units of the organ's spread; its steps are the borders.
    prior_zyx : (z, y, x) float32
        Probability by appearance and place alone.
    organ_zyx, background_zyx, domain_zyx : (z, y, x) bool
        Fixed voxels of either label, and where a walker may go.
    """
    probability = np.zeros(deviation_zyx.shape, np.float32)
    probability[organ_zyx] = 1.0
    free = domain_zyx & ~organ_zyx & ~background_zyx
    free &= _near(organ_zyx, free)
    box = _box(free | organ_zyx)
    solved = _solve(deviation_zyx[box], prior_zyx[box], organ_zyx[box], free[box])
    probability[box][free[box]] = solved
    return probability


def _near(organ: NDArray[np.bool_], free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The free voxels that are connected to the organ's seeds at all."""
    labels, _ = ndimage.label(free | organ)
    return np.isin(labels, np.unique(labels[organ]))


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.int8))[0]
    return tuple(slice(max(0, part.start - 1), part.stop + 1) for part in found)


def _solve(
    deviation: NDArray[np.float32],
    prior: NDArray[np.float32],
    organ: NDArray[np.bool_],
    free: NDArray[np.bool_],
) -> NDArray[np.float32]:
    count = int(free.sum())
    if count == 0:
        return np.zeros(0, np.float32)
    number = np.full(free.shape, -1, np.int64)
    number[free] = np.arange(count)
    diagonal = np.full(count, _PULL)
    right_side = _PULL * prior[free].astype(float)
    rows, columns, weights = [], [], []
    for axis in range(3):
        low = tuple(slice(0, -1) if other == axis else slice(None) for other in range(3))
        high = tuple(slice(1, None) if other == axis else slice(None) for other in range(3))
        weight = np.exp(-_EDGE_SHARPNESS * (deviation[low] - deviation[high]) ** 2) + _WEAKEST_EDGE
        for here, there in ((low, high), (high, low)):
            inner = free[here]
            np.add.at(diagonal, number[here][inner], weight[inner])
            to_organ = inner & organ[there]
            np.add.at(right_side, number[here][to_organ], weight[to_organ])
            between = inner & free[there]
            rows.append(number[here][between])
            columns.append(number[there][between])
            weights.append(-weight[between])
    matrix = sparse.coo_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
    ).tocsr()
    matrix += sparse.diags(diagonal)
    preconditioner = sparse.diags(1.0 / diagonal)
    solution, _ = linalg.cg(
        matrix, right_side, x0=prior[free].astype(float), rtol=_TOLERANCE, maxiter=_MOST_STEPS, M=preconditioner
    )
    return np.asarray(np.clip(solution, 0.0, 1.0), np.float32)
