"""What a surgeon reads: guesses that read as guesses, numbers with unit and method, reasons where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from analyzers import vocabulary
from analyzers.contract import Assessed, FrameRef, Gate, Grade, Interval, Measurement, StudySummary
from analyzers.measuring import measurement
from analyzers.scintigraphy.answer import device_sentence, facts_of
from analyzers.scintigraphy.lobes import LobeUptake
from analyzers.scintigraphy.montage import height_of_lines_in, in_words, lines_in_height
from analyzers.scintigraphy.patterns import explained_together
from analyzers.scintigraphy.planar import PlanarReading, read_planar
from analyzers.scintigraphy.planar_answer import focus_findings, planar_measurements, planar_regions
from analyzers.scintigraphy.reading import Readings, conclude
from analyzers.scintigraphy.shunt import LungShunt
from analyzers.scintigraphy.shunt_words import planar_shunt_sentence, spect_shunt_sentence
from analyzers.scintigraphy.spect import POCKET, SpectReading, SpectRefusal
from analyzers.scintigraphy.spect_answer import slice_words, spect_findings, spect_limitations
from analyzers.scintigraphy.spect_legend import hot_mark_of, legend_lines, mark_of
from analyzers.scintigraphy.spect_numbers import spect_measurements
from analyzers.scintigraphy.spect_perfusion import Lobe, Perfusion
from analyzers.scintigraphy.spect_shunt import SpectShunt
from analyzers.scintigraphy.spect_sites import Site, doubted_beside_kidneys, site_by_direction
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.verdict import perfusion_pattern
from analyzers.scintigraphy.whereabouts import LocatedFocus, Origin, whereabouts_of
from analyzers.segmentations import GivenSegmentation
from analyzers.volume import LoadedSeries
from tests.analyzers.scintigraphy_samples import Scene, instance, loaded, study, views_of
from tests.analyzers.test_scintigraphy_patterns import LANDMARKS, STATIC_TOP, THYROID, focus
from tests.analyzers.test_scintigraphy_spect import reading_of as spect_reading_of
from tests.analyzers.test_scintigraphy_spect import scene

STOMACH_BALL = ((90.0, -30.0, -20.0), 15.0, 60.0)


class Headers:
    """A study whose pixels nobody asks for."""

    roles: Mapping[str, str] = {}

    @property
    def summary(self) -> StudySummary:
        return study(instance())

    @property
    def segmentations(self) -> tuple[GivenSegmentation, ...]:
        return ()

    def load(self, series_instance_uid: str) -> LoadedSeries:
        raise KeyError(series_instance_uid)

    def with_role(self, role: str) -> tuple[LoadedSeries, ...]:
        return ()


def planar(scene: Scene | None = None) -> PlanarReading:
    """The reading of synthetic views."""
    reading = read_planar([loaded(*views_of(scene or Scene()))], DEFAULTS)
    assert isinstance(reading, PlanarReading)
    return reading


def lobe(side: str, *, perfused: bool = True, resected: bool = False) -> Lobe:
    return Lobe(
        side=side,
        mask_zyx=np.zeros((2, 2, 2), np.bool_),
        volume_ml=0.0 if resected else 700.0,
        volume_fraction=0.0 if resected else 0.5,
        activity_fraction=0.5,
        activity_error=0.05,
        perfusion_index=1.0,
        level=1.0,
        covered_fractions=(1.0, 1.0, 1.0),
        is_resected=resected,
        is_perfused=perfused and not resected,
    )


def perfusion(right: Lobe, left: Lobe, *, at_least: bool = False) -> Perfusion:
    return Perfusion(
        right=right,
        left=left,
        perfused_ml=1400.0,
        covered_fractions=(1.0, 1.0, 1.0),
        shunt=SpectShunt(fraction=0.073, error=0.014, at_least=at_least, filled_fraction=0.05),
        above_dome_ml=0.0,
    )


# --- where a planar focus lies ---


def spot(left_mm: float, *, ratio: float, axis_mm: float, peak: float, below_dome_mm: float = 100.0) -> LocatedFocus:
    """A focus beside the liver's lower edge."""
    found = focus(left_mm, below_dome_mm, ratio=ratio, axis_mm=axis_mm, peak=peak).focus
    return LocatedFocus(focus=found, whereabouts=whereabouts_of(found, LANDMARKS))


@pytest.mark.parametrize(("left_mm", "ratio"), [(15.0, 2.0), (0.0, 1.0), (-20.0, 1.0)])
def test_a_spot_near_the_porta_that_is_too_wide_for_a_tip_may_be_one_all_the_same(left_mm: float, ratio: float) -> None:
    near, wide = (spot(left_mm, ratio=ratio, axis_mm=mm, peak=0.4).whereabouts for mm in (38.0, 60.0))

    assert near.words.endswith(", or a catheter tip")
    assert "catheter tip" not in wide.words
    assert near.origin is wide.origin


def test_what_lies_left_of_the_hepatic_artery_or_beside_a_surer_tip_is_said_to_be_none() -> None:
    left = spot(30.0, ratio=2.0, axis_mm=38.0, peak=0.4)
    tip, wide = (
        spot(0.0, ratio=1.5, axis_mm=mm, peak=peak, below_dome_mm=90.0) for mm, peak in ((20.0, 3.0), (38.0, 0.4))
    )

    assert "catheter tip" not in left.whereabouts.words
    assert [item.whereabouts.words for item in explained_together((tip, wide), LANDMARKS, STATIC_TOP)] == [
        "catheter tip",
        "duodenum or head of the pancreas",
    ]


@pytest.mark.parametrize("left_mm", [30.0, 70.0])
def test_a_guess_of_the_stomach_names_the_bowel_before_it(left_mm: float) -> None:
    assert spot(left_mm, ratio=2.0, axis_mm=60.0, peak=0.4).whereabouts.words.startswith("stomach or bowel")


def test_a_patch_as_large_and_superficial_as_a_pump_may_be_its_pocket() -> None:
    wide, flat, small, high = (
        spot(80.0, ratio=ratio, axis_mm=mm, peak=3.0, below_dome_mm=below)
        for ratio, mm, below in ((2.8, 70.0, 130.0), (1.8, 70.0, 130.0), (2.8, 40.0, 130.0), (2.8, 70.0, 90.0))
    )

    assert wide.whereabouts.words == "stomach or bowel, or pump pocket"
    assert all("pocket" not in item.whereabouts.words for item in (flat, small, high))


def test_a_pump_has_one_catheter_tip() -> None:
    tips = [
        spot(left, ratio=1.5, axis_mm=20.0, peak=peak, below_dome_mm=90.0) for left, peak in ((35.0, 1.0), (-10.0, 4.0))
    ]
    second, hottest = explained_together(tips, LANDMARKS, STATIC_TOP)

    assert hottest.whereabouts.words == "catheter tip"
    assert second.whereabouts.words == "small hot tumor or catheter tip"
    assert second.whereabouts.origin is hottest.whereabouts.origin
    told = device_sentence(replace(planar(), foci=(second, hottest)))
    assert "3.0 % of the liver's counts: catheter tip (usually harmless) or small tumor" in told
    assert "another, 3.0 %, is likelier a tumor" in told


@pytest.mark.parametrize(("peak", "doubted"), [(0.25, True), (0.5, False)])
def test_beside_free_pertechnetate_a_spleen_as_faint_as_a_kidney_may_be_one(peak: float, doubted: bool) -> None:
    spleen = focus(80, 100, ratio=0.5, peak=peak)
    found, _ = explained_together((spleen, THYROID), LANDMARKS, STATIC_TOP)

    assert ("left kidney with free pertechnetate" in found.whereabouts.words) is doubted


def test_the_height_of_a_focus_stands_in_its_reason() -> None:
    assert "101 mm below the dome of the liver" in spot(30.0, ratio=2.0, axis_mm=60.0, peak=0.4).whereabouts.reason


def test_a_focus_that_the_field_cuts_holds_at_least_what_was_counted() -> None:
    whole, cut = (planar(Scene(foci=((row, 72, 4, 60_000.0),))) for row in (108, 126))
    for reading, said in ((whole, False), (cut, True)):
        (finding,) = focus_findings(reading.foci)
        share = next(one for one in planar_measurements(reading, DEFAULTS) if one.key == "extrahepatic_share")
        assert ("at least" in finding.sentence and "cut by the edge of the field" in finding.sentence) is said
        assert share.remark.startswith("at least") is said
        assert (share.grade is Grade.LIMITED) is said
        assert ("at least" in perfusion_pattern(facts_of(reading, None)).sentence) is said


def test_a_guess_reads_as_one_in_headline_and_outline() -> None:
    reading = planar(Scene(foci=((104, 72, 4, 20_000.0),)))
    (located,) = reading.foci
    words = located.whereabouts.words

    assert f"Extrahepatic activity suspected: {words}? (" in perfusion_pattern(facts_of(reading, None)).sentence
    assert planar_regions(reading)[-1].label == f"Focus 1: {words}?"


def test_a_long_guess_is_not_cut_within_a_word() -> None:
    reading = planar(Scene(foci=((104, 72, 4, 20_000.0),)))
    (located,) = reading.foci
    words = "duodenum, gallbladder or right colic flexure, or pump pocket"
    far = replace(located, whereabouts=replace(located.whereabouts, words=words))
    label = planar_regions(replace(reading, foci=(far,)))[-1].label

    assert label == "Focus 1: duodenum, gallbladder or right colic flexure, or ...?"
    assert len(label) <= 64


# --- where a SPECT focus lies ---


@pytest.mark.parametrize(
    ("left", "back", "up", "words"),
    [
        (20.0, 0.0, -100.0, "duodenum, pancreas or right kidney?"),
        (20.0, -40.0, -100.0, "duodenum or pancreas?"),
        (20.0, 0.0, -10.0, "duodenum or pancreas?"),
        (0.0, 10.0, -130.0, "bowel or right kidney?"),
        (20.0, 60.0, -100.0, "kidney?"),
        (130.0, 20.0, -60.0, "spleen or left kidney?"),
        (130.0, 20.0, 10.0, "spleen?"),
        (150.0, -10.0, 20.0, "stomach or spleen?"),
        (80.0, -30.0, -20.0, "stomach?"),
        (134.0, -53.0, -104.0, "bowel or pump pocket?"),
        (-10.0, -60.0, -120.0, "bowel or pump pocket?"),
        (60.0, -60.0, -120.0, "bowel?"),
    ],
)
def test_a_place_by_direction_names_all_that_lies_there(left: float, back: float, up: float, words: str) -> None:
    found = site_by_direction(np.asarray([left, back, up]), np.zeros(3))

    assert found.words.startswith(f"{words} (")


def test_a_stomach_beside_marked_kidneys_is_named_in_words_that_a_headline_can_hold() -> None:
    stomach = Site(words="stomach (23 mm left)", site=vocabulary.STOMACH, origin=Origin.EXTRAHEPATIC)

    assert doubted_beside_kidneys(stomach, kidneys_marked=True).words == (
        "stomach, perfused or with the free pertechnetate that marks the kidneys (23 mm left)"
    )


def test_the_headline_names_the_slice_and_leaves_the_millimetres_to_the_finding() -> None:
    reading = spect_reading_of(scene(STOMACH_BALL))
    (found,) = reading.foci
    (place,) = facts_of(None, reading).possible

    middle = int(np.argmax(found.mask_zyx.sum(axis=(1, 2)))) + 1
    assert abs(middle - (24.5 - 20.0 / 6.0)) <= 1.5
    assert (
        place
        == f"SPECT stomach or spleen? ({100 * found.share_fraction:.1f} % of the liver's counts, slice {middle} of 48)"
    )
    assert "mm" not in place
    assert f"slice {middle} of 48" in spect_findings(reading)[0].sentence
    assert "SPECT focus 1: stomach or spleen? (" in spect_findings(reading)[0].sentence
    assert "mm left" in spect_findings(reading)[0].sentence


def test_a_focus_in_the_last_plane_of_a_spect_holds_at_least_what_was_counted() -> None:
    reading = spect_reading_of(scene(STOMACH_BALL))
    (found,) = reading.foci
    last = found.mask_zyx.copy()
    last[-1, 20:23, 20:23] = True
    cut = replace(reading, foci=(replace(found, mask_zyx=last),))

    for one, said in ((reading, False), (cut, True)):
        for sentence in (facts_of(None, one).possible[0], spect_findings(one)[0].sentence):
            assert ("at least" in sentence) is said
            assert ("cut by the edge of the field" in sentence) is said


def test_planes_in_objects_of_their_own_are_counted_from_the_feet() -> None:
    reading = spect_reading_of(scene(STOMACH_BALL))
    (found,) = reading.foci
    number = reading.volume.planes[int(np.argmax(found.mask_zyx.sum(axis=(1, 2))))].frame
    apart = tuple(FrameRef(sop_instance_uid=f"1.2.{n}", frame=1) for n in range(48))
    upwards = replace(reading, volume=replace(reading.volume, planes=apart))
    downwards = replace(
        upwards, volume=replace(upwards.volume, affine_lps=upwards.volume.affine_lps * np.asarray([1, 1, -1, 1]))
    )

    assert number is not None
    assert slice_words(found, upwards) == f"slice {number} of 48 from the feet"
    assert slice_words(found, downwards) == f"slice {49 - number} of 48 from the feet"


def test_a_focus_on_both_kinds_of_images_may_be_one() -> None:
    spect = spect_reading_of(scene(STOMACH_BALL))
    views = planar(Scene(foci=((104, 72, 4, 20_000.0),)))

    assert facts_of(views, spect).perhaps_same
    assert not facts_of(views, None).perhaps_same
    assert not facts_of(planar(), spect).perhaps_same


def test_a_spot_that_does_not_stand_out_is_no_possible_perfusion() -> None:
    reading = spect_reading_of(scene(STOMACH_BALL))
    (found,) = reading.foci
    facts = facts_of(None, replace(reading, foci=(replace(found, stands_out=False, share_fraction=0.008),)))

    assert facts.possible == ()
    assert "doubtful spot to be looked at" in perfusion_pattern(facts).sentence
    assert "slice" in facts.faint[0]


def test_what_holds_a_hundredth_of_the_livers_counts_is_never_called_noise() -> None:
    reading = spect_reading_of(scene(STOMACH_BALL))
    (found,) = reading.foci
    large = replace(reading, foci=(replace(found, stands_out=False, share_fraction=0.011),))
    facts = facts_of(None, large)

    wide = replace(large, foci=(replace(large.foci[0], peak_fraction=0.02),))

    assert facts_of(None, wide).possible == ()
    assert facts.faint == ()
    assert "possible extrahepatic activity: SPECT stomach or spleen? (1.1 %" in perfusion_pattern(facts).sentence
    assert "noise" not in spect_findings(large)[0].sentence


# --- the lung shunt ---


def test_a_shunt_that_the_field_cuts_has_no_upper_end() -> None:
    reading = planar()
    assert isinstance(reading.shunt, LungShunt)
    cut = replace(reading, shunt=replace(reading.shunt, at_least=True))
    whole_sentence, cut_sentence = (planar_shunt_sentence(one, DEFAULTS) for one in (reading, cut))
    number = next(one for one in planar_measurements(cut, DEFAULTS) if one.key == "lung_shunt_fraction_corrected")

    assert " to " in whole_sentence
    assert "Lung shunt at least " in cut_sentence
    assert "95 % interval from " in cut_sentence
    assert " to " not in cut_sentence
    assert "of limited reliability" not in cut_sentence
    assert number.interval is not None
    assert number.interval.high is None
    spect = replace(spect_reading_of(scene()), perfusion=perfusion(lobe("right"), lobe("left"), at_least=True))
    assert spect_shunt_sentence(spect, DEFAULTS) == (
        "Lung shunt by SPECT/CT at least 7.3 % (95 % interval from 5.9 %, the field cuts the lungs)."
    )


def test_a_shunt_of_limited_reliability_says_so_in_the_headline() -> None:
    reading = planar()
    limited = replace(reading, split=replace(reading.split, uptake=LobeUptake.NO_LEFT))

    assert "of limited reliability" in planar_shunt_sentence(limited, DEFAULTS)
    assert "of limited reliability" not in planar_shunt_sentence(reading, DEFAULTS)


def test_the_shunt_of_a_spect_ct_comes_before_that_of_planar_views() -> None:
    spect = replace(spect_reading_of(scene()), perfusion=perfusion(lobe("right"), lobe("left")))
    result = conclude(Headers(), Readings(planar=planar(), spect=spect), DEFAULTS)

    assert isinstance(result, Assessed)
    said = result.conclusion
    assert 0 < said.index("Lung shunt by SPECT/CT 7.3 %") < said.index("Lung shunt on planar views")


@pytest.mark.parametrize(
    ("fraction", "said"), [(0.07, ""), (0.12, ": above the usual 0 to 10 %"), (0.25, ": high (20 % and more)")]
)
def test_a_shunt_says_how_high_it_is(fraction: float, said: str) -> None:
    spect = spect_reading_of(scene())
    shunted = perfusion(lobe("right"), lobe("left"))
    assert shunted.shunt is not None
    measured = replace(shunted, shunt=replace(shunted.shunt, fraction=fraction))
    sentence = spect_shunt_sentence(replace(spect, perfusion=measured), DEFAULTS)

    assert said in sentence
    assert (":" in sentence) is bool(said)


# --- sides, and what could not be read ---


@pytest.mark.parametrize(
    ("right", "doubted"),
    [(lobe("right", resected=True), False), (lobe("right", perfused=False), False), (lobe("right"), True)],
)
def test_a_liver_on_the_left_that_a_spect_ct_shows_there_leaves_no_doubt_of_the_sides(
    right: Lobe, doubted: bool
) -> None:
    views = planar(Scene(right_lobe_counts=2_000.0, left_lobe_counts=850_000.0))
    spect = replace(spect_reading_of(scene()), perfusion=perfusion(right, lobe("left")))

    assert facts_of(views, None).side_doubt
    assert bool(facts_of(views, spect).side_doubt) is doubted


def test_a_spect_that_could_not_be_read_is_not_passed_over() -> None:
    refused = SpectRefusal(reasons=("The SPECT holds no counts.",))
    result = conclude(Headers(), Readings(planar=planar(), spect=refused), DEFAULTS)

    assert isinstance(result, Assessed)
    assert "The SPECT could not be read (see limitations)." in result.conclusion
    assert result.limitations[0] == "The SPECT holds no counts."


def test_a_spill_that_the_spect_alone_shows_is_weighed_in_the_headline() -> None:
    reading = spect_reading_of(scene(STOMACH_BALL))
    (found,) = reading.foci
    where = Site(words="pump pocket (far down)", site=vocabulary.ABDOMINAL_WALL, origin=Origin.DEVICE)
    pocket = replace(found, name="spect-device-1", where=where, share_fraction=0.25)
    gate = Gate(name=POCKET, passed=False, seen="20 %", wanted="at most 10 %")
    spilt = replace(reading, foci=(), device=(pocket,), gates=(gate,))

    assert perfusion_pattern(facts_of(None, spilt)).sentence.startswith(
        "Non-diagnostic: 20 % of the counts of liver and pump pocket lie in the pocket"
    )


@pytest.mark.parametrize("reason", ["", "the CT was not used (prone)"])
def test_why_regions_rest_on_activity_alone_is_said_once(reason: str) -> None:
    reading = replace(spect_reading_of(scene()), ct_reason=reason)
    (said,) = (text for text in spect_limitations(reading, DEFAULTS) if "rest on activity alone" in text)

    assert said.startswith(f"SPECT regions rest on activity alone: {reason or 'no CT was used'}. Activity that touches")


@pytest.mark.parametrize(
    ("reason", "words"), [("", "without a CT,"), ("the CT was not used (prone)", "the CT could not be used, so")]
)
def test_why_nothing_is_judged_close_to_the_liver_follows_from_the_ct(reason: str, words: str) -> None:
    assert facts_of(None, replace(spect_reading_of(scene()), ct_reason=reason)).near_liver == words
    assert facts_of(planar(), None).near_liver == ""


# --- the pages ---


def page_of(reading: SpectReading) -> Assessed:
    return Assessed(
        conclusion="",
        findings=spect_findings(reading),
        measurements=tuple(spect_measurements(reading)),
        limitations=spect_limitations(reading, DEFAULTS),
    )


def how_to_read(reading: SpectReading, *, fused: bool = False) -> str:
    lines = [text for text, _ in legend_lines(page_of(reading), fused=fused)]
    return " ".join(lines[lines.index("How to read it") + 1 :]).replace("\u00a0", " ")


@pytest.mark.parametrize("fused", [False, True])
def test_a_page_without_correction_for_attenuation_says_what_it_does_not_give_and_why(fused: bool) -> None:
    reading = replace(spect_reading_of(scene()), attenuation_corrected=False)

    assert how_to_read(reading, fused=fused).startswith(
        "NOT known to be corrected for attenuation, without which counts fall with depth: no lung shunt, lobar split "
        "or coverage from it, and shares of foci are approximate; "
    )


def test_a_corrected_page_without_a_ct_gives_the_ct_as_the_reason() -> None:
    assert how_to_read(spect_reading_of(scene())).startswith(
        "Corrected for attenuation; no lung shunt, lobar split or coverage from it, for these need a CT; no CT used"
    )


def test_a_fused_and_corrected_page_names_no_gap() -> None:
    assert "no lung shunt" not in how_to_read(spect_reading_of(scene()), fused=True).split(".")[0]


def test_notes_that_have_no_room_are_said_to_be_in_the_report() -> None:
    page = page_of(spect_reading_of(scene()))
    many = replace(page, limitations=tuple(f"Note {number}." for number in range(9)))

    assert legend_lines(page, fused=False)[-1][0] != "... more in the report"
    assert legend_lines(many, fused=False)[-1][0] == "... more in the report"


def test_hot_regions_have_a_mark_of_their_own() -> None:
    assert hot_mark_of("hot-region-2") == "H2"
    assert mark_of("hot-region-2") == ""
    assert hot_mark_of("spect-focus-2") == ""
    reading = spect_reading_of(scene(tumour=4.0))
    assert any(text.startswith("H1 hot, own outline\t") for text, _ in legend_lines(page_of(reading), fused=False))


def share(key: str, value: float, interval: Interval | None = None) -> Measurement:
    found = measurement(key, value, "liver", method="test")
    return replace(found, interval=interval)


def test_every_share_on_the_page_has_its_unit_and_a_lower_limit_is_named_as_one() -> None:
    assert in_words(share("perfused_outline_share_20", 0.74)) == "Colloid outline perfused, above 20 %: 74.0 %"
    assert in_words(share("lung_shunt_fraction_spect", 0.073, Interval(low=0.059, high=0.088))) == (
        "Lung shunt by SPECT/CT: 7.3 % (5.9 to 8.8)"
    )
    assert in_words(share("lung_shunt_fraction_spect", 0.073, Interval(low=0.059, high=None))) == (
        "Lung shunt by SPECT/CT: at least 7.3 % (from 5.9)"
    )


@pytest.mark.parametrize("count", range(1, 90))
def test_a_page_as_high_as_its_text_loses_no_line(count: int) -> None:
    assert lines_in_height(height_of_lines_in(count)) == count
