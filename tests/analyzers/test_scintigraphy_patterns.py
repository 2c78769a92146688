"""Foci explained together: the pump pocket, and free pertechnetate."""

from pathlib import Path

import numpy as np
import pytest

from analyzers import vocabulary
from analyzers.contract import Assessed, Code, Presence
from analyzers.scintigraphy.foci import PlanarFocus
from analyzers.scintigraphy.landmarks import Landmarks
from analyzers.scintigraphy.patterns import explained_together
from analyzers.scintigraphy.whereabouts import LocatedFocus, Origin, whereabouts_of
from tests.analyzers.test_scintigraphy_answers import answered, assessed, category

PIXEL_MM = 4.8
LANDMARKS = Landmarks(midline_col=64.0, midline_from="lungs", dome_row=90, lower_edge_row=125, pixel_mm=PIXEL_MM)
WHOLE_BODY_TOP, STATIC_TOP = 2, 55


def focus(
    left_mm: float, below_dome_mm: float, *, ratio: float = 2.0, axis_mm: float = 95.0, peak: float = 0.2
) -> LocatedFocus:
    """A focus of 3 x 3 pixels at a place, located by itself."""
    mask = np.zeros((256, 128), np.bool_)
    row, column = round(90 + below_dome_mm / PIXEL_MM), round(64 + left_mm / PIXEL_MM)
    mask[row - 1 : row + 2, column - 1 : column + 2] = True
    found = PlanarFocus(
        name="focus-1",
        mask_yx=mask,
        summed_yx=mask,
        share_fraction=0.03,
        share_uncertainty=0.005,
        peak_fraction=peak,
        significance_sigma=30.0,
        front_back_ratio=ratio,
        long_axis_mm=axis_mm,
        clear_of_liver=True,
        probability=0.95,
        stands_apart=True,
        peak_row_col=(row, column),
        best_view=0,
    )
    return LocatedFocus(focus=found, whereabouts=whereabouts_of(found, LANDMARKS))


STOMACH = focus(70, 90)
COMPACT_STOMACH = focus(70, 90, axis_mm=50.0, peak=0.6)
THYROID = focus(15, -190, axis_mm=35.0)
BLADDER = focus(0, 460)
KIDNEY = focus(-60, 100, ratio=0.4, axis_mm=45.0, peak=0.12)
BOWEL = focus(20, 240)


def origins(*foci: LocatedFocus, top_row: int = STATIC_TOP) -> list[Origin]:
    return [item.whereabouts.origin for item in explained_together(foci, LANDMARKS, top_row)]


@pytest.mark.parametrize(
    ("item", "site"),
    [
        (STOMACH, vocabulary.STOMACH),
        (THYROID, vocabulary.THYROID),
        (BLADDER, vocabulary.URINARY_BLADDER),
        (KIDNEY, vocabulary.KIDNEY),
        (BOWEL, vocabulary.SMALL_INTESTINE),
    ],
)
def test_each_organ_alone_is_placed_where_it_lies(item: LocatedFocus, site: Code) -> None:
    assert item.whereabouts.site == site


def test_stomach_with_thyroid_is_free_pertechnetate() -> None:
    assert origins(STOMACH, THYROID, top_row=WHOLE_BODY_TOP) == [Origin.PERTECHNETATE] * 2


def test_stomach_with_kidney_and_bladder_is_free_pertechnetate() -> None:
    assert origins(STOMACH, KIDNEY, BLADDER) == [Origin.PERTECHNETATE] * 3


def test_stomach_alone_is_ambiguous_while_the_neck_is_not_in_the_field() -> None:
    assert origins(STOMACH) == [Origin.AMBIGUOUS]


def test_stomach_alone_is_extrahepatic_where_the_neck_was_seen_without_uptake() -> None:
    assert origins(STOMACH, top_row=WHOLE_BODY_TOP) == [Origin.EXTRAHEPATIC]


def test_a_compact_bright_stomach_is_extrahepatic_and_beside_a_thyroid_ambiguous() -> None:
    assert origins(COMPACT_STOMACH) == [Origin.EXTRAHEPATIC]
    assert origins(COMPACT_STOMACH, THYROID) == [Origin.AMBIGUOUS, Origin.PERTECHNETATE]


def test_perfused_bowel_stays_extrahepatic_beside_free_pertechnetate() -> None:
    assert origins(STOMACH, THYROID, BOWEL)[2] is Origin.EXTRAHEPATIC


def test_patches_near_a_pump_pocket_are_the_same_pocket() -> None:
    pocket, patch = focus(80, 300, ratio=4.0), focus(45, 245, ratio=2.8, axis_mm=40.0)

    assert pocket.whereabouts.words == "pump pocket"
    assert patch.whereabouts.words != "pump pocket"
    assert origins(pocket, patch) == [Origin.DEVICE, Origin.DEVICE]


def test_free_pertechnetate_in_a_whole_body_scan_is_named_and_not_called_perfusion(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "free-pertechnetate", "whole-body", seed=83)

    assert result.findings[1].presence is Presence.ABSENT
    assert category(result) == vocabulary.PERFUSION_COMPLETE.value
    assert "Free pertechnetate: stomach wall" in result.conclusion
    named = [finding for finding in result.findings if finding.key == "free_pertechnetate"]
    assert {finding.concept for finding in named} == {vocabulary.FREE_PERTECHNETATE}


def test_free_pertechnetate_without_the_neck_in_the_field_is_indeterminate(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "free-pertechnetate", seed=83)

    assert result.findings[1].presence is Presence.INDETERMINATE
    assert category(result) == vocabulary.PERFUSION_INDETERMINATE.value
    assert "free pertechnetate" in result.conclusion


def test_a_ring_of_spilt_tracer_is_no_extrahepatic_focus(tmp_path: Path) -> None:
    result, _ = answered(tmp_path / "p", "pocket-extravasation")

    assert isinstance(result, Assessed)
    assert "suspected" not in result.conclusion
