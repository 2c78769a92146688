"""Views that mislead: fields of any shape, stray counts, exchanged or mirrored views, floods, other tracers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from analyzers import vocabulary
from analyzers.contract import Accept, Assessed, Decline, Grade, NotAssessable, Presence
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.views import field_of_view

_Change = Callable[[pydicom.Dataset], None]
_Counts = NDArray[np.uint16]


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both views of a patient without fault, in one object."""
    folder = tmp_path_factory.mktemp("views")
    make_phantom(PhantomRequest(kind="scintigraphy", seed=3, variants=()), folder)
    (file,) = (folder / "dicom").rglob("*.dcm")
    return file


def changed(views: Path, folder: Path, change: _Change) -> Assessed | NotAssessable | Decline:
    """The answer once the object was changed."""
    dataset = pydicom.dcmread(views)
    change(dataset)
    folder.mkdir()
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    study = open_study(folder)
    acceptance = ANALYZER.accepts(study.summary)
    if not isinstance(acceptance, Accept):
        return acceptance
    return ANALYZER.analyze(study.with_roles(acceptance.roles), ())


def in_pixels(alter: Callable[[_Counts], _Counts]) -> _Change:
    """A change of the counts, (view, row, column)."""

    def change(dataset: pydicom.Dataset) -> None:
        dataset.PixelData = np.ascontiguousarray(alter(dataset.pixel_array.copy())).astype(np.uint16).tobytes()

    return change


def printed(result: Assessed | NotAssessable | Decline) -> str:
    if isinstance(result, Assessed):
        sentences = [finding.sentence for finding in result.findings]
        return " ".join((result.conclusion, *sentences, *result.limitations))
    return " ".join(result.reasons) if isinstance(result, NotAssessable) else result.reason


def value(result: Assessed | NotAssessable | Decline, key: str) -> float:
    assert isinstance(result, Assessed)
    return next(one.value for one in result.measurements if one.key == key)


def one_stray_count(counts: _Counts) -> _Counts:
    counts[0, 120, 64] += 1
    return counts


def a_letter_in_the_corner(counts: _Counts) -> _Counts:
    counts[0, 2:9, 2:9] = 300
    return counts


def round_field(counts: _Counts) -> _Counts:
    rows, columns = np.flatnonzero(counts[0].any(axis=1)), np.flatnonzero(counts[0].any(axis=0))
    y, x = np.indices(counts[0].shape)
    middle_y, middle_x = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    half_y, half_x = (rows[-1] - rows[0]) / 2, (columns[-1] - columns[0]) / 2
    counts[:, ((y - middle_y) / half_y) ** 2 + ((x - middle_x) / half_x) ** 2 > 1] = 0
    return counts


@pytest.mark.parametrize("alter", [one_stray_count, a_letter_in_the_corner, round_field])
def test_counts_outside_the_field_and_its_shape_change_no_answer(
    views: Path, tmp_path: Path, alter: Callable[[_Counts], _Counts]
) -> None:
    plain = changed(views, tmp_path / "plain", lambda _: None)
    altered = changed(views, tmp_path / "altered", in_pixels(alter))

    assert value(altered, "extrahepatic_focus_count") == value(plain, "extrahepatic_focus_count") == 0
    if alter is not round_field:  # which cuts the lungs, so that less of them is seen
        key = "lung_shunt_fraction_corrected"
        assert value(altered, key) == pytest.approx(value(plain, key), rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_stray_counts_never_give_a_share_above_all_of_the_liver(views: Path, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = float(rng.choice([0.001, 0.02, 0.5, 3.0]))
    result = changed(
        views, tmp_path / "strays", in_pixels(lambda counts: counts + rng.poisson(level, counts.shape).astype("u2"))
    )

    shares = [one.value for one in getattr(result, "measurements", ()) if one.key == "extrahepatic_share"]
    assert isinstance(result, NotAssessable) or all(share <= 1.0 for share in shares)
    assert "%" not in printed(result) or max(percentages(printed(result))) <= 100.0


def percentages(text: str) -> list[float]:
    words = text.split()
    return [float(a.strip("(;,")) for a, b in pairwise(words) if b.startswith("%")]


def test_a_circle_is_a_field_and_stays_one() -> None:
    y, x = np.indices((96, 96))
    circle = (y - 48) ** 2 + (x - 48) ** 2 < 40**2
    field = field_of_view(np.where(circle, 2.0, 0.0))

    assert not (field & ~circle).any()
    assert field.sum() > 0.8 * circle.sum()


def exchange_names(dataset: pydicom.Dataset) -> None:
    front, back = dataset.DetectorInformationSequence
    front.ViewCodeSequence, back.ViewCodeSequence = back.ViewCodeSequence, front.ViewCodeSequence


def mirror_posterior(counts: _Counts) -> _Counts:
    counts[1] = counts[1][:, ::-1]
    return counts


@pytest.mark.parametrize("change", [exchange_names, in_pixels(mirror_posterior)])
def test_a_liver_on_the_wrong_side_is_indeterminate_and_says_why(views: Path, tmp_path: Path, change: _Change) -> None:
    result = changed(views, tmp_path / "wrong", change)

    assert isinstance(result, Assessed)
    assert result.findings[0].value == vocabulary.PERFUSION_INDETERMINATE
    assert result.findings[0].presence is Presence.INDETERMINATE
    assert "left side" in result.conclusion
    assert "exchanged" in result.conclusion
    assert not result.conclusion.startswith("Incomplete")
    shunt = next(one for one in result.measurements if one.key == "lung_shunt_fraction_corrected")
    assert shunt.grade is Grade.LIMITED


def test_a_liver_cut_by_the_field_is_never_complete(views: Path, tmp_path: Path) -> None:
    def lower_half(dataset: pydicom.Dataset) -> None:
        counts = dataset.pixel_array
        dataset.Rows = 64
        dataset.PixelData = np.ascontiguousarray(counts[:, 64:]).tobytes()

    result = changed(views, tmp_path / "lower", lower_half)

    assert isinstance(result, Assessed)
    assert result.findings[0].value == vocabulary.PERFUSION_INDETERMINATE
    assert "field of view cuts it" in result.conclusion


def test_a_flood_image_gives_no_answer(views: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    result = changed(views, tmp_path / "flood", in_pixels(lambda c: rng.poisson(100.0, c.shape).astype(np.uint16)))

    assert isinstance(result, NotAssessable)
    assert max(percentages(" ".join(gate.seen for gate in result.gates))) <= 100.0


@pytest.mark.parametrize("spacing_mm", ["0.5", "50"])
def test_a_pixel_spacing_of_no_camera_gives_no_answer(views: Path, tmp_path: Path, spacing_mm: str) -> None:
    result = changed(
        views, tmp_path / "spacing", lambda dataset: setattr(dataset, "PixelSpacing", [spacing_mm, spacing_mm])
    )

    assert isinstance(result, NotAssessable)
    assert "mm wide" in printed(result)


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("Tc-99m Mebrofenin", False),
        ("Tc99m-DTPA", False),
        ("HIDA", False),
        ("Tc-99m", True),
        ("99mTc pertechnetate", True),
        ("Technetium", True),
        ("TechneScan LyoMAA", True),
        ("", True),
    ],
)
def test_a_named_other_tracer_is_not_measured_as_macroaggregates(
    views: Path, tmp_path: Path, words: str, taken: bool
) -> None:
    def name_tracer(dataset: pydicom.Dataset) -> None:
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        item.Radiopharmaceutical = words
        if "RadiopharmaceuticalCodeSequence" in item:
            del item.RadiopharmaceuticalCodeSequence
        for keyword in ("SeriesDescription", "ProtocolName", "StudyDescription", "RequestedProcedureDescription"):
            if keyword in dataset:
                setattr(dataset, keyword, "ANT/POST")

    result = changed(views, tmp_path / "tracer", name_tracer)

    assert isinstance(result, Assessed if taken else Decline)
    assert taken or words in printed(result)
