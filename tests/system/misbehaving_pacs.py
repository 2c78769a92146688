"""A PACS that can be told to misbehave: refuse, stall, abort, lie, lose, forward everything back, rename a patient.

It speaks real DICOM on a loopback port. What it does wrong is one value, :class:`Misbehaviour`, which a test replaces
while the PACS runs; the default is a well-behaved archive that reports commitment on an association of its own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.transport import ThreadedAssociationServer

from scp_node.dimse.services import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, STUDY_ROOT_FIND, VERIFICATION
from scp_node.inbound.contexts import STORAGE_CLASSES
from scp_node.outbound.pause import Pause

NO_SUCH_INSTANCE = 0x0112
SYNTAXES: list[str] = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]


class Commitment(StrEnum):
    """How it commits to storage."""

    NEW_ASSOCIATION = "new-association"
    SAME_ASSOCIATION = "same-association"
    NEVER = "never"
    """Accepts the request and never reports."""
    REFUSED = "refused"
    """Answers the request with a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """What it does wrong at the moment."""

    rejects: tuple[int, int, int] | None = None
    """Result, source and reason for every association."""
    refuses_classes: frozenset[str] = frozenset()
    """SOP classes whose presentation contexts it does not accept."""
    store_status: int = 0x0000
    status_by_class: Mapping[str, int] = field(default_factory=dict)
    stalls_s: float = 0.0
    """Waits so long before it answers a C-STORE."""
    aborts_store_number: int | None = None
    """Aborts instead of answering this C-STORE, counted from 1 over its whole life."""
    loses: bool = False
    """Answers success and keeps nothing."""
    lies: bool = False
    """Commits to what it does not hold."""
    commitment: Commitment = Commitment.NEW_ASSOCIATION
    disowns: frozenset[str] = frozenset()
    """SOP Instance UIDs or SOP classes that it does not commit to, nor finds, though it has them."""
    forwards_back: bool = False
    """Sends every object that it receives back to the node."""
    counts: bool = True
    """Tells how many instances a series has; an optional key, which many leave out."""
    files_under: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By Study Instance UID: the patient ID and accession number that it answers to a query."""


WELL_BEHAVED = Misbehaviour()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One object that it keeps."""

    header: Dataset
    content: bytes
    """The data set as it came."""
    transfer_syntax_uid: str


class MisbehavingPacs:
    """The PACS; start it with :func:`misbehaving_pacs`."""

    def __init__(self, ae_title: str, node_port: int, node_ae_title: str = "HAI_NODE") -> None:
        self.misbehaviour = WELL_BEHAVED
        self.ae_title = ae_title
        self.held: dict[str, Held] = {}
        self.arrived: list[str] = []
        """SOP Instance UIDs of every C-STORE that came, in order."""
        self.asked: list[str] = []
        """Transaction UIDs of every request for commitment."""
        self.port = 0
        self._node = (node_port, node_ae_title)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._elsewhere = ThreadPoolExecutor(max_workers=2)
        self._server: ThreadedAssociationServer | None = None

    def start(self, port: int = 0) -> None:
        """Accept; the port of an earlier life may be asked for."""
        entity = AE(self.ae_title)
        entity.network_timeout = 60
        entity.maximum_associations = 50
        for sop_class in STORAGE_CLASSES:
            entity.add_supported_context(sop_class, SYNTAXES)
        for service in (VERIFICATION, STORAGE_COMMITMENT, STUDY_ROOT_FIND):
            entity.add_supported_context(service)
        self._server = entity.start_server(
            ("127.0.0.1", port or self.port),
            block=False,
            evt_handlers=[
                (evt.EVT_REQUESTED, self._requested),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_C_FIND, self._find),
                (evt.EVT_N_ACTION, self._asked),
            ],
        )
        assert self._server is not None
        self.port = int(self._server.server_address[1])

    def go_away(self) -> None:
        """Stop answering, as in an outage; what it holds stays. Ends with :meth:`start`."""
        if self._server is not None:
            for association in self._server.active_associations:
                # One that was rejected waits for its peer to close; an abort is no event of that state.
                if association.is_established:
                    association.abort()
            self._server.shutdown()
            self._server = None

    def end(self) -> None:
        """Stop for good."""
        self._ending.set()
        self._elsewhere.shutdown(wait=True, cancel_futures=True)
        self.go_away()

    def report(self, transaction_uid: str, committed: list[tuple[str, str]]) -> None:
        """Report commitment of (SOP class, SOP instance) unasked, or late."""
        asked = Dataset()
        asked.TransactionUID = transaction_uid
        asked.ReferencedSOPSequence = [_reference(*one) for one in committed]
        self._report_on_new_association(asked, asked.ReferencedSOPSequence, [])

    # --- what it does ---

    def _requested(self, event: evt.Event) -> None:
        if self.misbehaviour.rejects is not None:
            event.assoc.acse.send_reject(*self.misbehaviour.rejects)
            event.assoc.kill()
            return
        acceptor = event.assoc.acceptor
        acceptor.supported_contexts = [
            context
            for context in acceptor.supported_contexts
            if context.abstract_syntax not in self.misbehaviour.refuses_classes
        ]

    def _store(self, event: evt.Event) -> int:
        how = self.misbehaviour
        content = event.encoded_dataset(include_meta=False)
        header = pydicom.dcmread(BytesIO(event.encoded_dataset()), stop_before_pixels=True)
        uid = str(header.SOPInstanceUID)
        with self._lock:
            self.arrived.append(uid)
            number = len(self.arrived)
        if how.stalls_s:
            self._ending.wait(how.stalls_s)
        if number == how.aborts_store_number:
            event.assoc.abort()
            return 0xA700
        status = how.status_by_class.get(str(header.SOPClassUID), how.store_status)
        if status & 0xF000 in (0xA000, 0xC000) or how.loses:
            return status
        held = Held(header=header, content=content, transfer_syntax_uid=str(event.context.transfer_syntax))
        with self._lock:
            self.held[uid] = held
        if how.forwards_back:
            self._elsewhere.submit(self._forward, event.encoded_dataset())
        return status

    def _forward(self, part10: bytes) -> None:
        dataset = pydicom.dcmread(BytesIO(part10))
        contexts = [(str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID))]
        with self._to_node(contexts) as link, Pause.held(link):
            link.send_c_store(dataset)

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        level = str(asked.QueryRetrieveLevel)
        seen = set()
        for uid, held in list(self.held.items()):
            if uid in self.misbehaviour.disowns or held.header.StudyInstanceUID != asked.StudyInstanceUID:
                continue
            if any(
                asked.get(keyword) not in (None, "", held.header[keyword].value)
                for keyword in ("SeriesInstanceUID", "SOPInstanceUID")
            ):
                continue
            key = {"STUDY": str(held.header.StudyInstanceUID), "SERIES": str(held.header.SeriesInstanceUID)}.get(
                level, uid
            )
            if key in seen:
                continue
            seen.add(key)
            yield 0xFF00, self._match(held.header, level)
        yield 0x0000, None

    def _match(self, header: Dataset, level: str) -> Dataset:
        match = Dataset()
        match.QueryRetrieveLevel = level
        match.StudyInstanceUID = header.StudyInstanceUID
        match.PatientID, match.AccessionNumber = self.misbehaviour.files_under.get(
            str(header.StudyInstanceUID), (header.PatientID, header.AccessionNumber)
        )
        if level == "IMAGE":
            match.SeriesInstanceUID, match.SOPInstanceUID = header.SeriesInstanceUID, header.SOPInstanceUID
        if level == "SERIES":
            match.SeriesInstanceUID, match.Modality = header.SeriesInstanceUID, header.Modality
            series = [held for held in self.held.values() if held.header.SeriesInstanceUID == header.SeriesInstanceUID]
            if self.misbehaviour.counts:
                match.NumberOfSeriesRelatedInstances = len(series)
        return match

    # --- commitment ---

    def _asked(self, event: evt.Event) -> tuple[int, None]:
        how, asked = self.misbehaviour, event.action_information
        with self._lock:
            self.asked.append(str(asked.TransactionUID))
        if how.commitment is Commitment.REFUSED:
            return 0x0110, None
        held: list[Dataset] = []
        missing: list[Dataset] = []
        for reference in asked.ReferencedSOPSequence:
            (held if self._commits_to(reference) else missing).append(reference)
        for reference in missing:
            reference.FailureReason = NO_SUCH_INSTANCE
        if how.commitment is Commitment.NEW_ASSOCIATION:
            self._elsewhere.submit(self._report_on_new_association, asked, held, missing)
        elif how.commitment is Commitment.SAME_ASSOCIATION:
            self._elsewhere.submit(self._report_on, event.assoc, asked, held, missing)
        return 0x0000, None

    def _commits_to(self, reference: Dataset) -> bool:
        uid, sop_class = str(reference.ReferencedSOPInstanceUID), str(reference.ReferencedSOPClassUID)
        if self.misbehaviour.disowns & {uid, sop_class}:
            return False
        return self.misbehaviour.lies or uid in self.held

    def _report_on_new_association(self, asked: Dataset, held: list[Dataset], missing: list[Dataset]) -> None:
        with self._to_node([(STORAGE_COMMITMENT, ExplicitVRLittleEndian)], provider=True) as link:
            self._report_on(link, asked, held, missing)

    def _report_on(self, link: Association, asked: Dataset, held: list[Dataset], missing: list[Dataset]) -> None:
        # After the response to the request: an N-EVENT-REPORT before it is legal, and rare.
        self._ending.wait(0.2)
        report = Dataset()
        report.TransactionUID = asked.TransactionUID
        report.ReferencedSOPSequence = held
        if missing:
            report.FailedSOPSequence = missing
        event_type = 2 if missing else 1
        # Without it the library's reactor may take the answer for a request, and what follows is lost.
        with Pause.held(link):
            link.send_n_event_report(report, event_type, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)

    @contextlib.contextmanager
    def _to_node(self, contexts: list[tuple[str, str]], *, provider: bool = False) -> Iterator[Association]:
        port, ae_title = self._node
        caller = AE(self.ae_title)
        caller.acse_timeout = caller.dimse_timeout = caller.connection_timeout = 10
        for sop_class, syntax in contexts:
            caller.add_requested_context(sop_class, syntax)
        roles = [build_role(STORAGE_COMMITMENT, scp_role=True)] if provider else []
        link = caller.associate("127.0.0.1", port, ae_title=ae_title, ext_neg=roles)  # type: ignore[arg-type]
        try:
            yield link
        finally:
            if link.is_established:
                link.release()


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return reference


@contextlib.contextmanager
def misbehaving_pacs(ae_title: str, *, node_port: int, port: int = 0) -> Iterator[MisbehavingPacs]:
    """A PACS that reports to, and forwards to, a node on this machine; well-behaved until told otherwise."""
    pacs = MisbehavingPacs(ae_title, node_port)
    pacs.start(port)
    try:
        yield pacs
    finally:
        pacs.end()
