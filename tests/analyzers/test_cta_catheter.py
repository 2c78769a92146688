"""The catheter's path on lines whose course is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzers.cta.catheter import Catheter, too_dense, trace_catheter
from analyzers.cta.pump import Pump
from analyzers.cta.thresholds import DEFAULT
from analyzers.volume import Volume
from tests.analyzers.cta_samples import volume

SPACING_ZYX_MM = (2.5, 1.0, 1.0)
SHAPE = (24, 60, 160)
LINE_MM = 110.0
"""From the housing's rim at x = 20 mm to x = 130 mm, in the middle plane."""
PLAIN_HU = 400.0
BLOOD_HU = 150.0


def pump_at_the_edge() -> Pump:
    """A disc left of the line, its rim where the line begins."""
    return Pump(
        centre_lps_mm=np.array([-20.0, 30.0, 30.0]),
        normal_lps=np.array([0.0, -1.0, 0.0]),
        diameter_mm=80.0,
        thickness_mm=24.0,
        depth_mm=None,
        tilt_deg=None,
        dome_outwards=None,
        cut=False,
    )


def with_line(fainter_hu: float, faint_x_mm: tuple[float, float]) -> Volume:
    """Fat with a line along x, fainter over a stretch."""
    hu = np.random.default_rng(3).normal(-100.0, 8.0, SHAPE).astype(np.float32)
    x_mm = np.arange(SHAPE[2], dtype=float)
    line = (x_mm >= 20.0) & (x_mm <= 20.0 + LINE_MM)
    faint = (x_mm >= faint_x_mm[0]) & (x_mm <= faint_x_mm[1])
    values: NDArray[np.float32] = np.where(faint, fainter_hu, PLAIN_HU).astype(np.float32)
    hu[12, 29:31, line] = values[line, None]
    return volume(hu, SPACING_ZYX_MM)


def traced(scan: Volume) -> Catheter | None:
    return trace_catheter(
        scan, pump_at_the_edge(), BLOOD_HU, np.zeros(scan.voxels_zyx.shape, bool), DEFAULT.device
    ).catheter


@pytest.mark.parametrize("fainter_hu", [PLAIN_HU, 195.0])
def test_a_line_that_is_blended_between_two_slices_is_followed_to_its_end(fainter_hu: float) -> None:
    catheter = traced(with_line(fainter_hu, (60.0, 73.0)))

    assert catheter is not None
    assert catheter.length_mm == pytest.approx(LINE_MM, abs=3.0)
    assert not catheter.gaps_mm


def test_a_longer_stretch_without_any_line_ends_the_path() -> None:
    catheter = traced(with_line(-100.0, (90.0, 103.0)))

    assert catheter is not None
    assert catheter.length_mm == pytest.approx(70.0, abs=3.0)


def test_a_vessel_that_goes_on_where_the_line_ends_is_not_followed() -> None:
    scan = with_line(BLOOD_HU + 30.0, (100.0, 200.0))

    catheter = traced(scan)

    assert catheter is not None
    assert catheter.length_mm < 90.0


def test_a_solid_of_bowel_contrast_is_too_dense_to_follow_a_line_in_and_a_catheter_is_not() -> None:
    solid = np.argwhere(np.ones((28, 28, 28), bool)) * [1.0, 0.7, 0.7]
    line = np.argwhere(np.ones((400, 4, 4), bool)) * [1.0, 0.7, 0.7]

    assert too_dense(solid, 15.0)
    assert not too_dense(line, 15.0)
