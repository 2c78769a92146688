"""Analyze: run the analyzer of a leased job as a child process, under limits, and report what became of it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

from analyzers.wire import PRIOR_FILE, PriorRecord, write_prior
from scp_node.domain.job import AnalysisJob
from scp_node.domain.outcome import Done, Fail, Outcome, Retry, Wait
from scp_node.errors import (
    AnalyzerCrashedError,
    AnalyzerError,
    AnalyzerOutOfMemoryError,
    AnalyzerTimedOutError,
    LostRaceError,
)
from scp_node.pipeline.folders import JobFolders, drop_if_superseded, lend_result, missing_files, snapshot, source_files
from scp_node.pipeline.inputs import given_masks, note_inputs
from scp_node.pipeline.ports import Child, ChildEnd, Ending, Limits, Runner
from scp_node.pipeline.thresholds import SiteThresholds, threshold_arguments
from scp_node.settings import AnalysisSettings
from scp_node.store.jobs import JobStore
from scp_node.store.priors import newest_priors
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from scp_node.store.study_rows import StoredInstance

BAD_INPUT = 2
"""Exit code of an analyzer that cannot read the study at all: trying again changes nothing."""
NO_ROOM = 4
"""... and of one that cannot write, because the disk is full or read-only: it is not to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeJobs:
    """The stage that measures. One of it runs at a time in each of ``max_jobs`` slots."""

    studies: StudyStore
    jobs: JobStore
    spool: Spool
    folders: JobFolders
    runner: Runner
    settings: AnalysisSettings
    thresholds: SiteThresholds
    clock: Callable[[], datetime]
    """Read again while a child runs, to renew the lease."""
    stopping: Callable[[], bool]
    """True once the node is to stop."""

    @property
    def name(self) -> str:
        """The verb."""
        return "analyze"

    def due(self, now: datetime) -> Sequence[AnalysisJob]:
        """At most one job, leased to us."""
        if self.stopping():
            return ()
        job = self.jobs.lease(now, self.settings.lease_s, self.settings.max_jobs)
        return () if job is None else (job,)

    def key(self, item: AnalysisJob) -> str:
        """An attempt."""
        return f"job {item.job_id} fence {item.fence}"

    def step(self, item: AnalysisJob, now: datetime) -> Outcome:
        """One attempt."""
        try:
            return self._attempt(item, now)
        except LostRaceError:
            drop_if_superseded(self.jobs, self.folders, item.job_id)
            raise

    def _attempt(self, item: AnalysisJob, now: datetime) -> Outcome:
        if item.attempts > self.settings.attempts:
            # Each earlier attempt ended together with the node; one more could end it again.
            cause = "was cut off each time, because this node ended while it ran"
            self.jobs.attempt_failed(item.job_id, item.fence, self.clock(), cause, None)
            return Fail(cause=f"job {item.job_id} gave up: every attempt ended with the node")
        if missing := missing_files(self.spool, self.studies.instances(item.study_instance_uid)):
            cause = f"could not be given every image: received files are missing from the spool ({missing})"
            self.jobs.attempt_failed(item.job_id, item.fence, self.clock(), cause, None)
            return Fail(cause=f"job {item.job_id} gave up: {missing} received files are missing from the spool")
        folder = self.folders.attempt(item.job_id, item.fence)
        try:
            wanted = self._renewal(item)
            self._prepare(item, folder, wanted)
            if not wanted():
                return self._stopped(item, now)
            end = self._run(item, folder)
        except OSError as hindrance:
            return self._hindered(item, "run it", hindrance)
        if end.ending is Ending.STOPPED:
            return self._stopped(item, now)
        fault = attempt_fault(end, folder / "out", self.settings)
        if fault is None:
            try:
                # The row that says "analysed" survives a power cut: what it stands for must, too.
                self.folders.make_durable(item.job_id, item.fence)
            except OSError as hindrance:
                return self._hindered(item, "keep its result", hindrance)
            out_folder = self.folders.relative(folder / "out")
            self.jobs.analysis_done(item.job_id, item.fence, self.clock(), out_folder)
            self.folders.drop_attempts(item.job_id, but=item.fence)
            return Done(
                what=f"job {item.job_id} analyzed in {end.seconds:.1f} s, {end.peak_memory_gib:.2f} GiB at most"
            )
        return self._failed(item, fault, end)

    def _run(self, job: AnalysisJob, folder: Path) -> ChildEnd:
        end = self.runner.run(
            self._child(job, folder),
            started=lambda pid, at: self.jobs.child_started(job.job_id, job.fence, pid, at),
            wanted=self._renewal(job),
        )
        if end.ending is Ending.EXITED and end.exit_code == NO_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return end

    def _hindered(self, job: AnalysisJob, deed: str, fault: OSError) -> Outcome:
        """The machine, not the analyzer, was at fault (a full disk): no attempt is counted, whatever it takes."""
        now, cause = self.clock(), f"this machine could not {deed} ({fault.strerror or type(fault).__name__})"
        retry_at = now + timedelta(seconds=self.settings.retry_s)
        self.jobs.handed_back(job.job_id, job.fence, now, cause=cause, not_before=retry_at)
        return Retry(after_s=self.settings.retry_s, cause=f"job {job.job_id}: {cause}")

    def _prepare(self, job: AnalysisJob, folder: Path, wanted: Callable[[], bool]) -> None:
        """Lay out what the analyzer is shown; left half done once that is not ``wanted``, asked for each file."""
        self.folders.drop_attempts(job.job_id)
        self.folders.fresh_attempt(job.job_id, job.fence)
        note_inputs(folder, self._snapshot(job.study_instance_uid, folder / "study", wanted))
        self._lend_priors(job, folder / "priors", wanted)

    def _snapshot(self, study_instance_uid: str, folder: Path, wanted: Callable[[], bool]) -> Sequence[StoredInstance]:
        """Copy the images of a study and what others outlined on them; return what was copied."""
        shown = [
            *self.studies.instances(study_instance_uid),
            *given_masks(self.studies, self.spool, study_instance_uid),
        ]
        snapshot(takewhile(lambda _file: wanted(), source_files(self.spool, shown)), folder)
        return shown

    def _lend_priors(self, job: AnalysisJob, folder: Path, wanted: Callable[[], bool]) -> None:
        identity = self.studies.get(job.study_instance_uid).identity
        rows = self.studies.priors(job.study_instance_uid, identity, job.analyzer)
        chosen = newest_priors(rows, job.study_instance_uid, self.settings.max_priors)
        for number, prior in enumerate(chosen, start=1):
            place = folder / str(number)
            place.mkdir()
            if not lend_result(self.folders.data_folder / prior.out_folder, place):
                place.rmdir()
                continue
            write_prior(place / PRIOR_FILE, PriorRecord(study_date=prior.study_date, revision=prior.revision))
            images = self.studies.instances(prior.study_instance_uid)
            if images and all(one.spool_key for one in images) and not missing_files(self.spool, images):
                # Without images the folder is left out: an empty or partial one would be no study.
                (place / "study").mkdir()
                self._snapshot(prior.study_instance_uid, place / "study", wanted)

    def _child(self, job: AnalysisJob, folder: Path) -> Child:
        places = (str(folder / "study"), str(folder / "out"), "--priors", str(folder / "priors"))
        thresholds = threshold_arguments(self.thresholds, job.analyzer, folder)
        return Child(
            command=(sys.executable, "-m", "analyzers", job.analyzer, *places, *thresholds),
            # Beside the attempt's folder, which a report on its failure empties.
            log=self.folders.log(job.job_id, job.fence),
            limits=Limits(
                time_s=self.settings.time_limit_s,
                memory_gib=self.settings.memory_limit_gib,
                niceness=self.settings.niceness,
            ),
        )

    def _renewal(self, job: AnalysisJob) -> Callable[[], bool]:
        """Asked for each file that is copied, then every second: renew the lease in time.

        ``False`` when the job is no longer ours.
        """

        def wanted() -> bool:
            try:
                self.jobs.renew(job.job_id, job.fence, self.clock(), self.settings.lease_s)
            except LostRaceError:
                return False
            return not self.stopping()

        return wanted

    def _stopped(self, job: AnalysisJob, now: datetime) -> Outcome:
        if not self.stopping():
            raise LostRaceError(f"job {job.job_id}: its result is no longer wanted")
        self.jobs.handed_back(job.job_id, job.fence, self.clock())
        return Wait(until=now, why="the node is stopping")

    def _failed(self, job: AnalysisJob, fault: AnalyzerError, end: ChildEnd) -> Outcome:
        now = self.clock()
        last = job.attempts >= self.settings.attempts or end.exit_code == BAD_INPUT
        retry_at = None if last else now + timedelta(seconds=self.settings.retry_s)
        self.jobs.attempt_failed(job.job_id, job.fence, now, str(fault), retry_at)
        if last:
            return Fail(cause=f"job {job.job_id} gave up: {fault}")
        return Retry(after_s=self.settings.retry_s, cause=f"job {job.job_id}: {fault}")


def attempt_fault(end: ChildEnd, out_folder: Path, settings: AnalysisSettings) -> AnalyzerError | None:
    """What was wrong with an attempt; ``None`` when it left a result. No word of it comes from the child's output."""
    match end.ending:
        case Ending.TIMED_OUT:
            return AnalyzerTimedOutError(f"ran longer than {settings.time_limit_s:g} s and was stopped")
        case Ending.OUT_OF_MEMORY:
            return AnalyzerOutOfMemoryError(f"used more than {settings.memory_limit_gib:g} GiB and was stopped")
        case Ending.EXITED if end.exit_code == 0 and (out_folder / "result.json").is_file():
            return None
        case Ending.EXITED if end.exit_code == 0:
            return AnalyzerCrashedError("ended without a result")
        case Ending.EXITED if end.exit_code == BAD_INPUT:
            return AnalyzerCrashedError("could not read the study")
        case _:
            ended = f"signal {-end.exit_code}" if end.exit_code < 0 else f"exit code {end.exit_code}"
            return AnalyzerCrashedError(f"ended with {ended}")
