"""The library's association and upper layer provider, woken by events where they would nap a millisecond at a time.

Nothing in the library is patched: both classes are subclassed, and the state machine, negotiation, services and timers
stay the library's. The private names that this rests on are listed in :data:`PRIVATE_NAMES`; a test fails when an
upgrade of the library no longer has them.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.presentation import PresentationContext

    from scp_node.inbound.wire import Wire

LOOK_S = 0.5
"""How often timers are looked at while nothing happens."""
_TIMER_LOOK_S = 0.1
_IDLE_STATE, _ESTABLISHED_STATE, _CLOSING_STATE = "Sta1", "Sta6", "Sta13"
_RELEASE_ASKED, _ABORT_ASKED = "Evt12", "Evt15"
"""States, and the events of an A-RELEASE-RQ that came and of an abort that we want (PS3.8 section 9.2)."""

PRIVATE_NAMES = {
    "pynetdicom.association.Association": (
        "_accepted_cx", "_dul_ready", "_is_paused", "_kill", "_reactor_checkpoint", "_run_reactor", "_serve_request",
        "_server",
    ),
    "pynetdicom.dul.DULServiceProvider": (
        "_idle_timer", "_is_transport_event", "_kill_thread", "_process_recv_primitive", "_read_pdu_data",
    ),
    "pynetdicom.transport.RequestHandler": ("_create_association",),
}  # fmt: skip
"""What we rest on beside the library's public interface; pynetdicom is pinned for their sake."""


class _RingingQueue(queue.Queue[Any]):
    """A queue that wakes its reader."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__()
        self._ring = ring

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._ring()


class PromptProvider(DULServiceProvider):
    """The upper layer provider, waiting for bytes, primitives and timers at once."""

    def __init__(self, assoc: PromptAssociation) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._bell_lock = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.to_provider_queue = _RingingQueue(self.ring)

    @property
    def wire(self) -> Wire:
        """The connection."""
        return cast("Wire", self.socket)

    @property
    def association(self) -> PromptAssociation:
        """The association that this provides for."""
        return cast("PromptAssociation", self.assoc)

    def ring(self) -> None:
        """Wake the reactor."""
        with self._bell_lock:
            if self._bell >= 0:
                with suppress(BlockingIOError):
                    os.eventfd_write(self._bell, 1)

    def kill_dul(self) -> None:
        """End the reactor."""
        super().kill_dul()
        self.ring()

    def stop_dul(self) -> bool:
        """End the reactor if the connection is over; whether it did."""
        if self.state_machine.current_state != _IDLE_STATE:
            self.ring()
            return False
        self._kill_thread = True
        self.ring()
        if threading.current_thread() is not self:
            self.join()
        return True

    def run_reactor(self) -> None:
        """Take primitives, bytes and timers in turn until the association is over."""
        association = self.association
        self._idle_timer.start()
        association._dul_ready.set()
        has_ended = False
        try:
            while not self._kill_thread:
                if self.artim_timer.expired:
                    self.event_queue.put("Evt18")
                if not self._process_recv_primitive() and self._may_read and self._is_transport_event():
                    self._idle_timer.restart()
                try:
                    event = self.event_queue.get(block=False)
                except queue.Empty:
                    self._wait()
                else:
                    self.act_on(event)
                    association.wake()
            has_ended = True
        finally:
            if not has_ended:
                # The fault goes to the thread's hook; the peer is told past the state machine, which is in doubt.
                self._abort_bare()
            with self._bell_lock:
                bell, self._bell = self._bell, -1
            os.close(bell)
            association.wake()

    @property
    def _may_read(self) -> bool:
        """No message waits to be served: nobody may send another one before (PS3.7 annex D.3.3.3 is not offered)."""
        return self.state_machine.current_state != _ESTABLISHED_STATE or self.assoc.dimse.msg_queue.empty()

    def act_on(self, event: str) -> None:
        """Let the state machine act."""
        if event == _RELEASE_ASKED:
            self.association.release_asked = True
        if event == _ABORT_ASKED and self.state_machine.current_state in (_IDLE_STATE, _CLOSING_STATE):
            # It was released or rejected at the same moment; the machine knows no abort of what is over already.
            self._kill_thread = True
            return
        self.state_machine.do_action(event)

    def _abort_bare(self) -> None:
        abort = A_ABORT_RQ()
        abort.source = 0x02
        abort.reason_diagnostic = 0x00
        if self.socket is not None:
            self.socket.send(abort.encode())
        self.assoc.is_aborted = True
        self.assoc.is_established = False
        self.assoc._kill = True
        self._kill_thread = True

    def _is_transport_event(self) -> bool:
        """Read if there is something; while messages come, it is the waiting that tells, and nobody else is asked."""
        if self.state_machine.current_state == _ESTABLISHED_STATE and not self.wire.may_have_bytes:
            return False
        return super()._is_transport_event()

    def _wait(self) -> None:
        waiting = select.poll()
        waiting.register(self._bell, select.POLLIN)
        connection = self.wire.socket
        if connection is not None and connection.fileno() >= 0 and self._may_read:
            waiting.register(connection.fileno(), select.POLLIN)
        timer_runs = self.state_machine.current_state not in (_ESTABLISHED_STATE, _IDLE_STATE)
        for descriptor, _ in waiting.poll(1000 * (_TIMER_LOOK_S if timer_runs else LOOK_S)):
            if descriptor == self._bell:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
            else:
                self.wire.tell_readable()


class PromptAssociation(Association):
    """An association whose reactor sleeps until its provider has something for it.

    Parameters
    ----------
    entity : ApplicationEntity
        Ours.
    provider : (PromptAssociation) -> PromptProvider
        Makes its upper layer provider.
    """

    def __init__(
        self,
        entity: ApplicationEntity,
        provider: Callable[[PromptAssociation], PromptProvider],
    ) -> None:
        self._woken = threading.Event()
        self.release_asked = False
        """The peer has ended it as it should; the library tells of the end of the connection first, now and then."""
        super().__init__(entity, "acceptor")
        self.dul = provider(self)
        # Their setters put them into the provider, which was another one before.
        self.acse_timeout = entity.acse_timeout
        self.network_timeout = entity.network_timeout

    @property
    def max_data_bytes(self) -> int:
        """Longest P-DATA-TF that the peer may send (PS3.8 annex D.1)."""
        return self.acceptor.maximum_length or 0

    def accepted_context(self, context_id: int) -> PresentationContext | None:
        """The presentation context of that number, if it was accepted."""
        return self._accepted_cx.get(context_id)

    def wake(self) -> None:
        """Something has happened."""
        self._woken.set()

    def _run_reactor(self) -> None:
        """Serve messages until release, abort, silence or the end of the provider."""
        self._is_paused = False
        while not self._kill:
            self._is_paused = True
            self._reactor_checkpoint.wait()
            self._is_paused = False
            context_id, message = self.dimse.get_msg(block=False)
            if message is not None and context_id is not None:
                cast("PromptProvider", self.dul).ring()
                self._serve_request(message, context_id)
            elif self._is_over():
                self.kill()
            else:
                self._woken.wait(LOOK_S)
                self._woken.clear()

    def _is_over(self) -> bool:
        """Whether the association ends now; answers a release and reports how it ended."""
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
            return True
        if self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self.is_aborted, self.is_established = True, False
            evt.trigger(self, evt.EVT_ABORTED, {})
            return True
        if not self.dul.is_alive():
            return True
        if self.dul.idle_timer_expired():
            self.abort()
            return True
        return False
