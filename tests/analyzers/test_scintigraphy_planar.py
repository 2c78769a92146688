"""Measuring on a pair of views with known counts."""

from dataclasses import replace

import numpy as np
import pytest

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy import gates
from analyzers.scintigraphy.lobes import LobeUptake
from analyzers.scintigraphy.planar import PlanarReading, PlanarRefusal, read_planar
from analyzers.scintigraphy.regions import PlanarRegions, find_regions
from analyzers.scintigraphy.shunt import LungShunt, NoShunt, measure_shunt
from analyzers.scintigraphy.shunt_words import planar_shunt_sentence, shunt_limits
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.views import PlanarPair, pair_views
from analyzers.scintigraphy.whereabouts import Origin
from analyzers.volume import PlanarView
from tests.analyzers.scintigraphy_samples import Scene, instance, loaded, views_of

NUCLIDE = "RadiopharmaceuticalInformationSequence.RadionuclideCodeSequence"


def reading_of(*views: PlanarView) -> PlanarReading:
    reading = read_planar([loaded(*views)], DEFAULTS)
    assert isinstance(reading, PlanarReading)
    return reading


def shunt_of(reading: PlanarReading) -> LungShunt:
    assert isinstance(reading.shunt, LungShunt)
    return reading.shunt


@pytest.mark.parametrize("fraction", [0.03, 0.07, 0.15, 0.30])
def test_raw_shunt_is_the_fraction_of_counts(fraction: float) -> None:
    liver = 850_000.0
    reading = reading_of(*views_of(Scene(lung_counts=liver * fraction / (1.0 - fraction))))

    shunt = shunt_of(reading)

    assert shunt.raw == pytest.approx(fraction, abs=0.006 + 0.08 * fraction)
    assert shunt.lungs_seen


def test_corrected_shunt_lies_inside_its_interval_and_below_the_raw_one() -> None:
    shunt = shunt_of(reading_of(*views_of(Scene())))

    assert shunt.corrected_low < shunt.corrected < shunt.corrected_high < shunt.raw


@pytest.mark.parametrize("pixel_mm", [2.4, 4.8, 9.6])
def test_the_same_counts_give_the_same_shunt_whatever_the_zoom(pixel_mm: float) -> None:
    base = views_of(Scene())
    if pixel_mm == 9.6:
        views = [
            replace(v, counts=v.counts.reshape(64, 2, 64, 2).sum(axis=(1, 3)), spacing_row_col_mm=(9.6, 9.6))
            for v in base
        ]
    elif pixel_mm == 2.4:
        views = [
            replace(
                v, counts=np.kron(v.counts, np.full((2, 2), 0.25)).astype(np.float32), spacing_row_col_mm=(2.4, 2.4)
            )
            for v in base
        ]
    else:
        views = list(base)

    assert shunt_of(reading_of(*views)).raw == pytest.approx(shunt_of(reading_of(*base)).raw, rel=0.15)


def test_exchanging_both_views_changes_no_geometric_mean() -> None:
    front, back = views_of(Scene())
    exchanged = (replace(front, direction="posterior"), replace(back, direction="anterior"))

    assert shunt_of(reading_of(*exchanged)).raw == pytest.approx(shunt_of(reading_of(front, back)).raw, rel=0.02)


def test_lungs_cut_by_the_field_make_it_at_least() -> None:
    front, back = views_of(Scene())
    cut = [
        replace(v, counts=np.where(np.arange(128)[:, None] < 45, 0, v.counts).astype(np.float32)) for v in (front, back)
    ]
    reading = reading_of(*cut)

    assert shunt_of(reading).at_least
    assert not reading.passed(gates.LUNGS_IN_FIELD)


def test_a_field_that_ends_at_the_dome_has_no_shunt() -> None:
    front, back = views_of(Scene())
    cut = [
        replace(v, counts=np.where(np.arange(128)[:, None] < 62, 0, v.counts).astype(np.float32)) for v in (front, back)
    ]

    shunt = reading_of(*cut).shunt

    assert isinstance(shunt, NoShunt)
    assert "lungs are not in it" in shunt.reason


def test_nothing_outside_liver_and_lungs_is_no_focus() -> None:
    for seed in range(1, 6):
        assert reading_of(*views_of(Scene(), seed=seed)).foci == ()


def test_a_focus_of_one_per_cent_clear_of_the_liver_is_found_with_its_share() -> None:
    reading = reading_of(*views_of(Scene(foci=((104, 72, 4, 9_000.0),))))

    assert len(reading.foci) == 1
    focus = reading.foci[0].focus
    assert focus.share_fraction == pytest.approx(9_000 / 850_000, rel=0.35)
    assert focus.significance_sigma > 5
    assert focus.clear_of_liver
    assert reading.foci[0].whereabouts.origin is Origin.EXTRAHEPATIC


def test_a_focus_does_not_raise_the_liver_counts() -> None:
    plain = shunt_of(reading_of(*views_of(Scene())))
    with_focus = shunt_of(reading_of(*views_of(Scene(foci=((104, 72, 4, 60_000.0),)))))

    assert with_focus.liver_counts == pytest.approx(plain.liver_counts, rel=0.02)


def test_a_missing_left_lobe_is_named() -> None:
    assert reading_of(*views_of(Scene(left_lobe_counts=1_000.0))).split.uptake is LobeUptake.NO_LEFT


def test_both_lobes_are_seen() -> None:
    split = reading_of(*views_of(Scene())).split

    assert split.uptake is LobeUptake.BOTH
    assert 0.1 < split.left_share_fraction < 0.45


def test_few_counts_give_no_number() -> None:
    thin = Scene(right_lobe_counts=70_000.0, left_lobe_counts=15_000.0, lung_counts=6_000.0, background_per_pixel=0.1)
    answer = read_planar([loaded(*views_of(thin))], DEFAULTS)

    assert isinstance(answer, PlanarRefusal)
    assert "kcounts" in answer.reasons[0]
    assert any(gate.name == gates.COUNTS and not gate.passed for gate in answer.gates)


def test_saturated_pixels_give_no_number() -> None:
    front, back = views_of(Scene())
    top = float(np.percentile(front.counts, 99.5))
    answer = read_planar([loaded(replace(front, counts=np.minimum(front.counts, top)), back)], DEFAULTS)

    assert isinstance(answer, PlanarRefusal)
    assert "saturated" in answer.reasons[0]


def test_another_nuclide_gives_no_number() -> None:
    indium = instance(codes={NUCLIDE: (Code(value="37197008", scheme="SCT", meaning="^111^Indium"),)})
    answer = read_planar([loaded(*views_of(Scene()), header=indium)], DEFAULTS)

    assert isinstance(answer, PlanarRefusal)
    assert "Indium" in answer.reasons[0]


def test_two_nuclides_give_no_number() -> None:
    both = instance(
        codes={NUCLIDE: (vocabulary.TECHNETIUM_99M, Code(value="37197008", scheme="SCT", meaning="^111^Indium"))}
    )

    assert isinstance(read_planar([loaded(*views_of(Scene()), header=both)], DEFAULTS), PlanarRefusal)


def test_views_shifted_against_each_other_are_limited() -> None:
    front, back = views_of(Scene())
    moved = replace(back, counts=np.roll(back.counts, 8, axis=0))

    assert not reading_of(front, moved).passed(gates.ALIGNMENT)


def test_a_liver_cut_by_the_field_is_limited() -> None:
    front, back = views_of(Scene())
    cut = [
        replace(v, counts=np.where(np.arange(128)[:, None] > 84, 0, v.counts).astype(np.float32)) for v in (front, back)
    ]

    assert not reading_of(*cut).passed(gates.LIVER_IN_FIELD)


def test_noise_alone_gives_no_number() -> None:
    rng = np.random.default_rng(3)
    noise = [replace(v, counts=rng.poisson(60, (128, 128)).astype(np.float32)) for v in views_of(Scene())]
    answer = read_planar([loaded(*noise)], DEFAULTS)

    assert isinstance(answer, PlanarRefusal) or not answer.passed(gates.LIVER_IN_FIELD)


@pytest.mark.parametrize(("counts", "refused"), [(800_000.0, True), (300_000.0, False)])
def test_a_region_outside_the_liver_with_more_counts_than_it_gives_no_number(counts: float, refused: bool) -> None:
    """Wide and fainter than the liver: bowel or spleen that a slipped catheter fills."""
    scene = Scene(right_lobe_counts=600_000.0, left_lobe_counts=100_000.0, foci=((105, 88, 18, counts),))
    answer = read_planar([loaded(*views_of(scene))], DEFAULTS)

    assert isinstance(answer, PlanarRefusal) is refused
    assert not refused or "which of them is the liver cannot be told" in answer.reasons[0]  # type: ignore[union-attr]


def test_a_shunt_of_nothing_is_bounded_from_above_by_what_the_background_may_hide() -> None:
    pair = pair_views(views_of(Scene(lung_counts=0.0, background_per_pixel=10.0)))
    assert isinstance(pair, PlanarPair)
    regions = find_regions(pair, DEFAULTS)
    assert isinstance(regions, PlanarRegions)
    shunt = measure_shunt(pair, regions, DEFAULTS)

    assert isinstance(shunt, LungShunt)
    assert shunt.corrected == shunt.corrected_low == 0.0
    assert 0.001 < shunt.corrected_high < 0.01


@pytest.mark.parametrize(("corrected", "limited"), [(0.39, False), (0.40, True)])
def test_a_shunt_that_no_pump_patient_has_is_limited(corrected: float, limited: bool) -> None:
    reading = reading_of(*views_of(Scene()))
    shunt = replace(shunt_of(reading), corrected=corrected)

    assert any("may have been taken for lung" in text for text in shunt_limits(reading, shunt)) is limited


@pytest.mark.parametrize("missing", [False, True])
def test_a_lobe_without_uptake_limits_the_shunt(missing: bool) -> None:
    reading = reading_of(*views_of(Scene(left_lobe_counts=0.0 if missing else 150_000.0)))

    assert any("a lobe without uptake" in text for text in shunt_limits(reading, shunt_of(reading))) is missing
    assert ("limited reliability" in planar_shunt_sentence(reading, DEFAULTS)) is missing
