"""What each event of the network library does: it is taken apart here; guard, intake and store decide."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime
from typing import cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE

from scp_node.dimse.commitment_report import CommitmentInbox, read_report
from scp_node.dimse.services import STORAGE_COMMITMENT
from scp_node.dimse.statuses import (
    INVALID_ARGUMENT,
    NO_RESOURCES,
    NOT_AUTHORISED,
    NOT_UNDERSTOOD,
    PROCESSING_FAILURE,
    SUCCESS,
    UNRECOGNISED_OPERATION,
    status_text,
)
from scp_node.domain.identifiers import is_uid
from scp_node.errors import IntakeError, StoreError, UnreadableObjectError
from scp_node.inbound.contexts import Contexts
from scp_node.inbound.guard import Admit, Guard, Reject
from scp_node.inbound.intake import Intake, Sending
from scp_node.inbound.ledger import Call, Ledger
from scp_node.journal import journal

FAULT_OF_OURS = NOT_UNDERSTOOD + 0x0FF
"""Whatever this object met in us, it will meet again: the sender shall not try again at once."""

MAX_COMMENT_CHARACTERS = 64
"""Error Comment is of VR LO."""


class Handlers:
    """The node's side of every association of one receiver.

    Parameters
    ----------
    guard, contexts, ledger, intake
        The parts that decide and act.
    commitments : CommitmentInbox
        Where reports of storage commitment go.
    clock : () -> datetime
        Aware UTC; read here, because here is the edge.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        contexts: Contexts,
        ledger: Ledger,
        intake: Intake,
        commitments: CommitmentInbox,
        clock: Callable[[], datetime],
    ) -> None:
        self._guard = guard
        self._contexts = contexts
        self._ledger = ledger
        self._intake = intake
        self._commitments = commitments
        self._clock = clock
        self._journal = journal("inbound")

    def bound(self) -> list[evt.EventHandlerType]:
        """Handlers for the library's ``evt_handlers``."""
        return [
            (evt.EVT_CONN_OPEN, self.handle_connection),
            (evt.EVT_REQUESTED, self.handle_request),
            (evt.EVT_C_ECHO, self.handle_echo),
            (evt.EVT_C_STORE, self.handle_store),
            (evt.EVT_N_ACTION, self.handle_action),
            (evt.EVT_N_EVENT_REPORT, self.handle_event_report),
            (evt.EVT_RELEASED, self.handle_end),
            (evt.EVT_ABORTED, self.handle_end),
            (evt.EVT_CONN_CLOSE, self.handle_end),
        ]

    # --- associations ---

    def handle_connection(self, event: evt.Event) -> None:
        """Answer small messages at once: without this each response waits for the sender's delayed acknowledgement."""
        wire = event.assoc.dul.socket
        if wire is not None and wire.socket is not None:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle_request(self, event: evt.Event) -> None:
        """Admit the caller and say what we offer it, or reject."""
        assoc = event.assoc
        request = cast(A_ASSOCIATE, assoc.requestor.primitive)
        calling_ae, called_ae = request.calling_ae_title.strip(), request.called_ae_title.strip()
        address = assoc.requestor.address

        def decide(open_associations: int) -> Admit | Reject:
            return self._guard.decide(
                calling_ae=calling_ae, called_ae=called_ae, address=address, open_associations=open_associations
            )

        def call(admitted: Admit) -> Call:
            return Call(peer=admitted.peer, calling_ae=calling_ae, called_ae=called_ae, address=address)

        # Nothing is offered before the decision, so that a fault in it ends in an association that can do nothing.
        assoc.acceptor.supported_contexts = []
        decision = self._ledger.admit(assoc, decide, call)
        if isinstance(decision, Reject):
            self._journal.warning(
                "association rejected", reason=decision.why, calling_ae=calling_ae, called_ae=called_ae, address=address
            )
            assoc.acse.send_reject(decision.result, decision.source, decision.reason)
            assoc.kill()
            return
        role = assoc.requestor.role_selection.get(STORAGE_COMMITMENT)
        assoc.acceptor.supported_contexts = self._contexts.accepted(
            decision.permissions, commitment_as_provider=None if role is None else bool(role.scp_role)
        )
        self._journal.info("association", peer=decision.peer, calling_ae=calling_ae, called_ae=called_ae)

    def handle_end(self, event: evt.Event) -> None:
        """Forget the association, however it ended."""
        try:
            call = self._ledger.close(event.assoc)
        except StoreError as fault:
            # The row's lease runs out by itself.
            self._journal.warning("an association could not be struck off", cause=str(fault))
            return
        if call is not None:
            self._journal.info("association ended", peer=call.peer, what=event.event.name)

    # --- services ---

    def handle_echo(self, event: evt.Event) -> int:
        """C-ECHO."""
        return SUCCESS

    def handle_store(self, event: evt.Event) -> Dataset | int:
        """C-STORE: success only when bytes and record are safe."""
        call = self._ledger.call(event.assoc)
        if call is None:
            return _answer(NOT_AUTHORISED, "this association was not admitted")
        request = cast(C_STORE, event.request)
        instance = str(request.AffectedSOPInstanceUID)
        try:
            now = self._clock()
            sending = _sending(event, call, self._ledger.row_of(call, now))
            reception = self._intake.take(sending, now)
        except IntakeError as fault:
            self._refuse(fault.status, fault.reason, call, instance)
            return _answer(fault.status, fault.reason)
        except (StoreError, OSError) as fault:
            self._refuse(NO_RESOURCES, f"{type(fault).__name__}: {fault}", call, instance)
            return _answer(NO_RESOURCES, "the record could not be written; send again")
        except Exception:
            self._journal.exception("a fault that nobody planned", peer=call.peer, status=status_text(FAULT_OF_OURS))
            return _answer(FAULT_OF_OURS, "a fault in the receiving node; see its journal")
        self._journal.debug("stored", instance=instance, reception=reception.value, bytes=len(sending.content))
        return SUCCESS

    def handle_action(self, event: evt.Event) -> tuple[int, None]:
        """N-ACTION: this node is no archive and commits to nothing."""
        self._journal.warning(
            "storage commitment was asked of us and refused", calling_ae=event.assoc.requestor.ae_title
        )
        return UNRECOGNISED_OPERATION, None

    def handle_event_report(self, event: evt.Event) -> tuple[int, None]:
        """N-EVENT-REPORT of storage commitment: a row, on which the sender of the request acts."""
        if self._ledger.call(event.assoc) is None:
            return NOT_AUTHORISED, None
        report = read_report(event.event_information)
        if report is None:
            self._journal.warning("a commitment report names no transaction", calling_ae=event.assoc.requestor.ae_title)
            return INVALID_ARGUMENT, None
        try:
            self._commitments.commitment_reported(
                report.transaction_uid, report.committed_uids, report.failed, self._clock()
            )
        except StoreError as fault:
            self._journal.error("a commitment report could not be written", cause=str(fault))
            return PROCESSING_FAILURE, None
        self._journal.info("commitment report", transaction=report.transaction_uid, count=len(report.committed_uids))
        return SUCCESS, None

    def _refuse(self, status: int, reason: str, call: Call, instance: str) -> None:
        uid = instance if is_uid(instance) else "(not a UID)"
        self._journal.warning("refused", status=status_text(status), reason=reason, peer=call.peer, instance=uid)


def _sending(event: evt.Event, call: Call, association_id: int) -> Sending:
    request = cast(C_STORE, event.request)
    sop_class_uid, sop_instance_uid = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
    if not is_uid(sop_class_uid) or not is_uid(sop_instance_uid):
        raise UnreadableObjectError("the command names no UIDs")
    if request.DataSet is None:
        raise UnreadableObjectError("the command came without a data set")
    return Sending(
        called_ae=call.called_ae,
        calling_ae=call.calling_ae,
        address=call.address,
        association_id=association_id,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=str(event.context.transfer_syntax),
        content=request.DataSet.getvalue(),
    )


def _answer(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:MAX_COMMENT_CHARACTERS]
    return answer
