"""Lesions that others outlined on an earlier study, measured on the present SPECT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from analyzers import vocabulary
from analyzers.contract import Assessed, Segment
from analyzers.priors import Prior
from analyzers.scintigraphy.earlier_lesions import ratios_on_earlier_outlines
from analyzers.scintigraphy.spect_names import LIVER_SEGMENT
from analyzers.scintigraphy.tumor_ratio import TumorRatio
from tests.analyzers.dicom_samples import uid
from tests.analyzers.segmentation_samples import LESION_CODES, LIVER_CODES
from tests.analyzers.test_scintigraphy_given_lesions import CORE, drawn, read, spect
from tests.analyzers.test_scintigraphy_tumor_ratio import LIVER, Images, affine, ball, volume

EARLIER_FRAME = uid("an earlier frame")


def prior(folder: Path, *datasets: Dataset, liver_radius_mm: float = 70.0, frame: str = EARLIER_FRAME) -> Prior:
    """An earlier SPECT with the outline of its uptake, 20 mm away from the present one, and segmentations of it."""
    stack = volume(np.zeros((40, 44, 48), np.float32), affine(shift=20.0), "9.9")
    images = Images(replace(stack, frame_of_reference_uid=frame))
    images.segmentations = read(folder, *datasets) if datasets else ()
    uptake = Segment(
        name=LIVER_SEGMENT,
        label="Perfused liver",
        category=vocabulary.FUNCTION,
        type=vocabulary.PERFUSION,
        mask_planes=ball(LIVER[0], liver_radius_mm),
        planes=stack.planes,
        series_instance_uid="9.9",
    )
    return Prior(
        study_instance_uid="8.8",
        study_date="20240105",
        analyzer_name="scintigraphy",
        analyzer_version="1",
        revision=1,
        result=Assessed(conclusion="", findings=(), measurements=(), segments=(uptake,)),
        images=images,
    )


def found(*priors: Prior) -> tuple[TumorRatio, ...]:
    return ratios_on_earlier_outlines(spect(), ball(*LIVER), priors)


def tumour(**changes: object) -> Dataset:
    return drawn(("Tumor 1", LESION_CODES, CORE), shift=20.0, frame=EARLIER_FRAME, **changes)  # type: ignore[arg-type]


def test_an_earlier_outline_is_measured_once_the_earlier_uptake_lies_on_the_present_liver(tmp_path: Path) -> None:
    (one,) = found(prior(tmp_path, tumour()))

    assert one.ratio == pytest.approx(3.7, abs=0.4)
    assert "outlined on the study of 20240105" in one.origin
    assert one.cautions
    assert one.mask_zyx.any()


def test_the_outlined_liver_comes_before_that_of_the_earlier_answer(tmp_path: Path) -> None:
    both = drawn(("Liver", LIVER_CODES, LIVER), ("Tumor 1", LESION_CODES, CORE), shift=20.0, frame=EARLIER_FRAME)

    assert len(found(prior(tmp_path, both, liver_radius_mm=30.0))) == 1


def test_an_earlier_liver_that_does_not_fit_or_lies_elsewhere_gives_nothing(tmp_path: Path) -> None:
    assert found(prior(tmp_path / "a", tumour(), liver_radius_mm=40.0)) == ()
    assert found(prior(tmp_path / "b", tumour(), frame=uid("yet another frame"))) == ()


def test_the_newest_earlier_study_with_outlines_counts_and_the_study_at_hand_is_none(tmp_path: Path) -> None:
    older = prior(tmp_path / "a", tumour())
    newer = replace(prior(tmp_path / "b", tumour(name="two")), study_date="20250105")
    bare = replace(prior(tmp_path / "c"), study_date="20260105")
    own = replace(newer, study_instance_uid=spect().header.study_instance_uid)

    assert "20250105" in found(older, bare, newer)[0].origin
    assert found(own) == ()
    assert found(replace(older, images=None)) == ()
