"""What an attempt says about the analyzer, and what it says about the machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from analyzers import __main__ as analyzers_main
from scp_node.domain.job import AnalysisJob, JobState
from scp_node.domain.outcome import Done, Fail, Outcome, Retry, Wait
from scp_node.durability import sync_tree
from scp_node.errors import LostRaceError
from scp_node.objects.order import EXIT_NO_ROOM
from scp_node.pipeline import encode, folders
from scp_node.pipeline.analyze import AnalyzeJobs
from scp_node.pipeline.encode import EncodeResults
from scp_node.pipeline.folders import JobFolders
from scp_node.pipeline.inputs import DIGEST_FILE
from scp_node.pipeline.ports import Child, ChildEnd, Ending
from scp_node.settings import AnalysisSettings, ObjectSettings
from scp_node.store.database import Database
from scp_node.store.jobs import JobStore
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from tests.node.store_samples import STUDY, at, received, routed

SETTINGS = AnalysisSettings(attempts=2, retry_s=10.0)


@dataclass
class Machine:
    """A runner whose disk may be full, and whose analyzer leaves a result."""

    fault: OSError | None = None
    exit_code: int = 0
    commands: list[Child] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def run(self, child: Child, *, started: Callable[[int, float], None], wanted: Callable[[], bool]) -> ChildEnd:
        if self.fault is not None:
            raise self.fault
        assert wanted()
        started(4711, 0.0)
        self.commands.append(child)
        out = Path(child.command[5])
        (out / "segments").mkdir()
        (out / "segments" / "liver.npz").write_bytes(b"a mask")
        (out / "view.png").write_bytes(b"a picture")
        (out / "result.json").write_text("{}", encoding="utf-8")
        self.meanwhile()
        return ChildEnd(
            ending=Ending.EXITED,
            exit_code=self.exit_code,
            seconds=1.0,
            peak_memory_gib=0.1,
            stdout=b"",
            stderr_tail="",
        )


@dataclass
class Bench:
    """The stage with a clock to turn."""

    jobs: JobStore
    studies: StudyStore
    spool: Spool
    machine: Machine
    stage: AnalyzeJobs
    seconds: list[float]

    def attempt(self) -> Outcome:
        self.seconds[0] += SETTINGS.retry_s + 1.0
        (job,) = self.stage.due(at(self.seconds[0]))
        return self.stage.step(job, at(self.seconds[0]))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = Database.open(tmp_path, migrate=True)
    spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0)
    jobs, studies, machine, seconds = JobStore(database), StudyStore(database), Machine(), [200.0]
    routed(database)
    for instance in studies.instances(STUDY):
        assert instance.spool_key is not None
        path = spool.path(instance.spool_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")
    stage = AnalyzeJobs(
        studies=studies,
        jobs=jobs,
        spool=spool,
        folders=JobFolders(data_folder=tmp_path),
        runner=machine,
        settings=SETTINGS,
        thresholds={},
        clock=lambda: at(seconds[0]),
        stopping=lambda: False,
    )
    yield Bench(jobs=jobs, studies=studies, spool=spool, machine=machine, stage=stage, seconds=seconds)
    database.close()


def test_a_full_disk_costs_no_attempt_and_the_analysis_follows_once_there_is_room(bench: Bench) -> None:
    bench.machine.fault = OSError(errno.ENOSPC, "No space left on device", "a path")
    for _ in range(SETTINGS.attempts + 2):
        outcome = bench.attempt()
        assert isinstance(outcome, Retry)
        assert "No space left on device" in outcome.cause
    (job,) = bench.jobs.of_study(STUDY)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)

    bench.machine.fault = None
    bench.attempt()
    assert [each.state for each in bench.jobs.of_study(STUDY)] == [JobState.ANALYZED]


def test_an_analyzer_that_finds_no_room_to_write_is_not_to_blame(bench: Bench) -> None:
    bench.machine.exit_code = analyzers_main.NO_ROOM
    for _ in range(SETTINGS.attempts + 2):
        outcome = bench.attempt()
        assert isinstance(outcome, Retry)
        assert "No space left on device" in outcome.cause
    (job,) = bench.jobs.of_study(STUDY)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)

    bench.machine.exit_code = 0
    bench.attempt()
    assert [each.state for each in bench.jobs.of_study(STUDY)] == [JobState.ANALYZED]


def test_an_encoder_that_finds_no_room_to_write_does_not_turn_a_result_into_a_failure(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.attempt()

    class FullDisk:
        def run(self, child: Child, *, started: object, wanted: object) -> ChildEnd:
            del child, started, wanted
            return ChildEnd(
                ending=Ending.EXITED,
                exit_code=EXIT_NO_ROOM,
                seconds=1.0,
                peak_memory_gib=0.1,
                stdout=b"",
                stderr_tail="",
            )

    stage = EncodeResults(
        studies=bench.studies,
        jobs=bench.jobs,
        spool=bench.spool,
        folders=JobFolders(data_folder=tmp_path),
        runner=FullDisk(),
        analysis=SETTINGS,
        objects=ObjectSettings(),
        peers={},
        versions={},
        thresholds={},
        stopping=lambda: False,
    )
    monkeypatch.setattr(EncodeResults, "_order", lambda *_: None)
    monkeypatch.setattr(encode, "write_order", lambda *_: None)
    for number in range(SETTINGS.attempts + 2):
        (job,) = stage.due(at(300 + number))
        outcome = stage.step(job, at(300 + number))
        assert isinstance(outcome, Retry)
        assert "No space left on device" in outcome.cause
    assert [each.state for each in bench.jobs.of_study(STUDY)] == [JobState.ANALYZED]
    assert stage.failures == {}


def test_a_missing_received_file_is_said_and_not_tried_again(bench: Bench) -> None:
    spool_key = bench.studies.instances(STUDY)[0].spool_key
    assert spool_key is not None
    bench.spool.path(spool_key).unlink()

    assert isinstance(bench.attempt(), Fail)
    (job,) = bench.jobs.of_study(STUDY)
    assert job.state is JobState.FAILED
    assert "missing from the spool" in job.last_cause
    assert not bench.machine.commands


def test_a_result_and_its_images_survive_a_power_cut_once_the_study_counts_as_analysed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[Path] = set()
    promised: list[set[Path]] = []
    fsync, analysis_done = os.fsync, JobStore.analysis_done

    def noted(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def promise(*args: Any) -> AnalysisJob:
        promised.append(set(synced))
        return analysis_done(*args)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(JobStore, "analysis_done", promise)
    bench.attempt()

    (safe,) = promised
    jobs = tmp_path / "jobs"
    (attempt,) = (jobs / "1").glob("[0-9]*")
    needed = {path for name in ("out", "study") for path in (attempt / name, *(attempt / name).rglob("*"))}
    assert {path.name for path in needed} > {"result.json", "segments", "liver.npz", "view.png", "000001.dcm"}
    assert safe >= {*needed, attempt / DIGEST_FILE, attempt, jobs / "1", jobs, tmp_path}


def test_a_result_that_the_disk_does_not_keep_is_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_top: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", "a path")

    with monkeypatch.context() as broken:
        broken.setattr(folders, "sync_tree", refused)
        outcome = bench.attempt()
    assert isinstance(outcome, Retry)
    assert "keep its result (Input/output error)" in outcome.cause
    (job,) = bench.jobs.of_study(STUDY)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)

    bench.attempt()
    assert [each.state for each in bench.jobs.of_study(STUDY)] == [JobState.ANALYZED]


def test_syncing_what_a_program_left_neither_follows_links_nor_waits_for_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    sync_tree(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_tree(tmp_path / "absent")


def test_a_stop_while_the_images_are_laid_out_starts_no_analyzer(bench: Bench) -> None:
    stage = replace(bench.stage, stopping=lambda: bool(list(bench.stage.folders.data_folder.glob("jobs/1/*/study/*"))))
    (job,) = stage.due(at(300.0))
    assert isinstance(stage.step(job, at(300.0)), Wait)

    (study,) = bench.stage.folders.data_folder.glob("jobs/1/*/study")
    assert [file.name for file in study.iterdir()] == ["000001.dcm"]
    assert not bench.machine.commands
    assert [(each.state, each.attempts) for each in bench.jobs.of_study(STUDY)] == [(JobState.QUEUED, 0)]


def test_an_attempt_keeps_its_lease_while_its_images_are_laid_out_however_slow_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[Path] = []

    def slow(source: Path, target: Path) -> None:
        bench.seconds[0] += SETTINGS.lease_s * 0.6
        assert bench.jobs.expire_leases(at(bench.seconds[0])) == []
        target.write_bytes(source.read_bytes())
        copied.append(target)

    monkeypatch.setattr("scp_node.pipeline.folders._copy", slow)

    assert isinstance(bench.attempt(), Done)
    assert len(copied) >= 2


def test_nothing_is_kept_of_an_attempt_whose_images_changed_meanwhile(bench: Bench) -> None:
    bench.machine.meanwhile = lambda: bench.studies.record(received(3, after_s=250), at(250))
    with pytest.raises(LostRaceError, match="superseded"):
        bench.attempt()
    assert bench.stage.folders.present() == frozenset()
