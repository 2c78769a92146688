"""Rows of jobs and of the objects that were encoded for them, to and from the types of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select

from scp_node.domain.delivery import EncodedObject, ObjectKind
from scp_node.domain.job import AnalysisJob, JobEvent, JobState
from scp_node.domain.study import Study
from scp_node.errors import StoreError
from scp_node.store import tables
from scp_node.store.transitions import JOB, Subject, advance

UNENCODED = (JobState.QUEUED, JobState.RUNNING, JobState.ANALYZED)
"""States in which a change of the inputs makes the job pointless."""

JobSubject = Subject[JobState, JobEvent]


def job_of(row: RowMapping) -> AnalysisJob:
    """The domain's job of a row of the job table."""
    return AnalysisJob(
        job_id=row["job_id"],
        study_instance_uid=row["study_instance_uid"],
        analyzer=row["analyzer"],
        revision=row["revision"],
        peers=tuple(row["peers"]),
        state=JobState(row["state"]),
        attempts=row["attempts"],
        fence=row["fence"],
        not_before=row["not_before"],
        lease_expires_at=row["lease_expires_at"],
        analysis_started_at=row["analysis_started_at"],
        child_pid=row["child_pid"],
        child_started_at=row["child_started_at"],
        last_cause=row["last_cause"],
        answered=row["answered"],
    )


def job_subject(job: AnalysisJob) -> JobSubject:
    """The job as something that events happen to."""
    return Subject(kind=JOB, key=job.job_id, state=job.state, study_instance_uid=job.study_instance_uid)


def require_job(connection: Connection, job_id: int) -> AnalysisJob:
    """The job.

    Raises
    ------
    StoreError
        If there is none.
    """
    row = connection.execute(select(tables.job).where(tables.job.c.job_id == job_id)).mappings().one_or_none()
    if row is None:
        msg = f"there is no job {job_id}"
        raise StoreError(msg)
    return job_of(row)


def jobs_of(connection: Connection, study_instance_uid: str) -> list[AnalysisJob]:
    """Every job of a study, in the order in which they were made."""
    rows = connection.execute(
        select(tables.job).where(tables.job.c.study_instance_uid == study_instance_uid).order_by(tables.job.c.job_id)
    )
    return [job_of(row) for row in rows.mappings()]


def supersede_unencoded(connection: Connection, study_instance_uid: str, now: datetime, cause: str) -> int:
    """End every job of a study that was not encoded yet; return how many."""
    unfinished = [job for job in jobs_of(connection, study_instance_uid) if job.state in UNENCODED]
    for job in unfinished:
        # The fence is raised so that a running attempt finds that it lost.
        values = {"lease_expires_at": None, "fence": job.fence + 1, "last_cause": cause}
        advance(connection, job_subject(job), JobEvent.INPUTS_CHANGED, now=now, reason=cause, values=values)
    return len(unfinished)


def is_spent(connection: Connection, study_instance_uid: str, revision: int) -> bool:
    """Whether a revision has an answer, or a job that gave up and will be answered: the next inputs need a new one."""
    found = connection.execute(
        select(tables.job.c.job_id)
        .where(tables.job.c.study_instance_uid == study_instance_uid, tables.job.c.revision == revision)
        .where(tables.job.c.state.in_((JobState.ENCODED.value, JobState.FAILED.value)))
        .limit(1)
    )
    return found.first() is not None


def object_of(row: RowMapping) -> EncodedObject:
    """The domain's object of a row that holds the columns of the object table."""
    return EncodedObject(
        object_id=row["object_id"],
        job_id=row["job_id"],
        kind=ObjectKind(row["kind"]),
        sop_class_uid=row["sop_class_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        study_instance_uid=row["study_instance_uid"],
        file=row["file"],
        digest=row["digest"],
    )


def living(connection: Connection, study: Study, analyzers: Sequence[str]) -> list[AnalysisJob]:
    """The jobs of the study's present revision for these analyzers that are not superseded."""
    return [
        job
        for job in jobs_of(connection, study.study_instance_uid)
        if job.revision == study.revision and job.state is not JobState.SUPERSEDED and job.analyzer in analyzers
    ]


def insert_missing(
    connection: Connection, study: Study, analyzers: Sequence[str], peers: Sequence[str], now: datetime
) -> None:
    """Queue a job for each analyzer that has none living in the study's present revision."""
    present = {job.analyzer for job in living(connection, study, analyzers)}
    for analyzer in analyzers:
        if analyzer not in present:
            connection.execute(
                insert(tables.job).values(
                    study_instance_uid=study.study_instance_uid,
                    analyzer=analyzer,
                    revision=study.revision,
                    peers=list(peers),
                    state=JobState.QUEUED.value,
                    state_since=now,
                    attempts=0,
                    fence=0,
                    not_before=now,
                    out_folder="",
                    last_cause="",
                    answered=False,
                )
            )


def require_analyzable(study: Study) -> None:
    """Refuse a study that must not be analysed as it is.

    Raises
    ------
    StoreError
        If a conflict holds it, or its images are purged.
    """
    if study.sources_purged:
        msg = f"the images of study {study.study_instance_uid} are purged: send the whole study again"
        raise StoreError(msg)
    if study.conflict:
        msg = f"study {study.study_instance_uid} is held: {study.conflict}"
        raise StoreError(msg)
