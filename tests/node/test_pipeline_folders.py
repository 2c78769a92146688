"""What lies in the folders of jobs, and for how long."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scp_node.pipeline.folders import JobFolders, drop_if_superseded, snapshot
from scp_node.pipeline.retain import Retain
from scp_node.store.database import Database
from scp_node.store.jobs import JobStore
from scp_node.store.retention import Retention, RetentionPeriods
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from tests.node.store_samples import STUDY, analyzed, at, complete_and_route, encoded, received, routed


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def folders(tmp_path: Path) -> JobFolders:
    return JobFolders(data_folder=tmp_path)


@pytest.fixture
def retain(database: Database, folders: JobFolders) -> Retain:
    return Retain(
        retention=Retention(database),
        jobs=JobStore(database),
        spool=Spool(folders.data_folder / "spool", quota_gib=1.0, keep_free_gib=0.0),
        folders=folders,
        periods=RetentionPeriods(answered=timedelta(days=7)),
    )


def fill(folders: JobFolders, job_id: int, fence: int) -> Path:
    """An attempt with everything that one can have."""
    attempt = folders.fresh_attempt(job_id, fence)
    (attempt / "study" / "000001.dcm").write_bytes(b"an image")
    (attempt / "priors" / "1" / "study").mkdir(parents=True)
    (attempt / "out" / "result.json").write_text("{}")
    folders.log(job_id, fence).write_text("what it printed")
    return attempt


def inside(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def test_what_an_answered_job_was_shown_is_let_go_also_when_a_kill_came_between(
    database: Database, folders: JobFolders, retain: Retain
) -> None:
    routed(database, analyzers=("cta", "mri"))
    answered, waiting = analyzed(database), analyzed(database, after_s=131)
    encoded(database, answered)
    attempts = [fill(folders, job.job_id, job.fence) for job in (answered, waiting)]
    retain.finish_what_was_begun()

    assert [inside(attempt) for attempt in attempts] == [{"out"}, {"out", "study", "priors"}]
    assert folders.log(answered.job_id, answered.fence).is_file()


def test_nothing_is_kept_of_a_superseded_job(database: Database, folders: JobFolders, retain: Retain) -> None:
    routed(database)
    superseded = analyzed(database)
    fill(folders, superseded.job_id, superseded.fence)
    StudyStore(database).record(received(3, after_s=300), at(300))
    complete_and_route(database, after_s=300)
    (_, living) = JobStore(database).of_study(STUDY)
    fill(folders, living.job_id, 1)
    retain.step("files", at(500))

    assert folders.present() == {living.job_id}


def test_a_job_that_somebody_else_has_by_now_keeps_its_folder(database: Database, folders: JobFolders) -> None:
    routed(database)
    jobs = JobStore(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    fill(folders, job.job_id, job.fence)
    jobs.expire_leases(at(1000))
    drop_if_superseded(jobs, folders, job.job_id)
    assert folders.present() == {job.job_id}

    StudyStore(database).record(received(3, after_s=1001), at(1001))
    drop_if_superseded(jobs, folders, job.job_id)
    assert folders.present() == frozenset()


@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.EOPNOTSUPP])
def test_what_is_written_into_a_snapshot_does_not_reach_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    content = os.urandom(300_000)
    source, folder = tmp_path / "received", tmp_path / "study"
    source.write_bytes(content)
    folder.mkdir()
    if refusal is not None:

        def refuse(*_args: object) -> int:
            raise OSError(refusal, os.strerror(refusal))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    snapshot([source], folder)
    copy = folder / "000001.dcm"
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o777 == 0o444
    copy.chmod(0o644)
    copy.write_bytes(b"overwritten by an analyzer")
    assert source.read_bytes() == content


def test_a_full_disk_is_no_reason_to_copy_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    (tmp_path / "received").write_bytes(b"content")
    with pytest.raises(OSError, match="No space"):
        snapshot([tmp_path / "received"], tmp_path)
