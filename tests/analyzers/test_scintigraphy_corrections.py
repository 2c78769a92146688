"""Scatter by energy windows; duration and decay between views."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyzers.contract import FrameRef
from analyzers.scintigraphy.corrections import (
    camera_corrections,
    exposure_ratio,
    minutes_between,
    posterior_scale,
    scatter_under,
)
from analyzers.scintigraphy.foci import find_foci
from analyzers.scintigraphy.planar_answer import corrections_sentence
from analyzers.scintigraphy.regions import PlanarRegions, find_regions
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.views import PlanarPair, pair_views
from analyzers.volume import PlanarView
from tests.analyzers.scintigraphy_samples import SHAPE, Scene, instance, view, views_of
from tests.analyzers.test_scintigraphy_answers import assessed

PEAK = view(np.full(SHAPE, 100.0, np.float32), "anterior")


def window(level: float, low_kev: float, high_kev: float, direction: str = "anterior") -> PlanarView:
    return view(np.full(SHAPE, level, np.float32), direction, frame=3, window_kev=(low_kev, high_kev))


def test_one_window_below_takes_half_a_trapezoid() -> None:
    found = scatter_under(PEAK, [PEAK, window(36.0, 108.0, 126.0)], 4.8)

    assert found is not None
    # 36 counts in 18 keV are 2 per keV; the photopeak is 28 keV wide.
    assert found.counts[64, 64] == pytest.approx(2.0 * 28.0 / 2.0)
    assert found.words == "dual energy window (108 to 126 keV)"


def test_windows_on_both_sides_take_the_whole_trapezoid() -> None:
    found = scatter_under(PEAK, [PEAK, window(36.0, 108.0, 126.0), window(7.0, 154.0, 168.0)], 4.8)

    assert found is not None
    assert found.counts[64, 64] == pytest.approx((2.0 + 0.5) * 28.0 / 2.0)
    assert found.words.startswith("triple energy window")


@pytest.mark.parametrize(
    "other",
    [
        window(36.0, 108.0, 126.0, "posterior"),
        window(36.0, 80.0, 100.0),
        window(36.0, 110.0, 140.0),
        window(36.0, 154.0, 168.0),
        replace(window(36.0, 108.0, 126.0), frame=FrameRef(sop_instance_uid="9.9", frame=1)),
        replace(window(36.0, 108.0, 126.0), window_kev=None),
    ],
    ids=["other direction", "far away", "overlapping", "above alone", "other object", "no limits"],
)
def test_what_is_no_scatter_window_of_this_view_corrects_nothing(other: PlanarView) -> None:
    assert scatter_under(PEAK, [PEAK, other], 4.8) is None


@pytest.mark.parametrize("variant", ["scatter-window", "triple-window"])
def test_windows_bring_the_plain_shunt_nearer_to_the_truth_and_leave_the_corrected_one(
    tmp_path: Path, variant: str
) -> None:
    plain = assessed(tmp_path / "plain", "complete", seed=103)
    windowed = assessed(tmp_path / "windowed", variant, seed=103)
    truth = json.loads((tmp_path / "windowed" / "truth.json").read_text(encoding="utf-8"))
    true = next(entry["value"] for entry in truth["measurements"] if entry["key"] == "lung_shunt_fraction")
    raw, raw_windowed = (
        next(m for m in result.measurements if m.key == "lung_shunt_fraction") for result in (plain, windowed)
    )
    kept = [
        next(m.value for m in result.measurements if m.key == "lung_shunt_fraction_corrected")
        for result in (plain, windowed)
    ]

    assert abs(raw_windowed.value - true) < abs(raw.value - true) - 0.001
    assert kept[1] == pytest.approx(kept[0], rel=0.02)
    assert "energy window" in raw_windowed.remark
    assert any("energy window" in text for text in windowed.limitations)
    assert "corrected for scatter by windows alone" in windowed.conclusion


def timed(seconds: float, clock: str, **corrected: tuple[str, ...]) -> PlanarView:
    stated = {"AcquisitionDate": ("20260110",), "AcquisitionTime": (clock,), **corrected}
    header = instance(attributes=stated)
    return replace(PEAK, duration_s=seconds, header=header)


def test_a_shorter_and_later_posterior_view_is_scaled_up() -> None:
    factor, words = posterior_scale(timed(300.0, "100000"), timed(150.0, "160024"))

    # Half the time, and one half-life of 6.0067 h later.
    assert factor == pytest.approx(4.0, rel=1e-3)
    assert len(words) == 2


def test_decay_that_the_camera_corrected_is_not_corrected_again() -> None:
    factor, words = posterior_scale(
        timed(300.0, "100000", CorrectedImage=("DECY",)), timed(300.0, "160024", CorrectedImage=("DECY",))
    )

    assert (factor, words) == (1.0, ())


def test_decay_is_not_corrected_where_one_view_has_it_or_the_clocks_are_days_apart() -> None:
    early, late = timed(300.0, "100000"), timed(300.0, "160024")
    corrected = timed(300.0, "160024", CorrectedImage=("DECY",))
    other_day = timed(300.0, "160024", AcquisitionDate=("20260112",))

    assert posterior_scale(early, late)[0] == pytest.approx(2.0, rel=1e-3)
    assert posterior_scale(early, corrected) == (1.0, ())
    assert posterior_scale(early, other_day) == (1.0, ())


def test_dead_time_that_the_camera_corrected_is_told_and_else_said_to_be_unknown() -> None:
    told = instance(attributes={"CorrectedImage": ("DTIM",)})
    views = views_of(Scene())
    pairs = [pair_views(shown) for shown in (views, [replace(one, header=told) for one in views])]
    plain, corrected = (corrections_sentence(pair) for pair in pairs if isinstance(pair, PlanarPair))

    assert "no dead time is stated" in plain
    assert "dead time by the camera" in corrected


def test_what_an_earlier_scan_leaves_is_not_scaled_where_a_camera_corrected_for_decay() -> None:
    earlier, later = timed(300.0, "100000"), timed(150.0, "160024")
    corrected = timed(300.0, "100000", CorrectedImage=("DECY",))

    assert exposure_ratio(earlier, later) == pytest.approx(0.25, rel=1e-3)
    assert exposure_ratio(corrected, later) is None
    assert exposure_ratio(later, earlier) is None


def test_views_of_one_moment_or_without_a_clock_are_left_as_they_are() -> None:
    silent = replace(PEAK, duration_s=None)

    assert posterior_scale(timed(300.0, "100000"), timed(300.0, "100000")) == (1.0, ())
    assert posterior_scale(silent, silent) == (1.0, ())


@pytest.mark.parametrize(
    "clock",
    [
        {"AcquisitionDate": ("20260110",), "AcquisitionTime": ("1130",)},
        {"AcquisitionDate": ("20260110",), "AcquisitionTime": ("113000.250",)},
        {"AcquisitionDateTime": ("20260110113000.0+0100",)},
    ],
)
def test_the_clock_is_read_in_every_form_that_a_header_may_have(clock: dict[str, tuple[str, ...]]) -> None:
    view = replace(timed(300.0, "100000"), header=instance(attributes=clock))

    assert minutes_between(timed(300.0, "100000"), view) == 90.0


def test_no_time_is_read_from_a_date_alone() -> None:
    view = replace(timed(300.0, "100000"), header=instance(attributes={"AcquisitionDate": ("20260110",)}))

    assert minutes_between(timed(300.0, "100000"), view) is None


def test_what_the_camera_corrected_is_named() -> None:
    assert camera_corrections(instance(attributes={"CorrectedImage": ("UNIF", "DTIM")})) == ("dead time",)


def test_depth_of_a_focus_does_not_depend_on_how_long_the_posterior_view_took() -> None:
    front, back = views_of(Scene(foci=((104, 72, 4, 9_000.0),)))
    half = replace(back, counts=np.random.default_rng(4).binomial(back.counts.astype(int), 0.5).astype(np.float32))
    pairs = [pair_views([front, back]), pair_views([front, replace(half, duration_s=150.0)])]
    ratios = []
    for pair in pairs:
        assert isinstance(pair, PlanarPair)
        regions = find_regions(pair, DEFAULTS)
        assert isinstance(regions, PlanarRegions)
        ratios.append(find_foci(pair, regions, DEFAULTS)[0].front_back_ratio)

    assert ratios[1] == pytest.approx(ratios[0], rel=0.1)
