"""Asking the sending archive how much it holds: seldom, about its own studies only, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from scp_node.domain.completion import ArchivedSeries
from scp_node.domain.outcome import Retry, Wait
from scp_node.domain.study import ReceivedInstance, StudyEvent
from scp_node.errors import TransientDeliveryError
from scp_node.pipeline.count import AGAIN_S, SILENT_S, ArchiveCounts, CountInstances
from scp_node.pipeline.stage import StageRunner
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.node.store_samples import OTHER_STUDY, STUDY, at, received


@dataclass
class Archive:
    """Answers with a number of images, or not at all."""

    images: int | None = 2
    asked: list[str] = field(default_factory=list)

    def series_of(self, peer: str, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
        self.asked.append(study_instance_uid)
        if self.images is None:
            raise TransientDeliveryError(f"no connection to {peer}")
        series = f"{study_instance_uid}.1"
        return (ArchivedSeries(series_instance_uid=series, modality="CT", instance_count=self.images),)


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[StudyStore]:
    database = Database.open(tmp_path, migrate=True)
    yield StudyStore(database)
    database.close()


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def stage(studies: StudyStore, archive: Archive) -> CountInstances:
    return CountInstances(
        studies=studies,
        archive=archive,
        counts=ArchiveCounts(),
        peers={"PACS": "pacs"},
        quiet_s=20.0,
        stopping=lambda: False,
    )


def from_pacs(number: int, *, study: str = STUDY, after_s: float = 0.0) -> ReceivedInstance:
    one = received(number, study=study, after_s=after_s)
    own = replace(one.summary, sop_instance_uid=f"{study}.1.{number}")
    return replace(one, summary=own, calling_ae="PACS")


def counted(studies: StudyStore) -> list[str]:
    return [event.reason for event in studies.events(STUDY) if event.event == "archive-counted"]


def test_an_archive_that_holds_what_came_is_believed_until_the_next_image(
    studies: StudyStore, stage: CountInstances
) -> None:
    studies.record_many([from_pacs(1), from_pacs(2)], at(0))
    StageRunner(stage).run(at(21))

    count = stage.counts.of(studies.get(STUDY))
    assert count is not None
    assert count.holds_no_more
    assert counted(studies) == ["pacs holds no more than the 2 images that came"]

    studies.record(from_pacs(3, after_s=25), at(25))
    assert stage.counts.of(studies.get(STUDY)) is None


def test_it_is_asked_after_some_quiet_and_then_at_most_every_half_minute(
    studies: StudyStore, stage: CountInstances, archive: Archive
) -> None:
    archive.images = 5
    studies.record(from_pacs(1), at(0))
    runner = StageRunner(stage)

    for second in range(20):
        runner.run(at(second))
    assert archive.asked == []
    for second in range(20, 20 + int(2 * AGAIN_S)):
        runner.run(at(second))

    assert len(archive.asked) == 2
    assert counted(studies) == ["pacs holds 5 images in 1 series; 1 in 1 series came"], "the same answer is told once"


def test_an_archive_that_cannot_be_asked_is_left_alone_by_all_studies(
    studies: StudyStore, stage: CountInstances, archive: Archive
) -> None:
    archive.images = None
    studies.record_many([from_pacs(1), from_pacs(1, study=OTHER_STUDY)], at(0))

    first, second = stage.due(at(30))
    failed = stage.step(first, at(30))
    spared = stage.step(second, at(31))

    assert isinstance(failed, Retry)
    assert isinstance(spared, Wait)
    assert len(archive.asked) == 1
    assert counted(studies) == ["pacs could not be asked: no connection to pacs"]
    count = stage.counts.of(studies.get(STUDY))
    assert count is not None
    assert not count.holds_no_more
    stage.step(second, at(30 + SILENT_S))
    assert len(archive.asked) == 2


def test_nobody_is_asked_about_what_somebody_else_sent(
    studies: StudyStore, stage: CountInstances, archive: Archive
) -> None:
    studies.record_many([from_pacs(1), received(2)], at(0))

    StageRunner(stage).run(at(30))

    assert archive.asked == []
    assert counted(studies) == []


def test_answers_are_forgotten_once_a_study_no_longer_waits(studies: StudyStore, stage: CountInstances) -> None:
    studies.record_many([from_pacs(1), from_pacs(2)], at(0))
    StageRunner(stage).run(at(21))
    waiting = studies.get(STUDY)
    studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(22))

    stage.due(at(23))

    assert stage.counts.of(waiting) is None
