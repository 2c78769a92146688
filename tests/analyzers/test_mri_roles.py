"""Sequences are told by physics before words, and what cannot be read says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzers.contract import (
    Accept,
    Complete,
    Decline,
    FrameSummary,
    InstanceSummary,
    Missing,
    SeriesSummary,
    StudySummary,
)
from analyzers.mri import ANALYZER
from analyzers.mri.expectations import study_roles
from analyzers.mri.roles import Role, first_roles
from analyzers.mri.sequences import facts_of
from analyzers.mri.thresholds import DEFAULT

GRE = {"ScanningSequence": ("GR",), "RepetitionTime": ("4.1",), "EchoTime": ("1.9",), "FlipAngle": ("11",)}
SPIN = {"ScanningSequence": ("SE",), "RepetitionTime": ("1100",), "EchoTime": ("92",), "EchoTrainLength": ("20",)}
EPI = {"ScanningSequence": ("EP", "SE"), "RepetitionTime": ("5200",), "EchoTime": ("62",)}
AGENT = {"ContrastBolusAgent": ("Gadoxetate disodium",), "ContrastBolusStartTime": ("120000",)}


def header(series: str, /, **attributes: tuple[str, ...]) -> InstanceSummary:
    return InstanceSummary(
        study_instance_uid="1",
        series_instance_uid=series,
        sop_instance_uid=f"{series}.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="MR",
        rows=128,
        columns=128,
        attributes={"ImageType": ("ORIGINAL", "PRIMARY", "M"), **attributes},
        codes={},
        frames=(),
    )


def study(*headers: InstanceSummary) -> StudySummary:
    return StudySummary(
        study_instance_uid="1",
        series=tuple(
            SeriesSummary(series_instance_uid=one.series_instance_uid, modality=one.modality, instances=(one,))
            for one in headers
        ),
    )


def role(*headers: InstanceSummary) -> Role:
    """Role of the first series of a study."""
    return study_roles(study(*headers))[headers[0].series_instance_uid].role


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("115800", Role.T1_PRE),
        ("120025", Role.T1_ARTERIAL),
        ("120110", Role.T1_PORTAL),
        ("120300", Role.T1_TRANSITIONAL),
        ("122000", Role.T1_HBP),
    ],
)
def test_contrast_phase_follows_from_the_time_since_the_injection(time: str, expected: Role) -> None:
    agent = {} if expected is Role.T1_PRE else AGENT
    other = header("9", **GRE, **AGENT, AcquisitionTime=("120025",))
    assert role(header("1", **GRE, **agent, AcquisitionTime=(time,), SeriesDescription=("t1",)), other) is expected


def test_time_outranks_a_wrong_word_and_the_reason_says_so() -> None:
    wrong = header("1", **GRE, **AGENT, AcquisitionTime=("122000",), SeriesDescription=("t1 arterial",))
    found = study_roles(study(wrong))["1"]
    assert found.role is Role.T1_HBP
    assert "t1-arterial" in found.reason
    assert not found.guessed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("t1_vibe_fs_tra_nativ", Role.T1_PRE),
        ("T1 spaetart", Role.T1_ARTERIAL),
        ("ax t1 temps portal", Role.T1_PORTAL),
        ("t1 hepatobiliaer 20min", Role.T1_HBP),
        ("t1_pv 70s", Role.T1_PORTAL),
    ],
)
def test_words_in_several_languages_tell_the_phase_where_no_time_is_known(words: str, expected: Role) -> None:
    assert role(header("1", **GRE, SeriesDescription=(words,))) is expected


def test_an_extracellular_agent_has_no_hepatobiliary_phase() -> None:
    agent = {**AGENT, "ContrastBolusAgent": ("Gadobutrol",)}
    assert role(header("1", **GRE, **agent, AcquisitionTime=("122000",))) is Role.T1_TRANSITIONAL


def test_phases_of_like_images_are_told_by_their_order_where_nothing_else_tells_them() -> None:
    agent = {"ContrastBolusAgent": ("KM",)}
    times = ("120000", "120300", "120345", "120500", "122200")
    series = [header(str(n), **GRE, **agent, AcquisitionTime=(time,)) for n, time in enumerate(times)]
    found = study_roles(study(*series))
    assert [found[str(n)].role for n in range(5)] == [
        Role.T1_PRE, Role.T1_ARTERIAL, Role.T1_PORTAL, Role.T1_TRANSITIONAL, Role.T1_HBP,
    ]  # fmt: skip
    assert all(found[str(n)].guessed for n in range(5))


def test_the_first_image_with_an_agent_is_arterial_though_two_were_made_before_it() -> None:
    agent = {"ContrastBolusAgent": ("Gadobutrol",)}
    before = [header(str(n), **GRE, AcquisitionTime=(time,)) for n, time in enumerate(("115000", "115500"))]
    after = [header(str(n), **GRE, **agent, AcquisitionTime=(time,)) for n, time in ((2, "120000"), (3, "120045"))]
    found = study_roles(study(*before, *after))
    assert [found[str(n)].role for n in range(4)] == [Role.T1_PRE, Role.T1_PRE, Role.T1_ARTERIAL, Role.T1_PORTAL]


def test_two_like_images_that_nothing_tells_apart_stay_open() -> None:
    series = [header(str(n), **GRE, AcquisitionTime=(time,)) for n, time in enumerate(("120000", "120300"))]
    assert {one.role for one in study_roles(study(*series)).values()} == {Role.T1}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("t1_vibe_dixon_tra_F", Role.T1_FAT),
        ("t1_vibe_dixon_tra_opp", Role.T1_OPPOSED),
        ("t1_vibe_dixon_tra_in", Role.T1_IN),
        ("T1 out of phase", Role.T1_OPPOSED),
        ("t1_fl2d_opp-in_tra", Role.T1),
        ("t1 fat sat tra", Role.T1_PRE),
        ("SUB arteriell - nativ", Role.UNREAD),
        ("t1 fs senza mdc", Role.T1_PRE),
    ],
)
def test_words_tell_fat_and_water_and_what_was_subtracted(words: str, expected: Role) -> None:
    assert role(header("1", **GRE, SeriesDescription=(words,))) is expected


def test_the_b_value_is_read_from_the_name_of_the_sequence() -> None:
    found = study_roles(study(header("1", **EPI, SequenceName=("*ep_b800t",))))["1"]
    assert found.role is Role.DWI
    assert "b = 800" in found.reason


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (SPIN, Role.T2),
        ({**SPIN, "EchoTrainLength": ("134",)}, Role.HASTE),
        ({**SPIN, "EchoTime": ("740",)}, Role.MRCP),
        ({**EPI, "DiffusionBValue": ("800",)}, Role.DWI),
        ({**EPI, "ImageType": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC")}, Role.ADC),
        ({**GRE, "ImageType": ("ORIGINAL", "PRIMARY", "OPP_PHASE")}, Role.T1_OPPOSED),
        ({**GRE, "ImageType": ("ORIGINAL", "PRIMARY", "IN_PHASE")}, Role.T1_IN),
        ({**GRE, "ImageType": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, Role.LOCALIZER),
        ({**GRE, "ImageType": ("DERIVED", "SECONDARY", "OTHER", "SUBTRACTION")}, Role.UNREAD),
        ({**GRE, "ImageType": ("ORIGINAL", "PRIMARY", "P")}, Role.UNREAD),
        ({**GRE, "EchoTime": ("25",)}, Role.UNREAD),
        ({}, Role.UNREAD),
    ],
)
def test_physics_tells_the_sequence(attributes: dict[str, tuple[str, ...]], expected: Role) -> None:
    found = study_roles(study(header("1", **attributes)))["1"]
    assert found.role is expected
    assert found.reason


def test_a_study_of_localizers_or_phase_images_is_declined_with_the_reason() -> None:
    localizer = header("1", **GRE, SeriesDescription=("localizer",))
    phases = header("2", **{**GRE, "ImageType": ("ORIGINAL", "PRIMARY", "P")})
    answer = ANALYZER.accepts(study(localizer, phases))
    assert isinstance(answer, Decline)
    assert "localizer" in answer.reason
    assert "phase images" in answer.reason


def test_a_study_without_mr_is_declined() -> None:
    assert isinstance(ANALYZER.accepts(study(replace(header("1"), modality="CT"))), Decline)


def test_an_ordered_hepatobiliary_phase_is_waited_for() -> None:
    arterial = header("1", **GRE, **AGENT, AcquisitionTime=("120025",))
    diffusion = header("2", **EPI, DiffusionBValue=("800",))
    late = header("3", **GRE, **AGENT, AcquisitionTime=("122000",))
    waiting = ANALYZER.expects(study(arterial, diffusion))
    assert isinstance(waiting, Missing)
    assert "hepatobiliary" in waiting.what[0]
    assert isinstance(ANALYZER.expects(study(arterial, diffusion, late)), Complete)
    assert isinstance(ANALYZER.accepts(study(arterial, diffusion)), Accept)


def test_the_phases_of_a_dynamic_series_in_one_object_are_told_by_the_time_of_their_frames() -> None:
    moments = ("20260102115800", "20260102120025", "20260102120110", "20260102122000")
    frames = tuple(
        FrameSummary(frame=number, attributes={"FrameAcquisitionDateTime": (moment,)})
        for number, moment in enumerate(moments, 1)
    )
    one = replace(header("1", **GRE, **AGENT, AcquisitionDateTime=(moments[0],)), frames=frames)
    found = first_roles([facts_of(one, frame_number=number) for number in (1, 2, 3, 4)], DEFAULT.series)
    assert [role.role for role in found] == [Role.T1_PRE, Role.T1_ARTERIAL, Role.T1_PORTAL, Role.T1_HBP]


@pytest.mark.parametrize("text", ["NaN", "inf", "-inf"])
def test_a_number_of_the_header_that_is_not_finite_counts_as_not_stated(text: str) -> None:
    facts = facts_of(header("1", EchoTime=(text,), RepetitionTime=(text,), DiffusionBValue=(text,)))
    assert (facts.echo_ms, facts.repetition_ms, facts.b_value) == (None, None, None)
