"""Stacks of parallel images, and the disorder that real ones arrive in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from analyzers.phantoms.request import PhantomRequest

STACK_VARIANTS = {
    "feet-first": "feet-first supine: columns run to the right, instances downwards",
    "descending": "instance numbers count the other way",
    "duplicate-slice": "one position was sent twice under two instance UIDs",
    "missing-slice": "one position in the middle is missing",
    "no-frame-of-reference": "FrameOfReferenceUID absent",
    "no-patient-position": "PatientPosition absent",
    "overlapping": "slices thicker than their spacing",
    "enhanced": "enhanced multi-frame objects instead of single images",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One image in space.

    Attributes
    ----------
    position_lps_mm : tuple of three float
        Centre of the first pixel.
    orientation : tuple of six float
        Direction cosines along a row, then along a column.
    location_mm : float
        Along the stack.
    pixels : (y, x) int16 or uint16
        Stored values.
    """

    position_lps_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    location_mm: float
    pixels: NDArray[np.int16] | NDArray[np.uint16]


def stack_order(request: PhantomRequest, count: int) -> list[int]:
    """Indices of an ascending stack in the order in which its images are numbered and sent."""
    order = list(range(count))
    if request.has("descending") != request.has("feet-first"):
        order.reverse()
    if request.has("missing-slice"):
        del order[len(order) // 2]
    if request.has("duplicate-slice"):
        order.insert(len(order) // 3, order[len(order) // 3])
    return order


def copy_header(template: Dataset) -> Dataset:
    """Return a shallow copy: elements are shared, none of them is changed in place."""
    copy = Dataset()
    copy.update(template)
    return copy


def write_plane(image: Dataset, plane: Plane) -> None:
    """Write geometry and pixels into an image."""
    image.ImagePositionPatient = [f"{value:.4f}" for value in plane.position_lps_mm]
    image.ImageOrientationPatient = [f"{value:.6f}" for value in plane.orientation]
    image.SliceLocation = f"{plane.location_mm:.3f}"
    image.Rows, image.Columns = plane.pixels.shape
    image.PixelData = np.ascontiguousarray(plane.pixels, dtype=f"<{plane.pixels.dtype.str[1:]}").tobytes()


def forget_references(request: PhantomRequest, header: Dataset) -> None:
    """Leave out what some scanners leave out."""
    for variant, keyword in (
        ("no-frame-of-reference", "FrameOfReferenceUID"),
        ("no-patient-position", "PatientPosition"),
    ):
        if request.has(variant) and keyword in header:
            delattr(header, keyword)
