"""What more than one analyzer asks of a stack: how far apart its planes are, whether a structure lies inside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import Gate
from analyzers.geometry import slice_normal
from analyzers.volume import GridMismatchError, Volume


def truncation_gate(volume: Volume, mask_zyx: NDArray[np.bool_], structure: str, largest_fraction: float) -> Gate:
    """Whether a structure lies wholly inside the stack.

    Parameters
    ----------
    volume : Volume
        The grid of the mask.
    mask_zyx : (z, y, x) bool
        The structure; an empty one is not cut.
    structure : str
        Its name for the report, e.g. ``liver``.
    largest_fraction : float
        Largest area on the first or last plane, as part of the largest area on any plane.

    Raises
    ------
    GridMismatchError
        If mask and volume differ in shape.
    """
    _check_same_shape(volume, mask_zyx)
    areas = np.count_nonzero(mask_zyx, axis=(1, 2))
    largest = int(areas.max(initial=0))
    cut = max(int(areas[0]), int(areas[-1])) / largest if largest else 0.0
    return Gate(
        name=f"{structure} inside the scan",
        passed=cut <= largest_fraction,
        seen=f"{cut:.0%} of its largest section on an outermost slice",
        wanted=f"at most {largest_fraction:.0%}",
    )


def plane_normal_lps(volume: Volume) -> NDArray[np.float64]:
    """Unit normal of a volume's planes, shape (3,), LPS; of a tilted gantry not the direction of the step."""
    a, b, c, d, e, f = (float(value) for axis in (0, 1) for value in volume.affine_lps[:3, axis])
    return slice_normal((a, b, c, d, e, f))


def plane_distance_mm(volume: Volume) -> float:
    """Distance between neighbouring planes along their normal (shorter than the step when the gantry is tilted)."""
    return abs(float(plane_normal_lps(volume) @ volume.affine_lps[:3, 2]))


def _check_same_shape(volume: Volume, mask_zyx: NDArray[np.bool_]) -> None:
    if mask_zyx.shape != volume.voxels_zyx.shape:
        raise GridMismatchError(f"mask of shape {mask_zyx.shape} on a volume of shape {volume.voxels_zyx.shape}")
