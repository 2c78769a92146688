"""Recover: once at start, put right what the end of an earlier run left half done.

Nothing here guesses from file names: rows say what was going on, and what has no row is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scp_node.journal import journal
from scp_node.pipeline.children import kill_remains
from scp_node.pipeline.folders import JobFolders
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore

EVER = timedelta(days=36_500)
"""Only one node works on a data folder, so at its start every lease in it is void, however long it was to last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What an earlier run may have left, and how it is put right."""

    studies: StudyStore
    jobs: JobStore
    deliveries: DeliveryStore
    spool: Spool
    folders: JobFolders

    def run(self, now: datetime) -> None:
        """Kill orphans, void leases, remove what was half received."""
        log = journal("pipeline.recover")
        for job in self.jobs.running():
            if job.child_pid is not None and job.child_started_at is not None:
                killed = kill_remains(job.child_pid, job.child_started_at)
                log.info("processes of an earlier run killed", job=job.job_id, pid=job.child_pid, count=killed)
        requeued = self.jobs.expire_leases(now, as_of=now + EVER)
        resent = self.deliveries.expire_leases(now, as_of=now + EVER)
        self.studies.forget_dead_associations(now + EVER)
        known = self.studies.spool_keys()
        removed = 0
        for spool_key in self.spool.keys():  # noqa: SIM118 - not a dictionary
            # A whole file without a row was acknowledged by a receiver that was killed; the next recorder takes it.
            if spool_key not in known and self.spool.is_nobodys(spool_key):
                self.spool.remove(spool_key)
                removed += 1
        log.info("recovered", what=f"{len(requeued)} jobs and {resent} deliveries queued again", count=removed)
