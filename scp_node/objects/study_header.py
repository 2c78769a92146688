"""Patient and study attributes that every object of a study shares, legal and with the newest identity."""

from __future__ import annotations

import struct

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.valuerep import PersonName, validate_value

from scp_node.domain.study import Identity
from scp_node.objects.character_sets import chosen_character_set
from scp_node.objects.plain_text import without_control_characters

IDENTITY_KEYWORDS = {
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_id": "StudyID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_description": "StudyDescription",
    "referring_physician": "ReferringPhysicianName",
}
"""Field of an identity -> attribute of the objects."""

_OPTIONAL = frozenset({"IssuerOfPatientID", "StudyDescription"})
"""Type 3: absent rather than empty."""

_INHERITED = (
    "PatientBirthTime",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "PhysiciansOfRecord",
    "ProcedureCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdmissionID",
    "AdmittingDiagnosesDescription",
    "Occupation",
    "AdditionalPatientHistory",
    "TimezoneOffsetFromUTC",
    "LongitudinalTemporalInformationModified",
)
"""Of the Patient, Clinical Trial, General Study, Patient Study and SOP Common modules."""

_OF_THE_SAME_PATIENT = ("IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "OtherPatientIDsSequence")
_OF_THE_SAME_REQUEST = ("IssuerOfAccessionNumberSequence",)

_PATIENT_SEXES = frozenset({"M", "F", "O"})
UNREADABLE = (
    BytesLengthException,
    InvalidDicomError,
    OSError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    NotImplementedError,
    EOFError,
    RecursionError,
    struct.error,
)
"""What parsing a hostile file, or converting one of its elements, may raise."""

_NESTING_LIMIT = 8


def study_header(donor: Dataset, study_instance_uid: str, identity: Identity) -> Dataset:
    """Shared attributes of the objects of a study.

    Parameters
    ----------
    donor : Dataset
        Header of one image of the study, or empty.
    study_instance_uid : str
        Of the study.
    identity : Identity
        Overrules the donor.

    Returns
    -------
    Dataset
        Decoded texts; Specific Character Set is the identity's, or UTF-8 where that cannot hold every text.
    """
    header = Dataset()
    for keyword in _INHERITED:
        _inherit(header, donor, keyword)
    if _text_of(donor, "PatientID") == identity.patient_id:
        for keyword in _OF_THE_SAME_PATIENT:
            _inherit(header, donor, keyword)
    if _text_of(donor, "AccessionNumber") == identity.accession_number:
        for keyword in _OF_THE_SAME_REQUEST:
            _inherit(header, donor, keyword)
    header.StudyInstanceUID = study_instance_uid
    for keyword, value in legal_identity(identity).items():
        if value or keyword not in _OPTIONAL:
            _set(header, keyword, value)
    character_set = chosen_character_set(identity.character_set, header)
    if character_set is not None:
        header.SpecificCharacterSet = character_set if len(character_set) > 1 else character_set[0]
    return header


def legal_identity(identity: Identity) -> dict[str, str]:
    """Attributes that say who and which request, by keyword; an illegal date, time or sex is empty.

    Names and identifiers stay as they are, even where they are longer than DICOM allows: they must match what the
    archive holds. Only control characters go.
    """
    values = {}
    for field, keyword in IDENTITY_KEYWORDS.items():
        value = without_control_characters(str(getattr(identity, field))).strip()
        if dictionary_VR(keyword) in ("DA", "TM", "CS") and not _is_legal(dictionary_VR(keyword), value):
            value = ""
        if keyword == "PatientSex" and value not in _PATIENT_SEXES:
            value = ""
        values[keyword] = value
    return values


def _inherit(header: Dataset, donor: Dataset, keyword: str) -> None:
    try:
        if keyword in donor:
            element = _legal_copy(donor[keyword], 0)
            if element is not None:
                header.add(element)
    except UNREADABLE:
        return


def _legal_copy(element: DataElement, depth: int) -> DataElement | None:
    """Copy of an element with decoded texts; ``None`` if it is empty, illegal or nested beyond reason."""
    vr = dictionary_VR(element.tag)
    if (vr == "SQ") != (element.VR == "SQ") or depth > _NESTING_LIMIT:
        return None
    if vr == "SQ":
        items = []
        for item in element.value:
            copies = [_legal_copy(inner, depth + 1) for inner in item if not inner.tag.is_private]
            legal_item = Dataset()
            for copy in copies:
                if copy is not None:
                    legal_item.add(copy)
            if len(legal_item) > 0:
                items.append(legal_item)
        return DataElement(element.tag, "SQ", items) if items else None
    if element.is_empty:
        return None
    values = [element.value] if element.VM == 1 else list(element.value)
    texts = [str(value) for value in values]
    if not all(_is_legal(vr, text) for text in texts):
        return None
    return DataElement(element.tag, vr, texts if len(texts) > 1 else texts[0])


def _is_legal(vr: str, text: str) -> bool:
    if any(ord(sign) < 0x20 and sign not in "\r\n\f\t" for sign in text):
        return False
    try:
        validate_value(vr, text, config.RAISE)
    except UNREADABLE:
        return False
    return True


def _text_of(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword, "")
    except UNREADABLE:
        return ""
    return str(value or "").strip()


def _set(header: Dataset, keyword: str, value: str) -> None:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    vr = dictionary_VR(tag)
    header.add(DataElement(tag, vr, PersonName(value) if vr == "PN" else value))
