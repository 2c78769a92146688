"""Whether the field of view cuts an organ sideways: skin, fat and wall lie between organ and border otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Gate
from analyzers.volume import Volume


def field_gate(
    volume: Volume, mask_zyx: NDArray[np.bool_], structure: str, near_mm: float, largest_fraction: float
) -> Gate:
    """Whether an organ keeps clear of the lateral border of the field that was received.

    Parameters
    ----------
    volume : Volume
        The grid of the mask. Padding, and zeros that reach the border of a plane (filled in after a phase field of
        view, an interpolation or a correction of distortion), count as not received.
    mask_zyx : (z, y, x) bool
        The organ; an empty one is not cut.
    structure : str
        Its name for the report.
    near_mm : float
        In-plane distance to the border up to which the surface lies at it; one pixel at least.
    largest_fraction : float
        Largest share of the surface's voxels at the border.
    """
    surface = mask_zyx & ~ndimage.binary_erosion(mask_zyx, border_value=0)
    steps_mm = volume.spacing_zyx_mm[1:]
    at_border = sum(
        int(np.count_nonzero(section & _near(_received(volume, z), steps_mm, near_mm)))
        for z, section in enumerate(surface)
        if section.any()
    )
    share = at_border / max(1, int(np.count_nonzero(surface)))
    return Gate(
        name=f"{structure} inside the field of view",
        passed=share <= largest_fraction,
        seen=f"{share:.1%} of its surface at a lateral border",
        wanted=f"at most {largest_fraction:.1%}",
    )


def _received(volume: Volume, z: int) -> NDArray[np.bool_]:
    """Pixels of a plane that hold an image, (y, x) bool."""
    blank = volume.voxels_zyx[z] == 0.0
    if volume.padding_zyx is not None:
        blank |= volume.padding_zyx[z]
    # From beyond the border inwards: zeros that anatomy surrounds are dark tissue or air.
    labels, _ = ndimage.label(np.pad(blank, 1, constant_values=True))
    return np.asarray(labels != labels[0, 0])[1:-1, 1:-1]


def _near(received: NDArray[np.bool_], steps_mm: tuple[float, ...], near_mm: float) -> NDArray[np.bool_]:
    distance_mm = ndimage.distance_transform_edt(np.pad(received, 1), steps_mm)[1:-1, 1:-1]
    return np.asarray(received & (distance_mm <= max(near_mm, *steps_mm) + 1e-6))
