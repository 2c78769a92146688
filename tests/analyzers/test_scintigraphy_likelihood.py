"""What makes a peak a focus of its own."""

from dataclasses import replace

import numpy as np
import pytest

from analyzers.scintigraphy.likelihood import COEFFICIENTS, PeakEvidence, focus_probability, signs
from analyzers.scintigraphy.thresholds import DEFAULTS
from tests.analyzers.scintigraphy_calibration import fitted

INSIDE = PeakEvidence(
    valley_fraction=1.0,
    opposite_valley_fraction=1.0,
    outside_liver_mm=-30.0,
    left_of_midline_mm=-60.0,
    below_liver_mm=-80.0,
    hangs_below=False,
    compact=False,
    brighter_from_behind=False,
)
APART = replace(INSIDE, valley_fraction=0.0, opposite_valley_fraction=0.0, outside_liver_mm=30.0)


def test_every_sign_has_a_weight() -> None:
    assert signs(INSIDE).shape == (len(COEFFICIENTS),)


def test_a_bump_of_the_liver_is_no_focus_and_what_stands_apart_in_both_views_is_surely_one() -> None:
    assert focus_probability(INSIDE) < 0.1
    assert focus_probability(APART) > DEFAULTS.sure_focus_probability


@pytest.mark.parametrize(
    "sign",
    [
        {"valley_fraction": 0.2},
        {"opposite_valley_fraction": 0.2},
        {"outside_liver_mm": 20.0},
        {"left_of_midline_mm": 80.0},
        {"below_liver_mm": 20.0},
        {"hangs_below": True},
        {"compact": True},
    ],
)
def test_each_sign_speaks_against_liver(sign: dict[str, float | bool]) -> None:
    assert focus_probability(replace(INSIDE, **sign)) > focus_probability(INSIDE)  # type: ignore[arg-type]  # by name


def test_brightness_from_behind_counts_in_the_left_flank_only() -> None:
    flank = replace(INSIDE, left_of_midline_mm=80.0)

    assert focus_probability(replace(flank, brighter_from_behind=True)) > focus_probability(flank)
    assert focus_probability(replace(INSIDE, brighter_from_behind=True)) == focus_probability(INSIDE)


def test_the_fit_finds_the_weights_that_made_its_data() -> None:
    rng = np.random.default_rng(5)
    rows = np.column_stack([np.ones(20_000), rng.uniform(size=(20_000, 2))])
    true = np.array([-1.0, 2.0, -1.5])
    is_focus = (rng.uniform(size=20_000) < 1.0 / (1.0 + np.exp(-rows @ true))).astype(np.float64)

    assert fitted(rows, is_focus) == pytest.approx(true, abs=0.15)
