"""Headers that nearly repeat the one before: planes of a series differ in a dozen elements; only those are read.

What a row says of an object is a function of its header. Where a header has the same elements as that of an earlier
plane of its series, and differs only in elements of which it is known what their change does, the earlier answer is
taken with those few put right. Everything else is read whole, by the library; a test compares the two.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from analyzers.contract import InstanceSummary
from analyzers.headers import MAY_CHANGE, PRIVATE_GROUPS, may_have_siblings, sibling_summary
from scp_node.domain.study import Identity
from scp_node.inbound.flat_header import LONG_VRS, HeaderElements, header_elements
from scp_node.inbound.header import PixelElement, is_deflated, syntax_of
from scp_node.inbound.header_shapes import HeaderShapes
from scp_node.inbound.usability import may_be_image

MAX_SIBLING_BYTES = 256 * 1024
"""Longest header that is remembered; that of a single plane has a few kilobytes, with private tables some 100."""
_MOST_MODELS = 32
"""Series that are being received at once; of any further one each header is read whole."""
_SERIES_UID = int(Tag("SeriesInstanceUID"))
_NOT_READ = frozenset(
    int(Tag(keyword))
    for keyword in (
        "InstanceCreationDate",
        "InstanceCreationTime",
        "IrradiationEventUID",
        "ReferencedImageSequence",
        "SourceImageSequence",
        "ExposureTime",
        "XRayTubeCurrent",
        "Exposure",
        "ExposureModulationType",
        "CTDIvol",
        "TableHeight",
        "TablePosition",
        "DataCollectionDiameter",
        "SAR",
        "ImagesInAcquisition",
        "InStackPositionNumber",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "WindowCenter",
        "WindowWidth",
        "WindowCenterWidthExplanation",
        "DecayFactor",
        "DoseCalibrationFactor",
        "ImageIndex",
    )
)
"""What differs from plane to plane and is in no row."""
_UNDEFINED_LENGTH = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a header says of its object."""

    summary: InstanceSummary
    identity: Identity
    usable_image: bool
    pixels: PixelElement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Under what a header finds its siblings."""

    sop_class_uid: str
    transfer_syntax_uid: str
    series_uid_element: bytes


class Siblings:
    """Remembers one header for each series that is being received; not safe for several threads."""

    def __init__(self) -> None:
        self._models: OrderedDict[Series, tuple[HeaderElements, Described]] = OrderedDict()
        self._shapes = HeaderShapes()

    def elements_of(self, start: bytes, sop_class_uid: str, transfer_syntax_uid: str) -> HeaderElements | None:
        """The elements of a header that may have siblings; ``start`` reaches to the value of the pixels."""
        syntax = syntax_of(transfer_syntax_uid)
        if not may_be_image(sop_class_uid) or is_deflated(syntax) or not syntax.is_little_endian:
            return None
        elements = header_elements(start, explicit=not syntax.is_implicit_VR, shapes=self._shapes)
        return elements if elements is not None and _SERIES_UID in elements.raw else None

    def described(self, series: Series, elements: HeaderElements) -> Described | None:
        """What a header says, told by an earlier one of its series; ``None`` if it must be read whole."""
        known = self._models.get(series)
        if known is None:
            return None
        model, described = known
        if elements.raw.keys() != model.raw.keys():
            return None
        changed = [tag for tag, raw in elements.raw.items() if raw != model.raw[tag]]
        explicit = not syntax_of(series.transfer_syntax_uid).is_implicit_VR
        if not all(_is_harmless(tag, model.raw[tag], elements.raw[tag], explicit) for tag in changed):
            return None
        summary = sibling_summary(described.summary, _dataset(elements, changed, explicit))
        if summary is None:
            return None
        self._models.move_to_end(series)
        pixels = PixelElement(offset_bytes=elements.pixel_offset_bytes, length_bytes=elements.pixel_length_bytes)
        return Described(
            summary=summary, identity=described.identity, usable_image=described.usable_image, pixels=pixels
        )

    def remember(self, series: Series, elements: HeaderElements, described: Described) -> None:
        """Take a header that was read whole as the model of its series."""
        if not may_have_siblings(elements.raw.keys()) or len(described.summary.frames) != 1:
            return
        self._models[series] = elements, described
        self._models.move_to_end(series)
        while len(self._models) > _MOST_MODELS:
            self._models.popitem(last=False)


def series_of(elements: HeaderElements, sop_class_uid: str, transfer_syntax_uid: str) -> Series:
    """Under what the siblings of a header are found."""
    return Series(
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        series_uid_element=elements.raw[_SERIES_UID],
    )


def _is_harmless(tag: int, before: bytes, after: bytes, explicit: bool) -> bool:
    """Whether it is known what the change of an element does."""
    group = tag >> 16
    is_private = bool(group & 1) and group not in PRIVATE_GROUPS
    if tag not in MAY_CHANGE and tag not in _NOT_READ and not is_private:
        return False
    form_bytes = 6 if explicit else 4
    # The library looks inside what has no length, and may find it broken.
    is_open = _UNDEFINED_LENGTH in (before[4:8], after[4:8], before[8:12], after[8:12])
    return before[:form_bytes] == after[:form_bytes] and not is_open


def _dataset(elements: HeaderElements, tags: Iterable[int], explicit: bool) -> Dataset:
    """Those of the elements whose change matters, as the library would hold them before their conversion."""
    return Dataset({BaseTag(tag): _raw(BaseTag(tag), elements.raw[tag], explicit) for tag in tags if tag in MAY_CHANGE})


def _raw(tag: BaseTag, element: bytes, explicit: bool) -> RawDataElement:
    vr = element[4:6] if explicit else b""
    value = element[12 if vr in LONG_VRS else 8 :]
    return RawDataElement(tag, vr.decode("ascii") or None, len(value), value, 0, not explicit, True)
