"""Pixel values of a stack as one array: rescaled, with the pixels outside the scanned circle marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.pixels import PixelsUnreadableError, StoredValues, read_frames
from analyzers.planes import Plane

AIR_HU = -1000.0
"""Given to padding in CT, so that it looks like the air that it stands for."""
PADDING_BELOW_HU = -1500.0
"""No tissue and no air: scanners fill the corners with -2000 or -3024, declared or not. Air with noise and
reconstruction overshoot stays above it."""
HIGHEST_PADDING_HU = -900.0
"""A declared padding value above this is not believed: it would hide tissue (0 declared on a signed CT is water)."""

_HOUNSFIELD = frozenset({"", "HU", "HOUNSFIELD"})
"""Rescale Type of a CT; absent means Hounsfield units (PS3.3 C.8.2.1)."""
_UNSPECIFIED = "US"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledVoxels:
    """Voxels (z, y, x) float32, padding (z, y, x) bool or ``None``, and remarks for the report."""

    voxels_zyx: NDArray[np.float32]
    padding_zyx: NDArray[np.bool_] | None
    remarks: tuple[str, ...]


def fill_voxels(planes: Sequence[Plane]) -> FilledVoxels:
    """Read planes in the given order.

    Rescale slope and intercept of each plane are applied. In CT, padding becomes air.

    Raises
    ------
    PixelsUnreadableError
        If a frame cannot be read, its rescale values are no numbers, a CT is in another unit, or a CT has neither
        rescale values nor any value below water.
    """
    header = planes[0].source.instance
    is_ct = header.modality == "CT"
    shape = (len(planes), header.rows or 0, header.columns or 0)
    voxels_zyx = np.empty(shape, np.float32)
    padding_zyx: NDArray[np.bool_] | None = None
    remarks = _unit_remarks(planes) if is_ct else set()
    frames = read_frames((plane.source, plane.index) for plane in planes)
    for index, (plane, stored) in enumerate(zip(planes, frames, strict=True)):
        slope, intercept = _rescale(plane, remarks)
        values = voxels_zyx[index]
        with np.errstate(over="ignore"):
            np.multiply(stored, slope, out=values, casting="unsafe")
            values += np.float32(intercept)
        if not np.isfinite(values).all():
            raise PixelsUnreadableError(f"rescale slope {slope:g} and intercept {intercept:g} cannot be meant")
        padded = _padding(plane, stored, values, is_ct)
        if padded is not None and padded.any():
            padding_zyx = np.zeros(shape, np.bool_) if padding_zyx is None else padding_zyx
            padding_zyx[index] = padded
            if is_ct:
                values[padded] = AIR_HU
    if is_ct and not planes[0].values("RescaleIntercept") and float(voxels_zyx.min()) > PADDING_BELOW_HU / 3.0:
        raise PixelsUnreadableError("no rescale values, so no Hounsfield units")
    return FilledVoxels(voxels_zyx=voxels_zyx, padding_zyx=padding_zyx, remarks=tuple(sorted(remarks)))


def _unit_remarks(planes: Sequence[Plane]) -> set[str]:
    """Refuse a CT in another unit (iodine maps, effective atomic number, electron density: PS3.3 C.11.1.1.2)."""
    units = {plane.text("RescaleType").strip().upper() for plane in planes}
    if others := sorted(units - _HOUNSFIELD - {_UNSPECIFIED}):
        raise PixelsUnreadableError(f"values in {', '.join(others)[:40]}, not in Hounsfield units")
    return {"unit not stated: values taken as Hounsfield units"} if _UNSPECIFIED in units else set()


def check_rescale(plane: Plane) -> None:
    """Refuse rescale values that are there and are no finite numbers.

    Raises
    ------
    PixelsUnreadableError
        Naming the value.
    """
    for keyword, name in (("RescaleSlope", "slope"), ("RescaleIntercept", "intercept")):
        if plane.text(keyword) and plane.number(keyword) is None:
            raise PixelsUnreadableError(f'rescale {name} "{plane.text(keyword)[:16]}" is not a number')


def _rescale(plane: Plane, remarks: set[str]) -> tuple[float, float]:
    check_rescale(plane)
    slope, intercept = plane.number("RescaleSlope"), plane.number("RescaleIntercept")
    if slope == 0.0:
        remarks.add("rescale slope 0 taken as 1")
        slope = None
    if plane.source.instance.modality == "CT" and (slope is None or intercept is None):
        remarks.add("rescale values missing: stored values taken as Hounsfield units")
    return slope if slope is not None else 1.0, intercept if intercept is not None else 0.0


def _padding(plane: Plane, stored: StoredValues, values: NDArray[np.float32], is_ct: bool) -> NDArray[np.bool_] | None:
    declared = _declared_padding(plane, stored)
    if not is_ct:
        return declared
    padded: NDArray[np.bool_] = values <= PADDING_BELOW_HU
    if declared is not None and declared.any() and float(values[declared].max()) < HIGHEST_PADDING_HU:
        padded |= declared
    return padded


def _declared_padding(plane: Plane, stored: StoredValues) -> NDArray[np.bool_] | None:
    first = plane.number("PixelPaddingValue")
    if first is None:
        return None
    last = plane.number("PixelPaddingRangeLimit")
    low, high = sorted((_as_stored(plane, first), _as_stored(plane, first if last is None else last)))
    marked: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return marked


def _as_stored(plane: Plane, value: float) -> float:
    """Read a padding value that was written with the other signedness than the pixels (a common fault)."""
    instance = plane.source.instance
    span = float(1 << int(instance.number("BitsAllocated") or 16))
    if instance.number("PixelRepresentation") == 1:
        return value - span if value >= span / 2.0 else value
    return value + span if value < 0.0 else value
