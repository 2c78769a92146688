"""The few elements that a receiver must know at once, found without building a data set.

An acknowledgement needs four UIDs and the place of the pixels, nothing else; a full parse costs ten times as much as
all other work on a slice. This walk covers what nearly every object is, little endian with ascending tags. It guesses
nothing: at whatever is unusual it gives up, and the object is read by the library instead (``header``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scp_node.inbound.header_shapes import HeaderShape, HeaderShapes, Span

UNDEFINED_LENGTH = 0xFFFFFFFF

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_FIRST_PIXELS = min(_PIXELS)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS = frozenset({_ITEM, _ITEM_END, _SEQUENCE_END})
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Those with a length of two bytes, likewise; others of that form may come to be."""
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""Explicit VRs with a length of four bytes (PS3.5 table 7.1-1)."""
_SHORT_FORM = struct.Struct("<HH2sH")
"""Group, number, VR and length of an element whose VR has a length of two bytes."""
_MOST_NESTED = 16
"""Sequences inside sequences; the deepest standard ones have about six."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatHeader:
    """What identifies an object, and where its pixels lie."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    pixel_offset_bytes: int | None
    """Where the value of Pixel Data begins; ``None`` if the data set ended without pixels."""
    pixel_length_bytes: int
    """:data:`UNDEFINED_LENGTH` for encapsulated pixels."""


class _GiveUpError(Exception):
    """Something unusual, or the end of what is in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderElements:
    """The top level of a data set up to its pixels, not decoded."""

    raw: dict[int, bytes]
    """Whole elements by tag, in their order: tag, representation, length and value as they were sent."""
    pixel_offset_bytes: int
    """Where the value of Pixel Data begins."""
    pixel_length_bytes: int
    """:data:`UNDEFINED_LENGTH` for encapsulated pixels."""


def header_elements(start: bytes, *, explicit: bool, shapes: HeaderShapes | None = None) -> HeaderElements | None:
    """Cut the beginning of a data set into its elements; ``None`` where :func:`scan_header` gives up.

    Parameters
    ----------
    start : bytes
        The data set up to the value of its pixels at least.
    explicit : bool
        Whether the transfer syntax has explicit VRs.
    shapes : HeaderShapes, optional
        Of headers before; for this function alone.
    """
    shape = shapes.find(start, len(start), explicit=explicit) if shapes is not None else None
    if shape is not None:
        return HeaderElements(
            raw=shape.raw_elements(start),
            pixel_offset_bytes=shape.pixel_offset_bytes,
            pixel_length_bytes=shape.pixel_length_bytes,
        )
    walk = _Walk(start, explicit=explicit)
    try:
        pixels = walk.to_pixels(is_all=False)
    except _GiveUpError:
        return None
    if pixels is None:
        return None
    if shapes is not None:
        walk.teach(shapes, pixels, len(start))
    return HeaderElements(raw=walk.raw_elements(), pixel_offset_bytes=pixels[0], pixel_length_bytes=pixels[1])


def scan_header(
    start: bytes, *, explicit: bool, is_all: bool, shapes: HeaderShapes | None = None, length_bytes: int = 0
) -> FlatHeader | None:
    """Walk the top level of a little endian data set up to its pixels.

    Parameters
    ----------
    start : bytes
        The beginning of the data set, or all of it.
    explicit : bool
        Whether the transfer syntax has explicit VRs.
    is_all : bool
        ``start`` is the whole data set.
    shapes : HeaderShapes, optional
        Of headers before; for this function alone.
    length_bytes : int
        Of the whole data set, whatever ``start`` is of it; used with ``shapes`` only.

    Returns
    -------
    FlatHeader or None
        ``None`` if anything is unusual, or ``start`` ends before the pixels begin.
    """
    shape = shapes.find(start, length_bytes, explicit=explicit) if shapes is not None else None
    pixels: tuple[int, int] | None
    if shape is not None:
        walk = _Walk(start, explicit=explicit, found=shape.spans)
        pixels = shape.pixel_offset_bytes, shape.pixel_length_bytes
    else:
        walk = _Walk(start, explicit=explicit)
        try:
            pixels = walk.to_pixels(is_all=is_all)
        except _GiveUpError:
            return None
        if shapes is not None and pixels is not None:
            walk.teach(shapes, pixels, length_bytes)
    return FlatHeader(
        sop_class_uid=walk.uid(_SOP_CLASS),
        sop_instance_uid=walk.uid(_SOP_INSTANCE),
        study_instance_uid=walk.uid(_STUDY),
        series_instance_uid=walk.uid(_SERIES),
        pixel_offset_bytes=pixels[0] if pixels else None,
        pixel_length_bytes=pixels[1] if pixels else 0,
    )


class _Walk:
    """One pass over the elements of a data set."""

    def __init__(self, content: bytes, *, explicit: bool, found: Mapping[int, Span] | None = None) -> None:
        self._content: Final = content
        self._explicit: Final = explicit
        self._found: dict[int, Span] = {} if found is None else dict(found)
        """Begin, value and end of each element that was passed on the way."""

    def uid(self, tag: int) -> str:
        """A UID that was passed on the way; empty if there was none, or it is no text."""
        _, start, end = self._found.get(tag, (0, 0, 0))
        value = self._content[start:end]
        return value.decode("ascii").strip(" \0") if value.isascii() else ""

    def raw_elements(self) -> dict[int, bytes]:
        """All elements that were passed on the way."""
        content = self._content
        return {tag: content[begin:end] for tag, (begin, _, end) in self._found.items()}

    def teach(self, shapes: HeaderShapes, pixels: tuple[int, int], length_bytes: int) -> None:
        """Have the way to the pixels remembered."""
        shape = HeaderShape.learned(self._content, self._found, pixels)
        if shape is not None:
            shapes.remember(shape, length_bytes, explicit=self._explicit)

    def to_pixels(self, *, is_all: bool) -> tuple[int, int] | None:
        """Offset and length of the value of Pixel Data; ``None`` at the end of a data set without."""
        content, position, last_tag, found = self._content, 0, 0, self._found
        short_vrs = _SHORT_VRS if self._explicit else frozenset()
        while position < len(content):
            # Most elements are of the short form, and a call for each would be half of the time of the walk.
            if position + _SHORT_FORM.size <= len(content):
                group, number, vr, length = _SHORT_FORM.unpack_from(content, position)
                tag = group << 16 | number
                if vr in short_vrs and last_tag < tag < _FIRST_PIXELS:
                    begin, value, position = position, position + _SHORT_FORM.size, position + _SHORT_FORM.size + length
                    found[tag] = begin, value, position
                    last_tag = tag
                    continue
            tag, length, value = self._element(position, explicit=self._explicit)
            if tag <= last_tag or tag in _DELIMITERS:
                raise _GiveUpError
            last_tag = tag
            if tag in _PIXELS:
                return value, length
            if length == UNDEFINED_LENGTH:
                end = self._end(value, length, explicit=self._explicit, depth=0)
            else:
                end = value + length
            found[tag] = position, value, end
            position = end
        if position > len(content) or not is_all:
            raise _GiveUpError
        return None

    def _element(self, position: int, *, explicit: bool) -> tuple[int, int, int]:
        """Tag, length and offset of the value of the element at a position (PS3.5 section 7.1)."""
        content = self._content
        if position + 8 > len(content):
            raise _GiveUpError
        group, number, vr, length = _SHORT_FORM.unpack_from(content, position)
        tag = group << 16 | number
        if not explicit or tag in _DELIMITERS:
            return tag, int.from_bytes(content[position + 4 : position + 8], "little"), position + 8
        if vr in _SHORT_VRS:
            return tag, length, position + 8
        if vr not in LONG_VRS:
            if not (vr.isalpha() and vr.isupper()):
                raise _GiveUpError
            return tag, length, position + 8
        if position + 12 > len(content):
            raise _GiveUpError
        length = int.from_bytes(content[position + 8 : position + 12], "little")
        if vr == b"UN" and length == UNDEFINED_LENGTH:
            # Its items are in implicit VR whatever the transfer syntax is (PS3.5 section 6.2.2): for the library.
            raise _GiveUpError
        return tag, length, position + 12

    def _end(self, value: int, length: int, *, explicit: bool, depth: int) -> int:
        """Where the value of an element ends; of a sequence of undefined length behind its delimiter."""
        if length != UNDEFINED_LENGTH:
            return value + length
        if depth >= _MOST_NESTED:
            raise _GiveUpError
        position = value
        while True:
            tag, item_length, item = self._element(position, explicit=explicit)
            if tag == _SEQUENCE_END:
                return item
            if tag != _ITEM:
                raise _GiveUpError
            position = (
                item + item_length if item_length != UNDEFINED_LENGTH else self._item_end(item, explicit, depth + 1)
            )

    def _item_end(self, position: int, explicit: bool, depth: int) -> int:
        while True:
            tag, length, value = self._element(position, explicit=explicit)
            if tag == _ITEM_END:
                return value
            if tag in _DELIMITERS:
                raise _GiveUpError
            position = self._end(value, length, explicit=explicit, depth=depth)
