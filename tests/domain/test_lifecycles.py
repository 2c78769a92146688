"""Every pair of state and event of the three life-cycles: listed here, or refused.

The tables below are written by hand from what the node promises. A row is an event, a column a state, an entry the
state that follows; a dot says that the event is refused.
"""

from enum import StrEnum
from typing import Any

import pytest

from scp_node.domain.delivery import DELIVERY_LIFECYCLE, DeliveryEvent, DeliveryState
from scp_node.domain.job import JOB_LIFECYCLE, JobEvent, JobState
from scp_node.domain.lifecycle import Lifecycle
from scp_node.domain.study import STUDY_LIFECYCLE, StudyEvent, StudyState

STUDY = """
                     receiving  complete   routed     ignored    held
image-arrived        receiving  receiving  receiving  receiving  receiving
found-complete       complete   .          .          .          .
route-analyze        .          routed     .          .          .
route-ignore         .          ignored    .          .          .
route-hold           .          held       .          .          .
released-to-analyze  .          .          .          routed     routed
released-to-ignore   .          .          .          ignored    ignored
conflict-found       held       held       held       held       held
reanalysis-asked     .          .          routed     .          .
dismissed            .          .          ignored    .          .
"""

JOB = """
                queued      running     analyzed    encoded  failed  superseded
leased          running     .           .           .        .       .
analysis-done   .           analyzed    .           .        .       .
attempt-failed  .           queued      .           .        .       .
lease-expired   .           queued      .           .        .       .
gave-up         failed      failed      failed      .        .       .
encoding-done   .           .           encoded     .        .       .
inputs-changed  superseded  superseded  superseded  .        .       .
"""

DELIVERY = """
                 queued     sending   sent       committed  failed     withheld   dismissed
leased           sending    .         .          .          .          .          .
stored           .          sent      .          .          .          .          .
committed        .          .         committed  .          .          .          .
not-held         .          .         queued     .          .          .          .
transient-fault  .          queued    queued     .          .          .          .
lease-expired    .          queued    .          .          .          .          .
permanent-fault  .          failed    failed     .          .          .          .
withheld         withheld   withheld  .          .          .          .          .
requeued         .          .         .          .          queued     queued     .
dismissed        dismissed  .         dismissed  .          dismissed  dismissed  .
"""

CASES: list[tuple[Lifecycle[Any, Any], type[StrEnum], type[StrEnum], str]] = [
    (STUDY_LIFECYCLE, StudyState, StudyEvent, STUDY),
    (JOB_LIFECYCLE, JobState, JobEvent, JOB),
    (DELIVERY_LIFECYCLE, DeliveryState, DeliveryEvent, DELIVERY),
]
NAMES = ["study", "job", "delivery"]


def expected(grid: str) -> dict[tuple[str, str], str | None]:
    header, *rows = [line.split() for line in grid.strip().splitlines()]
    return {
        (state, event): None if after == "." else after
        for event, *entries in rows
        for state, after in zip(header, entries, strict=True)
    }


PAIRS = [
    pytest.param(lifecycle, states(state), events(event), after, id=f"{lifecycle.name}: {event} when {state}")
    for lifecycle, states, events, grid in CASES
    for (state, event), after in expected(grid).items()
]


@pytest.mark.parametrize(("lifecycle", "state", "event", "after"), PAIRS)
def test_an_event_leads_where_the_table_says_or_is_refused(
    lifecycle: Lifecycle[Any, Any], state: StrEnum, event: StrEnum, after: str | None
) -> None:
    assert lifecycle.after(state, event) == after


@pytest.mark.parametrize(("lifecycle", "states", "events", "grid"), CASES, ids=NAMES)
def test_no_state_and_no_event_is_left_out(
    lifecycle: Lifecycle[Any, Any], states: type[StrEnum], events: type[StrEnum], grid: str
) -> None:
    pairs = expected(grid)

    assert set(pairs) == {(state.value, event.value) for state in states for event in events}
    assert {(state.value, event.value) for state, event in lifecycle.table} <= set(pairs)


@pytest.mark.parametrize(("lifecycle", "states", "events", "grid"), CASES, ids=NAMES)
def test_every_state_can_be_reached_from_the_first(
    lifecycle: Lifecycle[Any, Any], states: type[StrEnum], events: type[StrEnum], grid: str
) -> None:
    reached, frontier = set(), {next(iter(states))}
    while frontier:
        reached |= frontier
        frontier = {
            after
            for state in frontier
            for event in events
            if (after := lifecycle.after(state, event)) is not None and after not in reached
        }

    assert reached == set(states)
    assert set(expected(grid).values()) - {None} <= {state.value for state in states}


def test_nothing_takes_an_encoded_or_superseded_job_further() -> None:
    for state in (JobState.ENCODED, JobState.FAILED, JobState.SUPERSEDED):
        assert [event for event in JobEvent if JOB_LIFECYCLE.after(state, event)] == []


def test_nothing_moves_a_committed_delivery() -> None:
    assert [event for event in DeliveryEvent if DELIVERY_LIFECYCLE.after(DeliveryState.COMMITTED, event)] == []
