"""A study that an archive forwards need not wait for its quiet time once everything has come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scp_node.demo.ports import free_port
from scp_node.domain.study import StudyState
from tests.node.network import store
from tests.system.misbehaving_pacs import MisbehavingPacs, misbehaving_pacs
from tests.system.node_process import NodeUnderTest, node_under_test
from tests.system.patient import Patient

pytestmark = pytest.mark.timeout(280)
FOR_EVER_S = 3000.0


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeUnderTest, MisbehavingPacs]]:
    # Anew for each test: an archive that could not be asked is left alone for minutes.
    pacs_port = free_port()
    folder = tmp_path_factory.mktemp("node")
    with (
        node_under_test(folder, pacs_port=pacs_port, pacs="counts_instances = true", quiet_s=FOR_EVER_S) as node,
        misbehaving_pacs("PACS", node_port=node.port, port=pacs_port) as pacs,
    ):
        yield node, pacs


def test_a_forwarded_study_is_complete_once_the_archive_holds_no_more(
    world: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = world
    patient = Patient(tmp_path, "CT KNEE")  # no analyzer is asked, so nothing but the count can shorten the wait
    files = patient.slices(1, 2, 3)
    assert store(pacs.port, files, called="PACS") == [0] * 3
    assert store(node.port, files[:2], calling="PACS") == [0] * 2
    node.until(
        patient.study,
        lambda told: any("pacs holds 3 images in 1 series; 2" in event.reason for event in told.events),
        "the archive to be asked",
    )
    assert node.explanation(patient.study).study.state is StudyState.RECEIVING  # type: ignore[union-attr]

    store(node.port, files[2:], calling="PACS")

    told = node.state(patient.study, StudyState.IGNORED)
    assert "pacs holds no more than the 3 images that came" in told.decision.completion_reason
    explained = node.command("explain", patient.study).stdout
    assert "archive-counted: pacs holds 3 images in 1 series; 2 in 1 series came" in explained


def test_an_archive_that_is_away_leaves_the_study_waiting_and_the_reason_is_told(
    world: tuple[NodeUnderTest, MisbehavingPacs], tmp_path: Path
) -> None:
    node, pacs = world
    port = pacs.port
    pacs.go_away()
    patient = Patient(tmp_path, "CT KNEE")
    store(node.port, patient.slices(1), calling="PACS")

    told = node.until(
        patient.study,
        lambda told: any("pacs could not be asked" in event.reason for event in told.events),
        "the archive to be asked",
    )

    assert told.study.state is StudyState.RECEIVING
    pacs.start(port)
