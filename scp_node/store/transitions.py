"""Every change of a state: asked of the life-cycle's table, written with its event row in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Connection, Table, insert, select, update

from scp_node.domain.delivery import DELIVERY_LIFECYCLE, DeliveryEvent, DeliveryState
from scp_node.domain.job import JOB_LIFECYCLE, JobEvent, JobState
from scp_node.domain.lifecycle import Lifecycle
from scp_node.domain.study import STUDY_LIFECYCLE, StudyEvent, StudyState
from scp_node.errors import IllegalTransitionError
from scp_node.store import tables

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[State, Event]):
    """One kind of thing that has a life-cycle, and the table that it lives in."""

    lifecycle: Lifecycle[State, Event]
    table: Table
    key: Column[Any]


STUDY: Kind[StudyState, StudyEvent] = Kind(
    lifecycle=STUDY_LIFECYCLE, table=tables.study, key=tables.study.c.study_instance_uid
)
JOB: Kind[JobState, JobEvent] = Kind(lifecycle=JOB_LIFECYCLE, table=tables.job, key=tables.job.c.job_id)
DELIVERY: Kind[DeliveryState, DeliveryEvent] = Kind(
    lifecycle=DELIVERY_LIFECYCLE, table=tables.delivery, key=tables.delivery.c.delivery_id
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Generic[State, Event]):
    """One row as it was read in the present writing transaction."""

    kind: Kind[State, Event]
    key: str | int
    state: State
    study_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One thing that happened, as ``explain`` tells it."""

    event_id: int
    at: datetime
    study_instance_uid: str
    subject: str
    """``study``, ``job`` or ``delivery``."""
    subject_key: str
    event: str
    state_before: str
    state_after: str
    """Equal to the state before when the event changed no state."""
    reason: str
    detail: Mapping[str, Any]


def advance(
    connection: Connection,
    subject: Subject[State, Event],
    event: Event,
    *,
    now: datetime,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
) -> State:
    """Apply an event to a row and write the event row.

    ``values`` are further columns to set. Call it inside ``Database.writing`` with a subject read there.

    Raises
    ------
    IllegalTransitionError
        If the event is not legal in the state of the row.
    """
    kind = subject.kind
    after = kind.lifecycle.after(subject.state, event)
    if after is None:
        raise IllegalTransitionError(kind.lifecycle.name, str(subject.key), subject.state, event)
    columns: dict[str, Any] = {**(values or {}), "state": after.value}
    if after != subject.state:
        columns["state_since"] = now
    connection.execute(update(kind.table).where(kind.key == subject.key).values(columns))
    note(connection, subject, event.value, now=now, reason=reason, detail=detail, after=after)
    return after


def note(
    connection: Connection,
    subject: Subject[State, Event],
    event: str,
    *,
    now: datetime,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
    after: State | None = None,
) -> None:
    """Write an event row; without ``after`` it is one that changes no state."""
    connection.execute(
        insert(tables.event).values(
            at=now,
            study_instance_uid=subject.study_instance_uid,
            subject=subject.kind.lifecycle.name,
            subject_key=str(subject.key),
            event=event,
            state_before=subject.state.value,
            state_after=(after or subject.state).value,
            reason=reason,
            detail=dict(detail or {}),
        )
    )


def events_of(connection: Connection, study_instance_uid: str) -> list[EventRow]:
    """Everything that happened to a study, its jobs and its deliveries, oldest first."""
    rows = connection.execute(
        select(tables.event)
        .where(tables.event.c.study_instance_uid == study_instance_uid)
        .order_by(tables.event.c.event_id)
    )
    return [EventRow(**row) for row in rows.mappings()]
