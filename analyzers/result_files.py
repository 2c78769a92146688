"""The OUT folder of an analysis: ``result.json``, masks, pictures.

``result.json`` is written last and atomically, so its presence means that everything it names is there. The same
result gives the same bytes: no file holds a time, and nothing depends on the order of a dictionary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from analyzers import nifti, png
from analyzers.contract import (
    CONTRACT_VERSION,
    AnalysisResult,
    Assessed,
    Code,
    Declined,
    FrameRef,
    NotAssessable,
    Picture,
    Segment,
    StudySummary,
)
from analyzers.json_values import ContractBrokenError, from_json, to_json
from analyzers.result_check import NAME, check_pictures, check_result
from analyzers.thresholds import UsedThresholds

RESULT_SCHEMA = "hai-result/1"
RESULT_FILE = "result.json"
SEGMENTS_FOLDER = "segments"

_OUTCOMES: Mapping[str, type[AnalysisResult]] = {
    "assessed": Assessed,
    "not-assessable": NotAssessable,
    "declined": Declined,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFile:
    """A segment as ``result.json`` lists it: all of :class:`~analyzers.contract.Segment` but the mask itself.

    ``mask`` and ``nifti`` are paths relative to OUT; ``nifti`` is ``None`` where NIfTI cannot express the grid.
    ``shape`` is (planes, rows, columns); ``voxels`` counts the set ones, as a check.
    """

    name: str
    label: str
    category: Code
    type: Code
    planes: tuple[FrameRef, ...]
    series_instance_uid: str
    site: Code | None
    laterality: Code | None
    rgb: tuple[int, int, int]
    tracking_key: str
    mask: str
    nifti: str | None
    shape: tuple[int, int, int]
    voxels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """A page of the montage; ``file`` is relative to OUT."""

    name: str
    file: str
    frame: FrameRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerIdentity:
    """Who answered."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedStudy:
    """What was answered about. ``study_date`` is ``YYYYMMDD`` or empty."""

    study_instance_uid: str
    study_date: str = ""
    instances: int = 0
    ignored_files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """An OUT folder read back; ``segments`` parallels the segments of ``result``."""

    analyzer: AnalyzerIdentity
    study: AnalysedStudy
    result: AnalysisResult
    segments: tuple[SegmentFile, ...] = ()
    pictures: tuple[PictureFile, ...] = ()
    thresholds: UsedThresholds | None = None


def write_result(
    out: Path,
    result: AnalysisResult,
    *,
    analyzer: AnalyzerIdentity,
    study: AnalysedStudy,
    pictures: Sequence[Picture] = (),
    affines_lps: Mapping[str, NDArray[np.float64]] | None = None,
    thresholds: UsedThresholds | None = None,
) -> None:
    """Write an OUT folder, ``result.json`` last.

    Parameters
    ----------
    out : Path
        Folder to write; made if absent.
    result : AnalysisResult
        What the analyzer answered.
    analyzer, study : AnalyzerIdentity, AnalysedStudy
        Whose answer it is, about what.
    pictures : sequence of Picture
        Pages of the montage.
    affines_lps : mapping or None
        Segment name → (4, 4) affine of its grid; a segment without one gets no NIfTI file.
    thresholds : UsedThresholds or None
        What the analyzer decided with; ``None`` when it has no thresholds.

    Raises
    ------
    ContractBrokenError
        If the result breaks the contract; nothing is written then.
    """
    check_result(result)
    check_pictures(pictures)
    out.mkdir(parents=True, exist_ok=True)
    segments = result.segments if isinstance(result, Assessed) else ()
    segment_files = [_write_segment(out, segment, (affines_lps or {}).get(segment.name)) for segment in segments]
    picture_files = [_write_picture(out, picture) for picture in pictures]
    bare = replace(result, segments=()) if isinstance(result, Assessed) else result
    entries: dict[str, Any] = {
        "schema": RESULT_SCHEMA,
        "contract_version": CONTRACT_VERSION,
        "analyzer": to_json(analyzer),
        "study": to_json(study),
        "thresholds": to_json(thresholds),
        "outcome": next(word for word, kind in _OUTCOMES.items() if isinstance(result, kind)),
        "result": to_json(bare),
        "pictures": to_json(tuple(picture_files)),
    }
    if isinstance(result, Assessed):
        entries["result"]["segments"] = to_json(tuple(segment_files))
    _write_last(out / RESULT_FILE, json.dumps(entries, ensure_ascii=True, indent=1) + "\n")


def read_result(out: Path, *, masks: bool = True) -> ResultFile:
    """Read an OUT folder.

    Parameters
    ----------
    out : Path
        Folder that an analysis wrote.
    masks : bool
        Whether to read the masks. Without them every ``mask_planes`` is False throughout and takes no memory;
        :func:`read_segment` then reads one at a time.

    Raises
    ------
    ContractBrokenError
        If ``result.json`` or a mask is not what the schema says; the message names the key.
    OSError
        If a file cannot be read; ``FileNotFoundError`` for ``result.json`` means that there is no result.
    """
    try:
        entries = json.loads((out / RESULT_FILE).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ContractBrokenError(f"{RESULT_FILE}: not JSON: {error}") from error
    envelope = from_json(_Envelope, entries, RESULT_FILE)
    kind = _kind_of(envelope)
    inner = dict(envelope.result)
    listed = {"segments": inner.pop("segments", [])} if kind is Assessed else {}
    result: AnalysisResult = from_json(kind, inner, f"{RESULT_FILE}.result")
    segment_files = from_json(_SegmentList, listed, f"{RESULT_FILE}.result").segments
    if isinstance(result, Assessed):
        read = read_segment if masks else _unread_segment
        result = replace(result, segments=tuple(read(out, one) for one in segment_files))
    check_result(result)
    return ResultFile(
        analyzer=envelope.analyzer,
        study=envelope.study,
        result=result,
        segments=segment_files,
        pictures=envelope.pictures,
        thresholds=envelope.thresholds,
    )


def read_segment(out: Path, listed: SegmentFile) -> Segment:
    """Read one segment with its mask.

    Raises
    ------
    ContractBrokenError
        If the mask is not what the list says.
    """
    return _segment(listed, _read_mask(out, listed))


def study_of(summary: StudySummary, ignored_files: int = 0) -> AnalysedStudy:
    """Identity of a study for its result."""
    first = summary.series[0].first if summary.series else None
    return AnalysedStudy(
        study_instance_uid=summary.study_instance_uid,
        study_date=first.text("StudyDate") if first else "",
        instances=sum(len(series.instances) for series in summary.series),
        ignored_files=ignored_files,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    schema: str
    contract_version: int
    analyzer: AnalyzerIdentity
    study: AnalysedStudy
    outcome: str
    result: Mapping[str, Any]
    pictures: tuple[PictureFile, ...]
    thresholds: UsedThresholds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SegmentList:
    segments: tuple[SegmentFile, ...] = ()


def _kind_of(envelope: _Envelope) -> type[AnalysisResult]:
    if envelope.schema != RESULT_SCHEMA or envelope.contract_version != CONTRACT_VERSION:
        raise ContractBrokenError(
            f"{RESULT_FILE}.schema: expected {RESULT_SCHEMA!r} of contract {CONTRACT_VERSION}, "
            f"found {envelope.schema!r} of contract {envelope.contract_version}"
        )
    if envelope.outcome not in _OUTCOMES:
        words = ", ".join(_OUTCOMES)
        raise ContractBrokenError(f"{RESULT_FILE}.outcome: expected one of {words}, found {envelope.outcome!r}")
    return _OUTCOMES[envelope.outcome]


# --- masks -------------------------------------------------------------------------------------------------


def _write_segment(out: Path, segment: Segment, affine_lps: NDArray[np.float64] | None) -> SegmentFile:
    (out / SEGMENTS_FOLDER).mkdir(exist_ok=True)
    mask_file = f"{SEGMENTS_FOLDER}/{segment.name}.npz"
    mask = segment.mask_planes
    np.savez_compressed(out / mask_file, bits=np.packbits(mask), shape=np.asarray(mask.shape, np.int64))
    nifti_file = None
    if affine_lps is not None and nifti.is_expressible(affine_lps):
        nifti_file = f"{SEGMENTS_FOLDER}/{segment.name}.nii.gz"
        nifti.write_mask(out / nifti_file, mask, affine_lps)
    planes, rows, columns = mask.shape
    own = {one.name: getattr(segment, one.name) for one in fields(segment) if one.name != "mask_planes"}
    return SegmentFile(
        **own,
        mask=mask_file,
        nifti=nifti_file,
        shape=(planes, rows, columns),
        voxels=int(np.count_nonzero(mask)),
    )


def _unread_segment(_out: Path, listed: SegmentFile) -> Segment:
    if min(listed.shape) < 0:
        raise ContractBrokenError(f"segment {listed.name!r}.shape: {listed.shape} is no shape")
    return _segment(listed, np.broadcast_to(np.False_, listed.shape))


def _segment(listed: SegmentFile, mask: NDArray[np.bool_]) -> Segment:
    own = {one.name: getattr(listed, one.name) for one in fields(Segment) if one.name != "mask_planes"}
    return Segment(**own, mask_planes=mask)


def _read_mask(out: Path, listed: SegmentFile) -> NDArray[np.bool_]:
    where = f"segment {listed.name!r}"
    if not NAME.fullmatch(listed.name) or listed.mask != f"{SEGMENTS_FOLDER}/{listed.name}.npz":
        raise ContractBrokenError(f"{where}.mask: {listed.mask!r} is not the file of that segment")
    size = int(np.prod(listed.shape, dtype=np.int64))
    try:
        with np.load(out / listed.mask, allow_pickle=False) as arrays:
            bits, shape = arrays["bits"], tuple(int(length) for length in arrays["shape"])
    except (ValueError, KeyError, BadZipFile, EOFError) as error:
        raise ContractBrokenError(f"{where}.mask: not a mask file: {error}") from error
    if shape != listed.shape or min(shape) < 0 or bits.dtype != np.uint8 or bits.size != (size + 7) // 8:
        raise ContractBrokenError(f"{where}.shape: {listed.shape} does not match the mask file")
    mask = np.unpackbits(bits.ravel(), count=size).view(np.bool_).reshape(listed.shape)
    if int(np.count_nonzero(mask)) != listed.voxels:
        raise ContractBrokenError(f"{where}.voxels: {listed.voxels} does not match the mask file")
    return mask


# --- pictures and the last word ----------------------------------------------------------------------------


def _write_picture(out: Path, picture: Picture) -> PictureFile:
    file = f"{picture.name}.png"
    png.write_rgb(out / file, picture.rgb)
    return PictureFile(name=picture.name, file=file, frame=picture.frame)


def _write_last(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
