"""Coded concepts of the objects: those of the templates, and the analyzers' own as they are."""

from __future__ import annotations

import hashlib

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from analyzers.contract import Code, Presence
from scp_node.objects.plain_text import plain
from scp_node.objects.provenance import MANUFACTURER, uid_from

PRIVATE_SCHEME = "99HAIPUMP"

_VALUE_LENGTH = 16
_MEANING_LENGTH = 64


def concept(code: Code) -> CodedConcept:
    """Concept of an analyzer's code; a meaning longer than DICOM allows is cut."""
    return CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=plain(code.meaning, _MEANING_LENGTH))


def method_concept(method: str) -> CodedConcept:
    """Concept of a method that an analyzer describes in words.

    Measurement Method (TID 300) is a code. A method without a code of its own gets a private one that is made from
    its wording, so that equal words have equal codes everywhere.
    """
    words = plain(method, _MEANING_LENGTH)
    digest = hashlib.sha256(words.encode()).hexdigest()[: _VALUE_LENGTH - 2].upper()
    return _private(f"M-{digest}", words)


def private_scheme() -> CodingSchemeIdentificationItem:
    """Declaration of the private coding scheme, which every object carries that may use it."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME,
        name="Hepatic arterial infusion pump imaging",
        version="1",
        responsible_organization=MANUFACTURER,
        uid=uid_from("coding scheme", PRIVATE_SCHEME),
    )


def presence_concept(presence: Presence) -> CodedConcept:
    """Present, absent or undetermined (CID 240)."""
    return _PRESENCE[presence]


def _sct(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator="SCT", meaning=meaning)


def _dcm(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator="DCM", meaning=meaning)


def _ln(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator="LN", meaning=meaning)


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator=PRIVATE_SCHEME, meaning=meaning)


_PRESENCE = {
    Presence.PRESENT: _sct("52101004", "Present"),
    Presence.ABSENT: _sct("272519000", "Absent"),
    Presence.INDETERMINATE: _sct("373068000", "Undetermined"),
}

# --- the reports -------------------------------------------------------------------------------------------

IMAGING_MEASUREMENT_REPORT = _dcm("126000", "Imaging Measurement Report")
AUTOMATED_REPORT = _private("AUTOREPORT", "Automated HAI pump analysis (unverified)")
"""Title of the text report. Not the title above: viewers try to draw every report of that title."""
ENGLISH = CodedConcept(value="en-US", scheme_designator="RFC5646", meaning="English (United States)")
ARTIFICIAL_INTELLIGENCE = _dcm("123110", "Artificial Intelligence")
PROCESSING_EQUIPMENT = _dcm("109102", "Processing Equipment")
ACQUISITION_EQUIPMENT = _dcm("109101", "Acquisition Equipment")
DEVICE = _dcm("121007", "Device")
SOURCE_IMAGE_FOR_PROCESSING = _dcm("121322", "Source image for image processing operation")

PROCEDURES_BY_MODALITY = {
    "CT": _ln("25045-6", "CT unspecified body region"),
    "MR": _ln("25056-3", "MRI unspecified body region"),
    "NM": _ln("49118-3", "NM unspecified body region"),
}
"""Procedure Reported where the study has no code of its own (CID 100); it names the imaging, not the algorithm."""
PROCEDURE_UNSPECIFIED = _ln("18748-4", "Diagnostic imaging study")

# --- headings and lines of the text report -----------------------------------------------------------------

CONCLUSIONS = _dcm("121076", "Conclusions")
CONCLUSION = _dcm("121077", "Conclusion")
FINDINGS = _dcm("121070", "Findings")
FINDING = _dcm("121071", "Finding")
RECOMMENDATIONS = _dcm("121074", "Recommendations")
RECOMMENDATION = _dcm("121075", "Recommendation")
NOTICES = _private("NOTICES", "Status of this report")
NOTICE = _private("NOTICE", "Notice")
MEASUREMENTS = _private("MEASUREMENTS", "Measurements")
MEASUREMENT = _private("MEASUREMENT", "Measurement")
QUALITY_CHECKS = _private("QUALITYCHECKS", "Quality checks")
QUALITY_CHECK = _private("QUALITYCHECK", "Quality check")
LIMITATIONS = _private("LIMITATIONS", "Limitations")
LIMITATION = _private("LIMITATION", "Limitation")
SERIES_USED = _private("SERIESUSED", "Series and their use")
SERIES_USE = _private("SERIESUSE", "Series")
PROVENANCE = _private("PROVENANCE", "Origin of this report")
ORIGIN = _private("ORIGIN", "Origin")

# --- qualitative evaluations of the measurement report -----------------------------------------------------

RELIABILITY = _private("RELIABILITY", "Reliability of the measured values")
LIMITED_RELIABILITY = _private("LIMITED", "Limited, see text report")
LATERALITY = _sct("272741003", "Laterality")
ASSESSABILITY = _private("ASSESSABILITY", "Assessability of the examination")
NOT_ASSESSABLE = _private("NOTASSESSABLE", "Not assessable, see text report")
DECLINED = _private("DECLINED", "Not applicable to the examination")
TECHNICAL_FAILURE = _private("TECHFAILURE", "Could not be analysed (technical)")
OUTLINE = _sct("442083009", "Anatomical or acquired body structure")
"""Finding type of an outline that belongs to no segment or region."""
