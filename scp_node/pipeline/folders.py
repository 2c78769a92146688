"""Where the files of a job lie, and the read-only snapshot of a study that an analyzer is shown.

``DATA/jobs/<job>/<fence>/study`` holds copies under neutral names: an analyzer cannot alter the spool through them.
Hard links would cost nothing, but an analyzer runs as the user who owns the spool, and could write through them after
a change of mode. File systems that can share blocks between copies (XFS, Btrfs) are asked to do so. The copies go as
soon as the job is encoded; who needs the images later takes them from the spool again.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scp_node.domain.job import JobState
from scp_node.durability import sync_files, sync_folder, sync_tree
from scp_node.store.jobs import JobStore
from scp_node.store.spool import Spool
from scp_node.store.study_rows import StoredInstance

READ_ONLY = 0o444
COPY_BYTES = 1 << 30
"""In one call; Linux takes 2 GiB."""
_CANNOT_COPY_SO = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFolders:
    """The folders of all jobs below the data folder."""

    data_folder: Path

    def job(self, job_id: int) -> Path:
        """Everything of one job; the encoder's JOB_FOLDER."""
        return self.data_folder / "jobs" / str(job_id)

    def attempt(self, job_id: int, fence: int) -> Path:
        """One attempt: its own folder, so that two attempts never mix."""
        return self.job(job_id) / str(fence)

    def log(self, job_id: int, fence: int) -> Path:
        """What the analyzer of an attempt printed; kept as long as the job's folder."""
        return self.job(job_id) / f"attempt-{fence}.log"

    def relative(self, path: Path) -> str:
        """A path below the data folder as the database keeps it."""
        return str(path.relative_to(self.data_folder))

    def fresh_attempt(self, job_id: int, fence: int) -> Path:
        """Make the empty folder of an attempt with ``study``, ``priors`` and ``out`` in it."""
        folder = self.attempt(job_id, fence)
        if folder.exists():
            shutil.rmtree(folder)
        for name in ("study", "priors", "out"):
            (folder / name).mkdir(parents=True)
        return folder

    def make_durable(self, job_id: int, fence: int) -> None:
        """Let what the encoder reads of an attempt, and the way to it, survive a power cut."""
        attempt = self.attempt(job_id, fence)
        for name in ("study", "out"):
            sync_tree(attempt / name)
        sync_files(attempt)
        self.make_reachable(job_id)

    def make_reachable(self, job_id: int) -> None:
        """Let the names in a job's folder, and the way to it, survive a power cut."""
        for folder in (self.job(job_id), self.data_folder / "jobs", self.data_folder):
            sync_folder(folder)

    def present(self) -> frozenset[int]:
        """Numbers of the jobs that have a folder."""
        jobs = self.data_folder / "jobs"
        entries = jobs.iterdir() if jobs.is_dir() else ()
        return frozenset(int(entry.name) for entry in entries if entry.name.isdigit())

    def drop(self, job_id: int) -> None:
        """Remove everything of a job; what its last process still writes meanwhile goes the next time."""
        shutil.rmtree(self.job(job_id), ignore_errors=True)

    def drop_inputs(self, job_id: int) -> None:
        """Remove what the attempts of a job were shown: copies of what the spool has. Results and logs stay."""
        for attempt in self._attempts(job_id):
            for name in ("study", "priors"):
                shutil.rmtree(attempt / name, ignore_errors=True)

    def drop_attempts(self, job_id: int, *, but: int | None = None) -> None:
        """Remove the folders of attempts whose results nobody will take."""
        for attempt in self._attempts(job_id):
            if attempt.name != str(but):
                shutil.rmtree(attempt)

    def _attempts(self, job_id: int) -> list[Path]:
        folder = self.job(job_id)
        return [entry for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []


def drop_if_superseded(jobs: JobStore, folders: JobFolders, job_id: int) -> None:
    """Remove everything of a job whose inputs changed while it was worked on; not of one that somebody else has."""
    if jobs.get(job_id).state is JobState.SUPERSEDED:
        folders.drop(job_id)


def snapshot(sources: Iterable[Path], folder: Path) -> None:
    """Copy files into ``folder`` as 000001.dcm, 000002.dcm ..., read-only."""
    for number, source in enumerate(sources, start=1):
        copy = folder / f"{number:06d}.dcm"
        _copy(source, copy)
        copy.chmod(READ_ONLY)


def _copy(source: Path, target: Path) -> None:
    """Copy a file inside the kernel, which shares the blocks where the file system can."""
    with source.open("rb") as content, target.open("wb") as copy:
        try:
            while os.copy_file_range(content.fileno(), copy.fileno(), COPY_BYTES):
                pass
            return
        except OSError as fault:
            if fault.errno not in _CANNOT_COPY_SO:
                raise
    shutil.copyfile(source, target)


def source_files(spool: Spool, instances: Iterable[StoredInstance]) -> Iterator[Path]:
    """The files of instances, in the order of their SOP Instance UIDs; purged ones are left out."""
    for instance in sorted(instances, key=lambda each: each.summary.sop_instance_uid):
        if instance.spool_key is not None:
            yield spool.path(instance.spool_key)


def missing_files(spool: Spool, instances: Iterable[StoredInstance]) -> int:
    """How many of the files that the rows promise are not in the spool."""
    return sum(not path.is_file() for path in source_files(spool, instances))


def lend_result(out_folder: Path, folder: Path) -> bool:
    """Copy an earlier result and its segments as a prior; ``False`` when it is no longer there."""
    result = out_folder / "result.json"
    if not result.is_file():
        return False
    shutil.copyfile(result, folder / "result.json")
    segments = out_folder / "segments"
    if segments.is_dir():
        shutil.copytree(segments, folder / "segments")
    return True


def bytes_below(folders: Sequence[Path]) -> int:
    """Total size of all files below the folders, in bytes."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
