"""Digests by which a second arrival of an object is told from another object under the same UID.

SHA-256 of the data set as received, of the geometry alone, and of the pixels with what gives them meaning. Values are
compared as numbers, not as text, because an archive that re-encodes an object may write ``1`` where ``1.0`` stood.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator

from analyzers.contract import FrameSummary, InstanceSummary
from scp_node.errors import UnreadableObjectError
from scp_node.inbound.header import UNDEFINED_LENGTH, PixelElement

_MEANING = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
)
_DECIMALS = 4
"""Micrometres where the unit is mm."""
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
_SEQUENCE_END = struct.pack("<HH", 0xFFFE, 0xE0DD)
_ITEM_HEADER_BYTES = 8
_STEP_BYTES = 1 << 20


def dataset_digest(content: bytes) -> str:
    """Digest of a data set as received, without file meta information."""
    return hashlib.sha256(content).hexdigest()


def geometry_digest(summary: InstanceSummary) -> str:
    """Digest of rows, columns and each frame's position, orientation, spacing and thickness (LPS mm)."""
    frames = "|".join(_frame_text(frame) for frame in summary.frames)
    return hashlib.sha256(f"{summary.rows}x{summary.columns}|{frames}".encode()).hexdigest()


def pixel_digest(content: bytes, pixels: PixelElement | None, summary: InstanceSummary, *, deflated: bool) -> str:
    """Digest of the value of Pixel Data and of what gives it meaning.

    Of encapsulated pixels the fragments count, not how they are cut: an archive may drop or add the offset table.

    Parameters
    ----------
    content : bytes
        Data set as received, deflated or not.
    pixels : PixelElement or None
        Where the value lies in the inflated data set; ``None`` gives the digest of an object without pixels.
    summary : InstanceSummary
        Geometry and photometric meaning.
    deflated : bool
        The transfer syntax deflates the whole data set.

    Raises
    ------
    UnreadableObjectError
        If the pixels end before their length says, or their items are malformed.
    """
    digest = hashlib.sha256()
    digest.update(geometry_digest(summary).encode())
    for keyword in _MEANING:
        number = summary.number(keyword)
        digest.update(f"|{summary.text(keyword) if number is None else _number_text(number)}".encode())
    for part in _pixel_parts(content, pixels, deflated=deflated) if pixels is not None else ():
        digest.update(part)
    return digest.hexdigest()


def _pixel_parts(content: bytes, pixels: PixelElement, *, deflated: bool) -> Iterator[bytes | memoryview]:
    if pixels.length_bytes == UNDEFINED_LENGTH:
        if deflated:
            raise UnreadableObjectError("encapsulated pixels in a deflated data set")
        return _fragments(memoryview(content)[pixels.offset_bytes :])
    if deflated:
        return _inflated_value(content, pixels)
    value = memoryview(content)[pixels.offset_bytes : pixels.offset_bytes + pixels.length_bytes]
    if len(value) < pixels.length_bytes:
        raise UnreadableObjectError("the pixel data are shorter than their length says")
    return iter((value,))


def _fragments(items: memoryview) -> Iterator[memoryview]:
    """Values of the items behind the first, which is the offset table (PS3.5 A.4)."""
    start = 0
    is_offset_table = True
    while True:
        header = items[start : start + _ITEM_HEADER_BYTES]
        if len(header) < _ITEM_HEADER_BYTES:
            raise UnreadableObjectError("the encapsulated pixel data have no end")
        if header[:4] == _SEQUENCE_END:
            return
        (length_bytes,) = struct.unpack("<L", header[4:])
        start += _ITEM_HEADER_BYTES
        if header[:4] != _ITEM or start + length_bytes > len(items):
            raise UnreadableObjectError("the encapsulated pixel data are not a sequence of whole items")
        if not is_offset_table:
            yield items[start : start + length_bytes]
        is_offset_table = False
        start += length_bytes


def _inflated_value(content: bytes, pixels: PixelElement) -> Iterator[bytes]:
    """The value in steps, so that a small file cannot claim much memory by inflating."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    to_skip, missing = pixels.offset_bytes, pixels.length_bytes
    waiting = content
    try:
        while missing > 0:
            step = inflater.decompress(waiting, _STEP_BYTES)
            waiting = inflater.unconsumed_tail
            if not step:
                raise UnreadableObjectError("the pixel data are shorter than their length says")
            part = step[to_skip : to_skip + missing]
            to_skip = max(0, to_skip - len(step))
            missing -= len(part)
            yield part
        # Padding may follow, and then the mark that the stream is whole.
        inflater.decompress(waiting, _STEP_BYTES)
    except zlib.error as fault:
        raise UnreadableObjectError("the data set is not deflated as its transfer syntax says") from fault
    if not inflater.eof:
        raise UnreadableObjectError("the deflated data set breaks off, or goes on long behind the pixels")


def _frame_text(frame: FrameSummary) -> str:
    groups = (frame.position_lps_mm, frame.orientation, frame.spacing_row_col_mm)
    thickness = "" if frame.slice_thickness_mm is None else _number_text(frame.slice_thickness_mm)
    return ";".join([*(",".join(map(_number_text, group)) if group else "" for group in groups), thickness])


def _number_text(number: float) -> str:
    # Adding zero turns -0.0 into 0.0.
    return f"{round(number, _DECIMALS) + 0.0:.{_DECIMALS}f}"
