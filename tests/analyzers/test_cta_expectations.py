"""What the CT analyzer concludes from headers alone."""

from __future__ import annotations

import pytest

from analyzers.contract import Accept, Complete, Decline, Missing, SeriesSummary
from analyzers.cta.expectations import accepts, expects, series_roles
from analyzers.cta.phase import Phase, phase_in_words, phase_of
from analyzers.cta.thresholds import DEFAULT
from tests.analyzers.cta_samples import CORONAL, headers, study


def test_study_is_complete_when_its_axial_series_has_no_gap() -> None:
    assert isinstance(expects(study(headers())), Complete)


def test_study_is_not_complete_while_a_plane_between_the_ends_is_missing() -> None:
    heights_mm = [float(height) for height in range(40) if height != 17]

    answer = expects(study(headers(heights_mm=heights_mm)))

    assert isinstance(answer, Missing)
    assert "1 planes missing, the first above z = 16.0 mm" in answer.what[0]


def test_study_is_not_complete_before_any_axial_series_has_come() -> None:
    scout = headers(image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), heights_mm=[0.0])

    assert isinstance(expects(study(scout)), Missing)


def test_two_phases_at_the_same_heights_are_no_gap() -> None:
    twice = [float(height) for height in range(40)] * 2

    assert isinstance(expects(study(headers(heights_mm=twice))), Complete)


@pytest.mark.parametrize(
    ("reason", "series"),
    [
        ("scout", headers(image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))),
        ("not axial", headers(orientation=CORONAL)),
        ("projection", headers(description="Liver MIP")),
        ("images", headers(heights_mm=range(4))),
        ("slices of 20 mm", headers(thickness_mm=20.0)),
    ],
)
def test_pictures_that_are_no_axial_scan_are_left_unread_with_a_reason(reason: str, series: SeriesSummary) -> None:
    summary = study(series)

    (role,) = series_roles(summary)

    assert role.role == ""
    assert reason in role.reason
    assert isinstance(accepts(summary), Decline)


def test_study_without_ct_is_declined() -> None:
    answer = accepts(study(headers(modality="MR")))

    assert answer == Decline(reason="no CT in the study")


def test_the_thin_soft_series_is_read_and_its_copies_are_not() -> None:
    summary = study(
        headers("1.1", thickness_mm=5.0),
        headers("1.2", thickness_mm=1.0, kernel="B70f"),
        headers("1.3", thickness_mm=1.0),
        headers("1.4", thickness_mm=1.0, description="Liver arterial"),
    )

    answer = accepts(summary)

    assert isinstance(answer, Accept)
    assert dict(answer.roles) == {"1.3": "portal", "1.4": "arterial"}


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        ("Abdomen nativ 5.0", Phase.NATIVE),
        ("Leber arteriell 1.0 B30f", Phase.ARTERIAL),
        ("Thorax-Abdomen portalvenös", Phase.PORTAL),
        ("Abdomen_venous", Phase.PORTAL),
        ("LATE ARTERIAL", Phase.ARTERIAL),
        ("ABD DELAYED 5MIN", Phase.DELAYED),
        ("CT Body 3.0", Phase.UNKNOWN),
        ("Partial abdomen", Phase.UNKNOWN),
    ],
)
def test_phase_is_read_from_whole_words(text: str, phase: Phase) -> None:
    assert phase_in_words(text) is phase


@pytest.mark.parametrize(
    ("aorta_hu", "liver_hu", "phase"),
    [
        (42.0, 57.0, Phase.NATIVE),
        (340.0, 78.0, Phase.ARTERIAL),
        (155.0, 112.0, Phase.PORTAL),
        (75.0, 95.0, Phase.DELAYED),
        (None, 57.0, Phase.UNKNOWN),
    ],
)
def test_measured_attenuation_names_the_phase(aorta_hu: float | None, liver_hu: float, phase: Phase) -> None:
    assert phase_of(aorta_hu, liver_hu, "", DEFAULT.phase).phase is phase


def test_a_header_that_contradicts_the_attenuation_does_not_win() -> None:
    evidence = phase_of(42.0, 57.0, "Liver arterial", DEFAULT.phase)

    assert evidence.phase is Phase.NATIVE
    assert evidence.contradicted
