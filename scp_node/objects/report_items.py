"""Content items of the measurement report, made from an analyzer's words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    CoordinatesForMeasurement,
    FindingSite,
    ImageRegion,
    MeasurementProperties,
    QualitativeEvaluation,
    SourceImageForRegion,
)
from highdicom.sr import Measurement as MeasurementItem
from pydicom.dataset import Dataset

from analyzers.contract import (
    AnalysisResult,
    Assessed,
    Code,
    Finding,
    FrameRef,
    Grade,
    Interval,
    Measurement,
    Outline,
    Presence,
    Region,
)
from scp_node.errors import EncodingError
from scp_node.objects import codes
from scp_node.objects.modules import Setting
from scp_node.objects.outlines import Points, drawn_points
from scp_node.objects.plain_text import plain
from scp_node.objects.segmentation import Segmentations, SegmentPlace

_SIGNIFICANT_DIGITS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A segment or region as the report speaks of it.

    ``place`` is ``None`` for a segment that no segmentation object holds, and for a region that nobody else outlined.
    """

    name: str
    label: str
    tracking_uid: str
    type: Code
    category: Code | None
    site: Code | None
    laterality: Code | None
    outlines: tuple[Outline, ...]
    place: SegmentPlace | None


def subjects_of(result: Assessed, segmentations: Segmentations, setting: Setting) -> dict[str, Subject]:
    """Subjects by name; an empty segment and a region without outline are none."""
    subjects = {}
    for segment in result.segments:
        outline = segmentations.outlines.get(segment.name)
        if outline is not None:
            subjects[segment.name] = Subject(
                name=segment.name,
                label=segment.label,
                tracking_uid=setting.provenance.tracking_uid(segment.name, segment.tracking_key),
                type=segment.type,
                category=segment.category,
                site=segment.site,
                laterality=segment.laterality,
                outlines=(outline,),
                place=segmentations.places.get(segment.name),
            )
    for region in result.regions:
        if region.outlines:
            subjects[region.name] = Subject(
                name=region.name,
                label=region.label,
                tracking_uid=setting.provenance.tracking_uid(region.name),
                type=region.type,
                category=None,
                site=region.site,
                laterality=region.laterality,
                outlines=region.outlines,
                place=_given_place(region, setting),
            )
    return subjects


def _given_place(region: Region, setting: Setting) -> SegmentPlace | None:
    """Where others outlined a region; ``None`` where they did not, or not on a series that came with the study."""
    given = region.segment
    mask = setting.study.masks.get(given.sop_instance_uid) if given is not None else None
    if given is None or mask is None or not 1 <= given.number <= mask.last_segment:
        return None
    if not setting.study.of_series(given.source_series_uid):
        return None
    return SegmentPlace(
        sop_class_uid=mask.summary.sop_class_uid,
        sop_instance_uid=given.sop_instance_uid,
        segment_number=given.number,
        source_series_uid=given.source_series_uid,
    )


def given_references(result: AnalysisResult | None, setting: Setting) -> list[Dataset]:
    """References to the segmentations of others that the answer rests on, each once, for the evidence."""
    if not isinstance(result, Assessed):
        return []
    uids = dict.fromkeys(region.segment.sop_instance_uid for region in result.regions if region.segment is not None)
    references = []
    for mask in (setting.study.masks[uid] for uid in uids if uid in setting.study.masks):
        reference = Dataset()
        reference.StudyInstanceUID = setting.order.study_instance_uid
        reference.SeriesInstanceUID = mask.summary.series_instance_uid
        reference.SOPClassUID = mask.summary.sop_class_uid
        reference.SOPInstanceUID = mask.summary.sop_instance_uid
        references.append(reference)
    return references


def measurement_item(measurement: Measurement, referenced: Sequence[CoordinatesForMeasurement] = ()) -> MeasurementItem:
    """One number with unit, derivation, method and interval (TID 300).

    Raises
    ------
    EncodingError
        If the value or its uncertainty is not a finite number.
    """
    bounds = () if measurement.interval is None else (measurement.interval.low, measurement.interval.high or 0.0)
    for number in (measurement.value, *bounds):
        if not math.isfinite(number):
            raise EncodingError(f"measurement {measurement.key} of {measurement.subject}: {number} is not a number.")
    properties = None if measurement.interval is None else _uncertainties(measurement, measurement.interval)
    return MeasurementItem(
        name=codes.concept(measurement.concept),
        value=_rounded(measurement.value),
        unit=codes.concept(measurement.unit),
        derivation=codes.concept(measurement.derivation) if measurement.derivation else None,
        method=codes.method_concept(measurement.method) if measurement.method else None,
        finding_sites=sites(measurement.site, measurement.laterality),
        properties=properties,
        referenced_coordinates=list(referenced) or None,
    )


def coordinates(lines: Iterable[Outline], setting: Setting) -> list[CoordinatesForMeasurement]:
    """Lines of a measurement as coordinates on their source images."""
    return [
        CoordinatesForMeasurement(
            graphic_type="POLYLINE",
            graphic_data=_points_inside(line, setting),
            source_image=SourceImageForRegion(*source_image(line.frame, setting)),
        )
        for line in lines
    ]


def image_region(outline: Outline, setting: Setting) -> ImageRegion:
    """Outline on its source image."""
    return ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=_points_inside(outline, setting),
        source_image=SourceImageForRegion(*source_image(outline.frame, setting)),
    )


def source_image(reference: FrameRef, setting: Setting) -> tuple[str, str, list[int] | None]:
    """SOP class, SOP instance and frame numbers of a plane.

    Raises
    ------
    EncodingError
        If the analysed study has no such plane.
    """
    image = setting.study.image(reference)
    if image is None or image.plane(reference) is None:
        raise EncodingError(
            f"the report refers to frame {reference.frame or 1} of instance {reference.sop_instance_uid}, which is "
            "not in the analysed study."
        )
    return image.summary.sop_class_uid, image.summary.sop_instance_uid, image.frame_numbers(reference)


def evaluations(
    findings: Sequence[Finding], measurements: Sequence[Measurement], subject: Subject | None = None
) -> list[QualitativeEvaluation] | None:
    """Answers of findings, the side, and a word of caution where a value of the group is of limited reliability.

    A side with a site belongs to the Finding Site (:func:`sites`); one without is an answer of its own, for else it
    would be lost.
    """
    answers = [QualitativeEvaluation(name=codes.concept(each.concept), value=_answer(each)) for each in findings]
    sided = [each for each in (subject, *findings, *measurements) if each is not None and each.laterality is not None]
    said = {each.laterality for each in sided if each.site}
    unsaid = dict.fromkeys(each.laterality for each in sided if each.laterality not in said)
    answers += [QualitativeEvaluation(name=codes.LATERALITY, value=codes.concept(side)) for side in unsaid if side]
    if any(each.grade is Grade.LIMITED for each in measurements):
        answers.append(QualitativeEvaluation(name=codes.RELIABILITY, value=codes.LIMITED_RELIABILITY))
    return answers or None


def sites(site: Code | None, laterality: Code | None) -> list[FindingSite] | None:
    """Finding Site with its laterality; a side alone is left to :func:`evaluations`."""
    if site is None:
        return None
    side = codes.concept(laterality) if laterality else None
    return [FindingSite(anatomic_location=codes.concept(site), laterality=side)]


def algorithm(setting: Setting) -> AlgorithmIdentification:
    """TID 4019, equal to Contributing Equipment; its parameters are what the site decides otherwise."""
    return AlgorithmIdentification(
        name=setting.provenance.model_name,
        version=setting.provenance.software_version,
        parameters=[plain(text) for text in setting.site_thresholds] or None,
    )


def _uncertainties(measurement: Measurement, interval: Interval) -> MeasurementProperties:
    """Distances to either bound (TID 310), in the unit of the measurement; the library would say "no units".

    A lower limit has no distance upwards.
    """
    value, high = measurement.value, interval.high
    properties = MeasurementProperties(
        upper_measurement_uncertainty=None if high is None else _rounded(high - value),
        lower_measurement_uncertainty=_rounded(value - interval.low),
    )
    for item in properties:
        item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [codes.concept(measurement.unit)]
    return properties


def _answer(finding: Finding) -> CodedConcept:
    if finding.value is not None and finding.presence is Presence.PRESENT:
        return codes.concept(finding.value)
    return codes.presence_concept(finding.presence)


def _points_inside(outline: Outline, setting: Setting) -> Points:
    """Points to write, refused where they leave the image by more than rounding."""
    points = drawn_points(outline)
    image = setting.study.image(outline.frame)
    rows, columns = (image.summary.rows or 0, image.summary.columns or 0) if image else (0, 0)
    if len(points) < 2 or (points < -0.5).any() or (points > [columns + 0.5, rows + 0.5]).any():
        raise EncodingError(
            f"an outline on instance {outline.frame.sop_instance_uid} of {rows} rows and {columns} columns has fewer "
            "than two points or leaves the image."
        )
    inside: Points = points.clip(0.0, [columns, rows])
    return inside


def _rounded(value: float) -> float:
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
