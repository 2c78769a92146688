"""Digests by which a second arrival of an object is told from another object under the same UID.

Of the data set as received, of the geometry alone, and of the pixels with what gives them meaning. Values are compared
as numbers, not as text, because an archive that re-encodes an object may write ``1`` where ``1.0`` stood.

The data set is digested in two halves, split where the value of Pixel Data begins: a receiver has both halves ready
when the last byte arrives, and of native pixels the second one is their digest already. In which form digests are
taken is said in :mod:`scp_node.domain.digest`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO

from analyzers.contract import FrameSummary, InstanceSummary, finite_number
from scp_node.domain.digest import DigestForm, digest_text
from scp_node.errors import UnreadableObjectError
from scp_node.inbound.flat_header import UNDEFINED_LENGTH
from scp_node.inbound.header import PixelElement
from scp_node.store.hashing import digest_of, hasher

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


def dataset_digest(before: bytes, after: bytes, form: DigestForm) -> str:
    """Digest of a data set as received, from those of its halves before and after the split."""
    return digest_text(digest_of(before + after, form), form)


def halves(file: BinaryIO, start: int, split_bytes: int, form: DigestForm) -> tuple[bytes, bytes]:
    """Digests of a data set before and after the split, read from a file in which it lies from ``start`` to the end."""
    file.seek(start)
    before, after = hasher(form), hasher(form)
    for step in _steps(file, split_bytes):
        before.update(step)
    while step := file.read(_STEP_BYTES):
        after.update(step)
    return before.digest(), after.digest()


def geometry_digest(summary: InstanceSummary) -> str:
    """Digest of rows, columns and each frame's position, orientation, spacing and thickness (LPS mm).

    Always SHA-256: it is short, and this way it can be compared whatever the form of the others is.
    """
    frames = "|".join(_frame_text(frame) for frame in summary.frames)
    return hashlib.sha256(f"{summary.rows}x{summary.columns}|{frames}".encode()).hexdigest()


def pixel_digest(value: bytes, geometry: str, summary: InstanceSummary, form: DigestForm) -> str:
    """Digest of pixels with what gives them meaning: geometry, photometry, rescaling.

    Parameters
    ----------
    value : bytes
        See :func:`value_digest`; of the same form.
    geometry : str
        See :func:`geometry_digest`.
    summary : InstanceSummary
        Photometric meaning.
    form : DigestForm
        Of the digest.
    """
    digest = hasher(form)
    digest.update(geometry.encode())
    digest.update(_meaning_of(tuple(map(summary.text, _MEANING))))
    digest.update(value)
    return digest_text(digest.digest(), form)


def value_digest(
    file: BinaryIO, start: int, pixels: PixelElement | None, *, deflated: bool, form: DigestForm = DigestForm.BLAKE3
) -> bytes:
    """Digest of the value of Pixel Data.

    Of encapsulated pixels the fragments count, not how they are cut: an archive may drop or add the offset table.

    Parameters
    ----------
    file : binary file
        Holds the data set from ``start`` to its end, deflated or not.
    start : int
        Offset of the data set in the file.
    pixels : PixelElement or None
        Where the value lies in the inflated data set; ``None`` gives the digest of nothing.
    deflated : bool
        The transfer syntax deflates the whole data set.
    form : DigestForm
        Of the digest.

    Raises
    ------
    UnreadableObjectError
        If the pixels end before their length says, or their items are malformed.
    """
    digest = hasher(form)
    for part in _pixel_parts(file, start, pixels, deflated=deflated) if pixels is not None else ():
        digest.update(part)
    return digest.digest()


def _pixel_parts(file: BinaryIO, start: int, pixels: PixelElement, *, deflated: bool) -> Iterator[bytes]:
    if deflated:
        if pixels.length_bytes == UNDEFINED_LENGTH:
            raise UnreadableObjectError("encapsulated pixels in a deflated data set")
        file.seek(start)
        yield from _inflated_value(file, pixels)
        return
    file.seek(start + pixels.offset_bytes)
    if pixels.length_bytes == UNDEFINED_LENGTH:
        yield from _fragments(file)
        return
    missing = pixels.length_bytes
    for step in _steps(file, pixels.length_bytes):
        missing -= len(step)
        yield step
    if missing:
        raise UnreadableObjectError("the pixel data are shorter than their length says")


def _steps(file: BinaryIO, length_bytes: int) -> Iterator[bytes]:
    while length_bytes > 0 and (step := file.read(min(_STEP_BYTES, length_bytes))):
        length_bytes -= len(step)
        yield step


def _fragments(file: BinaryIO) -> Iterator[bytes]:
    """Values of the items behind the first, which is the offset table (PS3.5 A.4)."""
    is_offset_table = True
    while True:
        header = file.read(_ITEM_HEADER_BYTES)
        if len(header) < _ITEM_HEADER_BYTES:
            raise UnreadableObjectError("the encapsulated pixel data have no end")
        if header[:4] == _SEQUENCE_END:
            return
        (length_bytes,) = struct.unpack("<L", header[4:])
        if header[:4] != _ITEM:
            raise UnreadableObjectError("the encapsulated pixel data are not a sequence of whole items")
        missing = length_bytes
        for step in _steps(file, length_bytes):
            missing -= len(step)
            if not is_offset_table:
                yield step
        if missing:
            raise UnreadableObjectError("the encapsulated pixel data are not a sequence of whole items")
        is_offset_table = False


def _inflated_value(file: BinaryIO, pixels: PixelElement) -> Iterator[bytes]:
    """The value in steps, so that a small file cannot claim much memory by inflating."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    to_skip, missing = pixels.offset_bytes, pixels.length_bytes
    waiting = b""
    try:
        while missing > 0:
            waiting = waiting or file.read(_STEP_BYTES)
            step = inflater.decompress(waiting, _STEP_BYTES)
            if not step and (inflater.eof or not waiting):
                raise UnreadableObjectError("the pixel data are shorter than their length says")
            waiting = inflater.unconsumed_tail
            part = step[to_skip : to_skip + missing]
            to_skip = max(0, to_skip - len(step))
            missing -= len(part)
            yield part
        # Padding may follow, and then the mark that the stream is whole.
        inflater.decompress(waiting + file.read(_STEP_BYTES), _STEP_BYTES)
    except zlib.error as fault:
        raise UnreadableObjectError("the data set is not deflated as its transfer syntax says") from fault
    if not inflater.eof:
        raise UnreadableObjectError("the deflated data set breaks off, or goes on long behind the pixels")


def _frame_text(frame: FrameSummary) -> str:
    groups = (frame.position_lps_mm, frame.orientation, frame.spacing_row_col_mm)
    thickness = "" if frame.slice_thickness_mm is None else _number_text(frame.slice_thickness_mm)
    return ";".join([*(_group_text(group) if group else "" for group in groups), thickness])


@lru_cache(maxsize=256)
def _meaning_of(texts: tuple[str, ...]) -> bytes:
    """The same for all planes of a series."""
    numbers = [(text, finite_number(text)) for text in texts]
    return "".join(f"|{text if number is None else _number_text(number)}" for text, number in numbers).encode()


@lru_cache(maxsize=1024)
def _group_text(group: tuple[float, ...]) -> str:
    return ",".join(map(_number_text, group))


def _number_text(number: float) -> str:
    # Adding zero turns -0.0 into 0.0.
    return f"{round(number, _DECIMALS) + 0.0:.{_DECIMALS}f}"
