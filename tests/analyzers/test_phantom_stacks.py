"""Each variant of the CT and MR phantoms does to a stack what it says; shown on stacks of a few tiny images."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from analyzers.phantoms import ct_images, mr_images
from analyzers.phantoms.body import draw_build
from analyzers.phantoms.catalogue import load_kind, variants_of
from analyzers.phantoms.ct_headers import CtSeriesHeader
from analyzers.phantoms.ct_scanner import Exposure, slice_images
from analyzers.phantoms.device import draw_device
from analyzers.phantoms.layers import Grid
from analyzers.phantoms.mr_protocol import protocol
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance, PhantomStudy
from analyzers.phantoms.vessels import draw_vessels
from analyzers.phantoms.writing import write_study

SLICES, SIZE, SPACING_MM = 9, 8, 2.5
GRID = Grid.spanning((-20.0, -30.0, -40.0), (20.0, 10.0, 40.0), (1.25, 5.0, 5.0))
CENTRES_MM: NDArray[np.float64] = np.linspace(-12.0, -12.0 + SPACING_MM * (SLICES - 1), SLICES)


def ct_instances(*variants: str) -> list[pydicom.Dataset]:
    """One CT series whose pixel in the first column of each row tells the slice, +200 HU per slice."""
    request = PhantomRequest(kind="cta", seed=1, variants=tuple(sorted(variants)))
    tilt = np.radians(12) if "gantry-tilt" in variants else 0.0
    images_hu = np.zeros((SLICES, SIZE, SIZE), dtype=np.int16)
    images_hu[:, :, 0] = 200 * np.arange(SLICES)[:, None]
    series = ct_images.CtSeriesImages(
        header=CtSeriesHeader(
            role="portal", number=4, description="x", delay_s=70.0,
            thickness_mm=4.0 if "overlapping" in variants else 2.5,
            spacing_mm=SPACING_MM, kernel="B30f"),
        acquisition=1, images_hu_zyx=images_hu, grid=GRID, first_of_study=True, numbered_from=1,
        exposure=Exposure(centres_z_mm=CENTRES_MM, thickness_mm=2.5, noise_hu=0, tilt_rad=float(tilt)),
    )  # fmt: skip
    return [instance.dataset for instance in ct_images.instances_of(request, series)]


def mr_instances(role: str, *variants: str) -> list[pydicom.Dataset]:
    """One MR series of tiny images."""
    request = PhantomRequest(kind="mri", seed=1, variants=tuple(sorted(variants)))
    recipe = next(recipe for recipe in protocol(request) if recipe.role == role)
    pixels = np.full((SLICES, SIZE, SIZE), 100, dtype=np.uint16)
    stack = mr_images.MrImages(label="", centres_mm=CENTRES_MM, pixels_zyx=pixels)
    series = mr_images.MrSeries(recipe=recipe, grid=GRID, images=(stack,))
    return [instance.dataset for instance in mr_images.instances_of(request, series)]


def heights_mm(images: list[pydicom.Dataset]) -> list[float]:
    return [float(image.ImagePositionPatient[2]) for image in images]


def slice_told_by_pixels(image: pydicom.Dataset, column: int) -> int:
    stored = np.frombuffer(image.PixelData, dtype="<i2").reshape(image.Rows, image.Columns)
    return round((int(stored[SIZE // 2, column]) + int(image.RescaleIntercept)) / 200)


def test_a_plain_stack_ascends_and_its_pixels_lie_where_the_header_says() -> None:
    images = ct_instances()
    assert heights_mm(images) == pytest.approx(list(CENTRES_MM))
    assert [slice_told_by_pixels(image, 0) for image in images] == list(range(SLICES))
    assert [image.InstanceNumber for image in images] == list(range(1, SLICES + 1))


def test_descending_turns_the_order_but_not_the_anatomy() -> None:
    images = ct_instances("descending")
    assert heights_mm(images) == pytest.approx(list(CENTRES_MM[::-1]))
    assert [slice_told_by_pixels(image, 0) for image in images] == list(range(SLICES))[::-1]


def test_feet_first_shows_the_same_body_from_the_other_end() -> None:
    images = ct_instances("feet-first")
    assert {image.PatientPosition for image in images} == {"FFS"}
    assert heights_mm(images) == pytest.approx(list(CENTRES_MM[::-1]))
    first = images[0]
    assert [float(value) for value in first.ImageOrientationPatient] == [-1, 0, 0, 0, 1, 0]
    assert float(first.ImagePositionPatient[0]) == pytest.approx(GRID.x_mm[-1])
    assert slice_told_by_pixels(first, SIZE - 1) == SLICES - 1


def test_one_position_is_sent_twice_or_not_at_all() -> None:
    twice, missing = ct_instances("duplicate-slice"), ct_instances("missing-slice")
    assert len(twice) == SLICES + 1
    assert len(set(heights_mm(twice))) == SLICES
    assert len({image.SOPInstanceUID for image in twice}) == SLICES + 1
    gaps_mm = np.diff(sorted(heights_mm(missing)))
    assert sorted(np.unique(np.round(gaps_mm, 3))) == [SPACING_MM, 2 * SPACING_MM]


def test_overlapping_slices_are_thicker_than_their_spacing() -> None:
    image = ct_instances("overlapping")[0]
    assert float(image.SliceThickness) > float(image.SpacingBetweenSlices)


def test_a_tilted_gantry_shears_the_stack_along_the_table() -> None:
    images = ct_instances("gantry-tilt")
    column = [float(value) for value in images[0].ImageOrientationPatient[3:]]
    assert column == pytest.approx([0, np.cos(np.radians(12)), np.sin(np.radians(12))], abs=1e-5)
    steps = np.diff([[float(value) for value in image.ImagePositionPatient] for image in images], axis=0)
    assert steps == pytest.approx(np.tile([0, 0, SPACING_MM], (SLICES - 1, 1)), abs=1e-3)


def test_a_tilted_slice_takes_each_row_at_its_own_height() -> None:
    heights = np.broadcast_to(GRID.z_mm[:, None, None], GRID.shape).astype(np.float32)
    tilt = np.radians(12)
    exposure = Exposure(centres_z_mm=np.array([0.0]), thickness_mm=2.5, noise_hu=0.0, tilt_rad=float(tilt))
    rows = slice_images(heights, GRID, exposure, bell=False)[0, :, 0]
    assert rows == pytest.approx((GRID.y_mm - GRID.y_mm.mean()) * np.sin(tilt), abs=0.1)


def test_intruders_cross_the_stack_and_say_what_they_are() -> None:
    images = ct_instances("localizer-inside", "derived-inside")
    scout, reformat = images[SLICES:]
    assert (scout.ImageType[2], reformat.ImageType[0]) == ("LOCALIZER", "DERIVED")
    assert {image.SeriesInstanceUID for image in images} == {images[0].SeriesInstanceUID}
    for intruder in (scout, reformat):
        assert [float(value) for value in intruder.ImageOrientationPatient] == [1, 0, 0, 0, 0, -1]
        assert len(intruder.PixelData) == 2 * intruder.Rows * intruder.Columns


def test_what_some_scanners_leave_out_is_left_out() -> None:
    assert "FrameOfReferenceUID" not in ct_instances("no-frame-of-reference")[0]
    assert "PatientPosition" not in ct_instances("no-patient-position")[0]
    assert "FrameOfReferenceUID" not in mr_instances("pre", "no-frame-of-reference")[0]


def test_padding_lies_outside_the_circle_alone_and_far_below_air() -> None:
    image = ct_instances("padding")[0]
    stored = np.frombuffer(image.PixelData, dtype="<i2").reshape(SIZE, SIZE)
    assert image.PixelPaddingValue + image.RescaleIntercept == -3024
    assert stored[0, 0] == image.PixelPaddingValue
    assert stored[SIZE // 2, SIZE // 2] == 1024
    assert image.PixelRepresentation == 1


def test_enhanced_holds_the_stack_in_one_object_with_a_position_per_frame() -> None:
    for images in (ct_instances("enhanced"), mr_instances("pre", "enhanced")):
        (image,) = images
        assert image.SOPClassUID in {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"}
        assert image.NumberOfFrames == SLICES
        groups = image.PerFrameFunctionalGroupsSequence
        z_mm = [float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in groups]
        assert z_mm == pytest.approx(list(CENTRES_MM))
        assert len(image.PixelData) == 2 * SLICES * SIZE * SIZE


@pytest.mark.parametrize("variant", ["enhanced", "feet-first", "padding", "gantry-tilt", "two-phases-in-one-series"])
def test_disturbed_headers_stay_valid(variant: str, tmp_path: Path) -> None:
    validator = Path(sys.executable).with_name("dciodvfy")
    if not validator.is_file():
        pytest.skip("dciodvfy is not installed")
    images = [ct_instances(variant)[0]]
    if variant in variants_of(load_kind("mri")):
        images += [mr_instances(role, variant)[0] for role in ("coronal", "dual", "dwi", "portal")]
    request = PhantomRequest(kind="cta", seed=1)
    instances = [PhantomInstance(folder="S", stem=f"I{number}", dataset=image) for number, image in enumerate(images)]
    write_study(request, PhantomStudy(instances=instances, measurements=()), tmp_path)
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        told = subprocess.run([str(validator), "-new", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")] == []


def test_phases_share_one_mr_series_without_sharing_numbers() -> None:
    variant = "two-phases-in-one-series"
    images = [*mr_instances("arterial", variant), *mr_instances("portal", variant)]
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == len(images) == 2 * SLICES
    assert len({image.InstanceNumber for image in images}) == 2 * SLICES
    assert {image.TemporalPositionIdentifier for image in images} == {1, 2}


def words_of(kind: str, *variants: str) -> str:
    image = ct_instances(*variants)[0] if kind == "cta" else mr_instances("pre", *variants)[0]
    request = image.RequestAttributesSequence[0]
    words = (image.StudyDescription, image.ProtocolName, image.RequestedProcedureDescription)
    return " ".join((*words, request.ReasonForTheRequestedProcedure)).upper()


@pytest.mark.parametrize("kind", ["cta", "mri"])
def test_headers_tell_an_infusion_pump_study_from_others(kind: str) -> None:
    assert "HAI" in words_of(kind)
    assert "PUMPE" in words_of(kind, "german")
    for other in ("not-hai", "y90-mapping"):
        assert not any(word in words_of(kind, other) for word in ("HAI", "PUMP", "INFUSION"))
    assert "RADIOEMBOLIZATION" in words_of(kind, "y90-mapping")


def test_a_flipped_pump_turns_its_septum_inwards_and_a_variant_artery_leaves_the_mesenteric() -> None:
    usual = PhantomRequest(kind="cta", seed=2)
    other = PhantomRequest(kind="cta", seed=2, variants=("pump-flipped", "variant-artery"))
    build = draw_build(usual)
    vessels, others = draw_vessels(usual, build), draw_vessels(other, build)
    device, flipped = draw_device(usual, build, vessels), draw_device(other, build, others)
    assert float(device.normal @ device.outward) == pytest.approx(1)
    assert float(flipped.normal @ flipped.outward) == pytest.approx(-1)
    mesenteric = others.arteries["superior_mesenteric"][:, :3]
    origin = others.arteries["right_hepatic"][0, :3]
    assert np.linalg.norm(mesenteric - origin, axis=1).min() < 5
    assert np.linalg.norm(vessels.arteries["right_hepatic"][0, :3] - vessels.arteries["proper_hepatic"][-1, :3]) < 0.1


def test_shuffled_names_hide_the_order(tmp_path: Path) -> None:
    request = PhantomRequest(kind="cta", seed=1, variants=("shuffled-names",))
    images = ct_instances("shuffled-names")

    def instances() -> Iterator[PhantomInstance]:
        for number, dataset in enumerate(images):
            yield PhantomInstance(folder="S04", stem=f"I{number:04d}", dataset=dataset)

    write_study(request, PhantomStudy(instances=instances(), measurements=()), tmp_path)
    files = sorted((tmp_path / "dicom").rglob("*.dcm"))
    numbers = [int(pydicom.dcmread(path).InstanceNumber) for path in files]
    assert len(numbers) == SLICES
    assert numbers != sorted(numbers)
    assert not any("S04" in path.as_posix() for path in files)


@pytest.mark.parametrize("kind", ["cta", "mri"])
def test_every_variant_is_described_in_one_line(kind: str) -> None:
    for name, description in variants_of(load_kind(kind)).items():
        assert name == name.lower()
        assert description
        assert "\n" not in description
