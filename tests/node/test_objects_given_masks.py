"""Lesions that others outlined, in the report: the group points at their segmentation, and nothing is inherited."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from analyzers import vocabulary
from analyzers.contract import Assessed, FrameRef, Measurement, Region, SegmentRef
from analyzers.measuring import measurement
from scp_node.objects.encoding import MadeObject, make_objects, setting_of
from tests.analyzers.segmentation_samples import LESION_CODES, reference_image, segmentation
from tests.node.object_sources import FRAME_OF_REFERENCE, STUDY, circle, order, save, slices
from tests.node.object_validation import complaints

SERIES = f"{STUDY}.1"


def outlined(series: str = SERIES) -> Dataset:
    mask = np.zeros((4, 24, 32), np.bool_)
    mask[1:3, 8:14, 9:15] = True
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    image = reference_image(study=STUDY, series=series, frame_of_reference=FRAME_OF_REFERENCE)
    return segmentation([("Tumor 1", LESION_CODES, mask)], affine, image)


def made(folder: Path, mask: Dataset, *, number: int = 1) -> list[MadeObject]:
    images = slices(4)
    save([*images, mask], folder / "study")
    drawn_on = mask.ReferencedSeriesSequence[0].SeriesInstanceUID
    region = Region(
        name="given-lesion-1",
        label="Tumor 1",
        type=vocabulary.LESION,
        outlines=(circle(FrameRef(sop_instance_uid=images[1].SOPInstanceUID), (12, 11), 4),),
        site=vocabulary.LIVER,
        segment=SegmentRef(sop_instance_uid=mask.SOPInstanceUID, number=number, source_series_uid=drawn_on),
    )
    ratio: Measurement = measurement("tumor_to_normal_ratio", 4.2, "given-lesion-1", method="Mean over mean")
    result = Assessed(conclusion="One lesion.", findings=(), measurements=(ratio,), regions=(region,))
    return list(make_objects(setting_of(order(folder / "study")), result, ()))


def report_of(objects: list[MadeObject]) -> Dataset:
    return next(each.dataset for each in objects if each.file == "report.dcm")


def evidence_of(document: Dataset) -> set[str]:
    return {
        reference.ReferencedSOPInstanceUID
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


def groups_of(document: Dataset) -> dict[str, Dataset]:
    """Measurement groups by the template that they follow."""
    (measured,) = (item for item in document.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010")
    return {group.ContentTemplateSequence[0].TemplateIdentifier: group for group in measured.ContentSequence}


def names_in(group: Dataset) -> set[str]:
    return {item.ConceptNameCodeSequence[0].CodeMeaning for item in group.ContentSequence}


def test_the_ratio_of_an_outlined_lesion_points_at_the_segment_that_it_was_measured_on(tmp_path: Path) -> None:
    mask = outlined()
    report = report_of(made(tmp_path, mask))
    groups = groups_of(report)

    assert set(groups) == {"1410", "1411"}
    pointed_at = [
        (item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID, item.ReferencedSOPSequence[0].ReferencedSegmentNumber)
        for item in groups["1411"].ContentSequence
        if item.ValueType == "IMAGE"
    ]
    assert pointed_at == [(mask.SOPInstanceUID, 1)]
    assert "Tumor to normal liver uptake ratio" in names_in(groups["1411"])
    tracking = [
        next(item.UID for item in group.ContentSequence if item.ValueType == "UIDREF") for group in groups.values()
    ]
    assert tracking[0] == tracking[1]


def test_the_segmentation_is_evidence_of_both_reports_and_a_source_of_nothing_else(tmp_path: Path) -> None:
    mask = outlined()
    objects = made(tmp_path, mask)

    documents = [each.dataset for each in objects if each.dataset.Modality == "SR"]
    assert len(documents) == 2
    for document in documents:
        assert mask.SOPInstanceUID in evidence_of(document)
        assert document.SOPInstanceUID not in evidence_of(document)
        equipment = {item.Manufacturer for item in document.ContributingEquipmentSequence}
        assert "Maker" in equipment
        assert mask.Manufacturer not in equipment
    assert not any(each.dataset.Modality == "SEG" for each in objects), "the outline of others is not sent again"


def test_every_object_is_without_fault_for_strangers(tmp_path: Path) -> None:
    for each in made(tmp_path, outlined()):
        assert complaints(each.dataset, tmp_path) == [], each.file


@pytest.mark.parametrize("stray", ["another series", "no such segment"])
def test_a_reference_that_leads_nowhere_leaves_the_outline_alone(stray: str, tmp_path: Path) -> None:
    mask = outlined(f"{STUDY}.77" if stray == "another series" else SERIES)

    report = report_of(made(tmp_path, mask, number=1 if stray == "another series" else 5))

    groups = groups_of(report)
    assert set(groups) == {"1410"}
    assert "Tumor to normal liver uptake ratio" in names_in(groups["1410"])
    assert mask.SOPInstanceUID in evidence_of(report)


def test_a_segmentation_that_nothing_rests_on_is_no_evidence(tmp_path: Path) -> None:
    mask = outlined()
    save([*slices(4), mask], tmp_path / "study")
    result = Assessed(conclusion="Nothing.", findings=(), measurements=())

    objects = make_objects(setting_of(order(tmp_path / "study")), result, ())

    documents = [each.dataset for each in objects if each.dataset.Modality == "SR"]
    assert documents
    assert not any(mask.SOPInstanceUID in evidence_of(document) for document in documents)
