"""Takes objects, by whichever path they come, and finds the answer for each.

Success is answered only when bytes and seal are on the disk; the recorder is told after that. Every fault becomes a
status here, and nothing of a refused object is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scp_node.dimse.statuses import NO_RESOURCES, NOT_AUTHORISED, NOT_UNDERSTOOD, SUCCESS, status_text
from scp_node.domain.identifiers import is_uid
from scp_node.errors import IntakeError, MismatchedObjectError, UnreadableObjectError
from scp_node.inbound.announcement import Announcement
from scp_node.inbound.header_shapes import HeaderShapes
from scp_node.inbound.incoming import IncomingObject, Piece
from scp_node.inbound.ledger import Call
from scp_node.inbound.metrics import ReceiverMetrics
from scp_node.inbound.notices import NoticeWriter, Refused, Stored
from scp_node.journal import journal
from scp_node.store.spool import Spool

FAULT_OF_OURS = NOT_UNDERSTOOD + 0x0FF
"""Whatever this object met in us, it will meet again: the sender shall not try again at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status and Error Comment of a C-STORE-RSP."""

    status: int
    comment: str = ""


_SUCCESS = Answer(status=SUCCESS)


class Intake:
    """Begins to take one object after the other; safe for many threads.

    Parameters
    ----------
    spool : Spool
        Where the files go.
    notices : NoticeWriter
        Where the recorder hears of them.
    metrics : ReceiverMetrics
        Where they are counted.
    clock : () -> datetime
        Aware UTC.
    """

    def __init__(
        self, spool: Spool, notices: NoticeWriter, metrics: ReceiverMetrics, clock: Callable[[], datetime]
    ) -> None:
        self.spool = spool
        self.notices = notices
        self.metrics = metrics
        self.clock = clock
        self.shapes = HeaderShapes()
        self.journal = journal("inbound")

    def begin(
        self,
        call: Call | None,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        context_class_uid: str,
        transfer_syntax_uid: str,
    ) -> Store:
        """Begin to take an object.

        Parameters
        ----------
        call : Call or None
            The association; ``None`` if it was not admitted.
        sop_class_uid, sop_instance_uid : str
            As the command says, whatever the sender wrote.
        context_class_uid, transfer_syntax_uid : str
            Of the presentation context.
        """
        store = Store(self, call, sop_instance_uid)
        if call is None:
            store.refuse(NOT_AUTHORISED, "this association was not admitted")
        elif not is_uid(sop_class_uid) or not is_uid(sop_instance_uid):
            store.refuse(UnreadableObjectError.status, "the command names no UIDs")
        elif sop_class_uid != context_class_uid:
            store.refuse(MismatchedObjectError.status, "the command's SOP class is not that of its context")
        else:
            store.expect(
                Announcement(
                    called_ae=call.called_ae,
                    calling_ae=call.calling_ae,
                    address=call.address,
                    sop_class_uid=sop_class_uid,
                    sop_instance_uid=sop_instance_uid,
                    transfer_syntax_uid=transfer_syntax_uid,
                )
            )
        return store


class Store:
    """One C-STORE on its way. After a refusal its bytes are still taken from the wire, and dropped."""

    def __init__(self, intake: Intake, call: Call | None, sop_instance_uid: str) -> None:
        self._intake = intake
        self._call = call
        self._instance = sop_instance_uid
        self._announced: Announcement | None = None
        self._incoming: IncomingObject | None = None
        self._refusal: Answer | None = None
        self._taken_bytes = 0

    def expect(self, announced: Announcement) -> None:
        """The request is in order; the data set may come."""
        self._announced = announced
        self._incoming = IncomingObject(announced, self._intake.spool, self._intake.shapes)

    def refuse(self, status: int, reason: str) -> None:
        """Whatever comes, this will be the answer; the first refusal stands."""
        if self._refusal is not None:
            return
        self._refusal = Answer(status=status, comment=reason)
        self.discard()
        peer = self._call.peer if self._call else ""
        # What a sender gives for a UID may be anything, a name too.
        uid = self._instance if is_uid(self._instance) else "(not a UID)"
        self._intake.journal.warning("refused", status=status_text(status), reason=reason, peer=peer, instance=uid)
        self._intake.notices.tell(Refused(peer=peer, status=status_text(status), reason=reason))

    def spill(self, pieces: Sequence[Piece]) -> None:
        """Write out what has come so far."""
        self._taken_bytes += sum(map(len, pieces))
        incoming = self._incoming
        if incoming is not None and self._refusal is None:
            self._guarded(lambda: incoming.spill(pieces))

    def finish(self, pieces: Sequence[Piece]) -> Answer:
        """Take the last pieces; the answer for the sender."""
        incoming, announced, call = self._incoming, self._announced, self._call
        acknowledged_bytes = 0
        if self._refusal is None and incoming is not None and announced is not None and call is not None:
            spool_key = self._guarded(lambda: incoming.finish(pieces, self._intake.clock()))
            if spool_key is not None:
                call.has_stored = True
                acknowledged_bytes = self._taken_bytes + sum(map(len, pieces))
                self._intake.notices.tell(Stored(call=call.number, spool_key=spool_key, announced=announced))
        answer = self._refusal or _SUCCESS
        self._intake.metrics.answered(answer.status, acknowledged_bytes)
        return answer

    def discard(self) -> None:
        """Leave nothing behind; without effect after success."""
        if self._incoming is not None:
            self._incoming.discard()

    def _guarded(self, act: Callable[[], str | None]) -> str | None:
        """Do something with the spool; every fault becomes a refusal."""
        try:
            return act()
        except IntakeError as fault:
            self.refuse(fault.status, fault.reason)
        except OSError as fault:
            self.refuse(NO_RESOURCES, f"the disk refuses ({fault.strerror}); send again")
        except Exception:
            self._intake.journal.exception("a fault that nobody planned", status=status_text(FAULT_OF_OURS))
            self.refuse(FAULT_OF_OURS, "a fault in the receiving node; see its journal")
        return None
