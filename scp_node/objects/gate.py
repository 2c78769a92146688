"""The last look at an object before it is declared made.

The gate reads the finished data set as a stranger would and knows nothing of how it came about. What it refuses is not
written, and the encoding fails naming the object: a wrong object in the archive is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import unpack_bits
from pydicom.uid import RE_VALID_UID, SegmentationStorage

from scp_node.errors import EncodingError
from scp_node.objects.character_sets import texts_of
from scp_node.objects.modules import Setting
from scp_node.objects.study_header import legal_identity

_MINIMUM_POINTS = 6
_UID_LENGTH = 64
_LONG_TEXT_SIGNS = frozenset("\r\n\f\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquaintances:
    """Instances that an object may refer to: UID -> SOP class, and for images rows and columns.

    ``predecessors`` are reports of the earlier revision.
    """

    classes: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]]
    segment_counts: Mapping[str, int]


def acquaintances(setting: Setting, objects: Iterable[Dataset]) -> Acquaintances:
    """Everything that the objects of an order may refer to."""
    classes: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    segment_counts: dict[str, int] = {}
    for uid, image in setting.study.images.items():
        classes[uid] = image.summary.sop_class_uid
        sizes[uid] = (image.summary.rows or 0, image.summary.columns or 0)
    for uid, mask in setting.study.masks.items():
        classes[uid] = mask.summary.sop_class_uid
        segment_counts[uid] = mask.last_segment
    for predecessor in setting.order.predecessors:
        classes[predecessor.sop_instance_uid] = predecessor.sop_class_uid
    for made in objects:
        classes[made.SOPInstanceUID] = made.SOPClassUID
        if made.SOPClassUID == SegmentationStorage:
            segment_counts[made.SOPInstanceUID] = len(made.SegmentSequence)
    return Acquaintances(classes=classes, sizes=sizes, segment_counts=segment_counts)


def check(name: str, dataset: Dataset, setting: Setting, known: Acquaintances) -> None:
    """Let an object pass, or refuse it.

    Parameters
    ----------
    name : str
        How the error names the object.
    dataset : Dataset
        The finished object.
    setting : Setting
        Order and study.
    known : Acquaintances
        What it may refer to.

    Raises
    ------
    EncodingError
        With every fault found; without patient data.
    """
    faults = [
        *_identity_faults(dataset, setting),
        *_uid_faults(dataset, setting),
        *_reference_faults(dataset, known),
        *_text_faults(dataset),
    ]
    if dataset.SOPClassUID == SegmentationStorage:
        faults.extend(_segmentation_faults(dataset))
    if dataset.get("ContentSequence"):
        faults.extend(_coordinate_faults(dataset, known))
        if not setting.order.groups_without_coordinates:
            faults.extend(_group_faults(dataset))
    if faults:
        raise EncodingError(f"{name} was refused: {'; '.join(dict.fromkeys(faults))}.")


def _identity_faults(dataset: Dataset, setting: Setting) -> Iterator[str]:
    for keyword, value in legal_identity(setting.order.identity).items():
        written = dataset.get(keyword)
        texts = [str(part) for part in written] if isinstance(written, list) else [str(written or "")]
        if "\\".join(texts) != value:
            yield f"{keyword} is not that of the study"
    if dataset.get("StudyInstanceUID") != setting.order.study_instance_uid:
        yield "StudyInstanceUID is not that of the study"


def _uid_faults(dataset: Dataset, setting: Setting) -> Iterator[str]:
    """Illegal UIDs, but for those of the images: the archive knows them as they are."""
    inherited = {setting.order.study_instance_uid}
    summaries = [image.summary for image in setting.study.images.values()]
    summaries += [mask.summary for mask in setting.study.masks.values()]
    for summary in summaries:
        inherited |= {summary.sop_instance_uid, summary.series_instance_uid, summary.sop_class_uid}
        inherited.add(summary.text("FrameOfReferenceUID"))
    for element in dataset.iterall():
        if element.VR != "UI" or element.is_empty:
            continue
        values = [element.value] if isinstance(element.value, str) else list(element.value)
        for value in values:
            if value not in inherited and (len(value) > _UID_LENGTH or not re.fullmatch(RE_VALID_UID, value)):
                yield f"{element.keyword} is not a UID"
    if dataset.file_meta.MediaStorageSOPInstanceUID != dataset.SOPInstanceUID:
        yield "MediaStorageSOPInstanceUID differs from SOPInstanceUID"


def _reference_faults(dataset: Dataset, known: Acquaintances) -> Iterator[str]:
    for item in _items_with(dataset, "ReferencedSOPInstanceUID"):
        uid = str(item.ReferencedSOPInstanceUID)
        if uid == dataset.SOPInstanceUID or uid not in known.classes:
            yield f"it refers to {uid}, which is neither a source image nor another object of this revision"
        elif known.classes[uid] != item.get("ReferencedSOPClassUID"):
            yield f"it refers to {uid} by the wrong SOP class"
        number = item.get("ReferencedSegmentNumber")
        if number is not None and not 1 <= int(number) <= known.segment_counts.get(uid, 0):
            yield f"it refers to segment {number} of {uid}, which has no such segment"


def _text_faults(dataset: Dataset) -> Iterator[str]:
    for text in texts_of(dataset):
        if any(ord(sign) < 0x20 and sign not in _LONG_TEXT_SIGNS for sign in text):
            yield "a text holds a control character"


def _segmentation_faults(dataset: Dataset) -> Iterator[str]:
    numbers = [int(item.SegmentNumber) for item in dataset.SegmentSequence]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"segments are numbered {numbers}"
    if any("RecommendedDisplayCIELabValue" not in item for item in dataset.SegmentSequence):
        yield "a segment has no display colour"
    shared = dataset.SharedFunctionalGroupsSequence[0]
    planes: dict[tuple[str, int], list[int]] = {}
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        plane = (str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber", 1)))
        planes.setdefault(plane, []).append(index)
        owner = group if "SegmentIdentificationSequence" in group else shared
        if int(owner.SegmentIdentificationSequence[0].ReferencedSegmentNumber) not in numbers:
            yield "a frame belongs to no segment"
    frame_bits = int(dataset.Rows) * int(dataset.Columns)
    for indices in planes.values():
        drawn = np.zeros(frame_bits, dtype=np.uint8)
        for index in indices:
            drawn += _frame(dataset.PixelData, index, frame_bits)
        if drawn.max(initial=0) > 1:
            yield "segments overlap"
            return
        if drawn.max(initial=0) == 0:
            yield "a frame is empty"


def _frame(pixel_data: bytes, index: int, frame_bits: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """One frame of one-bit pixels as bytes 0 or 1, flat; frames need not begin at a byte."""
    first = index * frame_bits
    part = pixel_data[first // 8 : -(-(first + frame_bits) // 8)]
    bits = np.asarray(unpack_bits(part, as_array=True), dtype=np.uint8)
    return bits[first % 8 : first % 8 + frame_bits]


def _coordinate_faults(dataset: Dataset, known: Acquaintances) -> Iterator[str]:
    for item in _items_with(dataset, "GraphicData"):
        points = np.asarray([float(value) for value in item.GraphicData]).reshape(-1, 2)
        if len(points) < _MINIMUM_POINTS:
            yield f"an outline has {len(points)} points; viewers take up to 5 for a measurement of their own"
        for image in item.get("ContentSequence", []):
            for reference in image.get("ReferencedSOPSequence", []):
                rows, columns = known.sizes.get(str(reference.ReferencedSOPInstanceUID), (0, 0))
                if (points < 0.0).any() or (points > [columns, rows]).any():
                    yield f"an outline leaves the image {reference.ReferencedSOPInstanceUID}"


def _group_faults(dataset: Dataset) -> Iterator[str]:
    """Every measurement group has coordinates, or shares its tracking UID with one that has."""
    groups = [item for item in _content_items(dataset) if _concept(item) == ("125007", "DCM")]
    drawn = {_tracking_uid(group) for group in groups if any(_items_with(group, "GraphicData"))}
    for group in groups:
        if _tracking_uid(group) not in drawn:
            yield "a measurement group rests on no coordinates"


def _tracking_uid(group: Dataset) -> str:
    uids = [str(item.UID) for item in group.get("ContentSequence", []) if _concept(item) == ("112040", "DCM")]
    return uids[0] if uids else ""


def _content_items(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from _content_items(item)


def _concept(item: Dataset) -> tuple[str, str]:
    names: Sequence[Dataset] = item.get("ConceptNameCodeSequence", [])
    return (str(names[0].get("CodeValue", "")), str(names[0].get("CodingSchemeDesignator", ""))) if names else ("", "")


def _items_with(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    """Items at any depth that hold an attribute."""
    if keyword in dataset:
        yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _items_with(item, keyword)
