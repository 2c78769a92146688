"""Where each frame of an object lies and what it is: classic, enhanced multi-frame and nuclear medicine.

Three ways in which DICOM says so:

* *classic*: one frame, its plane in the root of the data set (PS3.3 C.7.6.2);
* *enhanced*: shared and per-frame functional groups (C.7.6.16);
* *nuclear medicine*: frame vectors that index energy windows, detectors, rotations and slices (C.8.4.8), with the
  plane of a reconstructed volume in its detector item (C.8.4.11) and one step between slices (C.8.4.15).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from pydicom.tag import BaseTag, Tag

from analyzers.contract import Code, FrameSummary
from analyzers.elements import Elements

MAX_FRAMES = 20_000
"""Frames that are described; no scanner makes more, a hostile header may claim billions."""

SHARED_GROUPS = Tag("SharedFunctionalGroupsSequence")
PER_FRAME_GROUPS = Tag("PerFrameFunctionalGroupsSequence")

PER_FRAME_ATTRIBUTES: tuple[str, ...] = (
    "FrameType",
    "ComplexImageComponent",
    "AcquisitionContrast",
    "EffectiveEchoTime",
    "RepetitionTime",
    "FlipAngle",
    "InversionTime",
    "DiffusionBValue",
    "DiffusionDirectionality",
    "DiffusionGradientOrientation",
    "TemporalPositionIndex",
    "TemporalPositionTimeOffset",
    "StackID",
    "InStackPositionNumber",
    "FrameAcquisitionDateTime",
    "FrameReferenceDateTime",
    "NominalCardiacTriggerDelayTime",
    "ContrastBolusAgentPhase",
    "ConvolutionKernel",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
)
"""Read from the per-frame functional groups of an enhanced object."""

FRAME_VECTORS: tuple[str, ...] = (
    "EnergyWindowVector",
    "DetectorVector",
    "PhaseVector",
    "RotationVector",
    "AngularViewVector",
    "RRIntervalVector",
    "TimeSlotVector",
    "TimeSliceVector",
    "SliceVector",
)
"""Frame vectors of nuclear medicine; a frame's attributes hold its own value of each."""

_DETECTOR_ATTRIBUTES = ("StartAngle", "CollimatorType", "CollimatorGridName")
_WINDOW_RANGE_ATTRIBUTES = ("EnergyWindowLowerLimit", "EnergyWindowUpperLimit")

POSITION = Tag("ImagePositionPatient")
"""Of the plane of a header that describes one (LPS mm)."""
_ORIENTATION = Tag("ImageOrientationPatient")
_PIXEL_SPACING = Tag("PixelSpacing")
_THICKNESS = Tag("SliceThickness")
_SLICE_STEP = Tag("SpacingBetweenSlices")
_FRAME_COUNT = Tag("NumberOfFrames")
_PLANE_POSITION = Tag("PlanePositionSequence")
_PLANE_ORIENTATION = Tag("PlaneOrientationSequence")
_PIXEL_MEASURES = Tag("PixelMeasuresSequence")
_DETECTORS = Tag("DetectorInformationSequence")
_WINDOWS = Tag("EnergyWindowInformationSequence")
_WINDOW_NAME = Tag("EnergyWindowName")
_WINDOW_RANGES = Tag("EnergyWindowRangeSequence")
_VIEW_CODES = Tag("ViewCodeSequence")

_MANY_FRAMES = frozenset(
    map(int, (SHARED_GROUPS, PER_FRAME_GROUPS, _DETECTORS, _FRAME_COUNT, *map(Tag, FRAME_VECTORS)))
)

_Item = TypeVar("_Item")
_Texts = dict[str, tuple[str, ...]]
_Position = tuple[float, float, float]
_Orientation = tuple[float, float, float, float, float, float]


def frame_summaries(elements: Elements) -> tuple[FrameSummary, ...]:
    """Describe every frame of one object, at most :data:`MAX_FRAMES`; one without a number if single-frame."""
    if PER_FRAME_GROUPS in elements:
        return _enhanced_frames(elements)
    if _DETECTORS in elements or any(Tag(vector) in elements for vector in FRAME_VECTORS):
        return _nuclear_frames(elements)
    count = elements.whole_number(_FRAME_COUNT)
    if count is None or count < 1 or (count == 1 and _FRAME_COUNT not in elements):
        return (_classic_frame(elements, None),)
    if count == 1:
        return (_classic_frame(elements, 1),)
    first = _classic_frame(elements, 1)
    rest = range(2, min(count, MAX_FRAMES) + 1)
    return (first, *(FrameSummary(frame=number) for number in rest))


def is_one_plane(present: Iterable[int]) -> bool:
    """Tell by the tags of a header whether its one frame is described in the root of the data set, and nowhere else."""
    return _MANY_FRAMES.isdisjoint(present)


def moved(frame: FrameSummary, elements: Elements) -> FrameSummary:
    """The frame of a header that differs from another one in its position only."""
    return replace(frame, position_lps_mm=_position(elements))


def _classic_frame(elements: Elements, number: int | None) -> FrameSummary:
    return FrameSummary(
        frame=number,
        position_lps_mm=_position(elements),
        orientation=_orientation(elements),
        spacing_row_col_mm=_spacing(elements),
        slice_thickness_mm=_positive(elements, _THICKNESS),
    )


# --- enhanced multi-frame ----------------------------------------------------------------------------------


def _enhanced_frames(elements: Elements) -> tuple[FrameSummary, ...]:
    shared = next(iter(elements.items(SHARED_GROUPS)), None)
    groups = elements.items(PER_FRAME_GROUPS)[:MAX_FRAMES]
    return tuple(_enhanced_frame(number, group, shared) for number, group in enumerate(groups, start=1))


def _enhanced_frame(number: int, group: Elements, shared: Elements | None) -> FrameSummary:
    def macro(tag: BaseTag) -> Elements | None:
        """Functional group macro of the frame, else of all frames."""
        for place in (group, shared):
            for item in place.items(tag)[:1] if place is not None else ():
                return item
        return None

    plane, direction, measures = macro(_PLANE_POSITION), macro(_PLANE_ORIENTATION), macro(_PIXEL_MEASURES)
    attributes: _Texts = {}
    for item in group.sequences():
        for keyword, tag in _PER_FRAME_TAGS.items():
            if keyword not in attributes and (values := item.texts(tag)):
                attributes[keyword] = values
    if "EffectiveEchoTime" in attributes:
        attributes["EchoTime"] = attributes["EffectiveEchoTime"]
    return FrameSummary(
        frame=number,
        position_lps_mm=_position(plane) if plane else None,
        orientation=_orientation(direction) if direction else None,
        spacing_row_col_mm=_spacing(measures) if measures else None,
        slice_thickness_mm=_positive(measures, _THICKNESS) if measures else None,
        attributes=attributes,
    )


# --- nuclear medicine --------------------------------------------------------------------------------------


def _nuclear_frames(elements: Elements) -> tuple[FrameSummary, ...]:
    vectors = {name: values for name in FRAME_VECTORS if (values := elements.whole_numbers(Tag(name)))}
    longest = max((len(values) for values in vectors.values()), default=1)
    count = elements.whole_number(_FRAME_COUNT)
    # A count that no vector supports is not believed beyond the vectors.
    if count is None or count < 1 or (vectors and count > longest):
        count = longest
    detectors = [_Detector(item) for item in elements.items(_DETECTORS)]
    windows = [_window_texts(item) for item in elements.items(_WINDOWS)]
    spacing = _spacing(elements)
    thickness = _positive(elements, _THICKNESS)
    step_mm = elements.numbers(_SLICE_STEP, 1)
    step = step_mm[0] if step_mm and step_mm[0] != 0.0 else thickness
    frames = []
    for index in range(min(count, MAX_FRAMES)):
        own = {name: values[index] for name, values in vectors.items() if index < len(values)}
        attributes: _Texts = {name: (str(value),) for name, value in own.items()}
        detector = _item_at(detectors, own.get("DetectorVector", 1))
        attributes.update(_item_at(windows, own.get("EnergyWindowVector", 1)) or {})
        if detector is not None:
            attributes.update(detector.texts)
        frames.append(
            FrameSummary(
                frame=index + 1,
                position_lps_mm=detector.position_of_slice(own.get("SliceVector"), step) if detector else None,
                orientation=detector.orientation if detector else None,
                spacing_row_col_mm=spacing,
                slice_thickness_mm=thickness,
                attributes=attributes,
                codes=detector.codes if detector else {},
            )
        )
    return tuple(frames)


class _Detector:
    """One item of the detector information: its plane, its view, its angle."""

    def __init__(self, item: Elements) -> None:
        self.position = _position(item)
        self.orientation = _orientation(item)
        self.texts: _Texts = {
            keyword: values for keyword in _DETECTOR_ATTRIBUTES if (values := item.texts(Tag(keyword)))
        }
        views = item.codes(_VIEW_CODES)
        self.codes: Mapping[str, tuple[Code, ...]] = {"ViewCodeSequence": views} if views else {}

    def position_of_slice(self, slice_number: int | None, step_mm: float | None) -> _Position | None:
        """Place of a reconstructed slice (LPS mm).

        The detector's position is that of the first slice; the step runs along the cross product of row and
        column direction, and its sign counts: a negative one stacks against it (PS3.3 C.8.4.15).
        """
        if self.position is None or self.orientation is None:
            return self.position
        if slice_number is None or slice_number == 1:
            return self.position
        if step_mm is None:
            return None
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        x, y, z = np.asarray(self.position) + (slice_number - 1) * step_mm * normal
        return float(x), float(y), float(z)


def _window_texts(item: Elements) -> _Texts:
    texts: _Texts = {}
    if name := item.texts(_WINDOW_NAME):
        texts["EnergyWindowName"] = name
    ranges = item.items(_WINDOW_RANGES)
    for keyword in _WINDOW_RANGE_ATTRIBUTES:
        values = tuple(value for one in ranges for value in one.texts(Tag(keyword)))
        if values:
            texts[keyword] = values
    return texts


def _item_at(items: Sequence[_Item], number: int) -> _Item | None:
    return items[number - 1] if 1 <= number <= len(items) else None


# --- one plane ---------------------------------------------------------------------------------------------


def _position(elements: Elements) -> _Position | None:
    values = elements.numbers(POSITION, 3)
    return (values[0], values[1], values[2]) if values else None


def _orientation(elements: Elements) -> _Orientation | None:
    """Row and column direction made exactly unit; ``None`` unless they are unit and perpendicular within 2 %."""
    values = elements.numbers(_ORIENTATION, 6)
    if values is None:
        return None
    row, column = np.asarray(values[:3]), np.asarray(values[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if any(abs(length - 1.0) > _DIRECTION_TOLERANCE for length in lengths):
        return None
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > _DIRECTION_TOLERANCE:
        return None
    a, b, c, d, e, f = (float(value) for value in (*row, *column))
    return a, b, c, d, e, f


def _spacing(elements: Elements) -> tuple[float, float] | None:
    values = elements.numbers(_PIXEL_SPACING, 2)
    return (values[0], values[1]) if values and min(values) > 0.0 else None


def _positive(elements: Elements, tag: BaseTag) -> float | None:
    values = elements.numbers(tag, 1)
    return values[0] if values and values[0] > 0.0 and math.isfinite(values[0]) else None


_DIRECTION_TOLERANCE = 0.02
_PER_FRAME_TAGS = {keyword: Tag(keyword) for keyword in PER_FRAME_ATTRIBUTES}
