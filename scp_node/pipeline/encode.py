"""Encode: have the DICOM objects of a result made by a limited child, and queue them for every peer in one step."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from scp_node.domain.delivery import ObjectKind
from scp_node.domain.job import AnalysisJob, JobState
from scp_node.domain.outcome import Done, Fail, Outcome, Retry, Wait
from scp_node.errors import EncodingError, LostRaceError
from scp_node.objects.manifest import OBJECTS_FOLDER, ManifestEntry, ManifestError, read_manifest
from scp_node.objects.order import EXIT_NO_ROOM, EncodingOrder, Predecessor, write_order
from scp_node.pipeline.folders import JobFolders, drop_if_superseded, snapshot, source_files
from scp_node.pipeline.inputs import input_digest, noted_inputs
from scp_node.pipeline.ports import Child, ChildEnd, Ending, Limits, Runner
from scp_node.pipeline.thresholds import SiteThresholds, settings_digest
from scp_node.settings import AnalysisSettings, ObjectSettings, Peer
from scp_node.store.jobs import JobStore, NewObject
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore

REPORT_KINDS = frozenset({ObjectKind.REPORT, ObjectKind.TEXT_REPORT})
AGAIN_S = 300.0
"""After an encoding that failed although there is nothing left to give up to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeResults:
    """The stage that turns a result, or the lack of one, into DICOM objects."""

    studies: StudyStore
    jobs: JobStore
    spool: Spool
    folders: JobFolders
    runner: Runner
    analysis: AnalysisSettings
    objects: ObjectSettings
    peers: Mapping[str, Peer]
    versions: Mapping[str, str]
    """Installed analyzers and their versions."""
    thresholds: SiteThresholds
    stopping: Callable[[], bool]
    failures: dict[int, int] = field(default_factory=dict)
    """Failed encodings by job since the start of the node; a restart begins anew."""

    @property
    def name(self) -> str:
        """The verb."""
        return "encode"

    def due(self, now: datetime) -> Sequence[AnalysisJob]:
        """Jobs with a result, and failed ones without an answer."""
        return () if self.stopping() else self.jobs.awaiting_encoding()

    def key(self, item: AnalysisJob) -> str:
        """A job that gives up is worth another look at once."""
        return f"job {item.job_id} {item.state}"

    def step(self, item: AnalysisJob, now: datetime) -> Outcome:
        """Encode one job and queue its objects."""
        folder = self.folders.job(item.job_id)
        folder.mkdir(parents=True, exist_ok=True)
        # Again here: a node that was killed right after the commit of a result did not come to it.
        self.folders.drop_attempts(item.job_id, but=item.fence)
        try:
            entries = self._encode(item, folder)
            self.folders.make_reachable(item.job_id)
        except (EncodingError, ManifestError) as fault:
            if self.stopping():
                return Wait(until=now, why="the node is stopping")
            return self._failed(item, str(fault), now)
        except OSError as fault:
            # Whatever it takes: there is a result, and an answer that it could not be written down would be no better.
            cause = f"this machine could not do it ({fault.strerror or type(fault).__name__})"
            return Retry(after_s=AGAIN_S, cause=f"job {item.job_id}: {cause}")
        made = [self._new_object(item, entry) for entry in entries]
        try:
            self.jobs.encoded(item.job_id, now, made, deliveries(entries, item.peers, self.peers))
        except LostRaceError:
            drop_if_superseded(self.jobs, self.folders, item.job_id)
            raise
        self.folders.drop_inputs(item.job_id)
        return Done(what=f"job {item.job_id} encoded: {len(made)} objects for {', '.join(item.peers)}")

    def _encode(self, job: AnalysisJob, folder: Path) -> tuple[ManifestEntry, ...]:
        shutil.rmtree(folder / OBJECTS_FOLDER, ignore_errors=True)
        write_order(self._order(job, folder), folder)
        limits = Limits(
            time_s=self.analysis.encode_time_limit_s,
            memory_gib=self.analysis.encode_memory_limit_gib,
            niceness=self.analysis.niceness,
        )
        command = (sys.executable, "-m", "scp_node.objects", str(folder))
        child = Child(command=command, log=folder / "encode.log", limits=limits)
        end = self.runner.run(child, started=lambda _pid, _at: None, wanted=lambda: not self.stopping())
        if end.ending is Ending.EXITED and end.exit_code == EXIT_NO_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if end.ending is not Ending.EXITED or end.exit_code != 0:
            raise EncodingError(encoding_cause(end))
        return read_manifest(folder)

    def _order(self, job: AnalysisJob, folder: Path) -> EncodingOrder:
        study = self.studies.get(job.study_instance_uid)
        instances = self.studies.instances(job.study_instance_uid)
        technical = job.state is JobState.FAILED
        attempt = self.folders.attempt(job.job_id, job.fence)
        if technical:
            attempt = self.folders.fresh_attempt(job.job_id, job.fence)
            # Also of a study that lost files: the report that says so needs the header of any image.
            snapshot(filter(Path.is_file, source_files(self.spool, instances)), attempt / "study")
        started_at = job.analysis_started_at or study.last_received_at
        offset = started_at.astimezone(ZoneInfo(self.objects.timezone)).utcoffset()
        takers = [self.peers[name] for name in job.peers if name in self.peers]
        return EncodingOrder(
            study_instance_uid=job.study_instance_uid,
            revision=job.revision,
            analyzer_name=job.analyzer,
            analyzer_version=self.versions.get(job.analyzer, "unknown"),
            analysis_started_at=started_at,
            utc_offset_minutes=0 if offset is None else int(offset.total_seconds() // 60),
            study_folder=attempt / "study",
            out_folder=None if technical else attempt / "out",
            failure=f"the analyzer {job.last_cause}" if technical else None,
            identity=study.identity,
            input_digest=input_digest(instances) if technical else noted_inputs(attempt, instances),
            settings_digest=settings_digest(self.thresholds, job.analyzer),
            predecessors=self._predecessors(job),
            missing=self.studies.decision(job.study_instance_uid).missing,
            object_kinds=frozenset(kind for peer in takers for kind in peer.objects) or frozenset(ObjectKind),
            groups_without_coordinates=bool(takers) and all(peer.groups_without_coordinates for peer in takers),
            device_serial_number=self.objects.device_serial_number,
            institution_name=self.objects.institution_name,
        )

    def _predecessors(self, job: AnalysisJob) -> tuple[Predecessor, ...]:
        return tuple(
            Predecessor(
                sop_class_uid=report.sop_class_uid,
                sop_instance_uid=report.sop_instance_uid,
                series_instance_uid=report.series_instance_uid,
                study_instance_uid=report.study_instance_uid,
            )
            for report in self.jobs.previous_reports(job.study_instance_uid, job.analyzer, job.revision)
        )

    def _new_object(self, job: AnalysisJob, entry: ManifestEntry) -> NewObject:
        file = self.folders.job(job.job_id) / OBJECTS_FOLDER / entry.file
        return NewObject(
            kind=entry.kind,
            sop_class_uid=entry.sop_class_uid,
            sop_instance_uid=entry.sop_instance_uid,
            series_instance_uid=entry.series_instance_uid,
            study_instance_uid=entry.study_instance_uid,
            file=self.folders.relative(file),
            digest=entry.digest,
        )

    def _failed(self, job: AnalysisJob, cause: str, now: datetime) -> Outcome:
        self.failures[job.job_id] = failures = self.failures.get(job.job_id, 0) + 1
        if job.state is JobState.ANALYZED and failures < self.analysis.attempts:
            return Retry(after_s=self.analysis.retry_s, cause=f"job {job.job_id}: {cause}")
        if job.state is JobState.ANALYZED:
            # There is a result that cannot be written down: the study is still owed an answer that says so.
            self.jobs.attempt_failed(
                job.job_id, job.fence, now, f"gave a result that this node could not write down ({cause})", None
            )
            return Fail(cause=f"job {job.job_id}: {cause}")
        return Retry(after_s=AGAIN_S, cause=f"job {job.job_id} has no answer yet: {cause}")


def encoding_cause(end: ChildEnd) -> str:
    """Why an encoding ended badly, without anything that the child printed."""
    match end.ending:
        case Ending.TIMED_OUT:
            return "the encoder ran too long"
        case Ending.OUT_OF_MEMORY:
            return "the encoder used too much memory"
        case Ending.STOPPED:
            return "the encoder was stopped together with the node"
        case _:
            return f"the encoder ended with exit code {end.exit_code}"


def deliveries(
    entries: Sequence[ManifestEntry], peers: Sequence[str], known: Mapping[str, Peer]
) -> list[tuple[int, str]]:
    """Which object (by index) goes to which peer.

    A peer gets the kinds that it takes. One that would get no report at all gets every report there is: an accepted
    study is always answered.
    """
    queued: list[tuple[int, str]] = []
    for name in peers:
        wanted = frozenset(known[name].objects) if name in known else frozenset(ObjectKind)
        if not any(entry.kind in wanted & REPORT_KINDS for entry in entries):
            wanted |= REPORT_KINDS
        queued.extend((index, name) for index, entry in enumerate(entries) if entry.kind in wanted)
    return queued
