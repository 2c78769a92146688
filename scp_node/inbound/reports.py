"""Reports of storage commitment that come to our port (N-EVENT-REPORT, PS3.4 J.3.3).

The network library serves a request by the class that it names, whatever context it came in; here only the context that
was accepted for storage commitment counts, and so only a peer that may report. It answers what we asked and no more: a
report of another transaction is not written, one too long is not even decoded, and whoever goes on so is cut off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, cast

from scp_node.dimse.commitment_report import CommitmentInbox, ReportedCommitment, read_report
from scp_node.dimse.services import STORAGE_COMMITMENT
from scp_node.dimse.statuses import (
    INVALID_ARGUMENT,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SUCCESS,
    UNRECOGNISED_OPERATION,
)
from scp_node.dimse.text import UNREADABLE
from scp_node.domain.delivery import Noted
from scp_node.errors import StoreError
from scp_node.journal import journal

if TYPE_CHECKING:
    from pynetdicom import evt
    from pynetdicom.dimse_primitives import N_EVENT_REPORT

    from scp_node.inbound.ledger import Call

MAX_INFORMATION_BYTES = 256 << 10
"""500 references, as many as we ask for at once, need 80 kB. Decoded, each byte can take more than a hundred."""
MOST_USELESS = 20
"""On one association. An archive that comes back after years may have a few for which nobody waits any more."""


class CommitmentReports:
    """Takes reports; safe for many threads.

    Parameters
    ----------
    inbox : CommitmentInbox
        Where they go.
    is_ours : (str) -> bool
        Whether we asked under this Transaction UID.
    clock : () -> datetime
        Aware UTC.
    """

    def __init__(self, inbox: CommitmentInbox, is_ours: Callable[[str], bool], clock: Callable[[], datetime]) -> None:
        self._inbox = inbox
        self._is_ours = is_ours
        self._clock = clock
        # One at a time is decoded: reports are rare, and memory is bounded by the largest.
        self._decoding = threading.Lock()
        self._journal = journal("inbound")

    def take(self, event: evt.Event, call: Call) -> int:
        """Take one; the status to answer."""
        if event.context.abstract_syntax != STORAGE_COMMITMENT:
            return self._useless(call, "a commitment report outside its context", UNRECOGNISED_OPERATION)
        information = cast("N_EVENT_REPORT", event.request).EventInformation
        if information is not None and information.getbuffer().nbytes > MAX_INFORMATION_BYTES:
            return self._useless(call, "a commitment report longer than any answer to us", RESOURCE_LIMITATION)
        report = None if information is None else self._read(event)
        if report is None:
            return self._useless(call, "a commitment report names no transaction", INVALID_ARGUMENT)
        if not self._is_ours(report.transaction_uid):
            # With success, or the peer would send it again.
            return self._useless(call, "a commitment report answers none of our requests", SUCCESS)
        return self._note(call, report)

    def _read(self, event: evt.Event) -> ReportedCommitment | None:
        with self._decoding:
            try:
                return read_report(event.event_information)
            except UNREADABLE:
                return None

    def _note(self, call: Call, report: ReportedCommitment) -> int:
        try:
            noted = self._inbox.commitment_reported(
                report.transaction_uid, report.committed_uids, report.failed, self._clock()
            )
        except StoreError as fault:
            self._journal.error("a commitment report could not be written", cause=str(fault))
            return PROCESSING_FAILURE
        if noted is Noted.AGAIN:
            return self._useless(call, "a commitment report came again", SUCCESS)
        if noted is Noted.FULL:
            return self._useless(call, "more commitment reports than anybody reads", RESOURCE_LIMITATION)
        self._journal.info("commitment report", transaction=report.transaction_uid, count=len(report.committed_uids))
        return SUCCESS

    def _useless(self, call: Call, reason: str, status: int) -> int:
        call.useless_reports += 1
        self._journal.warning(reason, peer=call.peer, calling_ae=call.calling_ae)
        return status
