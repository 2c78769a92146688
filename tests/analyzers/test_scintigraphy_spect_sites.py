"""Naming a focus of a SPECT/CT by landmarks, subtracting spill, and the room that ribs and spine leave for a liver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code, FrameRef
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_answer import spect_findings, spect_limitations
from analyzers.scintigraphy.spect_foci import SpectFocus
from analyzers.scintigraphy.spect_sites import Landmarks3d, Site, doubted_beside_kidneys, site_by_ct
from analyzers.scintigraphy.spect_spill import spill_of_liver
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.whereabouts import Origin
from analyzers.volume import Volume
from tests.analyzers.scintigraphy_samples import instance

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
        ({"left": -92.0, "before": 68.0, "from_liver": 7.0}, vocabulary.ABDOMEN, Origin.AMBIGUOUS),
        ({"left": -5.0, "before": -20.0, "below": 17.0}, vocabulary.ABDOMEN, Origin.AMBIGUOUS),
        ({"left": -5.0, "before": 15.0, "below": 30.0}, vocabulary.ABDOMEN, Origin.AMBIGUOUS),
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


def reading_with(changes: dict[str, Any], share_fraction: float) -> SpectReading:
    """A SPECT with one physiologic focus at a place, nothing else of it being real."""
    nothing = np.zeros((2, 2, 2), np.bool_)
    focus = SpectFocus(
        name="spect-physiologic-1",
        mask_zyx=nothing,
        volume_ml=2.0,
        share_fraction=share_fraction,
        peak_fraction=0.02,
        significance_sigma=6.0,
        centroid_lps_mm=(0.0, 0.0, 0.0),
        where=site_by_ct(replace(BEFORE_THE_SPINE, **changes)),
    )
    volume = Volume(
        voxels_zyx=nothing.astype(np.float32),
        affine_lps=np.eye(4),
        planes=tuple(FrameRef(sop_instance_uid="1.2", frame=n) for n in (1, 2)),
        series_instance_uid="1.2",
        header=instance(kind="RECON TOMO"),
    )
    return SpectReading(
        volume=volume,
        attenuation_corrected=True,
        liver_zyx=nothing,
        liver_ml=1500.0,
        liver_share_fraction=0.9,
        foci=(),
        physiologic=(focus,),
    )


@pytest.mark.parametrize(("changes", "said"), [({"below": -7.0}, False), ({"left": -50.0, "before": -15.0}, True)])
def test_only_what_lies_where_a_kidney_does_is_said_to_look_like_one(changes: dict[str, Any], said: bool) -> None:
    limitations = spect_limitations(reading_with(changes, 0.01), DEFAULTS)

    assert any("looks like kidney" in text for text in limitations) is said


@pytest.mark.parametrize(("share_fraction", "words"), [(0.0003, "below 0.1 %"), (0.0006, " 0.1 %"), (0.025, " 2.5 %")])
def test_a_share_that_rounds_to_nothing_is_not_said_to_be_none(share_fraction: float, words: str) -> None:
    (finding,) = spect_findings(reading_with({}, share_fraction))

    assert f"{words} of the liver's counts" in finding.sentence
    assert " 0.0 %" not in finding.sentence
