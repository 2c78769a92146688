"""Where a connection waits until it has asked for an association in due form, or its time is up.

One thread serves all who wait: it accepts, lets TLS handshakes go on step by step, reads no more than an
A-ASSOCIATE-RQ may have, has it judged, and hands over what is admitted. So a silent client costs a few hundred bytes
and no thread, a flood of them crowds out only itself, and nobody can keep the next caller from being accepted.
"""

from __future__ import annotations

import select
import selectors
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from scp_node.inbound.guard import Admit, Caller, Guard, Load, Reject
from scp_node.inbound.ledger import Call, Ledger
from scp_node.inbound.lockout import WITH_REFUSED, Lockout
from scp_node.inbound.metrics import ReceiverMetrics
from scp_node.inbound.upper_layer import (
    PDU_HEADER_BYTES,
    PduType,
    Titles,
    UpperLayerError,
    check_request,
    pdu_header,
)

LOOK_S = 0.25
"""How often deadlines are looked at."""
HELD_LOOK_S = 0.02
"""The same for callers that are held back."""
ACCEPTED_AT_ONCE = 64
"""Connections taken before those that wait are looked at again, by a receiver that is alone. One of several takes one
at a time: who wakes first would take all callers, and leave the others idle."""
GIVE_WAY_S = 0.002
"""A receiver that has more associations than another one leaves the next caller to that one for so long."""
NO_DESCRIPTORS_S = 0.1
FAREWELL_S = 2.0
"""For a refused caller to close the connection; then we do."""
_STEP_BYTES = 1 << 16
_ABORT = struct.pack(">BxLxxBB", PduType.A_ABORT, 4, 2, 2)
"""Source: the provider; reason: unexpected PDU (PS3.8 table 9-26)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One listening socket, and the TLS context of the moment if it asks for TLS."""

    listening: socket.socket
    tls: Callable[[], ssl.SSLContext] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A caller whose association may begin."""

    connection: socket.socket
    address: tuple[str, int]
    received: bytes
    """All that it sent: the A-ASSOCIATE-RQ, and what may have come behind it."""
    call: Call


@dataclass(slots=True, kw_only=True, eq=False)
class _Visitor:
    """One who waits."""

    connection: socket.socket
    address: tuple[str, int]
    deadline_s: float
    handshakes: bool
    is_refused: bool = False
    """It was told so, and has a moment to close the connection itself, as the one who called should (AR-3, ARTIM)."""
    received: bytearray = field(default_factory=bytearray)


class WaitingRoom:
    """Runs in a thread of its own until it is stopped.

    Parameters
    ----------
    doors : sequence of Door
        What to accept on; non-blocking.
    guard, ledger : Guard, Ledger
        Who may come in, and who is in.
    metrics : ReceiverMetrics
        Counts.
    most_waiting : int
        Connections without association, in this process.
    request_timeout_s : float
        For handshake and request together.
    hand_over : (Admitted) -> None
        Begins the association.
    on_reject : (Titles, address, Reject) -> None
        Told of each rejection.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        *,
        guard: Guard,
        ledger: Ledger,
        metrics: ReceiverMetrics,
        most_waiting: int,
        request_timeout_s: float,
        hand_over: Callable[[Admitted], None],
        on_reject: Callable[[Titles, str, Reject], None],
    ) -> None:
        self._guard = guard
        self._ledger = ledger
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._request_timeout_s = request_timeout_s
        self._hand_over = hand_over
        self._on_reject = on_reject
        self._lockout = Lockout(WITH_REFUSED.shared_by(ledger.receivers))
        self._held: dict[_Visitor, Titles] = {}
        self._visitors: dict[_Visitor, None] = {}
        self._selector = selectors.DefaultSelector()
        self._stop_heard, self._stop_told = socket.socketpair()
        self._selector.register(self._stop_heard, selectors.EVENT_READ, None)
        self._doors = list(doors)
        for door in self._doors:
            door.listening.setblocking(False)
            self._selector.register(door.listening, selectors.EVENT_READ, door)

    def stop(self) -> None:
        """Accept no more and send away who waits; returns at once, :meth:`run` ends soon."""
        with suppress(OSError):
            self._stop_told.send(b"x")

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        try:
            while True:
                for key, _ in self._selector.select(HELD_LOOK_S if self._held else LOOK_S):
                    if key.fileobj is self._stop_heard:
                        return
                    # Here too: of many at once, each may have to wait a moment for the recorder.
                    self._metrics.beat()
                    if isinstance(key.data, Door):
                        self._accept(key.data)
                    elif key.data in self._visitors:
                        self._serve(key.data)
                self._look_at_the_held()
                self._send_away_the_late()
                self._metrics.waiting_connections(len(self._visitors))
                self._metrics.beat()
        finally:
            for visitor in list(self._visitors):
                self._drop(visitor, "the receiver ends")
            for door in self._doors:
                # Only our descriptor: a shutdown would stop the port for the other receivers, too.
                door.listening.close()
            self._selector.close()
            self._stop_heard.close()
            self._stop_told.close()

    # --- coming in ---

    def _accept(self, door: Door) -> None:
        is_alone = self._ledger.receivers == 1
        if not is_alone and self._ledger.has_more_than_another():
            time.sleep(GIVE_WAY_S)
        for _ in range(ACCEPTED_AT_ONCE if is_alone else 1):
            try:
                connection, address = door.listening.accept()
            except BlockingIOError:
                return
            except OSError:
                # The caller is gone already, or this process has no descriptor left: those who wait will make room.
                select.select([], [], [], NO_DESCRIPTORS_S)
                return
            self._welcome(door, connection, address)

    def _welcome(self, door: Door, connection: socket.socket, address: tuple[str, int]) -> None:
        host = address[0]
        if self._lockout.is_locked_out(host, time.monotonic()) and not self._guard.expects_calls_from(host):
            connection.close()
            self._metrics.dropped("refused too often")
            return
        if len(self._visitors) >= self._most_waiting:
            self._make_room()
        connection.setblocking(False)
        if door.tls is not None:
            try:
                connection = door.tls().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            except OSError:
                # The library looks at the connection, and the caller has reset it already.
                connection.close()
                self._metrics.dropped("the connection failed")
                return
        visitor = _Visitor(
            connection=connection,
            address=(host, address[1]),
            deadline_s=time.monotonic() + self._request_timeout_s,
            handshakes=door.tls is not None,
        )
        self._visitors[visitor] = None
        self._selector.register(connection, selectors.EVENT_READ, visitor)

    def _make_room(self) -> None:
        """The oldest of the address that has most waiting goes: a flood from one place crowds out itself."""
        waiting = Counter(visitor.address[0] for visitor in self._visitors)
        greediest = waiting.most_common(1)[0][0]
        oldest = next(visitor for visitor in self._visitors if visitor.address[0] == greediest)
        self._drop(oldest, "too many connections")

    # --- waiting ---

    def _serve(self, visitor: _Visitor) -> None:
        if visitor.is_refused:
            self._hear_farewell(visitor)
            return
        try:
            if visitor.handshakes and not self._handshaken(visitor):
                return
            if not self._has_read_all(visitor):
                return
            body = memoryview(visitor.received)[PDU_HEADER_BYTES:]
            length = pdu_header(bytes(visitor.received[:PDU_HEADER_BYTES]), max_data_bytes=0).length_bytes
            titles = check_request(body[:length])
        except UpperLayerError:
            self._refuse(visitor, _ABORT, "not an association request")
        except ssl.SSLError as fault:
            self._lockout.note(visitor.address[0], time.monotonic())
            self._drop(visitor, f"TLS: {_reason(fault)}")
        except OSError:
            self._drop(visitor, "the connection failed")
        else:
            if self._ledger.must_wait(visitor.address[0], time.monotonic()):
                # Nothing more is heard from it until it is judged.
                self._selector.unregister(visitor.connection)
                self._held[visitor] = titles
            else:
                self._judge(visitor, titles)

    def _handshaken(self, visitor: _Visitor) -> bool:
        """Take the handshake a step further; whether it is done."""
        connection = cast("ssl.SSLSocket", visitor.connection)
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            self._selector.modify(connection, selectors.EVENT_READ, visitor)
            return False
        except ssl.SSLWantWriteError:
            self._selector.modify(connection, selectors.EVENT_WRITE, visitor)
            return False
        visitor.handshakes = False
        self._selector.modify(connection, selectors.EVENT_READ, visitor)
        return True

    def _has_read_all(self, visitor: _Visitor) -> bool:
        """Read what is there; whether the whole request has come.

        Raises
        ------
        UpperLayerError
            If it is no request, or a longer one than any.
        OSError
            If the connection ended.
        """
        received = visitor.received
        while True:
            if len(received) >= PDU_HEADER_BYTES:
                header = pdu_header(bytes(received[:PDU_HEADER_BYTES]), max_data_bytes=0)
                if header.kind is not PduType.A_ASSOCIATE_RQ:
                    raise UpperLayerError("another PDU than an A-ASSOCIATE-RQ")
                if len(received) >= PDU_HEADER_BYTES + header.length_bytes:
                    return True
            try:
                step = visitor.connection.recv(_STEP_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            if not step:
                raise ConnectionResetError
            received += step

    def _send_away_the_late(self) -> None:
        now_s = time.monotonic()
        for visitor in [one for one in self._visitors if one.deadline_s <= now_s]:
            reason = (
                "too many associations that came to nothing"
                if visitor in self._held
                else "no association request in time"
            )
            self._drop(visitor, "" if visitor.is_refused else reason)

    def _look_at_the_held(self) -> None:
        """Judge those who waited because so many associations from there came to nothing."""
        for visitor in list(self._held):
            if not self._ledger.must_wait(visitor.address[0], time.monotonic()):
                titles = self._held.pop(visitor)
                self._selector.register(visitor.connection, selectors.EVENT_READ, visitor)
                self._judge(visitor, titles)

    # --- leaving ---

    def _judge(self, visitor: _Visitor, titles: Titles) -> None:
        caller = Caller(
            calling_ae=titles.calling_ae,
            called_ae=titles.called_ae,
            address=visitor.address[0],
            certificate_names=_certificate_names(visitor.connection),
        )

        def decide(load: Load) -> Admit | Reject:
            return self._guard.decide(caller, load)

        decision = self._ledger.admit(titles, visitor.address[0], decide)
        if isinstance(decision, Reject):
            self._on_reject(titles, visitor.address[0], decision)
            self._metrics.rejected(decision.why)
            self._refuse(visitor, _rejection(decision), "")
            return
        self._forget(visitor)
        self._hand_over(
            Admitted(
                connection=visitor.connection,
                address=visitor.address,
                received=bytes(visitor.received),
                call=decision,
            )
        )

    def _refuse(self, visitor: _Visitor, answer: bytes, reason: str) -> None:
        self._lockout.note(visitor.address[0], time.monotonic())
        if reason:
            self._metrics.dropped(reason)
        visitor.is_refused = True
        visitor.deadline_s = time.monotonic() + FAREWELL_S
        visitor.received = bytearray()
        try:
            # It fits into any send buffer, so a peer that does not read cannot hold us up.
            visitor.connection.send(answer)
            visitor.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(visitor, "")

    def _hear_farewell(self, visitor: _Visitor) -> None:
        """Read and forget until the caller closes."""
        try:
            has_more = bool(visitor.connection.recv(_STEP_BYTES))
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            has_more = False
        if not has_more:
            self._drop(visitor, "")

    def _drop(self, visitor: _Visitor, reason: str) -> None:
        self._forget(visitor)
        visitor.connection.close()
        if reason:
            self._metrics.dropped(reason)

    def _forget(self, visitor: _Visitor) -> None:
        del self._visitors[visitor]
        if self._held.pop(visitor, None) is None:
            self._selector.unregister(visitor.connection)


def _rejection(decision: Reject) -> bytes:
    """An A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return struct.pack(">BxLxBBB", PduType.A_ASSOCIATE_RJ, 4, decision.result, decision.source, decision.reason)


def _certificate_names(connection: socket.socket) -> frozenset[str] | None:
    """DNS names and IP addresses of the verified certificate, else its common name; ``None`` without TLS."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    certificate: dict[str, tuple[tuple[str, str], ...]] = connection.getpeercert() or {}  # type: ignore[assignment]
    names = frozenset(
        str(value) for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")
    )
    if names:
        return names
    subject: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())  # type: ignore[assignment]
    return frozenset(value for part in subject for key, value in part if key == "commonName")


def _reason(fault: ssl.SSLError) -> str:
    """OpenSSL's name of what went wrong; a fixed list, nothing of the peer's."""
    return (fault.reason or "failed").lower().replace("_", " ")
