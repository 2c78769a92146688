"""Route: decide what becomes of a complete study, and write down why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, assert_never

from scp_node.domain.outcome import Done, Outcome
from scp_node.domain.routing import Analyze, Hold, Ignore, Route, Routed, RouteDecision, decide
from scp_node.domain.study import Study, StudyEvent, StudyState
from scp_node.pipeline.complete import summary_of
from scp_node.store.jobs import JobStore
from scp_node.store.studies import StudyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStudies:
    """The stage that asks the routes."""

    studies: StudyStore
    jobs: JobStore
    routes: tuple[Route, ...]

    @property
    def name(self) -> str:
        """The verb."""
        return "route"

    def due(self, now: datetime) -> Sequence[Study]:
        """Studies that are complete."""
        return self.studies.in_state(StudyState.COMPLETE)

    def key(self, item: Study) -> str:
        """One decision per revision and set of images."""
        return f"{item.study_instance_uid} {item.revision} {item.instance_count}"

    def step(self, item: Study, now: datetime) -> Outcome:
        """Decide, store the explanation, and queue the analysis if there is one."""
        uid = item.study_instance_uid
        routed = decide(summary_of(self.studies, uid), self.studies.senders(uid), self.routes)
        if item.conflict:
            routed = Routed(decision=Hold(reason=item.conflict), route=None, examined=routed.examined)
        self.studies.save_decision(uid, explanation(routed), now)
        return self._act(item, routed.decision, routed.route, now)

    def _act(self, item: Study, decision: RouteDecision, route: str | None, now: datetime) -> Outcome:
        uid, by = item.study_instance_uid, f"route {route}" if route else "no route"
        match decision:
            case Analyze(analyzers=analyzers, peers=peers):
                self.jobs.route(uid, analyzers, peers, item.revision, by, now, StudyEvent.ROUTE_ANALYZE)
                return Done(what=f"study {uid} goes to {', '.join(analyzers)} by {by}")
            case Ignore(reason=reason):
                self.studies.apply(uid, StudyEvent.ROUTE_IGNORE, reason=reason, now=now, expect_revision=item.revision)
                return Done(what=f"study {uid} ignored by {by}")
            case Hold(reason=reason):
                self.studies.apply(uid, StudyEvent.ROUTE_HOLD, reason=reason, now=now, expect_revision=item.revision)
                return Done(what=f"study {uid} held by {by}")
            case _:
                assert_never(decision)


def explanation(routed: Routed) -> dict[str, Any]:
    """The decision as the store keeps it, so that "why?" can be answered later."""
    decision = routed.decision
    match decision:
        case Analyze(analyzers=analyzers, peers=peers):
            told: dict[str, Any] = {"analyze": list(analyzers), "peers": list(peers)}
        case Ignore(reason=reason):
            told = {"ignore": reason}
        case Hold(reason=reason):
            told = {"hold": reason}
        case _:
            assert_never(decision)
    return {"decision": told, "route": routed.route, "examined": [asdict(entry) for entry in routed.examined]}
