"""A sender of objects over a bare socket, whose bytes are prepared: never the bottleneck of what it measures."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Self

import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.node.network import ct_slice

_ROOT = "1.2.826.0.1.3680043.8.498.77."
_DIGITS = 12
_FIRST_NUMBER: int = 10 ** (_DIGITS - 1)
_STUDY_MARK, _INSTANCE_MARK = f"{_ROOT}1.{'7' * _DIGITS}", f"{_ROOT}2.{'8' * _DIGITS}"
_CONTEXT = 1
MIXED_ROWS = (16, 187, 548, 1100)
"""Rows and columns. About 1.3 kB, written as they come; 70 kB and 600 kB, written past the system's cache; 2.4 MB, more
than the receive buffer holds, written in parts and sealed afterwards."""
_WINDOWS = 1 << 15
_FRAGMENT_BYTES = 64 << 10
"""Of what a receiver takes by its default of 128 kB."""


class RefusedError(Exception):
    """The association was not accepted."""


def instance_uid(number: int) -> str:
    """SOP Instance UID of object ``number``; all are of one length."""
    return f"{_ROOT}2.{number + _FIRST_NUMBER}"


def number_of(uid: str) -> int:
    """Of the object of an :func:`instance_uid`."""
    return int(uid.rpartition(".")[2]) - _FIRST_NUMBER


def study_uid(number: int) -> str:
    """Study Instance UID, likewise."""
    return f"{_ROOT}1.{number + _FIRST_NUMBER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedObjects:
    """CT slices that differ in their UIDs, in their pixels and, where that is wanted, in size.

    Pixels are a window of noise that lies elsewhere for each object: bytes of another one, or in another place, are
    found by comparison.
    """

    headers: tuple[bytes, ...]
    """By kind, up to the value of Pixel Data."""
    pixel_bytes: tuple[int, ...]
    """By kind."""
    noise: bytes
    kind_of: Callable[[int], int]

    @classmethod
    def small(cls) -> Self:
        """All of 16 x 16 pixels, about 1.3 kB."""
        return cls._made((16,), lambda _number: 0)

    @classmethod
    def mixed(cls) -> Self:
        """Mostly small ones, and those that a receiver writes otherwise: :data:`MIXED_ROWS`."""
        return cls._made(MIXED_ROWS, mixed_kind)

    @classmethod
    def _made(cls, kinds: Sequence[int], kind_of: Callable[[int], int]) -> Self:
        headers = []
        for rows in kinds:
            dataset = ct_slice(study=_STUDY_MARK, SOPInstanceUID=_INSTANCE_MARK, rows=rows)
            stream = BytesIO()
            pydicom.dcmwrite(stream, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False)
            headers.append(stream.getvalue()[: -_pixel_bytes(rows)])
        sizes = tuple(map(_pixel_bytes, kinds))
        noise = random.Random(1).randbytes(max(sizes) + 2 * _WINDOWS)  # noqa: S311 - pixels, no secret
        return cls(headers=tuple(headers), pixel_bytes=sizes, noise=noise, kind_of=kind_of)

    def dataset(self, number: int, study: int) -> bytes:
        """The data set of an object."""
        kind = self.kind_of(number)
        named = self.headers[kind].replace(_INSTANCE_MARK.encode(), instance_uid(number).encode())
        named = named.replace(_STUDY_MARK.encode(), study_uid(study).encode())
        start = 2 * (number % _WINDOWS)
        return named + self.noise[start : start + self.pixel_bytes[kind]]


def mixed_kind(number: int) -> int:
    """Index into :data:`MIXED_ROWS`: of 160 objects 119 are small, 32 of 70 kB, 8 of 600 kB and one of 2.4 MB."""
    if number % 160 == 7:
        return 3
    if number % 20 == 12:
        return 2
    return 1 if number % 5 == 4 else 0


def _pixel_bytes(rows: int) -> int:
    return 2 * rows * rows


class Sender:
    """One association; leaving the ``with`` block releases it.

    Raises
    ------
    RefusedError
        If it is rejected.
    OSError
        If the connection fails.
    """

    def __init__(self, port: int, *, calling: str = "CT_1", called: str = "HAI_NODE", timeout_s: float = 60.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(_association_request(calling, called))
            kind, _ = self._pdu()
            if kind != 2:
                raise RefusedError
        except BaseException:
            self._socket.close()
            raise

    def store(self, sop_instance_uid: str, dataset: bytes) -> int:
        """Send one object; its status."""
        command = _store_command(sop_instance_uid)
        starts = range(0, len(dataset), _FRAGMENT_BYTES)
        parts = [dataset[start : start + _FRAGMENT_BYTES] for start in starts]
        pdus = [_data_pdu(part, 0) for part in parts[:-1]]
        self._socket.sendall(b"".join([_data_pdu(command, 3), *pdus, _data_pdu(parts[-1], 2)]))
        kind, value = self._pdu()
        if kind != 4:
            raise ConnectionAbortedError
        return _status(value[6:])

    def release(self) -> None:
        """End the association in order."""
        self._socket.sendall(struct.pack(">BxLL", 5, 4, 0))
        self._pdu()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.release()
        finally:
            self._socket.close()

    def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxL", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(count - len(parts))
            if not part:
                raise ConnectionResetError
            parts += part
        return bytes(parts)


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _association_request(calling: str, called: str) -> bytes:
    context = (
        bytes([_CONTEXT, 0, 0, 0]) + _item(0x30, CTImageStorage.encode()) + _item(0x40, ExplicitVRLittleEndian.encode())
    )
    user = _item(0x51, struct.pack(">L", 131_072)) + _item(0x52, f"{_ROOT}9".encode())
    body = struct.pack(">Hxx16s16s32x", 1, called.ljust(16).encode(), calling.ljust(16).encode())
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BxL", 1, len(body)) + body


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, number, len(value)) + value


def _store_command(sop_instance_uid: str) -> bytes:
    short = struct.Struct("<H").pack
    elements = _element(0x0002, CTImageStorage.encode()) + _element(0x0100, short(1)) + _element(0x0110, short(1))
    elements += _element(0x0700, short(0)) + _element(0x0800, short(1)) + _element(0x1000, sop_instance_uid.encode())
    return _element(0x0000, struct.pack("<L", len(elements))) + elements


def _data_pdu(value: bytes, control: int) -> bytes:
    return struct.pack(">BxLLBB", 4, len(value) + 6, len(value) + 2, _CONTEXT, control) + value


def _status(command: bytes) -> int:
    position = 0
    while position + 8 <= len(command):
        number, length = struct.unpack_from("<2xHL", command, position)
        if number == 0x0900:
            return int.from_bytes(command[position + 8 : position + 10], "little")
        position += 8 + length
    raise ConnectionAbortedError
