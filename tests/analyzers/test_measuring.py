"""Intervals of measurements: what a quantity cannot be is in none."""

from __future__ import annotations

import pytest

from analyzers.contract import Interval
from analyzers.measuring import measurement


def test_a_symmetric_doubt_becomes_an_interval_about_the_value() -> None:
    assert measurement("liver_volume", 1500.0, None, uncertainty=40.0).interval == Interval(low=1460.0, high=1540.0)


def test_an_asymmetric_interval_is_kept_as_it_is() -> None:
    stated = Interval(low=0.02, high=0.11)

    assert measurement("lung_shunt_fraction_corrected", 0.04, None, uncertainty=stated).interval == stated


@pytest.mark.parametrize("key", ["lung_shunt_fraction", "left_lobe_share", "extrahepatic_share", "liver_volume"])
def test_the_interval_of_what_cannot_be_negative_ends_at_zero(key: str) -> None:
    interval = measurement(key, 0.25, None, uncertainty=0.5).interval

    assert interval == Interval(low=0.0, high=0.75)


@pytest.mark.parametrize("key", ["lung_shunt_fraction", "left_lobe_share", "liver_activity_share"])
def test_the_interval_of_a_share_of_a_whole_ends_at_the_whole(key: str) -> None:
    interval = measurement(key, 0.75, None, uncertainty=0.5).interval

    assert interval == Interval(low=0.25, high=1.0)


def test_attenuation_may_be_negative() -> None:
    interval = measurement("liver_attenuation", 2.0, None, uncertainty=5.0).interval

    assert interval == Interval(low=-3.0, high=7.0)


def test_a_lower_limit_stays_open_above() -> None:
    interval = measurement("left_lobe_share", 0.5, None, uncertainty=Interval(low=0.4, high=None)).interval

    assert interval == Interval(low=0.4, high=None)


def test_without_a_doubt_there_is_no_interval() -> None:
    assert measurement("liver_volume", 1500.0, None).interval is None
