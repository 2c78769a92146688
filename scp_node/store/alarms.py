"""What a person has to look at, found in the rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, and_, func, or_, select

from scp_node.domain.delivery import STOPPED, DeliveryState
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyState
from scp_node.store import tables

UNDELIVERED_ALARM = timedelta(hours=1)
"""A delivery that waits longer has met more than a restart of the peer."""


class AlarmKind(StrEnum):
    """What kind of attention is asked for."""

    NOT_RECEIVING = "not-receiving"
    """The node runs, and its receivers do not."""
    CONFLICT = "conflict"
    HELD_LONG = "held-long"
    """It will be purged soon."""
    JOB_FAILED = "job-failed"
    DELIVERY_STOPPED = "delivery-stopped"
    """Failed for good, or withheld."""
    PEER_GONE = "peer-gone"
    """Results wait for a peer that the configuration does not name any more."""
    PEER_BEHIND = "peer-behind"
    UNPROVEN = "unproven"
    """Accepted by a peer that never confirmed that it holds it."""
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing to look at; one sentence without patient data, with what to do."""

    kind: AlarmKind
    sentence: str
    study_instance_uid: str = ""
    """Empty where it concerns no single study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob:
    """A job of a study's present revision that gave up."""

    job_id: int
    study_instance_uid: str
    analyzer: str
    revision: int
    attempts: int
    cause: str
    failed_at: datetime
    answered: bool


def alarms_of(
    connection: Connection, now: datetime, held_warning: timedelta, receiving: Collection[str] | None = None
) -> tuple[Alarm, ...]:
    """Everything that a person has to look at, the gravest first."""
    return (
        *_held(connection, now, held_warning),
        *_failed(connection),
        *_stopped(connection),
        *_without_peer(connection, receiving),
        *_behind(connection, now),
        *_unproven(connection, now),
        *_quarantined(connection),
    )


def failed_jobs_of(connection: Connection) -> tuple[FailedJob, ...]:
    """Jobs that gave up and that no later revision replaced, the newest first."""
    job, study = tables.job.c, tables.study.c
    rows = connection.execute(
        select(tables.job)
        .join(tables.study)
        .where(job.state == JobState.FAILED.value, job.revision == study.revision)
        .where(study.state != StudyState.IGNORED.value)
        .order_by(job.state_since.desc(), job.job_id.desc())
    )
    return tuple(
        FailedJob(
            job_id=row["job_id"],
            study_instance_uid=row["study_instance_uid"],
            analyzer=row["analyzer"],
            revision=row["revision"],
            attempts=row["attempts"],
            cause=row["last_cause"],
            failed_at=row["state_since"],
            answered=row["answered"],
        )
        for row in rows.mappings()
    )


def _held(connection: Connection, now: datetime, held_warning: timedelta) -> list[Alarm]:
    study = tables.study.c
    alarms = []
    rows = connection.execute(
        select(study.study_instance_uid, study.conflict, study.state_since)
        .where(study.state == StudyState.HELD.value)
        .where(
            or_(study.conflict != "", and_(study.state_since <= now - held_warning, study.sources_purged.is_(False)))
        )
        .order_by(study.state_since)
    )
    for row in rows:
        if row.conflict:
            kind, sentence = AlarmKind.CONFLICT, f"held: {row.conflict}; decide with `release`"
        else:
            since = row.state_since.date().isoformat()
            kind, sentence = AlarmKind.HELD_LONG, f"held since {since} and purged soon: decide with `release`"
        alarms.append(Alarm(kind=kind, sentence=sentence, study_instance_uid=row.study_instance_uid))
    return alarms


def _failed(connection: Connection) -> list[Alarm]:
    return [
        Alarm(
            kind=AlarmKind.JOB_FAILED,
            sentence=f"{job.analyzer} gave up: it {job.cause}; try again with `requeue`",
            study_instance_uid=job.study_instance_uid,
        )
        for job in failed_jobs_of(connection)
    ]


def _stopped(connection: Connection) -> list[Alarm]:
    delivery, job = tables.delivery.c, tables.job.c
    rows = connection.execute(
        select(
            job.study_instance_uid,
            delivery.peer,
            delivery.state,
            func.count().label("number"),
            func.max(delivery.last_cause).label("cause"),
        )
        .select_from(tables.delivery.join(tables.encoded_object).join(tables.job))
        .where(delivery.state.in_(STOPPED))
        .group_by(job.study_instance_uid, delivery.peer, delivery.state)
        .order_by(func.min(delivery.state_since))
    )
    return [
        Alarm(
            kind=AlarmKind.DELIVERY_STOPPED,
            sentence=f"{row.number} objects {row.state} for {row.peer}: {row.cause}; "
            f"{_remedy(row.state, row.peer)}, or give it up with `dismiss STUDY`",
            study_instance_uid=row.study_instance_uid,
        )
        for row in rows
    ]


def _remedy(state: str, peer: str) -> str:
    again = f"send again with `requeue --peer {peer}`"
    if state == DeliveryState.WITHHELD:
        return f"if ours is the old identity, let the study be sent again and `requeue STUDY`; if theirs was, {again}"
    return again


def _without_peer(connection: Connection, receiving: Collection[str] | None) -> list[Alarm]:
    if receiving is None:
        return []
    delivery = tables.delivery.c
    waiting = [state.value for state in (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.SENT)]
    rows = connection.execute(
        select(delivery.peer, func.count().label("number"))
        .where(delivery.state.in_(waiting), delivery.peer.not_in(list(receiving)))
        .group_by(delivery.peer)
        .order_by(delivery.peer)
    )
    return [
        Alarm(
            kind=AlarmKind.PEER_GONE,
            sentence=f"{row.number} objects wait for {row.peer}, which peers.toml does not name as a receiver: name it "
            f"there again, or give them up with `dismiss --peer {row.peer}`",
        )
        for row in rows
    ]


def _behind(connection: Connection, now: datetime) -> list[Alarm]:
    delivery = tables.delivery.c
    rows = connection.execute(
        select(delivery.peer, func.count().label("number"), func.max(delivery.last_cause).label("cause"))
        .where(delivery.state == DeliveryState.QUEUED.value, delivery.queued_at <= now - UNDELIVERED_ALARM)
        .where(delivery.attempts > 0)
        .group_by(delivery.peer)
        .order_by(delivery.peer)
    )
    return [
        Alarm(
            kind=AlarmKind.PEER_BEHIND,
            sentence=f"{row.number} objects have waited for {row.peer} for more than an hour: {row.cause}; "
            f"it is tried again by itself, look with `echo {row.peer}`",
        )
        for row in rows
    ]


def _unproven(connection: Connection, now: datetime) -> list[Alarm]:
    delivery = tables.delivery.c
    rows = connection.execute(
        select(delivery.peer, func.count().label("number"))
        .where(delivery.state == DeliveryState.SENT.value, delivery.state_since <= now - UNDELIVERED_ALARM)
        .group_by(delivery.peer)
        .order_by(delivery.peer)
    )
    return [
        Alarm(
            kind=AlarmKind.UNPROVEN,
            sentence=f"{row.peer} accepted {row.number} objects more than an hour ago and has not confirmed that it "
            "holds them; see its `verification` in peers.toml",
        )
        for row in rows
    ]


def _quarantined(connection: Connection) -> list[Alarm]:
    held = tables.quarantine.c
    rows = connection.execute(
        select(
            held.study_instance_uid,
            held.calling_ae,
            func.count().label("number"),
            func.max(held.reason).label("reason"),
        )
        .where(held.spool_key.is_not(None))
        .group_by(held.study_instance_uid, held.calling_ae)
        .order_by(func.min(held.received_at))
    )
    return [
        Alarm(
            kind=AlarmKind.QUARANTINE,
            sentence=f"{_objects(row.number)} from {row.calling_ae} in quarantine: {row.reason}; "
            + ("`explain` the study, and " if row.study_instance_uid else "")
            + "clear it up at the sender; they are let go with the time",
            study_instance_uid=row.study_instance_uid,
        )
        for row in rows
    ]


def _objects(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"


def quarantined_count(connection: Connection) -> int:
    """How many quarantined objects are still kept."""
    return connection.execute(
        select(func.count()).select_from(tables.quarantine).where(tables.quarantine.c.spool_key.is_not(None))
    ).scalar_one()
