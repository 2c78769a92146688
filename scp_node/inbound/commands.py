"""C-STORE command sets (PS3.7 section 9.3.1), to and from bytes; always in implicit VR little endian (6.3.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from scp_node.inbound.upper_layer import UpperLayerError

MAX_COMMAND_BYTES = 1 << 16
"""A C-STORE-RQ needs about 200, and at most 500 with everything that PS3.7 section 9.3.1.1 allows; the rest is room for
elements that it does not know."""
_MOST_NAME_BYTES = 1 << 10
"""A UID has 64; what is longer is not sent back, and the answer fits into the smallest PDU."""

_ELEMENT = struct.Struct("<HHL")
_AFFECTED_CLASS, _FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _ERROR_COMMENT, _AFFECTED_INSTANCE = 0x0800, 0x0900, 0x0902, 0x1000
_STORE_REQUEST = (0x0001).to_bytes(2, "little")
_STORE_RESPONSE = (0x8001).to_bytes(2, "little")
_NO_DATA_SET = (0x0101).to_bytes(2, "little")
_MAX_COMMENT_CHARACTERS = 64
"""Error Comment is of VR LO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """What of a C-STORE-RQ matters here."""

    message_id: bytes
    """Two bytes, as they came."""
    sop_class_uid: str
    sop_instance_uid: str
    """Both whatever the sender wrote; to be checked for their form."""


def store_request(command: bytes) -> StoreRequest | None:
    """Read a command set; ``None`` if it is another command than a C-STORE-RQ with a data set.

    Raises
    ------
    UpperLayerError
        If it is no command set.
    """
    elements = _elements(command)
    if elements.get(_FIELD) != _STORE_REQUEST or elements.get(_DATA_SET_TYPE, _NO_DATA_SET) == _NO_DATA_SET:
        return None
    message_id = elements.get(_MESSAGE_ID, b"")
    if len(message_id) != len(_STORE_REQUEST):
        raise UpperLayerError("a C-STORE-RQ without message ID")
    if any(len(elements.get(name, b"")) > _MOST_NAME_BYTES for name in (_AFFECTED_CLASS, _AFFECTED_INSTANCE)):
        raise UpperLayerError("a C-STORE-RQ with more than a UID in the place of one")
    return StoreRequest(
        message_id=message_id,
        sop_class_uid=_text(elements.get(_AFFECTED_CLASS, b"")),
        sop_instance_uid=_text(elements.get(_AFFECTED_INSTANCE, b"")),
    )


def store_response(request: StoreRequest, context_id: int, status: int, comment: str) -> bytes:
    """A C-STORE-RSP as one P-DATA-TF with one PDV."""
    instance = _uid(request.sop_instance_uid)
    before, between = _around_message_id(request.sop_class_uid, context_id, status, comment, len(instance))
    return b"".join((before, request.message_id, between, instance))


@lru_cache(maxsize=256)
def _around_message_id(
    sop_class_uid: str, context_id: int, status: int, comment: str, instance_bytes: int
) -> tuple[bytes, bytes]:
    """An answer up to the message ID, and on to the instance UID; the same for all images of a kind."""
    before = _element(_AFFECTED_CLASS, _uid(sop_class_uid)) + _element(_FIELD, _STORE_RESPONSE)
    before += _ELEMENT.pack(0, _RESPONDED_TO, len(_STORE_REQUEST))
    between = _element(_DATA_SET_TYPE, _NO_DATA_SET) + _element(_STATUS, status.to_bytes(2, "little"))
    if comment:
        text = comment[:_MAX_COMMENT_CHARACTERS].encode("ascii", errors="replace")
        between += _element(_ERROR_COMMENT, text + b" " * (len(text) % 2))
    between += _ELEMENT.pack(0, _AFFECTED_INSTANCE, instance_bytes)
    group_bytes = len(before) + len(_STORE_REQUEST) + len(between) + instance_bytes
    group_length = _element(0, struct.pack("<L", group_bytes))
    pdv_bytes = 2 + len(group_length) + group_bytes
    return struct.pack(">BxLLBB", 4, pdv_bytes + 4, pdv_bytes, context_id, 0x03) + group_length + before, between


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, number, len(value)) + value


def _elements(command: bytes) -> dict[int, bytes]:
    """Values by element number; group 0000 only."""
    found: dict[int, bytes] = {}
    position = 0
    while position < len(command):
        if position + _ELEMENT.size > len(command):
            raise UpperLayerError("a command set that breaks off")
        group, number, length = _ELEMENT.unpack_from(command, position)
        position += _ELEMENT.size
        if group != 0 or position + length > len(command):
            raise UpperLayerError("a command set with something else in it")
        found[number] = command[position : position + length]
        position += length
    return found


def _text(value: bytes) -> str:
    return value.decode("ascii", errors="replace").strip(" \0")


def _uid(text: str) -> bytes:
    value = text.encode("ascii", errors="replace")
    return value + b"\0" * (len(value) % 2)
