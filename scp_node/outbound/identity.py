"""Whose study is it, by the peer's present knowledge? Asked before delivery where the peer can be asked.

An archive may have merged patients, or a clerk may have moved the study, since the images came to us. A result under
the old identity would lie in the wrong file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from scp_node.dimse.text import text_of
from scp_node.outbound.link import Terms, linked
from scp_node.outbound.query import PROPOSALS, find

_PATIENT_ID = Tag("PatientID")
_ISSUER = Tag("IssuerOfPatientID")
_ACCESSION = Tag("AccessionNumber")
_STUDY = Tag("StudyInstanceUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledUnder:
    """Where a study is filed; never logged."""

    patient_id: str
    issuer_of_patient_id: str
    accession_number: str


def filed_in(path: Path) -> FiledUnder:
    """What an encoded object says of itself.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    return _filed(dcmread(path, stop_before_pixels=True, specific_tags=[_PATIENT_ID, _ISSUER, _ACCESSION]))


def filed_at(terms: Terms, study_instance_uid: str) -> FiledUnder | None:
    """What the peer says of the study; ``None`` if it does not know it.

    Raises
    ------
    TransientDeliveryError, NothingAcceptedError
        If the peer cannot be asked.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study_instance_uid
    identifier.PatientID = identifier.IssuerOfPatientID = identifier.AccessionNumber = ""
    with linked(terms, PROPOSALS) as link:
        matches = [match for match in find(link, identifier) if text_of(match, _STUDY) == study_instance_uid]
    return _filed(matches[0]) if matches else None


def difference(ours: FiledUnder, theirs: FiledUnder) -> str:
    """Say what differs, without its value; empty if nothing does.

    Patient IDs must be equal. Issuer and accession number contradict only where both sides have one: many archives do
    not return the issuer, and an accession number is often given late.
    """
    if ours.patient_id != theirs.patient_id:
        return "the peer files the study under another patient ID"
    for ours_text, theirs_text, name in (
        (ours.issuer_of_patient_id, theirs.issuer_of_patient_id, "issuer of the patient ID"),
        (ours.accession_number, theirs.accession_number, "accession number"),
    ):
        if ours_text and theirs_text and ours_text != theirs_text:
            return f"the peer files the study under another {name}"
    return ""


def _filed(dataset: Dataset) -> FiledUnder:
    return FiledUnder(
        patient_id=text_of(dataset, _PATIENT_ID),
        issuer_of_patient_id=text_of(dataset, _ISSUER),
        accession_number=text_of(dataset, _ACCESSION),
    )
