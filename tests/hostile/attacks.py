"""What malicious peers do. Each attack lasts as long as its ``with`` block; honest senders work inside it.

Attackers call from 127.0.0.2, where a peer CT_2 may send, or as strangers. To add an attack, add a line to
:data:`ATTACKS`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.hostile.raw_peer import (
    ABORT,
    APPLICATION_CONTEXT,
    COMMAND,
    LAST,
    LONG_ELEMENT,
    SUCCESS,
    USER_INFORMATION,
    RawPeer,
    associate_request,
    closing_all,
    element,
    item,
    new_uid,
    padded,
    pdu,
    pdv,
    presentation_context,
    small_object,
    store_command,
    store_message,
)

SILENT = 20
LORISES = 4
IDLE = 5000
CRUMBLING, CRUMBS = 6, 20_000
DRIP_S = 1.0
FLOOD_BYTES = 32 << 20
AGAIN_S = 0.05


@dataclass(slots=True)
class Field:
    """What an attack did, for the one who counts afterwards."""

    port: int
    acknowledged: set[str] = field(default_factory=set)
    """SOP instances that were answered with success."""
    cut_off: int = 0
    """Attackers whose connection was ended."""
    connections: int = 0
    idle_connections: int = IDLE
    patience_s: float = 20.0
    """How long an attacker waits to be cut off."""


Attack = Callable[[Field], contextlib.AbstractContextManager[object]]


def silent(scene: Field) -> contextlib.AbstractContextManager[object]:
    """Connect and say nothing."""
    scene.connections += SILENT
    return closing_all([RawPeer.call(scene.port) for _ in range(SILENT)])


def idle(scene: Field) -> contextlib.AbstractContextManager[object]:
    """Thousands of silent connections, from the honest sender's own address; some are ended at once to make room."""
    peers: list[RawPeer] = []
    for _ in range(scene.idle_connections):
        with contextlib.suppress(OSError):
            peers.append(RawPeer.call(scene.port, address="127.0.0.1"))
    scene.connections += len(peers)
    return closing_all(peers)


@contextlib.contextmanager
def _repeated(act: Callable[[], None], *, every_s: float = AGAIN_S) -> Iterator[None]:
    """Do something again and again in a thread, at least once."""
    done = threading.Event()
    faults: list[BaseException] = []

    def run() -> None:
        try:
            while True:
                act()
                if done.wait(every_s):
                    return
        except AssertionError as fault:
            faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not faults, faults


def loris(stage: str) -> Attack:
    """Say a little, then one byte now and then, for ever; or nothing more, where a message has not begun."""
    instance = new_uid()
    command, dataset = store_command(instance), small_object(instance, pixel_bytes=100_000)
    begins = {
        "before the PDU header": (True, b""),
        "within the A-ASSOCIATE-RQ": (False, associate_request()[:40]),
        "within a PDU header": (True, b"\4"),
        "within a command": (True, pdu(pdv(command, COMMAND | LAST))[:40]),
        "within a data set": (True, store_message(command, dataset)[:5000]),
    }
    is_associated, begun = begins[stage]

    @contextlib.contextmanager
    def attack(scene: Field) -> Iterator[None]:
        count = LORISES if is_associated else SILENT
        call = RawPeer.associated if is_associated else RawPeer.call
        with closing_all([call(scene.port) for _ in range(count)]) as peers:
            scene.connections += count
            for peer in peers:
                peer.send(begun)
            left = list(peers)

            def drip() -> None:
                for peer in list(left):
                    if not _drips(peer, begun):
                        left.remove(peer)
                        scene.cut_off += 1

            with _repeated(drip, every_s=DRIP_S):
                yield

    return attack


def _drips(peer: RawPeer, begun: bytes) -> bool:
    """Whether the receiver still listens."""
    if not begun:
        return not peer.is_ended(within_s=0.01)
    try:
        peer.connection.send(b"\0", socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def sends(content: Callable[[], bytes], *, associated: bool = True) -> Attack:
    """Call, send bytes that no receiver can take, and want to be cut off; then again."""

    def attack(scene: Field) -> contextlib.AbstractContextManager[object]:
        def act() -> None:
            call = RawPeer.associated if associated else RawPeer.call
            with closing_all([call(scene.port)]) as (peer,):
                scene.connections += 1
                peer.send_what_is_taken(content())
                assert peer.is_ended(within_s=scene.patience_s), "nobody ended the attack"
                scene.cut_off += 1

        return _repeated(act)

    return attack


def _command_and(*parts: bytes) -> bytes:
    return pdu(pdv(store_command(new_uid()), COMMAND | LAST)) + b"".join(parts)


def _huge_request() -> bytes:
    return associate_request(claimed_bytes=0xFFFFFFFF) + bytes(FLOOD_BYTES)


def _huge_data() -> bytes:
    return b"\4\0\xff\xff\xff\xff" + bytes(FLOOD_BYTES)


def _pdu_inside_pdu() -> bytes:
    inner = store_message(store_command(new_uid()), small_object(new_uid()))
    return _command_and(pdu(pdv(bytes(50), 0), inner))


def _request_inside_object() -> bytes:
    return _command_and(pdu(pdv(bytes(50), 0)), associate_request(), pdu(pdv(bytes(50), LAST)))


def _last_fragment_first() -> bytes:
    dataset = small_object(new_uid())
    return _command_and(pdu(pdv(dataset[50:], LAST), pdv(dataset[:50], 0)))


def _data_before_command() -> bytes:
    instance = new_uid()
    data, command = pdu(pdv(small_object(instance), LAST)), pdu(pdv(store_command(instance), COMMAND | LAST))
    return data + command


def _interleaved_contexts() -> bytes:
    return _command_and(pdu(pdv(bytes(50), 0)), pdu(pdv(bytes(50), 0, context_id=3)), pdu(pdv(bytes(50), LAST)))


def _command_within_object() -> bytes:
    return _command_and(pdu(pdv(bytes(50), 0)), _command_and(pdu(pdv(bytes(50), LAST))))


def _unknown_context() -> bytes:
    instance = new_uid()
    command = pdv(store_command(instance), COMMAND | LAST, context_id=77)
    return pdu(command) + pdu(pdv(small_object(instance), LAST, context_id=77))


def _command_without_field() -> bytes:
    command = element(0x0002, padded("1.2.840.10008.1.1")) + element(0x0800, b"\1\1")
    return pdu(pdv(command[:10], COMMAND)) + pdu(pdv(command[10:], COMMAND | LAST))


def _command_of_rubbish() -> bytes:
    return pdu(pdv(b"\xff" * 40, COMMAND)) + pdu(pdv(b"\xff" * 40, COMMAND | LAST))


def _endless_command() -> bytes:
    return pdu(pdv(bytes(16_000), COMMAND)) * ((96 << 20) // 16_000)


def _endless_object_by_the_slow_path() -> bytes:
    return pdu(pdv(store_command(new_uid(), extra=LONG_ELEMENT), COMMAND | LAST)) + pdu(pdv(bytes(16_000), 0)) * (
        (96 << 20) // 16_000
    )


def _many_contexts() -> bytes:
    return associate_request(APPLICATION_CONTEXT + presentation_context(1, ["1.2"]) * 2000 + USER_INFORMATION)


def _many_syntaxes() -> bytes:
    return associate_request(APPLICATION_CONTEXT + presentation_context(1, ["1.2"] * 5000) + USER_INFORMATION)


def _many_user_items() -> bytes:
    return associate_request(
        APPLICATION_CONTEXT + presentation_context(1, ["1.2"]) + item(0x50, item(0x54, b"") * 9000)
    )


def _nested_lengths() -> bytes:
    context = item(0x20, bytes([1, 0, 0, 0]) + item(0x30, b"1.2", claimed_bytes=60_000))
    return associate_request(APPLICATION_CONTEXT + context + USER_INFORMATION)


def message_id_reuse(scene: Field) -> contextlib.AbstractContextManager[object]:
    """Several objects under one message ID, sent without waiting; each is answered for itself."""

    def act() -> None:
        with closing_all([RawPeer.associated(scene.port)]) as (peer,):
            scene.connections += 1
            instances = [new_uid() for _ in range(4)]
            peer.send(b"".join(store_message(store_command(one), small_object(one)) for one in instances))
            for one in instances:
                assert peer.status() == SUCCESS
                scene.acknowledged.add(one)

    return _repeated(act)


def crumbs(scene: Field) -> contextlib.AbstractContextManager[object]:
    """Objects that come byte by byte, each in a PDU of its own, on several associations; taken, and no burden."""

    def act() -> None:
        with closing_all([RawPeer.associated(scene.port) for _ in range(CRUMBLING)]) as peers:
            scene.connections += CRUMBLING
            instances = [new_uid() for _ in peers]
            threads = [
                threading.Thread(target=peer.send, args=(store_message(store_command(one), dataset, fragment_bytes=1),))
                for peer, one in zip(peers, instances, strict=True)
                for dataset in [small_object(one, pixel_bytes=CRUMBS)]
            ]
            for thread in threads:
                thread.start()
            for thread, peer, one in zip(threads, peers, instances, strict=True):
                thread.join()
                assert peer.status() == SUCCESS
                scene.acknowledged.add(one)

    return _repeated(act)


def right_title_from_another_address(scene: Field) -> contextlib.AbstractContextManager[object]:
    """The title of a peer, from where that peer is not; rejected by name and number."""

    def act() -> None:
        with closing_all([RawPeer.call(scene.port)]) as (peer,):
            scene.connections += 1
            peer.send(associate_request(calling="CT_1"))
            kind, content = peer.answer()
            # A-ASSOCIATE-RJ: permanent, by the user, calling title not recognised.
            assert (kind, content[1:4]) == (3, b"\1\1\3")
            scene.cut_off += 1

    return _repeated(act)


def aborts(
    offsets: Sequence[int], how: Callable[[RawPeer], None], *, address: str = "127.0.0.2", calling: str = "CT_2"
) -> Attack:
    """End the association after so many bytes of a C-STORE, one association for each offset."""

    @contextlib.contextmanager
    def attack(scene: Field) -> Iterator[None]:
        def act() -> None:
            for offset in offsets:
                instance = new_uid()
                message = store_message(store_command(instance), small_object(instance), fragment_bytes=60)
                peer = RawPeer.associated(scene.port, address=address, calling=calling)
                scene.connections += 1
                with closing_all([peer]):
                    peer.send(message[:offset])
                    how(peer)

        thread = threading.Thread(target=act)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    return attack


def by_closing(peer: RawPeer) -> None:
    """TCP's end; nothing else is said."""
    peer.close()


def by_abort(peer: RawPeer) -> None:
    """An A-ABORT, which counts as such wherever a PDU may begin."""
    peer.send_what_is_taken(ABORT)


MESSAGE_BYTES = len(store_message(store_command(new_uid()), small_object(new_uid()), fragment_bytes=60))
"""Of what :func:`aborts` cuts."""

STAGES = (
    "before the PDU header",
    "within the A-ASSOCIATE-RQ",
    "within a PDU header",
    "within a command",
    "within a data set",
)

ATTACKS: dict[str, Attack] = {
    "silent clients": silent,
    "idle connections": idle,
    **{f"slow loris {stage}": loris(stage) for stage in STAGES},
    "A-ASSOCIATE-RQ of 4 GiB": sends(_huge_request, associated=False),
    "many contexts": sends(_many_contexts, associated=False),
    "many transfer syntaxes": sends(_many_syntaxes, associated=False),
    "many user items": sends(_many_user_items, associated=False),
    "nested lengths that do not fit": sends(_nested_lengths, associated=False),
    "P-DATA-TF beyond the maximum": sends(_huge_data),
    "PDU inside PDU": sends(_pdu_inside_pdu),
    "A-ASSOCIATE-RQ inside an object": sends(_request_inside_object),
    "last fragment first": sends(_last_fragment_first),
    "data before command": sends(_data_before_command),
    "interleaved contexts": sends(_interleaved_contexts),
    "command within an object": sends(_command_within_object),
    "a context that was not accepted": sends(_unknown_context),
    "command without command field": sends(_command_without_field),
    "command of rubbish": sends(_command_of_rubbish),
    "endless command": sends(_endless_command),
    "endless object by the slow path": sends(_endless_object_by_the_slow_path),
    "message ID reuse": message_id_reuse,
    "objects in crumbs": crumbs,
    "right title from another address": right_title_from_another_address,
}
