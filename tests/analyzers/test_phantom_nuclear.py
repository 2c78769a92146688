"""The scintigraphy phantom: its truth is true, its variants do what they say, its objects are valid DICOM."""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.nuclear import KIND
from analyzers.phantoms.nuclear_scene import Scene, build_scene
from analyzers.phantoms.nuclear_tissues import breathing_offset_mm
from analyzers.phantoms.nuclear_variants import VARIANTS
from analyzers.phantoms.request import PhantomError, PhantomRequest
from analyzers.phantoms.study import PhantomStudy


def _request(*variants: str, seed: int = 4, model: str = "development") -> PhantomRequest:
    return PhantomRequest(
        kind="scintigraphy",
        seed=seed,
        variants=tuple(sorted(variants)),
        model="evaluation" if model == "evaluation" else "development",
    )


@functools.cache
def _objects(*variants: str, seed: int = 4, model: str = "development") -> list[pydicom.Dataset]:
    return [instance.dataset for instance in KIND.make(_request(*variants, seed=seed, model=model)).instances]


@functools.cache
def _truth(*variants: str, seed: int = 4) -> PhantomStudy:
    """A study for its truth; its instances are not to be consumed."""
    return KIND.make(_request(*variants, seed=seed))


@functools.cache
def _scene(*variants: str, seed: int = 4, model: str = "development") -> Scene:
    return build_scene(_request(*variants, seed=seed, model=model))


def _frames(ds: pydicom.Dataset) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.frombuffer(ds.PixelData, "<u2").reshape(ds.NumberOfFrames, ds.Rows, ds.Columns)


def _views(ds: pydicom.Dataset) -> list[str]:
    return [item.ViewCodeSequence[0].CodeMeaning for item in ds.DetectorInformationSequence]


def _digest_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_request_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("first", 4), ("second", 4), ("other", 5)):
        make_phantom(_request("spect", "hot-tip", seed=seed), tmp_path / name)
    first = _digest_of(tmp_path / "first")
    assert any(name.endswith(".dcm") for name in first)
    assert any(name.endswith(".nii.gz") for name in first)
    assert first == _digest_of(tmp_path / "second")
    assert all(data != first.get(name) for name, data in _digest_of(tmp_path / "other").items() if "dcm" in name)


def test_the_default_is_one_object_with_an_anterior_and_a_posterior_frame() -> None:
    (ds,) = _objects()
    assert list(ds.ImageType) == ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    assert _views(ds) == ["Anterior projection", "Posterior projection"]
    assert _frames(ds).shape == (2, 128, 128)
    assert int(ds.CountsAccumulated) == _frames(ds).sum()
    tracer = ds.RadiopharmaceuticalInformationSequence[0]
    assert tracer.RadiopharmaceuticalCodeSequence[0].CodeValue == "85693008"
    assert tracer.RadionuclideCodeSequence[0].CodeValue == "72454006"
    assert tracer.AdministrationRouteCodeSequence[0].CodeValue == "58100008"
    assert "HAI PUMP" in ds.RequestedProcedureDescription


def test_the_liver_lies_at_the_left_of_the_anterior_and_the_right_of_the_posterior_frame() -> None:
    (ds,) = _objects()
    anterior, posterior = _frames(ds).astype(float)
    half = ds.Columns // 2
    assert anterior[:, :half].sum() > 2 * anterior[:, half:].sum()
    assert posterior[:, half:].sum() > 2 * posterior[:, :half].sum()


@pytest.mark.parametrize("model", ["development", "evaluation"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_true_lung_shunt_is_the_share_of_activity_that_lies_in_the_lungs(seed: int, model: str) -> None:
    scene = _scene(seed=seed, model=model)
    activity = {
        name: float((scene.uptake.activity_zyx[solid.box] * (solid.occupancy_zyx > 0.02)).sum(dtype=np.float64))
        for name, solid in scene.body.solids.items()
        if name in {"liver", "lung_right", "lung_left"}
    }
    lungs = activity["lung_right"] + activity["lung_left"]
    # What circulates and what shares a voxel with a neighbour adds a little to both.
    assert lungs / (lungs + activity["liver"]) == pytest.approx(scene.uptake.lung_shunt_fraction, abs=0.012)


@pytest.mark.parametrize("model", ["development", "evaluation"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_liver_has_the_volume_that_was_drawn_and_two_lobes(seed: int, model: str) -> None:
    body = _scene(seed=seed, model=model).body
    liver_ml = body.solids["liver"].volume_ml(body.grid)
    assert 990 <= liver_ml <= 2210
    assert liver_ml == pytest.approx(body.stature.liver_volume_ml, rel=0.01)
    right_ml = body.solids["liver"].times(body.right_lobe_share_zyx).volume_ml(body.grid)
    assert 0.55 * liver_ml < right_ml < 0.85 * liver_ml


def test_a_plain_geometric_mean_overestimates_the_shunt_and_the_truth_says_by_how_much() -> None:
    study = _truth(seed=2)
    truth = study.measurements[0]
    expected = study.structures["lung_shunt_fraction_geometric_mean_expected"]
    assert isinstance(expected, float)
    assert truth.key == "lung_shunt_fraction"
    assert 1.3 * truth.value < expected < 5 * truth.value
    assert expected - truth.value < truth.tolerance


def test_variants_of_one_seed_show_the_same_patient() -> None:
    plain, varied = _scene(), _scene("hot-tip", "missing-left-lobe")
    np.testing.assert_array_equal(plain.body.solids["liver"].occupancy_zyx, varied.body.solids["liver"].occupancy_zyx)
    assert plain.uptake.lung_shunt_fraction == varied.uptake.lung_shunt_fraction
    assert plain.uptake.lesions == varied.uptake.lesions


@pytest.mark.parametrize(("variant", "low", "high"), [("missing-left-lobe", 0, 0.06), ("missing-right-lobe", 0.85, 1)])
def test_a_missing_lobe_holds_almost_no_activity(variant: str, low: float, high: float) -> None:
    assert low <= _scene(variant).uptake.left_share_fraction <= high


@pytest.mark.parametrize("organ", ["stomach", "duodenum", "spleen", "bowel", "pancreas"])
def test_an_extrahepatic_focus_lies_in_its_organ_within_the_field_and_is_counted(organ: str) -> None:
    study = _truth(f"extrahepatic-{organ}", "strong")
    (focus,) = study.lists["foci"]
    assert isinstance(focus, dict)
    assert focus["organ"] == organ
    assert focus["origin"] == "extrahepatic"
    share = focus["liver_share_fraction"]
    assert isinstance(share, float)
    assert 0.06 <= share <= 0.15
    contrast = focus["anterior_contrast_to_noise"]
    assert isinstance(contrast, float)
    assert contrast > 5
    assert {m.key: m.value for m in study.measurements}["extrahepatic_focus_count"] == 1
    assert f"focus_{organ}" in study.masks


def test_tip_and_free_tracer_are_listed_but_are_not_extrahepatic_perfusion() -> None:
    study = _truth("hot-tip", "free-pertechnetate")
    origins = {str(focus["name"]): focus["origin"] for focus in study.lists["foci"] if isinstance(focus, dict)}
    assert origins["catheter tip"] == "device"
    assert origins["stomach wall"] == "pertechnetate"
    assert {m.key: m.value for m in study.measurements}["extrahepatic_focus_count"] == 0


def test_faint_foci_hold_less_than_strong_ones() -> None:
    faint = _scene("extrahepatic-stomach", "faint").uptake.foci[0].liver_share_fraction
    strong = _scene("extrahepatic-stomach", "strong").uptake.foci[0].liver_share_fraction
    assert faint < 0.0051
    assert strong > 0.0599


def test_spilt_tracer_lies_in_the_field_of_view() -> None:
    (ds,) = _objects("pocket-extravasation")
    scene = _scene("pocket-extravasation")
    (focus,) = scene.uptake.foci
    z, _, x = scene.body.grid.index_of(focus.solid.centroid_lps_mm(scene.body.grid))
    row, column = round(ds.Rows - 1 - z), round(x)
    anterior = _frames(ds)[0].astype(float)
    reach = 9
    near = anterior[row - reach : row + reach + 1, column - reach : column + reach + 1].sum()
    assert near > 0.08 * anterior.sum()


def test_low_counts_are_few_and_the_others_are_enough() -> None:
    (plain,), (low,) = _objects(), _objects("low-counts")
    assert _frames(plain)[0].sum() > 500_000
    assert _frames(low)[0].sum() < 150_000


def test_separate_views_are_separate_series_with_a_row_direction_each() -> None:
    first, second = _objects("separate-views")
    assert _views(first) + _views(second) == ["Anterior projection", "Posterior projection"]
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert list(first.PatientOrientation) == ["L", "F"]
    assert list(second.PatientOrientation) == ["R", "F"]


def test_views_by_start_angle_name_no_view() -> None:
    (ds,) = _objects("views-by-startangle")
    assert [float(item.StartAngle) for item in ds.DetectorInformationSequence] == [180.0, 0.0]
    assert all("ViewCodeSequence" not in item for item in ds.DetectorInformationSequence)


def test_views_by_text_are_known_from_the_german_description_alone() -> None:
    objects = _objects("views-by-text", "german")
    assert [ds.SeriesDescription.split()[-1] for ds in objects] == ["ventral", "dorsal"]
    for ds in objects:
        assert "ViewCodeSequence" not in ds.DetectorInformationSequence[0]
        assert "StartAngle" not in ds.DetectorInformationSequence[0]
    assert "über HAI-Pumpe" in objects[0].StudyDescription


def test_no_posterior_leaves_one_frame() -> None:
    (ds,) = _objects("no-posterior")
    assert _views(ds) == ["Anterior projection"]


def test_a_whole_body_scan_reaches_from_the_head_to_the_thighs() -> None:
    (ds,) = _objects("whole-body", "free-pertechnetate")
    assert ds.ImageType[2] == "WHOLE BODY"
    profile = _frames(ds)[0].sum(axis=1)
    seen = np.flatnonzero(profile > 5)
    assert (seen[-1] - seen[0]) * float(ds.PixelSpacing[0]) > 900


def test_a_scatter_window_adds_two_frames_below_the_peak() -> None:
    (ds,) = _objects("scatter-window")
    assert list(ds.EnergyWindowVector) == [1, 1, 2, 2]
    assert list(ds.DetectorVector) == [1, 2, 1, 2]
    peak, lower = (
        [
            float(item.EnergyWindowRangeSequence[0][name].value)
            for name in ("EnergyWindowLowerLimit", "EnergyWindowUpperLimit")
        ]
        for item in ds.EnergyWindowInformationSequence
    )
    assert lower[1] <= peak[0]
    assert 0.1 < _frames(ds)[2].sum() / _frames(ds)[0].sum() < 0.6


def test_two_nuclides_are_declared_and_seen_in_their_own_windows() -> None:
    (ds,) = _objects("dual-isotope")
    nuclides = [item.RadionuclideCodeSequence[0].CodeMeaning for item in ds.RadiopharmaceuticalInformationSequence]
    assert nuclides == ["^99m^Technetium", "^111^Indium"]
    assert list(ds.EnergyWindowVector) == [1, 1, 2, 2]


def test_a_colloid_scan_comes_first_and_shines_through_in_the_spleen() -> None:
    perfusion, colloid = _objects("sulfur-colloid")
    (plain,) = _objects()
    assert colloid.StudyTime <= colloid.AcquisitionTime < perfusion.AcquisitionTime
    assert colloid.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalCodeSequence[0].CodeValue == "5931004"
    spleen = _truth("sulfur-colloid").masks["spleen"].mask_zyx[1] > 0
    assert _frames(perfusion)[1][spleen].sum() > 1.5 * _frames(plain)[1][spleen].sum()


def test_the_infusion_series_fills_the_liver() -> None:
    dynamic = _objects("dynamic", "no-planar")[0]
    assert dynamic.ImageType[2] == "DYNAMIC"
    anterior = _frames(dynamic)[: dynamic.PhaseInformationSequence[0].NumberOfFramesInPhase].sum(axis=(1, 2))
    assert anterior[0] == 0
    assert anterior[-1] > 5 * max(int(anterior[5]), 1)


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_the_reconstructed_volume_lies_where_its_mask_says(tmp_path: Path, order: str) -> None:
    variants = ("spect", "no-planar", *(("descending",) if order == "descending" else ()))
    make_phantom(_request(*variants), tmp_path / "out")
    (path,) = (tmp_path / "out" / "dicom").rglob("*.dcm")
    ds = pydicom.dcmread(path)
    volume = ds.pixel_array.astype(float)
    spacing_mm = float(ds.SpacingBetweenSlices)
    assert (spacing_mm < 0) == (order == "descending")
    mask_image = nibabel.Nifti1Image.from_filename(tmp_path / "out" / "masks" / "volume_liver.nii.gz")
    mask = np.asarray(mask_image.dataobj).T > 0
    assert mask.shape == volume.shape
    # NIfTI is RAS, DICOM is LPS.
    origin = np.diag([-1.0, -1.0, 1.0]) @ np.asarray(mask_image.affine)[:3, 3]
    np.testing.assert_allclose(origin, ds.DetectorInformationSequence[0].ImagePositionPatient, atol=0.01)
    assert np.asarray(mask_image.affine)[2, 2] == pytest.approx(spacing_mm, abs=0.01)
    assert volume[mask].sum() > 0.6 * volume.sum()
    assert mask.sum() * abs(spacing_mm) ** 3 / 1000 == pytest.approx(_scene().body.stature.liver_volume_ml, rel=0.03)


def test_without_attenuation_correction_the_depth_of_the_body_is_weaker() -> None:
    corrected, uncorrected = _objects("spect", "spect-nac", "no-planar")
    assert "ATTN" in corrected.CorrectedImage
    assert "ATTN" not in uncorrected.CorrectedImage
    lungs = _truth("spect", "no-planar").masks["volume_lung_right"].mask_zyx > 0
    liver = _truth("spect", "no-planar").masks["volume_liver"].mask_zyx > 0

    def ratio(ds: pydicom.Dataset) -> float:
        return float(_frames(ds)[lungs].mean() / _frames(ds)[liver].mean())

    assert ratio(uncorrected) > 1.3 * ratio(corrected)


def test_the_low_dose_ct_shares_frame_and_slices_with_the_spect() -> None:
    volume, *slices = _objects("spect-ct", "no-planar")
    assert {ds.FrameOfReferenceUID for ds in slices} == {volume.FrameOfReferenceUID}
    assert len(slices) == volume.NumberOfFrames
    first_z_mm = float(volume.DetectorInformationSequence[0].ImagePositionPatient[2])
    assert float(slices[0].ImagePositionPatient[2]) == pytest.approx(first_z_mm, abs=0.01)
    middle = np.frombuffer(slices[len(slices) // 2].PixelData, "<u2").astype(float) - 1024
    assert middle.min() < -950
    # Organs stand out of fat, as they do in a patient.
    assert 20 < np.median(middle[middle > 0]) < 120
    assert (np.abs(middle + 100.0) < 30.0).sum() > 0.05 * (middle > -200).sum()


def test_the_liver_of_the_ct_lies_lower_after_a_breath_in() -> None:
    usual, deep = (breathing_offset_mm(_request(*variants)) for variants in ((), ("dome-mismatch",)))
    assert abs(usual) <= 7.0
    assert -26.0 <= deep <= -17.0


@pytest.mark.parametrize(("side", "lost"), [("left", 0.0), ("right", 1.0)])
def test_a_resected_lobe_is_neither_in_the_body_nor_in_the_uptake(side: str, lost: float) -> None:
    whole, rest = _scene(), _scene(f"{side}-hepatectomy")
    share = whole.body.right_lobe_share_zyx
    surely_lost = share == lost
    assert rest.body.solids["liver"].occupancy_zyx[surely_lost].max() == 0.0
    assert rest.body.solids["liver"].occupancy_zyx[~surely_lost].sum() > 0.0
    assert rest.uptake.left_share_fraction == pytest.approx(1.0 if side == "right" else 0.0, abs=0.02)


def test_a_field_that_cuts_the_liver_ends_above_its_lower_edge() -> None:
    whole, cut = (_truth("spect", "no-planar", *variants) for variants in ((), ("field-cuts-liver",)))
    livers = [one.masks["volume_liver"].mask_zyx > 0 for one in (whole, cut)]
    assert not livers[0][0].any()
    assert livers[1][0].any()
    assert livers[1].sum() < 0.8 * livers[0].sum()


def test_mapping_before_radioembolisation_says_so_and_has_neither_pump_nor_left_lobe() -> None:
    (ds,) = _objects("y90-mapping")
    words = f"{ds.StudyDescription} {ds.RequestedProcedureDescription} {ds.ProtocolName}".upper()
    assert "Y90" in words or "Y-90" in words
    assert "PUMP" not in words
    assert "HAI" not in words
    scene = _scene("y90-mapping")
    assert "pump" not in scene.body.solids
    assert scene.uptake.left_share_fraction < 0.06


def test_not_hai_bears_no_tag_and_asks_for_no_measurement() -> None:
    study = _truth("not-hai")
    (instance,) = study.instances
    text = str(instance.dataset).upper()
    assert "HAI PUMP" not in text
    assert "AGGREGATED" not in text
    assert not study.measurements


def test_header_variants_leave_out_what_they_name() -> None:
    planar, screen = _objects("no-frame-of-reference", "no-patient-position", "derived-inside")
    assert "FrameOfReferenceUID" not in planar
    assert len(planar.PatientOrientationCodeSequence) == 0
    assert screen.ImageType[0] == "DERIVED"
    assert screen.Modality == "NM"


def test_feet_first_changes_the_gantry_relationship() -> None:
    (plain,), (turned) = _objects(), _objects("feet-first")
    assert plain.PatientGantryRelationshipCodeSequence[0].CodeMeaning == "headfirst"
    assert turned[0].PatientGantryRelationshipCodeSequence[0].CodeMeaning == "feet-first"


def test_a_patient_who_slips_blurs_the_lower_edge() -> None:
    (still,), (slipped) = _objects(), _objects("motion")

    def sharpest_edge(ds: pydicom.Dataset) -> float:
        profile = _frames(ds)[0].sum(axis=1).astype(float)
        return float(-np.diff(profile / profile.max()).min())

    assert sharpest_edge(slipped[0]) < sharpest_edge(still)


def test_the_evaluation_model_shows_another_image_of_the_same_shunt() -> None:
    developed, evaluated = KIND.make(_request()), KIND.make(_request(model="evaluation"))
    assert developed.measurements[0].value == evaluated.measurements[0].value
    first, second = (_frames(next(iter(study.instances)).dataset)[0].astype(float) for study in (developed, evaluated))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.98


def test_variants_that_contradict_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PhantomError, match="exclude each other"):
        make_phantom(_request("strong", "faint"), tmp_path / "out")


def test_the_command_lists_every_variant() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "analyzers.phantoms", "scintigraphy", "--list-variants"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(name in listed.stdout for name in VARIANTS)


def test_truth_states_keys_units_and_tolerances(tmp_path: Path) -> None:
    make_phantom(_request("extrahepatic-duodenum"), tmp_path / "out")
    truth = json.loads((tmp_path / "out" / "truth.json").read_text(encoding="utf-8"))
    assert [m["key"] for m in truth["measurements"]] == [
        "lung_shunt_fraction", "lung_shunt_fraction_corrected", "extrahepatic_focus_count",
    ]  # fmt: skip
    assert {m["unit"] for m in truth["measurements"]} == {"1"}
    assert all(m["tolerance_reason"] for m in truth["measurements"])
    assert len(truth["foci"][0]["centroid_lps_mm"]) == 3
    assert (tmp_path / "out" / "masks" / "lungs.nii.gz").is_file()


def _validator() -> str:
    beside = Path(sys.executable).parent / "dciodvfy"
    found = str(beside) if beside.is_file() else shutil.which("dciodvfy")
    if found is None:
        pytest.skip("dciodvfy is not installed")
    return found


@pytest.mark.parametrize(
    "variants",
    [
        ("derived-inside", "dynamic", "scatter-window", "spect-ct", "spect-nac", "sulfur-colloid", "tomo"),
        ("german", "separate-views", "whole-body"),
        ("feet-first", "laterals", "views-by-startangle"),
        ("german", "views-by-text", "y90-mapping"),
        ("not-hai",),
        ("dual-isotope", "no-frame-of-reference", "no-patient-position"),
    ],
    ids=" ".join,
)
def test_one_object_of_each_series_passes_the_validator(tmp_path: Path, variants: tuple[str, ...]) -> None:
    validator = _validator()
    make_phantom(_request(*variants), tmp_path / "out")
    for series in sorted((tmp_path / "out" / "dicom").iterdir()):
        path = min(series.iterdir())
        told = subprocess.run([validator, "-new", str(path)], capture_output=True, text=True, check=False)
        faults = [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]
        assert not faults, (series.name, faults)


def test_a_focus_that_cannot_be_seen_may_be_missed_and_one_that_can_may_not() -> None:
    for organ, level in (("stomach", "strong"), ("spleen", "faint"), ("duodenum", "faint")):
        study = _truth(f"extrahepatic-{organ}", level)
        (focus,) = study.lists["foci"]
        assert isinstance(focus, dict)
        contrast = focus["anterior_contrast_fraction"]
        assert isinstance(contrast, float)
        tolerance = {m.key: m.tolerance for m in study.measurements}["extrahepatic_focus_count"]
        assert (tolerance == 0) == (contrast >= 0.2)
