"""Planar foci in the place of a lobe that a SPECT/CT shows to be nearly without uptake."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzers.contract import Accept, Assessed
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.faint_lobe import without_faint_lobe
from analyzers.scintigraphy.foci import PlanarFocus
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.reading import Readings, conclude, read_study
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_foci import SpectFocus
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.whereabouts import LocatedFocus, whereabouts_of
from analyzers.volume import StudyImages

Case = tuple[StudyImages, PlanarReading, SpectReading]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A patient whose left lobe receives next to nothing, without any focus."""
    folder = tmp_path_factory.mktemp("faint-lobe") / "phantom"
    make_phantom(PhantomRequest(kind="scintigraphy", seed=102, variants=("missing-left-lobe", "spect-ct")), folder)
    study = open_study(folder / "dicom")
    acceptance = ANALYZER.accepts(study.summary)
    assert isinstance(acceptance, Accept)
    images = study.with_roles(acceptance.roles)
    readings = read_study(images, DEFAULTS)
    assert isinstance(readings.planar, PlanarReading)
    assert isinstance(readings.spect, SpectReading)
    return images, replace(readings.planar, foci=(), in_faint_lobe=()), replace(readings.spect, foci=(), physiologic=())


def disc(planar: PlanarReading, left_mm: float, below_dome_mm: float) -> NDArray[np.bool_]:
    rows, columns = np.indices(planar.regions.liver_yx.shape)
    at = planar.landmarks
    left, below = (columns - at.midline_col) * at.pixel_mm, (rows - at.dome_row) * at.pixel_mm
    away = np.hypot(left - left_mm, below - below_dome_mm)
    return np.asarray(away < 18.0, np.bool_)


def with_focus(planar: PlanarReading, left_mm: float, below_dome_mm: float, **changes: Any) -> PlanarReading:
    mask = disc(planar, left_mm, below_dome_mm)
    given = {
        "share_fraction": 0.003,
        "share_uncertainty": 0.001,
        "peak_fraction": 0.03,
        "significance_sigma": 12.0,
        "front_back_ratio": 1.6,
        "long_axis_mm": 36.0,
        "clear_of_liver": True,
        "probability": 0.6,
        "stands_apart": False,
        "peak_row_col": (int(np.argwhere(mask)[0][0]), int(np.argwhere(mask)[0][1])),
        "best_view": 0,
        **changes,
    }
    focus = PlanarFocus(name="focus-1", mask_yx=mask, summed_yx=mask, **given)
    return replace(planar, foci=(LocatedFocus(focus=focus, whereabouts=whereabouts_of(focus, planar.landmarks)),))


def test_what_a_lobe_without_uptake_still_holds_is_told_and_no_extrahepatic_activity(case: Case) -> None:
    images, planar, spect = case
    seen = with_focus(planar, 35.0, 60.0)
    judged = without_faint_lobe(seen, spect, DEFAULTS)

    assert judged.foci == ()
    assert judged.in_faint_lobe == seen.foci
    before, after = (conclude(images, Readings(planar=one, spect=spect), DEFAULTS) for one in (seen, judged))
    assert isinstance(before, Assessed)
    assert isinstance(after, Assessed)
    assert "extrahepatic activity: stomach" in before.conclusion
    assert "stomach" not in after.conclusion
    assert "not perfused (the CT shows liver there)" in after.conclusion
    assert any("it is taken for that lobe" in text for text in after.limitations)


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ((35.0, 60.0), {"peak_fraction": 0.3}),
        ((35.0, 60.0), {"share_fraction": 0.3}),
        ((150.0, 60.0), {}),
        ((35.0, 260.0), {}),
    ],
    ids=["brighter than such a lobe", "more than the lobe holds", "left of it", "below it"],
)
def test_what_such_a_lobe_cannot_be_stays_a_focus(
    case: Case, place: tuple[float, float], changes: dict[str, float]
) -> None:
    _, planar, spect = case

    assert len(without_faint_lobe(with_focus(planar, *place, **changes), spect, DEFAULTS).foci) == 1


def test_a_focus_of_the_spect_at_that_place_keeps_the_planar_one(case: Case) -> None:
    _, planar, spect = case
    assert spect.perfusion is not None
    there = SpectFocus(
        name="spect-focus-1",
        mask_zyx=spect.perfusion.left.mask_zyx,
        volume_ml=20.0,
        share_fraction=0.004,
        peak_fraction=0.05,
        significance_sigma=9.0,
        centroid_lps_mm=(0.0, 0.0, 0.0),
        where=None,  # type: ignore[arg-type]  # only its place is asked
    )

    assert len(without_faint_lobe(with_focus(planar, 35.0, 60.0), replace(spect, foci=(there,)), DEFAULTS).foci) == 1


def test_without_a_lobe_that_the_ct_shows_nothing_is_explained_by_one(case: Case) -> None:
    _, planar, spect = case
    assert spect.perfusion is not None
    perfused = replace(spect.perfusion, left=replace(spect.perfusion.left, is_perfused=True))
    seen = with_focus(planar, 35.0, 60.0)

    for other in (replace(spect, perfusion=perfused), replace(spect, perfusion=None, organs=None)):
        assert len(without_faint_lobe(seen, other, DEFAULTS).foci) == 1
