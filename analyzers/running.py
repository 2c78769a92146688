"""One analysis from a study folder to an OUT folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import (
    Accept,
    AnalysisResult,
    Analyzer,
    Assessed,
    Decline,
    Declined,
    NotAssessable,
    Picture,
    Segment,
)
from analyzers.loading import open_study
from analyzers.prior_files import ReadPriors, read_priors
from analyzers.threshold_files import adjusted_by
from analyzers.volume import StudyImages
from analyzers.wire import (
    RESULT_FILE,
    SUMMARY_FILE,
    AnalyzerIdentity,
    study_of,
    write_result,
    write_summary,
)


class OutFolderError(ValueError):
    """The folder for results cannot be used; the message says why."""


def run_analysis(
    analyzer: Analyzer,
    study_folder: Path,
    out: Path,
    priors_folder: Path | None,
    site_thresholds: Mapping[str, Any] | None = None,
) -> AnalysisResult:
    """Analyse one study and write its OUT folder.

    The study folder is only read. The same input gives the same bytes.

    Parameters
    ----------
    analyzer : Analyzer
        Who is asked.
    study_folder, out, priors_folder : Path
        As in ``python -m analyzers NAME STUDY OUT --priors FOLDER``.
    site_thresholds : mapping or None
        Tables of a file of thresholds, by analyzer.

    Returns
    -------
    AnalysisResult
        What was written.

    Raises
    ------
    OutFolderError, StudyFolderError, PriorsFolderError, ThresholdsError
        If a folder or a threshold cannot be used: the caller's fault.
    ContractBrokenError
        If the analyzer's answer breaks the contract: its author's fault.
    Exception
        Whatever the analyzer raises: the analyzer's fault.
    """
    analyzer, used = adjusted_by(analyzer, site_thresholds or {})
    _check_out(study_folder, out)
    study = open_study(study_folder)
    earlier = read_priors(priors_folder) if priors_folder else ReadPriors()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutFolderError(f"{out} cannot be made: {error.strerror}") from error
    write_summary(out / SUMMARY_FILE, study.summary)
    acceptance = analyzer.accepts(study.summary)
    result: AnalysisResult
    pictures: Sequence[Picture] = ()
    images: StudyImages = study
    match acceptance:
        case Decline(reason=reason):
            result = Declined(reason=reason)
        case Accept():
            images = study.with_roles(acceptance.roles)
            answer = analyzer.analyze(images, earlier.priors)
            pictures = analyzer.illustrate(images, answer)
            not_received = tuple(f"Not received: {what}" for what in acceptance.missing)
            result = _with_remarks(answer, (*not_received, *earlier.left_out))
    write_result(
        out,
        result,
        analyzer=AnalyzerIdentity(name=analyzer.name, version=analyzer.version),
        study=study_of(study.summary, study.ignored_files),
        pictures=pictures,
        affines_lps=_affines_lps(images, result),
        thresholds=used,
    )
    return result


def _check_out(study_folder: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutFolderError(f"{out} is not a folder")
    if (out / RESULT_FILE).exists():
        raise OutFolderError(f"{out} already holds a result: name a new folder")
    if out.resolve().is_relative_to(study_folder.resolve()):
        raise OutFolderError(f"{out} lies in the study folder, which is only read: name another folder")


def _with_remarks(answer: Assessed | NotAssessable, said: tuple[str, ...]) -> Assessed | NotAssessable:
    if isinstance(answer, Assessed):
        return replace(answer, limitations=(*answer.limitations, *said))
    return replace(answer, reasons=(*answer.reasons, *said))


def _affines_lps(images: StudyImages, result: AnalysisResult) -> dict[str, NDArray[np.float64]]:
    """Grids of the segments that lie on a whole volume, by segment name."""
    if not isinstance(result, Assessed):
        return {}
    found = {segment.name: _affine_lps(images, segment) for segment in result.segments}
    return {name: affine for name, affine in found.items() if affine is not None}


def _affine_lps(images: StudyImages, segment: Segment) -> NDArray[np.float64] | None:
    for volume in images.load(segment.series_instance_uid).volumes:
        if volume.planes == segment.planes and volume.voxels_zyx.shape == segment.mask_planes.shape:
            return volume.affine_lps
    return None
