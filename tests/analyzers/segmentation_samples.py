"""Segmentations as others make them: by highdicom and by dcmqi, on images of a test."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code as SrCode
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.analyzers.dicom_samples import uid
from tests.node.object_validation import tool

MORPHOLOGY = SrCode("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY = SrCode("91723000", "SCT", "Anatomical Structure")
METASTASIS = SrCode("14799000", "SCT", "Neoplasm, Secondary")
LIVER = SrCode("10200004", "SCT", "Liver")
TISSUE = SrCode("85756007", "SCT", "Tissue")
LESION_CODES, LIVER_CODES, TISSUE_CODES = (MORPHOLOGY, METASTASIS), (ANATOMY, LIVER), (TISSUE, TISSUE)

Codes = tuple[SrCode, SrCode]


def reference_image(*, study: str, series: str, frame_of_reference: str) -> Dataset:
    """What a segmentation says it was drawn on, for highdicom a CT; no pixels."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = uid("drawn on", series)
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame_of_reference
    image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, 1
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "PHANTOM^ONE", "P1", "", ""
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20200102", "120000", "", ""
    image.ReferringPhysicianName = image.Manufacturer = image.PositionReferenceIndicator = ""
    image.Rows, image.Columns, image.SamplesPerPixel = 4, 4, 1
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [1, 1], 1
    image.BitsAllocated = image.BitsStored = 16
    return image


def segmentation(
    masks: Sequence[tuple[str, Codes, NDArray[np.generic]]],
    affine_lps: NDArray[np.float64],
    image: Dataset,
    *,
    kind: str = "BINARY",
    name: str = "segmentation",
) -> Dataset:
    """A segmentation object by highdicom.

    Parameters
    ----------
    masks : sequence of (label, (category, type), (z, y, x) array)
        Bool, or floats from 0 to 1 for a fractional one.
    affine_lps : (4, 4) float64
        (x, y, z, 1) to LPS mm; steps perpendicular to one another.
    image : Dataset
        What it is drawn on.
    kind : str
        BINARY, FRACTIONAL or LABELMAP.
    """
    row, column, step = (affine_lps[:3, axis] for axis in range(3))
    planes = len(masks[0][2])
    stack = np.stack([np.asarray(mask) for _, _, mask in masks], axis=-1)
    if kind == "LABELMAP":
        stack = np.asarray((stack * np.arange(1, len(masks) + 1)).max(axis=-1), np.uint8)
    positions = [affine_lps[:3, 3] + number * step for number in range(planes)]
    return hd.seg.Segmentation(
        source_images=[image],
        pixel_array=stack.astype(np.float32 if kind == "FRACTIONAL" else np.uint8),
        segmentation_type=kind,
        segment_descriptions=[
            _description(number, label, codes) for number, (label, codes, _) in enumerate(masks, start=1)
        ],
        series_instance_uid=uid("segmentation series", name),
        series_number=77,
        sop_instance_uid=uid("segmentation", name),
        instance_number=1,
        manufacturer="Reader's workstation",
        manufacturer_model_name="Outliner",
        software_versions="1",
        device_serial_number="1",
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=(float(np.linalg.norm(column)), float(np.linalg.norm(row))),
            slice_thickness=float(np.linalg.norm(step)),
            spacing_between_slices=float(np.linalg.norm(step)),
        ),
        plane_orientation=hd.PlaneOrientationSequence(
            "PATIENT", [*(row / np.linalg.norm(row)), *(column / np.linalg.norm(column))]
        ),
        plane_positions=[hd.PlanePositionSequence("PATIENT", list(position)) for position in positions],
        series_description="Outlines",
        fractional_type="OCCUPANCY" if kind == "FRACTIONAL" else "PROBABILITY",
    )


def _description(number: int, label: str, codes: Codes) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes[0],
        segmented_property_type=codes[1],
        algorithm_type="MANUAL",
    )


def by_dcmqi(
    mask_files: Sequence[Path], labels: Sequence[tuple[str, int, Codes]], images: Path, out: Path, *options: str
) -> Path:
    """A segmentation object by dcmqi: one NRRD file for each segment, its value in the file, on a folder of images."""
    described = [
        [
            {
                "labelID": value,
                "SegmentDescription": label,
                "SegmentLabel": label,
                "SegmentAlgorithmType": "MANUAL",
                "SegmentedPropertyCategoryCodeSequence": _item(codes[0]),
                "SegmentedPropertyTypeCodeSequence": _item(codes[1]),
            }
        ]
        for label, value, codes in labels
    ]
    words = {
        "ContentCreatorName": "Reader^One",
        "SeriesDescription": "Outlines",
        "SeriesNumber": "78",
        "InstanceNumber": "1",
        "segmentAttributes": described,
    }
    (metadata := out.with_suffix(".json")).write_text(json.dumps(words), encoding="utf-8")
    command = [
        tool("itkimage2segimage"), "--inputImageList", ",".join(map(str, mask_files)), "--inputDICOMDirectory",
        str(images), "--inputMetadata", str(metadata), "--outputDICOM", str(out), "--skip", "1", *options,
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return out


def _item(code: SrCode) -> dict[str, str]:
    return {"CodeValue": code.value, "CodingSchemeDesignator": code.scheme_designator, "CodeMeaning": code.meaning}
