"""A SPECT and what a reader outlined on it, through the whole node: the ratio arrives, and nothing is disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from scp_node.demo.ports import free_port
from scp_node.objects.text import sr_text
from scp_node.store.overview import Explanation
from tests.analyzers.outlined_patient import RATIO, patient
from tests.node.network import store
from tests.system.misbehaving_pacs import WELL_BEHAVED, MisbehavingPacs, misbehaving_pacs
from tests.system.node_process import NodeUnderTest, made_objects, node_under_test

pytestmark = pytest.mark.timeout(280)
ROUTES = """
[[route]]
name = "scintigraphy"
when = { attribute = "StudyDescription", matches = "HAI" }
analyze = ["scintigraphy"]
deliver_to = ["pacs"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeUnderTest, MisbehavingPacs]]:
    pacs_port = free_port()
    folder = tmp_path_factory.mktemp("node")
    with (
        node_under_test(folder, pacs_port=pacs_port, routes=ROUTES, memory_limit_gib=2.0) as node,
        misbehaving_pacs("PACS", node_port=node.port, port=pacs_port) as pacs,
    ):
        pacs.misbehaviour = replace(WELL_BEHAVED, forwards_back=True)
        yield node, pacs


def report(pacs: MisbehavingPacs, told: Explanation, revision: int = 1) -> Dataset:
    """The measurement report of a revision as the archive holds it."""
    made = [pacs.held[uid].header for uid in made_objects(told, revision)]
    return next(dataset for dataset in made if dataset.SOPClassUID.name == "Comprehensive 3D SR Storage")


def evidence(document: Dataset) -> set[str]:
    return {
        reference.ReferencedSOPInstanceUID
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


def items(document: Dataset) -> Iterator[Dataset]:
    """Every content item of a report."""
    for item in document.get("ContentSequence", []):
        yield item
        yield from items(item)


def ratios_in(document: Dataset) -> list[float]:
    """Tumour-to-normal ratios, wherever they stand."""
    return [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in items(document)
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == "TNR"
    ]


def test_a_spect_and_its_segmentation_are_answered_with_the_ratio_and_disturb_nothing(
    world: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = world
    spect, outlined, study = patient(tmp_path, "together")
    mask = dcmread(outlined)

    # The segmentation comes first: it opens no study of its own kind and is not waited for.
    assert store(node.port, [outlined, spect]) == [0, 0]

    told = node.answered(study)
    document = report(pacs, told)
    assert ratios_in(document) == [pytest.approx(RATIO, rel=0.1)]
    assert mask.SOPInstanceUID in evidence(document)
    assert "Tumor 1" in sr_text(document)
    pointed_at = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in items(document)
        if item.ValueType == "IMAGE" and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]
    }
    assert mask.SOPInstanceUID in pointed_at
    made = made_objects(told)
    node.until(
        study,
        lambda now: sum(event.event == "own-object-returned" for event in now.events) >= len(made),
        "everything to come back",
    )
    again = node.answered(study)
    assert (again.study.revision, len(again.jobs), again.study.instance_count) == (1, 1, 1)


def test_a_segmentation_that_comes_after_the_answer_waits_for_the_next_analysis(
    world: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = world
    spect, outlined, study = patient(tmp_path, "late")
    store(node.port, [spect])
    first = node.answered(study)
    assert ratios_in(report(pacs, first)) == []

    store(node.port, [outlined])
    known = node.explanation(study)
    assert known is not None
    assert (known.study.revision, known.study.state, len(known.jobs)) == (1, first.study.state, 1)
    assert node.command("requeue", study).returncode == 0

    second = node.answered(study, revision=2)
    assert ratios_in(report(pacs, second, 2)) == [pytest.approx(RATIO, rel=0.1)]
    assert dcmread(outlined).SOPInstanceUID in evidence(report(pacs, second, 2))
    assert len(second.jobs) == 2


def test_what_was_outlined_on_an_earlier_study_of_the_patient_is_measured_on_the_next(
    world: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = world
    spect, outlined, study = patient(tmp_path, "first", "TWICE")
    store(node.port, [outlined, spect])
    node.answered(study)
    again, _, next_study = patient(tmp_path, "second", "TWICE")

    store(node.port, [again])

    document = report(pacs, node.answered(next_study))
    assert ratios_in(document) == [pytest.approx(RATIO, rel=0.1)]
    assert dcmread(outlined).SOPInstanceUID not in evidence(document), "it is of another study"
