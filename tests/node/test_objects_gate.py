"""The gate: a wrong object is refused by name, before anybody could send it."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits

from analyzers.contract import Assessed
from scp_node.domain.delivery import ObjectKind
from scp_node.errors import EncodingError
from scp_node.objects.encoding import MadeObject, make_objects, setting_of
from scp_node.objects.gate import acquaintances, check
from scp_node.objects.modules import Setting
from tests.node.object_sources import CATHETER, DEVICE, ball, order, save, segment, slices

SHAPE = (12, 24, 32)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Setting, dict[ObjectKind, MadeObject], list[Dataset]]:
    images = slices(12)
    setting = setting_of(order(save(images, tmp_path_factory.mktemp("gate") / "study")))
    segments = (
        segment("liver", ball(SHAPE, (6, 12, 14), 5), images),
        segment("catheter", ball(SHAPE, (6, 5, 28), 2), images, type_=CATHETER, category=DEVICE),
    )
    result = Assessed(conclusion="Seen.", findings=(), measurements=(), segments=segments)
    made = make_objects(setting, result, [])
    return setting, {each.kind: each for each in made}, [each.dataset for each in made]


def refused(
    study: tuple[Setting, dict[ObjectKind, MadeObject], list[Dataset]],
    kind: ObjectKind,
    spoil: Callable[[Dataset], object],
) -> str:
    setting, made, datasets = study
    dataset = deepcopy(made[kind].dataset)
    spoil(dataset)
    with pytest.raises(EncodingError) as fault:
        check(made[kind].file, dataset, setting, acquaintances(setting, datasets))
    return str(fault.value)


def groups(report: Dataset) -> list[Dataset]:
    measurements = next(
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    return list(measurements.ContentSequence)


def outline_of(report: Dataset) -> Dataset:
    found: Dataset = next(item for group in groups(report) for item in group.ContentSequence if "GraphicData" in item)
    return found


def overlap(dataset: Dataset) -> None:
    """Draw the first segment's pixels into the frame of the second that lies on the same plane."""
    frames = dataset.pixel_array.reshape(dataset.NumberOfFrames, -1)
    planes: dict[str, int] = {}
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        if uid in planes:
            frames[index] |= frames[planes[uid]]
        planes.setdefault(uid, index)
    dataset.PixelData = pack_bits(frames.ravel())


def unplaced(report: Dataset) -> None:
    """Take the outline groups away and leave those that point at the segmentation."""
    for item in report.ContentSequence:
        if item.ConceptNameCodeSequence[0].CodeValue == "126010":
            item.ContentSequence = [
                group
                for group in item.ContentSequence
                if not any("GraphicData" in inner for inner in group.ContentSequence)
            ]


SPOILERS: dict[str, tuple[ObjectKind, Callable[[Dataset], object], str]] = {
    "another patient": (
        ObjectKind.SECONDARY_CAPTURE,
        lambda each: setattr(each, "PatientID", "SOMEBODY-ELSE"),
        "PatientID",
    ),
    "another name": (ObjectKind.REPORT, lambda each: setattr(each, "PatientName", "Else^Some"), "PatientName"),
    "another accession number": (
        ObjectKind.TEXT_REPORT,
        lambda each: setattr(each, "AccessionNumber", ""),
        "AccessionNumber",
    ),
    "another study": (ObjectKind.SEGMENTATION, lambda each: setattr(each, "StudyInstanceUID", "1.2"), "StudyInstance"),
    "an illegal UID": (
        ObjectKind.REPORT,
        lambda each: each.add(DataElement("SeriesInstanceUID", "UI", "1.02.3", validation_mode=IGNORE)),
        "SeriesInstanceUID is not a UID",
    ),
    "a name in the file that differs": (
        ObjectKind.REPORT,
        lambda each: setattr(each, "SOPInstanceUID", "1.2.3"),
        "MediaStorageSOPInstanceUID",
    ),
    "a reference to an unknown image": (
        ObjectKind.REPORT,
        lambda each: setattr(
            outline_of(each).ContentSequence[0].ReferencedSOPSequence[0], "ReferencedSOPInstanceUID", "1.2.3"
        ),
        "refers to 1.2.3",
    ),
    "a reference by the wrong class": (
        ObjectKind.REPORT,
        lambda each: setattr(
            outline_of(each).ContentSequence[0].ReferencedSOPSequence[0],
            "ReferencedSOPClassUID",
            "1.2.840.10008.5.1.4.1.1.4",
        ),
        "wrong SOP class",
    ),
    "a segment that does not exist": (
        ObjectKind.REPORT,
        lambda each: setattr(
            next(
                item.ReferencedSOPSequence[0]
                for group in groups(each)
                for item in group.ContentSequence
                if item.ConceptNameCodeSequence[0].CodeValue == "121191"
            ),
            "ReferencedSegmentNumber",
            7,
        ),
        "segment 7",
    ),
    "an outline outside the image": (
        ObjectKind.REPORT,
        lambda each: setattr(outline_of(each), "GraphicData", [1.0, 1.0, 900.0, 1.0, *[2.0] * 12]),
        "leaves the image",
    ),
    "an outline of five points": (
        ObjectKind.REPORT,
        lambda each: setattr(outline_of(each), "GraphicData", [1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0, 1.0, 1.0]),
        "has 5 points",
    ),
    "a group without coordinates": (ObjectKind.REPORT, unplaced, "rests on no coordinates"),
    "a control character": (
        ObjectKind.TEXT_REPORT,
        lambda each: setattr(each, "SeriesDescription", "a\x07b"),
        "control character",
    ),
    "segments that overlap": (ObjectKind.SEGMENTATION, overlap, "segments overlap"),
    "an empty frame": (
        ObjectKind.SEGMENTATION,
        lambda each: setattr(each, "PixelData", bytes(len(each.PixelData))),
        "a frame is empty",
    ),
    "segments not numbered from 1": (
        ObjectKind.SEGMENTATION,
        lambda each: setattr(each.SegmentSequence[1], "SegmentNumber", 3),
        r"segments are numbered [1, 3]",
    ),
    "a segment without colour": (
        ObjectKind.SEGMENTATION,
        lambda each: each.SegmentSequence[0].pop("RecommendedDisplayCIELabValue"),
        "no display colour",
    ),
}


@pytest.mark.parametrize("fault", SPOILERS)
def test_a_wrong_object_is_refused_by_name(
    study: tuple[Setting, dict[ObjectKind, MadeObject], list[Dataset]], fault: str
) -> None:
    kind, spoil, words = SPOILERS[fault]

    message = refused(study, kind, spoil)

    assert message.startswith(study[1][kind].file)
    assert words in message


def test_a_refusal_does_not_show_the_patient(
    study: tuple[Setting, dict[ObjectKind, MadeObject], list[Dataset]],
) -> None:
    message = refused(study, ObjectKind.REPORT, lambda each: setattr(each, "PatientName", "Else^Some"))

    assert "Else" not in message
    assert "Phantom" not in message


def test_frames_whose_bits_do_not_begin_at_a_byte_are_told_apart(tmp_path: Path) -> None:
    images = slices(3, size=(5, 7))
    mask = np.zeros((3, 5, 7), dtype=np.bool_)
    mask[:, 1:4, 2:5] = True
    setting = setting_of(order(save(images, tmp_path / "study")))
    result = Assessed(conclusion="Seen.", findings=(), measurements=(), segments=(segment("liver", mask, images),))

    made = make_objects(setting, result, [])

    assert ObjectKind.SEGMENTATION in {each.kind for each in made}
