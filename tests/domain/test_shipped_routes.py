"""The routes that are shipped: which study goes where, traps included."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp_node.domain.routing import Analyze, Hold, Ignore, Route, Routed, RouteDecision, Sender, decide
from scp_node.settings.routes import RoutesFile
from tests.domain.summaries import STUDY_UID, instance, study

CONFIG = Path(__file__).resolve().parents[2] / "config" / "routes.toml"


@pytest.fixture(scope="module")
def routes() -> Sequence[Route]:
    return RoutesFile.model_validate(tomllib.loads(CONFIG.read_text(encoding="utf-8"))).routes()


def decided(routes: Sequence[Route], modality: str, description: str, **attributes: str) -> RouteDecision:
    return decide(
        study(instance(modality, attributes={"StudyDescription": description, **attributes})), {}, routes
    ).decision


@pytest.mark.parametrize(
    ("modality", "description", "analyzer"),
    [
        ("NM", "NM HAI PUMP PERFUSION MAA", "scintigraphy"),
        ("NM", "HEPATIC ARTERY PERFUSION", "scintigraphy"),
        ("NM", "MAA Leberpumpe Szintigraphie", "scintigraphy"),
        ("NM", "Perfusionsszintigraphie Leber über Pumpe", "scintigraphy"),
        ("NM", "NM_LIVER_HAI_MAA", "scintigraphy"),
        ("CT", "CT ABDOMEN HAI PUMP PRE", "cta"),
        ("CT", "CT LIVER HAIP POST OP", "cta"),
        ("CT", "CT ABDOMEN W CONTRAST HAI", "cta"),
        ("CT", "CT Abdomen, Intera 3000 pump", "cta"),
        ("MR", "MRI LIVER HAI PUMP FOLLOW UP", "mri"),
        ("MR", "IRM foie, pompe artérielle", "mri"),
    ],
)
def test_a_study_that_names_the_pump_is_analysed(
    routes: Sequence[Route], modality: str, description: str, analyzer: str
) -> None:
    decision = decided(routes, modality, description)
    assert isinstance(decision, Analyze)
    assert decision.analyzers == (analyzer,)


@pytest.mark.parametrize("description", ["CT CHEST HAI SURVEILLANCE", "HAI", "CT HEAD HAI"])
def test_hai_that_may_be_a_hospital_infection_is_held(routes: Sequence[Route], description: str) -> None:
    assert isinstance(decided(routes, "CT", description), Hold)


@pytest.mark.parametrize("description", ["SHAIKH LIVER", "THAI COHORT", "CHAIR ABDOMEN", "HAIR LIVER", "HAI2 ABD"])
def test_hai_inside_another_word_is_no_sign(routes: Sequence[Route], description: str) -> None:
    assert isinstance(decided(routes, "CT", description), Ignore)


@pytest.mark.parametrize(
    "description",
    [
        "Y90 MAPPING MAA",
        "Y-90 PLANNING LIVER",
        "SIRT MAPPING",
        "PRE TARE MAA LIVER SPECT",
        "RADIOEMBOLIZATION PLANNING",
        "Radioembolisation Leber",
        "TheraSphere work up",
        "SIR-Spheres MAA",
        "NM 90Y MAPPING",
    ],
)
def test_a_radioembolisation_mapping_is_ignored_with_its_reason(routes: Sequence[Route], description: str) -> None:
    decision = decided(routes, "NM", description)
    assert isinstance(decision, Ignore)
    assert "radioembolisation" in decision.reason


def test_a_pump_word_beside_a_radioembolisation_word_is_analysed(routes: Sequence[Route]) -> None:
    assert isinstance(decided(routes, "NM", "MAA via liver pump, prior Y90"), Analyze)


def test_hai_beside_a_radioembolisation_word_is_held(routes: Sequence[Route]) -> None:
    assert isinstance(decided(routes, "NM", "HAI OR Y90 MAPPING LIVER"), Hold)


@pytest.mark.parametrize("description", ["TARGET LIVER", "STARE", "PROSPECTIVE Y900 STUDY"])
def test_letters_around_an_abbreviation_make_another_word(routes: Sequence[Route], description: str) -> None:
    assert decided(routes, "CT", description) == decided(routes, "CT", "CT LIVER")


def test_maa_alone_is_held(routes: Sequence[Route]) -> None:
    code = {"RadiopharmaceuticalInformationSequence.RadiopharmaceuticalCodeSequence": [("85693008", "SCT")]}
    routed = decide(study(instance("NM", attributes={"StudyDescription": "NM LIVER"}, codes=code)), {}, routes)
    assert isinstance(routed.decision, Hold)
    assert routed.route == "maa-alone"


def test_the_playbook_code_of_liver_perfusion_alone_is_held(routes: Sequence[Route]) -> None:
    code = {"ProcedureCodeSequence": [("RPID5457", "RADLEX")]}
    assert isinstance(decide(study(instance("NM", codes=code)), {}, routes).decision, Hold)


def test_a_pump_code_is_enough_without_any_text(routes: Sequence[Route]) -> None:
    code = {"RequestedProcedureCodeSequence": [("36260", "C4")]}
    assert isinstance(decide(study(instance("CT", codes=code)), {}, routes).decision, Analyze)


@pytest.mark.parametrize("part", ["ABDOMEN", "LIVER"])
def test_a_body_part_alone_never_routes(routes: Sequence[Route], part: str) -> None:
    for modality in ("CT", "MR", "NM"):
        decision = decided(routes, modality, "", BodyPartExamined=part)
        assert isinstance(decision, Ignore)


@pytest.mark.parametrize("description", ["SYNCHROMED PUMP SPINE", "HAIC port check abdomen"])
def test_other_pumps_and_infusions_are_held(routes: Sequence[Route], description: str) -> None:
    assert isinstance(decided(routes, "CT", description), Hold)


def test_an_insulin_pump_is_no_sign(routes: Sequence[Route]) -> None:
    assert isinstance(decided(routes, "CT", "CT ABDOMEN insulin pump"), Ignore)


@pytest.mark.parametrize(("modality", "analyzer"), [("CT", "cta"), ("MR", "mri"), ("NM", "scintigraphy")])
def test_the_forcing_ae_title_outranks_every_text(routes: Sequence[Route], modality: str, analyzer: str) -> None:
    told = study(instance(modality, attributes={"StudyDescription": "Y90 MAPPING"}))
    senders = {f"{STUDY_UID}.1": Sender(called_aes=frozenset({"HAI_FORCE"}), calling_aes=frozenset())}
    assert decide(told, senders, routes).decision == Analyze(analyzers=(analyzer,), peers=("pacs",))


def test_the_forcing_ae_title_without_a_readable_modality_is_held(routes: Sequence[Route]) -> None:
    senders = {f"{STUDY_UID}.1": Sender(called_aes=frozenset({"HAI_FORCE"}), calling_aes=frozenset())}
    assert isinstance(decide(study(instance("US")), senders, routes).decision, Hold)


def test_a_hybrid_study_goes_to_scintigraphy(routes: Sequence[Route]) -> None:
    told = {"StudyDescription": "HAI PUMP MAA SPECT/CT"}
    both = study(instance("CT", series=1, attributes=told), instance("NM", series=2, attributes=told))
    assert decide(both, {}, routes).decision == Analyze(analyzers=("scintigraphy",), peers=("pacs",))


def test_a_pet_ct_is_not_read_as_ct_angiography(routes: Sequence[Route]) -> None:
    told = {"StudyDescription": "PET/CT HAI PUMP"}
    both = study(instance("CT", series=1, attributes=told), instance("PT", series=2, attributes=told))
    assert not isinstance(decide(both, {}, routes).decision, Analyze)


def test_a_study_without_any_sign_is_ignored_with_a_reason(routes: Sequence[Route]) -> None:
    routed = decide(study(instance("CT", attributes={"StudyDescription": "CT KNEE"})), {}, routes)
    assert isinstance(routed.decision, Ignore)
    assert routed.decision.reason
    assert routed.route is None
    assert [entry.route for entry in routed.examined] == [route.name for route in routes]


@given(text=st.text(max_size=64), modality=st.sampled_from(["CT", "MR", "NM", "US", "SR", ""]))
def test_any_text_gets_a_decision_and_a_reason(text: str, modality: str) -> None:
    shipped = RoutesFile.model_validate(tomllib.loads(CONFIG.read_text(encoding="utf-8"))).routes()
    routed: Routed = decide(study(instance(modality, attributes={"SeriesDescription": text})), {}, shipped)
    match routed.decision:
        case Analyze(analyzers=analyzers):
            assert analyzers
        case Ignore(reason=reason) | Hold(reason=reason):
            assert reason
