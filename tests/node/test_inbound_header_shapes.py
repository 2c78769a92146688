"""A header laid out like one before is confirmed, and says what walking it would say."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from scp_node.inbound.flat_header import header_elements, scan_header
from scp_node.inbound.header_shapes import HeaderShapes

_PIXELS = 0x7FE00010
_TAGS = (0x00080005, 0x00080016, 0x00080018, 0x00081140, 0x0020000D, 0x0020000E, 0x00200013, 0x00281050, 0x00291010)
_UNDEFINED = 0xFFFFFFFF
_EMPTY_SEQUENCE = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_ONE_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)


def element(tag: int, vr: bytes, value: bytes, *, explicit: bool, length: int | None = None) -> bytes:
    """One element, with another length than its value's where that is wanted."""
    said = len(value) if length is None else length
    place = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return place + struct.pack("<L", said) + value
    if vr in (b"OW", b"SQ"):
        return place + vr + struct.pack("<HL", 0, said) + value
    return place + vr + struct.pack("<H", said) + value


VALUES = st.sampled_from((b"", b"1.2.3\0", b"1.2.4\0", b"1.2.34", b"12", b"ABCD", b"\xff\xff\xff\xff"))


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A data set of few possible lengths, with or without explicit VRs, now and then broken."""
    explicit = draw(st.booleans())
    parts = []
    for tag in draw(st.lists(st.sampled_from(_TAGS), unique=True, max_size=6).map(sorted)):
        if tag == 0x00081140:
            inside, length = draw(st.sampled_from(((b"", 0), (_EMPTY_SEQUENCE, _UNDEFINED), (_ONE_ITEM, 8))))
            parts.append(element(tag, b"SQ", inside, explicit=explicit, length=length))
        else:
            parts.append(element(tag, draw(st.sampled_from((b"UI", b"LO"))), draw(VALUES), explicit=explicit))
    if draw(st.booleans()):
        parts.append(element(_PIXELS, b"OW", draw(st.sampled_from((b"\0" * 8, b"\1" * 8))), explicit=explicit))
    content = bytearray(b"".join(parts))
    if content and draw(st.integers(0, 9)) == 0:
        content[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(content), explicit


@given(st.lists(headers(), min_size=2, max_size=12))
def test_what_was_learned_of_other_headers_changes_no_answer(sent: list[tuple[bytes, bool]]) -> None:
    of_receiver, of_recorder = HeaderShapes(), HeaderShapes()
    for content, explicit in sent * 2:
        alone = scan_header(content, explicit=explicit, is_all=True)
        # A receiver looks at the beginning first, and only knows how long the whole is.
        start = content[:40]
        assert scan_header(start, explicit=explicit, is_all=False) == scan_header(
            start, explicit=explicit, is_all=False, shapes=of_receiver, length_bytes=len(content)
        )
        assert alone == scan_header(
            content, explicit=explicit, is_all=True, shapes=of_receiver, length_bytes=len(content)
        )
        elements = header_elements(content, explicit=explicit)
        told = header_elements(content, explicit=explicit, shapes=of_recorder)
        assert told == elements
        if told is not None and elements is not None:
            assert list(told.raw) == list(elements.raw)


def test_a_header_of_the_same_layout_is_not_walked_again() -> None:
    shapes = HeaderShapes()
    first, second = (
        element(0x00080018, b"UI", uid, explicit=True) + element(_PIXELS, b"OW", b"\0" * 8, explicit=True)
        for uid in (b"1.2.3\0", b"1.2.4\0")
    )

    scan_header(first, explicit=True, is_all=True, shapes=shapes, length_bytes=len(first))

    assert shapes.find(second, len(second), explicit=True) is not None
    assert shapes.find(second[:-9], len(second), explicit=True) is None
    assert shapes.find(second.replace(b"UI", b"LO"), len(second), explicit=True) is None


def test_a_sequence_that_ends_by_what_is_in_it_is_always_walked() -> None:
    shapes = HeaderShapes()
    content = element(0x00081140, b"SQ", _EMPTY_SEQUENCE, explicit=True, length=_UNDEFINED)
    content += element(_PIXELS, b"OW", b"\0" * 8, explicit=True)

    assert scan_header(content, explicit=True, is_all=True, shapes=shapes, length_bytes=len(content)) is not None
    assert shapes.find(content, len(content), explicit=True) is None


def test_what_is_remembered_of_strangers_is_bounded() -> None:
    shapes = HeaderShapes()
    lengths = []
    for number in range(200):
        content = element(0x00080018, b"UI", b"1" * (2 * number), explicit=True)
        content += element(_PIXELS, b"OW", b"\0" * 8, explicit=True)
        scan_header(content, explicit=True, is_all=True, shapes=shapes, length_bytes=len(content))
        lengths.append(content)

    known = [one for one in lengths if shapes.find(one, len(one), explicit=True) is not None]
    assert known == lengths[-64:]

    many = b"".join(element(0x00091000 + n, b"LO", b"", explicit=True) for n in range(600))
    many += element(_PIXELS, b"OW", b"\0" * 8, explicit=True)
    assert scan_header(many, explicit=True, is_all=True, shapes=shapes, length_bytes=len(many)) is not None
    assert shapes.find(many, len(many), explicit=True) is None
