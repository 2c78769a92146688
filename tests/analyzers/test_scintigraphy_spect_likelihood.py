"""What makes a peak of a SPECT/CT a focus of its own."""

from dataclasses import replace

import pytest

from analyzers.scintigraphy.spect_likelihood import COEFFICIENTS, SpectEvidence, focus_probability, signs
from analyzers.scintigraphy.thresholds import DEFAULTS

RIM = SpectEvidence(
    over_noise=10.0, over_spill=1.2, valley_fraction=1.0, from_liver_mm=7.0, hu=55.0, liver_hu=58.0
)  # fmt: skip
APART = SpectEvidence(
    over_noise=6.0, over_spill=300.0, valley_fraction=0.05, from_liver_mm=60.0, hu=40.0, liver_hu=58.0
)  # fmt: skip


def test_every_sign_has_a_weight() -> None:
    assert signs(RIM).shape == (len(COEFFICIENTS),)


def test_a_tip_of_the_liver_that_the_ct_s_outline_missed_is_left_to_it_however_hot_it_is() -> None:
    assert focus_probability(RIM) < 0.3
    assert focus_probability(replace(RIM, over_noise=40.0)) < 0.3


def test_what_stands_apart_is_surely_a_focus() -> None:
    assert focus_probability(APART) > DEFAULTS.sure_focus_probability


@pytest.mark.parametrize(
    "sign", [{"over_noise": 1.0}, {"over_spill": 1.0}, {"valley_fraction": 1.0}, {"over_noise": 0.6}]
)
def test_each_sign_that_is_missing_makes_a_focus_less_probable(sign: dict[str, float]) -> None:
    assert focus_probability(replace(APART, **sign)) < focus_probability(APART)


@pytest.mark.parametrize("hu", [58.0, -100.0])
def test_tissue_like_liver_or_fat_counts_beside_the_liver_only(hu: float) -> None:
    beside, other = replace(RIM, hu=hu), replace(RIM, hu=0.0)

    assert focus_probability(beside) < focus_probability(other)
    assert focus_probability(replace(APART, hu=hu)) == focus_probability(replace(APART, hu=0.0))
