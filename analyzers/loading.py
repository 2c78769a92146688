"""Open a study folder: headers at once, pixels when asked for.

A study folder is any tree of files. DICOM files are found by their content, never by their name; other files are
counted and ignored. Nothing in the folder is ever written.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.errors import InvalidDicomError

from analyzers.contract import StudySummary
from analyzers.elements import UNREADABLE
from analyzers.headers import SEGMENTATION_CLASSES, instance_summary, study_summary
from analyzers.pixels import SourceFile, find_pixel_data
from analyzers.segmentations import GivenSegmentation, read_segmentation
from analyzers.series_loading import load_series
from analyzers.volume import LoadedSeries

KEPT_VOXEL_BYTES = 1 << 30
"""Voxels of earlier series that stay in memory; the newest series always does."""

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_UNPARSABLE = (*UNREADABLE, InvalidDicomError, OSError)


class StudyFolderError(ValueError):
    """A folder is not one study; the message says what was found and what to do."""


class StudyOnDisk:
    """A study whose pixels are read series by series; see :class:`~analyzers.volume.StudyImages`.

    Parameters
    ----------
    sources : mapping
        Series Instance UID → files.
    roles : mapping or None
        Series Instance UID → role, as an analyzer's ``accepts`` gave them.
    ignored_files : int
        Files in the folder that are not DICOM instances.
    outlined : sequence of SourceFile
        Segmentations that lie with the images; they are no series of the study.
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[SourceFile, ...]],
        roles: Mapping[str, str] | None = None,
        ignored_files: int = 0,
        outlined: Sequence[SourceFile] = (),
    ) -> None:
        self._sources = sources
        self._outlined = tuple(outlined)
        self._roles = dict(roles or {})
        self._summary = _summary_of(sources)
        self._series = {series.series_instance_uid: series for series in self._summary.series}
        self._loaded: OrderedDict[str, LoadedSeries] = OrderedDict()
        self.ignored_files = ignored_files

    @property
    def summary(self) -> StudySummary:
        """The headers."""
        return self._summary

    @property
    def roles(self) -> Mapping[str, str]:
        """Series Instance UID → role."""
        return self._roles

    def with_roles(self, roles: Mapping[str, str]) -> StudyOnDisk:
        """The same study with the roles that ``accepts`` gave."""
        return StudyOnDisk(self._sources, roles, self.ignored_files, self._outlined)

    @cached_property
    def segmentations(self) -> tuple[GivenSegmentation, ...]:
        """What others outlined on the study, in the order of the objects' UIDs."""
        return tuple(read_segmentation(source) for source in self._outlined)

    def load(self, series_instance_uid: str) -> LoadedSeries:
        """Read one series; the newest few stay in memory.

        Raises
        ------
        KeyError
            If the study has no such series.
        """
        if series_instance_uid in self._loaded:
            self._loaded.move_to_end(series_instance_uid)
            return self._loaded[series_instance_uid]
        loaded = load_series(self._series[series_instance_uid], self._sources[series_instance_uid])
        self._loaded[series_instance_uid] = loaded
        while len(self._loaded) > 1 and sum(map(_voxel_bytes, self._loaded.values())) > KEPT_VOXEL_BYTES:
            self._loaded.popitem(last=False)
        return loaded

    def with_role(self, role: str) -> tuple[LoadedSeries, ...]:
        """Load every series that has the role, in the order of Series Number."""
        return tuple(
            self.load(series.series_instance_uid)
            for series in self._summary.series
            if self._roles.get(series.series_instance_uid) == role
        )


def open_study(folder: Path) -> StudyOnDisk:
    """Read the headers of a study folder.

    Parameters
    ----------
    folder : Path
        Any tree of files that holds the instances of one study.

    Returns
    -------
    StudyOnDisk
        Its ``ignored_files`` counts what is not a DICOM instance.

    Raises
    ------
    StudyFolderError
        If the folder does not exist, holds no DICOM instance, or holds several studies.
    """
    if not folder.is_dir():
        raise StudyFolderError(f"{folder} is not a folder: name the folder that holds the study's DICOM files")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with warnings.catch_warnings():
        # What a parser thinks of a header is not a message to the operator; what cannot be read is refused.
        warnings.simplefilter("ignore")
        sources = [source for path in files if (source := _read_source(path)) is not None]
    if not sources:
        raise StudyFolderError(f"{folder} holds no DICOM instance ({len(files)} other files)")
    outlined, images = _parted(sources)
    studies = sorted({source.instance.study_instance_uid for source in images})
    if len(studies) > 1:
        raise StudyFolderError(
            f"{folder} holds {len(studies)} studies ({', '.join(studies[:5])}): give each a folder of its own"
        )
    # Of another study, or damaged: no reason not to read the images.
    own = [source for source in outlined if source.instance.study_instance_uid == studies[0]]
    by_series: dict[str, list[SourceFile]] = {}
    for source in images:
        by_series.setdefault(source.instance.series_instance_uid, []).append(source)
    return StudyOnDisk(
        {uid: tuple(members) for uid, members in by_series.items()},
        ignored_files=len(files) - len(sources) + len(outlined) - len(own),
        outlined=own,
    )


def _parted(sources: Sequence[SourceFile]) -> tuple[list[SourceFile], list[SourceFile]]:
    """Segmentations, each once, and everything else; a folder of nothing but segmentations has them as its series."""
    outlined = {
        source.instance.sop_instance_uid: source
        for source in sources
        if source.instance.sop_class_uid in SEGMENTATION_CLASSES
    }
    images = [source for source in sources if source.instance.sop_class_uid not in SEGMENTATION_CLASSES]
    return ([outlined[uid] for uid in sorted(outlined)], images) if images else ([], list(sources))


def _read_source(path: Path) -> SourceFile | None:
    try:
        with path.open("rb") as file:
            return _parse(path, file)
    except _UNPARSABLE:
        return None


def _parse(path: Path, file: BinaryIO) -> SourceFile | None:
    head = file.read(132)
    file.seek(0)
    with_preamble = head[128:] == b"DICM"
    if not with_preamble and head[:2] != b"\x08\x00":
        return None
    dataset = pydicom.dcmread(file, stop_before_pixels=True, force=not with_preamble)
    meta = getattr(dataset, "file_meta", None)
    transfer_syntax_uid = str(getattr(meta, "TransferSyntaxUID", "") or _IMPLICIT_LITTLE_ENDIAN)
    instance = instance_summary(dataset, transfer_syntax_uid)
    if not instance.sop_instance_uid or instance.sop_class_uid == _MEDIA_DIRECTORY:
        return None
    offset, length = find_pixel_data(file, transfer_syntax_uid)
    return SourceFile(path=path, instance=instance, pixel_offset=offset, pixel_bytes=length)


def _summary_of(sources: Mapping[str, tuple[SourceFile, ...]]) -> StudySummary:
    """Headers of the study; an instance that lies in the folder twice is listed once."""
    unique: dict[str, SourceFile] = {}
    for members in sources.values():
        for source in members:
            unique.setdefault(source.instance.sop_instance_uid, source)
    return study_summary(source.instance for source in unique.values())


def _voxel_bytes(loaded: LoadedSeries) -> int:
    return sum(volume.voxels_zyx.nbytes for volume in loaded.volumes) + sum(view.counts.nbytes for view in loaded.views)
