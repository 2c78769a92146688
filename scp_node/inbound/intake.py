"""From the bytes of one object to a durable file and a committed row. Knows nothing of the network.

Success is answered only after :meth:`Intake.take` returned: by then bytes, name and record survive a power cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from analyzers.headers import instance_summary
from scp_node.dimse.text import text_of
from scp_node.domain.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, is_uid
from scp_node.domain.study import Identity, ReceivedInstance, Reception
from scp_node.errors import MismatchedObjectError, UnreadableObjectError
from scp_node.inbound.digests import dataset_digest, geometry_digest, pixel_digest
from scp_node.inbound.header import read_header
from scp_node.inbound.usability import is_made_by_this_software, is_usable_image
from scp_node.store.spool import Spool

_PREAMBLE = b"\0" * 128 + b"DICM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One C-STORE request: who sent what, and how."""

    called_ae: str
    calling_ae: str
    address: str
    association_id: int | None
    """Row of the association; ``None`` if it could not be written."""
    sop_class_uid: str
    sop_instance_uid: str
    """Both as the command says."""
    transfer_syntax_uid: str
    """Of the presentation context."""
    content: bytes
    """Data set as received, without file meta information."""


class Record(Protocol):
    """Makes the rows of one instance; :class:`scp_node.store.studies.StudyStore` does."""

    def record(self, instance: ReceivedInstance, now: datetime, *, association_id: int | None = None) -> Reception:
        """Commit."""

    def knows_spool_key(self, spool_key: str) -> bool:
        """Whether a row refers to the file."""


class Intake:
    """Takes one object after the other; safe for many threads.

    Parameters
    ----------
    spool : Spool
        Where the files go.
    studies : Record
        Where the rows go.
    """

    def __init__(self, spool: Spool, studies: Record) -> None:
        self._spool = spool
        self._studies = studies

    def take(self, sending: Sending, now: datetime) -> Reception:
        """Make an object durable and record it.

        Parameters
        ----------
        sending : Sending
            The request.
        now : datetime
            Aware UTC, time of reception.

        Raises
        ------
        UnreadableObjectError
            If the data set cannot be understood.
        MismatchedObjectError
            If it is not the object that the command announced.
        SpoolFullError
            If there is no room.
        StoreError
            If the record could not be committed.
        """
        instance = examine(sending, now)
        with self._spool.begin() as file:
            file.write(_PREAMBLE + _file_meta(sending))
            file.write(sending.content)
            instance = replace(instance, byte_count=file.byte_count, spool_key=file.durable())
        return self._record(instance, sending.association_id, now)

    def _record(self, instance: ReceivedInstance, association_id: int | None, now: datetime) -> Reception:
        reception: Reception | None = None
        try:
            reception = self._studies.record(instance, now, association_id=association_id)
        finally:
            # A repetition and our own object have no row. Neither has an object whose record failed, unless the
            # fault came after the commit: a file without a row is swept away at start, a row without a file is harm.
            unwanted = reception in (Reception.SAME, Reception.OWN) or (
                reception is None and not self._studies.knows_spool_key(instance.spool_key)
            )
            if unwanted:
                self._spool.remove(instance.spool_key)
        return reception


def examine(sending: Sending, now: datetime) -> ReceivedInstance:
    """Read the header, check it against the command, and take the digests; the spool key is left empty.

    Raises
    ------
    UnreadableObjectError, MismatchedObjectError
        See :meth:`Intake.take`.
    """
    header = read_header(sending.content, sending.sop_class_uid, sending.transfer_syntax_uid)
    _require_announced(header.dataset, sending)
    summary = instance_summary(header.dataset, sending.transfer_syntax_uid)
    deflated = UID(sending.transfer_syntax_uid) == DeflatedExplicitVRLittleEndian
    return ReceivedInstance(
        summary=summary,
        identity=identity_of(header.dataset),
        called_ae=sending.called_ae,
        calling_ae=sending.calling_ae,
        calling_address=sending.address,
        received_at=now,
        spool_key="",
        byte_count=len(sending.content),
        dataset_digest=dataset_digest(sending.content),
        pixel_digest=pixel_digest(sending.content, header.pixels, summary, deflated=deflated),
        geometry_digest=geometry_digest(summary),
        usable_image=is_usable_image(
            sending.sop_class_uid,
            summary.modality,
            has_pixels=header.pixels is not None,
            made_by_this_software=is_made_by_this_software(header.dataset),
        ),
    )


def identity_of(dataset: Dataset) -> Identity:
    """Who and which request, as the object says it."""

    def text(keyword: str) -> str:
        return text_of(dataset, Tag(keyword))

    return Identity(
        patient_id=text("PatientID"),
        issuer_of_patient_id=text("IssuerOfPatientID"),
        patient_name=text("PatientName"),
        patient_birth_date=text("PatientBirthDate"),
        patient_sex=text("PatientSex"),
        accession_number=text("AccessionNumber"),
        study_id=text("StudyID"),
        study_date=text("StudyDate"),
        study_time=text("StudyTime"),
        study_description=text("StudyDescription"),
        referring_physician=text("ReferringPhysicianName"),
        character_set=text("SpecificCharacterSet"),
    )


def _require_announced(dataset: Dataset, sending: Sending) -> None:
    for keyword, announced in (("SOPClassUID", sending.sop_class_uid), ("SOPInstanceUID", sending.sop_instance_uid)):
        if text_of(dataset, Tag(keyword)) != announced:
            raise MismatchedObjectError(f"{keyword} of the data set is not the command's")
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not is_uid(text_of(dataset, Tag(keyword))):
            raise UnreadableObjectError(f"{keyword} is absent or no UID")


def _file_meta(sending: Sending) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sending.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sending.sop_instance_uid)
    meta.TransferSyntaxUID = UID(sending.transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    meta.SourceApplicationEntityTitle = sending.calling_ae
    encoded = DicomBytesIO()
    write_file_meta_info(encoded, meta, enforce_standard=True)
    return encoded.getvalue()
