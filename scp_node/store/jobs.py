"""Jobs: made with the routing, leased with a fence, encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from scp_node.domain.delivery import EncodedObject, ObjectKind
from scp_node.domain.job import AnalysisJob, JobEvent, JobState
from scp_node.domain.study import StudyEvent, StudyState
from scp_node.errors import LostRaceError
from scp_node.store import tables
from scp_node.store.database import Database
from scp_node.store.encodings import NewObject, insert_objects
from scp_node.store.job_rows import (
    UNENCODED,
    insert_missing,
    is_spent,
    job_of,
    job_subject,
    jobs_of,
    living,
    object_of,
    require_analyzable,
    require_job,
    supersede_unencoded,
)
from scp_node.store.studies import require_revision
from scp_node.store.study_rows import require_study, subject_of
from scp_node.store.transitions import advance, note

__all__ = ["JobStore", "NewObject"]

_NO_CHILD: dict[str, Any] = {"lease_expires_at": None, "child_pid": None, "child_started_at": None}


class JobStore:
    """Analysis jobs and the objects that were encoded for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- making ---

    def route(
        self,
        study_instance_uid: str,
        analyzers: Sequence[str],
        peers: Sequence[str],
        revision: int,
        reason: str,
        now: datetime,
        event: StudyEvent,
    ) -> list[AnalysisJob]:
        """Send a study to analyzers: its transition and its jobs in one transaction.

        Asking again for what was done already gives the same jobs; one job lives for each analyzer and revision. What
        a person releases is analysed in any case: as the next revision, if this one has an answer of the analyzer.

        Parameters
        ----------
        event : StudyEvent
            ``ROUTE_ANALYZE``, or ``RELEASED_TO_ANALYZE`` by a person.

        Raises
        ------
        LostRaceError
            If the study is at another revision.
        IllegalTransitionError
            If the study cannot be routed in its state.
        StoreError
            If a conflict holds the study, or its sources are purged.
        """
        if event not in (StudyEvent.ROUTE_ANALYZE, StudyEvent.RELEASED_TO_ANALYZE):
            msg = f"{event} makes no jobs"
            raise ValueError(msg)
        with self._database.writing() as connection:
            study = require_study(connection, study_instance_uid)
            require_revision(study, revision)
            jobs = living(connection, study, analyzers)
            if study.state is StudyState.ROUTED and len(jobs) == len(analyzers):
                return jobs
            require_analyzable(study)
            again = bool(jobs) and event is StudyEvent.RELEASED_TO_ANALYZE
            values = {"state_reason": reason, "revision": study.revision + again}
            advance(connection, subject_of(study), event, now=now, reason=reason, values=values)
            renewed = require_study(connection, study_instance_uid)
            insert_missing(connection, renewed, analyzers, peers, now)
            return living(connection, renewed, analyzers)

    def requeue(self, study_instance_uid: str, now: datetime) -> int:
        """Analyse an answered study anew, by a person's wish; return the revision.

        The analyzers and peers are those of the newest revision that had any. Where nothing of the present revision was
        encoded yet, its unfinished jobs are replaced and the revision stays.

        Raises
        ------
        IllegalTransitionError
            If the study is not routed.
        StoreError
            If a conflict holds the study, or its sources are purged.
        """
        with self._database.writing() as connection:
            study = require_study(connection, study_instance_uid)
            former = jobs_of(connection, study_instance_uid)
            newest = max((job.revision for job in former), default=0)
            peers_of = {job.analyzer: job.peers for job in former if job.revision == newest}
            require_analyzable(study)
            supersede_unencoded(connection, study_instance_uid, now, "a person asked for a new analysis")
            revision = study.revision + is_spent(connection, study_instance_uid, study.revision)
            advance(
                connection,
                subject_of(study),
                StudyEvent.REANALYSIS_ASKED,
                now=now,
                detail={"revision": revision},
                values={"revision": revision},
            )
            renewed = require_study(connection, study_instance_uid)
            for analyzer, peers in peers_of.items():
                insert_missing(connection, renewed, [analyzer], peers, now)
            return revision

    # --- reading ---

    def get(self, job_id: int) -> AnalysisJob:
        """The job.

        Raises
        ------
        StoreError
            If there is none.
        """
        with self._database.reading() as connection:
            return require_job(connection, job_id)

    def of_study(self, study_instance_uid: str) -> list[AnalysisJob]:
        """Every job of a study, in the order in which they were made."""
        with self._database.reading() as connection:
            return jobs_of(connection, study_instance_uid)

    def running(self) -> list[AnalysisJob]:
        """Jobs under lease, also an expired one."""
        return self._in_states(JobState.RUNNING)

    def superseded_ids(self) -> frozenset[int]:
        """Numbers of the jobs of which nobody needs anything any more."""
        return frozenset(job.job_id for job in self._in_states(JobState.SUPERSEDED))

    def answered_ids(self) -> frozenset[int]:
        """Numbers of the jobs whose objects are encoded, whatever they say."""
        return frozenset(job.job_id for job in self._in_states(*JobState) if job.answered)

    def awaiting_encoding(self) -> list[AnalysisJob]:
        """Jobs whose result is to be encoded, and jobs that gave up without an answer; the oldest first."""
        return [job for job in self._in_states(JobState.ANALYZED, JobState.FAILED) if not job.answered]

    def objects_of(self, job_id: int) -> list[EncodedObject]:
        """The objects of a job in the order in which they are sent."""
        encoded = tables.encoded_object
        with self._database.reading() as connection:
            rows = connection.execute(select(encoded).where(encoded.c.job_id == job_id).order_by(encoded.c.object_id))
            objects = [object_of(row) for row in rows.mappings()]
        return sorted(objects, key=lambda made: made.kind.send_rank)

    def previous_reports(self, study_instance_uid: str, analyzer: str, revision: int) -> list[EncodedObject]:
        """The reports that a report of this revision replaces: those of the newest answer before it."""
        job, encoded = tables.job.c, tables.encoded_object
        reports = [kind.value for kind in (ObjectKind.REPORT, ObjectKind.TEXT_REPORT)]
        with self._database.reading() as connection:
            rows = (
                connection.execute(
                    select(encoded, job.revision)
                    .join(tables.job)
                    .where(
                        job.study_instance_uid == study_instance_uid,
                        job.analyzer == analyzer,
                        job.revision < revision,
                        encoded.c.kind.in_(reports),
                    )
                    .order_by(encoded.c.object_id)
                )
                .mappings()
                .all()
            )
        newest = max((row["revision"] for row in rows), default=0)
        return [object_of(row) for row in rows if row["revision"] == newest]

    # --- attempts ---

    def lease(self, now: datetime, lease_s: float, max_running: int) -> AnalysisJob | None:
        """Take the job that has waited longest; ``None`` when there is none or enough are running.

        The fence is raised. The time of the first lease stays the ``analysis_started_at`` of all attempts.
        """
        job = tables.job.c
        with self._database.writing() as connection:
            running = connection.execute(
                select(func.count()).select_from(tables.job).where(job.state == JobState.RUNNING.value)
            ).scalar_one()
            if running >= max_running:
                return None
            row = (
                connection.execute(
                    select(tables.job)
                    .where(job.state == JobState.QUEUED.value, job.not_before <= now)
                    .order_by(job.not_before, job.job_id)
                    .limit(1)
                )
                .mappings()
                .one_or_none()
            )
            if row is None:
                return None
            found = job_of(row)
            values = {
                **_NO_CHILD,
                "attempts": found.attempts + 1,
                "fence": found.fence + 1,
                "lease_expires_at": now + timedelta(seconds=lease_s),
                "analysis_started_at": found.analysis_started_at or now,
            }
            advance(connection, job_subject(found), JobEvent.LEASED, now=now, values=values)
            return require_job(connection, found.job_id)

    def renew(self, job_id: int, fence: int, now: datetime, lease_s: float) -> None:
        """Extend the lease. Cheap to call often: it is written when less than half of it is left.

        Raises
        ------
        LostRaceError
            If the job is no longer leased under this fence: stop working on it.
        """
        with self._database.reading() as connection:
            held = _require_leased(connection, job_id, fence)
        if held.lease_expires_at is not None and held.lease_expires_at > now + timedelta(seconds=lease_s / 2):
            return
        with self._database.writing() as connection:
            _require_leased(connection, job_id, fence)
            _set(connection, job_id, lease_expires_at=now + timedelta(seconds=lease_s))

    def child_started(self, job_id: int, fence: int, pid: int, started_at: float) -> None:
        """Note the running child, so that it is found after a crash of the node.

        Parameters
        ----------
        started_at : float
            Start of the process in seconds since the epoch, as the system reports it.

        Raises
        ------
        LostRaceError
            If the job is no longer leased under this fence.
        """
        with self._database.writing() as connection:
            _require_leased(connection, job_id, fence)
            _set(connection, job_id, child_pid=pid, child_started_at=started_at)

    def analysis_done(self, job_id: int, fence: int, now: datetime, out_folder: str) -> AnalysisJob:
        """Take the result of the lease holder; nobody else's.

        Raises
        ------
        LostRaceError
            If the job is no longer leased under this fence.
        """
        with self._database.writing() as connection:
            job = _require_leased(connection, job_id, fence)
            values = {**_NO_CHILD, "out_folder": out_folder, "last_cause": ""}
            advance(connection, job_subject(job), JobEvent.ANALYSIS_DONE, now=now, values=values)
            return require_job(connection, job_id)

    def attempt_failed(
        self, job_id: int, fence: int, now: datetime, cause: str, retry_at: datetime | None
    ) -> AnalysisJob:
        """End an attempt that went wrong; without ``retry_at`` the job gives up, and is still owed an answer.

        A job that is analysed and cannot be encoded gives up in the same way.

        Raises
        ------
        LostRaceError
            If the job is no longer under this fence.
        """
        with self._database.writing() as connection:
            job = require_job(connection, job_id)
            if job.fence != fence or job.state not in UNENCODED:
                raise _lost(job)
            event = JobEvent.GAVE_UP if retry_at is None else JobEvent.ATTEMPT_FAILED
            values = {**_NO_CHILD, "last_cause": cause, "not_before": retry_at or job.not_before}
            advance(connection, job_subject(job), event, now=now, reason=cause, values=values)
            return require_job(connection, job_id)

    def handed_back(
        self,
        job_id: int,
        fence: int,
        now: datetime,
        *,
        cause: str = "stopped together with the node",
        not_before: datetime | None = None,
    ) -> AnalysisJob:
        """Queue an attempt again that ended without saying anything about the analyzer.

        It does not count as an attempt, so that no number of restarts or full disks makes a job give up.

        Raises
        ------
        LostRaceError
            If the job is no longer leased under this fence.
        """
        with self._database.writing() as connection:
            job = _require_leased(connection, job_id, fence)
            again_at = not_before or now
            values = {**_NO_CHILD, "attempts": job.attempts - 1, "last_cause": cause, "not_before": again_at}
            advance(connection, job_subject(job), JobEvent.ATTEMPT_FAILED, now=now, reason=cause, values=values)
            return require_job(connection, job_id)

    def expire_leases(self, now: datetime, *, as_of: datetime | None = None) -> list[AnalysisJob]:
        """Queue again what was leased by somebody who died; at start, ``as_of`` the far future ends every lease."""
        job = tables.job.c
        with self._database.writing() as connection:
            rows = (
                connection.execute(
                    select(tables.job).where(
                        job.state == JobState.RUNNING.value,
                        or_(job.lease_expires_at.is_(None), job.lease_expires_at <= (as_of or now)),
                    )
                )
                .mappings()
                .all()
            )
            for found in map(job_of, rows):
                values = {**_NO_CHILD, "last_cause": "its lease ran out", "not_before": now}
                advance(connection, job_subject(found), JobEvent.LEASE_EXPIRED, now=now, values=values)
            return [require_job(connection, row["job_id"]) for row in rows]

    # --- encoding ---

    def encoded(
        self, job_id: int, now: datetime, objects: Sequence[NewObject], deliveries: Sequence[tuple[int, str]]
    ) -> list[EncodedObject]:
        """Take the encoded objects, whose files are durable, and queue them: one transaction.

        Parameters
        ----------
        objects : sequence of NewObject
            Files below the data folder.
        deliveries : sequence of (index into objects, peer)
            What goes where.

        Raises
        ------
        LostRaceError
            If the job was superseded or is answered already: nothing of this is sent.
        IllegalTransitionError
            If the job has no result yet.
        """
        with self._database.writing() as connection:
            job = require_job(connection, job_id)
            if job.state is JobState.SUPERSEDED or job.answered:
                raise _lost(job)
            if job.state is JobState.FAILED:
                _set(connection, job_id, answered=True)
                note(connection, job_subject(job), "failure-reported", now=now)
            else:
                advance(connection, job_subject(job), JobEvent.ENCODING_DONE, now=now, values={"answered": True})
            return insert_objects(connection, job, objects, deliveries, now)

    def _in_states(self, *states: JobState) -> list[AnalysisJob]:
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tables.job)
                .where(tables.job.c.state.in_([state.value for state in states]))
                .order_by(tables.job.c.job_id)
            )
            return [job_of(row) for row in rows.mappings()]


def _require_leased(connection: Connection, job_id: int, fence: int) -> AnalysisJob:
    job = require_job(connection, job_id)
    if job.state is not JobState.RUNNING or job.fence != fence:
        raise _lost(job)
    return job


def _lost(job: AnalysisJob) -> LostRaceError:
    return LostRaceError(f"job {job.job_id} is {job.state} under fence {job.fence}: this result is not wanted")


def _set(connection: Connection, job_id: int, **values: Any) -> None:
    connection.execute(update(tables.job).where(tables.job.c.job_id == job_id).values(values))
