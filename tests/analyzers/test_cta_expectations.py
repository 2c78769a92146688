"""What the CT analyzer concludes from headers alone."""

from __future__ import annotations

import pytest

from analyzers.contract import Accept, Complete, Decline, Missing, SeriesSummary
from analyzers.cta.expectations import accepts, expects, reading_order, series_roles
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

    assert reading_order(summary) == (("1.4",), ("1.3", "1.1"))
    answer = accepts(summary)
    assert isinstance(answer, Accept)
    assert dict(answer.roles) == {"1.1": "portal", "1.3": "portal", "1.4": "arterial"}
    assert "2 of 4 series to read (arterial, portal), 1 more in reserve" in answer.reason


def test_a_complete_thick_series_goes_before_a_thin_one_with_a_gap() -> None:
    gap = [float(height) for height in range(40) if height != 17]

    order = reading_order(study(headers("1.1", heights_mm=gap), headers("1.2", thickness_mm=5.0)))

    assert order == (("1.2", "1.1"),)


def test_a_series_of_the_whole_trunk_goes_before_a_thinner_cropped_one() -> None:
    cropped = headers("1.1", thickness_mm=1.0, pixel_mm=3.0, began="100000")
    whole = headers("1.2", thickness_mm=5.0, pixel_mm=6.0, began="100000")

    assert reading_order(study(cropped, whole)) == (("1.2", "1.1"),)


def test_series_of_the_same_name_at_other_times_are_phases_of_their_own() -> None:
    summary = study(
        headers("1.1", description="ARTERIAL 1.0", began="100000"),
        headers("1.2", description="ARTERIAL 3.0", thickness_mm=3.0, began="100002"),
        headers("1.3", description="ARTERIAL 1.0", began="100015"),
        headers("1.4", description="ARTERIAL BONE", kernel="B70f", began="100016"),
        headers("1.5", description="ARTERIAL LUNG", kernel="B80f", began="100000"),
    )

    assert reading_order(summary) == (("1.1", "1.2"), ("1.3", "1.4"))
    reasons = {role.series_instance_uid: role.reason for role in series_roles(summary)}
    assert reasons["1.5"] == "another reconstruction of the same acquisition is read"


def test_reconstructions_without_a_phase_name_are_told_from_phases_by_their_time() -> None:
    summary = study(
        *(headers(f"1.{n}", description="ABD W/O & W", began="100000", thickness_mm=n) for n in range(1, 4)),
        headers("1.8", description="ABD W/O & W", began="100030"),
        headers("1.9", description="ABD W/O & W", began="100110"),
    )

    assert [group[0] for group in reading_order(summary)] == ["1.1", "1.8", "1.9"]


def test_without_times_an_unread_series_is_not_said_to_be_the_same_scan() -> None:
    summary = study(*(headers(f"1.{number}", description="arterial", thickness_mm=number) for number in (1, 2, 3)))

    (left,) = [role for role in series_roles(summary) if not role.role]

    assert left.series_instance_uid == "1.3"
    assert "no times tell" in left.reason


def test_no_more_acquisitions_are_read_than_memory_allows_and_each_phase_comes_first() -> None:
    arterial = [headers(f"1.{n}", description="arterial", began=f"1000{10 * n:02d}") for n in range(5)]
    summary = study(*arterial, headers("2.1", description="portal"), headers("2.2", description="native"))

    order = reading_order(summary)

    assert len(order) == DEFAULT.series.most_acquisitions
    assert {group[0] for group in order} >= {"2.1", "2.2"}
    assert any("4 other acquisitions are read" in role.reason for role in series_roles(summary))


@pytest.mark.parametrize("description", ["Abdomen portal low dose 2.5", "LOWDOSE native", "Half dose contrast"])
def test_a_low_dose_scan_is_a_scan(description: str) -> None:
    assert isinstance(accepts(study(headers(description=description))), Accept)


@pytest.mark.parametrize("description", ["Dose Report", "DOSE INFO", "Dosisbericht", "Patient Protocol"])
def test_pages_about_the_dose_are_no_scan(description: str) -> None:
    assert isinstance(accepts(study(headers(description=description))), Decline)


def test_an_iodine_map_beside_the_scan_is_left_with_its_unit() -> None:
    summary = study(headers("1.1", description="Iodine", rescale_type="MGML"), headers("1.2", rescale_type="HU"))

    assert reading_order(summary) == (("1.2",),)
    (left,) = [role for role in series_roles(summary) if not role.role]
    assert left.reason == "values in MGML, not in Hounsfield units"


NAMES = {
    Phase.NATIVE: (
        "CTA Abd native 5.0",
        "Abdomen nativ",
        "ABD W/O",
        "Liver WO 5.0",
        "ABDOMEN WITHOUT CONTRAST",
        "Non Contrast 5.0",
        "NON-CON",
        "noncontrast Liver",
        "Precontrast",
        "PRE CONTRAST 2.5",
        "Leber ohne KM",
        "Oberbauch nativphase",
        "Sans injection",
        "ABDO SANS IV",
        "SIN CONTRASTE",
        "Fase sin contraste",
        "Senza mdc",
        "Unenhanced liver",
        "Plain abdomen",
        "NECT Liver",
        "CTA Liver w/o",
        "Abdomen low dose nativ",
        "Abdomen nativ 5.0",
    ),
    Phase.ARTERIAL: (
        "CTA Abd arterial 2.5",
        "CTA Liver ART",
        "Leber spaetarteriell",
        "Oberbauch spätarteriell",
        "Oberbauch spa\u0308tarteriell",
        "Leber frueharteriell",
        "LATE ARTERIAL",
        "Early arterial 1.0",
        "ART PHASE",
        "A. hepatica arteriell 1.0 B30f",
        "Temps artériel",
        "ARTERIEL PRECOCE",
        "Fase arterial",
        "FASE ARTERIOSA",
        "Arteriale tardiva",
        "Spaetart. 1.0",
        "CT Angiography abdomen",
        "CTA",
        "Angio Abdomen",
        "Liver_arterial_1mm",
        "ABD W/O & W ARTERIAL",
        "Leber arteriell 1.0 B30f",
    ),
    Phase.PORTAL: (
        "CTA Abd venous 2.5",
        "CTA Liver PV delayed",
        "Leber portalvenoes",
        "Oberbauch portalvenös",
        "PVP 3.0",
        "Portal venous",
        "Thorax-Abdomen venös",
        "VENOUS PHASE",
        "Temps portal",
        "PORTALE",
        "Fase portal",
        "Fase venosa portale",
        "Abdomen ven. 3.0",
        "TEMPS VEINEUX",
        "Portovenous",
        "Fase venosa",
        "Leber PV 1.0",
        "Abdomen_venous",
    ),
    Phase.DELAYED: (
        "ABD DELAYED 5MIN",
        "Delay 3 min",
        "Spaetphase",
        "Spätphase 5 min",
        "Tardif",
        "Fase tardía",
        "Late phase",
        "EQUILIBRIUM",
        "Fase di equilibrio",
        "Excretory",
    ),
    Phase.UNKNOWN: (
        "ABD W/O & W",
        "Abdomen w/o and w",
        "ABD W WO",
        "LIVER W/WO",
        "WITH AND WITHOUT",
        "Abdomen ohne und mit KM",
        "Abdomen mit/ohne",
        "Sans et avec",
        "Sin y con contraste",
        "CT Body 3.0",
        "Partial abdomen",
        "PORTABLE ABDOMEN",
        "Port-a-cath control",
        "Start 1.0",
        "Plate",
        "Cartilage",
        "Abdomen 1.0 I40f 3",
    ),
}
"""Series descriptions as hospitals write them, in English, German, French, Spanish and Italian."""


@pytest.mark.parametrize(("text", "phase"), [(text, phase) for phase, texts in NAMES.items() for text in texts])
def test_phase_is_read_from_whole_words(text: str, phase: Phase) -> None:
    assert phase_in_words(text) is phase


@pytest.mark.parametrize(
    ("aorta_hu", "liver_hu", "phase"),
    [
        (42.0, 57.0, Phase.NATIVE),
        (340.0, 78.0, Phase.ARTERIAL),
        (155.0, 112.0, Phase.PORTAL),
        (75.0, 95.0, Phase.DELAYED),
        (40.0, 90.0, Phase.NATIVE),
        (None, 57.0, Phase.UNKNOWN),
    ],
)
def test_measured_attenuation_names_the_phase(aorta_hu: float | None, liver_hu: float, phase: Phase) -> None:
    assert phase_of(aorta_hu, liver_hu, "", DEFAULT.phase).phase is phase


def test_a_header_that_contradicts_the_attenuation_does_not_win() -> None:
    evidence = phase_of(42.0, 57.0, "Liver arterial", DEFAULT.phase)

    assert evidence.phase is Phase.NATIVE
    assert evidence.contradicted
