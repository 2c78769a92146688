"""A study is complete as it was looked at, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from analyzers.contract import Complete as AllHere
from analyzers.contract import Expectation, StudySummary
from scp_node.domain.routing import Analyze, CalledAe, Route
from scp_node.domain.study import StudyState
from scp_node.errors import LostRaceError
from scp_node.node import patience
from scp_node.pipeline.children import LocalRunner
from scp_node.pipeline.complete import Complete
from scp_node.pipeline.count import ArchiveCounts
from scp_node.pipeline.expectations import Expectations
from scp_node.settings import CompletionSettings
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.node.store_samples import STUDY, at, received

ROUTE = Route(name="all", when=CalledAe(one_of=("HAI_NODE",)), decision=Analyze(analyzers=("cta",), peers=("pacs",)))


class SlowAnalyzer(Expectations):
    """While it is asked, another image arrives."""

    def __init__(self, studies: StudyStore) -> None:
        super().__init__(LocalRunner(), niceness=0, thresholds={})
        self._studies = studies

    def ask(self, summary: StudySummary, analyzers: Sequence[str], state_key: str) -> Expectation:
        self._studies.record(received(2, after_s=1000), at(1000))
        return AllHere(reason="all here")


def test_an_image_that_comes_while_the_analyzer_is_asked_keeps_the_study_open(tmp_path: Path) -> None:
    database = Database.open(tmp_path, migrate=True)
    studies = StudyStore(database)
    studies.record(received(1), at(0))
    stage = Complete(
        studies=studies,
        expectations=SlowAnalyzer(studies),
        routes=(ROUTE,),
        patience=patience(CompletionSettings()),
        association_hold_s=60.0,
        counts=ArchiveCounts(),
    )
    (study,) = stage.due(at(1000))
    with pytest.raises(LostRaceError, match="2 objects by now"):
        stage.step(study, at(1000))

    assert studies.get(STUDY).state is StudyState.RECEIVING
    database.close()
