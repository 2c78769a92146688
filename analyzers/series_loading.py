"""One series from its files to volumes or planar views, or to the words why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import SeriesSummary
from analyzers.geometry import StackRefusedError, place_in_words, slice_normal, stack_affine
from analyzers.pixels import PixelsUnreadableError, SourceFile, check_pixels, read_frames
from analyzers.planes import Plane, planes_of, positions_lps_mm
from analyzers.stacks import (
    VARYING_ATTRIBUTES,
    Stack,
    has_few_repeats,
    part_by_attribute,
    part_by_time,
    part_planes,
    repeats,
    sort_along_normal,
)
from analyzers.views import directions_of
from analyzers.volume import LoadedSeries, PlanarView, Volume
from analyzers.voxels import check_rescale, fill_voxels

NUCLEAR_MEDICINE_IMAGE = "1.2.840.10008.5.1.4.1.1.20"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
VOLUME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "legacy converted enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "legacy converted enhanced MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
    "1.2.840.10008.5.1.4.1.1.130": "enhanced PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "legacy converted enhanced PET",
    NUCLEAR_MEDICINE_IMAGE: "nuclear medicine",
}
"""SOP classes that are read as images; all others are named in a refusal."""

_PLANAR = ("STATIC", "WHOLE BODY", "DYNAMIC")
_SPECT_VOLUME = "RECON TOMO"
_UNREAD_NUCLEAR = {
    "GATED": "gated frames",
    "TOMO": "tomographic projections (only their reconstruction is read)",
    "GATED TOMO": "gated tomographic projections",
    "RECON GATED TOMO": "a gated reconstruction",
}


def load_series(series: SeriesSummary, sources: Sequence[SourceFile]) -> LoadedSeries:
    """Read one series.

    Parameters
    ----------
    series : SeriesSummary
        Its headers.
    sources : sequence of SourceFile
        Its files, in any order.

    Returns
    -------
    LoadedSeries
        What could be read, and in words what could not and why. Never raises for what a file holds.
    """
    # Files come in the order of their names, and names decide nothing: not what is kept, not what is said first.
    usable, refusals = _readable(sorted(sources, key=lambda source: source.instance.sop_instance_uid))
    planar = [source for source in usable if _is_planar(source)]
    sliced = [source for source in usable if not _is_planar(source)]
    views, view_refusals = _views(planar)
    volumes, volume_refusals = _volumes([plane for source in sliced for plane in planes_of(source)])
    return LoadedSeries(
        series=series, volumes=volumes, views=views, refusals=(*refusals, *view_refusals, *volume_refusals)
    )


def _readable(sources: Sequence[SourceFile]) -> tuple[list[SourceFile], list[str]]:
    usable, counts = [], dict[str, int]()
    for source in sources:
        reason = _why_unread(source)
        if reason:
            counts[reason] = counts.get(reason, 0) + 1
        else:
            usable.append(source)
    return usable, [reason if count == 1 else f"{reason} ({count} images)" for reason, count in counts.items()]


def _why_unread(source: SourceFile) -> str:
    instance = source.instance
    if instance.sop_class_uid.startswith(_SECONDARY_CAPTURE):
        return "a secondary capture is a picture without measurable values"
    if instance.sop_class_uid not in VOLUME_CLASSES:
        return f"objects of SOP class {instance.sop_class_uid or 'unknown'} are not images to measure"
    if "MOSAIC" in instance.attributes.get("ImageType", ()):
        return "mosaic images are not read"
    if instance.sop_class_uid == NUCLEAR_MEDICINE_IMAGE and (what := _UNREAD_NUCLEAR.get(_nuclear_type(source))):
        return f"{what} are not read"
    try:
        check_pixels(source)
    except PixelsUnreadableError as error:
        return str(error)
    return ""


def _nuclear_type(source: SourceFile) -> str:
    """Image Type value 3 (PS3.3 C.8.4.9.1.1)."""
    return next(iter(source.instance.attributes.get("ImageType", ())[2:3]), "").upper()


def _is_planar(source: SourceFile) -> bool:
    if source.instance.sop_class_uid != NUCLEAR_MEDICINE_IMAGE:
        return False
    kind = _nuclear_type(source)
    if kind in _PLANAR or kind == _SPECT_VOLUME:
        return kind in _PLANAR
    # Image Type is silent: slices that know their number are a volume, the rest projections.
    return not any("SliceVector" in frame.attributes for frame in source.instance.frames)


# --- planar views ------------------------------------------------------------------------------------------


def _views(sources: Sequence[SourceFile]) -> tuple[tuple[PlanarView, ...], list[str]]:
    views: list[PlanarView] = []
    refusals = []
    for source in sorted(sources, key=_received_order):
        try:
            views.extend(_views_of(source))
        except PixelsUnreadableError as error:
            refusals.append(str(error))
    return tuple(views), refusals


def _received_order(source: SourceFile) -> tuple[float, str]:
    return (source.instance.number("InstanceNumber") or 0.0, source.instance.sop_instance_uid)


def _views_of(source: SourceFile) -> list[PlanarView]:
    planes = planes_of(source)
    for plane in planes:
        check_rescale(plane)
    directions = directions_of(planes)
    stored = read_frames((source, plane.index) for plane in planes)
    slope = source.instance.number("RescaleSlope") or 1.0
    intercept = source.instance.number("RescaleIntercept") or 0.0
    duration_ms = source.instance.number("ActualFrameDuration")
    return [
        PlanarView(
            counts=(values * slope + intercept).astype(np.float32),
            frame=plane.ref,
            series_instance_uid=source.instance.series_instance_uid,
            header=source.instance,
            direction=direction,
            direction_from=told_by,
            spacing_row_col_mm=plane.frame.spacing_row_col_mm,
            duration_s=duration_ms / 1000.0 if duration_ms else None,
            energy_window=int(number) if (number := plane.number("EnergyWindowVector")) else None,
            window_kev=_window_kev(plane),
        )
        for plane, (direction, told_by), values in zip(planes, directions, stored, strict=True)
    ]


def _window_kev(plane: Plane) -> tuple[float, float] | None:
    low, high = plane.number("EnergyWindowLowerLimit"), plane.number("EnergyWindowUpperLimit")
    return (low, high) if low is not None and high is not None and low < high else None


# --- volumes -----------------------------------------------------------------------------------------------


def _volumes(planes: Sequence[Plane]) -> tuple[tuple[Volume, ...], list[str]]:
    refusals = []
    placed = [plane for plane in planes if plane.has_geometry]
    if len(placed) < len(planes):
        lost = len(planes) - len(placed)
        refusals.append(f"{lost} of {len(planes)} images lack a valid position, orientation or pixel spacing")
    if not placed:
        return (), refusals
    volumes: list[Volume] = []
    localizers = 0
    for stack in part_planes(placed):
        if stack.planes[0].is_localizer:
            localizers += len(stack.planes)
            continue
        for part in _without_repeats(stack):
            try:
                volumes.append(_volume(part, placed))
            except (StackRefusedError, PixelsUnreadableError) as error:
                refusals.append(f"{part.label}: {error}" if part.label else str(error))
    if localizers:
        refusals.append(f"{localizers} localizer image{'s' if localizers > 1 else ''} left out")
    return tuple(volumes), refusals


def _without_repeats(stack: Stack) -> list[Stack]:
    """Part a stack until each place occurs once, as far as headers and pixels tell."""
    if has_few_repeats(stack.planes):
        stack = _without_duplicates(stack)
    parts: list[Stack] = []
    for part in part_by_attribute(stack):
        if repeats(part.planes):
            cleaned = part_by_attribute(_without_duplicates(part))
            parts.extend(phase for one in cleaned for phase in part_by_time(one))
        else:
            parts.append(part)
    return parts


def _without_duplicates(stack: Stack) -> Stack:
    """Drop planes that repeat the place and the pixels of another one; unreadable or differing ones stay."""
    dropped: list[Plane] = []
    for group in repeats(stack.planes):
        try:
            pixels = list(read_frames((plane.source, plane.index) for plane in group))
        except PixelsUnreadableError:
            continue
        kept: list[int] = []
        for number, plane in enumerate(group):
            if any(_same_pixels(group[other], plane, pixels[other], pixels[number]) for other in kept):
                dropped.append(plane)
            else:
                kept.append(number)
    if not dropped:
        return stack
    gone = {id(plane) for plane in dropped}
    noun = "plane" if len(dropped) == 1 else "planes"
    return replace(
        stack,
        planes=tuple(plane for plane in stack.planes if id(plane) not in gone),
        remarks=(*stack.remarks, f"{len(dropped)} duplicate {noun} dropped"),
    )


def _same_pixels(one: Plane, other: Plane, one_stored: NDArray[np.generic], other_stored: NDArray[np.generic]) -> bool:
    scale = ("RescaleSlope", "RescaleIntercept")
    same_scale = all(one.number(keyword) == other.number(keyword) for keyword in scale)
    return same_scale and np.array_equal(one_stored, other_stored)


def _volume(stack: Stack, series_planes: Sequence[Plane]) -> Volume:
    planes = sort_along_normal(stack.planes)
    _refuse_repeats(planes)
    first = planes[0]
    affine = stack_affine(
        positions_lps_mm(planes),
        first.orientation,
        first.frame.spacing_row_col_mm or (1.0, 1.0),
        first.thickness_mm,
    )
    filled = fill_voxels(planes)
    header = first.source.instance
    return Volume(
        voxels_zyx=filled.voxels_zyx,
        affine_lps=affine,
        planes=tuple(plane.ref for plane in planes),
        series_instance_uid=header.series_instance_uid,
        header=header,
        frame_of_reference_uid=header.text("FrameOfReferenceUID") or None,
        padding_zyx=filled.padding_zyx,
        label=stack.label,
        attributes=_attributes(planes, series_planes),
        remarks=(*stack.remarks, *filled.remarks, *_header_remarks(planes)),
    )


def _refuse_repeats(planes: Sequence[Plane]) -> None:
    again = repeats(planes)
    if again:
        where = place_in_words(positions_lps_mm(again[0])[0], slice_normal(planes[0].orientation))
        raise StackRefusedError(
            f"{len(again[0])} different images at {where} mm that no header attribute tells apart"
            + (f" (and at {len(again) - 1} other places)" if len(again) > 1 else "")
        )


def _attributes(planes: Sequence[Plane], series_planes: Sequence[Plane]) -> dict[str, tuple[str, ...]]:
    """Attributes that vary within the series and are the same on all of these planes."""
    found = {}
    for keyword in VARYING_ATTRIBUTES:
        own = {plane.values(keyword) for plane in planes}
        if len(own) == 1 and own != {()} and len({plane.values(keyword) for plane in series_planes}) > 1:
            found[keyword] = own.pop()
    return found


def _header_remarks(planes: Sequence[Plane]) -> list[str]:
    header = planes[0].source.instance
    remarks = []
    if not header.text("FrameOfReferenceUID"):
        remarks.append("no frame of reference: cannot be related to other series")
    if header.modality in ("CT", "MR") and not header.text("PatientPosition"):
        remarks.append("patient position not stated")
    if header.text("LossyImageCompression") == "01":
        remarks.append("lossy compressed")
    if len(planes) == 1:
        remarks.append("a single plane")
    return remarks
