"""From a phantom study to the answer that a surgeon reads, over the whole analyzer."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from analyzers import vocabulary
from analyzers.contract import Accept, AnalysisResult, Assessed, Decline, Declined, Grade, NotAssessable, Presence
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.result_check import check_pictures, check_result
from analyzers.scintigraphy import ANALYZER
from analyzers.volume import StudyImages

SEED = 71


def answered(folder: Path, *variants: str, seed: int = SEED) -> tuple[AnalysisResult, StudyImages]:
    """Make a phantom and ask the analyzer."""
    make_phantom(PhantomRequest(kind="scintigraphy", seed=seed, variants=tuple(sorted(variants))), folder)
    study = open_study(folder / "dicom")
    acceptance = ANALYZER.accepts(study.summary)
    if isinstance(acceptance, Decline):
        return Declined(reason=acceptance.reason), study
    assert isinstance(acceptance, Accept)
    images = study.with_roles(acceptance.roles)
    return ANALYZER.analyze(images, ()), images


def assessed(folder: Path, *variants: str, seed: int = SEED) -> Assessed:
    result, _ = answered(folder, *variants, seed=seed)
    assert isinstance(result, Assessed)
    return result


def corrected_shunt_fraction(result: Assessed) -> float:
    return next(m.value for m in result.measurements if m.key == "lung_shunt_fraction_corrected")


def category(result: Assessed) -> str:
    value = result.findings[0].value
    assert value is not None
    return value.value


def test_a_complete_study_says_so_and_states_its_low_sensitivity(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "complete")

    assert category(result) == vocabulary.PERFUSION_COMPLETE.value
    assert result.findings[1].presence is Presence.ABSENT
    assert any("30 %" in text for text in result.limitations)


def test_the_interval_of_the_lung_shunt_holds_the_truth(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "complete")
    truth = json.loads((tmp_path / "p" / "truth.json").read_text(encoding="utf-8"))
    true = {entry["key"]: entry for entry in truth["measurements"]}
    values = {measurement.key: measurement for measurement in result.measurements}

    for key in ("lung_shunt_fraction", "lung_shunt_fraction_corrected"):
        assert values[key].value == pytest.approx(true[key]["value"], abs=true[key]["tolerance"])
    corrected = values["lung_shunt_fraction_corrected"]
    assert "interval" not in corrected.remark, "one value, one interval"
    assert corrected.interval is not None
    assert corrected.interval.high is not None
    assert corrected.interval.low <= true["lung_shunt_fraction"]["value"] <= corrected.interval.high


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_lobe_without_uptake_is_not_perfused_or_resected(tmp_path: Path, side: str) -> None:
    result = assessed(tmp_path / "p", f"missing-{side}-lobe")

    assert category(result) == vocabulary.PERFUSION_INCOMPLETE.value
    assert f"unless the {side} lobe was resected" in result.conclusion
    shunt = next(m for m in result.measurements if m.key == "lung_shunt_fraction_corrected")
    assert shunt.grade is Grade.LIMITED


def test_an_extrahepatic_focus_is_numbered_outlined_and_weighed(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "extrahepatic-duodenum", "strong", seed=1002)

    # It hangs from the lower edge of the liver, so it is either called suspected or said not to stand apart.
    assert category(result) in {vocabulary.PERFUSION_EXTRAHEPATIC.value, vocabulary.PERFUSION_INDETERMINATE.value}
    assert "duodenum" in result.conclusion
    focus = next(region for region in result.regions if region.name == "focus-1")
    assert {outline.frame.frame for outline in focus.outlines} == {1, 2}
    assert {m.key for m in result.measurements if m.subject == "focus-1"} == {
        "extrahepatic_share",
        "extrahepatic_peak",
        "extrahepatic_significance",
    }


def test_tracer_spilt_round_the_pump_makes_the_study_non_diagnostic(tmp_path: Path) -> None:
    assert category(assessed(tmp_path / "p", "pocket-extravasation")) == vocabulary.PERFUSION_NON_DIAGNOSTIC.value


def without_clock(folder: Path) -> None:
    """Take the acquisition times from the headers, so that residue of colloid cannot be scaled."""
    for file in sorted(path for path in (folder / "dicom").rglob("*") if path.is_file()):
        dataset = pydicom.dcmread(file)
        dataset.AcquisitionTime = None
        dataset.save_as(file)


def colloid_result(folder: Path, *variants: str, clock: bool = True) -> Assessed:
    """A study with a colloid scan, with or without times in its headers."""
    variants = tuple(sorted(("sulfur-colloid", *variants)))
    make_phantom(PhantomRequest(kind="scintigraphy", seed=SEED, variants=variants), folder)
    if not clock:
        without_clock(folder)
    study = open_study(folder / "dicom")
    acceptance = ANALYZER.accepts(study.summary)
    assert isinstance(acceptance, Accept)
    result = ANALYZER.analyze(study.with_roles(acceptance.roles), ())
    assert isinstance(result, Assessed)
    return result


def test_uptake_of_the_spleen_over_unscaled_colloid_is_indeterminate_in_headline_and_finding(tmp_path: Path) -> None:
    result = colloid_result(tmp_path / "p", clock=False)

    assert category(result) == vocabulary.PERFUSION_INDETERMINATE.value
    assert result.findings[1].presence is Presence.INDETERMINATE
    assert "residue of the colloid" in result.conclusion
    assert "no extrahepatic" not in result.conclusion.lower()
    assert any("cannot be scaled" in text for text in result.limitations)


def test_a_lung_shunt_over_residue_of_colloid_is_never_graded_good(tmp_path: Path) -> None:
    result = colloid_result(tmp_path / "p", clock=False)
    (shunt,) = (m for m in result.measurements if m.key == "lung_shunt_fraction_corrected")

    assert shunt.grade is Grade.LIMITED
    assert "perhaps too low" in shunt.remark


def test_residue_of_colloid_that_can_be_scaled_is_subtracted(tmp_path: Path) -> None:
    plain = assessed(tmp_path / "plain", "complete")
    cleaned = colloid_result(tmp_path / "cleaned")
    left = colloid_result(tmp_path / "left", clock=False)

    assert category(cleaned) == vocabulary.PERFUSION_COMPLETE.value
    assert corrected_shunt_fraction(cleaned) == pytest.approx(corrected_shunt_fraction(plain), rel=0.15)
    assert corrected_shunt_fraction(left) < 0.75 * corrected_shunt_fraction(plain)
    assert any("residue of colloid scaled" in text for text in cleaned.limitations)


def test_a_perfused_spleen_is_still_suspected_after_colloid_was_subtracted(tmp_path: Path) -> None:
    result = colloid_result(tmp_path / "p", "extrahepatic-spleen")

    assert category(result) == vocabulary.PERFUSION_EXTRAHEPATIC.value
    assert "spleen" in result.conclusion


def test_the_perfused_share_of_the_colloid_outline_falls_with_a_missing_lobe(tmp_path: Path) -> None:
    whole = colloid_result(tmp_path / "whole")
    part = colloid_result(tmp_path / "part", "missing-left-lobe")

    def shares(result: Assessed) -> list[float]:
        return [m.value for m in result.measurements if m.key.startswith("perfused_outline_share")]

    assert len(shares(whole)) == 3
    assert shares(whole) == sorted(shares(whole), reverse=True)
    assert shares(part)[0] < shares(whole)[0] - 0.1


@pytest.mark.parametrize(
    "variant", ["views-by-startangle", "views-by-text", "german", "separate-views", "scatter-window"]
)
def test_the_number_does_not_depend_on_how_the_views_are_named(tmp_path: Path, variant: str) -> None:
    plain = assessed(tmp_path / "plain", "complete")
    named = assessed(tmp_path / "named", variant)

    def shunt(result: Assessed) -> float:
        return next(m.value for m in result.measurements if m.key == "lung_shunt_fraction_corrected")

    assert shunt(named) == pytest.approx(shunt(plain), rel=0.1)


@pytest.mark.parametrize(
    ("variant", "word"), [("no-posterior", "posterior"), ("dual-isotope", "nuclides"), ("low-counts", "kcounts")]
)
def test_bad_input_gives_a_reason_and_no_number(tmp_path: Path, variant: str, word: str) -> None:
    result, images = answered(tmp_path / "p", variant)

    assert isinstance(result, NotAssessable)
    assert any(word in reason for reason in result.reasons)
    check_pictures(ANALYZER.illustrate(images, result))


def test_lungs_nearly_as_bright_as_the_liver_are_not_taken_for_liver(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "lung-shunt-high", seed=2060)
    truth = json.loads((tmp_path / "p" / "truth.json").read_text(encoding="utf-8"))
    true = next(m["value"] for m in truth["measurements"] if m["key"] == "lung_shunt_fraction")

    assert true > 0.25
    assert corrected_shunt_fraction(result) == pytest.approx(true, rel=0.2)


def test_what_an_unperfused_right_lobe_still_holds_is_no_focus(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "missing-right-lobe", seed=2041)

    assert category(result) == vocabulary.PERFUSION_INCOMPLETE.value
    assert not any(region.name.startswith("focus") for region in result.regions)


def test_a_scan_of_another_tracer_is_declined(tmp_path: Path) -> None:
    result, _ = answered(tmp_path / "p", "not-hai")

    assert isinstance(result, Declined)


def test_planar_and_spect_together_keep_the_contract_and_draw_two_pages(tmp_path: Path) -> None:
    result, images = answered(tmp_path / "p", "spect", "extrahepatic-stomach")

    check_result(result)
    assert isinstance(result, Assessed)
    assert {segment.name for segment in result.segments} >= {"perfused-liver"}
    pages = ANALYZER.illustrate(images, result)
    check_pictures(pages)
    assert [page.name for page in pages] == ["planar", "spect"]
    again = ANALYZER.illustrate(images, result)
    assert all(np.array_equal(first.rgb, second.rgb) for first, second in zip(pages, again, strict=True))


def test_every_outline_is_a_polygon_inside_its_frame(tmp_path: Path) -> None:
    result, images = answered(tmp_path / "p", "extrahepatic-spleen")
    assert isinstance(result, Assessed)
    rows_columns = {
        (instance.sop_instance_uid): (instance.rows or 0, instance.columns or 0)
        for series in images.summary.series
        for instance in series.instances
    }
    for region in result.regions:
        for outline in region.outlines:
            points = np.asarray(outline.points_col_row)
            rows, columns = rows_columns[outline.frame.sop_instance_uid]
            assert len(points) > 5
            assert points.min() >= 0.0
            assert points[:, 0].max() <= columns
            assert points[:, 1].max() <= rows


def test_a_whole_body_scan_is_read(tmp_path: Path) -> None:
    result = assessed(tmp_path / "p", "whole-body")

    assert any(role.role == "whole-body" for role in result.roles)
    assert any(measurement.key == "lung_shunt_fraction" for measurement in result.measurements)
