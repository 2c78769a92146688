"""A small PACS for the demonstration, where no Orthanc is installed: storage, and commitment to it.

It keeps each object as a file, answers C-ECHO, C-STORE and the request for storage commitment, and reports on a new
association, as most archives do. It is no archive: what it holds is gone with its folder.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.transport import ThreadedAssociationServer

from scp_node.dimse.services import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, VERIFICATION
from scp_node.dimse.statuses import NO_SUCH_INSTANCE, NOT_UNDERSTOOD, SUCCESS
from scp_node.dimse.text import text_of
from scp_node.domain.identifiers import is_uid
from scp_node.inbound.contexts import STORAGE_CLASSES, TRANSFER_SYNTAXES
from scp_node.journal import journal
from scp_node.outbound.pause import Pause

_ALL_COMMITTED, _SOME_FAILED = 1, 2
"""Event Type IDs of a commitment report (PS3.4 J.3.3)."""
_TIMEOUT_S = 10.0
_INSTANCE, _STUDY = Tag("SOPInstanceUID"), Tag("StudyInstanceUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """One object in the folder."""

    path: Path
    study_instance_uid: str


class Archive:
    """Stores into a folder and commits to what it holds.

    Parameters
    ----------
    folder : Path
        Where objects are kept, one file each.
    port : int
        On this machine alone; 0 chooses one at :meth:`start`.
    node : (AE title, port)
        Where commitment reports go.
    """

    name = "built-in archive"
    ae_title = "PACS"

    def __init__(self, folder: Path, *, port: int, node: tuple[str, int]) -> None:
        self.port = port
        self._folder = folder
        self._node = node
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()
        self._reporter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commitment")
        self._server: ThreadedAssociationServer | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        entity = AE(self.ae_title)
        entity.add_supported_context(VERIFICATION)
        entity.add_supported_context(STORAGE_COMMITMENT)
        for sop_class in STORAGE_CLASSES:
            entity.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        handlers: list[evt.EventHandlerType] = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._promise)]
        self._server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        if self._server is not None:
            self.port = int(self._server.server_address[1])

    def stop(self) -> None:
        """Accept no more; reports that are promised are sent first."""
        self._reporter.shutdown(wait=True)
        if self._server is not None:
            self._server.shutdown()

    def fetch(self, study_instance_uid: str) -> list[bytes]:
        """Every object that it holds of one study, as Part 10 files."""
        with self._lock:
            kept = [one for _, one in sorted(self._kept.items()) if one.study_instance_uid == study_instance_uid]
        return [one.path.read_bytes() for one in kept]

    def _store(self, event: evt.Event) -> int:
        header = dcmread(BytesIO(event.encoded_dataset()), stop_before_pixels=True)
        uid = text_of(header, _INSTANCE)
        if not is_uid(uid):
            return NOT_UNDERSTOOD
        path = self._folder / f"{uid}.dcm"
        path.write_bytes(event.encoded_dataset())
        with self._lock:
            self._kept[uid] = _Kept(path=path, study_instance_uid=text_of(header, _STUDY))
        return SUCCESS

    def _promise(self, event: evt.Event) -> tuple[int, None]:
        self._reporter.submit(self._report, event.action_information)
        return SUCCESS, None

    def _report(self, asked: Dataset) -> None:
        """Say on an association of our own what we hold."""
        with self._lock:
            kept = set(self._kept)
        held, missing = [], []
        for reference in asked.ReferencedSOPSequence:
            if reference.ReferencedSOPInstanceUID in kept:
                held.append(reference)
            else:
                reference.FailureReason = NO_SUCH_INSTANCE
                missing.append(reference)
        report = Dataset()
        report.TransactionUID = asked.TransactionUID
        report.ReferencedSOPSequence = held
        if missing:
            report.FailedSOPSequence = missing
        title, port = self._node
        caller = AE(self.ae_title)
        caller.connection_timeout = caller.acse_timeout = caller.dimse_timeout = _TIMEOUT_S
        caller.add_requested_context(STORAGE_COMMITMENT, ExplicitVRLittleEndian)
        link = caller.associate(
            "127.0.0.1",
            port,
            ae_title=title,
            ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)],
        )
        if not link.is_established:
            journal("demo").warning("the node took no commitment report", port=port)
            return
        event_type = _SOME_FAILED if missing else _ALL_COMMITTED
        with Pause.held(link):
            link.send_n_event_report(report, event_type, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
        link.release()
