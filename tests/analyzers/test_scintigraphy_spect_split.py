"""The plane between the lobes moves to a step of the uptake, and blur across it is taken back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.spect_fissure import Fissure, lay_fissure
from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.spect_split import ActivitySplit, split_activity
from analyzers.scintigraphy.thresholds import DEFAULTS
from tests.analyzers.test_scintigraphy_tumor_ratio import STEP_MM, affine, ball, volume

SHAPE = (48, 48, 56)
LIVER = ball((0.0, 0.0, 0.0), 75.0, SHAPE)
LEFT_MM = np.broadcast_to((np.arange(SHAPE[2]) - (SHAPE[2] - 1) / 2.0) * STEP_MM, SHAPE).astype(np.float32)
SIGMA = (8.0 / STEP_MM, 6.5 / STEP_MM, 6.5 / STEP_MM)


def activity(left_level: float, border_mm: float = 0.0) -> NDArray[np.float64]:
    share = np.clip(0.5 - (LEFT_MM - border_mm) / STEP_MM, 0.0, 1.0)
    return np.asarray(100.0 * LIVER * (share + left_level * (1.0 - share)), np.float64)


def seen(left_level: float, border_mm: float = 0.0) -> NDArray[np.float64]:
    return np.asarray(ndimage.gaussian_filter(activity(left_level, border_mm), SIGMA), np.float64)


def fissure(left_level: float, border_mm: float) -> Fissure:
    return lay_fissure(seen(left_level, border_mm), LIVER, LEFT_MM, (STEP_MM,) * 3, DEFAULTS)


def split(left_level: float, at: Fissure, border_mm: float = 0.0) -> ActivitySplit:
    nothing = np.zeros(SHAPE, np.bool_)
    organs = SimpleNamespace(
        liver_zyx=LIVER, lungs_zyx=nothing, body_zyx=ball((0.0, 0.0, 0.0), 110.0, SHAPE), left_of_rule_mm_zyx=LEFT_MM
    )
    counts = seen(left_level, border_mm)
    spect = volume(counts.astype(np.float32), affine(SHAPE))
    return split_activity(spect, counts, cast("CtOrgans", organs), at, nothing, DEFAULTS)


def true_right(left_level: float, border_mm: float) -> float:
    right = np.clip(0.5 - (LEFT_MM - border_mm) / STEP_MM, 0.0, 1.0) * LIVER
    return float(right.sum() / (right.sum() + left_level * (LIVER - right).sum()))


@pytest.mark.parametrize("border_mm", [-9.0, 6.0])
@pytest.mark.parametrize("left_level", [0.03, 4.0])
def test_a_step_of_the_uptake_moves_the_plane_to_it(left_level: float, border_mm: float) -> None:
    found = fissure(left_level, border_mm)

    assert found.moved_left_mm == pytest.approx(border_mm, abs=1.5)
    assert found.error_mm < 2.0


def test_lobes_of_like_uptake_leave_the_rule_and_its_error() -> None:
    found = fissure(1.0, 9.0)

    assert found.moved_left_mm == pytest.approx(0.0, abs=1.0)
    assert found.error_mm > 0.7 * DEFAULTS.fissure_error_mm / 1.96


@pytest.mark.parametrize("left_level", [0.03, 0.7, 1.5])
def test_blur_across_the_border_is_taken_back(left_level: float) -> None:
    truth = true_right(left_level, 0.0)
    counts = seen(left_level)
    counted = float(counts[LIVER & (LEFT_MM < 0)].sum() / counts[LIVER].sum())
    measured = split(left_level, Fissure(moved_left_mm=0.0, error_mm=1.0))

    assert measured.right_fraction == pytest.approx(truth, abs=0.01)
    assert abs(measured.right_fraction - truth) < max(0.005, 0.5 * abs(counted - truth))


def test_the_interval_holds_what_another_place_of_the_plane_would_give() -> None:
    truth = true_right(1.2, 8.0)
    wide = split(1.2, Fissure(moved_left_mm=0.0, error_mm=6.0), border_mm=8.0)
    narrow = split(1.2, Fissure(moved_left_mm=0.0, error_mm=1.0), border_mm=8.0)

    assert abs(wide.right_fraction - truth) <= wide.error
    assert abs(narrow.right_fraction - truth) > narrow.error
