"""Segmentations that others made: what a DICOM SEG says of its segments, and each segment as a region in the patient.

Read tolerantly and within bounds: binary, fractional and label map objects, frames in any order, frames without content
left out, several segments, overlapping or not. A segmentation whose planes have no place in the patient, lie in several
directions or at uneven distances is refused in words; so is one that claims more than it holds. Pixels are read when a
segment is asked for, one frame at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.tag import Tag

from analyzers.contract import Code
from analyzers.elements import UNREADABLE, Elements
from analyzers.frames import MAX_FRAMES, PER_FRAME_GROUPS, SHARED_GROUPS
from analyzers.geometry import StackRefusedError
from analyzers.grid_mask import GridMask
from analyzers.headers import LABEL_MAP_CLASS
from analyzers.pixels import LARGEST_PLANE_PIXELS, PixelsUnreadableError, SourceFile, read_frames, stored_bits
from analyzers.segment_grid import FramePlace, SegmentGrid, grid_of

MOST_REGION_VOXELS = 1 << 28
"""Voxels of the box around one segment; a liver at 0.5 mm in each direction has a tenth of it."""

_SEGMENTS = Tag("SegmentSequence")
_NUMBER = Tag("SegmentNumber")
_LABEL = Tag("SegmentLabel")
_DESCRIPTION = Tag("SegmentDescription")
_CATEGORY = Tag("SegmentedPropertyCategoryCodeSequence")
_TYPE = Tag("SegmentedPropertyTypeCodeSequence")
_REGION = Tag("AnatomicRegionSequence")
_KIND = Tag("SegmentationType")
_MOST_OCCUPIED = Tag("MaximumFractionalValue")
_IDENTIFICATION = Tag("SegmentIdentificationSequence")
_REFERENCED_NUMBER = Tag("ReferencedSegmentNumber")
_REFERENCED_SERIES = Tag("ReferencedSeriesSequence")
_SERIES_UID = Tag("SeriesInstanceUID")


class MaskRefusedError(ValueError):
    """A segment cannot be used; the message says why, in words for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSegment:
    """What a segmentation says of one of its segments; ``label`` as it stands, in whatever language."""

    number: int
    label: str
    description: str
    category: Code | None
    type: Code | None
    region: Code | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenSegmentation:
    """One segmentation object that lies with the images of a study.

    Attributes
    ----------
    source : SourceFile
    segments : tuple of GivenSegment
    source_series : tuple of str
        Series Instance UIDs of the images that it says it was drawn on.
    refusal : str
        Why none of it can be used; empty where it can.
    """

    source: SourceFile
    segments: tuple[GivenSegment, ...]
    source_series: tuple[str, ...]
    refusal: str = ""
    _grid: SegmentGrid | None = None
    _frames: tuple[FramePlace, ...] = ()
    _is_label_map: bool = False
    _threshold: float = 0.5

    @property
    def sop_instance_uid(self) -> str:
        """Of the object."""
        return self.source.instance.sop_instance_uid

    @property
    def frame_of_reference_uid(self) -> str | None:
        """Of its planes."""
        return self.source.instance.text("FrameOfReferenceUID") or None

    def mask(self, segment: GivenSegment) -> GridMask:
        """Read one segment, on the smallest grid that holds it.

        Raises
        ------
        MaskRefusedError
            If the segmentation was refused, the segment is empty or too large, or its pixels cannot be read.
        """
        if self.refusal or self._grid is None:
            raise MaskRefusedError(self.refusal or "it has no grid")
        parts = []
        try:
            for place, plane in self._planes_of(segment.number):
                if plane.any():
                    parts.append(_cropped(self._grid.index(place), plane))
        except PixelsUnreadableError as error:
            raise MaskRefusedError(str(error)) from error
        if not parts:
            raise MaskRefusedError("it is empty")
        return _assembled(segment.label, parts, self._grid.affine_lps)

    def _planes_of(self, number: int) -> Iterator[tuple[FramePlace, NDArray[np.bool_]]]:
        frames = [place for place in self._frames if self._is_label_map or place.segment_number == number]
        stored = read_frames((self.source, place.index) for place in frames)
        for place, values in zip(frames, stored, strict=True):
            yield place, values == number if self._is_label_map else values >= self._threshold


def read_segmentation(source: SourceFile) -> GivenSegmentation:
    """Read what a segmentation says of itself; its pixels stay unread. Never raises for what the file holds."""
    try:
        with warnings.catch_warnings():
            # What a parser thinks of a header is not a message to the operator.
            warnings.simplefilter("ignore")
            elements = Elements(pydicom.dcmread(source.path, stop_before_pixels=True, force=True))
            segments = tuple(_segment(item) for item in elements.items(_SEGMENTS))
            return _described(source, elements, segments)
    except (*UNREADABLE, pydicom.errors.InvalidDicomError):
        return GivenSegmentation(source=source, segments=(), source_series=(), refusal="its header cannot be read")


def _segment(item: Elements) -> GivenSegment:
    def code(tag: pydicom.tag.BaseTag) -> Code | None:
        return next(iter(item.codes(tag)), None)

    return GivenSegment(
        number=item.whole_number(_NUMBER) or 0,
        label=item.text(_LABEL),
        description=item.text(_DESCRIPTION),
        category=code(_CATEGORY),
        type=code(_TYPE),
        region=code(_REGION),
    )


def _described(source: SourceFile, elements: Elements, segments: tuple[GivenSegment, ...]) -> GivenSegmentation:
    series = tuple(uid for item in elements.items(_REFERENCED_SERIES) if (uid := item.text(_SERIES_UID)))
    is_label_map = source.instance.sop_class_uid == LABEL_MAP_CLASS or elements.text(_KIND).upper() == "LABELMAP"
    fractional = elements.text(_KIND).upper() == "FRACTIONAL"
    most = elements.whole_number(_MOST_OCCUPIED) or 255
    frames: tuple[FramePlace, ...] = ()
    grid, refusal = None, _why_not(source, segments)
    if not refusal:
        frames = _places(source, elements, segments)
        try:
            grid = grid_of(frames, source.instance.number("SpacingBetweenSlices"))
        except StackRefusedError as error:
            refusal = str(error)
    return GivenSegmentation(
        source=source,
        segments=segments,
        source_series=series,
        refusal=refusal,
        _grid=grid,
        _frames=frames,
        _is_label_map=is_label_map,
        # Half occupied, or as probable as not, is in.
        _threshold=most / 2.0 if fractional else 0.5,
    )


def _why_not(source: SourceFile, segments: Sequence[GivenSegment]) -> str:
    instance = source.instance
    rows, columns, count = instance.rows or 0, instance.columns or 0, int(instance.number("NumberOfFrames") or 1)
    if not segments:
        return "it lists no segment"
    if source.pixel_offset is None or source.pixel_bytes == 0:
        return "it holds no pixels"
    if rows < 1 or columns < 1 or rows * columns > LARGEST_PLANE_PIXELS:
        return f"it claims {rows} rows and {columns} columns"
    if count > MAX_FRAMES:
        return f"it has more than {MAX_FRAMES} frames"
    if len(instance.frames) != count:
        return f"it describes {len(instance.frames)} of its {count} frames"
    if stored_bits(instance) not in {1, 8, 16}:
        return f"{stored_bits(instance)} bits for each pixel are not read"
    return ""


def _places(source: SourceFile, elements: Elements, segments: Sequence[GivenSegment]) -> tuple[FramePlace, ...]:
    """Which segment each frame shows: by the frame, else by what all frames share, else the only one there is."""
    shared = _number_in(elements.items(SHARED_GROUPS)[:1]) or (segments[0].number if len(segments) == 1 else None)
    groups = elements.items(PER_FRAME_GROUPS)
    numbers = [_number_in([group]) or shared for group in groups] or [shared]
    return tuple(
        FramePlace(index=index, segment_number=number, frame=frame)
        for index, (frame, number) in enumerate(zip(source.instance.frames, numbers, strict=False))
    )


def _number_in(groups: Sequence[Elements]) -> int | None:
    for group in groups:
        for item in group.items(_IDENTIFICATION)[:1]:
            return item.whole_number(_REFERENCED_NUMBER)
    return None


def _cropped(plane_index: int, plane: NDArray[np.bool_]) -> tuple[int, int, int, NDArray[np.bool_]]:
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return plane_index, top, left, plane[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1].copy()


def _assembled(
    label: str, parts: Sequence[tuple[int, int, int, NDArray[np.bool_]]], affine_lps: NDArray[np.float64]
) -> GridMask:
    """Put planes together on the box that holds them all; what was left out between them is empty."""
    first = [min(part[axis] for part in parts) for axis in range(3)]
    last = [
        max(part[0] for part in parts),
        max(part[1] + part[3].shape[0] - 1 for part in parts),
        max(part[2] + part[3].shape[1] - 1 for part in parts),
    ]
    shape = tuple(high - low + 1 for low, high in zip(first, last, strict=True))
    if float(np.prod(shape, dtype=np.float64)) > MOST_REGION_VOXELS:
        raise MaskRefusedError(f"it spans {shape[0]} x {shape[1]} x {shape[2]} voxels, too many to read")
    mask = np.zeros(shape, np.bool_)
    for plane_index, top, left, part in parts:
        at = (top - first[1], left - first[2])
        mask[plane_index - first[0], at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] |= part
    affine = affine_lps.copy()
    affine[:3, 3] = affine_lps[:3] @ [first[2], first[1], first[0], 1.0]
    return GridMask(label=label, mask_zyx=mask, affine_lps=affine)
