"""Pixel values of single frames, from the file to numbers.

Uncompressed frames are read straight from their place in the file; compressed ones are decoded by pydicom's
handlers, several at a time. A file is only ever read.
"""

from __future__ import annotations

import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from analyzers.contract import InstanceSummary
from analyzers.headers import SEGMENTATION_CLASSES

LARGEST_PLANE_PIXELS = 8192 * 8192
"""Rows × columns beyond which a header is not believed."""

StoredValues: TypeAlias = NDArray[np.signedinteger[Any]]
"""One plane as stored, shape (rows, columns)."""

_NATIVE = frozenset({str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)})
_EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_UNDEFINED_LENGTH = 0xFFFFFFFF
_DECODERS_AT_ONCE = 2
_DECODED_AHEAD = 32
_DTYPES = {8: "u1", 16: "<u2", 32: "<u4"}
_DECODING_FAILS = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RuntimeError,  # what the decoders raise on a broken code stream; NotImplementedError too
    EOFError,
    OSError,
    struct.error,
)


class PixelsUnreadableError(ValueError):
    """The pixels of an image cannot be read; the message says why, in words for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A DICOM file and where its pixel data lie.

    ``pixel_offset`` is the first byte of the value of Pixel Data, ``None`` when there is no such element;
    ``pixel_bytes`` its length, ``None`` when encapsulated (compressed).
    """

    path: Path
    instance: InstanceSummary
    pixel_offset: int | None
    pixel_bytes: int | None


def find_pixel_data(file: BinaryIO, transfer_syntax_uid: str) -> tuple[int | None, int | None]:
    """Offset and length of the value of Pixel Data, the file standing at that element's tag.

    Both ``None`` if there is no Pixel Data; the length ``None`` if the pixels are encapsulated or the file deflated.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return 0, None
    start = file.tell()
    head = file.read(12)
    if UID(transfer_syntax_uid) == ImplicitVRLittleEndian and len(head) >= 8:
        tag, length, value_at = head[:4], int.from_bytes(head[4:8], "little"), start + 8
    elif len(head) == 12:
        tag, length, value_at = head[:4], int.from_bytes(head[8:12], "little"), start + 12
        if transfer_syntax_uid == _EXPLICIT_BIG_ENDIAN:
            tag, length = tag[1::-1] + tag[:1:-1], int.from_bytes(head[8:12], "big")
    else:
        return None, None
    if tag != _PIXEL_DATA:
        return None, None
    return value_at, None if length == _UNDEFINED_LENGTH else length


def check_pixels(source: SourceFile) -> None:
    """Check from the header that the pixels can be read as one plane of whole numbers per frame.

    Raises
    ------
    PixelsUnreadableError
        If they cannot.
    """
    instance = source.instance
    rows, columns = instance.rows or 0, instance.columns or 0
    if source.pixel_offset is None:
        raise PixelsUnreadableError("image has no Pixel Data")
    if source.pixel_bytes == 0:
        raise PixelsUnreadableError("Pixel Data is present but empty")
    if rows < 1 or columns < 1 or rows * columns > LARGEST_PLANE_PIXELS:
        raise PixelsUnreadableError(f"image claims {rows} rows and {columns} columns")
    if (instance.number("SamplesPerPixel") or 1) != 1:
        raise PixelsUnreadableError("image is in colour: a picture, not a measurement")
    if stored_bits(instance) not in _DTYPES:
        raise PixelsUnreadableError(f"{instance.text('BitsAllocated')} bits allocated are not supported")


def read_frames(frames: Iterable[tuple[SourceFile, int]]) -> Iterator[StoredValues]:
    """Stored values of frames, in the order asked.

    Parameters
    ----------
    frames : iterable of (SourceFile, int)
        Frames counted from 0; each file has passed :func:`check_pixels`.

    Yields
    ------
    (rows, columns) int32 or int64
        Stored values, sign-extended and without overlay bits.

    Raises
    ------
    PixelsUnreadableError
        If a file ends early or a code stream is broken.
    """
    wanted = list(frames)
    if all(_is_native(source) for source, _ in wanted):
        for source, index in wanted:
            yield _read_native(source, index)
        return
    with warnings.catch_warnings():
        # What a decoder thinks of a header is not a message to the operator; broken frames raise.
        warnings.simplefilter("ignore")
        opened = _opened_once(wanted)
        with ThreadPoolExecutor(_DECODERS_AT_ONCE) as pool:
            for start in range(0, len(wanted), _DECODED_AHEAD):
                yield from pool.map(partial(_decode, opened), wanted[start : start + _DECODED_AHEAD])


def _opened_once(wanted: Sequence[tuple[SourceFile, int]]) -> dict[Path, pydicom.Dataset]:
    """Files whose frames would be slow to reach one by one: deflated as a whole, or with a long header for each."""
    counts = Counter(source.path for source, _ in wanted)
    slow = {
        source.path
        for source, _ in wanted
        if counts[source.path] > 1
        and (
            source.instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian
            or source.instance.sop_class_uid in SEGMENTATION_CLASSES
        )
    }
    try:
        return {path: pydicom.dcmread(path) for path in sorted(slow)}
    except _DECODING_FAILS as error:
        raise PixelsUnreadableError(f"pixels cannot be decoded ({_first_line(error)})") from error


def _is_native(source: SourceFile) -> bool:
    return source.pixel_bytes is not None and source.instance.transfer_syntax_uid in _NATIVE


def _read_native(source: SourceFile, index: int) -> StoredValues:
    instance = source.instance
    rows, columns = instance.rows or 0, instance.columns or 0
    allocated = stored_bits(instance)
    if allocated == 1:
        return _read_bits(source, index)
    size = rows * columns * allocated // 8
    offset = (source.pixel_offset or 0) + index * size
    if (index + 1) * size > (source.pixel_bytes or 0):
        raise PixelsUnreadableError(f"Pixel Data ends before frame {index + 1} is complete")
    raw = np.fromfile(source.path, np.dtype(_DTYPES[allocated]), rows * columns, offset=offset)
    if raw.size < rows * columns:
        raise PixelsUnreadableError("file ends before its Pixel Data is complete")
    return _whole_numbers(raw.reshape(rows, columns), instance, allocated)


def _read_bits(source: SourceFile, index: int) -> StoredValues:
    first, size = _bytes_of_bits(source.instance, index)
    if first + size > (source.pixel_bytes or 0):
        raise PixelsUnreadableError(f"Pixel Data ends before frame {index + 1} is complete")
    return _unpacked(np.fromfile(source.path, np.uint8, size, offset=(source.pixel_offset or 0) + first), source, index)


def _bytes_of_bits(instance: InstanceSummary, index: int) -> tuple[int, int]:
    """First byte and number of bytes of a frame of a bit for each pixel; frames are not padded (PS3.5 8.1.1)."""
    pixels = (instance.rows or 0) * (instance.columns or 0)
    first = index * pixels // 8
    return first, ((index + 1) * pixels + 7) // 8 - first


def _unpacked(raw: NDArray[np.uint8], source: SourceFile, index: int) -> StoredValues:
    """Bits of one frame, the first pixel in the lowest bit."""
    rows, columns = source.instance.rows or 0, source.instance.columns or 0
    if raw.size < _bytes_of_bits(source.instance, index)[1]:
        raise PixelsUnreadableError("file ends before its Pixel Data is complete")
    bits = np.unpackbits(raw, bitorder="little")[index * rows * columns % 8 :][: rows * columns]
    wide: StoredValues = bits.reshape(rows, columns).astype(np.int32)
    return wide


def _whole_numbers(raw: NDArray[np.unsignedinteger[Any]], instance: InstanceSummary, allocated: int) -> StoredValues:
    stored = min(_bits(instance, "BitsStored", allocated), allocated)
    wide: StoredValues = raw.astype(np.int64 if allocated == 32 else np.int32)
    if stored < allocated:
        # Old archives keep 12 bits in the upper part of the word; overlays or nothing lie below (PS3.5 8.1.1).
        lowest = _bits(instance, "HighBit", stored - 1) + 1 - stored
        if 0 < lowest <= allocated - stored:
            wide = np.right_shift(wide, lowest)
        wide = np.bitwise_and(wide, (1 << stored) - 1)
    if instance.number("PixelRepresentation") == 1:
        sign = 1 << (stored - 1)
        wide = np.bitwise_xor(wide, sign) - sign
    return wide


def _decode(opened: Mapping[Path, pydicom.Dataset], frame: tuple[SourceFile, int]) -> StoredValues:
    source, index = frame
    try:
        # pydicom looks for the pixels of a path where they would lie if the file were not deflated.
        deflated = source.instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian
        dataset = opened.get(source.path) or (pydicom.dcmread(source.path) if deflated else None)
        if dataset is not None and deflated and stored_bits(source.instance) == 1:
            first, size = _bytes_of_bits(source.instance, index)
            return _unpacked(np.frombuffer(dataset.PixelData, np.uint8)[first : first + size], source, index)
        place = source.path if dataset is None else dataset
        decoded = np.asarray(pixel_array(place, index=index, raw=True))
    except _DECODING_FAILS as error:
        raise PixelsUnreadableError(f"pixels cannot be decoded ({_first_line(error)})") from error
    expected = (source.instance.rows, source.instance.columns)
    if decoded.shape != expected:
        raise PixelsUnreadableError(f"decoded pixels have shape {decoded.shape}, the header says {expected}")
    wide: StoredValues = decoded.astype(np.int64 if decoded.dtype.itemsize >= 4 else np.int32)
    return wide


def stored_bits(instance: InstanceSummary) -> int:
    """Bits Allocated, 16 where the header is silent."""
    return _bits(instance, "BitsAllocated", 16)


def _bits(instance: InstanceSummary, keyword: str, otherwise: int) -> int:
    value = instance.number(keyword)
    return otherwise if value is None or value < 1 else int(value)


def _first_line(error: BaseException) -> str:
    # A decoder's message may list plugins over many lines; the report needs the gist.
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:160]
