"""Who waits, who is sent away, and that a crowd from one place does not shut out the others."""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp_node.inbound.guard import Admit, Guard, Reject
from scp_node.inbound.ledger import Call, Ledger
from scp_node.inbound.lockout import MOST_ADDRESSES, WITH_REFUSED, WITH_UNUSED, Lockout
from scp_node.inbound.metrics import LARGEST_MESSAGE_BYTES, Counts, ReceiverMetrics
from scp_node.inbound.places import Places, shared_places
from scp_node.inbound.upper_layer import MAX_REQUEST_BYTES, Titles, UpperLayerError, check_request
from scp_node.inbound.waiting_room import Admitted, Door, WaitingRoom
from scp_node.settings import Peer
from tests.node.network import eventually

PEERS = {"ct": Peer(ae_title="CT", addresses=("127.0.0.1", "127.0.0.2"), may_send=True)}
PATIENT_S = 5.0
TITLES = Titles(called_ae="NODE", calling_ae="CT")


@dataclass(slots=True, kw_only=True)
class Room:
    """A waiting room at work."""

    port: int
    ledger: Ledger
    node: socket.socket
    """Hears what is counted."""
    metrics: ReceiverMetrics
    admitted: list[Admitted] = field(default_factory=list)
    rejected: list[tuple[Titles, str, Reject]] = field(default_factory=list)

    def call(self, *, source: str = "127.0.0.1") -> socket.socket:
        caller = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENT_S, source_address=(source, 0))
        caller.settimeout(PATIENT_S)
        return caller


@contextlib.contextmanager
def waiting_room(*, most_waiting: int = 8, request_timeout_s: float = 30.0) -> Iterator[Room]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    descriptor = shared_places(1, 4)
    node, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    room = Room(
        port=listening.getsockname()[1],
        ledger=Ledger(Places(descriptor, receiver=1, receivers=1)),
        node=node,
        metrics=ReceiverMetrics(its),
    )
    running = WaitingRoom(
        [Door(listening=listening)],
        guard=Guard(["NODE"], PEERS, 4, 4),
        ledger=room.ledger,
        metrics=room.metrics,
        most_waiting=most_waiting,
        request_timeout_s=request_timeout_s,
        hand_over=room.admitted.append,
        on_reject=lambda titles, address, reject: room.rejected.append((titles, address, reject)),
    )
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield room
    finally:
        running.stop()
        thread.join(timeout=PATIENT_S)
        assert not thread.is_alive()
        for one in room.admitted:
            one.connection.close()
        node.close()
        its.close()
        os.close(descriptor)


def request(calling: str = "CT", called: str = "NODE", items: bytes = b"") -> bytes:
    """An A-ASSOCIATE-RQ."""
    body = struct.pack(">HH16s16s32x", 1, 0, called.encode().ljust(16), calling.encode().ljust(16)) + items
    return struct.pack(">BxL", 1, len(body)) + body


def test_a_request_in_due_form_is_handed_over_with_all_that_came_behind_it() -> None:
    with waiting_room() as room, room.call() as caller:
        for byte in request():
            caller.send(bytes([byte]))
        assert eventually(lambda: len(room.admitted) == 1)
        assert room.admitted[0].received == request()
        with room.call() as hasty:
            hasty.sendall(request() + b"more")
            assert eventually(lambda: len(room.admitted) == 2)
        assert room.admitted[1].received == request() + b"more"


def test_a_stranger_is_told_the_numbers_and_sent_away() -> None:
    with waiting_room() as room, room.call() as caller:
        caller.sendall(request(calling="STRANGER"))
        assert caller.recv(100) == struct.pack(">BxLxBBB", 3, 4, 1, 1, 3)
        assert caller.recv(1) == b""
        ((titles, address, _),) = room.rejected
        assert (titles.calling_ae, address) == ("STRANGER", "127.0.0.1")


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">BxL", 4, 100),
        struct.pack(">BxL", 1, MAX_REQUEST_BYTES + 1),
        b"\xff" * 64,
    ],
)
def test_what_is_no_request_is_answered_by_an_abort_before_a_byte_more_is_read(opening: bytes) -> None:
    with waiting_room() as room, room.call() as caller:
        caller.sendall(opening)
        assert caller.recv(10)[0] == 7
        assert caller.recv(1) == b""
        assert room.admitted == []


def test_a_refused_caller_may_close_the_connection_itself_and_is_let_go_when_it_does_not() -> None:
    with waiting_room() as room, room.call() as polite, room.call() as stubborn:
        for caller in (polite, stubborn):
            caller.sendall(request(calling="STRANGER"))
            assert caller.recv(100)[0] == 3
        # It would fail if the other end were closed already.
        polite.shutdown(socket.SHUT_RDWR)
        for _ in range(3):
            stubborn.sendall(b"and another thing")
        assert eventually(lambda: _is_closed(stubborn))


def _is_closed(caller: socket.socket) -> bool:
    """Whether the other end is closed, both ways: then something that is sent is answered by a reset."""
    try:
        caller.sendall(b"and another thing")
    except OSError:
        return True
    return False


def test_whoever_says_nothing_is_sent_away_in_time() -> None:
    with waiting_room(request_timeout_s=0.5) as room, room.call() as caller:
        caller.send(request()[:20])
        assert caller.recv(1) == b""


def test_a_crowd_from_one_address_does_not_shut_out_another() -> None:
    with waiting_room(most_waiting=8) as room, contextlib.ExitStack() as crowd:
        early = crowd.enter_context(room.call())
        early.send(request()[:30])
        for _ in range(40):
            crowd.enter_context(room.call(source="127.0.0.2"))
        early.sendall(request()[30:])
        assert eventually(lambda: len(room.admitted) == 1)


def test_whoever_is_refused_again_and_again_is_not_listened_to_and_a_peer_s_address_always_is() -> None:
    with waiting_room() as room:
        for source in ("127.0.0.3", "127.0.0.1"):
            for _ in range(WITH_REFUSED.in_a_row):
                with room.call(source=source) as caller:
                    caller.sendall(request(calling="STRANGER"))
                    caller.recv(100)
        with room.call(source="127.0.0.3") as caller, contextlib.suppress(ConnectionError):
            assert caller.recv(1) == b"", "closed unread"
        with room.call() as caller:
            caller.sendall(request())
            assert eventually(lambda: len(room.admitted) == 1)


def test_lockout_ends_with_time_and_forgets_the_longest_unheard() -> None:
    lockout = Lockout(WITH_REFUSED)
    for _ in range(WITH_REFUSED.in_a_row):
        lockout.note("10.0.0.1", 0.0)
    assert lockout.is_locked_out("10.0.0.1", 0.0)
    assert not lockout.is_locked_out("10.0.0.2", 0.0)
    assert not lockout.is_locked_out("10.0.0.1", 1.0 / WITH_REFUSED.then_per_s)
    for number in range(MOST_ADDRESSES):
        lockout.note(f"host-{number}", 1.0)
    assert not lockout.is_locked_out("10.0.0.1", 1.0)


def ended(room: Room, count: int, at_s: float, *, was_released: bool = False, has_stored: bool = False) -> None:
    """So many associations begin, and end at once."""
    for _ in range(count):
        call = room.ledger.admit(TITLES, "127.0.0.1", lambda *_: Admit(peer="ct", permissions=frozenset()))
        assert isinstance(call, Call)
        call.has_stored = has_stored
        room.ledger.close(call, at_s, was_released=was_released)


def test_after_many_associations_that_came_to_nothing_the_next_one_waits_and_no_other_address() -> None:
    far_off_s = time.monotonic() + 3600.0
    with waiting_room() as room, room.call() as caller, room.call(source="127.0.0.2") as other:
        ended(room, 3 * WITH_UNUSED.in_a_row, far_off_s, was_released=True)
        ended(room, 3 * WITH_UNUSED.in_a_row, far_off_s, has_stored=True)
        assert not room.ledger.must_wait("127.0.0.1", far_off_s)
        ended(room, WITH_UNUSED.in_a_row, far_off_s)
        assert room.ledger.must_wait("127.0.0.1", far_off_s)
        assert not room.ledger.must_wait("127.0.0.1", far_off_s + 2.0 / WITH_UNUSED.then_per_s)

        caller.sendall(request())
        other.sendall(request())
        assert eventually(lambda: [one.address[0] for one in room.admitted] == ["127.0.0.2"])


def test_who_had_to_wait_comes_in_when_its_time_has_come() -> None:
    with waiting_room() as room, room.call() as caller:
        ended(room, WITH_UNUSED.in_a_row + 10, time.monotonic())
        caller.sendall(request())
        assert eventually(lambda: len(room.admitted) == 1)
        assert room.admitted[0].received == request()


def test_who_waits_for_too_long_is_sent_away() -> None:
    with waiting_room(request_timeout_s=0.5) as room, room.call() as caller:
        ended(room, WITH_UNUSED.in_a_row, time.monotonic() + 3600.0)
        caller.sendall(request())
        assert caller.recv(1) == b""
        assert room.admitted == []


@given(st.binary(max_size=600))
def test_whatever_comes_is_a_request_or_a_breach(content: bytes) -> None:
    try:
        titles = check_request(content)
    except UpperLayerError:
        return
    assert len(content) >= 68
    assert len(titles.calling_ae) <= 16


def beats(room: Room) -> int:
    """Signs of life that the node hears of now."""
    room.metrics.tell()
    return Counts.from_bytes(room.node.recv(LARGEST_MESSAGE_BYTES)).beats


def test_a_room_that_is_idle_gives_signs_of_life_and_one_that_is_stuck_gives_none() -> None:
    """Whoever tells of them goes on; a deadlock of the room alone is heard, too."""
    with waiting_room() as room:
        before = beats(room)
        assert eventually(lambda: beats(room) > before)
        with room.ledger._lock, room.call() as caller:
            caller.sendall(request())
            time.sleep(1.0)
            stuck = beats(room)
            time.sleep(1.0)
            assert beats(room) == stuck
        assert eventually(lambda: beats(room) > stuck)
        assert eventually(lambda: len(room.admitted) == 1)
