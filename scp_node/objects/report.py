"""The answer as Comprehensive 3D SR, template TID 1500 (Measurement Report).

A viewer must be able to show every group, so every group carries 2-D coordinates on a source image:

* a segment gives two groups with one tracking UID: TID 1411, which points at the segmentation and holds the numbers,
  and TID 1410, its outline on the plane where it is largest;
* a region (planar scintigraphy) gives TID 1410, one for each of its outlines; one that others outlined gives the same
  two groups as a segment, the first pointing at their segmentation;
* measurements of the whole examination that rest on outlines give TID 1410 on the first of these, one for all that
  share it: a viewer shows an empty window for a report with a lone TID 1501 whose outline is its coordinates;
* a measurement with lines of its own gives TID 1501, the lines as its coordinates.

What rests on no coordinates is left to the text report, unless the destinations can read such groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from highdicom.sr import CodedConcept, Comprehensive3DSR, ImageRegion, MeasurementReport, QualitativeEvaluation
from highdicom.sr import MeasurementsAndQualitativeEvaluations as ImageGroup
from highdicom.sr import PlanarROIMeasurementsAndQualitativeEvaluations as PlanarGroup
from highdicom.sr import VolumetricROIMeasurementsAndQualitativeEvaluations as VolumetricGroup
from highdicom.sr.content import (
    FindingSite,
    ReferencedSegment,
    SourceImageForMeasurementGroup,
    SourceSeriesForSegmentation,
)
from highdicom.sr.templates import TrackingIdentifier
from pydicom.dataset import Dataset

from analyzers.contract import AnalysisResult, Assessed, Declined, Finding, Measurement, NotAssessable, Outline
from scp_node.domain.delivery import ObjectKind
from scp_node.objects import codes
from scp_node.objects.modules import Setting, complete, evidence, library_arguments, placeholder
from scp_node.objects.plain_text import plain
from scp_node.objects.provenance import uid_from
from scp_node.objects.report_items import (
    Subject,
    algorithm,
    coordinates,
    evaluations,
    given_references,
    image_region,
    measurement_item,
    sites,
    source_image,
    subjects_of,
)
from scp_node.objects.segmentation import Segmentations
from scp_node.objects.text_report import language, mark_as_preliminary, observer

Group = PlanarGroup | VolumetricGroup | ImageGroup


def make_report(result: AnalysisResult | None, segmentations: Segmentations, setting: Setting) -> Dataset | None:
    """Encode the measurements and findings.

    Parameters
    ----------
    result : AnalysisResult or None
        ``None`` for a technical failure.
    segmentations : Segmentations
        Objects that the groups of segments point at; a segment without one is reported by its outline alone.
    setting : Setting
        What all objects of the order share.

    Returns
    -------
    Dataset or None
        ``None`` when nothing of the result has a place on an image and the destinations take nothing else.

    Raises
    ------
    EncodingError
        If a measurement or outline names an image that the study does not hold, or a value is not a number.
    """
    groups = _groups(result, segmentations, setting)
    if not groups:
        return None
    images = list(setting.study.images.values())
    content = MeasurementReport(
        observation_context=observer(setting),
        procedure_reported=_procedure_reported(setting),
        imaging_measurements=groups,
        title=codes.IMAGING_MEASUREMENT_REPORT,
        language_of_content_item_and_descendants=language(),
    )
    objects = [*segmentations.datasets, *given_references(result, setting)]
    current = evidence(images, objects, setting.order.study_instance_uid)
    report = Comprehensive3DSR(
        evidence=_evidence_for_check(setting, objects),
        content=content,
        series_instance_uid=setting.provenance.series_uid(ObjectKind.REPORT),
        series_number=setting.series_number(ObjectKind.REPORT),
        sop_instance_uid=setting.provenance.instance_uid(ObjectKind.REPORT),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **library_arguments(setting),
    )
    # The constructor listed a placeholder as evidence.
    del report.CurrentRequestedProcedureEvidenceSequence
    if current:
        report.CurrentRequestedProcedureEvidenceSequence = current
    mark_as_preliminary(report, setting)
    complete(report, setting, "measurements")
    return report


def _groups(result: AnalysisResult | None, segmentations: Segmentations, setting: Setting) -> list[Group]:
    if not isinstance(result, Assessed):
        return [_answer_group(result, setting)] if setting.order.groups_without_coordinates else []
    subjects = subjects_of(result, segmentations, setting)
    groups: list[Group] = []
    for subject in subjects.values():
        groups.extend(_subject_groups(subject, result, setting))
    groups.extend(_examination_groups(result, subjects, setting))
    return groups


def _subject_groups(subject: Subject, result: Assessed, setting: Setting) -> list[Group]:
    """Groups of one segment or region."""
    own = [each for each in result.measurements if each.subject == subject.name]
    findings = [each for each in result.findings if each.subject == subject.name]
    plain_ones = [each for each in own if not each.lines]
    groups: list[Group] = []
    if subject.place is not None:
        groups.append(_volumetric_group(subject, plain_ones, findings, setting))
        groups.append(_planar_group(subject, 0, [], [], setting))
    else:
        shares = _shared_out(plain_ones, subject)
        for index, share in enumerate(shares):
            groups.append(_planar_group(subject, index, share, findings if index == 0 else [], setting))
    drawn = [each for each in own if each.lines]
    if drawn:
        groups.append(_line_group(subject, drawn, setting))
    return groups


def _shared_out(measurements: Iterable[Measurement], subject: Subject) -> list[list[Measurement]]:
    """Measurements of a region by the outline whose frame they were taken from; the first takes what has none."""
    shares: list[list[Measurement]] = [[] for _ in subject.outlines]
    for measurement in measurements:
        frames = [outline.frame for outline in subject.outlines]
        named = {frames.index(source) for source in measurement.sources if source in frames}
        shares[named.pop() if len(named) == 1 else 0].append(measurement)
    return shares


def _volumetric_group(
    subject: Subject, measurements: Sequence[Measurement], findings: Sequence[Finding], setting: Setting
) -> VolumetricGroup:
    place = subject.place
    if place is None:
        raise ValueError(f"{subject.name} is in no segmentation.")
    return VolumetricGroup(
        tracking_identifier=_tracking(subject),
        referenced_segment=ReferencedSegment(
            sop_class_uid=place.sop_class_uid,
            sop_instance_uid=place.sop_instance_uid,
            segment_number=place.segment_number,
            source_series=SourceSeriesForSegmentation(place.source_series_uid),
        ),
        finding_type=codes.concept(subject.type),
        finding_category=codes.concept(subject.category) if subject.category else None,
        finding_sites=sites(subject.site, subject.laterality),
        algorithm_id=algorithm(setting),
        measurements=[measurement_item(each) for each in measurements] or None,
        qualitative_evaluations=evaluations(findings, measurements, subject),
    )


def _planar_group(
    subject: Subject,
    index: int,
    measurements: Sequence[Measurement],
    findings: Sequence[Finding],
    setting: Setting,
) -> PlanarGroup:
    return PlanarGroup(
        tracking_identifier=_tracking(subject, index),
        referenced_region=image_region(subject.outlines[index], setting),
        finding_type=codes.concept(subject.type),
        finding_category=codes.concept(subject.category) if subject.category else None,
        finding_sites=sites(subject.site, subject.laterality),
        algorithm_id=algorithm(setting),
        measurements=[measurement_item(each) for each in measurements] or None,
        qualitative_evaluations=evaluations(findings, measurements, subject),
    )


def _line_group(subject: Subject, measurements: Sequence[Measurement], setting: Setting) -> ImageGroup:
    """Lengths with their lines, which only TID 1501 can hold."""
    return ImageGroup(
        tracking_identifier=_tracking(subject),
        finding_type=codes.concept(subject.type),
        finding_category=codes.concept(subject.category) if subject.category else None,
        finding_sites=sites(subject.site, subject.laterality),
        algorithm_id=algorithm(setting),
        measurements=[measurement_item(each, coordinates(each.lines, setting)) for each in measurements],
        qualitative_evaluations=evaluations([], measurements, subject),
    )


def _examination_groups(result: Assessed, subjects: Mapping[str, Subject], setting: Setting) -> list[Group]:
    """Groups of what belongs to no segment or region that is here."""
    coordinates_optional = setting.order.groups_without_coordinates
    lone = [each for each in result.measurements if each.subject not in subjects]
    on_outline: dict[Outline, list[Measurement]] = {}
    for each in lone:
        if each.lines and each.lines[0].closed:
            on_outline.setdefault(each.lines[0], []).append(each)
    groups: list[Group] = [_outline_group(outline, resting, setting) for outline, resting in on_outline.items()]
    groups += [
        _lone_measurement_group(each, setting)
        for each in lone
        if (not each.lines[0].closed if each.lines else coordinates_optional)
    ]
    for finding in result.findings:
        if finding.subject not in subjects and (finding.outlines or coordinates_optional):
            groups.extend(_lone_finding_groups(finding, setting))
    return groups


def _outline_group(outline: Outline, measurements: Sequence[Measurement], setting: Setting) -> PlanarGroup:
    """What rests on one outline and belongs to no structure alone, named by the first of it."""
    first = measurements[0]
    return PlanarGroup(
        tracking_identifier=_lone_tracking(first, setting),
        referenced_region=image_region(outline, setting),
        algorithm_id=algorithm(setting),
        measurements=[measurement_item(each) for each in measurements],
        qualitative_evaluations=evaluations([], measurements),
    )


def _lone_measurement_group(measurement: Measurement, setting: Setting) -> ImageGroup:
    return ImageGroup(
        tracking_identifier=_lone_tracking(measurement, setting),
        finding_sites=sites(measurement.site, measurement.laterality),
        algorithm_id=algorithm(setting),
        measurements=[measurement_item(measurement, coordinates(measurement.lines, setting))],
        qualitative_evaluations=evaluations([], [measurement]),
        source_images=[SourceImageForMeasurementGroup(*source_image(source, setting)) for source in measurement.sources]
        or None,
    )


def _lone_tracking(measurement: Measurement, setting: Setting) -> TrackingIdentifier:
    name = f"{measurement.key} {measurement.subject or ''}".strip()
    return TrackingIdentifier(
        uid=setting.provenance.tracking_uid(name), identifier=plain(measurement.concept.meaning, 64)
    )


def _lone_finding_groups(finding: Finding, setting: Setting) -> list[Group]:
    tracking = TrackingIdentifier(
        uid=setting.provenance.tracking_uid(f"finding {finding.key}"), identifier=plain(finding.concept.meaning, 64)
    )
    where: list[FindingSite] | None = sites(finding.site, finding.laterality)
    answer = evaluations([finding], [])
    if not finding.outlines:
        return [
            ImageGroup(
                tracking_identifier=tracking,
                finding_type=codes.concept(finding.concept),
                finding_sites=where,
                algorithm_id=algorithm(setting),
                qualitative_evaluations=answer,
            )
        ]
    regions: list[ImageRegion] = [image_region(outline, setting) for outline in finding.outlines]
    return [
        PlanarGroup(
            tracking_identifier=tracking,
            referenced_region=region,
            finding_type=codes.concept(finding.concept),
            finding_sites=where,
            algorithm_id=algorithm(setting),
            qualitative_evaluations=answer if index == 0 else None,
        )
        for index, region in enumerate(regions)
    ]


def _answer_group(result: NotAssessable | Declined | None, setting: Setting) -> ImageGroup:
    """Say why there is nothing to measure, to destinations that take groups without coordinates."""
    match result:
        case NotAssessable():
            answer = codes.NOT_ASSESSABLE
        case Declined():
            answer = codes.DECLINED
        case None:
            answer = codes.TECHNICAL_FAILURE
    return ImageGroup(
        tracking_identifier=TrackingIdentifier(
            uid=setting.provenance.tracking_uid("examination"), identifier="Examination"
        ),
        algorithm_id=algorithm(setting),
        qualitative_evaluations=[QualitativeEvaluation(name=codes.ASSESSABILITY, value=answer)],
    )


def _tracking(subject: Subject, outline_index: int = 0) -> TrackingIdentifier:
    """Identity of a structure, or of a further outline of it: viewers draw one outline for each tracking UID."""
    further = outline_index > 0
    uid = uid_from("further outline", subject.tracking_uid, str(outline_index)) if further else subject.tracking_uid
    return TrackingIdentifier(uid=uid, identifier=plain(subject.label, 64))


def _procedure_reported(setting: Setting) -> CodedConcept:
    """The imaging procedure: the site's own code where the study has one."""
    for item in setting.study.header.get("ProcedureCodeSequence", []):
        value, scheme, meaning = (
            str(item.get(keyword, "")) for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
        )
        if value and scheme and meaning and value.isascii():
            return CodedConcept(value=value, scheme_designator=scheme, meaning=plain(meaning, 64))
    return codes.PROCEDURES_BY_MODALITY.get(setting.modality, codes.PROCEDURE_UNSPECIFIED)


def _evidence_for_check(setting: Setting, objects: Iterable[Dataset]) -> list[Dataset]:
    """Evidence in the constructor's form, headed by the placeholder that it inherits from."""
    found = [placeholder(setting), *objects]
    for image in setting.study.images.values():
        summary = image.summary
        reference = Dataset()
        reference.StudyInstanceUID = setting.order.study_instance_uid
        reference.SeriesInstanceUID = summary.series_instance_uid
        reference.SOPClassUID = summary.sop_class_uid
        reference.SOPInstanceUID = summary.sop_instance_uid
        found.append(reference)
    return found
