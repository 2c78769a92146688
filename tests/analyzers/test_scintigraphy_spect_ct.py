"""Reading a SPECT with its CT: organs by coordinates, lobes, lung shunt, foci; and every CT that must not be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzers import vocabulary
from analyzers.contract import Accept, Assessed, NotAssessable
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.answer import facts_of
from analyzers.scintigraphy.reading import Readings, conclude
from analyzers.scintigraphy.spect import SpectReading, SpectRefusal, read_spect
from analyzers.scintigraphy.spect_legend import hot_mark_of, legend_lines
from analyzers.scintigraphy.spect_montage import spect_page
from analyzers.scintigraphy.spect_names import LIVER_SEGMENT, LOBE_SEGMENTS
from analyzers.scintigraphy.spect_numbers import spect_measurements
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.verdict import perfusion_pattern
from analyzers.volume import StudyImages, Volume

NEED_PARENCHYMA = {"lung_shunt_fraction_spect", "lobe_activity_share", "lobe_perfusion_index", "liver_covered_share_20"}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StudyImages]:
    """Make development phantoms of a SPECT/CT once each."""
    made: dict[tuple[str, ...], StudyImages] = {}

    def study(*variants: str, seed: int = 124) -> StudyImages:
        key = (*variants, str(seed))
        if key not in made:
            folder = tmp_path_factory.mktemp("spect-ct") / "phantom"
            given = variants if "spect-nac" in variants else ("spect-ct", *variants)
            request = PhantomRequest(
                kind="scintigraphy", seed=seed, variants=tuple(sorted({"no-planar", *given})), model="development"
            )
            make_phantom(request, folder)
            images = open_study(folder / "dicom")
            acceptance = ANALYZER.accepts(images.summary)
            assert isinstance(acceptance, Accept)
            made[key] = images.with_roles(acceptance.roles)
        return made[key]

    return study


def volumes(images: StudyImages) -> tuple[Volume, Volume]:
    """SPECT and CT."""
    (spect,), (ct,) = (
        [volume for loaded in images.with_role(role) for volume in loaded.volumes] for role in ("spect", "ct")
    )
    return spect, ct


def read(spect: Volume, *cts: Volume, corrected: bool = True) -> SpectReading:
    outcome = read_spect(spect, corrected, DEFAULTS, cts=cts)
    assert isinstance(outcome, SpectReading)
    return outcome


def keys(reading: SpectReading) -> set[str]:
    return {one.key for one in spect_measurements(reading)}


def test_an_extrahepatic_focus_is_named_by_the_ct_and_suspected(studies: Callable[..., StudyImages]) -> None:
    images = studies("extrahepatic-stomach", "any-strength")
    result = ANALYZER.analyze(images, ())

    assert isinstance(result, Assessed)
    assert result.findings[0].value == vocabulary.PERFUSION_EXTRAHEPATIC
    assert "SPECT/CT stomach" in result.conclusion
    assert {"liver_covered_share_20", "respiratory_shift", "extrahepatic_volume"} <= {
        m.key for m in result.measurements
    }
    planes = {segment.name: segment.planes for segment in result.segments}
    assert planes["ct-liver"] == planes["ct-lungs"] != planes["perfused-liver"] == planes["right-lobe"]


@pytest.mark.parametrize(("side", "seed"), [("left", 102), ("right", 103)])
def test_a_lobe_that_the_ct_shows_and_the_tracer_does_not_is_not_perfused(
    studies: Callable[..., StudyImages], side: str, seed: int
) -> None:
    result = ANALYZER.analyze(studies(f"missing-{side}-lobe", seed=seed), ())

    assert isinstance(result, Assessed)
    assert result.findings[0].value == vocabulary.PERFUSION_INCOMPLETE
    assert f"{side} lobe: not perfused (the CT shows liver there)" in result.conclusion
    shares = [m.value for m in result.measurements if m.key == "lobe_activity_share"]
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) < 0.25


def test_a_resected_lobe_is_not_called_unperfused(studies: Callable[..., StudyImages]) -> None:
    result = ANALYZER.analyze(studies("left-hepatectomy", seed=112), ())

    assert isinstance(result, Assessed)
    assert result.findings[0].value == vocabulary.PERFUSION_COMPLETE
    assert "in the place of the left lobe (resected?)" in result.conclusion
    assert not any(m.key == "lobe_activity_share" for m in result.measurements)


def test_what_is_left_after_a_right_hepatectomy_is_found_by_its_uptake(studies: Callable[..., StudyImages]) -> None:
    images = studies("right-hepatectomy", "extrahepatic-spleen", "any-strength", seed=71025)
    result = ANALYZER.analyze(images, ())

    assert isinstance(result, Assessed)
    assert "in the place of the right lobe (resected?)" in result.conclusion
    assert "SPECT/CT spleen" in result.conclusion
    assert not any("CT was not used" in text for text in result.limitations)


def test_a_hot_tip_is_named_where_the_ct_shows_a_catheter_and_doubted_where_it_does_not(
    studies: Callable[..., StudyImages],
) -> None:
    spect, ct = volumes(studies("hot-tip", seed=71011))
    (tip,) = read(spect, ct).device
    z, y, x = ct.to_indices_zyx(np.asarray([tip.centroid_lps_mm]))[0].round().astype(int)
    voxels = ct.voxels_zyx.copy()
    near = voxels[z - 6 : z + 7, y - 6 : y + 7, x - 6 : x + 7]
    near.clip(max=60.0, out=near)
    hidden = read(spect, replace(ct, voxels_zyx=voxels))

    assert tip.words.startswith("catheter tip (the CT shows")
    assert not hidden.device
    assert any("the CT shows no catheter there" in focus.words for focus in hidden.foci)


def test_uptake_above_the_dome_of_the_ct_is_told_and_corrected(studies: Callable[..., StudyImages]) -> None:
    spect, ct = volumes(studies("dome-mismatch", seed=114))
    reading = read(spect, ct)

    assert reading.organs is not None
    assert reading.organs.shift_up_mm == pytest.approx(21.5, abs=6.0)
    result = conclude(studies("dome-mismatch", seed=114), Readings(planar=None, spect=reading), DEFAULTS)
    assert any("Respiratory mismatch" in text and "above" in text for text in result.limitations)  # type: ignore[union-attr]


def test_turning_the_planes_of_spect_and_ct_changes_no_number(studies: Callable[..., StudyImages]) -> None:
    spect, ct = volumes(studies("extrahepatic-stomach", "any-strength"))
    plain, turned = read(spect, ct), read(upside_down(spect), upside_down(ct))

    assert plain.perfusion is not None
    assert turned.perfusion is not None
    assert turned.perfusion.right.activity_fraction == pytest.approx(plain.perfusion.right.activity_fraction, abs=0.01)
    assert turned.foci[0].centroid_lps_mm == pytest.approx(plain.foci[0].centroid_lps_mm, abs=3.0)


def upside_down(volume: Volume) -> Volume:
    affine = volume.affine_lps.copy()
    affine[:3, 3] += (len(volume.planes) - 1) * affine[:3, 2]
    affine[:3, 2] *= -1.0
    return replace(volume, voxels_zyx=volume.voxels_zyx[::-1], affine_lps=affine, planes=volume.planes[::-1])


def moved(volume: Volume, *shift_lps_mm: float) -> Volume:
    affine = volume.affine_lps.copy()
    affine[:3, 3] += shift_lps_mm
    return replace(volume, affine_lps=affine)


def upper_part(volume: Volume, share: float) -> Volume:
    first = round(len(volume.planes) * share)
    shifted = moved(volume, *(first * volume.affine_lps[:3, 2]))
    return replace(shifted, voxels_zyx=volume.voxels_zyx[first:], planes=volume.planes[first:])


def prone(volume: Volume) -> Volume:
    header = replace(volume.header, attributes={**volume.header.attributes, "PatientPosition": ("HFP",)})
    return replace(volume, header=header)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda ct: replace(ct, frame_of_reference_uid="1.2.3"), "CT in the frame of the SPECT"),
        (lambda ct: replace(ct, frame_of_reference_uid=None), "CT in the frame of the SPECT"),
        (prone, "patient position of CT and SPECT"),
        (lambda ct: moved(ct, 120.0, 0.0, 0.0), "uptake lies on the liver of the CT"),
        (lambda ct: upper_part(ct, 0.42), "the CT was not used (liver on the CT"),
        # A CT that ends in the liver's lower third still shows a liver of a liver's size under the uptake.
        (lambda ct: upper_part(ct, 0.22), "the CT was not used (liver covered by the CT"),
        (lambda ct: replace(ct, voxels_zyx=np.full_like(ct.voxels_zyx, -1000.0)), "no trunk"),
    ],
    ids=["other frame", "no frame", "prone", "elsewhere", "dome alone", "cut", "air"],
)
def test_a_ct_that_does_not_fit_gives_no_number_and_its_reason(
    studies: Callable[..., StudyImages], spoilt: Callable[[Volume], Volume], reason: str
) -> None:
    images = studies("extrahepatic-stomach", "any-strength")
    spect, ct = volumes(images)
    if spoilt is prone:
        spect = replace(
            spect, header=replace(spect.header, attributes={**spect.header.attributes, "PatientPosition": ("HFS",)})
        )
    reading = read(spect, spoilt(ct))

    assert reading.organs is None
    assert reason in reading.ct_reason
    assert not keys(reading) & NEED_PARENCHYMA
    result = conclude(images, Readings(planar=None, spect=reading), DEFAULTS)
    assert isinstance(result, Assessed)
    assert any(reason in text for text in result.limitations)
    assert result.findings[0].value == vocabulary.PERFUSION_INDETERMINATE


def with_blob(spect: Volume, liver_zyx: NDArray[np.bool_], level: float) -> Volume:
    """A smooth region of 300 ml at half its height, left of the liver; its level relative to the liver's mean."""
    points = spect.to_lps_mm(np.argwhere(np.ones(liver_zyx.shape, np.bool_)).astype(np.float64))
    liver = spect.to_lps_mm(np.argwhere(liver_zyx).astype(np.float64))
    # Gaussian: 36 mm of standard deviation are 42 mm of radius at half the height.
    centre = np.asarray([liver[:, 0].max() + 15.0, liver[:, 1].mean(), liver[:, 2].min() + 10.0])
    shape = np.exp(-0.5 * (((points - centre) / 36.0) ** 2).sum(axis=1)).reshape(liver_zyx.shape)
    added = level * float(spect.voxels_zyx[liver_zyx].mean()) * shape * ~liver_zyx
    return replace(spect, voxels_zyx=(spect.voxels_zyx + added).astype(np.float32))


def test_a_wide_region_no_brighter_than_noise_is_told_as_background_and_no_focus(
    studies: Callable[..., StudyImages],
) -> None:
    images = studies()
    spect, ct = volumes(images)
    organs = read(spect, ct).organs
    assert organs is not None
    faint, bright = (read(with_blob(spect, organs.liver_zyx, level), ct) for level in (0.02, 0.2))

    assert any(region.volume_ml > 150.0 for region in faint.background)
    assert not any(focus.volume_ml > 100.0 for focus in (*faint.foci, *faint.physiologic))
    assert any(focus.volume_ml > 150.0 for focus in bright.foci)
    result = conclude(images, Readings(planar=None, spect=faint), DEFAULTS)
    assert isinstance(result, Assessed)
    assert any("it is taken for background and not outlined" in text for text in result.limitations)
    assert not any(segment.name.startswith("spect-background") for segment in result.segments)


def test_without_correction_for_attenuation_nothing_is_quantified(studies: Callable[..., StudyImages]) -> None:
    spect, ct = volumes(studies("extrahepatic-stomach", "any-strength"))
    reading = read(spect, ct, corrected=False)

    assert reading.organs is not None
    assert not keys(reading) & NEED_PARENCHYMA
    assert "hot_region_ratio" not in keys(reading)
    result = conclude(studies("extrahepatic-stomach", "any-strength"), Readings(planar=None, spect=reading), DEFAULTS)
    assert isinstance(result, Assessed)
    assert any("not known to be corrected for attenuation" in text for text in result.limitations)
    # The CT was used: it is not the reason why completeness is not judged.
    not_judged = perfusion_pattern(facts_of(None, replace(reading, foci=(), physiologic=()))).sentence
    assert "the SPECT is not known to be corrected for attenuation" in not_judged
    assert "a CT" not in not_judged


def test_a_field_that_cuts_the_liver_gives_no_number(studies: Callable[..., StudyImages]) -> None:
    result = ANALYZER.analyze(studies("field-cuts-liver", seed=115), ())

    assert isinstance(result, NotAssessable)
    assert any("cuts the liver" in reason for reason in result.reasons)
    assert any(not gate.passed for gate in result.gates)


def test_a_spect_without_counts_gives_no_number(studies: Callable[..., StudyImages]) -> None:
    spect, ct = volumes(studies("extrahepatic-stomach", "any-strength"))
    outcome = read_spect(replace(spect, voxels_zyx=np.zeros_like(spect.voxels_zyx)), True, DEFAULTS, cts=[ct])

    assert isinstance(outcome, SpectRefusal)


def test_a_second_ct_is_tried_where_the_first_does_not_fit(studies: Callable[..., StudyImages]) -> None:
    spect, ct = volumes(studies("extrahepatic-stomach", "any-strength"))

    assert read(spect, replace(ct, frame_of_reference_uid="1.2.3"), ct).organs is not None


def test_the_page_shows_where_the_lobes_were_divided(studies: Callable[..., StudyImages]) -> None:
    images = studies()
    result = ANALYZER.analyze(images, ())
    assert isinstance(result, Assessed)
    undivided = replace(
        result, segments=tuple(one for one in result.segments if one.name not in LOBE_SEGMENTS.values())
    )

    with_border, without = (spect_page(images, shown) for shown in (result, undivided))

    assert with_border is not None
    assert without is not None
    # Beyond two thirds of the width there is text.
    drawn = with_border.rgb[:, : with_border.rgb.shape[1] * 6 // 10]
    changed = np.any(drawn != without.rgb[:, : drawn.shape[1]], axis=2)
    assert 100 < changed.sum() < 0.02 * changed.size
    assert drawn[changed].mean() > without.rgb[:, : drawn.shape[1]][changed].mean()
    assert any("border between the lobes" in text for text, _ in legend_lines(result, fused=True))
    assert not any("border between the lobes" in text for text, _ in legend_lines(undivided, fused=True))


def test_the_page_shows_which_hot_region_is_which(studies: Callable[..., StudyImages]) -> None:
    images = studies()
    result = ANALYZER.analyze(images, ())
    assert isinstance(result, Assessed)
    plain = replace(result, segments=tuple(one for one in result.segments if not hot_mark_of(one.name)))
    liver = next(one for one in plain.segments if one.name == LIVER_SEGMENT)
    z, y, x = (int(index) for index in np.argwhere(liver.mask_planes).mean(axis=0))
    inside = np.zeros_like(liver.mask_planes)
    inside[z - 4 : z + 5, y - 4 : y + 5, x - 4 : x + 5] = True
    hot = replace(liver, name="hot-region-1", label="Hot region of the liver 1", mask_planes=inside, rgb=(240, 228, 66))

    with_outlines, without = (
        spect_page(images, shown) for shown in (replace(plain, segments=(*plain.segments, hot)), plain)
    )

    assert with_outlines is not None
    assert without is not None
    left = with_outlines.rgb.shape[1] * 6 // 10
    drawn, before = with_outlines.rgb[:, :left].astype(int), without.rgb[:, :left].astype(int)
    changed = np.any(drawn != before, axis=2)
    # Yellow outlines: bright in red and green, dark in blue.
    yellow = (drawn[..., 0] > 200) & (drawn[..., 1] > 200) & (drawn[..., 2] < 110) & changed
    assert yellow.sum() > 50


def test_gated_and_raw_and_foreign_tomographies_are_declined(tmp_path: Path) -> None:
    make_phantom(PhantomRequest(kind="scintigraphy", seed=4, variants=("no-planar", "tomo")), tmp_path / "raw")
    acceptance = ANALYZER.accepts(open_study(tmp_path / "raw" / "dicom").summary)

    assert not isinstance(acceptance, Accept)
    assert "reconstructed" in acceptance.reason
