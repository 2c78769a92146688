"""Turns the images of a CT series into DICOM instances, with all the disorder that variants ask for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from analyzers.phantoms.ct_headers import CtSeriesHeader, series_template, stored_pixels
from analyzers.phantoms.ct_scanner import Exposure
from analyzers.phantoms.layers import Grid
from analyzers.phantoms.multiframe import Frame, enhanced_ct
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.stacks import Plane, copy_header, stack_order, write_plane
from analyzers.phantoms.study import PhantomInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class CtSeriesImages:
    """One acquisition, ready to be written.

    ``images_hu_zyx`` are in ascending z with columns to the left, whatever the variant. ``numbered_from`` is the
    first instance number: two acquisitions may share a series.
    """

    header: CtSeriesHeader
    acquisition: int
    images_hu_zyx: NDArray[np.int16]
    exposure: Exposure
    grid: Grid
    first_of_study: bool
    numbered_from: int


def image_plane(
    request: PhantomRequest, grid: Grid, exposure: Exposure, centre_z_mm: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """ImagePositionPatient and ImageOrientationPatient of the slice whose middle is at this height."""
    cos, sin = float(np.cos(exposure.tilt_rad)), float(np.sin(exposure.tilt_rad))
    half = 0.5 * (grid.y_mm[-1] - grid.y_mm[0])
    middle = 0.5 * (grid.y_mm[-1] + grid.y_mm[0])
    y, z = middle - half * cos, centre_z_mm - half * sin
    if request.has("feet-first"):
        return (float(grid.x_mm[-1]), y, z), (-1.0, 0.0, 0.0, 0.0, cos, sin)
    return (float(grid.x_mm[0]), y, z), (1.0, 0.0, 0.0, 0.0, cos, sin)


def instances_of(request: PhantomRequest, series: CtSeriesImages) -> Iterator[PhantomInstance]:
    """Instances of one series in the order of acquisition."""
    shown = not request.has("padding")
    size = series.images_hu_zyx.shape[-1]
    pixels = stored_pixels(series.images_hu_zyx, padded_outside_pixels=None if shown else 0.5 * size)
    if request.has("feet-first"):
        pixels = pixels[:, :, ::-1]
    operated = not request.has("pre-op")
    template = series_template(request, series.header, operated=operated, size=size)
    template.AcquisitionNumber = series.acquisition
    pixel = series.grid.steps_zyx_mm[1]
    template.PixelSpacing = [f"{pixel:.6f}"] * 2
    template.ReconstructionDiameter = f"{size * pixel:.1f}"
    order = stack_order(request, len(pixels))
    if request.has("enhanced"):
        yield _multiframe(request, series, template, pixels, order)
        return
    folder = f"S{series.header.number:02d}"
    for place, index in enumerate(order):
        number = series.numbered_from + place
        dataset = _image(request, series, template, pixels[index], index, number)
        yield PhantomInstance(folder=folder, stem=f"I{number:04d}", dataset=dataset)
    if series.first_of_study:
        yield from _intruders(request, series, template, pixels, series.numbered_from + len(order))


def _image(
    request: PhantomRequest,
    series: CtSeriesImages,
    template: Dataset,
    pixels: NDArray[np.int16],
    index: int,
    number: int,
) -> Dataset:
    """One axial image."""
    centre = float(series.exposure.centres_z_mm[index])
    position, orientation = image_plane(request, series.grid, series.exposure, centre)
    image = copy_header(template)
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SOPInstanceUID = request.uid("image", series.header.role, series.acquisition, number)
    image.InstanceNumber = number
    plane = Plane(position_lps_mm=position, orientation=orientation, location_mm=centre, pixels=pixels)
    write_plane(image, plane)
    return image


def _intruders(
    request: PhantomRequest, series: CtSeriesImages, template: Dataset, pixels: NDArray[np.int16], number: int
) -> Iterator[PhantomInstance]:
    """Images that do not belong into the stack: a scout view, a reformat."""
    coronal = (
        ("localizer-inside", ["ORIGINAL", "PRIMARY", "LOCALIZER"], pixels.mean(axis=1)),
        ("derived-inside", ["DERIVED", "SECONDARY", "MPR"], pixels[:, pixels.shape[1] // 2]),
    )
    for offset, (variant, image_type, view) in enumerate(coronal):
        if not request.has(variant):
            continue
        image = copy_header(template)
        image.ImageType = image_type
        image.SOPInstanceUID = request.uid("image", series.header.role, variant)
        image.InstanceNumber = number + offset
        stored = np.ascontiguousarray(view[::-1], dtype="<i2")
        image.Rows, image.Columns = stored.shape
        image.PixelSpacing = [f"{series.header.spacing_mm:.6f}", f"{series.grid.steps_zyx_mm[1]:.6f}"]
        top = float(series.exposure.centres_z_mm[-1])
        start, _ = image_plane(request, series.grid, series.exposure, top)
        image.ImagePositionPatient = [f"{start[0]:.4f}", f"{float(series.grid.y_mm.mean()):.4f}", f"{top:.4f}"]
        side = -1 if request.has("feet-first") else 1
        image.ImageOrientationPatient = [str(side), "0", "0", "0", "0", "-1"]
        image.PixelData = stored.tobytes()
        yield PhantomInstance(folder=f"S{series.header.number:02d}", stem=f"I{number + offset:04d}", dataset=image)


def _multiframe(
    request: PhantomRequest, series: CtSeriesImages, template: Dataset, pixels: NDArray[np.int16], order: list[int]
) -> PhantomInstance:
    """The whole series as one enhanced object."""
    frames = []
    for index in order:
        centre = float(series.exposure.centres_z_mm[index])
        position, orientation = image_plane(request, series.grid, series.exposure, centre)
        frames.append(Frame(position_lps_mm=position, orientation=orientation, pixels=pixels[index]))
    template.SOPInstanceUID = request.uid("image", series.header.role, series.acquisition, "enhanced")
    template.InstanceNumber = series.acquisition
    dimension_uid = request.uid("dimensions", series.header.role, series.acquisition)
    return PhantomInstance(
        folder=f"S{series.header.number:02d}",
        stem=f"I{series.acquisition:04d}",
        dataset=enhanced_ct(template, frames, dimension_uid),
    )
