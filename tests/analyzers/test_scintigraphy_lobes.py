"""Whether a lobe has uptake, beside what lies in the place of a missing one or outshines a present one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analyzers.contract import Accept
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.landmarks import find_landmarks
from analyzers.scintigraphy.lobes import LobarSplit, LobeUptake, split_lobes
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.reading import read_study
from analyzers.scintigraphy.regions import PlanarRegions, find_regions
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.views import PlanarPair, pair_views
from tests.analyzers.scintigraphy_samples import Scene, views_of


def split_of(scene: Scene) -> LobarSplit:
    """The lobes where no focus was set apart: what lies beside the liver has to be told by its level alone."""
    pair = pair_views(list(views_of(scene)), DEFAULTS)
    assert isinstance(pair, PlanarPair)
    regions = find_regions(pair, DEFAULTS)
    assert isinstance(regions, PlanarRegions)
    nothing = np.zeros_like(regions.liver_yx)
    return split_lobes(pair, regions, find_landmarks(pair, regions), nothing, DEFAULTS)


@pytest.mark.parametrize("counts", [25_000.0, 40_000.0])
def test_a_stomach_in_the_place_of_a_missing_left_lobe_is_no_left_lobe(counts: float) -> None:
    stomach = (84.0, 75.0, 7.0, counts)

    assert split_of(Scene(left_lobe_counts=1_000.0, foci=(stomach,))).uptake is LobeUptake.NO_LEFT


def test_a_weak_left_lobe_that_hangs_on_the_right_one_has_uptake() -> None:
    assert split_of(Scene(left_lobe_counts=40_000.0)).uptake is LobeUptake.BOTH


def test_a_hot_tumor_in_the_left_lobe_does_not_make_the_right_one_cold() -> None:
    split = split_of(Scene(foci=((76.0, 70.0, 4.0, 200_000.0),)))

    assert split.left_to_right_level > 2.0
    assert split.uptake is LobeUptake.BOTH


def test_the_blur_of_a_left_lobe_is_no_uptake_of_the_right_one() -> None:
    scene = Scene(right_lobe_counts=8_000.0, left_lobe_column=60.0, left_lobe_counts=600_000.0)

    assert split_of(scene).uptake is LobeUptake.NO_RIGHT


def test_the_ratio_of_the_levels_ends_where_one_side_is_background() -> None:
    alone = Scene(right_lobe_counts=1.0, left_lobe_column=72.0, left_lobe_counts=600_000.0)

    assert split_of(alone).left_to_right_level == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("seed", "besides"),
    [
        (111_201, ("lung-shunt-high",)),
        (115_210, ("any-strength", "extrahepatic-stomach", "lung-shunt-high")),
        (118_200, ("free-pertechnetate", "lung-shunt-high")),
        (117_200, ("any-strength", "extrahepatic-spleen", "free-pertechnetate")),
    ],
)
def test_bright_lungs_and_free_pertechnetate_do_not_stand_for_a_left_lobe(
    seed: int, besides: tuple[str, ...], tmp_path: Path
) -> None:
    variants = tuple(sorted((*besides, "missing-left-lobe")))
    make_phantom(PhantomRequest(kind="scintigraphy", seed=seed, variants=variants), tmp_path / "phantom")

    study = open_study(tmp_path / "phantom" / "dicom")
    acceptance = ANALYZER.accepts(study.summary)
    assert isinstance(acceptance, Accept)
    reading = read_study(study.with_roles(acceptance.roles), DEFAULTS).planar

    assert isinstance(reading, PlanarReading)
    assert reading.split.uptake is LobeUptake.NO_LEFT
