"""The headline follows from the findings, for every combination of them."""

from dataclasses import replace
from itertools import product

import pytest

from analyzers import vocabulary
from analyzers.contract import Code, Presence
from analyzers.scintigraphy.verdict import (
    TABLE,
    Facts,
    extrahepatic_presence,
    extrahepatic_sentence,
    perfusion_pattern,
)

STOMACH = "stomach (3.0 % of the liver's counts)"
SPLEEN = "spleen, perfused or residue of the colloid (4.1 % of the liver's counts)"
SIDE = "most of the liver's counts lie on the left side: names of the views exchanged, or a picture mirrored?"
NOT_JUDGED = "whether the whole liver is perfused is not judged: the field cuts it"

EVERY_COMBINATION = [
    Facts(
        spilt_in_pocket=spilt,
        hot_tip_share_fraction=tip,
        extrahepatic=extrahepatic,
        possible=possible,
        missing_lobe=lobe,
        not_judged=not_judged,
        pertechnetate=free,
    )
    for spilt, tip, extrahepatic, possible, lobe, not_judged, free in product(
        (False, True), (None, 0.7), ((), (STOMACH,)), ((), (SPLEEN,)), ("", "left", "right"), ("", NOT_JUDGED),
        (False, True),
    )
]  # fmt: skip

ROWS: dict[str, tuple[Facts, Code, Presence, str]] = {
    "tracer in the pump pocket": (
        Facts(spilt_in_pocket=True),
        vocabulary.PERFUSION_NON_DIAGNOSTIC,
        Presence.INDETERMINATE,
        "Non-diagnostic: a large part of the tracer lies in the pump pocket and did not enter the catheter.",
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
        f"Indeterminate: {NOT_JUDGED}. No uptake in the place of the left lobe: not perfused or resected. "
        "No extrahepatic activity detected on planar views, which show about 30 % of it.",
    ),
    "a lobe is missing": (
        Facts(missing_lobe="left"),
        vocabulary.PERFUSION_INCOMPLETE,
        Presence.ABSENT,
        "Incomplete perfusion: no uptake in the place of the left lobe: not perfused or resected. "
        "No extrahepatic activity detected on planar views, which show about 30 % of it.",
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
        f"Indeterminate: {NOT_JUDGED}. No extrahepatic activity detected on planar views, which show about 30 % of it.",
    ),
    "complete": (
        Facts(seen_on="planar views and SPECT"),
        vocabulary.PERFUSION_COMPLETE,
        Presence.ABSENT,
        "Uptake in both lobes of the liver; no extrahepatic activity detected on planar views and SPECT; "
        "without a CT none is searched close to the liver.",
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
    assert ("no activity outside" in finding) <= (presence is not Presence.PRESENT and not facts.possible)


@pytest.mark.parametrize("facts", EVERY_COMBINATION)
def test_a_row_in_front_hides_nothing_that_forbids_treatment(facts: Facts) -> None:
    said = perfusion_pattern(facts).sentence

    assert all(place in said for place in facts.extrahepatic)
    assert not facts.missing_lobe or f"{facts.missing_lobe} lobe: not perfused or resected" in said
    # What is uncertain steps back behind what is certain, but never behind "complete".
    assert facts.extrahepatic or all(place in said for place in facts.possible)


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


@pytest.mark.parametrize("seen_on", ["SPECT", "planar views and SPECT"])
def test_a_spect_without_a_ct_says_where_it_does_not_look(seen_on: str) -> None:
    facts = Facts(seen_on=seen_on)

    for sentence in (perfusion_pattern(facts).sentence, extrahepatic_sentence(facts)):
        assert "none is searched close to the liver" in sentence
    assert "close to the liver" not in perfusion_pattern(Facts(seen_on="planar views and SPECT/CT")).sentence
