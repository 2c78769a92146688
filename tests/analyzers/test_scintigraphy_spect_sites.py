"""Naming a focus of a SPECT/CT by landmarks, subtracting spill, and the room that ribs and spine leave for a liver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy.spect_sites import Landmarks3d, Site, doubted_beside_kidneys, site_by_ct
from analyzers.scintigraphy.spect_spill import spill_of_liver
from analyzers.scintigraphy.whereabouts import Origin

BEFORE_THE_SPINE = Landmarks3d(
    left=-10.0,
    before=40.0,
    below=120.0,
    below_liver=-40.0,
    deep=90.0,
    from_liver=20.0,
    from_metal=200.0,
    volume_ml=40.0,
    peak_fraction=0.3,
)


@pytest.mark.parametrize(
    ("changes", "site", "origin"),
    [
        ({}, vocabulary.DUODENUM, Origin.EXTRAHEPATIC),
        ({"left": 60.0}, vocabulary.STOMACH, Origin.EXTRAHEPATIC),
        ({"left": 90.0, "before": -10.0, "below": 80.0}, vocabulary.SPLEEN, Origin.EXTRAHEPATIC),
        ({"below_liver": 60.0, "below": 220.0}, vocabulary.SMALL_INTESTINE, Origin.EXTRAHEPATIC),
        ({"left": -50.0, "before": -15.0}, vocabulary.KIDNEY, Origin.PHYSIOLOGIC),
        ({"left": 50.0, "before": -15.0, "below": 140.0}, vocabulary.KIDNEY, Origin.PHYSIOLOGIC),
        ({"below": -7.0}, vocabulary.THORAX, Origin.PHYSIOLOGIC),
        ({"left": 67.0, "before": 113.0, "below": -2.0}, vocabulary.THORAX, Origin.PHYSIOLOGIC),
        ({"left": 70.0, "before": 5.0, "below": -2.0}, vocabulary.SPLEEN, Origin.EXTRAHEPATIC),
        ({"deep": 10.0}, vocabulary.ABDOMINAL_WALL, Origin.AMBIGUOUS),
        ({"deep": 25.0, "from_metal": 5.0}, vocabulary.ABDOMINAL_WALL, Origin.DEVICE),
        ({"deep": 60.0, "from_metal": 25.0}, vocabulary.ABDOMINAL_WALL, Origin.AMBIGUOUS),
        (
            {"volume_ml": 5.0, "peak_fraction": 2.0, "shows_catheter": True},
            vocabulary.HEPATIC_ARTERY,
            Origin.DEVICE,
        ),
        ({"volume_ml": 5.0, "peak_fraction": 2.0}, vocabulary.HEPATIC_ARTERY, Origin.AMBIGUOUS),
        ({"shows_catheter": True}, vocabulary.DUODENUM, Origin.EXTRAHEPATIC),
        ({"volume_ml": 5.0, "peak_fraction": 0.1}, vocabulary.DUODENUM, Origin.EXTRAHEPATIC),
        ({"left": -60.0, "before": 70.0, "from_liver": 2.0}, vocabulary.GALLBLADDER, Origin.AMBIGUOUS),
    ],
)
def test_the_first_landmark_that_fits_names_the_focus(changes: dict[str, Any], site: Code, origin: Origin) -> None:
    found = site_by_ct(replace(BEFORE_THE_SPINE, **changes))

    assert (found.site, found.origin) == (site, origin)
    assert "mm from the liver on the CT" in found.words


def test_a_stomach_beside_marked_kidneys_may_hold_free_pertechnetate() -> None:
    stomach = Site(words="stomach", site=vocabulary.STOMACH, origin=Origin.EXTRAHEPATIC)
    spleen = Site(words="spleen", site=vocabulary.SPLEEN, origin=Origin.EXTRAHEPATIC)

    assert doubted_beside_kidneys(stomach, kidneys_marked=True).origin is Origin.AMBIGUOUS
    assert doubted_beside_kidneys(stomach, kidneys_marked=False) is stomach
    assert doubted_beside_kidneys(spleen, kidneys_marked=True) is spleen


@pytest.mark.parametrize("blur_mm", [6.0, 8.0])
def test_spill_explains_the_counts_round_a_blurred_liver_and_leaves_a_focus(blur_mm: float) -> None:
    step = 5.0
    z, y, x = ((np.indices((40, 40, 40))[axis] - 19.5) * step for axis in range(3))
    liver = x**2 + y**2 + z**2 < 55.0**2
    focus = (x - 75.0) ** 2 + y**2 + z**2 < 10.0**2
    counts = ndimage.gaussian_filter(np.where(liver, 100.0, 0.0) + np.where(focus, 60.0, 0.0), blur_mm / step)
    far_mm = ndimage.distance_transform_edt(~liver) * step

    left_over = counts - spill_of_liver(counts.astype(np.float32), liver, far_mm, (step, step, step))

    opposite = (x < 0) & (far_mm > 5.0)
    assert np.abs(left_over[opposite]).max() < 6.0
    assert left_over[focus].max() > 0.5 * counts[focus].max()
