"""What ``status`` and ``explain`` print: the store as a person needs to see it."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select

from scp_node.domain.delivery import ENDED, Delivery, DeliveryState, EncodedObject
from scp_node.domain.job import AnalysisJob, JobState
from scp_node.domain.routing import Sender
from scp_node.domain.study import Study, StudyState
from scp_node.store import tables
from scp_node.store.alarms import Alarm, FailedJob, alarms_of, failed_jobs_of, quarantined_count
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.former_identities import FormerIdentity, former_identities
from scp_node.store.jobs import JobStore
from scp_node.store.quarantine import Quarantine, QuarantinedObject
from scp_node.store.studies import Decision, StudyStore
from scp_node.store.transitions import EventRow

HELD_WARNING = timedelta(days=11)
"""Default of the age from which a held study raises an alarm: three days before it is purged by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerQueue:
    """The deliveries of one peer."""

    peer: str
    counts: Mapping[DeliveryState, int]
    """Every state is there."""
    oldest_undelivered_at: datetime | None
    """Since when the oldest delivery waits that is neither sent nor given up."""
    last_cause: str
    """Why that one was not taken at its last attempt; empty before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolUse:
    """What the received files take."""

    file_count: int
    byte_count: int
    disk_free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The node at one moment."""

    at: datetime
    studies: Mapping[StudyState, int]
    """Every state is there, like in the next one."""
    jobs: Mapping[JobState, int]
    oldest_unanswered_at: datetime | None
    """First image of the study that waits longest for its answer to be committed, not counting held and ignored."""
    peers: tuple[PeerQueue, ...]
    spool: SpoolUse
    quarantine_count: int
    failed_jobs: tuple[FailedJob, ...]
    alarms: tuple[Alarm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesLine:
    """One series of a study as it was received."""

    series_instance_uid: str
    modality: str
    usable_count: int
    other_count: int
    first_received_at: datetime
    last_received_at: datetime
    called_aes: tuple[str, ...]
    calling_aes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """One job with what came of it."""

    job: AnalysisJob
    out_folder: str
    """Below the data folder; empty before there is a result."""
    objects: tuple[EncodedObject, ...]
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a study is where it is."""

    study: Study
    former: tuple[FormerIdentity, ...]
    """What it was called before its headers were corrected."""
    decision: Decision
    series: tuple[SeriesLine, ...]
    correction_count: int
    quarantined: tuple[QuarantinedObject, ...]
    jobs: tuple[JobLine, ...]
    events: tuple[EventRow, ...]


class Overview:
    """Reads everything, changes nothing."""

    def __init__(self, database: Database, data_folder: Path) -> None:
        self._database = database
        self._data_folder = data_folder

    def status(
        self, now: datetime, *, held_warning: timedelta = HELD_WARNING, receiving: Collection[str] | None = None
    ) -> Status:
        """The node at this moment.

        A study held longer than ``held_warning`` raises an alarm, and so does what waits for a peer that is not one of
        ``receiving``, where these are given.
        """
        disk_free_bytes = shutil.disk_usage(self._data_folder).free
        with self._database.reading() as connection:
            study_counts, job_counts = _counts(connection, tables.study), _counts(connection, tables.job)
            return Status(
                at=now,
                studies={state: study_counts.get(state.value, 0) for state in StudyState},
                jobs={state: job_counts.get(state.value, 0) for state in JobState},
                oldest_unanswered_at=_oldest_unanswered_at(connection),
                peers=_queues(connection),
                spool=_spool_use(connection, disk_free_bytes),
                quarantine_count=quarantined_count(connection),
                failed_jobs=failed_jobs_of(connection),
                alarms=alarms_of(connection, now, held_warning, receiving),
            )

    def explanation(self, study_instance_uid: str) -> Explanation:
        """Everything about one study.

        Raises
        ------
        UnknownStudyError
            If there is none.
        """
        studies, jobs = StudyStore(self._database), JobStore(self._database)
        deliveries = DeliveryStore(self._database)
        study = studies.get(study_instance_uid)
        senders = studies.senders(study_instance_uid)
        with self._database.reading() as connection:
            series = _series(connection, study_instance_uid, senders)
            corrections = _correction_count(connection, study_instance_uid)
            out_folders = _out_folders(connection, study_instance_uid)
            former = former_identities(connection, study_instance_uid)
        return Explanation(
            study=study,
            former=former,
            decision=studies.decision(study_instance_uid),
            series=series,
            correction_count=corrections,
            quarantined=tuple(Quarantine(self._database).of_study(study_instance_uid)),
            jobs=tuple(
                JobLine(
                    job=job,
                    out_folder=out_folders.get(job.job_id, ""),
                    objects=tuple(jobs.objects_of(job.job_id)),
                    deliveries=tuple(deliveries.of_job(job.job_id)),
                )
                for job in jobs.of_study(study_instance_uid)
            ),
            events=tuple(studies.events(study_instance_uid)),
        )


def _counts(connection: Connection, table: Any) -> dict[str, int]:
    rows = connection.execute(select(table.c.state, func.count().label("number")).group_by(table.c.state))
    return {row.state: row.number for row in rows}


def _oldest_unanswered_at(connection: Connection) -> datetime | None:
    study, job, encoded, delivery = tables.study.c, tables.job.c, tables.encoded_object.c, tables.delivery.c
    owed = exists().where(
        job.study_instance_uid == study.study_instance_uid,
        job.state != JobState.SUPERSEDED.value,
        job.answered.is_(False),
    )
    uncommitted = exists().where(
        job.study_instance_uid == study.study_instance_uid,
        encoded.job_id == job.job_id,
        delivery.object_id == encoded.object_id,
        delivery.state.not_in([state.value for state in ENDED]),
    )
    on_its_way = study.state.in_([StudyState.RECEIVING.value, StudyState.COMPLETE.value])
    routed = study.state == StudyState.ROUTED.value
    return connection.execute(
        select(study.first_received_at)
        .where(or_(on_its_way, and_(routed, or_(owed, uncommitted))))
        .order_by(study.first_received_at)
        .limit(1)
    ).scalar()


def _queues(connection: Connection) -> tuple[PeerQueue, ...]:
    delivery = tables.delivery.c
    counts: dict[str, dict[DeliveryState, int]] = {}
    for row in connection.execute(
        select(delivery.peer, delivery.state, func.count().label("number")).group_by(delivery.peer, delivery.state)
    ):
        counts.setdefault(row.peer, dict.fromkeys(DeliveryState, 0))[DeliveryState(row.state)] = row.number
    return tuple(_queue(connection, peer, counts[peer]) for peer in sorted(counts))


def _queue(connection: Connection, peer: str, counts: Mapping[DeliveryState, int]) -> PeerQueue:
    delivery = tables.delivery.c
    waiting = [DeliveryState.QUEUED.value, DeliveryState.SENDING.value]
    oldest = connection.execute(
        select(delivery.queued_at, delivery.last_cause)
        .where(delivery.peer == peer, delivery.state.in_(waiting))
        .order_by(delivery.queued_at, delivery.delivery_id)
        .limit(1)
    ).one_or_none()
    return PeerQueue(
        peer=peer,
        counts=counts,
        oldest_undelivered_at=oldest.queued_at if oldest else None,
        last_cause=oldest.last_cause if oldest else "",
    )


def _spool_use(connection: Connection, disk_free_bytes: int) -> SpoolUse:
    file_count = byte_count = 0
    for table in (tables.instance, tables.correction, tables.quarantine):
        files, size = connection.execute(
            select(func.count(), func.coalesce(func.sum(table.c.byte_count), 0)).where(table.c.spool_key.is_not(None))
        ).one()
        file_count += files
        byte_count += size
    return SpoolUse(file_count=file_count, byte_count=byte_count, disk_free_bytes=disk_free_bytes)


def _series(connection: Connection, study_instance_uid: str, senders: Mapping[str, Sender]) -> tuple[SeriesLine, ...]:
    instance = tables.instance.c
    rows = connection.execute(
        select(
            instance.series_instance_uid,
            func.max(instance.summary["modality"].as_string()).label("modality"),
            func.count().filter(instance.usable_image.is_(True)).label("usable_count"),
            func.count().label("count"),
            func.min(instance.received_at).label("first_received_at"),
            func.max(instance.received_at).label("last_received_at"),
        )
        .where(instance.study_instance_uid == study_instance_uid)
        .group_by(instance.series_instance_uid)
        .order_by(func.min(instance.received_at), instance.series_instance_uid)
    )
    return tuple(
        SeriesLine(
            series_instance_uid=row["series_instance_uid"],
            modality=row["modality"],
            usable_count=row["usable_count"],
            other_count=row["count"] - row["usable_count"],
            first_received_at=row["first_received_at"],
            last_received_at=row["last_received_at"],
            called_aes=tuple(sorted(senders[row["series_instance_uid"]].called_aes)),
            calling_aes=tuple(sorted(senders[row["series_instance_uid"]].calling_aes)),
        )
        for row in rows.mappings()
    )


def _correction_count(connection: Connection, study_instance_uid: str) -> int:
    return connection.execute(
        select(func.count())
        .select_from(tables.correction.join(tables.instance))
        .where(tables.instance.c.study_instance_uid == study_instance_uid)
    ).scalar_one()


def _out_folders(connection: Connection, study_instance_uid: str) -> dict[int, str]:
    job = tables.job.c
    rows = connection.execute(select(job.job_id, job.out_folder).where(job.study_instance_uid == study_instance_uid))
    return {row.job_id: row.out_folder for row in rows}
