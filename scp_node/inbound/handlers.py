"""What each event of the network library does: it is taken apart here; intake and store decide."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from scp_node.dimse.services import STORAGE_COMMITMENT
from scp_node.dimse.statuses import (
    SUCCESS,
    UNRECOGNISED_OPERATION,
)
from scp_node.errors import UnreadableObjectError
from scp_node.inbound.contexts import Contexts
from scp_node.inbound.guard import Reject
from scp_node.inbound.intake import Answer, Intake, Store
from scp_node.inbound.ledger import Call, Ledger
from scp_node.inbound.metrics import ReceiverMetrics
from scp_node.inbound.notices import Ended, NoticeWriter, Refused
from scp_node.inbound.reports import MOST_USELESS, CommitmentReports
from scp_node.inbound.upper_layer import Titles
from scp_node.journal import journal

if TYPE_CHECKING:
    from scp_node.inbound.associations import CalledAssociation

MAX_COMMENT_CHARACTERS = 64
"""Error Comment is of VR LO."""


class Handlers:
    """The node's side of every association of one receiver.

    Parameters
    ----------
    contexts, ledger, intake, notices, metrics
        The parts that decide and act.
    reports : CommitmentReports
        Takes reports of storage commitment.
    """

    def __init__(
        self,
        *,
        contexts: Contexts,
        ledger: Ledger,
        intake: Intake,
        notices: NoticeWriter,
        metrics: ReceiverMetrics,
        reports: CommitmentReports,
    ) -> None:
        self._contexts = contexts
        self._ledger = ledger
        self._intake = intake
        self._notices = notices
        self._metrics = metrics
        self._reports = reports
        self._journal = journal("inbound")

    def bound(self) -> list[tuple[evt.EventType, Callable[[evt.Event], object]]]:
        """What is bound to each association."""
        return [
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

    def handle_rejection(self, titles: Titles, address: str, decision: Reject) -> None:
        """A caller was rejected; its titles are journalled, because they are what the administrator needs."""
        numbers = f"{decision.result}/{decision.source}/{decision.reason}"
        self._journal.warning(
            "association rejected",
            reason=decision.why,
            calling_ae=titles.calling_ae,
            called_ae=titles.called_ae,
            address=address,
        )
        self._notices.tell(Refused(peer="", status=f"A-ASSOCIATE-RJ {numbers}", reason=decision.why))

    def handle_request(self, event: evt.Event) -> None:
        """Say what an admitted caller is offered."""
        association = event.assoc
        call = _call_of(event)
        role = association.requestor.role_selection.get(STORAGE_COMMITMENT)
        association.acceptor.supported_contexts = self._contexts.accepted(
            call.admitted.permissions, commitment_as_provider=None if role is None else bool(role.scp_role)
        )
        self._metrics.open_associations(self._ledger.open_count)
        self._journal.info("association", peer=call.peer, calling_ae=call.calling_ae, called_ae=call.called_ae)

    def handle_end(self, event: evt.Event) -> None:
        """Forget the association, however it ended."""
        association = cast("CalledAssociation", event.assoc)
        self.forget(association.call, event.event.name, was_released=association.release_asked)

    def forget(self, call: Call, how: str, *, was_released: bool) -> None:
        """Strike a call off and tell the recorder, once."""
        if not self._ledger.close(call, time.monotonic(), was_released=was_released):
            return
        self._metrics.open_associations(self._ledger.open_count)
        if call.has_stored:
            self._notices.tell(Ended(call=call.number))
        self._journal.info("association ended", peer=call.peer, what=how)

    def handle_breach(self, call: Call, reason: str) -> None:
        """The peer broke the protocol, dawdled, or was cut off."""
        self._metrics.ended_for(reason)
        self._journal.warning("association ended by us", peer=call.peer, reason=reason)

    # --- services ---

    def handle_echo(self, event: evt.Event) -> int:
        """C-ECHO."""
        return SUCCESS

    def begin_store(self, call: Call, sop_class_uid: str, sop_instance_uid: str, context: tuple[str, str]) -> Store:
        """Begin to take an object; ``context`` is its abstract and its transfer syntax."""
        return self._intake.begin(
            call,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            context_class_uid=context[0],
            transfer_syntax_uid=context[1],
        )

    def handle_store(self, event: evt.Event) -> Dataset | int:
        """C-STORE of an unusual form, which the library put together; the lane takes all others."""
        request = cast(C_STORE, event.request)
        context = (str(event.context.abstract_syntax), str(event.context.transfer_syntax))
        store = self.begin_store(
            _call_of(event), str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), context
        )
        if request.DataSet is None:
            store.refuse(UnreadableObjectError.status, "the command came without a data set")
        answer = store.finish([request.DataSet.getvalue()] if request.DataSet is not None else [])
        return _status(answer)

    def handle_action(self, event: evt.Event) -> tuple[int, None]:
        """N-ACTION: this node is no archive and commits to nothing."""
        self._journal.warning(
            "storage commitment was asked of us and refused", calling_ae=event.assoc.requestor.ae_title
        )
        return UNRECOGNISED_OPERATION, None

    def handle_event_report(self, event: evt.Event) -> tuple[int, None]:
        """N-EVENT-REPORT of storage commitment: a row, on which the sender of the request acts."""
        call = _call_of(event)
        status = self._reports.take(event, call)
        if call.useless_reports > MOST_USELESS:
            self.handle_breach(call, "commitment reports without use, one after the other")
            event.assoc.abort()
        return status, None


def _call_of(event: evt.Event) -> Call:
    association = cast("CalledAssociation", event.assoc)
    return association.call


def _status(answer: Answer) -> Dataset | int:
    if answer.status == SUCCESS:
        return SUCCESS
    status = Dataset()
    status.Status = answer.status
    status.ErrorComment = answer.comment[:MAX_COMMENT_CHARACTERS]
    return status
