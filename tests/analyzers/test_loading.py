"""Loading a study folder: measured correctly, or refused with a reason."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from analyzers.loading import StudyFolderError, open_study
from analyzers.volume import LoadedSeries, Volume
from tests.analyzers import dicom_samples as sample

Z_MM = (-5.0, -2.5, 0.0, 2.5, 5.0, 7.5)


def loaded(folder: Path, datasets: Sequence[Dataset]) -> LoadedSeries:
    study = open_study(sample.write(datasets, folder / "study"))
    assert len(study.summary.series) == 1
    return study.load(study.summary.series[0].series_instance_uid)


def only_volume(folder: Path, datasets: Sequence[Dataset]) -> Volume:
    series = loaded(folder, datasets)
    assert series.refusals == ()
    assert len(series.volumes) == 1
    return series.volumes[0]


def assert_each_voxel_is_where_it_says(volume: Volume) -> None:
    """Hold for slices whose values are 10 z + column + 100 row."""
    for z in range(len(volume.planes)):
        z_mm = float((volume.affine_lps @ [0.0, 0.0, z, 1.0])[2])
        assert np.array_equal(volume.voxels_zyx[z], sample.place_code(z_mm))


# --- order -------------------------------------------------------------------------------------------------


@given(order=st.permutations(range(len(Z_MM))), instance_numbers=st.permutations(range(1, len(Z_MM) + 1)))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_slices_are_sorted_by_place_whatever_their_file_and_instance_numbers(
    tmp_path: Path, order: list[int], instance_numbers: list[int]
) -> None:
    slices = []
    for index, number in zip(order, instance_numbers, strict=True):
        dataset = sample.ct_slice(Z_MM[index])
        dataset.InstanceNumber = number
        slices.append(dataset)
    shutil.rmtree(tmp_path / "study", ignore_errors=True)

    volume = only_volume(tmp_path, slices)

    assert_each_voxel_is_where_it_says(volume)
    assert volume.spacing_zyx_mm == pytest.approx((2.5, 2.0, 1.5))
    assert volume.planes[0].sop_instance_uid == sample.uid("image", "a", -5.0)
    assert volume.planes[0].frame is None


def test_feet_first_columns_keep_their_direction(tmp_path: Path) -> None:
    slices = [sample.ct_slice(z) for z in Z_MM]
    for dataset in slices:
        dataset.PatientPosition = "FFS"
        sample.set_geometry(dataset, (10.0, -20.0, dataset.ImagePositionPatient[2]), (-1, 0, 0, 0, 1, 0))

    volume = only_volume(tmp_path, slices)

    # The normal of such a plane points to the feet, so planes run from head to feet and nothing is flipped.
    assert volume.affine_lps[2, 2] == pytest.approx(-2.5)
    assert volume.affine_lps[0, 0] == pytest.approx(-1.5)
    assert_each_voxel_is_where_it_says(volume)


def test_overlapping_slices_are_spaced_by_position_not_thickness(tmp_path: Path) -> None:
    slices = [sample.ct_slice(z) for z in Z_MM]
    for dataset in slices:
        dataset.SliceThickness = "5"

    assert only_volume(tmp_path, slices).spacing_zyx_mm[0] == pytest.approx(2.5)


def test_gantry_tilt_stays_in_the_affine(tmp_path: Path) -> None:
    tilt = np.radians(15.0)
    down = (0.0, float(np.cos(tilt)), float(-np.sin(tilt)))
    slices = [sample.ct_slice(z) for z in Z_MM]
    for dataset in slices:
        sample.set_geometry(dataset, dataset.ImagePositionPatient, (1.0, 0.0, 0.0, *down))

    volume = only_volume(tmp_path, slices)

    assert volume.tilt_deg == pytest.approx(15.0, abs=0.01)
    assert volume.affine_lps[:3, 2] == pytest.approx([0.0, 0.0, 2.5])
    assert volume.voxel_ml == pytest.approx(2.5 * np.cos(tilt) * 2.0 * 1.5 / 1000.0)


# --- what may be missing, doubled or mixed in ----------------------------------------------------------------


def test_a_missing_slice_is_refused_naming_the_place(tmp_path: Path) -> None:
    series = loaded(tmp_path, [sample.ct_slice(z) for z in (*Z_MM, 12.5, 15.0)])

    assert series.volumes == ()
    assert series.refusals == ("1 slice missing between z=7.5 and z=12.5 mm",)


def test_a_duplicate_of_the_same_pixels_is_dropped_with_a_remark(tmp_path: Path) -> None:
    again = sample.ct_slice(2.5, name="again")

    volume = only_volume(tmp_path, [*(sample.ct_slice(z) for z in Z_MM), again])

    assert_each_voxel_is_where_it_says(volume)
    assert volume.remarks == ("1 duplicate plane dropped",)


def test_two_different_images_at_one_place_are_refused(tmp_path: Path) -> None:
    other = sample.ct_slice(2.5, name="other", hu=40)

    series = loaded(tmp_path, [*(sample.ct_slice(z) for z in Z_MM), other])

    assert series.volumes == ()
    assert series.refusals == ("2 different images at z=2.5 mm that no header attribute tells apart",)


@pytest.mark.parametrize("told_by", ["AcquisitionNumber", "AcquisitionTime", "ContrastBolusAgentPhase"])
def test_two_phases_in_one_series_are_parted(tmp_path: Path, told_by: str) -> None:
    words = {"AcquisitionNumber": (3, 7), "AcquisitionTime": ("100000", "100035"), "ContrastBolusAgentPhase": "AB"}
    slices = []
    for phase, hu in enumerate((30, 130)):
        for z in Z_MM:
            dataset = sample.ct_slice(z, name=(phase, z), hu=hu)
            setattr(dataset, told_by, words[told_by][phase])
            slices.append(dataset)

    series = loaded(tmp_path, slices[::-1])

    assert series.refusals == ()
    assert [(volume.label, float(volume.voxels_zyx.mean())) for volume in series.volumes] == [
        ("phase 1", 30.0),
        ("phase 2", 130.0),
    ]


def test_phases_that_lie_between_each_other_are_not_mixed(tmp_path: Path) -> None:
    slices = []
    for number, (shift_mm, hu) in enumerate(((0.0, 30), (1.25, 130)), start=1):
        for z in Z_MM:
            dataset = sample.ct_slice(z + shift_mm, hu=hu)
            dataset.AcquisitionNumber = number
            slices.append(dataset)

    volumes = loaded(tmp_path, slices).volumes

    assert [float(volume.voxels_zyx.std()) for volume in volumes] == [0.0, 0.0]
    assert [volume.spacing_zyx_mm[0] for volume in volumes] == pytest.approx([2.5, 2.5])


def test_phases_of_unequal_coverage_are_parted_by_time(tmp_path: Path) -> None:
    slices = []
    for second, z in enumerate((*Z_MM, *Z_MM[2:])):
        dataset = sample.ct_slice(z, name=second, hu=30 if second < len(Z_MM) else 130)
        dataset.AcquisitionTime = f"1000{second:02d}"
        slices.append(dataset)

    volumes = loaded(tmp_path, slices).volumes

    assert [(len(volume.planes), float(volume.voxels_zyx.max())) for volume in volumes] == [(6, 30.0), (4, 130.0)]


@pytest.mark.parametrize("second_phase", [Z_MM, Z_MM[2:]], ids=["equal coverage", "unequal coverage"])
def test_a_duplicate_is_not_taken_for_the_beginning_of_a_phase(tmp_path: Path, second_phase: Sequence[float]) -> None:
    slices = []
    for second, z in enumerate((*Z_MM, *second_phase)):
        dataset = sample.ct_slice(z, name=second, hu=30 if second < len(Z_MM) else 130)
        dataset.AcquisitionTime = f"1000{second:02d}"
        slices.append(dataset)
    again = sample.ct_slice(Z_MM[1], name="again", hu=30)
    again.AcquisitionTime = "100001"

    volumes = loaded(tmp_path, [*slices, again]).volumes

    assert [len(volume.planes) for volume in volumes] == [len(Z_MM), len(second_phase)]
    assert [set(volume.voxels_zyx.ravel().tolist()) for volume in volumes] == [{30.0}, {130.0}]


@given(order=st.permutations(range(len(Z_MM) + 1)), again=st.integers(0, len(Z_MM) - 1))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_slice_sent_again_is_refused_under_any_file_names(
    tmp_path: Path, order: list[int], again: int
) -> None:
    slices = [sample.ct_slice(z_mm) for z_mm in Z_MM]
    slices.append(sample.ct_slice(Z_MM[again], name="again", hu=7))
    for dataset in slices:
        dataset.AcquisitionTime = "101500"
    shutil.rmtree(tmp_path / "study", ignore_errors=True)

    series = loaded(tmp_path, [slices[index] for index in order])

    assert series.volumes == ()
    assert series.refusals == (f"2 different images at z={Z_MM[again]:.1f} mm that no header attribute tells apart",)


def test_a_localizer_inside_the_series_is_left_out(tmp_path: Path) -> None:
    scout = sample.ct_slice(0.0, name="scout")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    sample.set_geometry(scout, (-10.0, 0.0, 60.0), (1, 0, 0, 0, 0, -1))

    series = loaded(tmp_path, [*(sample.ct_slice(z) for z in Z_MM), scout])

    assert [len(volume.planes) for volume in series.volumes] == [len(Z_MM)]
    assert series.refusals == ("1 localizer image left out",)


def test_derived_images_inside_the_series_are_a_volume_of_their_own_after_the_originals(tmp_path: Path) -> None:
    slices = [sample.ct_slice(z) for z in Z_MM]
    for z in Z_MM[:3]:
        dataset = sample.ct_slice(z, name=("mip", z), hu=500)
        dataset.ImageType = ["DERIVED", "SECONDARY", "MIP"]
        slices.insert(0, dataset)

    volumes = loaded(tmp_path, slices).volumes

    assert [(volume.label, len(volume.planes)) for volume in volumes] == [("", 6), ("derived", 3)]


def test_echoes_and_b_values_in_one_series_are_parted_and_named(tmp_path: Path) -> None:
    echoes = []
    for echo_ms in ("4.6", "2.3"):
        for z in Z_MM:
            dataset = sample.mr_slice(z, name=(echo_ms, z), signal=round(10 * float(echo_ms)))
            dataset.EchoTime = echo_ms
            echoes.append(dataset)

    volumes = loaded(tmp_path, echoes).volumes

    assert [(volume.label, float(volume.voxels_zyx.mean())) for volume in volumes] == [
        ("echo 1", 23.0),
        ("echo 2", 46.0),
    ]
    assert volumes[0].attributes["EchoTime"] == ("2.30",)


def test_three_orientations_in_one_series_are_three_volumes(tmp_path: Path) -> None:
    axial = [sample.mr_slice(z, name=("axial", z)) for z in Z_MM]
    coronal = [sample.mr_slice(y, name=("coronal", y)) for y in Z_MM]
    for dataset in coronal:
        sample.set_geometry(dataset, (-10.0, dataset.ImagePositionPatient[2], 30.0), (1, 0, 0, 0, 0, -1))

    volumes = loaded(tmp_path, [*axial, *coronal]).volumes

    assert sorted(len(volume.planes) for volume in volumes) == [6, 6]


def test_enhanced_multi_frame_is_sorted_and_parted_by_its_functional_groups(tmp_path: Path) -> None:
    series = loaded(tmp_path, [sample.enhanced_mr([3.0, 0.0, 6.0], [800.0, 50.0])])

    assert series.refusals == ()
    assert [volume.label for volume in series.volumes] == ["b=50", "b=800"]
    low_b = series.volumes[0]
    assert low_b.voxels_zyx[:, 0, 0].tolist() == [50.0, 80.0, 110.0]
    assert [ref.frame for ref in low_b.planes] == [4, 2, 6]
    assert low_b.spacing_zyx_mm == pytest.approx((3.0, 2.0, 1.5))
    assert low_b.header.text("RepetitionTime") == "4000"


# --- headers that are silent or wrong ------------------------------------------------------------------------


def test_missing_frame_of_reference_and_patient_position_are_remarked(tmp_path: Path) -> None:
    slices = [sample.ct_slice(z) for z in Z_MM]
    for dataset in slices:
        del dataset.FrameOfReferenceUID
        del dataset.PatientPosition

    volume = only_volume(tmp_path, slices)

    assert volume.frame_of_reference_uid is None
    assert volume.remarks == (
        "no frame of reference: cannot be related to other series",
        "patient position not stated",
    )


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_images_without_geometry_are_refused(tmp_path: Path, keyword: str) -> None:
    slices = [sample.ct_slice(z) for z in Z_MM]
    for dataset in slices:
        delattr(dataset, keyword)

    series = loaded(tmp_path, slices)

    assert series.volumes == ()
    assert series.refusals == ("6 of 6 images lack a valid position, orientation or pixel spacing",)


@pytest.mark.parametrize(
    ("declared", "stored_corner", "is_padding"),
    [
        (None, -3024 + 1024, True),  # undeclared, below all tissue
        (-2000, -2000, True),
        (63536, -2000, True),  # declared as unsigned, a fault of many exporters
        (1024, 1024, False),  # 0 HU: would hide water
    ],
)
def test_padding_becomes_air_and_is_marked(
    tmp_path: Path, declared: int | None, stored_corner: int, is_padding: bool
) -> None:
    slices = [sample.ct_slice(z, hu=40) for z in Z_MM]
    for dataset in slices:
        stored = np.full((sample.ROWS, sample.COLUMNS), 40 + 1024)
        stored[0, 0] = stored_corner
        sample.set_pixels(dataset, stored, signed=True)
        if declared is not None:
            dataset.add_new("PixelPaddingValue", "US" if declared > 32767 else "SS", declared)

    volume = only_volume(tmp_path, slices)

    assert (volume.padding_zyx is not None) == is_padding
    if volume.padding_zyx is not None:
        assert volume.padding_zyx[:, 0, 0].all()
        assert volume.padding_zyx.sum() == len(Z_MM)
        assert set(volume.voxels_zyx[:, 0, 0].tolist()) == {-1000.0}
    assert set(volume.voxels_zyx[:, 1, 1].tolist()) == {40.0}


def test_twelve_bit_signed_pixels_are_sign_extended_and_overlay_bits_cut(tmp_path: Path) -> None:
    slices = [sample.ct_slice(z) for z in Z_MM]
    for dataset in slices:
        stored = np.full((sample.ROWS, sample.COLUMNS), -1000) & 0x0FFF
        stored[0, 0] |= 0x8000
        sample.set_pixels(dataset, stored, bits=12)
        dataset.PixelRepresentation = 1
        dataset.RescaleIntercept = "0"

    assert set(np.unique(only_volume(tmp_path, slices).voxels_zyx).tolist()) == {-1000.0}


@pytest.mark.parametrize("signed", [False, True])
def test_pixels_kept_in_the_upper_bits_of_their_word_are_moved_down(tmp_path: Path, signed: bool) -> None:
    slices = [sample.ct_slice(z_mm) for z_mm in Z_MM]
    for dataset, z_mm in zip(slices, Z_MM, strict=True):
        offset = 0 if signed else 1024
        stored = (sample.place_code(z_mm) + offset) * 16 + 5  # an overlay in the bits below
        sample.set_pixels(dataset, stored, signed=signed, bits=12)
        dataset.HighBit, dataset.RescaleIntercept = 15, f"{-offset}"

    assert_each_voxel_is_where_it_says(only_volume(tmp_path, slices))


def test_rescale_is_applied_plane_by_plane(tmp_path: Path) -> None:
    slices = [sample.ct_slice(z, hu=0) for z in Z_MM]
    for number, dataset in enumerate(slices):
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{number + 1}", "-10"

    means = only_volume(tmp_path, slices).voxels_zyx.mean(axis=(1, 2))

    assert means.tolist() == [1024.0 * (number + 1) - 10.0 for number in range(len(Z_MM))]


@pytest.mark.parametrize("value", ["NaN", "inf", "1e300"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_rescale_values_that_are_no_numbers_are_refused(tmp_path: Path, keyword: str, value: str) -> None:
    slices = [sample.ct_slice(z_mm) for z_mm in Z_MM]
    # Written past the library, which would refuse to make such a file.
    slices[2][keyword] = RawDataElement(Tag(keyword), "DS", len(value), value.encode(), 0, False, True)

    series = loaded(tmp_path, slices)

    assert series.volumes == ()
    assert any("rescale" in reason for reason in series.refusals)


def test_a_planar_view_whose_rescale_slope_is_no_number_is_refused(tmp_path: Path) -> None:
    view = sample.planar(np.ones((1, 4, 4), int), detectors=[1])
    view["RescaleSlope"] = RawDataElement(Tag("RescaleSlope"), "DS", 4, b"NaN ", 0, False, True)

    series = loaded(tmp_path, [view])

    assert series.views == ()
    assert series.refusals == ('rescale slope "NaN" is not a number',)


@pytest.mark.parametrize("unit", ["MGML", "Z_EFF", "%EDW"])
def test_ct_in_another_unit_is_refused_by_name(tmp_path: Path, unit: str) -> None:
    slices = [sample.ct_slice(z_mm) for z_mm in Z_MM]
    for dataset in slices:
        dataset.RescaleType = unit

    series = loaded(tmp_path, slices)

    assert series.volumes == ()
    assert series.refusals == (f"values in {unit}, not in Hounsfield units",)


@pytest.mark.parametrize(("unit", "remarked"), [("HU", False), ("US", True)])
def test_ct_of_unspecified_unit_is_read_with_a_remark(tmp_path: Path, unit: str, remarked: bool) -> None:
    slices = [sample.ct_slice(z_mm) for z_mm in Z_MM]
    for dataset in slices:
        dataset.RescaleType = unit

    volume = only_volume(tmp_path, slices)

    assert_each_voxel_is_where_it_says(volume)
    assert any("unit not stated" in remark for remark in volume.remarks) is remarked


def test_ct_without_rescale_values_is_refused_unless_air_is_in_it(tmp_path: Path) -> None:
    slices = [sample.ct_slice(z, hu=40) for z in Z_MM]
    for dataset in slices:
        del dataset.RescaleIntercept

    assert loaded(tmp_path, slices).refusals == ("no rescale values, so no Hounsfield units",)


# --- pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_every_encoding_gives_the_same_voxels(tmp_path: Path, syntax: UID) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    for z in Z_MM:
        dataset = sample.ct_slice(z)
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            stored = np.frombuffer(dataset.PixelData, "<u2")
            dataset.PixelData = stored.astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
        dataset.save_as(folder / f"{z}.dcm", enforce_file_format=True)

    study = open_study(folder)
    (volume,) = study.load(study.summary.series[0].series_instance_uid).volumes

    assert_each_voxel_is_where_it_says(volume)


@pytest.mark.parametrize(
    ("kept_bytes", "reason"),
    [
        (0, "Pixel Data is present but empty"),
        (50, "Pixel Data ends before frame 1 is complete"),
    ],
)
def test_short_pixel_data_is_refused(tmp_path: Path, kept_bytes: int, reason: str) -> None:
    slices = [sample.ct_slice(z) for z in Z_MM]
    for dataset in slices:
        dataset.PixelData = dataset.PixelData[:kept_bytes]

    (refusal,) = loaded(tmp_path, slices).refusals

    assert refusal.startswith(reason)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    folder = sample.write([sample.ct_slice(z) for z in Z_MM], tmp_path / "study")
    cut = min(folder.iterdir())
    cut.write_bytes(cut.read_bytes()[:-10])

    study = open_study(folder)

    series = study.load(study.summary.series[0].series_instance_uid)
    assert series.refusals == ("file ends before its Pixel Data is complete",)


def test_a_colour_picture_and_a_secondary_capture_are_refused(tmp_path: Path) -> None:
    colour = sample.ct_slice(0.0, name="colour")
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    capture = sample.image("capture", sop_class_uid=sample.SECONDARY_CAPTURE, modality="NM")
    sample.set_pixels(capture, np.zeros((4, 4), int))

    series = loaded(tmp_path, [colour, capture])

    assert series.volumes == ()
    assert set(series.refusals) == {
        "image is in colour: a picture, not a measurement",
        "a secondary capture is a picture without measurable values",
    }


# --- nuclear medicine ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_mm", [4.0, -4.0])
def test_spect_slices_follow_the_sign_of_their_spacing(tmp_path: Path, step_mm: float) -> None:
    counts = np.arange(5)[:, None, None] * np.ones((1, sample.ROWS, sample.COLUMNS), int)

    volume = only_volume(tmp_path, [sample.spect(counts, first_z_mm=100.0, step_mm=step_mm)])

    for z, ref in enumerate(volume.planes):
        z_mm = float((volume.affine_lps @ [0.0, 0.0, z, 1.0])[2])
        slice_number = round((z_mm - 100.0) / step_mm)
        assert ref.frame == slice_number + 1
        assert set(volume.voxels_zyx[z].ravel().tolist()) == {float(slice_number)}


def test_spect_without_orientation_is_refused(tmp_path: Path) -> None:
    dataset = sample.spect(np.zeros((4, 6, 8), int), first_z_mm=0.0, step_mm=4.0)
    del dataset.DetectorInformationSequence[0].ImageOrientationPatient

    assert loaded(tmp_path, [dataset]).refusals == (
        "4 of 4 images lack a valid position, orientation or pixel spacing",
    )


def test_planar_views_keep_their_counts_unmirrored_and_name_window_and_time(tmp_path: Path) -> None:
    counts = np.arange(2 * 6 * 8).reshape(2, 6, 8)
    dataset = sample.planar(counts, detectors=[1, 2])
    dataset.SeriesDescription = "ANT/POST"

    anterior, posterior = loaded(tmp_path, [dataset]).views

    assert (anterior.direction, posterior.direction) == ("anterior", "posterior")
    assert np.array_equal(posterior.counts, counts[1])
    assert posterior.frame.frame == 2
    assert (posterior.duration_s, posterior.energy_window, posterior.window_kev) == (300.0, 1, (126.0, 154.0))


def test_time_slices_of_a_dynamic_series_are_views_in_the_order_of_their_frames(tmp_path: Path) -> None:
    counts = np.arange(2 * 6 * 8).reshape(2, 6, 8)
    dataset = sample.planar(counts, detectors=[1, 1])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"]

    series = loaded(tmp_path, [dataset])

    assert [view.frame.frame for view in series.views] == [1, 2]
    assert all(np.array_equal(view.counts, plane) for view, plane in zip(series.views, counts, strict=True))


@pytest.mark.parametrize("kind", ["TOMO", "GATED TOMO"])
def test_other_frames_of_nuclear_medicine_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    dataset = sample.planar(np.zeros((2, 6, 8), int), detectors=[1, 2])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]

    series = loaded(tmp_path, [dataset])

    assert not series.views
    assert not series.volumes
    assert len(series.refusals) == 1


# --- the folder ----------------------------------------------------------------------------------------------


def test_other_files_are_ignored_and_counted_and_nothing_is_written(tmp_path: Path) -> None:
    folder = sample.write([sample.ct_slice(z) for z in Z_MM], tmp_path / "study")
    (folder / "notes.txt").write_text("not an image")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "fake.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    study = open_study(folder)
    study.load(study.summary.series[0].series_instance_uid)

    assert study.ignored_files == 2
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_same_instance_twice_in_the_folder_counts_once(tmp_path: Path) -> None:
    folder = sample.write([sample.ct_slice(z) for z in Z_MM], tmp_path / "study")
    shutil.copy(min(folder.iterdir()), folder / "copy")

    study = open_study(folder)

    assert study.summary.series[0].frame_count == len(Z_MM)
    (volume,) = study.load(study.summary.series[0].series_instance_uid).volumes
    assert len(volume.planes) == len(Z_MM)


def test_a_file_without_preamble_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    for z in Z_MM:
        dataset = sample.ct_slice(z)
        del dataset.file_meta
        dataset.save_as(folder / f"{z}", implicit_vr=True, little_endian=True, enforce_file_format=False)

    study = open_study(folder)

    (volume,) = study.load(study.summary.series[0].series_instance_uid).volumes
    assert_each_voxel_is_where_it_says(volume)


def test_two_studies_in_one_folder_are_refused(tmp_path: Path) -> None:
    other = sample.ct_slice(0.0, series="b")
    other.StudyInstanceUID = UID("1.2.3")

    with pytest.raises(StudyFolderError, match="holds 2 studies"):
        open_study(sample.write([sample.ct_slice(0.0), other], tmp_path / "study"))


def test_a_folder_without_images_or_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")

    with pytest.raises(StudyFolderError, match=r"holds no DICOM instance \(1 other file"):
        open_study(tmp_path)
    with pytest.raises(StudyFolderError, match="is not a folder"):
        open_study(tmp_path / "absent")


def test_roles_choose_series_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    slices = []
    for series, number in (("a", 3), ("b", 2), ("c", 1)):
        for z in Z_MM:
            dataset = sample.ct_slice(z, series=series)
            dataset.SeriesNumber = number
            slices.append(dataset)
    study = open_study(sample.write(slices, tmp_path / "study"))

    chosen = study.with_roles({sample.uid("series", name): "portal" for name in "ab"}).with_role("portal")

    assert [one.series.series_instance_uid for one in chosen] == [sample.uid("series", name) for name in ("b", "a")]
    with pytest.raises(KeyError):
        study.load("1.2.3")
