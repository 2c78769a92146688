"""The measurement report and the text report: every group can be drawn, every sentence can be read."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from analyzers.contract import (
    AnalysisResult,
    Assessed,
    Code,
    Declined,
    Finding,
    FrameRef,
    Gate,
    Grade,
    Interval,
    Measurement,
    NotAssessable,
    Outline,
    Presence,
    Region,
    SeriesRole,
)
from scp_node.domain.delivery import ObjectKind
from scp_node.errors import EncodingError
from scp_node.objects.encoding import make_objects, setting_of
from scp_node.objects.order import EncodingOrder, Predecessor
from scp_node.objects.statements import finding_line
from scp_node.objects.text import sr_text
from tests.node.object_sources import (
    ABNORMALITY,
    CATHETER,
    DEVICE,
    LIVER,
    LUNG,
    METASTASIS,
    RIGHT,
    STUDY,
    ball,
    circle,
    order,
    planar_nm,
    planes_of,
    save,
    segment,
    slices,
)
from tests.node.object_validation import complaints, report_read_by_dcmqi

VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
MILLILITRE = Code(value="cm3", scheme="UCUM", meaning="cubic centimeter")
MILLIMETRE = Code(value="mm", scheme="UCUM", meaning="mm")
LONG_AXIS = Code(value="103339001", scheme="SCT", meaning="Long axis")
COUNTS = Code(value="{counts}", scheme="UCUM", meaning="Counts")
RATIO = Code(value="{ratio}", scheme="UCUM", meaning="ratio")
ACTIVITY = Code(value="110820", scheme="DCM", meaning="Nuclear Medicine Projection Activity")
SHUNT = Code(value="LSF", scheme="99HAIPUMP", meaning="Lung shunt fraction")
EXTRAHEPATIC = Code(value="EXTRAHEP", scheme="99HAIPUMP", meaning="Extrahepatic perfusion")
TIP = Code(value="TIPPOS", scheme="99HAIPUMP", meaning="Catheter tip position")
TIP_IN_ARTERY = Code(value="TIPPOS-HA", scheme="99HAIPUMP", meaning="Tip protruding into hepatic artery lumen")

SHAPE = (12, 24, 32)
GROUP = "125007"


def ct_result(images: list[Dataset]) -> Assessed:
    liver, lesion = ball(SHAPE, (6, 12, 14), 5), ball(SHAPE, (6, 12, 12), 2)
    line = Outline(frame=planes_of(images)[6], points_col_row=((10.0, 12.5), (15.0, 12.5)), closed=False)
    return Assessed(
        conclusion="One lesion.",
        segments=(
            segment("liver", liver, images),
            segment("lesion-1", lesion, images, type_=METASTASIS, category=ABNORMALITY),
            segment("catheter", ball(SHAPE, (3, 5, 28), 2), images, type_=CATHETER, category=DEVICE),
        ),
        measurements=(
            Measurement(
                key="liver_volume",
                concept=VOLUME,
                value=1523.4,
                unit=MILLILITRE,
                subject="liver",
                interval=Interval(low=1483.4, high=1563.4),
            ),
            Measurement(
                key="lesion_long_axis",
                concept=LONG_AXIS,
                value=4.0,
                unit=MILLIMETRE,
                subject="lesion-1",
                lines=(line,),
                grade=Grade.LIMITED,
                remark="slices of 3 mm",
            ),
            Measurement(key="tilt", concept=LONG_AXIS, value=7.125, unit=MILLIMETRE, subject=None),
        ),
        findings=(
            Finding(
                key="tip",
                concept=TIP,
                presence=Presence.PRESENT,
                value=TIP_IN_ARTERY,
                sentence="The tip stands in the hepatic artery.",
                subject="catheter",
            ),
            Finding(key="anatomy", concept=EXTRAHEPATIC, presence=Presence.INDETERMINATE, sentence="Not decided."),
        ),
        gates=(
            Gate(name="Phase", passed=True, seen="aorta 310 HU", wanted="at least 250 HU"),
            Gate(name="Coverage", passed=False, seen="dome cut off", wanted="whole liver"),
        ),
        roles=(SeriesRole(series_instance_uid=f"{STUDY}.1", role="arterial", reason="bright aorta"),),
        limitations=("Lesions below 10 mm are not looked for.",),
    )


def nm_result(image: Dataset) -> Assessed:
    anterior, posterior = planes_of([image])
    liver = Region(
        name="liver",
        label="Liver",
        type=LIVER,
        site=LIVER,
        outlines=(circle(anterior, (20, 40), 9), circle(posterior, (28, 40), 9)),
    )
    lung = Region(
        name="lung-right",
        label="Right lung",
        type=LUNG,
        site=LUNG,
        laterality=RIGHT,
        outlines=(circle(anterior, (12, 18), 7), circle(posterior, (36, 18), 7)),
    )
    return Assessed(
        conclusion="Lung shunt fraction 5.2 %.",
        regions=(liver, lung),
        measurements=(
            Measurement(
                key="liver_counts",
                concept=ACTIVITY,
                value=123456.0,
                unit=COUNTS,
                subject="liver",
                sources=(anterior,),
            ),
            Measurement(
                key="liver_counts",
                concept=ACTIVITY,
                value=98765.0,
                unit=COUNTS,
                subject="liver",
                sources=(posterior,),
            ),
            Measurement(
                key="lung_shunt_fraction",
                concept=SHUNT,
                value=0.0523456,
                unit=RATIO,
                subject=None,
                interval=Interval(low=0.0483456, high=0.0623456),
                method="Geometric mean",
                lines=(*liver.outlines, *lung.outlines),
                sources=(anterior, posterior),
            ),
        ),
        findings=(
            Finding(key="extrahepatic", concept=EXTRAHEPATIC, presence=Presence.ABSENT, sentence="No focus detected."),
        ),
    )


def objects(
    asked: EncodingOrder, result: AnalysisResult | None, site_thresholds: tuple[str, ...] = ()
) -> dict[ObjectKind, list[Dataset]]:
    made: dict[ObjectKind, list[Dataset]] = {kind: [] for kind in ObjectKind}
    for each in make_objects(setting_of(asked, site_thresholds), result, []):
        made[each.kind].append(each.dataset)
    return made


def ct_objects(folder: Path, **changes: object) -> dict[ObjectKind, list[Dataset]]:
    images = slices(12)
    return objects(order(save(images, folder / "study"), **changes), ct_result(images))


def items(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items(item)


def name_of(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def groups(report: Dataset) -> list[Dataset]:
    return [item for item in items(report) if name_of(item) == GROUP]


def template(group: Dataset) -> str:
    return str(group.ContentTemplateSequence[0].TemplateIdentifier)


def tracking_uid(group: Dataset) -> str:
    return str(next(item.UID for item in group.ContentSequence if name_of(item) == "112040"))


def outlines(item: Dataset) -> list[Dataset]:
    return [each for each in items(item) if "GraphicData" in each]


def test_every_object_of_a_ct_study_is_valid(tmp_path: Path) -> None:
    made = ct_objects(tmp_path)

    assert {kind: len(each) for kind, each in made.items()} == {
        ObjectKind.SEGMENTATION: 2,
        ObjectKind.SECONDARY_CAPTURE: 1,
        ObjectKind.REPORT: 1,
        ObjectKind.TEXT_REPORT: 1,
    }
    for dataset in (dataset for each in made.values() for dataset in each):
        assert complaints(dataset, tmp_path) == []


def test_every_object_of_a_planar_study_is_valid_and_none_is_a_segmentation(tmp_path: Path) -> None:
    image = planar_nm()
    made = objects(order(save([image], tmp_path / "study")), nm_result(image))

    assert made[ObjectKind.SEGMENTATION] == []
    for dataset in (dataset for each in made.values() for dataset in each):
        assert complaints(dataset, tmp_path) == []


def test_a_segment_is_pointed_at_and_outlined_under_one_tracking_uid(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    by_template: dict[str, set[str]] = {}
    for group in groups(report):
        by_template.setdefault(template(group), set()).add(tracking_uid(group))
    assert by_template["1411"] == by_template["1410"]
    assert len(by_template["1411"]) == 3
    assert by_template["1501"] < by_template["1411"]


def test_no_group_is_without_coordinates_by_default(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    drawn = {tracking_uid(group) for group in groups(report) if outlines(group)}
    assert {tracking_uid(group) for group in groups(report)} == drawn
    assert "7.125" not in sr_text(report)


def test_groups_without_coordinates_are_sent_where_they_can_be_read(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path, groups_without_coordinates=True)[ObjectKind.REPORT]

    bare = [group for group in groups(report) if template(group) == "1501" and not outlines(group)]
    assert len(bare) == 2
    assert complaints(report, tmp_path) == []


def test_an_outline_has_more_points_than_a_viewer_takes_for_its_own(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    assert min(len(item.GraphicData) // 2 for item in outlines(report)) > 5


def test_a_closed_outline_ends_where_it_began_and_a_line_does_not(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    for group in groups(report):
        for item in outlines(group):
            points = np.asarray(item.GraphicData, dtype=float).reshape(-1, 2)
            assert np.array_equal(points[0], points[-1]) is (template(group) == "1410")


def test_the_outline_of_a_segment_encloses_its_pixels(tmp_path: Path) -> None:
    images = slices(12)
    result = ct_result(images)
    made = objects(order(save(images, tmp_path / "study")), result)
    (report,) = made[ObjectKind.REPORT]

    liver = next(group for group in groups(report) if template(group) == "1410")
    (outline,) = outlines(liver)
    col, row = np.asarray(outline.GraphicData, dtype=float).reshape(-1, 2).T
    area_pixels = 0.5 * abs(float(np.dot(col[:-1], row[1:]) - np.dot(col[1:], row[:-1])))
    uid = outline.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    mask = result.segments[0].mask_planes[[plane.sop_instance_uid for plane in planes_of(images)].index(uid)]
    assert area_pixels == pytest.approx(np.count_nonzero(mask), rel=0.1)
    assert (col.mean(), row.mean()) == pytest.approx((14.5, 12.5), abs=0.6)


def test_an_interval_is_in_the_unit_of_its_measurement(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    uncertainties = [item for item in items(report) if name_of(item) in ("371886008", "371885007")]
    assert len(uncertainties) == 2
    for item in uncertainties:
        assert item.MeasuredValueSequence[0].NumericValue == 40
        assert item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "cm3"


@pytest.mark.parametrize(
    ("interval", "coded", "words"),
    [
        (Interval(low=0.02, high=0.11), {"371886008": 0.07, "371885007": 0.02}, "4 %) (95 % interval 2 to 11 %)"),
        (Interval(low=0.02, high=None), {"371885007": 0.02}, "4 %) (95 % interval from 2 %, no upper limit)"),
    ],
    ids=["asymmetric", "of a lower limit"],
)
def test_an_interval_is_coded_by_its_distances_and_said_once(
    tmp_path: Path, interval: Interval, coded: dict[str, float], words: str
) -> None:
    image = planar_nm()
    result = nm_result(image)
    shunt = replace(result.measurements[-1], value=0.04, interval=interval)
    made = objects(order(save([image], tmp_path / "study")), replace(result, measurements=(shunt,)))
    (report,), (text,) = made[ObjectKind.REPORT], made[ObjectKind.TEXT_REPORT]

    distances = {
        name_of(item): float(item.MeasuredValueSequence[0].NumericValue)
        for item in items(report)
        if name_of(item) in ("371886008", "371885007")
    }
    assert distances == pytest.approx(coded)
    assert words in sr_text(text)
    assert sr_text(text).count("95 % interval") == 1
    assert complaints(report, tmp_path) == []


def test_a_value_of_limited_reliability_is_marked_for_machines_too(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    marked = [group for group in groups(report) if "RELIABILITY" in {name_of(item) for item in items(group)}]
    assert [template(group) for group in marked] == ["1501"]


def test_a_finding_answers_with_its_category(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    (answer,) = [item for item in items(report) if name_of(item) == "TIPPOS"]
    assert answer.ConceptCodeSequence[0].CodeValue == "TIPPOS-HA"


@pytest.mark.parametrize("site", [LUNG, None], ids=["with a site", "without a site"])
def test_a_structure_keeps_its_side_whether_or_not_it_names_a_site(tmp_path: Path, site: Code | None) -> None:
    image = planar_nm()
    result = nm_result(image)
    lung = replace(result.regions[1], site=site)
    made = objects(order(save([image], tmp_path / "study")), replace(result, regions=(lung,)))
    (report,) = made[ObjectKind.REPORT]

    on_lung = [group for group in groups(report) if "Lung shunt fraction" not in sr_text(group)]
    sides = [[item for item in items(group) if name_of(item) == "272741003"] for group in on_lung]
    assert [[item.ConceptCodeSequence[0].CodeValue for item in each] for each in sides] == [[RIGHT.value]] * 2
    assert complaints(report, tmp_path) == []


def test_dcmqi_reads_every_group_of_the_report(tmp_path: Path) -> None:
    (report,) = ct_objects(tmp_path)[ObjectKind.REPORT]

    read = json.loads(report_read_by_dcmqi(report, tmp_path))
    assert len(read["Measurements"]) == len(groups(report)) == 7


def test_a_segment_whose_mask_cannot_be_sent_is_still_measured_on_its_outline(tmp_path: Path) -> None:
    kinds = frozenset({ObjectKind.REPORT, ObjectKind.TEXT_REPORT})
    made = ct_objects(tmp_path, object_kinds=kinds)

    (report,) = made[ObjectKind.REPORT]
    assert made[ObjectKind.SEGMENTATION] == []
    assert {template(group) for group in groups(report)} == {"1410", "1501"}
    assert "1523.4" in sr_text(report)
    assert complaints(report, tmp_path) == []


def test_a_region_of_a_planar_study_is_outlined_on_each_of_its_frames(tmp_path: Path) -> None:
    image = planar_nm()
    (report,) = objects(order(save([image], tmp_path / "study")), nm_result(image))[ObjectKind.REPORT]

    frames = [
        (template(group), [int(each.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber)])
        for group in groups(report)
        for each in outlines(group)
        if template(group) == "1410"
    ]
    assert frames == [("1410", [1]), ("1410", [2]), ("1410", [1]), ("1410", [2]), ("1410", [1])], (
        "the shunt is the last"
    )
    first, second = groups(report)[:2]
    assert "123456" in sr_text(first)
    assert "98765" in sr_text(second)
    assert tracking_uid(first) != tracking_uid(second), "viewers draw one outline for each tracking UID"


def test_measurements_of_the_whole_examination_share_the_first_outline_they_rest_on(tmp_path: Path) -> None:
    image = planar_nm()
    result = nm_result(image)
    (shunt,) = [each for each in result.measurements if each.subject is None]
    both = (*result.measurements, replace(shunt, key="lung_shunt_fraction_corrected", value=0.021))
    (report,) = objects(order(save([image], tmp_path / "study")), replace(result, measurements=both))[ObjectKind.REPORT]

    assert {template(group) for group in groups(report)} == {"1410"}, "OHIF shows an empty window for a lone TID 1501"
    (group,) = [each for each in groups(report) if "Lung shunt fraction" in sr_text(each)]
    (drawn,) = outlines(group)
    assert np.allclose(drawn.GraphicData[:2], shunt.lines[0].points_col_row[0])
    assert "0.021" in sr_text(group)
    assert complaints(report, tmp_path) == []


def test_the_text_report_says_everything_that_was_answered(tmp_path: Path) -> None:
    made = ct_objects(tmp_path, missing=("portal venous phase",), revision=1)

    text = sr_text(made[ObjectKind.TEXT_REPORT][0])
    for expected in (
        "AUTOMATED, UNVERIFIED",
        "Not for clinical use.",
        "Conclusion: One lesion.",
        "Catheter tip position: Tip protruding into hepatic artery lumen. The tip stands in the hepatic artery.",
        "Extrahepatic perfusion: indeterminate. Not decided.",
        "Liver: Volume = 1523 mL (95 % interval 1483 to 1563)",
        "Lesion 1: Long axis = 4 mm; LIMITED reliability: slices of 3 mm",
        "Coverage: NOT PASSED; seen dome cut off; wanted whole liver",
        "Phase: passed; seen aorta 310 HU",
        "Lesions below 10 mm are not looked for.",
        "Missing when the study was analysed: portal venous phase",
        "Series 1 (CT series 1): read as arterial; bright aorta",
        "Analyzer cta 0.1.0",
        "Revision 1, analysis begun 2026-01-02 13:00:00 +0100",
    ):
        assert expected in text


def test_a_fraction_is_spoken_of_in_percent_as_well(tmp_path: Path) -> None:
    image = planar_nm()
    (text,) = objects(order(save([image], tmp_path / "study")), nm_result(image))[ObjectKind.TEXT_REPORT]

    assert "Lung shunt fraction = 0.0523 (5.23 %)" in sr_text(text)
    assert "[series 7, frame 1] = 123456 counts" in sr_text(text)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (NotAssessable(reasons=("No arterial phase",)), "NOT ASSESSABLE. No arterial phase."),
        (Declined(reason="No CT series"), "NOT ANALYSED. No CT series."),
        (None, "COULD NOT BE ANALYSED (technical). The analyzer ran too long."),
    ],
    ids=["not assessable", "declined", "failed"],
)
def test_a_study_without_measurements_is_answered_in_words(
    tmp_path: Path, result: AnalysisResult | None, words: str
) -> None:
    study = save(slices(3), tmp_path / "study")
    failure = "The analyzer ran too long" if result is None else None
    made = objects(order(study, failure=failure), result)

    assert made[ObjectKind.REPORT] == []
    (text,) = made[ObjectKind.TEXT_REPORT]
    assert words in sr_text(text)
    assert "Recommendation: " in sr_text(text)
    assert complaints(text, tmp_path) == []


@pytest.mark.parametrize(
    "result",
    [NotAssessable(reasons=("No arterial phase",)), Declined(reason="No CT series"), None],
    ids=["not assessable", "declined", "failed"],
)
def test_a_destination_that_reads_groups_without_coordinates_gets_the_answer_coded(
    tmp_path: Path, result: AnalysisResult | None
) -> None:
    study = save(slices(3), tmp_path / "study")
    failure = "The analyzer ran too long" if result is None else None
    asked = order(study, failure=failure, groups_without_coordinates=True)

    (report,) = objects(asked, result)[ObjectKind.REPORT]

    assert "ASSESSABILITY" in {name_of(item) for item in items(report)}
    assert complaints(report, tmp_path) == []


def test_a_study_is_answered_in_words_even_where_only_measurements_are_wanted(tmp_path: Path) -> None:
    study = save(slices(3), tmp_path / "study")
    asked = order(study, object_kinds=frozenset({ObjectKind.REPORT}))

    made = objects(asked, NotAssessable(reasons=("No arterial phase",)))

    assert len(made[ObjectKind.TEXT_REPORT]) == 1


def test_a_study_whose_images_are_gone_is_still_answered(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (text,) = objects(order(tmp_path / "study", failure="the sources are gone"), None)[ObjectKind.TEXT_REPORT]

    assert text.PatientID == "PHANTOM-1"
    assert text.StudyInstanceUID == STUDY
    assert complaints(text, tmp_path) == []


@pytest.mark.parametrize("missing", [(), ("portal venous phase",)])
def test_a_technical_failure_says_that_all_images_came_only_where_they_did(
    tmp_path: Path, missing: tuple[str, ...]
) -> None:
    study = save(slices(3), tmp_path / "study")
    (text,) = objects(order(study, failure="the analyzer ran too long", missing=missing), None)[ObjectKind.TEXT_REPORT]

    assert ("received completely" in sr_text(text)) is not bool(missing)
    assert "operator of this node can repeat it" in sr_text(text)


def test_both_reports_are_preliminary_and_unverified(tmp_path: Path) -> None:
    made = ct_objects(tmp_path)

    for report in (*made[ObjectKind.REPORT], *made[ObjectKind.TEXT_REPORT]):
        flags = (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag, report.ContentQualification)
        assert flags == ("COMPLETE", "PRELIMINARY", "UNVERIFIED", "RESEARCH")


def test_reports_list_source_images_and_segmentations_as_evidence(tmp_path: Path) -> None:
    made = ct_objects(tmp_path)

    for report in (*made[ObjectKind.REPORT], *made[ObjectKind.TEXT_REPORT]):
        (study,) = report.CurrentRequestedProcedureEvidenceSequence
        listed = {
            reference.ReferencedSOPInstanceUID
            for series in study.ReferencedSeriesSequence
            for reference in series.ReferencedSOPSequence
        }
        assert listed >= {image.SOPInstanceUID for image in slices(12)}
        assert listed >= {each.SOPInstanceUID for each in made[ObjectKind.SEGMENTATION]}


def test_a_new_revision_names_the_reports_that_it_replaces(tmp_path: Path) -> None:
    earlier = tuple(
        Predecessor(
            sop_class_uid=sop_class,
            sop_instance_uid=f"2.25.{number}",
            series_instance_uid=f"2.25.9{number}",
            study_instance_uid=STUDY,
        )
        for number, sop_class in enumerate(("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.11"), 1)
    )

    made = ct_objects(tmp_path, revision=2, predecessors=earlier)

    for report, uid in ((made[ObjectKind.REPORT][0], "2.25.1"), (made[ObjectKind.TEXT_REPORT][0], "2.25.2")):
        (study,) = report.PredecessorDocumentsSequence
        assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid
        assert complaints(report, tmp_path) == []


def test_our_device_is_named_alike_wherever_an_object_names_it(tmp_path: Path) -> None:
    made = ct_objects(tmp_path)

    (report,) = made[ObjectKind.REPORT]
    ours = next(item for item in report.ContributingEquipmentSequence if "DeviceUID" in item)
    text = sr_text(report)
    assert f"Device Observer UID: {ours.DeviceUID}" in text
    assert f"Algorithm Name: {ours.ManufacturerModelName}" in text
    assert f"Algorithm Version: {ours.SoftwareVersions}" in text
    algorithm = made[ObjectKind.SEGMENTATION][0].SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmSource, algorithm.AlgorithmName) == (ours.Manufacturer, ours.ManufacturerModelName)


def test_the_private_coding_scheme_is_declared_in_every_object(tmp_path: Path) -> None:
    for dataset in (dataset for each in ct_objects(tmp_path).values() for dataset in each):
        assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99HAIPUMP"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    images = slices(12)
    result = ct_result(images)
    spoilt = replace(result, measurements=(replace(result.measurements[0], value=value),))

    with pytest.raises(EncodingError, match="liver_volume"):
        objects(order(save(images, tmp_path / "study")), spoilt)


@pytest.mark.parametrize(
    "line",
    [
        Outline(frame=FrameRef(sop_instance_uid="1.2.3"), points_col_row=((1.0, 1.0), (5.0, 5.0)), closed=False),
        Outline(frame=planes_of(slices(1))[0], points_col_row=((1.0, 1.0), (500.0, 5.0)), closed=False),
        Outline(frame=FrameRef(sop_instance_uid=f"{STUDY}.1.1", frame=9), points_col_row=((1.0, 1.0), (5.0, 5.0))),
    ],
    ids=["unknown image", "outside the image", "unknown frame"],
)
def test_a_line_that_is_not_on_an_image_of_the_study_is_refused(tmp_path: Path, line: Outline) -> None:
    images = slices(12)
    result = ct_result(images)
    spoilt = replace(result, measurements=(replace(result.measurements[1], lines=(line,)),))

    with pytest.raises(EncodingError, match="instance"):
        objects(order(save(images, tmp_path / "study")), spoilt)


def test_both_reports_name_the_thresholds_that_the_site_set(tmp_path: Path) -> None:
    images, told = slices(12), "liver.volume_ml = 400 to 4500 ml (default 500 to 4000 ml)"

    made = objects(order(save(images, tmp_path / "study")), ct_result(images), (told,))

    (report,), (text,) = made[ObjectKind.REPORT], made[ObjectKind.TEXT_REPORT]
    parameters = [item.TextValue for item in items(report) if name_of(item) == "111002"]
    assert parameters == [told] * len(groups(report))
    assert f"Threshold set by this site: {told}" in sr_text(text)
    assert complaints(report, tmp_path) == complaints(text, tmp_path) == []
    silent = ct_objects(tmp_path / "silent")
    assert "111002" not in [name_of(item) for item in items(silent[ObjectKind.REPORT][0])]
    assert "Threshold set" not in sr_text(silent[ObjectKind.TEXT_REPORT][0])


@pytest.mark.parametrize(
    ("undecided", "answer"),
    [(True, "Read by eye"), (False, "indeterminate, possibly Read by eye")],
)
def test_an_answer_that_says_itself_that_nothing_was_decided_is_not_doubted_twice(undecided: bool, answer: str) -> None:
    value = Code(value="X", scheme="99TEST", meaning="Read by eye")
    finding = Finding(
        key="anatomy",
        concept=EXTRAHEPATIC,
        presence=Presence.INDETERMINATE,
        sentence="Doubtful.",
        value=value,
        undecided=undecided,
    )

    assert finding_line(finding) == f"Extrahepatic perfusion: {answer}. Doubtful."
