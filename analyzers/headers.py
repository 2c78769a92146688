"""From a DICOM header to the summary on which routing, completion and acceptance decide.

The list of what a summary may hold is bounded and names no patient: no name, no identifier, no birth date, no
accession number, no free comments. What a header says wrongly or not at all is left out; nothing here raises on a
data set that was parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from analyzers.contract import Code, InstanceSummary, SeriesSummary, StudySummary
from analyzers.elements import Elements
from analyzers.frames import POSITION, SHARED_GROUPS, frame_summaries, is_one_plane, moved

_STUDY = (
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "RequestedProcedureDescription",
    "ReasonForTheRequestedProcedure",
    "PerformedProcedureStepDescription",
    "RequestAttributesSequence.RequestedProcedureDescription",
    "RequestAttributesSequence.ScheduledProcedureStepDescription",
    "RequestAttributesSequence.ReasonForTheRequestedProcedure",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
_SERIES = (
    "SeriesDate",
    "SeriesTime",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "Laterality",
    "PatientPosition",
    "FrameOfReferenceUID",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceUID",
    "ContributingEquipmentSequence.DeviceUID",
)
_IMAGE = (
    "ImageType",
    "InstanceNumber",
    "AcquisitionNumber",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "BurnedInAnnotation",
    "ContentQualification",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
)
_CT = (
    "KVP",
    "ConvolutionKernel",
    "ScanOptions",
    "GantryDetectorTilt",
    "ReconstructionDiameter",
    "ContrastBolusAgent",
    "ContrastBolusRoute",
    "ContrastBolusVolume",
    "ContrastBolusStartTime",
    "ContrastBolusStopTime",
    "ContrastFlowRate",
    "ContrastBolusIngredient",
    "ContrastBolusIngredientConcentration",
    "ContrastBolusAgentPhase",
)
_MR = (
    "ScanningSequence",
    "SequenceVariant",
    "SequenceName",
    "PulseSequenceName",
    "MRAcquisitionType",
    "AcquisitionContrast",
    "ComplexImageComponent",
    "FrameType",
    "VolumetricProperties",
    "RepetitionTime",
    "EchoTime",
    "EffectiveEchoTime",
    "EchoNumbers",
    "EchoTrainLength",
    "InversionTime",
    "FlipAngle",
    "DiffusionBValue",
    "DiffusionDirectionality",
    "DiffusionGradientOrientation",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NumberOfTemporalPositions",
    "TriggerTime",
    "MagneticFieldStrength",
    "ImagedNucleus",
)
_NUCLEAR = (
    "ImageID",
    "CountsAccumulated",
    "CountsSource",
    "ActualFrameDuration",
    "FrameReferenceTime",
    "CorrectedImage",
    "DecayCorrection",
    "AttenuationCorrectionMethod",
    "ScatterCorrectionMethod",
    "SeriesType",
    "Units",
    "NumberOfEnergyWindows",
    "NumberOfDetectors",
    "NumberOfSlices",
    "NumberOfTimeSlots",
    "WholeBodyTechnique",
    "ScanVelocity",
    "ScanLength",
    "PatientOrientation",
    "RadiopharmaceuticalInformationSequence.Radiopharmaceutical",
    "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalRoute",
    "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStartDateTime",
    "RadiopharmaceuticalInformationSequence.RadionuclideTotalDose",
    "RadiopharmaceuticalInformationSequence.RadionuclideHalfLife",
)

ATTRIBUTES: tuple[str, ...] = _STUDY + _SERIES + _IMAGE + _CT + _MR + _NUCLEAR
"""All that :attr:`InstanceSummary.attributes` may hold: keywords, and dotted paths into sequences."""

CODE_SEQUENCES: tuple[str, ...] = (
    "ProcedureCodeSequence",
    "RequestedProcedureCodeSequence",
    "ReasonForRequestedProcedureCodeSequence",
    "PerformedProtocolCodeSequence",
    "RequestAttributesSequence.RequestedProcedureCodeSequence",
    "RequestAttributesSequence.ScheduledProtocolCodeSequence",
    "RequestAttributesSequence.ReasonForRequestedProcedureCodeSequence",
    "AnatomicRegionSequence",
    "ContrastBolusAgentSequence",
    "ContrastBolusAdministrationRouteSequence",
    "RadiopharmaceuticalInformationSequence.RadionuclideCodeSequence",
    "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalCodeSequence",
    "RadiopharmaceuticalInformationSequence.AdministrationRouteCodeSequence",
    "PatientOrientationCodeSequence",
    "PatientOrientationModifierCodeSequence",
    "PatientGantryRelationshipCodeSequence",
    "ViewCodeSequence",
)
"""All that :attr:`InstanceSummary.codes` may hold, likewise."""

LABEL_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATION_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", LABEL_MAP_CLASS})
"""SOP classes of what is outlined on images; never images themselves."""

_Path = tuple[BaseTag, ...]


def _paths(keywords: Iterable[str]) -> Mapping[str, _Path]:
    return {keyword: tuple(Tag(part) for part in keyword.split(".")) for keyword in keywords}


_ATTRIBUTE_PATHS = _paths(ATTRIBUTES)
_CODE_PATHS = _paths(CODE_SEQUENCES)
_STAND_IN_ROOT = "2.25.99"
"""Begins each UID that is made here; with at most 34 further digits."""
_STUDY_WORDS = ("StudyDate", "StudyTime", "StudyDescription")
_SERIES_WORDS = ("SeriesNumber", "SeriesDate", "SeriesTime", "SeriesDescription", "FrameOfReferenceUID")
_STUDY_UID = Tag("StudyInstanceUID")
_SERIES_UID = Tag("SeriesInstanceUID")
_SOP_UID = Tag("SOPInstanceUID")
_SOP_CLASS = Tag("SOPClassUID")
_MEDIA_SOP_CLASS = Tag("MediaStorageSOPClassUID")
_MEDIA_SOP_UID = Tag("MediaStorageSOPInstanceUID")
_MODALITY = Tag("Modality")
_ROWS = Tag("Rows")
_COLUMNS = Tag("Columns")

_OF_ONE_PLANE = (
    "InstanceNumber",
    "AcquisitionNumber",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    "SliceLocation",
    "RescaleSlope",
    "RescaleIntercept",
    "TriggerTime",
    "FrameReferenceTime",
    "ActualFrameDuration",
)
"""What differs from plane to plane; numbers, dates and times, so that no character set matters."""
_KEYWORD_OF: Mapping[int, str] = {int(Tag(keyword)): keyword for keyword in _OF_ONE_PLANE}

MAY_CHANGE: frozenset[int] = frozenset({int(_SOP_UID), int(POSITION), *_KEYWORD_OF})
"""Tags of which :func:`sibling_summary` knows what their change does."""

_SIEMENS_GROUP = 0x0019
_GE_GROUP = 0x0043
_PHILIPS_GROUP = 0x2001

PRIVATE_GROUPS = frozenset({_SIEMENS_GROUP, _GE_GROUP, _PHILIPS_GROUP})
"""The groups of private elements that are read here."""


def instance_summary(dataset: Dataset, transfer_syntax_uid: str) -> InstanceSummary:
    """Summarise one header.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Parsed, with or without pixels. Where its SOP Class or Instance UID is empty (half anonymised files), that
        of the file meta information stands in.
    transfer_syntax_uid : str
        From the file meta information or the presentation context.

    Returns
    -------
    InstanceSummary
        Shared functional groups of an enhanced object appear among the instance's attributes, per-frame ones
        among the frame's. ``EchoTime`` is filled from ``EffectiveEchoTime``, ``DiffusionBValue`` from the private
        elements of Siemens, GE and Philips, where the standard element is absent.
    """
    elements = Elements(dataset)
    meta = Elements(getattr(dataset, "file_meta", None) or Dataset())
    present = elements.tags
    attributes = {
        keyword: values
        for keyword, path in _ATTRIBUTE_PATHS.items()
        if path[0] in present and (values := _texts_at(elements, path))
    }
    for keyword, values in _shared_texts(elements).items():
        attributes.setdefault(keyword, values)
    _fill_from_synonyms(attributes, elements)
    study_uid = elements.text(_STUDY_UID) or _stand_in("", attributes, _STUDY_WORDS)
    return InstanceSummary(
        study_instance_uid=study_uid,
        series_instance_uid=elements.text(_SERIES_UID) or _stand_in(study_uid, attributes, _SERIES_WORDS),
        sop_instance_uid=elements.text(_SOP_UID) or meta.text(_MEDIA_SOP_UID),
        sop_class_uid=elements.text(_SOP_CLASS) or meta.text(_MEDIA_SOP_CLASS),
        transfer_syntax_uid=transfer_syntax_uid,
        modality=elements.text(_MODALITY),
        rows=elements.whole_number(_ROWS),
        columns=elements.whole_number(_COLUMNS),
        attributes=attributes,
        codes={
            keyword: codes
            for keyword, path in _CODE_PATHS.items()
            if path[0] in present and (codes := _codes_at(elements, path))
        },
        frames=frame_summaries(elements),
    )


def may_have_siblings(present: Iterable[int]) -> bool:
    """Tell by the tags of a header whether :func:`sibling_summary` may take it for a model: it describes one plane."""
    return is_one_plane(present)


def sibling_summary(model: InstanceSummary, changed: Dataset) -> InstanceSummary | None:
    """Summarise a header that differs from another one in a few elements; far less work than reading all of it.

    Parameters
    ----------
    model : InstanceSummary
        Of a header that may have siblings.
    changed : pydicom.Dataset
        The elements that both have, and with other values; none but those of :data:`MAY_CHANGE` or such as nothing
        here reads.

    Returns
    -------
    InstanceSummary or None
        What :func:`instance_summary` says of the whole header; ``None`` if that must be asked, because a value is
        readable in one of the two headers only.
    """
    elements = Elements(changed, ("latin-1",))
    attributes = dict(model.attributes)
    for tag in elements.tags & _KEYWORD_OF.keys():
        keyword, values = _KEYWORD_OF[tag], elements.texts(BaseTag(tag))
        if not values or keyword not in attributes:
            return None
        attributes[keyword] = values
    uid = elements.text(_SOP_UID)
    if not uid:
        return None
    frames = model.frames
    if POSITION in elements:
        frames = (moved(frames[0], elements),)
    return replace(model, sop_instance_uid=uid, attributes=attributes, frames=frames)


def study_summary(instances: Iterable[InstanceSummary]) -> StudySummary:
    """Gather the instances of one study by series, in the order of Series Number, then of UID.

    The Study Instance UID and a series' modality are those of the first instance; an empty study has an empty UID.
    """
    by_series: dict[str, list[InstanceSummary]] = {}
    for instance in instances:
        by_series.setdefault(instance.series_instance_uid, []).append(instance)
    series = []
    for uid, members in by_series.items():
        ordered = tuple(sorted(members, key=lambda member: member.sop_instance_uid))
        series.append(SeriesSummary(series_instance_uid=uid, modality=ordered[0].modality, instances=ordered))
    series.sort(key=lambda one: (one.first.number("SeriesNumber") or 0.0, one.series_instance_uid))
    return StudySummary(study_instance_uid=series[0].first.study_instance_uid if series else "", series=tuple(series))


def is_stand_in(study_instance_uid: str) -> bool:
    """Tell whether a Study Instance UID was made here, because the images have none."""
    return study_instance_uid.startswith(_STAND_IN_ROOT)


def _stand_in(root: str, attributes: Mapping[str, tuple[str, ...]], keywords: Sequence[str]) -> str:
    """A UID for a study or series without one: the same for all its images, and for them alone."""
    words = "\n".join((root, *("\\".join(attributes.get(keyword, ())) for keyword in keywords)))
    number = int.from_bytes(hashlib.sha256(words.encode()).digest()[:14], "big")
    return f"{_STAND_IN_ROOT}{number}"


def _texts_at(elements: Elements, path: _Path) -> tuple[str, ...]:
    if len(path) == 1:
        return elements.texts(path[0])
    return tuple(text for item in elements.items(path[0]) for text in _texts_at(item, path[1:]))


def _codes_at(elements: Elements, path: _Path) -> tuple[Code, ...]:
    if len(path) == 1:
        return elements.codes(path[0])
    return tuple(code for item in elements.items(path[0]) for code in _codes_at(item, path[1:]))


def _shared_texts(elements: Elements) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for group in elements.items(SHARED_GROUPS)[:1]:
        for keyword, path in _ATTRIBUTE_PATHS.items():
            for macro in group.sequences():
                if values := _texts_at(macro, path):
                    found.setdefault(keyword, values)
    return found


def _fill_from_synonyms(attributes: dict[str, tuple[str, ...]], elements: Elements) -> None:
    if "EchoTime" not in attributes and "EffectiveEchoTime" in attributes:
        attributes["EchoTime"] = attributes["EffectiveEchoTime"]
    if "DiffusionBValue" not in attributes and (b_value := _private_b_value(elements)):
        attributes["DiffusionBValue"] = (b_value,)


def _private_b_value(elements: Elements) -> str:
    """Read b (s/mm2) where scanners kept it before, and beside, the standard (0018,9087).

    Siemens (0019,xx0C); GE (0043,xx39), first value, on newer systems with 1,000,000,000 added; Philips
    (2001,xx03).
    """
    if text := elements.private_text(_SIEMENS_GROUP, "SIEMENS MR HEADER", 0x0C):
        return text
    if text := elements.private_text(_GE_GROUP, "GEMS_PARM_01", 0x39):
        return str(int(text) % 1_000_000_000) if text.isdigit() else ""
    return elements.private_text(_PHILIPS_GROUP, "Philips Imaging DD 001", 0x03)
