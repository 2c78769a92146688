"""The streaming lane: a C-STORE goes from the receive buffer into the spool without becoming anything in between.

The library turns every 16 kB of an object into a PDU object, a primitive, a queue entry and a part of a joined copy.
The lane takes the one message that matters, a C-STORE-RQ, straight from the buffer, however its command set is cut;
everything else, C-ECHO, N-EVENT-REPORT, release, abort, is the library's as ever, read from the same buffer. Section
numbers are those of PS3.8.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scp_node.dimse.text import UNREADABLE
from scp_node.inbound.commands import MAX_COMMAND_BYTES, store_request, store_response
from scp_node.inbound.reactor import PromptAssociation, PromptProvider
from scp_node.inbound.upper_layer import (
    PDU_HEADER_BYTES,
    PDV_HEADER_BYTES,
    PduHeader,
    PduType,
    UpperLayerError,
    pdu_header,
    pdv_header,
)
from scp_node.inbound.wire import BUFFER_BYTES, Wire

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

    from scp_node.inbound.commands import StoreRequest
    from scp_node.inbound.intake import Store

MAX_COMMAND_IN_PIECES_BYTES = 1 << 17
"""Of a command set together with the headers of its PDVs and PDUs; enough for a usual one that comes byte by byte."""
MAX_LIBRARY_MESSAGE_BYTES = 8 << 20
"""Of a message that does not go through the lane and so is put together in memory. Reports and echoes are small; an
object comes this way only if its command is longer than :data:`MAX_COMMAND_BYTES`, and none that the standard allows
is."""
MAX_LIBRARY_BYTES = 16 << 20
"""Of all such messages that are on their way to this process; the library needs about four times as much for them."""
SMALL_FRAGMENT_BYTES = 1 << 10
"""A shorter one is moved up to the one before: to remember where each lies would take more memory than it has."""
CRUMB_BYTES = 128
CRUMBS_AT_ONCE, CRUMBS_BETWEEN_RESTS = 1024, 64
REST_S = 0.02
"""Each fragment costs the processor the same, however short: a sender of very many crumbs is made to rest after some of
them, so that it takes a twentieth of it. No sender at work makes such; its object is taken all the same."""
_ESTABLISHED = "Sta6"
_RECEIVED = frozenset({"Evt3", "Evt4", "Evt6", "Evt10", "Evt12", "Evt13", "Evt16"})
"""States and events of PS3.8 section 9.2."""


class _ClosedError(Exception):
    """The connection ended in the middle of a message."""


class _InterruptedStoreError(Exception):
    """Another PDU came in the middle of an object, an abort most likely; it lies unread in the buffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """A command set that lies unread in the buffer."""

    command: bytes
    context_id: int
    end: int
    """Bytes from the first unread one to the end of its last PDV."""
    left_bytes: int
    """Of the PDU behind that."""


def _whole_command(wire: Wire, pdu: PduHeader, *, max_data_bytes: int) -> _Command | None:
    """Put the PDVs of a command set together (annex E.2); nothing is taken from the buffer.

    ``None`` if it is longer than any C-STORE-RQ, or something else comes before its end.

    Parameters
    ----------
    wire : Wire
        The PDU's header is read and lies unread.
    pdu : PduHeader
        That header.
    max_data_bytes : int
        Longest P-DATA-TF.

    Raises
    ------
    UpperLayerError
        If a length is not possible.
    """
    command = bytearray()
    context_id: int | None = None
    end, left_bytes = PDU_HEADER_BYTES, pdu.length_bytes
    while end <= MAX_COMMAND_IN_PIECES_BYTES:
        if not left_bytes:
            header = pdu_header(_ahead(wire, end, PDU_HEADER_BYTES), max_data_bytes=max_data_bytes)
            if header.kind is not PduType.P_DATA_TF:
                return None
            end += PDU_HEADER_BYTES
            left_bytes = header.length_bytes
        pdv = pdv_header(_ahead(wire, end, PDV_HEADER_BYTES), left_bytes=left_bytes)
        is_another = context_id not in (None, pdv.context_id)
        if not pdv.is_command or is_another or len(command) + pdv.value_bytes > MAX_COMMAND_BYTES:
            return None
        command += _ahead(wire, end + PDV_HEADER_BYTES, pdv.value_bytes)
        context_id = pdv.context_id
        end += PDV_HEADER_BYTES + pdv.value_bytes
        left_bytes -= PDV_HEADER_BYTES + pdv.value_bytes
        if pdv.is_last:
            return _Command(command=bytes(command), context_id=context_id, end=end, left_bytes=left_bytes)
    return None


def _ahead(wire: Wire, start: int, count: int) -> bytes:
    """So many bytes, ``start`` bytes ahead of the first unread one."""
    if not wire.need(start + count):
        raise _ClosedError
    return bytes(wire.view[wire.lo + start : wire.lo + start + count])


class Allowance:
    """Memory that several associations share for what does not go through the lane; safe for many threads."""

    def __init__(self, total_bytes: int) -> None:
        self._left_bytes = total_bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take so many bytes, if they are there."""
        with self._lock:
            if count > self._left_bytes:
                return False
            self._left_bytes -= count
            return True

    def give_back(self, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left_bytes += count


class _Pieces:
    """The parts of an object that lie in the buffer, between the headers that were sent with them."""

    def __init__(self, wire: Wire, store: Store) -> None:
        self._wire = wire
        self._store = store
        self._bounds: list[list[int]] = []
        self._crumbs = 0

    def have(self, count: int) -> None:
        """Have so many unread bytes in one piece, and keep the pieces valid."""
        wire = self._wire
        while wire.unread_bytes < count:
            if BUFFER_BYTES - wire.lo < count:
                self._spill()
                wire.move_to_start()
            self._fill()

    def take(self, count: int) -> None:
        """Take so many bytes of the data set."""
        if count < CRUMB_BYTES:
            self._rest_between_crumbs()
        if count < SMALL_FRAGMENT_BYTES and self._bounds:
            self._take_small(count)
            return
        wire = self._wire
        begins_anew = True
        while count:
            if not wire.unread_bytes:
                if wire.hi == BUFFER_BYTES:
                    self._spill()
                    wire.lo = wire.hi = 0
                    begins_anew = True
                self._fill()
            more = min(wire.unread_bytes, count)
            if begins_anew:
                self._bounds.append([wire.lo, wire.lo])
                begins_anew = False
            wire.lo += more
            self._bounds[-1][1] = wire.lo
            count -= more

    def _rest_between_crumbs(self) -> None:
        self._crumbs += 1
        if self._crumbs > CRUMBS_AT_ONCE and self._crumbs % CRUMBS_BETWEEN_RESTS == 0:
            time.sleep(REST_S)

    def _take_small(self, count: int) -> None:
        self.have(count)
        wire = self._wire
        if not self._bounds:
            self._bounds.append([wire.lo, wire.lo])
        wire.buffer.move(self._bounds[-1][1], wire.lo, count)
        self._bounds[-1][1] += count
        wire.lo += count

    def taken(self) -> list[memoryview]:
        """What was taken and not yet spilt; valid until the buffer is filled again."""
        return [self._wire.view[start:end] for start, end in self._bounds]

    def _fill(self) -> None:
        if not self._wire.fill_behind():
            raise _ClosedError

    def _spill(self) -> None:
        self._store.spill(self.taken())
        self._bounds.clear()


class StreamingProvider(PromptProvider):
    """The upper layer provider with the lane in it.

    Parameters
    ----------
    assoc : PromptAssociation
        Its association.
    begin : (StoreRequest, PresentationContext) -> Store
        Begins to take an object; see :meth:`scp_node.inbound.intake.Intake.begin`.
    on_breach : (str) -> None
        Told when the peer broke the protocol, and how.
    allowance : Allowance
        For messages that do not go through the lane.
    """

    def __init__(
        self,
        assoc: PromptAssociation,
        begin: Callable[[StoreRequest, PresentationContext], Store],
        on_breach: Callable[[str], None],
        allowance: Allowance,
    ) -> None:
        super().__init__(assoc)
        self._allowance = allowance
        self._begin = begin
        self._on_breach = on_breach
        self._library_message_bytes = 0

    def run_reactor(self) -> None:
        """Serve until the association is over, and give back what it held."""
        try:
            super().run_reactor()
        finally:
            self._give_back()

    def act_on(self, event: str) -> None:
        """Let the state machine act; what the library cannot decode ends the association, and nothing else.

        It decodes command sets and reasons in its state machine, and lets every fault of theirs through.
        """
        try:
            super().act_on(event)
        except UNREADABLE:
            if event not in _RECEIVED:
                raise
            self._on_breach("a PDU or message that cannot be decoded")
            self._abort_bare()

    def _read_pdu_data(self) -> None:
        """Read the next PDU; every length is checked before a byte is read for it."""
        wire = self.wire
        wire.on_progress = self._idle_timer.restart
        wire.begin_message()
        try:
            self._read_checked(wire)
        except UpperLayerError as fault:
            self._on_breach(str(fault))
            # AA-8: abort. What else the peer sends is not read any more.
            self.event_queue.put("Evt19")
            wire.lo = wire.hi = 0
            if wire.socket is not None:
                with suppress(OSError):
                    wire.socket.shutdown(socket.SHUT_RD)
        except OSError as fault:
            self._on_breach(type(fault).__name__)
            self.event_queue.put("Evt17")
        except _ClosedError:
            self.event_queue.put("Evt17")

    def _read_checked(self, wire: Wire) -> None:
        if not wire.need(PDU_HEADER_BYTES):
            raise _ClosedError
        header = _pdu_header(wire, self.association.max_data_bytes)
        if header.kind is PduType.P_DATA_TF and self.state_machine.current_state == _ESTABLISHED:
            if self.assoc.dimse.message is None:
                self._give_back()
                try:
                    if self._is_stored(wire, header):
                        return
                except _InterruptedStoreError:
                    pass
            self._charge(header.length_bytes)
        super()._read_pdu_data()

    def _charge(self, count: int) -> None:
        """Count what the library is going to hold of a message."""
        is_too_long = self._library_message_bytes + count > MAX_LIBRARY_MESSAGE_BYTES
        if is_too_long or not self._allowance.take(count):
            raise UpperLayerError("a message that takes too much memory")
        self._library_message_bytes += count

    def _give_back(self) -> None:
        self._allowance.give_back(self._library_message_bytes)
        self._library_message_bytes = 0

    def _is_stored(self, wire: Wire, pdu: PduHeader) -> bool:
        """Receive an object if the PDU begins one in the usual way; else nothing was taken from the buffer."""
        found = _whole_command(wire, pdu, max_data_bytes=self.association.max_data_bytes)
        if found is None:
            return False
        request = store_request(found.command)
        context = self.association.accepted_context(found.context_id)
        if request is None or context is None:
            return False
        wire.lo += found.end
        self._receive(wire, request, context, found.context_id, found.left_bytes)
        return True

    def _receive(
        self, wire: Wire, request: StoreRequest, context: PresentationContext, context_id: int, left_bytes: int
    ) -> None:
        store = self._begin(request, context)
        try:
            pieces = self._pieces(wire, store, context_id, left_bytes)
            answer = store.finish(pieces.taken())
        finally:
            store.discard()
        if wire.socket is None:
            raise _ClosedError
        wire.answer(store_response(request, context_id, answer.status, answer.comment))

    def _pieces(self, wire: Wire, store: Store, context_id: int, left_bytes: int) -> _Pieces:
        """Walk the fragments of a data set (annex E); what is left at the end lies in the buffer."""
        pieces = _Pieces(wire, store)
        # The library looks it up anew each time, and this is asked of each PDU.
        max_data_bytes = self.association.max_data_bytes
        while True:
            if not left_bytes:
                pieces.have(PDU_HEADER_BYTES)
                header = _pdu_header(wire, max_data_bytes)
                if header.kind is not PduType.P_DATA_TF:
                    raise _InterruptedStoreError
                wire.lo += PDU_HEADER_BYTES
                left_bytes = header.length_bytes
            pieces.have(PDV_HEADER_BYTES)
            pdv = pdv_header(wire.view[wire.lo : wire.lo + PDV_HEADER_BYTES], left_bytes=left_bytes)
            wire.lo += PDV_HEADER_BYTES
            left_bytes -= PDV_HEADER_BYTES + pdv.value_bytes
            if pdv.context_id != context_id or pdv.is_command:
                raise UpperLayerError("another message in the middle of an object")
            pieces.take(pdv.value_bytes)
            if pdv.is_last:
                if left_bytes:
                    raise UpperLayerError("something behind the last fragment of an object")
                return pieces


def _pdu_header(wire: Wire, max_data_bytes: int) -> PduHeader:
    """The header of a PDU that lies unread in the buffer."""
    return pdu_header(wire.view[wire.lo : wire.lo + PDU_HEADER_BYTES], max_data_bytes=max_data_bytes)
