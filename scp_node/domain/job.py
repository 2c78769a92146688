"""An analysis job: one analyzer on one revision of one study."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scp_node.domain.lifecycle import Lifecycle


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    ANALYZED = "analyzed"
    ENCODED = "encoded"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class JobEvent(StrEnum):
    """What can happen to a job."""

    LEASED = "leased"
    ANALYSIS_DONE = "analysis-done"
    ATTEMPT_FAILED = "attempt-failed"
    LEASE_EXPIRED = "lease-expired"
    GAVE_UP = "gave-up"
    """The last attempt failed; a technical report is encoded for it (still an answer)."""
    ENCODING_DONE = "encoding-done"
    INPUTS_CHANGED = "inputs-changed"


_S, _E = JobState, JobEvent

JOB_LIFECYCLE = Lifecycle[JobState, JobEvent](
    name="job",
    table={
        (_S.QUEUED, _E.LEASED): _S.RUNNING,
        (_S.RUNNING, _E.ANALYSIS_DONE): _S.ANALYZED,
        (_S.RUNNING, _E.ATTEMPT_FAILED): _S.QUEUED,
        (_S.RUNNING, _E.LEASE_EXPIRED): _S.QUEUED,
        (_S.RUNNING, _E.GAVE_UP): _S.FAILED,
        (_S.QUEUED, _E.GAVE_UP): _S.FAILED,
        (_S.ANALYZED, _E.GAVE_UP): _S.FAILED,
        (_S.ANALYZED, _E.ENCODING_DONE): _S.ENCODED,
        (_S.QUEUED, _E.INPUTS_CHANGED): _S.SUPERSEDED,
        (_S.RUNNING, _E.INPUTS_CHANGED): _S.SUPERSEDED,
        (_S.ANALYZED, _E.INPUTS_CHANGED): _S.SUPERSEDED,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisJob:
    """One row of the job table."""

    job_id: int
    study_instance_uid: str
    analyzer: str
    revision: int
    peers: tuple[str, ...]
    state: JobState
    attempts: int
    fence: int
    """Raised with every lease; only the holder of the present number may report a result."""
    not_before: datetime
    lease_expires_at: datetime | None
    analysis_started_at: datetime | None
    """Start of the first attempt; every time in the encoded objects is taken from it."""
    child_pid: int | None
    child_started_at: float | None
    """Start of the running child, seconds since the epoch as the system reports it; pid and start name one process."""
    last_cause: str
    answered: bool
    """True once its objects are encoded and queued for delivery, also the technical report of a failed job."""
