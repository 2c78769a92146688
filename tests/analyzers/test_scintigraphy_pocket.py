"""Tracer spilt round the pump, also where it touches the liver's outline."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzers import vocabulary
from analyzers.contract import Presence
from analyzers.scintigraphy.pocket import pocket_in, pocket_share_fraction
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.verdict import Facts, perfusion_pattern
from analyzers.scintigraphy.views import PlanarPair, pair_views
from tests.analyzers.scintigraphy_samples import SHAPE, Scene, ellipse, view
from tests.analyzers.test_scintigraphy_answers import assessed, category, corrected_shunt_fraction

POCKET_ROW, POCKET_COLUMN, POCKET_PIXELS = 108.0, 40.0, 10.0


def pair_with_pocket(counts_in_front: float, counts_behind: float) -> PlanarPair:
    """A liver and below it a disc that both views see with other counts."""
    liver = Scene().expected_yx()
    front, back = (
        liver + ellipse(POCKET_ROW, POCKET_COLUMN, POCKET_PIXELS, POCKET_PIXELS, counts)
        for counts in (counts_in_front, counts_behind)
    )
    views = [view(front.astype(np.float32), "anterior", frame=1)]
    views.append(view(back[:, ::-1].astype(np.float32), "posterior", frame=2))
    pair = pair_views(views, Thresholds())
    assert isinstance(pair, PlanarPair)
    return pair


def outline(*, with_pocket: bool) -> NDArray[np.bool_]:
    found = ellipse(82, 46, 15, 13, 1.0) + ellipse(76, 66, 8, 13, 1.0) > 0
    return found | (ellipse(POCKET_ROW, POCKET_COLUMN, POCKET_PIXELS, POCKET_PIXELS, 1.0) > 0) if with_pocket else found


def test_a_pocket_that_touches_the_liver_is_cut_out_of_its_outline() -> None:
    pair = pair_with_pocket(400_000.0, 60_000.0)

    pocket = pocket_in(pair, outline(with_pocket=True))

    assert pocket[round(POCKET_ROW), round(POCKET_COLUMN)]
    assert not pocket[:90].any()
    assert pocket_in(pair, outline(with_pocket=False)).sum() == 0


def test_what_both_views_show_alike_is_liver() -> None:
    pair = pair_with_pocket(200_000.0, 200_000.0)

    assert pocket_in(pair, outline(with_pocket=True)).sum() == 0


def test_the_share_is_that_of_the_whole_pocket_not_of_its_brightest_patch() -> None:
    pair = pair_with_pocket(400_000.0, 60_000.0)
    patch = np.zeros(SHAPE, np.bool_)
    patch[106:109, 36:39] = True
    hot, liver = outline(with_pocket=True), outline(with_pocket=False)
    nothing = np.zeros(SHAPE)

    share = pocket_share_fraction(pair, patch, hot, liver, (nothing, nothing))

    counts, in_liver = (400_000.0 * 60_000.0) ** 0.5, pair.anterior_yx[liver].sum()
    assert share == pytest.approx(counts / (counts + in_liver), rel=0.15)
    assert pocket_share_fraction(pair, np.zeros(SHAPE, np.bool_), hot, liver, (nothing, nothing)) == 0.0


def test_a_spill_that_touches_the_liver_makes_the_study_non_diagnostic(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "pocket-extravasation", seed=2)
    truth = json.loads((tmp_path / "p" / "truth.json").read_text(encoding="utf-8"))
    (shunt,) = (entry for entry in truth["measurements"] if entry["key"] == "lung_shunt_fraction_corrected")

    assert category(result) == vocabulary.PERFUSION_NON_DIAGNOSTIC.value
    assert result.findings[1].presence is not Presence.PRESENT
    assert corrected_shunt_fraction(result) == pytest.approx(shunt["value"], abs=shunt["tolerance"])


def test_a_small_spill_is_told_in_the_headline_of_a_diagnostic_study() -> None:
    told = perfusion_pattern(Facts(pocket_share_fraction=0.06))

    assert told.category is vocabulary.PERFUSION_COMPLETE
    assert told.sentence.endswith(
        "Tracer in the pump pocket: 6 % of the counts of liver and pump pocket lie in the pocket."
    )
    assert "pocket" not in perfusion_pattern(Facts(pocket_share_fraction=0.01)).sentence
