"""Segmentations: every mask arrives where it was drawn, whatever the source, and no viewer loses a voxel."""

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nrrd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from analyzers.contract import Assessed, FrameRef, Segment
from analyzers.vocabulary import ABDOMINAL_WALL
from scp_node.domain.delivery import ObjectKind
from scp_node.errors import EncodingError
from scp_node.objects.encoding import MadeObject, make_objects, setting_of
from scp_node.objects.text import sr_text
from tests.node.object_sources import (
    ABNORMALITY,
    CATHETER,
    DEVICE,
    METASTASIS,
    RIGHT,
    ball,
    enhanced_ct,
    order,
    planes_of,
    recon_tomo,
    save,
    segment,
    slices,
)
from tests.node.object_validation import complaints, masks_read_by_dcmqi

SHAPE = (12, 24, 32)
LIVER = ball(SHAPE, (6, 12, 14), 5)
LESION = ball(SHAPE, (6, 12, 12), 2)
CATHETER_TIP = ball(SHAPE, (3, 5, 28), 2)


def made_from(folder: Path, images: list[Dataset], *segments: Segment) -> tuple[MadeObject, ...]:
    study = save(images, folder / "study")
    result = Assessed(conclusion="Seen.", findings=(), measurements=(), segments=segments)
    return make_objects(setting_of(order(study)), result, [])


def segmentations(made: tuple[MadeObject, ...]) -> list[Dataset]:
    return [each.dataset for each in made if each.kind is ObjectKind.SEGMENTATION]


def read_back(dataset: Dataset, number: int, planes: tuple[FrameRef, ...], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of a segment on named source planes, by the references of its frames."""
    mask = np.zeros((len(planes), *size), dtype=np.bool_)
    frames = hd.seg.Segmentation.from_dataset(dataset).pixel_array.reshape(-1, *size)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for pixels, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        owner = group if "SegmentIdentificationSequence" in group else shared
        if owner.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = source.get("ReferencedFrameNumber")
        mask[planes.index(FrameRef(sop_instance_uid=source.ReferencedSOPInstanceUID, frame=frame))] = pixels > 0
    return mask


def labels(dataset: Dataset) -> list[str]:
    return [item.SegmentLabel for item in dataset.SegmentSequence]


def test_segments_that_do_not_overlap_share_an_object(tmp_path: Path) -> None:
    ct = slices(12)
    made = made_from(
        tmp_path,
        ct,
        segment("liver", LIVER, ct),
        segment("catheter", CATHETER_TIP, ct, type_=CATHETER, category=DEVICE),
    )

    (only,) = segmentations(made)
    assert labels(only) == ["Liver", "Catheter"]
    assert only.SegmentsOverlap == "NO"


def test_a_segment_that_overlaps_goes_into_a_series_of_its_own(tmp_path: Path) -> None:
    ct = slices(12)
    made = made_from(
        tmp_path,
        ct,
        segment("liver", LIVER, ct),
        segment("lesion-1", LESION, ct, type_=METASTASIS, category=ABNORMALITY),
        segment("catheter", CATHETER_TIP, ct, type_=CATHETER, category=DEVICE),
    )

    first, second = segmentations(made)
    assert (labels(first), labels(second)) == (["Liver", "Catheter"], ["Lesion 1"])
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert [item.SegmentNumber for item in first.SegmentSequence] == [1, 2]
    assert [item.SegmentNumber for item in second.SegmentSequence] == [1]
    assert {each.SegmentsOverlap for each in (first, second)} == {"NO"}


def test_masks_of_two_series_never_share_an_object(tmp_path: Path) -> None:
    arterial, venous = slices(12, series=1), slices(12, series=2)
    made = made_from(
        tmp_path,
        [*arterial, *venous],
        segment("liver", LIVER, arterial),
        segment("catheter", CATHETER_TIP, venous, type_=CATHETER, category=DEVICE),
    )

    sources = [each.ReferencedSeriesSequence[0].SeriesInstanceUID for each in segmentations(made)]
    assert sources == [arterial[0].SeriesInstanceUID, venous[0].SeriesInstanceUID]


def test_masks_of_two_phases_of_one_series_never_share_an_object(tmp_path: Path) -> None:
    """The same places, but other images: a frame can name only one of them."""
    arterial, venous = slices(12), slices(12)
    for image in venous:
        image.SOPInstanceUID += ".2"
        image.AcquisitionNumber = 2
    made = made_from(
        tmp_path,
        [*arterial, *venous],
        segment("liver", LIVER, arterial),
        segment("catheter", CATHETER_TIP, venous, type_=CATHETER, category=DEVICE),
    )

    first, second = segmentations(made)
    assert (labels(first), labels(second)) == (["Liver"], ["Catheter"])
    assert np.array_equal(read_back(first, 1, planes_of(arterial), SHAPE[1:]), LIVER)
    assert np.array_equal(read_back(second, 1, planes_of(venous), SHAPE[1:]), CATHETER_TIP)


def test_an_empty_segment_is_no_segment(tmp_path: Path) -> None:
    ct = slices(12)
    made = made_from(
        tmp_path, ct, segment("lesion-1", LESION & False, ct, type_=METASTASIS), segment("liver", LIVER, ct)
    )

    (only,) = segmentations(made)
    assert labels(only) == ["Liver"]


def test_without_any_voxel_no_segmentation_is_made(tmp_path: Path) -> None:
    ct = slices(12)

    assert segmentations(made_from(tmp_path, ct, segment("liver", LIVER & False, ct))) == []


@pytest.mark.parametrize("shape", ["ct", "mr", "tilted", "descending", "shuffled planes", "enhanced", "spect"])
def test_a_mask_arrives_on_the_planes_that_it_names(tmp_path: Path, shape: str) -> None:
    images = {
        "ct": lambda: slices(12),
        "mr": lambda: slices(12, modality="MR"),
        "tilted": lambda: slices(12, tilt_mm=0.7),
        "descending": lambda: slices(12, step_mm=-2.5),
        "shuffled planes": lambda: slices(12),
        "enhanced": lambda: [enhanced_ct(12)],
        "spect": lambda: [recon_tomo(12, (24, 32))],
    }[shape]()
    drawn = segment("liver", LIVER, images)
    if shape == "shuffled planes":
        turn = np.random.default_rng(1).permutation(12)
        drawn = replace(drawn, mask_planes=LIVER[turn], planes=tuple(drawn.planes[index] for index in turn))

    (only,) = segmentations(made_from(tmp_path, images, drawn))

    planes = planes_of(images)
    assert np.array_equal(read_back(only, 1, planes, SHAPE[1:]), LIVER)
    assert complaints(only, tmp_path) == []


@pytest.mark.parametrize("shape", ["ct", "enhanced", "spect"])
def test_dcmqi_finds_every_segment_with_its_voxels_in_its_place(tmp_path: Path, shape: str) -> None:
    images = {
        "ct": lambda: slices(12),
        "enhanced": lambda: [enhanced_ct(12)],
        "spect": lambda: [recon_tomo(12, (24, 32), step_mm=-4.0)],
    }[shape]()
    segments = (
        segment("liver", LIVER, images),
        segment("catheter", CATHETER_TIP, images, type_=CATHETER, category=DEVICE),
    )

    (only,) = segmentations(made_from(tmp_path, images, *segments))

    read = [nrrd.read(str(path)) for path in masks_read_by_dcmqi(only, tmp_path)]
    assert [int(np.count_nonzero(voxels)) for voxels, _ in read] == [
        int(np.count_nonzero(each.mask_planes)) for each in segments
    ]
    if shape == "spect":
        # Slice 7 of 12 lies six steps of 4 mm below the first, whose detector position is z = 200 mm.
        voxels, head = read[0]
        centre_xyz = np.argwhere(voxels).mean(axis=0)
        z_mm = head["space origin"][2] + head["space directions"][2][2] * centre_xyz[2]
        assert z_mm == pytest.approx(200.0 - 6 * 4.0, abs=0.01)


def test_a_frame_of_an_enhanced_object_is_named_by_its_number(tmp_path: Path) -> None:
    image = enhanced_ct(12)

    (only,) = segmentations(made_from(tmp_path, [image], segment("liver", LIVER, [image])))

    sources = [
        group.DerivationImageSequence[0].SourceImageSequence[0] for group in only.PerFrameFunctionalGroupsSequence
    ]
    assert {source.ReferencedSOPClassUID for source in sources} == {image.SOPClassUID}
    assert sorted(int(source.ReferencedFrameNumber) for source in sources) == [
        index + 1 for index in range(12) if LIVER[index].any()
    ]


def test_a_frame_of_a_single_frame_object_is_not_numbered(tmp_path: Path) -> None:
    ct = slices(12)

    (only,) = segmentations(made_from(tmp_path, ct, segment("liver", LIVER, ct)))

    assert all(
        "ReferencedFrameNumber" not in group.DerivationImageSequence[0].SourceImageSequence[0]
        for group in only.PerFrameFunctionalGroupsSequence
    )


def test_a_single_plane_is_enough(tmp_path: Path) -> None:
    ct = slices(1)

    (only,) = segmentations(made_from(tmp_path, ct, segment("liver", LIVER[6:7], ct)))

    assert only.NumberOfFrames == 1
    assert complaints(only, tmp_path) == []


def test_images_without_a_frame_of_reference_get_a_segmentation_without_one(tmp_path: Path) -> None:
    ct = slices(12)
    for image in ct:
        del image.FrameOfReferenceUID

    (only,) = segmentations(made_from(tmp_path, ct, segment("liver", LIVER, ct)))

    assert "FrameOfReferenceUID" not in only
    assert np.array_equal(read_back(only, 1, planes_of(ct), SHAPE[1:]), LIVER)
    assert complaints(only, tmp_path) == []


def test_images_without_positions_get_no_segmentation_and_the_report_says_so(tmp_path: Path) -> None:
    ct = slices(12)
    for image in ct:
        del image.ImagePositionPatient

    made = made_from(tmp_path, ct, segment("liver", LIVER, ct))

    assert segmentations(made) == []
    text = next(each.dataset for each in made if each.kind is ObjectKind.TEXT_REPORT)
    assert "could not be sent as a segmentation" in sr_text(text)


@pytest.mark.parametrize("missing", ["SliceThickness", "PatientPosition", "Manufacturer", "SeriesNumber"])
def test_a_silent_header_does_not_prevent_a_segmentation(tmp_path: Path, missing: str) -> None:
    ct = slices(12)
    for image in ct:
        image.pop(missing, None)

    (only,) = segmentations(made_from(tmp_path, ct, segment("liver", LIVER, ct)))

    assert complaints(only, tmp_path) == []


def test_a_mask_on_an_unknown_instance_is_refused_by_name(tmp_path: Path) -> None:
    ct = slices(12)
    lost = replace(segment("liver", LIVER, ct), planes=tuple(FrameRef(sop_instance_uid=f"1.2.{i}") for i in range(12)))

    with pytest.raises(EncodingError, match=r"segment liver.*1\.2\.0"):
        made_from(tmp_path, ct, lost)


def test_a_mask_of_another_size_than_its_images_is_refused(tmp_path: Path) -> None:
    ct = slices(12)

    with pytest.raises(EncodingError, match="24 rows and 32 columns"):
        made_from(tmp_path, ct, segment("liver", LIVER[:, 1:], ct))


def test_a_laterality_is_said_in_the_code(tmp_path: Path) -> None:
    ct = slices(12)
    right = replace(segment("lung-right", LIVER, ct), laterality=CATHETER)

    (only,) = segmentations(made_from(tmp_path, ct, right))

    kind = only.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == CATHETER.value


def test_a_segment_names_the_thresholds_that_the_site_changed(tmp_path: Path) -> None:
    ct = slices(12)
    study = order(save(ct, tmp_path / "study"))
    result = Assessed(conclusion="Seen.", findings=(), measurements=(), segments=(segment("liver", LIVER, ct),))
    told = ("cta.liver.unenhanced_below_hu = 75 (default 80)", "cta.aorta.good_slice_mm = 1 (default 1.5)")

    (only,) = segmentations(make_objects(setting_of(study, told), result, []))
    (usual,) = segmentations(make_objects(setting_of(study), result, []))

    (made_by,) = only.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert made_by.AlgorithmParameters == "; ".join(told)
    assert complaints(only, tmp_path) == []
    assert "AlgorithmParameters" not in usual.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]


def test_the_side_of_a_site_modifies_the_site(tmp_path: Path) -> None:
    ct = slices(12)
    pump = replace(segment("pump", LIVER, ct), site=ABDOMINAL_WALL, laterality=RIGHT)

    (only,) = segmentations(made_from(tmp_path, ct, pump))

    (region,) = only.SegmentSequence[0].AnatomicRegionSequence
    assert (region.CodeValue, region.AnatomicRegionModifierSequence[0].CodeValue) == (ABDOMINAL_WALL.value, RIGHT.value)
    assert complaints(only, tmp_path) == []
