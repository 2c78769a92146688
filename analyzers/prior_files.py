"""Read the PRIORS folder: earlier results of the same patient, chosen by the node."""

from __future__ import annotations

from pathlib import Path

from analyzers.contract import Assessed, NotAssessable
from analyzers.loading import StudyFolderError, open_study
from analyzers.priors import Prior
from analyzers.volume import StudyImages
from analyzers.wire import PRIOR_FILE, ContractBrokenError, read_prior, read_result

STUDY_FOLDER = "study"


class PriorsFolderError(ValueError):
    """The folder of priors is not laid out as documented; the message says where."""


def read_priors(folder: Path) -> tuple[Prior, ...]:
    """Read ``PRIORS/1``, ``PRIORS/2`` ..., in that order.

    Each holds ``prior.json`` and an OUT folder's files; ``study/`` holds the images, where they are still kept.

    Raises
    ------
    PriorsFolderError
        If the folder does not exist, holds a sub-folder that is not a number, or a prior cannot be read.
    """
    if not folder.is_dir():
        raise PriorsFolderError(f"{folder} is not a folder: name the folder of earlier results, or leave it out")
    found = [path for path in folder.iterdir() if path.is_dir()]
    wrong = sorted(path.name for path in found if not path.name.isdigit())
    if wrong:
        raise PriorsFolderError(f"{folder / wrong[0]}: earlier results lie in folders named 1, 2, 3 ...")
    priors = []
    for path in sorted(found, key=lambda path: int(path.name)):
        try:
            priors.append(_read_prior(path))
        except (ContractBrokenError, StudyFolderError, OSError) as error:
            raise PriorsFolderError(f"{path}: {error}") from error
    return tuple(priors)


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
