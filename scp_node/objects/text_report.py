"""The answer as Basic Text SR: sentences under headings, readable in every viewer that can show an SR at all.

It has a title of its own, because viewers try to draw what is titled Imaging Measurement Report, and it carries what
has no place on an image. Every study gets one unless its destinations want none and another report is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import highdicom as hd
from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from highdicom.sr.templates import DeviceObserverIdentifyingAttributes
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian

from scp_node.domain.delivery import ObjectKind
from scp_node.objects import codes
from scp_node.objects.modules import (
    Setting,
    complete,
    evidence,
    library_arguments,
    referenced_sop,
    requested_procedures,
)
from scp_node.objects.provenance import MANUFACTURER
from scp_node.objects.statements import Section

_IMAGES_HEADING = CodedConcept(value="121180", scheme_designator="DCM", meaning="Key Images")
_IMAGE = CodedConcept(value="121200", scheme_designator="DCM", meaning="Illustration of ROI")


def make_text_report(
    sections: Sequence[Section], setting: Setting, shown: Sequence[Dataset], referred: Iterable[Dataset]
) -> Dataset:
    """Encode the sentences.

    Parameters
    ----------
    sections : sequence of Section
        From :func:`scp_node.objects.statements.sections_of`.
    setting : Setting
        What all objects of the order share.
    shown : sequence of Dataset
        Secondary captures that the report points at.
    referred : iterable of Dataset
        Further objects of the order, listed as evidence.
    """
    provenance, order = setting.provenance, setting.order
    report = hd.SOPClass(
        study_instance_uid=order.study_instance_uid,
        series_instance_uid=provenance.series_uid(ObjectKind.TEXT_REPORT),
        series_number=setting.series_number(ObjectKind.TEXT_REPORT),
        sop_instance_uid=provenance.instance_uid(ObjectKind.TEXT_REPORT),
        sop_class_uid=BasicTextSRStorage,
        instance_number=1,
        modality="SR",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_birth_date="",
        **library_arguments(setting),
    )
    root = ContainerContentItem(name=codes.AUTOMATED_REPORT, is_content_continuous=False)
    root.ContentSequence = ContentSequence([*language(), *observer(setting), *map(_container, sections)])
    if shown:
        root.ContentSequence.append(_images(shown))
    for element in root:
        report.add(element)
    mark_as_preliminary(report, setting)
    images = setting.study.images.values()
    current = evidence(images, [*referred, *shown], order.study_instance_uid)
    if current:
        report.CurrentRequestedProcedureEvidenceSequence = current
    complete(report, setting, "text report")
    return report


def mark_as_preliminary(report: Dataset, setting: Setting) -> None:
    """SR Document General module: complete as it stands, preliminary, unverified; whom it replaces; what was asked."""
    report.CompletionFlag = "COMPLETE"
    report.PreliminaryFlag = "PRELIMINARY"
    report.VerificationFlag = "UNVERIFIED"
    report.ReferencedPerformedProcedureStepSequence = []
    report.PerformedProcedureCodeSequence = []
    requested = requested_procedures(setting.study.header)
    if requested:
        report.ReferencedRequestSequence = requested
    predecessors = _predecessors(setting, report.SOPClassUID)
    if predecessors:
        report.PredecessorDocumentsSequence = predecessors


def observer(setting: Setting) -> ObservationContext:
    """Who observed: this software, as a device with the UID of Contributing Equipment (TID 1004)."""
    provenance = setting.provenance
    device = DeviceObserverIdentifyingAttributes(
        uid=provenance.device_uid,
        name=provenance.model_name,
        manufacturer_name=MANUFACTURER,
        model_name=provenance.model_name,
        serial_number=provenance.device_serial_number,
    )
    return ObservationContext(
        observer_device_context=ObserverContext(observer_type=codes.DEVICE, observer_identifying_attributes=device)
    )


def language() -> LanguageOfContentItemAndDescendants:
    """English (TID 1204)."""
    return LanguageOfContentItemAndDescendants(codes.ENGLISH)


def _container(section: Section) -> ContainerContentItem:
    container = ContainerContentItem(
        name=section.heading, is_content_continuous=False, relationship_type=RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence(
        [
            TextContentItem(name=section.item, value=line, relationship_type=RelationshipTypeValues.CONTAINS)
            for line in section.lines
        ]
    )
    return container


def _images(shown: Sequence[Dataset]) -> ContainerContentItem:
    container = ContainerContentItem(
        name=_IMAGES_HEADING, is_content_continuous=False, relationship_type=RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence(
        [
            ImageContentItem(
                name=_IMAGE,
                referenced_sop_class_uid=image.SOPClassUID,
                referenced_sop_instance_uid=image.SOPInstanceUID,
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
            for image in shown
        ]
    )
    return container


def _predecessors(setting: Setting, sop_class_uid: str) -> list[Dataset]:
    """Predecessor Documents Sequence: the reports of the earlier revision of the same kind, else all of them."""
    all_of_them = setting.order.predecessors
    alike = [each for each in all_of_them if each.sop_class_uid == sop_class_uid]
    studies: dict[str, dict[str, list[Dataset]]] = {}
    for each in alike or all_of_them:
        series = studies.setdefault(each.study_instance_uid, {})
        series.setdefault(each.series_instance_uid, []).append(
            referenced_sop(each.sop_class_uid, each.sop_instance_uid)
        )
    items = []
    for study_uid, by_series in studies.items():
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = []
        for series_uid, references in by_series.items():
            item = Dataset()
            item.SeriesInstanceUID = series_uid
            item.ReferencedSOPSequence = references
            study.ReferencedSeriesSequence.append(item)
        items.append(study)
    return items
