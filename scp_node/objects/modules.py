"""The modules that all objects share: Patient, Study, Series, Equipment, SOP Common.

The encoder library copies some of this from the images and takes the rest from the clock; here all of it is set from
the study's header and the order's provenance, so that every object of a study says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage

from scp_node.domain.delivery import ObjectKind
from scp_node.domain.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_node.objects import codes
from scp_node.objects.order import EncodingOrder
from scp_node.objects.plain_text import plain
from scp_node.objects.provenance import MANUFACTURER, Provenance, uid_from
from scp_node.objects.sources import SourceImage, SourceStudy

BODY_PART = "ABDOMEN"
"""An unpaired part, so that Laterality is not required (and never written empty)."""

CREATOR = "HAI^Node"

_SERIES_NUMBERS = {
    ObjectKind.SEGMENTATION: 9001,
    ObjectKind.REPORT: 9010,
    ObjectKind.TEXT_REPORT: 9011,
    ObjectKind.SECONDARY_CAPTURE: 9030,
}
_NUCLEAR_OFFSET = 100
_SEGMENTATIONS_BEFORE_REPORT = 9
_FURTHER_SEGMENTATIONS = 9050


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every object of one order is made from."""

    order: EncodingOrder
    study: SourceStudy
    provenance: Provenance
    site_thresholds: tuple[str, ...] = ()
    """What the site decides otherwise than the analyzer's defaults, one text for each threshold."""

    @property
    def moment(self) -> datetime:
        """Start of the analysis at the offset in which the times of the objects are told."""
        return self.provenance.moment(self.study.utc_offset_minutes)

    @property
    def modality(self) -> str:
        """Nuclear medicine if the study has any (its CT then serves it), else the modality of the first image."""
        modalities = [image.summary.modality for image in self.study.images.values()]
        return "NM" if "NM" in modalities else next(iter(modalities), "")

    def series_number(self, kind: ObjectKind, number: int = 1) -> int:
        """High number, fixed per kind, so that the results stand behind the acquired series."""
        start = _SERIES_NUMBERS[kind]
        if kind is ObjectKind.SEGMENTATION and number > _SEGMENTATIONS_BEFORE_REPORT:
            start = _FURTHER_SEGMENTATIONS
        return start + number - 1 + (_NUCLEAR_OFFSET if self.modality == "NM" else 0)

    def series_description(self, what: str) -> str:
        """Series Description, at most 64 characters."""
        return plain(f"HAI AI {what} (RESEARCH)", 64)


def library_arguments(setting: Setting) -> dict[str, Any]:
    """Equipment and content qualification as the encoder library's constructors take them."""
    provenance = setting.provenance
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": provenance.model_name,
        "software_versions": provenance.software_version,
        "device_serial_number": provenance.device_serial_number,
        "content_qualification": "RESEARCH",
        "coding_schemes": [codes.private_scheme()],
    }


def placeholder(setting: Setting) -> Dataset:
    """An image without content, for constructors that inherit from an image.

    What they inherit is overruled by :func:`complete`; it stands in for source images whose headers (private SOP
    classes, missing attributes, illegal values) the constructors would trip over.
    """
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = uid_from("placeholder", setting.order.study_instance_uid)
    image.StudyInstanceUID = setting.order.study_instance_uid
    image.SeriesInstanceUID = uid_from("placeholder series", setting.order.study_instance_uid)
    image.Modality = "CT"
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName", "Manufacturer"):
        setattr(image, keyword, "")
    return image


def complete(dataset: Dataset, setting: Setting, what: str) -> None:
    """Give an object its patient, study, equipment and times; call it last.

    Parameters
    ----------
    dataset : Dataset
        An object as its constructor left it.
    setting : Setting
        What all objects of the order share.
    what : str
        For the series description: ``measurements``, ``segmentation`` ...
    """
    for element in deepcopy(setting.study.header):
        dataset.add(element)
    if "SpecificCharacterSet" not in setting.study.header and "SpecificCharacterSet" in dataset:
        del dataset.SpecificCharacterSet
    dataset.SeriesDescription = setting.series_description(what)
    date, time = setting.moment.strftime("%Y%m%d"), setting.moment.strftime("%H%M%S")
    dataset.InstanceCreationDate = dataset.SeriesDate = dataset.ContentDate = date
    dataset.InstanceCreationTime = dataset.SeriesTime = dataset.ContentTime = time
    if "DateOfSecondaryCapture" in dataset:
        dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = date, time
    if setting.provenance.institution_name:
        dataset.InstitutionName = setting.provenance.institution_name
    dataset.ContributingEquipmentSequence = _contributing_equipment(setting)
    meta = dataset.file_meta
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME


def evidence(images: Iterable[SourceImage], objects: Iterable[Dataset], study_instance_uid: str) -> list[Dataset]:
    """Current Requested Procedure Evidence Sequence of source images and our own objects, all of one study."""
    by_series: dict[str, list[Dataset]] = {}
    for image in images:
        summary = image.summary
        by_series.setdefault(summary.series_instance_uid, []).append(
            referenced_sop(summary.sop_class_uid, summary.sop_instance_uid)
        )
    for made in objects:
        by_series.setdefault(made.SeriesInstanceUID, []).append(referenced_sop(made.SOPClassUID, made.SOPInstanceUID))
    if not by_series:
        return []
    study = Dataset()
    study.StudyInstanceUID = study_instance_uid
    study.ReferencedSeriesSequence = [_series(uid, references) for uid, references in by_series.items()]
    return [study]


def referenced_sop(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """SOP Instance Reference Macro."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def requested_procedures(header: Dataset) -> list[Dataset]:
    """Referenced Request Sequence; empty where the accession number is unknown (Type 1C)."""
    if not header.get("AccessionNumber"):
        return []
    item = Dataset()
    item.StudyInstanceUID = header.StudyInstanceUID
    item.ReferencedStudySequence = []
    item.AccessionNumber = header.AccessionNumber
    item.PlacerOrderNumberImagingServiceRequest = ""
    item.FillerOrderNumberImagingServiceRequest = ""
    item.RequestedProcedureID = ""
    item.RequestedProcedureDescription = ""
    item.RequestedProcedureCodeSequence = []
    if "IssuerOfAccessionNumberSequence" in header:
        item.IssuerOfAccessionNumberSequence = deepcopy(header.IssuerOfAccessionNumberSequence)
    return [item]


def _series(series_instance_uid: str, references: list[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series_instance_uid
    item.ReferencedSOPSequence = references
    return item


def _contributing_equipment(setting: Setting) -> list[Dataset]:
    """Scanner, where it is known, and this software with its Device UID (IHE AIR 6.5.3.1)."""
    items = []
    if setting.study.equipment.get("Manufacturer"):
        items.append(_equipment(codes.ACQUISITION_EQUIPMENT, dict(_texts(setting.study.equipment))))
    provenance = setting.provenance
    ours = _equipment(
        codes.PROCESSING_EQUIPMENT,
        {
            "Manufacturer": MANUFACTURER,
            "ManufacturerModelName": provenance.model_name,
            "SoftwareVersions": provenance.software_version,
            "DeviceSerialNumber": provenance.device_serial_number,
            "InstitutionName": provenance.institution_name,
            "DeviceUID": provenance.device_uid,
            "ContributionDateTime": setting.moment.strftime("%Y%m%d%H%M%S%z"),
            "ContributionDescription": "Automated analysis, unverified",
        },
    )
    return [*items, ours]


def _equipment(purpose: Dataset, texts: Mapping[str, str]) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [purpose]
    for keyword, text in texts.items():
        if text:
            setattr(item, keyword, text)
    return item


def _texts(dataset: Dataset) -> Iterable[tuple[str, str]]:
    return ((element.keyword, str(element.value)) for element in dataset)
