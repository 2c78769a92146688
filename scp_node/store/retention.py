"""Retention: pixels are let go by class, rows stay; what is unanswered, uncommitted or failed is never touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, or_, select, update

from scp_node.domain.delivery import ENDED
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyState
from scp_node.store import tables
from scp_node.store.database import Database
from scp_node.store.study_rows import require_study, subject_of
from scp_node.store.transitions import note


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPeriods:
    """How long files are kept after their study came into its state."""

    ignored: timedelta = timedelta(hours=24)
    held: timedelta = timedelta(days=14)
    """Also of quarantined objects that belong to no study."""
    answered: timedelta = timedelta(days=7)
    """After the last object of the study was committed everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """Files that no row refers to any more; the caller removes them."""

    study_instance_uids: tuple[str, ...]
    spool_keys: tuple[str, ...]
    job_ids: tuple[int, ...]
    """Of their folders only the ``out`` folder of the result stays, for later comparisons."""


class Retention:
    """Lets go of what has been kept long enough."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def purge(self, now: datetime, periods: RetentionPeriods, *, limit: int = 100) -> Purged:
        """Release the files of at most ``limit`` studies whose time is over.

        The rows are written first. After a crash the files in the spool are unknown and swept at start; the folders of
        jobs are those of :meth:`purged_job_ids`.
        """
        with self._database.writing() as connection:
            uids = _over(connection, now, periods, limit)
            spool_keys: list[str] = []
            job_ids: list[int] = []
            for uid in uids:
                keys = _release_spool(connection, uid)
                jobs = _release_objects(connection, uid, now)
                spool_keys += keys
                job_ids += jobs
                detail = {"files": len(keys), "jobs": jobs}
                note(connection, subject_of(require_study(connection, uid)), "sources-purged", now=now, detail=detail)
            spool_keys += _release_strays(connection, now - periods.held)
        return Purged(study_instance_uids=tuple(uids), spool_keys=tuple(spool_keys), job_ids=tuple(job_ids))

    def purged_job_ids(self) -> frozenset[int]:
        """Jobs whose encoded files were let go."""
        encoded = tables.encoded_object.c
        with self._database.reading() as connection:
            return frozenset(
                connection.execute(select(encoded.job_id).where(encoded.purged_at.is_not(None)).distinct()).scalars()
            )


def _over(connection: Connection, now: datetime, periods: RetentionPeriods, limit: int) -> list[str]:
    study, instance = tables.study.c, tables.instance.c

    def since(state: StudyState, period: timedelta, *more: ColumnElement[bool]) -> ColumnElement[bool]:
        kept = exists().where(
            instance.study_instance_uid == study.study_instance_uid,
            instance.spool_key.is_not(None),
            instance.spooled_at > now - period,
        )
        return and_(study.state == state.value, study.state_since <= now - period, ~kept, *more)

    rows = connection.execute(
        select(study.study_instance_uid)
        .where(_has_files())
        .where(
            or_(
                since(StudyState.IGNORED, periods.ignored, ~_is_owed(), ~_is_undelivered(now)),
                since(StudyState.HELD, periods.held, ~_is_owed(), ~_is_undelivered(now)),
                since(StudyState.ROUTED, periods.answered, *_is_answered(now - periods.answered)),
            )
        )
        .order_by(study.state_since)
        .limit(limit)
    )
    return list(rows.scalars())


def _has_files() -> ColumnElement[bool]:
    """Also of a study of which there is nothing but objects in quarantine."""
    study, instance, quarantine = tables.study.c, tables.instance.c, tables.quarantine.c
    return or_(
        exists().where(instance.study_instance_uid == study.study_instance_uid, instance.spool_key.is_not(None)),
        exists().where(quarantine.study_instance_uid == study.study_instance_uid, quarantine.spool_key.is_not(None)),
    )


def _is_answered(before: datetime) -> Sequence[ColumnElement[bool]]:
    """No job without its answer, none of the present revision failed, and every object settled before a time."""
    study, job = tables.study.c, tables.job.c
    unsettled = or_(job.state_since > before, and_(job.state == JobState.FAILED.value, job.revision == study.revision))
    return (~_is_owed(), ~_has_job(unsettled), ~_is_undelivered(before))


def _is_owed() -> ColumnElement[bool]:
    """A job of the study has no answer yet: also a failed one reads the images once more."""
    return _has_job(tables.job.c.answered.is_(False))


def _has_job(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    study, job = tables.study.c, tables.job.c
    return exists().where(
        job.study_instance_uid == study.study_instance_uid, job.state != JobState.SUPERSEDED.value, condition
    )


def _is_undelivered(before: datetime) -> ColumnElement[bool]:
    """An object of the study was not committed or given up before a time, whatever became of the study since."""
    study, job, encoded, delivery = tables.study.c, tables.job.c, tables.encoded_object.c, tables.delivery.c
    return exists().where(
        job.study_instance_uid == study.study_instance_uid,
        encoded.job_id == job.job_id,
        delivery.object_id == encoded.object_id,
        or_(delivery.state.not_in([state.value for state in ENDED]), delivery.state_since > before),
    )


def _release_spool(connection: Connection, study_instance_uid: str) -> list[str]:
    instance = tables.instance.c
    of_study = instance.study_instance_uid == study_instance_uid
    its_instances = select(instance.sop_instance_uid).where(of_study)
    usable = select(instance.sop_instance_uid).where(of_study, instance.usable_image.is_(True)).limit(1)
    if connection.execute(usable).first() is not None:
        connection.execute(
            update(tables.study)
            .where(tables.study.c.study_instance_uid == study_instance_uid)
            .values(sources_purged=True)
        )
    return [
        *_release(connection, tables.instance, of_study),
        *_release(connection, tables.correction, tables.correction.c.sop_instance_uid.in_(its_instances)),
        *_release(connection, tables.quarantine, tables.quarantine.c.study_instance_uid == study_instance_uid),
    ]


def _release_strays(connection: Connection, before: datetime) -> list[str]:
    """Quarantined objects of no known study."""
    quarantine, study = tables.quarantine.c, tables.study.c
    stray = ~exists().where(study.study_instance_uid == quarantine.study_instance_uid)
    return _release(connection, tables.quarantine, and_(stray, quarantine.received_at <= before))


def _release(connection: Connection, table: Table, condition: ColumnElement[bool]) -> list[str]:
    """Let the rows forget their files; return the keys of those files."""
    held = and_(condition, table.c.spool_key.is_not(None))
    keys = list(connection.execute(select(table.c.spool_key).where(held)).scalars())
    connection.execute(update(table).where(held).values(spool_key=None))
    return keys


def _release_objects(connection: Connection, study_instance_uid: str, now: datetime) -> list[int]:
    job, encoded = tables.job.c, tables.encoded_object
    of_study = encoded.c.job_id.in_(select(job.job_id).where(job.study_instance_uid == study_instance_uid))
    held = and_(of_study, encoded.c.purged_at.is_(None))
    job_ids = sorted(connection.execute(select(encoded.c.job_id).where(held).distinct()).scalars())
    connection.execute(update(encoded).where(held).values(purged_at=now))
    return job_ids
