"""Complete: decide when a study has arrived."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from analyzers.contract import Expectation, StudySummary
from analyzers.headers import study_summary
from scp_node.domain.completion import NotYet, Patience, Ready, Reception, completeness
from scp_node.domain.outcome import Done, Outcome, Wait
from scp_node.domain.routing import Analyze, Route, decide
from scp_node.domain.study import Study, StudyEvent, StudyState
from scp_node.pipeline.count import ArchiveCounts, state_key
from scp_node.pipeline.expectations import Expectations
from scp_node.store.studies import StudyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The stage that ends the waiting."""

    studies: StudyStore
    expectations: Expectations
    routes: tuple[Route, ...]
    patience: Patience
    association_hold_s: float
    counts: ArchiveCounts
    stopping: Callable[[], bool]

    @property
    def name(self) -> str:
        """The verb."""
        return "complete"

    def due(self, now: datetime) -> Sequence[Study]:
        """Studies that still arrive."""
        return () if self.stopping() else self.studies.in_state(StudyState.RECEIVING)

    def key(self, item: Study) -> str:
        """A new image makes it worth looking again, and so does an archive's count."""
        return f"{state_key(item)} {self._is_counted(item)}"

    def _is_counted(self, item: Study) -> bool:
        count = self.counts.of(item)
        return count is not None and count.holds_no_more

    def step(self, item: Study, now: datetime) -> Outcome:
        """Ask whether the study is complete, and say so to the store."""
        ask_at = item.last_received_at + timedelta(seconds=self.patience.quiet_when_complete_s)
        cap_at = item.first_received_at + timedelta(seconds=self.patience.cap_s)
        if now < min(ask_at, cap_at):
            # Nothing can make it complete before. While a study is being sent its headers are not read again and again.
            return Wait(until=min(ask_at, cap_at), why="its last image has just come")
        summary = summary_of(self.studies, item.study_instance_uid)
        reception = Reception(
            first_received_at=item.first_received_at,
            last_received_at=item.last_received_at,
            modalities=summary.modalities,
            association_open=item.study_instance_uid in self.studies.studies_held_open(now, self.association_hold_s),
        )
        expectation = self._expectation(item, summary) if now >= ask_at else None
        if self.stopping():
            return Wait(until=now, why="the node is stopping, and nobody answered what is expected")
        verdict = completeness(now, reception, expectation, self.patience, self.counts.of(item))
        if isinstance(verdict, NotYet):
            return Wait(until=verdict.until if now >= ask_at else min(verdict.until, ask_at), why=verdict.why)
        return self._close(item, verdict, now)

    def _expectation(self, item: Study, summary: StudySummary) -> Expectation | None:
        decision = decide(summary, self.studies.senders(item.study_instance_uid), self.routes).decision
        if not isinstance(decision, Analyze):
            return None
        return self.expectations.ask(summary, decision.analyzers, state_key(item))

    def _close(self, item: Study, verdict: Ready, now: datetime) -> Outcome:
        uid = item.study_instance_uid
        self.studies.apply(
            uid,
            StudyEvent.FOUND_COMPLETE,
            reason=verdict.reason,
            now=now,
            expect_revision=item.revision,
            # Images may have come while the analyzer was asked, which takes seconds: then it is asked again.
            expect_count=item.instance_count,
            detail={"missing": list(verdict.missing)},
        )
        return Done(what=f"study {uid} complete: {verdict.reason}")


def summary_of(studies: StudyStore, study_instance_uid: str) -> StudySummary:
    """The headers of the usable images of a study."""
    return study_summary(instance.summary for instance in studies.instances(study_instance_uid))
