"""Offline: one study folder through the node's own rules and children, without network and without a store."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pydicom
from pydicom.errors import InvalidDicomError

from analyzers.contract import StudySummary
from analyzers.headers import is_stand_in
from analyzers.wire import summary_from_json
from scp_node.dimse.text import UNREADABLE
from scp_node.domain.routing import Analyze, Routed, decide
from scp_node.domain.study import Identity
from scp_node.errors import EncodingError, NodeError
from scp_node.inbound.examination import identity_of
from scp_node.objects.manifest import OBJECTS_FOLDER, ManifestEntry, read_manifest
from scp_node.objects.order import EncodingOrder, write_order
from scp_node.pipeline.analyze import BAD_INPUT, attempt_fault
from scp_node.pipeline.encode import encoding_cause
from scp_node.pipeline.ports import Child, ChildEnd, Ending, Limits, Runner
from scp_node.pipeline.thresholds import settings_digest, threshold_arguments
from scp_node.settings import Settings

SUMMARY_TIME_S = 600.0


class StudyFolderError(NodeError):
    """The folder holds no study that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOnDisk:
    """A folder that holds one study."""

    folder: Path
    study_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineAnswer:
    """What an offline analysis left behind for one analyzer."""

    analyzer: str
    out_folder: Path
    """``result.json``, segments and pictures."""
    objects: tuple[Path, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """Runs one study folder through routing, analyzer and encoder."""

    settings: Settings
    versions: Mapping[str, str]
    runner: Runner
    progress: Callable[[str], None]
    """Told one line for each step."""

    def route(self, study_folder: Path) -> tuple[StudyOnDisk, Routed]:
        """Read the headers and ask the routes.

        Raises
        ------
        StudyFolderError
            When the folder holds no study, or several.
        """
        summary = self._summary(study_folder)
        if is_stand_in(summary.study_instance_uid):
            self.progress("the images have no Study Instance UID: the objects use one that was made for them")
        study = StudyOnDisk(folder=study_folder.resolve(), study_instance_uid=summary.study_instance_uid)
        return study, decide(summary, {}, self.settings.routes)

    def answer(self, study: StudyOnDisk, out: Path, analyzers: Sequence[str], now: datetime) -> list[OfflineAnswer]:
        """Analyse and encode with each analyzer; each gets its own folder below ``out``.

        Raises
        ------
        AnalyzerError, EncodingError
            When a child fails; nothing half-done is left in ``out``.
        """
        # The children read relative folders below the job folder, not below ours.
        out = out.resolve()
        return [self._one(study, out / name, name, now) for name in analyzers]

    def _summary(self, study_folder: Path) -> StudySummary:
        if not study_folder.is_dir():
            raise StudyFolderError(
                f"{study_folder} is not a folder: name the folder that holds the study's DICOM files"
            )
        with tempfile.TemporaryDirectory(prefix="hai-summary-") as scratch:
            command = (sys.executable, "-m", "analyzers", "--summary", str(study_folder))
            end = self._run(command, Path(scratch) / "stderr", SUMMARY_TIME_S)
            if end.exit_code != 0:
                told = end.stderr_tail.strip().splitlines()
                cause = (
                    told[-1] if told and end.exit_code == BAD_INPUT else f"reading ended with exit code {end.exit_code}"
                )
                raise StudyFolderError(cause)
        return summary_from_json(json.loads(end.stdout))

    def _one(self, study: StudyOnDisk, out: Path, analyzer: str, now: datetime) -> OfflineAnswer:
        _refuse_foreign_folder(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".hai-offline-", dir=out.parent) as scratch:
            job = Path(scratch)
            (job / "out").mkdir()
            self.progress(f"{analyzer}: measuring")
            limits = self.settings.node.analysis
            thresholds = threshold_arguments(self.settings.thresholds, analyzer, job)
            command = (sys.executable, "-m", "analyzers", analyzer, str(study.folder), str(job / "out"), *thresholds)
            end = self._run(command, job / "stderr.log", limits.time_limit_s)
            fault = attempt_fault(end, job / "out", limits)
            if fault is not None:
                told = end.stderr_tail.strip().splitlines()
                raise type(fault)(f"{analyzer}: {fault}" + (f": {told[-1]}" if told else ""))
            self.progress(f"{analyzer}: encoding")
            entries = self._encode(study, job, analyzer, now)
            return self._deliver(job, out, analyzer, entries, end)

    def _encode(self, study: StudyOnDisk, job: Path, analyzer: str, now: datetime) -> tuple[ManifestEntry, ...]:
        objects = self.settings.node.objects
        offset = now.astimezone(ZoneInfo(objects.timezone)).utcoffset()
        files = study_files(study.folder)
        order = EncodingOrder(
            study_instance_uid=study.study_instance_uid,
            revision=1,
            analyzer_name=analyzer,
            analyzer_version=self.versions.get(analyzer, "unknown"),
            analysis_started_at=now,
            utc_offset_minutes=0 if offset is None else int(offset.total_seconds() // 60),
            study_folder=study.folder,
            out_folder=job / "out",
            failure=None,
            identity=study_identity(files, study.study_instance_uid),
            input_digest=folder_digest(files),
            settings_digest=settings_digest(self.settings.thresholds, analyzer),
            device_serial_number=objects.device_serial_number,
            institution_name=objects.institution_name,
        )
        write_order(order, job)
        limits = self.settings.node.analysis
        command = (sys.executable, "-m", "scp_node.objects", str(job))
        end = self._run(command, job / "encode.log", limits.encode_time_limit_s)
        if end.ending is not Ending.EXITED or end.exit_code != 0:
            told = end.stderr_tail.strip().splitlines()
            raise EncodingError(f"{analyzer}: {encoding_cause(end)}" + (f": {told[-1]}" if told else ""))
        return read_manifest(job)

    def _deliver(
        self, job: Path, out: Path, analyzer: str, entries: Sequence[ManifestEntry], end: ChildEnd
    ) -> OfflineAnswer:
        """Move everything to its place at once: a reader never sees half an answer."""
        for entry in entries:
            (job / OBJECTS_FOLDER / entry.file).rename(job / "out" / entry.file)
        if out.exists():
            # An earlier answer of ours is replaced; _refuse_foreign_folder made sure that it is nothing else.
            shutil.rmtree(out)
        (job / "out").rename(out)
        objects = tuple(out / entry.file for entry in entries)
        return OfflineAnswer(analyzer=analyzer, out_folder=out, objects=objects, seconds=end.seconds)

    def _run(self, command: Sequence[str], log: Path, time_s: float) -> ChildEnd:
        limits = Limits(time_s=time_s, memory_gib=self.settings.node.analysis.memory_limit_gib, niceness=0)
        child = Child(command=command, log=log, limits=limits)
        return self.runner.run(child, started=lambda _pid, _at: None, wanted=lambda: True)


def analyzers_of(routed: Routed) -> tuple[str, ...]:
    """The analyzers of a decision; none when the study is ignored or held."""
    return routed.decision.analyzers if isinstance(routed.decision, Analyze) else ()


def study_files(folder: Path) -> list[Path]:
    """DICOM Part 10 files below a folder, in the order of their paths."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and _has_preamble(path)]


def study_identity(files: Sequence[Path], study_instance_uid: str) -> Identity:
    """Identity by the first file of the study: a DICOMDIR and what else a disc holds belong to nobody.

    A study whose images name no Study Instance UID is known by one that was made for it; then the first file that is
    an image at all, and names no other study, counts.

    Raises
    ------
    StudyFolderError
        When no file of the study can be read.
    """
    wanted = ("",) if is_stand_in(study_instance_uid) else (study_instance_uid,)
    for path in files:
        try:
            with warnings.catch_warnings():
                # What is odd about a file is no news here: the study was read, and judged, by a child before.
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(path, stop_before_pixels=True)
            # A file that lost its data set's UIDs is still an image by those of its file meta information.
            named = header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID")
            if (
                named
                and "DirectoryRecordSequence" not in header
                and str(header.get("StudyInstanceUID") or "") in wanted
            ):
                return identity_of(header)
        except (*UNREADABLE, InvalidDicomError, OSError):
            continue
    raise StudyFolderError("no file of the study can be read: nobody could be named as its patient")


def folder_digest(files: Sequence[Path]) -> str:
    """SHA-256 over the contents of files, whatever their names."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return hashlib.sha256("\n".join(digests).encode("ascii")).hexdigest()


def _has_preamble(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _refuse_foreign_folder(out: Path) -> None:
    if out.exists() and not (out / "result.json").is_file():
        raise StudyFolderError(f"{out} exists and holds no earlier answer: choose another --out, or empty it")
