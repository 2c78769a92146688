"""A study is complete as it was looked at, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from analyzers.contract import Complete as AllHere
from analyzers.contract import Expectation, StudySummary
from scp_node.domain.outcome import Done, Wait
from scp_node.domain.routing import Analyze, CalledAe, Route
from scp_node.domain.study import StudyState
from scp_node.errors import LostRaceError
from scp_node.node import patience
from scp_node.pipeline.children import LocalRunner
from scp_node.pipeline.complete import Complete
from scp_node.pipeline.count import ArchiveCounts
from scp_node.pipeline.expectations import Expectations
from scp_node.pipeline.ports import Child, ChildEnd, Ending
from scp_node.settings import CompletionSettings
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.node.store_samples import STUDY, at, received

ROUTE = Route(name="all", when=CalledAe(one_of=("HAI_NODE",)), decision=Analyze(analyzers=("cta",), peers=("pacs",)))


class SlowAnalyzer(Expectations):
    """While it is asked, another image arrives."""

    def __init__(self, studies: StudyStore) -> None:
        super().__init__(LocalRunner(), niceness=0, thresholds={}, stopping=lambda: False)
        self._studies = studies

    def ask(self, summary: StudySummary, analyzers: Sequence[str], state_key: str) -> Expectation:
        self._studies.record(received(2, after_s=1000), at(1000))
        return AllHere(reason="all here")


def complete_stage(studies: StudyStore, expectations: Expectations, stopping: Callable[[], bool]) -> Complete:
    return Complete(
        studies=studies,
        expectations=expectations,
        routes=(ROUTE,),
        patience=patience(CompletionSettings()),
        association_hold_s=60.0,
        counts=ArchiveCounts(),
        stopping=stopping,
    )


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[StudyStore]:
    database = Database.open(tmp_path, migrate=True)
    store = StudyStore(database)
    store.record(received(1), at(0))
    yield store
    database.close()


def test_an_image_that_comes_while_the_analyzer_is_asked_keeps_the_study_open(studies: StudyStore) -> None:
    stage = complete_stage(studies, SlowAnalyzer(studies), lambda: False)
    (study,) = stage.due(at(1000))
    with pytest.raises(LostRaceError, match="2 objects by now"):
        stage.step(study, at(1000))

    assert studies.get(STUDY).state is StudyState.RECEIVING


class StoppedMeanwhile:
    """A runner during whose run the node is asked to stop."""

    def __init__(self) -> None:
        self.stopping = False
        self.told: list[bool] = []

    def run(self, child: Child, *, started: Callable[[int, float], None], wanted: Callable[[], bool]) -> ChildEnd:
        self.told.append(wanted())
        self.stopping = True
        self.told.append(wanted())
        return ChildEnd(
            ending=Ending.STOPPED, exit_code=-9, seconds=1.0, peak_memory_gib=0.1, stdout=b"", stderr_tail=""
        )


def test_a_stop_ends_the_question_what_is_expected_and_decides_nothing(studies: StudyStore) -> None:
    runner = StoppedMeanwhile()
    expectations = Expectations(runner, niceness=0, thresholds={}, stopping=lambda: runner.stopping)
    stage = complete_stage(studies, expectations, lambda: runner.stopping)
    (study,) = stage.due(at(1000))
    assert isinstance(stage.step(study, at(1000)), Wait)

    assert runner.told == [True, False]
    assert studies.get(STUDY).state is StudyState.RECEIVING
    assert stage.due(at(1001)) == ()


class FullDisk:
    """A runner that finds no room for what it must write."""

    def run(self, child: Child, *, started: object, wanted: object) -> ChildEnd:
        del child, started, wanted
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_for_temporary_files_keeps_no_study_open(studies: StudyStore) -> None:
    stage = complete_stage(
        studies, Expectations(FullDisk(), niceness=0, thresholds={}, stopping=lambda: False), lambda: False
    )
    (study,) = stage.due(at(1000))
    assert isinstance(stage.step(study, at(1000)), Done)
    assert studies.get(STUDY).state is StudyState.COMPLETE
