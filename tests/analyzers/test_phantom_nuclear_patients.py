"""Patients of the scintigraphy phantom: attenuation, surgery, postures, and masks of lateral views."""

import functools

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from analyzers.phantoms.nuclear import KIND
from analyzers.phantoms.nuclear_attenuation import factor_of, with_lungs_times
from analyzers.phantoms.nuclear_scene import Scene, build_scene
from analyzers.phantoms.nuclear_uptake import draw_colloid
from analyzers.phantoms.request import PhantomRequest


def request(*variants: str, seed: int = 4, model: str = "development") -> PhantomRequest:
    return PhantomRequest(
        kind="scintigraphy",
        seed=seed,
        variants=tuple(sorted(variants)),
        model="evaluation" if model == "evaluation" else "development",
    )


@functools.cache
def objects(*variants: str) -> list[pydicom.Dataset]:
    return [instance.dataset for instance in KIND.make(request(*variants)).instances]


@functools.cache
def scene_of(*variants: str, seed: int = 4, model: str = "development") -> Scene:
    return build_scene(request(*variants, seed=seed, model=model))


def frames_of(ds: pydicom.Dataset) -> NDArray[np.uint16]:
    return np.frombuffer(ds.PixelData, "<u2").reshape(ds.NumberOfFrames, ds.Rows, ds.Columns)


@pytest.mark.parametrize("model", ["development", "evaluation"])
def test_the_ratio_of_the_attenuation_factors_is_drawn_from_the_published_range(model: str) -> None:
    drawn = []
    for seed in range(40, 46):
        scene = scene_of(seed=seed, model=model)
        drawn.append(scene.attenuation_factor)
        assert 0.35 <= drawn[-1] <= 0.50
        assert factor_of(scene.body) / scene.lung_gain == pytest.approx(drawn[-1])
    assert max(drawn) - min(drawn) > 0.03


def test_a_patient_of_another_factor_differs_by_the_brightness_of_the_lungs_alone() -> None:
    scene = scene_of()
    lungs = sum(scene.body.solids[name].full_zyx(scene.body.grid) for name in ("lung_right", "lung_left"))
    activity = scene.uptake.activity_zyx
    brighter = with_lungs_times(scene.body, activity, 1.4)

    assert np.array_equal(brighter[lungs == 0], activity[lungs == 0])
    assert np.allclose(brighter[lungs > 0.999], 1.4 * activity[lungs > 0.999], rtol=1e-4)


def test_lateral_masks_lie_where_the_lateral_view_shows_the_organ() -> None:
    study = KIND.make(request("laterals", "extrahepatic-spleen", "strong"))
    liver = study.masks["liver"].mask_zyx
    (ds,) = objects("laterals", "extrahepatic-spleen", "strong")

    for number, name in enumerate([item.ViewCodeSequence[0].CodeMeaning for item in ds.DetectorInformationSequence]):
        counts = frames_of(ds)[number].astype(np.float64)
        inside = counts[liver[number] > 0].mean()
        # A projection of another side would hold much of what is beside the liver.
        assert inside > 8 * counts[liver[number] == 0].mean(), name


@pytest.mark.parametrize(("variant", "kept"), [("left-hepatectomy", "right"), ("right-hepatectomy", "left")])
def test_a_resected_lobe_is_gone_from_both_tracers(variant: str, kept: str) -> None:
    scene, whole = scene_of(variant, "sulfur-colloid"), scene_of("sulfur-colloid")
    share = scene.body.right_lobe_share_zyx if kept == "left" else 1.0 - scene.body.right_lobe_share_zyx
    was_liver = (whole.body.solids["liver"].occupancy_zyx > 0.99) & (share > 0.99)
    colloid = draw_colloid(scene.body, scene.request)[scene.body.solids["liver"].box]

    occupied = scene.body.solids["liver"].occupancy_zyx
    assert float((occupied * (share > 0.99)).sum()) < 0.001 * float(occupied.sum())
    assert scene.body.solids["liver"].volume_ml(scene.body.grid) < whole.body.solids["liver"].volume_ml(whole.body.grid)
    assert float((colloid * was_liver).sum()) < 0.01 * float(colloid.sum())


def test_without_a_spleen_colloid_marks_none() -> None:
    scene = scene_of("splenectomy", "sulfur-colloid")
    assert scene.body.solids["spleen"].volume_ml(scene.body.grid) == 0.0


def test_motion_between_views_displaces_the_posterior_view_alone() -> None:
    (still,), (moved,) = objects(), objects("motion-between-views")
    rows = np.arange(128)[:, None]

    def height(counts: NDArray[np.uint16]) -> float:
        weights = counts.astype(np.float64) ** 2
        return float((rows * weights).sum() / weights.sum())

    assert abs(height(frames_of(moved)[0]) - height(frames_of(still)[0])) < 0.5
    assert abs(height(frames_of(moved)[1]) - height(frames_of(still)[1])) * 4.7952 > 20.0


def test_a_patient_who_slips_does_so_within_the_dynamic_series() -> None:
    *_, ds = objects("motion", "dynamic")
    slices = ds.NumberOfFrames // 2
    late, early = (frames_of(ds)[number].astype(np.float64) ** 2 for number in (slices - 1, slices // 2))
    rows = np.arange(128)[:, None]

    assert ((rows * late).sum() / late.sum() - (rows * early).sum() / early.sum()) * 4.7952 > 12.0


def test_a_moved_colloid_scan_shows_the_liver_elsewhere() -> None:
    still, moved = (
        next(ds for ds in objects(*names) if ds.SeriesNumber == 11)
        for names in (("sulfur-colloid",), ("sulfur-colloid", "colloid-moved"))
    )
    columns, rows = np.meshgrid(np.arange(128), np.arange(128))
    centres = [
        [float((axis * frame**2).sum() / (frame**2).sum()) for axis in (rows, columns)]
        for frame in (frames_of(still)[0].astype(np.float64), frames_of(moved)[0].astype(np.float64))
    ]
    assert np.hypot(*(np.asarray(centres[0]) - np.asarray(centres[1]))) * 4.7952 > 5.0
