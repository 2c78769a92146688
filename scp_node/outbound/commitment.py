"""Storage commitment as a user: ask the peer to promise that it holds what it accepted, and act on what it says.

The transaction is noted before the request leaves. The report may come on the same association, at which we wait a
moment, or on a new one that the peer opens to our port; either way it becomes a row first, and is acted on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association

from scp_node.dimse.commitment_report import read_report
from scp_node.dimse.services import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from scp_node.dimse.statuses import (
    CLASS_INSTANCE_CONFLICT,
    DUPLICATE_TRANSACTION,
    INVALID_ARGUMENT,
    RESOURCE_LIMITATION,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    status_text,
)
from scp_node.dimse.transactions import asked_of
from scp_node.domain.delivery import Delivery, DeliveryEvent, Noted
from scp_node.errors import IllegalTransitionError, TransientDeliveryError
from scp_node.journal import journal
from scp_node.outbound.link import Terms, linked
from scp_node.store.deliveries import CommitmentReport, DeliveryStore

MAX_INSTANCES = 500
"""In one request; some archives limit the length of a data set."""
SAME_ASSOCIATION_S = 2.0
"""Peers that report on our association do so at once; those that open their own are not kept waiting by ours."""
_LOOK_S = 0.05
_REQUEST_COMMITMENT = 1
"""Action Type ID (PS3.4 J.3.2)."""

WaitAfter = Callable[[int], float]
"""Seconds to wait after so many attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What reports changed."""

    committed: int = 0
    not_held: int = 0
    refused: int = 0

    def __add__(self, other: Confirmed) -> Confirmed:
        return Confirmed(
            committed=self.committed + other.committed,
            not_held=self.not_held + other.not_held,
            refused=self.refused + other.refused,
        )

    @property
    def anything(self) -> bool:
        """True if any delivery changed."""
        return self != Confirmed()


def ask(terms: Terms, store: DeliveryStore, deliveries: Sequence[Delivery], transaction: str, now: datetime) -> None:
    """Ask for one transaction, and wait a moment for the report.

    Parameters
    ----------
    deliveries : sequence of Delivery
        At most :data:`MAX_INSTANCES`, sent and unproven.
    transaction : str
        Fresh Transaction UID.
    now : datetime
        Aware UTC; the moment that is noted as that of the request.

    Raises
    ------
    TransientDeliveryError, NothingAcceptedError
        If the peer cannot be asked, or refuses. Once there is an association the request is noted, because its report
        may come in any case; only without one nothing is noted, and the peer can be asked again at once.
    """

    def take_report(event: evt.Event) -> tuple[int, None]:
        report = read_report(event.event_information)
        if report is None:
            return INVALID_ARGUMENT, None
        noted = store.commitment_reported(report.transaction_uid, report.committed_uids, report.failed, now)
        return RESOURCE_LIMITATION if noted is Noted.FULL else SUCCESS, None

    proposals = [(STORAGE_COMMITMENT, syntax) for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)]
    with linked(terms, proposals, handlers=[(evt.EVT_N_EVENT_REPORT, take_report)]) as link:
        store.commitment_asked([one.delivery_id for one in deliveries], transaction, now)
        answer, _ = link.association.send_n_action(
            _request(transaction, deliveries), _REQUEST_COMMITMENT, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )
        if "Status" not in answer:
            raise TransientDeliveryError("no answer to the request for storage commitment")
        if answer.Status != SUCCESS:
            raise TransientDeliveryError(f"storage commitment is refused ({status_text(int(answer.Status))})")
        link.let_peer_ask()
        _wait_for_report(link.association, store, transaction)


def _request(transaction: str, deliveries: Sequence[Delivery]) -> Dataset:
    references = []
    for one in deliveries:
        reference = Dataset()
        reference.ReferencedSOPClassUID = one.encoded.sop_class_uid
        reference.ReferencedSOPInstanceUID = one.encoded.sop_instance_uid
        references.append(reference)
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = references
    return request


def _wait_for_report(association: Association, store: DeliveryStore, transaction: str) -> None:
    end_s = time.monotonic() + SAME_ASSOCIATION_S
    while association.is_established and time.monotonic() < end_s:
        if any(report.transaction_uid == transaction for report in store.commitment_reports()):
            return
        time.sleep(_LOOK_S)


# --- acting on reports ------------------------------------------------------------------------------------


def act_on_reports(
    store: DeliveryStore, peer: str, peers: Collection[str], now: datetime, wait_after_s: WaitAfter
) -> Confirmed:
    """Act on every report that answers a request to one peer.

    A promise counts whichever of our requests it answers; a refusal counts only for the newest, because the object
    may have been sent again since. A report that answers no request of ours to any of ``peers`` is closed unread.
    """
    done = Confirmed()
    for report in store.commitment_reports():
        if asked_of(peer, report.transaction_uid):
            for delivery in store.awaiting_commitment(peer):
                done += _act(store, delivery, report, now, wait_after_s)
        elif any(asked_of(other, report.transaction_uid) for other in peers):
            continue
        else:
            journal("outbound").warning(
                "a commitment report answers none of our requests", transaction=report.transaction_uid
            )
        store.report_acted_on(report.report_id)
    return done


def _act(
    store: DeliveryStore, delivery: Delivery, report: CommitmentReport, now: datetime, wait_after_s: WaitAfter
) -> Confirmed:
    uid = delivery.encoded.sop_instance_uid
    try:
        if uid in report.committed_uids:
            store.apply(delivery.delivery_id, DeliveryEvent.COMMITTED, now=now)
            return Confirmed(committed=1)
        if uid in report.failed and delivery.commitment_uid == report.transaction_uid:
            return _act_on_refusal(store, delivery, report.failed[uid], now, wait_after_s)
    except IllegalTransitionError as fault:
        journal("outbound").info("a commitment report came too late", delivery=delivery.delivery_id, state=fault.state)
    return Confirmed()


def _act_on_refusal(
    store: DeliveryStore, delivery: Delivery, reason: int, now: datetime, wait_after_s: WaitAfter
) -> Confirmed:
    """Failure Reasons are those of PS3.3 C.14.1.1."""
    text = status_text(reason)
    if reason == DUPLICATE_TRANSACTION:
        # Says nothing of the object; asked again, under another UID, when the waiting time is over.
        return Confirmed()
    if reason in (SOP_CLASS_NOT_SUPPORTED, CLASS_INSTANCE_CONFLICT):
        cause = f'the peer commits to no object of this class ({text}); verification = "find" may suit it better'
        store.apply(delivery.delivery_id, DeliveryEvent.PERMANENT_FAULT, now=now, cause=cause, status=reason)
        return Confirmed(refused=1)
    cause = f"the peer accepted it and does not hold it ({text}): sent again"
    not_before = now + timedelta(seconds=wait_after_s(delivery.attempts))
    store.apply(
        delivery.delivery_id, DeliveryEvent.NOT_HELD, now=now, cause=cause, status=reason, not_before=not_before
    )
    return Confirmed(not_held=1)
