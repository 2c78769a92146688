"""A peer that sends whatever bytes it likes: the parts of DICOM messages, and a connection that puts no rule on them.

Byte layouts: PS3.8 section 9.3 (PDUs and their items), annex E (PDVs), PS3.7 section 9.3.1 (C-STORE).
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

CONTEXTS: tuple[tuple[str, str], ...] = (
    (CTImageStorage, ExplicitVRLittleEndian),
    (MRImageStorage, ExplicitVRLittleEndian),
)
"""Presentation contexts 1 and 3."""
COMMAND, LAST = 1, 2
"""Bits of a message control header."""
SUCCESS = 0x0000
NO_ANSWER = -1
ANSWER_S = 20.0


def element(number: int, value: bytes) -> bytes:
    """One element of a command set, in implicit VR little endian."""
    return struct.pack("<HHL", 0, number, len(value)) + value


LONG_ELEMENT = element(0x7777, bytes(70_000))
"""Makes a command longer than any that the lane takes."""


def new_uid() -> str:
    """A UID of always the same length, so that a message has, too."""
    return f"2.25.{secrets.randbelow(9 * 10**18) + 10**18}"


def padded(uid: str) -> bytes:
    value = uid.encode()
    return value + b"\0" * (len(value) % 2)


def store_command(
    sop_instance_uid: str, *, sop_class_uid: str = CTImageStorage, message_id: int = 1, extra: bytes = b""
) -> bytes:
    """A C-STORE-RQ with a data set; ``extra`` are more elements."""
    body = (
        element(0x0002, padded(sop_class_uid))
        + element(0x0100, struct.pack("<H", 1))
        + element(0x0110, struct.pack("<H", message_id))
        + element(0x0700, struct.pack("<H", 2))
        + element(0x0800, struct.pack("<H", 0))
        + element(0x1000, padded(sop_instance_uid))
        + extra
    )
    return element(0, struct.pack("<L", len(body))) + body


def small_object(sop_instance_uid: str, *, study: str = "", pixel_bytes: int = 8) -> bytes:
    """A data set in explicit VR little endian with nothing but what an acknowledgement needs."""

    def explicit(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    study = study or new_uid()
    return (
        explicit(0x0008, 0x0016, b"UI", padded(CTImageStorage))
        + explicit(0x0008, 0x0018, b"UI", padded(sop_instance_uid))
        + explicit(0x0020, 0x000D, b"UI", padded(study))
        + explicit(0x0020, 0x000E, b"UI", padded(study + ".1"))
        + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, pixel_bytes)
        + bytes(pixel_bytes)
    )


def pdv(value: bytes, control: int, *, context_id: int = 1) -> bytes:
    return struct.pack(">LBB", len(value) + 2, context_id, control) + value


def pdu(*parts: bytes, kind: int = 4) -> bytes:
    body = b"".join(parts)
    return struct.pack(">BxL", kind, len(body)) + body


ABORT = pdu(bytes(4), kind=7)
RELEASE = pdu(bytes(4), kind=5)


def store_message(command: bytes, dataset: bytes, *, fragment_bytes: int = 16_000) -> bytes:
    """A C-STORE in the usual form: the command in one PDU, the data set in as many as it needs."""
    starts = range(0, len(dataset), fragment_bytes)
    data = [pdu(pdv(dataset[one : one + fragment_bytes], LAST if one == starts[-1] else 0)) for one in starts]
    return pdu(pdv(command, COMMAND | LAST)) + b"".join(data)


def item(kind: int, content: bytes, *, claimed_bytes: int | None = None) -> bytes:
    return struct.pack(">BxH", kind, len(content) if claimed_bytes is None else claimed_bytes) + content


def presentation_context(number: int, syntaxes: Sequence[str], *, sop_class_uid: str = CTImageStorage) -> bytes:
    names = item(0x30, sop_class_uid.encode()) + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
    return item(0x20, bytes([number, 0, 0, 0]) + names)


USER_INFORMATION = item(0x50, item(0x51, struct.pack(">L", 16_384)) + item(0x52, b"1.2.3"))
APPLICATION_CONTEXT = item(0x10, b"1.2.840.10008.3.1.1.1")


def associate_request(
    items: bytes | None = None, *, calling: str = "CT_2", called: str = "HAI_NODE", claimed_bytes: int | None = None
) -> bytes:
    """An A-ASSOCIATE-RQ; with ``items`` in place of the usual ones, or with a length that is not its own."""
    if items is None:
        contexts = [
            presentation_context(2 * number + 1, [syntax], sop_class_uid=sop_class)
            for number, (sop_class, syntax) in enumerate(CONTEXTS)
        ]
        items = APPLICATION_CONTEXT + b"".join(contexts) + USER_INFORMATION
    body = struct.pack(">H2x16s16s32x", 1, called.ljust(16).encode(), calling.ljust(16).encode()) + items
    return struct.pack(">BxL", 1, len(body) if claimed_bytes is None else claimed_bytes) + body


@dataclass(slots=True)
class RawPeer:
    """One connection, from an address of our choice in 127.0.0.0/8."""

    connection: socket.socket

    @classmethod
    def call(cls, port: int, *, address: str = "127.0.0.2") -> RawPeer:
        return cls(socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S, source_address=(address, 0)))

    @classmethod
    def associated(cls, port: int, *, address: str = "127.0.0.2", calling: str = "CT_2") -> RawPeer:
        """With an association; called again while the receiver still counts associations that were just ended."""
        end_s = time.monotonic() + ANSWER_S
        while True:
            peer = cls.call(port, address=address)
            peer.send(associate_request(calling=calling))
            kind = peer.answer()[0]
            if kind == 2:
                return peer
            peer.close()
            assert time.monotonic() < end_s, f"no association; the last answer was a PDU of type {kind}"
            time.sleep(0.02)

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def send_what_is_taken(self, content: bytes) -> bool:
        """Send until the other end has had enough; whether it took all."""
        try:
            self.connection.sendall(content)
        except OSError:
            return False
        return True

    def answer(self) -> tuple[int, bytes]:
        """Type and content of the next PDU; :data:`NO_ANSWER` when the connection has ended."""
        try:
            header = self._exactly(6)
            return header[0], self._exactly(int.from_bytes(header[2:6], "big"))
        except (OSError, EOFError):
            return NO_ANSWER, b""

    def status(self) -> int:
        """Status of the next C-STORE-RSP; :data:`NO_ANSWER` for anything else."""
        kind, content = self.answer()
        position = content.find(struct.pack("<HHL", 0, 0x0900, 2))
        if kind != 4 or position < 0:
            return NO_ANSWER
        return int.from_bytes(content[position + 8 : position + 10], "little")

    def store(self, sop_instance_uid: str, dataset: bytes) -> int:
        self.send(store_message(store_command(sop_instance_uid), dataset))
        return self.status()

    def is_ended(self, *, within_s: float) -> bool:
        """Whether the other end aborts or closes, after whatever it still says."""
        end_s = time.monotonic() + within_s
        while (left_s := end_s - time.monotonic()) > 0:
            self.connection.settimeout(left_s)
            try:
                if not self.connection.recv(1 << 16):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def close(self) -> None:
        self.connection.close()

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            step = self.connection.recv(count - len(content))
            if not step:
                raise EOFError
            content += step
        return content


@contextlib.contextmanager
def closing_all(peers: list[RawPeer]) -> Iterator[list[RawPeer]]:
    """Close whatever is in the list at the end."""
    try:
        yield peers
    finally:
        for peer in peers:
            peer.close()
