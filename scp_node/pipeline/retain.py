"""Retain: let go of files whose time is over. Rows stay; what is unanswered, uncommitted or failed is never touched."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from scp_node.domain.outcome import Done, Outcome, Wait
from scp_node.pipeline.folders import JobFolders
from scp_node.settings import RetentionSettings
from scp_node.store.jobs import JobStore
from scp_node.store.retention import Retention, RetentionPeriods
from scp_node.store.spool import Spool

ALL = ("files",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retain:
    """The stage that makes room."""

    retention: Retention
    jobs: JobStore
    spool: Spool
    folders: JobFolders
    periods: RetentionPeriods

    @property
    def name(self) -> str:
        """The verb."""
        return "retain"

    def due(self, now: datetime) -> Sequence[str]:  # the rows say what is due
        """One look at everything."""
        return ALL

    def key(self, item: str) -> str:
        """There is only one item."""
        return item

    def step(self, item: str, now: datetime) -> Outcome:
        """Rows first, files after: what a crash leaves in between is removed at the next start."""
        self._drop_superseded()
        purged = self.retention.purge(now, self.periods)
        for spool_key in purged.spool_keys:
            self.spool.remove(spool_key)
        self._empty(purged.job_ids)
        if not purged.spool_keys and not purged.job_ids:
            return Wait(until=now, why="nothing is due")
        return Done(what=f"{len(purged.study_instance_uids)} studies: {len(purged.spool_keys)} files let go")

    def finish_what_was_begun(self) -> None:
        """Once at start: remove the files of jobs that an earlier run was about to remove."""
        self._drop_superseded()
        for job_id in self.jobs.answered_ids() & self.folders.present():
            self.folders.drop_inputs(job_id)
        self._empty(self.retention.purged_job_ids())

    def _drop_superseded(self) -> None:
        for job_id in self.jobs.superseded_ids() & self.folders.present():
            self.folders.drop(job_id)

    def _empty(self, job_ids: Iterable[int]) -> None:
        """Of a job's folder only the result stays, for later comparisons."""
        for job_id in job_ids:
            folder = self.folders.job(job_id)
            for entry in folder.iterdir() if folder.is_dir() else ():
                _empty_but_result(entry)


def _empty_but_result(entry: Path) -> None:
    if not entry.is_dir():
        entry.unlink()
    elif not (entry / "out" / "result.json").is_file():
        shutil.rmtree(entry)
    else:
        for part in entry.iterdir():
            if part.name == "out":
                continue
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()


def retention_periods(settings: RetentionSettings) -> RetentionPeriods:
    """The periods of the configuration as the store wants them."""
    return RetentionPeriods(
        ignored=timedelta(hours=settings.ignored_h),
        held=timedelta(days=settings.held_d),
        answered=timedelta(days=settings.answered_d),
    )
