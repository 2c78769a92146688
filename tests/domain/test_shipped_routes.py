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


REAL_WORDS: list[tuple[str, str, str | None]] = [
    # English
    ("CT", "CT ABD PELVIS W HAI PUMP", "pump-ct"),
    ("CT", "CT ANGIO ABDOMEN HAIP PLANNING", "pump-ct"),
    ("CT", "CTA Hepatic Artery Infusion Pump Evaluation", "pump-ct"),
    ("CT", "CT LIVER 3 PHASE, hepatic art inf pump in situ", "pump-ct"),
    ("CT", "CT Abdomen: pump pocket seroma, hepatic infusion", "pump-ct"),
    ("CT", "CT ABD HAI PORTAL VENOUS", "hai-ct"),
    ("CT", "CT ABDOMEN HAI CATHETER", "hai-ct"),
    ("CT", "CT CHEST, HAI CATHETER INFECTION", "hai-alone"),
    ("CT", "HEPATIC ARTERY PERFUSION CT", None),
    ("CT", "CT PERFUSION LIVER", None),
    ("CT", "HEPATIC ARTERY INFARCTION", None),
    ("CT", "HEPATIC ARTERY INFLOW STENOSIS", None),
    ("CT", "LVAD pump, hepatic congestion", "liver-and-another-pump"),
    ("CT", "IABP balloon pump, liver laceration", "liver-and-another-pump"),
    ("CT", "Liver mets, FOLFOX via 5-FU pump", "liver-and-another-pump"),
    ("CT", "Hepatic steatosis, proton pump inhibitor", "liver-and-another-pump"),
    ("CT", "Pompe disease, hepatomegaly and liver biopsy", "liver-and-another-pump"),
    ("CT", "CT LIVER, contrast pump 4 ml/s", "liver-and-another-pump"),
    ("CT", "Cirrhosis, ascites pump (alfapump), liver", "liver-and-another-pump"),
    ("CT", "CT ABDOMEN, insulin pump", None),
    ("CT", "CT LUMBAR SPINE baclofen pump", None),
    ("CT", "CT KNEE PREPATELLAR BURSITIS PUMP", None),
    ("CT", "hepatic arterial infusion chemotherapy, port", "pump-perhaps"),
    ("CT", "CT ABDOMEN Medtronic SynchroMed II", "pump-perhaps"),
    ("MR", "MRI LIVER W/WO, INSULIN PUMP", "liver-and-another-pump"),
    ("MR", "hepatic lesion, intrathecal baclofen pump", "liver-and-another-pump"),
    ("MR", "MRI LIVER - pain pump, MR conditional", "liver-and-another-pump"),
    ("MR", "MRI ABDOMEN HAI PUMP, insulin pump removed", "pump-mr"),
    ("MR", "MR Liver with Eovist HAIP", "pump-mr"),
    ("MR", "MRI LIVER INFUSION PUMP FOLLOW UP", "pump-mr"),
    ("NM", "NM HEPATIC ARTERY PERFUSION", "perfusion-scintigraphy"),
    ("NM", "HEPATIC ARTERY PERFUSION PRE Y-90", "radioembolisation"),
    ("NM", "NM Liver Tc99m MAA via pump", "pump-scintigraphy"),
    ("NM", "NM HAI PUMP STUDY SPECT/CT", "pump-scintigraphy"),
    ("NM", "NM HAI PERFUSION LIVER", "hai-scintigraphy"),
    ("NM", "NM LUNG PERFUSION MAA", "maa-alone"),
    ("NM", "NM BOWEL STUDY", None),
    ("US", "US LIVER, HAI PUMP", "pump-other-images"),
    ("DX", "HAI PORTABLE CHEST", "hai-alone"),
    # German
    ("CT", "CT Oberbauch, Leberpumpe", "pump-ct"),
    ("CT", "CT Abdomen bei HAI-Pumpe", "pump-ct"),
    ("CT", "CT Leber triphasisch, Z.n. Pumpenimplantation", "pump-ct"),
    ("CT", "Schmerzpumpe, Leberzyste", "liver-and-another-pump"),
    ("CT", "Lebermetastasen, Insulinpumpe", "liver-and-another-pump"),
    ("CT", "Protonenpumpenhemmer, Leberwerte erhöht", "liver-and-another-pump"),
    ("CT", "Leberzirrhose, Kontrastmittelpumpe defekt", "liver-and-another-pump"),
    ("CT", "Leberarterieninfusion über Port", "pump-perhaps"),
    ("MR", "MRT Leber mit Primovist, Infusionspumpe", "pump-mr"),
    ("NM", "Leberperfusionsszintigraphie über die Pumpe", "pump-scintigraphy"),
    ("NM", "MAA-Szintigraphie vor SIRT", "radioembolisation"),
    # French
    ("CT", "TDM hépatique, pompe intra-artérielle", "pump-ct"),
    ("CT", "Scanner foie, pompe à insuline", "liver-and-another-pump"),
    ("CT", "Chimiothérapie intra-artérielle hépatique", "pump-perhaps"),
    ("CT", "Foie, inhibiteurs de la pompe à protons", "liver-and-another-pump"),
    ("MR", "IRM hépatique pompe HAI", "pump-mr"),
    ("MR", "Maladie de Pompe, IRM du foie", "liver-and-another-pump"),
    ("NM", "Scintigraphie hépatique MAA par la pompe", "pump-scintigraphy"),
    ("NM", "Radioembolisation, bilan MAA", "radioembolisation"),
    # Spanish
    ("CT", "TC hígado, bomba de infusión arterial", "pump-ct"),
    ("CT", "TAC abdomen, bomba de insulina, hígado graso", "liver-and-another-pump"),
    ("CT", "Infusión arterial hepática, port-a-cath", "pump-perhaps"),
    ("MR", "RM hepática, bomba intratecal", "liver-and-another-pump"),
    ("MR", "RM hepática, bomba arterial", "pump-mr"),
    ("NM", "Perfusión hepática por bomba", "pump-scintigraphy"),
    ("NM", "MAA previo a itrio-90", "radioembolisation"),
    # Italian
    ("CT", "TC addome, pompa per infusione arteriosa epatica", "pump-ct"),
    ("CT", "TC fegato, pompa insulinica", "liver-and-another-pump"),
    ("CT", "TC addome HAI", "hai-ct"),
    ("MR", "RM epatica, pompa antalgica", "liver-and-another-pump"),
    ("NM", "Scintigrafia epatica tramite pompa", "pump-scintigraphy"),
    ("NM", "Pre ittrio-90 MAA", "radioembolisation"),
    # Dutch
    ("CT", "CT lever na plaatsing leverpomp", "pump-ct"),
    ("CT", "CT bovenbuik HAI", "hai-ct"),
    ("CT", "CT lever, insulinepomp", "liver-and-another-pump"),
    ("MR", "MRI lever, pijnpomp", "liver-and-another-pump"),
    ("MR", "MRI lever, HAI-pomp", "pump-mr"),
    ("NM", "Leverperfusie via pomp", "pump-scintigraphy"),
    ("NM", "MAA scan voor radio-embolisatie", "radioembolisation"),
]
"""Modality, words as orders and scanners write them, and the route that decides; ``None`` where none does."""


NOT_FROM_A_REASON = ("hai-ct", "hai-scintigraphy", "maa-alone")
"""A reason is free text: no body part and no MAA is taken from it."""
PLACED_WORDS = [
    (keyword, *row)
    for keyword in ("StudyDescription", "SeriesDescription", "ReasonForTheRequestedProcedure")
    for row in REAL_WORDS
    if keyword != "ReasonForTheRequestedProcedure" or row[2] not in NOT_FROM_A_REASON
]


@pytest.mark.parametrize(("keyword", "modality", "words", "route"), PLACED_WORDS)
def test_words_of_six_languages_find_their_route(
    routes: Sequence[Route], keyword: str, modality: str, words: str, route: str | None
) -> None:
    assert decide(study(instance(modality, attributes={keyword: words})), {}, routes).route == route


def test_other_words_of_the_study_make_a_liver_pump_another_one(routes: Sequence[Route]) -> None:
    mr = instance("MR", series=1, attributes={"StudyDescription": "MRI LIVER PUMP"})
    localizer = instance("MR", series=2, attributes={"SeriesDescription": "insulin pump check"})
    assert decide(study(mr), {}, routes).route == "pump-mr"
    assert decide(study(mr, localizer), {}, routes).route == "liver-and-another-pump"


@pytest.mark.parametrize(
    "words", ["PET/CT HAI PUMP", "PET/CT LIVER HAI", "FDG PET/CT liver, infusion pump", "PET HAIP"]
)
def test_a_pet_study_that_names_the_pump_is_held_with_its_true_reason(routes: Sequence[Route], words: str) -> None:
    told = {"StudyDescription": words}
    both = study(instance("CT", series=1, attributes=told), instance("PT", series=2, attributes=told))
    decision = decide(both, {}, routes).decision
    assert isinstance(decision, Hold)
    assert "PET" in decision.reason


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
    assert isinstance(decide(both, {}, routes).decision, Hold)


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
