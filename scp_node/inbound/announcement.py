"""What is known of an object before its first byte: by the C-STORE command, the association, and the peer.

It is written into the head of the spool file, so that the file alone can be recorded after a crash. The standard has an
attribute for each part in the file meta information (PS3.10 section 7.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset

from scp_node.domain.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_node.store.seal import BLANK

_PREFIX = b"DICM"
_ADDRESS_SCHEME = "dicom://"
_GROUP_LENGTH = struct.Struct("<HH2sHL")
_BEFORE_GROUP_BYTES = len(BLANK) + len(_PREFIX) + _GROUP_LENGTH.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One C-STORE request: who sends what, and how."""

    called_ae: str
    calling_ae: str
    address: str
    """IP address of the sender."""
    sop_class_uid: str
    sop_instance_uid: str
    """Both as the command says."""
    transfer_syntax_uid: str
    """Of the presentation context."""

    def file_head(self) -> bytes:
        """Blank preamble, prefix and file meta information."""
        return _head(self._group())

    def aligned_head(self, dataset_bytes: int, block_bytes: int) -> bytes:
        """The same, so long that the file fills whole blocks with a data set of that length behind it, if that is even.

        Zeros in Private Information (0002,0102) fill it up; the standard keeps that element for whoever wrote the file.
        """
        group = self._group()
        short = -(_BEFORE_GROUP_BYTES + len(group) + len(_FILLER) + dataset_bytes) % block_bytes
        short -= short % 2
        return _head(group + _FILLER[:-4] + struct.pack("<L", short) + bytes(short))

    def _group(self) -> bytes:
        before, after = _meta_around(
            self.called_ae, self.calling_ae, self.address, self.sop_class_uid, self.transfer_syntax_uid
        )
        return before + _element(0x0003, b"UI", self.sop_instance_uid) + after


def _head(group: bytes) -> bytes:
    return BLANK + _PREFIX + _GROUP_LENGTH.pack(2, 0, b"UL", 4, len(group)) + group


def announcement_of(path: Path) -> Announcement:
    """Read back what :meth:`Announcement.file_head` wrote, and not a byte more.

    The library goes on as long as there are elements of group 0002: a data set that begins with such would speak for
    its sender, or be read where nobody expects what is in it.

    Raises
    ------
    pydicom.errors.InvalidDicomError, OSError
        If the file was not begun by this node.
    """
    with path.open("rb") as file:
        start = file.read(_BEFORE_GROUP_BYTES)
        if len(start) < _BEFORE_GROUP_BYTES or not start.startswith(_PREFIX, len(BLANK)):
            raise InvalidDicomError
        *_, group_bytes = _GROUP_LENGTH.unpack_from(start, len(BLANK) + len(_PREFIX))
        group = file.read(group_bytes)
    meta = read_dataset(BytesIO(group), is_implicit_VR=False, is_little_endian=True)
    address = str(meta.get("SendingPresentationAddress", "")).removeprefix(_ADDRESS_SCHEME)
    return Announcement(
        called_ae=str(meta.get("ReceivingApplicationEntityTitle", "")),
        calling_ae=str(meta.get("SendingApplicationEntityTitle", "")),
        address=address.strip("[]"),
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
    )


@lru_cache(maxsize=512)
def _meta_around(called_ae: str, calling_ae: str, address: str, sop_class: str, syntax: str) -> tuple[bytes, bytes]:
    """The elements before and after the SOP Instance UID; the same for all objects of a kind from one sender."""
    host = f"[{address}]" if ":" in address else address
    before = struct.pack("<HH2sHLH", 2, 1, b"OB", 0, 2, 0x0100) + _element(0x0002, b"UI", sop_class)
    after = (
        _element(0x0010, b"UI", syntax)
        + _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID)
        + _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME)
        + _element(0x0016, b"AE", calling_ae)
        + _element(0x0017, b"AE", calling_ae)
        + _element(0x0018, b"AE", called_ae)
        + _element(0x0027, b"UR", f"{_ADDRESS_SCHEME}{host}")
    )
    return before, after


def _element(number: int, vr: bytes, text: str) -> bytes:
    """One element of group 0002 in explicit VR little endian, padded to even length."""
    value = text.encode("ascii")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    if vr == b"UR":
        return struct.pack("<HH2sHL", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


_FILLER = _element(0x0100, b"UI", IMPLEMENTATION_CLASS_UID) + struct.pack("<HH2sHL", 2, 0x0102, b"OB", 0, 0)
"""Whose private information it is, and the empty information."""
