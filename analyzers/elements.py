"""A tolerant view of the elements of a DICOM data set.

Headers come from every scanner of the last thirty years. What a header summary needs is *whatever can be read*: a
value that breaks the rules of its representation is left out, and nothing here ever raises on a data set that was
parsed. Values are read from the raw bytes where they are still raw, so that no validation (and none of its
warnings) stands between the header and its words.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Sequence

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag

from analyzers.contract import Code

MAX_VALUES = 64
"""Values kept of one element; the longest that matters is an orientation or an image type."""
MAX_CHARACTERS = 1024
"""Characters kept of one value; the longest that matters is a reason for the requested procedure."""

UNREADABLE = (
    ValueError,  # also what is not text in the declared character set
    BytesLengthException,
    TypeError,
    ArithmeticError,
    LookupError,  # also unknown tags and character sets
    AttributeError,
    NotImplementedError,
    EOFError,
    OSError,  # the library's word for a sequence that breaks off; no file is read here
    RecursionError,  # sequences nested on purpose
    struct.error,
)
"""What the conversion of one element may raise on hostile input; the element is then left out."""

_BINARY_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_LOCALISED_VRS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_SINGLE_VALUED_VRS = frozenset({"LT", "ST", "UT", "UR"})
_TEXT_VRS = _LOCALISED_VRS | frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_CHARACTER_SET = Tag("SpecificCharacterSet")
_PIXEL_REPRESENTATION = Tag("PixelRepresentation")
_CODE_VALUES = (Tag("CodeValue"), Tag("LongCodeValue"), Tag("URNCodeValue"))
_SCHEME = Tag("CodingSchemeDesignator")
_MEANING = Tag("CodeMeaning")


class Elements:
    """The elements of one data set or sequence item, as text, numbers, items and codes.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Parsed, with or without pixels.
    encodings : sequence of str or None
        Python encodings of its text; ``None`` reads them from its Specific Character Set.
    """

    def __init__(self, dataset: Dataset, encodings: Sequence[str] | None = None) -> None:
        self._dataset = dataset
        self._encodings = tuple(encodings) if encodings is not None else _encodings_of(dataset)

    def __contains__(self, tag: BaseTag) -> bool:
        return tag in self._dataset

    @property
    def tags(self) -> frozenset[int]:
        """What is there: a header holds a few dozen of the elements that anybody may ask for."""
        return frozenset(map(int, self._dataset.keys()))

    def texts(self, tag: BaseTag) -> tuple[str, ...]:
        """Values as text, stripped of padding; empty when absent, unreadable, a sequence or binary."""
        if tag not in self._dataset:
            return ()
        try:
            element: object = self._dataset.get_item(tag)
            if isinstance(element, RawDataElement) and element.value is not None:
                values = self._raw_texts(element)
            else:
                values = _converted_texts(self._dataset[tag].value)
        except UNREADABLE:
            return ()
        if not any(values):
            return ()
        return tuple(value[:MAX_CHARACTERS] for value in values[:MAX_VALUES])

    def text(self, tag: BaseTag) -> str:
        """First value as text; empty when there is none."""
        values = self.texts(tag)
        return values[0] if values else ""

    def numbers(self, tag: BaseTag, count: int) -> tuple[float, ...] | None:
        """Exactly ``count`` finite numbers, or ``None``."""
        try:
            values = tuple(float(text) for text in self.texts(tag))
        except ValueError:
            return None
        return values if len(values) == count and all(map(math.isfinite, values)) else None

    def whole_number(self, tag: BaseTag) -> int | None:
        """First value as a whole number, or ``None``."""
        try:
            return int(float(self.text(tag)))
        except (ValueError, OverflowError):
            return None

    def whole_numbers(self, tag: BaseTag) -> tuple[int, ...]:
        """All values of a frame vector (not limited to :data:`MAX_VALUES`); empty when unreadable."""
        try:
            value = self._dataset[tag].value if tag in self._dataset else None
            values = [] if value is None else list(value) if not isinstance(value, int) else [value]
            return tuple(int(number) for number in values)
        except UNREADABLE:
            return ()

    def items(self, tag: BaseTag) -> list[Elements]:
        """Items of a sequence; empty when absent, unreadable or not a sequence."""
        try:
            value = self._dataset[tag].value if tag in self._dataset else None
        except UNREADABLE:
            return []
        if not isinstance(value, DicomSequence):
            return []
        return [Elements(item, self._encodings) for item in value]

    def sequences(self, depth: int = 2) -> list[Elements]:
        """First items of all sequences, down to ``depth`` levels; for the macros of a functional group."""
        found = []
        for tag in self._dataset.keys():  # noqa: SIM118 - iterating a data set would convert its elements
            for item in self.items(tag)[:1]:
                found.append(item)
                if depth > 1:
                    found.extend(item.sequences(depth - 1))
        return found

    def private_text(self, group: int, creator: str, element: int) -> str:
        """First value of a private element (PS3.5 7.8.1); empty when its creator reserved no block."""
        if not any(tag >> 16 == group for tag in self.tags):
            return ""
        for block in range(0x10, 0x20):
            if self.text(Tag(group, block)) == creator:
                return self._private_value(Tag(group, block * 0x100 + element))
        return ""

    def _private_value(self, tag: BaseTag) -> str:
        try:
            value = self._dataset[tag].value if tag in self._dataset else None
            # Implicit VR leaves private elements as bytes; those that matter here are decimal strings.
            values = _converted_texts(value.decode("ascii").split("\\") if isinstance(value, bytes) else value)
        except UNREADABLE:
            return ""
        return values[0] if values else ""

    def codes(self, tag: BaseTag) -> tuple[Code, ...]:
        """Codes of a code sequence; items without a code value are left out."""
        codes = []
        for item in self.items(tag)[:MAX_VALUES]:
            value = next((text for text in map(item.text, _CODE_VALUES) if text), "")
            if value:
                codes.append(Code(value=value, scheme=item.text(_SCHEME), meaning=item.text(_MEANING)))
        return tuple(codes)

    def _raw_texts(self, element: RawDataElement) -> list[str]:
        raw = element.value
        vr = str(element.VR or "UN")
        if vr == "UN":
            vr = dictionary_VR(element.tag)
        if vr == "US or SS":
            vr = "SS" if self.whole_number(_PIXEL_REPRESENTATION) == 1 else "US"
        if not isinstance(raw, bytes):
            return []
        if vr in _BINARY_FORMATS:
            order = "<" if element.is_little_endian else ">"
            size = struct.calcsize(_BINARY_FORMATS[vr])
            count = min(len(raw) // size, MAX_VALUES)
            numbers = struct.unpack_from(f"{order}{count}{_BINARY_FORMATS[vr]}", raw)
            return [repr(number) for number in numbers]
        if vr not in _TEXT_VRS:
            return []
        raw = raw[: MAX_VALUES * MAX_CHARACTERS]
        text = self._localised(raw) if vr in _LOCALISED_VRS else raw.decode("latin-1")
        parts = [text] if vr in _SINGLE_VALUED_VRS else text.split("\\")
        return [part.strip(" \0\r\n\t") for part in parts]

    def _localised(self, raw: bytes) -> str:
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        # An unknown character set or a wrong byte is worth a replacement character, not a warning.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode_bytes(raw, self._encodings, {0x5C, 0x0A, 0x0C, 0x0D})


def _encodings_of(dataset: Dataset) -> tuple[str, ...]:
    names = Elements(dataset, ("latin-1",)).texts(_CHARACTER_SET)
    if not names:
        return ("latin-1",)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tuple(convert_encodings(list(names)))
    except UNREADABLE:
        return ("latin-1",)


def _converted_texts(value: object) -> list[str]:
    if value is None or isinstance(value, bytes | DicomSequence):
        return []
    if isinstance(value, str):
        return [value.strip(" \0")]
    if isinstance(value, Sequence):
        return [str(part).strip(" \0") for part in value]
    return [str(value).strip(" \0")]
