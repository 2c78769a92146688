"""Quality gates that more than one analyzer asks: spacing, coverage, truncation, noise.

A gate says what was seen and what was wanted, in words for the report, and whether it passed. Thresholds are
arguments: each analyzer has its own, with their sources.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Gate
from analyzers.geometry import slice_normal
from analyzers.volume import GridMismatchError, Volume

FULLEST_PATCH_FRACTION = 0.9
"""Part of a patch that must lie inside the mask to count for noise: borders would add contrast, not noise."""


class EmptyMaskError(ValueError):
    """A mask in which something was to be measured holds no voxel: the caller should answer NotAssessable."""


def slice_spacing_gate(volume: Volume, largest_mm: float) -> Gate:
    """Whether planes are near enough, measured along the slice normal."""
    spacing_mm = plane_distance_mm(volume)
    return Gate(
        name="slice spacing",
        passed=spacing_mm <= largest_mm + 1e-6,
        seen=f"{spacing_mm:.2f} mm",
        wanted=f"at most {largest_mm:g} mm",
    )


def pixel_spacing_gate(volume: Volume, largest_mm: float) -> Gate:
    """Whether pixels are small enough, by the larger of row and column spacing."""
    spacing_mm = max(volume.spacing_zyx_mm[1:])
    return Gate(
        name="pixel spacing",
        passed=spacing_mm <= largest_mm + 1e-6,
        seen=f"{spacing_mm:.2f} mm",
        wanted=f"at most {largest_mm:g} mm",
    )


def coverage_gate(volume: Volume, least_mm: float) -> Gate:
    """Whether the stack is long enough along the slice normal, outer faces included."""
    length_mm = plane_distance_mm(volume) * len(volume.planes)
    return Gate(
        name="coverage",
        passed=length_mm >= least_mm,
        seen=f"{length_mm:.0f} mm",
        wanted=f"at least {least_mm:g} mm",
    )


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


def noise_gate(volume: Volume, mask_zyx: NDArray[np.bool_], structure: str, largest: float, unit: str) -> Gate:
    """Whether noise in a structure is small enough; see :func:`noise_in`. A mask without a full patch fails."""
    try:
        noise = noise_in(volume, mask_zyx)
    except EmptyMaskError:
        return Gate(name=f"noise in {structure}", passed=False, seen="not measurable", wanted=f"at most {largest:g}")
    return Gate(
        name=f"noise in {structure}",
        passed=noise <= largest,
        seen=f"{noise:.1f} {unit}",
        wanted=f"at most {largest:g} {unit}",
    )


def noise_in(volume: Volume, mask_zyx: NDArray[np.bool_], patch_mm: float = 10.0) -> float:
    """Standard deviation of noise inside a structure, in the unit of the voxels.

    The median over square in-plane patches of the standard deviation in each: neighbouring pixels of a CT share noise,
    so differences between neighbours would be too small, and vessels or lesions in a few patches do not move it.

    Parameters
    ----------
    volume : Volume
        Any modality.
    mask_zyx : (z, y, x) bool
        The structure.
    patch_mm : float
        Edge of a patch.

    Raises
    ------
    EmptyMaskError
        If no patch lies inside the mask.
    GridMismatchError
        If mask and volume differ in shape.
    """
    _check_same_shape(volume, mask_zyx)
    _, row_mm, column_mm = volume.spacing_zyx_mm
    size = (1, max(3, round(patch_mm / row_mm)), max(3, round(patch_mm / column_mm)))
    box = ndimage.find_objects(mask_zyx.astype(np.uint8))
    if not box:
        raise EmptyMaskError("no voxel to measure noise in")
    inside = mask_zyx[box[0]]
    # Centred, so that the difference of two large squares does not swallow the variance in float32.
    values = volume.voxels_zyx[box[0]].astype(np.float64)
    values -= float(values[inside].mean())
    full = ndimage.uniform_filter(inside.astype(np.float32), size, mode="constant") >= FULLEST_PATCH_FRACTION
    full &= inside
    if not full.any():
        raise EmptyMaskError(f"no patch of {patch_mm:g} mm lies inside the structure")
    mean = ndimage.uniform_filter(values, size)
    variance = ndimage.uniform_filter(values**2, size) - mean**2
    pixels = size[1] * size[2]
    return float(np.sqrt(np.median(np.maximum(variance[full], 0.0)) * pixels / (pixels - 1)))


def plane_distance_mm(volume: Volume) -> float:
    """Distance between neighbouring planes along their normal (shorter than the step when the gantry is tilted)."""
    a, b, c, d, e, f = (
        float(value)
        for axis in (0, 1)
        for value in volume.affine_lps[:3, axis] / np.linalg.norm(volume.affine_lps[:3, axis])
    )
    return abs(float(slice_normal((a, b, c, d, e, f)) @ volume.affine_lps[:3, 2]))


def _check_same_shape(volume: Volume, mask_zyx: NDArray[np.bool_]) -> None:
    if mask_zyx.shape != volume.voxels_zyx.shape:
        raise GridMismatchError(f"mask of shape {mask_zyx.shape} on a volume of shape {volume.voxels_zyx.shape}")
