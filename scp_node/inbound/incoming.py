"""One object on its way from the network into the spool.

Bytes are taken as they come, in pieces of the receive buffer, and never copied together without need. When the last one
has come the object is checked against its announcement, sealed and made durable; only then may it be acknowledged. What
is checked here is what an acknowledgement promises: that these bytes are a whole data set, and the one that was
announced. Everything else is for whoever records it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import BinaryIO

from pydicom.tag import Tag

from scp_node.dimse.text import text_of
from scp_node.domain.identifiers import is_uid
from scp_node.errors import MismatchedObjectError, UnreadableObjectError
from scp_node.inbound.announcement import Announcement
from scp_node.inbound.digests import value_digest
from scp_node.inbound.flat_header import UNDEFINED_LENGTH, FlatHeader, scan_header
from scp_node.inbound.header import PixelElement, is_deflated, read_header, syntax_of
from scp_node.inbound.header_shapes import HeaderShapes
from scp_node.store.file_image import BLOCK_BYTES, LARGEST_BYTES, LEAST_DIRECT_BYTES, FileImage
from scp_node.store.hashing import digest_of
from scp_node.store.seal import PREAMBLE_BYTES, Seal, head_crc, seal_in_order
from scp_node.store.spool import Spool, SpoolFile

Piece = bytes | bytearray | memoryview

_SCANNED_BYTES = (1 << 13, 1 << 16, LARGEST_BYTES)
"""Looked through one after the other; headers of single slices end within a few kilobytes."""
_MOST_HEAD_BYTES = 16 << 10
"""A head has some 500 bytes, and is filled up by one block at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What an object says it is, and where its halves meet."""

    uids: dict[str, str]
    split_bytes: int


class IncomingObject:
    """One object being received; not safe for several threads.

    Ends in :meth:`finish` or :meth:`discard`.

    Parameters
    ----------
    announced : Announcement
        What it shall be.
    spool : Spool
        Where it goes.
    shapes : HeaderShapes, optional
        Of objects before.
    """

    def __init__(self, announced: Announcement, spool: Spool, shapes: HeaderShapes | None = None) -> None:
        self._shapes = shapes
        self._announced = announced
        self._spool = spool
        self._file: SpoolFile | None = None
        self._head = b""
        self._start = b""
        self._spilt_bytes = 0

    def spill(self, pieces: Sequence[Piece]) -> None:
        """Write out what has come so far, because the receive buffer is full; the pieces may be reused afterwards.

        Raises
        ------
        SpoolFullError, OSError
            If the disk refuses.
        """
        self._spilt(pieces)

    def finish(self, pieces: Sequence[Piece], now: datetime) -> str:
        """Take the last pieces, check, seal and make durable.

        Returns
        -------
        str
            The spool key; the file survives a power cut.

        Raises
        ------
        UnreadableObjectError, MismatchedObjectError
            If it is no whole data set, or not the announced one.
        SpoolFullError, OSError
            If the disk refuses.
        """
        try:
            size = sum(map(len, pieces))
            if self._file is None and size <= LARGEST_BYTES - _MOST_HEAD_BYTES:
                with self._spool.images.one() as image:
                    file = self._written_at_once(image, pieces, size, now)
            else:
                file = self._sealed_in_order(pieces, now)
            # The image is given back: others may use it while the disk is at work.
            return file.durable()
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind; without effect after :meth:`finish`."""
        if self._file is not None:
            self._file.discard()

    # --- an object that fits into the receive buffer ---

    def _written_at_once(self, image: FileImage, pieces: Sequence[Piece], size: int, now: datetime) -> SpoolFile:
        """Put the whole file together in memory, and write it."""
        announced = self._announced
        head = announced.aligned_head(size, BLOCK_BYTES) if size >= LEAST_DIRECT_BYTES else announced.file_head()
        dataset = image.put(len(head), pieces)
        layout = self._layout_in_memory(dataset)
        self._require_announced(layout.uids)
        seal = Seal(
            head_bytes=len(head),
            head_crc=head_crc(head),
            dataset_bytes=size,
            split_bytes=layout.split_bytes,
            received_at=now,
            before_digest=digest_of(dataset[: layout.split_bytes]),
            after_digest=digest_of(dataset[layout.split_bytes :]),
        )
        image.put(0, [seal.to_bytes(), head[PREAMBLE_BYTES:]])
        self._file = self._spool.begin()
        self._file.write_image(image)
        return self._file

    def _layout_in_memory(self, dataset: memoryview) -> _Layout:
        for scanned_bytes in _SCANNED_BYTES:
            start = bytes(dataset[:scanned_bytes])
            flat = self._scanned(start, len(dataset))
            if flat is not None or len(start) == len(dataset):
                break
        if flat is not None and flat.pixel_length_bytes != UNDEFINED_LENGTH:
            return self._native_layout(flat, len(dataset))
        return self._parsed_layout(BytesIO(dataset), 0, len(dataset))

    # --- one that does not ---

    def _spilt(self, pieces: Sequence[Piece]) -> SpoolFile:
        if self._file is None:
            self._start = b"".join(pieces)
            self._file = self._spool.begin()
            self._head = self._announced.file_head()
            self._file.write([self._head])
        self._file.write(pieces)
        self._spilt_bytes += sum(map(len, pieces))
        return self._file

    def _sealed_in_order(self, pieces: Sequence[Piece], now: datetime) -> SpoolFile:
        file = self._spilt(pieces)
        size = self._spilt_bytes
        flat = self._scanned(self._start, size)
        if flat is not None and flat.pixel_length_bytes != UNDEFINED_LENGTH:
            layout = self._native_layout(flat, size)
        else:
            with file.read() as reader:
                layout = self._parsed_layout(reader, len(self._head), size)
        self._require_announced(layout.uids)
        file.seal(seal_in_order(head=self._head, dataset_bytes=size, received_at=now).to_bytes())
        return file

    # --- what both have in common ---

    def _scanned(self, start: bytes, size: int) -> FlatHeader | None:
        syntax = syntax_of(self._announced.transfer_syntax_uid)
        if is_deflated(syntax) or not syntax.is_little_endian:
            return None
        return scan_header(
            start,
            explicit=not syntax.is_implicit_VR,
            is_all=len(start) == size,
            shapes=self._shapes,
            length_bytes=size,
        )

    def _native_layout(self, flat: FlatHeader, size: int) -> _Layout:
        if flat.pixel_offset_bytes is not None and flat.pixel_offset_bytes + flat.pixel_length_bytes > size:
            raise UnreadableObjectError("the pixel data are shorter than their length says")
        uids = {
            "SOPClassUID": flat.sop_class_uid,
            "SOPInstanceUID": flat.sop_instance_uid,
            "StudyInstanceUID": flat.study_instance_uid,
            "SeriesInstanceUID": flat.series_instance_uid,
        }
        return _Layout(uids=uids, split_bytes=size if flat.pixel_offset_bytes is None else flat.pixel_offset_bytes)

    def _parsed_layout(self, reader: BinaryIO, start: int, size: int) -> _Layout:
        """By the library, for compressed pixels and for everything unusual; also proves that the pixels are whole."""
        announced = self._announced
        reader.seek(start)
        header = read_header(reader, announced.sop_class_uid, announced.transfer_syntax_uid)
        deflated = is_deflated(announced.transfer_syntax_uid)
        value_digest(reader, start, header.pixels, deflated=deflated)
        keywords = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        return _Layout(
            uids={keyword: text_of(header.dataset, Tag(keyword)) for keyword in keywords},
            split_bytes=split_of(header.pixels, size, deflated=deflated),
        )

    def _require_announced(self, uids: dict[str, str]) -> None:
        announced = self._announced
        if uids["SOPClassUID"] != announced.sop_class_uid:
            raise MismatchedObjectError("SOPClassUID of the data set is not the command's")
        if uids["SOPInstanceUID"] != announced.sop_instance_uid:
            raise MismatchedObjectError("SOPInstanceUID of the data set is not the command's")
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            if not is_uid(uids[keyword]):
                raise UnreadableObjectError(f"{keyword} is absent or no UID")


def split_of(pixels: PixelElement | None, size: int, *, deflated: bool) -> int:
    """Where the halves of a data set meet (see ``digests``): at the value of Pixel Data, else at its end."""
    return size if pixels is None or deflated else pixels.offset_bytes
