"""Phantom studies as lists of DICOM objects that a test changes, and the analyzer's answer to what it made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from analyzers.contract import Accept, AnalysisResult, Assessed, Decline, Declined, NotAssessable
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.result_check import check_pictures
from analyzers.scintigraphy import ANALYZER

Study = list[Dataset]
Made = Callable[..., Study]
SHUNT = "lung_shunt_fraction_corrected"
SPECT = ("no-planar", "spect")


def study_maker(folder: Path) -> Made:
    """A function from names of variants to the objects of a phantom; each phantom is made once."""

    def study(*variants: str) -> Study:
        place = folder / ("-".join(variants) or "plain")
        if not place.exists():
            make_phantom(PhantomRequest(kind="scintigraphy", seed=71, variants=tuple(sorted(variants))), place)
        return [pydicom.dcmread(file) for file in sorted((place / "dicom").rglob("*")) if file.is_file()]

    return study


def answered(study: Study, folder: Path) -> AnalysisResult:
    """The answer to a study, through everything that the analyzer's command goes through."""
    folder.mkdir()
    for number, dataset in enumerate(study):
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    opened = open_study(folder)
    acceptance = ANALYZER.accepts(opened.summary)
    if isinstance(acceptance, Decline):
        return Declined(reason=acceptance.reason)
    assert isinstance(acceptance, Accept)
    images = opened.with_roles(acceptance.roles)
    result = ANALYZER.analyze(images, ())
    check_pictures(ANALYZER.illustrate(images, result))
    return result


def assessed(study: Study, folder: Path) -> Assessed:
    result = answered(study, folder)
    assert isinstance(result, Assessed), result
    return result


def reasons(study: Study, folder: Path) -> str:
    """The reasons of an answer that has no number."""
    result = answered(study, folder)
    assert isinstance(result, NotAssessable), result
    return " ".join(result.reasons)


def value(result: Assessed, key: str) -> float:
    return next(one.value for one in result.measurements if one.key == key)


def give(dataset: Dataset, counts: NDArray[np.generic]) -> None:
    dataset.PixelData = np.ascontiguousarray(counts).tobytes()


def in_one_series(study: Study) -> Study:
    """As some cameras store whatever one examination gave."""
    for dataset in study:
        dataset.SeriesInstanceUID = study[0].SeriesInstanceUID
    return study


def without_limits(dataset: Dataset, *names: str) -> None:
    """Energy windows with names alone."""
    for item, name in zip(dataset.EnergyWindowInformationSequence, names, strict=True):
        item.EnergyWindowName = name
        del item.EnergyWindowRangeSequence
