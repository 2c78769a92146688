"""The streaming lane over any byte stream: what is acknowledged is what an independent reading of the stream holds.

A real provider of a real association reads from a socket in memory, which hands out the bytes in pieces. The input: one
byte for the size of the pieces, then the stream of an established association. The state machine of the library runs
as in the receiver, only without its threads.
"""

import contextlib
import logging
import os
import queue
import socket
import struct
import warnings
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, cast

from tests.fuzz.engine import fuzz, instrumented

with instrumented(__name__):
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
    from pynetdicom import AE
    from pynetdicom.presentation import PresentationContext
    from pynetdicom.transport import AddressInformation

    from scp_node.inbound import lane, wire
    from scp_node.inbound.commands import StoreRequest, store_request
    from scp_node.inbound.incoming import Piece
    from scp_node.inbound.intake import Answer, Store
    from scp_node.inbound.lane import Allowance, StreamingProvider
    from scp_node.inbound.reactor import PromptAssociation, PromptProvider
    from scp_node.inbound.upper_layer import UpperLayerError
    from scp_node.inbound.wire import Pace, Wire

MAX_DATA_BYTES = 4096 + 512
BUFFER_BYTES = 16_384
"""In place of 2 MiB, so that small inputs fill it, too."""
BUFFERED: tuple[Any, ...] = (wire, lane)
"""The modules that know that size."""
COMMAND_BYTES = BUFFER_BYTES // 4
COMMAND_IN_PIECES_BYTES = BUFFER_BYTES // 2
CONTEXTS = {1: CTImageStorage, 3: MRImageStorage}
PIECES = (1, 2, 5, 7, 64, 1000, 4096, 1 << 16)
_ESTABLISHED, _ENDED = "Sta6", ("Sta1", "Sta13")


class MemorySocket:
    """Hands out a stream in pieces of one size, then end of file; keeps what is sent."""

    def __init__(self, stream: bytes, piece_bytes: int) -> None:
        self._stream = memoryview(stream)
        self._position = 0
        self._piece_bytes = piece_bytes
        self._deaf = False
        self.sent = bytearray()

    def recv_into(self, view: memoryview) -> int:
        end = len(self._stream) if not self._deaf else self._position
        count = min(len(view), self._piece_bytes, end - self._position)
        assert len(view), "a read into a full buffer would look like the end"
        view[:count] = self._stream[self._position : self._position + count]
        self._position += count
        return count

    def sendall(self, content: bytes) -> None:
        self.sent += content

    def send(self, content: bytes) -> int:
        self.sent += content
        return len(content)

    def shutdown(self, how: int) -> None:
        self._deaf = self._deaf or how != socket.SHUT_WR

    def setsockopt(self, *_: int) -> None: ...

    def settimeout(self, _: float) -> None: ...

    def close(self) -> None: ...

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)


class MemoryStore:
    """Takes an object like :class:`Store`, and copies what it is given while that is valid."""

    def __init__(self, acknowledged: list[tuple[str, bytes]], request: "StoreRequest") -> None:
        self._acknowledged = acknowledged
        self._request = request
        self._content = bytearray()

    def spill(self, pieces: "Sequence[Piece]") -> None:
        self._content += b"".join(pieces)

    def finish(self, pieces: "Sequence[Piece]") -> "Answer":
        self.spill(pieces)
        self._acknowledged.append((self._request.sop_instance_uid, bytes(self._content)))
        return Answer(status=0)

    def discard(self) -> None: ...


def consider(data: bytes) -> None:
    """Let a provider read a stream, and compare what it acknowledged with what the stream holds."""
    if not data:
        return
    logging.disable(logging.CRITICAL)
    stream = data[1:]
    with warnings.catch_warnings():
        # As in the receiver, which silences the libraries.
        warnings.simplefilter("ignore")
        acknowledged, breaches, sent = run(stream, PIECES[data[0] % len(PIECES)])
    expected = objects_at_the_start(stream)
    assert acknowledged[: len(expected)] == expected, "an object was lost or changed"
    assert len(breaches) <= 1
    responses = sum(1 for kind in _pdu_kinds(sent) if kind == 4)
    assert responses >= len(acknowledged)


def run(stream: bytes, piece_bytes: int) -> tuple[list[tuple[str, bytes]], list[str], bytes]:
    """Objects acknowledged, breaches told, bytes sent."""
    acknowledged: list[tuple[str, bytes]] = []
    breaches: list[str] = []

    def begin(request: "StoreRequest", _: "PresentationContext") -> "Store":
        return cast("Store", MemoryStore(acknowledged, request))

    def provider(association: "PromptAssociation") -> "PromptProvider":
        return StreamingProvider(association, begin, breaches.append, Allowance(1 << 20))

    entity = AE("HAI_NODE")
    association = PromptAssociation(entity, provider)
    association.acceptor.maximum_length = association.requestor.maximum_length = MAX_DATA_BYTES
    association.requestor.address_info = AddressInformation("127.0.0.1", 104)
    for context_id, sop_class in CONTEXTS.items():
        context = PresentationContext()
        context.context_id = context_id
        context.abstract_syntax = sop_class
        context.transfer_syntax = [ExplicitVRLittleEndian]
        association._accepted_cx[context_id] = context
    line = MemorySocket(stream, piece_bytes)
    pace = Pace(silence_s=60.0, grace_s=3600.0, least_bytes_per_s=1.0)
    made = Wire(association, cast("socket.socket", line), b"", pace)
    # It has no descriptor that could be read or written past it.
    made._is_plain = False
    association.set_socket(made)
    association.is_established = True
    dul = association.dul
    assert isinstance(dul, StreamingProvider)
    dul.state_machine.current_state = _ESTABLISHED
    dul.event_queue.get_nowait()
    _serve(dul)
    assert len(dul.wire.buffer) == wire.BUFFER_BYTES
    # Its reactor never ran, so nobody else closes the bell.
    os.close(dul._bell)
    dul.wire.release()
    return acknowledged, breaches, bytes(line.sent)


def _serve(dul: "StreamingProvider") -> None:
    """The reactor's loop without its waiting."""
    while not dul._kill_thread and dul.state_machine.current_state not in _ENDED:
        if not dul._process_recv_primitive():
            dul._read_pdu_data()
        with contextlib.suppress(queue.Empty):
            dul.act_on(dul.event_queue.get_nowait())


def objects_at_the_start(stream: bytes) -> list[tuple[str, bytes]]:
    """The objects of a stream up to the first thing that is not an object sent in the usual way."""
    found: list[tuple[str, bytes]] = []
    position = 0
    while True:
        one = _object_at(stream, position)
        if one is None:
            return found
        uid, content, position = one
        found.append((uid, content))


def _object_at(stream: bytes, position: int) -> tuple[str, bytes, int] | None:
    fragments: list[tuple[int, int, bytes]] = []
    while not (fragments and fragments[-1][1] == 2):
        length = _data_length(stream, position)
        if length is None:
            return None
        end = position + 6 + length
        position += 6
        while position < end:
            if position + 6 > end:
                return None
            pdv_length, context_id, control = struct.unpack_from(">LBB", stream, position)
            if pdv_length < 2 or position + 4 + pdv_length > end:
                return None
            fragments.append((context_id, control & 3, stream[position + 6 : position + 4 + pdv_length]))
            position += 4 + pdv_length
            if _is_odd(fragments) or (fragments[-1][1] == 2 and position != end):
                return None
    command = _command(fragments)
    request = _request(b"".join(value for _, _, value in command))
    if request is None:
        return None
    return request.sop_instance_uid, b"".join(value for _, _, value in fragments[len(command) :]), position


def _data_length(stream: bytes, position: int) -> int | None:
    """Of a P-DATA-TF that lies whole in the stream."""
    if position + 6 > len(stream) or stream[position] != 4:
        return None
    (length,) = struct.unpack_from(">L", stream, position + 2)
    return length if 6 <= length <= MAX_DATA_BYTES and position + 6 + length <= len(stream) else None


def _is_odd(fragments: list[tuple[int, int, bytes]]) -> bool:
    """Not a command, whole or in pieces, and then data of the same context."""
    context_id = fragments[0][0]
    command = _command(fragments)
    data = fragments[len(command) :]
    if not command or context_id not in CONTEXTS or any(one[0] != context_id for one in fragments):
        return True
    if any(control & 1 for _, control, _ in data) or any(control == 3 for _, control, _ in command[:-1]):
        return True
    if data and command[-1][1] != 3:
        return True
    lengths = [len(value) for _, _, value in command]
    return sum(lengths) > COMMAND_BYTES or sum(lengths) + 12 * len(lengths) > COMMAND_IN_PIECES_BYTES


def _command(fragments: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    return list(takewhile(lambda one: one[1] & 1, fragments))


def _request(command: bytes) -> "StoreRequest | None":
    try:
        return store_request(command)
    except UpperLayerError:
        return None


def _pdu_kinds(sent: bytes) -> list[int]:
    kinds, position = [], 0
    while position < len(sent):
        kinds.append(sent[position])
        position += 6 + int.from_bytes(sent[position + 2 : position + 6], "big")
    assert position == len(sent), "half a PDU was sent"
    return kinds


if __name__ == "__main__":
    for module in BUFFERED:
        module.BUFFER_BYTES = BUFFER_BYTES
    cast("Any", lane).MAX_COMMAND_BYTES = COMMAND_BYTES
    lane.MAX_COMMAND_IN_PIECES_BYTES = COMMAND_IN_PIECES_BYTES
    fuzz("lane", consider)
