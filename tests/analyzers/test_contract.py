"""What every registered analyzer keeps, whoever wrote it.

Parametrised over what is registered: a new analyzer gets these tests for nothing. Those that need images run on the
phantom of the same name, where there is one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import pytest

from analyzers import vocabulary
from analyzers.contract import (
    Analyzer,
    Assessed,
    Code,
    Complete,
    Decline,
    Grade,
    Measurement,
    Missing,
    NotAssessable,
    StudySummary,
)
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.catalogue import KIND_MODULES
from analyzers.phantoms.request import PhantomRequest
from analyzers.registry import find_analyzer, registered
from analyzers.running import run_analysis
from analyzers.wire import ResultFile, read_result

SEED = 11
NAMES = sorted(registered())
WITH_PHANTOM = [name for name in NAMES if name in KIND_MODULES]
WITH_VOLUMES = [name for name in WITH_PHANTOM if name != "scintigraphy"]
EMPTY_STUDY = StudySummary(study_instance_uid="1.2.3", series=())

SAME_VOLUME_FRACTION = 0.03
"""How far a volume may move when the grid is mirrored: one layer of interpolation at the border of a liver."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Phantoms and their results, each made once for all tests."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the folder of that name, made when first asked for."""
        if name not in self.made:
            path = self.folder / name
            make(path)
            self.made[name] = path
        return self.made[name]

    def phantom(self, kind: str, *variants: str) -> Path:
        """Return the DICOM files of a phantom."""
        request = PhantomRequest(
            kind=kind, seed=SEED, variants=tuple(sorted(variants)), size="small", model="development"
        )
        name = "-".join(("phantom", kind, *variants))
        return self.once(name, lambda path: _ignore(make_phantom(request, path))) / "dicom"

    def result(self, kind: str) -> Path:
        """Return the OUT folder of an analyzer's answer to its phantom."""
        study = self.phantom(kind)
        return self.once(f"result-{kind}", lambda out: _ignore(run_analysis(find_analyzer(kind), study, out, None)))


def _ignore(_: object) -> None:
    """Say that a value is not wanted."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def analyzer(request: pytest.FixtureRequest) -> Analyzer:
    return find_analyzer(request.param)


@pytest.mark.parametrize("name", NAMES)
def test_every_registered_analyzer_loads_under_its_own_name(name: str) -> None:
    assert find_analyzer(name).name == name


# --- without images ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("analyzer", NAMES, indirect=True)
def test_an_empty_study_is_declined_with_a_reason(analyzer: Analyzer) -> None:
    answer = analyzer.accepts(EMPTY_STUDY)

    assert isinstance(answer, Decline)
    assert answer.reason
    assert answer.reason.isascii()


@pytest.mark.parametrize("analyzer", NAMES, indirect=True)
def test_an_empty_study_misses_something(analyzer: Analyzer) -> None:
    answer = analyzer.expects(EMPTY_STUDY)

    assert isinstance(answer, Missing)
    assert all(answer.what)


@pytest.mark.parametrize("kind", WITH_PHANTOM)
@pytest.mark.parametrize("analyzer", NAMES, indirect=True)
def test_expecting_and_accepting_need_headers_only_and_give_reasons(
    analyzer: Analyzer, kind: str, bench: Bench
) -> None:
    summary = open_study(bench.phantom(kind)).summary

    expectation, acceptance = analyzer.expects(summary), analyzer.accepts(summary)

    assert expectation.reason if isinstance(expectation, Complete) else expectation.what
    assert acceptance.reason
    if analyzer.name == kind:
        assert isinstance(expectation, Complete)
        assert not isinstance(acceptance, Decline)
        assert set(acceptance.roles) <= {series.series_instance_uid for series in summary.series}
        assert acceptance.roles


# --- on the phantom of its name --------------------------------------------------------------------------------


def assessed(bench: Bench, kind: str) -> tuple[ResultFile, Assessed]:
    answered = read_result(bench.result(kind))
    assert isinstance(answered.result, Assessed), answered.result
    return answered, answered.result


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", WITH_PHANTOM)
def test_the_same_study_under_other_file_names_gives_the_same_bytes(kind: str, bench: Bench, tmp_path: Path) -> None:
    first = tree(bench.result(kind))
    shuffled = tmp_path / "study"
    shuffled.mkdir()
    files = sorted(path for path in bench.phantom(kind).rglob("*") if path.is_file())
    for number, path in enumerate(reversed(files)):
        shutil.copy(path, shuffled / f"{number:05d}")

    run_analysis(find_analyzer(kind), shuffled, tmp_path / "out", None)

    again = tree(tmp_path / "out")
    assert again.keys() == first.keys()
    assert [name for name in first if first[name] != again[name]] == []


def codes_of(result: Assessed) -> list[Code | None]:
    measured = [
        code
        for one in result.measurements
        for code in (one.concept, one.unit, one.derivation, one.site, one.laterality)
    ]
    found = [code for one in result.findings for code in (one.concept, one.site, one.laterality, one.value)]
    outlined = [code for one in result.segments for code in (one.category, one.type, one.site, one.laterality)]
    regions = [code for one in result.regions for code in (one.type, one.site, one.laterality)]
    return [*measured, *found, *outlined, *regions]


@pytest.mark.parametrize("kind", WITH_PHANTOM)
def test_every_concept_is_in_the_vocabulary_and_every_quantity_is_said_as_it_says(kind: str, bench: Bench) -> None:
    _, result = assessed(bench, kind)

    assert result.measurements
    assert [code for code in codes_of(result) if code is not None and not vocabulary.is_known(code)] == []
    for measurement in result.measurements:
        quantity = vocabulary.QUANTITIES[measurement.key]
        said = (measurement.concept, measurement.unit, measurement.derivation)
        assert said == (quantity.concept, quantity.unit, quantity.derivation), measurement.key


DERIVED_WORDS = {
    vocabulary.MEAN: ("mean", "trimmed mean"),
    vocabulary.MEDIAN: ("median",),
    vocabulary.STANDARD_DEVIATION: ("standard deviation",),
}
"""How a method's words begin for a derivation."""


@pytest.mark.parametrize("kind", WITH_PHANTOM)
def test_the_method_of_a_value_derives_it_as_its_code_says(kind: str, bench: Bench) -> None:
    _, result = assessed(bench, kind)

    for one in result.measurements:
        begun = {code for code, words in DERIVED_WORDS.items() if one.method.lower().startswith(words)}
        stated = {one.derivation} & DERIVED_WORDS.keys()
        assert begun == stated, (one.key, one.method)


@pytest.mark.parametrize("kind", WITH_PHANTOM)
def test_masks_and_outlines_lie_on_planes_that_were_received(kind: str, bench: Bench) -> None:
    _, result = assessed(bench, kind)
    sizes = {
        (instance.sop_instance_uid, frame.frame): (series.series_instance_uid, instance.rows, instance.columns)
        for series in open_study(bench.phantom(kind)).summary.series
        for instance in series.instances
        for frame in instance.frames
    }

    assert result.segments or result.regions
    for segment in result.segments:
        assert segment.mask_planes.any()
        for ref, plane in zip(segment.planes, segment.mask_planes, strict=True):
            found = sizes[ref.sop_instance_uid, ref.frame]
            assert found == (segment.series_instance_uid, *plane.shape)
    outlines = [outline for region in result.regions for outline in region.outlines]
    outlines += [line for measurement in result.measurements for line in measurement.lines]
    outlines += [outline for finding in result.findings for outline in finding.outlines]
    for outline in outlines:
        _, rows, columns = sizes[outline.frame.sop_instance_uid, outline.frame.frame]
        points = np.array(outline.points_col_row)
        assert points.min() >= 0.0
        assert np.all(points <= [columns, rows])


@pytest.mark.parametrize("kind", WITH_PHANTOM)
def test_every_series_has_a_role_or_a_reason_and_there_is_a_picture(kind: str, bench: Bench) -> None:
    answered, result = assessed(bench, kind)

    assert all(role.reason for role in result.roles)
    named = {role.series_instance_uid for role in result.roles}
    assert named == {series.series_instance_uid for series in open_study(bench.phantom(kind)).summary.series}
    assert answered.pictures
    assert result.gates


# --- the same body, held otherwise -------------------------------------------------------------------------------


def mirror_columns(path: Path) -> None:
    """Store a slice with its columns in reverse, its header saying so: the same body in the same place."""
    dataset = pydicom.dcmread(path)
    row = np.array(dataset.ImageOrientationPatient[:3], float)
    reach_mm = (dataset.Columns - 1) * float(dataset.PixelSpacing[1])
    dataset.ImagePositionPatient = [f"{v:.6f}" for v in np.array(dataset.ImagePositionPatient, float) + reach_mm * row]
    dataset.ImageOrientationPatient = [f"{v:g}" for v in (*(-row), *dataset.ImageOrientationPatient[3:])]
    dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[:, ::-1]).tobytes()
    dataset.save_as(path)


def liver_volumes_ml(result: Assessed) -> list[float]:
    return [one.value for one in result.measurements if one.key == "liver_volume"]


@pytest.mark.parametrize("kind", WITH_VOLUMES)
def test_mirrored_columns_give_the_same_millilitres(kind: str, bench: Bench, tmp_path: Path) -> None:
    _, usual = assessed(bench, kind)
    shutil.copytree(bench.phantom(kind), tmp_path / "study")
    for path in sorted((tmp_path / "study").rglob("*.dcm")):
        mirror_columns(path)

    mirrored = run_analysis(find_analyzer(kind), tmp_path / "study", tmp_path / "out", None)

    assert isinstance(mirrored, Assessed)
    assert liver_volumes_ml(usual)
    assert liver_volumes_ml(mirrored) == pytest.approx(liver_volumes_ml(usual), rel=SAME_VOLUME_FRACTION)


# --- too little ------------------------------------------------------------------------------------------------


def keep_lowest_third(folder: Path) -> None:
    """Remove the images of each series that lie in its upper two thirds."""
    places: dict[str, list[tuple[float, Path]]] = {}
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        places.setdefault(dataset.SeriesInstanceUID, []).append((float(dataset.ImagePositionPatient[2]), path))
    for members in places.values():
        members.sort()
        for _, path in members[max(1, len(members) // 3) :]:
            path.unlink()


def good_ones(measurements: tuple[Measurement, ...], keys: set[str]) -> list[str]:
    return [one.key for one in measurements if one.key in keys and one.grade is Grade.GOOD]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cta", "Liver: no deep soft tissue in the right upper abdomen."),
        ("mri", "Liver volume at least"),
    ],
)
def test_a_truncated_study_has_no_liver_volume_that_passes_for_whole(
    kind: str, words: str, bench: Bench, tmp_path: Path
) -> None:
    shutil.copytree(bench.phantom(kind), tmp_path / "study")
    keep_lowest_third(tmp_path / "study")

    result = run_analysis(find_analyzer(kind), tmp_path / "study", tmp_path / "out", None)

    assert isinstance(result, Assessed)
    assert good_ones(result.measurements, {"liver_volume"}) == []
    assert words in " ".join((result.conclusion, *result.limitations))


def test_scintigraphy_without_a_posterior_view_is_not_assessable_and_says_why(bench: Bench, tmp_path: Path) -> None:
    study = bench.phantom("scintigraphy", "no-posterior")

    result = run_analysis(find_analyzer("scintigraphy"), study, tmp_path / "out", None)

    assert isinstance(result, NotAssessable)
    assert "The posterior view is missing" in result.reasons[0]
