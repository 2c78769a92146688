"""Thresholds: listed with unit and explanation, replaced by what a site wrote, and used by the analyzers."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from analyzers.__main__ import ANSWERED, BAD_INPUT, main
from analyzers.contract import Accept, Analyzer, Complete, Decline, Missing, NotAssessable, StudySummary
from analyzers.registry import NotAnAnalyzerError, find_analyzer, registered
from analyzers.threshold_files import as_toml, threshold_faults
from analyzers.thresholds import (
    ThresholdsError,
    adjusted,
    applied,
    changed,
    digest_of,
    listed,
    why_unusable,
)
from analyzers.wire import read_result, threshold_faults_from_json
from tests.analyzers import cta_samples
from tests.analyzers import dicom_samples as sample

SHIPPED = sorted(registered())


@dataclass(frozen=True, kw_only=True)
class OrganThresholds:
    volume_ml: tuple[float, float] = (500.0, 4000.0)
    """Gate: less or more is not
    believed."""
    left_share_fraction: float = 0.6
    fewest_images: int = 15
    above_hu: float = 5.0
    looks_twice: bool = True
    side: str = "right"


@dataclass(frozen=True, kw_only=True)
class ToyThresholds:
    least_mm: float = 2.0
    most_mm: float = 8.0
    organ: OrganThresholds = field(default_factory=OrganThresholds)

    def __post_init__(self) -> None:
        if self.least_mm > self.most_mm:
            raise ValueError("least_mm is at most most_mm")


@dataclass(frozen=True)
class Unusable:
    names: tuple[str, ...] = ()


@dataclass
class Mutable:
    least_mm: float = 1.0


def faults(overrides: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ThresholdsError) as refusal:
        applied(ToyThresholds(), overrides)
    return {fault.path: f"{fault.what}: {fault.remedy}" for fault in refusal.value.faults}


def toy(thresholds: ToyThresholds) -> Analyzer:
    return Analyzer(
        name="toy",
        version="1.0.0",
        expects=lambda _study: Complete(reason=f"{thresholds.least_mm:g} mm"),
        accepts=lambda _study: Decline(reason=f"{thresholds.least_mm:g} mm"),
        analyze=lambda _images, _priors: NotAssessable(reasons=("never",)),
        illustrate=lambda _images, _result: (),
        thresholds=thresholds,
        with_thresholds=toy,
    )


def test_what_a_site_did_not_write_keeps_its_default() -> None:
    made = applied(ToyThresholds(), {"organ": {"volume_ml": [400, 4500]}, "least_mm": 3})

    assert made == ToyThresholds(least_mm=3.0, organ=OrganThresholds(volume_ml=(400.0, 4500.0)))
    assert isinstance(made.least_mm, float)


def test_every_fault_is_told_at_once_with_its_path_and_what_would_be_right() -> None:
    told = faults(
        {
            "organ": {
                "volume_ml": [4000.0, 500.0],
                "left_share_fraction": 60,
                "fewest_images": 1.5,
                "above_hu": "bright",
                "looks_twice": 1,
                "side": 2,
                "volumes_ml": 3.0,
            },
            "least_mm": -1.0,
        }
    )

    assert "lower one first" in told["organ.volume_ml"]
    assert "20 %" in told["organ.left_share_fraction"]
    assert "whole number" in told["organ.fewest_images"]
    assert "number in HU" in told["organ.above_hu"]
    assert "true or false" in told["organ.looks_twice"]
    assert "text" in told["organ.side"]
    assert "did you mean volume_ml?" in told["organ.volumes_ml"]
    assert "at least 0" in told["least_mm"]
    assert len(told) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        [500.0],
        [500.0, 600.0, 700.0],
        500.0,
        [True, 700.0],
        [float("nan"), 700.0],
        [500.0, float("inf")],
        [600.0, 600.0],
    ],
)
def test_a_range_is_two_finite_numbers_that_ascend(wrong: object) -> None:
    assert list(faults({"organ": {"volume_ml": wrong}})) == ["organ.volume_ml"]


def test_only_attenuation_may_be_negative() -> None:
    assert applied(ToyThresholds(), {"organ": {"above_hu": -100.0}}).organ.above_hu == -100.0
    assert list(faults({"organ": {"fewest_images": 0}})) == ["organ.fewest_images"]


def test_a_table_is_not_a_number_and_a_number_no_table() -> None:
    assert set(faults({"organ": 3.0, "least_mm": {"x": 1}})) == {"organ", "least_mm"}


def test_values_that_contradict_each_other_are_a_fault_with_the_reason_of_the_analyzer() -> None:
    assert "least_mm is at most most_mm" in faults({"least_mm": 9.0})[""]


def test_what_differs_is_recorded_and_the_digest_tells_settings_apart() -> None:
    same, used = adjusted(toy(ToyThresholds()), {"least_mm": 2.0})
    other, other_used = adjusted(toy(ToyThresholds()), {"least_mm": 3.0, "organ": {"volume_ml": [1, 2]}})

    assert used is not None
    assert other_used is not None
    assert used.changed == ()
    assert same.thresholds == ToyThresholds()
    assert [each.in_words for each in other_used.changed] == [
        "least_mm = 3 mm (default 2 mm)",
        "organ.volume_ml = 1 to 2 ml (default 500 to 4000 ml)",
    ]
    assert used.digest == digest_of(ToyThresholds()) != other_used.digest
    nothing = StudySummary(study_instance_uid="1", series=())
    assert other.expects(nothing) == Complete(reason="3 mm")


def test_an_analyzer_without_thresholds_takes_none() -> None:
    plain = replace(toy(ToyThresholds()), thresholds=None, with_thresholds=None)

    assert adjusted(plain, {}) == (plain, None)
    with pytest.raises(ThresholdsError, match="no thresholds"):
        adjusted(plain, {"least_mm": 1.0})
    assert as_toml(plain) == "# toy 1.0.0 has no thresholds that can be set.\n"


def test_the_list_gives_unit_and_explanation_in_the_order_of_the_source() -> None:
    entries = {one.path: one for one in listed(ToyThresholds())}

    assert list(entries)[:3] == ["least_mm", "most_mm", "organ.volume_ml"]
    assert entries["organ.volume_ml"].unit == "ml"
    assert entries["organ.volume_ml"].explanation == "Gate: less or more is not believed."


def test_the_list_is_a_file_that_changes_nothing() -> None:
    text = as_toml(toy(ToyThresholds()))

    assert applied(ToyThresholds(), tomllib.loads(text)["toy"]) == ToyThresholds()
    assert "# [ml] Gate: less or more is not believed.\nvolume_ml = [500.0, 4000.0]\n" in text


@pytest.mark.parametrize("thresholds", [Mutable(), Unusable(), 3.0])
def test_thresholds_of_another_kind_are_refused_when_the_analyzer_is_found(thresholds: Any) -> None:
    assert why_unusable(thresholds)


# --- the analyzers that are there --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_every_threshold_of_a_shipped_analyzer_is_explained_and_can_be_set(name: str) -> None:
    analyzer = find_analyzer(name)
    assert analyzer.with_thresholds is not None

    unexplained = [one.path for one in listed(analyzer.thresholds) if not (one.explanation or one.table_explanation)]
    assert unexplained == []
    written = tomllib.loads(as_toml(analyzer))
    assert threshold_faults(written) == ()
    assert applied(analyzer.thresholds, written[name]) == analyzer.thresholds
    remade = analyzer.with_thresholds(analyzer.thresholds)
    assert (remade.name, remade.version) == (analyzer.name, analyzer.version)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_analyzer_decides_with_the_thresholds_that_it_was_made_with(name: str) -> None:
    analyzer = find_analyzer(name)
    first = next(one for one in listed(analyzer.thresholds) if isinstance(one.default, float))
    tables: Any = first.default * 1.01
    for part in reversed(first.path.split(".")):
        tables = {part: tables}

    remade, used = adjusted(analyzer, tables)

    assert used is not None
    assert [each.path for each in used.changed] == [first.path]
    assert changed(analyzer.thresholds, remade.thresholds) == used.changed
    for step in (remade.expects, remade.accepts, remade.analyze, remade.illustrate):
        held = getattr(step, "keywords", {}).get("thresholds", remade.thresholds)
        assert held == remade.thresholds


def test_cta_reads_series_by_the_thresholds_of_the_site() -> None:
    summary = cta_samples.study(cta_samples.headers())
    strict, _ = adjusted(find_analyzer("cta"), {"series": {"fewest_images": 1000}})

    assert isinstance(find_analyzer("cta").accepts(summary), Accept)
    assert isinstance(strict.accepts(summary), Decline)
    assert isinstance(strict.expects(summary), Missing)


SITE_ANALYZER = """
from dataclasses import dataclass
from analyzers import *

@dataclass(frozen=True)
class Thresholds:
    fewest_planes: int = 1
    \"\"\"Of a volume.\"\"\"

def made(thresholds):
    def expects(study):
        count = sum(len(series.instances) for series in study.series)
        return Complete(reason="enough") if count >= thresholds.fewest_planes else Missing(what=("planes",))

    def analyze(images, priors):
        return NotAssessable(reasons=(f"fewer than {thresholds.fewest_planes} planes",))

    return Analyzer(name="site", version="1.0.0", expects=expects,
                    accepts=lambda study: Accept(reason="all"), analyze=analyze,
                    illustrate=lambda images, result: (), thresholds=thresholds, with_thresholds=made)

ANALYZER = made(Thresholds())
"""


@pytest.fixture
def site(tmp_path: Path) -> str:
    path = tmp_path / "site.py"
    path.write_text(SITE_ANALYZER)
    return str(path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return sample.write([sample.ct_slice(z) for z in (0.0, 5.0)], tmp_path / "study")


@pytest.mark.parametrize(
    ("file", "text"),
    [("site.toml", "[site]\nfewest_planes = 7\n[cta.liver]\n"), ("site.json", '{"site": {"fewest_planes": 7}}')],
)
def test_the_bench_command_takes_a_file_and_the_result_says_so(
    site: str, study: Path, tmp_path: Path, file: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / file).write_text(text)
    given = ["--thresholds", str(tmp_path / file)]

    assert main([site, str(study), str(tmp_path / "plain")]) == ANSWERED
    assert main([site, str(study), str(tmp_path / "out"), *given]) == ANSWERED

    plain, answered = read_result(tmp_path / "plain"), read_result(tmp_path / "out")
    assert answered.result == NotAssessable(reasons=("fewer than 7 planes",))
    assert plain.thresholds is not None
    assert answered.thresholds is not None
    assert plain.thresholds.changed == ()
    (change,) = answered.thresholds.changed
    assert (change.path, change.value, change.default) == ("fewest_planes", 7, 1)
    assert plain.thresholds.digest != answered.thresholds.digest

    capsys.readouterr()
    assert main([site, "--expects", str(tmp_path / "out" / "summary.json"), *given]) == ANSWERED
    assert json.loads(capsys.readouterr().out)["answer"] == "missing"


def test_a_file_with_faults_is_refused_with_all_of_them(
    site: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    file.write_text("[site]\nfewest_planes = 0\nmost_planes = 3\n[sight]\nfewest_planes = 2\n")

    assert main([site, str(study), str(tmp_path / "out"), "--thresholds", str(file)]) == BAD_INPUT

    told = capsys.readouterr().err
    for path in ("site.fewest_planes", "site.most_planes", "sight"):
        assert f"threshold {path} " in told
    assert not (tmp_path / "out").exists()


def test_faults_are_told_to_programs_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "site.toml"
    file.write_text("[cta.liver]\nvolume_ml = [4000, 500]\n[mri]\nlivers = 1\n")

    assert main(["--check-thresholds", str(file), "--json"]) == ANSWERED
    found = threshold_faults_from_json(json.loads(capsys.readouterr().out))
    assert [fault.path for fault in found] == ["cta.liver.volume_ml", "mri.livers"]

    assert main(["--check-thresholds", str(file)]) == BAD_INPUT


@pytest.mark.parametrize("content", [None, "[site", '{"site": }'])
def test_a_file_that_cannot_be_read_is_named(
    site: str, study: Path, tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ("site.json" if content and content.startswith("{") else "site.toml")
    if content is not None:
        file.write_text(content)

    assert main([site, str(study), str(tmp_path / "out"), "--thresholds", str(file)]) == BAD_INPUT

    told = capsys.readouterr().err
    assert str(file) in told
    assert "Traceback" not in told


def test_an_analyzer_gives_both_parts_or_neither(site: str) -> None:
    path = Path(site)
    path.write_text(path.read_text().replace(", with_thresholds=made", ""))

    with pytest.raises(NotAnAnalyzerError, match="together"):
        find_analyzer(site)


def test_a_phantom_of_scintigraphy_is_read_by_the_thresholds_of_the_site(tmp_path: Path) -> None:
    from analyzers.phantoms.__main__ import main as make_phantom  # noqa: PLC0415 - the other tests do not pay for it

    make_phantom(["scintigraphy", str(tmp_path / "phantom"), "--seed", "1", "--size", "small"])
    file = tmp_path / "thresholds.toml"
    file.write_text("[scintigraphy]\nleast_liver_kilocounts = 1000000.0\n")
    study = str(tmp_path / "phantom" / "dicom")

    assert main(["scintigraphy", study, str(tmp_path / "out"), "--thresholds", str(file)]) == ANSWERED

    wanted = [gate for gate in read_result(tmp_path / "out").result.gates if "1000000" in gate.wanted]  # type: ignore[union-attr]
    assert [gate.passed for gate in wanted] == [False]


def test_bounds_of_the_attenuation_factor_enclose_it() -> None:
    thresholds = find_analyzer("scintigraphy").thresholds

    with pytest.raises(ThresholdsError, match="attenuation_factor_low"):
        applied(thresholds, {"attenuation_factor": 0.9})
