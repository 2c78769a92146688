"""Read the PRIORS folder: earlier results of the same patient, chosen by the node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analyzers.contract import Assessed, NotAssessable
from analyzers.loading import StudyFolderError, open_study
from analyzers.priors import Prior
from analyzers.volume import StudyImages
from analyzers.wire import PRIOR_FILE, ContractBrokenError, read_prior, read_result

STUDY_FOLDER = "study"


class PriorsFolderError(ValueError):
    """The folder of priors is not laid out as documented; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPriors:
    """The earlier results that could be read, and sentences for the report about those that could not."""

    priors: tuple[Prior, ...] = ()
    left_out: tuple[str, ...] = ()


def read_priors(folder: Path) -> ReadPriors:
    """Read ``PRIORS/1``, ``PRIORS/2`` ..., in that order.

    Each holds ``prior.json`` and an OUT folder's files; ``study/`` holds the images, where they are still kept. One
    that cannot be read (written by another version, damaged on the disk) is left out: the study at hand can be
    measured without it.

    Raises
    ------
    PriorsFolderError
        If the folder does not exist or holds a sub-folder that is not a number.
    """
    if not folder.is_dir():
        raise PriorsFolderError(f"{folder} is not a folder: name the folder of earlier results, or leave it out")
    found = [path for path in folder.iterdir() if path.is_dir()]
    wrong = sorted(path.name for path in found if not path.name.isdigit())
    if wrong:
        raise PriorsFolderError(f"{folder / wrong[0]}: earlier results lie in folders named 1, 2, 3 ...")
    priors, left_out = [], []
    for path in sorted(found, key=lambda path: int(path.name)):
        try:
            priors.append(_read_prior(path))
        except (ContractBrokenError, StudyFolderError, OSError):
            # Not why: the words of a damaged file would stand in a report.
            left_out.append(f"Earlier result {path.name}{_made_on(path)} cannot be read and was left out.")
    return ReadPriors(priors=tuple(priors), left_out=tuple(left_out))


def _made_on(folder: Path) -> str:
    """The date of the study of an unreadable result, if its record can be read."""
    try:
        date = read_prior(folder / PRIOR_FILE).study_date
    except (ContractBrokenError, OSError):
        return ""
    return f", study of {date}," if date.isascii() and date.isdigit() else ""


def _read_prior(folder: Path) -> Prior:
    record = read_prior(folder / PRIOR_FILE)
    answered = read_result(folder)
    images: StudyImages | None = None
    if (folder / STUDY_FOLDER).is_dir():
        study = open_study(folder / STUDY_FOLDER)
        known = answered.result.roles if isinstance(answered.result, Assessed | NotAssessable) else ()
        images = study.with_roles({one.series_instance_uid: one.role for one in known if one.role})
    return Prior(
        study_instance_uid=answered.study.study_instance_uid,
        study_date=record.study_date or answered.study.study_date,
        analyzer_name=answered.analyzer.name,
        analyzer_version=answered.analyzer.version,
        revision=record.revision,
        result=answered.result,
        images=images,
    )
