"""What the scintigraphy analyzer makes of headers."""

import pytest

from analyzers import vocabulary
from analyzers.contract import Accept, Code, Complete, Decline, Missing
from analyzers.scintigraphy.expectations import accepts, expects, role_of
from analyzers.scintigraphy.tracer import Agent, tracer_of
from tests.analyzers.scintigraphy_samples import TC_99M, instance, study

AGENT = "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalCodeSequence"
AGENT_TEXT = "RadiopharmaceuticalInformationSequence.Radiopharmaceutical"
NUCLIDE = "RadiopharmaceuticalInformationSequence.RadionuclideCodeSequence"
INDIUM = Code(value="37197008", scheme="SCT", meaning="^111^Indium")


def test_opposite_views_in_one_object_are_complete() -> None:
    assert isinstance(expects(study(instance())), Complete)


def test_one_detector_waits_for_the_opposite_view() -> None:
    answer = expects(study(instance(detectors=("1",), windows=("1",))))

    assert isinstance(answer, Missing)
    assert "opposite view" in answer.what[0]


def test_two_energy_windows_of_one_detector_are_not_two_views() -> None:
    answer = expects(study(instance(detectors=("1", "1"), windows=("1", "2"))))

    assert isinstance(answer, Missing)


def test_views_in_objects_of_their_own_are_two_views() -> None:
    front = instance(uid="1.2.3", detectors=("1",), windows=("1",))
    back = instance(uid="1.2.4", series="1.3", detectors=("1",), windows=("1",))

    assert isinstance(expects(study(front, back)), Complete)


def test_spect_is_awaited_where_the_order_names_one() -> None:
    header = instance(attributes={"StudyDescription": ("NM HAI PUMP MAA SPECT",)})

    assert isinstance(expects(study(header)), Missing)
    tomography = instance(uid="1.9", series="1.8", kind="RECON TOMO")
    assert isinstance(expects(study(header, tomography)), Complete)


@pytest.mark.parametrize("kind", ["DYNAMIC", "TOMO", "GATED", "RECON GATED TOMO"])
def test_images_that_show_no_distribution_are_declined_with_the_reason(kind: str) -> None:
    answer = accepts(study(instance(kind=kind)))

    assert isinstance(answer, Decline)
    assert len(answer.reason) > 20


def test_a_study_without_nuclear_medicine_is_declined() -> None:
    assert isinstance(accepts(study(instance(modality="CT"))), Decline)


def test_an_empty_study_is_declined_with_a_reason() -> None:
    answer = accepts(study())

    assert isinstance(answer, Decline)
    assert answer.reason


def test_a_colloid_scan_alone_is_declined() -> None:
    header = instance(codes={**TC_99M, AGENT: (vocabulary.SULFUR_COLLOID,)})

    assert isinstance(accepts(study(header)), Decline)


def test_colloid_and_macroaggregates_get_their_own_roles() -> None:
    maa = instance(codes={**TC_99M, AGENT: (vocabulary.MAA,)})
    colloid = instance(uid="1.9", series="1.8", attributes={AGENT_TEXT: ("Tc-99m Schwefelkolloid",)})
    answer = accepts(study(maa, colloid))

    assert isinstance(answer, Accept)
    assert answer.roles == {"1.2": "planar-maa", "1.8": "planar-colloid"}


@pytest.mark.parametrize(
    ("attributes", "role"),
    [
        ({"CorrectedImage": ("ATTN", "SCAT")}, "spect"),
        ({"CorrectedImage": ("UNIF",)}, "spect-nac"),
        ({"SeriesDescription": ("SPECT NAC",)}, "spect-nac"),
        ({"SeriesDescription": ("MAA SPECT ohne AC",)}, "spect-nac"),
        ({"SeriesDescription": ("MAA SPECT AC",)}, "spect"),
        ({}, "spect-nac"),
    ],
)
def test_attenuation_correction_of_a_spect_is_told_by_header_else_by_words(
    attributes: dict[str, tuple[str, ...]], role: str
) -> None:
    series = study(instance(kind="RECON TOMO", attributes=attributes)).series[0]

    found = role_of(series).role

    assert found is not None
    assert found.value == role


@pytest.mark.parametrize("words", ["Tc-99m MAA", "99mTc-Makroaggregate", "macroaggregated albumin", "TechneScan MAA"])
def test_macroaggregates_are_known_by_their_names(words: str) -> None:
    assert tracer_of(instance(codes={}, attributes={AGENT_TEXT: (words,)})).agent is Agent.MAA


def test_a_text_that_names_both_tracers_tells_neither() -> None:
    header = instance(codes={}, attributes={"SeriesDescription": ("MAA minus sulfur colloid",)})

    assert tracer_of(header).agent is Agent.UNKNOWN


def test_two_codings_of_technetium_are_one_nuclide() -> None:
    old = Code(value="C-163A8", scheme="SRT", meaning="^99m^Technetium")
    tracer = tracer_of(instance(codes={NUCLIDE: (vocabulary.TECHNETIUM_99M, old)}))

    assert tracer.is_technetium is True
    assert len(tracer.nuclides) == 1


def test_a_second_nuclide_is_seen() -> None:
    tracer = tracer_of(instance(codes={NUCLIDE: (vocabulary.TECHNETIUM_99M, INDIUM)}))

    assert tracer.is_technetium is False
    assert len(tracer.nuclides) == 2


def test_a_silent_header_is_no_reason_against_the_tracer() -> None:
    assert tracer_of(instance(codes={})).is_technetium is None
