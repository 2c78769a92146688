"""The library's reactor never takes the answer to our own request, however busy the machine is."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association

from scp_node.dimse.services import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, VERIFICATION
from scp_node.outbound.link import Terms, linked
from scp_node.outbound.pause import Pause
from tests.node.network import eventually


@pytest.fixture
def echoing_port() -> Iterator[int]:
    entity = AE("ECHO")
    entity.add_supported_context(VERIFICATION)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _event: 0x0000)])
    assert server is not None
    yield int(server.server_address[1])
    server.shutdown()


def terms(port: int) -> Terms:
    return Terms(
        peer="echo",
        host="127.0.0.1",
        port=port,
        called_ae="ECHO",
        calling_ae="US",
        connect_timeout_s=5.0,
        response_timeout_s=20.0,
    )


class SlowToLeave(threading.Event):
    """A checkpoint at which the reactor is interrupted just when it leaves, as a busy machine does at random."""

    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        time.sleep(0.3)
        return passed


def interrupt(link: Association) -> None:
    """Interrupt the reactor on leaving its checkpoint, and ourselves between request and answer."""
    slow = SlowToLeave()
    slow.set()
    link._reactor_checkpoint = slow
    send_msg = link.dimse.send_msg

    def send_and_be_interrupted(primitive: Any, context_id: int) -> None:
        send_msg(primitive, context_id)
        time.sleep(0.8)

    link.dimse.send_msg = send_and_be_interrupted  # type: ignore[method-assign]
    time.sleep(0.1)


@pytest.mark.parametrize("paused", [True, False])
def test_no_answer_is_lost_to_the_reactor_while_it_is_paused(paused: bool, echoing_port: int) -> None:
    entity = AE("US")
    entity.dimse_timeout = 1
    entity.add_requested_context(VERIFICATION)
    link = entity.associate("127.0.0.1", echoing_port)
    assert link.is_established
    interrupt(link)
    pause = Pause.of(link) if paused else None

    answer = link.send_c_echo()

    # The library alone loses it. When it no longer does, the pause can go.
    assert ("Status" in answer) == paused
    link.abort()
    if pause is not None:
        pause.end()


def test_the_reactor_stands_while_we_ask_and_ends_with_the_association(echoing_port: int) -> None:
    with linked(terms(echoing_port), [(VERIFICATION, ImplicitVRLittleEndian)]) as link:
        reactor = link.association
        assert reactor.is_alive()
        assert reactor._is_paused
        link.association.send_c_echo()
        assert reactor._is_paused

    reactor.join(timeout=10)
    assert not reactor.is_alive()
    assert not any(thread is reactor for thread in threading.enumerate())


def test_a_block_that_raises_aborts_and_leaves_no_thread(echoing_port: int) -> None:
    class StopError(Exception):
        pass

    links: list[Association] = []

    def use_and_stop() -> None:
        with linked(terms(echoing_port), [(VERIFICATION, ImplicitVRLittleEndian)]) as link:
            links.append(link.association)
            raise StopError

    with pytest.raises(StopError):
        use_and_stop()
    (reactor,) = links
    reactor.join(timeout=10)
    assert reactor.is_aborted
    assert not reactor.is_alive()


@pytest.fixture
def reporting() -> Iterator[tuple[int, list[int | None]]]:
    """Port of a peer that asks something of its caller as soon as there is an association, and what it was answered."""
    answers: list[int | None] = []

    def ask(event: evt.Event) -> None:
        report = Dataset()
        report.TransactionUID = "1.2.3"

        def send() -> None:
            # The library tells of an association before it has accepted it.
            time.sleep(0.2)
            answer, _ = event.assoc.send_n_event_report(report, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
            answers.append(answer.get("Status"))

        threading.Thread(target=send).start()

    entity = AE("PACS")
    entity.dimse_timeout = 5
    entity.add_supported_context(STORAGE_COMMITMENT)
    entity.add_supported_context(VERIFICATION)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_ESTABLISHED, ask)])
    assert server is not None
    yield int(server.server_address[1]), answers
    server.shutdown()


def test_the_peer_gets_our_response_before_we_release(reporting: tuple[int, list[int | None]]) -> None:
    port, answers = reporting
    being_served = threading.Event()

    def take_slowly(_event: evt.Event) -> tuple[int, None]:
        being_served.set()
        time.sleep(0.5)
        return 0x0000, None

    proposals = [(STORAGE_COMMITMENT, ImplicitVRLittleEndian)]
    with linked(terms(port), proposals, handlers=[(evt.EVT_N_EVENT_REPORT, take_slowly)]) as link:
        link.let_peer_ask()
        assert being_served.wait(5)

    assert link.association.is_released
    assert eventually(lambda: answers == [0x0000])


def test_a_report_while_we_ask_holds_nobody_up(reporting: tuple[int, list[int | None]]) -> None:
    port, answers = reporting
    served = threading.Event()

    def take(_event: evt.Event) -> tuple[int, None]:
        served.set()
        return 0x0000, None

    proposals = [(STORAGE_COMMITMENT, ImplicitVRLittleEndian), (VERIFICATION, ImplicitVRLittleEndian)]
    with linked(terms(port), proposals, handlers=[(evt.EVT_N_EVENT_REPORT, take)]) as link:
        assert served.wait(5)
        assert eventually(lambda: answers == [0x0000])
        # The library alone waits here for ever: it believes that the reactor, which stands, is under way.
        assert link.association.send_c_echo().Status == 0x0000

    assert link.association.is_released


def test_who_takes_too_long_over_a_report_is_not_waited_for(reporting: tuple[int, list[int | None]]) -> None:
    port, _ = reporting
    being_served, may_end = threading.Event(), threading.Event()

    def take_for_ever(_event: evt.Event) -> tuple[int, None]:
        being_served.set()
        may_end.wait(20)
        return 0x0000, None

    proposals = [(STORAGE_COMMITMENT, ImplicitVRLittleEndian)]
    impatient = replace(terms(port), response_timeout_s=3.0)
    with linked(impatient, proposals, handlers=[(evt.EVT_N_EVENT_REPORT, take_for_ever)]) as link:
        link.let_peer_ask()
        assert being_served.wait(5)
    assert link.association.is_aborted
    may_end.set()
