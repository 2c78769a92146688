"""Segmentations of others, read back as regions in the patient."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import nrrd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from analyzers.grid_mask import GridMask
from analyzers.loading import StudyOnDisk, open_study
from analyzers.segmentations import GivenSegmentation, MaskRefusedError
from tests.analyzers.dicom_samples import ct_slice, uid, write
from tests.analyzers.segmentation_samples import (
    LESION_CODES,
    LIVER_CODES,
    TISSUE_CODES,
    by_dcmqi,
    reference_image,
    segmentation,
)

SHAPE = (7, 9, 11)
STRAIGHT = np.array([[2.0, 0, 0, -30], [0, 3.0, 0, -40], [0, 0, 4.0, 55], [0, 0, 0, 1]])
# Turned about two axes, planes running to the feet.
_A, _B = np.radians(20.0), np.radians(35.0)
_TURN = np.array([[np.cos(_A), -np.sin(_A), 0], [np.sin(_A), np.cos(_A), 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, np.cos(_B), -np.sin(_B)], [0, np.sin(_B), np.cos(_B)]]
)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = _TURN @ np.diag([2.0, 3.0, -4.0])
OBLIQUE[:3, 3] = (5.0, -70.0, 120.0)


def lesion() -> NDArray[np.bool_]:
    """Without symmetry, on planes 2, 3 and 5: plane 4 between is empty."""
    mask = np.zeros(SHAPE, np.bool_)
    mask[2, 1:4, 2:7] = mask[3, 2, 3] = mask[5, 6:8, 9] = True
    return mask


def liver() -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, np.bool_)
    mask[1:6, 1:8, 1:10] = True
    return mask


def image() -> Dataset:
    return reference_image(study=uid("study"), series=uid("series", "a"), frame_of_reference=uid("frame of reference"))


def made(kind: str = "BINARY", affine: NDArray[np.float64] = STRAIGHT) -> Dataset:
    """Overlapping, but for the label map, which cannot be."""
    whole = liver() & ~lesion() if kind == "LABELMAP" else liver()
    masks = [("Liver", LIVER_CODES, whole), ("Lesion 1", LESION_CODES, lesion())]
    if kind == "FRACTIONAL":
        masks = [(label, codes, np.where(mask, 0.7, 0.3)) for label, codes, mask in masks]
    return segmentation(masks, affine, image(), kind=kind)


def opened(folder: Path, *datasets: Dataset) -> StudyOnDisk:
    write([ct_slice(z) for z in (0.0, 2.5)], folder)
    for number, dataset in enumerate(datasets):
        dataset.save_as(folder / f"given{number}.dcm", enforce_file_format=True)
    return open_study(folder)


def given(folder: Path, dataset: Dataset) -> GivenSegmentation:
    (found,) = opened(folder, dataset).segmentations
    return found


def places(mask: GridMask) -> set[tuple[float, ...]]:
    return {tuple(point) for point in mask.points_lps_mm().round(2) + 0.0}


def expected(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> set[tuple[float, ...]]:
    return places(GridMask(label="", mask_zyx=mask, affine_lps=affine))


@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_each_kind_of_segmentation_is_read_with_every_voxel_in_its_place(
    kind: str, affine: NDArray[np.float64], tmp_path: Path
) -> None:
    found = given(tmp_path, made(kind, affine))

    whole, one = (segment for segment in found.segments if segment.number)
    assert (one.label, one.type and one.type.value) == ("Lesion 1", "14799000")
    assert places(found.mask(one)) == expected(lesion(), affine)
    assert places(found.mask(whole)) == expected(liver() & ~lesion() if kind == "LABELMAP" else liver(), affine)


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ImplicitVRLittleEndian),
        ("BINARY", DeflatedExplicitVRLittleEndian),
        ("FRACTIONAL", RLELossless),
        ("LABELMAP", RLELossless),
    ],
)
def test_every_transfer_syntax_gives_the_same_region(kind: str, syntax: str, tmp_path: Path) -> None:
    dataset = made(kind)
    if syntax == RLELossless:
        dataset.compress(syntax, encoding_plugin="pydicom")
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    found = given(tmp_path, dataset)

    assert found.source.instance.transfer_syntax_uid == syntax
    assert places(found.mask(found.segments[-1])) == expected(lesion(), STRAIGHT)


def test_frames_may_come_in_any_order(tmp_path: Path) -> None:
    dataset = made()
    order = np.random.default_rng(4).permutation(len(dataset.PerFrameFunctionalGroupsSequence))
    frames, groups = dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence([groups[index] for index in order])
    bits = np.packbits(frames[order].ravel(), bitorder="little").tobytes()
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)

    found = given(tmp_path, dataset)

    assert list(order) != sorted(order)
    assert places(found.mask(found.segments[1])) == expected(lesion(), STRAIGHT)


def test_a_lone_segment_may_be_named_for_all_frames_at_once(tmp_path: Path) -> None:
    dataset = segmentation([("Lesion 1", LESION_CODES, lesion())], STRAIGHT, image())
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.pop("SegmentIdentificationSequence", None)
    dataset.SharedFunctionalGroupsSequence[0].pop("SegmentIdentificationSequence", None)

    found = given(tmp_path, dataset)

    assert places(found.mask(found.segments[0])) == expected(lesion(), STRAIGHT)


def test_planes_left_out_because_they_are_empty_keep_their_place(tmp_path: Path) -> None:
    only = np.zeros(SHAPE, np.bool_)
    only[1, 2, 3] = only[5, 2, 3] = True

    found = given(tmp_path, segmentation([("Lesion 1", LESION_CODES, only)], STRAIGHT, image()))

    mask = found.mask(found.segments[0])
    assert places(mask) == expected(only, STRAIGHT)
    assert mask.volume_ml == pytest.approx(2 * 24.0 / 1000.0)


def test_a_segmentation_is_no_series_of_the_study(tmp_path: Path) -> None:
    study = opened(tmp_path, made())

    assert [series.modality for series in study.summary.series] == ["CT"]
    assert len(study.segmentations) == len(study.with_roles({}).segmentations) == 1


def test_a_segmentation_of_another_study_is_an_ignored_file(tmp_path: Path) -> None:
    dataset = made()
    dataset.StudyInstanceUID = uid("another study")

    study = opened(tmp_path, dataset)

    assert study.segmentations == ()
    assert study.ignored_files == 1
    assert study.summary.study_instance_uid == uid("study")


def test_a_folder_of_nothing_but_segmentations_has_them_as_its_series(tmp_path: Path) -> None:
    made().save_as(tmp_path / "given.dcm", enforce_file_format=True)

    study = open_study(tmp_path)

    assert [series.modality for series in study.summary.series] == ["SEG"]
    assert study.segmentations == ()


def without_planes(dataset: Dataset) -> None:
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.pop("PlanePositionSequence", None)


def off_the_line(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[2] += 1.3


def sideways(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[0] += 9.0


def without_pixels(dataset: Dataset) -> None:
    del dataset.PixelData


def more_frames_than_described(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 5000


def huge(dataset: Dataset) -> None:
    dataset.Rows = dataset.Columns = 60000


def without_segments(dataset: Dataset) -> None:
    dataset.SegmentSequence = DicomSequence([])


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (without_planes, "no position"),
        (off_the_line, "uneven distances"),
        (sideways, "straight line"),
        (without_pixels, "no pixels"),
        (more_frames_than_described, "describes"),
        (huge, "60000 rows"),
        (without_segments, "no segment"),
    ],
)
def test_a_segmentation_that_cannot_be_placed_is_refused_in_words(spoiled: object, words: str, tmp_path: Path) -> None:
    dataset = made()
    assert callable(spoiled)
    spoiled(dataset)

    found = given(tmp_path, dataset)

    assert words in found.refusal
    for segment in found.segments:
        with pytest.raises(MaskRefusedError, match=words):
            found.mask(segment)


def test_pixels_that_end_early_refuse_the_segments_that_need_them(tmp_path: Path) -> None:
    dataset = made()
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2 // 2 * 2]
    found = given(tmp_path, dataset)

    assert found.refusal == ""
    with pytest.raises(MaskRefusedError, match="ends before"):
        found.mask(found.segments[1])


def test_an_empty_segment_is_refused(tmp_path: Path) -> None:
    nothing = np.zeros(SHAPE, np.bool_)
    masks = [("Liver", LIVER_CODES, liver()), ("Lesion 1", LESION_CODES, nothing)]
    found = given(tmp_path, segmentation(masks, STRAIGHT, image()))

    with pytest.raises(MaskRefusedError, match="empty"):
        found.mask(found.segments[1])


@pytest.mark.parametrize("options", [(), ("--compress", "deflate"), ("--segmentationType", "labelmap")])
def test_a_segmentation_by_dcmqi_is_read_with_every_voxel_in_its_place(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    heights = [2.5 * number for number in range(6)]
    write([ct_slice(z) for z in heights], tmp_path / "study")
    volume = open_study(tmp_path / "study").load(uid("series", "a")).volumes[0]
    mask = np.zeros(volume.voxels_zyx.shape, np.uint8)
    mask[1, 2:4, 3:7] = mask[4, 1, 1] = 1
    header = {"space": "left-posterior-superior", "space directions": volume.affine_lps[:3, :3].T.tolist()}
    header["space origin"] = volume.affine_lps[:3, 3].tolist()
    nrrd.write(str(tmp_path / "mask.nrrd"), mask.transpose(2, 1, 0), header)
    out = tmp_path / "study" / "given.dcm"
    by_dcmqi([tmp_path / "mask.nrrd"], [("Tumor", 1, TISSUE_CODES)], tmp_path / "study", out, *options)

    (found,) = open_study(tmp_path / "study").segmentations

    one = next(segment for segment in found.segments if segment.label == "Tumor")
    assert places(found.mask(one)) == expected(mask.astype(np.bool_), volume.affine_lps)
    assert found.source_series == (uid("series", "a"),)


def test_segmentations_by_strangers_are_read_as_their_makers_read_them(real_data_dir: Path, tmp_path: Path) -> None:
    folder = real_data_dir / "objects_by_others" / "dcmqi" / "segmentations"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not a folder")
    for file, drawn in (("liver.dcm", "liver_seg.nrrd"), ("partial_overlaps.dcm", "partial_overlaps-1.nrrd")):
        values, _ = nrrd.read(str(folder / drawn))
        dataset = pydicom.dcmread(folder / file)
        dataset.StudyInstanceUID = uid("study")
        found = given(tmp_path / file, dataset)

        assert found.refusal == ""
        sizes = {int(found.mask(segment).mask_zyx.sum()) for segment in found.segments}
        assert {int((values == value).sum()) for value in np.unique(values) if value} <= sizes


def test_no_segmentation_of_strangers_breaks_the_reader(real_data_dir: Path, tmp_path: Path) -> None:
    folder = real_data_dir / "objects_by_others"
    files = [*folder.rglob("*.dcm"), *folder.rglob("*.seg")]
    read = 0
    for number, file in enumerate(sorted(files)):
        dataset = pydicom.dcmread(file)
        if dataset.Modality != "SEG":
            continue
        dataset.StudyInstanceUID = uid("study")
        for one in opened(tmp_path / str(number), dataset).segmentations:
            for segment in one.segments:
                with suppress(MaskRefusedError):
                    read += bool(one.mask(segment).mask_zyx.any())
    assert read
