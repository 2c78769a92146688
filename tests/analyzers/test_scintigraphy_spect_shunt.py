"""The lung shunt of a SPECT/CT holds what blur carries out of the lungs, and nothing that it carries into them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.spect_shunt import SpectShunt, measure_shunt
from analyzers.scintigraphy.thresholds import DEFAULTS
from tests.analyzers.test_scintigraphy_tumor_ratio import STEP_MM, affine, ball, volume

SHAPE = (70, 64, 76)
SIGMA = (8.0 / STEP_MM, 6.5 / STEP_MM, 6.5 / STEP_MM)
Z_MM, Y_MM = ((np.arange(SHAPE[axis]) - (SHAPE[axis] - 1) / 2) * STEP_MM for axis in (0, 1))
ABOVE_DOME = (Z_MM > -20.0)[:, None, None]
LIVER = ball((-45.0, 0.0, -75.0), 75.0, SHAPE)
LUNGS = (ball((-65.0, 0.0, 20.0), 55.0, SHAPE) | ball((65.0, 0.0, 20.0), 55.0, SHAPE)) & ABOVE_DOME & ~LIVER
BODY = ball((0.0, 0.0, 0.0), 150.0, SHAPE)
NOTHING = np.zeros(SHAPE, np.bool_)
EVEN = np.ones(SHAPE)
SLOPED = 1.0 + 0.004 * Y_MM[None, :, None] - 0.003 * (Z_MM - 40.0)[:, None, None]


def measured(
    shunt: float,
    flow: NDArray[np.float64] = EVEN,
    *,
    background: float = 0.0,
    foci: NDArray[np.bool_] = NOTHING,
    lungs: NDArray[np.bool_] = LUNGS,
) -> SpectShunt | None:
    lung = lungs * flow * (shunt / (1.0 - shunt)) * LIVER.sum() / (lungs * flow).sum()
    activity = 1000.0 * (LIVER + lung + background * BODY + 20.0 * foci)
    counts = np.asarray(ndimage.gaussian_filter(activity, SIGMA), np.float64)
    organs = SimpleNamespace(liver_zyx=LIVER, lungs_zyx=lungs, body_zyx=BODY)
    spect = volume(counts.astype(np.float32), affine(SHAPE))
    return measure_shunt(spect, counts, cast("CtOrgans", organs), foci, DEFAULTS)


@pytest.mark.parametrize("flow", [EVEN, SLOPED], ids=["even lungs", "more flow behind and below"])
@pytest.mark.parametrize("shunt", [0.0, 0.03, 0.12, 0.35])
def test_what_blur_carries_out_of_the_lungs_is_theirs(shunt: float, flow: NDArray[np.float64]) -> None:
    found = measured(shunt, flow)

    assert found is not None
    assert found.fraction == pytest.approx(shunt, abs=0.002 + 0.02 * shunt)
    assert abs(found.fraction - shunt) <= found.error
    assert not found.at_least


def test_tracer_in_the_blood_is_not_taken_for_a_shunt() -> None:
    found = measured(0.06, background=0.005)

    assert found is not None
    assert found.fraction == pytest.approx(0.06, abs=0.004)


def test_a_hot_focus_beside_the_lungs_adds_nothing_to_them() -> None:
    spleen = ball((95.0, 20.0, -60.0), 20.0, SHAPE)
    found = measured(0.06, foci=spleen)

    assert found is not None
    assert found.fraction == pytest.approx(0.06, abs=0.004)


def test_lungs_that_lie_on_the_liver_give_no_number() -> None:
    near = ndimage.distance_transform_edt(~LIVER) * STEP_MM < 20.0

    assert measured(0.06, lungs=LUNGS & near) is None


def test_lungs_that_the_field_cuts_give_a_lower_limit() -> None:
    tall = (ball((-65.0, 0.0, 110.0), 80.0, SHAPE) | ball((65.0, 0.0, 110.0), 80.0, SHAPE)) & ABOVE_DOME & ~LIVER
    found = measured(0.06, lungs=tall)

    assert found is not None
    assert found.at_least
