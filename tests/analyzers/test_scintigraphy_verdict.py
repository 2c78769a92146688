"""The headline follows from the findings, for every combination of them."""

from dataclasses import replace
from itertools import product

import pytest

from analyzers import vocabulary
from analyzers.contract import Code, Presence
from analyzers.scintigraphy.answer import pattern_findings
from analyzers.scintigraphy.verdict import (
    TABLE,
    Facts,
    extrahepatic_presence,
    extrahepatic_sentence,
    perfusion_pattern,
)

STOMACH = "stomach (3.0 % of the liver's counts)"
SPLEEN = "spleen, perfused or residue of the colloid (4.1 % of the liver's counts)"
SPOT = "SPECT/CT spine or beside it? (0.1 % of the liver's counts, slice 36 of 81)"
PLANAR_NEGATIVE = (
    "No extrahepatic activity detected on planar views, which does not exclude it: they find about 30 % of it."
)
SIDE = "most of the liver's counts lie on the left side: names of the views exchanged, or a picture mirrored?"
NOT_JUDGED = "whether the whole liver is perfused is not judged: the field cuts it"

EVERY_COMBINATION = [
    Facts(
        spilt_in_pocket=spilt,
        hot_tip_share_fraction=tip,
        extrahepatic=extrahepatic,
        possible=possible,
        faint=faint,
        missing_lobe=lobe,
        not_judged=not_judged,
        pertechnetate=free,
    )
    for spilt, tip, extrahepatic, possible, faint, lobe, not_judged, free in product(
        (False, True), (None, 0.7), ((), (STOMACH,)), ((), (SPLEEN,)), ((), (SPOT,)), ("", "left", "right"),
        ("", NOT_JUDGED), (False, True),
    )
]  # fmt: skip

ROWS: dict[str, tuple[Facts, Code, Presence, str]] = {
    "tracer in the pump pocket": (
        Facts(spilt_in_pocket=True, pocket_share_fraction=0.19),
        vocabulary.PERFUSION_NON_DIAGNOSTIC,
        Presence.INDETERMINATE,
        "Non-diagnostic: 19 % of the counts of liver and pump pocket lie in the pocket and did not enter the catheter "
        "(leak, or injected beside the port?).",
    ),
    "low uptake with a hot tip": (
        Facts(hot_tip_share_fraction=0.7),
        vocabulary.PERFUSION_LOW_HOT_TIP,
        Presence.ABSENT,
        "Activity at the catheter tip holds 70 % of the liver's counts: low hepatic uptake with a hot tip, thrombosis?",
    ),
    "views or sides in doubt": (
        Facts(side_doubt=SIDE, missing_lobe="right"),
        vocabulary.PERFUSION_INDETERMINATE,
        Presence.INDETERMINATE,
        f"Indeterminate: {SIDE} "
        "Extrahepatic activity is not judged, for what outshines the liver would be taken for it.",
    ),
    "extrahepatic activity suspected": (
        Facts(extrahepatic=(STOMACH,)),
        vocabulary.PERFUSION_EXTRAHEPATIC,
        Presence.PRESENT,
        f"Extrahepatic activity suspected: {STOMACH}. Uptake in both lobes of the liver.",
    ),
    "a lobe seems to be missing where completeness is not judged": (
        Facts(missing_lobe="left", not_judged=NOT_JUDGED),
        vocabulary.PERFUSION_INDETERMINATE,
        Presence.ABSENT,
        f"Indeterminate: {NOT_JUDGED}. Little or no uptake in the place of the left lobe: not perfused or resected. "
        f"{PLANAR_NEGATIVE}",
    ),
    "a lobe is missing": (
        Facts(missing_lobe="left"),
        vocabulary.PERFUSION_INCOMPLETE,
        Presence.ABSENT,
        f"Incomplete perfusion, unless the left lobe was resected: little or no uptake in its place. {PLANAR_NEGATIVE}",
    ),
    "possible extrahepatic activity": (
        Facts(possible=(SPLEEN,)),
        vocabulary.PERFUSION_INDETERMINATE,
        Presence.INDETERMINATE,
        f"Indeterminate: possible extrahepatic activity: {SPLEEN}. Uptake in both lobes of the liver.",
    ),
    "completeness not judged": (
        Facts(not_judged=NOT_JUDGED),
        vocabulary.PERFUSION_INDETERMINATE,
        Presence.ABSENT,
        f"Indeterminate: {NOT_JUDGED}. {PLANAR_NEGATIVE}",
    ),
    "complete": (
        Facts(seen_on="planar views and SPECT"),
        vocabulary.PERFUSION_COMPLETE,
        Presence.ABSENT,
        "Uptake in both lobes of the liver. No extrahepatic activity detected on planar views and SPECT.",
    ),
}


def test_every_row_of_the_table_has_its_expected_answer_here() -> None:
    assert list(ROWS) == [row.name for row in TABLE]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_gives_its_category_finding_and_sentence(name: str) -> None:
    facts, category, extrahepatic, sentence = ROWS[name]
    pattern = perfusion_pattern(facts)

    assert pattern.category == category
    assert pattern.sentence == sentence
    assert extrahepatic_presence(facts) is extrahepatic
    finding, _ = pattern_findings(pattern, facts, None, None)
    undecided = {vocabulary.PERFUSION_INDETERMINATE, vocabulary.PERFUSION_NON_DIAGNOSTIC}
    assert finding.undecided == (finding.value in undecided)


@pytest.mark.parametrize("facts", EVERY_COMBINATION)
def test_no_headline_contradicts_the_finding_of_extrahepatic_perfusion(facts: Facts) -> None:
    pattern, presence = perfusion_pattern(facts), extrahepatic_presence(facts)
    said = pattern.sentence.lower()

    assert ("no extrahepatic activity" in said) <= (presence is Presence.ABSENT)
    assert ("extrahepatic activity suspected" in said) == (presence is Presence.PRESENT)
    if pattern.category == vocabulary.PERFUSION_EXTRAHEPATIC:
        assert presence is Presence.PRESENT
    if pattern.category == vocabulary.PERFUSION_COMPLETE:
        assert presence is Presence.ABSENT
    if pattern.category == vocabulary.PERFUSION_INDETERMINATE:
        assert presence is not Presence.PRESENT
    finding = extrahepatic_sentence(facts).lower()
    assert ("no activity outside" in finding) <= (
        presence is not Presence.PRESENT and not facts.possible and not facts.faint
    )


@pytest.mark.parametrize("facts", EVERY_COMBINATION)
def test_a_row_in_front_hides_nothing_that_forbids_treatment(facts: Facts) -> None:
    said = perfusion_pattern(facts).sentence

    assert all(place in said for place in (*facts.extrahepatic, *facts.possible, *facts.faint))
    assert not facts.missing_lobe or f"{facts.missing_lobe} lobe" in said
    assert not facts.missing_lobe or "resected" in said


def test_only_a_study_without_any_doubt_is_called_complete() -> None:
    complete = [
        facts for facts in EVERY_COMBINATION if perfusion_pattern(facts).category == vocabulary.PERFUSION_COMPLETE
    ]

    assert {replace(facts, pertechnetate=False) for facts in complete} == {Facts()}


def test_a_lobe_that_a_colloid_scan_shows_is_called_not_perfused_and_no_longer_perhaps_resected() -> None:
    pattern = perfusion_pattern(Facts(missing_lobe="right", liver_shown_there_by="the colloid scan"))

    assert pattern.category == vocabulary.PERFUSION_INCOMPLETE
    assert "not perfused (the colloid scan shows liver there)" in pattern.sentence
    assert "resected" not in pattern.sentence


def test_a_lobe_that_is_not_there_leaves_the_perfusion_complete() -> None:
    pattern = perfusion_pattern(Facts(absent_lobe="left"))

    assert pattern.category == vocabulary.PERFUSION_COMPLETE
    assert "both lobes" not in pattern.sentence
    assert "none in the place of the left lobe (resected?)" in pattern.sentence


def test_a_negative_headline_on_planar_views_alone_says_how_little_they_show() -> None:
    assert "about 30 %" in perfusion_pattern(Facts()).sentence
    assert "about 30 %" not in perfusion_pattern(Facts(seen_on="planar views and SPECT")).sentence


@pytest.mark.parametrize("facts", [Facts(), Facts(spilt_in_pocket=True, pocket_share_fraction=0.2)])
@pytest.mark.parametrize("why", ["without a CT,", "the CT could not be used, so"])
@pytest.mark.parametrize(
    ("seen_on", "words"),
    [
        ("SPECT", "activity close to the liver cannot be told from it"),
        ("planar views and SPECT", "activity close to the liver is judged by planar views alone"),
    ],
)
def test_a_spect_without_a_ct_says_what_it_does_not_judge_and_why(
    facts: Facts, why: str, seen_on: str, words: str
) -> None:
    seen = replace(facts, seen_on=seen_on, near_liver=why)

    assert f"; {why} {words}." in extrahepatic_sentence(seen)
    assert facts.spilt_in_pocket or f"; {why} {words}." in perfusion_pattern(seen).sentence


def test_with_a_ct_nothing_is_left_out_close_to_the_liver() -> None:
    assert "close to the liver" not in perfusion_pattern(Facts(seen_on="planar views and SPECT/CT")).sentence


def test_a_doubtful_spot_is_something_to_look_at_and_no_suspicion() -> None:
    facts = Facts(faint=(SPOT,), seen_on="planar views and SPECT/CT")
    pattern = perfusion_pattern(facts)

    assert pattern.category == vocabulary.PERFUSION_INDETERMINATE
    assert extrahepatic_presence(facts) is Presence.INDETERMINATE
    assert pattern.sentence == (
        "Indeterminate: no certain extrahepatic activity, but a doubtful spot to be looked at, perhaps only liver, "
        f"blood or noise: {SPOT}. Uptake in both lobes of the liver."
    )
    assert "2 doubtful spots to be looked at" in perfusion_pattern(replace(facts, faint=(SPOT, SPOT))).sentence


def test_one_focus_on_two_kinds_of_images_is_not_counted_as_two() -> None:
    facts = Facts(extrahepatic=(STOMACH,), possible=(SPLEEN,), perhaps_same=True, seen_on="planar views and SPECT")

    for sentence in (perfusion_pattern(facts).sentence, extrahepatic_sentence(facts)):
        assert f"{STOMACH}; possible as well: {SPLEEN}; planar views and SPECT may show the same focus." in sentence


def test_a_lobe_that_nothing_shows_may_be_resected_and_the_headline_says_so_first() -> None:
    assert perfusion_pattern(Facts(missing_lobe="left")).sentence.startswith(
        "Incomplete perfusion, unless the left lobe was resected:"
    )
    shown = perfusion_pattern(Facts(missing_lobe="left", liver_shown_there_by="the CT")).sentence
    assert shown.startswith("Incomplete perfusion: little or no uptake")
    assert "resected" not in shown
