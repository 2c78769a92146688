"""The rules of the DICOM Upper Layer that hold before anything is believed (PS3.8 section 9.3).

The library reads whatever length a PDU declares, and takes an A-ASSOCIATE-RQ apart however it is made. Here both are
checked first, as values; nothing here touches a socket.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

PDU_HEADER_BYTES = 6
_PDU_HEADER = struct.Struct(">BxL")
PDV_HEADER_BYTES = 6
_PDV_HEADER = struct.Struct(">LBB")

MAX_REQUEST_BYTES = 256 * 1024
"""Of an A-ASSOCIATE-RQ. 128 presentation contexts with 40 transfer syntaxes each need less than 200 kB."""
_MAX_CONTEXTS = 128
"""Presentation context IDs are the odd numbers from 1 to 255 (PS3.8 section 9.3.2.2)."""
_MAX_SYNTAXES = 128
"""For each context; about 60 are defined."""
_MAX_USER_ITEMS = 512
"""Role selections and extended negotiations, one for each SOP class at most."""
_FIXED_BYTES = 68
"""Of an A-ASSOCIATE-RQ before its items (PS3.8 table 9-11), without the PDU header."""
_TITLE_BYTES = 16
_APPLICATION_CONTEXT, _PRESENTATION_CONTEXT, _USER_INFORMATION = 0x10, 0x20, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_MAX_UID_BYTES = 64
_ITEM_HEADER_BYTES = 4


class PduType(IntEnum):
    """PS3.8 section 9.3.1."""

    A_ASSOCIATE_RQ = 1
    A_ASSOCIATE_AC = 2
    A_ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    A_RELEASE_RQ = 5
    A_RELEASE_RP = 6
    A_ABORT = 7


_KIND_OF = {kind.value: kind for kind in PduType}
_SHORT = frozenset({PduType.A_ASSOCIATE_RJ, PduType.A_RELEASE_RQ, PduType.A_RELEASE_RP, PduType.A_ABORT})
_SHORT_BYTES = 4


class UpperLayerError(Exception):
    """The peer breaks the protocol; the association is aborted. The text names no value of the peer's."""


class PduHeader(NamedTuple):
    """Type and length of a PDU; the length is that of what follows the header."""

    kind: PduType
    length_bytes: int


class PdvHeader(NamedTuple):
    """One presentation data value (PS3.8 section 9.3.5.1, annex E.2)."""

    value_bytes: int
    """Of the fragment, without context ID and message control header."""
    context_id: int
    is_command: bool
    is_last: bool


def pdu_header(six_bytes: bytes | memoryview, *, max_data_bytes: int) -> PduHeader:
    """Read a PDU header and refuse a length that nobody may ask for.

    Parameters
    ----------
    six_bytes : bytes
        Type, reserved, length.
    max_data_bytes : int
        The maximum length that we negotiated for P-DATA-TF (PS3.8 annex D.1).

    Raises
    ------
    UpperLayerError
        If the type is unknown or the length is not possible for it.
    """
    number, length_bytes = _PDU_HEADER.unpack(six_bytes)
    kind = _KIND_OF.get(number)
    if kind is None:
        raise UpperLayerError("a PDU of unknown type")
    if kind is PduType.P_DATA_TF:
        if not PDV_HEADER_BYTES <= length_bytes <= max_data_bytes:
            raise UpperLayerError("a P-DATA-TF longer than negotiated, or empty")
    elif kind in _SHORT:
        if length_bytes != _SHORT_BYTES:
            raise UpperLayerError("a PDU of wrong length")
    elif length_bytes > MAX_REQUEST_BYTES:
        raise UpperLayerError("an association PDU longer than any sensible one")
    return PduHeader(kind, length_bytes)


def pdv_header(six_bytes: bytes | memoryview, *, left_bytes: int) -> PdvHeader:
    """Read a PDV header; ``left_bytes`` are left in its PDU, these six among them.

    Raises
    ------
    UpperLayerError
        If it reaches out of its PDU, or is shorter than its own two bytes.
    """
    length_bytes, context_id, control = _PDV_HEADER.unpack(six_bytes)
    if not 2 <= length_bytes <= left_bytes - 4:
        raise UpperLayerError("a PDV that does not fit into its PDU")
    return PdvHeader(length_bytes - 2, context_id, is_command=bool(control & 1), is_last=bool(control & 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Titles:
    """Who calls whom, as an A-ASSOCIATE-RQ says; spaces at both ends do not count."""

    called_ae: str
    calling_ae: str


def check_request(body: bytes | memoryview) -> Titles:
    """Walk an A-ASSOCIATE-RQ and count what the library would build objects of.

    Parameters
    ----------
    body : bytes
        Without the PDU header.

    Raises
    ------
    UpperLayerError
        If its items do not fit into each other, or there are more of them than the standard has room for.
    """
    view = memoryview(body)
    if len(view) < _FIXED_BYTES:
        raise UpperLayerError("an A-ASSOCIATE-RQ that is too short")
    contexts = 0
    for kind, item in _items(view[_FIXED_BYTES:]):
        if kind == _PRESENTATION_CONTEXT:
            contexts += 1
            if contexts > _MAX_CONTEXTS:
                raise UpperLayerError("more presentation contexts than there are numbers")
            _check_context(item)
        elif kind == _USER_INFORMATION:
            if len(_items(item)) > _MAX_USER_ITEMS:
                raise UpperLayerError("more user information items than there are SOP classes")
        elif kind == _APPLICATION_CONTEXT:
            if len(item) > _MAX_UID_BYTES:
                raise UpperLayerError("an application context name that is no UID")
        else:
            raise UpperLayerError("an unknown item in an A-ASSOCIATE-RQ")
    return Titles(called_ae=_title(view[4 : 4 + _TITLE_BYTES]), calling_ae=_title(view[20 : 20 + _TITLE_BYTES]))


def _check_context(item: memoryview) -> None:
    if len(item) < _ITEM_HEADER_BYTES:
        raise UpperLayerError("a presentation context that is too short")
    names = _items(item[_ITEM_HEADER_BYTES:])
    if len(names) > _MAX_SYNTAXES:
        raise UpperLayerError("more transfer syntaxes in a context than there are")
    if any(kind not in (_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX) or len(name) > _MAX_UID_BYTES for kind, name in names):
        raise UpperLayerError("a presentation context with something else than UIDs")


def _items(view: memoryview) -> list[tuple[int, memoryview]]:
    """Type and content of the items that fill a view (PS3.8 section 9.3.2); one level, no recursion."""
    found = []
    start = 0
    while start < len(view):
        if start + _ITEM_HEADER_BYTES > len(view):
            raise UpperLayerError("an item that does not fit")
        length = view[start + 2] << 8 | view[start + 3]
        end = start + _ITEM_HEADER_BYTES + length
        if end > len(view):
            raise UpperLayerError("an item that does not fit")
        found.append((view[start], view[start + _ITEM_HEADER_BYTES : end]))
        if len(found) > _MAX_USER_ITEMS + _MAX_CONTEXTS:
            raise UpperLayerError("more items than an A-ASSOCIATE-RQ can need")
        start = end
    return found


def _title(field: memoryview) -> str:
    # Whatever else stands there is no title of ours, nor of any peer in the configuration.
    return bytes(field).decode("ascii", errors="replace").strip(" \0")
