"""What stands beside the opposite views: lateral views, a colloid scan, a dynamic series, and a patient who moves."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Accept, Assessed, Grade, Measurement
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.nuclear_posture import colloid_stays
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.alignment import registered
from analyzers.scintigraphy.expectations import Role
from analyzers.scintigraphy.motion import greatest_shift_mm
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.reading import conclude, read_study
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.views import PlanarPair, pair_views
from analyzers.volume import PlanarView
from tests.analyzers.scintigraphy_samples import PIXEL_MM, Scene, view

SEED = 71


@functools.cache
def answered(*variants: str, seed: int = SEED) -> tuple[PlanarReading, Assessed]:
    """The planar reading of a phantom and the answer made of it."""
    with tempfile.TemporaryDirectory() as folder:
        request = PhantomRequest(kind="scintigraphy", seed=seed, variants=tuple(sorted(variants)))
        make_phantom(request, Path(folder))
        study = open_study(Path(folder) / "dicom")
        acceptance = ANALYZER.accepts(study.summary)
        assert isinstance(acceptance, Accept)
        images = study.with_roles(acceptance.roles)
        readings = read_study(images, DEFAULTS)
        result = conclude(images, readings, DEFAULTS)
        assert isinstance(readings.planar, PlanarReading)
        assert isinstance(result, Assessed)
        return readings.planar, result


def measured(result: Assessed, key: str) -> Measurement:
    return next(measurement for measurement in result.measurements if measurement.key == key)


def category(result: Assessed) -> str:
    value = result.findings[0].value
    assert value is not None
    return value.value


# --- motion ------------------------------------------------------------------------------------------------


def test_a_patient_who_moved_between_the_views_is_not_called_completely_perfused() -> None:
    _, result = answered("motion-between-views")

    assert category(result) == vocabulary.PERFUSION_INDETERMINATE.value
    assert any("moved between the anterior and the posterior view" in text for text in result.limitations)
    assert measured(result, "lung_shunt_fraction_corrected").grade is Grade.LIMITED


def test_motion_within_a_dynamic_series_is_a_limitation_with_its_reason() -> None:
    _, moved = answered("dynamic", "motion")
    _, still = answered("dynamic")

    assert any("did not lie still" in text for text in moved.limitations)
    assert measured(moved, "lung_shunt_fraction_corrected").grade is Grade.LIMITED
    assert not any("did not lie still" in text for text in still.limitations)
    assert next(gate for gate in still.gates if gate.name == "patient lay still").passed


def time_slices(rows_down: list[int], counts: float = 30_000.0) -> list[PlanarView]:
    """Time slices of one scene, each moved by so many rows."""
    rng = np.random.default_rng(5)
    expected = Scene().expected_yx()
    expected *= counts / expected.sum()
    return [
        view(rng.poisson(ndimage.shift(expected, (rows, 0))).astype(np.float32), "anterior", frame=number)
        for number, rows in enumerate(rows_down, start=1)
    ]


@pytest.mark.parametrize("rows", [0, 3, 6])
def test_the_shift_within_a_series_is_measured_in_millimetres(rows: int) -> None:
    assert greatest_shift_mm(time_slices([0, 0, 0, rows, rows])) == pytest.approx(rows * PIXEL_MM, abs=2.5)


def test_slices_before_the_tracer_arrived_are_not_taken_for_motion() -> None:
    early = time_slices([12], counts=3_000.0)

    assert greatest_shift_mm([*early, *time_slices([0, 0, 0])]) == pytest.approx(0.0, abs=2.5)


def test_too_few_counts_tell_nothing_about_motion() -> None:
    assert greatest_shift_mm(time_slices([0, 5], counts=500.0)) is None


# --- laterals ----------------------------------------------------------------------------------------------


def test_lateral_views_are_read_and_said_to_be() -> None:
    reading, result = answered("laterals", "extrahepatic-bowel", "strong", seed=72)

    assert {lateral.view.direction for lateral in reading.laterals} == {"left-lateral", "right-lateral"}
    assert any("Lateral views (left lateral and right lateral)" in text for text in result.limitations)
    assert not any("not read" in text for text in result.limitations)


def test_a_focus_that_a_lateral_view_shows_clear_of_the_liver_is_sure_and_has_a_depth() -> None:
    reading, result = answered("laterals", "extrahepatic-bowel", "strong", seed=72)
    shown = [item for item in reading.foci if item.focus.clear_in_lateral]

    assert shown
    assert all(item.focus.stands_apart for item in shown)
    assert any("shows it clear of the liver" in finding.sentence for finding in result.findings)


def test_lateral_views_make_no_focus_of_a_liver_alone() -> None:
    _, plain = answered("complete")
    reading, result = answered("laterals")

    assert not any(item.focus.clear_in_lateral for item in reading.foci)
    assert category(result) == category(plain)


# --- colloid -----------------------------------------------------------------------------------------------


def pair_of(views: list[PlanarView]) -> PlanarPair:
    pair = pair_views(views)
    assert isinstance(pair, PlanarPair)
    return pair


def residual_mm(point_yx: tuple[int, int], request: PhantomRequest, folder: Path) -> float:
    """Where a point of the liver, moved as the patient was, lies after registration, from where it was."""
    make_phantom(request, folder)
    study = open_study(folder / "dicom")
    acceptance = ANALYZER.accepts(study.summary)
    assert isinstance(acceptance, Accept)
    images = study.with_roles(acceptance.roles)
    colloid, own = (
        pair_of([each for loaded in images.with_role(role) for each in loaded.views])
        for role in (Role.PLANAR_COLLOID, Role.PLANAR_MAA)
    )
    (stay,) = colloid_stays(request)
    point: NDArray[np.float64] = np.zeros(own.anterior_yx.shape)
    point[point_yx] = 1.0
    point = np.asarray(ndimage.gaussian_filter(point, 2.0), np.float64)
    turned = ndimage.rotate(point, stay.posture.turn_deg, reshape=False, order=1)
    by = (stay.posture.down_mm / own.pixel_mm, stay.posture.left_mm / own.pixel_mm)
    back = registered(colloid, own).applied(np.asarray(ndimage.shift(turned, by, order=1)), own.pixel_mm)
    found = np.asarray(ndimage.center_of_mass(back)) - np.asarray(point_yx)
    return float(np.hypot(*found)) * own.pixel_mm


@pytest.mark.parametrize("lobe", ["complete", "missing-left-lobe", "missing-right-lobe"])
def test_a_colloid_scan_of_another_posture_is_laid_onto_the_views(tmp_path: Path, lobe: str) -> None:
    variants = tuple(sorted(("sulfur-colloid", "colloid-moved", lobe)))
    request = PhantomRequest(kind="scintigraphy", seed=301, variants=variants)

    assert residual_mm((75, 45), request, tmp_path) < 10.0


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_lobe_that_only_the_colloid_shows_is_not_perfused(side: str) -> None:
    _, result = answered("sulfur-colloid", "colloid-moved", f"missing-{side}-lobe")

    assert category(result) == vocabulary.PERFUSION_INCOMPLETE.value
    assert f"{side} lobe: not perfused (the colloid scan shows liver there)" in result.conclusion
    assert "resected" not in result.conclusion


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_lobe_that_neither_tracer_shows_is_no_gap_in_perfusion(side: str) -> None:
    _, result = answered("sulfur-colloid", f"{side}-hepatectomy")

    assert category(result) != vocabulary.PERFUSION_INCOMPLETE.value
    assert f"none in the place of the {side} lobe (resected?)" in result.conclusion


def test_without_a_colloid_scan_a_resected_lobe_may_be_either() -> None:
    _, result = answered("left-hepatectomy")

    assert "unless the left lobe was resected" in result.conclusion


def test_a_completely_perfused_outline_is_perfused_nearly_everywhere_and_one_with_a_gap_is_not() -> None:
    _, whole = answered("sulfur-colloid")
    _, part = answered("sulfur-colloid", "missing-left-lobe")

    assert measured(whole, "perfused_outline_share_20").value > 0.9
    assert measured(part, "perfused_outline_share_20").value < measured(whole, "perfused_outline_share_20").value - 0.1


def test_macroaggregates_outside_the_outline_of_the_colloid_are_counted() -> None:
    _, whole = answered("sulfur-colloid")
    _, leaking = answered("sulfur-colloid", "extrahepatic-bowel", "strong")

    assert measured(whole, "outside_colloid_share").value == pytest.approx(0.0, abs=0.01)
    assert measured(leaking, "outside_colloid_share").value > 0.03
    assert any("outside the liver that the colloid outlines" in finding.sentence for finding in leaking.findings)
