"""Turns the images of an MR series into DICOM instances."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from analyzers.phantoms.layers import Grid
from analyzers.phantoms.mr_headers import MrSeriesHeader, series_template
from analyzers.phantoms.mr_protocol import Recipe
from analyzers.phantoms.mr_tissues import PHASES
from analyzers.phantoms.multiframe import Frame
from analyzers.phantoms.multiframe_mr import enhanced_mr
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.stacks import Plane, copy_header, stack_order, write_plane
from analyzers.phantoms.study import PhantomInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class MrImages:
    """One stack: an echo, a b value, or the only one of its series.

    ``pixels_zyx`` are stored values in ascending position along the stack, columns to the left.
    """

    label: str
    centres_mm: NDArray[np.float64]
    pixels_zyx: NDArray[np.uint16]
    echo_ms: float | None = None
    echo_number: int = 1
    b_value: int | None = None
    derived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MrSeries:
    """A series with its stacks; ``extra`` holds stacks that do not belong there."""

    recipe: Recipe
    grid: Grid
    images: tuple[MrImages, ...]
    extra: tuple[MrImages, ...] = ()


def instances_of(request: PhantomRequest, series: MrSeries) -> Iterator[PhantomInstance]:
    """Instances of one series in the order of acquisition."""
    recipe = series.recipe
    shared = request.has("two-phases-in-one-series") and recipe.role in PHASES[1:]
    header = MrSeriesHeader(
        role="dynamic" if shared else recipe.role,
        number=7 if shared else recipe.number,
        description=_description(request, recipe, shared=shared),
        sequence=recipe.sequence,
        after_s=recipe.after_s,
        agent_given=recipe.agent_given,
        thickness_mm=recipe.readout.thickness_mm,
        spacing_mm=recipe.readout.spacing_mm,
    )
    template = series_template(request, header)
    number = 1
    if shared:
        place = PHASES.index(recipe.role)
        template.AcquisitionNumber = place
        template.TemporalPositionIdentifier = place
        template.NumberOfTemporalPositions = len(PHASES) - (2 if request.has("extracellular") else 1)
        number = 1 + (place - 1) * len(series.images[0].pixels_zyx)
    stacks = [(stack, False) for stack in series.images] + [(stack, True) for stack in series.extra]
    for stack, intruding in stacks:
        coronal = recipe.coronal or (intruding and not stack.derived)
        planes = stack_planes(request, series.grid, stack, coronal=coronal)
        stacked = copy_header(template)
        _describe(stacked, recipe, stack, series.grid, coronal=coronal)
        if intruding and coronal:
            stacked.ImageType = ["ORIGINAL", "PRIMARY", "M", "LOCALIZER"]
        order = stack_order(request, len(planes))
        if request.has("enhanced"):
            yield _multiframe(request, header, stacked, stack, [planes[index] for index in order])
            continue
        for index in order:
            image = copy_header(stacked)
            write_plane(image, planes[index])
            image.InstanceNumber = number
            image.SOPInstanceUID = request.uid("image", recipe.role, number)
            yield PhantomInstance(folder=f"S{header.number:02d}", stem=f"I{number:04d}", dataset=image)
            number += 1


def _description(request: PhantomRequest, recipe: Recipe, *, shared: bool) -> str:
    if shared:
        return "t1_vibe_fs_tra_dyn"
    return recipe.german if request.has("german") else recipe.description


def stack_planes(request: PhantomRequest, grid: Grid, stack: MrImages, *, coronal: bool) -> list[Plane]:
    """Place each image of a stack in space; coronal ones are turned upside up."""
    flipped = request.has("feet-first")
    x, sign = (float(grid.x_mm[-1]), -1.0) if flipped else (float(grid.x_mm[0]), 1.0)
    planes = []
    for centre, stored in zip(stack.centres_mm, stack.pixels_zyx, strict=True):
        pixels = stored[:, ::-1] if flipped else stored
        if coronal:
            position = (x, float(centre), float(grid.z_mm[-1]))
            orientation, pixels = (sign, 0.0, 0.0, 0.0, 0.0, -1.0), pixels[::-1]
        else:
            position, orientation = (x, float(grid.y_mm[0]), float(centre)), (sign, 0.0, 0.0, 0.0, 1.0, 0.0)
        planes.append(
            Plane(position_lps_mm=position, orientation=orientation, location_mm=float(centre), pixels=pixels)
        )
    return planes


def _describe(header: Dataset, recipe: Recipe, stack: MrImages, grid: Grid, *, coronal: bool) -> None:
    """Image type, echo, b value, window and pixel size of one stack."""
    kind = ["ORIGINAL", "PRIMARY", "M", "NORM"]
    if stack.b_value is not None:
        kind = ["ORIGINAL", "PRIMARY", "DIFFUSION", "TRACEW"]
        header.SequenceName = f"*ep_b{stack.b_value}t"
        header.DiffusionBValue = float(stack.b_value)
        header.DiffusionDirectionality = "ISOTROPIC"
    elif recipe.product == "adc":
        kind = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
        header.DerivationDescription = "ADC in 1e-6 mm2/s"
    elif stack.derived:
        kind = ["DERIVED", "SECONDARY", "OTHER", "SUBTRACTION"]
    elif recipe.product == "dual":
        kind = ["ORIGINAL", "PRIMARY", "IN_PHASE" if stack.label == "in" else "OPP_PHASE", "NORM"]
    header.ImageType = kind
    if stack.echo_ms is not None:
        header.EchoTime = f"{stack.echo_ms:g}"
        header.EchoNumbers = stack.echo_number
    row_mm, column_mm = (grid.steps_zyx_mm[0] if coronal else grid.steps_zyx_mm[1]), grid.steps_zyx_mm[2]
    header.PixelSpacing = [f"{row_mm:g}", f"{column_mm:g}"]
    rows, columns = stack.pixels_zyx.shape[1:]
    header.ReconstructionDiameter = f"{columns * column_mm:g}"
    header.AcquisitionMatrix = [0, columns, rows, 0]
    header.NumberOfPhaseEncodingSteps = rows
    bright = float(np.percentile(stack.pixels_zyx, 98))
    header.WindowCenter, header.WindowWidth = f"{max(bright / 2, 1):.0f}", f"{max(bright, 2):.0f}"


def _multiframe(
    request: PhantomRequest, series: MrSeriesHeader, header: Dataset, stack: MrImages, planes: list[Plane]
) -> PhantomInstance:
    """One stack as one enhanced object."""
    name = f"{header.AcquisitionNumber}{stack.label}"
    header.SOPInstanceUID = request.uid("image", series.role, name, "enhanced")
    header.InstanceNumber = 1 + 10 * int(header.AcquisitionNumber) + len(stack.label)
    frames = [
        Frame(position_lps_mm=plane.position_lps_mm, orientation=plane.orientation, pixels=plane.pixels)
        for plane in planes
    ]
    header.Rows, header.Columns = planes[0].pixels.shape
    dimensions = request.uid("dimensions", series.role, name)
    dataset = enhanced_mr(header, frames, dimensions, b_value=stack.b_value)
    return PhantomInstance(folder=f"S{series.number:02d}", stem=f"I{name}", dataset=dataset)
