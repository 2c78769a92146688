"""The SPECT page of the montage: projection from in front and three planes through the liver's centre."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from cmcrameri import cm
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analyzers.contract import Assessed, Picture, Segment
from analyzers.scintigraphy.pages import rendered
from analyzers.volume import StudyImages, Volume

_T = TypeVar("_T", bound=np.generic)
_Outlines = list[tuple[Segment, NDArray[np.bool_]]]
_INCHES = (14.0, 8.0)
_DPI = 100


def spect_page(images: StudyImages, result: Assessed) -> Picture | None:
    """Draw the SPECT that the result's segments lie on; ``None`` where there are none."""
    if not result.segments:
        return None
    volume = _volume_of(images, result.segments[0])
    if volume is None:
        return None
    standing = _standing(volume)
    counts = _upright(np.maximum(volume.voxels_zyx, 0.0), standing)
    shown = _occupied(counts)
    counts = counts[shown]
    masks = [(segment, _upright(segment.mask_planes, standing)[shown]) for segment in result.segments]
    z, y, x = (round(float(index)) for index in np.argwhere(masks[0][1]).mean(axis=0))
    step_z, step_y, step_x = volume.spacing_zyx_mm
    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
    panels: tuple[tuple[str, NDArray[np.float32], _Outlines, float], ...] = (
        ("MIP from in front", counts.max(axis=1), [(s, np.asarray(m.any(axis=1))) for s, m in masks], step_z / step_x),
        ("MIP from in front, logarithmic", np.log10(counts.max(axis=1) + 1.0), [], step_z / step_x),
        ("MIP from the left", counts.max(axis=2), [(s, np.asarray(m.any(axis=2))) for s, m in masks], step_z / step_y),
        ("Coronal through the liver", counts[:, y], [(s, m[:, y]) for s, m in masks], step_z / step_x),
        ("Axial through the liver", counts[z], [(s, m[z]) for s, m in masks], step_y / step_x),
        ("Sagittal through the liver", counts[:, :, x], [(s, m[:, :, x]) for s, m in masks], step_z / step_y),
    )
    for number, (title, image, outlines, aspect) in enumerate(panels):
        row, column = divmod(number, 3)
        axes = figure.add_axes((0.01 + 0.33 * column, 0.50 - 0.49 * row, 0.32, 0.44))
        _draw(axes, title, image, outlines, aspect)
    middle = result.segments[0].planes[int(np.argwhere(masks[0][0].mask_planes.any(axis=(1, 2))).mean())]
    return Picture(name="spect", rgb=rendered(figure), frame=middle)


def _occupied(counts_zyx: NDArray[np.float32]) -> tuple[slice, slice, slice]:
    """The box that holds the patient: everything above a thousandth of the brightest voxels, and a little more."""
    body = counts_zyx > 1e-3 * float(np.percentile(counts_zyx, 99.9))
    slices = []
    for axis in range(3):
        filled = np.flatnonzero(body.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = 3
        slices.append(
            slice(max(0, int(filled[0]) - margin), int(filled[-1]) + 1 + margin) if filled.size else slice(None)
        )
    return slices[0], slices[1], slices[2]


def _volume_of(images: StudyImages, segment: Segment) -> Volume | None:
    loaded = images.load(segment.series_instance_uid)
    return next((volume for volume in loaded.volumes if volume.planes == segment.planes), None)


def _standing(volume: Volume) -> tuple[bool, bool, bool]:
    """Which axes to reverse so that z runs from head to feet, y from front to back and x from right to left."""
    steps = volume.affine_lps[:3, :3]
    return bool(steps[2, 2] > 0), bool(steps[1, 1] < 0), bool(steps[0, 0] < 0)


def _upright(array: NDArray[_T], reverse: tuple[bool, bool, bool]) -> NDArray[_T]:
    return array[tuple(slice(None, None, -1) if flag else slice(None) for flag in reverse)]


def _draw(
    axes: Axes,
    title: str,
    image: NDArray[np.float32],
    outlines: _Outlines,
    aspect: float,
) -> None:
    logarithmic = title.endswith("logarithmic")
    top = float(np.max(image)) if logarithmic else float(np.percentile(image, 99.7))
    axes.imshow(image, cmap=cm.batlow if logarithmic else "gray_r", vmin=0.0, vmax=max(top, 1e-6), aspect=aspect)
    for segment, mask in outlines:
        if mask.any() and not mask.all():
            colour = tuple(channel / 255.0 for channel in segment.rgb)
            axes.contour(mask.astype(np.float64), [0.5], colors=[colour], linewidths=1.2)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
