"""Lesions that others outlined, as the SPECT page draws them: where they were measured, with their marks."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from analyzers.contract import Assessed, Region, SegmentRef
from analyzers.grid_mask import GridMask
from analyzers.scintigraphy.given_lesions import MOVED_MM
from analyzers.scintigraphy.spect_names import CT_LIVER_SEGMENT
from analyzers.segmentations import GivenSegmentation, MaskRefusedError
from analyzers.volume import StudyImages, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLesion:
    """A lesion to draw: its mark (``T1``), its region in the result, and its mask in the frame of the SPECT."""

    mark: str
    region: Region
    mask: GridMask


def lesion_mark(name: str) -> str:
    """``T1`` for the region ``given-lesion-1``; else empty."""
    found = re.fullmatch(r"given-lesion-(\d+)", name)
    return f"T{found.group(1)}" if found else ""


def shown_lesions(images: StudyImages, result: Assessed, spect: Volume) -> tuple[ShownLesion, ...]:
    """Lesions whose place on the SPECT follows from the frame of reference, with the shift of a CT's liver.

    One that was registered from another frame of reference is not drawn here: its outline is in the report.
    """
    by_uid = {one.sop_instance_uid: one for one in images.segmentations}
    shown = []
    for region in result.regions:
        mark, given = lesion_mark(region.name), region.segment
        source = by_uid.get(given.sop_instance_uid) if given is not None else None
        if not mark or given is None or source is None:
            continue
        mask = _mask(source, given)
        shift_up_mm = _shift_up_mm(source, result, spect)
        if mask is not None and shift_up_mm is not None:
            moved = mask.moved(np.asarray([0.0, 0.0, shift_up_mm]))
            shown.append(ShownLesion(mark=mark, region=region, mask=moved))
    return tuple(shown)


def _mask(source: GivenSegmentation, given: SegmentRef) -> GridMask | None:
    segment = next((one for one in source.segments if one.number == given.number), None)
    if segment is None:
        return None
    try:
        return source.mask(segment)
    except MaskRefusedError:
        return None


def _shift_up_mm(source: GivenSegmentation, result: Assessed, spect: Volume) -> float | None:
    """How far a mask was moved towards the head; ``None`` where it lies in another frame of reference."""
    if spect.series_instance_uid in source.source_series:
        return 0.0
    if source.frame_of_reference_uid is None or source.frame_of_reference_uid != spect.frame_of_reference_uid:
        return None
    ct = next((one for one in result.segments if one.name == CT_LIVER_SEGMENT), None)
    if ct is None or ct.series_instance_uid not in source.source_series:
        return 0.0
    shift = next((one for one in result.measurements if one.key == "respiratory_shift"), None)
    return shift.value if shift is not None and abs(shift.value) >= MOVED_MM else 0.0
