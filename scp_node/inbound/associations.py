"""From an admitted connection to a running association of the library, with our wire and our lane in it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import AE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import AddressInformation, RequestHandler, ThreadedAssociationServer

from scp_node.dimse.services import VERIFICATION
from scp_node.domain.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_node.inbound.commands import StoreRequest
from scp_node.inbound.handlers import Handlers
from scp_node.inbound.intake import Store
from scp_node.inbound.lane import MAX_LIBRARY_BYTES, Allowance, StreamingProvider
from scp_node.inbound.ledger import Call
from scp_node.inbound.reactor import PromptAssociation, PromptProvider
from scp_node.inbound.waiting_room import Admitted
from scp_node.inbound.wire import Pace, Wire
from scp_node.settings import ReceivingSettings

if TYPE_CHECKING:
    from pynetdicom.association import Association


class CalledAssociation(PromptAssociation):
    """An association together with what we know of who called."""

    def __init__(self, entity: AE, call: Call, handlers: Handlers, allowance: Allowance) -> None:
        self.call = call
        self._node = handlers

        def provider(association: PromptAssociation) -> PromptProvider:
            return StreamingProvider(association, begin, breach, allowance)

        def breach(reason: str) -> None:
            handlers.handle_breach(call, reason)

        def begin(request: StoreRequest, context: PresentationContext) -> Store:
            syntaxes = (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            return handlers.begin_store(call, request.sop_class_uid, request.sop_instance_uid, syntaxes)

        super().__init__(entity, provider)

    def run_reactor(self) -> None:
        """Serve to the end; however it comes, the call is struck off and the connection closed.

        The library tells of an end only where its state machine reaches one, and leaves the descriptor of a connection
        that the peer has reset to the garbage collector.
        """
        wire = cast("Wire", self.dul.socket)
        connection = wire.socket
        try:
            super().run_reactor()
        finally:
            self.dul.kill_dul()
            # It never began if there was no thread to be had.
            if self.dul.is_alive():
                self.dul.join()
            # The objects of an association refer to each other, and so stay until the garbage collector comes.
            wire.release()
            self.dimse.message = None
            self.dimse.msg_queue.queue.clear()
            if connection is not None:
                connection.close()
            self._node.forget(self.call, "the end of its thread", was_released=self.release_asked)


class _Starter(RequestHandler):
    """Makes the association of one admitted connection; the library calls it in place of its own."""

    request: Admitted
    server: Associations

    def _create_association(self) -> Association:
        admitted, server = self.request, self.server
        association = CalledAssociation(self.ae, admitted.call, server.handlers, server.allowance)
        association._server = server
        # The library knows the acceptors of a server by this name.
        association.name = f"AcceptorThread@{admitted.call.number}"
        association.set_socket(Wire(association, admitted.connection, admitted.received, server.pace))
        acceptor = association.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        # Nothing is offered before the request was looked at; see Handlers.handle_request.
        acceptor.supported_contexts = []
        association.requestor.address_info = AddressInformation.from_tuple(admitted.address)
        for event, handler in server.handlers.bound():
            association.bind(event, handler)
        return association


class Associations(ThreadedAssociationServer):
    """The library's server without its accepting: connections come from the waiting room.

    Made by :func:`make_associations`.
    """

    def __init__(self, *args: Any, listening: socket.socket, handlers: Handlers, pace: Pace, **kwargs: Any) -> None:
        self._listening = listening
        self.handlers = handlers
        self.pace = pace
        self.allowance = Allowance(MAX_LIBRARY_BYTES)
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        """Only learn the address; nothing is bound here."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._listening
        self.server_address = self._listening.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def begin(self, admitted: Admitted) -> None:
        """Begin the association of an admitted connection, in threads of its own."""
        try:
            admitted.connection.setblocking(True)
            self.service_actions()
            self.finish_request(admitted, admitted.address)  # type: ignore[arg-type]
        except (OSError, RuntimeError) as fault:
            # The caller is gone already, or there is no thread to be had; it will call again.
            self.handlers.handle_breach(admitted.call, f"the association could not begin: {type(fault).__name__}")
            self.handlers.forget(admitted.call, "never begun", was_released=False)
            admitted.connection.close()

    def abort_all(self) -> None:
        """End every association at once; their senders send again."""
        for association in self.active_associations:
            association.abort()


def make_associations(receiving: ReceivingSettings, listening: socket.socket, handlers: Handlers) -> Associations:
    """A server for the associations of one receiver.

    Parameters
    ----------
    receiving : ReceivingSettings
        Titles, sizes and time limits.
    listening : socket.socket
        Tells the address.
    handlers : Handlers
        What events do.
    """
    entity = AE(receiving.ae_titles[0])
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = receiving.maximum_pdu_bytes
    entity.network_timeout = receiving.network_timeout_s
    entity.acse_timeout = receiving.network_timeout_s
    entity.dimse_timeout = receiving.network_timeout_s
    # The guard counts and rejects; the library's own limit must not come before it.
    entity.maximum_associations = 1_000_000
    pace = Pace(
        silence_s=receiving.network_timeout_s,
        grace_s=receiving.message_grace_s,
        least_bytes_per_s=receiving.slowest_kib_per_s * 1024,
    )
    made: Callable[..., Associations] = entity.make_server  # type: ignore[assignment]
    return made(
        listening.getsockname(),
        contexts=[build_context(VERIFICATION)],
        server_class=Associations,
        request_handler=_Starter,
        listening=listening,
        handlers=handlers,
        pace=pace,
    )
