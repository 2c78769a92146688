"""The header of a received data set, read by the library: tolerantly, bounded, and never further than the pixels."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from scp_node.dimse.text import UNREADABLE
from scp_node.errors import UnreadableObjectError
from scp_node.inbound.flat_header import UNDEFINED_LENGTH
from scp_node.inbound.usability import may_be_image

MAX_HEADER_BYTES = 64 * 1024 * 1024
"""Up to the pixels. An enhanced MR of 5,000 frames needs about 50 MB; what is longer is no header."""

_PIXEL_TAGS = frozenset({Tag("FloatPixelData"), Tag("DoubleFloatPixelData"), Tag("PixelData")})
_LAST_GROUP_OF_IDENTIFICATION = 0x0020
_STEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelElement:
    """Where the value of Pixel Data lies in the (inflated) data set."""

    offset_bytes: int
    length_bytes: int
    """:data:`UNDEFINED_LENGTH` for encapsulated pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was read of one data set."""

    dataset: Dataset
    pixels: PixelElement | None
    """``None`` if the object has no pixels."""


def is_deflated(transfer_syntax_uid: str) -> bool:
    """Whether the transfer syntax deflates the whole data set (PS3.5 A.5)."""
    return transfer_syntax_uid == DeflatedExplicitVRLittleEndian


@lru_cache(maxsize=64)
def syntax_of(transfer_syntax_uid: str) -> UID:
    """The library's view of a transfer syntax; made once, because making it takes as long as a write."""
    return UID(transfer_syntax_uid)


def read_header(file: BinaryIO, sop_class_uid: str, transfer_syntax_uid: str) -> Header:
    """Read up to the pixels; of an object that is no image, only what identifies it.

    Parameters
    ----------
    file : binary file
        At the start of the data set, which reaches to its end. The position afterwards means nothing.
    sop_class_uid, transfer_syntax_uid : str
        Of the C-STORE command and of the presentation context.

    Raises
    ------
    UnreadableObjectError
        If the bytes are no data set in that transfer syntax, if they end before the data set does, or if the header
        is longer than :data:`MAX_HEADER_BYTES`.
    """
    syntax = syntax_of(transfer_syntax_uid)
    stream = BytesIO(inflated_start(file)) if is_deflated(transfer_syntax_uid) else file
    start = stream.tell()
    reading = _Reading(stream, start, whole=may_be_image(sop_class_uid))
    try:
        dataset = read_dataset(
            stream,
            is_implicit_VR=syntax.is_implicit_VR,
            is_little_endian=syntax.is_little_endian,
            stop_when=reading.ends_before,
        )
    except UNREADABLE as fault:
        if isinstance(fault, OSError) and fault.errno is not None:
            # The disk says so, not the library.
            raise
        raise UnreadableObjectError("the data set is not in the negotiated transfer syntax") from fault
    if not len(dataset):
        raise UnreadableObjectError("the data set holds no element")
    if not reading.ended:
        _require_whole(dataset, stream)
    return Header(dataset=dataset, pixels=reading.pixels)


class _Reading:
    """Says where to stop, and remembers where the pixels are."""

    def __init__(self, stream: BinaryIO, start: int, *, whole: bool) -> None:
        self._stream = stream
        self._start = start
        self._whole = whole
        self.pixels: PixelElement | None = None
        self.ended = False

    def ends_before(self, tag: BaseTag, _vr: str | None, length: int) -> bool:
        offset_bytes = self._stream.tell() - self._start
        if offset_bytes > MAX_HEADER_BYTES:
            raise UnreadableObjectError(f"the header is longer than {MAX_HEADER_BYTES >> 20} MiB")
        if tag in _PIXEL_TAGS:
            self.pixels = PixelElement(offset_bytes=offset_bytes, length_bytes=length)
            self.ended = True
        elif not self._whole and tag.group > _LAST_GROUP_OF_IDENTIFICATION:
            self.ended = True
        return self.ended


def _require_whole(dataset: Dataset, stream: BinaryIO) -> None:
    """A transfer that broke off shows behind the last value: the parser takes what there is. Zeros are padding."""
    elements: list[object] = list(dataset.values())
    last = elements[-1]
    if not isinstance(last, RawDataElement) or last.length == UNDEFINED_LENGTH:
        return
    end = last.value_tell + last.length
    size = stream.seek(0, 2)
    if end > size:
        raise UnreadableObjectError("the data set breaks off")
    stream.seek(end)
    while step := stream.read(_STEP_BYTES):
        if any(step):
            raise UnreadableObjectError("the data set breaks off")


def inflated_start(file: BinaryIO) -> bytes:
    """The first :data:`MAX_HEADER_BYTES` of a deflated data set (PS3.5 A.5); a small file cannot claim more.

    Raises
    ------
    UnreadableObjectError
        If it is not deflated.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    left_bytes = MAX_HEADER_BYTES
    try:
        while left_bytes > 0 and not inflater.eof and (step := file.read(_STEP_BYTES)):
            while step and left_bytes > 0:
                parts.append(inflater.decompress(step, left_bytes))
                left_bytes -= len(parts[-1])
                step = inflater.unconsumed_tail
    except zlib.error as fault:
        raise UnreadableObjectError("the data set is not deflated as its transfer syntax says") from fault
    if not inflater.eof and left_bytes > 0:
        raise UnreadableObjectError("the deflated data set breaks off")
    return b"".join(parts)
